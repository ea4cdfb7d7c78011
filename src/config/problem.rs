//! What can be wrong with a configuration, and where.

use std::fmt;
use std::path::Path;

/// An error in a configuration's text. With the file's name before it, it reads
/// `b2b.toml:3: …`. It never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ConfigError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: ConfigProblem,
}

/// Everything that is wrong with a configuration, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The first one.
    pub first: Box<ConfigError>,
    /// The others.
    pub more: Vec<ConfigError>,
}

impl ConfigErrors {
    /// Sorts errors by line, one of each; none: nothing is wrong.
    pub fn of(mut errors: Vec<ConfigError>) -> Option<ConfigErrors> {
        // stable: errors of a line stay in the order in which they were found
        errors.sort_by_key(|error| error.line);
        let mut sorted: Vec<ConfigError> = Vec::with_capacity(errors.len());
        for error in errors {
            let of_line = sorted.iter().rev().take_while(|known| known.line == error.line);
            if !of_line.into_iter().any(|known| *known == error) {
                sorted.push(error);
            }
        }
        let mut sorted = sorted.into_iter();
        Some(ConfigErrors { first: Box::new(sorted.next()?), more: sorted.collect() })
    }

    /// `b2b.toml:3: …`, a line for each.
    pub fn in_file(&self, path: &Path) -> String {
        let path = path.display();
        let lines = self.iter().map(|error| format!("{path}:{}: {}", error.line, error.problem));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        std::iter::once(&*self.first).chain(&self.more)
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(first: ConfigError) -> Self {
        ConfigErrors { first: Box::new(first), more: Vec::new() }
    }
}

/// Each on a line of its own.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.more.iter().try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// What is wrong with a configuration, or with a plan of the lab.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// It is not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// No such key or table.
    #[error("there is no `{key}`; did you mean `{nearest}`?")]
    UnknownKey { key: String, nearest: String },
    /// It is a file of another kind.
    #[error("there is no `{key}` here: this is a plan of the lab; run it with --role orchestrator --plan")]
    IsPlan { key: String },
    /// A plan has no such key or table.
    #[error("there is no `{key}`; the nearest valid key is `{nearest}`")]
    NoSetting { key: String, nearest: String },
    /// The key exists, for other roles of a plan.
    #[error("`{key}` is not for the {role}: it belongs to {owners}; the nearest valid key is `{nearest}`")]
    OtherRole { key: String, role: String, owners: String, nearest: String },
    /// Two names of one setting of a plan.
    #[error("`{key}` is set twice, as `{first}` and as `{key}`; keep one")]
    Twice { key: String, first: String },
    /// It is a configuration and no plan.
    #[error(
        "there is no `{key}` here: this is a configuration of the server; run it with --role b2bua --config"
    )]
    IsConfiguration { key: String },
    /// A scene that does not read as one.
    #[error("{0}")]
    Scene(String),
    /// The table is written with the wrong kind of brackets.
    #[error("`{table}` is written `{right}`, not `{wrong}`")]
    Brackets { table: String, right: String, wrong: String },
    /// A value of another type.
    #[error("`{key}` is {found}, but takes {wanted}")]
    WrongType { key: String, found: String, wanted: String },
    /// A value that cannot be.
    #[error("`{key}` = {value}: {reason}")]
    BadValue { key: String, value: String, reason: String },
    /// A value that cannot be, and must not be shown.
    #[error("`{key}`: {reason}")]
    BadSecret { key: String, reason: String },
    /// Something has to be there and is not.
    #[error("`{key}` is missing: {reason}")]
    Missing { key: String, reason: String },
    /// Two keys that exclude each other.
    #[error("`{key}` and `{other}` are both set; {reason}")]
    Both { key: String, other: String, reason: String },
    /// A name that another one has already.
    #[error("{what} {name:?} is there already, on line {first}; names are used once")]
    Taken { what: &'static str, name: String, first: usize },
    /// A name that nothing has.
    #[error("`{key}`: there is no {what} {name:?}{hint}")]
    NoSuch { key: String, what: &'static str, name: String, hint: String },
}
