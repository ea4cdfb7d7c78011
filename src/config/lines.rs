//! A file that is read: its lines, and what is found in it on the way.

use std::cell::RefCell;

use crate::problem::{ConfigError, ConfigErrors, ConfigProblem};
use crate::table::Need;

/// A file that is read: where its lines begin, and what was found in it.
#[derive(Debug)]
pub struct Lines {
    starts: Vec<usize>,
    errors: RefCell<Vec<ConfigError>>,
    asked: RefCell<Vec<Asked>>,
}

/// What a value asks of who carries the media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The line of the key.
    pub line: usize,
    /// Whose key it is: `[media]`, `route "in"`.
    pub who: String,
    /// What it says: `record = true`; `unanswered = …` where any value asks it.
    pub words: String,
    /// What it asks.
    pub need: Need,
}

impl Lines {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(after).collect();
        Lines { starts, errors: RefCell::default(), asked: RefCell::default() }
    }

    /// The line of an octet, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// What is wrong at an octet.
    pub fn error(&self, at: usize, problem: ConfigProblem) -> ConfigError {
        ConfigError { line: self.line(at), problem }
    }

    /// Something is wrong, and reading goes on.
    pub fn report(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }

    /// A value asks something of who carries the media.
    pub fn ask(&self, asked: Asked) {
        let mut all = self.asked.borrow_mut();
        // a table in a table is opened to be checked, and to be read
        if !all.contains(&asked) {
            all.push(asked);
        }
    }

    /// What was read; what is wrong is reported, and reading goes on.
    pub fn sound<T>(&self, read: Result<T, ConfigError>) -> Option<T> {
        read.map_err(|error| self.report(error)).ok()
    }

    /// What was read, with what its values ask of who carries the media.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn finish<T>(self, read: Result<T, ConfigError>) -> Result<(T, Vec<Asked>), ConfigErrors> {
        match (read, ConfigErrors::of(self.errors.into_inner())) {
            (Ok(read), None) => Ok((read, self.asked.into_inner())),
            (_, Some(errors)) => Err(errors),
            (Err(error), None) => Err(error.into()),
        }
    }
}

/// A text value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// The octet where it begins.
    pub at: usize,
}
