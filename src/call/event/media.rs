//! Events about a leg's media that have many fields.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{CallId, LegId};

/// RTP arrives, but none of it from an accepted address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MediaRefused {
    /// The call.
    pub call: CallId,
    /// The leg.
    pub leg: LegId,
    /// The source of one of these packets.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub from: SocketAddr,
    /// The party that may have sent it, `gateway/carrier` or `user/1001`; empty if none is known.
    pub party: String,
    /// The configuration line that would let it in, at the party or in `[media]`.
    pub line: String,
}

/// A recording has started, or has ended and its file is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RecordingNews {
    /// The call.
    pub call: CallId,
    /// The recorded leg; `None`: the whole call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<LegId>,
    /// Its number, which the event of its end has too; `None`: it could not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// True: it has started; `false`: it has ended, or could not start.
    pub on: bool,
    /// The final path of the file, which exists once the recording has ended; `None` without a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The duration of the audio in seconds, once the file is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why it could not start or ended early, as text; `None` without an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A prompt has started or ended at a leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Playback {
    /// The call in which it started.
    pub call: CallId,
    /// The leg that hears it.
    pub leg: LegId,
    /// Its number, which the event of its end has too; later prompts have higher ones.
    #[serde(default)]
    pub number: u64,
    /// The files of which it consists; none: it has tones only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// True: it started; false: it ended.
    pub on: bool,
    /// At the end: whether the whole prompt was played; `None` if the result is not known, as when digits
    /// were collected with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
}
