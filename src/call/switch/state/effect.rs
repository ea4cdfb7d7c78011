//! What a step asks of the dialogs and the media of its call, as values: the switch carries it out when the step is over, in order, and
//! before what follows from the step.

use std::sync::Arc;

use bytes::Bytes;

use crate::controller::{EndpointId, EndpointSpec, Verb};
use crate::handler::Party;
use crate::headers::HeaderRule;
use crate::switch::common::PassedRequest;
use crate::switch::state::exchange::ExchangeNo;
use crate::switch::state::transfer::{PartyRefer, Told};
use crate::switch::state::waits::{OnAccepted, OnMedia};
use crate::{CallId, LegId};
use b2b_sip::endpoint::{
    Body, Challenge, HeaderFields, InDialog, Invite, Reply, ServerTransactionId, UsageId,
};
use b2b_sip::msg::{Method, Request, Response};

/// An effect of a step.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Answers a pending request.
    Respond { transaction: ServerTransactionId, reply: Reply },
    /// Answers a party's REFER.
    AnswerRefer { refer: PartyRefer, status: u16 },
    /// Tells a party by NOTIFY how its REFER goes.
    NotifyRefer { refer: PartyRefer, status: u16, reason: String },
    /// Calls a branch: [`Follow::Invited`](super::follow::Follow::Invited) follows.
    Invite(Box<Calling>),
    /// Sends the 2xx to a caller: [`Follow::Accepted`](super::follow::Follow::Accepted) follows.
    Accept { leg: LegId, usage: UsageId, reply: Reply, then: OnAccepted },
    /// Passes a request on; if that cannot be done, the waiting transaction is refused.
    Pass { usage: UsageId, request: InDialog, passed: PassedRequest },
    /// Asks a party to call a target by itself: [`Follow::ReferSent`](super::follow::Follow::ReferSent) follows.
    Refer { usage: UsageId, refer_to: Bytes, headers: HeaderFields, referring: Box<Referring> },
    /// A request to media whose answer is of no interest.
    TellMedia(Verb),
    /// A request to media.
    Media { verb: Verb, then: OnMedia },
    /// Opens an endpoint. `first_for_help`: for an emergency call that the limit of endpoints does not hold up.
    OpenEndpoint { spec: Box<EndpointSpec>, first_for_help: bool, then: OnMedia },
    /// Releases the endpoint of a leg, with its descriptions for the history of its call.
    Release { call: CallId, leg: LegId, endpoint: EndpointId },
    /// Puts the packets of an endpoint into the capture of its call, if there is one.
    Capture { call: CallId, endpoint: EndpointId },
    /// Adds up the packets of these endpoints.
    CountPackets { call: CallId, endpoints: Vec<EndpointId> },
    /// Any other command for the dialog of a leg.
    Dialog { leg: LegId, usage: UsageId, command: DialogCommand },
}

/// A command for a dialog. Those that cannot be carried out are logged: the end of the dialog is on its way.
#[derive(Debug)]
pub(crate) enum DialogCommand {
    /// A provisional response.
    Ring(Reply),
    /// The refusal of an INVITE.
    Refuse(Reply),
    /// The answer to a re-INVITE, or its refusal; otherwise [`Follow::NotReplied`](super::follow::Follow::NotReplied)
    /// follows.
    Reply(Reply),
    RefuseReInvite(Reply),
    Bye {
        headers: HeaderFields,
        body: Option<Body>,
    },
    Cancel {
        headers: HeaderFields,
    },
    Prack {
        response: Box<Response>,
        answer: Option<Body>,
    },
    Ack {
        answer: Body,
    },
    /// A re-INVITE or an UPDATE; otherwise [`Follow::NotOffered`](super::follow::Follow::NotOffered) follows.
    Offer {
        exchange: ExchangeNo,
        headers: HeaderFields,
        offer: Option<Body>,
        by_update: bool,
    },
    /// An UPDATE without an offer.
    Identity {
        headers: HeaderFields,
    },
    Info(InDialog),
    /// The peer of this dialog stays responsible for the refreshes that it does, if any; we do none.
    NoRefresh,
    /// The INVITE of this dialog may be answered later than usual.
    KeepInvitation,
    /// Challenges to requests within this dialog are reported.
    AuthorizesInside,
    /// Answers challenges to our INVITE or BYE; otherwise [`Follow::NotAuthorized`](super::follow::Follow::NotAuthorized)
    /// follows.
    Authorize {
        challenges: Vec<Response>,
        method: Method,
        party: Option<Arc<Party>>,
    },
    /// Answers a challenge to another request of ours, or leaves that request refused.
    AuthorizeRequest {
        challenge: Box<Challenge>,
        party: Option<Arc<Party>>,
    },
}

/// The INVITE of a branch.
#[derive(Debug)]
pub(crate) struct Calling {
    pub leg: LegId,
    pub invite: Invite,
    /// The caller's INVITE, whose Max-Forwards and marks it inherits.
    pub from: Option<Request>,
    /// Option tags that Supported does not have.
    pub without: Vec<&'static str>,
    pub then: OnInvited,
}

/// What the sent INVITE of a branch leaves to do.
#[derive(Debug)]
pub(crate) struct OnInvited {
    /// The leg on whose behalf the branch is called.
    pub asks: Option<LegId>,
    /// The caller's name and number if there is no such leg.
    pub shown: Option<(String, String)>,
    /// The rules for header fields of later messages.
    pub rules: Arc<[HeaderRule]>,
}

/// A REFER of ours.
#[derive(Debug)]
pub(crate) struct Referring {
    /// The leg whose party is asked.
    pub leg: LegId,
    /// The party for which it is asked, or the sender of the command.
    pub by: LegId,
    /// The target as the command names it.
    pub target: String,
    pub told: Told,
}
