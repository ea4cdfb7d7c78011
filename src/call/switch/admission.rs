//! The front admission: who may call, and who answers requests outside calls
//! (REGISTER, MESSAGE). It decides within the turn.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Turn;
use crate::channels::Channel;
use crate::controller::{Bound, NamedSources, PairPolicy, SrtpRules};
use crate::handler::Party;
use crate::identity::Reads;
use crate::lookup::ResolvedContact;
use b2b_sip::endpoint::{
    Flow, HeaderFields, HopRule, Reply, RequestFailure, RequestId, ServerTransactionId, SessionRefresher,
    SubscriptionId, Transport,
};
use b2b_sip::msg::{Method, Request, Response};
use b2b_sip::net::Ban;

/// What becomes of an INVITE.
#[derive(Debug)]
pub enum Admission {
    /// It goes to the handlers.
    Accept(Box<Caller>),
    /// It is refused.
    Refuse(Reply),
    /// It is refused and nothing is kept of it: a challenge to a stranger.
    RefuseOnce(Reply),
    /// It is not answered.
    Ignore,
}

/// Who calls, and what follows from that.
#[derive(Debug)]
pub struct Caller {
    /// Who the caller has proved to be.
    pub identity: Option<String>,
    /// The gateway that the call is of by the way that it comes by: its certificate was shown on that
    /// connection, or it is known at one listener, or by the token of our contact. One that is known by
    /// its address alone is none here.
    pub gateway: Option<Arc<str>>,
    /// Where the caller's signalling comes from: the other end of the flow, or what a proxy in front of us saw.
    pub source: SocketAddr,
    /// What is held as long as the caller's leg is there.
    pub channels: Vec<Channel>,
    /// What the caller's media may be, if that is not what everybody's may be.
    pub policy: Option<Arc<PairPolicy>>,
    /// Where requests inside of the call may go.
    pub hops: HopRule,
    /// By which settings of TLS connections for them are made, as [`Invite::tls`](b2b_sip::endpoint::Invite::tls).
    pub tls: Option<Arc<str>>,
    /// From which listener they go, as [`Invite::listener`](b2b_sip::endpoint::Invite::listener).
    pub listener: Option<Arc<str>>,
}

impl Caller {
    /// Somebody who has proved nothing, and is bound to nothing.
    pub fn at(source: SocketAddr) -> Self {
        Caller {
            identity: None,
            gateway: None,
            source,
            channels: Vec::new(),
            policy: None,
            hops: HopRule::Follow,
            tls: None,
            listener: None,
        }
    }
}

impl Admission {
    /// Whether the same call comes again, with a password.
    pub fn is_question(&self) -> bool {
        matches!(self, Admission::Refuse(reply) | Admission::RefuseOnce(reply) if matches!(reply.status, 401 | 407))
    }
}

/// What becomes of a request outside any call.
pub enum Fate {
    /// Answered at once.
    Reply(Reply),
    /// Answered at once, and nothing is kept of it: a challenge to a stranger.
    ReplyOnce(Reply),
    /// Answered when this is ready: a store has to be asked.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// Not answered.
    Ignore,
}

/// What the configuration says of a party's media.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaRules {
    /// Whose rules they are: `gateway/carrier`, `user/1001`; empty: everybody's.
    pub party: String,
    pub sources: NamedSources,
    /// How much is sent to who has proved nothing; none: without a bound.
    pub bound: Option<Bound>,
    /// It is on our side of the NAT.
    pub inside: bool,
    /// Its network, as [`EndpointSpec::interface`](crate::controller::EndpointSpec::interface).
    pub interface: Option<String>,
    /// Encryption; none: as the contact says, or the switch's configuration.
    pub srtp: Option<SrtpRules>,
    /// It takes no offer inside its call: its session stays as it was agreed.
    pub no_reinvites: bool,
}

/// What the configuration says of a party's session timer (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionRules {
    /// Calls to it ask for one.
    pub asks: bool,
    /// Who refreshes it, where the party leaves that to us.
    pub refresher: SessionRefresher,
}

impl Default for SessionRules {
    fn default() -> Self {
        SessionRules { asks: true, refresher: SessionRefresher::Either }
    }
}

/// What a contact may be dialled with.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// What its leg holds as long as it is there.
    pub channels: Vec<Channel>,
    /// Its INVITE has to wait so long: its gateway takes so many calls in a second.
    pub wait: Duration,
    /// The number of the attempt, for [`AdmissionControl::attempted`]; none: nobody asks.
    pub attempt: Option<u64>,
}

/// Decides on requests before they become calls.
pub trait AdmissionControl: Send {
    /// An INVITE that starts a call.
    fn invite(&mut self, now: Instant, request: &Request, flow: &Flow) -> Admission;

    /// An INVITE that [`AdmissionControl::invite`] has not refused is refused before it became a call.
    fn refused(&mut self, _now: Instant, _request: &Request, _flow: &Flow, _reply: &Reply) {}

    /// Whether an INVITE is to be looked at where no other is taken any more: an emergency call. It is taken
    /// only if what it is to hold has [`Holder::Emergency`](crate::channels::Holder::Emergency).
    fn is_urgent(&self, _request: &Request, _flow: &Flow) -> bool {
        false
    }

    /// Calls for which there is to be room beside the ordinary ones.
    fn kept_calls(&self) -> usize {
        0
    }

    /// A request outside any call, of a method that the endpoint accepts.
    fn request(&mut self, now: Instant, request: &Request, flow: &Flow) -> Fate;

    /// A SUBSCRIBE outside any dialog: admission control answers it itself, and notifies.
    fn subscribe(&mut self, t: &mut Turn<'_>, transaction: ServerTransactionId, _: &Request, _: &Flow) {
        let _ = t.sip.respond(t.now, transaction, Reply::status(405));
    }

    /// Another one in a subscription that admission control has accepted.
    fn resubscribe(
        &mut self,
        t: &mut Turn<'_>,
        subscription: SubscriptionId,
        transaction: ServerTransactionId,
        _: &Request,
    ) {
        let _ = t.sip.answer_subscriber(t.now, subscription, transaction, Reply::status(481));
    }

    /// A contact that is about to be dialled; `held` is what the legs of its call hold
    /// already. Gives what its leg is to hold, and how long it is to wait.
    ///
    /// # Errors
    /// It may not be dialled: a status and its reason, as if the contact had said so.
    fn outgoing(
        &mut self,
        _now: Instant,
        _contact: &ResolvedContact,
        _held: &[Channel],
    ) -> Result<Outgoing, (u16, &'static str)> {
        Ok(Outgoing::default())
    }

    /// What became of an attempt at a gateway: whether the network has brought the call to somebody
    /// (ITU-T E.425); none: it says nothing.
    fn attempted(&mut self, _now: Instant, _gateway: &str, _attempt: u64, _effective: Option<bool>) {}

    /// From where else than the signalling names a party may send media.
    fn media_rules(&self, _now: Instant, _party: &Party) -> MediaRules {
        MediaRules::default()
    }

    /// Whether two parties of calls are the same: the same user, or the same gateway. Others are
    /// who they are by their address.
    fn is_same(&self, one: &Party, other: &Party) -> bool {
        match (&one.user, &other.user, &one.gateway, &other.gateway) {
            (Some(one), Some(other), ..) => one == other,
            (None, None, Some(one), Some(other)) => one == other,
            (None, None, None, None) => {
                one.address.is_some_and(|it| other.address.is_some_and(|other| it.ip() == other.ip()))
            }
            _ => false,
        }
    }

    /// Whether a party is believed who it is or speaks for (RFC 3325 §6): gateways that are trusted, and
    /// trusted addresses. Not a user, who is who its password says.
    fn believes(&self, party: &Party) -> bool {
        party.user.is_none() && party.gateway.is_some()
    }

    /// Whether a party is told by us who it is connected with now. Not a gateway: which numbers
    /// it may be shown is its provider's business.
    fn is_told(&self, party: &Party) -> bool {
        party.gateway.is_none()
    }

    /// How the INVITE of an accepted call is read for who calls: `identity` is who the caller has proved
    /// to be, `gateway` whose certificate the caller has shown, `source` where it comes from.
    fn reads(&self, _identity: Option<&str>, _gateway: Option<&str>, _source: SocketAddr) -> Reads<'_> {
        Reads::default()
    }

    /// Where the requests of a call to this contact may go.
    fn hops_of_contact(&mut self, _contact: &ResolvedContact) -> HopRule {
        HopRule::Follow
    }

    /// A host was looked up: where it is, best first.
    fn located(&mut self, _host: &str, _targets: &[(Transport, SocketAddr)]) {}

    /// When [`AdmissionControl::work`] is wanted.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Time has passed, or something has happened that admission control may have to act on:
    /// it may send requests of its own.
    fn work(&mut self, _turn: &mut Turn<'_>) {}

    /// A source that the sockets are to take nothing from, or something again.
    fn poll_ban(&mut self) -> Option<Ban> {
        None
    }

    /// By which way somebody came who has shown who they are: for the sockets.
    fn poll_proven(&mut self) -> Option<Flow> {
        None
    }

    /// No new calls from now on.
    fn drain(&mut self) {}

    /// Whether nothing of its own is left to be done, once it drains.
    fn is_idle(&self) -> bool {
        true
    }

    /// What became of a request of ours outside any call.
    fn response(
        &mut self,
        _turn: &mut Turn<'_>,
        _request: RequestId,
        _result: Result<Response, RequestFailure>,
        _flow: Option<Flow>,
    ) {
    }

    /// A flow is gone that it has [held](b2b_sip::endpoint::Endpoint::hold_flow).
    fn flow_closed(&mut self, _now: Instant, _flow: &Flow) {}

    /// The session timer of a party's calls.
    fn session_rules(&self, _party: &Party) -> SessionRules {
        SessionRules::default()
    }

    /// Whether there are credentials for a party: it is a gateway with a password.
    fn has_credentials(&self, _party: &Party) -> bool {
        false
    }

    /// The answer to a challenge to a request of this method that went to this party; `uri` is its
    /// Request-URI. None: there are no credentials for the party, its challenge is of no kind that
    /// is known, or it is not for whoever asks.
    fn credentials(
        &mut self,
        _challenge: &Response,
        _method: &Method,
        _party: &Party,
        _uri: &[u8],
    ) -> Option<HeaderFields> {
        None
    }
}

/// Takes every call and no other request, and everybody is who they say: for tests, and where a
/// handler decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdmitAll;

impl AdmissionControl for AdmitAll {
    fn invite(&mut self, _: Instant, _: &Request, flow: &Flow) -> Admission {
        Admission::Accept(Box::new(Caller::at(flow.remote)))
    }

    fn request(&mut self, _: Instant, _: &Request, _: &Flow) -> Fate {
        Fate::Reply(Reply::status(405))
    }

    fn is_same(&self, _: &Party, _: &Party) -> bool {
        true
    }

    fn believes(&self, _: &Party) -> bool {
        true
    }
}
