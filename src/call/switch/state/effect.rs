//! What a step wants done outside its call, as values: the switch carries it out when the step is over, in order, and
//! before what follows from the step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cdr::Cdr;
use crate::controller::{EndpointId, EndpointSpec, EndpointStats, MediaError, RecordingId, Verb};
use crate::event::Event;
use crate::handler::{Party, Redirection, Referral};
use crate::headers::HeaderRule;
use crate::leg_fsm::LegState;
use crate::lookup::LookupRequest;
use crate::service::{CallEnd, Watched};
use crate::switch::state::exchange::ExchangeNo;
use crate::switch::state::handing::{Handing, Redirected, Target};
use crate::switch::state::transfer::{AskedBy, PartyRefer, PassedRefer, Told};
use crate::switch::state::waits::{OnAccepted, OnMedia};
use crate::switch::work::slots::Key;
use crate::{BridgeId, CallId, LegId};
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
    Accept { leg: LegId, usage: UsageId, reply: Reply, then: Box<OnAccepted> },
    /// Passes a request on; if that cannot be done, the waiting transaction is refused.
    Pass { usage: UsageId, to: LegId, request: InDialog, by: LegId, transaction: ServerTransactionId },
    /// Asks a party to call a target by itself: [`Follow::ReferSent`](super::follow::Follow::ReferSent) follows.
    Refer { usage: UsageId, refer_to: Bytes, headers: HeaderFields, referring: Box<Referring> },
    /// A request to media whose answer is of no interest.
    TellMedia(Verb),
    /// A request to media.
    Media { verb: Box<Verb>, then: OnMedia },
    /// Opens an endpoint. `first_for_help`: for an emergency call that the limit of endpoints does not hold up.
    /// `in_place_of`: goes on with the session of that one, which is lost.
    OpenEndpoint {
        spec: Box<EndpointSpec>,
        first_for_help: bool,
        in_place_of: Option<EndpointId>,
        then: OnMedia,
    },
    /// Releases the endpoint of a leg, with its descriptions for the history of its call.
    Release { call: CallId, leg: LegId, endpoint: EndpointId },
    /// Puts the packets of an endpoint into the capture of its call, if there is one.
    Capture { call: CallId, endpoint: EndpointId },
    /// Adds up the packets of these endpoints.
    CountPackets { call: CallId, endpoints: Vec<EndpointId> },
    /// An event, for the history of its call, the call's handlers and the bus.
    Tell(Event),
    /// An entry for the history of a call.
    Note { call: CallId, note: Note },
    /// The counters of a leg at the end of its bridge, for the history of that call and of the one that it is in now.
    Counted { talk: OfBridge, goes_on_in: Option<CallId>, stats: Result<Box<EndpointStats>, MediaError> },
    /// A leg has reached this state.
    LegIs { leg: LegId, state: LegState },
    /// A leg or a bridge is over.
    Ended { what: Watched, end: CallEnd },
    /// A call is over.
    CallOver { call: CallId, end: CallEnd },
    /// A leg has moved to another call, with its history and its packets.
    LegMoved { leg: LegId, endpoint: Option<EndpointId>, from: CallId, into: CallId },
    /// It has been replaced, and so has no end.
    Replaced(Watched),
    /// Sets the timer of a call to its next deadline.
    Arm { call: CallId },
    /// A branch's INVITE waits this long.
    Delay { caller: Option<LegId>, leg: LegId, wait: Duration },
    /// The outcome of an attempt at a gateway.
    Attempted { gateway: Arc<str>, attempt: u64, effective: Option<bool> },
    /// The answer to a request is of no interest any more.
    Forget(Key),
    /// Remembers a REFER that was passed on: its recipient may replace the referrer in a dialog for a while.
    Remember(PassedRefer),
    /// A recording of this call, or of a leg in it, ends; its file is completed later.
    RecordingEnds { id: RecordingId, call: CallId, leg: Option<LegId> },
    /// Its file could not be completed.
    NotRecorded { id: RecordingId, error: MediaError },
    /// Asks the handlers for their decision on a call, one after the other.
    AskHandlers(Box<Handing>),
    /// Gives a call to the application of this name.
    HandTo(Box<Handing>),
    /// Asks the handlers for their decision on a target, one after the other.
    AskWhere { referral: Box<Referral>, asked_by: AskedBy, next: usize },
    /// Asks the handlers for their decisions on the targets of a redirection. `caller`: on whose behalf they are called.
    AskRedirect {
        redirection: Box<Redirection>,
        targets: Vec<Target>,
        caller: Option<String>,
        then: Box<Redirected>,
    },
    /// Looks up the target of a dialling: [`Follow::LookingUp`](super::follow::Follow::LookingUp) follows, or the answer.
    LookUp { call: CallId, request: LookupRequest },
    /// Takes a leg from its handler, which releases its resources.
    TakeFromHandler { leg: LegId },
    /// The leg is over: its handler may finish its work.
    PartWithHandler { leg: LegId },
    /// The newest listener of a call has declined it, and does not hear of it any more.
    ListensNoMore { call: CallId },
    /// No handler hears of a call any more.
    Deaf { call: CallId },
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

/// An entry for the history of a call.
#[derive(Debug)]
pub(crate) enum Note {
    /// A decision that is no event.
    Decided { leg: Option<LegId>, what: &'static str, why: String },
    /// The route by which a call is dialled.
    Route { name: String, why: String },
    /// A leg. `name`: its party as people call it; `party`: its URI, where it has called.
    Leg { leg: LegId, call_id: Bytes, name: String, party: Option<String> },
    /// The record of a leg that is over.
    LegOver { leg: LegId, usage: Option<UsageId>, record: Box<Cdr> },
    /// A bridge begins.
    Talk { bridge: BridgeId, legs: [LegId; 2] },
    /// A bridge is over, by the party of this leg.
    TalkOver { bridge: BridgeId, by: Option<LegId> },
    /// Two legs are joined, with these codecs.
    Joined { legs: [(LegId, String); 2], transcoded: bool },
    /// A leg's media goes past us, or through us again.
    Path { leg: LegId, direct: bool },
}

/// A leg of a bridge of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfBridge {
    pub call: CallId,
    pub bridge: BridgeId,
    pub leg: LegId,
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
