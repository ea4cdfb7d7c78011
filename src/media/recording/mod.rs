//! Recordings of relayed parties: what a party says and what it hears, side by side on one
//! timeline, in a WAV file.
//!
//! - `tap`: packets on their way from a media thread
//! - `line`: one direction, from packets to samples in their places
//! - `sheet`: both directions and the pauses, to what is written
//! - `file`: a file that has its name when it is complete
//! - `thread`: who drives all that, and how the rest of the program speaks to it
//!
//! A media thread copies packets and does nothing else. Everything here is a quarter of a
//! second or more behind: packets are put in order first, and both directions take their place
//! by the moments at which they passed by here.

mod file;
mod line;
mod sheet;
mod tap;
mod thread;

use std::path::PathBuf;
use std::time::Duration;

pub use file::{FileError, recover};
pub use tap::{Tap, Tapped, tap};
pub use thread::{Recorder, Started};

use super::codec::Codec;

/// What is recorded, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The file's name once it is complete. Nothing may be there.
    pub path: PathBuf,
    /// What the party says on the left, what it hears on the right; else what it says.
    pub stereo: bool,
    /// Samples a second: 8,000, 16,000 or 48,000.
    pub rate_hz: u32,
    /// It ends by itself then.
    pub longest: Option<Duration>,
    /// It ends by itself after so much silence of the party's.
    pub silence: Option<Duration>,
}

/// What a recording has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which one.
    pub recording: u64,
    /// The file, by its final name.
    pub path: PathBuf,
    /// Of sound in the file.
    pub lasts: Duration,
    /// In how much of it the party was not silent.
    pub spoken: Duration,
    /// What is wrong with it, in words.
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
    /// A number has this meaning from now on. Numbers do not change theirs within a session
    /// (RFC 3264 §8.3.2), so what was agreed before stays.
    pub fn set(&mut self, payload_type: u8, codec: Codec) {
        self.0[usize::from(payload_type & 0x7F)] = Some(codec);
    }

    /// What a number means.
    pub fn get(&self, payload_type: u8) -> Option<Codec> {
        self.0[usize::from(payload_type & 0x7F)]
    }
}

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the party.
    Said,
    /// To the party.
    Heard,
}
