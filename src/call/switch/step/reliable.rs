//! Reliable provisional responses (PRACK), late offers, and callers that we answer ourselves.

use bytes::Bytes;

use crate::LegId;
use crate::controller::MediaError;
use crate::initial_session::{Acceptance, CallerSession, LateOffer};
use crate::leg_fsm::LegEvent;
use crate::leg_life::{Incoming, OnAck};
use crate::lookup::Withheld;
use crate::service::CallError;
use crate::service::command::Reply;
use crate::switch::admission::SessionRules;
use crate::switch::state::call::Purpose;
use crate::switch::state::effect::DialogCommand;
use crate::switch::state::exchange::{Origin, PendingOffer};
use crate::switch::state::follow::Follow;
use crate::switch::state::waits::{OnAccepted, OnApplied, OnDescription, OnEndpoint, Won};
use crate::switch::step::CallStep;
use crate::switch::turn::Moment;
use b2b_sip::endpoint::{Body, Invite, Reply as SipReply, ServerTransactionId};
use b2b_sip::msg::{Headers, Name, Request, Response};

/// Option tag of reliable provisional responses (RFC 3262).
const RELIABLE: &str = "100rel";

/// Option tag of session timers (RFC 4028).
const TIMER: &str = "timer";

/// Whether a caller supports reliable provisional responses.
pub(crate) fn takes_reliable(invite: &Headers) -> bool {
    invite.has_token(Name::Supported, RELIABLE) || invite.has_token(Name::Require, RELIABLE)
}

/// Whether a provisional response requires PRACK.
pub(crate) fn is_reliable(response: &Headers) -> bool {
    response.has_token(Name::Require, RELIABLE)
}

/// The option tags that Supported in the INVITE to a callee does not have: those that its gateway's configuration
/// withholds, and 100rel if an offer in a reliable response could not be passed on to the caller.
pub(crate) fn withhold(
    caller: Option<&Request>,
    withheld: Withheld,
    session: SessionRules,
    invite: &mut Invite,
) -> Vec<&'static str> {
    let late = invite.body.is_none() && !caller.is_some_and(|invite| takes_reliable(invite));
    (invite.no_session_timer, invite.refresher) = (!session.asks, session.refresher);
    let tags = [(withheld.reliable || late, RELIABLE), (!session.asks, TIMER)];
    tags.into_iter().filter_map(|(is, tag)| is.then_some(tag)).collect()
}

/// A provisional response of a callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Provisional {
    pub status: u16,
    /// It requires PRACK.
    pub reliable: bool,
}

impl CallStep<'_> {
    /// Sends a provisional response to a caller, reliable if the callee's was.
    pub(crate) fn ring(&mut self, t: Moment, leg: LegId, said: Provisional, mut session: Option<Bytes>) {
        let Provisional { status, mut reliable } = said;
        let Some(it) = self.call.leg_mut(leg) else { return self.late() };
        // A caller who has been answered gets no provisional response any more.
        let (Some(usage), Some(incoming)) = (it.usage, it.life.as_incoming_mut()) else {
            return self.ignored();
        };
        let Incoming { invite, session: said, .. } = incoming;
        let required = invite.has_token(Name::Require, RELIABLE);
        let told = said.told().is_some();
        if invite.session().is_none() && session.is_none() && !told {
            // The first reliable response would have to carry an offer (§5): without one, nothing can be sent
            // to a caller who requires reliability.
            if required {
                return self.ignored();
            }
            reliable = false;
        }
        let event = if session.is_some() { LegEvent::EarlyMedia } else { LegEvent::Ring };
        if told {
            // A second description would be a new offer.
            session = None;
        } else if let Some(session) = &session
            && (required || reliable && takes_reliable(invite))
        {
            said.tell(session);
        }
        let (headers, parts) = (it.passing.given.clone(), it.passing.parts.clone());
        if !self.advance_leg(t, leg, event, None) {
            return;
        }
        let reply =
            SipReply { headers, body: Body::mixed(session, parts), reliable, ..SipReply::status(status) };
        self.command(leg, usage, DialogCommand::Ring(reply));
    }

    /// A branch that was left to make the offer does so in a reliable provisional response.
    pub(crate) fn early_offer(&mut self, t: Moment, leg: LegId, response: Response) {
        let it = self.call.leg_mut(leg).filter(|it| !it.life.is_ending());
        let Some(it) = it else { return self.ignored() };
        let (status, offer) = (response.status(), response.session().unwrap_or_default());
        it.callee.reliable = true;
        it.callee.offer = LateOffer::Early(Box::new(response));
        let dialling = self.call.dialling.as_ref();
        let caller = match dialling.map(|it| &it.purpose) {
            Some(Purpose::Caller { caller, .. }) => *caller,
            _ => return self.answer_early(t, leg),
        };
        let takes = self.call.leg(caller).and_then(|it| it.life.as_incoming());
        let takes = takes.is_some_and(|it| it.session.told().is_none() && takes_reliable(&it.invite));
        if !takes {
            // Another branch's offer went to the caller.
            self.answer_early(t, leg);
            let rings = self.advance_leg(t, leg, LegEvent::Ring, None);
            let branch = self.call.leg(leg).and_then(|it| it.branch);
            if let Some(branch) = branch.filter(|_| rings) {
                self.with_dial(|dial| dial.provisional(branch, status, false));
            }
            return;
        }
        if !self.advance_leg(t, leg, LegEvent::EarlyMedia, None) {
            return;
        }
        let then = OnDescription::EarlyOffer { caller, branch: leg, status };
        self.offer_across(t, leg, caller, offer, then);
    }

    /// Passes a branch's early offer to the caller.
    pub(crate) fn early_offer_across(
        &mut self,
        t: Moment,
        caller: LegId,
        branch: LegId,
        status: u16,
        offer: Result<Bytes, MediaError>,
    ) {
        match offer {
            Ok(offer) => {
                if let Some(it) = self.call.leg_mut(caller).and_then(|it| it.life.as_incoming_mut()) {
                    it.session = CallerSession::Offering(branch);
                }
                self.ring(t, caller, Provisional { status, reliable: true }, Some(offer));
            }
            Err(error) => {
                tracing::info!("leg {}: {error}", branch.0);
                self.answer_early(t, branch);
            }
        }
    }

    /// Describes the callee's offer for a caller; both legs get an endpoint.
    fn offer_across(&mut self, t: Moment, from: LegId, caller: LegId, offer: Bytes, then: OnDescription) {
        self.with_endpoint(t, from, None, OnEndpoint::OfferFrom { from, to: caller, offer, then });
    }

    /// Makes our own answer to an offer in a reliable provisional response, or in a 2xx, that is not passed
    /// to a caller.
    fn answer_early(&mut self, t: Moment, leg: LegId) {
        let offer = self.call.leg(leg).and_then(|it| it.callee.early_offer());
        let Some(offer) = offer else { return self.late() };
        self.answer_alone(t, leg, offer, OnDescription::AnswerEarly { branch: leg });
    }

    /// Our own answer to a callee's offer.
    fn answer_alone(&mut self, t: Moment, leg: LegId, offer: Bytes, then: OnDescription) {
        self.with_endpoint(t, leg, None, OnEndpoint::LocalAnswer { leg, offer, then });
    }

    /// Makes our own answer to the offer in a 2xx, which the ACK has to carry (RFC 3261 §13.2.1): the party
    /// that asked for the offer is gone.
    pub(crate) fn answer_for_nobody(&mut self, t: Moment, leg: LegId, offer: Bytes) {
        let then = OnDescription::Ack { caller: LegId(0), callee: leg };
        self.answer_alone(t, leg, offer, then);
    }

    /// Makes our own answer to this leg's offer: the leg whose ACK was to carry it has gone. The remaining
    /// party is up, and retransmits its 2xx until it gets an ACK.
    pub(crate) fn answer_instead(&mut self, t: Moment, leg: LegId) {
        let it = self.call.leg_mut(leg).filter(|it| it.is_up());
        match it.and_then(|it| it.callee.said.take()) {
            Some(offer) => self.answer_for_nobody(t, leg, offer),
            None => self.ignored(),
        }
    }

    pub(crate) fn prack(&mut self, leg: LegId, answer: Option<Bytes>) {
        let Some(it) = self.call.leg_mut(leg) else { return self.late() };
        let Some(response) = it.callee.answer_early(answer.is_some()) else { return self.late() };
        let Some(usage) = it.usage else { return self.impossible("prack") };
        let answer = answer.map(Body::sdp);
        self.command(leg, usage, DialogCommand::Prack { response, answer });
    }

    /// A PRACK to a reliable provisional response of ours.
    pub(crate) fn provisional_acknowledged(
        &mut self,
        t: Moment,
        leg: LegId,
        prack: &Request,
        offer: Option<ServerTransactionId>,
    ) {
        if let Some(transaction) = offer {
            // A new offer: the callee need not be asked before it has answered.
            return self.answer_here(leg, Origin::Update(transaction), prack.session());
        }
        let it = self.call.leg_mut(leg).and_then(|it| it.life.as_incoming_mut());
        // PRACKs are only awaited where they carry the answer to an offer.
        let Some(branch) = it.and_then(|it| it.session.settle()) else { return self.ignored() };
        let answer = prack.session().unwrap_or_default();
        let there =
            self.call.leg(branch).is_some_and(|it| !it.life.is_ending() && it.callee.early_offer().is_some());
        match there {
            true if !answer.is_empty() => {
                self.answer_across(leg, branch, answer, OnDescription::Prack { caller: leg, branch });
            }
            true => self.answer_early(t, branch),
            // The branch has failed meanwhile.
            false => self.apply(t, leg, answer, OnApplied::Nothing),
        }
    }

    /// Passes the caller's answer to a branch's early offer on to the branch.
    pub(crate) fn prack_across(
        &mut self,
        t: Moment,
        caller: LegId,
        branch: LegId,
        answer: Result<Bytes, MediaError>,
    ) {
        match answer {
            Ok(answer) => {
                self.prack(branch, Some(answer));
                self.join_media(caller, branch);
            }
            Err(error) => {
                tracing::info!("leg {}: {error}", caller.0);
                self.answer_early(t, branch);
            }
        }
    }

    /// The callee has answered a caller who made no offer. The callee's offer goes into our 2xx and the
    /// answer comes with the caller's ACK, unless both were exchanged before.
    pub(crate) fn offer_late(&mut self, t: Moment, won: Won, offer: Option<Bytes>) {
        let (caller, leg) = (won.caller, won.callee);
        let (Some(here), Some(it)) = (self.call.leg(caller), self.call.leg(leg)) else {
            return self.both_described(t, won, Err(MediaError::Stopped));
        };
        let Some(incoming) = here.life.as_incoming() else {
            return self.both_described(t, won, Err(MediaError::Stopped));
        };
        match Acceptance::of(&incoming.session, &it.callee, here.media.joined == Some(leg), offer) {
            Acceptance::Plain => self.accept_for(t, won, Ok(None), OnAck::Nothing),
            // The caller is offered this branch's session later.
            Acceptance::Otherwise => self.accept_for(t, won, Ok(None), OnAck::Refresh(leg)),
            Acceptance::OtherwiseAndAck(offer) => {
                self.answer_alone(t, leg, offer, OnDescription::AckAndAccept { won });
            }
            Acceptance::OwnOffer => self.offer_own(t, won),
            Acceptance::Offer(offer) => {
                if let Some(it) = self.call.leg_mut(leg) {
                    it.callee.said = Some(offer.clone());
                }
                let on_ack = OnAck::AnswerTo(leg);
                self.offer_across(t, leg, caller, offer, OnDescription::AcceptWithOffer { won, on_ack });
            }
            Acceptance::Nothing => self.both_described(t, won, Err(MediaError::NoOffer)),
        }
    }

    /// Sends the caller's 2xx with this session; `None`: the caller has it already. `on_ack`: what to do on
    /// its ACK.
    pub(crate) fn accept_for(
        &mut self,
        t: Moment,
        won: Won,
        session: Result<Option<Bytes>, MediaError>,
        on_ack: OnAck,
    ) {
        match session {
            Ok(session) => self.accept(t, won.caller, session, OnAccepted::Won { won, on_ack }),
            Err(error) => self.both_described(t, won, Err(error)),
        }
    }

    /// We have answered the callee: the caller is offered the callee's media.
    fn offer_own(&mut self, t: Moment, won: Won) {
        let like = self.call.leg(won.callee).and_then(|it| it.media.endpoint);
        let (leg, on_ack) = (won.caller, OnAck::Answer);
        let then = OnDescription::AcceptWithOffer { won, on_ack };
        self.with_endpoint(t, leg, like, OnEndpoint::LocalOffer { leg, like, then });
    }

    /// Sends the callee's answer in the caller's 2xx.
    pub(crate) fn accept_with_answer(&mut self, t: Moment, won: Won, answer: Result<Bytes, MediaError>) {
        let told = self.call.leg(won.caller).and_then(|it| it.life.told());
        // A reliable response has carried another session before.
        let otherwise = told.is_some_and(|told| answer.as_ref().is_ok_and(|answer| told != answer));
        let on_ack = if otherwise { OnAck::Refresh(won.callee) } else { OnAck::Nothing };
        self.accept_for(t, won, answer.map(Some), on_ack);
    }

    pub(crate) fn ack(&mut self, leg: LegId, answer: Bytes) {
        let usage = self.call.leg_mut(leg).and_then(|it| {
            it.callee.said = None;
            it.usage
        });
        if let Some(usage) = usage {
            self.command(leg, usage, DialogCommand::Ack { answer: Body::sdp(answer) });
        }
    }

    /// The ACK to our 2xx.
    pub(crate) fn acknowledged(&mut self, t: Moment, leg: LegId, ack: &Request) {
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("acknowledged") };
        let (what, answer, call, is_up) = (it.life.take_on_ack(), ack.session(), it.call, it.is_up());
        let other = match what {
            OnAck::Nothing => return self.offer_pending(),
            OnAck::Refresh(like) => {
                if self.are_joined(leg, like) {
                    self.postpone_offer(PendingOffer { like: Some(like), to: leg, back: false });
                }
                return self.offer_pending();
            }
            OnAck::Renewal => {
                let Some(answer) = answer else {
                    tracing::info!("leg {}: its ACK has no answer to the offer: its session stays", leg.0);
                    self.withdraw_offer(leg);
                    return self.offer_pending();
                };
                self.note_direction(leg, &answer);
                return self.apply(t, leg, answer, OnApplied::Renewed { call, leg });
            }
            OnAck::AnswerTo(other) => Some(other),
            OnAck::Answer => self.call.bridged(leg).map(|(other, _)| other),
        };
        let Some(answer) = answer else {
            tracing::info!("leg {}: its ACK has no answer to the offer", leg.0);
            return self.break_up(leg, other, "ACK without an answer to our offer");
        };
        match (what, other) {
            // Another leg has replaced `other`, which has gone, or is in another call and waits for its ACK.
            (OnAck::AnswerTo(other), _) if self.endpoints(leg, other).is_none() && is_up => {
                self.follow(Follow::AnswerInstead { leg: other });
                self.apply(t, leg, answer, OnApplied::AcknowledgedApart { call, leg });
            }
            (OnAck::AnswerTo(callee), _) => {
                self.answer_across(leg, callee, answer, OnDescription::Ack { caller: leg, callee });
            }
            _ => self.apply(t, leg, answer, OnApplied::Acknowledged { leg, other }),
        }
    }

    /// Passes the caller's answer to the callee's late offer on, in the ACK.
    pub(crate) fn ack_across(&mut self, caller: LegId, callee: LegId, answer: Result<Bytes, MediaError>) {
        match answer {
            Ok(answer) => {
                self.ack(callee, answer);
                // Either may have been joined with another leg meanwhile, which is offered to it next.
                if self.are_joined(caller, callee) {
                    self.join_media(caller, callee);
                } else {
                    self.late();
                }
                for leg in [caller, callee] {
                    match self.call.leg(leg) {
                        Some(_) => self.offer_pending(),
                        None => self.follow(Follow::PendingOffersTo { leg }),
                    }
                }
            }
            Err(error) => self.ack_of_no_use(caller, Some(callee), &error),
        }
    }

    /// The answer in an ACK cannot be used.
    pub(crate) fn ack_of_no_use(&mut self, leg: LegId, other: Option<LegId>, error: &MediaError) {
        tracing::info!("leg {}: {error}", leg.0);
        self.break_up(leg, other, "an answer that is of no use");
    }

    /// Answers a caller with media of our own.
    pub(crate) fn answer_here_and_now(&mut self, t: Moment, leg: LegId, reply: Reply<Result<(), CallError>>) {
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending()) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        // The previous owner of the caller has answered.
        if it.is_up() {
            return drop(reply.send(Ok(())));
        }
        if !it.is_waiting() {
            return drop(reply.send(Err(CallError::WrongState("the leg does not wait for an answer"))));
        }
        let offer = it.life.open_offer();
        // Our offer goes into the 2xx, and the answer comes with the ACK (RFC 3261 §13.2.1). Until then
        // nothing can be played.
        let then = OnDescription::Answer { leg, offers: offer.is_none(), reply };
        let then = match offer {
            Some(offer) => OnEndpoint::LocalAnswer { leg, offer, then },
            None => OnEndpoint::LocalOffer { leg, like: None, then },
        };
        self.with_endpoint(t, leg, None, then);
    }

    /// The description for our 2xx is ready, or has failed. `offers`: its ACK brings the answer.
    pub(crate) fn answered_by_us(
        &mut self,
        t: Moment,
        leg: LegId,
        offers: bool,
        description: Result<Bytes, MediaError>,
        reply: Reply<Result<(), CallError>>,
    ) {
        if let (Err(MediaError::Description(error)), Some(it)) = (&description, self.call.leg_mut(leg)) {
            it.why.offer = Some(error.status());
        }
        match description {
            Ok(session) => self.accept(t, leg, Some(session), OnAccepted::Ours { offers, reply }),
            // A closed receiver is no error.
            Err(error) => drop(reply.send(Err(CallError::Media(error.to_string())))),
        }
    }

    /// The 2xx to a caller is sent, or could not be.
    pub(crate) fn accepted(&mut self, t: Moment, leg: LegId, then: OnAccepted, sent: Result<(), MediaError>) {
        let accepted = sent.and_then(|()| self.is_accepted(t, leg));
        match then {
            OnAccepted::Won { won, on_ack } => {
                if let (Ok(()), Some(it)) = (&accepted, self.call.leg_mut(leg)) {
                    it.life.expect_on_ack(on_ack);
                }
                self.both_described(t, won, accepted);
            }
            OnAccepted::Ours { offers, reply } => {
                if let (true, Ok(()), Some(it)) = (offers, &accepted, self.call.leg_mut(leg)) {
                    it.life.expect_on_ack(OnAck::Answer);
                    it.answering = Some(reply);
                    return;
                }
                // A closed receiver is no error.
                let _ = reply.send(accepted.map_err(|error| CallError::Media(error.to_string())));
            }
            OnAccepted::Replaced { replaced } => self.has_replaced(t, leg, replaced, accepted.is_ok()),
        }
    }

    /// Reports the outcome to the command that answered the leg.
    pub(crate) fn tell_answering(&mut self, leg: LegId, result: Result<(), CallError>) {
        if let Some(answering) = self.call.leg_mut(leg).and_then(|it| it.answering.take()) {
            // A closed receiver is no error.
            let _ = answering.send(result);
        }
    }
}
