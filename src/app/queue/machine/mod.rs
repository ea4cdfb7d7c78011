//! All queues and all agents as one machine: what happened in, what is to be done out. No
//! I/O, no clock, no randomness; agents are shared, so one machine holds every queue.
//!
//! - `values`: plans, inputs, outputs
//! - `agent`: what an agent does, as a table
//! - `choose`: the strategies
//! - `line`: callers in their order
//! - `offers`: agents' calls, from the ring to their end; `wrap_up`: what comes after
//! - `rate`: the estimate of a wait
//! - `reload`: another plan while calls are up
//! - `view`: what is seen, and counted

pub mod agent;
pub mod choose;
mod line;
mod offers;
pub mod rate;
mod reload;
pub mod values;
pub mod view;
mod wrap_up;

#[cfg(test)]
mod agents_tests;
#[cfg(test)]
mod storm_tests;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use agent::{AgentState, Duty, Work, WorkEvent};
use line::{Caller, Place};
use offers::Offer;
use rate::ServiceRate;
use values::{
    AgentNo, AgentPlan, CallerId, FloorPlan, Input, OfferId, Output, QueueNo, QueuePlan, Why, Withdrawn,
};
use view::QueueCounters;

/// Every queue, caller and agent. [`Floor::handle`] takes an input with its time,
/// [`Floor::poll`] gives what is to be done, [`Floor::next_timeout`] when to come back.
#[derive(Debug)]
pub struct Floor {
    queues: Vec<Queue>,
    agents: Vec<Agent>,
    callers: BTreeMap<CallerId, Caller>,
    /// Who waits, in the order of service.
    line: BTreeSet<Place>,
    offers: BTreeMap<OfferId, Offer>,
    timers: BTreeSet<(Instant, Timer)>,
    outputs: VecDeque<Output>,
    /// Of callers, for their order, and of offers.
    last: (u64, u64),
}

#[derive(Debug)]
struct Queue {
    plan: QueuePlan,
    /// It is in no plan any more.
    closed: bool,
    /// Callers, ready or not.
    waiting: usize,
    /// The place of the agent that was called last.
    called: Option<usize>,
    rate: ServiceRate,
    counters: QueueCounters,
}

#[derive(Debug)]
struct Agent {
    plan: AgentPlan,
    /// It is in no plan any more.
    retired: bool,
    duty: Duty,
    reachable: bool,
    work: Work,
    /// Its call.
    offer: Option<OfferId>,
    /// Since when `work` is what it is.
    since: Instant,
    /// When it last came back from a call, or to work.
    free_since: Instant,
    rests_until: Option<Instant>,
    /// Calls not answered, one after the other.
    misses: u32,
    answered: u64,
}

impl Queue {
    fn new(plan: QueuePlan) -> Self {
        let (rate, counters) = (ServiceRate::default(), QueueCounters::default());
        Queue { plan, closed: false, waiting: 0, called: None, rate, counters }
    }
}

impl Agent {
    fn new(now: Instant, plan: AgentPlan) -> Self {
        Agent {
            duty: plan.duty,
            reachable: plan.reachable,
            plan,
            retired: false,
            work: Work::Free,
            offer: None,
            since: now,
            free_since: now,
            rests_until: None,
            misses: 0,
            answered: 0,
        }
    }

    fn state(&self) -> AgentState {
        AgentState::of(self.work, self.duty, self.reachable)
    }

    fn is_at_work(&self) -> bool {
        self.duty != Duty::LoggedOut && self.reachable
    }
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An agent's rest is over.
    Rest(AgentNo),
    /// An agent has rung for long enough.
    Ring(OfferId),
    /// A caller has waited for long enough.
    Patience(CallerId),
    /// A caller is told where it stands.
    Announce(CallerId),
}

impl Floor {
    /// A floor without callers.
    pub fn new(now: Instant, plan: FloorPlan) -> Self {
        let agents = plan.agents.into_iter().map(|plan| Agent::new(now, plan));
        let queues = plan.queues.into_iter().map(Queue::new);
        Floor {
            agents: agents.collect(),
            queues: queues.collect(),
            callers: BTreeMap::new(),
            line: BTreeSet::new(),
            offers: BTreeMap::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            last: (0, 0),
        }
    }

    /// The queue of this name.
    pub fn queue_named(&self, name: &str) -> Option<QueueNo> {
        self.queues.iter().position(|queue| !queue.closed && &*queue.plan.name == name).map(QueueNo)
    }

    /// The agent of this name.
    pub fn agent_named(&self, name: &str) -> Option<AgentNo> {
        self.agents.iter().position(|agent| !agent.retired && &*agent.plan.name == name).map(AgentNo)
    }

    /// What a queue was told.
    pub fn queue_plan(&self, queue: QueueNo) -> Option<&QueuePlan> {
        self.queues.get(queue.0).map(|it| &it.plan)
    }

    /// What is known of an agent.
    pub fn agent_plan(&self, agent: AgentNo) -> Option<&AgentPlan> {
        self.agents.get(agent.0).map(|it| &it.plan)
    }

    /// When to come back with [`Input::Tick`]; none: nothing waits for time.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What is to be done, in this order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes what happened. What is unknown, or over already, changes nothing.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::CallerJoined { caller, queue, priority, skills } => {
                self.caller_joined(now, caller, queue, priority, skills);
            }
            Input::CallerReady { caller } => self.caller_ready(now, caller),
            Input::CallerLeft { caller } => self.caller_left(now, caller),
            Input::CallerPressed { caller, digit } => self.caller_pressed(now, caller, digit),
            Input::AgentAnswered { offer } => self.answered(now, offer),
            Input::Joined { offer } => self.joined(now, offer),
            Input::JoinFailed { offer } => self.join_failed(now, offer),
            Input::AgentGone { offer, why } => self.agent_gone(now, offer, why),
            Input::AgentDuty { agent, duty } => self.set_duty(now, agent, duty, Why::Asked),
            Input::AgentReachable { agent, reachable } => self.set_reachable(now, agent, reachable),
            Input::Tick => {}
        }
        self.settle(now);
    }

    /// Whatever is due, and whoever can be called.
    fn settle(&mut self, now: Instant) {
        loop {
            self.assign(now);
            let Some((_, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) else { break };
            self.timers.pop_first();
            match timer {
                Timer::Rest(agent) => self.rested(now, agent),
                Timer::Ring(offer) => self.rang_out(now, offer),
                Timer::Patience(caller) => self.out_of_patience(now, caller),
                Timer::Announce(caller) => self.announce(now, caller),
            }
        }
    }

    /// Whether nothing is left of any caller or offer, and no agent rests.
    pub fn is_idle(&self) -> bool {
        self.callers.is_empty()
            && self.line.is_empty()
            && self.offers.is_empty()
            && self.timers.is_empty()
            && self.outputs.is_empty()
            && self.queues.iter().all(|queue| queue.waiting == 0)
            && self.agents.iter().all(|agent| agent.work == Work::Free && agent.offer.is_none())
    }

    // ---- agents

    /// Moves an agent's work, and tells of its state.
    fn advance(&mut self, now: Instant, agent: AgentNo, event: WorkEvent) {
        let Some(it) = self.agents.get_mut(agent.0) else { return };
        let Some(work) = agent::next(it.work, event) else { return };
        let from = it.state();
        if work != it.work {
            it.work = work;
            it.since = now;
        }
        let to = it.state();
        self.tell(agent, from, to, Why::Call);
    }

    fn tell(&mut self, agent: AgentNo, from: AgentState, to: AgentState, why: Why) {
        if from != to {
            self.outputs.push_back(Output::Agent { agent, from, to, why });
        }
    }

    fn set_duty(&mut self, now: Instant, agent: AgentNo, duty: Duty, why: Why) {
        let Some(it) = self.agents.get_mut(agent.0) else { return };
        let from = it.state();
        if duty == Duty::Available {
            it.misses = 0;
            if it.duty != Duty::Available {
                it.free_since = now;
            }
        }
        it.duty = duty;
        let to = it.state();
        self.tell(agent, from, to, why);
        match duty {
            // Who says so has rested for long enough.
            Duty::Available => self.rested(now, agent),
            Duty::LoggedOut => self.take_back_ringing(now, agent),
            Duty::Paused => {}
        }
    }

    fn set_reachable(&mut self, now: Instant, agent: AgentNo, reachable: bool) {
        let Some(it) = self.agents.get_mut(agent.0) else { return };
        let from = it.state();
        if reachable && !it.reachable {
            it.free_since = now;
        }
        it.reachable = reachable;
        let to = it.state();
        self.tell(agent, from, to, Why::Registration);
        if !reachable {
            self.take_back_ringing(now, agent);
        }
    }

    /// An agent who leaves is not called on; a talk goes on to its end.
    fn take_back_ringing(&mut self, now: Instant, agent: AgentNo) {
        let Some(it) = self.agents.get(agent.0).filter(|it| it.work == Work::Ringing) else { return };
        if let Some(offer) = it.offer {
            self.withdraw(now, offer, Withdrawn::LoggedOut);
        }
    }

    fn rested(&mut self, now: Instant, agent: AgentNo) {
        let Some(it) = self.agents.get_mut(agent.0) else { return };
        if let Some(until) = it.rests_until.take() {
            self.timers.remove(&(until, Timer::Rest(agent)));
        }
        self.advance(now, agent, WorkEvent::Rested);
    }
}
