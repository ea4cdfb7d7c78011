//! What comes out of an endpoint for its user, in order.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Flow, ReferId, RequestId, ServerTransactionId, SubscriptionId, Transport, UsageId};
use crate::msg::{Method, Request, Response};

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// An INVITE that starts a call: decide with `provisional`, `answer`, `reject`
    /// or `reply`. `replaces`: it is to take the place of that call (RFC 3891). Who
    /// may do so is for its user to decide; after a 2xx the replaced call is to be
    /// ended with `bye`, or `cancel` if it is not answered.
    Incoming {
        /// The new call.
        usage: UsageId,
        /// The INVITE.
        request: Request,
        /// The way that it came by.
        flow: Flow,
        /// The call that Replaces names; `None`: it has no Replaces.
        replaces: Option<UsageId>,
    },
    /// A request outside any dialog that the endpoint does not answer itself
    /// (REGISTER, MESSAGE …, those in `allow`): answer it with `respond`.
    Request {
        /// What `respond` takes.
        transaction: ServerTransactionId,
        /// The request.
        request: Request,
        /// The way that it came by.
        flow: Flow,
    },
    /// A SUBSCRIBE in a subscription that `accept_subscription` began: answer it with
    /// `answer_subscriber`.
    Resubscribe {
        /// The subscription that the dialog belongs to.
        subscription: SubscriptionId,
        /// What `answer_subscriber` takes.
        transaction: ServerTransactionId,
        /// The SUBSCRIBE.
        request: Request,
    },
    /// What became of a request of ours outside any call, once; and the flow
    /// that it went by, if it went.
    Response {
        /// As the command that sent it returned.
        request: RequestId,
        /// The final response, or why there is none.
        result: Result<Response, RequestFailure>,
        /// `None`: it was not sent.
        flow: Option<Flow>,
    },
    /// The connection of [`super::Endpoint::watch_flow`] is gone, or the flow of
    /// [`super::Endpoint::hold_flow`].
    FlowClosed {
        /// The flow that was watched.
        flow: Flow,
    },
    /// A name was looked up to send a request: where it leads, best first. Only with
    /// [`super::EndpointConfig::locates`].
    Located {
        /// The name that was looked up.
        host: Arc<str>,
        /// Where it leads, best first; empty: nowhere.
        targets: Vec<(Transport, SocketAddr)>,
    },
    /// Something inside a call.
    Usage {
        /// The call.
        usage: UsageId,
        /// What happened in it.
        event: UsageEvent,
    },
}

/// Why a request of ours got no final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// Timer F has fired (RFC 3261 §17.1.2).
    #[error("no final response in 64*T1")]
    NoResponse,
    /// Nothing was sent, or the connection was lost.
    #[error("the target could not be resolved, connected to or sent to")]
    Unreachable,
}

/// A request of ours inside a call that was refused with 401 or 407.
#[derive(Debug)]
pub struct Challenge {
    /// Its number, by which `authorize_request` and `leave_refused` know it.
    pub cseq: u32,
    /// Its method.
    pub method: Method,
    /// Its Request-URI: `uri` of the credentials.
    pub uri: Bytes,
    /// How often it has been sent with credentials already.
    pub tries: u8,
    /// The 401 or 407.
    pub response: Response,
}

/// What happened inside a call. [`UsageEvent::Terminated`] comes exactly once
/// and last.
#[derive(Debug)]
pub enum UsageEvent {
    /// 101 to 199 to our INVITE. Its To tag names the early dialog: an INVITE
    /// that forks has several.
    /// `prack_wanted`: it is reliable and carries the far end's offer, because the
    /// INVITE had none: send the answer with `prack`. Other PRACKs go out by
    /// themselves.
    Provisional {
        /// The provisional response.
        response: Response,
        /// Whether `prack` has to be called.
        prack_wanted: bool,
    },
    /// 401 or 407 to our INVITE, or to our BYE, of a call with
    /// [`super::Invite::authorizes`]: send it again with `authorize`, or
    /// `cancel` it. Who does neither in 64*T1 gets the end of the call.
    Challenged {
        /// The 401 or 407.
        response: Response,
    },
    /// 401 or 407 to a request of ours inside a call with [`super::Endpoint::authorizes_inside`]:
    /// send it again with `authorize_request`, or take the refusal with `leave_refused`. Until
    /// then nothing is told of what became of it.
    RequestChallenged {
        /// Which request, and what it was asked.
        challenge: Box<Challenge>,
    },
    /// 2xx to our INVITE: the call is up. `ack_wanted`: the INVITE carried no
    /// offer, so the response does; send the answer with `ack`. Otherwise the
    /// ACK has gone out.
    Answered {
        /// The 2xx.
        response: Response,
        /// Whether `ack` has to be called with an answer.
        ack_wanted: bool,
    },
    /// The ACK for our 2xx, to the INVITE or to a re-INVITE. Its body is the
    /// answer if our 2xx carried the offer.
    Acknowledged {
        /// The ACK.
        request: Request,
    },
    /// The PRACK for a reliable provisional response of ours. Its body is the
    /// answer if our response carried the offer; with `offer` it is a new offer,
    /// to be answered with `respond`.
    ProvisionalAcknowledged {
        /// The PRACK.
        request: Request,
        /// What `respond` takes with the answer; `None`: the PRACK holds no new offer, and is answered.
        offer: Option<ServerTransactionId>,
    },
    /// A re-INVITE: decide with `answer` or `reject`.
    ReInvite {
        /// The re-INVITE.
        request: Request,
    },
    /// The re-INVITE was cancelled by its sender; 487 has gone out.
    ReInviteCancelled,
    /// 2xx to our re-INVITE; `ack_wanted` as for `Answered`.
    ReInviteAnswered {
        /// The 2xx.
        response: Response,
        /// Whether `ack` has to be called with an answer.
        ack_wanted: bool,
    },
    /// Our re-INVITE or UPDATE came to nothing; the session stays as it was.
    /// 408 and 503 also stand for no response and no transport. 491 comes only
    /// when the peer has changed the session in the meantime: make a new offer.
    /// Other 491 are tried again after the back-off of RFC 3261 §14.1.
    /// The response, if there was one, holds a challenge or Retry-After: `Some` for
    /// those that came from the far end.
    ReInviteFailed {
        /// Status of the final response, or 408 or 503 in its place.
        status: u16,
        /// Reason phrase of the response, or ours.
        reason: String,
        /// `None`: nothing came from the far end.
        response: Option<Box<Response>>,
    },
    /// The session timer wants a refresh that only its user can send, because the
    /// far end takes no UPDATE: `reinvite` with the session as it is. Comes again
    /// every 10 s; without any the call ends.
    RefreshWanted,
    /// An UPDATE with an offer (RFC 3311): answer with `respond`.
    Update {
        /// What `respond` takes with the answer.
        transaction: ServerTransactionId,
        /// The UPDATE.
        request: Request,
    },
    /// An UPDATE without one that says who the far end is now (P-Asserted-Identity, RFC 5876, or
    /// another URI in From, RFC 4916): it has been answered.
    Identified {
        /// The UPDATE.
        request: Request,
    },
    /// 2xx to our UPDATE with an offer. What becomes of one without is not told.
    UpdateAnswered {
        /// The 2xx, with the answer.
        response: Response,
    },
    /// INFO, MESSAGE, NOTIFY … in the dialog: answer with `respond`.
    Request {
        /// What `respond` takes.
        transaction: ServerTransactionId,
        /// The request.
        request: Request,
    },
    /// What became of a request of ours inside the call, once.
    Response {
        /// As the command that sent it returned.
        request: RequestId,
        /// The final response, or why there is none.
        result: Result<Response, RequestFailure>,
    },
    /// A REFER: `ReferTo::of` it says whom to call. Answer with `answer_refer`,
    /// then tell with `notify_refer`.
    Refer {
        /// What `answer_refer` and `notify_refer` take.
        refer: ReferId,
        /// The REFER.
        request: Request,
    },
    /// What became of our REFER, once.
    ReferAnswered {
        /// As the command that sent it returned.
        refer: ReferId,
        /// The final response, or why there is none.
        result: Result<Response, RequestFailure>,
    },
    /// How far the call is that we asked the far end to make: its status line.
    /// `last`: nothing more will come; without a status nobody knows how it ended.
    ReferProgress {
        /// As the command that sent the REFER returned.
        refer: ReferId,
        /// Status code and reason phrase of the `message/sipfrag` body (RFC 3515 §2.4.5).
        status: Option<(u16, String)>,
        /// Whether the implicit subscription is over.
        last: bool,
    },
    /// What [`super::HopRule::Judged`] said of the next hop, where it is not simply the
    /// peer's own: followed all the same, or the flow was taken that the peer came by. Once for
    /// each target that the peer gives.
    NextHop {
        /// Where the target leads.
        address: SocketAddr,
        /// `false`: the flow was taken that the peer came by.
        followed: bool,
        /// The judge's reason, for logs.
        why: &'static str,
    },
    /// The end of the call.
    Terminated {
        /// Why it ended.
        cause: Termination,
    },
}

impl UsageEvent {
    /// Where the message came from that offer and answer, or the party's word on the dialog,
    /// came in; none: there is none.
    pub fn source(&self) -> Option<SocketAddr> {
        match self {
            UsageEvent::Provisional { response, .. }
            | UsageEvent::Answered { response, .. }
            | UsageEvent::ReInviteAnswered { response, .. }
            | UsageEvent::UpdateAnswered { response } => response.source(),
            UsageEvent::Acknowledged { request }
            | UsageEvent::ProvisionalAcknowledged { request, .. }
            | UsageEvent::ReInvite { request }
            | UsageEvent::Update { request, .. }
            | UsageEvent::Identified { request } => request.source(),
            _ => None,
        }
    }
}

/// Why a usage ended.
#[derive(Debug)]
pub enum Termination {
    /// We sent BYE and it was answered (481 and 408 count: the far end is gone
    /// either way).
    LocalBye,
    /// We sent BYE and nothing ever came back.
    ByeUnanswered,
    /// They sent BYE.
    RemoteBye {
        /// The BYE; it may carry Reason (RFC 3326).
        request: Request,
    },
    /// We cancelled our INVITE; whether by 487, by silence after the CANCEL, or
    /// by a 2xx that crossed it and got ACK and BYE.
    LocalCancel,
    /// They cancelled their INVITE, or sent BYE before our answer; 487 has gone
    /// out. `request` is the CANCEL or the BYE; it may carry Reason (RFC 3326).
    RemoteCancel {
        /// The CANCEL or the BYE.
        request: Request,
    },
    /// We refused their INVITE.
    Rejected {
        /// The status that was sent.
        status: u16,
    },
    /// Our INVITE got a final response of 300 to 699.
    Failed {
        /// The final response.
        response: Response,
    },
    /// Our INVITE got no response at all (Timer B).
    NoResponse,
    /// Our INVITE got provisional responses and then silence; CANCEL was sent.
    RingTimeout,
    /// Our user did not decide in time; 480 has gone out.
    AnswerTimeout,
    /// The target could not be resolved, connected to or sent to.
    Unreachable,
    /// A reliable provisional response of ours was never acknowledged; 504 has
    /// gone out (RFC 3262 §3).
    NoPrack,
    /// Nobody refreshed the session in time; BYE was sent (RFC 4028 §10).
    SessionExpired,
    /// Our 2xx was never acknowledged; BYE was sent (RFC 3261 §13.3.1.4).
    NoAck,
    /// The far end broke the protocol; the call was ended as well as possible.
    Protocol {
        /// What it did, for logs.
        message: &'static str,
    },
}
