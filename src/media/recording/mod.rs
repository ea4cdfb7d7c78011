//! Recordings of relayed parties: what a party says and what it hears, on one timeline, in a file.
//!
//! - `tap`: the ring of packets from a media thread
//! - `line`: one direction, from packets to samples at their positions
//! - `sheet`: combines both directions and the pauses
//! - `file`: a file that gets its name when it is complete; `opus`: Opus in Ogg
//! - `thread`: the thread that drives all this, and its handle
//!
//! A media thread only copies packets. Everything here lags by a quarter of a second or more:
//! packets are sorted first, and both directions are positioned by the times at which their packets
//! passed the relay.

mod file;
mod line;
mod opus;
mod sheet;
mod tap;
mod thread;

use std::path::PathBuf;
use std::time::Duration;

pub use file::{FileError, is_complete, recover};
pub use opus::opus_lasts;
pub use tap::{Tap, Tapped, tap};
pub use thread::{Recorder, Started};

use super::codec::Codec;
pub use super::wav_file::Coding;

/// Parameters of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The final name of the file. It must not exist.
    pub path: PathBuf,
    /// What the party says on the left and what it hears on the right; otherwise `mono`.
    pub stereo: bool,
    /// The one channel.
    pub mono: Mono,
    /// Sampling rate, Hz: 8,000, 16,000 or 48,000.
    pub rate_hz: u32,
    /// How the file is coded.
    pub coding: Coding,
    /// Maximum length, after which it ends by itself.
    pub longest: Option<Duration>,
    /// Maximum silence of the party, after which it ends by itself.
    pub silence: Option<Duration>,
    /// Goes on in the file of a process before, if there is one.
    pub append: bool,
}

/// What a recording of one channel has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mono {
    /// What the party says.
    #[default]
    Said,
    /// What it hears.
    Heard,
    /// Both.
    Mixed,
}

impl Mono {
    /// Whether it is what the party says.
    pub fn is_said(&self) -> bool {
        *self == Mono::Said
    }
}

/// The result of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The number of the recording.
    pub recording: u64,
    /// The file by its final name.
    pub path: PathBuf,
    /// Length of the audio in the file.
    pub lasts: Duration,
    /// How much of it the party was not silent.
    pub spoken: Duration,
    /// What went wrong, human-readable.
    pub error: Option<String>,
}

/// Codecs by payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formats([Option<Codec>; 128]);

impl Default for Formats {
    /// The static payload types (RFC 3551 §6).
    fn default() -> Self {
        let mut formats = Formats([None; 128]);
        for codec in Codec::ALL {
            if let Some(payload_type) = codec.static_payload_type() {
                formats.set(payload_type, codec);
            }
        }
        formats
    }
}

impl Formats {
    /// Sets the codec of a payload type. Payload types keep their meaning within a session (RFC
    /// 3264 §8.3.2), so earlier entries stay.
    pub fn set(&mut self, payload_type: u8, codec: Codec) {
        self.0[usize::from(payload_type & 0x7F)] = Some(codec);
    }

    /// The codec of a payload type.
    pub fn get(&self, payload_type: u8) -> Option<Codec> {
        self.0[usize::from(payload_type & 0x7F)]
    }
}

/// The direction of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the party.
    Said,
    /// To the party.
    Heard,
}
