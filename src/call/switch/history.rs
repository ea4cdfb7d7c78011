//! The history of calls for readers, and the capture of their media on request.

use std::sync::Arc;
use std::time::Duration;

use crate::controller::{Capability, Descriptions, EndpointStats, MediaFuture, PacketTrace, Snap};
use crate::event::Quality;
use crate::history::{CAPTURE_BYTES, CAPTURES, CaptureView, LegQuality, Report, Unjudged};
use crate::switch::Switch;
use crate::switch::common::Mirror;
use crate::switch::turn::Turn;
use crate::{CallId, LegId};
use b2b_sip::net::tap::Seen;

/// A call's history, with counters to come.
pub struct Inquiry {
    account: Unjudged,
    counters: Vec<(LegId, MediaFuture<EndpointStats>, Option<Descriptions>)>,
}

impl Inquiry {
    /// Waits for the counters, and returns the report.
    pub async fn answer(mut self) -> Report {
        for (leg, stats, described) in self.counters {
            // An endpoint that has gone has delivered its last counters, or soon does.
            if let Ok(stats) = stats.await {
                self.account.counted(leg, stats, described.as_ref());
            }
        }
        self.account.judged()
    }
}

/// The media quality of a leg, with counters to come.
pub struct Measuring {
    quality: LegQuality,
    stats: MediaFuture<EndpointStats>,
    described: Option<Descriptions>,
}

impl Measuring {
    /// Waits for the counters; `None`: the leg is gone.
    pub async fn answer(self) -> Option<Quality> {
        let stats = self.stats.await.ok()?;
        Some(self.quality.of(&stats, self.described.as_ref()))
    }
}

impl Switch {
    /// Completes every history without waiting for anything more.
    pub fn finish_histories(&mut self, t: &Turn<'_>) {
        self.common.world.history.finish(t.now);
        self.common.settle_history(t.at());
    }

    /// Records a message that has passed the sockets.
    pub fn observe(&mut self, seen: &Seen) {
        let call = self.sees(seen);
        self.common.works_on.message(seen, call);
    }

    /// As [`Switch::observe`]; returns the call of the message.
    pub(crate) fn sees(&mut self, seen: &Seen) -> Option<CallId> {
        let call = self.common.world.history.message(seen);
        if let Some(call) = call {
            self.common.journal_message(call, seen);
        }
        if let Some(mirror) = &mut self.common.mirror {
            mirror(seen, call.is_some_and(|call| self.common.world.history.trace(call, seen.at).is_some()));
        }
        call
    }

    /// Passes every further message to `mirror` as well.
    pub fn mirror(&mut self, mirror: Mirror) {
        self.common.mirror = Some(mirror);
    }

    /// The history of a call that is up or among the latest ended ones.
    pub fn inquire(&self, t: &Turn<'_>, call: CallId) -> Option<Inquiry> {
        let account = self.common.world.history.report(call, t.now)?;
        let legs = self.calls.get(call).into_iter().flat_map(|it| it.legs.iter());
        let counters = legs.filter_map(|(leg, it)| {
            let endpoint = it.media.endpoint?;
            Some((
                leg,
                self.common.world.parts.controller.stats(endpoint),
                self.common.world.parts.controller.descriptions(endpoint),
            ))
        });
        Some(Inquiry { account, counters: counters.collect() })
    }

    /// Requests the counters of a leg; `None`: it has no media.
    pub fn measure(&self, leg: LegId) -> Option<Measuring> {
        let it = self.calls.leg(leg)?;
        let endpoint = it.media.endpoint?;
        let (stats, described) = (
            self.common.world.parts.controller.stats(endpoint),
            self.common.world.parts.controller.descriptions(endpoint),
        );
        Some(Measuring { quality: self.common.world.history.quality(it.call, leg), stats, described })
    }
}

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
            return Err(if self.common.world.history.knows(call) {
                CaptureError::Over(call)
            } else {
                CaptureError::NoSuchCall(call)
            });
        };
        if !self.common.world.parts.controller.capabilities().has(Capability::Capture) {
            return Err(CaptureError::Unsupported);
        }
        if self.common.world.history.trace(call, t.now).is_some() {
            return Err(CaptureError::Running(call));
        }
        if self.common.world.history.captures(t.now) >= CAPTURES {
            return Err(CaptureError::TooMany);
        }
        let until = longest.map(|longest| t.now + longest);
        let trace = Arc::new(PacketTrace::new(t.now, until, snap, CAPTURE_BYTES));
        let view = CaptureView::new(&trace, true, t.now);
        self.common.world.history.capture(call, t.now, trace);
        let endpoints = it.legs.iter().filter_map(|(_, leg)| leg.media.endpoint);
        let begun = endpoints.filter_map(|endpoint| self.common.capture_endpoint(t.at(), call, endpoint));
        Ok(Capturing { view, begun: begun.collect() })
    }

    /// Ends the capture; what was captured stays. Returns whether the call is up or in the history.
    pub fn end_capture(&mut self, t: &Turn<'_>, call: CallId) -> bool {
        if let Some(trace) = self.common.world.history.trace(call, t.now) {
            trace.stop();
            self.common.world.history.decided(call, t.now, None, "capture", "ends");
        }
        self.common.world.history.knows(call)
    }
}
