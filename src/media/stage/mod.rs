//! What an application does with one party of the relay: it plays to it and collects its digits. A
//! relay endpoint has a [`Stage`] while any of this is going on.
//!
//! - `sound`: samples and their encoded packets; `program`: a sequence of parts to play; `music`:
//!   endless playback
//! - `prompt_encoder`: samples to packets, in the leg's own outgoing stream
//! - `echo`: sends a party's own packets back to it
//! - `keys`: digits as tones; `noise`: comfort noise
//! - `collect`: digit collection
//! - `streaming`: audio to and from code outside the media threads
//! - `stand`: all of these together, controlled by commands with tickets
//!
//! No I/O, and time is an argument: ns since the relay machine's epoch. Nothing is allocated per
//! tick or packet.

pub mod collect;
mod echo;
#[cfg(test)]
mod heard_tests;
mod keys;
mod music;
mod noise;
mod program;
mod prompt_encoder;
mod sound;
mod stand;
mod streaming;

pub use collect::{CollectEnd, Collected, DigitPlan, Typed};
pub use echo::Echo;
pub use music::{Music, Tracks};
pub use program::{Program, Segment};
pub use prompt_encoder::{Line, PromptEncoder};
pub use sound::{OpusMode, Place, Sound};
pub use stand::{Act, Stage, Ticket};
pub use streaming::Streaming;

use super::forward::Clocks;
use super::remote::Voice;
use super::sounds::Listener;

/// Maximum samples of a tick: 20 ms at 16 kHz.
pub const TICK_SAMPLES: usize = 320;
/// Length of a tick, ms and ns.
pub const TICK_MS: u32 = 20;
/// See [`TICK_MS`].
pub const TICK_NS: u64 = TICK_MS as u64 * 1_000_000;

impl Voice {
    /// Clock rates of what the party sends.
    pub fn clocks(&self) -> Clocks {
        let mut clocks = Clocks::default();
        self.says.iter().flatten().for_each(|(number, codec)| clocks.set(*number, codec.clock_rate()));
        clocks
    }

    /// The listener for which sounds played to the party are prepared.
    pub fn listener(&self) -> Listener {
        let rate_hz = self.rate_hz();
        Listener { rate_hz, opus: self.gets.as_ref().and_then(|target| OpusMode::of(target, rate_hz)) }
    }

    /// The highest useful sampling rate of audio played to it, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.gets.map_or(8_000, |target| target.codec.native_rate_hz())
    }
}

/// How a prompt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Played {
    /// It was played to the last sample.
    Complete,
    /// It was replaced or stopped, or the party has gone.
    Stopped,
}
