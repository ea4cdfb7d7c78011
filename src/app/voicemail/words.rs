//! The prompts of a mailbox, one per occasion. Without a file, tones are played.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::boxes::Age;
use crate::queue::Numbers;
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
    /// Asks callers to leave a message, if the mailbox has no greeting of its own.
    Greeting,
    /// Recording starts.
    Beep,
    /// The message was saved.
    Kept,
    /// The message was too short or silent.
    NotKept,
    /// The message was saved, but truncated by an error.
    Cut,
    /// The message could not be recorded.
    NotRecorded,
    /// The mailbox is full.
    Full,
    AskMailbox,
    AskPin,
    Wrong,
    NoMessages,
    /// Precedes the counts.
    YouHave,
    /// Follows the number of new messages.
    NewMessages,
    /// Follows the number of old messages.
    OldMessages,
    /// Explains the keys.
    Choices,
    Deleted,
    /// The message could not be deleted.
    NotDone,
    NoMore,
    Goodbye,
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
            Word::Greeting => &[440, 550, 660],
            Word::Beep => &[1_000, 1_000, 1_000],
            Word::Kept | Word::Deleted => &[440, 660],
            Word::NotKept | Word::Wrong | Word::NotDone => &[330],
            Word::Cut => &[660, 440],
            Word::NotRecorded | Word::Full => &[440, 330, 220, 220],
            Word::AskMailbox => &[550, 550],
            Word::AskPin => &[660, 660],
            Word::NoMessages | Word::NoMore => &[550, 440],
            Word::YouHave => &[550],
            Word::NewMessages | Word::OldMessages => &[],
            Word::Choices => &[660],
            Word::Goodbye => &[440, 330, 220],
        }
    }
}

/// The prompts by occasion, and the files for numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    files: BTreeMap<Word, PathBuf>,
    pub numbers: Numbers,
}

impl Words {
    /// Sets the file of an occasion.
    pub fn set(&mut self, word: Word, file: impl Into<PathBuf>) {
        self.files.insert(word, file.into());
    }

    /// The configured files.
    pub fn files(&self) -> impl Iterator<Item = (Word, &PathBuf)> {
        self.files.iter().map(|(word, file)| (*word, file))
    }

    /// The prompt of an occasion.
    pub fn prompt(&self, word: Word) -> Prompt {
        if let Some(file) = self.files.get(&word) {
            return Prompt::file(file);
        }
        let tone = |hz: &u16| Part::tone(*hz, Duration::from_millis(120));
        Prompt::new(word.tones().iter().map(tone).collect())
    }

    /// A number of messages: as files, or as that many short tones, high for new and low for old messages; at
    /// most nine.
    pub fn count(&self, count: usize, age: Age) -> Prompt {
        let said = self.numbers.say(count);
        if !said.is_empty() {
            return Prompt::new(said);
        }
        let hz = if age == Age::New { 880 } else { 440 };
        let beep = || [Part::tone(hz, Duration::from_millis(80)), Part::Silence(Duration::from_millis(120))];
        Prompt::new((0..count.min(9)).flat_map(|_| beep()).collect())
    }
}
