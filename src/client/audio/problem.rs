//! Audio problems of a call on this side, collected until they are reported to the program.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Audio problems of a call on this side.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioProblem {
    /// The file of [`crate::Audio::Files`] can no longer be read: the call sends silence.
    NoFile(String),
    /// The system refused a thread: the call sends silence.
    NoMicrophone(String),
    /// The system refused a thread: the far end is not heard.
    NoLoudspeaker(String),
    /// The system refused a thread: audio is not processed.
    NotProcessed(String),
    /// A played file could not be read to its end.
    Broken(String),
    /// Packets that were not processed in time, and so were silent, since the last report.
    Late(u64),
}

impl fmt::Display for AudioProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AudioProblem::NoFile(why) => write!(f, "nothing is said: {why}"),
            AudioProblem::NoMicrophone(why) => write!(f, "no microphone: {why}"),
            AudioProblem::NoLoudspeaker(why) => write!(f, "no loudspeaker: {why}"),
            AudioProblem::NotProcessed(why) => write!(f, "the sound is not processed: {why}"),
            AudioProblem::Broken(why) => write!(f, "a file ended before its end: {why}"),
            AudioProblem::Late(packets) => write!(f, "{packets} packets were processed too late, and silent"),
        }
    }
}

/// The problems of one call's pipeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Problems {
    pub(super) at_start: Vec<AudioProblem>,
    /// Counted by the media thread.
    pub(super) late: Arc<AtomicU64>,
    told: u64,
}

impl Problems {
    /// The problems that were not reported yet.
    pub fn take(&mut self) -> Vec<AudioProblem> {
        let late = self.late.load(Ordering::Relaxed);
        let more = late - std::mem::replace(&mut self.told, late);
        let mut problems = std::mem::take(&mut self.at_start);
        problems.extend((more > 0).then_some(AudioProblem::Late(more)));
        problems
    }
}
