//! Resends our INVITE after a refusal that can be remedied: with credentials after 401 or 407
//! (RFC 3261 §22.2), with a longer session interval after 422 (RFC 4028 §7.3). A challenged
//! BYE likewise.

use std::time::Instant;

use crate::dialog::caller_fsm::{Event, State};
use crate::dialog::request::Draft;
use crate::dialog::session_timer::min_se;
use crate::dialog::usage::Phase;
use crate::endpoint::command::{CommandError, check_headers};
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, Termination, UsageEvent, UsageId};
use crate::msg::{HeaderFields, Method, Name, Response};

/// Maximum number of times that one INVITE or BYE is resent; a peer could challenge for ever.
const TRIES: u8 = 8;

impl Endpoint {
    /// Resends the INVITE or BYE of [`UsageEvent::Challenged`] with the same Call-ID and From
    /// tag and the next CSeq number. `headers` are added to its own header fields:
    /// `Authorization`, `Proxy-Authorization`, or both.
    ///
    /// # Errors
    /// No challenge is pending.
    pub fn authorize(
        &mut self,
        now: Instant,
        usage: UsageId,
        headers: HeaderFields,
    ) -> Result<(), CommandError> {
        check_headers(&headers)?;
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        let ours = it.ours.first_mut().and_then(|ours| ours.again.as_deref_mut());
        match (it.phase, ours, it.parting.as_deref_mut()) {
            (Phase::Caller(State::Challenged), Some(again), _) => {
                let mut carried = credentials(&again.headers);
                carried.extend(headers.iter().cloned());
                again.credentials = headers;
                if let Some(ours) = it.ours.first_mut() {
                    ours.credentials = carried;
                }
                self.caller_event(now, usage, Event::Again, None);
            }
            (Phase::Ending, _, Some(parting)) if parting.challenged_until.is_some() => {
                parting.challenged_until = None;
                parting.headers.retain(|(name, _)| !is_credentials(name));
                parting.headers.extend(headers);
                self.send_bye(now, usage, User::Bye(usage));
            }
            _ => return Err(CommandError::WrongState("no challenge waits for an answer")),
        }
        Ok(())
    }

    /// The event for a refusal of our INVITE: failure, or another attempt.
    pub(in crate::endpoint) fn refusal_event(
        &mut self,
        usage: UsageId,
        cseq: u32,
        response: &Response,
    ) -> Event {
        let again =
            self.usages.get_mut(usage).and_then(|it| it.ours(cseq)).and_then(|it| it.again.as_deref());
        match (response.status(), again) {
            (422, Some(again)) if again.tries < TRIES => {
                let session = again.session.map_or(u32::MAX, |session| session.expires.seconds);
                if min_se(response) > session { Event::TooBrief } else { Event::Failure }
            }
            (401 | 407, Some(again)) if again.authorizes && again.tries < TRIES => Event::Challenge,
            _ => Event::Failure,
        }
    }

    /// Replaces the refused INVITE by the next one. The old transaction still acknowledges
    /// retransmissions of the refusal.
    pub(in crate::endpoint) fn renew_invite(
        &mut self,
        usage: UsageId,
        cseq: u32,
        response: Option<&Response>,
    ) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        it.dialogs.clear();
        let Some(ours) = it.ours(cseq) else { return };
        ours.cseq += 1;
        ours.transaction = None;
        ours.pracks = 0;
        if let Some(origin) = ours.origin.as_deref_mut() {
            origin.local_cseq = ours.cseq;
        }
        if let Some(again) = ours.again.as_deref_mut() {
            again.tries += 1;
            again.refusal = response.cloned();
        }
    }

    /// Prepares an INVITE with the session interval that a 422 requires.
    pub(in crate::endpoint) fn lengthen_session(
        &mut self,
        usage: UsageId,
        cseq: u32,
        response: Option<&Response>,
    ) {
        self.renew_invite(usage, cseq, response);
        let again = self.usages.get_mut(usage).and_then(|it| it.ours.first_mut()?.again.as_deref_mut());
        if let (Some(session), Some(response)) = (again.and_then(|again| again.session.as_mut()), response) {
            session.min_se = min_se(response);
            session.expires.seconds = session.expires.seconds.max(session.min_se);
        }
    }

    /// Reports the challenge and waits for the user's credentials.
    pub(in crate::endpoint) fn ask_credentials(
        &mut self,
        now: Instant,
        usage: UsageId,
        cseq: u32,
        response: Option<Response>,
    ) {
        self.renew_invite(usage, cseq, response.as_ref());
        let wait = self.config.timers.give_up();
        if let Some(ours) = self.usages.get_mut(usage).and_then(|it| it.ours.first_mut()) {
            ours.deadline = Some(now + wait);
        }
        self.usages.arm(now, usage);
        if let Some(response) = response {
            self.usage_event(usage, UsageEvent::Challenged { response });
        }
    }

    /// Sends the INVITE prepared by `renew_invite`.
    pub(in crate::endpoint) fn invite_again(&mut self, now: Instant, usage: UsageId) {
        let Some(ours) = self.usages.get_mut(usage).and_then(|it| it.ours.first_mut()) else { return };
        let (Some(origin), Some(again)) = (ours.origin.as_deref(), ours.again.as_deref()) else { return };
        ours.deadline = None;
        let mut headers = again.headers.clone();
        headers.extend(again.credentials.iter().cloned());
        let (dialog, cseq) = (origin.clone(), ours.cseq);
        let draft = Draft {
            headers,
            max_forwards: again.max_forwards,
            outbound: again.outbound.clone(),
            session: again.session,
            patience: again.patience,
            ..Draft::new(Method::Invite, cseq, again.body.clone())
        };
        // To the server that challenged, not to the next address of the same name.
        match dialog.flow.filter(|flow| self.out.is_usable(flow)) {
            Some(flow) => self.launch_on(now, flow, dialog, draft, User::Invite(usage, cseq)),
            None => self.dispatch(now, dialog, draft, User::Invite(usage, cseq)),
        }
    }

    /// Handles the final response to our BYE. `true` if the BYE now waits for credentials.
    pub(in crate::endpoint) fn bye_challenged(
        &mut self,
        now: Instant,
        usage: UsageId,
        response: &Response,
    ) -> bool {
        let until = now + self.config.timers.give_up();
        let Some(it) = self.usages.get_mut(usage) else { return false };
        if !it.authorizes || it.phase != Phase::Ending || !matches!(response.status(), 401 | 407) {
            return false;
        }
        let parting = it.parting.get_or_insert_default();
        if parting.challenges >= TRIES {
            return false;
        }
        parting.challenges += 1;
        parting.challenged_until = Some(until);
        self.usages.arm(now, usage);
        self.usage_event(usage, UsageEvent::Challenged { response: response.clone() });
        true
    }

    /// Ends the call if our user has not answered the challenge of a BYE in time. `false` if
    /// no deadline was due.
    pub(in crate::endpoint) fn bye_challenge_deadline(&mut self, now: Instant, usage: UsageId) -> bool {
        let until = self.usages.get(usage).and_then(|it| it.parting.as_deref()?.challenged_until);
        let due = until.is_some_and(|at| at <= now);
        if due {
            self.terminate(now, usage, Termination::ByeUnanswered);
        }
        due
    }
}

/// The header fields among these that carry credentials.
pub(in crate::endpoint) fn credentials(headers: &HeaderFields) -> HeaderFields {
    headers.iter().filter(|(name, _)| is_credentials(name)).cloned().collect()
}

pub(in crate::endpoint) fn is_credentials(name: &[u8]) -> bool {
    matches!(Name::parse(name), Name::Authorization | Name::ProxyAuthorization)
}
