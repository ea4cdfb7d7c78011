//! Conference rooms.
//!
//! - `room`: the members of a room and the functions of keys, without I/O
//! - `words`: the prompts of a room
//! - `attend`: a caller's way through a room; `deeds`: the actions in a room, carried out in sequence;
//!   `orders`: the commands of programs
//!
//! The effects of an event are carried out by the application of the caller who caused it, or by a separate
//! one if that caller may be gone before they are done. A room begins with its first member and ends with its
//! last one.

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
use b2b_call::LegId;
use b2b_call::application::AppId;
use b2b_call::controller::{ConferenceId, RecordingId};

/// The configuration of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomConfig {
    /// The name; `conference/<name>` is the handler's name.
    pub name: String,
    /// Maximum number of members.
    pub most: usize,
    /// Sample rate of the mix in Hz: 8,000 or 16,000.
    pub rate_hz: u32,
    /// The PIN of participants; `None` admits everyone.
    pub pin: Option<SecretText>,
    /// The PIN of moderators; `None`: with a `pin` there are no moderators, without one every member is one.
    pub moderator_pin: Option<SecretText>,
    /// Participants hear music until a moderator is present, and are sent away when the last moderator
    /// leaves.
    pub needs_moderator: bool,
    /// The class of that music; `None` for silence.
    pub music: Option<String>,
    /// Whether joining and leaving are announced to all members.
    pub announced: bool,
    /// The folder of recordings; `None` disables recording, also by moderators.
    pub recordings: Option<PathBuf>,
    /// Whether the room is recorded from the beginning.
    pub recorded: bool,
    /// The application for members who leave by key; `None` hangs up.
    pub then: Option<String>,
    /// The prompts.
    pub words: Words,
}

impl RoomConfig {
    /// A room for 100 members at 16 kHz, without a PIN.
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

    /// The role for these digits; `None` for a wrong PIN. Without PINs none is asked for.
    pub fn role_for(&self, digits: &str) -> Option<Role> {
        let is = |pin: &SecretText| pin.reveal() == digits;
        if self.moderator_pin.as_ref().is_some_and(is) {
            return Some(Role::Moderator);
        }
        match &self.pin {
            Some(pin) => is(pin).then_some(Role::Participant),
            // Only moderators have a PIN.
            None => Some(Role::Participant),
        }
    }

    /// Whether a PIN is asked for.
    pub fn asks(&self) -> bool {
        self.pin.is_some() || self.moderator_pin.is_some()
    }
}

/// A room with the media that exists while it has members.
#[derive(Debug, Default)]
struct Live {
    room: Room,
    id: Option<ConferenceId>,
    recording: Option<RecordingId>,
    /// The applications of its members.
    apps: BTreeMap<LegId, AppId>,
}

/// The rooms of a server by name; they survive a configuration reload. Clones share them.
#[derive(Debug, Clone)]
pub struct Rooms {
    rooms: Arc<Mutex<BTreeMap<String, Arc<Mutex<Live>>>>>,
    prefix: Arc<str>,
    wrong_pins: WrongPins,
}

/// The public state of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    pub name: String,
    pub locked: bool,
    pub recording: bool,
    pub participants: Vec<Participant>,
}

impl Rooms {
    /// No rooms. Names of recordings begin with `prefix`, which must differ between starts of the server,
    /// such as the start time.
    pub fn new(prefix: &str, wrong_pins: WrongPins) -> Self {
        Rooms { rooms: Arc::default(), prefix: prefix.into(), wrong_pins }
    }

    fn prefix(&self) -> Arc<str> {
        self.prefix.clone()
    }

    /// The rooms that have members.
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

/// Held briefly, and never across a wait.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves no inconsistent state behind these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
