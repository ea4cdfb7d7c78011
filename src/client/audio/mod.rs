//! The audio that a call sends and receives, for the program.
//!
//! - `sound`: sounds to play
//! - `device`: microphones and loudspeakers
//! - `processing`: echo cancellation, noise suppression, gain control
//! - `player`: playback, from the program to the media thread, which takes no lock
//! - `incoming`, `outgoing`: received frames and samples to send, for the program
//! - `recording`: both sides of a call in a file
//! - `pipeline`: the program's own processors, sources and sinks
//! - `detour`: processing on another thread
//! - `problem`: audio problems of a call
//! - `voice`, `ear`: sent and received audio of a call on the media thread
//! - `line`: both ends of a call's audio; `post`: passing objects to the media thread; `gate`: waiting for it

mod detour;
mod device;
mod ear;
mod gate;
mod incoming;
mod line;
#[cfg(test)]
mod no_allocation_tests;
mod outgoing;
mod pipeline;
mod player;
mod post;
mod problem;
#[cfg(feature = "processing")]
mod processing;
mod recording;
mod sound;
mod voice;

pub use device::{Audio, CustomAudio, DeviceSide, Devices, Loudspeaker, Microphone, SoundSystem};
pub use incoming::{AudioFrame, Incoming};
pub use outgoing::{MarkId, Outgoing, WriteError};
pub use pipeline::{AudioPipeline, AudioProcessor, FrameFormat};
pub use player::{PlayEnd, Playback};
pub use problem::AudioProblem;
#[cfg(feature = "processing")]
pub use processing::{Processing, Processor};
pub(super) use recording::{Outcome, ToRecord, record};
pub use recording::{Recorded, Recording};
pub use sound::Sound;

pub(super) use device::{Pair, check_file, with_file};
pub(super) use ear::Ear;
pub(super) use line::{Lines, Media, Program, sides};
pub(super) use pipeline::Pipelines;
pub(super) use player::Progress;
pub(super) use problem::Problems;
#[cfg(feature = "processing")]
pub(super) use processing::processed;
pub(super) use sound::{Decoding, Prepared};
pub(super) use voice::Voice;

/// The audio of a call for the program: both halves may move to separate tasks.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallAudio {
    /// The received audio.
    pub incoming: Incoming,
    /// The sent audio.
    pub outgoing: Outgoing,
}
