//! Waiting for a point in time: applications, which have no clock of their own, and delayed branches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::LegId;
use crate::service::command::Reply;

/// The waiters, by time and order of arrival.
#[derive(Default)]
pub(crate) struct Sleepers {
    pub waiting: BTreeMap<(Instant, u64), Sleeper>,
    pub came: u64,
    /// Closed waiters are removed when there are more than this.
    pub look_at: usize,
}

/// A waiter.
pub(crate) enum Sleeper {
    /// An application.
    Application(Reply<Instant>),
    /// A branch whose INVITE is delayed.
    Branch { caller: Option<LegId>, leg: LegId },
}

/// A branch whose INVITE is delayed, as it is written.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct DelayedBranch {
    #[serde(with = "b2b_base::ages")]
    at: Instant,
    caller: Option<LegId>,
    pub leg: LegId,
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
    pub(crate) fn add(&mut self, at: Instant, sleeper: Sleeper) {
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

pub(crate) const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
