//! What can be wrong with a configuration, and where.

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

/// What is wrong with a configuration.
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
    /// The table is written with the wrong kind of brackets.
    #[error("`{table}` is written `{right}`, not `{wrong}`")]
    Brackets { table: String, right: String, wrong: String },
    /// A value of another type.
    #[error("`{key}` is {found}, but wants {wanted}")]
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
