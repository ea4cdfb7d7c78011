//! Our provisional responses to an INVITE, plain and reliable, and the PRACKs for the latter
//! (RFC 3261 §13.3.1.1, RFC 3262 §3).

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::dialog::callee_fsm;
use crate::dialog::offer_answer::OfferAnswer;
use crate::dialog::reliable_fsm::{self, Action, Event, State};
use crate::dialog::reply::Reply;
use crate::dialog::usage::{LastProvisional, Reliable, Unacknowledged};
use crate::endpoint::command::CommandError;
use crate::endpoint::in_dialog::session::Addressee;
use crate::endpoint::{Endpoint, ServerTransactionId, UsageEvent, UsageId};
use crate::msg::{Method, Name, Request, chars};
use crate::outbox::ReplyPath;

/// Maximum number of reliable provisional responses queued until the current one gets its
/// PRACK.
const QUEUED: usize = 8;

/// How often a provisional response is repeated (§13.3.1.1).
const REPEATED: Duration = Duration::from_secs(60);

impl Endpoint {
    /// Sends a provisional response; reliably if the user wants that and the peer supports
    /// it, or if the peer requires it.
    pub(in crate::endpoint) fn reply_provisional(
        &mut self,
        now: Instant,
        usage: UsageId,
        transaction: ServerTransactionId,
        reply: Reply,
    ) -> Result<(), CommandError> {
        let request = self.servers.request(transaction).ok_or(CommandError::Gone)?;
        let reliably = self.config.extensions.reliable
            && (request.has_token(Name::Require, "100rel")
                || reply.reliable && request.has_token(Name::Supported, "100rel"));
        if !reliably {
            let response = self.dialog_response(transaction, usage, &reply)?;
            self.servers.respond(now, &mut self.out, transaction, reply.status, response);
            self.told(now, usage, None);
            return Ok(());
        }
        let mut again = reply.clone();
        if request.session().is_none() {
            again.body = None;
        }
        self.send_reliably(now, usage, transaction, reply, true)?;
        self.told(now, usage, Some(again));
        Ok(())
    }

    /// A provisional response is told, and is repeated after a minute.
    fn told(&mut self, now: Instant, usage: UsageId, reliable: Option<Reply>) {
        if let Some(theirs) = self.usages.get_mut(usage).and_then(|it| it.theirs.as_deref_mut()) {
            theirs.told = Some(LastProvisional { again_at: now + REPEATED, reliable });
        }
        self.usages.arm(now, usage);
    }

    /// Repeats what was told last: every proxy on the way expects that (§13.3.1.1). A reliable response gets a
    /// number of its own, without an offer.
    pub(in crate::endpoint) fn repeat_provisional(&mut self, now: Instant, usage: UsageId) {
        let Some(theirs) = self.usages.get_mut(usage).and_then(|it| it.theirs.as_deref_mut()) else { return };
        let (transaction, told) = (theirs.transaction, theirs.told.as_mut());
        let Some(told) = told.filter(|told| told.again_at <= now) else { return };
        told.again_at = now + REPEATED;
        match told.reliable.clone() {
            // One that waits for its PRACK is retransmitted anyway.
            Some(_) if theirs.reliable.as_deref().is_none_or(|it| it.state != State::Open) => {}
            Some(reply) => drop(self.send_reliably(now, usage, transaction, reply, false)),
            None => self.servers.repeat(&mut self.out, transaction),
        }
    }

    /// Sends a reliable provisional response. `settles`: its PRACK settles the session in its body.
    fn send_reliably(
        &mut self,
        now: Instant,
        usage: UsageId,
        transaction: ServerTransactionId,
        mut reply: Reply,
        settles: bool,
    ) -> Result<(), CommandError> {
        let it = self.usages.get_mut(usage).ok_or(CommandError::Gone)?;
        let theirs = it.theirs.as_deref_mut().ok_or(CommandError::Gone)?;
        let reliable = theirs.reliable.get_or_insert_with(|| {
            // §3: from 1 to 2**31 - 1, chosen at random.
            Box::new(Reliable::new(1 + (it.chance.random() & 0x3fff_ffff) as u32))
        });
        if reliable.queue.len() >= QUEUED || !matches!(reliable.state, State::Open | State::Awaiting) {
            return Err(CommandError::WrongState("too many provisional responses wait for a PRACK"));
        }
        let rseq = reliable.next_rseq;
        reply.headers.push((Bytes::from_static(b"Require"), Bytes::from_static(b"100rel")));
        reply.headers.push((Bytes::from_static(b"RSeq"), rseq.to_string().into()));
        let response = self.dialog_response(transaction, usage, &reply)?;
        let response = Bytes::copy_from_slice(&response);
        if let Some(reliable) = self.reliable_mut(usage) {
            reliable.next_rseq += 1;
            reliable.queue.push_back((rseq, reply.status, response, reply.has_session() && settles));
        }
        self.reliable_event(now, usage, Event::Send);
        Ok(())
    }

    /// The value of our Supported without these option tags.
    pub fn supported_without(&self, without: &[&str]) -> String {
        let stays = |tag: &&str| !without.iter().any(|it| it.eq_ignore_ascii_case(tag));
        let tags = self.identity.supported.split(", ").filter(stays);
        tags.collect::<Vec<_>>().join(", ")
    }

    /// Whether the user has answered but the 2xx has to wait for a PRACK.
    pub(in crate::endpoint) fn answer_is_held(&self, usage: UsageId) -> bool {
        let theirs = self.usages.get(usage).and_then(|it| it.theirs.as_deref());
        let reliable = theirs.and_then(|theirs| theirs.reliable.as_deref());
        reliable.is_some_and(|reliable| reliable.state == State::AnswerHeld)
    }

    fn reliable_mut(&mut self, usage: UsageId) -> Option<&mut Reliable> {
        self.usages.get_mut(usage)?.theirs.as_deref_mut()?.reliable.as_deref_mut()
    }

    pub(in crate::endpoint) fn reliable_event(&mut self, now: Instant, usage: UsageId, event: Event) {
        let Some(reliable) = self.reliable_mut(usage) else { return };
        let (next, actions) = reliable_fsm::step(reliable.state, event);
        reliable.state = next;
        self.out.counters.steps += 1;
        for action in actions {
            match action {
                Action::Transmit => self.transmit_reliably(now, usage),
                Action::Retransmit => self.retransmit_reliable(now, usage),
                Action::Stop => {
                    if let Some(reliable) = self.reliable_mut(usage) {
                        reliable.unacknowledged = None;
                    }
                }
                Action::Next => {
                    if self.reliable_mut(usage).is_some_and(|reliable| !reliable.queue.is_empty()) {
                        self.reliable_event(now, usage, Event::Send);
                    }
                }
                Action::SendAnswer => {
                    let answer = self.reliable_mut(usage).and_then(|reliable| reliable.answer.take());
                    if let Some((status, response, has_session)) = answer {
                        self.succeed(now, usage, has_session, status, response);
                    }
                }
                Action::Refuse => {
                    let theirs = self.usages.get(usage).and_then(|it| it.theirs.as_deref());
                    if theirs.is_some_and(|theirs| theirs.initial) {
                        self.callee_event(now, usage, callee_fsm::Event::PrackTimeout, None);
                    } else {
                        self.refuse_pending(now, usage, 504);
                    }
                }
            }
        }
        self.usages.arm(now, usage);
    }

    fn transmit_reliably(&mut self, now: Instant, usage: UsageId) {
        let (t1, give_up) = (self.config.timers.t1, self.config.timers.give_up());
        let Some(it) = self.usages.get_mut(usage) else { return };
        let Some(theirs) = it.theirs.as_deref_mut() else { return };
        let transaction = theirs.transaction;
        let Some(reliable) = theirs.reliable.as_deref_mut() else { return };
        let Some((rseq, status, response, has_session)) = reliable.queue.pop_front() else { return };
        reliable.unacknowledged = Some(Unacknowledged {
            rseq,
            response: response.clone(),
            has_session,
            resend_at: now + t1,
            interval: t1,
            give_up_at: now + give_up,
        });
        // In response to an INVITE without an offer, the body is our offer (§5).
        if let Some(dialog) = it.dialogs.first_mut()
            && has_session
            && dialog.offer_answer == OfferAnswer::Idle
            && !dialog.settled
        {
            dialog.offer_answer = OfferAnswer::LocalOffer;
        }
        self.servers.respond(now, &mut self.out, transaction, status, response);
    }

    fn retransmit_reliable(&mut self, now: Instant, usage: UsageId) {
        let Some(theirs) = self.usages.get_mut(usage).and_then(|it| it.theirs.as_deref_mut()) else { return };
        let transaction = theirs.transaction;
        let reliable = theirs.reliable.as_deref_mut();
        let Some(it) = reliable.and_then(|reliable| reliable.unacknowledged.as_mut()) else { return };
        // §3: the interval doubles without an upper bound.
        it.interval *= 2;
        it.resend_at = now + it.interval;
        let response = it.response.clone();
        if let Some(path) = self.servers.path(transaction) {
            self.out.counters.retransmitted += 1;
            self.out.respond(&path, response);
        }
    }

    /// Handles the time-out of a reliable response: retransmits it, or gives up. `false` if
    /// none was due.
    pub(in crate::endpoint) fn reliable_deadline(&mut self, now: Instant, usage: UsageId) -> bool {
        let Some(reliable) = self.reliable_mut(usage).filter(|reliable| reliable.is_waiting()) else {
            return false;
        };
        let Some(it) = reliable.unacknowledged.as_ref() else { return false };
        let event = match () {
            () if it.give_up_at <= now => Event::GiveUp,
            () if it.resend_at <= now => Event::Resend,
            () => return false,
        };
        self.reliable_event(now, usage, event);
        true
    }

    /// Handles a PRACK in a call (§3): 481 unless it matches the outstanding response.
    pub(in crate::endpoint) fn prack_received(
        &mut self,
        now: Instant,
        path: ReplyPath,
        addressee: Addressee,
        request: Request,
    ) {
        let Some((id, usage)) = addressee.usage.and_then(|id| Some((id, self.usages.get_mut(id)?))) else {
            return;
        };
        let theirs = usage.theirs.as_deref();
        let expected = theirs.and_then(|theirs| {
            let it = theirs.reliable.as_deref()?.unacknowledged.as_ref()?;
            Some((it.rseq, theirs.cseq, it.has_session))
        });
        let named = request.header(Name::RAck).and_then(rack);
        // This PRACK arrives after the ACK and has no further effect (§3).
        if named.is_some() && named == usage.prack_due && request.session().is_none() {
            usage.prack_due = None;
            return self.answer_now(now, path, request, addressee, 200, &[]);
        }
        let expected = expected.filter(|(rseq, cseq, _)| named == Some((*rseq, *cseq)));
        let Some((_, _, had_body)) = expected else {
            return self.answer_now(now, path, request, addressee, 481, &[]);
        };
        let has_session = request.session().is_some();
        let Some(dialog) = usage.dialogs.first_mut() else { return };
        let mut offers = false;
        match dialog.offer_answer {
            // The answer to our offer; without one our offer has failed.
            OfferAnswer::LocalOffer if had_body => {
                dialog.offer_answer = OfferAnswer::Idle;
                dialog.settled = true;
            }
            OfferAnswer::RemoteOffer if had_body => {
                dialog.offer_answer = OfferAnswer::after_request(has_session, false);
                dialog.settled = true;
                offers = has_session;
            }
            // A new offer, allowed once the first one was answered (§5).
            OfferAnswer::Idle if has_session && dialog.settled => {
                dialog.offer_answer = OfferAnswer::RemoteOffer;
                offers = true;
            }
            _ if has_session => return self.answer_now(now, path, request, addressee, 488, &[]),
            _ => {}
        }
        let transaction = if offers {
            self.servers.start(now, &mut self.out, request.clone(), path, Some(id))
        } else {
            self.answer_now(now, path, request.clone(), addressee, 200, &[]);
            None
        };
        self.usage_event(id, UsageEvent::ProvisionalAcknowledged { request, offer: transaction });
        self.reliable_event(now, id, Event::Prack);
    }
}

/// RSeq and CSeq number of a RAck, if it is for an INVITE.
fn rack(value: &[u8]) -> Option<(u32, u32)> {
    let mut words = value.split(|&byte| chars::is_lws(byte)).filter(|word| !word.is_empty());
    let mut number = || u32::try_from(chars::number(words.next()?)?).ok();
    let (rseq, cseq) = (number()?, number()?);
    (words.next() == Some(Method::Invite.as_bytes()) && words.next().is_none()).then_some((rseq, cseq))
}
