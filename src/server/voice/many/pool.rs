//! Which connection a call takes: the fullest one with room, so that others become empty and close; else a
//! new one. Calls that come while one is being opened wait for it together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::connection::Joining;
use b2b_app::voice_agent::AgentConfig;

/// Whether a connection is up, or why it is not. `None`: it is being opened.
type Up = Option<Result<(), String>>;

/// All connections. A handle that can be cloned.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Connections>>);

#[derive(Default)]
struct Connections {
    next: u64,
    open: Vec<Entry>,
    /// See [`Opening::phase`].
    phase: Option<Instant>,
}

struct Entry {
    id: u64,
    agent: Arc<AgentConfig>,
    /// Number of slots in use.
    taken: usize,
    calls: mpsc::Sender<Joining>,
    up: watch::Receiver<Up>,
}

/// A call's place on a connection; dropping it frees the place.
pub struct Slot {
    pool: Pool,
    id: u64,
    calls: mpsc::Sender<Joining>,
    up: watch::Receiver<Up>,
}

/// A connection that is to be opened. Dropping it removes the connection from the pool.
pub struct Opening {
    pool: Pool,
    id: u64,
    pub agent: Arc<AgentConfig>,
    pub calls: mpsc::Receiver<Joining>,
    up: watch::Sender<Up>,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on a connection to this agent, and the task to open the connection if it is new. An agent
    /// whose configuration has changed counts as another one.
    pub fn slot(&self, agent: &Arc<AgentConfig>) -> (Slot, Option<Opening>) {
        let most = agent.calls_per_connection;
        let mut pool = self.lock();
        let open = pool.open.iter_mut().filter(|it| it.taken < most && it.agent == *agent);
        if let Some(fullest) = open.max_by_key(|it| it.taken) {
            fullest.taken += 1;
            let Entry { id, calls, up, .. } = &*fullest;
            return (Slot { pool: self.clone(), id: *id, calls: calls.clone(), up: up.clone() }, None);
        }
        pool.next += 1;
        let id = pool.next;
        let (calls, joining) = mpsc::channel(most.max(1));
        let (tell_up, up) = watch::channel(None);
        pool.open.push(Entry { id, agent: agent.clone(), taken: 1, calls: calls.clone(), up: up.clone() });
        let opening = Opening { pool: self.clone(), id, agent: agent.clone(), calls: joining, up: tell_up };
        (Slot { pool: self.clone(), id, calls, up }, Some(opening))
    }

    fn remove(&self, id: u64) {
        self.lock().open.retain(|it| it.id != id);
    }
}

impl Slot {
    /// Waits until the connection is up.
    ///
    /// # Errors
    /// If it fails; in words.
    pub async fn is_up(&mut self) -> Result<(), String> {
        let stopping = || Err("the server is stopping".to_owned());
        match self.up.wait_for(Option::is_some).await {
            Ok(up) => up.clone().unwrap_or_else(stopping),
            Err(_) => stopping(),
        }
    }

    /// The channel to the connection.
    pub fn calls(&self) -> mpsc::Sender<Joining> {
        self.calls.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(it) = self.pool.lock().open.iter_mut().find(|it| it.id == self.id) {
            it.taken = it.taken.saturating_sub(1);
        }
    }
}

impl Opening {
    /// Tells the waiting calls.
    pub fn tell(&self, up: Result<(), String>) {
        if up.is_err() {
            self.close();
        }
        self.up.send_replace(Some(up));
    }

    /// The common start time of all connections' polling. `now` is used if this is the first connection.
    pub fn phase(&self, now: Instant) -> Instant {
        *self.pool.lock().phase.get_or_insert(now)
    }

    /// Gives away no more places.
    pub fn close(&self) {
        self.pool.remove(self.id);
    }

    /// Closes it unless a place is in use; returns whether it is closed.
    pub fn close_if_empty(&self) -> bool {
        let mut pool = self.pool.lock();
        let before = pool.open.len();
        pool.open.retain(|it| it.id != self.id || it.taken > 0);
        pool.open.len() < before
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(calls: usize) -> Arc<AgentConfig> {
        let usual = AgentConfig::new("ada", "ws://127.0.0.1:1/".parse().unwrap());
        Arc::new(AgentConfig { calls_per_connection: calls, ..usual })
    }

    #[test]
    fn a_call_takes_the_fullest_connection_with_room_and_else_opens_another() {
        let (pool, agent) = (Pool::default(), agent(3));
        let slots: Vec<_> = (0..4).map(|_| pool.slot(&agent)).collect();
        let opened: Vec<_> = slots.iter().map(|(_, opening)| opening.is_some()).collect();
        assert_eq!(opened, [true, false, false, true]);
        let mut ids: Vec<_> = slots.iter().map(|(slot, _)| slot.id).collect();
        assert_eq!((ids[1], ids[2]), (ids[0], ids[0]));
        let (mut slots, _openings): (Vec<_>, Vec<_>) = slots.into_iter().unzip();
        drop(slots.remove(0));
        for _ in 0..2 {
            let (slot, none) = pool.slot(&agent);
            assert!(none.is_none());
            ids.push(slot.id);
            slots.push(slot);
        }
        assert_eq!(ids[4..], [ids[0], ids[3]], "the one with two has room; then it is full");
    }

    #[test]
    fn an_agent_that_is_configured_otherwise_has_connections_of_its_own() {
        let pool = Pool::default();
        let (_one, first) = pool.slot(&agent(2));
        let (_same, none) = pool.slot(&agent(2));
        let (_other, second) = pool.slot(&agent(3));
        assert!(first.is_some() && none.is_none() && second.is_some());
    }

    #[test]
    fn only_an_empty_connection_is_closed_and_a_closed_one_is_not_taken() {
        let (pool, agent) = (Pool::default(), agent(2));
        let (slot, opening) = pool.slot(&agent);
        let opening = opening.expect("one is to be opened");
        assert!(!opening.close_if_empty());
        drop(slot);
        assert!(opening.close_if_empty());
        assert!(pool.slot(&agent).1.is_some(), "another one");
    }

    #[tokio::test]
    async fn all_who_wait_for_a_connection_hear_why_there_is_none() {
        let (pool, agent) = (Pool::default(), agent(3));
        let (mut one, opening) = pool.slot(&agent);
        let (mut other, _) = pool.slot(&agent);
        let opening = opening.expect("one is to be opened");
        opening.tell(Err("the agent is not connected".to_owned()));
        assert_eq!(one.is_up().await, Err("the agent is not connected".to_owned()));
        assert_eq!(other.is_up().await, Err("the agent is not connected".to_owned()));
        assert!(pool.slot(&agent).1.is_some(), "it is tried anew");
    }
}
