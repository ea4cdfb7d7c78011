//! Reliable provisional responses to our INVITE (RFC 3262 §4). We do not ask for
//! them, but acknowledge them where they come: PRACK goes hop by hop and its
//! user never sees it.

use std::time::Instant;

use super::send::User;
use super::{Endpoint, UsageId};
use crate::sip::dialog::offer_answer::OfferAnswer;
use crate::sip::dialog::request::Draft;
use crate::sip::msg::{Method, Name, Response};

/// PRACKs for one INVITE: each is a transaction of ours for up to 32 s, and the
/// far end decides how many it asks for.
const PRACKS: u8 = 64;

impl Endpoint {
    /// Sends the PRACK that a reliable provisional response wants. `false`: the
    /// response is a copy, or has overtaken another one, and says nothing new.
    pub(super) fn acknowledge_provisional(
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
        let tag = response.to_tag().unwrap_or_default();
        let Some(it) = self.usages.get_mut(usage) else { return true };
        if it.ours(cseq).is_some_and(|ours| ours.pracks >= PRACKS) {
            return false;
        }
        let Some(dialog) = it.dialog(tag) else { return true };
        if dialog.remote_rseq.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return false;
        }
        dialog.remote_rseq = Some(rseq);
        // The answer to our offer has come (§5); an offer of theirs is one that
        // we did not allow them to make, and stays unanswered.
        if !response.body().is_empty() && dialog.offer_answer == OfferAnswer::LocalOffer {
            dialog.offer_answer = OfferAnswer::Idle;
        }
        dialog.local_cseq += 1;
        let dialog = dialog.clone();
        if let Some(ours) = it.ours(cseq) {
            ours.pracks += 1;
        }
        let mut draft = Draft::new(Method::Prack, dialog.local_cseq, None);
        draft.headers.push(("RAck".into(), format!("{rseq} {cseq} INVITE").into()));
        self.dispatch(now, dialog, draft, User::Nobody);
        true
    }
}
