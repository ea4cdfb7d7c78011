//! An incoming initial INVITE, and our responses to any INVITE: provisional responses, 2xx
//! until its ACK, CANCEL (RFC 3261 §13.3, §9.2).

use std::time::Instant;

use crate::dialog::callee_fsm::{self, Action, Cause};
use crate::dialog::offer_answer::OfferAnswer;
use crate::dialog::reply::Reply;
use crate::dialog::request::Draft;
use crate::dialog::state::{Dialog, NoDialog};
use crate::dialog::usage::{Phase, TheirInvite, Usage};
use crate::endpoint::in_dialog::session::Addressee;
use crate::endpoint::sending::send::User;
use crate::endpoint::{
    Endpoint, Event, Flow, ServerTransactionId, SessionRefresher, Termination, UsageEvent, UsageId,
};
use crate::msg::{Method, Name, Request, phrase, seconds};
use crate::outbox::ReplyPath;
use b2b_base::ids::Beginning;

impl Endpoint {
    /// The INVITE no longer expires (`Expires`): an emergency call rings until it is decided.
    pub fn keep_invitation(&mut self, now: Instant, usage: UsageId) {
        if let Some(theirs) = self.usages.get_mut(usage).and_then(|it| it.theirs.as_deref_mut()) {
            theirs.expires_at = None;
            self.usages.arm(now, usage);
        }
    }

    /// Handles an initial INVITE (without a To tag) that has passed every check.
    pub(in crate::endpoint) fn incoming(
        &mut self,
        now: Instant,
        path: ReplyPath,
        flow: Flow,
        request: Request,
    ) {
        if self.usages.len() >= self.config.limits.usages {
            return self.overloaded(now, &path, &request);
        }
        let replaces = match self.replaced_by(&request) {
            Ok(replaces) => replaces,
            Err(status) => return self.refuse(now, &path, &request, status),
        };
        if let Some(min_se) = self.session_too_small(None, &request) {
            let headers = [(Name::MinSe, min_se.as_bytes())];
            return self.refuse_with(now, &path, &request, 422, phrase(422), &headers);
        }
        let mut chance = self.usages.chance(&mut self.mint);
        let Beginning { tag, random, .. } = chance.begin();
        let cseq = (random & 0xffff) as u32;
        let mut dialog = match Dialog::from_request(&request, tag, cseq) {
            Ok(dialog) => dialog,
            Err(error @ (NoDialog::Contact | NoDialog::RecordRoute | NoDialog::Identity)) => {
                let reason = format!("Bad Request: {error}");
                return self.refuse_with(now, &path, &request, 400, &reason, &[]);
            }
        };
        (dialog.flow, dialog.connection) = (Some(flow), flow.connection());
        dialog.offer_answer = OfferAnswer::after_request(request.session().is_some(), false);
        let cseq = dialog.remote_cseq.unwrap_or_default();
        let expires = request.seconds(Name::Expires);
        let copy = request.clone();
        let Some(transaction) = self.servers.start(now, &mut self.out, copy, path, None) else { return };
        let usage = self.usages.insert(Usage {
            generation: 0,
            phase: Phase::Callee(callee_fsm::State::Incoming),
            local_tag: tag,
            chance,
            owns_call_id: false,
            merge_key: 0,
            authorizes: false,
            authorizes_inside: false,
            dialogs: vec![dialog],
            ours: Vec::new(),
            theirs: Some(Box::new(TheirInvite {
                initial: true,
                expires_at: expires.map(|expires| now + seconds::within(&seconds::INVITATION, expires)),
                ..TheirInvite::new(transaction, cseq, now + self.config.answer_timeout)
            })),
            prack_due: None,
            parting: None,
            refresher: SessionRefresher::Either,
            timer: None,
            refers: Vec::new(),
            requests: Default::default(),
            queued: Default::default(),
        });
        self.servers.assign(transaction, Some(usage));
        self.usages.arm(now, usage);
        self.out.event(Event::Incoming { usage, request, flow, replaces });
    }

    /// Sends a final error response to the INVITE that our user has not answered yet.
    pub(in crate::endpoint) fn refuse_pending(&mut self, now: Instant, usage: UsageId, status: u16) {
        let Ok((transaction, _)) = self.undecided(usage) else { return };
        if let Ok(response) = self.dialog_response(transaction, usage, &Reply::status(status)) {
            self.servers.respond(now, &mut self.out, transaction, status, response);
        }
        self.forget_their_offer(usage);
    }

    pub(in crate::endpoint) fn forget_their_offer(&mut self, usage: UsageId) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        if it.theirs.as_deref().is_some_and(|theirs| theirs.success.is_none()) {
            it.theirs = None;
        }
        if let Some(dialog) = it.dialogs.first_mut() {
            dialog.offer_answer = OfferAnswer::Idle;
        }
    }

    /// Handles a CANCEL (§9.2): 200 if it matches an INVITE, even if it is too late to have
    /// an effect.
    pub(in crate::endpoint) fn cancel_received(
        &mut self,
        now: Instant,
        path: ReplyPath,
        request: Request,
        target: Option<(ServerTransactionId, Option<UsageId>)>,
    ) {
        let Some((invite, usage)) = target else { return self.refuse(now, &path, &request, 481) };
        let tag = usage.and_then(|usage| self.usages.get(usage)).map(|usage| usage.local_tag);
        match tag {
            Some(tag) => {
                self.answer_now(now, path, request.clone(), Addressee { tag, usage }, 200, &[]);
            }
            // The call is over and its INVITE already has a final response.
            None => self.answer_overtaken(now, &path, &request, invite),
        }
        let Some(usage) = usage else { return };
        let theirs = self.usages.get(usage).and_then(|it| it.theirs.as_deref());
        let Some(theirs) = theirs.filter(|it| it.transaction == invite && it.success.is_none()) else {
            return;
        };
        if theirs.initial {
            self.callee_step(now, usage, callee_fsm::Event::Cancel, None, Some(&request));
        } else {
            self.refuse_pending(now, usage, 487);
            self.usage_event(usage, UsageEvent::ReInviteCancelled);
        }
    }

    /// Handles an ACK in a dialog. `false` if it acknowledges no 2xx of ours.
    pub(in crate::endpoint) fn acknowledged(&mut self, now: Instant, id: UsageId, request: Request) -> bool {
        let Some(usage) = self.usages.get_mut(id) else { return false };
        let Ok(cseq) = request.cseq() else { return false };
        let Some(theirs) = usage.theirs.as_deref() else { return false };
        if theirs.cseq != cseq.number || theirs.success.is_none() {
            return false;
        }
        let initial = theirs.initial;
        let unacknowledged = theirs.reliable.as_deref().and_then(|it| it.unacknowledged.as_ref());
        usage.prack_due = unacknowledged.map(|it| (it.rseq, theirs.cseq)).or(usage.prack_due);
        usage.theirs = None;
        if let Some(dialog) = usage.dialogs.first_mut() {
            if !dialog.settled {
                dialog.offer_answer = OfferAnswer::Idle;
            }
            dialog.settled = false;
        }
        if initial {
            self.callee_event(now, id, callee_fsm::Event::Ack, None);
        }
        self.usage_event(id, UsageEvent::Acknowledged { request });
        true
    }

    /// Handles a BYE received before the ACK for our answer. `false` if the call is in
    /// another state.
    pub(in crate::endpoint) fn bye_before_ack(
        &mut self,
        now: Instant,
        id: UsageId,
        request: &Request,
    ) -> bool {
        let is_callee = self.usages.get(id).is_some_and(|it| matches!(it.phase, Phase::Callee(_)));
        if is_callee {
            self.callee_step(now, id, callee_fsm::Event::Bye, None, Some(request));
        }
        is_callee
    }

    /// Hangs up before the ACK for our answer has arrived. `false` if the call is in another
    /// state.
    pub(in crate::endpoint) fn hang_up_before_ack(&mut self, now: Instant, id: UsageId) -> bool {
        let waiting = self.usages.get(id).is_some_and(|it| {
            matches!(
                it.phase,
                Phase::Callee(callee_fsm::State::AwaitingAck | callee_fsm::State::HangupPending)
            )
        });
        if waiting {
            self.callee_event(now, id, callee_fsm::Event::Hangup, None);
        }
        waiting
    }

    /// A received INVITE has waited long enough for our user's answer or for the ACK.
    pub(in crate::endpoint) fn their_invite_deadline(&mut self, now: Instant, id: UsageId) {
        if self.reliable_deadline(now, id) {
            return;
        }
        let t2 = self.config.timers.t2;
        let Some(usage) = self.usages.get_mut(id) else { return };
        let Some(theirs) = usage.theirs.as_deref_mut() else { return };
        let initial = theirs.initial;
        let transaction = theirs.transaction;
        let Some(success) = theirs.success.as_mut() else {
            let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            match initial {
                true if due(theirs.expires_at) => {
                    self.callee_event(now, id, callee_fsm::Event::Expired, None)
                }
                true if due(theirs.answer_by) => {
                    self.callee_event(now, id, callee_fsm::Event::AnswerTimeout, None)
                }
                false if due(theirs.answer_by) => self.refuse_pending(now, id, 480),
                _ => self.repeat_provisional(now, id),
            }
            return;
        };
        if success.give_up_at <= now {
            usage.theirs = None;
            if initial {
                self.callee_event(now, id, callee_fsm::Event::AckTimeout, None);
            } else {
                // A re-INVITE without ACK ends the session too (§14.2 with §13.3.1.4).
                self.send_bye(now, id, User::Nobody(id));
                self.terminate(now, id, Termination::NoAck);
            }
        } else if success.resend_at <= now {
            success.interval = (success.interval * 2).min(t2);
            success.resend_at = now + success.interval;
            let response = success.response.clone();
            if let Some(path) = self.servers.path(transaction) {
                self.out.counters.retransmitted += 1;
                self.out.respond(&path, response);
            }
        }
    }

    pub(in crate::endpoint) fn callee_event(
        &mut self,
        now: Instant,
        id: UsageId,
        event: callee_fsm::Event,
        status: Option<u16>,
    ) {
        self.callee_step(now, id, event, status, None);
    }

    fn callee_step(
        &mut self,
        now: Instant,
        id: UsageId,
        event: callee_fsm::Event,
        status: Option<u16>,
        request: Option<&Request>,
    ) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let Phase::Callee(state) = usage.phase else { return };
        let (next, actions) = callee_fsm::step(state, event);
        usage.phase = match next {
            callee_fsm::State::Confirmed => Phase::Established,
            next => Phase::Callee(next),
        };
        self.out.counters.steps += 1;
        for action in actions {
            match *action {
                // `answer` and `reject` send; `acknowledged` reports the ACK.
                Action::SendSuccess | Action::SendRefusal | Action::DeliverAck => {}
                Action::StopSuccess => {
                    if let Some(usage) = self.usages.get_mut(id) {
                        usage.theirs = None;
                    }
                }
                Action::SendStatus(status) => self.refuse_pending(now, id, status),
                Action::SendBye => {
                    // If no `End` follows, the usage waits for the response to the BYE.
                    let ends = actions.iter().any(|action| matches!(action, Action::End(_)));
                    if let Some(usage) = self.usages.get_mut(id).filter(|_| !ends) {
                        usage.phase = Phase::Ending;
                    }
                    self.send_bye(now, id, if ends { User::Nobody(id) } else { User::Bye(id) });
                }
                Action::End(cause) => {
                    let cause = match (cause, request.cloned()) {
                        (Cause::RemoteCancel, Some(request)) => Termination::RemoteCancel { request },
                        (Cause::RemoteBye, Some(request)) => Termination::RemoteBye { request },
                        (Cause::Rejected, _) => Termination::Rejected { status: status.unwrap_or_default() },
                        (Cause::AnswerTimeout, _) => Termination::AnswerTimeout,
                        (Cause::Expired, _) => Termination::Expired,
                        (Cause::LocalBye, _) => Termination::LocalBye,
                        (Cause::NoPrack, _) => Termination::NoPrack,
                        (Cause::NoAck | Cause::RemoteCancel | Cause::RemoteBye, _) => Termination::NoAck,
                    };
                    self.terminate(now, id, cause);
                }
            }
        }
    }

    /// Sends a BYE in the confirmed dialog, with the header fields that the user gave.
    pub(in crate::endpoint) fn send_bye(&mut self, now: Instant, id: UsageId, user: User) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let parting = usage.parting.as_deref().map(|it| (it.headers.clone(), it.body.clone()));
        let (headers, body) = parting.unwrap_or_default();
        let Some(dialog) = usage.dialogs.first_mut() else { return };
        dialog.local_cseq += 1;
        let (dialog, cseq) = (dialog.clone(), dialog.local_cseq);
        let draft = Draft { headers, ..Draft::new(Method::Bye, cseq, body) };
        self.dispatch(now, dialog, draft, user);
    }
}
