//! The capture of a call's media on request.

use std::sync::Arc;
use std::time::Duration;

use super::{Common, Switch, Turn};
use crate::controller::{Capability, EndpointId, MediaFuture, PacketTrace, Snap};
use crate::history::{CAPTURE_BYTES, CAPTURES, CaptureView};
use crate::{CallId, LegId};

/// Why a capture cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The call is neither up nor in the history.
    #[error("there is no call {}", .0.0)]
    NoSuchCall(CallId),
    /// The call is over; no more media will come.
    #[error("call {} is over", .0.0)]
    Over(CallId),
    /// A capture of the call is running.
    #[error("call {} is already being captured", .0.0)]
    Running(CallId),
    /// The maximum number of captures is running.
    #[error("{CAPTURES} calls are being captured, which is the limit")]
    TooMany,
    /// [`Capability::Capture`] is missing.
    #[error("the media engine does not support captures")]
    Unsupported,
}

/// A capture that is starting.
pub struct Capturing {
    view: CaptureView,
    begun: Vec<MediaFuture<()>>,
}

impl Capturing {
    /// Waits until no packet can be missed any more.
    pub async fn begun(self) -> CaptureView {
        for begun in self.begun {
            // An endpoint that has gone by now has no packets.
            let _ = begun.await;
        }
        self.view
    }
}

impl Switch {
    /// Captures the media of a call's legs, later legs included, until the call ends or `longest` has passed.
    /// An earlier capture of the call is lost.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn begin_capture(
        &mut self,
        t: &Turn<'_>,
        call: CallId,
        snap: Snap,
        longest: Option<Duration>,
    ) -> Result<Capturing, CaptureError> {
        let Some(it) = self.calls.get(call) else {
            return Err(if self.common.history.knows(call) {
                CaptureError::Over(call)
            } else {
                CaptureError::NoSuchCall(call)
            });
        };
        if !self.common.parts.controller.capabilities().has(Capability::Capture) {
            return Err(CaptureError::Unsupported);
        }
        if self.common.history.trace(call, t.now).is_some() {
            return Err(CaptureError::Running(call));
        }
        if self.common.history.captures(t.now) >= CAPTURES {
            return Err(CaptureError::TooMany);
        }
        let until = longest.map(|longest| t.now + longest);
        let trace = Arc::new(PacketTrace::new(t.now, until, snap, CAPTURE_BYTES));
        let view = CaptureView::new(&trace, true, t.now);
        self.common.history.capture(call, t.now, trace);
        let endpoints = it.legs.iter().filter_map(|(_, leg)| leg.media.endpoint);
        let begun = endpoints.filter_map(|endpoint| self.common.capture_endpoint(t, call, endpoint));
        Ok(Capturing { view, begun: begun.collect() })
    }

    /// Ends the capture; what was captured stays. Returns whether the call is up or in the history.
    pub fn end_capture(&mut self, t: &Turn<'_>, call: CallId) -> bool {
        if let Some(trace) = self.common.history.trace(call, t.now) {
            trace.stop();
            self.common.history.decided(call, t.now, None, "capture", "ends");
        }
        self.common.history.knows(call)
    }

    /// A leg has moved from one call to another; its packets move with it.
    pub(super) fn move_capture(&mut self, t: &Turn<'_>, leg: LegId, from: CallId) {
        if let Some(endpoint) = self.calls.leg(leg).and_then(|it| it.media.endpoint) {
            // The futures need not be awaited: both take effect all the same.
            if self.common.history.trace(from, t.now).is_some() {
                drop(self.common.parts.controller.capture(endpoint, None));
            }
            if let Some(call) = self.calls.leg(leg).map(|leg| leg.call) {
                drop(self.common.capture_endpoint(t, call, endpoint));
            }
        }
    }
}

impl Common {
    /// A leg has an endpoint: its packets join the capture of its call, if there is one.
    pub(super) fn capture_endpoint(
        &self,
        t: &Turn<'_>,
        call: CallId,
        endpoint: EndpointId,
    ) -> Option<MediaFuture<()>> {
        let trace = self.history.trace(call, t.now)?;
        Some(self.parts.controller.capture(endpoint, Some(trace.clone())))
    }
}
