//! Two legs while they are joined: their media statistics, and the verdict on them.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::call_fsm::CallDirection;
use super::super::cdr::Cdr;
use super::super::event::Quality;
use super::super::verdict::{CallFacts, LegFacts, Verdict, judge};
use super::super::{BridgeId, LegId};
use crate::bridge_fsm::Direction;
use b2b_base::metrics::quality::Rating;
use b2b_media::codec::Codec;
use b2b_media::relay::{EndpointStats, Flow, QualitySample, RtcpStats};

/// The delay that a 20 ms packet and a phone's jitter buffer add to the network's, in ms.
const PLAYOUT_MS: f64 = 60.0;

/// One party's side of a talk.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// The counters at the start; `None` for zero.
    pub before: Option<Box<EndpointStats>>,
    /// The counters at the end.
    pub after: Option<Box<EndpointStats>>,
    /// How long the party had been holding, if it still was at the end.
    pub held: Option<Duration>,
}

/// A bridge, from its start to its verdict.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    pub bridge: BridgeId,
    /// The caller's leg first.
    pub legs: [LegId; 2],
    pub parts: [Part; 2],
    pub began: Instant,
    pub ended: Option<Instant>,
    /// The leg of the party that ended it; `None`: b2b ended it.
    pub ended_by: Option<LegId>,
    /// Its media bypassed b2b for some time, so it was not counted.
    pub direct: bool,
    pub verdict: Option<Verdict>,
}

impl Talk {
    pub fn new(bridge: BridgeId, legs: [LegId; 2], began: Instant) -> Self {
        let (ended, ended_by, direct, verdict) = (None, None, false, None);
        Talk { bridge, legs, parts: Default::default(), began, ended, ended_by, direct, verdict }
    }

    /// The part of a leg.
    pub fn part(&mut self, leg: LegId) -> Option<&mut Part> {
        let at = self.legs.iter().position(|it| *it == leg)?;
        Some(&mut self.parts[at])
    }

    /// Whether packets of a payload type that was not agreed were received: only then does a verdict need the
    /// formats.
    pub fn has_strays(&self) -> bool {
        self.parts.iter().flat_map(|part| &part.after).any(|stats| stats.dropped.payload_type > 0)
    }

    /// Whether everything for its verdict is available, and it has none yet.
    pub fn is_complete(&self) -> bool {
        self.ended.is_some() && self.verdict.is_none() && self.parts.iter().all(|part| part.after.is_some())
    }
}

/// Facts about a leg besides its counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The direction seen from b2b; `None` counts as sendrecv.
    pub direction: Option<Direction>,
    /// The agreed formats, if they were requested.
    pub formats: Vec<(u8, String)>,
    pub signalling: Option<std::net::IpAddr>,
}

/// Judges a talk; a part without counters counts as one without packets.
pub(super) fn verdict(talk: &Talk, end: Instant, known: [Known; 2]) -> Verdict {
    let nothing = EndpointStats::new(talk.began);
    let mut sides = talk.legs.into_iter().zip(&talk.parts).zip(known).map(|((leg, part), known)| {
        let stats = part.after.as_deref().unwrap_or(&nothing);
        let stats =
            part.before.as_deref().map_or_else(|| stats.without_samples(), |before| since(stats, before));
        facts(leg, part.held, known, stats)
    });
    let (Some(a), Some(b)) = (sides.next(), sides.next()) else {
        return Verdict { audio: super::super::verdict::Audio::NotJudged, findings: Vec::new() };
    };
    let (answered, application) = (Some(talk.began), None);
    judge(&CallFacts { a, b, answered, end, application, direct: talk.direct })
}

/// The facts about a leg besides its counters, and these.
fn facts(leg: LegId, held: Option<Duration>, known: Known, stats: EndpointStats) -> LegFacts {
    let Known { direction, formats, signalling } = known;
    let direction = direction.unwrap_or(Direction::SEND_RECV);
    LegFacts { direction, held, formats, signalling, ..LegFacts::new(leg, stats) }
}

/// Judges the leg of a party that talked to applications of b2b only, until `end`.
pub(super) fn verdict_alone(
    record: &Cdr,
    end: Instant,
    held: Option<Duration>,
    known: Known,
    stats: &EndpointStats,
) -> Verdict {
    let talked = record.answered.map(|answered| record.ended.saturating_sub(answered));
    let application = LegId(0);
    let party = facts(record.leg, held, known, stats.without_samples());
    let other = LegFacts::new(application, EndpointStats::new(end));
    let (a, b) = match record.direction {
        CallDirection::Inbound => (party, other),
        CallDirection::Outbound => (other, party),
    };
    judge(&CallFacts {
        a,
        b,
        answered: talked.and_then(|talked| end.checked_sub(talked)),
        end,
        application: Some(application),
        direct: false,
    })
}

/// The difference of two sets of counters.
fn since(now: &EndpointStats, before: &EndpointStats) -> EndpointStats {
    let flow = |now: &Flow, before: &Flow| Flow {
        packets: now.packets.saturating_sub(before.packets),
        bytes: now.bytes.saturating_sub(before.bytes),
        first: before.last.filter(|_| now.packets > before.packets).or(now.first),
        last: now.last.filter(|_| now.packets > before.packets),
    };
    EndpointStats {
        received: flow(&now.received, &before.received),
        sent: flow(&now.sent, &before.sent),
        dropped: now.dropped.since(&before.dropped),
        lost: now.lost.saturating_sub(before.lost),
        replayed_since: now.replayed_since.filter(|_| now.dropped.replayed > before.dropped.replayed),
        rtcp: RtcpStats {
            far_lost: now.rtcp.far_lost.map(|lost| lost.saturating_sub(before.rtcp.far_lost.unwrap_or(0))),
            ..now.rtcp
        },
        ..now.without_samples()
    }
}

/// Statistics of a leg's media; with a MOS if packets were received in a codec that the E-model has
/// parameters for: that of the direction with more loss.
pub(super) fn quality_of(stats: &EndpointStats, codec: Option<&str>) -> Quality {
    let received = stats.received.packets;
    let loss = 100.0 * stats.lost as f64 / (stats.lost + received).max(1) as f64;
    let delay = stats.rtcp.rtt_ms.unwrap_or(0.0) / 2.0 + PLAYOUT_MS;
    let curve = codec.and_then(|codec| codec.parse().ok()).map(Codec::curve);
    let loss_pct = loss.max(stats.far_loss_pct().unwrap_or(0.0));
    let mos = |curve| Rating { curve, loss_pct, burst_ratio: 1.0, delay_ms: delay }.mos();
    let round = |value: f64| (value * 100.0).round() / 100.0;
    Quality {
        packets_received: received,
        packets_sent: stats.sent.packets,
        packets_lost: stats.lost,
        jitter_ms: round(stats.jitter.as_secs_f64() * 1_000.0),
        round_trip_ms: stats.rtcp.rtt_ms.map(round),
        mos: curve.filter(|_| received > 0).map(|curve| round(mos(curve))),
    }
}

/// The quality of a leg's media at one point in time: the loss since the previous point, and current values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QualityPoint {
    /// Since the beginning of the call.
    pub at_s: f64,
    /// Loss of the packets since the previous point; `None` without packets.
    pub loss_pct: Option<f64>,
    pub jitter_ms: f64,
    pub round_trip_ms: Option<f64>,
    /// E-model (G.107), with the loss since the beginning.
    pub mos: Option<f64>,
}

/// An endpoint's samples as points in time of a call that began at `start`.
pub(super) fn over_time(start: Instant, stats: &EndpointStats, codec: Option<&str>) -> Vec<QualityPoint> {
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let opened = stats.since.saturating_duration_since(start);
    let (mut received, mut lost) = (0, 0);
    let point = |sample: &QualitySample| {
        // Late packets can reduce the number of lost ones.
        let more =
            [sample.received.saturating_sub(received), sample.lost.saturating_sub(lost)].map(f64::from);
        (received, lost) = (sample.received, sample.lost);
        let [got, missing] = more;
        let then = EndpointStats {
            received: Flow { packets: received.into(), ..Flow::default() },
            lost: lost.into(),
            rtcp: RtcpStats { rtt_ms: sample.round_trip_ms(), ..RtcpStats::default() },
            ..EndpointStats::new(stats.since)
        };
        QualityPoint {
            at_s: round((opened + Duration::from_millis(sample.at_ms.into())).as_secs_f64()),
            loss_pct: (got + missing > 0.0).then(|| round(100.0 * missing / (got + missing))),
            jitter_ms: sample.jitter_ms(),
            round_trip_ms: sample.round_trip_ms(),
            mos: quality_of(&then, codec).mos,
        }
    };
    stats.over_time.iter().map(point).collect()
}

/// A verdict with the time span that it covers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TalkView {
    pub bridge: BridgeId,
    /// The caller's leg first.
    pub legs: [LegId; 2],
    /// Since the beginning of the call.
    pub began_ms: u64,
    /// `None` while it continues.
    pub ended_ms: Option<u64>,
    /// The leg of the party that ended it; `None` while it continues, or if a program, a transfer or a limit
    /// ended it.
    pub ended_by: Option<LegId>,
    /// The outcome, as text.
    pub words: String,
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl TalkView {
    pub(super) fn new(talk: &Talk, start: Instant, verdict: Verdict) -> Self {
        let ms = |at: Instant| at.saturating_duration_since(start).as_millis() as u64;
        TalkView {
            bridge: talk.bridge,
            legs: talk.legs,
            began_ms: ms(talk.began),
            ended_ms: talk.ended.map(ms),
            ended_by: talk.ended_by,
            words: verdict.audio.to_string(),
            verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Audio, Cause};

    fn stats(start: Instant, received: u64, sent: u64) -> Box<EndpointStats> {
        let mut stats = EndpointStats::new(start);
        (stats.received.packets, stats.sent.packets) = (received, sent);
        stats.received.last = Some(start + Duration::from_secs(60));
        Box::new(stats)
    }

    fn agreed() -> [Known; 2] {
        [(); 2].map(|()| Known { direction: None, formats: vec![(8, "PCMA".into())], signalling: None })
    }

    #[test]
    fn only_what_happened_in_a_talk_is_judged() {
        let start = Instant::now();
        let end = start + Duration::from_secs(60);
        let mut talk = Talk::new(BridgeId(1), [LegId(1), LegId(2)], start);
        // The first leg has talked to another party before, and has sent nothing since.
        talk.parts[0].before = Some(stats(start, 3_000, 3_000));
        talk.parts[0].after = Some(stats(start, 3_000, 6_000));
        talk.parts[1].after = Some(stats(start, 3_000, 0));
        let verdict = verdict(&talk, end, agreed());
        assert_eq!(verdict.audio, Audio::OnlyFromCallee);
        assert_eq!(verdict.findings.first().map(|it| it.cause), Some(Cause::NeverReceived));
    }

    #[test]
    fn mos_is_of_what_came_and_of_codecs_that_it_is_for() {
        let start = Instant::now();
        let mut good = stats(start, 1_000, 1_000);
        assert!(quality_of(&good, Some("PCMA")).mos.is_some_and(|mos| mos > 4.3));
        assert!(quality_of(&good, Some("opus")).mos.is_some_and(|mos| (4.1..4.3).contains(&mos)));
        assert_eq!(quality_of(&good, Some("G729")).mos, None);
        assert_eq!(quality_of(&stats(start, 0, 5), Some("PCMA")).mos, None);
        good.lost = 200;
        assert!(quality_of(&good, Some("PCMA")).mos.is_some_and(|mos| mos < 3.0));
        // What the far end reports as lost counts as much.
        let mut far = stats(start, 1_000, 1_000);
        far.rtcp.far_lost = Some(200);
        assert!(quality_of(&far, Some("PCMA")).mos.is_some_and(|mos| mos < 3.5), "{:?}", far.far_loss_pct());
    }

    #[test]
    fn samples_are_points_of_the_call_with_the_losses_between_them() {
        let start = Instant::now();
        let mut stats = EndpointStats::new(start + Duration::from_secs(2));
        let sample = |second: u64, received: u64, lost: u64, round_trip_ms: Option<f64>| {
            let jitter = Duration::from_millis(7);
            QualitySample::new(Duration::from_secs(second), received, lost, jitter, round_trip_ms)
        };
        stats.over_time =
            vec![sample(5, 250, 0, None), sample(10, 475, 25, Some(30.0)), sample(15, 475, 24, Some(30.0))];
        let points = over_time(start, &stats, Some("PCMA"));
        assert_eq!(points.iter().map(|it| it.at_s).collect::<Vec<_>>(), [7.0, 12.0, 17.0]);
        assert_eq!(points.iter().map(|it| it.loss_pct).collect::<Vec<_>>(), [Some(0.0), Some(10.0), None]);
        assert_eq!((points[0].round_trip_ms, points[1].round_trip_ms), (None, Some(30.0)));
        assert_eq!(points[1].jitter_ms, 7.0);
        let mos = [0, 1].map(|at| points[at].mos.expect("a MOS"));
        assert!(mos[0] > 4.3 && mos[1] < 4.0, "{mos:?}");
        assert!(over_time(start, &stats, Some("clearmode")).iter().all(|it| it.mos.is_none()));
    }
}
