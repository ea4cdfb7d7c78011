//! Credentials for what the far end of a leg, or a proxy before it, challenges: our INVITE and
//! BYE, and re-INVITEs (RFC 3261 §22).

use bytes::Bytes;

use super::account::{self, Credentials};
use super::{AgentService, LegId};
use crate::leg_fsm::TerminationCause;
use b2b_sip::auth::{Authorized, ChallengeError, DigestClient};
use b2b_sip::endpoint::{Body, HeaderFields, UsageEvent};
use b2b_sip::msg::{Method, Response};

/// What a leg knows of who asks for credentials. They are the leg's own: another far end gets
/// none before it asks.
pub(super) struct LegAuth {
    digest: DigestClient,
    /// What its last request carried.
    sent: Authorized,
    /// The offer of the re-INVITE that is under way.
    offered: Option<Bytes>,
}

impl LegAuth {
    /// For a leg that has credentials.
    pub(super) fn new(credentials: &Credentials) -> Box<Self> {
        let digest = account::digest(credentials);
        Box::new(LegAuth { digest, sent: Authorized::default(), offered: None })
    }

    /// Credentials for a request, if this far end has asked before.
    fn authorize(&mut self, method: &Method, target: &[u8]) -> HeaderFields {
        self.sent = self.digest.authorize(method, target);
        self.sent.headers.clone()
    }

    fn challenged(&mut self, response: &Response) -> Result<(), ChallengeError> {
        let sent = std::mem::take(&mut self.sent);
        self.digest.challenged(response, &sent)
    }
}

impl AgentService {
    /// Takes what a leg's far end wants a password for. What it gives back is the leg's business.
    pub(super) fn met_challenge(&mut self, id: LegId, event: UsageEvent) -> Option<UsageEvent> {
        match event {
            UsageEvent::Challenged { response } => {
                self.challenged(id, &response);
                None
            }
            UsageEvent::ReInviteFailed { status: 401 | 407, response: Some(ref response), .. } => {
                (!self.reinvite_again(id, response)).then_some(event)
            }
            event => {
                let good = matches!(event, UsageEvent::Answered { .. } | UsageEvent::ReInviteAnswered { .. });
                if let Some(auth) = self.legs.get(id).filter(|_| good).and_then(|entry| entry.auth.as_mut()) {
                    auth.digest.accepted(&auth.sent);
                }
                Some(event)
            }
        }
    }

    /// Credentials for a re-INVITE, as far as they are known to be wanted.
    pub(super) fn reinvite_credentials(&mut self, id: LegId, offer: &Bytes) -> HeaderFields {
        let Some(entry) = self.legs.get(id) else { return Vec::new() };
        let Some(auth) = &mut entry.auth else { return Vec::new() };
        let endpoint = self.stack.endpoint();
        let target = endpoint.dialog(entry.usage).map(|dialog| dialog.remote_target.to_vec());
        auth.offered = Some(offer.clone());
        auth.authorize(&Method::Invite, &target.unwrap_or_default())
    }

    /// Credentials for a request inside a leg that was refused with 401 or 407; `sent` are those
    /// that it had. `None`: there are none, or they were not good.
    pub(super) fn credentials_for(
        &mut self,
        id: LegId,
        method: &Method,
        response: &Response,
        sent: &Authorized,
    ) -> Option<Authorized> {
        let auth = self.legs.get(id)?.auth.as_mut()?;
        match response.status() {
            401 | 407 => auth.digest.challenged(response, sent).ok()?,
            _ => {
                auth.digest.accepted(sent);
                return None;
            }
        }
        let entry = self.legs.get(id)?;
        let target = self.stack.endpoint().dialog(entry.usage)?.remote_target.to_vec();
        Some(entry.auth.as_mut()?.digest.authorize(method, &target))
    }

    /// 401 or 407 to our INVITE or BYE.
    fn challenged(&mut self, id: LegId, response: &Response) {
        let now = self.stack.now();
        let Some(entry) = self.legs.get(id) else { return };
        let endpoint = self.stack.endpoint();
        let ends = response.cseq().is_ok_and(|cseq| cseq.method == Method::Bye);
        let method = if ends { Method::Bye } else { Method::Invite };
        let target = endpoint.dialog(entry.usage).map(|dialog| dialog.remote_target.to_vec());
        let answer = match &mut entry.auth {
            Some(auth) => {
                auth.challenged(response).map(|()| auth.authorize(&method, &target.unwrap_or_default()))
            }
            None => Err(ChallengeError::NotAChallenge),
        };
        let sent = answer.map(|headers| endpoint.authorize(now, entry.usage, headers));
        let reason = match sent {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if ends {
            // Nobody cancels a BYE. The far end has heard that we want to go.
            entry.leg.abandon(TerminationCause::ByeUnanswered);
        } else {
            entry.leg.abandon(TerminationCause::Failed { status: response.status(), reason });
            let _ = endpoint.cancel(now, entry.usage);
        }
        self.perform(id);
    }

    /// Our re-INVITE again. `false`: it stays refused.
    fn reinvite_again(&mut self, id: LegId, response: &Response) -> bool {
        let now = self.stack.now();
        let Some(entry) = self.legs.get(id) else { return false };
        let Some(auth) = &mut entry.auth else { return false };
        let Some(offer) = auth.offered.clone().filter(|_| auth.challenged(response).is_ok()) else {
            return false;
        };
        let endpoint = self.stack.endpoint();
        let target = endpoint.dialog(entry.usage).map(|dialog| dialog.remote_target.to_vec());
        let headers = auth.authorize(&Method::Invite, &target.unwrap_or_default());
        endpoint.reinvite_with(now, entry.usage, headers, Some(Body::sdp(offer))).is_ok()
    }
}
