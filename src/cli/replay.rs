//! `b2b replay`: replays a call from its journal.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

/// The subcommand's name.
const WORD: &str = "replay";

const ABOUT: &str = "\
Replays a call from its journal (GET /calls/{id}/journal of a b2bua), with its messages, commands, responses \
and timing, without network, media or configuration. Prints the call's ladder with every decision, and \
whether each sent message is the same as the original, octet by octet.";

const AFTER: &str = "\
Examples:
  curl -s localhost:8080/calls/$call/journal -o call.journal
  b2b replay call.journal
  b2b replay --messages call.journal | less
  cp call.journal tests/ && b2b replay --as-test call.journal > tests/call.rs

Exit codes:
  0 every message is the same   1 a message differs, or the call takes another course   64 arguments, or a file that is not a journal";

/// A journal that is run.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b replay", bin_name = "b2b replay", about = ABOUT, after_help = AFTER, max_term_width = 100)]
pub struct Replay {
    /// The journal of a call
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,
    /// Print each message in full, and each other input
    #[arg(long)]
    pub messages: bool,
    /// Print a Rust test that replays this journal, instead of the ladder; it depends on b2b-testkit
    #[arg(long, conflicts_with = "messages")]
    pub as_test: bool,
}

impl Replay {
    /// Parses a command line, program name included; `None` if it is another subcommand.
    ///
    /// # Errors
    /// A `clap` error: help, or a usage error.
    pub fn parse(words: &[OsString]) -> Option<Result<Self, clap::Error>> {
        let words = words.get(1).filter(|word| *word == WORD).map(|_| &words[1..])?;
        let matches = Replay::command().try_get_matches_from(words);
        Some(matches.and_then(|matches| Replay::from_arg_matches(&matches)))
    }
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
        let help = Replay::command().render_help().to_string();
        assert!(help.contains("Usage: b2b replay [OPTIONS] <JOURNAL>"), "{help}");
        assert!(parsed("b2b --role load").is_none());
        assert!(parsed("b2b replay --messages call.journal").unwrap().unwrap().messages);
        for line in ["b2b replay", "b2b replay a b", "b2b replay --messages --as-test a"] {
            assert!(parsed(line).unwrap().is_err(), "{line}");
        }
    }
}
