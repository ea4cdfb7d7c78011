//! The histories of calls: what the switch writes to them, and what they produce.

use super::waiting::OnMedia;
use super::{CallStep, Common, Switch, Turn};
use crate::controller::{Descriptions, EndpointStats, Joined, MediaError, MediaFuture, Route};
use crate::event::Quality;
use crate::history::{LegQuality, Outcome, Report, SipMessage, Unjudged};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::net::tap::Seen;

/// Called for each message that passes, with whether its call is captured; must not block.
pub type Mirror = Box<dyn FnMut(&Seen, bool) + Send>;

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
        self.common.history.finish(t.now);
        self.common.settle_history(t);
    }

    /// Records a message that has passed the sockets.
    pub fn observe(&mut self, seen: &Seen) {
        self.sees(seen);
    }

    /// As [`Switch::observe`]; returns the call of the message.
    pub(super) fn sees(&mut self, seen: &Seen) -> Option<CallId> {
        let call = self.common.history.message(seen);
        if let Some(call) = call {
            self.common.journal_message(call, seen);
        }
        if let Some(mirror) = &mut self.common.mirror {
            mirror(seen, call.is_some_and(|call| self.common.history.trace(call, seen.at).is_some()));
        }
        call
    }

    /// Passes every further message to `mirror` as well.
    pub fn mirror(&mut self, mirror: Mirror) {
        self.common.mirror = Some(mirror);
    }

    /// The history of a call that is up or among the latest ended ones.
    pub fn inquire(&self, t: &Turn<'_>, call: CallId) -> Option<Inquiry> {
        let account = self.common.history.report(call, t.now)?;
        let legs = self.calls.get(call).into_iter().flat_map(|it| it.legs.iter());
        let counters = legs.filter_map(|(leg, it)| {
            let endpoint = it.media.endpoint?;
            Some((
                leg,
                self.common.parts.controller.stats(endpoint),
                self.common.parts.controller.descriptions(endpoint),
            ))
        });
        Some(Inquiry { account, counters: counters.collect() })
    }

    /// Requests the counters of a leg; `None`: it has no media.
    pub fn measure(&self, leg: LegId) -> Option<Measuring> {
        let it = self.calls.leg(leg)?;
        let endpoint = it.media.endpoint?;
        let (stats, described) = (
            self.common.parts.controller.stats(endpoint),
            self.common.parts.controller.descriptions(endpoint),
        );
        Some(Measuring { quality: self.common.history.quality(it.call, leg), stats, described })
    }

    /// The captured packets of a call, to be written as PCAP elsewhere.
    pub fn capture(&self, call: CallId) -> Option<impl FnOnce() -> Vec<u8> + Send + use<>> {
        self.common.history.pcap(call)
    }

    /// The SIP messages of a call, to be formatted elsewhere, and the number of those that are not stored.
    pub fn messages(&self, call: CallId) -> Option<impl FnOnce() -> (Vec<SipMessage>, u64) + Send + use<>> {
        self.common.history.messages(call)
    }

    /// Memory taken by a call's history, including its journal.
    #[doc(hidden)]
    pub fn history_bytes(&self, call: CallId) -> usize {
        self.common.history.bytes(call)
    }

    /// The latest ended calls whose history is still available, latest first.
    pub fn ended_calls(&self, limit: usize) -> Vec<CallId> {
        self.common.history.ended(limit)
    }
}

impl CallStep<'_> {
    /// Records the start of a bridge.
    pub(super) fn account_talk(&mut self, t: &Turn<'_>, bridge: BridgeId, legs: [LegId; 2]) {
        let call = self.id;
        self.common.history.talk(call, bridge, legs, t.now);
    }

    /// Records the end of a bridge, with the present counters of its legs that continue.
    pub(super) fn account_talk_over(
        &mut self,
        t: &mut Turn<'_>,
        bridge: BridgeId,
        legs: [LegId; 2],
        by: Option<LegId>,
    ) {
        let call = self.id;
        self.common.history.talk_over(call, bridge, t.now, by);
        for leg in legs {
            let Some(endpoint) = self.call.leg(leg).and_then(|it| it.media.endpoint) else { continue };
            let stats = self.common.parts.controller.stats(endpoint);
            self.media(t, stats, OnMedia::Counted { call, bridge, leg });
        }
        self.common.settle_history(t);
    }

    /// The media of two legs has been joined, or joining has failed.
    pub(super) fn account_joined(
        &mut self,
        t: &Turn<'_>,
        a: LegId,
        b: LegId,
        joined: &Result<Joined, MediaError>,
    ) {
        let Some(call) = self.call.leg(a).map(|it| it.call) else { return self.common.counters.late() };
        match joined {
            Ok(Joined { forward, backward }) => {
                let codec = |route: &Route| match route {
                    Route::Relay { encoding } => encoding.clone(),
                    Route::Transcode { from, .. } => from.clone(),
                };
                let transcoded = matches!(forward, Route::Transcode { .. });
                let legs = [(a, &*codec(forward)), (b, &*codec(backward))];
                self.common.history.joined(call, t.now, legs, transcoded);
            }
            Err(error) => self.common.history.decided(call, t.now, Some(a), "no media", &error.to_string()),
        }
    }
}

/// A leg of a bridge of a call.
pub(super) struct OfBridge {
    pub call: CallId,
    pub bridge: BridgeId,
    pub leg: LegId,
}

impl Common {
    /// The counters of a leg at the end of its bridge. `goes_on_in`: the call that the leg is in now.
    pub(super) fn counted(
        &mut self,
        t: &Turn<'_>,
        OfBridge { call, bridge, leg }: OfBridge,
        goes_on_in: Option<CallId>,
        stats: Result<Box<EndpointStats>, MediaError>,
    ) {
        // The endpoint was released meanwhile: its final counters include this.
        let Ok(stats) = stats else { return self.counters.late() };
        self.history.counted(call, bridge, leg, goes_on_in, stats, t.now);
        self.settle_history(t);
    }

    /// Delivers the records and events that the histories have produced.
    pub(super) fn settle_history(&mut self, t: &Turn<'_>) {
        while let Some(outcome) = self.history.poll() {
            match outcome {
                Outcome::Record(record) => {
                    if let Some(sink) = &mut self.parts.records {
                        sink(*record);
                    }
                }
                Outcome::News(event) => {
                    if let Some(bus) = &self.parts.bus {
                        bus.publish(t.wall, event);
                    }
                }
            }
        }
    }
}
