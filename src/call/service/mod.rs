//! The library's front for calls: a handle that can be cloned, whose methods
//! become commands to the thread that owns the calls.
//!
//! - `steering`: taking a leg from whoever has it, for programs outside
//! - `refer`: parties that are sent away by REFER
//! - `media`: prompts, digits, recordings, rooms
//! - `time`: the clock of applications, what they do beside calls, what they tell
//! - `dialling`: calls that begin here, and callees for callers
//! - `ends`: ending legs and calls; waiting for a state of a leg, for the end of a leg, a bridge or a call; `machines`: applications of no call

mod dialling;
mod ends;
mod machines;
mod media;
mod playback;
mod refer;
mod steering;
mod time;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use ends::{CallEnd, Watched};
pub(super) use media::LegMedia;
pub use media::Place;
pub(crate) use playback::Prompted;
pub use refer::{ReferError, ReferOutcome, ReferRequest};

use super::bridge_fsm::BridgeMode;
use super::controller::PairPolicy;
pub use super::failure::Failover;
use super::handler::{HandlerAction, IncomingCall};
use super::headers::HeaderRule;
use super::lookup::{LookupError, LookupResult, ResolvedContact};
use super::switch::command::{Command, Reply};
pub use super::switch::dial::DialFailure;
pub use super::switch::driver::{StartError, SwitchThread};
use super::{BridgeId, LegId};

/// The variable of a call that a party was sent to an application in: who has sent it, as a target
/// to dial.
pub const TRANSFERRED_BY: &str = "transferred_by";

/// Whom to dial.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DialTo {
    /// To be looked up: `user/1001`, `sip:bob@192.0.2.4`, …
    Target(String),
    /// Looked up already.
    Contacts(Vec<ResolvedContact>),
    /// Several targets, one after the other.
    Stages(Vec<DialStage>),
}

impl DialTo {
    /// Changes every contact that is known already.
    pub fn each_contact(&mut self, change: impl FnMut(&mut ResolvedContact)) {
        match self {
            DialTo::Target(_) => {}
            DialTo::Contacts(contacts) => contacts.iter_mut().for_each(change),
            DialTo::Stages(stages) => stages.iter_mut().flat_map(|it| &mut it.contacts).for_each(change),
        }
    }
}

/// A target that is tried before the next one: a user's phones, a gateway's hosts, a
/// group.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct DialStage {
    /// What to dial, each with its priority.
    pub contacts: Vec<ResolvedContact>,
    /// How long all of it may ring; none: as long as its contacts do.
    pub lasts: Option<Duration>,
    /// After which failure of it the next one is tried.
    pub failover: Failover,
}

/// In which order contacts are dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum DialOrder {
    /// One after the other, by priority.
    #[default]
    Serial,
    /// Those of one priority together, priorities one after the other.
    Parallel,
}

/// How to dial.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DialOptions {
    /// One after the other, or together.
    pub order: DialOrder,
    /// How long a contact rings that does not say so itself.
    pub ring_timeout: Duration,
    /// How long a contact may be without any response, 100 included, that does not say so
    /// itself, before the next one is tried; none: 32 s (Timer B).
    pub trying_timeout: Option<Duration>,
    /// How long all of it may take.
    pub total_timeout: Duration,
    /// How many redirects (3xx) are followed.
    pub max_redirects: u8,
    /// From of the new leg, `"Ann" <sip:ann@example.com>`; none: `caller`.
    pub from: Option<String>,
    /// Name (quoted, with a space behind it, or empty) and number that the callee
    /// sees, at our own address; none: the caller's.
    pub caller: Option<(String, String)>,
    /// What may be offered to the caller later; none: as the switch's configuration says.
    pub caller_policy: Option<Arc<PairPolicy>>,
    /// More header fields for the INVITE.
    pub headers: Vec<(String, String)>,
    /// What a callee sends before it answers takes the place of the prompt that a caller who is up hears.
    #[serde(default)]
    pub early_over_prompt: bool,
    /// Media goes between the parties where both can, and past b2b.
    pub direct: bool,
    /// The call is recorded as the switch was told.
    pub record: bool,
    /// Changes to the INVITE's header fields, and to those of the responses to the caller.
    pub rules: Arc<[HeaderRule]>,
    /// What the bridge does with requests inside the call.
    pub mode: BridgeMode,
    /// Whether the end of one leg ends the other.
    pub auto_hangup: bool,
    /// Which route it is, for the call's account.
    pub route: Option<RouteTaken>,
}

/// The route of a call: its name, and in words where it leads and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RouteTaken {
    /// The name of the route in the configuration.
    pub name: String,
    /// Where it leads and why, for people.
    pub why: String,
}

impl Default for DialOptions {
    fn default() -> Self {
        DialOptions {
            order: DialOrder::Serial,
            ring_timeout: Duration::from_secs(60),
            trying_timeout: None,
            total_timeout: Duration::from_secs(180),
            max_redirects: 5,
            from: None,
            caller: None,
            caller_policy: None,
            headers: Vec::new(),
            early_over_prompt: false,
            direct: false,
            record: false,
            rules: Arc::default(),
            mode: BridgeMode::Transparent,
            auto_hangup: true,
            route: None,
        }
    }
}

/// Whom to dial, and how.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DialRequest {
    /// Whom.
    pub to: DialTo,
    /// How.
    pub options: DialOptions,
}

impl DialRequest {
    /// A target to be looked up, with the usual options.
    pub fn to(target: impl Into<String>) -> Self {
        DialRequest { to: DialTo::Target(target.into()), options: DialOptions::default() }
    }

    /// Contacts that are known, with the usual options.
    pub fn contacts(contacts: Vec<ResolvedContact>) -> Self {
        DialRequest { to: DialTo::Contacts(contacts), options: DialOptions::default() }
    }
}

/// Why nobody could be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The target is none, or cannot be reached.
    #[error("the target cannot be dialled: {0}")]
    Lookup(#[from] LookupError),
    /// Every contact refused, or did not answer; the failure that counts.
    #[error("not answered: {} {}", .0.status, .0.reason)]
    Failed(DialFailure),
    /// The caller's leg has ended.
    #[error("the caller has already hung up; no action is needed")]
    CallerGone,
    /// The request contradicts itself or the state of the call; the text says how.
    #[error("{0}; correct the request")]
    Invalid(String),
    /// As many calls are up as may be at once.
    #[error(
        "the limit of concurrent calls is reached ([limits] calls, SwitchConfig::max_calls); dial again when calls have ended"
    )]
    Full,
    /// The switch is stopping or has stopped.
    #[error("the service is stopping; dial elsewhere")]
    Stopping,
}

impl DialError {
    /// The status that a caller gets for it.
    pub fn status(&self) -> u16 {
        match self {
            DialError::Lookup(error) => error.status().0,
            DialError::Failed(failure) => failure.status,
            DialError::CallerGone => 487,
            DialError::Invalid(_) => 500,
            DialError::Full | DialError::Stopping => 503,
        }
    }
}

/// Why a command about a leg, a bridge or a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It has ended, or was never there.
    #[error("there is no such leg, bridge or call, or it is over")]
    Gone,
    /// The command does not go with its state; the text says why.
    #[error("not possible now: {0}")]
    WrongState(&'static str),
    /// Another offer waits for its answer (RFC 3261 §14.1); 491 from the far end counts.
    #[error("an offer to or from this party is in progress; try again shortly")]
    Busy,
    /// The status of the party's final response, 300 to 699.
    #[error("the party refused it with {0}; nothing has changed")]
    Refused(u16),
    /// The media controller did not do it; the text says why.
    #[error("no media for it: {0}")]
    Media(String),
    /// The switch is stopping or has stopped.
    #[error("the service is stopping; it accepts no new commands")]
    Stopping,
}

/// The handle of the outside on calls. Every method becomes a command to the
/// thread that owns the calls, and waits for its answer; dropping the future
/// drops only the answer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallService {
    commands: mpsc::UnboundedSender<Command>,
    /// Applications so far.
    applications: Arc<AtomicU64>,
}

impl CallService {
    pub(super) fn new(commands: mpsc::UnboundedSender<Command>) -> Self {
        CallService { commands, applications: Arc::default() }
    }

    /// Turns a target into the contacts to dial.
    ///
    /// # Errors
    /// Nobody is reached by it; see [`LookupError`].
    pub async fn lookup(&self, target: &str) -> Result<LookupResult, LookupError> {
        let target = target.to_owned();
        let answer = self.ask(|reply| Command::Lookup { target: target.clone(), reply }).await;
        answer.unwrap_or_else(|| {
            Err(LookupError::Unavailable { target, why: "the service is stopping".to_owned() })
        })
    }

    /// Takes an incoming call's leg over: it stays, whatever the handler returns,
    /// until it is hung up.
    ///
    /// # Errors
    /// The caller has gone.
    pub async fn adopt_inbound_leg(&self, call: &IncomingCall) -> Result<LegId, CallError> {
        let leg = call.leg;
        self.command(|reply| Command::Adopt { leg, reply }).await.map(|()| leg)
    }

    /// What becomes of a target that an application has for a leg. A number
    /// is its party's own wish: whoever decides on its calls says what comes of it, as if it
    /// had dialled it. The name of an application is [`HandlerAction::Handle`], anything else
    /// [`HandlerAction::TransferTo`].
    ///
    /// # Errors
    /// The leg has gone.
    pub async fn where_to(&self, leg: LegId, target: &str) -> Result<HandlerAction, CallError> {
        let target = target.to_owned();
        self.ask(|reply| Command::WhereTo { leg, target, reply }).await.unwrap_or(Err(CallError::Stopping))
    }

    /// Answers a leg with media of our own, unless it has been answered. An INVITE without an offer gets ours;
    /// this is ready when the answer to it has come.
    ///
    /// # Errors
    /// The leg does not wait for an answer, or there is no media for it.
    pub async fn answer(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::Answer { leg, headers: Vec::new(), reply }).await
    }

    /// Refuses an adopted leg with 300 to 699; an empty reason takes the standard phrase.
    ///
    /// # Errors
    /// The leg does not wait for an answer.
    pub async fn reject(&self, leg: LegId, status: u16, reason: &str) -> Result<(), CallError> {
        let reason = reason.to_owned();
        self.command(|reply| Command::Reject { leg, status, reason, reply }).await
    }

    /// Joins two answered legs.
    ///
    /// # Errors
    /// One is not answered, or joined already, or the media cannot be joined.
    pub async fn create_bridge(
        &self,
        a: LegId,
        b: LegId,
        mode: BridgeMode,
        auto_hangup: bool,
    ) -> Result<BridgeId, CallError> {
        self.ask(|reply| Command::Bridge { a, b, mode, auto_hangup, reply })
            .await
            .unwrap_or(Err(CallError::Stopping))
    }

    /// Sends the party of a leg's other side to another target, as its REFER would.
    ///
    /// # Errors
    /// The leg is not in a bridge.
    pub async fn transfer(&self, leg: LegId, target: &str) -> Result<(), CallError> {
        self.transfer_with(leg, target, Arc::default()).await
    }

    /// The same, with changes to the header fields of the INVITE to the target.
    ///
    /// # Errors
    /// The leg is not in a bridge.
    pub async fn transfer_with(
        &self,
        leg: LegId,
        target: &str,
        rules: Arc<[HeaderRule]>,
    ) -> Result<(), CallError> {
        let target = target.to_owned();
        self.command(|reply| Command::Transfer { leg, target, rules, reply }).await
    }

    /// Notes something on the call that this leg or bridge belongs to, or on this call: in
    /// its snapshot and in the records of its legs. An empty value takes it away again.
    ///
    /// # Errors
    /// It is over, or too much: 32 variables, names of 64 bytes, values of 1,024.
    pub async fn set_variable(
        &self,
        of: impl Into<Watched>,
        name: &str,
        value: &str,
    ) -> Result<(), CallError> {
        let (of, name, value, last) = (of.into(), name.to_owned(), value.to_owned(), None);
        self.command(|reply| Command::SetVariable { of, name, value, last, reply }).await
    }

    /// The same, and what it is in the record of the call's last leg if nobody sets it before:
    /// whoever waits for that end would come too late.
    ///
    /// # Errors
    /// As [`CallService::set_variable`].
    pub async fn set_variable_until_the_end(
        &self,
        of: impl Into<Watched>,
        name: &str,
        value: &str,
        last: &str,
    ) -> Result<(), CallError> {
        let (of, name, value, last) = (of.into(), name.to_owned(), value.to_owned(), Some(last.to_owned()));
        self.command(|reply| Command::SetVariable { of, name, value, last, reply }).await
    }

    /// What has been noted on it, in the order of the first setting.
    ///
    /// # Errors
    /// It is over.
    pub async fn variables(&self, of: impl Into<Watched>) -> Result<Vec<(String, String)>, CallError> {
        let of = of.into();
        self.ask(|reply| Command::Variables { of, reply }).await.unwrap_or(Err(CallError::Stopping))
    }

    async fn command(
        &self,
        make: impl FnOnce(Reply<Result<(), CallError>>) -> Command,
    ) -> Result<(), CallError> {
        self.ask(make).await.unwrap_or(Err(CallError::Stopping))
    }

    /// None: the calls' thread has ended.
    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(make(reply.into())).ok()?;
        answer.await.ok()
    }
}
