//! `b2b compare`: the change between two loads.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, CommandFactory, FromArgMatches, Parser};

use b2b_base::util::exit::{Exit, Failure};
use b2b_lab::load::compare::{Comparison, Question, compare};

/// The subcommand's name.
const WORD: &str = "compare";

const ABOUT: &str = "\
Compares the load.json of runs before and after a change: each figure, and the confidence that the \
difference is not chance. Several runs per side show how much runs of the same build differ.";

const AFTER: &str = "\
Examples:
  b2b compare before/load.json after/load.json
  b2b compare --before a1.json a2.json a3.json --after b1.json b2.json b3.json

Exit codes:
  0 no figure is significantly worse   1 at least one is   64 arguments, or a file that is not a load.json";

/// What is compared.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b compare", about = ABOUT, after_help = AFTER, max_term_width = 100)]
#[command(group = ArgGroup::new("two").args(["files", "before"]).required(true))]
pub struct Compare {
    /// load.json of the run before, and of the run after
    #[arg(value_names = ["BEFORE", "AFTER"], num_args = 2, conflicts_with_all = ["before", "after"])]
    files: Vec<PathBuf>,
    /// Runs before the change; several runs show how much runs of the same build differ
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "after")]
    before: Vec<PathBuf>,
    /// Runs after the change
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "before")]
    after: Vec<PathBuf>,
    /// Confidence level for all figures together, percent
    #[arg(long, value_name = "PERCENT", default_value = "99", value_parser = confidence)]
    confidence: f64,
    /// Ignore changes of times below this. Without it: 25 for one run per side, 0 for several
    #[arg(long, value_name = "PERCENT", value_parser = tolerance)]
    tolerance_pct: Option<f64>,
}

fn confidence(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (50.0..=99.999).contains(percent));
    percent.ok_or_else(|| "not a confidence level; choose 50 to 99.999".to_owned())
}

fn tolerance(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=1_000.0).contains(percent));
    percent.ok_or_else(|| "not a percentage of a time; choose 0 to 1000".to_owned())
}

impl Compare {
    /// Parses a command line, program name included; `None` if it is another subcommand.
    ///
    /// # Errors
    /// A `clap` error: help, or a usage error.
    pub fn parse(words: &[OsString]) -> Option<Result<Self, clap::Error>> {
        let words = words.get(1).filter(|word| *word == WORD).map(|_| &words[1..])?;
        let matches = Compare::command().try_get_matches_from(words);
        Some(matches.and_then(|matches| Compare::from_arg_matches(&matches)))
    }

    /// Reads the files and compares them.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the invalid file and the remedy.
    pub fn run(self) -> Result<Comparison, Failure> {
        let (before, after) = match <[PathBuf; 2]>::try_from(self.files) {
            Ok([before, after]) => (vec![before], vec![after]),
            Err(_) => (self.before, self.after),
        };
        let (confidence, tolerance_pct) = (self.confidence, self.tolerance_pct);
        compare(Question { before, after, confidence, tolerance_pct })
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Result<Compare, clap::Error>> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Compare::parse(&words)
    }

    #[test]
    fn two_files_or_two_sets_of_them_are_compared() {
        Compare::command().debug_assert();
        assert!(parsed("b2b --role load").is_none());
        assert_eq!(parsed("b2b compare a b").unwrap().unwrap().files.len(), 2);
        let sets = parsed("b2b compare --before a1 a2 --after b1").unwrap().unwrap();
        assert_eq!((sets.before.len(), sets.after.len()), (2, 1));
        for line in [
            "b2b compare",
            "b2b compare a",
            "b2b compare a b c",
            "b2b compare --before a",
            "b2b compare a b --after c",
            "b2b compare a b --confidence 100",
        ] {
            assert!(parsed(line).unwrap().is_err(), "{line}");
        }
    }
}
