//! Session modification: re-INVITE and UPDATE in both directions, and glare (RFC 3261 §14,
//! RFC 3311).

use std::time::{Duration, Instant};

use crate::dialog::offer_answer::OfferAnswer;
use crate::dialog::request::Draft;
use crate::dialog::usage::{OurInvite, Phase, Progress, TheirInvite};
use crate::endpoint::command::{CommandError, check_headers};
use crate::endpoint::in_dialog::overtaken::TRIES;
use crate::endpoint::in_dialog::session::Addressee;
use crate::endpoint::invite::challenge::credentials;
use crate::endpoint::sending::send::{Failure, User};
use crate::endpoint::{Endpoint, UsageEvent, UsageId};
use crate::msg::body::Body;
use crate::msg::{HeaderFields, Method, Name, NameAddr, Request, Response};
use crate::outbox::ReplyPath;

/// Maximum number of our INVITEs whose retransmitted 2xx are acknowledged again (RFC 3261 §13.2.2.4). The oldest
/// ones are forgotten first: their far end has answered several INVITEs since.
const LINGERING: usize = 8;

impl Endpoint {
    /// Sends a re-INVITE with a new offer; without a body the peer makes the offer.
    ///
    /// # Errors
    /// The call is not established, or an offer is pending in either direction.
    pub fn reinvite(&mut self, now: Instant, usage: UsageId, body: Option<Body>) -> Result<(), CommandError> {
        self.reinvite_with(now, usage, Vec::new(), body)
    }

    /// Like `reinvite`, with header fields.
    ///
    /// # Errors
    /// As for `reinvite`, or a header field is invalid.
    pub fn reinvite_with(
        &mut self,
        now: Instant,
        usage: UsageId,
        headers: HeaderFields,
        body: Option<Body>,
    ) -> Result<(), CommandError> {
        check_headers(&headers)?;
        let ring_timeout = self.config.ring_timeout;
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        if it.phase != Phase::Established {
            return Err(CommandError::WrongState("the call is not up"));
        }
        if it.theirs.is_some() || it.ours.iter().any(|ours| ours.progress != Progress::Succeeded) {
            return Err(CommandError::WrongState("another INVITE is under way"));
        }
        let Some(dialog) = it.dialogs.first_mut() else { return Err(CommandError::Gone) };
        if dialog.offer_answer != OfferAnswer::Idle {
            return Err(CommandError::WrongState("an offer is under way"));
        }
        if it.ours.len() >= LINGERING {
            it.ours.remove(0);
        }
        dialog.local_cseq += 1;
        let cseq = dialog.local_cseq;
        dialog.offer_answer = OfferAnswer::after_request(body.is_some(), true);
        let dialog = dialog.clone();
        it.ours.push(OurInvite {
            credentials: credentials(&headers),
            headers: headers.clone(),
            body: body.clone(),
            ring_timeout,
            ..OurInvite::new(cseq, body.is_some())
        });
        let session = self.session_kept(usage);
        let mut headers = headers;
        // Its provisional responses are not reported, so no user could answer an offer in one
        // by PRACK (RFC 3262 §4).
        if self.config.extensions.reliable
            && !headers.iter().any(|(name, _)| Name::parse(name) == Name::Supported)
        {
            headers.push(("Supported".into(), self.supported_without(&["100rel"]).into()));
        }
        let draft = Draft { headers, session, ..Draft::new(Method::Invite, cseq, body) };
        self.dispatch(now, dialog, draft, User::Invite(usage, cseq));
        Ok(())
    }

    /// Sends an UPDATE with a new offer (RFC 3311).
    ///
    /// # Errors
    /// There is no dialog yet, or an offer is pending in either direction.
    pub fn update(&mut self, now: Instant, usage: UsageId, body: Body) -> Result<(), CommandError> {
        self.update_with(now, usage, Vec::new(), Some(body))
    }

    /// Like `update`, with header fields. Without a body it does not change the session and
    /// may be sent at any time.
    ///
    /// # Errors
    /// As for `update`, or a header field is invalid.
    pub fn update_with(
        &mut self,
        now: Instant,
        usage: UsageId,
        headers: HeaderFields,
        body: Option<Body>,
    ) -> Result<(), CommandError> {
        check_headers(&headers)?;
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        if !matches!(it.phase, Phase::Established | Phase::Caller(_) | Phase::Callee(_)) {
            return Err(CommandError::WrongState("the call is ending"));
        }
        let dialog = it.dialogs.first_mut().ok_or(CommandError::WrongState("there is no dialog yet"))?;
        let offers = body.is_some();
        if offers && dialog.offer_answer != OfferAnswer::Idle {
            return Err(CommandError::WrongState("an offer is under way"));
        }
        dialog.local_cseq += 1;
        if offers {
            dialog.offer_answer = OfferAnswer::LocalOffer;
        }
        let (dialog, cseq) = (dialog.clone(), dialog.local_cseq);
        let session = self.session_kept(usage);
        let draft = Draft { headers, session, ..Draft::new(Method::Update, cseq, body) };
        self.dispatch(now, dialog, draft, User::Update(usage, offers));
        Ok(())
    }

    /// Handles a re-INVITE (§14.2).
    pub(in crate::endpoint) fn reinvite_received(
        &mut self,
        now: Instant,
        path: ReplyPath,
        addressee: Addressee,
        request: Request,
    ) {
        let too_small = self.session_too_small(addressee.usage, &request);
        let Some((id, usage)) = addressee.usage.and_then(|id| Some((id, self.usages.get_mut(id)?))) else {
            return;
        };
        let decided = usage.theirs.as_deref().map(|theirs| theirs.success.is_some());
        let refusal = match (usage.phase, decided) {
            (Phase::Ending | Phase::Over, _) => Some(481),
            // The first one is not answered yet.
            (_, Some(false)) => Some(500),
            // Our 2xx has no ACK yet: this re-INVITE has overtaken it (RFC 5407 §3.1.4), or
            // one of ours is under way.
            (_, Some(true)) => Some(491),
            (Phase::Caller(_) | Phase::Callee(_), None) => Some(491),
            (Phase::Established, None) if usage.is_inviting() => Some(491),
            (Phase::Established, None) => {
                usage.dialogs.first().and_then(|dialog| dialog.offer_answer.refuses_offer())
            }
        };
        if let Some(status) = refusal {
            return self.answer_later(now, path, addressee, request, status);
        }
        if let Some(min_se) = too_small {
            return self.answer_now(now, path, request, addressee, 422, &[(Name::MinSe, min_se.as_bytes())]);
        }
        let has_session = request.session().is_some();
        let Ok(cseq) = request.cseq() else { return };
        let cseq = cseq.number;
        if let Some(dialog) = usage.dialogs.first_mut() {
            dialog.offer_answer = OfferAnswer::after_request(has_session, false);
            dialog.settled = false;
        }
        self.give_way(id);
        let copy = request.clone();
        let Some(transaction) = self.servers.start(now, &mut self.out, copy, path, Some(id)) else { return };
        let answer_by = now + self.config.answer_timeout;
        if let Some(usage) = self.usages.get_mut(id) {
            usage.theirs = Some(Box::new(TheirInvite::new(transaction, cseq, answer_by)));
        }
        self.usages.arm(now, id);
        self.usage_event(id, UsageEvent::ReInvite { request });
    }

    /// Handles an UPDATE (RFC 3311 §5.2).
    pub(in crate::endpoint) fn update_received(
        &mut self,
        now: Instant,
        path: ReplyPath,
        addressee: Addressee,
        request: Request,
    ) {
        let too_small = self.session_too_small(addressee.usage, &request);
        let Some((id, usage)) = addressee.usage.and_then(|id| Some((id, self.usages.get_mut(id)?))) else {
            return;
        };
        let remote_tag = request.from_tag().unwrap_or_default();
        if let Some(min_se) = too_small {
            return self.answer_now(now, path, request, addressee, 422, &[(Name::MinSe, min_se.as_bytes())]);
        }
        let Some(dialog) = usage.dialog(remote_tag) else { return };
        if request.body().is_empty() {
            dialog.refresh_target(&request);
            // RFC 4916 §4.3: the From of a later request gives the current identity.
            let known = NameAddr::parse(dialog.remote()).map(|known| known.uri.raw);
            let renamed = request.from().is_ok_and(|from| Some(from.uri.raw) != known);
            self.answer_now(now, path, request.clone(), addressee, 200, &[]);
            if renamed || request.header(Name::PAssertedIdentity).is_some() {
                self.usage_event(id, UsageEvent::Identified { request });
            }
            return;
        }
        if let Some(status) = dialog.offer_answer.refuses_offer() {
            return self.answer_later(now, path, addressee, request, status);
        }
        dialog.offer_answer = OfferAnswer::RemoteOffer;
        self.give_way(id);
        let copy = request.clone();
        if let Some(transaction) = self.servers.start(now, &mut self.out, copy, path, Some(id)) {
            self.usage_event(id, UsageEvent::Update { transaction, request });
        }
    }

    /// Handles a request that the user did not answer in time. The offer of an UPDATE or
    /// PRACK is then no longer pending, so new offers are allowed.
    pub(in crate::endpoint) fn unanswered(&mut self, usage: Option<UsageId>, request: &Request) {
        if !matches!(request.method(), Method::Update | Method::Prack) {
            return;
        }
        let remote_tag = request.from_tag().unwrap_or_default();
        if let Some(dialog) =
            usage.and_then(|id| self.usages.get_mut(id)).and_then(|usage| usage.dialog(remote_tag))
        {
            dialog.offer_answer = OfferAnswer::Idle;
        }
    }

    /// Responds 491, or 500 with a Retry-After from 0 to 10 s (§14.2).
    fn answer_later(
        &mut self,
        now: Instant,
        path: ReplyPath,
        addressee: Addressee,
        request: Request,
        status: u16,
    ) {
        if status != 500 {
            return self.answer_now(now, path, request, addressee, status, &[]);
        }
        let wait = (self.next_random(addressee.usage) % 11).to_string();
        let headers = [(Name::RetryAfter, wait.as_bytes())];
        self.answer_now(now, path, request, addressee, status, &headers);
    }

    /// Handles a response to a re-INVITE of ours.
    pub(in crate::endpoint) fn reinvite_response(
        &mut self,
        now: Instant,
        id: UsageId,
        cseq: u32,
        response: Response,
    ) {
        let status = response.status();
        let Some(usage) = self.usages.get_mut(id) else { return };
        let phase = usage.phase;
        let back_off = match status {
            491 => back_off(usage.chance.random(), usage.owns_call_id),
            _ => Duration::ZERO,
        };
        let Some(ours) = usage.ours(cseq) else { return };
        match status {
            ..200 if phase == Phase::Over => {}
            ..200 => {
                ours.deadline = Some(now + ours.ring_timeout);
                self.usages.arm(now, id);
            }
            200..300 if ours.progress == Progress::Succeeded => self.repeat_ack(id, cseq),
            200..300 if ours.progress != Progress::Open => {}
            200..300 => {
                ours.deadline = None;
                ours.body = None;
                // After a hang-up the 2xx only needs an ACK.
                let ack_wanted = !ours.offered && phase == Phase::Established;
                ours.progress = if ack_wanted { Progress::AckOwed } else { Progress::Succeeded };
                if let Some(dialog) = usage.dialogs.first_mut() {
                    dialog.refresh_target(&response);
                    dialog.offer_answer =
                        dialog.offer_answer.after_success(response.session().is_some(), false);
                }
                if !ack_wanted {
                    self.send_ack(now, id, cseq, None);
                }
                if phase == Phase::Established {
                    self.session_answered(now, id, &response);
                    self.usage_event(id, UsageEvent::ReInviteAnswered { response, ack_wanted });
                }
            }
            491 if phase == Phase::Established && !ours.superseded => {
                self.reinvite_later(now, id, cseq, back_off);
            }
            // Resend at once: a 422 gives a longer interval, or the request was overtaken by
            // a later one.
            422 | 500
                if phase == Phase::Established
                    && (self.session_longer(id, &response) || self.may_follow(id, cseq, &response)) =>
            {
                self.reinvite_later(now, id, cseq, Duration::ZERO);
            }
            _ => {
                self.reinvite_over(now, id, cseq, Failure::Response(Box::new(response)));
            }
        }
    }

    /// Whether a re-INVITE was overtaken and its offer is still valid.
    fn may_follow(&mut self, id: UsageId, cseq: u32, response: &Response) -> bool {
        let ours = self.usages.get_mut(id).and_then(|usage| usage.ours(cseq));
        ours.is_some_and(|ours| !ours.superseded) && self.is_overtaken(id, response)
    }

    /// The peer changes the session, so our re-INVITEs are outdated. Those that wait for a
    /// retry after glare fail at once.
    fn give_way(&mut self, id: UsageId) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let before = usage.ours.len();
        usage.ours.retain(|ours| ours.progress != Progress::BackOff);
        let over = before - usage.ours.len();
        usage.ours.iter_mut().for_each(|ours| ours.superseded = true);
        for _ in 0..over {
            self.reinvite_failed_event(id, Failure::Status(491));
        }
    }

    /// Has a re-INVITE resent after this time. After [`TRIES`] times it is given up: a peer that is
    /// always busy refuses the change (488).
    fn reinvite_later(&mut self, now: Instant, id: UsageId, cseq: u32, wait: Duration) {
        let ours = self.usages.get_mut(id).and_then(|usage| usage.ours(cseq));
        let Some(ours) = ours.filter(|ours| ours.resent < TRIES) else {
            return self.reinvite_over(now, id, cseq, Failure::Status(488));
        };
        ours.resent += 1;
        ours.progress = Progress::BackOff;
        ours.deadline = Some(now + wait);
        self.usages.arm(now, id);
        self.offer_is_over(id);
    }

    /// Retries a re-INVITE after glare.
    pub(in crate::endpoint) fn retry_reinvite(&mut self, now: Instant, id: UsageId, cseq: u32) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let Some(index) = usage.ours.iter().position(|ours| ours.cseq == cseq) else { return };
        let ours = usage.ours.remove(index);
        if self.reinvite_with(now, id, ours.headers, ours.body).is_err() {
            self.reinvite_failed_event(id, Failure::Status(491));
        } else if let Some(again) = self.usages.get_mut(id).and_then(|usage| usage.ours.last_mut()) {
            again.resent = ours.resent;
        }
    }

    /// Our re-INVITE got no final response or could not be sent.
    pub(in crate::endpoint) fn reinvite_unanswered(
        &mut self,
        now: Instant,
        id: UsageId,
        cseq: u32,
        status: u16,
    ) {
        let transaction = self.usages.get_mut(id).and_then(|it| it.ours(cseq)).and_then(|it| it.transaction);
        if let Some(transaction) = transaction {
            self.clients.abandon(now, &mut self.out, transaction);
            self.failover.forget(transaction);
            self.challengeable.forget_one(id, transaction);
        }
        self.reinvite_over(now, id, cseq, Failure::Status(status));
    }

    fn reinvite_over(&mut self, now: Instant, id: UsageId, cseq: u32, failure: Failure) {
        if let Some(usage) = self.usages.get_mut(id) {
            usage.ours.retain(|ours| ours.cseq != cseq);
        }
        self.offer_is_over(id);
        self.update_failed(now, id, true, failure);
        // Relevant if the call was already over.
        self.usages.settle(id);
    }

    pub(in crate::endpoint) fn offer_is_over(&mut self, id: UsageId) {
        if let Some(dialog) = self.usages.get_mut(id).and_then(|usage| usage.dialogs.first_mut()) {
            dialog.offer_answer = OfferAnswer::Idle;
        }
    }

    pub(in crate::endpoint) fn update_response(
        &mut self,
        now: Instant,
        id: UsageId,
        offered: bool,
        response: Response,
    ) {
        if offered {
            self.offer_is_over(id);
        }
        if response.status() >= 300 {
            return self.update_failed(now, id, offered, Failure::Response(Box::new(response)));
        }
        if let Some(dialog) = self.usages.get_mut(id).and_then(|usage| usage.dialogs.first_mut()) {
            dialog.refresh_target(&response);
        }
        if self.usages.get(id).is_some_and(|usage| usage.phase == Phase::Established) {
            self.session_answered(now, id, &response);
        }
        if offered {
            self.usage_event(id, UsageEvent::UpdateAnswered { response });
        }
    }

    /// Handles the failure of our re-INVITE or UPDATE. 408 and 481 mean that the dialog is
    /// gone (§12.2.1.2), so the call ends.
    pub(in crate::endpoint) fn update_failed(
        &mut self,
        now: Instant,
        id: UsageId,
        offered: bool,
        failure: Failure,
    ) {
        let Some(phase) = self.usages.get(id).map(|usage| usage.phase) else { return };
        if phase == Phase::Ending {
            return;
        }
        let status = failure.status();
        if offered {
            self.reinvite_failed_event(id, failure);
        }
        if matches!(status, 408 | 481) && phase == Phase::Established {
            self.hang_up(now, id);
        }
    }
}

/// The delay after glare (§14.1): 2.1 to 4 s for the owner of the Call-ID, 0 to 2 s for the
/// other side, in steps of 10 ms.
fn back_off(random: u64, owns_call_id: bool) -> Duration {
    Duration::from_millis(10 * if owns_call_id { 210 + random % 191 } else { random % 201 })
}
