//! The parameters of an endpoint's commands, and the errors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Flow, HopRule, LargeRequests, SessionRefresher};
use crate::dialog::hop::Hop;
use crate::msg::body::Body;

use crate::msg::{HeaderFields, Method, Name, NameAddr, Uri, chars};
use b2b_base::ids::Tag;

/// The parameters of an outgoing call.
#[derive(Debug, Clone, Default)]
pub struct Invite {
    /// Request-URI, sent unchanged: `sip:sink@127.0.0.1:5060;transport=tcp`.
    pub target: Bytes,
    /// From without its tag, `"B" <sip:b@example.com>`; `None` for our user at our address.
    pub from: Option<Bytes>,
    /// To; `None` for the target.
    pub to: Option<Bytes>,
    /// Preloaded route set, one name-addr each (`<sip:proxy;lr>`).
    pub route: Vec<Bytes>,
    /// The URI of an outbound proxy that gets the request without being in Route; `None` for
    /// the first route, or the target.
    pub outbound: Option<Bytes>,
    /// Send the INVITE and every later request of the call by this flow while it exists: for
    /// a registered contact behind a NAT. Once it is gone, requests go to the target.
    pub flow: Option<Flow>,
    /// Where later requests of the call may be sent. [`HopRule::Follow`] with a `flow` means
    /// [`HopRule::Kept`].
    pub hops: HopRule,
    /// Request no session timer, whatever the endpoint's configuration. The user also has to
    /// leave `timer` out of Supported.
    pub no_session_timer: bool,
    /// How long an address of the next hop may send no response before the next one is
    /// tried; `None` for 4 s.
    pub failover: Option<Duration>,
    /// The transport for the INVITE and later requests of the call when they are large.
    pub large: LargeRequests,
    /// The TLS settings for connections of the call: the name of one of
    /// `net::TlsFiles::peers`. `None` for the default ones.
    pub tls: Option<Arc<str>>,
    /// The listener of ours that sends the INVITE if there is no `flow`, and later requests of
    /// the call: the name of one of `net::NetConfig::named`. `None` for the one on the route.
    pub listener: Option<Arc<str>>,
    /// Max-Forwards; `None` for 70. A B2BUA sets one less than in the INVITE it received.
    pub max_forwards: Option<u8>,
    /// User part of our Contact; `None` for the endpoint's.
    pub contact_user: Option<Bytes>,
    /// Additional header fields. A Supported in here replaces ours.
    pub headers: HeaderFields,
    /// The offer; `None` leaves the offer to the peer's 2xx.
    pub body: Option<Body>,
    /// Overrides the endpoint's `ring_timeout`.
    pub ring_timeout: Option<Duration>,
    /// Which side is to refresh the session, if it has a timer.
    pub refresher: SessionRefresher,
    /// Report 401 and 407 as [`super::UsageEvent::Challenged`] and wait for `authorize`;
    /// otherwise they end the call like other refusals.
    pub authorizes: bool,
}

/// The parameters of a request in a dialog: INFO, MESSAGE, NOTIFY, OPTIONS …
#[derive(Debug, Clone)]
pub struct InDialog {
    /// Any method but INVITE, ACK, CANCEL, BYE, PRACK and UPDATE, which have their own
    /// commands.
    pub method: Method,
    /// Additional header fields.
    pub headers: HeaderFields,
    /// The body; `None` for Content-Length 0.
    pub body: Option<Body>,
}

/// Call-ID, From tag and CSeq number of a request outside any dialog. To answer a challenge,
/// send the request again with [`Self::next`] and the credentials (RFC 3261 §22.2). A
/// REGISTER keeps its Call-ID for all refreshes (§10.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIdentity {
    /// Call-ID, the same for all requests of one exchange.
    pub call_id: Bytes,
    /// Tag of the From.
    pub from_tag: Tag,
    /// CSeq number, below 2^31.
    pub cseq: u32,
}

impl RequestIdentity {
    /// The same identity with the next CSeq number.
    pub fn next(&self) -> Self {
        RequestIdentity { cseq: self.cseq.wrapping_add(1) & 0x7fff_ffff, ..self.clone() }
    }
}

/// The parameters of a request outside any dialog: REGISTER, OPTIONS, MESSAGE, SUBSCRIBE …
#[derive(Debug, Clone)]
pub struct OutOfDialog {
    /// Any method but INVITE, which has its own command.
    pub method: Method,
    /// Request-URI, sent unchanged.
    pub target: Bytes,
    /// From without its tag; `None` for our user at our address.
    pub from: Option<Bytes>,
    /// To; `None` for the target.
    pub to: Option<Bytes>,
    /// An identity from `Endpoint::identify`; `None` for a new one.
    pub identity: Option<RequestIdentity>,
    /// As for [`Invite`].
    pub route: Vec<Bytes>,
    /// As for [`Invite`].
    pub outbound: Option<Bytes>,
    /// As for [`Invite`].
    pub flow: Option<Flow>,
    /// As for [`Invite`].
    pub tls: Option<Arc<str>>,
    /// As for [`Invite`].
    pub listener: Option<Arc<str>>,
    /// As for [`Invite`].
    pub max_forwards: Option<u8>,
    /// As for [`Invite`].
    pub contact_user: Option<Bytes>,
    /// Adds our Contact with these parameters (`;expires=300`, or empty).
    pub contact: Option<Bytes>,
    /// Replaces the URI of our Contact, to remove a binding made with that URI.
    pub contact_uri: Option<Bytes>,
    /// Parameters of our Contact's URI (`;a=b`, or empty).
    pub uri_params: Bytes,
    /// Additional header fields.
    pub headers: HeaderFields,
    /// The body; `None` for Content-Length 0.
    pub body: Option<Body>,
    /// For OPTIONS: how long each address of the next hop may send no response. `None` for
    /// 4 s, and 32 s for the last one.
    pub patience: Option<Duration>,
}

impl OutOfDialog {
    /// A request without additional header fields.
    pub fn new(method: Method, target: impl Into<Bytes>) -> Self {
        OutOfDialog {
            method,
            target: target.into(),
            from: None,
            to: None,
            identity: None,
            route: Vec::new(),
            outbound: None,
            flow: None,
            tls: None,
            listener: None,
            max_forwards: None,
            contact_user: None,
            contact: None,
            contact_uri: None,
            uri_params: Bytes::new(),
            headers: Vec::new(),
            body: None,
            patience: None,
        }
    }
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

pub(super) fn has_control(value: &[u8]) -> bool {
    value.iter().any(|&byte| chars::is(byte, chars::CONTROL))
}

/// Checks that these header fields may be added by the user.
///
/// # Errors
/// A header field is invalid, or is one that the endpoint writes itself.
pub fn check_headers(headers: &HeaderFields) -> Result<(), CommandError> {
    let unfit = |(name, value): &&(Bytes, Bytes)| {
        !chars::all(name, chars::TOKEN) || has_control(value) || OURS.contains(&Name::parse(name))
    };
    match headers.iter().find(unfit) {
        Some((name, _)) => Err(CommandError::BadHeader { name: String::from_utf8_lossy(name).into_owned() }),
        None => Ok(()),
    }
}

/// The fields that `Invite` and `OutOfDialog` have in common.
pub(super) struct Addressing<'a> {
    pub target: &'a Bytes,
    pub from: &'a Option<Bytes>,
    pub to: &'a Option<Bytes>,
    pub route: &'a [Bytes],
    pub outbound: &'a Option<Bytes>,
    pub flow: Option<Flow>,
    pub contact_user: &'a Option<Bytes>,
    pub headers: &'a HeaderFields,
}

macro_rules! addressing {
    ($type:ident) => {
        impl $type {
            /// The common fields, for checking and routing.
            pub(super) fn addressing(&self) -> Addressing<'_> {
                Addressing {
                    target: &self.target,
                    from: &self.from,
                    to: &self.to,
                    route: &self.route,
                    outbound: &self.outbound,
                    flow: self.flow,
                    contact_user: &self.contact_user,
                    headers: &self.headers,
                }
            }
        }
    };
}
addressing!(Invite);
addressing!(OutOfDialog);

impl Addressing<'_> {
    /// Checks that the request can be sent; returns the outbound proxy's hop.
    pub fn check(&self) -> Result<Option<Hop>, InviteError> {
        let bad_target = |reason: String| InviteError::BadTarget {
            target: String::from_utf8_lossy(self.target).into_owned(),
            reason,
        };
        let uri = Uri::parse(self.target).map_err(|error| bad_target(error.to_string()))?;
        if uri.headers.is_some() {
            return Err(bad_target("header fields behind '?' cannot be sent in a Request-URI".to_owned()));
        }
        let elsewhere = !self.route.is_empty() || self.outbound.is_some() || self.flow.is_some();
        if !elsewhere && Hop::of(&uri) == Hop::Nowhere {
            return Err(bad_target("not a sip: URI with a host and a transport that is enabled".to_owned()));
        }
        let bad = |name: &str| InviteError::BadHeader { name: name.to_owned() };
        let outbound = match self.outbound {
            Some(proxy) => match Uri::parse(proxy).map(|uri| Hop::of(&uri)) {
                Ok(hop) if hop != Hop::Nowhere => Some(hop),
                _ => return Err(bad("the outbound proxy")),
            },
            None => None,
        };
        let name_addr = |value: &[u8]| !has_control(value) && NameAddr::parse(value).is_some();
        if !self.from.iter().all(|it| name_addr(it)) {
            return Err(bad("From"));
        }
        if !self.to.iter().all(|it| name_addr(it)) {
            return Err(bad("To"));
        }
        if !self.route.iter().all(|it| name_addr(it)) {
            return Err(bad("Route"));
        }
        let user = |user: &Bytes| Uri::parse(&[b"sip:", user.as_ref(), b"@a"].concat()).is_ok();
        if !self.contact_user.iter().all(|it| std::str::from_utf8(it).is_ok() && user(it)) {
            return Err(bad("Contact"));
        }
        match check_headers(self.headers) {
            Err(CommandError::BadHeader { name }) => Err(InviteError::BadHeader { name }),
            _ => Ok(outbound),
        }
    }
}

/// Why a call could not be started, or a request outside any dialog not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// The target is not a URI, or not one that a request can be sent to.
    #[error("bad target {target:?}: {reason}; write it like sip:name@127.0.0.1:5060")]
    BadTarget {
        /// The target as given.
        target: String,
        /// What is wrong with it, for display.
        reason: String,
    },
    /// A value would break the message, or violates the syntax of its header field.
    #[error("{name} has a control character, or is not valid in its header field")]
    BadHeader {
        /// The header field.
        name: String,
    },
    /// The endpoint holds the maximum number of calls.
    #[error("too many calls ({limit}); try again when calls have ended")]
    TooMany {
        /// The maximum number.
        limit: usize,
    },
}

/// Why a command was refused. In this case nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The usage or the transaction has ended.
    #[error("no such call or transaction; its last event has been given out")]
    Gone,
    /// The command is not allowed in this state of the call; the text says why.
    #[error("not possible now: {0}")]
    WrongState(&'static str),
    /// A value would break the message, or violates the syntax of its header field.
    #[error("{name} has a control character, or is not valid in its header field")]
    BadHeader {
        /// The header field.
        name: String,
    },
}
