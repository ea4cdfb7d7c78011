//! Challenges (RFC 3261 §22) to requests of ours: to an INVITE or BYE, and to other in-dialog requests
//! (re-INVITE, UPDATE, REFER, INFO …), in either direction of call. Only the credentials of the leg's own
//! gateway are used: admission control decides.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::follow::Follow;
use super::{CallStep, Turn};
use crate::LegId;
use crate::handler::Party;
use crate::leg_fsm::LegState;
use b2b_sip::endpoint::{Challenge, HeaderFields, UsageId};
use b2b_sip::msg::{Method, Response};

/// Header fields with credentials.
#[derive(Serialize, Deserialize)]
struct Credentials(#[serde(with = "crate::controller::json::fields")] HeaderFields);

impl CallStep<'_> {
    /// The dialog of a leg exists: if its gateway has credentials, in-dialog challenges are reported here.
    pub(super) fn answers_challenges(&mut self, t: &mut Turn<'_>, leg: LegId, usage: UsageId) {
        if let Some(party) = self.known_gateway(leg)
            && self.common.fact("has credentials", |common| common.parts.admission.has_credentials(&party))
            && let Err(error) = t.sip.authorizes_inside(usage)
        {
            tracing::debug!("leg {}: {error}", leg.0);
        }
    }

    /// A 401 or 407 to our INVITE or BYE.
    pub(super) fn challenged(&mut self, t: &mut Turn<'_>, leg: LegId, response: &Response) {
        let of_leg = self.call.leg_mut(leg).and_then(|it| Some((it.usage?, it)));
        let Some((usage, it)) = of_leg else { return self.common.counters.impossible("challenged") };
        let up = it.life.state() == LegState::Answered;
        let method = if up { Method::Bye } else { Method::Invite };
        it.challenges.push(response.clone());
        let challenges = it.challenges.clone();
        let uri = t.sip.dialog(usage).map(|dialog| dialog.remote_target.to_vec()).unwrap_or_default();
        let answer = self.answer_to(leg, &challenges, &method, &uri);
        let Some(it) = self.call.leg(leg) else { return self.common.counters.impossible("challenged") };
        let sent = answer.is_some_and(|headers| t.sip.authorize(t.now, usage, headers).is_ok());
        // A BYE cannot be cancelled; it ends by itself.
        if !sent && !up && it.branch.is_some() {
            self.branch_refused(t, leg, response);
            self.common.follows.push(Follow::HangUp { leg, status: 480 });
        }
    }

    /// A challenge to another in-dialog request of ours.
    pub(super) fn challenged_inside(&mut self, t: &mut Turn<'_>, leg: LegId, challenge: &Challenge) {
        let usage = self.call.leg(leg).and_then(|it| it.usage);
        let Some(usage) = usage else { return self.common.counters.impossible("challenged_inside") };
        let done = match self.answer_to(leg, &challenge.responses, &challenge.method, &challenge.uri) {
            Some(headers) => t.sip.authorize_request(t.now, usage, challenge.cseq, headers),
            None => t.sip.leave_refused(t.now, usage, challenge.cseq),
        };
        if let Err(error) = done {
            tracing::debug!("leg {}: {error}", leg.0);
        }
    }

    /// Credentials for a challenged request, if its gateway has any that may be sent.
    fn answer_to(
        &mut self,
        leg: LegId,
        challenges: &[Response],
        method: &Method,
        uri: &[u8],
    ) -> Option<HeaderFields> {
        let party = self.known_gateway(leg)?;
        let credentials = self.common.fact("credentials", |it| {
            it.parts.admission.credentials(challenges, method, &party, uri).map(Credentials)
        });
        credentials.map(|Credentials(fields)| fields)
    }

    /// The party whose credentials may be sent on a leg. A callee may have a gateway's address without being
    /// the gateway: it counts only if it was called through one.
    fn known_gateway(&self, leg: LegId) -> Option<Arc<Party>> {
        let party = self.call.party(leg);
        let inbound = self.call.leg(leg).is_some_and(|it| it.inbound);
        (inbound || party.gateway.is_some()).then_some(party)
    }
}
