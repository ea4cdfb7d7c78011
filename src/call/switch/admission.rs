//! Admission control: decides who may call, and answers requests outside calls (REGISTER, MESSAGE). It
//! decides within the turn.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channels::{Channel, Channels};
use crate::controller::{Bound, NamedSources, PairPolicy, SrtpRules};
use crate::handler::Party;
use crate::identity::Reads;
use crate::lookup::ResolvedContact;
use crate::pace::Place;
use crate::switch::turn::Turn;
use b2b_sip::endpoint::{
    Flow, HeaderFields, HopRule, Reply, RequestFailure, RequestId, ServerTransactionId, SessionRefresher,
    SubscriptionId, Transport,
};
use b2b_sip::msg::number::Ours;
use b2b_sip::msg::{Method, Request, Response};
use b2b_sip::net::Ban;

/// The decision on an INVITE.
#[derive(Debug)]
pub enum Admission {
    /// Passed to the handlers.
    Accept(Box<Caller>),
    /// Refused without keeping state, as a stranger always is.
    RefuseOnce(Reply),
    /// Refused; the reply is repeated until it is acknowledged.
    Refuse(Proof, Reply),
    /// Not answered.
    Ignore,
}

/// The caller, and the settings that follow from its identity.
#[derive(Debug)]
pub struct Caller {
    /// The caller's authenticated identity.
    pub identity: Option<String>,
    /// The gateway that the call comes from, known by its way: the certificate shown on the connection, the
    /// listener it is known at, or the token in our contact. A gateway known by its address alone does not
    /// count.
    pub gateway: Option<Arc<str>>,
    /// The source of the caller's signalling: the remote end of the flow, or the address that a proxy in
    /// front of us saw.
    pub source: SocketAddr,
    /// Channels held for as long as the caller's leg exists.
    pub channels: Vec<Channel>,
    /// It takes the place of an earlier emergency call, whose channel is given up.
    pub redials: bool,
    /// The caller's media policy, if it differs from the general one.
    pub policy: Option<Arc<PairPolicy>>,
    /// The hops that in-dialog requests may take.
    pub hops: HopRule,
    /// The TLS settings for their connections, as [`Invite::tls`](b2b_sip::endpoint::Invite::tls).
    pub tls: Option<Arc<str>>,
    /// The listener they are sent from, as [`Invite::listener`](b2b_sip::endpoint::Invite::listener).
    pub listener: Option<Arc<str>>,
}

impl Caller {
    /// A caller without an authenticated identity and without channels.
    pub fn at(source: SocketAddr) -> Self {
        Caller {
            identity: None,
            gateway: None,
            source,
            channels: Vec::new(),
            redials: false,
            policy: None,
            hops: HopRule::Follow,
            tls: None,
            listener: None,
        }
    }
}

impl Admission {
    /// Whether this is a challenge, after which the same call returns with credentials.
    pub fn is_question(&self) -> bool {
        matches!(self, Admission::Refuse(_, reply) | Admission::RefuseOnce(reply) if matches!(reply.status, 401 | 407))
    }
}

/// Why state is kept for the sender of a request outside calls: there is no reply with state without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It gave a correct password.
    Password,
    /// It used a nonce that we sent to its address, so that its address is not forged; such replies are within
    /// the budget for challenges.
    Nonce,
    /// The configuration names its address, its certificate or the contact that it used.
    Configured,
}

/// The decision on a request outside any call.
pub enum Fate {
    /// Answered at once without keeping state, as a stranger always is.
    ReplyOnce(Reply),
    /// Answered at once; the reply is kept for retransmissions.
    Reply(Proof, Reply),
    /// Answered when this future is ready: a store has to be queried.
    Later(Proof, Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// Not answered.
    Ignore,
}

/// Whose a request in a call is that came by another flow than the call's connection.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub enum Whose {
    /// The party's.
    Party,
    /// Nobody's who has proved it: refused.
    Refused {
        /// As in a reply.
        status: u16,
        /// As in a reply.
        reason: String,
        /// As in a reply.
        #[serde(with = "crate::controller::json::fields")]
        headers: HeaderFields,
        /// Whether the reply is kept for retransmissions, see [`Proof`].
        kept: bool,
    },
    /// Not answered.
    Ignored,
}

impl Whose {
    /// Refused with this reply, which has no body.
    pub fn refused(reply: Reply, kept: bool) -> Self {
        Whose::Refused { status: reply.status, reason: reply.reason, headers: reply.headers, kept }
    }
}

/// The configured media settings of a party.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaRules {
    /// Owner of the rules: `gateway/carrier`, `user/1001`; empty: the general rules.
    pub party: String,
    pub sources: NamedSources,
    /// Limit on what is sent to an address that has proved nothing; `None`: unlimited.
    pub bound: Option<Bound>,
    /// Whether the party is on our side of the NAT.
    pub inside: bool,
    /// Its network, as [`EndpointSpec::interface`](crate::controller::EndpointSpec::interface).
    pub interface: Option<String>,
    /// Encryption; `None`: as the contact or the switch's configuration says.
    pub srtp: Option<SrtpRules>,
    /// The party accepts no offer within its call: its session stays as first agreed.
    pub no_reinvites: bool,
}

/// The configured session timer of a party (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionRules {
    /// Calls to the party request a session timer.
    pub asks: bool,
    /// The refresher, where the party leaves the choice to us.
    pub refresher: SessionRefresher,
}

impl Default for SessionRules {
    fn default() -> Self {
        SessionRules { asks: true, refresher: SessionRefresher::Either }
    }
}

/// A contact that is about to be dialled.
#[derive(Debug, Clone, Copy)]
pub struct Dialled<'a> {
    /// The contact.
    pub contact: &'a ResolvedContact,
    /// What the legs of its call hold already.
    pub held: &'a [Channel],
    /// The caller, or who transfers; `None`: a call of our own.
    pub by: Option<&'a Party>,
    /// The token of the program that has asked for it, as in [`DialOptions::token`].
    ///
    /// [`DialOptions::token`]: crate::service::DialOptions::token
    pub token: Option<&'a str>,
    /// How the call comes to dial it.
    pub led: Led,
}

/// How a call comes to dial a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Led {
    /// By its INVITE, which admission control has counted.
    Called,
    /// Beside or after the first contact of the same dialling: another member of a group, another gateway, a
    /// redirection.
    Beside,
    /// By a later request: a transfer, an application's next dialling.
    Again,
}

/// The terms on which a contact is dialled.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Channels held for as long as its leg exists.
    pub channels: Vec<Channel>,
    /// Delay before its INVITE: the gateway takes only so many calls per second.
    pub wait: Duration,
    /// Its place among the calls that wait, held until its turn.
    pub place: Option<Place>,
    /// The number of the attempt, for [`AdmissionControl::attempted`]; `None`: the outcome is not wanted.
    pub attempt: Option<u64>,
}

/// Decides on requests before they become calls.
pub trait AdmissionControl: Send {
    /// Decides on an INVITE that starts a call.
    fn invite(&mut self, now: Instant, request: &Request, flow: &Flow) -> Admission;

    /// An INVITE that [`AdmissionControl::invite`] did not refuse was refused before it became a call.
    fn refused(&mut self, _now: Instant, _request: &Request, _flow: &Flow, _reply: &Reply) {}

    /// Whether an INVITE is considered although no others are accepted any more: an emergency call. It is
    /// accepted only if its channels include [`Holder::Emergency`](crate::channels::Holder::Emergency).
    fn is_urgent(&self, _request: &Request, _flow: &Flow) -> bool {
        false
    }

    /// Whether a party is a gateway that gets, and whose, signalling of the telephone network is passed on to
    /// other such gateways (ISUP, QSIG: RFC 3204).
    fn takes_isup(&self, _party: &Party) -> bool {
        false
    }

    /// Where the channels of calls count that another process has admitted; `None`: nowhere.
    fn channels(&self) -> Option<Channels> {
        None
    }

    /// Number of calls for which room is kept beside the ordinary ones.
    fn kept_calls(&self) -> usize {
        0
    }

    /// Number of media endpoints beyond which only the first emergency calls of callers with precedence get one.
    fn most_endpoints(&self) -> usize {
        usize::MAX
    }

    /// Decides on a request outside any call, of a method that the endpoint accepts.
    fn request(&mut self, t: &mut Turn<'_>, request: &Request, flow: &Flow) -> Fate;

    /// Handles a SUBSCRIBE outside any dialog: admission control answers it itself and sends the NOTIFYs.
    fn subscribe(&mut self, t: &mut Turn<'_>, transaction: ServerTransactionId, _: &Request, _: &Flow) {
        let _ = t.sip.respond_once(t.now, transaction, Reply::status(405));
    }

    /// Handles a further SUBSCRIBE in a subscription that admission control has accepted.
    fn resubscribe(
        &mut self,
        t: &mut Turn<'_>,
        subscription: SubscriptionId,
        transaction: ServerTransactionId,
        _: &Request,
    ) {
        let _ = t.sip.answer_subscriber(t.now, subscription, transaction, Reply::status(481));
    }

    /// Decides on a contact that is about to be dialled. Returns the channels that its leg is to hold and the
    /// delay before its INVITE.
    ///
    /// # Errors
    /// The contact may not be dialled: a status and its reason, as if the contact had sent them.
    fn outgoing(&mut self, _now: Instant, _dialled: Dialled<'_>) -> Result<Outgoing, (u16, &'static str)> {
        Ok(Outgoing::default())
    }

    /// The outcome of an attempt at a gateway: whether the network delivered the call to a user (ITU-T
    /// E.425); `None`: the outcome does not tell.
    fn attempted(&mut self, _now: Instant, _gateway: &str, _attempt: u64, _effective: Option<bool>) {}

    /// The media rules of a party, among them the sources besides the signalled address that may send its
    /// media.
    fn media_rules(&self, _now: Instant, _party: &Party) -> MediaRules {
        MediaRules::default()
    }

    /// Whether two parties of calls are the same: the same user, or the same gateway. Other parties are
    /// compared by address.
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

    /// Whether a party's assertion of its own or another identity is trusted (RFC 3325 §6): trusted gateways
    /// and trusted addresses. A user is never trusted: its identity is the one it authenticated as.
    fn believes(&self, party: &Party) -> bool {
        party.user.is_none() && party.gateway.is_some()
    }

    /// Whether a party is told its connected identity. A gateway is not: which numbers it may be shown is up
    /// to its provider.
    fn is_told(&self, party: &Party) -> bool {
        party.gateway.is_none()
    }

    /// How the caller identity of an accepted call is read from its INVITE: `identity` is the caller's
    /// authenticated identity, `gateway` the gateway whose certificate the caller has shown, `source` the
    /// source of its signalling.
    fn reads(&self, _identity: Option<&str>, _gateway: Option<&str>, _source: SocketAddr) -> Reads<'_> {
        Reads::default()
    }

    /// Our own names and numbers.
    fn ours(&self) -> &dyn Ours {
        &()
    }

    /// The hops that requests of a call of this caller may take, whose call was restored; `flow` is that of its
    /// signalling.
    fn hops_of_caller(&mut self, _party: &Party, _flow: &Flow) -> HopRule {
        HopRule::Follow
    }

    /// Decides whether a request in a call of this party is its own, which came by another flow than the call's
    /// connection, `lost`.
    fn is_of_party(
        &mut self,
        _now: Instant,
        _party: &Party,
        _lost: Option<&Flow>,
        _request: &Request,
        _flow: &Flow,
    ) -> Whose {
        Whose::Party
    }

    /// The hops that requests of a call to this contact may take.
    fn hops_of_contact(&mut self, _contact: &ResolvedContact) -> HopRule {
        HopRule::Follow
    }

    /// The result of a host look-up, best target first.
    fn located(&mut self, _host: &str, _targets: &[(Transport, SocketAddr)]) {}

    /// When to call [`AdmissionControl::work`].
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Acts on elapsed time or on another change; admission control may send requests of its own.
    fn work(&mut self, _turn: &mut Turn<'_>) {}

    /// The next source that the sockets are to block or unblock.
    fn poll_ban(&mut self) -> Option<Ban> {
        None
    }

    /// The next flow whose peer has proved its identity, for the sockets.
    fn poll_proven(&mut self) -> Option<Flow> {
        None
    }

    /// Accepts no new calls from now on.
    fn drain(&mut self) {}

    /// Whether none of its own work is left while draining.
    fn is_idle(&self) -> bool {
        true
    }

    /// The outcome of a request of ours outside any call.
    fn response(
        &mut self,
        _turn: &mut Turn<'_>,
        _request: RequestId,
        _result: Result<Response, RequestFailure>,
        _flow: Option<Flow>,
    ) {
    }

    /// A flow that it [held](b2b_sip::endpoint::Endpoint::hold_flow) has closed.
    fn flow_closed(&mut self, _now: Instant, _flow: &Flow) {}

    /// The session timer settings of a party's calls.
    fn session_rules(&self, _party: &Party) -> SessionRules {
        SessionRules::default()
    }

    /// Whether there are credentials for a party, that is, the party is a gateway with a password.
    fn has_credentials(&self, _party: &Party) -> bool {
        false
    }

    /// The answer to the challenges, oldest first, to a request of this method that was sent to this party and
    /// repeated after all but the last of them; `uri` is its Request-URI. `None`: there are no credentials for
    /// the party, they were refused or are not meant for the sender, or a scheme is not supported.
    fn credentials(
        &mut self,
        _challenges: &[Response],
        _method: &Method,
        _party: &Party,
        _uri: &[u8],
    ) -> Option<HeaderFields> {
        None
    }
}

/// Accepts every call and no other request, and believes every identity: for tests, and where a handler
/// decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdmitAll;

impl AdmissionControl for AdmitAll {
    fn invite(&mut self, _: Instant, _: &Request, flow: &Flow) -> Admission {
        Admission::Accept(Box::new(Caller::at(flow.remote)))
    }

    fn request(&mut self, _: &mut Turn<'_>, _: &Request, _: &Flow) -> Fate {
        Fate::ReplyOnce(Reply::status(405))
    }

    fn is_same(&self, _: &Party, _: &Party) -> bool {
        true
    }

    fn believes(&self, _: &Party) -> bool {
        true
    }
}
