//! What the user asks of an endpoint, as values, and the errors.

use std::time::Duration;

use bytes::Bytes;

/// A message body, opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// `application/sdp`
    pub content_type: Bytes,
    pub data: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(data: impl Into<Bytes>) -> Self {
        Body { content_type: Bytes::from_static(b"application/sdp"), data: data.into() }
    }
}

/// A call to make.
#[derive(Debug, Clone, Default)]
pub struct Invite {
    /// Request-URI, used as it is: `sip:sink@127.0.0.1:5060;transport=tcp`.
    pub target: Bytes,
    /// From without its tag, `"B" <sip:b@example.com>`; none: our user at our address.
    pub from: Option<Bytes>,
    /// To; none: the target.
    pub to: Option<Bytes>,
    /// Preloaded route set, one name-addr each (`<sip:proxy;lr>`).
    pub route: Vec<Bytes>,
    /// More header fields.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The offer; none: the far end offers in its 2xx.
    pub body: Option<Body>,
    /// Instead of the endpoint's `ring_timeout`.
    pub ring_timeout: Option<Duration>,
}

/// A response to send with `respond`.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// 200 to 699.
    pub status: u16,
    /// Empty: the standard phrase.
    pub reason: String,
    /// More header fields.
    pub headers: Vec<(Bytes, Bytes)>,
    pub body: Option<Body>,
}

impl Reply {
    /// A response without header fields or body of its own.
    pub fn status(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }
}

/// Why a call could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    #[error("bad target {target:?}: {reason}; write it like sip:name@127.0.0.1:5060")]
    BadTarget { target: String, reason: String },
    #[error("{name} holds a control character or is not what its header field takes")]
    BadHeader { name: String },
    #[error("too many calls ({limit}); try again when some have ended")]
    TooMany { limit: usize },
}

/// Why a command was refused. Nothing has been sent then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("no such call or transaction; its last event has been given out")]
    Gone,
    #[error("not possible now: {0}")]
    WrongState(&'static str),
    #[error("{name} holds a control character or is not what its header field takes")]
    BadHeader { name: String },
}
