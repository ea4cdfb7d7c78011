//! Rooms: relayed parties that hear each other. Every member hears all the others; only the few
//! loudest are mixed, and members that only listen share one mix, encoded once per set of encoding
//! settings.
//!
//! - `receiver`: a party's packets to frames at the room's rate
//! - `speakers`: selects who is mixed, and detects who speaks
//! - `mixer`: the mixes, and the packets that listeners share
//! - `record`: the mix as packets for a recording
//!
//! No I/O, and time is an argument. Nothing is allocated per tick.

mod mixer;
mod receiver;
mod record;
mod speakers;

pub use mixer::{Chair, Payloads, Room};
pub use receiver::RoomReceiver;
pub use speakers::{MIXED, Speaker};

use crate::recording::Tap;
use crate::relay::{RelayId, Reply};
use crate::sounds::SoundError;
use crate::stage::{Played, Program};

/// Settings of a member of a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// The room does not hear the member.
    pub muted: bool,
    /// The member does not hear the room.
    pub deaf: bool,
    /// Volume of the room for the member, dB.
    pub volume_db: i8,
}

/// A command to a room.
#[derive(Debug)]
pub enum RoomAct {
    /// Opens the room, mixed at this rate: 8,000 or 16,000.
    Open { rate_hz: u32 },
    /// Adds a member, or updates its settings. `party` is its name in events.
    Enter { id: RelayId, party: RelayId, member: Member },
    /// Removes a member.
    Leave { id: RelayId },
    /// Plays a program to all members, after those queued already.
    Play { program: Box<Program>, reply: Reply<Result<Played, SoundError>> },
    /// Also sends the mix to a recording, in place of an earlier one.
    Record { tap: Box<Tap> },
    /// Closes the room.
    Close,
}
