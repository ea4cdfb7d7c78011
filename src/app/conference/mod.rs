//! Rooms in which callers talk to each other.
//!
//! - `room`: who is in a room and what keys do there, without I/O
//! - `words`: what a room says
//! - `attend`: a caller's way through a room; `deeds`: what is to be done there, one after the other;
//!   `orders`: what programs want of it
//!
//! What happens to a room is carried out by the caller who made it happen, or by itself where they may be
//! gone before it is done. It begins with its first member and ends with its last one.

mod attend;
#[cfg(test)]
mod attend_tests;
mod deeds;
mod orders;
mod room;
#[cfg(test)]
mod room_tests;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use attend::Conference;
pub use orders::NotDone;
pub use room::{Deed, Left, Order, Participant, Refused, Role, Room};
pub use words::{Word, Words};

use crate::wrong_pins::WrongPins;
use b2b_base::util::secret::SecretText;
use b2b_call::controller::{ConferenceId, RecordingId};

/// What a room is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomConfig {
    /// `conference/<name>` is the handler's name.
    pub name: String,
    /// Members at most.
    pub most: usize,
    /// Samples a second of what is mixed: 8,000 or 16,000.
    pub rate_hz: u32,
    /// What lets somebody in; none: everybody is.
    pub pin: Option<SecretText>,
    /// What makes somebody a moderator; none: with a `pin` nobody is, without one everybody.
    pub moderator_pin: Option<SecretText>,
    /// Others hear music until a moderator is there, and are sent away when the last one goes.
    pub needs_moderator: bool,
    /// Class of that music; none: silence.
    pub music: Option<String>,
    /// Whether coming and going is heard by all.
    pub announced: bool,
    /// What is said is recorded into this folder from the beginning; none: where a moderator asks
    /// for it there is no folder, and nothing is recorded.
    pub recordings: Option<PathBuf>,
    /// Whether it is recorded without being asked for.
    pub recorded: bool,
    /// Who leaves by key is given to this application; none: hung up.
    pub then: Option<String>,
    /// What it says.
    pub words: Words,
}

impl RoomConfig {
    /// A room for 100 at 16 kHz, without a PIN.
    pub fn new(name: impl Into<String>) -> Self {
        RoomConfig {
            name: name.into(),
            most: 100,
            rate_hz: 16_000,
            pin: None,
            moderator_pin: None,
            needs_moderator: false,
            music: None,
            announced: true,
            recordings: None,
            recorded: false,
            then: None,
            words: Words::default(),
        }
    }

    /// Who comes in with these digits; none: nobody. Without PINs nothing is asked for.
    pub fn role_for(&self, digits: &str) -> Option<Role> {
        let is = |pin: &SecretText| pin.reveal() == digits;
        if self.moderator_pin.as_ref().is_some_and(is) {
            return Some(Role::Moderator);
        }
        match &self.pin {
            Some(pin) => is(pin).then_some(Role::Participant),
            // Only moderators have something to say.
            None => Some(Role::Participant),
        }
    }

    /// Whether a PIN is asked for.
    pub fn asks(&self) -> bool {
        self.pin.is_some() || self.moderator_pin.is_some()
    }
}

/// A room with the media that it has while somebody is there.
#[derive(Debug, Default)]
struct Live {
    room: Room,
    id: Option<ConferenceId>,
    recording: Option<RecordingId>,
    /// Recordings so far, for their names.
    recorded: u64,
}

/// The rooms of a server by their names; they outlive a change of its configuration. A handle
/// that can be cloned.
#[derive(Debug, Clone)]
pub struct Rooms {
    rooms: Arc<Mutex<BTreeMap<String, Arc<Mutex<Live>>>>>,
    prefix: Arc<str>,
    wrong_pins: WrongPins,
}

/// What can be seen of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    pub name: String,
    pub locked: bool,
    pub recording: bool,
    pub participants: Vec<Participant>,
}

impl Rooms {
    /// None yet. Names of recordings begin with `prefix`, which is another one at each start of a
    /// server, such as its time.
    pub fn new(prefix: &str) -> Self {
        Rooms { rooms: Arc::default(), prefix: prefix.into(), wrong_pins: WrongPins::default() }
    }

    fn prefix(&self) -> Arc<str> {
        self.prefix.clone()
    }

    /// Rooms in which somebody is.
    pub fn view(&self) -> Vec<RoomView> {
        let rooms: Vec<_> =
            lock(&self.rooms).iter().map(|(name, live)| (name.clone(), live.clone())).collect();
        rooms
            .into_iter()
            .filter_map(|(name, live)| {
                let live = lock(&live);
                let (locked, recording) = (live.room.is_locked(), live.recording.is_some());
                let participants = live.room.participants().to_vec();
                (!participants.is_empty()).then_some(RoomView { name, locked, recording, participants })
            })
            .collect()
    }

    fn live(&self, name: &str) -> Arc<Mutex<Live>> {
        lock(&self.rooms).entry(name.to_owned()).or_default().clone()
    }
}

/// Held for a moment, and never while somebody waits.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves nothing half done behind these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
