//! Waiting for a point in time: applications, which have no clock of their own, and delayed branches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Common, Switch, Turn};
use crate::service::command::{Reply, Until};
use crate::{CallId, LegId};

/// The waiters, by time and order of arrival.
#[derive(Default)]
pub(super) struct Sleepers {
    waiting: BTreeMap<(Instant, u64), Sleeper>,
    came: u64,
    /// Closed waiters are removed when there are more than this.
    look_at: usize,
}

/// A waiter.
pub(super) enum Sleeper {
    /// An application.
    Application(Reply<Instant>),
    /// A branch whose INVITE is delayed.
    Branch { caller: Option<LegId>, leg: LegId },
}

/// A branch whose INVITE is delayed, as it is written.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct DelayedBranch {
    #[serde(with = "b2b_base::ages")]
    at: Instant,
    caller: Option<LegId>,
    leg: LegId,
}

impl Sleeper {
    /// Whether it still waits.
    fn waits(&self) -> bool {
        match self {
            Sleeper::Application(reply) => !reply.is_closed(),
            Sleeper::Branch { .. } => true,
        }
    }
}

impl Sleepers {
    fn add(&mut self, at: Instant, sleeper: Sleeper) {
        if self.waiting.len() >= self.look_at {
            self.waiting.retain(|_, sleeper| sleeper.waits());
            self.look_at = self.waiting.len() * 2 + 64;
        }
        self.came += 1;
        self.waiting.insert((at, self.came), sleeper);
    }

    pub fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes over the waiting applications of another switch; they belong to no call.
    pub fn carry_over(&mut self, from: &mut Sleepers) {
        for ((at, _), sleeper) in std::mem::take(&mut from.waiting) {
            if matches!(sleeper, Sleeper::Application(_)) {
                self.add(at, sleeper);
            }
        }
    }

    /// The delayed branches, in order.
    pub fn branches(&self) -> Vec<DelayedBranch> {
        let branches = self.waiting.iter().filter_map(|((at, _), sleeper)| match sleeper {
            Sleeper::Branch { caller, leg } => Some(DelayedBranch { at: *at, caller: *caller, leg: *leg }),
            Sleeper::Application(_) => None,
        });
        branches.collect()
    }

    /// Adds delayed branches.
    pub fn take_in(&mut self, branches: Vec<DelayedBranch>) {
        for DelayedBranch { at, caller, leg } in branches {
            self.add(at, Sleeper::Branch { caller, leg });
        }
    }

    /// The number that still wait.
    pub fn len(&self) -> usize {
        self.waiting.values().filter(|sleeper| sleeper.waits()).count()
    }
}

impl Switch {
    pub(super) fn wake(&mut self, t: &mut Turn<'_>) {
        while self.common.sleepers.next().is_some_and(|at| at <= t.now) {
            let Some((_, sleeper)) = self.common.sleepers.waiting.pop_first() else { break };
            match sleeper {
                // A closed receiver is no error.
                Sleeper::Application(reply) => drop(reply.send(t.now)),
                Sleeper::Branch { caller, leg } => drop(self.branch_wakes(t, caller, leg)),
            }
        }
    }

    /// Sends a branch's INVITE if it is its turn; `false`: the branch is ending.
    fn branch_wakes(&mut self, t: &mut Turn<'_>, caller: Option<LegId>, leg: LegId) -> bool {
        if self.calls.leg(leg).is_none_or(|it| it.life.is_ending()) {
            self.common.counters.late();
            return false;
        }
        self.common.about_timer(t.now, self.calls.leg(leg).map(|it| it.call));
        self.in_call_of(leg, |step| match step.waits_further(t, leg) {
            Duration::ZERO => step.offer_to_branch(t, caller, leg),
            wait => step.branch_waits(t, caller, leg, wait),
        });
        self.carry_out(t);
        true
    }

    /// Wakes the next branch of these calls that is due; `false`: there is none.
    pub(super) fn wake_branch(&mut self, t: &mut Turn<'_>, calls: &[CallId]) -> bool {
        loop {
            let due = self.common.sleepers.waiting.range(..=(t.now, u64::MAX));
            let next = due.filter_map(|(key, sleeper)| match sleeper {
                Sleeper::Branch { caller, leg } => Some((*key, *caller, *leg)),
                Sleeper::Application(_) => None,
            });
            // A branch that is gone belongs to no call any more.
            let is_of = |leg| self.calls.leg(leg).is_none_or(|it| calls.contains(&it.call));
            let Some((key, caller, leg)) = next.into_iter().find(|(_, _, leg)| is_of(*leg)) else {
                return false;
            };
            self.common.sleepers.waiting.remove(&key);
            if self.branch_wakes(t, caller, leg) {
                return true;
            }
        }
    }
}

impl Common {
    pub(super) fn sleep(&mut self, t: &Turn<'_>, until: Until, reply: Reply<Instant>) {
        let at = match until {
            Until::Now => t.now,
            Until::At(at) => at,
            // As good as never.
            Until::In(time) => t.now.checked_add(time).unwrap_or(t.now + FAR),
        };
        if at <= t.now {
            // A closed receiver is no error.
            let _ = reply.send(t.now);
            return;
        }
        self.sleepers.add(at, Sleeper::Application(reply));
    }

    /// Wakes this waiter after this time.
    pub(super) fn sleep_for(&mut self, t: &Turn<'_>, wait: Duration, sleeper: Sleeper) {
        self.sleepers.add(t.now.checked_add(wait).unwrap_or(t.now + FAR), sleeper);
    }
}

const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
