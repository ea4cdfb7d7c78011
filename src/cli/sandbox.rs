//! `b2b sandbox`: calls a voice agent as its callers would.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

use b2b_lab::sandbox::SandboxConfig;

/// The subcommand's name.
const WORD: &str = "sandbox";

const ABOUT: &str = "\
Calls a voice agent as its callers would, on this machine alone: a server of its own speaks the agent's \
protocol, and scripted callers speak, listen, interrupt and hang up. Each call passes or fails by ear.";

const AFTER: &str = "\
Examples:
  b2b sandbox sandbox.toml --report target/sandbox
  b2b sandbox sandbox.toml --dry-run

docs/tutorials/test-your-agent-in-ci.md has a plan.

Exit codes:
  0 every call passed   1 a call failed   64 arguments or plan   65 the agent is not there, or SIP";

/// The flags of a sandbox.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b sandbox", bin_name = "b2b sandbox", about = ABOUT, after_help = AFTER, max_term_width = 100)]
pub struct Sandbox {
    /// The agent, its callers and their steps
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Write junit.xml, report.html, load.json, logs, and a journal of each failed call
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Seed of random decisions, in place of the plan's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the callers and the server's configuration, and start nothing
    #[arg(long)]
    dry_run: bool,
}

impl Sandbox {
    /// Parses a command line, program name included; `None` if it is another subcommand.
    ///
    /// # Errors
    /// A `clap` error: help, or a usage error.
    pub fn parse(words: &[OsString]) -> Option<Result<Self, clap::Error>> {
        let words = words.get(1).filter(|word| *word == WORD).map(|_| &words[1..])?;
        let matches = Sandbox::command().try_get_matches_from(words);
        Some(matches.and_then(|matches| Sandbox::from_arg_matches(&matches)))
    }

    /// The settings.
    pub fn config(self) -> SandboxConfig {
        let Sandbox { plan, report, seed, dry_run } = self;
        SandboxConfig { plan, report, seed, dry_run }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_run() {
        Sandbox::command().debug_assert();
        let parsed = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            Sandbox::parse(&words)
        };
        assert!(parsed("b2b --role load").is_none());
        let config = parsed("b2b sandbox a.toml --seed 7 --dry-run").unwrap().unwrap().config();
        assert_eq!((config.seed, config.dry_run), (Some(7), true));
        for line in ["b2b sandbox", "b2b sandbox a.toml b.toml", "b2b sandbox a.toml --seed x"] {
            assert!(parsed(line).unwrap().is_err(), "{line}");
        }
    }
}
