//! The messages between a controlling server and a media server, independent of the transport: verbs and
//! results as everywhere else ([`Verb`], [`Answer`]), with names that the controlling server chooses. They
//! are JSON, which gRPC carries in the fields of its own messages.
//!
//! The controlling server numbers endpoints, recordings and rooms, so that it need not wait for the result of
//! a verb before it sends the next. Changes that the other side would not understand raise [`VERSION`]; a
//! server refuses sessions of another version.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use b2b_call::controller::{
    AddressFamily, Answer, Capabilities, Capability, ConferenceId, Descriptions, Drops, EndpointId,
    EndpointStats, Flow, MOST_SAMPLES, MediaError, QualitySample, Recorded, RecordingId, RtcpStats, Sources,
    TranscodeStats, Verb,
};

/// The version of this schema.
pub const VERSION: u32 = 4;
/// Maximum verbs of one request, and maximum events of one response.
pub const MOST: usize = 256;

/// Time after which a request for events is answered even without events.
pub const WAIT: Duration = Duration::from_secs(2);

/// Requests a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    /// The lease that it is to have, if that is longer than the server's.
    #[serde(default)]
    pub lease_ms: u64,
    /// It goes on with the session of a process that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<Resumes>,
}

/// A session of a process that has ended. Its endpoints other than these are released, its recordings and rooms end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumes {
    pub session: String,
    pub endpoints: Vec<EndpointId>,
}

/// What a session has that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The last request with verbs, and the highest number of a verb.
    pub batch: u64,
    pub last: u64,
    pub endpoints: Vec<EndpointId>,
    /// The descriptions of those that have any.
    pub described: Vec<Described>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub version: u32,
    /// A secret: its holder commands the session.
    pub session: String,
    /// Time without a request after which the session and all that it holds is released.
    pub lease_ms: u64,
    /// The names of the capabilities; unknown ones are ignored.
    pub capabilities: Vec<String>,
    pub load: Load,
    /// The session has been resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// The present load of a media server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    pub version: u32,
    pub sessions: usize,
    pub endpoints: usize,
    /// Number of endpoints from which it takes no new calls.
    pub most: usize,
    pub conferences: usize,
    pub recordings: usize,
    /// Whether new calls are accepted.
    pub accepting: bool,
}

/// The name of a capability in a [`Welcome`].
pub fn name_of(capability: Capability) -> String {
    serde_json::to_value(capability).ok().and_then(|it| Some(it.as_str()?.to_owned())).unwrap_or_default()
}

/// The capabilities of a server, as far as we know them.
pub fn capabilities(names: &[String]) -> Capabilities {
    let known = Capability::ALL.iter().copied().filter(|one| names.contains(&name_of(*one)));
    Capabilities::of(&known.collect::<Vec<_>>())
}

/// Verbs to be carried out in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Counts requests from 1 on. A repeated request gets its response again without being carried out again.
    pub batch: u64,
    pub verbs: Vec<Numbered>,
}

/// A verb with the number of its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered {
    pub id: u64,
    pub verb: Verb,
}

/// Events, oldest first: results that were available at once, or everything that came later.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Happenings {
    /// The number of the first one; the server may forget those before it.
    pub first: u64,
    pub happened: Vec<Happening>,
    /// Present in responses to a poll for events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// A result or an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    Answer(Box<Answered>),
    Event(Box<Event>),
}

/// The result of a verb.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    pub id: u64,
    pub result: Result<Answer<Stats>, MediaError>,
    /// The session descriptions between the parties and the media server after the verb.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub described: Vec<Described>,
}

/// The last session descriptions sent to and received from a party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    pub endpoint: EndpointId,
    #[serde(flatten)]
    pub both: Descriptions,
}

/// An event; see `MediaEvent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Started { endpoint: EndpointId, from: SocketAddr },
    Timeout { endpoint: EndpointId },
    SourceChanged { endpoint: EndpointId, from: SocketAddr, to: SocketAddr },
    SourceRefused { endpoint: EndpointId, from: SocketAddr },
    Withheld { endpoint: EndpointId, to: SocketAddr },
    Replayed { endpoint: EndpointId },
    HostNamed { endpoint: EndpointId, family: AddressFamily, host: String },
    Digit { endpoint: EndpointId, digit: char, duration_ms: u32, passed_on: bool, by_tone: bool },
    Recorded { recording: RecordingId, recorded: Recorded },
    Speaking { conference: ConferenceId, endpoint: EndpointId, on: bool },
    Closed { endpoint: EndpointId, stats: Box<Stats> },
    Failed { endpoint: EndpointId, reason: String },
}

/// `EndpointStats`, with times as their age, in µs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub since_ago_us: u64,
    pub received: Streamed,
    pub sent: Streamed,
    pub dropped: Drops,
    pub sources: Sources,
    pub ssrc: Option<u32>,
    pub ssrc_changes: u32,
    pub lost: u64,
    pub jitter_us: u64,
    pub payload_type: Option<u8>,
    pub payload_type_refused: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed_ago_us: Option<u64>,
    pub digits: u32,
    pub transcoded: TranscodeStats,
    pub timeouts: u32,
    pub rtcp: RtcpStats,
    /// Absent in messages of an older media server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over_time: Vec<QualitySample>,
}

/// `Flow`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Streamed {
    pub packets: u64,
    pub bytes: u64,
    pub first_ago_us: Option<u64>,
    pub last_ago_us: Option<u64>,
}

impl Streamed {
    fn new(flow: &Flow, now: Instant) -> Streamed {
        let Flow { packets, bytes, first, last } = *flow;
        let past = |at: Option<Instant>| at.map(|at| ago(now, at));
        Streamed { packets, bytes, first_ago_us: past(first), last_ago_us: past(last) }
    }

    fn flow(self, now: Instant) -> Flow {
        let at = |ago: Option<u64>| ago.map(|ago| before(now, ago));
        let Streamed { packets, bytes, first_ago_us, last_ago_us } = self;
        Flow { packets, bytes, first: at(first_ago_us), last: at(last_ago_us) }
    }
}

fn ago(now: Instant, at: Instant) -> u64 {
    now.saturating_duration_since(at).as_micros().try_into().unwrap_or(u64::MAX)
}

fn before(now: Instant, ago_us: u64) -> Instant {
    now.checked_sub(Duration::from_micros(ago_us)).unwrap_or(now)
}

impl Stats {
    /// Converts the statistics, with ages relative to `now`.
    pub fn new(stats: &EndpointStats, now: Instant) -> Stats {
        Stats {
            since_ago_us: ago(now, stats.since),
            received: Streamed::new(&stats.received, now),
            sent: Streamed::new(&stats.sent, now),
            dropped: stats.dropped,
            sources: stats.sources,
            ssrc: stats.ssrc,
            ssrc_changes: stats.ssrc_changes,
            lost: stats.lost,
            jitter_us: stats.jitter.as_micros().try_into().unwrap_or(u64::MAX),
            payload_type: stats.payload_type,
            payload_type_refused: stats.payload_type_refused,
            replayed_ago_us: stats.replayed_since.map(|at| ago(now, at)),
            digits: stats.digits,
            transcoded: stats.transcoded,
            timeouts: stats.timeouts,
            rtcp: stats.rtcp,
            over_time: stats.over_time.clone(),
        }
    }

    /// Converts them back, with ages relative to our `now`.
    pub fn stats(self, now: Instant) -> EndpointStats {
        EndpointStats {
            since: before(now, self.since_ago_us),
            received: self.received.flow(now),
            sent: self.sent.flow(now),
            dropped: self.dropped,
            sources: self.sources,
            ssrc: self.ssrc,
            ssrc_changes: self.ssrc_changes,
            lost: self.lost,
            jitter: Duration::from_micros(self.jitter_us),
            payload_type: self.payload_type,
            payload_type_refused: self.payload_type_refused,
            replayed_since: self.replayed_ago_us.map(|ago| before(now, ago)),
            digits: self.digits,
            transcoded: self.transcoded,
            timeouts: self.timeouts,
            rtcp: self.rtcp,
            over_time: self.over_time.into_iter().take(MOST_SAMPLES).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_cross_and_a_server_without_them_or_with_too_many_is_understood() {
        let now = Instant::now();
        let sample = QualitySample { at_ms: 5_000, received: 250, lost: 1, ..QualitySample::default() };
        let stats = EndpointStats { over_time: vec![sample; 3], ..EndpointStats::new(now) };
        let sent = |stats: &EndpointStats| serde_json::to_value(Stats::new(stats, now)).unwrap();
        let read = |json| serde_json::from_value::<Stats>(json).unwrap().stats(now);
        assert_eq!(read(sent(&stats)).over_time, [sample; 3]);
        let before = sent(&EndpointStats::new(now));
        assert!(before.get("over_time").is_none());
        assert!(read(before).over_time.is_empty());
        let many = EndpointStats { over_time: vec![sample; 10_000], ..EndpointStats::new(now) };
        assert_eq!(read(sent(&many)).over_time.len(), MOST_SAMPLES);
    }
}
