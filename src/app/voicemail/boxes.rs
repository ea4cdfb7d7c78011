//! The messages of each mailbox, as far as the program needs them without reading the disk. Clones share
//! them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::wrong_pins::WrongPins;

/// The numbers of messages in a mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Counts {
    /// Not heard to the end yet.
    pub new: usize,
    /// Heard and kept.
    pub old: usize,
}

/// Whether a message was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Age {
    New,
    Old,
}

impl Age {
    /// The subfolder of a mailbox for messages of this age.
    pub const fn folder(self) -> &'static str {
        match self {
            Age::New => "new",
            Age::Old => "old",
        }
    }
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The file name; names sort by time.
    pub file: String,
    pub age: Age,
}

/// The mailboxes of a server; they survive a configuration reload. Clones share them.
///
/// Changes are reported on the bus by an application event `mailbox_changed` of [`super::VOICEMAIL`] with
/// `mailbox`, `new` and `old`.
#[derive(Debug, Clone, Default)]
pub struct Mailboxes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    boxes: Mutex<BTreeMap<String, Held>>,
    wrong_pins: WrongPins,
}

#[derive(Debug)]
struct Held {
    messages: BTreeMap<String, Age>,
    /// The number of messages being recorded.
    coming: usize,
}

impl Held {
    fn new(messages: Vec<Message>) -> Self {
        Held {
            messages: messages.into_iter().map(|message| (message.file, message.age)).collect(),
            coming: 0,
        }
    }

    fn counts(&self) -> Counts {
        let new = self.messages.values().filter(|age| **age == Age::New).count();
        Counts { new, old: self.messages.len() - new }
    }
}

impl Mailboxes {
    /// No mailboxes.
    pub fn new(wrong_pins: WrongPins) -> Self {
        Mailboxes(Arc::new(Inner { wrong_pins, ..Inner::default() }))
    }

    /// The counts of wrong PINs.
    pub(super) fn wrong_pins(&self) -> &WrongPins {
        &self.0.wrong_pins
    }

    /// The counts of a mailbox; `None` if it does not exist.
    pub fn counts(&self, mailbox: &str) -> Option<Counts> {
        self.lock().get(mailbox).map(Held::counts)
    }

    /// The messages of a mailbox: new ones, then old ones, oldest first.
    pub fn messages(&self, mailbox: &str) -> Vec<Message> {
        let boxes = self.lock();
        let Some(held) = boxes.get(mailbox) else { return Vec::new() };
        let of = |wanted: Age| held.messages.iter().filter(move |(_, age)| **age == wanted);
        let message = |(file, age): (&String, &Age)| Message { file: file.clone(), age: *age };
        of(Age::New).chain(of(Age::Old)).map(message).collect()
    }

    /// Whether it has this message, and of which age.
    pub fn age_of(&self, mailbox: &str, file: &str) -> Option<Age> {
        self.lock().get(mailbox)?.messages.get(file).copied()
    }

    /// Replaces the set of mailboxes. Existing ones keep their messages; `load` returns those of added ones.
    pub fn set<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        mut load: impl FnMut(&str) -> Vec<Message>,
    ) {
        let mut boxes = self.lock();
        let mut before = std::mem::take(&mut *boxes);
        for name in names {
            let held = before.remove(name).unwrap_or_else(|| Held::new(load(name)));
            boxes.insert(name.to_owned(), held);
        }
    }

    /// Reserves a place for a message, if fewer than `most` exist or are reserved.
    pub fn reserve(&self, mailbox: &str, most: usize) -> Option<Place> {
        let mut boxes = self.lock();
        let held = boxes.get_mut(mailbox).filter(|held| held.messages.len() + held.coming < most)?;
        held.coming += 1;
        Some(Place { mailboxes: self.clone(), mailbox: mailbox.to_owned() })
    }

    /// Adds a message or changes its age. Returns the counts if anything has changed.
    pub fn put(&self, mailbox: &str, message: Message) -> Option<Counts> {
        self.change(mailbox, |messages| messages.insert(message.file, message.age) != Some(message.age))
    }

    /// Removes a message. Returns the counts if it existed.
    pub fn remove(&self, mailbox: &str, file: &str) -> Option<Counts> {
        self.change(mailbox, |messages| messages.remove(file).is_some())
    }

    fn change(
        &self,
        mailbox: &str,
        change: impl FnOnce(&mut BTreeMap<String, Age>) -> bool,
    ) -> Option<Counts> {
        let mut boxes = self.lock();
        let held = boxes.get_mut(mailbox)?;
        change(&mut held.messages).then(|| held.counts())
    }

    /// Held briefly, and never across a wait.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.0.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place reserved for a message until it is dropped.
#[derive(Debug)]
pub struct Place {
    mailboxes: Mailboxes,
    mailbox: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(held) = self.mailboxes.lock().get_mut(&self.mailbox) {
            held.coming = held.coming.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(file: &str, age: Age) -> Message {
        Message { file: file.to_owned(), age }
    }

    fn counts(new: usize, old: usize) -> Option<Counts> {
        Some(Counts { new, old })
    }

    #[test]
    fn counts_follow_the_messages() {
        let boxes = Mailboxes::default();
        boxes.set(["a", "b"], |name| match name {
            "a" => vec![message("1.wav", Age::Old), message("3.wav", Age::New)],
            _ => Vec::new(),
        });
        assert_eq!(
            (boxes.counts("a"), boxes.counts("b"), boxes.counts("c")),
            (counts(1, 1), counts(0, 0), None)
        );
        assert_eq!(boxes.put("a", message("2.wav", Age::New)), counts(2, 1));
        let files: Vec<String> = boxes.messages("a").into_iter().map(|it| it.file).collect();
        assert_eq!(files, ["2.wav", "3.wav", "1.wav"], "new ones first, the oldest of them first");
        assert_eq!(boxes.put("a", message("2.wav", Age::Old)), counts(1, 2));
        assert_eq!(boxes.put("a", message("2.wav", Age::Old)), None, "nothing new");
        assert_eq!(boxes.remove("a", "2.wav"), counts(1, 1));
        assert_eq!((boxes.remove("a", "2.wav"), boxes.remove("c", "2.wav")), (None, None));
    }

    #[test]
    fn another_configuration_keeps_what_is_there_and_ends_what_goes() {
        let boxes = Mailboxes::default();
        boxes.set(["a", "b"], |_| vec![message("1.wav", Age::New)]);
        boxes.put("a", message("2.wav", Age::New));
        boxes.set(["a", "c"], |name| {
            assert_eq!(name, "c", "what is there is not read again");
            Vec::new()
        });
        assert_eq!(
            (boxes.counts("a"), boxes.counts("b"), boxes.counts("c")),
            (counts(2, 0), None, counts(0, 0))
        );
    }

    #[test]
    fn places_are_kept_for_messages_that_are_being_left() {
        let boxes = Mailboxes::default();
        boxes.set(["a"], |_| vec![message("1.wav", Age::Old)]);
        let place = boxes.reserve("a", 2).unwrap();
        assert!(boxes.reserve("a", 2).is_none() && boxes.reserve("b", 2).is_none());
        drop(place);
        assert!(boxes.reserve("a", 2).is_some());
    }
}
