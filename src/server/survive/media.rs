//! Endpoints that outlive this process, of each carrier: written as they are, and taken up by the next process.

use std::collections::HashMap;

use crate::media::Media;
use b2b_call::controller::{EndpointId, EndpointNotRestored, EndpointNotWritten, MediaError};

impl Media {
    /// Writes an endpoint as it is now. The octets are as secret as its keys.
    ///
    /// # Errors
    /// See [`EndpointNotWritten`].
    pub(super) async fn write_endpoint(&self, endpoint: EndpointId) -> Result<Vec<u8>, EndpointNotWritten> {
        match self {
            Media::Embedded(it) => it.write_endpoint(endpoint).await,
            Media::Rtpengine(it) => it.controller.write_endpoint(endpoint).await,
            Media::Remote(it) => it.write_endpoint(endpoint),
        }
    }

    /// Takes up an endpoint as it was written. Nothing is sent until it is started.
    ///
    /// # Errors
    /// See [`EndpointNotRestored`].
    pub(super) async fn restore_endpoint(&self, octets: &[u8]) -> Result<EndpointId, EndpointNotRestored> {
        match self {
            Media::Embedded(it) => it.restore_endpoint(octets).await,
            Media::Rtpengine(it) => it.controller.restore_endpoint(octets),
            Media::Remote(it) => it.restore_endpoint(octets),
        }
    }

    /// Whether endpoints are in another program, which has done all that it was asked.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self, Media::Remote(_))
    }

    /// Whether the carrier has this restored endpoint, once it is settled.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn has_restored(&self, endpoint: EndpointId) -> Result<(), MediaError> {
        match self {
            Media::Embedded(_) | Media::Rtpengine(_) => Ok(()),
            Media::Remote(it) => it.has_restored(endpoint),
        }
    }

    /// Gives the restored endpoints of a call the numbers of each other. `restored`: their numbers, by those that they
    /// had where they were written.
    ///
    /// # Errors
    /// One is gone.
    pub(super) fn renumber_restored(
        &self,
        restored: &HashMap<EndpointId, EndpointId>,
    ) -> Result<(), MediaError> {
        match self {
            Media::Embedded(it) => it.renumber_restored(restored),
            Media::Rtpengine(it) => it.controller.renumber_restored(restored),
            // They have kept their numbers.
            Media::Remote(_) => Ok(()),
        }
    }

    /// Has the restored endpoints of a call, which have been renumbered, do what they did.
    ///
    /// # Errors
    /// They cannot be joined.
    pub(super) fn start_restored(&self, restored: &[EndpointId]) -> Result<(), MediaError> {
        match self {
            Media::Embedded(it) => it.start_restored(restored),
            Media::Rtpengine(it) => {
                it.controller.start_restored(restored);
                Ok(())
            }
            // They have never stopped.
            Media::Remote(_) => Ok(()),
        }
    }
}
