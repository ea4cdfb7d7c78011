//! What an application has to do with one party of the relay: it plays to it, and collects
//! its digits. A [`Stage`] stands in a relay endpoint while there is anything of that.
//!
//! - `sound`: samples, and their packets; `program`: what is played, part after part; `music`: what is played without an end
//! - `prompt_encoder`: samples to packets, in the leg's own outgoing stream
//! - `echo`: a party's own packets back to it
//! - `keys`: digits as tones; `noise`: comfort noise
//! - `collect`: digits in, time in, what they come to out
//! - `streaming`: sound to and from outside of the media threads
//! - `stand`: all of these in one place, by orders with tickets
//!
//! No I/O, and time is an argument: ns since whatever moment the relay machine counts from.
//! Nothing is allocated for a tick or a packet.

pub mod collect;
mod echo;
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

/// Samples of the longest tick: 20 ms at 16 kHz.
pub const TICK_SAMPLES: usize = 320;
/// A tick, ms and ns.
pub const TICK_MS: u32 = 20;
/// See [`TICK_MS`].
pub const TICK_NS: u64 = TICK_MS as u64 * 1_000_000;

impl Voice {
    /// Ticks a second of what the party says.
    pub fn clocks(&self) -> Clocks {
        let mut clocks = Clocks::default();
        self.says.iter().flatten().for_each(|(number, codec)| clocks.set(*number, codec.clock_rate()));
        clocks
    }

    /// For whom sounds are that are played to it.
    pub fn listener(&self) -> Listener {
        let rate_hz = self.rate_hz();
        Listener { rate_hz, opus: self.gets.as_ref().and_then(|target| OpusMode::of(target, rate_hz)) }
    }

    /// Samples a second that are worth playing to it.
    pub fn rate_hz(&self) -> u32 {
        self.gets.map_or(8_000, |target| target.codec.native_rate_hz())
    }
}

/// How a prompt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Played {
    /// To its last sample.
    Complete,
    /// Something else is played in its place, it was stopped, or the party has gone.
    Stopped,
}
