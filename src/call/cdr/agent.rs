//! The sums of a voice agent's talk with a party.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a voice agent did on a leg, in sums. Response times are from the end of the party's speech to the agent's first
/// sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VoiceAgentSums {
    /// Utterances that it began.
    pub utterances: u32,
    /// Utterances that the party interrupted.
    pub interruptions: u32,
    /// The response time of its first answer; `None`, as the others: it has answered nothing.
    pub first_response_ms: Option<u32>,
    /// The median of its response times.
    pub median_response_ms: Option<u32>,
    /// The longest of its response times.
    pub worst_response_ms: Option<u32>,
}

impl fmt::Display for VoiceAgentSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a voice agent spoke {} times, {} interrupted", self.utterances, self.interruptions)?;
        match (self.first_response_ms, self.median_response_ms, self.worst_response_ms) {
            (Some(first), Some(median), Some(worst)) => {
                write!(f, "; it answered after {first} ms at first, {median} ms median, {worst} ms at most")
            }
            _ => Ok(()),
        }
    }
}
