//! What became of a call's audio, in words: whether it went both ways, and if not,
//! why, with the evidence and what to do.
//!
//! - `cause`: the causes there are, what to do about each
//! - `judge`: from counters and negotiated facts to findings
//!
//! Only what was seen is judged: counters of both endpoints, what was signalled, who
//! holds. What a far end does with packets that reached it nobody here knows.

mod cause;
mod judge;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::LegId;
use crate::bridge_fsm::Direction;
use b2b_media::relay::EndpointStats;
pub use cause::Cause;
pub use judge::judge;

/// The line in the configuration that lets a party's media come from this host.
pub fn media_from(host: IpAddr) -> String {
    format!("media_from = [\"{}\"]", host.to_canonical())
}

/// What is known of one leg's media.
#[derive(Debug, Clone, PartialEq)]
pub struct LegFacts {
    pub leg: LegId,
    pub stats: EndpointStats,
    /// Packets to the party that came back as ICMP errors.
    pub unreachable: u64,
    /// As seen from here, at the end (or now): `send` off means that the party holds.
    pub direction: Direction,
    /// How long the party has held, if it still did at the end.
    pub held: Option<Duration>,
    /// What was agreed: payload type and name.
    pub formats: Vec<(u8, String)>,
    /// Where the party's signalling comes from.
    pub signalling: Option<IpAddr>,
}

impl LegFacts {
    /// A leg that sends and receives.
    pub fn new(leg: LegId, stats: EndpointStats) -> Self {
        LegFacts {
            leg,
            stats,
            unreachable: 0,
            direction: Direction::SEND_RECV,
            held: None,
            formats: Vec::new(),
            signalling: None,
        }
    }
}

/// What is known of a call's media.
#[derive(Debug, Clone, PartialEq)]
pub struct CallFacts {
    /// The caller.
    pub a: LegFacts,
    /// The callee.
    pub b: LegFacts,
    /// When both were answered; none: they never were.
    pub answered: Option<Instant>,
    /// When it ended, or now.
    pub end: Instant,
    /// The parties were told to send to each other: nothing comes by here.
    pub direct: bool,
}

/// How audio went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = AudioVerdict))]
#[serde(rename_all = "snake_case")]
pub enum Audio {
    /// From each to the other.
    BothWays,
    /// The caller was heard, the callee was not.
    OnlyFromCaller,
    /// The callee was heard, the caller was not.
    OnlyFromCallee,
    /// Neither was heard.
    Nobody,
    /// Nothing can be said: not answered, too short, or not through here.
    NotJudged,
}

impl Audio {
    /// Whether somebody was not heard who should have been.
    pub fn is_fault(self) -> bool {
        !matches!(self, Audio::BothWays | Audio::NotJudged)
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Finding {
    pub cause: Cause,
    /// On whose side.
    pub leg: LegId,
    /// Whether it explains missing audio; otherwise it is only worth knowing.
    pub fault: bool,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    pub advice: &'static str,
}

/// What is to be said of a call's audio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Verdict {
    pub audio: Audio,
    /// Faults first.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether somebody should look at it.
    pub fn is_fault(&self) -> bool {
        self.audio.is_fault() || self.findings.iter().any(|finding| finding.fault)
    }
}

impl fmt::Display for Audio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Audio::BothWays => "audio both ways",
            Audio::OnlyFromCaller => "one-way audio: the callee was not heard",
            Audio::OnlyFromCallee => "one-way audio: the caller was not heard",
            Audio::Nobody => "no audio: neither was heard",
            Audio::NotJudged => "audio not judged",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg {}: {}: {}. {}", self.leg.0, self.cause, self.evidence, self.advice)
    }
}

/// One line a finding below the outcome.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.audio)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n- {finding}"))
    }
}
