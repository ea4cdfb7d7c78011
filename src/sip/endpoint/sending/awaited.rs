//! Requests in the call of a peer whose connection is gone and who can only come back by itself, as a phone behind a
//! NAT: they wait until it is located again.

use std::time::{Duration, Instant};

use crate::endpoint::UsageId;
use crate::endpoint::sending::send::Waiting;

/// How long a request waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the peer is looked for.
const STEP: Duration = Duration::from_millis(200);

/// The requests that wait, oldest first.
#[derive(Default)]
pub(in crate::endpoint) struct Awaited {
    waiting: Vec<(Instant, Box<Waiting>)>,
    look_at: Option<Instant>,
}

impl Awaited {
    pub fn add(&mut self, now: Instant, waiting: Waiting) {
        self.again(now, now + PATIENCE, Box::new(waiting));
    }

    /// It waits until then.
    pub fn again(&mut self, now: Instant, until: Instant, waiting: Box<Waiting>) {
        self.waiting.push((until, waiting));
        self.look_at.get_or_insert(now + STEP);
    }

    /// Takes all, with the ends of their time, if it is time to look for their peers.
    pub fn due(&mut self, now: Instant) -> Vec<(Instant, Box<Waiting>)> {
        match self.look_at.take_if(|at| *at <= now) {
            Some(_) => std::mem::take(&mut self.waiting),
            None => Vec::new(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().map(|(_, waiting)| &**waiting)
    }

    pub fn forget(&mut self, usage: UsageId) {
        self.waiting.retain(|(_, waiting)| waiting.user.usage() != Some(usage));
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}
