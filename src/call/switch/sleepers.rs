//! Who waits for a moment: applications, which have no clock of their own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::command::{Reply, Until};
use super::{Switch, Turn};

/// Those who wait, by the moment and the order in which they came.
#[derive(Default)]
pub(super) struct Sleepers {
    waiting: BTreeMap<(Instant, u64), Reply<Instant>>,
    came: u64,
    /// Who has lost interest is looked for when there are more than this.
    look_at: usize,
}

impl Sleepers {
    fn add(&mut self, at: Instant, reply: Reply<Instant>) {
        if self.waiting.len() >= self.look_at {
            self.waiting.retain(|_, reply| !reply.is_closed());
            self.look_at = self.waiting.len() * 2 + 64;
        }
        self.came += 1;
        self.waiting.insert((at, self.came), reply);
    }

    pub fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Those who still wait.
    pub fn len(&self) -> usize {
        self.waiting.values().filter(|reply| !reply.is_closed()).count()
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
        self.sleepers.add(at, reply);
    }

    /// Does this when so much time has passed.
    pub(super) fn after(
        &mut self,
        t: &mut Turn<'_>,
        wait: Duration,
        then: impl FnOnce(&mut Switch, &mut Turn<'_>) + Send + 'static,
    ) {
        let (reply, woken) = oneshot::channel();
        self.sleep(t, Until::In(wait), reply);
        self.run(t, Box::pin(woken), move |switch, t, _| then(switch, t));
    }

    pub(super) fn wake(&mut self, t: &Turn<'_>) {
        while self.sleepers.next().is_some_and(|at| at <= t.now) {
            let Some((_, reply)) = self.sleepers.waiting.pop_first() else { break };
            // Who does not wait any more has lost interest.
            let _ = reply.send(t.now);
        }
    }
}

const FAR: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 86_400);
