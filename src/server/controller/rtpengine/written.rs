//! Endpoints as octets, for the next process: rtpengine goes on with them, and is asked for nothing.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::driver::Command;
use super::relay::WrittenHeld;
use super::{Entry, RtpengineController};
use b2b_call::controller::{EndpointId, EndpointNotRestored, EndpointNotWritten, MediaError};

#[derive(Serialize, Deserialize)]
struct Written {
    entry: Bytes,
    held: WrittenHeld,
}

impl RtpengineController {
    /// Writes an endpoint as it is now.
    ///
    /// # Errors
    /// See [`EndpointNotWritten`].
    pub async fn write_endpoint(&self, endpoint: EndpointId) -> Result<Vec<u8>, EndpointNotWritten> {
        let (reply, held) = oneshot::channel();
        let entry = {
            let state = self.shared.state();
            self.tell(Command::Write(endpoint, reply));
            state.endpoints.get(&endpoint).map(rmp_serde::to_vec_named)
        };
        let gone = EndpointNotWritten::Gone(endpoint);
        let (Some(entry), Ok(Some(held))) = (entry, held.await) else { return Err(gone) };
        Ok(rmp_serde::to_vec_named(&Written { entry: entry?.into(), held })?)
    }

    /// Takes up an endpoint as it was written. It has another number here.
    ///
    /// # Errors
    /// The octets are damaged, or no endpoint.
    pub fn restore_endpoint(&self, octets: &[u8]) -> Result<EndpointId, EndpointNotRestored> {
        let Written { entry, held } = rmp_serde::from_slice(octets)?;
        let mut entry: Entry = rmp_serde::from_slice(&entry)?;
        entry.side.resume();
        let mut state = self.shared.state();
        state.last += 1;
        let id = EndpointId(state.last);
        state.receiving.extend([(entry.side.rtp(), None), (entry.inner, None)]);
        state.endpoints.insert(id, entry);
        self.tell(Command::Restore(id, Box::new(held)));
        Ok(id)
    }

    /// Gives the restored endpoints of a call the numbers of each other. `restored`: their numbers, by those that they
    /// had where they were written.
    ///
    /// # Errors
    /// One is gone.
    pub fn renumber_restored(&self, restored: &HashMap<EndpointId, EndpointId>) -> Result<(), MediaError> {
        let mut state = self.shared.state();
        for id in restored.values() {
            let entry = state.get(*id)?;
            entry.joined = entry.joined.and_then(|other| restored.get(&other).copied());
        }
        Ok(())
    }

    /// Has rtpengine do what the restored endpoints need; what it has been told is not repeated.
    pub fn start_restored(&self, restored: &[EndpointId]) {
        let state = self.shared.state();
        restored.iter().for_each(|id| self.push(&state, *id));
    }
}
