//! What the user asks of an endpoint, as values, and the errors.

use std::time::Duration;

use bytes::Bytes;

use crate::sip::dialog::hop::Hop;
use crate::sip::msg::{Name, NameAddr, Uri, chars};

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

/// Header fields that the endpoint writes itself.
const OURS: [Name<'static>; 10] = [
    Name::Via,
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::Contact,
    Name::MaxForwards,
    Name::Route,
    Name::ContentType,
    Name::ContentLength,
];

impl Invite {
    /// Whether it can be sent.
    pub(super) fn check(&self) -> Result<(), InviteError> {
        let bad_target = |reason: String| InviteError::BadTarget {
            target: String::from_utf8_lossy(&self.target).into_owned(),
            reason,
        };
        let uri = Uri::parse(&self.target).map_err(|error| bad_target(error.to_string()))?;
        if uri.headers.is_some() {
            return Err(bad_target("header fields behind '?' cannot be sent in a Request-URI".to_owned()));
        }
        if self.route.is_empty() && Hop::of(&uri) == Hop::Nowhere {
            return Err(bad_target(
                "not a sip: URI that leads to a host by a transport that is there".to_owned(),
            ));
        }
        let control = |value: &[u8]| value.iter().any(|&byte| chars::is(byte, chars::CONTROL));
        let name_addr = |value: &[u8]| !control(value) && NameAddr::parse(value).is_some();
        let bad = |name: &str| InviteError::BadHeader { name: name.to_owned() };
        if !self.from.iter().all(|it| name_addr(it)) {
            return Err(bad("From"));
        }
        if !self.to.iter().all(|it| name_addr(it)) {
            return Err(bad("To"));
        }
        if !self.route.iter().all(|it| name_addr(it)) {
            return Err(bad("Route"));
        }
        let unfit = |(name, value): &&(Bytes, Bytes)| {
            !chars::all(name, chars::TOKEN) || control(value) || OURS.contains(&Name::parse(name))
        };
        match self.headers.iter().find(unfit) {
            Some((name, _)) => Err(bad(&String::from_utf8_lossy(name))),
            None => Ok(()),
        }
    }
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
