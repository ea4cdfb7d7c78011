//! Reliable provisional responses to our INVITE (RFC 3262 §4). Each call leg acknowledges its
//! own, even if we did not request them: the user only handles the PRACK that carries an
//! answer.

use std::time::Instant;

use crate::dialog::offer_answer::OfferAnswer;
use crate::dialog::request::Draft;
use crate::dialog::state::Dialog;
use crate::endpoint::command::CommandError;
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, UsageId};
use crate::msg::body::Body;
use crate::msg::{Method, Name, Response};

/// Maximum number of PRACKs for one INVITE: each is a transaction of up to 32 s, and the peer
/// decides how many it requires.
const PRACKS: u8 = 64;

impl Endpoint {
    /// Sends the PRACK for a reliable provisional response, unless the user has to send it.
    /// `false` if the response is a retransmission or out of order and is to be ignored.
    pub(in crate::endpoint) fn acknowledge_provisional(
        &mut self,
        now: Instant,
        usage: UsageId,
        cseq: u32,
        response: &Response,
    ) -> bool {
        let is_reliable = response.status() > 100 && response.has_token(Name::Require, "100rel");
        let Some(rseq) = response.number::<u32>(Name::RSeq).ok().flatten().filter(|_| is_reliable) else {
            return true;
        };
        let offers_allowed = self.config.extensions.reliable;
        let tag = response.to_tag().unwrap_or_default();
        let Some(it) = self.usages.get_mut(usage) else { return true };
        if it.ours(cseq).is_some_and(|ours| ours.pracks >= PRACKS) {
            return false;
        }
        let Some(ours) = it.ours(cseq) else { return true };
        let offered = ours.offered;
        let Some(dialog) = it.dialog(tag) else { return true };
        if dialog.remote_rseq.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return false;
        }
        dialog.remote_rseq = Some(rseq);
        let has_session = response.session().is_some();
        // The answer to our offer (§5).
        if has_session && dialog.offer_answer == OfferAnswer::LocalOffer && !dialog.settled {
            dialog.offer_answer = OfferAnswer::Idle;
            dialog.settled = true;
        }
        // The peer's offer in response to an INVITE without one. If we do not support 100rel,
        // it stays unanswered.
        if has_session && !offered && !dialog.settled && offers_allowed {
            dialog.offer_answer = OfferAnswer::RemoteOffer;
            dialog.prack_owed = true;
            return true;
        }
        self.send_prack(now, usage, cseq, tag, None);
        true
    }

    /// Sends the PRACK with our answer after a `Provisional` with `prack_wanted`.
    ///
    /// # Errors
    /// No PRACK is due for this response.
    pub fn prack(
        &mut self,
        now: Instant,
        usage: UsageId,
        response: &Response,
        body: Option<Body>,
    ) -> Result<(), CommandError> {
        let tag = response.to_tag().unwrap_or_default();
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        let cseq = it.ours.first().map(|ours| ours.cseq).ok_or(CommandError::Gone)?;
        let dialog = it.dialog(tag).filter(|dialog| dialog.prack_owed);
        let dialog = dialog.ok_or(CommandError::WrongState("no PRACK is wanted"))?;
        dialog.prack_owed = false;
        dialog.settled = true;
        dialog.offer_answer = OfferAnswer::Idle;
        self.send_prack(now, usage, cseq, tag, body);
        Ok(())
    }

    /// Whether the user has to send the PRACK for this response.
    pub(in crate::endpoint) fn prack_wanted(&self, usage: UsageId, response: &Response) -> bool {
        let rseq = response.number::<u32>(Name::RSeq).ok().flatten();
        let tag = response.to_tag().unwrap_or_default();
        self.usages.get(usage).is_some_and(|it| {
            let owed = |dialog: &Dialog| dialog.prack_owed && dialog.remote_rseq == rseq;
            it.dialogs.iter().any(|dialog| dialog.remote_tag() == tag && owed(dialog))
        })
    }

    fn send_prack(&mut self, now: Instant, usage: UsageId, cseq: u32, tag: &[u8], body: Option<Body>) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        let Some(dialog) = it.dialog(tag) else { return };
        let Some(rseq) = dialog.remote_rseq else { return };
        dialog.local_cseq += 1;
        let dialog = dialog.clone();
        if let Some(ours) = it.ours(cseq) {
            ours.pracks += 1;
        }
        let user = if body.is_some() { User::Nobody(usage) } else { User::Prack(usage) };
        let mut draft = Draft::new(Method::Prack, dialog.local_cseq, body);
        draft.headers.push(("RAck".into(), format!("{rseq} {cseq} INVITE").into()));
        self.dispatch(now, dialog, draft, user);
    }

    /// Resends the last PRACK, which had no body, with the next number.
    pub(in crate::endpoint) fn prack_again(&mut self, now: Instant, usage: UsageId, cseq: u32, tag: &[u8]) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        if it.ours(cseq).is_some_and(|ours| ours.pracks < PRACKS) {
            self.send_prack(now, usage, cseq, tag, None);
        }
    }
}
