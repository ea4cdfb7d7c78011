//! All queues and all agents as one machine: events go in, actions come out. No I/O, no clock, no randomness;
//! agents can be in several queues, so one machine has every queue.
//!
//! - `values`: plans, inputs, outputs
//! - `agent`: the work of an agent, as a table
//! - `choose`: the strategies
//! - `line`: the waiting callers, in order
//! - `offers`: calls to agents, from ringing to their end; `wrap_up`: the time after a call
//! - `rate`: the estimated wait
//! - `reload`: a configuration change while calls are up
//! - `view`: views and counters

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

/// All queues, callers and agents. [`Floor::handle`] processes an input with its time, [`Floor::poll`]
/// returns the next action, [`Floor::next_timeout`] the next deadline.
#[derive(Debug)]
pub struct Floor {
    queues: Vec<Queue>,
    agents: Vec<Agent>,
    callers: BTreeMap<CallerId, Caller>,
    /// The waiting callers, in order of service.
    line: BTreeSet<Place>,
    offers: BTreeMap<OfferId, Offer>,
    timers: BTreeSet<(Instant, Timer)>,
    outputs: VecDeque<Output>,
    /// The last number of an offer.
    last: u64,
    /// Callers of another process return until then: nobody is called before all have.
    returning: Option<Instant>,
}

#[derive(Debug)]
struct Queue {
    plan: QueuePlan,
    /// Removed from the configuration.
    closed: bool,
    /// The number of callers, ready or not.
    waiting: usize,
    /// The index of the agent called last.
    called: Option<usize>,
    rate: ServiceRate,
    counters: QueueCounters,
}

#[derive(Debug)]
struct Agent {
    plan: AgentPlan,
    /// Removed from the configuration.
    retired: bool,
    duty: Duty,
    reachable: bool,
    work: Work,
    /// The current call to the agent.
    offer: Option<OfferId>,
    /// The time of the last change of `work`.
    since: Instant,
    /// The time of the last return from a call, or to duty.
    free_since: Instant,
    rests_until: Option<Instant>,
    /// The number of consecutive missed calls.
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

/// The purpose of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An agent's rest ends.
    Rest(AgentNo),
    /// An agent's ring timeout.
    Ring(OfferId),
    /// A caller's maximum wait.
    Patience(CallerId),
    /// A caller's position is announced.
    Announce(CallerId),
    /// The callers of another process have returned.
    Returned,
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
            last: 0,
            returning: None,
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

    /// The configuration of a queue.
    pub fn queue_plan(&self, queue: QueueNo) -> Option<&QueuePlan> {
        self.queues.get(queue.0).map(|it| &it.plan)
    }

    /// The configuration of an agent.
    pub fn agent_plan(&self, agent: AgentNo) -> Option<&AgentPlan> {
        self.agents.get(agent.0).map(|it| &it.plan)
    }

    /// When to call [`Floor::handle`] with [`Input::Tick`]; `None` without a deadline.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next action, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Processes an input. One about an unknown or ended object changes nothing.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::CallerJoined { caller, who, queue, priority, skills } => {
                self.caller_joined(now, caller, who, queue, priority, skills);
            }
            Input::CallerReturned { caller, who, queue, priority, skills, before } => {
                self.caller_returned(now, caller, who, queue, line::Wishes { priority, skills }, before);
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

    /// Processes due timers, and calls agents for waiting callers.
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
                Timer::Returned => {}
            }
        }
    }

    /// Whether there are no callers or offers, and no agent is in a call or rests.
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

    /// Advances an agent's work, and reports a change of state.
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
            // An agent who becomes available ends their rest.
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

    /// The ringing of an agent who leaves is stopped; a conversation continues.
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
