//! Requests of applications to a controller: prompts, digits, recordings, rooms.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use b2b_media::recording::{Coding, Mono};
pub use b2b_media::room::Member;
pub use b2b_media::stage::{CollectEnd, Collected, DigitPlan, Played};
pub use b2b_media::stream::{
    AudioStream, Interrupted, Levels, StreamCounters, StreamEnd, StreamEvent, StreamSpec, Turn,
};

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// WAV, MP3, FLAC or Ogg Vorbis; decoded once and shared by all listeners.
    File(#[serde(with = "super::json::shared_path")] Arc<Path>),
    /// A single or dual tone; the maximum level is 3 dBm0.
    Tone {
        /// Frequencies in Hz; 0 for none.
        hz: [u16; 2],
        /// The duration of the tone.
        lasts: Duration,
        /// The level of each frequency, in dBm0.
        dbm0: i8,
    },
    /// Silence of this duration.
    Silence(Duration),
}

impl Part {
    /// The default level of tones, in dBm0.
    pub const TONE_DBM0: i8 = -16;

    /// A tone of the default level.
    pub const fn tone(hz: u16, lasts: Duration) -> Part {
        Part::Tone { hz: [hz, 0], lasts, dbm0: Part::TONE_DBM0 }
    }
}

/// A prompt: parts that are played in sequence. Files are on the machine that carries the media.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Prompt {
    /// The parts, in playback order.
    pub parts: Vec<Part>,
    /// How often the whole prompt is played; 0 repeats it until it is stopped.
    pub times: u32,
}

impl Prompt {
    /// These parts, played once.
    pub fn new(parts: Vec<Part>) -> Self {
        Prompt { parts, times: 1 }
    }

    /// A file, played once.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Prompt::new(vec![Part::File(path.into().into())])
    }

    /// Appends a part.
    pub fn then(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// Repeats the prompt until it is stopped.
    pub fn forever(mut self) -> Self {
        self.times = 0;
        self
    }
}

/// A recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct RecordingId(pub u64);

/// The parameters of a recording.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordingSpec {
    /// A WAV file that does not exist yet, but for `append`; it has a temporary name until it is complete.
    pub path: PathBuf,
    /// Two channels: the party on the left, what it hears on the right; otherwise `mono`.
    pub stereo: bool,
    /// The one channel.
    #[serde(default, skip_serializing_if = "Mono::is_said")]
    pub mono: Mono,
    /// Sample rate in Hz: 8,000, 16,000 or 48,000.
    pub rate_hz: u32,
    /// How the file is coded; GSM takes one channel at 8 kHz.
    #[serde(default, skip_serializing_if = "Coding::is_pcm")]
    pub coding: Coding,
    /// The maximum duration.
    pub longest: Option<Duration>,
    /// Ends the recording after this much silence of the party: for voicemail.
    pub silence: Option<Duration>,
    /// Goes on in the WAV file of a process before, complete or not, with silence for the time in between. What is
    /// there counts for `longest`, and as spoken. Without a file it is a new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub append: bool,
}

impl RecordingSpec {
    /// Both directions at 8 kHz, without a limit.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (path, mono, coding) = (path.into(), Mono::Said, Coding::Pcm);
        let (longest, silence, append) = (None, None, false);
        RecordingSpec { path, stereo: true, mono, rate_hz: 8_000, coding, longest, silence, append }
    }
}

/// A finished recording; its file has its final name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recorded {
    /// The final path of the file.
    pub path: PathBuf,
    /// The duration of the audio in the file.
    pub lasts: Duration,
    /// How much of it the party was speaking.
    pub spoken: Duration,
    /// Why it ended early, as text: a full disk.
    pub error: Option<String>,
}

/// A conference room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ConferenceId(pub u64);

/// The parameters of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConferenceSpec {
    /// Sample rate of the mix in Hz: 8,000 or 16,000.
    pub rate_hz: u32,
    /// Maximum number of members.
    pub most: usize,
}
