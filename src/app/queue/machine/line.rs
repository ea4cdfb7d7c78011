//! The waiting callers: their order, their wait, and how they leave.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::values::{Before, CallerId, Left, OfferId, Output, QueueNo, Skills, Withdrawn};
use super::{Floor, Timer};
use crate::caller::Caller as Whose;

/// Nobody is called until no caller of another process has returned for so long.
const RETURNING: Duration = Duration::from_millis(200);

/// A place in the line: the smallest is served first. Ordered by the priority of the queue, then of the
/// caller, then by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    queue_priority: u8,
    priority: Reverse<u8>,
    number: u64,
    pub caller: CallerId,
}

/// The stage of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The caller hears the welcome.
    Welcome,
    /// Agents may be called for the caller.
    Waiting,
    /// The caller is being joined with the agent of this offer.
    Joining(OfferId),
}

#[derive(Debug)]
pub(super) struct Caller {
    who: Whose,
    pub queue: QueueNo,
    pub place: Place,
    /// The required skills of an agent: those of the queue and of the caller.
    pub skills: Skills,
    pub stage: Stage,
    pub joined: Instant,
    /// The ringing calls to agents for the caller.
    pub offers: Vec<OfferId>,
    patience: Option<Instant>,
    announce: Option<Instant>,
}

/// What a caller asks of the queue.
pub(super) struct Wishes {
    pub priority: u8,
    pub skills: Skills,
}

impl Caller {
    /// Whether an agent has answered for the caller.
    pub fn is_joining(&self) -> bool {
        matches!(self.stage, Stage::Joining(_))
    }

    /// Whether an agent who answers for one caller may get the other instead: they differ only in their
    /// order.
    pub fn is_like(&self, other: &Caller) -> bool {
        self.queue == other.queue
            && self.place.priority == other.place.priority
            && self.skills == other.skills
    }
}

impl Floor {
    pub(super) fn caller_joined(
        &mut self,
        now: Instant,
        id: CallerId,
        who: Whose,
        queue: QueueNo,
        priority: u8,
        skills: Skills,
    ) {
        let Some(it) = self.queues.get_mut(queue.0) else { return };
        if self.callers.contains_key(&id) {
            return;
        }
        it.counters.joined += 1;
        let mut staffed = it.plan.agents.iter().filter_map(|agent| self.agents.get(agent.0));
        let own = self.callers.values().filter(|it| it.queue == queue && it.who == who).count();
        let refused = if it.waiting >= it.plan.most || !who.may_have(it.plan.most, it.waiting, own) {
            Some(Left::Full)
        } else if it.plan.needs_agents && !staffed.any(super::Agent::is_at_work) {
            Some(Left::NoAgents)
        } else {
            None
        };
        if let Some(how) = refused {
            it.counters.left(how, std::time::Duration::ZERO, it.plan.goal);
            self.outputs.push_back(Output::Left {
                caller: id,
                queue,
                how,
                waited: std::time::Duration::ZERO,
            });
            return;
        }
        let place = Before { number: id.0, joined: now, is_ready: false, announced: None };
        self.enters(now, id, who, queue, Wishes { priority, skills }, place);
        self.outputs.push_back(Output::Welcome { caller: id, queue });
    }

    /// A caller of another process is at the same place, whether it is full or not.
    pub(super) fn caller_returned(
        &mut self,
        now: Instant,
        id: CallerId,
        who: Whose,
        queue: QueueNo,
        wishes: Wishes,
        before: Before,
    ) {
        if self.callers.contains_key(&id) {
            return;
        }
        self.enters(now, id, who, queue, wishes, before);
        let until = now + RETURNING;
        if before.is_ready {
            self.ready(until, id, before.announced);
        }
        self.returning = Some(until);
        self.timers.insert((until, Timer::Returned));
    }

    fn enters(
        &mut self,
        now: Instant,
        id: CallerId,
        who: Whose,
        queue: QueueNo,
        Wishes { priority, skills }: Wishes,
        Before { number, joined, .. }: Before,
    ) {
        let Some(it) = self.queues.get_mut(queue.0) else { return };
        it.waiting += 1;
        it.counters.most_waiting = it.counters.most_waiting.max(it.waiting);
        it.rate.begin(now);
        let place =
            Place { queue_priority: it.plan.priority, priority: Reverse(priority), number, caller: id };
        let mut needs = it.plan.skills.clone();
        for (skill, level) in skills {
            let known = needs.entry(skill).or_default();
            *known = level.max(*known);
        }
        let patience = it.plan.patience.map(|patience| joined + patience);
        self.timers.extend(patience.map(|at| (at, Timer::Patience(id))));
        let caller = Caller {
            who,
            queue,
            place,
            skills: needs,
            stage: Stage::Welcome,
            joined,
            offers: Vec::new(),
            patience,
            announce: None,
        };
        self.callers.insert(id, caller);
        self.line.insert(place);
    }

    pub(super) fn caller_ready(&mut self, now: Instant, id: CallerId) {
        self.ready(now, id, None);
    }

    /// `earliest`: when their position may be announced; `announced`: when it was last.
    fn ready(&mut self, earliest: Instant, id: CallerId, announced: Option<Instant>) {
        let Some(it) = self.callers.get_mut(&id).filter(|it| it.stage == Stage::Welcome) else { return };
        it.stage = Stage::Waiting;
        let queue = self.queues.get(it.queue.0);
        if let Some(interval) = queue.and_then(|queue| queue.plan.announce) {
            // Announced at once, unless an agent can be called at once.
            let at = announced.map_or(earliest, |announced| earliest.max(announced + interval));
            it.announce = Some(at);
            self.timers.insert((at, Timer::Announce(id)));
        }
    }

    pub(super) fn caller_left(&mut self, now: Instant, id: CallerId) {
        self.leave(now, id, Left::Abandoned);
    }

    pub(super) fn caller_pressed(&mut self, now: Instant, id: CallerId, digit: char) {
        let Some(it) = self.callers.get(&id) else { return };
        let out = self.queues.get(it.queue.0).is_some_and(|queue| queue.plan.digits.contains(&digit));
        if out && !it.is_joining() {
            self.leave(now, id, Left::Digit(digit));
        }
    }

    /// A caller whom an agent is just answering is not sent away, unless that fails.
    pub(super) fn out_of_patience(&mut self, now: Instant, id: CallerId) {
        if self.callers.get(&id).is_some_and(|it| !it.is_joining()) {
            self.leave(now, id, Left::Timeout);
        }
    }

    /// The agent of this offer does not answer the caller after all.
    pub(super) fn not_answered(&mut self, id: CallerId, offer: OfferId) {
        let Some(it) = self.callers.get_mut(&id).filter(|it| it.stage == Stage::Joining(offer)) else {
            return;
        };
        it.stage = Stage::Waiting;
        // Their patience may have ended meanwhile.
        self.timers.extend(it.patience.map(|at| (at, Timer::Patience(id))));
    }

    pub(super) fn announce(&mut self, now: Instant, id: CallerId) {
        let Some(it) = self.callers.get_mut(&id) else { return };
        it.announce = None;
        let Some(queue) = self.queues.get(it.queue.0) else { return };
        if let Some(interval) = queue.plan.announce {
            let at = now + interval;
            it.announce = Some(at);
            self.timers.insert((at, Timer::Announce(id)));
        }
        // Not announced while an agent is ringing: the answer would cut it short.
        if it.stage == Stage::Waiting && it.offers.is_empty() {
            let (place, of) = (it.place, it.queue);
            let position = self.position(of, place);
            let estimate = self.queues.get(of.0).and_then(|queue| queue.rate.estimate(now, position));
            self.outputs.push_back(Output::Announce { caller: id, position, estimate });
        }
    }

    /// The position from 1, among the callers of the same queue.
    pub(super) fn position(&self, queue: QueueNo, place: Place) -> usize {
        let same = |it: &&Place| self.callers.get(&it.caller).is_some_and(|it| it.queue == queue);
        self.line.range(..=place).filter(same).count()
    }

    /// Ends a caller's wait; the only place that does.
    pub(super) fn leave(&mut self, now: Instant, id: CallerId, how: Left) {
        let Some(it) = self.callers.remove(&id) else { return };
        self.line.remove(&it.place);
        for (at, timer) in [(it.patience, Timer::Patience(id)), (it.announce, Timer::Announce(id))] {
            if let Some(at) = at {
                self.timers.remove(&(at, timer));
            }
        }
        let waited = now.saturating_duration_since(it.joined);
        if let Some(queue) = self.queues.get_mut(it.queue.0) {
            queue.waiting -= 1;
            queue.counters.left(how, waited, queue.plan.goal);
            if matches!(how, Left::Answered(_)) {
                queue.rate.served(now);
            }
            if queue.waiting == 0 {
                queue.rate.idle();
            }
        }
        let answered = matches!(how, Left::Answered(_));
        let why = if answered { Withdrawn::Elsewhere } else { Withdrawn::CallerGone };
        let joining = if let Stage::Joining(offer) = it.stage { Some(offer) } else { None };
        for offer in it.offers.into_iter().chain(joining.filter(|_| !answered)) {
            self.withdraw(now, offer, why);
        }
        self.outputs.push_back(Output::Left { caller: id, queue: it.queue, how, waited });
    }
}
