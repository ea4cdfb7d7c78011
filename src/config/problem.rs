//! The errors of a configuration, with their lines.

use std::fmt;
use std::path::Path;

/// An error in a configuration's text. With the file's name before it, it reads `b2b.toml:3: …`. It never
/// shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ConfigError {
    /// Line, from 1.
    pub line: usize,
    /// The problem.
    pub problem: ConfigProblem,
}

/// All errors of a configuration, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The first error.
    pub first: Box<ConfigError>,
    /// The others.
    pub more: Vec<ConfigError>,
}

impl ConfigErrors {
    /// Sorts errors by line and removes duplicates; `None` if there are none.
    pub fn of(mut errors: Vec<ConfigError>) -> Option<ConfigErrors> {
        // a stable sort keeps the errors of a line in the order in which they were found
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

    /// One line per error: `b2b.toml:3: …`.
    pub fn in_file(&self, path: &Path) -> String {
        let path = path.display();
        let lines = self.iter().map(|error| format!("{path}:{}: {}", error.line, error.problem));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// All errors.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        std::iter::once(&*self.first).chain(&self.more)
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(first: ConfigError) -> Self {
        ConfigErrors { first: Box::new(first), more: Vec::new() }
    }
}

/// One line per error.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.more.iter().try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// A problem of a configuration, or of a plan of the lab.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// The file is not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// There is no such key or table.
    #[error("there is no `{key}`; did you mean `{nearest}`?")]
    UnknownKey { key: String, nearest: String },
    /// The file is a plan of the lab, not a configuration.
    #[error("there is no `{key}` here: this is a plan of the lab; run it with --role orchestrator --plan")]
    IsPlan { key: String },
    /// A plan has no such key or table.
    #[error("there is no `{key}`; the nearest valid key is `{nearest}`")]
    NoSetting { key: String, nearest: String },
    /// The key belongs to other roles of a plan.
    #[error("`{key}` is not for the {role}: it belongs to {owners}; the nearest valid key is `{nearest}`")]
    OtherRole { key: String, role: String, owners: String, nearest: String },
    /// A setting of a plan has two names, and both are set.
    #[error("`{key}` is set twice, as `{first}` and as `{key}`; keep one")]
    Twice { key: String, first: String },
    /// The file is a configuration, not a plan.
    #[error(
        "there is no `{key}` here: this is a configuration of the server; run it with --role b2bua --config"
    )]
    IsConfiguration { key: String },
    /// The scene cannot be parsed.
    #[error("{0}")]
    Scene(String),
    /// The table is written with the wrong brackets.
    #[error("`{table}` is written `{right}`, not `{wrong}`")]
    Brackets { table: String, right: String, wrong: String },
    /// The value has the wrong type.
    #[error("`{key}` is {found}, but takes {wanted}")]
    WrongType { key: String, found: String, wanted: String },
    /// The value is invalid.
    #[error("`{key}` = {value}: {reason}")]
    BadValue { key: String, value: String, reason: String },
    /// The value is invalid, and must not be shown.
    #[error("`{key}`: {reason}")]
    BadSecret { key: String, reason: String },
    /// A mandatory key is missing.
    #[error("`{key}` is missing: {reason}")]
    Missing { key: String, reason: String },
    /// Two mutually exclusive keys are set.
    #[error("`{key}` and `{other}` are both set; {reason}")]
    Both { key: String, other: String, reason: String },
    /// The name is already in use.
    #[error("{what} {name:?} is there already, on line {first}; names are used once")]
    Taken { what: &'static str, name: String, first: usize },
    /// The name refers to nothing.
    #[error("`{key}`: there is no {what} {name:?}{hint}")]
    NoSuch { key: String, what: &'static str, name: String, hint: String },
}
