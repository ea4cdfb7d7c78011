//! The library's interface to calls: a handle that can be cloned, whose methods become commands to the thread
//! that owns the calls.
//!
//! - `steering`: taking a leg from its owner, for programs outside
//! - `refer`: parties that are sent away by REFER
//! - `media`: prompts, digits, recordings, conferences
//! - `time`: the clock of applications, their work beside calls, and their events
//! - `command`: the commands, with the return path of each answer
//! - `dialling`: originating calls, and dialling for callers
//! - `playback`: the events of prompts
//! - `ends`: ending legs and calls; waiting for the state of a leg, or for the end of a leg, a bridge or a
//!   call; `machines`: applications that belong to no call

pub(crate) mod command;
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
pub use media::{MediaRequest, MediaVerbs, Place};
pub(crate) use playback::Prompted;
pub use refer::{ReferError, ReferOutcome, ReferRequest};

use super::bridge_fsm::BridgeMode;
use super::controller::PairPolicy;
pub use super::failure::{DialFailure, Failover};
use super::handler::{HandlerAction, IncomingCall};
use super::headers::HeaderRule;
use super::identity::CallerIdentity;
use super::lookup::{LookupError, LookupResult, ResolvedContact};
use super::{BridgeId, LegId};
use command::{Command, Reply};

/// The call variable with the referrer of a party that was transferred to an application, as a target to
/// dial.
pub const TRANSFERRED_BY: &str = "transferred_by";

/// The destination of a dialling.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DialTo {
    /// A target to be looked up: `user/1001`, `sip:bob@192.0.2.4`, …
    Target(String),
    /// Contacts that have been looked up.
    Contacts(Vec<ResolvedContact>),
    /// Several targets, tried one after the other.
    Stages(Vec<DialStage>),
}

impl DialTo {
    /// Changes every contact that has been looked up.
    pub fn each_contact(&mut self, change: impl FnMut(&mut ResolvedContact)) {
        match self {
            DialTo::Target(_) => {}
            DialTo::Contacts(contacts) => contacts.iter_mut().for_each(change),
            DialTo::Stages(stages) => stages.iter_mut().flat_map(|it| &mut it.contacts).for_each(change),
        }
    }
}

/// A target that is tried before the next one: a user's phones, a gateway's hosts, a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct DialStage {
    /// The contacts to dial, each with its priority.
    pub contacts: Vec<ResolvedContact>,
    /// Maximum duration of the whole stage; `None`: as long as its contacts ring.
    pub lasts: Option<Duration>,
    /// After which failures the next stage is tried.
    pub failover: Failover,
}

impl From<LookupResult> for DialStage {
    fn from(found: LookupResult) -> Self {
        DialStage { contacts: found.contacts, lasts: found.lasts, failover: Failover::default() }
    }
}

impl DialStage {
    /// Several stages as one: the first choices of all ring together, then the second ones. A contact of
    /// several stages rings once.
    pub fn together(stages: Vec<DialStage>) -> DialStage {
        let mut contacts: Vec<ResolvedContact> = Vec::new();
        let mut lasts = Some(Duration::ZERO);
        for stage in stages {
            lasts = lasts.zip(stage.lasts).map(|(one, other)| one.max(other));
            for (turn, tier) in (0..).zip(stage.contacts.chunk_by(|a, b| a.priority == b.priority)) {
                let new = tier.iter().filter(|it| !contacts.iter().any(|known| known.is_at(it)));
                let new: Vec<_> = new.map(|it| ResolvedContact { priority: turn, ..it.clone() }).collect();
                contacts.extend(new);
            }
        }
        contacts.sort_by_key(|contact| contact.priority);
        DialStage { contacts, lasts, ..DialStage::default() }
    }
}

/// The order of several targets. Within a target, contacts of equal priority ring together, one priority after
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum DialOrder {
    /// One target after the other.
    #[default]
    Serial,
    /// All targets in parallel.
    Parallel,
}

/// The options of a dialling.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DialOptions {
    /// Ringing time of a contact without one of its own.
    pub ring_timeout: Duration,
    /// How long each target rings, all of its contacts together; `None`: as its lookup says.
    #[serde(default)]
    pub target_timeout: Option<Duration>,
    /// Maximum time without any response, 100 included, before the next contact is tried, for a contact
    /// without one of its own; `None`: 32 s (Timer B).
    pub trying_timeout: Option<Duration>,
    /// Maximum duration of the whole dialling; `None`: as long as its targets ring.
    pub total_timeout: Option<Duration>,
    /// Maximum number of redirects (3xx) followed.
    pub max_redirects: u8,
    /// From of the new leg, `"Ann" <sip:ann@example.com>`; `None`: as in `caller`.
    pub from: Option<String>,
    /// Name (quoted, followed by a space, or empty) and number shown to the callee, at our own address;
    /// `None`: the caller's.
    pub caller: Option<(String, String)>,
    /// The policy for later offers to the caller; `None`: as the switch is configured.
    pub caller_policy: Option<Arc<PairPolicy>>,
    /// Further header fields for the INVITE.
    pub headers: Vec<(String, String)>,
    /// Early media of a callee replaces the prompt that a caller who is up hears.
    #[serde(default)]
    pub early_over_prompt: bool,
    /// Early media of a callee without a caller is heard ([`CallService::originate_early`]).
    #[serde(default)]
    pub early_media: bool,
    /// Media goes directly between the parties, past b2b, if both support it.
    pub direct: bool,
    /// The call is recorded as the switch is configured.
    pub record: bool,
    /// Changes to the header fields of the INVITE and of the responses to the caller.
    pub rules: Arc<[HeaderRule]>,
    /// How the bridge treats in-dialog requests.
    pub mode: BridgeMode,
    /// Whether the end of one leg ends the other.
    pub auto_hangup: bool,
    /// The route used, for the history of the call.
    pub route: Option<RouteTaken>,
    /// The token of the program that has asked for the call, empty for one with all rights: whose calls a
    /// second it counts among.
    #[serde(default)]
    pub token: Option<String>,
    /// The party of another call, on whose behalf this one is made; `None`: the caller of this call, if it has one.
    #[serde(default)]
    pub behalf: Option<Box<Behalf>>,
}

/// A party on whose behalf a call is made: the call shows and withholds what theirs would, and counts among their calls.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Behalf {
    /// Their leg.
    pub leg: LegId,
    /// Their identity.
    pub who: CallerIdentity,
}

/// The route of a call: its name, and a description of its target and reason.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RouteTaken {
    /// The name of the route in the configuration.
    pub name: String,
    /// The target and the reason, for people.
    pub why: String,
}

impl Default for DialOptions {
    fn default() -> Self {
        DialOptions {
            ring_timeout: Duration::from_secs(60),
            target_timeout: None,
            trying_timeout: None,
            total_timeout: None,
            max_redirects: 5,
            from: None,
            caller: None,
            caller_policy: None,
            headers: Vec::new(),
            early_over_prompt: false,
            early_media: false,
            direct: false,
            record: false,
            rules: Arc::default(),
            mode: BridgeMode::Transparent,
            auto_hangup: true,
            route: None,
            token: None,
            behalf: None,
        }
    }
}

/// A dialling: destination and options.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DialRequest {
    /// The destination.
    pub to: DialTo,
    /// The options.
    pub options: DialOptions,
}

impl DialRequest {
    /// A target to be looked up, with the default options.
    pub fn to(target: impl Into<String>) -> Self {
        DialRequest { to: DialTo::Target(target.into()), options: DialOptions::default() }
    }

    /// Contacts that have been looked up, with the default options.
    pub fn contacts(contacts: Vec<ResolvedContact>) -> Self {
        DialRequest { to: DialTo::Contacts(contacts), options: DialOptions::default() }
    }
}

/// Why a dialling failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The target is invalid, or cannot be reached.
    #[error("the target cannot be dialled: {0}")]
    Lookup(#[from] LookupError),
    /// No contact answered; the best of the failures.
    #[error("not answered: {} {}", .0.status, .0.reason)]
    Failed(DialFailure),
    /// The caller's leg has ended.
    #[error("the caller has already hung up; no action is needed")]
    CallerGone,
    /// The request contradicts itself or the state of the call; the text says how.
    #[error("{0}; correct the request")]
    Invalid(String),
    /// The maximum number of calls is up.
    #[error(
        "the limit of concurrent calls is reached ([limits] calls, SwitchConfig::max_calls); dial again when calls have ended"
    )]
    Full,
    /// The switch is stopping or has stopped.
    #[error("the service is stopping; dial elsewhere")]
    Stopping,
}

impl DialError {
    /// A call of our own is over before it was answered, and nothing else says why.
    pub(crate) fn over() -> Self {
        DialError::Failed(DialFailure::new(480, ""))
    }

    /// The status with which a caller is refused.
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
    /// The leg, bridge or call has ended, or never existed.
    #[error("there is no such leg, bridge or call, or it is over")]
    Gone,
    /// The command is not possible in its state; the text says why.
    #[error("not possible now: {0}")]
    WrongState(&'static str),
    /// Another offer waits for its answer (RFC 3261 §14.1); also for a 491 from the remote party.
    #[error("an offer to or from this party is in progress; try again shortly")]
    Busy,
    /// The status of the party's final response, 300 to 699.
    #[error("the party refused it with {0}; nothing has changed")]
    Refused(u16),
    /// The media controller could not do it; the text says why.
    #[error("no media for it: {0}")]
    Media(String),
    /// The switch is stopping or has stopped.
    #[error("the service is stopping; it accepts no new commands")]
    Stopping,
}

/// The handle on calls for use from outside. Every method becomes a command to the thread that owns the
/// calls, and waits for its answer; dropping the future drops only the answer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallService {
    commands: mpsc::UnboundedSender<Command>,
    /// Number of applications started so far.
    applications: Arc<AtomicU64>,
    /// Number of prompts begun so far.
    prompts: Arc<AtomicU64>,
}

impl CallService {
    pub(super) fn new(commands: mpsc::UnboundedSender<Command>) -> Self {
        CallService { commands, applications: Arc::default(), prompts: Arc::default() }
    }

    /// Looks up a target; returns the contacts to dial.
    ///
    /// # Errors
    /// The target reaches no contact; see [`LookupError`].
    pub async fn lookup(&self, target: &str) -> Result<LookupResult, LookupError> {
        let target = target.to_owned();
        let answer = self.ask(|reply| Command::Lookup { target: target.clone(), reply }).await;
        answer.unwrap_or_else(|_| {
            Err(LookupError::Unavailable { target, why: "the service is stopping".to_owned() })
        })
    }

    /// Takes over the leg of an incoming call: whatever the handler returns, the leg stays until it is hung
    /// up.
    ///
    /// # Errors
    /// The caller has gone.
    pub async fn adopt_inbound_leg(&self, call: &IncomingCall) -> Result<LegId, CallError> {
        let leg = call.leg;
        self.command(|reply| Command::Adopt { leg, reply }).await.map(|()| leg)
    }

    /// Decides what becomes of an application's target for a leg. A number is treated as dialled by the leg's
    /// party: the handlers decide on it. The name of an application gives [`HandlerAction::Handle`], any
    /// other target [`HandlerAction::TransferTo`].
    ///
    /// # Errors
    /// The leg has gone.
    pub async fn where_to(&self, leg: LegId, target: &str) -> Result<HandlerAction, CallError> {
        let target = target.to_owned();
        self.command(|reply| Command::WhereTo { leg, target, named_by: None, reply }).await
    }

    /// Answers a leg with media of our own, unless it has been answered. An INVITE without an offer gets
    /// ours; the call then returns once the answer to it has come.
    ///
    /// # Errors
    /// The leg does not wait for an answer, or there is no media for it.
    pub async fn answer(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::Answer { leg, headers: Vec::new(), reply }).await
    }

    /// Refuses an adopted leg with 300 to 699; an empty reason means the standard phrase.
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
    /// A leg is not answered or is bridged already, or the media cannot be joined.
    pub async fn create_bridge(
        &self,
        a: LegId,
        b: LegId,
        mode: BridgeMode,
        auto_hangup: bool,
    ) -> Result<BridgeId, CallError> {
        self.command(|reply| Command::Bridge { a, b, mode, auto_hangup, reply }).await
    }

    /// Transfers the partner of a leg to another target, as if the leg's party had sent a REFER.
    ///
    /// # Errors
    /// The leg is not in a bridge.
    pub async fn transfer(&self, leg: LegId, target: &str) -> Result<(), CallError> {
        self.transfer_with(leg, target, Arc::default()).await
    }

    /// As [`CallService::transfer`], with changes to the header fields of the INVITE to the target.
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

    /// Sets a variable of the call, or of the call that this leg or bridge belongs to: it appears in the
    /// call's snapshot and in the records of its legs. An empty value removes it.
    ///
    /// # Errors
    /// The call is over, or a limit is exceeded: 32 variables, names of 64 bytes, values of 1,024.
    pub async fn set_variable(
        &self,
        of: impl Into<Watched>,
        name: &str,
        value: &str,
    ) -> Result<(), CallError> {
        let (of, name, value, last) = (of.into(), name.to_owned(), value.to_owned(), None);
        self.command(|reply| Command::SetVariable { of, name, value, last, reply }).await
    }

    /// As [`CallService::set_variable`], with the value that the record of the call's last leg gets, unless
    /// the variable is set again before: a program that waits for that end would be too late.
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

    /// The variables, in the order in which they were first set.
    ///
    /// # Errors
    /// The call is over.
    pub async fn variables(&self, of: impl Into<Watched>) -> Result<Vec<(String, String)>, CallError> {
        let of = of.into();
        self.command(|reply| Command::Variables { of, reply }).await
    }

    async fn command<T>(
        &self,
        make: impl FnOnce(Reply<Result<T, CallError>>) -> Command,
    ) -> Result<T, CallError> {
        self.ask(make).await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Why a command has no answer: its call is over, or the calls' thread has ended.
    fn unanswered(&self) -> CallError {
        if self.commands.is_closed() { CallError::Stopping } else { CallError::Gone }
    }

    /// Why a dialling has no answer: this, or the calls' thread has ended.
    fn not_dialled(&self, over: DialError) -> DialError {
        if self.commands.is_closed() { DialError::Stopping } else { over }
    }

    /// Sends a command. No answer comes if its call is over, or if the calls' thread has ended.
    fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Command) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        // The reply of a command that cannot be sent is dropped with it.
        let _ = self.commands.send(make(reply.into()));
        answer
    }
}
