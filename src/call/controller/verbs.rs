//! What applications ask of a controller: sounds, digits, recordings, rooms.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use b2b_media::room::Member;
pub use b2b_media::stage::{CollectEnd, Collected, DigitPlan, Played};
pub use b2b_media::stream::{AudioStream, StreamCounters, StreamEnd, StreamEvent, StreamSpec};

/// A piece of what is played.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// WAV, MP3, FLAC or Ogg Vorbis; decoded once, and shared by all who hear it.
    File(#[serde(with = "super::json::shared_path")] Arc<Path>),
    /// A tone, or two together, each at this level; the loudest there is has 3 dBm0.
    Tone {
        /// Frequencies; 0: none.
        hz: [u16; 2],
        /// How long it sounds.
        lasts: Duration,
        /// Level of each, dBm0.
        dbm0: i8,
    },
    /// Nothing, for so long.
    Silence(Duration),
}

impl Part {
    /// The level of tones where nothing else is said, dBm0.
    pub const TONE_DBM0: i8 = -16;

    /// A tone of the usual level.
    pub const fn tone(hz: u16, lasts: Duration) -> Part {
        Part::Tone { hz: [hz, 0], lasts, dbm0: Part::TONE_DBM0 }
    }
}

/// What is played to a party, part after part. Files are those of the machine that carries media.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Prompt {
    /// In the order in which they are heard.
    pub parts: Vec<Part>,
    /// How often all of it is played; 0 is until it is stopped.
    pub times: u32,
}

impl Prompt {
    /// These, once.
    pub fn new(parts: Vec<Part>) -> Self {
        Prompt { parts, times: 1 }
    }

    /// A file, once.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Prompt::new(vec![Part::File(path.into().into())])
    }

    /// The same with another part behind.
    pub fn then(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// The same until it is stopped.
    pub fn forever(mut self) -> Self {
        self.times = 0;
        self
    }
}

/// A recording that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct RecordingId(pub u64);

/// What is recorded, and where to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordingSpec {
    /// A WAV file that does not exist yet; it has another name until it is complete.
    pub path: PathBuf,
    /// What the party says on the left and what it hears on the right; else what it says.
    pub stereo: bool,
    /// Samples a second: 8,000, 16,000 or 48,000.
    pub rate_hz: u32,
    /// It ends by itself then.
    pub longest: Option<Duration>,
    /// It ends by itself after so much silence of the party's: for voicemail.
    pub silence: Option<Duration>,
}

impl RecordingSpec {
    /// Both sides at 8 kHz, without an end.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        RecordingSpec { path: path.into(), stereo: true, rate_hz: 8_000, longest: None, silence: None }
    }
}

/// A recording that is over; its file has its final name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recorded {
    /// The file, by its final name.
    pub path: PathBuf,
    /// Of sound in the file.
    pub lasts: Duration,
    /// In how much of it the party was not silent.
    pub spoken: Duration,
    /// What kept it from being longer, in words: a disk that is full.
    pub error: Option<String>,
}

/// A room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ConferenceId(pub u64);

/// What a room is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConferenceSpec {
    /// Samples a second of what is mixed: 8,000 or 16,000.
    pub rate_hz: u32,
    /// Members at most.
    pub most: usize,
}
