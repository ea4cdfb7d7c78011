//! Credentials for challenges of a leg's remote party, or of a proxy in front of it: to our INVITE and BYE,
//! and to other in-dialog requests (RFC 3261 §22).

use super::account::{self, Credentials};
use super::{AgentService, LegId};
use crate::leg_fsm::TerminationCause;
use b2b_sip::auth::{Authorized, ChallengeError, DigestClient};
use b2b_sip::endpoint::{Challenge, HeaderFields, UsageEvent, UsageId};
use b2b_sip::msg::{Method, Response};

/// The challenges that a leg has met. They belong to the leg: another remote party gets no credentials before
/// it challenges.
pub(super) struct LegAuth {
    digest: DigestClient,
    /// The credentials in the last request of each method; there is one pending request per method.
    sent: Vec<(Method, Authorized)>,
}

impl LegAuth {
    /// For a leg that has credentials.
    pub(super) fn new(credentials: &Credentials) -> Box<Self> {
        Box::new(LegAuth { digest: account::digest(credentials), sent: Vec::new() })
    }

    /// Credentials for a request, if this remote party has challenged before.
    fn authorize(&mut self, method: &Method, target: &[u8]) -> HeaderFields {
        let sent = self.digest.authorize(method, target);
        let headers = sent.headers.clone();
        self.sent.retain(|(of, _)| of != method);
        self.sent.push((method.clone(), sent));
        headers
    }

    /// The credentials in the last request of this method.
    fn take_sent(&mut self, method: &Method) -> Authorized {
        let at = self.sent.iter().position(|(of, _)| of == method);
        at.map(|at| self.sent.swap_remove(at).1).unwrap_or_default()
    }

    /// Credentials for a request that was refused with 401 or 407.
    fn answer(
        &mut self,
        response: &Response,
        method: &Method,
        target: &[u8],
    ) -> Result<HeaderFields, ChallengeError> {
        let sent = self.take_sent(method);
        self.digest.challenged(response, &sent)?;
        Ok(self.authorize(method, target))
    }

    fn accepted(&mut self, method: &Method) {
        let sent = self.take_sent(method);
        self.digest.accepted(&sent);
    }
}

impl AgentService {
    /// Enables the authorization of a leg's requests, if it has credentials.
    pub(super) fn authorizes(
        &mut self,
        usage: UsageId,
        credentials: Option<&Credentials>,
    ) -> Option<Box<LegAuth>> {
        let auth = credentials.map(LegAuth::new)?;
        let _ = self.stack.endpoint().authorizes_inside(usage);
        Some(auth)
    }

    /// Handles the challenges of a leg's remote party; returns the other events.
    pub(super) fn met_challenge(&mut self, id: LegId, event: UsageEvent) -> Option<UsageEvent> {
        let method = match event {
            UsageEvent::Challenged { response } => {
                self.challenged(id, &response);
                return None;
            }
            UsageEvent::RequestChallenged { challenge } => {
                self.challenged_inside(id, &challenge);
                return None;
            }
            UsageEvent::Answered { .. } | UsageEvent::ReInviteAnswered { .. } => Method::Invite,
            UsageEvent::Response { .. } => Method::Info,
            UsageEvent::ReferAnswered { .. } => Method::Refer,
            _ => return Some(event),
        };
        if let Some(auth) = self.legs.get(id).and_then(|entry| entry.auth.as_mut()) {
            auth.accepted(&method);
        }
        Some(event)
    }

    /// Credentials for a re-INVITE, if they are known to be required.
    pub(super) fn reinvite_credentials(&mut self, id: LegId) -> HeaderFields {
        let Some(entry) = self.legs.get(id) else { return Vec::new() };
        let Some(auth) = &mut entry.auth else { return Vec::new() };
        let dialog = self.stack.endpoint().dialog(entry.usage);
        dialog.map(|dialog| auth.authorize(&Method::Invite, dialog.remote_target)).unwrap_or_default()
    }

    /// A 401 or 407 to our INVITE or BYE.
    fn challenged(&mut self, id: LegId, response: &Response) {
        let now = self.stack.now();
        let Some(entry) = self.legs.get(id) else { return };
        let endpoint = self.stack.endpoint();
        let ends = response.cseq().is_ok_and(|cseq| cseq.method == Method::Bye);
        let method = if ends { Method::Bye } else { Method::Invite };
        let target = endpoint.dialog(entry.usage).map(|dialog| dialog.remote_target.to_vec());
        let answer = match &mut entry.auth {
            Some(auth) => auth.answer(response, &method, &target.unwrap_or_default()),
            None => Err(ChallengeError::NotAChallenge),
        };
        let sent = answer.map(|headers| endpoint.authorize(now, entry.usage, headers));
        let reason = match sent {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if ends {
            // A BYE cannot be cancelled, and the remote party knows that we hang up.
            entry.leg.abandon(TerminationCause::ByeUnanswered);
        } else {
            entry.leg.abandon(TerminationCause::Failed { status: response.status(), reason });
            let _ = endpoint.cancel(now, entry.usage);
        }
        self.perform(id);
    }

    /// A challenge to another in-dialog request of ours. Only the final result is reported.
    fn challenged_inside(&mut self, id: LegId, challenge: &Challenge) {
        let now = self.stack.now();
        let Some(entry) = self.legs.get(id) else { return };
        let answer = entry
            .auth
            .as_mut()
            .zip(challenge.responses.last())
            .map(|(auth, response)| auth.answer(response, &challenge.method, &challenge.uri));
        let endpoint = self.stack.endpoint();
        let done = match answer {
            Some(Ok(headers)) => endpoint.authorize_request(now, entry.usage, challenge.cseq, headers),
            _ => endpoint.leave_refused(now, entry.usage, challenge.cseq),
        };
        if let Err(error) = done {
            tracing::debug!("leg {}: {error}", id.0);
        }
    }
}
