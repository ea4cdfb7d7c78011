//! The player: a child process that reads S16_LE samples from its standard input.

use std::fmt;
use std::str::FromStr;

/// A command line, split as a shell would split it; no shell runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerCommand {
    program: String,
    arguments: Vec<String>,
}

/// Why an `--aplay-cmd` was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlayerCommandError {
    #[error("the player command is empty; give a program and its arguments")]
    Empty,
    #[error("unbalanced quotes in the player command {0:?}")]
    Quotes(String),
}

impl FromStr for PlayerCommand {
    type Err = PlayerCommandError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = shlex::split(text).ok_or_else(|| PlayerCommandError::Quotes(text.to_string()))?;
        let mut words = words.into_iter();
        let program = words.next().filter(|word| !word.is_empty()).ok_or(PlayerCommandError::Empty)?;
        Ok(PlayerCommand { program, arguments: words.collect() })
    }
}

impl Default for PlayerCommand {
    /// `aplay -f S16_LE -r 8000 -c 1`
    fn default() -> Self {
        let arguments = ["-f", "S16_LE", "-r", "8000", "-c", "1"].map(String::from).to_vec();
        PlayerCommand { program: "aplay".into(), arguments }
    }
}

impl fmt::Display for PlayerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}
