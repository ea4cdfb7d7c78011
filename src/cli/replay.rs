//! `b2b replay`: runs a call again from its journal.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{CommandFactory, FromArgMatches, Parser};

use b2b_base::util::exit::{Exit, Failure};
use b2b_call::journal::Journal;
use b2b_call::switch::replay::{Replay as Run, Replayed, Shown};

/// The word that asks for it.
const WORD: &str = "replay";

const ABOUT: &str = "\
Runs a call again from its journal (GET /calls/{id}/journal of a b2bua): with its messages, commands and answers, in \
its time, without any network, media or configuration. Prints its ladder with every decision, and whether each message \
that it sends is the one that was sent, octet by octet.";

const AFTER: &str = "\
Examples:
  curl -s localhost:8080/calls/$call/journal -o call.journal
  b2b replay call.journal
  b2b replay --messages call.journal | less
  cp call.journal tests/ && b2b replay --as-test call.journal > tests/call.rs

Exit codes:
  0 every message is as it was   1 one is not, or the call takes another way   64 arguments, or a file that is no journal";

/// A journal that is run.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b replay", about = ABOUT, after_help = AFTER, max_term_width = 100)]
pub struct Replay {
    /// The journal of a call
    #[arg(value_name = "JOURNAL")]
    journal: PathBuf,
    /// Each message whole, and each other input
    #[arg(long)]
    messages: bool,
    /// Print a test in Rust that replays this journal, in place of the ladder; b2b-testkit is its dependency
    #[arg(long, conflicts_with = "messages")]
    as_test: bool,
}

/// What a run has to say.
pub struct Said {
    /// For the standard output.
    pub text: String,
    /// Whether each message was as the journal has it.
    pub is_same: bool,
}

impl Replay {
    /// Reads a command line that begins with the program's name; none: it asks for something else.
    ///
    /// # Errors
    /// A `clap` error: help, or what is wrong.
    pub fn parse(words: &[OsString]) -> Option<Result<Self, clap::Error>> {
        let words = words.get(1).filter(|word| *word == WORD).map(|_| &words[1..])?;
        let matches = Replay::command().try_get_matches_from(words);
        Some(matches.and_then(|matches| Replay::from_arg_matches(&matches)))
    }

    /// Runs the journal.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the file cannot be read, or is no journal.
    pub fn run(self) -> Result<Said, Failure> {
        let name = self.journal.display();
        let wrong = |error: String| Failure::new(Exit::Usage, format!("{name}: {error}"));
        let text = std::fs::read_to_string(&self.journal)
            .map_err(|error| wrong(format!("{error}; name a journal that can be read")))?;
        let journal = Journal::parse(&text).map_err(|error| wrong(error.to_string()))?;
        if self.as_test {
            let file = self.journal.file_name().map(|name| name.to_string_lossy().into_owned());
            return Ok(Said { text: as_test(&file.unwrap_or_default()), is_same: true });
        }
        let (is_cut, program) = (journal.is_cut, journal.begin.program.clone());
        let (mut run, mut said, mut other) = (Run::new(journal, Instant::now()), String::new(), None);
        let replayed = run.run(&mut |shown| {
            if let (None, Shown::Sent { message, same: Some(false), .. }) = (&other, &shown) {
                other = Some(String::from_utf8_lossy(message).into_owned());
            }
            if self.messages {
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
        Ok(Said { text: said, is_same: replayed.differs.is_none() && replayed.unsent == 0 })
    }
}

/// How it went, in a sentence or two.
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

fn as_test(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let stem = stem.strip_prefix("call-").unwrap_or(stem);
    let name: String = stem.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '_' }).collect();
    format!(
        "//! Written by `b2b replay --as-test`; the journal stands beside this file.\n\n\
         #[test]\n\
         fn call_{}_sends_what_it_has_sent() {{\n    \
         b2b_testkit::assert_replayed(include_str!({file:?}));\n\
         }}\n",
        name.to_ascii_lowercase()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Result<Replay, clap::Error>> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Replay::parse(&words)
    }

    #[test]
    fn one_journal_is_replayed() {
        Replay::command().debug_assert();
        assert!(parsed("b2b --role load").is_none());
        assert!(parsed("b2b replay --messages call.journal").unwrap().unwrap().messages);
        for line in ["b2b replay", "b2b replay a b", "b2b replay --messages --as-test a"] {
            assert!(parsed(line).unwrap().is_err(), "{line}");
        }
    }

    #[test]
    fn the_test_that_is_written_has_a_name_that_rust_takes() {
        let test = as_test("call-7.journal");
        assert!(test.contains("fn call_7_sends_what_it_has_sent()"), "{test}");
    }
}
