//! Requests of ours that arrived after a later one: the peer has seen a higher CSeq, and
//! refuses them with 500 (RFC 3261 §12.2.2). Over UDP one lost datagram suffices, since the
//! later request is sent before the first is retransmitted.
//!
//! No request waits for the response to another one. RFC 3261 §12.2.1.1 requires no order
//! beyond one INVITE (§14.1), one offer (RFC 3264 §4) and one NOTIFY of a subscription
//! (RFC 6665 §4.2.2) at a time; and a BYE that waited behind an unanswered request would keep
//! the call for 32 s. Instead, an overtaken request is resent with the next number where only
//! the newest state counts, so that order does not matter:
//!
//! - BYE: otherwise the peer stays in a call that we have left
//! - NOTIFY for a REFER: with the status current at that time
//! - re-INVITE: as after a 491, unless the session has changed in the meantime
//! - PRACK without a body: otherwise the peer repeats its response for 32 s, and refuses the
//!   INVITE
//!
//! For INFO, MESSAGE and other requests of our user, the 500 is reported to the user: a
//! resent request would arrive after later ones, and reordered digits make another number.
//! The same holds for an UPDATE with an offer; an UPDATE that refreshes the session is resent
//! by the session timer.

use std::time::{Duration, Instant};

use crate::dialog::usage::Phase;
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, ReferId, UsageId};
use crate::msg::{Name, Response};

/// Maximum number of times that one BYE, NOTIFY or re-INVITE is resent; a peer could refuse for ever.
pub(in crate::endpoint) const TRIES: u8 = 3;
/// The longest `Retry-After` that a BYE waits for: the maximum that §14.2 allows with a 500.
const LONGEST: Duration = Duration::from_secs(10);

impl Endpoint {
    /// Whether a refusal means that a later request of ours arrived first.
    pub(in crate::endpoint) fn is_overtaken(&mut self, usage: UsageId, response: &Response) -> bool {
        let Ok(cseq) = response.cseq() else { return false };
        let tag = response.to_tag().unwrap_or_default();
        let dialog = self.usages.get_mut(usage).and_then(|it| it.dialog(tag));
        let is_behind = dialog.is_some_and(|dialog| dialog.local_cseq > cseq.number);
        // A 500 with Retry-After has another meaning.
        response.status() == 500 && response.header(Name::RetryAfter).is_none() && is_behind
    }

    /// Handles a refusal of our BYE. `true` if the BYE is resent now or later. The session is
    /// over for us in any case (§15.1.1), but a peer that refuses the BYE stays in it.
    ///
    /// A 500 concerns only the transaction (RFC 5057 §5.1), and order may be its cause even
    /// if no later request is known. 491 is no valid response to a BYE (§14.1), but some
    /// peers refuse every request with it during a re-INVITE.
    pub(in crate::endpoint) fn bye_refused(
        &mut self,
        now: Instant,
        usage: UsageId,
        response: &Response,
    ) -> bool {
        let retry_after = response.header(Name::RetryAfter).is_some();
        let wait = match response.status() {
            500 if self.is_overtaken(usage, response) => Duration::ZERO,
            500 | 491 if retry_after => match response.seconds(Name::RetryAfter) {
                Some(seconds) => Duration::from_secs(seconds.into()),
                None => self.config.timers.t1,
            },
            500 | 491 => self.config.timers.t1,
            _ => return false,
        };
        let Some(it) = self.usages.get_mut(usage).filter(|it| it.phase == Phase::Ending) else {
            return false;
        };
        let parting = it.parting.get_or_insert_default();
        if parting.refusals >= TRIES || wait > LONGEST {
            return false;
        }
        parting.refusals += 1;
        if wait.is_zero() {
            self.send_bye(now, usage, User::Bye(usage));
        } else {
            parting.again_at = Some(now + wait);
            self.usages.arm(now, usage);
        }
        true
    }

    /// Resends a BYE whose refusal asked for a delay. `false` if none is due.
    pub(in crate::endpoint) fn refused_bye_deadline(&mut self, now: Instant, usage: UsageId) -> bool {
        let parting = self.usages.get_mut(usage).and_then(|it| it.parting.as_deref_mut());
        let due = parting.and_then(|parting| parting.again_at.take_if(|at| *at <= now)).is_some();
        if due {
            self.send_bye(now, usage, User::Bye(usage));
        }
        due
    }

    /// Resends an overtaken NOTIFY. `false` if it was not overtaken, or too often.
    pub(in crate::endpoint) fn notify_again(
        &mut self,
        now: Instant,
        usage: UsageId,
        refer: ReferId,
        response: &Response,
    ) -> bool {
        if !self.is_overtaken(usage, response) {
            return false;
        }
        let Some(it) = self.usages.get_mut(usage).and_then(|it| it.refer(refer)) else { return false };
        if it.overtaken >= TRIES {
            return false;
        }
        it.overtaken += 1;
        self.repeat_notify(now, usage, refer);
        true
    }

    /// Handles the response to a PRACK without a body.
    pub(in crate::endpoint) fn pracked(&mut self, now: Instant, usage: UsageId, response: &Response) {
        if !self.is_overtaken(usage, response) {
            return;
        }
        let invite = self.usages.get(usage).filter(|it| matches!(it.phase, Phase::Caller(_)));
        if let Some(cseq) = invite.and_then(|it| it.ours.first()).map(|ours| ours.cseq) {
            self.prack_again(now, usage, cseq, response.to_tag().unwrap_or_default());
        }
    }
}
