//! What the calls wait for, as values: what media, a resolver, a handler has been asked, and what is done with the answer.
//!
//! A request that is not answered within the turn gets a number, and what is to be done stands in a table under it
//! until the answer comes as an input. One that is answered at once goes the same way without the table. Who has gone
//! meanwhile is found gone by what is done then; nothing is held but the value.

use std::pin::Pin;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::command::Reply;
use super::dial::{BranchNo, DialFailure};
use super::exchange::{ExchangeNo, Origin};
use super::follow::Follow;
use super::handing::Handing;
use super::recording::{Asks, Subject};
use super::redirect::Named;
use super::referral::AskedBy;
use super::slots::Key;
use super::table::Purpose;
use super::tasks::{Came, Guarded, Panicked, polled};
use super::transfer::Referrer;
use super::{Done, Switch, Task, Turn};
use crate::bridge_fsm::BridgeMode;
use crate::controller::json::octets;
use crate::controller::{EndpointId, EndpointStats, Joined, MediaError, MediaFuture, Recorded, RecordingId};
use crate::handler::{HandlerAction, Party, Referral};
use crate::leg_life::OnAck;
use crate::lookup::{LookupError, LookupRequest, LookupResult};
use crate::service::{CallError, DialError};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::{Reply as Response, ServerTransactionId};

/// What is done once something is answered.
pub(super) enum Waits {
    /// By media.
    Media(OnMedia),
    /// By a resolver or a handler.
    Found(OnFound),
}

/// Who is to answer what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answerer {
    Media,
    /// A handler, what becomes of a call; where a referral leads, or a redirection.
    Handler,
    Target,
    Redirection,
    /// A resolver, for a call.
    Contacts,
    /// Nobody who would change a call.
    Nothing,
}

impl Waits {
    /// Who is to answer it.
    pub fn answerer(&self) -> Answerer {
        match self {
            Waits::Media(_) => Answerer::Media,
            Waits::Found(OnFound::Decide(_)) => Answerer::Handler,
            Waits::Found(OnFound::Referral { .. }) => Answerer::Target,
            Waits::Found(OnFound::Redirect { .. }) => Answerer::Redirection,
            Waits::Found(OnFound::Dial { .. }) => Answerer::Contacts,
            Waits::Found(OnFound::Listened { .. } | OnFound::LookUp { .. } | OnFound::Outside { .. }) => {
                Answerer::Nothing
            }
        }
    }
}

/// What media has answered.
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
}

/// What is done once media has answered.
pub(super) enum OnMedia {
    /// Nothing: it is told, and that is all.
    Nothing,
    /// A leg has its endpoint.
    Endpoint { leg: LegId, no_reinvites: bool, then: OnEndpoint },
    /// There is a description for a party.
    Described(OnDescription),
    /// A party's answer to an offer of ours is taken.
    Applied(OnApplied),
    /// Two legs hear each other.
    Joined { a: LegId, b: LegId },
    /// A leg was counted as its bridge ended.
    Counted { call: CallId, bridge: BridgeId, leg: LegId },
    /// A recording of this call, or of a leg in it, has begun.
    Recording { call: CallId, subject: Subject, reply: Asks },
    /// A recording is complete.
    Recorded { call: CallId, id: RecordingId, reply: Asks },
}

/// What is done once a leg has an endpoint, or could get none.
pub(super) enum OnEndpoint {
    /// Its offer is answered by us.
    LocalAnswer { leg: LegId, offer: Bytes, then: OnDescription },
    /// It is offered what we can do, or what this endpoint can.
    LocalOffer { leg: LegId, like: Option<EndpointId>, then: OnDescription },
    /// Its offer goes to another leg.
    OfferFrom { from: LegId, to: LegId, offer: Bytes, then: OnDescription },
    /// It gets the offer of another leg, which has its endpoint.
    OfferTo { near: EndpointId, from: LegId, to: LegId, offer: Bytes, then: OnDescription },
    /// It takes the place of another one.
    Replace { call: CallId, leg: LegId, stays: LegId, replaced: LegId, offer: Bytes },
}

/// What is done once there is a description for a party.
pub(super) enum OnDescription {
    /// It is for our 2xx to a caller of ours: the answer, or an offer to a caller without one.
    Answer { leg: LegId, offers: bool, reply: Reply<Result<(), CallError>> },
    /// It is the offer of a branch's INVITE.
    Invite { branch: LegId },
    /// It is a branch's early session, for the caller.
    Progress { caller: LegId, branch: LegId, status: u16, reliable: bool },
    /// It is a branch's offer in a reliable provisional response, for the caller.
    EarlyOffer { caller: LegId, branch: LegId, status: u16 },
    /// It is our answer to that.
    AnswerEarly { branch: LegId },
    /// It is the caller's answer to that, by PRACK.
    Prack { caller: LegId, branch: LegId },
    /// It is the callee's answer, for the 2xx to the caller.
    Accept { won: Won },
    /// It is an offer for the 2xx to the caller, the callee's late one or ours. `on_ack`: what is done with its answer.
    AcceptWithOffer { won: Won, on_ack: OnAck },
    /// It is our answer to the callee's late offer, for its ACK.
    AckAndAccept { won: Won },
    /// It is the caller's answer to the callee's late offer, for its ACK.
    Ack { caller: LegId, callee: LegId },
    /// It is our answer to a later offer that goes no further.
    AnswerHere { leg: LegId, origin: Origin, repeats: bool },
    /// It is a later offer, of ours or of another party.
    Offer { call: CallId, exchange: ExchangeNo },
    /// It is what came of that, for who has asked; `offers`: it is made of this late offer of the other one.
    AnswerAcross { call: CallId, exchange: ExchangeNo, to: LegId, offers: Option<Bytes> },
}

/// What is done once a party's answer to an offer of ours is taken, or is of no use.
pub(super) enum OnApplied {
    /// Nothing.
    Nothing,
    /// It is a branch's early session, and its caller is up.
    EarlySession { caller: LegId, branch: LegId },
    /// It is the callee's, whose caller is up.
    Won(Won),
    /// It is that of whom we have called for ourselves.
    Originated { leg: LegId, reply: Reply<Result<LegId, DialError>> },
    /// It is that of whom a party is sent to.
    Transferred { call: CallId, legs: (LegId, LegId), referrer: Referrer, arrived: LegId, direct: bool },
    /// It came by the ACK of a party that is joined with this other one, or is with us.
    Acknowledged { leg: LegId, other: Option<LegId> },
    /// It came by the ACK of a party whose partner of then has left.
    AcknowledgedApart { call: CallId, leg: LegId },
    /// It agrees to a later offer of ours, or of whom nobody waits for any more.
    Agreed { call: CallId, exchange: ExchangeNo },
}

/// A branch that has answered first, and who it is for: what is left to be done once both have their descriptions.
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
    /// Why it was dialled.
    pub fn purpose(self) -> Purpose {
        Purpose::Caller { caller: self.caller, reply: self.reply }
    }
}

/// What a resolver or a handler has answered.
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

/// What is done once a resolver or a handler has answered.
pub(super) enum OnFound {
    /// What is dialled in a call.
    Dial { call: CallId },
    /// A handler decides on a call.
    Decide(Box<Handing>),
    /// A handler says where a REFER leads, or what a number is.
    Referral { referral: Box<Referral>, asked_by: AskedBy, next: usize },
    /// Handlers say where a redirection leads.
    Redirect {
        call: CallId,
        leg: LegId,
        branch: BranchNo,
        failure: Box<DialFailure>,
        by: Box<Party>,
        reason: &'static str,
    },
    /// The listener of a call has ended.
    Listened { call: CallId },
    /// Somebody asks what a target is.
    LookUp { reply: Reply<Result<LookupResult, LookupError>> },
    /// A request outside any call is answered.
    Outside { transaction: ServerTransactionId },
}

impl OnFound {
    /// Whether a call depends on it.
    fn is_fact(&self) -> bool {
        !matches!(self, OnFound::LookUp { .. } | OnFound::Outside { .. })
    }
}

/// What an answer of media is as one of its kinds.
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
    Joined, it => MediaAnswer::Joined(it);
    EndpointStats, it => MediaAnswer::Stats(Box::new(it));
    RecordingId, it => MediaAnswer::Recording(it);
    Recorded, it => MediaAnswer::Recorded(it);
}

impl Switch {
    /// Does this once media has answered.
    pub(super) fn media<T>(&mut self, t: &mut Turn<'_>, future: MediaFuture<T>, then: OnMedia)
    where
        T: Into<MediaAnswer> + Send + Unpin + 'static,
    {
        // Counters change nothing in a call.
        let is_fact = !matches!(then, OnMedia::Counted { .. });
        if self.is_replay() {
            return if is_fact {
                self.media_told(t, then)
            };
        }
        match future.now() {
            Ok(result) => {
                let result = result.map(Into::into);
                if is_fact {
                    self.writes("media", &result);
                }
                self.media_answered(t, then, result);
            }
            Err(future) => {
                let call = self.is_about().filter(|_| is_fact);
                let request = self.work.ask(call, Waits::Media(then), |request| {
                    Box::pin(
                        async move { Done(Came::Media(request, Box::new(future.await.map(Into::into)))) },
                    )
                });
                if is_fact {
                    self.writes("later", &request);
                }
            }
        }
    }

    /// Media's answer is in the journal, here or later.
    fn media_told(&mut self, t: &mut Turn<'_>, then: OnMedia) {
        match self.reads_next("later") {
            Some(request) => self.work.ask_journal(self.is_told_of(), request, Waits::Media(then)),
            None => {
                let result = self.reads("media").unwrap_or(Err(MediaError::Stopped));
                self.media_answered(t, then, result);
            }
        }
    }

    /// The same of a resolver or a handler.
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

    /// Does this once there is a description for a party; there may be an error already.
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
                self.follows.push(Follow::Media { then, result: Err(error) });
            }
        }
    }

    /// Does this once a resolver or a handler has answered, which is looked at within the turn. The number of the
    /// request; none: it is answered.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        found: fn(T) -> Found,
        then: OnFound,
    ) -> Option<Key> {
        self.ask_for(future, found, then, |request, future| Box::pin(found_by(request, future, found)))
    }

    /// The same, and what asks is dropped some time after `ends` is: what it decides in that moment counts for
    /// nothing, since it decides so because what it was at has been taken from it. `None`: it has answered.
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

    /// Who is asked has answered before there was a future.
    pub(super) fn answered_at_once(&mut self, then: OnFound, found: Result<Found, Panicked>) {
        self.writes("found", &found);
        self.follows.push(Follow::Found { then, found });
    }

    /// Asks whom a target means. The number of the request; none: it is answered.
    pub(super) fn look_up(&mut self, lookup: LookupRequest, then: OnFound) -> Option<Key> {
        let resolver = self.parts.resolver.clone();
        let future = Box::pin(async move {
            let found = resolver.lookup(&lookup).await?;
            let known = "it is not of a kind that is known here".to_owned();
            found.ok_or(LookupError::NoResolver { target: lookup.target, known })
        });
        self.run(future, Found::Contacts, then)
    }

    /// Takes the result of a task.
    pub fn done(&mut self, t: &mut Turn<'_>, done: Done) {
        match done.0 {
            Came::Media(request, result) => match self.work.answered(request) {
                Some((call, Waits::Media(then))) => {
                    self.journal_answer(t, call, request, &*result);
                    self.media_answered(t, then, *result);
                }
                _ => self.counters.late += 1,
            },
            Came::Found(request, result) => match self.work.answered(request) {
                Some((call, Waits::Found(then))) => {
                    self.journal_answer(t, call, request, &*result);
                    self.follows.push(Follow::Found { then, found: *result });
                }
                _ => self.counters.late += 1,
            },
            Came::Dropped(request) => {
                if let Some((call, _)) = self.work.answered(request) {
                    self.journal_drop(t, call, request);
                }
                self.counters.late += 1;
            }
            Came::Application(app, want, answer) => self.application_answered(t, app, want, *answer),
            Came::Beside(Ok(())) => {}
            Came::Beside(Err(Panicked)) => {
                self.counters.panics += 1;
                tracing::error!("a background task of an application panicked and has ended");
            }
        }
        self.carry_out(t);
    }
}

async fn found_by<T>(request: Key, future: Guarded<'static, T>, found: fn(T) -> Found) -> Done {
    Done(Came::Found(request, Box::new(future.await.map(found))))
}
