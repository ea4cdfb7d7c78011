//! `b2b completions` and `b2b man`: shell completions and manual pages.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use super::roles;
use b2b_base::util::exit::{Exit, Failure};

/// The subcommands.
#[derive(Debug, Clone, Subcommand)]
enum Wanted {
    /// Print shell completions, like `b2b completions bash > /etc/bash_completion.d/b2b`
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
    /// Write the manual pages b2b.1, b2b-b2bua.1 … into a folder, like `b2b man /usr/local/share/man/man1`
    Man {
        /// The folder, which must exist
        folder: PathBuf,
    },
}

/// A command line with one of these subcommands.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b", max_term_width = 100)]
pub struct ForShell {
    #[command(subcommand)]
    wanted: Wanted,
}

impl ForShell {
    /// Parses a command line, program name included; `None` if it is another subcommand.
    ///
    /// # Errors
    /// A `clap` error: help, or a usage error.
    pub fn parse(words: &[OsString]) -> Option<Result<Self, clap::Error>> {
        words.get(1).filter(|word| *word == "completions" || *word == "man")?;
        let matches = ForShell::command().try_get_matches_from(words);
        Some(matches.and_then(|matches| ForShell::from_arg_matches(&matches)))
    }

    /// Prints the completions, or writes the manual pages.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the folder is not writable.
    pub fn run(self) -> Result<(), Failure> {
        let mut command = roles::whole(others());
        match self.wanted {
            Wanted::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, "b2b", &mut script);
                // a closed pipe is not an error
                let _ = std::io::stdout().write_all(&script);
                Ok(())
            }
            Wanted::Man { folder } => clap_mangen::generate_to(command, &folder).map_err(|error| {
                let name = folder.display();
                Failure::new(Exit::Usage, format!("{name}: {error}; name a folder that can be written to"))
            }),
        }
    }
}

/// The subcommands without a role.
fn others() -> Vec<Command> {
    let shell = ForShell::command().get_subcommands().cloned().collect::<Vec<_>>();
    let questions = [
        #[cfg(feature = "lab")]
        super::Compare::command().name("compare"),
        #[cfg(feature = "server")]
        super::Replay::command().name("replay"),
        #[cfg(all(feature = "lab", feature = "server"))]
        super::Sandbox::command().name("sandbox"),
    ];
    shell.into_iter().chain(questions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Result<ForShell, clap::Error>> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        ForShell::parse(&words)
    }

    #[test]
    fn shells_get_completions_and_man_gets_a_page_a_role() {
        assert!(parsed("b2b --role load").is_none());
        assert!(parsed("b2b completions").unwrap().is_err());
        assert!(parsed("b2b completions bash").unwrap().is_ok());
        roles::whole(others()).debug_assert();
        let folder = tempfile::tempdir().unwrap();
        parsed(&format!("b2b man {}", folder.path().display())).unwrap().unwrap().run().unwrap();
        for (page, text) in [("b2b.1", "replay"), ("b2b-load.1", "duration"), ("b2b-completions.1", "shell")]
        {
            let page = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(page.contains(text), "{text} in {page}");
        }
        let nowhere = parsed("b2b man /no/such/folder").unwrap().unwrap().run().unwrap_err();
        assert_eq!(nowhere.exit, Exit::Usage);
    }
}
