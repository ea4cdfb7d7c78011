//! The roles of the program, by name.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// A role, as given to `--role`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str, parse_err_ty = UnknownRole, parse_err_fn = unknown)]
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
    pub const ALL: &[RoleName] = RoleName::VARIANTS;
    /// The roles that a plan starts, in call order.
    pub const CHAIN: [RoleName; 4] = [RoleName::Source, RoleName::Mixer, RoleName::B2bua, RoleName::Sink];

    /// The names of all, as text: `orchestrator, source, …`.
    pub fn names() -> String {
        RoleName::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The name in `--role`, in plans, and in READY and metrics lines.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The name is not in [`RoleName::ALL`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no such role; choose one of {}", RoleName::names())]
pub struct UnknownRole;

fn unknown(_: &str) -> UnknownRole {
    UnknownRole
}
