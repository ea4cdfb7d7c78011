//! What calls wait for, as values: requests to media, a resolver or a handler, and their continuations.
//!
//! A request that is not answered within the turn gets a number, under which its continuation is kept until
//! the answer comes as an input. A request that is answered at once takes the same way without the table. A
//! continuation finds out itself that a leg or call has gone; it holds nothing but values.

use std::pin::Pin;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::across::Described;
use super::exchange::{ExchangeNo, Origin};
use super::follow::Follow;
use super::handing::Handing;
use super::recording::{Asks, Subject};
use super::redirect::Named;
use super::redirect::Redirected;
use super::referral::AskedBy;
use super::requests::InfoDigit;
use super::slots::Key;
use super::table::Purpose;
use super::tasks::{Came, Guarded, MediaResult, Panicked, polled};
use super::transfer::{Referrer, TransferLegs};
use super::{CallStep, Common, Done, Switch, Task, Turn};
use crate::bridge_fsm::BridgeMode;
use crate::controller::json::octets;
use crate::controller::{EndpointId, EndpointStats, Joined, MediaError, MediaFuture, Recorded, RecordingId};
use crate::handler::{HandlerAction, Referral};
use crate::leg_life::OnAck;
use crate::lookup::{LookupError, LookupRequest, LookupResult};
use crate::service::command::Reply;
use crate::service::{CallError, DialError};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::{Reply as Response, ServerTransactionId};

/// The continuation of a request.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Waits {
    /// Of a request to media.
    Media(OnMedia),
    /// Of a request to a resolver or a handler.
    Found(OnFound),
}

/// The component that answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answerer {
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
    /// The component that answers it.
    pub fn answerer(&self) -> Answerer {
        match self {
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
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MediaAnswer {
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
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum OnMedia {
    /// Nothing: no answer is needed.
    Nothing,
    /// A leg's endpoint is opened.
    Endpoint { leg: LegId, no_reinvites: bool, then: OnEndpoint },
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
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum OnEndpoint {
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
}

/// The use of a description for a party.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum OnDescription {
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
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum OnApplied {
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

/// A branch that has answered first, and its caller: what remains to be done once both have their
/// descriptions.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Won {
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
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Found {
    Action(HandlerAction),
    Contacts(Result<LookupResult, LookupError>),
    Named(Vec<Named>),
    /// To a request outside calls.
    #[serde(skip)]
    Reply(Response),
    Over,
}

/// The continuation of a request to a resolver or a handler.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum OnFound {
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

/// The call that an answer concerns: that of a leg, wherever the leg is by now, or else this one.
#[derive(Default)]
pub(super) struct Concerns {
    pub leg: Option<LegId>,
    pub call: Option<CallId>,
}

impl Concerns {
    fn leg(leg: LegId) -> Self {
        Concerns { leg: Some(leg), call: None }
    }

    fn call(call: CallId) -> Self {
        Concerns { leg: None, call: Some(call) }
    }

    fn leg_of(leg: LegId, call: CallId) -> Self {
        Concerns { leg: Some(leg), call: Some(call) }
    }
}

impl OnMedia {
    pub fn concerns(&self) -> Concerns {
        match self {
            OnMedia::Nothing => Concerns::default(),
            OnMedia::Endpoint { leg, then: OnEndpoint::Replace { call, .. }, .. } => {
                Concerns::leg_of(*leg, *call)
            }
            OnMedia::Endpoint { leg, .. } | OnMedia::Joined { a: leg, .. } | OnMedia::Counted { leg, .. } => {
                Concerns::leg(*leg)
            }
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

impl OnApplied {
    fn concerns(&self) -> Concerns {
        match self {
            OnApplied::Nothing => Concerns::default(),
            OnApplied::EarlySession { caller: leg, .. }
            | OnApplied::EarlyMedia { leg }
            | OnApplied::Originated { leg, .. }
            | OnApplied::Acknowledged { leg, .. } => Concerns::leg(*leg),
            OnApplied::Renewed { call, leg } => Concerns::leg_of(*leg, *call),
            OnApplied::Won(Won { call, .. })
            | OnApplied::Transferred { call, .. }
            | OnApplied::AcknowledgedApart { call, .. }
            | OnApplied::Agreed { call, .. } => Concerns::call(*call),
        }
    }
}

impl OnDescription {
    fn concerns(&self) -> Concerns {
        match self {
            OnDescription::Answer { leg, .. }
            | OnDescription::Invite { branch: leg }
            | OnDescription::Progress { caller: leg, .. }
            | OnDescription::EarlyOffer { caller: leg, .. }
            | OnDescription::AnswerEarly { branch: leg }
            | OnDescription::Prack { branch: leg, .. }
            | OnDescription::Ack { callee: leg, .. }
            | OnDescription::AnswerHere { leg, .. } => Concerns::leg(*leg),
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
            OnFound::Referral { referral, .. } => Concerns::call(referral.call),
            OnFound::Redirect(redirected) => Concerns::call(redirected.call),
            OnFound::LookUp { .. } | OnFound::Outside { .. } => Concerns::default(),
        }
    }

    /// Whether a call depends on the answer.
    fn is_fact(&self) -> bool {
        !matches!(self, OnFound::LookUp { .. } | OnFound::Outside { .. })
    }
}

/// Conversions of results to answers of media.
macro_rules! kinds {
    ($($from:ty, $it:pat => $answer:expr;)*) => {
        $(impl From<$from> for MediaAnswer {
            fn from($it: $from) -> Self {
                $answer
            }
        })*
    };
}

kinds! {
    (), () => MediaAnswer::Done;
    EndpointId, it => MediaAnswer::Endpoint(it);
    Bytes, it => MediaAnswer::Description(it);
    bool, it => MediaAnswer::Counts(it);
    u64, it => MediaAnswer::Packets(it);
    Joined, it => MediaAnswer::Joined(it);
    EndpointStats, it => MediaAnswer::Stats(Box::new(it));
    RecordingId, it => MediaAnswer::Recording(it);
    Recorded, it => MediaAnswer::Recorded(it);
}

impl Switch {
    /// Takes the result of a task.
    pub fn done(&mut self, t: &mut Turn<'_>, done: Done) {
        match done.0 {
            Came::Media(request, result) => match self.common.work.answered(request) {
                Some((call, Waits::Media(then))) => {
                    self.common.journal_answer(t, call, request, &*result);
                    self.media_came(t, then, *result);
                }
                _ => self.common.counters.late += 1,
            },
            Came::Found(request, result) => match self.common.work.answered(request) {
                Some((call, Waits::Found(then))) => {
                    self.common.journal_answer(t, call, request, &*result);
                    self.common.follows.push(Follow::Found { then, found: *result });
                }
                _ => self.common.counters.late += 1,
            },
            Came::Dropped(request) => {
                if let Some((call, _)) = self.common.work.answered(request) {
                    self.common.journal_drop(t, call, request);
                }
                self.common.counters.late += 1;
            }
            Came::Application(app, want, answer) => self.application_answered(t, app, want, *answer),
            Came::Program(result) => {
                let MediaResult { program, result, end } = *result;
                end.into_iter().for_each(|end| self.tell(t, end));
                self.answer_program(t, program, result);
            }
            Came::Address(name, address) => self.host_found(t, name, address),
            Came::Beside(Ok(())) => {}
            Came::Beside(Err(Panicked)) => {
                self.common.counters.panics += 1;
                tracing::error!("a background task of an application panicked and has ended");
            }
        }
        self.carry_out(t);
    }
}

impl CallStep<'_> {
    /// Continues with `then` once media has answered.
    pub(super) fn media<T>(&mut self, t: &mut Turn<'_>, future: MediaFuture<T>, then: OnMedia)
    where
        T: Into<MediaAnswer> + Send + Unpin + 'static,
    {
        // Counters change nothing in a call.
        let is_fact = !matches!(then, OnMedia::Counted { .. });
        if self.common.is_replay() {
            return if is_fact {
                self.media_told(t, then)
            };
        }
        match future.now() {
            Ok(result) => {
                let result = result.map(Into::into);
                if is_fact {
                    self.common.writes("media", &result);
                }
                self.media_answered(t, then, result);
            }
            Err(future) => {
                let call = self.common.is_about().filter(|_| is_fact);
                let request = self.common.work.ask(call, Waits::Media(then), |request| {
                    Box::pin(
                        async move { Done(Came::Media(request, Box::new(future.await.map(Into::into)))) },
                    )
                });
                if is_fact {
                    self.common.writes("later", &request);
                }
            }
        }
    }

    /// Takes media's answer from the journal, now or later.
    fn media_told(&mut self, t: &mut Turn<'_>, then: OnMedia) {
        match self.common.reads_next("later") {
            Some(request) => {
                self.common.work.ask_journal(self.common.is_told_of(), request, Waits::Media(then))
            }
            None => {
                let result = self.common.reads("media").unwrap_or(Err(MediaError::Stopped));
                self.media_answered(t, then, result);
            }
        }
    }

    /// Continues with `then` once a description for a party is ready; it may have failed already.
    pub(super) fn describe(
        &mut self,
        t: &mut Turn<'_>,
        description: Result<MediaFuture<Bytes>, MediaError>,
        then: OnDescription,
    ) {
        match description {
            Ok(description) => self.media(t, description, OnMedia::Described(then)),
            Err(error) => {
                let then = OnMedia::Described(then);
                self.common.follows.push(Follow::Media { then, result: Err(error) });
            }
        }
    }
}

impl Common {
    /// Takes the answer of a resolver or a handler from the journal.
    fn found_told(&mut self, then: OnFound) -> Option<Key> {
        let later = self.reads_next("later");
        match later {
            Some(request) => self.work.ask_journal(self.is_told_of(), request, Waits::Found(then)),
            None => {
                let found = self.reads("found").unwrap_or(Err(Panicked));
                self.follows.push(Follow::Found { then, found });
            }
        }
        later
    }

    /// Continues with `then` once a resolver or a handler has answered; the future is polled within the turn.
    /// Returns the number of the request; `None`: it has been answered.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        found: fn(T) -> Found,
        then: OnFound,
    ) -> Option<Key> {
        self.ask_for(future, found, then, |request, future| Box::pin(found_by(request, future, found)))
    }

    /// As [`Common::run`], but the future is dropped once the returned sender is. A decision that it makes at
    /// that moment is ignored: it results from the loss of its call. `None`: it has been answered.
    pub(super) fn run_until(
        &mut self,
        future: Pin<Box<dyn Future<Output = HandlerAction> + Send>>,
        then: OnFound,
    ) -> Option<oneshot::Sender<()>> {
        let (ends, ended) = oneshot::channel();
        let asked = self.ask_for(future, Found::Action, then, |request, future| {
            Box::pin(async move {
                tokio::select! {
                    biased;
                    _ = ended => Done(Came::Dropped(request)),
                    done = found_by(request, future, Found::Action) => done,
                }
            })
        });
        asked.filter(|_| !self.is_replay()).map(|_| ends)
    }

    fn ask_for<T: Send + 'static>(
        &mut self,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        found: fn(T) -> Found,
        then: OnFound,
        task: impl FnOnce(Key, Guarded<'static, T>) -> Task,
    ) -> Option<Key> {
        let is_fact = then.is_fact();
        if self.is_replay() {
            return is_fact.then(|| self.found_told(then)).flatten();
        }
        match polled(future) {
            Ok(result) => {
                let found = result.map(found);
                if is_fact {
                    self.writes("found", &found);
                }
                self.follows.push(Follow::Found { then, found });
                None
            }
            Err(future) => {
                let call = self.is_about().filter(|_| is_fact);
                let request = self.work.ask(call, Waits::Found(then), |request| task(request, future));
                if is_fact {
                    self.writes("later", &request);
                }
                Some(request)
            }
        }
    }

    /// The request was answered before there was a future.
    pub(super) fn answered_at_once(&mut self, then: OnFound, found: Result<Found, Panicked>) {
        self.writes("found", &found);
        self.follows.push(Follow::Found { then, found });
    }

    /// Looks up a target. Returns the number of the request; `None`: it has been answered.
    pub(super) fn look_up(&mut self, lookup: LookupRequest, then: OnFound) -> Option<Key> {
        let resolver = self.parts.resolver.clone();
        let future = Box::pin(async move {
            let found = resolver.lookup(&lookup).await?;
            found.ok_or_else(|| LookupError::NoResolver { target: lookup.target, known: resolver.known() })
        });
        self.run(future, Found::Contacts, then)
    }
}

async fn found_by<T>(request: Key, future: Guarded<'static, T>, found: fn(T) -> Found) -> Done {
    Done(Came::Found(request, Box::new(future.await.map(found))))
}
