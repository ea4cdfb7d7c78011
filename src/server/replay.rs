//! Replays a call from its journal, in words: `b2b replay`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::lines::visible_lines;
use b2b_call::journal::{Journal, JournalError};
use b2b_call::switch::replay::{Replay, Replayed, Shown};

/// The output of a replay.
pub struct Said {
    /// Text for the standard output.
    pub text: String,
    /// Whether each message was the same as in the journal.
    pub is_same: bool,
}

/// What is printed of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The call's ladder.
    Ladder,
    /// The same, with each message in full.
    Messages,
    /// A Rust test that replays the journal.
    Test,
}

/// Replays the call of the journal in a file; `start` stands for the time when it began.
///
/// # Errors
/// A [`Failure`] with exit code 64: the file cannot be read, or is not a journal.
pub fn run(file: &Path, output: Output, start: Instant) -> Result<Said, Failure> {
    let wrong = |error: String| Failure::new(Exit::Usage, format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file)
        .map_err(|error| wrong(format!("{error}; name a journal that can be read")))?;
    let said = match output {
        Output::Test => {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
            as_test(&text, &name.unwrap_or_default()).map(|text| Said { text, is_same: true })
        }
        Output::Ladder | Output::Messages => replay(&text, output == Output::Messages, start),
    };
    said.map_err(|error| wrong(error.to_string()))
}

/// Replays the call of this journal; with `messages`, each message is shown whole. `start` stands for the
/// time of the call's begin.
///
/// # Errors
/// If the text is no journal.
pub fn replay(text: &str, messages: bool, start: Instant) -> Result<Said, JournalError> {
    let journal = Journal::parse(text)?;
    let (is_cut, program) = (journal.is_cut, journal.begin.program.clone());
    let (mut run, mut said, mut other) = (Replay::new(journal, start), String::new(), None);
    let replayed = run.run(&mut |shown| {
        if let (None, Shown::Sent { message, same: Some(false), .. }) = (&other, &shown) {
            other = Some(String::from_utf8_lossy(message).into_owned());
        }
        if messages {
            show(&mut said, &shown);
        }
    });
    for report in run.reports() {
        let _ = writeln!(said, "{}", report.timeline.view());
    }
    let _ = writeln!(said, "{}", verdict(&replayed, other.as_deref(), &program));
    if is_cut {
        said.push_str("The journal was cut: the call went on after its end.\n");
    }
    // A journal has the words of strangers.
    Ok(Said { text: visible_lines(&said), is_same: replayed.differs.is_none() && replayed.unsent == 0 })
}

/// The result, in a sentence or two.
fn verdict(replayed: &Replayed, other: Option<&str>, program: &str) -> String {
    let Replayed { same, differs, unsent } = replayed;
    let mut said = match differs {
        None if *unsent == 0 => return format!("{same} messages, each as it was sent."),
        None => format!("{same} messages as they were sent; {unsent} of the journal were not sent again."),
        Some(differs) => format!(
            "After {same} messages as they were sent, at {:.3} s: {}.",
            differs.at.as_secs_f64(),
            differs.what
        ),
    };
    if let Some(other) = other {
        let _ = write!(said, "\n\nIt is now:\n\n{other}");
    }
    let _ = write!(said, "\nThe journal is of {program}; another version may take another way on purpose.");
    said
}

fn show(said: &mut String, shown: &Shown) {
    let at = |at: &Duration| format!("{:>12.3}", at.as_secs_f64());
    let _ = match shown {
        Shown::Received { at: moment, flow, message } => {
            let message = String::from_utf8_lossy(message);
            writeln!(said, "{}  from {} by {:?}\n\n{message}", at(moment), flow.remote, flow.transport)
        }
        Shown::Sent { at: moment, flow, message, same } => {
            let message = String::from_utf8_lossy(message);
            let same = match same {
                Some(true) => "as it was sent",
                Some(false) => "ANOTHER ONE THAN WAS SENT",
                None => "after the end of the journal",
            };
            let (to, by) = (flow.remote, flow.transport);
            writeln!(said, "{}  to {to} by {by:?}, {same}\n\n{message}", at(moment))
        }
        Shown::Input { at: moment, kind, told } => writeln!(said, "{}  {kind} {told}\n", at(moment)),
    };
}

/// A Rust test that replays the journal of this file.
///
/// # Errors
/// If the file is no journal.
pub fn as_test(text: &str, file: &str) -> Result<String, JournalError> {
    Journal::parse(text)?;
    Ok(test_of(file))
}

fn test_of(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let stem = stem.strip_prefix("call-").unwrap_or(stem);
    let name: String = stem.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '_' }).collect();
    format!(
        "//! Written by `b2b replay --as-test`; the journal stands beside this file.\n\n\
         #[test]\n\
         fn call_{}_sends_what_it_has_sent() {{\n    \
         b2b_testkit::assert_replayed(include_str!({file:?}), std::time::Instant::now());\n\
         }}\n",
        name.to_ascii_lowercase()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_that_is_written_has_a_name_that_rust_takes() {
        let test = test_of("call-7.journal");
        assert!(test.contains("fn call_7_sends_what_it_has_sent()"), "{test}");
    }
}
