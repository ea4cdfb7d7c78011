//! What can be wrong with a plan, and where.

/// An error in a plan's text. With the file's name before it, it reads
/// `plans/my.toml:3: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PlanError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: PlanProblem,
}

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// It is not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// A scene that does not read as one.
    #[error("{0}")]
    Scene(String),
    /// No such key or table.
    #[error("there is no `{key}`; the nearest valid key is `{nearest}`")]
    UnknownKey { key: String, nearest: String },
    /// It is a file of another kind.
    #[error(
        "there is no `{key}` here: this is a configuration of the server; run it with --role b2bua --config"
    )]
    IsConfiguration { key: String },
    /// The key exists, for other roles.
    #[error("`{key}` is not for the {role}: it belongs to {owners}; the nearest valid key is `{nearest}`")]
    OtherRole { key: String, role: String, owners: String, nearest: String },
    /// A value of another type.
    #[error("`{key}` is {found}, but wants {wanted}")]
    WrongType { key: String, found: String, wanted: String },
    /// A value out of range.
    #[error("`{key}` = {value:?}: {reason}")]
    BadValue { key: String, value: String, reason: String },
    /// Two names of one setting.
    #[error("`{key}` is set twice, as `{first}` and as `{key}`; keep one")]
    Twice { key: String, first: String },
    /// Something has to be there and is not.
    #[error("`{key}` is missing: {reason}")]
    Missing { key: String, reason: String },
}
