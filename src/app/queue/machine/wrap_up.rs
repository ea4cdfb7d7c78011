//! The time between two calls of an agent: wrap-up time after a call, or a rest after one that was not taken.

use std::time::{Duration, Instant};

use super::agent::{Work, WorkEvent};
use super::values::{AgentNo, Gone, OfferId, Why};
use super::{Floor, Timer};

impl Floor {
    pub(super) fn agent_gone(&mut self, now: Instant, id: OfferId, why: Gone) {
        self.end_of_ringing(id);
        self.part(id);
        let Some(offer) = self.offers.remove(&id) else { return };
        let agent = offer.agent;
        let Some(it) = self.agents.get_mut(agent.0) else { return };
        let work = it.work;
        it.offer = None;
        let not_taken = matches!(work, Work::Ringing | Work::Joining);
        let queue = self.queues.get_mut(offer.queue.0);
        let rest = match &queue {
            Some(queue) if not_taken => queue.plan.rest,
            _ => offer.rest,
        };
        if let Some(queue) = queue.filter(|_| work == Work::Ringing && why == Gone::Rejected) {
            queue.counters.rejected += 1;
        }
        // An agent without a rest is free at once.
        if rest.is_zero() {
            self.free_at_once(now, agent);
        } else {
            self.advance(now, agent, WorkEvent::Over);
            self.rest(now, agent, rest);
        }
        if work == Work::Ringing && matches!(why, Gone::NoAnswer | Gone::Unreachable) {
            self.missed(now, agent, offer.queue);
        }
    }

    fn rest(&mut self, now: Instant, agent: AgentNo, rest: Duration) {
        let Some(it) = self.agents.get_mut(agent.0) else { return };
        it.free_since = now;
        let until = now + rest;
        it.rests_until = Some(until);
        self.timers.insert((until, Timer::Rest(agent)));
    }

    fn free_at_once(&mut self, now: Instant, agent: AgentNo) {
        let Some(it) = self.agents.get_mut(agent.0) else { return };
        let from = it.state();
        for event in [WorkEvent::Over, WorkEvent::Rested] {
            it.work = super::agent::next(it.work, event).unwrap_or(it.work);
        }
        it.since = now;
        it.free_since = now;
        let to = it.state();
        self.tell(agent, from, to, Why::Call);
    }
}
