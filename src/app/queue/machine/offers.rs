//! Calls to agents for callers: the selection of agents, and the progress of the calls.

use std::time::{Duration, Instant};

use super::agent::{Duty, Work, WorkEvent};
use super::choose::{self, Candidate};
use super::line::Stage;
use super::values::{AgentNo, CallerId, Left, OfferId, Output, QueueNo, Why, Withdrawn};
use super::{Floor, Timer};

/// A call to an agent.
#[derive(Debug)]
pub(super) struct Offer {
    pub agent: AgentNo,
    pub queue: QueueNo,
    /// The caller; `None` once the offer is withdrawn, or they are talking.
    pub caller: Option<CallerId>,
    rings_until: Option<Instant>,
    /// The agent's rest after the call.
    pub rest: Duration,
}

impl Floor {
    /// Calls agents for waiting callers, in order of service.
    pub(super) fn assign(&mut self, now: Instant) {
        if self.returning.is_some_and(|until| now < until) {
            return;
        }
        let mut free = self.agents.iter().filter(|it| it.state() == super::AgentState::Available).count();
        if free == 0 {
            return;
        }
        let line: Vec<CallerId> = self.line.iter().map(|place| place.caller).collect();
        for caller in line {
            for agent in self.agents_for(caller) {
                self.ring(now, caller, agent);
                free -= 1;
            }
            if free == 0 {
                return;
            }
        }
    }

    /// The agents to call for a caller now.
    fn agents_for(&self, caller: CallerId) -> Vec<AgentNo> {
        let Some(it) = self.callers.get(&caller).filter(|it| it.stage == Stage::Waiting) else {
            return Vec::new();
        };
        let Some(queue) = self.queues.get(it.queue.0) else { return Vec::new() };
        let all = queue.plan.strategy == super::values::Strategy::RingAll;
        if !it.offers.is_empty() && !all {
            return Vec::new();
        }
        // A backup agent is not called while the agents they stand in for are ringing.
        let ringing = it.offers.iter().filter_map(|offer| self.offers.get(offer));
        let worst = ringing.filter_map(|offer| Some(self.agents.get(offer.agent.0)?.plan.priority)).max();
        let candidate = |(place, agent): (usize, &AgentNo)| {
            let it_is = self.agents.get(agent.0)?;
            let fits = it_is.state() == super::AgentState::Available
                && worst.is_none_or(|worst| it_is.plan.priority <= worst)
                && choose::has_skills(&it_is.plan.skills, &it.skills);
            fits.then(|| Candidate {
                agent: *agent,
                place,
                level: choose::level(&it_is.plan.skills, &it.skills),
                priority: it_is.plan.priority,
                free_since: it_is.free_since,
            })
        };
        let mut candidates: Vec<_> = queue.plan.agents.iter().enumerate().filter_map(candidate).collect();
        choose::choose(queue.plan.strategy, queue.called, &mut candidates);
        candidates.into_iter().map(|it| it.agent).collect()
    }

    fn ring(&mut self, now: Instant, caller: CallerId, agent: AgentNo) {
        let Some(it) = self.callers.get_mut(&caller) else { return };
        let Some(queue) = self.queues.get_mut(it.queue.0) else { return };
        queue.called = queue.plan.agents.iter().position(|known| *known == agent);
        queue.counters.offered += 1;
        self.last += 1;
        let (id, no) = (OfferId(self.last), it.queue);
        it.offers.push(id);
        let until = now + queue.plan.ring;
        self.timers.insert((until, Timer::Ring(id)));
        let rest = Duration::ZERO;
        let offer = Offer { agent, queue: no, caller: Some(caller), rings_until: Some(until), rest };
        self.offers.insert(id, offer);
        if let Some(it) = self.agents.get_mut(agent.0) {
            it.offer = Some(id);
        }
        self.advance(now, agent, WorkEvent::Offer);
        self.outputs.push_back(Output::Ring { offer: id, caller, agent, queue: no });
    }

    /// An agent has talked to a caller of this queue since another process; `None`: they are at work already.
    pub fn talks(&mut self, now: Instant, agent: AgentNo, queue: QueueNo) -> Option<OfferId> {
        let it = self.agents.get_mut(agent.0).filter(|it| it.work == Work::Free)?;
        let from = it.state();
        self.last += 1;
        let id = OfferId(self.last);
        (it.work, it.offer, it.since) = (Work::Talking, Some(id), now);
        let to = it.state();
        let rest = self.queues.get(queue.0).map(|it| it.plan.wrap_up).unwrap_or_default();
        self.offers.insert(id, Offer { agent, queue, caller: None, rings_until: None, rest });
        self.tell(agent, from, to, Why::Call);
        Some(id)
    }

    pub(super) fn end_of_ringing(&mut self, id: OfferId) {
        if let Some(until) = self.offers.get_mut(&id).and_then(|it| it.rings_until.take()) {
            self.timers.remove(&(until, Timer::Ring(id)));
        }
    }

    /// Detaches an offer from its caller, who keeps their place in the line.
    pub(super) fn part(&mut self, id: OfferId) {
        let caller = self.offers.get_mut(&id).and_then(|it| it.caller.take());
        let Some(caller) = caller else { return };
        if let Some(it) = self.callers.get_mut(&caller) {
            it.offers.retain(|offer| *offer != id);
        }
        self.not_answered(caller, id);
    }

    /// Ends the call to an agent; it is over when the driver says so.
    pub(super) fn withdraw(&mut self, now: Instant, id: OfferId, why: Withdrawn) {
        self.end_of_ringing(id);
        self.part(id);
        let Some(offer) = self.offers.get(&id) else { return };
        self.advance(now, offer.agent, WorkEvent::Withdraw);
        self.outputs.push_back(Output::Cancel { offer: id, why });
    }

    pub(super) fn rang_out(&mut self, now: Instant, id: OfferId) {
        let Some(offer) = self.offers.get_mut(&id) else { return };
        offer.rings_until = None;
        let (agent, queue) = (offer.agent, offer.queue);
        offer.rest = self.queues.get(queue.0).map(|it| it.plan.rest).unwrap_or_default();
        self.withdraw(now, id, Withdrawn::NoAnswer);
        self.missed(now, agent, queue);
    }

    /// Counts a missed call; too many in a row pause the agent.
    pub(super) fn missed(&mut self, now: Instant, agent: AgentNo, queue: QueueNo) {
        let Some(queue) = self.queues.get_mut(queue.0) else { return };
        queue.counters.missed += 1;
        let limit = queue.plan.misses;
        let Some(it) = self.agents.get_mut(agent.0) else { return };
        it.misses += 1;
        if limit > 0 && it.misses >= limit && it.duty == Duty::Available {
            self.set_duty(now, agent, Duty::Paused, Why::Misses);
        }
    }

    pub(super) fn answered(&mut self, now: Instant, id: OfferId) {
        let Some(offer) = self.offers.get(&id) else { return };
        let (agent, caller) = (offer.agent, offer.caller);
        let work = self.agents.get(agent.0).map(|it| it.work);
        let (Some(Work::Ringing), Some(caller)) = (work, caller) else {
            // The answer crossed the withdrawal; a repeated answer changes nothing.
            if work == Some(Work::Clearing) {
                self.withdraw(now, id, Withdrawn::TooLate);
            }
            return;
        };
        self.end_of_ringing(id);
        let caller = self.first_like(caller);
        self.hand_over(id, caller);
        let others = self.callers.get_mut(&caller).map(|it| {
            it.stage = Stage::Joining(id);
            std::mem::take(&mut it.offers)
        });
        if let Some(it) = self.agents.get_mut(agent.0) {
            it.misses = 0;
        }
        self.advance(now, agent, WorkEvent::Answer);
        // A second answer would have no caller.
        for other in others.into_iter().flatten().filter(|other| *other != id) {
            self.withdraw(now, other, Withdrawn::Elsewhere);
        }
        self.outputs.push_back(Output::Join { offer: id, caller, agent });
    }

    /// The first waiting caller among those that differ only in their order.
    fn first_like(&self, caller: CallerId) -> CallerId {
        let Some(it) = self.callers.get(&caller) else { return caller };
        let like = |other: &CallerId| {
            let other = self.callers.get(other);
            other.is_some_and(|other| other.stage == Stage::Waiting && other.is_like(it))
        };
        self.line.range(..it.place).map(|place| place.caller).find(like).unwrap_or(caller)
    }

    /// Gives the agent to a caller further in front; the caller that was originally offered gets the other
    /// one's ringing agents in exchange.
    fn hand_over(&mut self, id: OfferId, to: CallerId) {
        let Some(from) = self.offers.get(&id).and_then(|it| it.caller).filter(|from| *from != to) else {
            return;
        };
        let others = self.callers.get_mut(&to).map(|it| std::mem::take(&mut it.offers)).unwrap_or_default();
        for other in &others {
            if let Some(offer) = self.offers.get_mut(other) {
                offer.caller = Some(from);
            }
        }
        if let Some(it) = self.callers.get_mut(&from) {
            it.offers.retain(|offer| *offer != id);
            it.offers.extend(others);
        }
        if let Some(it) = self.callers.get_mut(&to) {
            it.offers.push(id);
        }
        if let Some(offer) = self.offers.get_mut(&id) {
            offer.caller = Some(to);
        }
    }

    pub(super) fn joined(&mut self, now: Instant, id: OfferId) {
        let Some(offer) = self.offers.get_mut(&id) else { return };
        let agent = offer.agent;
        if self.agents.get(agent.0).is_none_or(|it| it.work != Work::Joining) {
            return;
        }
        offer.rest = self.queues.get(offer.queue.0).map(|it| it.plan.wrap_up).unwrap_or_default();
        let caller = offer.caller.take();
        if let Some(it) = self.agents.get_mut(agent.0) {
            it.answered += 1;
        }
        self.advance(now, agent, WorkEvent::Join);
        if let Some(caller) = caller {
            self.leave(now, caller, Left::Answered(agent));
        }
    }

    /// The caller, if still waiting, returns to their place.
    pub(super) fn join_failed(&mut self, now: Instant, id: OfferId) {
        let Some(offer) = self.offers.get_mut(&id) else { return };
        let joining = self.agents.get(offer.agent.0).is_some_and(|it| it.work == Work::Joining);
        if joining {
            offer.rest = self.queues.get(offer.queue.0).map(|it| it.plan.rest).unwrap_or_default();
            self.withdraw(now, id, Withdrawn::TooLate);
        }
    }
}
