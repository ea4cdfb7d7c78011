//! The prompts of a room, one per occasion. Without a file, tones are played.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use b2b_call::controller::{Part, Prompt};

/// An occasion for a prompt.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    IntoStaticStr,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Word {
    /// The caller is asked for the PIN.
    AskPin,
    WrongPin,
    /// After three wrong PINs.
    Goodbye,
    Full,
    Locked,
    /// The first member is alone.
    Alone,
    /// Members wait for a moderator.
    NoModerator,
    /// To all: a member has joined.
    Joined,
    /// To all: a member has left.
    Gone,
    Muted,
    Unmuted,
    /// To all: the room was locked.
    RoomLocked,
    RoomUnlocked,
    /// To all: the room is being recorded.
    Recording,
    RecordingEnds,
    /// The key has no function, or not for this member.
    Refused,
}

impl Word {
    /// Every occasion.
    pub const ALL: &[Word] = Word::VARIANTS;

    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The tones: rising for success, falling for failure.
    fn tones(self) -> &'static [u16] {
        match self {
            Word::AskPin => &[660, 660],
            Word::WrongPin | Word::Refused => &[330],
            Word::Goodbye | Word::Full | Word::Locked => &[440, 330, 220],
            Word::Alone => &[550],
            Word::NoModerator => &[550, 440],
            Word::Joined => &[440, 660],
            Word::Gone => &[660, 440],
            Word::Muted => &[660, 330],
            Word::Unmuted => &[330, 660],
            Word::RoomLocked => &[550, 550, 330],
            Word::RoomUnlocked => &[550, 550, 660],
            Word::Recording => &[880, 880, 880],
            Word::RecordingEnds => &[880, 880, 440],
        }
    }
}

/// The prompts by occasion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(BTreeMap<Word, PathBuf>);

impl Words {
    /// Sets the file of an occasion.
    pub fn set(&mut self, word: Word, file: impl Into<PathBuf>) {
        self.0.insert(word, file.into());
    }

    /// The configured files.
    pub fn files(&self) -> impl Iterator<Item = (Word, &PathBuf)> {
        self.0.iter().map(|(word, file)| (*word, file))
    }

    /// The prompt of an occasion.
    pub fn prompt(&self, word: Word) -> Prompt {
        if let Some(file) = self.0.get(&word) {
            return Prompt::file(file);
        }
        let tone = |hz: &u16| Part::tone(*hz, Duration::from_millis(120));
        Prompt::new(word.tones().iter().map(tone).collect())
    }
}
