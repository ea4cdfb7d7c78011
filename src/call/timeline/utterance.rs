//! What a voice agent says in one go, as one record: its end is added to its beginning.

use std::fmt;

use serde::Serialize;

/// An utterance of a voice agent, with the fields that the agent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = TimelineUtterance))]
pub struct Utterance {
    /// Its number, from 1.
    pub utterance: u32,
    pub state: UtteranceState,
    /// From the end of the party's speech to its first sample; `None`: it answers nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_ms: Option<u32>,
    /// How much of it was sent; `None`: it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_ms: Option<u32>,
    /// How much of it the party had heard when it began to speak, at least and at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<[u32; 2]>,
}

/// How far an utterance has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UtteranceState {
    /// It is being sent, or the stream ended in it.
    Begun,
    /// All of it was sent.
    Sent,
    /// Its rest was discarded.
    Cleared,
    /// The party has begun to speak before it had heard all.
    Interrupted,
}

impl Utterance {
    /// One that has begun.
    pub fn begun(utterance: u32, response_ms: Option<u32>) -> Self {
        Utterance { utterance, state: UtteranceState::Begun, response_ms, sent_ms: None, heard_ms: None }
    }
}

impl fmt::Display for Utterance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "utterance {}", self.utterance)?;
        if let Some(ms) = self.response_ms {
            write!(f, ", {ms} ms after the party")?;
        }
        let sent = self.sent_ms.unwrap_or_default();
        match (self.state, self.heard_ms) {
            (UtteranceState::Begun, _) => Ok(()),
            (UtteranceState::Interrupted, Some([least, most])) => {
                write!(f, "; interrupted, {least} to {most} of {sent} ms were heard")
            }
            (UtteranceState::Interrupted, None) => write!(f, "; interrupted at {sent} ms"),
            (UtteranceState::Sent, _) => write!(f, "; all {sent} ms were sent"),
            (UtteranceState::Cleared, _) => write!(f, "; cleared after {sent} ms"),
        }
    }
}
