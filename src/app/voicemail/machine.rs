//! Leaving and hearing messages as machines: actions come out, their results go in. No I/O.
//!
//! Leaving a message:
//!
//! | state | action | next |
//! |---|---|---|
//! | `Greeting` | play the greeting, until a key is pressed | `Beep` |
//! | `Beep` | play a beep | `Recording` |
//! | `Recording` | record | good: `Keeping`; too short or silent: `Discarding`; none: `Last` |
//! | `Keeping` | save the message | `Last` |
//! | `Discarding` | delete the recording | `Last` |
//! | `Last` | play the result | hang up |
//!
//! Hearing messages:
//!
//! | state | action | next |
//! |---|---|---|
//! | `Mailbox` | ask callers from other phones for a mailbox | `Pin`, whether it exists or not |
//! | `Pin` | ask for the PIN | right: `Opening`; wrong: `Mailbox` or again, three times |
//! | `Opening` | read the messages | `Counting`; none: `Last` |
//! | `Counting` | say how many there are | `Playing` the first |
//! | `Playing` | play a message | its end: `Ageing`, then `Choosing`; a key: see below; no file: the next |
//! | `Choosing` | explain the keys | a key: see below; none: the next |
//! | `Deleting` | delete a message | `Deleted`, then the next |
//!
//! | key | function |
//! |---|---|
//! | 1, 5 | repeat the message |
//! | 2, 6, # | the next message; this one becomes old |
//! | 3, 7 | delete the message |
//! | 4 | the previous message |
//! | 9, * | hang up |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boxes::Age;
use super::words::Word;
use b2b_base::util::secret::SecretText;

/// Maximum number of attempts for the PIN.
const TRIES: usize = 3;
/// Shorter messages are discarded.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// Messages with less speech are discarded.
const LEAST: Duration = Duration::from_millis(200);

/// A part of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying {
    Word(Word),
    Number(usize, Age),
    /// The greeting of the mailbox, or the default one.
    Greeting,
    /// A message, by its index.
    Message(usize),
}

/// The keys to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// One key, until the announcement ends.
    Meanwhile,
    /// One key, until some time after the announcement.
    Choice,
    /// The number of a mailbox.
    Mailbox,
    /// A PIN, which is hidden.
    Pin,
}

/// The next action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    /// Plays it to the end; parts that cannot be played are skipped.
    Say(Vec<Saying>),
    Ask(Vec<Saying>, Keys),
    /// Records until the caller hangs up, presses `#`, is silent, or the maximum duration is reached.
    Record,
    /// Saves the recording as a message.
    Keep,
    /// Deletes the recording.
    Discard,
    /// Reads the messages of this mailbox.
    Open(String),
    /// Marks this message as old.
    Age(usize),
    /// Deletes this message.
    Delete(usize),
    HangUp,
}

/// The result of an action.
#[derive(Clone, PartialEq, Eq)]
pub enum Came {
    Said,
    /// It could not be played: the file does not exist.
    NotSaid,
    /// The keys pressed, possibly none.
    Keys(String),
    /// A recording: its duration, the duration of speech in it, and whether an error truncated it.
    Recorded {
        lasts: Duration,
        spoken: Duration,
        cut: bool,
    },
    NotRecorded,
    /// The messages of the mailbox.
    Opened(Vec<Age>),
    Done,
    NotDone,
}

/// Hides the keys, which may be a PIN.
impl std::fmt::Debug for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Came::Said => "Said",
            Came::NotSaid => "NotSaid",
            Came::Keys(keys) if keys.is_empty() => "Keys(none)",
            Came::Keys(_) => "Keys(…)",
            Came::Recorded { .. } => "Recorded",
            Came::NotRecorded => "NotRecorded",
            Came::Opened(_) => "Opened",
            Came::Done => "Done",
            Came::NotDone => "NotDone",
        })
    }
}

fn words<const N: usize>(words: [Word; N]) -> Vec<Saying> {
    words.map(Saying::Word).to_vec()
}

/// A caller who leaves a message; see the module documentation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Leaving(LeavingAt);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum LeavingAt {
    Greeting,
    Beep,
    Recording,
    /// The prompt after it is saved.
    Keeping(Word),
    Discarding,
    /// The last prompt before the goodbye.
    Last(Word),
    Over,
}

impl Leaving {
    /// The beginning; `room`: whether the mailbox has room for another message.
    pub fn begin(room: bool) -> (Leaving, Do) {
        let leaving = Leaving(if room { LeavingAt::Greeting } else { LeavingAt::Last(Word::Full) });
        let act = leaving.act();
        (leaving, act)
    }

    /// The action of the state: once more in the process after the one that has begun it.
    pub fn act(&self) -> Do {
        match self.0 {
            LeavingAt::Greeting => Do::Ask(vec![Saying::Greeting], Keys::Meanwhile),
            LeavingAt::Beep => Do::Say(words([Word::Beep])),
            LeavingAt::Recording => Do::Record,
            LeavingAt::Keeping(_) => Do::Keep,
            LeavingAt::Discarding => Do::Discard,
            LeavingAt::Last(word) => Do::Say(words([word, Word::Goodbye])),
            LeavingAt::Over => Do::HangUp,
        }
    }

    /// The next action after this result.
    pub fn came(&mut self, came: &Came) -> Do {
        use LeavingAt as At;
        self.0 = match (self.0, came) {
            (At::Greeting, _) => At::Beep,
            (At::Beep, _) => At::Recording,
            (At::Recording, Came::Recorded { lasts, spoken, .. }) if *lasts < SHORTEST || *spoken < LEAST => {
                At::Discarding
            }
            (At::Recording, Came::Recorded { cut: true, .. }) => At::Keeping(Word::Cut),
            (At::Recording, Came::Recorded { .. }) => At::Keeping(Word::Kept),
            (At::Keeping(word), Came::Done) => At::Last(word),
            (At::Recording | At::Keeping(_), _) => At::Last(Word::NotRecorded),
            (At::Discarding, _) => At::Last(Word::NotKept),
            (At::Last(_) | At::Over, _) => At::Over,
        };
        self.act()
    }
}

/// The PINs of mailboxes.
pub type Pins = Arc<BTreeMap<String, SecretText>>;

/// A caller who hears messages; see the module documentation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hearing {
    #[serde(skip)]
    pins: Pins,
    /// The mailbox of the caller's phone, if it is known.
    #[serde(skip)]
    owner: Option<String>,
    mailbox: String,
    wrong: usize,
    /// `None` for a deleted message.
    messages: Vec<Option<Age>>,
    at: HearingAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum HearingAt {
    Mailbox,
    Pin,
    Opening,
    Counting,
    Playing(usize),
    /// Heard to the end, or skipped: the next step follows.
    Ageing(usize, Next),
    Choosing(usize),
    Deleting(usize),
    Deleted(usize),
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Next {
    Choose,
    Go,
}

impl Hearing {
    /// The beginning; `owner`: the mailbox of the caller's phone.
    pub fn begin(pins: Pins, owner: Option<String>) -> (Hearing, Do) {
        let mut hearing = Hearing {
            pins,
            mailbox: String::new(),
            owner,
            wrong: 0,
            messages: Vec::new(),
            at: HearingAt::Mailbox,
        };
        let act = hearing.asks(None);
        (hearing, act)
    }

    /// A caller of the process before; `of` is how one begins here.
    pub fn goes_on(self, of: Hearing) -> Hearing {
        Hearing { pins: of.pins, owner: of.owner, ..self }
    }

    /// The action of the state once more. `ages` are those that the messages have now, `None` for one that is gone.
    pub fn again(&mut self, ages: Vec<Option<Age>>) -> Do {
        use HearingAt as At;
        self.messages = ages;
        match self.at {
            At::Mailbox => self.asks(None),
            At::Pin => self.asks_pin(None),
            At::Opening => Do::Open(self.mailbox.clone()),
            At::Counting => self.counts(&self.messages.iter().copied().flatten().collect::<Vec<_>>()),
            At::Playing(n) => self.plays(n),
            At::Ageing(n, next) => self.ages(n, next),
            At::Choosing(n) => self.follows(n, Next::Choose),
            At::Deleting(n) => Do::Delete(n),
            At::Deleted(n) => self.tells(n),
            At::Last => self.last([Word::Goodbye]),
        }
    }

    /// The mailbox in use; empty if none was entered yet.
    pub fn mailbox(&self) -> &str {
        &self.mailbox
    }

    /// The number of refused inputs so far.
    pub fn refused(&self) -> usize {
        self.wrong
    }

    /// The next action after this result.
    pub fn came(&mut self, came: Came) -> Do {
        use HearingAt as At;
        match (self.at, came) {
            (At::Mailbox, Came::Keys(mailbox)) => {
                self.mailbox = mailbox;
                self.asks_pin(None)
            }
            (At::Pin, Came::Keys(pin)) => {
                let right = self.pins.get(&self.mailbox).is_some_and(|it| it.reveal() == pin);
                match right {
                    true => self.goes(At::Opening, Do::Open(self.mailbox.clone())),
                    false => self.refuses(),
                }
            }
            (At::Mailbox | At::Pin, _) => self.refuses(),
            (At::Opening, Came::Opened(messages)) => {
                self.messages = messages.iter().copied().map(Some).collect();
                self.counts(&messages)
            }
            (At::Counting, _) => self.plays(0),
            (At::Playing(n), Came::Keys(keys)) if keys.is_empty() => self.ages(n, Next::Choose),
            (At::Playing(n), Came::NotSaid) => self.plays(n + 1),
            (At::Choosing(n), Came::Keys(keys)) if keys.is_empty() => self.plays(n + 1),
            (At::Playing(n) | At::Choosing(n), Came::Keys(keys)) => self.key(n, &keys),
            (At::Playing(n) | At::Choosing(n), _) => self.plays(n + 1),
            (At::Ageing(n, next), came) => {
                if came == Came::Done {
                    self.messages[n] = Some(Age::Old);
                }
                self.follows(n, next)
            }
            (At::Deleting(n), Came::Done) => {
                self.messages[n] = None;
                self.tells(n)
            }
            (At::Deleting(n), _) => self.tells(n),
            (At::Deleted(n), _) => self.plays(n + 1),
            (At::Opening | At::Last, _) => self.goes(At::Last, Do::HangUp),
        }
    }

    fn goes(&mut self, at: HearingAt, act: Do) -> Do {
        self.at = at;
        act
    }

    fn last<const N: usize>(&mut self, said: [Word; N]) -> Do {
        self.goes(HearingAt::Last, Do::Say(words(said)))
    }

    /// Asks for the mailbox or its PIN; `before` is played first.
    fn asks(&mut self, before: Option<Word>) -> Do {
        match self.owner.clone() {
            Some(owner) => {
                self.mailbox = owner;
                self.asks_pin(before)
            }
            None => {
                let said = before.into_iter().chain([Word::AskMailbox]).map(Saying::Word).collect();
                self.goes(HearingAt::Mailbox, Do::Ask(said, Keys::Mailbox))
            }
        }
    }

    fn asks_pin(&mut self, before: Option<Word>) -> Do {
        let said = before.into_iter().chain([Word::AskPin]).map(Saying::Word).collect();
        self.goes(HearingAt::Pin, Do::Ask(said, Keys::Pin))
    }

    fn refuses(&mut self) -> Do {
        self.wrong += 1;
        match self.wrong < TRIES {
            true => self.asks(Some(Word::Wrong)),
            false => self.last([Word::Wrong, Word::Goodbye]),
        }
    }

    fn counts(&mut self, messages: &[Age]) -> Do {
        let of = |age: Age| messages.iter().filter(|it| **it == age).count();
        let (new, old) = (of(Age::New), of(Age::Old));
        if new + old == 0 {
            return self.last([Word::NoMessages, Word::Goodbye]);
        }
        let mut said = words([Word::YouHave]);
        for (count, age, word) in [(new, Age::New, Word::NewMessages), (old, Age::Old, Word::OldMessages)] {
            if count > 0 {
                said.extend([Saying::Number(count, age), Saying::Word(word)]);
            }
        }
        self.goes(HearingAt::Counting, Do::Ask(said, Keys::Meanwhile))
    }

    /// Says whether this message is deleted.
    fn tells(&mut self, n: usize) -> Do {
        let is_there = self.messages.get(n).is_some_and(Option::is_some);
        let word = if is_there { Word::NotDone } else { Word::Deleted };
        self.goes(HearingAt::Deleted(n), Do::Ask(words([word]), Keys::Meanwhile))
    }

    /// Plays the first message from this index on.
    fn plays(&mut self, from: usize) -> Do {
        match (from..self.messages.len()).find(|n| self.messages[*n].is_some()) {
            Some(n) => self.goes(HearingAt::Playing(n), Do::Ask(vec![Saying::Message(n)], Keys::Meanwhile)),
            None => self.last([Word::NoMore, Word::Goodbye]),
        }
    }

    fn ages(&mut self, n: usize, next: Next) -> Do {
        match self.messages.get(n) {
            Some(Some(Age::New)) => self.goes(HearingAt::Ageing(n, next), Do::Age(n)),
            _ => self.follows(n, next),
        }
    }

    fn follows(&mut self, n: usize, next: Next) -> Do {
        match next {
            Next::Choose => self.goes(HearingAt::Choosing(n), Do::Ask(words([Word::Choices]), Keys::Choice)),
            Next::Go => self.plays(n + 1),
        }
    }

    fn key(&mut self, n: usize, keys: &str) -> Do {
        match keys {
            "1" | "5" => self.plays(n),
            "2" | "6" | "#" => self.ages(n, Next::Go),
            "3" | "7" => self.goes(HearingAt::Deleting(n), Do::Delete(n)),
            "4" => {
                let before = (0..n).rev().find(|n| self.messages[*n].is_some());
                self.plays(before.unwrap_or(n))
            }
            "9" | "*" => self.last([Word::Goodbye]),
            _ => self.follows(n, Next::Choose),
        }
    }
}

#[cfg(test)]
mod tests;
