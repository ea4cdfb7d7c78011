//! How an endpoint is opened: one of those that its media thread has bound ahead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::machine::Command;
use super::shared::Shared;
use super::thread::{AHEAD, Ready};
use super::{EndpointConfig, RelayId};

/// How long the caller waits when every endpoint bound ahead is taken: the thread is
/// awake then and binds more. It takes microseconds, unless the machine stands still: a virtual one
/// was seen to for 300 ms, and with 50 ms a call was refused then. The far end asks again after
/// 500 ms (T1, RFC 3261 §17.1.1.1).
const PATIENCE: Duration = Duration::from_millis(250);

/// Why an endpoint could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Ports or descriptors are used up.
    #[error("no free RTP port; widen the port range or end calls")]
    Ports,
    /// No address of this family, or not this one, is configured.
    #[error("no media address of this family; add one")]
    Family,
    /// The threads are gone.
    #[error("the relay has stopped")]
    Stopped,
}

/// A media thread, as the handle knows it.
pub(super) struct Thread {
    pub shared: Arc<Shared>,
    pub commands: Sender<Command>,
    /// Endpoints bound ahead, of each address.
    pub ready: Vec<Receiver<Ready>>,
    pub open: AtomicUsize,
}

impl Thread {
    pub fn open(&self, address: usize, config: &EndpointConfig) -> Result<(RelayId, SocketAddr), OpenError> {
        let bound = self.ready.get(address).ok_or(OpenError::Family)?;
        let Ready { id, local } = match bound.try_recv() {
            Ok(ready) => ready,
            Err(_) if self.shared.exhausted.load(Ordering::Acquire) => return Err(OpenError::Ports),
            Err(_) => {
                self.shared.wake_now();
                bound.recv_timeout(PATIENCE).map_err(|error| match error {
                    crossbeam_channel::RecvTimeoutError::Timeout => OpenError::Ports,
                    crossbeam_channel::RecvTimeoutError::Disconnected => OpenError::Stopped,
                })?
            }
        };
        self.open.fetch_add(1, Ordering::Relaxed);
        // Nothing is to be done before the endpoint is described, but for binding more
        // ahead in time: a wake-up costs more than the rest of a command.
        let _ = self.commands.send(Command::Open { id, config: config.clone() });
        if bound.len() < AHEAD / 2 {
            self.shared.wake();
        }
        Ok((id, local))
    }
}
