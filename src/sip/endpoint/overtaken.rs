//! Requests of ours that a later one has overtaken on the network: the far end has seen a higher CSeq, and
//! refuses them with 500 (RFC 3261 §12.2.2). Over UDP it takes one lost datagram, since the later request
//! goes out before the first is sent again.
//!
//! No request waits for the answer to another one. RFC 3261 §12.2.1.1 asks for no such order, beside one
//! INVITE (§14.1), one offer (RFC 3264 §4) and one NOTIFY of a subscription (RFC 6665 §4.2.2) at a time; and a
//! BYE that waited behind an unanswered request would keep the call for 32 s. Instead, what was overtaken is
//! sent again with the next number where only the newest state counts, so that order does not matter:
//!
//! - BYE: else the far end stays in a call that we have left
//! - NOTIFY for a REFER: with what is to be told by then
//! - re-INVITE: as after a 491, unless the session was changed meanwhile
//! - PRACK without a body: else the far end repeats its response for 32 s, and refuses the INVITE
//!
//! INFO, MESSAGE and whatever else our user sends goes back to the user with the 500: sent again it would come
//! behind what it was sent before, and digits in another order are another number. So does an UPDATE with an
//! offer, and the one that refreshes the session is sent again by the session timer.

use std::time::{Duration, Instant};

use super::send::User;
use super::{Endpoint, ReferId, UsageId};
use crate::dialog::usage::Phase;
use crate::msg::{Name, Response};

/// How often one BYE or NOTIFY is sent again: a far end could refuse for ever.
pub(super) const TRIES: u8 = 3;
/// The longest `Retry-After` that a BYE waits for: as long as §14.2 has somebody ask for with a 500.
const LONGEST: Duration = Duration::from_secs(10);

impl Endpoint {
    /// Whether a refusal says that a later request of ours has come first.
    pub(super) fn is_overtaken(&mut self, usage: UsageId, response: &Response) -> bool {
        let Ok(cseq) = response.cseq() else { return false };
        let tag = response.to_tag().unwrap_or_default();
        let dialog = self.usages.get_mut(usage).and_then(|it| it.dialog(tag));
        let is_behind = dialog.is_some_and(|dialog| dialog.local_cseq > cseq.number);
        // Who asks for a later try means something else.
        response.status() == 500 && response.header(Name::RetryAfter).is_none() && is_behind
    }

    /// The final response to our BYE. `true`: it is sent again, or will be. The session is over for us in any
    /// case (§15.1.1); a far end that refuses the BYE stays in it.
    ///
    /// 500 is of the transaction alone (RFC 5057 §5.1). It may be a matter of order though we know of no later
    /// request. 491 is no answer to a BYE (§14.1), but some refuse all with it while a re-INVITE is under way.
    pub(super) fn bye_refused(&mut self, now: Instant, usage: UsageId, response: &Response) -> bool {
        let retry_after = response.header(Name::RetryAfter).is_some();
        let wait = match response.status() {
            500 if self.is_overtaken(usage, response) => Duration::ZERO,
            500 | 491 if retry_after => match response.number::<u64>(Name::RetryAfter) {
                Ok(Some(seconds)) => Duration::from_secs(seconds),
                _ => self.config.timers.t1,
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

    /// Sends a BYE again that was refused for a while. `false`: none is due.
    pub(super) fn refused_bye_deadline(&mut self, now: Instant, usage: UsageId) -> bool {
        let parting = self.usages.get_mut(usage).and_then(|it| it.parting.as_deref_mut());
        let due = parting.and_then(|parting| parting.again_at.take_if(|at| *at <= now)).is_some();
        if due {
            self.send_bye(now, usage, User::Bye(usage));
        }
        due
    }

    /// Sends a NOTIFY again that was overtaken. `false`: it was not, or too often.
    pub(super) fn notify_again(
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

    /// The answer to a PRACK without a body.
    pub(super) fn pracked(&mut self, now: Instant, usage: UsageId, response: &Response) {
        if !self.is_overtaken(usage, response) {
            return;
        }
        let invite = self.usages.get(usage).filter(|it| matches!(it.phase, Phase::Caller(_)));
        if let Some(cseq) = invite.and_then(|it| it.ours.first()).map(|ours| ours.cseq) {
            self.prack_again(now, usage, cseq, response.to_tag().unwrap_or_default());
        }
    }
}
