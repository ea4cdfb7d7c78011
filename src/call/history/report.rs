//! An account for readers.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use serde::{Serialize, Serializer};

use super::super::controller::{Descriptions, EndpointStats};
use super::super::event::{Quality, rfc3339};
use super::super::timeline::Timeline;
use super::super::{CallId, LegId};
use super::capturing::CaptureView;
use super::entry::Entry;
use super::notes;
use super::talk::{self, Known, QualityPoint, Talk, TalkView};

/// An account at one moment; what goes on in it is to be judged by counters that it takes
/// a moment to get.
#[derive(Debug, Clone)]
pub struct Unjudged {
    now: Instant,
    start: Instant,
    report: Report,
    talks: Vec<(Talk, [Known; 2])>,
}

/// An account of a call.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Report {
    pub call: CallId,
    /// Whether it is over, and its last counters are in.
    pub over: bool,
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub began: SystemTime,
    /// From its beginning to its end or to now.
    pub duration_ms: u64,
    pub route: Option<String>,
    /// Legs in the order in which they came; those that were transferred away stay.
    pub legs: Vec<LegReport>,
    /// One a bridge, in their order.
    pub verdicts: Vec<TalkView>,
    /// Messages of the call that are not in its capture.
    pub messages_left_out: u64,
    /// What its capture has of its media; none: it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_captured: Option<CaptureView>,
    #[serde(serialize_with = "viewed")]
    #[cfg_attr(feature = "schema", schema(value_type = crate::timeline::TimelineView<'static>))]
    pub timeline: Timeline,
}

impl Report {
    /// The same for whoever may not know which keys were pressed.
    pub fn without_keys(mut self) -> Report {
        self.timeline.cover(notes::DIGIT, "hidden");
        self
    }
}

/// A leg of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LegReport {
    pub leg: LegId,
    /// The user whose phone it is, or else the number; none: neither is known.
    pub party: Option<String>,
    /// The gateway that it came by or went out by; none while it is up, `GET /calls` has it then.
    pub gateway: Option<String>,
    /// Where the party's signalling comes from.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub signalling: Option<SocketAddr>,
    pub codec: Option<String>,
    /// None: not known (yet).
    pub media: Option<MediaReport>,
    /// How it has fared since its beginning, at most 63 points, evenly spread.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over_time: Vec<QualityPoint>,
}

impl LegReport {
    /// The counters that its media has come to, in a call that began at `start`.
    fn counted(&mut self, start: Instant, stats: &EndpointStats) {
        let codec = self.codec.as_deref();
        self.media = Some(MediaReport::new(stats, codec));
        self.over_time = talk::over_time(start, stats, codec);
    }
}

/// A leg's media.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MediaReport {
    #[serde(flatten)]
    pub quality: Quality,
    /// Where the party said that it receives.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub signalled: Option<SocketAddr>,
    /// Where its packets come from.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub source: Option<SocketAddr>,
    pub source_changes: u32,
    /// Packets from elsewhere, which were not believed.
    pub refused_source: u64,
    /// Packets of a payload type that was not agreed.
    pub refused_payload_type: u64,
    /// Everything that came in and went no further.
    pub dropped: u64,
    pub digits: u32,
    /// What the party says it lost of what we sent.
    pub far_lost: Option<i32>,
}

impl MediaReport {
    fn new(stats: &EndpointStats, codec: Option<&str>) -> Self {
        MediaReport {
            quality: talk::quality_of(stats, codec),
            signalled: stats.sources.signalled,
            source: stats.sources.locked,
            source_changes: stats.sources.changes,
            refused_source: stats.dropped.source,
            refused_payload_type: stats.dropped.payload_type,
            dropped: stats.dropped.total(),
            digits: stats.digits,
            far_lost: stats.rtcp.far_lost,
        }
    }
}

impl Entry {
    pub(super) fn report(&self, now: Instant) -> Unjudged {
        let end = self.over.unwrap_or(now);
        let view = self.timeline.view();
        let report = Report {
            call: view.call,
            // Who waits for the end wants what is said of it: the last counters come behind it.
            over: self.over.is_some() && !self.waits(),
            began: view.began,
            duration_ms: end.saturating_duration_since(self.start).as_millis() as u64,
            route: self.route.as_deref().map(str::to_owned),
            legs: self
                .legs
                .iter()
                .map(|account| {
                    let mut leg = LegReport {
                        leg: account.leg,
                        party: account.party.as_deref().map(str::to_owned),
                        gateway: account.gateway.as_deref().map(str::to_owned),
                        signalling: account.signalling,
                        codec: account.codec.as_deref().map(str::to_owned),
                        media: None,
                        over_time: Vec::new(),
                    };
                    if let Some(stats) = account.stats.as_deref() {
                        leg.counted(self.start, stats);
                    }
                    leg
                })
                .collect(),
            verdicts: Vec::new(),
            messages_left_out: self.messages.left_out(),
            media_captured: self
                .trace
                .as_deref()
                .map(|trace| CaptureView::new(trace, self.over.is_none(), now)),
            timeline: self.timeline.clone(),
        };
        let known = |talk: &Talk| talk.legs.map(|leg| self.known(leg, true));
        let mut talks: Vec<_> = self.talks.iter().map(|talk| (talk.clone(), known(talk))).collect();
        for (talk, _) in talks.iter_mut().filter(|(talk, _)| talk.ended.is_none()) {
            for (leg, part) in talk.legs.into_iter().zip(&mut talk.parts) {
                let account = self.legs.iter().find(|account| account.leg == leg);
                let since = account.and_then(|account| account.held_since);
                part.held = since.map(|since| now.saturating_duration_since(since));
            }
        }
        Unjudged { now, start: self.start, report, talks }
    }
}

impl Unjudged {
    /// A leg's counters now, and what was described.
    pub fn counted(&mut self, leg: LegId, stats: EndpointStats, described: Option<&Descriptions>) {
        if let Some(account) = self.report.legs.iter_mut().find(|it| it.leg == leg) {
            account.codec = spoken(account.codec.take(), &stats, described);
            account.counted(self.start, &stats);
        }
        for (talk, known) in self.talks.iter_mut().filter(|(talk, _)| talk.verdict.is_none()) {
            let at = talk.legs.iter().position(|it| *it == leg);
            if let Some(part) = talk.part(leg) {
                part.after.get_or_insert_with(|| Box::new(stats.without_samples()));
            }
            if let (Some(at), Some(described)) = (at, described) {
                known[at].direction = described.direction();
                known[at].formats = described.agreed().unwrap_or_default();
            }
        }
    }

    /// Without verdicts: its media was none.
    pub(crate) fn without_media(self) -> Report {
        self.report
    }

    /// With the verdicts.
    pub fn judged(self) -> Report {
        let Unjudged { now, start, mut report, talks } = self;
        for (mut talk, known) in talks {
            let end = talk.ended.unwrap_or(now);
            let verdict = talk.verdict.take().unwrap_or_else(|| talk::verdict(&talk, end, known));
            report.verdicts.push(TalkView::new(&talk, start, verdict));
        }
        report
    }
}

/// How the media of a leg is judged: by its counters, and the codec that is known of it.
#[derive(Debug, Clone)]
pub struct LegQuality {
    pub(super) codec: Option<String>,
}

impl LegQuality {
    /// By these counters, and what was described.
    pub fn of(self, stats: &EndpointStats, described: Option<&Descriptions>) -> Quality {
        talk::quality_of(stats, spoken(self.codec, stats, described).as_deref())
    }
}

/// The codec of what comes in; `known`: the one that was agreed on.
fn spoken(known: Option<String>, stats: &EndpointStats, described: Option<&Descriptions>) -> Option<String> {
    // Nobody was joined with it.
    let agreed = known.or_else(|| described.and_then(Descriptions::codec));
    let spoken = described.zip(stats.payload_type);
    spoken.and_then(|(it, spoken)| it.spoken(spoken, agreed.as_deref())).or(agreed)
}

fn viewed<S: Serializer>(timeline: &Timeline, serializer: S) -> Result<S::Ok, S::Error> {
    timeline.view().serialize(serializer)
}

/// As words: the outcome, the legs' media, the ladder.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let (state, duration) = (if self.over { "over" } else { "up" }, seconds(self.duration_ms));
        write!(f, "call {} is {state} after {duration:.1} s", self.call.0)?;
        match &self.route {
            Some(route) => writeln!(f, ", by route {route:?}")?,
            None => writeln!(f)?,
        }
        for talk in &self.verdicts {
            let [a, b] = talk.legs;
            let end = talk.ended_ms.map_or("now".to_owned(), |end| format!("{:.1} s", seconds(end)));
            write!(f, "legs {} and {}, from {:.1} s to {end}: ", a.0, b.0, seconds(talk.began_ms))?;
            writeln!(f, "{}", talk.verdict)?;
        }
        for leg in &self.legs {
            let Some(media) = &leg.media else { continue };
            let Quality { packets_received, packets_sent, packets_lost, jitter_ms, .. } = media.quality;
            let codec = leg.codec.as_deref().unwrap_or("no codec");
            write!(
                f,
                "leg {}: {codec}, received {packets_received}, sent {packets_sent}, lost {packets_lost}, jitter \
                 {jitter_ms} ms",
                leg.leg.0
            )?;
            match media.quality.mos {
                Some(mos) => writeln!(f, ", MOS {mos}")?,
                None => writeln!(f)?,
            }
        }
        write!(f, "\n{}", self.timeline.view())
    }
}
