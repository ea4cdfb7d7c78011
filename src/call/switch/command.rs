//! What the outside asks of the calls' thread, with the way back for the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::application::{AppId, Application, Message, ToApplication};
use crate::bridge_fsm::BridgeMode;
use crate::controller::{Hold, MediaController, Recorded, RecordingSpec};
use crate::event::Event;
use crate::handler::HandlerAction;
use crate::headers::HeaderRule;
use crate::leg_fsm::LegState;
use crate::lookup::{LookupError, LookupResult};
use crate::reason::Reason;
use crate::service::{
    CallEnd, CallError, DialError, DialRequest, LegMedia, Place, ReferError, ReferOutcome, ReferRequest,
    Watched,
};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::HeaderFields;

/// The way back of an answer. A receiver that is gone is no fault.
#[derive(Debug)]
pub(crate) struct Reply<T>(Way<T>);

#[derive(Debug)]
enum Way<T> {
    /// It stands in a command that was read from a journal.
    Nowhere,
    Waiter(oneshot::Sender<T>),
    Application(ToApplication<T>),
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Reply(Way::Nowhere)
    }
}

impl<T> From<oneshot::Sender<T>> for Reply<T> {
    fn from(sender: oneshot::Sender<T>) -> Self {
        Reply(Way::Waiter(sender))
    }
}

impl<T> From<ToApplication<T>> for Reply<T> {
    fn from(way: ToApplication<T>) -> Self {
        Reply(Way::Application(way))
    }
}

impl<T> Reply<T> {
    /// Gives the answer.
    ///
    /// # Errors
    /// Nobody waits for it.
    pub fn send(self, answer: T) -> Result<(), T> {
        match self.0 {
            Way::Nowhere => Err(answer),
            Way::Waiter(sender) => sender.send(answer),
            Way::Application(way) => {
                way.send(answer);
                Ok(())
            }
        }
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            Way::Nowhere => true,
            Way::Waiter(sender) => sender.is_closed(),
            Way::Application(_) => false,
        }
    }
}

/// When somebody wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Now,
    In(Duration),
    At(Instant),
}

/// What is wanted of a call's recording.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum Record {
    /// Into this file, or as the switch was told.
    Begin(Option<Box<RecordingSpec>>),
    Pause(bool),
    End,
}

/// What is wanted of a leg's own recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum RecordLeg {
    /// What it says, or both sides.
    Begin {
        both: bool,
    },
    Pause(bool),
    End,
}

/// One command.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    Lookup {
        target: String,
        #[serde(skip)]
        reply: Reply<Result<LookupResult, LookupError>>,
    },
    Adopt {
        leg: LegId,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    Answer {
        leg: LegId,
        /// Header fields of the 200.
        #[serde(with = "crate::controller::json::fields")]
        headers: HeaderFields,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    Reject {
        leg: LegId,
        status: u16,
        reason: String,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    Dial {
        request: Box<DialRequest>,
        /// Told at once which call it is.
        #[serde(skip)]
        started: Option<Reply<CallId>>,
        #[serde(skip)]
        reply: Reply<Result<LegId, DialError>>,
    },
    DialAndBridge {
        leg: LegId,
        request: Box<DialRequest>,
        #[serde(skip)]
        reply: Reply<Result<BridgeId, DialError>>,
    },
    Bridge {
        a: LegId,
        b: LegId,
        mode: BridgeMode,
        auto_hangup: bool,
        #[serde(skip)]
        reply: Reply<Result<BridgeId, CallError>>,
    },
    Transfer {
        leg: LegId,
        target: String,
        /// Changes to the INVITE of the target.
        rules: Arc<[HeaderRule]>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    /// Asks a party to call somebody by itself.
    Refer {
        leg: LegId,
        request: ReferRequest,
        #[serde(skip)]
        reply: Reply<Result<ReferOutcome, ReferError>>,
    },
    /// Puts a party on hold, with music for it or without a sound, or takes it back.
    Hold {
        leg: LegId,
        hold: Hold,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    Unbridge {
        leg: LegId,
        /// Whoever has this leg keeps it.
        kept: bool,
        #[serde(skip)]
        reply: Reply<Result<(CallId, LegId), CallError>>,
    },
    RecordLeg {
        leg: LegId,
        what: RecordLeg,
        #[serde(skip)]
        reply: Reply<Result<Option<Recorded>, CallError>>,
    },
    Hangup {
        leg: LegId,
        /// What the BYE, CANCEL or refusal says; none: nothing.
        #[serde(default)]
        reason: Option<Reason>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    HangupCall {
        call: CallId,
        /// As of [`Command::Hangup`], to each leg.
        #[serde(default)]
        reason: Option<Reason>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    SetVariable {
        of: Watched,
        name: String,
        value: String,
        /// What it becomes once the last leg is over, if that is another one.
        last: Option<String>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    Variables {
        of: Watched,
        #[serde(skip)]
        reply: Reply<Result<Vec<(String, String)>, CallError>>,
    },
    /// The same for a collection of digits, which may be secret.
    Collect {
        leg: LegId,
        secret: bool,
        #[serde(skip)]
        reply: Reply<Result<LegMedia, CallError>>,
    },
    /// The leg's endpoint, if it has been answered, and who carries it.
    Media {
        leg: LegId,
        #[serde(skip)]
        reply: Reply<Result<LegMedia, CallError>>,
    },
    #[serde(skip)]
    Controller {
        #[serde(skip)]
        reply: Reply<Arc<dyn MediaController>>,
    },
    Record {
        call: CallId,
        what: Record,
        #[serde(skip)]
        reply: Reply<Result<Option<Recorded>, CallError>>,
    },
    Enter {
        call: CallId,
        place: Place,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    /// What becomes of a number that this leg's party could dial itself.
    WhereTo {
        leg: LegId,
        target: String,
        #[serde(skip)]
        reply: Reply<Result<HandlerAction, CallError>>,
    },
    #[serde(skip)]
    Sleep {
        until: Until,
        #[serde(skip)]
        reply: Reply<Instant>,
    },
    #[serde(skip)]
    Spawn { work: Pin<Box<dyn Future<Output = ()> + Send>> },
    /// An application that belongs to no call begins.
    #[serde(skip)]
    Attend { app: AppId, machine: Box<dyn Application> },
    /// Word for an application, of another one or of a program.
    #[serde(skip)]
    Inform { app: AppId, from: Option<AppId>, message: Message },
    #[serde(skip)]
    Tell {
        event: Box<Event>,
        /// Who waits until it is told.
        told: Option<watch::Sender<bool>>,
    },
    /// Which call and leg it is.
    Locate {
        of: Watched,
        #[serde(skip)]
        reply: Reply<Result<(CallId, LegId), CallError>>,
    },
    StopDialling {
        leg: LegId,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    LetGo {
        leg: LegId,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    /// Whether it is in a bridge.
    Joined {
        leg: LegId,
        #[serde(skip)]
        reply: Reply<bool>,
    },
    /// Whether there is an application of this name.
    Knows {
        name: String,
        #[serde(skip)]
        reply: Reply<bool>,
    },
    /// To an application, as if this number had been called.
    Give {
        leg: LegId,
        name: String,
        number: Option<String>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    Watch {
        what: Watched,
        #[serde(skip)]
        reply: Reply<Result<CallEnd, CallError>>,
    },
    /// Told once the leg has come as far as this state, or is over.
    AwaitState {
        leg: LegId,
        state: LegState,
        #[serde(skip)]
        reply: Reply<Result<LegState, CallError>>,
    },
}
