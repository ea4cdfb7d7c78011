//! Who waits for a moment: applications, which have no clock of their own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::command::{Reply, Until};
use super::{Switch, Turn};
use crate::{CallId, LegId};

/// Those who wait, by the moment and the order in which they came.
#[derive(Default)]
pub(super) struct Sleepers {
    waiting: BTreeMap<(Instant, u64), Sleeper>,
    came: u64,
    /// Who has lost interest is looked for when there are more than this.
    look_at: usize,
}

/// Who waits.
pub(super) enum Sleeper {
    /// An application.
    Application(Reply<Instant>),
    /// A branch whose INVITE is not to leave yet.
    Branch { caller: Option<LegId>, leg: LegId },
}

impl Sleeper {
    /// Whether anybody still waits.
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

    /// Takes the programs of another one, which wait for no call.
    pub fn carry_over(&mut self, from: &mut Sleepers) {
        for ((at, _), sleeper) in std::mem::take(&mut from.waiting) {
            if matches!(sleeper, Sleeper::Application(_)) {
                self.add(at, sleeper);
            }
        }
    }

    /// Those who still wait.
    pub fn len(&self) -> usize {
        self.waiting.values().filter(|sleeper| sleeper.waits()).count()
    }
}

impl Switch {
    pub(super) fn sleep(&mut self, t: &Turn<'_>, until: Until, reply: Reply<Instant>) {
        let at = match until {
            Until::Now => t.now,
            Until::At(at) => at,
            // As good as never.
            Until::In(time) => t.now.checked_add(time).unwrap_or(t.now + FAR),
        };
        if at <= t.now {
            // Who does not wait any more has lost interest.
            let _ = reply.send(t.now);
            return;
        }
        self.sleepers.add(at, Sleeper::Application(reply));
    }

    /// Wakes this one when so much time has passed.
    pub(super) fn sleep_for(&mut self, t: &Turn<'_>, wait: Duration, sleeper: Sleeper) {
        self.sleepers.add(t.now.checked_add(wait).unwrap_or(t.now + FAR), sleeper);
    }

    pub(super) fn wake(&mut self, t: &mut Turn<'_>) {
        while self.sleepers.next().is_some_and(|at| at <= t.now) {
            let Some((_, sleeper)) = self.sleepers.waiting.pop_first() else { break };
            match sleeper {
                // Who does not wait any more has lost interest.
                Sleeper::Application(reply) => drop(reply.send(t.now)),
                Sleeper::Branch { caller, leg } => drop(self.branch_wakes(t, caller, leg)),
            }
        }
    }

    /// A branch's INVITE leaves; `false`: it is not wanted any more.
    fn branch_wakes(&mut self, t: &mut Turn<'_>, caller: Option<LegId>, leg: LegId) -> bool {
        let is_wanted = self.calls.leg(leg).is_some_and(|it| !it.life.is_ending());
        match is_wanted {
            true => {
                self.about_timer(t.now, self.calls.leg(leg).map(|it| it.call));
                self.offer_to_branch(t, caller, leg);
                self.carry_out(t);
            }
            false => self.counters.late(),
        }
        is_wanted
    }

    /// Branches whose moment has come that are not wanted any more.
    pub(super) fn forget_branches(&mut self, now: Instant) {
        let calls = &self.calls;
        let is_wanted = |leg| calls.leg(leg).is_some_and(|it| !it.life.is_ending());
        self.sleepers.waiting.retain(|(at, _), sleeper| match sleeper {
            Sleeper::Branch { leg, .. } => *at > now || is_wanted(*leg),
            Sleeper::Application(_) => true,
        });
    }

    /// The next branch of these calls whose moment has come wakes; `false`: there is none.
    pub(super) fn wake_branch(&mut self, t: &mut Turn<'_>, calls: &[CallId]) -> bool {
        loop {
            let due = self.sleepers.waiting.range(..=(t.now, u64::MAX));
            let next = due.filter_map(|(key, sleeper)| match sleeper {
                Sleeper::Branch { caller, leg } => Some((*key, *caller, *leg)),
                Sleeper::Application(_) => None,
            });
            // One that is gone is of no call any more.
            let is_of = |leg| self.calls.leg(leg).is_none_or(|it| calls.contains(&it.call));
            let Some((key, caller, leg)) = next.into_iter().find(|(_, _, leg)| is_of(*leg)) else {
                return false;
            };
            self.sleepers.waiting.remove(&key);
            if self.branch_wakes(t, caller, leg) {
                return true;
            }
        }
    }
}

const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
