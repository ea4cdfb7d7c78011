//! The answers to verbs, as values.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json::octets;
use super::{
    Collected, ConferenceId, EndpointId, EndpointStats, Joined, LocalDescription, Played, Recorded,
    RecordingId,
};

/// The answer to a verb. `S` is the form of counters: with instants of this process's clock, or as they are
/// sent to another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<S = EndpointStats> {
    /// The verb was carried out, without further result.
    Done,
    /// An endpoint was allocated. An id that the caller has chosen is not repeated in the answer.
    Allocated {
        /// Its id; `None` if the caller has chosen it.
        #[serde(skip)]
        endpoint: Option<EndpointId>,
        /// The address to which the party is to send its RTP.
        rtp: SocketAddr,
    },
    /// A recording was started. If the caller has chosen its id, the answer is [`Answer::Done`].
    #[serde(skip)]
    Recording(RecordingId),
    /// A room was created; otherwise as `Recording`.
    #[serde(skip)]
    Conference(ConferenceId),
    /// A session description for a party.
    Description(#[serde(with = "octets")] Bytes),
    /// How two endpoints are joined.
    Joined(Joined),
    /// A digit by INFO has come as an event or a tone as well, and does not count; else [`Answer::Done`].
    Repeated,
    /// The counters of an endpoint.
    Stats(Box<S>),
    /// How a prompt ended.
    Played(Played),
    /// The digits, and why the collection ended.
    Collected(Collected),
    /// A finished recording.
    Recorded(Recorded),
}

impl<S> Answer<S> {
    /// The same answer with the counters converted.
    pub fn counted<T>(self, tell: impl FnOnce(S) -> T) -> Answer<T> {
        match self {
            Answer::Done => Answer::Done,
            Answer::Allocated { endpoint, rtp } => Answer::Allocated { endpoint, rtp },
            Answer::Recording(recording) => Answer::Recording(recording),
            Answer::Conference(conference) => Answer::Conference(conference),
            Answer::Description(octets) => Answer::Description(octets),
            Answer::Joined(joined) => Answer::Joined(joined),
            Answer::Repeated => Answer::Repeated,
            Answer::Stats(stats) => Answer::Stats(Box::new(tell(*stats))),
            Answer::Played(played) => Answer::Played(played),
            Answer::Collected(collected) => Answer::Collected(collected),
            Answer::Recorded(recorded) => Answer::Recorded(recorded),
        }
    }
}

/// Accessors: each returns the contents if the answer is of that kind.
impl Answer {
    pub(super) fn allocated(self) -> Option<(EndpointId, LocalDescription)> {
        if let Answer::Allocated { endpoint, rtp } = self {
            Some((endpoint?, LocalDescription { rtp }))
        } else {
            None
        }
    }

    /// The recording that was started.
    pub fn recording(self) -> Option<RecordingId> {
        if let Answer::Recording(it) = self { Some(it) } else { None }
    }

    /// The room that was created.
    pub fn conference(self) -> Option<ConferenceId> {
        if let Answer::Conference(it) = self { Some(it) } else { None }
    }

    /// The session description for a party.
    pub fn description(self) -> Option<Bytes> {
        if let Answer::Description(it) = self { Some(it) } else { None }
    }

    pub(super) fn stats(self) -> Option<EndpointStats> {
        if let Answer::Stats(it) = self { Some(*it) } else { None }
    }

    /// How a prompt ended.
    pub fn played(self) -> Option<Played> {
        if let Answer::Played(it) = self { Some(it) } else { None }
    }

    /// The digits.
    pub fn collected(self) -> Option<Collected> {
        if let Answer::Collected(it) = self { Some(it) } else { None }
    }

    /// The finished recording.
    pub fn recorded(self) -> Option<Recorded> {
        if let Answer::Recorded(it) = self { Some(it) } else { None }
    }
}
