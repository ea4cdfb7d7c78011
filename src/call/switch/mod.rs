//! The calls, their legs and the SIP stack, owned by one thread; each event is one turn, which neither locks
//! nor blocks.
//!
//! A state machine without sockets: [`Switch`] is given events together with a [`Turn`] (the time and the
//! endpoint to act on) and produces [`Task`]s, the work that has to wait; their results come back as inputs.
//! `driver` runs it on a thread, `b2b-testkit` in virtual time (`testkit`: what it needs for that).
//!
//! - `table`: the state of legs, calls and bridges; `calls`: look-up of calls and legs by leg, bridge, dialog
//!   or endpoint
//! - `incoming`: INVITEs that start a call; `handing`: their handlers and the handlers' decisions
//! - `dial`: dialling as a state machine; `dialling`: carries out its outputs; `outgoing`: on which terms
//! - `invite`: the INVITE of a dialled leg
//! - `redirect`: refusals of branches, and the targets of a 3xx
//! - `events`: the events of a leg's dialog
//! - `joining`: the first offer and answer across, and bridges
//! - `exchange`: later offers, one at a time, from the request for one to its answer; `across`: those that a
//!   party makes; `direct`: direct media, past b2b
//! - `holding`: parties that we put on hold; `parting`: bridges that are taken down for good
//! - `answering`: callers that we answer ourselves
//! - `reliable`: reliable provisional responses (PRACK) and late offers
//! - `requests`: other in-dialog requests; `transfer`: transfers; `referral`: their targets; `referring`:
//!   outgoing REFERs; `replacing`: permission to replace a party
//! - `moving`: a party that is given to an application
//! - `identity`: the identity of a party, and the connected identity it is shown
//! - `consult`: transfer to a call that still rings
//! - `ending`: the end of legs, bridges and calls
//! - `challenge`: credentials in answer to a challenge
//! - `obey`: commands from outside; `command`: their types; `steering`: those that take a leg from its owner;
//!   `application`: requests of applications other than dialling
//! - `say`: responses and hang-ups on the endpoint
//! - `listener`: the events of a call for its handler; `variables`: the variables of a call
//! - `news`: steps of the state machines, and their events; `snapshot`: snapshots of calls
//! - `recording`: recordings of calls and of single legs
//! - `records`: call detail records; `history`: the history of a call for readers; `capturing`: the capture
//!   of its media
//! - `host_names`: host names that parties give for their media
//! - `admission`: decides on requests before they become calls
//! - `tasks`: work that has to wait; `waiting`: its continuations, as values
//! - `follow`: runs them, and the follow-up steps of the same turn
//! - `watchers`: waiters for the state of a leg or the end of a call, leg or bridge; `sleepers`: waiters for
//!   a point in time
//! - `stepping`: applications that are state machines; `effects`: carries out their requests
//! - `slots`: slabs whose keys are never reused; `counters`: what was late, ignored or impossible
//! - `journaling`: writes down the inputs of calls; `run`: a switch that is fed from a journal, with the
//!   stand-ins of `nobody`; `replay`: replays one call for inspection
//! - `export`: calls as bytes; `restore`: calls that continue from them

mod across;
pub mod admission;
mod answering;
mod application;
mod bodies;
mod call_step;
mod calls;
mod capturing;
mod challenge;
mod common;
mod consult;
mod counters;
pub mod dial;
mod dialling;
mod direct;
pub mod driver;
mod effects;
mod ending;
mod events;
mod exchange;
mod export;
mod follow;
mod handing;
mod history;
mod holding;
mod host_names;
mod identity;
mod incoming;
mod invite;
mod joining;
mod journaling;
mod listener;
mod moving;
mod news;
mod nobody;
mod obey;
mod outgoing;
mod parting;
mod recording;
mod records;
mod redirect;
mod referral;
mod referring;
mod reliable;
mod replacing;
pub mod replay;
mod requests;
pub mod restore;
mod ruled;
mod run;
mod say;
mod sleepers;
mod slots;
mod snapshot;
mod steering;
mod stepping;
mod table;
mod tasks;
#[doc(hidden)]
pub mod testkit;
mod transfer;
mod variables;
mod waiting;
mod watchers;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::bus::EventBus;
use super::controller::{MediaController, PairPolicy, SrtpRules};
use super::handler::ApplicationHandler;
use super::history::CallHistory;
use super::lookup::Resolver;
use super::recording::RecordingRules;
use super::service::CallService;
use super::{CallId, LegId};
use crate::service::command::Command;
use admission::AdmissionControl;
use b2b_base::rtp_timeout;
use b2b_sip::endpoint::{Endpoint, Flow, ServerTransactionId};
use b2b_sip::net::Ban;
use b2b_sip::transaction::timer_queue::TimerQueue;
use call_step::CallStep;
use calls::Calls;
pub use capturing::{CaptureError, Capturing};
use common::Common;
pub use counters::{SwitchCounters, SwitchHoldings};
pub use export::NotWritten;
pub use history::Mirror;
pub use history::{Inquiry, Measuring};
pub use records::RecordSink;
use sleepers::Sleepers;
pub use snapshot::{BridgeSnapshot, CallSnapshot, DiallingSnapshot, LegSnapshot, RecordingSnapshot};
pub use tasks::{Done, Task};

/// A deadline further away than this is checked again on the way, so that the entries of calls that have been
/// answered meanwhile do not pile up.
const HORIZON: Duration = Duration::from_secs(16);

/// The configuration of a switch.
#[derive(Debug, Clone)]
pub struct SwitchConfig {
    /// Host part of the URIs in which we name callers: `b2b.example.com`, `192.0.2.1:5060`.
    pub domain: String,
    /// Maximum number of concurrent calls; further ones are refused with 503.
    pub max_calls: usize,
    /// Retry-After of a 503, in seconds.
    pub retry_after: u32,
    /// A call that expects RTP ends after this long without any; `None`: never.
    pub rtp_timeout: Option<Duration>,
    /// Maximum duration of a call after its answer; `None`: unlimited.
    pub max_duration: Option<Duration>,
    /// What session descriptions may carry from leg to leg.
    pub policy: PairPolicy,
    /// Whether media is encrypted, decided for each leg separately.
    pub srtp: SrtpRules,
    /// Where recordings without a file name of their own go; `None`: nothing is recorded.
    pub recording: Option<Arc<RecordingRules>>,
    /// Whether the inputs of calls are written to a journal: [`Switch::journal`].
    pub journal: bool,
    /// The highest number of the calls that ended in an earlier process: those of this one get none of its numbers,
    /// nor those of `max_calls` that it may have had when it was lost. `None`: numbers begin anew.
    pub last_call: Option<CallId>,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        SwitchConfig {
            domain: "b2b.invalid".to_owned(),
            max_calls: 10_000,
            retry_after: 10,
            rtp_timeout: Some(rtp_timeout::SERVER),
            max_duration: None,
            policy: PairPolicy::default(),
            srtp: SrtpRules::default(),
            recording: None,
            journal: false,
            last_call: None,
        }
    }
}

/// The collaborators of a switch.
pub struct SwitchParts {
    pub controller: Arc<dyn MediaController>,
    pub resolver: Arc<dyn Resolver>,
    /// Asked in this order.
    pub handlers: Vec<Arc<dyn ApplicationHandler>>,
    pub admission: Box<dyn AdmissionControl>,
    /// Receives the events; `None`: events are dropped.
    pub bus: Option<EventBus>,
    /// Receives call detail records; `None`: none are written.
    pub records: Option<RecordSink>,
}

/// The context of one turn.
pub struct Turn<'a> {
    pub now: Instant,
    /// The same moment as wall-clock time.
    pub wall: SystemTime,
    pub sip: &'a mut Endpoint,
}

/// Which new calls are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TakesCalls {
    All,
    /// Draining: only emergency calls and others that admission control calls urgent.
    Urgent,
    None,
}

/// The source leg and the target leg of a request passed across a bridge, and the transaction that waits.
type PassedRequest = (LegId, LegId, ServerTransactionId);

/// The calls of one thread.
pub struct Switch {
    calls: Calls,
    common: Common,
}

impl Switch {
    /// A switch without calls, and the receiver of the commands of its [`CallService`].
    pub(crate) fn new(config: SwitchConfig, parts: SwitchParts) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let journaling = match config.journal {
            true => journaling::Journaling::Writes(None, None),
            false => journaling::Journaling::Off,
        };
        let mut calls = Calls::default();
        if let Some(last) = config.last_call {
            calls.go_on_after(last, config.max_calls);
        }
        let common = Common {
            config,
            parts,
            mirror: None,
            service: CallService::new(commands),
            passed: HashMap::new(),
            referrals: referring::Referrals::default(),
            timers: TimerQueue::default(),
            work: tasks::Work::default(),
            applications: stepping::Applications::default(),
            follows: follow::Follows::default(),
            sleepers: Sleepers::default(),
            history: CallHistory::default(),
            watchers: watchers::Watchers::default(),
            recordings_ending: recording::Ending::default(),
            parting: VecDeque::new(),
            takes: TakesCalls::All,
            counters: SwitchCounters::default(),
            journaling,
            rows: None,
        };
        (Switch { calls, common }, receiver)
    }

    /// The handle for use from outside.
    pub fn service(&self) -> CallService {
        self.common.service.clone()
    }

    /// Whether ordinary new calls are refused.
    pub fn is_draining(&self) -> bool {
        self.common.is_draining()
    }

    /// The configuration.
    pub fn config(&self) -> &SwitchConfig {
        &self.common.config
    }

    /// When to call [`Switch::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        let own = [
            self.common.timers.next(),
            self.common.sleepers.next(),
            self.common.parting.front().map(|(at, _)| *at),
        ];
        let others = [
            self.common.applications.next(),
            self.common.parts.admission.next_timeout(),
            self.common.history.next_timeout(),
        ];
        own.into_iter().chain(others).flatten().min()
    }

    /// Handles the timers that are due.
    pub fn timeout(&mut self, t: &mut Turn<'_>) {
        while self.common.parting.front().is_some_and(|(at, _)| *at <= t.now) {
            self.common.parting.pop_front();
        }
        self.wake(t);
        self.wake_applications(t);
        while let Some((at, id)) = self.common.timers.pop_due(t.now) {
            let Some(call) = self.calls.get_mut(id) else { continue };
            if !call.queued.matches(at) {
                continue;
            }
            // The entry may only be the check on the way.
            if call.next_timeout().is_some_and(|at| at <= t.now) {
                self.common.about_timer(t.now, Some(id));
            }
            self.fire(t, id);
        }
        if self.common.history.next_timeout().is_some_and(|at| at <= t.now) {
            self.common.history.timeout(t.now);
            self.common.settle_history(t);
        }
        if self.common.parts.admission.next_timeout().is_some_and(|at| at <= t.now) {
            self.common.parts.admission.work(t);
        }
    }

    /// The timer of a call has fired.
    fn fire(&mut self, t: &mut Turn<'_>, id: CallId) {
        self.in_call(id, |step| step.call_timeout(t));
        self.carry_out(t);
        self.in_call(id, |step| step.arm(t.now));
    }

    /// Fires the next timer of these calls, as their journal says: of a branch whose INVITE had to wait, or
    /// of a call.
    fn tick_of(&mut self, t: &mut Turn<'_>, calls: &[CallId]) {
        if self.wake_branch(t, calls) {
            return;
        }
        let due = calls.iter().filter_map(|id| Some((self.calls.get(*id)?.next_timeout()?, *id)));
        match due.min().filter(|(at, _)| *at <= t.now) {
            Some((_, id)) => self.fire(t, id),
            None => self.common.counters.late(),
        }
    }

    /// Sets new limits and lets admission control act on its new configuration. Calls that are up keep their
    /// maximum duration.
    pub fn reconfigure(&mut self, t: &mut Turn<'_>, max_calls: usize, max_duration: Option<Duration>) {
        self.common.config.max_calls = max_calls;
        self.common.config.max_duration = max_duration;
        self.common.parts.admission.work(t);
    }

    /// Lets admission control act on a change.
    pub fn wake_admission(&mut self, t: &mut Turn<'_>) {
        self.common.parts.admission.work(t);
    }

    /// The next task that has to wait; its result comes back through [`Switch::done`].
    pub fn poll_task(&mut self) -> Option<Task> {
        self.common.work.poll_task()
    }

    /// The next task that runs beside the calls, without a time limit; its result comes back in the same way.
    pub fn poll_beside(&mut self) -> Option<Task> {
        self.common.work.poll_beside()
    }

    /// The next source that admission control has banned or forgiven, for the sockets.
    pub fn poll_ban(&mut self) -> Option<Ban> {
        self.common.parts.admission.poll_ban()
    }

    /// The next flow whose peer admission control has recognized, for the sockets.
    pub fn poll_proven(&mut self) -> Option<Flow> {
        self.common.parts.admission.poll_proven()
    }

    /// Counters so far.
    pub fn counters(&self) -> SwitchCounters {
        self.common.counters
    }

    /// All legs.
    pub(crate) fn legs(&self) -> Vec<LegId> {
        self.calls.leg_ids()
    }

    /// The current size of every collection.
    pub fn holdings(&self) -> SwitchHoldings {
        SwitchHoldings {
            calls: self.calls.len(),
            legs: self.calls.legs(),
            bridges: self.calls.bridges(),
            map_entries: self.calls.map_entries()
                + self.common.passed.len()
                + self.common.referrals.len()
                + self.common.watchers.len()
                + self.common.applications.with_calls(),
            timer_entries: self.common.timers.len()
                + self.common.sleepers.len()
                + self.common.applications.timers(),
            tasks: self.common.work.tasks(),
            accounts: self.common.history.open_histories(),
            captures: self.common.history.captured_calls(),
        }
    }

    /// Whether nothing is left of any call; an application may still be storing what its caller has left.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.common.applications.with_calls() == 0
            && self.common.history.open_histories() == 0
            && (!self.common.is_draining() || self.common.parts.admission.is_idle())
    }
}
