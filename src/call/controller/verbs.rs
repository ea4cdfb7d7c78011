//! What applications will ask of a controller.

use std::time::Duration;

/// A prompt that plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PromptId(pub u64);

/// A recording that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordingId(pub u64);

/// A room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConferenceId(pub u64);

/// Which digits are awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigitPlan {
    /// No more than these.
    pub max: usize,
    /// These end the collection and are not part of it.
    pub terminators: String,
    /// Longest wait for the first digit.
    pub first: Duration,
    /// Longest wait between two.
    pub between: Duration,
}

/// Digits that were collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// As they were pressed.
    pub digits: String,
    /// The terminator, if one ended it.
    pub terminator: Option<char>,
    /// A time ran out.
    pub timed_out: bool,
}
