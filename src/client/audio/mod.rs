//! The audio that a call sends and receives, for the program.
//!
//! - `sound`: what can be played
//! - `device`: microphones and loudspeakers
//! - `processing`: echo, noise, gain
//! - `player`: playing, from the program to the media thread without a lock on its side
//! - `incoming`, `outgoing`: frames heard and samples said by the program itself
//! - `recording`: both sides of a call in a file
//! - `pipeline`: processors, sources and sinks of the program's own
//! - `detour`: processing on another thread
//! - `problem`: what is wrong with a call's sound
//! - `voice`, `ear`: the media thread's side of a call: what it says, what it hears
//! - `line`: both sides of a call's sound; `post`: how things get to the media thread; `gate`:
//!   waiting for it

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

/// A call's sound in the program's hands: both halves may go to tasks of their own.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallAudio {
    /// The received audio.
    pub incoming: Incoming,
    /// The sent audio.
    pub outgoing: Outgoing,
}
