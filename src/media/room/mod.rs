//! Rooms: parties of the relay that hear each other. Everybody hears all the others; the few
//! who are loudest are mixed, and those who only listen share one mix, which is encoded once
//! for each way of encoding it.
//!
//! - `receiver`: a party's packets to frames at the room's rate
//! - `speakers`: who is mixed, and who speaks
//! - `mixer`: the sums, and the packets that listeners share
//! - `record`: the mix, for a recording
//!
//! No I/O, and time is an argument. Nothing is allocated for a tick.

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

/// How somebody is in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// The room does not hear it.
    pub muted: bool,
    /// It does not hear the room.
    pub deaf: bool,
    /// How loud the room is for it, dB.
    pub volume_db: i8,
}

/// What a media thread is told of a room.
#[derive(Debug)]
pub enum RoomAct {
    /// There is one, mixed at this rate: 8,000 or 16,000.
    Open { rate_hz: u32 },
    /// Somebody enters, or is there in another way now. `party` is what events call it.
    Enter { id: RelayId, party: RelayId, member: Member },
    /// Somebody leaves.
    Leave { id: RelayId },
    /// All hear this, after what they are to hear already.
    Play { program: Box<Program>, reply: Reply<Result<Played, SoundError>> },
    /// What is mixed goes to a recording, too; in the place of one that it went to before.
    Record { tap: Box<Tap> },
    /// There is none any more.
    Close,
}
