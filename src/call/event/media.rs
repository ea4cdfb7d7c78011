//! What is told of a leg's media, with more than a few fields.

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
    /// The source of one of them.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub from: SocketAddr,
    /// Whose media they may be, `gateway/carrier` or `user/1001`; empty: nobody's who is known.
    pub party: String,
    /// What lets them in, at the party in the configuration or in `[media]`.
    pub line: String,
}

/// A recording has begun, or it is over and its file is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RecordingNews {
    /// The call.
    pub call: CallId,
    /// The leg that is recorded; `None`: the whole call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<LegId>,
    /// Whether it has begun; `false`: it is over, or could not begin.
    pub on: bool,
    /// The file by its final name, which it has once the recording is over; `None`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Seconds of sound in the file, once it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why it could not begin or is shorter than it was to be, for people; `None`: nothing was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A prompt begins at a leg, or has ended there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Playback {
    /// The call, at its beginning.
    pub call: CallId,
    /// The leg that hears it.
    pub leg: LegId,
    /// True: it started; false: it ended.
    pub on: bool,
    /// At its end: whether all of it was played; `None`: nobody has waited for that, or digits were collected with
    /// it, and their end is known alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
}
