//! Legs that are joined: one thread owns the SIP stack, the calls and the legs;
//! each event is one turn without a lock or a wait.
//!
//! A machine without sockets: [`Switch`] takes what happened with a [`Turn`] (the
//! time and the endpoint to act on) and leaves behind [`Task`]s, what has to wait;
//! their results are inputs again. `driver` runs it on a thread, `b2b-testkit` in
//! virtual time (`testkit`: what it needs for that).
//!
//! - `table`: what is known of a leg, a call, a bridge; `calls`: which call or leg something comes of
//! - `incoming`: their INVITE; `handing`: its handlers, and what they decide
//! - `dial`: dialling as a machine; `dialling`: the machine at work
//! - `invite`: the INVITE of a leg that is dialled
//! - `redirect`: refusals of branches, and whom a 3xx names
//! - `events`: what happens in a leg's dialog
//! - `joining`: the first offer and answer across, and bridges
//! - `exchange`: later offers, one at a time, from when they are wanted until their answer is taken; `across`: those of
//!   parties; `direct`: when media is led past b2b
//! - `holding`: parties that we put on hold; `parting`: bridges that are taken down for good
//! - `answering`: callers that we answer ourselves
//! - `reliable`: provisional responses with PRACK, and who offers late
//! - `requests`: other requests inside a call; `transfer`: sending a party elsewhere;
//!   `referral`: where to; `referring`: REFERs that go out; `replacing`: who may take whose place
//! - `moving`: a party that is given to an application
//! - `identity`: who a party is, and whom it is told that it is connected with
//! - `consult`: sending a party to a call that still rings
//! - `ending`: the end of legs, bridges and calls
//! - `challenge`: credentials for who asks for them
//! - `obey`: commands from outside; `command`: their values; `steering`: those that take a leg from who has it;
//!   `application`: what applications ask beside dialling
//! - `say`: responses and hang-ups on the endpoint
//! - `listener`: the events of a call to its handler; `variables`: what is noted on it
//! - `news`: steps of the state machines, and their events; `snapshot`: what can be seen
//! - `recording`: their sound in files, and that of single legs
//! - `records`: call detail records; `history`: what is kept of a call for readers;
//!   `capturing`: its media, too
//! - `admission`: who decides on requests before they become calls
//! - `tasks`: what has to wait; `waiting`: what is done then, as values
//! - `follow`: doing it, and what follows from a step in the same turn
//! - `watchers`: who waits for a state of a leg, or the end of a call, a leg or a bridge; `sleepers`: who waits for a moment
//! - `stepping`: applications that are machines; `effects`: what they want
//! - `slots`: slabs whose keys are never used twice; `counters`: what was late, ignored or impossible
//! - `journaling`: what comes into calls is written down; `run`: a switch that is fed from there, and works
//!   with `nobody`; `replay`: one call again, to be looked at
//! - `export`: calls as octets; `restore`: calls that go on from them

mod across;
pub mod admission;
mod answering;
mod application;
mod calls;
mod capturing;
mod challenge;
pub(crate) mod command;
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
#[cfg(feature = "testkit")]
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
use admission::AdmissionControl;
use b2b_sip::endpoint::{Endpoint, Flow, RequestId, ServerTransactionId};
use b2b_sip::net::Ban;
use b2b_sip::transaction::timer_queue::TimerQueue;
use calls::Calls;
pub use capturing::{CaptureError, Capturing};
use command::Command;
pub use counters::{SwitchCounters, SwitchHoldings};
pub use export::NotWhole;
pub use history::Mirror;
pub use history::{Inquiry, Measuring};
pub use records::RecordSink;
use sleepers::Sleepers;
pub use snapshot::{BridgeSnapshot, CallSnapshot, DiallingSnapshot, LegSnapshot, RecordingSnapshot};
pub use tasks::{Done, Task};

/// A deadline further away than this is looked at again on the way, so that the
/// entries of calls that were answered meanwhile do not pile up.
const HORIZON: Duration = Duration::from_secs(16);

/// What a switch is told.
#[derive(Debug, Clone)]
pub struct SwitchConfig {
    /// Host of the URIs that we name callers by: `b2b.example.com`, `192.0.2.1:5060`.
    pub domain: String,
    /// Calls at once; beyond it 503.
    pub max_calls: usize,
    /// Retry-After of a 503, seconds.
    pub retry_after: u32,
    /// No RTP for this long ends a call in which it is expected; none: never.
    pub rtp_timeout: Option<Duration>,
    /// How long a call may last from its answer on; none: without end.
    pub max_duration: Option<Duration>,
    /// What may pass from leg to leg in session descriptions.
    pub policy: PairPolicy,
    /// Whether media are encrypted, on each leg by itself.
    pub srtp: SrtpRules,
    /// Where recordings go that nobody names a file for; none: there are none.
    pub recording: Option<Arc<RecordingRules>>,
    /// What comes into calls is written down: [`Switch::journal`].
    pub journal: bool,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        SwitchConfig {
            domain: "b2b.invalid".to_owned(),
            max_calls: 10_000,
            retry_after: 10,
            rtp_timeout: Some(Duration::from_secs(60)),
            max_duration: None,
            policy: PairPolicy::default(),
            srtp: SrtpRules::default(),
            recording: None,
            journal: false,
        }
    }
}

/// Who a switch works with.
pub struct SwitchParts {
    pub controller: Arc<dyn MediaController>,
    pub resolver: Arc<dyn Resolver>,
    /// Asked in this order.
    pub handlers: Vec<Arc<dyn ApplicationHandler>>,
    pub admission: Box<dyn AdmissionControl>,
    /// Where events go; none: nowhere.
    pub bus: Option<EventBus>,
    /// Where call detail records go; none: nowhere.
    pub records: Option<RecordSink>,
}

/// What one turn has at hand.
pub struct Turn<'a> {
    pub now: Instant,
    /// The same moment, for people.
    pub wall: SystemTime,
    pub sip: &'a mut Endpoint,
}

/// Which new calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TakesCalls {
    All,
    /// It drains: those to emergency numbers, and what else admission control says is urgent.
    Urgent,
    None,
}

/// The calls of one thread.
pub struct Switch {
    config: SwitchConfig,
    parts: SwitchParts,
    mirror: Option<Mirror>,
    service: CallService,
    calls: Calls,
    /// Requests that went across: from which leg, to which, and who waits for the answer.
    passed: HashMap<RequestId, (LegId, LegId, ServerTransactionId)>,
    referrals: referring::Referrals,
    timers: TimerQueue<CallId>,
    work: tasks::Work,
    applications: stepping::Applications,
    follows: follow::Follows,
    sleepers: Sleepers,
    history: CallHistory,
    watchers: watchers::Watchers,
    recordings_ending: recording::Ending,
    /// Listeners of calls that are over, and until when they may go on.
    parting: VecDeque<(Instant, listener::Ends)>,
    takes: TakesCalls,
    counters: SwitchCounters,
    journaling: journaling::Journaling,
    #[cfg(feature = "testkit")]
    rows: testkit::Rows,
}

impl Switch {
    /// A switch without calls, and the commands that its [`CallService`] will send.
    pub(crate) fn new(config: SwitchConfig, parts: SwitchParts) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let journaling = match config.journal {
            true => journaling::Journaling::Writes(None, None),
            false => journaling::Journaling::Off,
        };
        let switch = Switch {
            config,
            parts,
            mirror: None,
            service: CallService::new(commands),
            calls: Calls::default(),
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
            #[cfg(feature = "testkit")]
            rows: testkit::Rows::default(),
        };
        (switch, receiver)
    }

    /// The handle of the outside.
    pub fn service(&self) -> CallService {
        self.service.clone()
    }

    /// What it was told.
    pub fn config(&self) -> &SwitchConfig {
        &self.config
    }

    /// When to call [`Switch::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        let own = [self.timers.next(), self.sleepers.next(), self.parting.front().map(|(at, _)| *at)];
        let others =
            [self.applications.next(), self.parts.admission.next_timeout(), self.history.next_timeout()];
        own.into_iter().chain(others).flatten().min()
    }

    /// Time has passed.
    pub fn timeout(&mut self, t: &mut Turn<'_>) {
        while self.parting.front().is_some_and(|(at, _)| *at <= t.now) {
            self.parting.pop_front();
        }
        self.wake(t);
        self.wake_applications(t);
        while let Some((at, id)) = self.timers.pop_due(t.now) {
            let Some(call) = self.calls.get_mut(id) else { continue };
            if !call.queued.matches(at) {
                continue;
            }
            // It may have been looked at on the way only.
            if call.next_timeout().is_some_and(|at| at <= t.now) {
                self.about_timer(t.now, Some(id));
            }
            self.fire(t, id);
        }
        if self.history.next_timeout().is_some_and(|at| at <= t.now) {
            self.history.timeout(t.now);
            self.settle_history(t);
        }
        if self.parts.admission.next_timeout().is_some_and(|at| at <= t.now) {
            self.parts.admission.work(t);
        }
    }

    /// The timer of a call has fired.
    fn fire(&mut self, t: &mut Turn<'_>, id: CallId) {
        self.call_timeout(t, id);
        self.carry_out(t);
        self.arm(t.now, id);
    }

    /// The next timer of these calls fires, as their journal says: of a branch whose INVITE had to wait, or of a call.
    fn tick_of(&mut self, t: &mut Turn<'_>, calls: &[CallId]) {
        if self.wake_branch(t, calls) {
            return;
        }
        let due = calls.iter().filter_map(|id| Some((self.calls.get(*id)?.next_timeout()?, *id)));
        match due.min().filter(|(at, _)| *at <= t.now) {
            Some((_, id)) => self.fire(t, id),
            None => self.counters.late(),
        }
    }

    /// Time has passed in which nothing was due, as its journals say: what was only to be looked at is.
    fn look_on(&mut self, now: Instant) {
        let mut looked_at = Vec::new();
        while let Some((at, id)) = self.timers.pop_due(now) {
            looked_at.extend(self.calls.get_mut(id).and_then(|call| call.queued.matches(at).then_some(id)));
        }
        for id in looked_at {
            self.arm(now, id);
        }
        self.forget_branches(now);
        self.history.timeout(now);
    }

    /// Other limits from now on, and another configuration that admission control may have to
    /// act on. Calls that are up keep their time.
    pub fn reconfigure(&mut self, t: &mut Turn<'_>, max_calls: usize, max_duration: Option<Duration>) {
        self.config.max_calls = max_calls;
        self.config.max_duration = max_duration;
        self.parts.admission.work(t);
    }

    /// Something has changed that admission control is to look at.
    pub fn wake_admission(&mut self, t: &mut Turn<'_>) {
        self.parts.admission.work(t);
    }

    /// Something that has to wait; its result comes back by [`Switch::done`].
    pub fn poll_task(&mut self) -> Option<Task> {
        self.work.poll_task()
    }

    /// Something that runs beside the calls for as long as it likes; its result comes back
    /// in the same way.
    pub fn poll_beside(&mut self) -> Option<Task> {
        self.work.poll_beside()
    }

    /// A source that admission control has banned, or forgiven: for the sockets.
    pub fn poll_ban(&mut self) -> Option<Ban> {
        self.parts.admission.poll_ban()
    }

    /// By which way somebody came whom admission control has recognized: for the sockets.
    pub fn poll_proven(&mut self) -> Option<Flow> {
        self.parts.admission.poll_proven()
    }

    /// Counters so far.
    pub fn counters(&self) -> SwitchCounters {
        self.counters
    }

    /// Every leg.
    pub(crate) fn legs(&self) -> Vec<LegId> {
        self.calls.leg_ids()
    }

    /// What is held.
    pub fn holdings(&self) -> SwitchHoldings {
        SwitchHoldings {
            calls: self.calls.len(),
            legs: self.calls.legs(),
            bridges: self.calls.bridges(),
            map_entries: self.calls.map_entries()
                + self.passed.len()
                + self.referrals.len()
                + self.watchers.len()
                + self.applications.with_calls(),
            timer_entries: self.timers.len() + self.sleepers.len() + self.applications.timers(),
            tasks: self.work.tasks(),
            accounts: self.history.open_histories(),
            captures: self.history.captured_calls(),
        }
    }

    /// Whether new calls are refused.
    pub fn is_draining(&self) -> bool {
        self.takes != TakesCalls::All
    }

    /// Whether nothing is left of any call; an application may still store what its caller has left.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.applications.with_calls() == 0
            && self.history.open_histories() == 0
            && (!self.is_draining() || self.parts.admission.is_idle())
    }

    /// Makes sure that the call wakes at its earliest deadline, or at the horizon to look again.
    fn arm(&mut self, now: Instant, id: CallId) {
        if let Some(call) = self.calls.get_mut(id) {
            let deadline = call.next_timeout().map(|deadline| deadline.min(now + HORIZON));
            self.timers.arm(&mut call.queued, deadline, id);
        }
    }
}
