//! The events of an endpoint for its user, in order.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Flow, ReferId, RequestId, ServerTransactionId, SubscriptionId, Transport, UsageId};
use crate::msg::{Method, Request, Response};

/// An event.
#[derive(Debug)]
pub enum Event {
    /// An incoming initial INVITE: decide with `provisional`, `answer`, `reject` or `reply`.
    /// If `replaces` is set, the call is to replace that one (RFC 3891); authorization is up
    /// to the user. After a 2xx, end the replaced call with `bye`, or with `cancel` if it is
    /// unanswered.
    Incoming {
        /// The new call.
        usage: UsageId,
        /// The INVITE.
        request: Request,
        /// The flow that it arrived on.
        flow: Flow,
        /// The call that Replaces names; `None` without Replaces.
        replaces: Option<UsageId>,
    },
    /// A request outside any dialog that the endpoint does not answer itself (REGISTER,
    /// MESSAGE …; see [`super::EndpointConfig::accept`]): answer it with `respond`.
    Request {
        /// The argument for `respond`.
        transaction: ServerTransactionId,
        /// The request.
        request: Request,
        /// The flow that it arrived on.
        flow: Flow,
    },
    /// A SUBSCRIBE in a subscription that `accept_subscription` created: answer it with
    /// `answer_subscriber`.
    Resubscribe {
        /// The subscription of the dialog.
        subscription: SubscriptionId,
        /// The argument for `answer_subscriber`.
        transaction: ServerTransactionId,
        /// The SUBSCRIBE.
        request: Request,
    },
    /// The outcome of a request of ours outside any call, reported once.
    Response {
        /// The id that the command returned.
        request: RequestId,
        /// The final response, or why there is none.
        result: Result<Response, RequestFailure>,
        /// The flow that it was sent on; `None` if it was not sent.
        flow: Option<Flow>,
    },
    /// The connection given to [`super::Endpoint::watch_flow`] was closed, or the flow of
    /// [`super::Endpoint::hold_flow`] was lost.
    FlowClosed {
        /// The flow that was watched.
        flow: Flow,
    },
    /// A name was looked up in order to send a request. Only with
    /// [`super::EndpointConfig::locates`].
    Located {
        /// The name that was looked up.
        host: Arc<str>,
        /// Its addresses, best first; empty if there are none.
        targets: Vec<(Transport, SocketAddr)>,
    },
    /// A call has gone on without an event. Only after [`super::Endpoint::tell_ahead`].
    Ahead {
        /// The call.
        usage: UsageId,
    },
    /// An event of a call.
    Usage {
        /// The call.
        usage: UsageId,
        /// The event.
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

/// A request of ours in a call that was refused with 401 or 407.
#[derive(Debug)]
pub struct Challenge {
    /// Its CSeq number, which `authorize_request` and `leave_refused` take.
    pub cseq: u32,
    /// Its method.
    pub method: Method,
    /// Its Request-URI, the `uri` of the credentials.
    pub uri: Bytes,
    /// Each 401 and 407 to it and to its repetitions, oldest first.
    pub responses: Vec<Response>,
}

/// Events of a call. [`UsageEvent::Terminated`] comes exactly once and last.
#[derive(Debug)]
pub enum UsageEvent {
    /// 101 to 199 to our INVITE. Its To tag identifies the early dialog: a forked INVITE has
    /// several. `prack_wanted`: the response is reliable and carries the peer's offer,
    /// because the INVITE had none: send the answer with `prack`. Other PRACKs are sent
    /// automatically.
    Provisional {
        /// The provisional response.
        response: Response,
        /// Whether `prack` has to be called.
        prack_wanted: bool,
    },
    /// 401 or 407 to our INVITE or BYE of a call with [`super::Invite::authorizes`]: send it
    /// again with `authorize`, or `cancel` it. If neither happens within 64*T1, the call
    /// ends.
    Challenged {
        /// The 401 or 407.
        response: Response,
    },
    /// 401 or 407 to a request of ours in a call with [`super::Endpoint::authorizes_inside`]:
    /// send it again with `authorize_request`, or accept the refusal with `leave_refused`.
    /// Until then its outcome is not reported.
    RequestChallenged {
        /// The request, and the challenge.
        challenge: Box<Challenge>,
    },
    /// 2xx to our INVITE: the call is established. `ack_wanted`: the INVITE carried no offer,
    /// so the response does; send the answer with `ack`. Otherwise the ACK was already sent.
    Answered {
        /// The 2xx.
        response: Response,
        /// Whether `ack` has to be called with an answer.
        ack_wanted: bool,
    },
    /// The ACK for our 2xx to the INVITE or to a re-INVITE. Its body is the answer if our 2xx
    /// carried the offer.
    Acknowledged {
        /// The ACK.
        request: Request,
    },
    /// The PRACK for a reliable provisional response of ours. Its body is the answer if our
    /// response carried the offer. With `offer` set it is a new offer, to be answered with
    /// `respond`.
    ProvisionalAcknowledged {
        /// The PRACK.
        request: Request,
        /// The argument for `respond` with the answer; `None` if the PRACK has no new offer
        /// and was answered.
        offer: Option<ServerTransactionId>,
    },
    /// A re-INVITE: decide with `answer` or `reject`.
    ReInvite {
        /// The re-INVITE.
        request: Request,
    },
    /// The re-INVITE was cancelled by its sender; 487 was sent.
    ReInviteCancelled,
    /// 2xx to our re-INVITE; `ack_wanted` as for `Answered`.
    ReInviteAnswered {
        /// The 2xx.
        response: Response,
        /// Whether `ack` has to be called with an answer.
        ack_wanted: bool,
    },
    /// Our re-INVITE or UPDATE failed; the session stays unchanged. 408 and 503 also stand
    /// for a timeout and a transport failure. 491 is reported only if the peer changed the
    /// session in the meantime: make a new offer. Otherwise a re-INVITE is retried after the
    /// back-off of RFC 3261 §14.1, at most three times; then it failed with 488. A response
    /// from the peer may hold a challenge or Retry-After.
    ReInviteFailed {
        /// Status of the final response, or 408 or 503 without one.
        status: u16,
        /// Reason phrase of the response, or ours.
        reason: String,
        /// `None` if the peer sent no response.
        response: Option<Box<Response>>,
    },
    /// A session refresh is due that only the user can send, because the peer does not
    /// support UPDATE: call `reinvite` with the session unchanged. Repeated every 10 s;
    /// without a refresh the call ends.
    RefreshWanted,
    /// An UPDATE with an offer (RFC 3311): answer with `respond`.
    Update {
        /// The argument for `respond` with the answer.
        transaction: ServerTransactionId,
        /// The UPDATE.
        request: Request,
    },
    /// An UPDATE without an offer that changes the peer's identity (P-Asserted-Identity,
    /// RFC 5876, or another URI in From, RFC 4916). It was answered.
    Identified {
        /// The UPDATE.
        request: Request,
    },
    /// 2xx to our UPDATE with an offer. The outcome of one without is not reported.
    UpdateAnswered {
        /// The 2xx, with the answer.
        response: Response,
    },
    /// INFO, MESSAGE, NOTIFY … in the dialog: answer with `respond`.
    Request {
        /// The argument for `respond`.
        transaction: ServerTransactionId,
        /// The request.
        request: Request,
    },
    /// A request that came by another flow than the connection of the call, of anyone who knows the
    /// dialog's tags. Decide with [`super::Endpoint::believe`], or refuse it with `respond` or
    /// `respond_once`. Only with [`super::EndpointConfig::asks_of_flows`].
    OtherFlow {
        /// The argument for the decision.
        transaction: ServerTransactionId,
        /// The request.
        request: Request,
        /// The flow that it came by.
        flow: Flow,
        /// Whether the peer has registered by this very flow, according to
        /// [`super::Whereabouts::is_by`].
        registered: bool,
    },
    /// The outcome of a request of ours in the call, reported once.
    Response {
        /// The id that the command returned.
        request: RequestId,
        /// The final response, or why there is none.
        result: Result<Response, RequestFailure>,
    },
    /// A REFER; `ReferTo::of` it is the party to call. Answer with `answer_refer`, then
    /// report progress with `notify_refer`.
    Refer {
        /// The argument for `answer_refer` and `notify_refer`.
        refer: ReferId,
        /// The REFER.
        request: Request,
    },
    /// The outcome of our REFER, reported once.
    ReferAnswered {
        /// The id that the command returned.
        refer: ReferId,
        /// The final response, or why there is none.
        result: Result<Response, RequestFailure>,
    },
    /// Progress of the call that we asked the peer to make: its status line. `last`: nothing
    /// more follows; without a status the result is unknown.
    ReferProgress {
        /// The id that the command for the REFER returned.
        refer: ReferId,
        /// Status code and reason phrase of the `message/sipfrag` body (RFC 3515 §2.4.5).
        status: Option<(u16, String)>,
        /// Whether the implicit subscription has ended.
        last: bool,
    },
    /// The verdict of [`super::HopRule::Judged`] on a next hop other than the peer's own
    /// address: either it was followed, or the peer's flow was used instead. Reported once
    /// for each target that the peer sets.
    NextHop {
        /// The address of the target.
        address: SocketAddr,
        /// `false` if the flow that the peer used was taken instead.
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
    /// Source address of the message that carried an offer, an answer or a new identity of
    /// the peer; `None` for other events.
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
    /// We sent BYE and it was answered (481 and 408 count too: the peer has no such call any
    /// more).
    LocalBye,
    /// We sent BYE and got no response.
    ByeUnanswered,
    /// The peer sent BYE.
    RemoteBye {
        /// The BYE; it may carry Reason (RFC 3326).
        request: Request,
    },
    /// We cancelled our INVITE: ended by a 487, by silence after the CANCEL, or by a crossing
    /// 2xx, which got ACK and BYE.
    LocalCancel,
    /// The peer cancelled its INVITE, or sent BYE before our answer; 487 was sent. `request`
    /// may carry Reason (RFC 3326).
    RemoteCancel {
        /// The CANCEL or the BYE.
        request: Request,
    },
    /// We refused the peer's INVITE.
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
    /// Our INVITE got provisional responses but no final one; CANCEL was sent.
    RingTimeout,
    /// Our user did not decide in time; 480 was sent.
    AnswerTimeout,
    /// Our user did not decide before the INVITE expired (`Expires`); 487 was sent (RFC 3261 §13.3.1).
    Expired,
    /// The target could not be resolved, connected to or sent to.
    Unreachable,
    /// A reliable provisional response of ours got no PRACK; 504 was sent (RFC 3262 §3).
    NoPrack,
    /// The session was not refreshed in time; BYE was sent (RFC 4028 §10).
    SessionExpired,
    /// Our 2xx got no ACK; BYE was sent (RFC 3261 §13.3.1.4).
    NoAck,
    /// The peer violated the protocol; the call was ended as well as possible.
    Protocol {
        /// The violation, for logs.
        message: &'static str,
    },
}
