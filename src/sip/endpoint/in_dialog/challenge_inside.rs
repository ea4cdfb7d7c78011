//! Resends our requests in a dialog with credentials after 401 or 407 (RFC 3261 §22.2,
//! §22.3): re-INVITE, UPDATE, REFER, INFO … Only the last outcome is reported, so the code
//! that sent the request need not handle challenges.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::dialog::request::Draft;
use crate::dialog::state::Dialog;
use crate::dialog::usage::{Phase, Usage};
use crate::endpoint::command::{CommandError, check_headers};
use crate::endpoint::event::Challenge;
use crate::endpoint::invite::challenge::is_credentials;
use crate::endpoint::sending::send::{User, Waiting};
use crate::endpoint::{Endpoint, UsageEvent, UsageId};
use crate::msg::{HeaderFields, Method, Response};
use crate::transaction::client::{ClientTransactionId, Outcome};

/// Maximum number of requests kept per call; a challenge of any further one counts as a
/// refusal.
const KEPT: usize = 8;
/// Maximum number of times that one request is resent; a peer could challenge for ever.
const TRIES: usize = 8;

/// Requests in dialogs that are under way and may have to be resent.
#[derive(Default)]
pub(in crate::endpoint) struct Challengeable(BTreeMap<UsageId, Vec<Kept>>);

/// One request that may have to be resent.
#[derive(serde::Serialize, serde::Deserialize)]
pub(in crate::endpoint) struct Kept {
    pub transaction: ClientTransactionId,
    pub user: User,
    draft: Draft,
    /// Set once it was challenged and waits for our user.
    pub refusal: Option<(Outcome<User>, Response)>,
}

impl Challengeable {
    /// The requests kept for a call.
    pub fn of(&self, usage: UsageId) -> &[Kept] {
        self.0.get(&usage).map_or(&[], Vec::as_slice)
    }

    /// Keeps these for a call.
    pub fn take_in(&mut self, usage: UsageId, kept: Vec<Kept>) {
        if !kept.is_empty() {
            self.0.insert(usage, kept);
        }
    }

    fn push(&mut self, usage: UsageId, kept: Kept) {
        let all = self.0.entry(usage).or_default();
        if all.len() < KEPT {
            all.push(kept);
        }
    }

    fn take(&mut self, usage: UsageId, which: impl Fn(&Kept) -> bool) -> Option<Box<Kept>> {
        let all = self.0.get_mut(&usage)?;
        let kept = all.iter().position(which).map(|at| Box::new(all.swap_remove(at)));
        if all.is_empty() {
            self.forget(usage);
        }
        kept
    }

    /// Drops one request: its outcome is no longer of interest.
    pub fn forget_one(&mut self, usage: UsageId, transaction: ClientTransactionId) {
        self.take(usage, |it| it.transaction == transaction);
    }

    /// Drops the requests of a call that is over.
    pub fn forget(&mut self, usage: UsageId) {
        self.0.remove(&usage);
    }

    /// Number of requests kept.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

impl Endpoint {
    /// Resends the request of [`UsageEvent::RequestChallenged`] with the next CSeq number.
    /// `headers` are added to its own header fields: `Authorization`, `Proxy-Authorization`,
    /// or both.
    ///
    /// # Errors
    /// No such request waits, or the call has ended.
    pub fn authorize_request(
        &mut self,
        now: Instant,
        usage: UsageId,
        cseq: u32,
        headers: HeaderFields,
    ) -> Result<(), CommandError> {
        check_headers(&headers)?;
        let mut kept = self.waiting_for_credentials(usage, cseq)?;
        let it = self.usages.get_mut(usage).filter(|it| may_ask(it)).ok_or(CommandError::Gone)?;
        let at = kept.refusal.as_ref().and_then(|(_, response)| dialog_of(it, &kept.draft, response));
        let Some(dialog) = at.and_then(|at| it.dialogs.get_mut(at)) else { return Err(CommandError::Gone) };
        dialog.local_cseq += 1;
        let (dialog, next) = (dialog.clone(), dialog.local_cseq);
        let user = match kept.user {
            User::Invite(usage, before) => {
                let ours = it.ours(before).ok_or(CommandError::Gone)?;
                ours.cseq = next;
                ours.credentials.clone_from(&headers);
                User::Invite(usage, next)
            }
            User::Refer(_, id) => {
                // The NOTIFYs carry the CSeq number of the REFER that is accepted.
                if let Some(refer) = it.refers.iter_mut().find(|refer| refer.id == id) {
                    refer.cseq = next;
                }
                kept.user
            }
            user => user,
        };
        kept.draft.headers.retain(|(name, _)| !is_credentials(name));
        kept.draft.headers.extend(headers);
        kept.draft.cseq = next;
        self.dispatch(now, dialog, kept.draft, user);
        Ok(())
    }

    /// Gives up on the request of [`UsageEvent::RequestChallenged`], for lack of valid
    /// credentials: its 401 or 407 is reported like any other refusal.
    ///
    /// # Errors
    /// No such request waits.
    pub fn leave_refused(&mut self, now: Instant, usage: UsageId, cseq: u32) -> Result<(), CommandError> {
        if let Some((outcome, response)) = self.waiting_for_credentials(usage, cseq)?.refusal {
            self.tell_outcome(now, outcome, Some(response));
        }
        Ok(())
    }

    fn waiting_for_credentials(&mut self, usage: UsageId, cseq: u32) -> Result<Box<Kept>, CommandError> {
        let kept = self.challengeable.take(usage, |it| it.draft.cseq == cseq && it.refusal.is_some());
        kept.ok_or(CommandError::WrongState("no challenge waits for an answer"))
    }

    /// Keeps what is needed to resend a request, if its user answers challenges.
    pub(in crate::endpoint) fn keep_for_challenge(
        &mut self,
        transaction: ClientTransactionId,
        waiting: &Waiting,
    ) {
        let Some(usage) = waiting.user.inside() else { return };
        let Some(it) = self.usages.get(usage).filter(|it| it.authorizes_inside) else { return };
        // `challenge` handles the initial INVITE.
        let begins = waiting.draft.method == Method::Invite && it.phase != Phase::Established;
        if begins || waiting.draft.challenges.len() >= TRIES {
            return;
        }
        let (user, draft) = (waiting.user, waiting.draft.clone());
        self.challengeable.push(usage, Kept { transaction, user, draft, refusal: None });
    }

    /// Takes the kept request of a transaction that has its final outcome.
    pub(in crate::endpoint) fn kept_for_challenge(
        &mut self,
        outcome: &Outcome<User>,
        response: Option<&Response>,
    ) -> Option<Box<Kept>> {
        let final_response = response.is_some_and(|response| response.status() >= 200);
        if !(final_response || outcome.timeout || outcome.transport_failed || outcome.ended) {
            return None;
        }
        let (usage, id) = (outcome.user.inside()?, outcome.id?);
        self.challengeable.take(usage, |it| it.transaction == id && it.refusal.is_none())
    }

    /// Reports the challenge if `response` is one. Otherwise returns the outcome.
    pub(in crate::endpoint) fn asks_for_credentials(
        &mut self,
        mut kept: Box<Kept>,
        outcome: Outcome<User>,
        response: Response,
    ) -> Option<(Outcome<User>, Response)> {
        let usage = kept.user.inside().filter(|_| matches!(response.status(), 401 | 407));
        let known = usage.and_then(|id| Some((id, self.usages.get_mut(id).filter(|it| may_ask(it))?)));
        let Some((id, it)) = known else { return Some((outcome, response)) };
        let dialog = dialog_of(it, &kept.draft, &response).and_then(|at| it.dialogs.get(at));
        let uri = dialog.map(Dialog::request_uri).map(|(uri, _)| uri.to_vec());
        let Some(uri) = uri else { return Some((outcome, response)) };
        if let User::Invite(_, cseq) = kept.user {
            let Some(ours) = it.ours(cseq) else { return Some((outcome, response)) };
            (ours.transaction, ours.deadline) = (None, None);
        }
        kept.draft.challenges.push(response.clone());
        let Draft { cseq, ref method, ref challenges, .. } = kept.draft;
        let (method, responses, uri) = (method.clone(), challenges.clone(), uri.into());
        let challenge = Box::new(Challenge { cseq, method, uri, responses });
        self.challengeable.push(id, Kept { refusal: Some((outcome, response)), ..*kept });
        self.usage_event(id, UsageEvent::RequestChallenged { challenge });
        None
    }
}

impl User {
    /// The call of a request in a dialog whose outcome is reported; `None` for BYE.
    fn inside(self) -> Option<UsageId> {
        match self {
            User::Invite(usage, _)
            | User::Update(usage, _)
            | User::Request(usage, _)
            | User::Refresh(usage)
            | User::Refer(usage, _)
            | User::Notify(usage, _)
            | User::Prack(usage) => Some(usage),
            User::Bye(_) | User::Outside(_) | User::Nobody(_) => None,
        }
    }
}

/// The dialog of a refused request: a PRACK belongs to one of several early ones.
fn dialog_of(usage: &Usage, draft: &Draft, response: &Response) -> Option<usize> {
    let tag = response.to_tag();
    let of_tag = usage.dialogs.iter().position(|dialog| Some(dialog.remote_tag()) == tag);
    of_tag.or((draft.method != Method::Prack).then_some(0))
}

/// Whether requests can still be sent in the call.
fn may_ask(usage: &Usage) -> bool {
    !matches!(usage.phase, Phase::Ending | Phase::Over)
}
