//! Opens an endpoint: one that its media thread has bound ahead, or one that the thread binds on
//! request. The caller never blocks for it, as the thread that commands media also runs the calls.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::oneshot;

use super::answer::{Answer, Reply};
use super::machine::Command;
use super::shared::Shared;
use super::thread::Ready;
use super::{EndpointConfig, RelayId};

/// Endpoints bound ahead per address that are reserved for callers that cannot wait, as long as
/// more can be bound.
const KEPT: usize = 8;
/// How long such a caller waits if even those are taken. The thread is awake then and binds more
/// within microseconds, unless the machine stalls.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// Why an endpoint could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No free port or descriptor.
    #[error("no free RTP port; widen the port range or end calls")]
    Ports,
    /// No address of this family, or not the requested address, is configured.
    #[error("no media address of this family; add one")]
    Family,
    /// The threads have ended.
    #[error("the relay has stopped")]
    Stopped,
}

/// An endpoint and its local address.
pub type Opened = Result<(RelayId, SocketAddr), OpenError>;

/// An endpoint that is open, or will be.
#[derive(Debug)]
pub enum Opening {
    /// It was bound ahead, or opening failed.
    Done(Opened),
    /// No endpoint bound ahead was free: the thread binds one and answers.
    Soon(oneshot::Receiver<Opened>),
}

impl Opening {
    /// Waits for the endpoint.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn done(self) -> Opened {
        match self {
            Opening::Done(opened) => opened,
            Opening::Soon(answer) => answer.await.unwrap_or(Err(OpenError::Stopped)),
        }
    }

    /// The same for a thread that may block.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn wait(self) -> Opened {
        match self {
            Opening::Done(opened) => opened,
            Opening::Soon(answer) => answer.blocking_recv().unwrap_or(Err(OpenError::Stopped)),
        }
    }
}

/// A request to a thread to bind an endpoint, as none bound ahead is left, or one of a certain port is wanted.
pub(super) struct Wanted {
    pub address: usize,
    pub port: Option<u16>,
    pub config: EndpointConfig,
    pub reply: Reply<Opened>,
}

/// The handle's view of a media thread.
pub(super) struct Thread {
    pub shared: Arc<Shared>,
    pub commands: Sender<Command>,
    pub wanted: Sender<Wanted>,
    /// Endpoints bound ahead, per address, and the target number of them.
    pub ready: Vec<Receiver<Ready>>,
    pub ahead: usize,
    /// The ports that it may bind.
    pub ports: RangeInclusive<u16>,
}

impl Thread {
    /// Number of open endpoints.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Takes an endpoint bound ahead; with `hurry` also one of the reserved ones.
    pub fn take(
        &self,
        address: usize,
        config: &EndpointConfig,
        hurry: bool,
    ) -> Option<(RelayId, SocketAddr)> {
        let bound = self.ready.get(address)?;
        let kept = if hurry || self.is_exhausted() { 0 } else { KEPT };
        let ready = (bound.len() > kept).then(|| bound.try_recv().ok()).flatten()?;
        self.used(bound, ready, config)
    }

    /// The same for a caller that cannot proceed without: waits up to `patience` if even the
    /// reserved ones are taken.
    pub fn take_or_wait(&self, address: usize, config: &EndpointConfig, patience: Duration) -> Opened {
        let bound = self.ready.get(address).ok_or(OpenError::Family)?;
        if let Some(opened) = self.take(address, config, true) {
            return Ok(opened);
        }
        if self.is_exhausted() {
            return Err(OpenError::Ports);
        }
        self.shared.wake_now();
        match bound.recv_timeout(patience) {
            Ok(ready) => self.used(bound, ready, config).ok_or(OpenError::Stopped),
            Err(RecvTimeoutError::Timeout) => Err(OpenError::Ports),
            Err(RecvTimeoutError::Disconnected) => Err(OpenError::Stopped),
        }
    }

    /// Opens an endpoint that was bound ahead; `None` if its thread has ended.
    fn used(
        &self,
        bound: &Receiver<Ready>,
        Ready { id, local }: Ready,
        config: &EndpointConfig,
    ) -> Option<(RelayId, SocketAddr)> {
        // The thread need not act before the endpoint is described, except to bind more ahead in
        // time: a wake-up costs more than the rest of a command.
        self.commands.send(Command::Open { id, config: config.clone() }).ok()?;
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        if bound.len() < self.ahead / 2 + 1 {
            self.shared.wake();
        }
        Some((id, local))
    }

    /// Whether the thread failed to bind enough endpoints when it last tried.
    fn is_exhausted(&self) -> bool {
        self.shared.exhausted.load(Ordering::Acquire)
    }

    /// Asks the thread to bind one, at this port.
    pub fn ask(
        &self,
        address: usize,
        port: Option<u16>,
        config: EndpointConfig,
        answers: &Sender<Answer>,
    ) -> Opening {
        let (to, answer) = oneshot::channel();
        let _ = self.wanted.send(Wanted { address, port, config, reply: Reply::new(to, answers.clone()) });
        self.shared.wake();
        Opening::Soon(answer)
    }
}

/// Opens an endpoint at this address: on the thread `near`, or on any, trying the one with the fewest endpoints
/// first. A thread whose ports are all resting is skipped if another has a free one.
pub(super) fn open(
    threads: &[Thread],
    near: Option<&Thread>,
    (address, config): (usize, EndpointConfig),
    answers: &Sender<Answer>,
) -> Opening {
    let mut able = near.or_else(|| threads.iter().min_by_key(|thread| thread.open()));
    let Some(first) = able else { return Opening::Done(Err(OpenError::Stopped)) };
    if let Some(opened) = first.take(address, &config, false) {
        return Opening::Done(Ok(opened));
    }
    if near.is_none() {
        if let Some(opened) = threads.iter().find_map(|thread| thread.take(address, &config, false)) {
            return Opening::Done(Ok(opened));
        }
        able = threads.iter().filter(|thread| !thread.is_exhausted()).min_by_key(|thread| thread.open());
    }
    match able.filter(|thread| !thread.is_exhausted()) {
        Some(thread) => thread.ask(address, None, config, answers),
        None => Opening::Done(Err(OpenError::Ports)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_bound_ahead_are_kept_for_joins_while_more_can_be_bound() {
        let (commands, _obeyed) = crossbeam_channel::unbounded();
        let (wanted, asked) = crossbeam_channel::unbounded();
        let (bound, ready) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared::new(Arc::default()).unwrap());
        let thread = Thread { shared, commands, wanted, ready: vec![ready], ahead: 64, ports: 2..=3 };
        let bind = |count: u16| {
            for n in 0..count {
                let id = RelayId { thread: 0, slot: n.into(), generation: 1 };
                bound.send(Ready { id, local: SocketAddr::from(([127, 0, 0, 1], 2 * n)) }).unwrap();
            }
        };
        let config = EndpointConfig::default();
        let taken = |hurry| (0..100).map_while(|_| thread.take(0, &config, hurry)).count();
        bind(20);
        assert_eq!((taken(false), taken(true), taken(true)), (20 - KEPT, KEPT, 0));
        let (answers, _) = crossbeam_channel::unbounded();
        let none = open(std::slice::from_ref(&thread), None, (0, config.clone()), &answers);
        assert!(matches!(none, Opening::Soon(_)) && asked.len() == 1, "its thread is asked");
        // Nothing more can be bound: none is reserved.
        thread.shared.exhausted.store(true, Ordering::Release);
        bind(5);
        assert_eq!((taken(false), thread.open()), (5, 25));
        let none = open(std::slice::from_ref(&thread), None, (0, config.clone()), &answers);
        assert!(matches!(none, Opening::Done(Err(OpenError::Ports))) && asked.len() == 1);
    }
}
