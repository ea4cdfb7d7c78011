//! The verdict on a call's audio, as text: whether it went both ways, and if not, why, with the evidence and
//! advice.
//!
//! - `cause`: the possible causes, and the advice for each
//! - `judge`: from counters and negotiated facts to findings
//!
//! Only what b2b can observe is judged: the counters of both endpoints, the signalling, and hold. What a far
//! end does with packets that reached it is unknown.

mod cause;
mod judge;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::LegId;
use crate::bridge_fsm::Direction;
use b2b_media::relay::EndpointStats;
pub use cause::Cause;
pub use judge::judge;

/// The configuration line that accepts a party's media from this host.
pub fn media_from(host: IpAddr) -> String {
    format!("media_from = [\"{}\"]", host.to_canonical())
}

/// Facts about one leg's media.
#[derive(Debug, Clone, PartialEq)]
pub struct LegFacts {
    pub leg: LegId,
    pub stats: EndpointStats,
    /// Packets to the party that were answered by ICMP errors.
    pub unreachable: u64,
    /// The direction seen from b2b, at the end (or now): without `send` the party is holding.
    pub direction: Direction,
    /// How long the party had been holding, if it still was at the end.
    pub held: Option<Duration>,
    /// The agreed formats: payload type and name.
    pub formats: Vec<(u8, String)>,
    /// The source of the party's signalling.
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

/// Facts about a call's media.
#[derive(Debug, Clone, PartialEq)]
pub struct CallFacts {
    /// The caller.
    pub a: LegFacts,
    /// The callee.
    pub b: LegFacts,
    /// When both legs were answered; `None` if they never were.
    pub answered: Option<Instant>,
    /// The end of the call, or now.
    pub end: Instant,
    /// The one of the two that is no party but an application of b2b, which hears and is heard without fail.
    pub application: Option<LegId>,
    /// The parties exchange media directly: none passes through b2b.
    pub direct: bool,
}

/// The outcome for the audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = AudioVerdict))]
#[serde(rename_all = "snake_case")]
pub enum Audio {
    /// Both parties were heard.
    BothWays,
    /// The caller was heard, the callee was not.
    OnlyFromCaller,
    /// The callee was heard, the caller was not.
    OnlyFromCallee,
    /// Neither was heard.
    Nobody,
    /// Both were heard, but of one of them more than a fifth was lost, or its stream was refused for a while.
    Lossy,
    /// No statement is possible: not answered, too short, or direct media.
    NotJudged,
}

impl Audio {
    /// Whether a party was not heard that should have been.
    pub fn is_fault(self) -> bool {
        !matches!(self, Audio::BothWays | Audio::NotJudged)
    }
}

/// A single finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Finding {
    pub cause: Cause,
    /// The leg that it concerns.
    pub leg: LegId,
    /// Whether it explains missing audio; otherwise it is only informative.
    pub fault: bool,
    /// The evidence.
    pub evidence: String,
    /// The advice.
    pub advice: &'static str,
}

/// The verdict on a call's audio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Verdict {
    pub audio: Audio,
    /// Faults first.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether it needs attention.
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
            Audio::Lossy => "bad audio: much of what a party should hear was lost",
            Audio::NotJudged => "audio not judged",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg {}: {}: {}. {}", self.leg.0, self.cause, self.evidence, self.advice)
    }
}

/// One line per finding, after the outcome.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.audio)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n- {finding}"))
    }
}
