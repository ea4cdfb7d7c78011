//! What a mailbox says: a prompt for each occasion. Where a server has no files, tones say it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::boxes::Age;
use crate::queue::Numbers;
use b2b_call::controller::{Part, Prompt};

/// An occasion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Word {
    /// Callers are asked to leave a message, where the mailbox has no greeting of its own.
    Greeting,
    /// From now on is recorded.
    Beep,
    /// The message is kept.
    Kept,
    /// The message was too short or silent.
    NotKept,
    /// The message is kept as far as there was room.
    Cut,
    /// There can be no message.
    NotRecorded,
    /// The mailbox takes no more messages.
    Full,
    AskMailbox,
    AskPin,
    Wrong,
    NoMessages,
    /// In front of the counts.
    YouHave,
    /// Behind the first count.
    NewMessages,
    /// Behind the second one.
    OldMessages,
    /// What keys do.
    Choices,
    Deleted,
    /// The message cannot be deleted.
    NotDone,
    NoMore,
    Goodbye,
}

impl Word {
    /// Every one.
    pub const ALL: [Word; 19] = [
        Word::Greeting,
        Word::Beep,
        Word::Kept,
        Word::NotKept,
        Word::Cut,
        Word::NotRecorded,
        Word::Full,
        Word::AskMailbox,
        Word::AskPin,
        Word::Wrong,
        Word::NoMessages,
        Word::YouHave,
        Word::NewMessages,
        Word::OldMessages,
        Word::Choices,
        Word::Deleted,
        Word::NotDone,
        Word::NoMore,
        Word::Goodbye,
    ];

    /// As configurations have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Word::Greeting => "greeting",
            Word::Beep => "beep",
            Word::Kept => "kept",
            Word::NotKept => "not_kept",
            Word::Cut => "cut",
            Word::NotRecorded => "not_recorded",
            Word::Full => "full",
            Word::AskMailbox => "ask_mailbox",
            Word::AskPin => "ask_pin",
            Word::Wrong => "wrong",
            Word::NoMessages => "no_messages",
            Word::YouHave => "you_have",
            Word::NewMessages => "new_messages",
            Word::OldMessages => "old_messages",
            Word::Choices => "choices",
            Word::Deleted => "deleted",
            Word::NotDone => "not_done",
            Word::NoMore => "no_more",
            Word::Goodbye => "goodbye",
        }
    }

    /// Tones that rise for what is good, and fall for what is not.
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

/// What is said on each occasion, and how numbers are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    files: BTreeMap<Word, PathBuf>,
    pub numbers: Numbers,
}

impl Words {
    /// A file for an occasion.
    pub fn set(&mut self, word: Word, file: impl Into<PathBuf>) {
        self.files.insert(word, file.into());
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = (Word, &PathBuf)> {
        self.files.iter().map(|(word, file)| (*word, file))
    }

    /// What is said.
    pub fn prompt(&self, word: Word) -> Prompt {
        if let Some(file) = self.files.get(&word) {
            return Prompt::file(file);
        }
        let tone = |hz: &u16| Part::tone(*hz, Duration::from_millis(120));
        Prompt::new(word.tones().iter().map(tone).collect())
    }

    /// How many messages: a number, or so many short tones, high ones for the new and low ones
    /// for the old; more than nine are nine.
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
