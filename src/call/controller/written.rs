//! Endpoints as octets: what was exchanged with their parties, and the state of their media. For a process that takes
//! over the calls of one that has ended.

use std::collections::HashMap;
use std::future::Future;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::convert::{endpoint_id, refused, relay_id};
use super::embedded::EmbeddedController;
use super::joining::Entry;
use super::{AddressFamily, Bound, EndpointId, MediaError};
use b2b_media::relay::{EndpointSnapshot, RestoreError};

/// An endpoint as it is written. It has the keys of SRTP.
#[derive(Serialize, Deserialize)]
struct Written {
    entry: Bytes,
    media: EndpointSnapshot,
}

/// An endpoint cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EndpointNotWritten {
    /// It is released.
    #[error("endpoint {} is released", .0.0)]
    Gone(EndpointId),
    /// A value of it cannot be written.
    #[error("an endpoint cannot be written: {0}")]
    Value(#[from] rmp_serde::encode::Error),
}

/// Why an endpoint is not opened as it was written.
#[derive(Debug, thiserror::Error)]
pub enum EndpointNotRestored {
    /// The octets are damaged, or no endpoint.
    #[error("this is no endpoint: {0}")]
    Unread(#[from] rmp_serde::decode::Error),
    /// Its port has gone: its party needs another description.
    #[error("its port cannot be bound: {0}")]
    Port(MediaError),
    /// The media server does not have it.
    #[error("its media server does not have it any more: {0}")]
    Elsewhere(MediaError),
    /// The state of its media is of no use any more.
    #[error("its media does not go on: {0}")]
    Media(#[from] RestoreError),
}

impl EmbeddedController {
    /// Writes an endpoint as it is now. The octets are as secret as its keys, and good for one restore: see
    /// [`EndpointSnapshot`].
    ///
    /// # Errors
    /// See [`EndpointNotWritten`].
    pub fn write_endpoint(
        &self,
        endpoint: EndpointId,
    ) -> impl Future<Output = Result<Vec<u8>, EndpointNotWritten>> + Send + use<> {
        // Both at one time: keys must not change in between.
        let state = self.state();
        let entry = state.endpoints.get(&endpoint).map(rmp_serde::to_vec_named);
        let media = self.relay.snapshot(relay_id(endpoint));
        drop(state);
        async move {
            let gone = EndpointNotWritten::Gone(endpoint);
            let (Some(entry), Ok(media)) = (entry, media.await) else { return Err(gone) };
            Ok(rmp_serde::to_vec_named(&Written { entry: entry?.into(), media: *media })?)
        }
    }

    /// Opens an endpoint as it was written, at its port. Nothing is sent until it is [started](Self::start_restored): it
    /// has to be written anew before.
    ///
    /// # Errors
    /// See [`EndpointNotRestored`].
    pub async fn restore_endpoint(&self, octets: &[u8]) -> Result<EndpointId, EndpointNotRestored> {
        let Written { entry, media } = rmp_serde::from_slice(octets)?;
        let mut entry: Entry = rmp_serde::from_slice(&entry)?;
        entry.side.resume();
        let family = AddressFamily::of(entry.local);
        let opened = self.relay.reopen(entry.local, media.config()).done().await;
        let (relay, _) = opened.map_err(|error| EndpointNotRestored::Port(refused(error, family)))?;
        let restored = self.relay.restore(relay, media).await;
        restored.unwrap_or(Err(RestoreError::Gone)).inspect_err(|_| self.relay.close(relay))?;
        let mut state = self.state();
        let gateway = entry.bound.as_ref().and_then(Bound::gateway);
        state.receiving.extend([(entry.local, gateway.clone()), (entry.side.rtp(), gateway)]);
        state.endpoints.insert(endpoint_id(relay), Box::new(entry));
        Ok(endpoint_id(relay))
    }

    /// Gives the restored endpoints of a call the numbers of each other. `restored`: their numbers, by those that they
    /// had where they were written.
    ///
    /// # Errors
    /// One is gone.
    pub fn renumber_restored(&self, restored: &HashMap<EndpointId, EndpointId>) -> Result<(), MediaError> {
        let mut state = self.state();
        for id in restored.values() {
            let entry = state.get(*id)?;
            entry.joined = entry.joined.and_then(|other| restored.get(&other).copied());
        }
        Ok(())
    }

    /// Describes the restored endpoints of a call, which have been renumbered, to the relay, and joins those again that
    /// were joined. What was played, recorded or mixed with others is for whoever began it.
    ///
    /// # Errors
    /// They cannot be joined.
    pub fn start_restored(&self, restored: &[EndpointId]) -> Result<(), MediaError> {
        let mut state = self.state();
        let mut joins = Vec::new();
        for id in restored {
            let entry = state.get(*id)?;
            // The limit for an unproven address is not in the state of its media.
            entry.bound_to = None;
            // Once for both.
            joins.extend(entry.joined.filter(|other| other < id).map(|_| *id));
        }
        restored.iter().try_for_each(|id| self.describe(&mut state, *id))?;
        joins.into_iter().try_for_each(|id| self.rejoin(&mut state, id))
    }
}
