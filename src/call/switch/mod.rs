//! The calls, their legs and the SIP stack, owned by one thread; each event is one turn, which neither locks
//! nor blocks.
//!
//! A state machine without sockets: [`Switch`] is given events together with a [`Turn`] (the time and the
//! endpoint to act on) and produces [`Task`]s, the work that has to wait; their results come back as inputs.
//! `driver` runs it on a thread, `b2b-testkit` in virtual time (`testkit`: what it needs for that).
//!
//! By floors, the lowest first:
//!
//! - `dial`: dialling as a state machine; `state`: a call as values, with what it waits for; `work`: work that has to
//!   wait, slabs whose keys are never reused, waiters; `counters`: what was late, ignored or impossible
//! - `admission`: decides on requests before they become calls; `journal`: writes down the inputs of calls, and runs them
//!   again
//! - `common`: what all calls share; `turn`: its time, and responses and NOTIFYs on the endpoint; `works_on`: what it works
//!   on is written down
//! - `step`: a step of one call, which sees that call, what it may ask, and the outcome that it leaves
//! - `calls`: the table of calls, with look-up by leg, bridge, dialog or media endpoint; `input`: the inputs, each of
//!   which goes to its call; `outside`: carries out the effects of steps, and answers their questions; `incoming`:
//!   INVITEs that start a call; `pair`: what concerns two calls
//! - `snapshot`, `history`: calls for readers; `export`: calls as bytes; `keep`: writes those that change; `restore`: calls
//!   that continue from them

pub mod admission;
mod calls;
mod common;
mod counters;
pub mod dial;
pub mod driver;
mod export;
mod history;
mod incoming;
mod input;
mod journal;
pub mod keep;
mod outside;
mod pair;
pub mod replay;
pub mod restore;
mod snapshot;
mod state;
mod step;
#[doc(hidden)]
pub mod testkit;
mod turn;
mod work;
mod works_on;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use calls::Calls;
use common::{Common, HORIZON, TakesCalls, World};
use foldhash::HashMap;
use tokio::sync::mpsc;

use crate::call_fsm::CallEvent;
use crate::history::CallHistory;
use crate::leg_fsm::TerminationCause;
use crate::service::command::Command;
use crate::service::{CallEnd, CallService, DialError};
use crate::switch::state::effect::Effect;
use crate::switch::state::input::CallInput;
use crate::{CallId, LegId};
use b2b_sip::endpoint::{Flow, UsageId};
use b2b_sip::net::Ban;
use b2b_sip::transaction::timer_queue::TimerQueue;
pub use common::{Mirror, RecordSink, SwitchConfig, SwitchParts};
pub use counters::{SwitchCounters, SwitchHoldings};
use dial::Silence;
pub use export::NotWritten;
pub use history::{CaptureError, Capturing, Inquiry, Measuring};
use journal::Journaling;
use keep::Kept;
pub use snapshot::{BridgeSnapshot, CallSnapshot, DiallingSnapshot, LegSnapshot, RecordingSnapshot};
use state::call::EndReason;
use step::CallStep;
use step::dialling::refuse;
use step::ending::talked;
pub use turn::Turn;
use work::sleepers::Sleepers;
pub use work::tasks::{Done, Task};
use works_on::WorksOn;

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
            true => Journaling::Writes(None, None),
            false => Journaling::Off,
        };
        let mut calls = Calls::default();
        if let Some(last) = config.last_call {
            calls.go_on_after(last, config.max_calls);
        }
        let reads = !config.resumes;
        let common = Common {
            config,
            world: World {
                parts,
                history: CallHistory::default(),
                journaling,
                is_kept: false,
                handled: HashMap::default(),
                listeners: HashMap::default(),
            },
            mirror: None,
            kept: None,
            works_on: WorksOn::default(),
            reads,
            service: CallService::new(commands),
            passed_refers: Vec::new(),
            timers: TimerQueue::default(),
            work: work::tasks::Work::default(),
            applications: work::applications::Applications::default(),
            out: state::follow::Outcome::default(),
            sleepers: Sleepers::default(),
            watchers: work::watchers::Watchers::default(),
            recordings_ending: state::recording::Ending::default(),
            parting: VecDeque::new(),
            takes: TakesCalls::All,
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

    /// What is kept of calls that are up and of the latest ended ones.
    pub fn history(&self) -> &CallHistory {
        &self.common.world.history
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
            self.common.world.parts.admission.next_timeout(),
            self.common.world.history.next_timeout(),
            self.common.kept.as_ref().and_then(Kept::next),
        ];
        own.into_iter().chain(others).flatten().min()
    }

    /// Handles the timers that are due.
    pub fn timeout(&mut self, t: &mut Turn<'_>) {
        while self.common.parting.front().is_some_and(|(at, _)| *at <= t.now) {
            self.common.parting.pop_front();
        }
        self.wake(t);
        self.common.wake_applications(t);
        if let Some(kept) = &mut self.common.kept {
            kept.grow_up(t.now);
            kept.look_again(t.now, |usages| t.sip.unsettled(usages).is_none());
        }
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
        if self.common.world.history.next_timeout().is_some_and(|at| at <= t.now) {
            self.common.world.history.timeout(t.now);
            self.common.settle_history(t.at());
        }
        if self.common.world.parts.admission.next_timeout().is_some_and(|at| at <= t.now) {
            self.common.world.parts.admission.work(t);
        }
    }

    /// The timer of a call has fired.
    fn fire(&mut self, t: &mut Turn<'_>, id: CallId) {
        let silent = self.calls.get(id).map(|call| call.silent_at(t.now)).unwrap_or_default();
        let silence = |usage: Option<UsageId>| match usage.filter(|usage| t.sip.is_silent(*usage)) {
            Some(usage) => t.sip.turned_at(t.now, usage).map_or(Silence::FromTheStart, Silence::Since),
            None => Silence::Over,
        };
        let silent = silent.into_iter().map(|(branch, usage)| (branch, silence(usage))).collect();
        self.in_call(id, |step| step.step(t.at(), CallInput::Timeout { silent }));
        self.carry_out(t);
        self.arm(t.now, id);
    }

    /// Sets the timer of a call, if it is not over, to its earliest deadline, or to the horizon if that is sooner.
    pub(crate) fn arm(&mut self, now: Instant, id: CallId) {
        if let Some(call) = self.calls.get_mut(id) {
            let deadline = call.next_timeout().map(|deadline| deadline.min(now + HORIZON));
            self.common.timers.arm(&mut call.queued, deadline, id);
        }
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
            None => self.common.out.counters.late(),
        }
    }

    /// Sets new limits and lets admission control act on its new configuration. Calls that are up keep their
    /// maximum duration.
    pub fn reconfigure(&mut self, t: &mut Turn<'_>, max_calls: usize, max_duration: Option<Duration>) {
        self.common.config.max_calls = max_calls;
        self.common.config.max_duration = max_duration;
        self.common.world.parts.admission.work(t);
    }

    /// Lets admission control act on a change.
    pub fn wake_admission(&mut self, t: &mut Turn<'_>) {
        self.common.world.parts.admission.work(t);
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
        self.common.world.parts.admission.poll_ban()
    }

    /// The next flow whose peer admission control has recognized, for the sockets.
    pub fn poll_proven(&mut self) -> Option<Flow> {
        self.common.world.parts.admission.poll_proven()
    }

    /// A turn has ended well.
    pub(crate) fn turn_over(&mut self) {
        self.common.works_on.over();
    }

    /// Counters so far.
    pub fn counters(&self) -> SwitchCounters {
        self.common.out.counters
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
                + self.common.watchers.len()
                + self.common.world.handled.len()
                + self.common.world.listeners.len()
                + self.common.applications.with_calls(),
            timer_entries: self.common.timers.len()
                + self.common.sleepers.len()
                + self.common.applications.timers(),
            tasks: self.common.work.tasks(),
            accounts: self.common.world.history.open_histories(),
            captures: self.common.world.history.captured_calls(),
        }
    }

    /// Whether nothing is left of any call; an application may still be storing what its caller has left.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.common.applications.with_calls() == 0
            && self.common.world.history.open_histories() == 0
            && (!self.is_draining() || self.common.world.parts.admission.is_idle())
    }

    fn call_over(&mut self, t: &mut Turn<'_>, id: CallId) {
        self.in_call(id, |step| {
            step.recording_over();
            step.advance_call(CallEvent::End);
        });
        let Some(mut call) = self.calls.remove(id) else {
            return self.common.out.counters.impossible("call_over");
        };
        self.common.timers.disarm(&mut call.queued, id);
        self.common.out.counters.ended += 1;
        if let Some(dialling) = call.dialling {
            refuse(dialling.purpose, DialError::CallerGone);
        }
        let cancelled = EndReason { cause: TerminationCause::Cancelled, by: None };
        let EndReason { cause, by } = call.end.unwrap_or(cancelled);
        let talked = talked(call.answered_at, t.now);
        let end = CallEnd { cause, by, talked, at: t.wall };
        self.common.out.effect(Effect::CallOver { call: id, end });
    }

    /// Ends a call without legs, unless one is about to be dialled.
    pub(crate) fn drop_if_empty(&mut self, t: &mut Turn<'_>, id: CallId) {
        if self.calls.get(id).is_some_and(|call| call.legs.is_empty() && call.dialling.is_none()) {
            self.call_over(t, id);
        }
    }

    /// Accepts no ordinary new calls from now on: 503 with Retry-After.
    pub fn drain(&mut self) {
        if self.common.takes == TakesCalls::All {
            self.common.takes = TakesCalls::Urgent;
        }
        self.common.world.parts.admission.drain();
    }

    /// Ends every leg.
    pub fn hang_up_all(&mut self, t: &mut Turn<'_>) {
        self.drain();
        self.common.takes = TakesCalls::None;
        for leg in self.calls.leg_ids() {
            self.journal_command(t, &Command::Hangup { leg, reason: None, reply: Default::default() });
            self.input(t, leg, CallInput::HangUp { leg });
            self.carry_out(t);
        }
    }

    /// Waits no longer for any answer: every leg is ended and recorded.
    pub fn give_up_all(&mut self, t: &mut Turn<'_>) {
        for leg in self.calls.leg_ids() {
            self.input(t, leg, CallInput::GiveUp { leg });
            self.carry_out(t);
        }
    }

    /// A step of this call; `None`: it is over.
    pub(crate) fn step(&mut self, call: CallId) -> Option<CallStep<'_>> {
        let (of_id, index) = self.calls.one(call)?;
        let Common { config, world, out, kept, works_on, .. } = &mut self.common;
        works_on.call(call);
        if let Some(kept) = kept {
            kept.changes(call, world.is_about() == Some(call));
        }
        Some(CallStep { id: call, call: of_id, index, config, asks: world, out })
    }

    /// A step of the call that a leg is in now; `None`: the leg is over.
    pub(crate) fn step_of(&mut self, leg: LegId) -> Option<CallStep<'_>> {
        let call = self.calls.leg(leg)?.call;
        self.step(call)
    }

    /// Gives an input to the call that a leg is in now; counted as late if the leg is over.
    pub(crate) fn input(&mut self, t: &Turn<'_>, leg: LegId, input: CallInput) {
        self.in_call_of(leg, |step| step.step(t.at(), input));
    }

    /// Acts in a call; counted as late if the call is over.
    pub(crate) fn in_call(&mut self, call: CallId, act: impl FnOnce(&mut CallStep<'_>)) {
        match self.step(call) {
            Some(mut step) => act(&mut step),
            None => self.common.out.counters.late(),
        }
    }

    /// Acts in the call that a leg is in now; counted as late if the leg is over.
    pub(crate) fn in_call_of(&mut self, leg: LegId, act: impl FnOnce(&mut CallStep<'_>)) {
        match self.step_of(leg) {
            Some(mut step) => act(&mut step),
            None => self.common.out.counters.late(),
        }
    }
}
