//! What the outside asks of the calls' thread, with the way back for the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::bridge_fsm::BridgeMode;
use crate::controller::{Hold, MediaController, Recorded, RecordingSpec};
use crate::event::Event;
use crate::handler::HandlerAction;
use crate::headers::HeaderRule;
use crate::lookup::{LookupError, LookupResult};
use crate::service::{
    CallEnd, CallError, DialError, DialRequest, LegMedia, Place, ReferError, ReferOutcome, ReferRequest,
    Watched,
};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::HeaderFields;

/// Where an answer goes. A receiver that is gone is no fault.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// When somebody wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Now,
    In(Duration),
    At(Instant),
}

/// What is wanted of a call's recording.
pub(crate) enum Record {
    /// Into this file, or as the switch was told.
    Begin(Option<Box<RecordingSpec>>),
    Pause(bool),
    End,
}

/// What is wanted of a leg's own recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordLeg {
    /// What it says, or both sides.
    Begin {
        both: bool,
    },
    Pause(bool),
    End,
}

/// One command.
pub(crate) enum Command {
    Lookup {
        target: String,
        reply: Reply<Result<LookupResult, LookupError>>,
    },
    Adopt {
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    },
    Answer {
        leg: LegId,
        /// Header fields of the 200.
        headers: HeaderFields,
        reply: Reply<Result<(), CallError>>,
    },
    Reject {
        leg: LegId,
        status: u16,
        reason: String,
        reply: Reply<Result<(), CallError>>,
    },
    Dial {
        request: Box<DialRequest>,
        /// Told at once which call it is.
        started: Option<Reply<CallId>>,
        reply: Reply<Result<LegId, DialError>>,
    },
    DialAndBridge {
        leg: LegId,
        request: Box<DialRequest>,
        reply: Reply<Result<BridgeId, DialError>>,
    },
    Bridge {
        a: LegId,
        b: LegId,
        mode: BridgeMode,
        auto_hangup: bool,
        reply: Reply<Result<BridgeId, CallError>>,
    },
    Transfer {
        leg: LegId,
        target: String,
        /// Changes to the INVITE of the target.
        rules: Arc<[HeaderRule]>,
        reply: Reply<Result<(), CallError>>,
    },
    /// Asks a party to call somebody by itself.
    Refer {
        leg: LegId,
        request: ReferRequest,
        reply: Reply<Result<ReferOutcome, ReferError>>,
    },
    /// Puts a party on hold, with music for it or without a sound, or takes it back.
    Hold {
        leg: LegId,
        hold: Hold,
        reply: Reply<Result<(), CallError>>,
    },
    Unbridge {
        leg: LegId,
        /// Whoever has this leg keeps it.
        kept: bool,
        reply: Reply<Result<(CallId, LegId), CallError>>,
    },
    RecordLeg {
        leg: LegId,
        what: RecordLeg,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    },
    Hangup {
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    },
    HangupCall {
        call: CallId,
        reply: Reply<Result<(), CallError>>,
    },
    SetVariable {
        of: Watched,
        name: String,
        value: String,
        /// What it becomes once the last leg is over, if that is another one.
        last: Option<String>,
        reply: Reply<Result<(), CallError>>,
    },
    Variables {
        of: Watched,
        reply: Reply<Result<Vec<(String, String)>, CallError>>,
    },
    /// The same for a collection of digits, which may be secret.
    Collect {
        leg: LegId,
        secret: bool,
        reply: Reply<Result<LegMedia, CallError>>,
    },
    /// The leg's endpoint, if it has been answered, and who carries it.
    Media {
        leg: LegId,
        reply: Reply<Result<LegMedia, CallError>>,
    },
    Controller {
        reply: Reply<Arc<dyn MediaController>>,
    },
    Record {
        call: CallId,
        what: Record,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    },
    Enter {
        call: CallId,
        place: Place,
        reply: Reply<Result<(), CallError>>,
    },
    /// What becomes of a number that this leg's party could dial itself.
    WhereTo {
        leg: LegId,
        target: String,
        reply: Reply<Result<HandlerAction, CallError>>,
    },
    Sleep {
        until: Until,
        reply: Reply<Instant>,
    },
    Spawn {
        work: Pin<Box<dyn Future<Output = ()> + Send>>,
    },
    Tell {
        event: Box<Event>,
        /// What comes behind it.
        then: Option<Box<dyn FnOnce() + Send>>,
    },
    /// Which call and leg it is.
    Locate {
        of: Watched,
        reply: Reply<Result<(CallId, LegId), CallError>>,
    },
    StopDialling {
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    },
    LetGo {
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    },
    /// Whether it is in a bridge.
    Joined {
        leg: LegId,
        reply: Reply<bool>,
    },
    /// Whether there is an application of this name.
    Knows {
        name: String,
        reply: Reply<bool>,
    },
    /// To an application, as if this number had been called.
    Give {
        leg: LegId,
        name: String,
        number: Option<String>,
        reply: Reply<Result<(), CallError>>,
    },
    Watch {
        what: Watched,
        reply: Reply<Result<CallEnd, CallError>>,
    },
}
