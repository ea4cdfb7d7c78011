//! Transfers and REFERs under way, as values.

use std::sync::Arc;
use std::time::Instant;

use crate::LegId;
use crate::bridge_fsm::BridgeMode;
use crate::handler::{HandlerAction, Party as Named};
use crate::service::command::Reply;
use crate::service::{CallError, ReferError, ReferOutcome};
use b2b_sip::endpoint::{ReferId, UsageId};

/// A REFER that a party has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PartyRefer {
    pub usage: UsageId,
    pub refer: ReferId,
}

/// The recipient of a transfer's progress.
pub(crate) type Referrer = Option<PartyRefer>;

/// The legs of a bridge, of which one is transferred by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct TransferLegs {
    /// The referrer's.
    pub leaves: LegId,
    pub stays: LegId,
}

/// The leg that takes the referrer's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub leg: LegId,
    /// It may use direct media.
    pub direct: bool,
    /// It has to be offered its new partner's media, too.
    pub back: bool,
}

/// Where a REFER leads.
pub(crate) struct ReferTarget {
    pub target: String,
    /// The dialog that the INVITE to it is to replace.
    pub replaces: Option<String>,
    /// Hosts of From and To of the dialog of the REFER.
    pub hosts: Vec<String>,
}

/// The options of a bridge that has been replaced by another one.
pub(crate) struct BridgeOptions {
    pub mode: BridgeMode,
    pub auto_hangup: bool,
    /// Its media was allowed to go direct.
    pub direct: bool,
}

/// The requester of the decision on a target.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum AskedBy {
    /// A transfer by REFER.
    Transfer { replaces: Option<String> },
    /// An application, about a number.
    Application(Reply<Result<HandlerAction, CallError>>),
}

/// The receiver of a REFER's progress.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Told {
    /// The party whose REFER was passed on.
    Party(PartyRefer),
    /// The sender of the command.
    Command(Box<Commanded>),
}

/// A REFER by command.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Commanded {
    /// The leg of the command: the partner of the REFER's leg, or that leg itself.
    pub by: LegId,
    pub progress: Progress,
    pub reply: Reply<Result<ReferOutcome, ReferError>>,
}

/// The progress of a REFER by command. A NOTIFY may come before the 2xx (RFC 3515 §2.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Progress {
    /// No response and no NOTIFY yet.
    Sent,
    /// Accepted by the party; the latest status notified, 202 until there is one.
    Taken(u16),
}

/// An event of a REFER by command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The status of its final response; `None`: there was no response.
    Answer(Option<u16>),
    /// The status in a NOTIFY.
    Status(u16),
    /// No further NOTIFY will come.
    NoMore,
    /// The party has hung up.
    Left,
    /// The leg has ended in another way: by us, for loss of media, or with the call.
    Ended,
}

impl Progress {
    /// The next progress, or the outcome.
    pub(crate) fn step(self, heard: Heard) -> Result<Progress, Result<ReferOutcome, ReferError>> {
        match (self, heard) {
            (_, Heard::Answer(None)) => Err(Err(ReferError::Refused(408))),
            (_, Heard::Answer(Some(status @ 300..))) => Err(Err(ReferError::Refused(status))),
            (Progress::Sent, Heard::Answer(Some(status))) => Ok(Progress::Taken(status)),
            (Progress::Taken(_), Heard::Answer(Some(_))) => Ok(self),
            (_, Heard::Status(status @ ..200)) => Ok(Progress::Taken(status)),
            (_, Heard::Status(status @ 200..300)) => Err(Ok(ReferOutcome { status, confirmed: true })),
            (_, Heard::Status(status)) => Err(Err(ReferError::Failed(status))),
            (_, Heard::NoMore) => Err(Err(ReferError::Unknown)),
            // Providers hang up as soon as they have accepted: the transfer counts as done, as far as can be
            // seen.
            (Progress::Taken(status), Heard::Left) => Err(Ok(ReferOutcome { status, confirmed: false })),
            (Progress::Sent, Heard::Left) | (_, Heard::Ended) => Err(Err(ReferError::Gone)),
        }
    }
}

/// A REFER that was passed on.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct PassedRefer {
    #[serde(with = "b2b_base::ages")]
    pub at: Instant,
    /// The referred party, and the referrer.
    pub to: Arc<Named>,
    pub by: Arc<Named>,
}
