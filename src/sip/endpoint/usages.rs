//! The slab of usages, their timers and their end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use slab::Slab;

use super::outbox::Outbox;
use super::{Endpoint, Event, Output, Termination, UsageEvent, UsageId};
use crate::dialog::state::Dialog;
use crate::dialog::usage::{Phase, Progress, Usage};
use crate::msg::Request;
use crate::transaction::slots::give_back;
use crate::transaction::timer_queue::TimerQueue;
use crate::transaction::tokens::Tokens;
use b2b_base::ids::{Branch, Chance, Mint, locate_tag};

/// A deadline further away than this is looked at again on the way, so that the
/// entries of calls that were answered meanwhile do not pile up.
const HORIZON: Duration = Duration::from_secs(16);

/// All usages of an endpoint.
#[derive(Default)]
pub(super) struct Usages {
    slab: Slab<Usage>,
    by_tag: Tokens,
    /// Seeds for usages to come, in place of the mint's.
    foreseen: VecDeque<[u8; 32]>,
    removals: usize,
    timers: TimerQueue<UsageId>,
    generation: u32,
}

impl Usages {
    /// The stream of the usage that is inserted next.
    pub fn chance(&self, mint: &mut Mint) -> Chance {
        match self.foreseen.front() {
            Some(seed) => Chance::new(*seed, mint.shard()),
            None => mint.chance(),
        }
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn insert(&mut self, mut usage: Usage) -> UsageId {
        self.generation = self.generation.wrapping_add(1);
        usage.generation = self.generation;
        // Its stream was made from it.
        self.foreseen.pop_front();
        let tag = usage.local_tag;
        let slot = self.slab.insert(usage) as u32;
        if let Some(it) = locate_tag(tag.as_bytes()) {
            self.by_tag.insert(it.random, slot);
        }
        UsageId { slot, generation: self.generation }
    }

    pub fn get(&self, id: UsageId) -> Option<&Usage> {
        self.slab.get(id.slot as usize).filter(|usage| usage.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: UsageId) -> Option<&mut Usage> {
        self.slab.get_mut(id.slot as usize).filter(|usage| usage.generation == id.generation)
    }

    /// The usage whose dialog a request belongs to (§12.2.2): our tag leads to
    /// it, Call-ID and remote tag have to agree.
    pub fn of_request(&self, request: &Request) -> Option<UsageId> {
        let remote_tag = request.from_tag().unwrap_or_default();
        self.of_dialog(request.call_id().ok()?, request.to_tag()?, remote_tag)
    }

    /// Whether a tag is that of a call.
    pub fn has_tag(&self, tag: &[u8]) -> bool {
        self.of_tag(tag).is_some()
    }

    fn of_tag(&self, tag: &[u8]) -> Option<(u32, &Usage)> {
        let slot = self.by_tag.get(locate_tag(tag)?.random)?;
        let usage = self.slab.get(slot as usize)?;
        (usage.local_tag.as_bytes() == tag).then_some((slot, usage))
    }

    /// The usage with this dialog; `tag` is ours.
    pub fn of_dialog(&self, call_id: &[u8], tag: &[u8], remote_tag: &[u8]) -> Option<UsageId> {
        let (slot, usage) = self.of_tag(tag)?;
        let known = usage.dialogs.iter().any(|it| it.call_id() == call_id && it.remote_tag() == remote_tag);
        known.then_some(UsageId { slot, generation: usage.generation })
    }

    /// Makes sure that the usage wakes at its earliest deadline, or at the horizon
    /// to look again.
    pub fn arm(&mut self, now: Instant, id: UsageId) {
        let Some(usage) = self.slab.get_mut(id.slot as usize).filter(|it| it.generation == id.generation)
        else {
            return;
        };
        let deadline = usage.next_deadline().map(|deadline| deadline.min(now + HORIZON));
        self.timers.arm(&mut usage.queued, deadline, id);
    }

    /// The next usage that has something to do now.
    pub fn due(&mut self, now: Instant, out: &mut Outbox) -> Option<UsageId> {
        while let Some((at, id)) = self.timers.pop_due(now) {
            out.counters.steps += 1;
            let Some(usage) = self.get_mut(id) else { continue };
            if !usage.queued.matches(at) {
                continue;
            }
            match usage.next_deadline() {
                Some(deadline) if deadline <= now => return Some(id),
                _ => self.arm(now, id),
            }
        }
        None
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Removes the usage if nothing of it can be asked for any more.
    pub fn settle(&mut self, id: UsageId) {
        if self.get(id).is_some_and(|usage| !usage.is_needed()) {
            let mut usage = self.slab.remove(id.slot as usize);
            self.timers.disarm(&mut usage.queued, id);
            if let Some(it) = locate_tag(usage.local_tag.as_bytes()) {
                self.by_tag.remove(it.random, id.slot);
            }
            if give_back(&mut self.slab, &mut self.removals) {
                self.by_tag.shrink();
            }
        }
    }

    /// Usages, timer entries, map entries, slab capacity.
    pub fn holdings(&self) -> [usize; 4] {
        [self.slab.len(), self.timers.len(), self.by_tag.entries(), self.slab.capacity()]
    }
}

impl Endpoint {
    /// The seed that the identifiers and random choices of a call come from: its
    /// tag, Call-ID, branches, and first CSeq and RSeq, and how long it waits after
    /// glare. Who knows it can forge requests in the call.
    ///
    /// With this seed, by [`Endpoint::foresee`], and the same input, another
    /// endpoint of the same configuration sends the same bytes in that call,
    /// whatever else either of them does.
    pub fn seed_of(&self, usage: UsageId) -> Option<[u8; 32]> {
        self.usages.get(usage).map(|it| it.chance.seed())
    }

    /// The next call that begins, ours or theirs, takes this seed in place of one
    /// of the endpoint's. Several seeds are taken in the order in which they were
    /// given. Calls with the same seed have the same tags and branches, so an
    /// endpoint has room for one of them at a time.
    pub fn foresee(&mut self, seed: [u8; 32]) {
        self.usages.foreseen.push_back(seed);
    }

    /// How much of what its seed gives is used: for [`Endpoint::go_on_from`].
    pub fn position(&self) -> u64 {
        self.mint.position()
    }

    /// Goes on with what the seed gives where another endpoint of the same seed has stopped ([`Endpoint::position`]):
    /// else identifiers would come twice. What the endpoint knows its own loops and answers by is the same.
    pub fn go_on_from(&mut self, position: u64) {
        self.mint.skip_to(position);
    }

    /// Gives these outputs again, before all others: whoever took them could not carry them out.
    pub fn give_again(&mut self, outputs: Vec<Output>) {
        self.out.give_again(outputs);
    }

    /// A branch for a request of this usage; without one, or when it is gone, a
    /// branch of the endpoint.
    pub(super) fn next_branch(&mut self, usage: Option<UsageId>) -> Branch {
        match usage.and_then(|usage| self.usages.get_mut(usage)) {
            Some(usage) => usage.chance.branch(),
            None => self.mint.branch(),
        }
    }

    /// Random bits, as `next_branch`.
    pub(super) fn next_random(&mut self, usage: Option<UsageId>) -> u64 {
        match usage.and_then(|usage| self.usages.get_mut(usage)) {
            Some(usage) => usage.chance.random(),
            None => self.mint.random(),
        }
    }

    /// User part of our Contact in this call; empty: the endpoint's.
    pub(super) fn contact_user(&self, usage: Option<UsageId>) -> &[u8] {
        let dialog = usage.and_then(|usage| self.usages.get(usage)).and_then(|it| it.dialogs.first());
        dialog.map_or(b"", Dialog::contact_user)
    }

    /// Gives an event of a usage to the user, unless its last one is out.
    pub(super) fn usage_event(&mut self, usage: UsageId, event: UsageEvent) {
        if self.usages.get(usage).is_some_and(|it| !it.is_over()) {
            self.out.event(Event::Usage { usage, event });
        }
    }

    /// Ends a usage: its last event. Only stragglers are dealt with from now on.
    pub(super) fn terminate(&mut self, now: Instant, id: UsageId, cause: Termination) {
        if self.usages.get(id).is_none_or(Usage::is_over) {
            return;
        }
        // What they still ask for inside a session that is over (§15.1.2).
        self.refuse_pending(now, id, 487);
        self.refers_after_end(now, id);
        self.challengeable.forget(id);
        let until = now + self.config.timers.give_up();
        let Some(usage) = self.usages.get_mut(id) else { return };
        usage.theirs = None;
        usage.parting = None;
        usage.timer = None;
        usage.ours.retain_mut(|ours| {
            let open = ours.transaction.filter(|_| ours.progress == Progress::Open);
            // The 2xx to a re-INVITE wants its ACK all the same (RFC 5407 §3.2.3).
            let awaited = open.is_some() && ours.origin.is_none();
            if let (Some(transaction), false) = (open, awaited) {
                self.clients.orphan(now, &mut self.out, transaction);
            }
            ours.deadline = awaited.then_some(until);
            ours.body = None;
            ours.headers = Vec::new();
            ours.again = None;
            ours.progress == Progress::Succeeded || awaited
        });
        self.usage_event(id, UsageEvent::Terminated { cause });
        if let Some(usage) = self.usages.get_mut(id) {
            usage.phase = Phase::Over;
            usage.forget_dialogs();
        }
        self.usages.arm(now, id);
        self.usages.settle(id);
    }

    /// Something a usage asked to be woken for.
    pub(super) fn usage_timeout(&mut self, now: Instant, id: UsageId) {
        let Some(usage) = self.usages.get(id) else { return };
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let ours = usage.ours.iter().find(|ours| due(ours.deadline)).map(|ours| (ours.cseq, ours.progress));
        if let Some((cseq, progress)) = ours {
            match progress {
                Progress::BackOff => self.retry_reinvite(now, id, cseq),
                _ => self.invite_deadline(now, id, cseq),
            }
        } else if !self.bye_challenge_deadline(now, id)
            && !self.refused_bye_deadline(now, id)
            && !self.refer_deadline(now, id)
            && !self.session_deadline(now, id)
        {
            self.their_invite_deadline(now, id);
        }
        // The usage may have more that is due: it stays armed until it has not.
        self.usages.arm(now, id);
    }
}
