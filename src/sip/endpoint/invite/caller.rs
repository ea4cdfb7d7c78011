//! An outgoing initial INVITE: provisional responses, forks, 2xx and ACK, CANCEL (RFC 3261
//! §13.2, §9.1).

use std::time::Instant;

use bytes::Bytes;

use crate::dialog::caller_fsm::{self, Action, Cause, Event};
use crate::dialog::offer_answer::OfferAnswer;
use crate::dialog::request::{Draft, MAX_FORWARDS};
use crate::dialog::state::{Dialog, Start};
use crate::dialog::usage::{Again, OurInvite, Phase, Progress, Usage};
use crate::endpoint::command::{CommandError, Invite, InviteError, check_headers};
use crate::endpoint::invite::challenge::credentials;
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, HopRule, Termination, UsageEvent, UsageId};
use crate::msg::body::Body;
use crate::msg::{HeaderFields, Method, Request, Response};
use crate::transaction::ack_cancel;
use crate::transaction::client::{ClientTransactionId, Outgoing};
use b2b_base::ids::Beginning;

impl Endpoint {
    /// Starts a call; everything that follows is reported as events of the usage.
    ///
    /// # Errors
    /// The target is not a URI that can be called, a header field is invalid, or there are
    /// too many calls.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<UsageId, InviteError> {
        let outbound = invite.addressing().check()?;
        let limit = self.config.limits.usages;
        if self.usages.len() >= limit {
            return Err(InviteError::TooMany { limit });
        }
        let mut chance = self.usages.chance(&mut self.mint);
        let Beginning { tag, call_id, random } = chance.begin();
        let to = match &invite.to {
            Some(to) => to.to_vec(),
            None => [b"<", invite.target.as_ref(), b">"].concat(),
        };
        let from = invite.from.as_deref().unwrap_or_default();
        let cseq = 1 + (random & 0xffff) as u32;
        let contact_user = invite.contact_user.as_deref().unwrap_or_default();
        let mut origin = Dialog::outgoing(&Start {
            call_id: call_id.as_bytes(),
            from,
            from_tag: tag,
            to: &to,
            target: &invite.target,
            route: &invite.route,
            contact_user,
            cseq,
        });
        origin.flow = invite.flow;
        origin.large_by_udp = invite.large.by_udp(invite.outbound.as_deref().unwrap_or(origin.leads()));
        (origin.tls, origin.listener) = (invite.tls, invite.listener);
        origin.hops = match (invite.hops, invite.flow) {
            (HopRule::Follow, Some(_)) => HopRule::Kept,
            (hops, _) => hops,
        };
        let max_forwards = invite.max_forwards.unwrap_or(MAX_FORWARDS);
        let session = self.session_wanted(invite.refresher).filter(|_| !invite.no_session_timer);
        let again = (invite.authorizes || session.is_some()).then(|| {
            Box::new(Again {
                headers: invite.headers.clone(),
                body: invite.body.clone(),
                max_forwards,
                outbound: outbound.clone(),
                authorizes: invite.authorizes,
                session,
                patience: invite.failover,
                credentials: Vec::new(),
                tries: 0,
                refusal: None,
            })
        });
        let offered = invite.body.as_ref().is_some_and(Body::has_session);
        origin.offer_answer = OfferAnswer::after_request(offered, true);
        let dialog = origin.clone();
        let id = self.usages.insert(Usage {
            generation: 0,
            phase: Phase::Caller(caller_fsm::State::Connecting),
            local_tag: tag,
            chance,
            owns_call_id: true,
            merge_key: 0,
            authorizes: invite.authorizes,
            authorizes_inside: false,
            dialogs: Vec::new(),
            ours: vec![OurInvite {
                origin: Some(Box::new(origin)),
                credentials: credentials(&invite.headers),
                again,
                ring_timeout: invite.ring_timeout.unwrap_or(self.config.ring_timeout),
                ..OurInvite::new(cseq, offered)
            }],
            theirs: None,
            prack_due: None,
            parting: None,
            refresher: invite.refresher,
            timer: None,
            refers: Vec::new(),
            requests: Default::default(),
            queued: Default::default(),
        });
        let draft = Draft {
            max_forwards,
            headers: invite.headers,
            session,
            outbound,
            patience: invite.failover,
            ..Draft::new(Method::Invite, cseq, invite.body)
        };
        self.dispatch(now, dialog, draft, User::Invite(id, cseq));
        Ok(id)
    }

    /// Cancels our INVITE before its final response; `Terminated` follows once it is over.
    ///
    /// # Errors
    /// The call is not outgoing or is already answered: use `bye`.
    pub fn cancel(&mut self, now: Instant, usage: UsageId) -> Result<(), CommandError> {
        self.cancel_with(now, usage, Vec::new())
    }

    /// Like `cancel`, with header fields for the CANCEL, such as Reason (RFC 3326). If a 2xx
    /// crosses the CANCEL, the BYE carries them.
    ///
    /// # Errors
    /// As for `cancel`, or a header field is invalid.
    pub fn cancel_with(
        &mut self,
        now: Instant,
        usage: UsageId,
        headers: HeaderFields,
    ) -> Result<(), CommandError> {
        check_headers(&headers)?;
        match self.usages.get(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?.phase {
            Phase::Caller(_) => {
                self.part_with(usage, headers);
                self.caller_event(now, usage, Event::Cancel, None);
            }
            _ => return Err(CommandError::WrongState("only our own unanswered INVITE can be cancelled")),
        }
        Ok(())
    }

    /// Whether an INVITE that waited for a flow is still to be sent.
    pub(in crate::endpoint) fn still_wants_invite(&mut self, usage: UsageId, cseq: u32) -> bool {
        self.usages
            .get_mut(usage)
            .is_some_and(|it| !matches!(it.phase, Phase::Ending | Phase::Over) && it.ours(cseq).is_some())
    }

    /// Notes that our INVITE was sent in this transaction.
    pub(in crate::endpoint) fn invite_sent(
        &mut self,
        now: Instant,
        usage: UsageId,
        cseq: u32,
        transaction: ClientTransactionId,
    ) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        let Some(ours) = it.ours(cseq) else { return };
        ours.transaction = Some(transaction);
        if ours.origin.is_some() {
            self.caller_event(now, usage, Event::Sent, None);
        }
    }

    /// Handles a response to an INVITE of ours.
    pub(in crate::endpoint) fn invite_response(
        &mut self,
        now: Instant,
        usage: UsageId,
        cseq: u32,
        response: Response,
    ) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        let phase = it.phase;
        let Some(ours) = it.ours(cseq) else { return };
        if ours.origin.is_none() {
            return self.reinvite_response(now, usage, cseq, response);
        }
        let status = response.status();
        if ours.progress != Progress::Open {
            if (200..300).contains(&status) {
                self.late_success(now, usage, cseq, response);
            }
            return;
        }
        if !matches!(phase, Phase::Caller(_)) {
            return;
        }
        let hung_up = response.to_tag().is_some_and(|tag| ours.dismissed.has(tag));
        let event = match status {
            ..200 if hung_up => return,
            ..200 => {
                self.early_dialog(usage, cseq, &response);
                if !self.acknowledge_provisional(now, usage, cseq, &response) {
                    return;
                }
                Event::Provisional
            }
            200..300 if hung_up => Event::ByeSuccess,
            200..300 => Event::Success,
            _ => self.refusal_event(usage, cseq, &response),
        };
        self.caller_event(now, usage, event, Some(response));
    }

    /// Our INVITE got no response (`timeout`) or could not be sent.
    pub(in crate::endpoint) fn invite_failed(
        &mut self,
        now: Instant,
        usage: UsageId,
        cseq: u32,
        timeout: bool,
    ) {
        let Some(ours) = self.usages.get_mut(usage).and_then(|it| it.ours(cseq)) else { return };
        if ours.origin.is_none() {
            return self.reinvite_unanswered(now, usage, cseq, if timeout { 408 } else { 503 });
        }
        let event = if timeout { Event::NoResponse } else { Event::Unreachable };
        self.caller_event(now, usage, event, None);
    }

    /// The INVITE transaction has ended, so no further 2xx can arrive through it. The same
    /// INVITE may be under way to another address.
    pub(in crate::endpoint) fn invite_ended(
        &mut self,
        usage: UsageId,
        cseq: u32,
        id: Option<ClientTransactionId>,
    ) {
        if let Some(it) = self.usages.get_mut(usage) {
            if id.is_some() && it.ours(cseq).is_some_and(|ours| ours.transaction != id) {
                return;
            }
            it.ours.retain_mut(|ours| {
                let owes = matches!(ours.progress, Progress::AckOwed | Progress::BackOff);
                if ours.cseq == cseq {
                    ours.transaction = None;
                }
                ours.cseq != cseq || owes
            });
            it.ours.shrink_to_fit();
        }
        self.usages.settle(usage);
    }

    /// The ring time-out has fired, or the wait after CANCEL is over.
    pub(in crate::endpoint) fn invite_deadline(&mut self, now: Instant, usage: UsageId, cseq: u32) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        let phase = it.phase;
        let Some(ours) = it.ours(cseq) else { return };
        ours.deadline = None;
        if ours.origin.is_none() {
            return self.reinvite_unanswered(now, usage, cseq, 408);
        }
        let event = match phase {
            Phase::Caller(caller_fsm::State::Proceeding) => Event::RingTimeout,
            _ => Event::CancelTimeout,
        };
        self.caller_event(now, usage, event, None);
    }

    pub(in crate::endpoint) fn caller_event(
        &mut self,
        now: Instant,
        id: UsageId,
        event: Event,
        response: Option<Response>,
    ) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let Phase::Caller(state) = usage.phase else { return };
        let (next, actions) = caller_fsm::step(state, event);
        usage.phase = Phase::Caller(next);
        self.out.counters.steps += 1;
        let Some(cseq) = usage.ours.first().map(|ours| ours.cseq) else { return };
        for action in actions {
            match *action {
                Action::StartRing => {
                    if let Some(ours) = self.usages.get_mut(id).and_then(|it| it.ours(cseq)) {
                        ours.deadline = Some(now + ours.ring_timeout);
                    }
                    self.usages.arm(now, id);
                }
                Action::Deliver => {
                    if let Some(response) = response.clone().filter(|response| response.status() > 100) {
                        let prack_wanted = self.prack_wanted(id, &response);
                        self.usage_event(id, UsageEvent::Provisional { response, prack_wanted });
                    }
                }
                Action::SendCancel => self.send_cancel(now, id, cseq),
                Action::GuardCancel | Action::GuardBye => {
                    let timers = &self.config.timers;
                    let wait = if *action == Action::GuardBye { timers.t2 } else { timers.give_up() };
                    if let Some(ours) = self.usages.get_mut(id).and_then(|it| it.ours(cseq)) {
                        ours.deadline = Some(now + wait);
                    }
                    self.usages.arm(now, id);
                }
                Action::Abandon => {
                    let transaction =
                        self.usages.get_mut(id).and_then(|it| it.ours(cseq)).and_then(|it| it.transaction);
                    if let Some(transaction) = transaction {
                        self.clients.abandon(now, &mut self.out, transaction);
                        self.failover.forget(transaction);
                    }
                }
                Action::Confirm => {
                    if let Some(response) = response.clone() {
                        self.confirm(now, id, cseq, response);
                    }
                }
                Action::AckAndBye => {
                    if let Some(response) = &response {
                        self.dismiss(now, id, cseq, response);
                    }
                }
                Action::AskCredentials => self.ask_credentials(now, id, cseq, response.clone()),
                Action::Lengthen => self.lengthen_session(id, cseq, response.as_ref()),
                Action::SendAgain => self.invite_again(now, id),
                Action::End(cause) => {
                    let Some(usage) = self.usages.get_mut(id) else { return };
                    let again = usage.ours.first_mut().and_then(|ours| ours.again.take());
                    let bye = usage.parting.as_deref_mut().and_then(|parting| parting.bye.take());
                    let refusal = || again.and_then(|again| again.refusal);
                    let cause = termination(cause, response.clone().or_else(refusal), bye);
                    self.terminate(now, id, cause);
                }
            }
        }
    }

    /// Creates the early dialog of a provisional response, unless it is known already.
    fn early_dialog(&mut self, usage: UsageId, cseq: u32, response: &Response) {
        let limit = self.config.limits.forks;
        let Some(it) = self.usages.get_mut(usage) else { return };
        let Some(tag) = response.to_tag() else { return };
        if it.dialog(tag).is_some() || it.dialogs.len() >= limit {
            return;
        }
        let origin = it.ours(cseq).and_then(|ours| ours.origin.as_deref());
        if let Some(Ok(dialog)) = origin.map(|origin| origin.from_response(response)) {
            it.dialogs.push(dialog);
        }
    }

    /// Handles a BYE in an early dialog of our INVITE, which a callee must not send (§15): their
    /// 2xx was lost, or is late. Other forks go on.
    pub(in crate::endpoint) fn early_bye(&mut self, now: Instant, id: UsageId, request: Request) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let tag = request.from_tag().unwrap_or_default();
        usage.dialogs.retain(|dialog| dialog.remote_tag() != tag);
        if let Some(ours) = usage.ours.first_mut() {
            ours.dismissed.hung_up(tag);
        }
        let last = usage.dialogs.is_empty();
        usage.parting.get_or_insert_default().bye = Some(request);
        if last {
            self.caller_event(now, id, Event::Bye, None);
        }
    }

    fn send_cancel(&mut self, now: Instant, id: UsageId, cseq: u32) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let Some(transaction) = usage.ours(cseq).and_then(|ours| ours.transaction) else { return };
        let headers = usage.parting.as_deref().map(|parting| parting.headers.clone()).unwrap_or_default();
        self.cancel_transaction(now, transaction, &headers, id);
    }

    /// Sends CANCEL for an INVITE of ours, with these header fields.
    pub(in crate::endpoint) fn cancel_transaction(
        &mut self,
        now: Instant,
        transaction: ClientTransactionId,
        headers: &[(Bytes, Bytes)],
        usage: UsageId,
    ) {
        let Some((branch, flow, invite)) = self.clients.sent(transaction) else { return };
        match ack_cancel::cancel(invite, headers) {
            Some(data) => {
                let request = Outgoing { method: &Method::Cancel, branch, data };
                self.clients.start(now, &mut self.out, flow, request, User::Nobody(usage));
            }
            None => self.out.counters.unbuildable += 1,
        }
    }
}

fn termination(cause: Cause, response: Option<Response>, bye: Option<Request>) -> Termination {
    match (cause, response, bye) {
        (Cause::Failed, Some(response), _) => Termination::Failed { response },
        (Cause::RemoteBye, _, Some(request)) => Termination::RemoteBye { request },
        (Cause::Failed | Cause::NoResponse | Cause::RemoteBye, ..) => Termination::NoResponse,
        (Cause::Unreachable, ..) => Termination::Unreachable,
        (Cause::LocalCancel, ..) => Termination::LocalCancel,
        (Cause::RingTimeout, ..) => Termination::RingTimeout,
    }
}
