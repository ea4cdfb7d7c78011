//! The roles of the program, by name.

use std::fmt;
use std::str::FromStr;

/// A role, as given to `--role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoleName {
    /// Starts the other roles from a plan.
    Orchestrator,
    /// Calls and plays a file.
    Source,
    /// Answers, adds tones and forwards the call.
    Mixer,
    /// Answers and plays the received audio.
    Sink,
    /// The server: bridges a caller's call with the call to the callee.
    B2bua,
    /// A phone on a terminal, or a scripted one.
    Phone,
    /// Carries media for remote b2buas.
    Media,
    /// Makes and answers many calls at a rate, and judges each by its audio.
    Load,
}

impl RoleName {
    /// Every role.
    pub const ALL: [RoleName; 8] = [
        RoleName::Orchestrator,
        RoleName::Source,
        RoleName::Mixer,
        RoleName::Sink,
        RoleName::B2bua,
        RoleName::Phone,
        RoleName::Media,
        RoleName::Load,
    ];
    /// The roles that a plan starts, in call order.
    pub const CHAIN: [RoleName; 4] = [RoleName::Source, RoleName::Mixer, RoleName::B2bua, RoleName::Sink];

    /// The name in `--role`, in plans, and in READY and metrics lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            RoleName::Orchestrator => "orchestrator",
            RoleName::Source => "source",
            RoleName::Mixer => "mixer",
            RoleName::Sink => "sink",
            RoleName::B2bua => "b2bua",
            RoleName::Phone => "phone",
            RoleName::Media => "media",
            RoleName::Load => "load",
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name is not in [`RoleName::ALL`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no such role; choose one of {}", RoleName::ALL.map(RoleName::as_str).join(", "))]
pub struct UnknownRole;

impl FromStr for RoleName {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        RoleName::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}
