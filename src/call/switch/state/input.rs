//! What comes to a call from outside, as a value.

use std::net::SocketAddr;

use crate::LegId;
use crate::event::DigitBy;
use crate::service::command::Command;
use crate::switch::dial::{BranchNo, Silence};
use crate::switch::state::follow::Follow;
use b2b_sip::endpoint::UsageEvent;

/// An input of a call.
pub(crate) enum CallInput {
    /// An event of a leg's dialog, and where its message came from.
    Signalled { leg: LegId, event: UsageEvent },
    /// A command.
    Command(Command),
    /// A consequence of an earlier step, or the answer to a request.
    Follow(Follow),
    /// The call's timer fires. `silent`: the branches whose time for a response is over.
    Timeout { silent: Vec<(BranchNo, Silence)> },
    /// A branch's INVITE has waited.
    BranchWakes { caller: Option<LegId>, leg: LegId },
    /// The source of a party's RTP is known.
    HeardFrom { leg: LegId, from: SocketAddr },
    /// A party's RTP has ceased.
    Silent { leg: LegId },
    /// A leg has lost its media.
    MediaLost { leg: LegId, reason: String },
    /// The process before was lost, and a leg of its call ends; `goes_on`: the call does not.
    ProcessLost { leg: LegId, reason: String, goes_on: bool },
    /// A party presses a key. `passed_on`: media has told the other party.
    Digit { leg: LegId, digit: char, duration_ms: u32, by: DigitBy, passed_on: bool },
    /// A recording of the call, or of a leg in it, has ended by this error.
    RecordingFailed { error: String },
    /// Hang up a leg.
    HangUp { leg: LegId },
    /// Wait no longer for a party's answers: its leg is over.
    GiveUp { leg: LegId },
    /// No handler resumes a leg's call.
    NotResumed { leg: LegId },
}
