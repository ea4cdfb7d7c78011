//! The report of a call for readers.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use serde::{Serialize, Serializer};

use super::super::cdr::VoiceAgentSums;
use super::super::controller::{Descriptions, EndpointStats};
use super::super::event::{Quality, rfc3339};
use super::super::timeline::Timeline;
use super::super::{CallId, LegId};
use super::agent::AgentAccount;
use super::capturing::CaptureView;
use super::entry::Entry;
use super::loudness::LegLoudness;
use super::notes;
use super::talk::{self, Known, QualityPoint, Talk, TalkView};

/// A report at one point in time; talks in progress are judged by counters that have to be fetched first.
#[derive(Debug, Clone)]
pub struct Unjudged {
    now: Instant,
    start: Instant,
    report: Report,
    talks: Vec<(Talk, [Known; 2])>,
}

/// The report of a call.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Report {
    pub call: CallId,
    /// Whether it has ended, and its final counters have arrived.
    pub over: bool,
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub began: SystemTime,
    /// From its beginning to its end, or to now.
    pub duration_ms: u64,
    pub route: Option<String>,
    /// Legs in order of creation; those that were transferred away stay.
    pub legs: Vec<LegReport>,
    /// One per bridge, in order.
    pub verdicts: Vec<TalkView>,
    /// The number of messages that are not in the capture.
    pub messages_left_out: u64,
    /// The capture of its media; `None` if it was not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_captured: Option<CaptureView>,
    #[serde(serialize_with = "viewed")]
    #[cfg_attr(feature = "schema", schema(value_type = crate::timeline::TimelineView<'static>))]
    pub timeline: Timeline,
}

impl Report {
    /// The report without pressed keys, for readers that may not see them.
    pub fn without_keys(mut self) -> Report {
        self.timeline.cover(notes::DIGIT, "hidden");
        self
    }
}

/// A leg in a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LegReport {
    pub leg: LegId,
    /// The user of the phone, otherwise the number; `None` if neither is known.
    pub party: Option<String>,
    /// The gateway of the leg; `None` while the leg is up: `GET /calls` has it then.
    pub gateway: Option<String>,
    /// The source of the party's signalling.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub signalling: Option<SocketAddr>,
    pub codec: Option<String>,
    /// `None` if it is not known (yet).
    pub media: Option<MediaReport>,
    /// What voice agents did on it; none without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice_agent: Option<VoiceAgentSums>,
    /// How loud its party and their voice agent were; none without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loudness: Option<LegLoudness>,
    /// Its quality over time, at most 63 points, evenly spaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over_time: Vec<QualityPoint>,
}

impl LegReport {
    /// Sets the statistics of its media, in a call that began at `start`.
    fn counted(&mut self, start: Instant, stats: &EndpointStats) {
        let codec = self.codec.as_deref();
        self.media = Some(MediaReport::new(stats, codec));
        self.over_time = talk::over_time(start, stats, codec);
    }
}

/// The media of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MediaReport {
    #[serde(flatten)]
    pub quality: Quality,
    /// The media address in the party's description.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub signalled: Option<SocketAddr>,
    /// The source of its packets.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub source: Option<SocketAddr>,
    pub source_changes: u32,
    /// Packets from other addresses, which were refused.
    pub refused_source: u64,
    /// Packets of a payload type that was not agreed.
    pub refused_payload_type: u64,
    /// Packets that were received and not passed on.
    pub dropped: u64,
    pub digits: u32,
    /// The loss that the party reports for packets sent to it.
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
            // Readers that wait for the end want the verdict: the final counters follow the end of the call.
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
                        voice_agent: account.agent.as_deref().and_then(AgentAccount::sums),
                        loudness: account.agent.as_deref().and_then(AgentAccount::loudness),
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
    /// Sets the current counters and descriptions of a leg.
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

    /// The report without verdicts, for a call without media.
    pub(crate) fn without_media(self) -> Report {
        self.report
    }

    /// The report with verdicts.
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

/// Evaluates the media of a leg: from its counters and its known codec.
#[derive(Debug, Clone)]
pub struct LegQuality {
    pub(super) codec: Option<String>,
}

impl LegQuality {
    /// Evaluates these counters and descriptions.
    pub fn of(self, stats: &EndpointStats, described: Option<&Descriptions>) -> Quality {
        talk::quality_of(stats, spoken(self.codec, stats, described).as_deref())
    }
}

/// The codec of the received media; `known`: the agreed codec.
fn spoken(known: Option<String>, stats: &EndpointStats, described: Option<&Descriptions>) -> Option<String> {
    // Without a known codec, the leg was never joined.
    let agreed = known.or_else(|| described.and_then(Descriptions::codec));
    let spoken = described.zip(stats.payload_type);
    spoken.and_then(|(it, spoken)| it.spoken(spoken, agreed.as_deref())).or(agreed)
}

fn viewed<S: Serializer>(timeline: &Timeline, serializer: S) -> Result<S::Ok, S::Error> {
    timeline.view().serialize(serializer)
}

/// As text: the outcome, the legs' media, the ladder.
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
            if let Some(sums) = &leg.voice_agent {
                writeln!(f, "leg {}: {sums}", leg.leg.0)?;
            }
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
