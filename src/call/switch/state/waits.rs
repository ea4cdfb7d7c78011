//! What calls wait for, as values: requests to media, a resolver or a handler, and their continuations.
//!
//! A request that is not answered within the turn gets a number, under which its continuation is kept until
//! the answer comes as an input. A request that is answered at once takes the same way without the table. A
//! continuation says which call it concerns; it holds nothing but values.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bridge_fsm::BridgeMode;
use crate::controller::json::octets;
use crate::controller::{Answer, EndpointId, EndpointStats, Joined, Recorded, RecordingId};
use crate::handler::{HandlerAction, Referral};
use crate::leg_life::OnAck;
use crate::lookup::{LookupError, LookupResult};
use crate::service::command::Reply;
use crate::service::{CallError, DialError};
use crate::switch::state::call::Purpose;
use crate::switch::state::exchange::{Described, ExchangeNo, Origin};
use crate::switch::state::handing::{Handing, Named, Redirected};
use crate::switch::state::recording::{Asks, Subject};
use crate::switch::state::transfer::{AskedBy, Referrer, TransferLegs};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::{Reply as Response, ServerTransactionId};
use b2b_sip::msg::Request;

/// The continuation of a request.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Waits {
    /// Of a request to media.
    Media(OnMedia),
    /// Of a request to a resolver or a handler.
    Found(OnFound),
}

/// The component that answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answerer {
    Media,
    /// A handler: the decision on a call, on the target of a referral, or on a redirection.
    Handler,
    Target,
    Redirection,
    /// A resolver, for a call.
    Contacts,
    /// The answer changes no call.
    Nothing,
}

impl Waits {
    /// See [`Concerns`].
    pub fn concerns(&self) -> Concerns {
        match self {
            Waits::Media(then) => then.concerns(),
            Waits::Found(then) => then.concerns(),
        }
    }

    /// The component that answers it.
    pub fn answerer(&self) -> Answerer {
        match self {
            // The next process asks again.
            Waits::Media(OnMedia::Recording { .. }) => Answerer::Nothing,
            Waits::Media(_) => Answerer::Media,
            Waits::Found(OnFound::Decide(_)) => Answerer::Handler,
            Waits::Found(OnFound::Referral { .. }) => Answerer::Target,
            Waits::Found(OnFound::Redirect(_)) => Answerer::Redirection,
            Waits::Found(OnFound::Dial { .. }) => Answerer::Contacts,
            Waits::Found(OnFound::Listened { .. } | OnFound::LookUp { .. } | OnFound::Outside { .. }) => {
                Answerer::Nothing
            }
        }
    }
}

/// An answer of media.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MediaAnswer {
    Done,
    Endpoint(EndpointId),
    Description(#[serde(with = "octets")] Bytes),
    Joined(Joined),
    #[serde(skip)]
    Stats(Box<EndpointStats>),
    Recording(RecordingId),
    Recorded(Recorded),
    Counts(bool),
    Packets(u64),
}

/// The continuation of a request to media.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum OnMedia {
    /// Nothing: no answer is needed.
    Nothing,
    /// A leg's endpoint is opened.
    Endpoint { leg: LegId, no_reinvites: bool, then: Box<OnEndpoint> },
    /// A description for a party is made.
    Described(OnDescription),
    /// A party's answer to an offer of ours is applied.
    Applied(OnApplied),
    /// Two legs are joined.
    Joined { a: LegId, b: LegId },
    /// The counters of a leg are read at the end of its bridge.
    Counted { call: CallId, bridge: BridgeId, leg: LegId },
    /// A recording of this call, or of a leg in it, begins.
    Recording { call: CallId, subject: Subject, reply: Asks },
    /// A recording is completed.
    Recorded { call: CallId, id: RecordingId, reply: Asks },
    /// It is known whether a digit by INFO counts.
    Digit(Box<InfoDigit>),
    /// The packets of an emergency call are counted.
    Packets { call: CallId },
}

/// The continuation once a leg has an endpoint, or could not get one.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum OnEndpoint {
    /// We answer the leg's offer.
    LocalAnswer { leg: LegId, offer: Bytes, then: OnDescription },
    /// We offer the leg our own media, or that of the endpoint `like`.
    LocalOffer { leg: LegId, like: Option<EndpointId>, then: OnDescription },
    /// The leg's offer goes to another leg.
    OfferFrom { from: LegId, to: LegId, offer: Bytes, then: OnDescription },
    /// The leg gets the offer of another leg, which has its endpoint.
    OfferTo { near: EndpointId, from: LegId, to: LegId, offer: Bytes, then: OnDescription },
    /// The leg replaces another one.
    Replace { call: CallId, leg: LegId, stays: LegId, replaced: LegId, offer: Bytes },
    /// The leg has lost this endpoint, and its party is told of the new one.
    Moved { leg: LegId, before: EndpointId, why: String },
}

/// The use of a description for a party.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum OnDescription {
    /// For our own 2xx to a caller: the answer, or an offer if the caller made none.
    Answer { leg: LegId, offers: bool, reply: Reply<Result<(), CallError>> },
    /// The offer in a branch's INVITE.
    Invite { branch: LegId },
    /// A branch's early session, for the caller.
    Progress { caller: LegId, branch: LegId, status: u16, reliable: bool },
    /// A branch's offer in a reliable provisional response, for the caller.
    EarlyOffer { caller: LegId, branch: LegId, status: u16 },
    /// Our answer to that.
    AnswerEarly { branch: LegId },
    /// The caller's answer to that, for the PRACK.
    Prack { caller: LegId, branch: LegId },
    /// The callee's answer, for the 2xx to the caller.
    Accept { won: Won },
    /// An offer for the 2xx to the caller, the callee's late one or ours. `on_ack`: what to do with its
    /// answer.
    AcceptWithOffer { won: Won, on_ack: OnAck },
    /// Our answer to the callee's late offer, for its ACK.
    AckAndAccept { won: Won },
    /// The caller's answer to the callee's late offer, for its ACK.
    Ack { caller: LegId, callee: LegId },
    /// Our answer to a later offer that is not passed on.
    AnswerHere { leg: LegId, origin: Origin, what: Described },
    /// A later offer, ours or another party's.
    Offer { call: CallId, exchange: ExchangeNo },
    /// The answer to that, for the asking party; `offers`: it is made from this late offer of the other one.
    AnswerAcross { call: CallId, exchange: ExchangeNo, to: LegId, offers: Option<Bytes> },
}

/// The continuation once a party's answer to an offer of ours has been applied, or cannot be used.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum OnApplied {
    /// Nothing.
    Nothing,
    /// The answer is a branch's early session, and its caller is up.
    EarlySession { caller: LegId, branch: LegId },
    /// The answer is the early session of a callee called on our own behalf.
    EarlyMedia { leg: LegId },
    /// The answer is the callee's, whose caller is up.
    Won(Won),
    /// The answer is that of a callee called on our own behalf.
    Originated { leg: LegId, reply: Reply<Result<LegId, DialError>> },
    /// The answer is that of a transfer's target.
    Transferred { call: CallId, legs: TransferLegs, referrer: Referrer, arrived: LegId, direct: bool },
    /// The answer came in the ACK of a party that is joined with `other`, or alone with us.
    Acknowledged { leg: LegId, other: Option<LegId> },
    /// The answer came in the ACK of a party whose partner at that time has left.
    AcknowledgedApart { call: CallId, leg: LegId },
    /// The answer to our offer, which the party had asked for by a re-INVITE.
    Renewed { call: CallId, leg: LegId },
    /// The answer agrees to a later offer, of ours or without a waiting party.
    Agreed { call: CallId, exchange: ExchangeNo },
}

/// The continuation once the 2xx to a caller is sent, or could not be.
#[derive(Debug)]
pub(crate) enum OnAccepted {
    /// It carries what the callee has answered. `on_ack`: what to do on its ACK.
    Won { won: Won, on_ack: OnAck },
    /// It is our own. `offers`: its ACK brings the answer.
    Ours { offers: bool, reply: Reply<Result<(), CallError>> },
    /// The caller replaces this leg.
    Replaced { replaced: LegId },
}

/// A branch that has answered first, and its caller: what remains to be done once both have their
/// descriptions.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Won {
    pub call: CallId,
    pub caller: LegId,
    pub callee: LegId,
    pub mode: BridgeMode,
    pub auto_hangup: bool,
    pub direct: bool,
    pub record: bool,
    pub reply: Option<Reply<Result<BridgeId, DialError>>>,
}

impl Won {
    /// The purpose of the dialling.
    pub fn purpose(self) -> Purpose {
        Purpose::Caller { caller: self.caller, reply: self.reply }
    }
}

/// An answer of a resolver or a handler.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Found {
    Action(HandlerAction),
    Contacts(Result<LookupResult, LookupError>),
    Named(Vec<Named>),
    /// To a request outside calls.
    #[serde(skip)]
    Reply(Response),
    Over,
}

/// The continuation of a request to a resolver or a handler.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum OnFound {
    /// The target of a dialling is looked up.
    Dial { call: CallId },
    /// A handler decides on a call.
    Decide(Box<Handing>),
    /// A handler decides on the target of a REFER, or on a number.
    Referral { referral: Box<Referral>, asked_by: AskedBy, next: usize },
    /// Handlers decide on the targets of a redirection.
    Redirect(Box<Redirected>),
    /// The listener of a call has ended.
    Listened { call: CallId },
    /// A command looks up a target.
    LookUp { reply: Reply<Result<LookupResult, LookupError>> },
    /// A request outside any call is answered.
    Outside { transaction: ServerTransactionId },
}

/// The call that an answer concerns: that of the first of these legs that is not over, wherever it is by now, or else this
/// one.
#[derive(Default)]
pub(crate) struct Concerns {
    pub legs: [Option<LegId>; 2],
    pub call: Option<CallId>,
}

impl Concerns {
    pub(crate) fn leg(leg: LegId) -> Self {
        Concerns { legs: [Some(leg), None], call: None }
    }

    pub(crate) fn call(call: CallId) -> Self {
        Concerns { legs: [None, None], call: Some(call) }
    }

    fn leg_of(leg: LegId, call: CallId) -> Self {
        Concerns { legs: [Some(leg), None], call: Some(call) }
    }
}

impl OnMedia {
    pub fn concerns(&self) -> Concerns {
        match self {
            OnMedia::Nothing => Concerns::default(),
            // Who waits for it may be another leg than the one whose endpoint it is.
            OnMedia::Endpoint { leg, then, .. } => {
                let Concerns { legs: [other, _], call } = then.concerns();
                Concerns { legs: [Some(*leg), other], call }
            }
            OnMedia::Joined { a: leg, .. } | OnMedia::Counted { leg, .. } => Concerns::leg(*leg),
            OnMedia::Described(then) => then.concerns(),
            OnMedia::Applied(then) => then.concerns(),
            OnMedia::Recording { call, subject: Subject::Leg(leg), .. } => Concerns::leg_of(*leg, *call),
            OnMedia::Recording { subject: Subject::Call(call), .. }
            | OnMedia::Recorded { call, .. }
            | OnMedia::Packets { call } => Concerns::call(*call),
            OnMedia::Digit(digit) => Concerns::leg(digit.leg),
        }
    }
}

impl OnEndpoint {
    fn concerns(&self) -> Concerns {
        match self {
            OnEndpoint::LocalAnswer { then, .. }
            | OnEndpoint::LocalOffer { then, .. }
            | OnEndpoint::OfferFrom { then, .. }
            | OnEndpoint::OfferTo { then, .. } => then.concerns(),
            OnEndpoint::Replace { call, .. } => Concerns::call(*call),
            OnEndpoint::Moved { leg, .. } => Concerns::leg(*leg),
        }
    }
}

impl OnApplied {
    pub(crate) fn concerns(&self) -> Concerns {
        match self {
            OnApplied::Nothing => Concerns::default(),
            OnApplied::EarlySession { caller: leg, .. }
            | OnApplied::EarlyMedia { leg }
            | OnApplied::Originated { leg, .. }
            | OnApplied::Acknowledged { leg, .. } => Concerns::leg(*leg),
            OnApplied::Renewed { call, leg } | OnApplied::AcknowledgedApart { call, leg } => {
                Concerns::leg_of(*leg, *call)
            }
            OnApplied::Won(Won { call, .. })
            | OnApplied::Transferred { call, .. }
            | OnApplied::Agreed { call, .. } => Concerns::call(*call),
        }
    }
}

impl OnDescription {
    pub(crate) fn concerns(&self) -> Concerns {
        match self {
            OnDescription::Answer { leg, .. }
            | OnDescription::Invite { branch: leg }
            | OnDescription::Progress { caller: leg, .. }
            | OnDescription::EarlyOffer { caller: leg, .. }
            | OnDescription::AnswerEarly { branch: leg }
            | OnDescription::Prack { branch: leg, .. }
            | OnDescription::AnswerHere { leg, .. } => Concerns::leg(*leg),
            OnDescription::Ack { caller, callee } => {
                Concerns { legs: [Some(*callee), Some(*caller)], call: None }
            }
            OnDescription::Accept { won }
            | OnDescription::AcceptWithOffer { won, .. }
            | OnDescription::AckAndAccept { won } => Concerns::call(won.call),
            OnDescription::Offer { call, .. } => Concerns::call(*call),
            OnDescription::AnswerAcross { call, to, .. } => Concerns::leg_of(*to, *call),
        }
    }

    /// Whether it is the offer of a dialled leg's INVITE.
    pub fn is_invite(&self) -> bool {
        matches!(self, OnDescription::Invite { .. })
    }
}

impl OnFound {
    pub fn concerns(&self) -> Concerns {
        match self {
            OnFound::Dial { call } | OnFound::Listened { call } => Concerns::call(*call),
            OnFound::Decide(handing) => Concerns::leg(handing.leg()),
            OnFound::Referral { referral, asked_by: AskedBy::Application(_), .. } => {
                Concerns::leg_of(referral.leg, referral.call)
            }
            OnFound::Referral { referral, .. } => Concerns::call(referral.call),
            OnFound::Redirect(redirected) => Concerns::call(redirected.call),
            OnFound::LookUp { .. } | OnFound::Outside { .. } => Concerns::default(),
        }
    }

    /// Whether a call depends on the answer.
    pub(crate) fn is_fact(&self) -> bool {
        !matches!(self, OnFound::LookUp { .. } | OnFound::Outside { .. })
    }
}

impl From<Answer> for MediaAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Allocated { endpoint: Some(endpoint), .. } => MediaAnswer::Endpoint(endpoint),
            Answer::Description(description) => MediaAnswer::Description(description),
            Answer::Joined(joined) => MediaAnswer::Joined(joined),
            Answer::Stats(stats) => MediaAnswer::Stats(stats),
            Answer::Recording(recording) => MediaAnswer::Recording(recording),
            Answer::Recorded(recorded) => MediaAnswer::Recorded(recorded),
            Answer::Repeated => MediaAnswer::Counts(false),
            // A step asks for nothing else.
            _ => MediaAnswer::Done,
        }
    }
}

/// A digit by INFO of which it is not yet known whether it counts.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct InfoDigit {
    pub leg: LegId,
    pub digit: char,
    pub duration_ms: u32,
    /// Whether it may become an event.
    pub is_told: bool,
    pub transaction: ServerTransactionId,
    pub request: Request,
}
