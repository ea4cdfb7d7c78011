//! Agents that connect to b2b, as programs do to Asterisk: which callers wait for one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::wire::Socket;
use b2b_call::LegId;

/// The callers that wait, by leg. A handle that can be cloned.
#[derive(Clone, Default)]
pub struct Awaited(Arc<Mutex<HashMap<LegId, Waiting>>>);

/// A caller that waits: where its agent's WebSocket goes, and the runtime that it belongs to.
pub struct Waiting {
    pub arrives: oneshot::Sender<Socket>,
    pub handle: Handle,
}

impl Awaited {
    fn lock(&self) -> MutexGuard<'_, HashMap<LegId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on this runtime for the connection for a leg; `None`: it has failed.
    pub async fn wait(&self, leg: LegId) -> Option<Socket> {
        /// Whoever gives up waiting is awaited no more.
        struct Forget<'a>(&'a Awaited, LegId);
        impl Drop for Forget<'_> {
            fn drop(&mut self) {
                self.0.take(self.1);
            }
        }
        let (arrives, arrived) = oneshot::channel();
        self.lock().insert(leg, Waiting { arrives, handle: Handle::current() });
        let _forget = Forget(self, leg);
        arrived.await.ok()
    }

    /// The caller of this leg, if it waits.
    pub fn take(&self, leg: LegId) -> Option<Waiting> {
        self.lock().remove(&leg)
    }
}
