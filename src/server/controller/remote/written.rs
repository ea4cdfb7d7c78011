//! Endpoints as octets, for the next process. Their media servers keep them, until that one resumes the session: what is
//! written is where they are.

use serde::{Deserialize, Serialize};

use super::RemoteController;
use b2b_call::controller::{EndpointId, EndpointNotRestored, EndpointNotWritten, MediaError};

/// See the module documentation. Not `Debug`: the session's key is a secret.
#[derive(Serialize, Deserialize)]
pub(super) struct WrittenEndpoint {
    pub endpoint: EndpointId,
    pub server: String,
    pub session: String,
}

impl RemoteController {
    /// Writes an endpoint.
    ///
    /// # Errors
    /// See [`EndpointNotWritten`].
    pub fn write_endpoint(&self, endpoint: EndpointId) -> Result<Vec<u8>, EndpointNotWritten> {
        let written = self.table.written(endpoint).ok_or(EndpointNotWritten::Gone(endpoint))?;
        Ok(rmp_serde::to_vec_named(&written)?)
    }

    /// Takes up an endpoint as it was written, with its number, before [`RemoteController::begin`].
    ///
    /// # Errors
    /// The octets are damaged, or no endpoint, or it is of another session.
    pub fn restore_endpoint(&self, octets: &[u8]) -> Result<EndpointId, EndpointNotRestored> {
        self.table.restored(rmp_serde::from_slice(octets)?).map_err(EndpointNotRestored::Elsewhere)
    }

    /// Whether its server has this restored endpoint, once it has resumed its session.
    ///
    /// # Errors
    /// It is gone.
    pub fn has_restored(&self, endpoint: EndpointId) -> Result<(), MediaError> {
        self.table.has(endpoint)
    }
}
