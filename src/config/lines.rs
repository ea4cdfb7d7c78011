//! A file that is being read: its lines, and what was found in it so far.

use std::cell::RefCell;

use crate::problem::{ConfigError, ConfigErrors, ConfigProblem};
use crate::table::Need;

/// A file that is being read: the offsets of its lines, and what was found in it.
#[derive(Debug)]
pub struct Lines {
    starts: Vec<usize>,
    errors: RefCell<Vec<ConfigError>>,
    asked: RefCell<Vec<Asked>>,
}

/// A value's requirement on the media backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The line of the key.
    pub line: usize,
    /// The table of the key: `[media]`, `route "in"`.
    pub who: String,
    /// The setting: `record = true`; `unanswered = …` if any value has the requirement.
    pub words: String,
    /// The requirement.
    pub need: Need,
}

impl Lines {
    /// The lines of a text.
    pub fn of(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(after).collect();
        Lines { starts, errors: RefCell::default(), asked: RefCell::default() }
    }

    /// The line of an octet, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// An error at an octet.
    pub fn error(&self, at: usize, problem: ConfigProblem) -> ConfigError {
        ConfigError { line: self.line(at), problem }
    }

    /// Reports an error; reading continues.
    pub fn report(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }

    /// Adds a requirement on the media backend.
    pub fn ask(&self, asked: Asked) {
        let mut all = self.asked.borrow_mut();
        // a nested table is opened twice, to be checked and to be read
        if !all.contains(&asked) {
            all.push(asked);
        }
    }

    /// The value, if valid; otherwise its error is reported and reading continues.
    pub fn sound<T>(&self, read: Result<T, ConfigError>) -> Option<T> {
        read.map_err(|error| self.report(error)).ok()
    }

    /// The result, with the requirements on the media backend.
    ///
    /// # Errors
    /// All errors.
    pub fn finish<T>(self, read: Result<T, ConfigError>) -> Result<(T, Vec<Asked>), ConfigErrors> {
        match (read, ConfigErrors::of(self.errors.into_inner())) {
            (Ok(read), None) => Ok((read, self.asked.into_inner())),
            (_, Some(errors)) => Err(errors),
            (Err(error), None) => Err(error.into()),
        }
    }
}

/// A text value and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// The offset where it begins.
    pub at: usize,
}
