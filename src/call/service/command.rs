//! Commands from outside to the calls' thread, with the return path of each answer.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::{oneshot, watch};

use crate::application::{AppId, Application, Message, ToApplication};
use crate::bridge_fsm::BridgeMode;
use crate::controller::{Answer, AudioStream, Hold, Recorded, RecordingSpec, StreamSpec, Verb};
use crate::event::Event;
use crate::handler::HandlerAction;
use crate::headers::HeaderRule;
use crate::leg_fsm::LegState;
use crate::lookup::{LookupError, LookupResult};
use crate::reason::Reason;
use crate::service::{
    CallEnd, CallError, DialError, DialRequest, Place, ReferError, ReferOutcome, ReferRequest, Watched,
};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::HeaderFields;

/// The return path of an answer. A receiver that has gone is no error.
pub(crate) struct Reply<T>(Cell<Way<T>>);

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

enum Way<T> {
    /// The command was read from a journal.
    Nowhere,
    Waiter(oneshot::Sender<T>),
    Application(ToApplication<T>),
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Reply(Cell::new(Way::Nowhere))
    }
}

thread_local! {
    /// The ways of replies that are written and read within this process.
    static MOVED: RefCell<Option<Vec<Box<dyn Any>>>> = const { RefCell::new(None) };
}

/// Moves replies out of what is written meanwhile, into what is read by [`read_replies`].
pub(crate) fn write_replies<T>(write: impl FnOnce() -> T) -> (T, Vec<Box<dyn Any>>) {
    MOVED.set(Some(Vec::new()));
    let written = write();
    (written, MOVED.take().unwrap_or_default())
}

/// Moves replies into what is read meanwhile.
pub(crate) fn read_replies<T>(moved: Vec<Box<dyn Any>>, read: impl FnOnce() -> T) -> T {
    MOVED.set(Some(moved));
    let done = read();
    MOVED.set(None);
    done
}

/// A reply is written as its number among those that are moved, from 1. Another process cannot answer it.
impl<T: 'static> Serialize for Reply<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = MOVED.with_borrow_mut(|moved| {
            moved.as_mut().map_or(0, |moved| {
                moved.push(Box::new(self.0.replace(Way::Nowhere)));
                moved.len() as u64
            })
        });
        serializer.serialize_u64(number)
    }
}

impl<'de, T: 'static> Deserialize<'de> for Reply<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = usize::try_from(u64::deserialize(deserializer)?).unwrap_or_default();
        let way = MOVED.with_borrow_mut(|moved| {
            let way = moved.as_mut()?.get_mut(number.checked_sub(1)?)?.downcast_mut::<Way<T>>()?;
            Some(std::mem::replace(way, Way::Nowhere))
        });
        Ok(Reply(Cell::new(way.unwrap_or(Way::Nowhere))))
    }
}

impl<T> From<oneshot::Sender<T>> for Reply<T> {
    fn from(sender: oneshot::Sender<T>) -> Self {
        Reply(Cell::new(Way::Waiter(sender)))
    }
}

impl<T> From<ToApplication<T>> for Reply<T> {
    fn from(way: ToApplication<T>) -> Self {
        Reply(Cell::new(Way::Application(way)))
    }
}

impl<T> Reply<T> {
    /// Sends the answer.
    ///
    /// # Errors
    /// The receiver has gone.
    pub fn send(self, answer: T) -> Result<(), T> {
        match self.0.into_inner() {
            Way::Nowhere => Err(answer),
            Way::Waiter(sender) => sender.send(answer),
            Way::Application(way) => {
                way.send(answer);
                Ok(())
            }
        }
    }

    /// Whether the receiver has gone.
    pub fn is_closed(&self) -> bool {
        let way = self.0.replace(Way::Nowhere);
        let is_closed = match &way {
            Way::Nowhere => true,
            Way::Waiter(sender) => sender.is_closed(),
            Way::Application(_) => false,
        };
        self.0.set(way);
        is_closed
    }
}

/// When to wake the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Now,
    In(Duration),
    At(Instant),
}

/// An operation on a call's recording.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum Record {
    /// Into this file, or as the switch is configured.
    Begin(Option<Box<RecordingSpec>>),
    Pause(bool),
    End,
}

/// An operation on a leg's own recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum RecordLeg {
    /// `both`: both sides; otherwise only what the party says.
    Begin {
        both: bool,
    },
    Pause(bool),
    End,
}

/// A command.
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
        /// Told at once which call is created.
        #[serde(skip)]
        started: Option<Reply<CallId>>,
        /// Told which leg sends early media first, if it is to be heard.
        #[serde(skip)]
        early: Option<Reply<LegId>>,
        #[serde(skip)]
        reply: Reply<Result<LegId, DialError>>,
    },
    DialAndBridge {
        leg: LegId,
        request: Box<DialRequest>,
        #[serde(skip)]
        reply: Reply<Result<BridgeId, DialError>>,
    },
    /// Takes over the wait for what an earlier `DialAndBridge` dials.
    AwaitDialled {
        leg: LegId,
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
        /// Changes to the INVITE to the target.
        rules: Arc<[HeaderRule]>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    /// Asks a party to call another one by itself.
    Refer {
        leg: LegId,
        request: ReferRequest,
        #[serde(skip)]
        reply: Reply<Result<ReferOutcome, ReferError>>,
    },
    /// Puts a party on hold, with music or in silence, or takes it off hold.
    Hold {
        leg: LegId,
        hold: Hold,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    Unbridge {
        leg: LegId,
        /// The present owner of the leg keeps it.
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
        /// The Reason of the BYE, CANCEL or refusal.
        #[serde(default)]
        reason: Option<Reason>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    HangupCall {
        call: CallId,
        /// As for [`Command::Hangup`], for each leg.
        #[serde(default)]
        reason: Option<Reason>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    SetVariable {
        of: Watched,
        name: String,
        value: String,
        /// The value that it takes once the last leg is over, if that differs.
        last: Option<String>,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    Variables {
        of: Watched,
        #[serde(skip)]
        reply: Reply<Result<Vec<(String, String)>, CallError>>,
    },
    /// Digits of the leg's party are collected, which may be secret: what a journal has of
    /// [`Command::Media`].
    Collect { leg: LegId, secret: bool },
    /// One more keeps secret what the leg's party enters, or one less.
    KeepSecret {
        leg: LegId,
        on: bool,
        #[serde(skip)]
        reply: Reply<Result<(), CallError>>,
    },
    /// A verb for media: of an answered leg, whose endpoint it gets, or of none.
    #[serde(skip)]
    Media {
        of: Option<Watched>,
        verb: Box<Verb>,
        /// Told at once which call and leg it is.
        found: Option<Reply<Result<(CallId, LegId), CallError>>>,
        reply: Reply<Result<Answer, CallError>>,
    },
    /// A stream of a leg's audio, which has been answered or, with `early`, sends media.
    #[serde(skip)]
    Stream { leg: LegId, spec: StreamSpec, early: bool, reply: Reply<Result<AudioStream, CallError>> },
    /// Whether the leg has been answered and is not about to end.
    #[serde(skip)]
    IsUp { leg: LegId, reply: Reply<bool> },
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
        /// The application whose agent or program has named the target.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        named_by: Option<Arc<str>>,
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
    /// Starts an application that belongs to no call.
    #[serde(skip)]
    Attend { app: AppId, machine: Box<dyn Application> },
    /// A message to an application, from another one or from a program.
    #[serde(skip)]
    Inform { app: AppId, from: Option<AppId>, message: Message },
    #[serde(skip)]
    Tell {
        event: Box<Event>,
        /// Notified once the event has been told.
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
    /// Whether the leg is in a bridge.
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
    /// Gives the leg to an application, as if this number had been called.
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
    /// Answered once the leg has reached this state or is over.
    AwaitState {
        leg: LegId,
        state: LegState,
        #[serde(skip)]
        reply: Reply<Result<LegState, CallError>>,
    },
}
