//! Calls as octets: each as it is, with its dialogs, and what it waits for. `restore` reads them, here or in a switch
//! that has calls of its own.

use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cdr::Cdr;
use crate::handler::Party;
use crate::journal::pieces::Piece;
use crate::service::Watched;
use crate::switch::Switch;
use crate::switch::calls::Generations;
use crate::switch::keep::{Kept, WrittenCall};
use crate::switch::state::call::Call;
use crate::switch::state::effect::Effect;
use crate::switch::state::recording::Ended;
use crate::switch::state::transfer::PassedRefer;
use crate::switch::state::waits::{Concerns, Waits};
use crate::switch::turn::Turn;
use crate::switch::work::sleepers::{DelayedBranch, Sleeper};
use crate::switch::work::slots::Key;
use crate::{CallId, LegId};
use b2b_base::ages;
use b2b_sip::endpoint::{Endpoint, Lingering, UsageId};

/// The version of written calls. A field that is new has a default and needs no new version.
pub(super) const VERSION: u16 = 2;

/// A call cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("a call cannot be written: {0}")]
pub struct NotWritten(#[from] rmp_serde::encode::Error);

/// Calls as they are written.
#[derive(Serialize)]
struct Written<'a> {
    version: u16,
    calls: Vec<(CallId, &'a Call)>,
    /// Pending requests to media, resolvers and handlers, under their numbers.
    waits: Vec<(Key, &'a (Option<CallId>, Waits))>,
    /// REFERs that were passed on.
    passed_refers: Vec<&'a PassedRefer>,
    /// Ended recordings whose files are not complete.
    recordings_ending: Vec<&'a Ended>,
    delayed_branches: Vec<DelayedBranch>,
    /// The applications that can go on, by the requests that they decide.
    programs: Vec<(Key, Bytes)>,
    generations: Generations,
    /// The generation of the numbers of requests.
    requests: u32,
}

/// Octets of calls: their dialogs, what the endpoint has besides, and themselves.
#[derive(Serialize, Deserialize)]
pub(super) struct Octets {
    pub usages: Vec<Bytes>,
    pub lingering: Bytes,
    pub calls: Bytes,
}

/// What is left of the legs of a call that are over.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Parted {
    /// Records that wait for the last counters of media.
    pub unwritten: Vec<Cdr>,
    /// Refusals that are not acknowledged, and requests that are not answered.
    pub unsettled: Option<Lingering>,
    /// Of a call that is over: no other one gets its number.
    pub generations: Option<Generations>,
}

impl Parted {
    /// `None`: nothing is left.
    fn octets(&self, now: Instant) -> Result<Option<Bytes>, NotWritten> {
        if self.unwritten.is_empty() && self.unsettled.is_none() {
            return Ok(None);
        }
        Ok(Some(ages::at(now, || rmp_serde::to_vec_named(self))?.into()))
    }
}

impl Switch {
    /// All calls as they are now, between two turns, and the transactions of those that are over.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn write_calls(&self, now: Instant, sip: &Endpoint) -> Result<Vec<u8>, NotWritten> {
        self.write(now, sip, self.calls.ids(), sip.usage_ids(), &sip.lingering(), |_| true)
    }

    /// A call as it is now, between two turns; no call, if it is over. When another switch has taken it in,
    /// [`Switch::give_out_call`] removes it here.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn write_call(&self, now: Instant, sip: &Endpoint, call: CallId) -> Result<Vec<u8>, NotWritten> {
        let legs = self.calls.get(call).into_iter().flat_map(|it| it.legs.iter());
        let usages = legs.filter_map(|(_, leg)| leg.usage).collect();
        self.write(now, sip, vec![call], usages, &Lingering::default(), |it| it == Some(call))
    }

    /// The calls, and what belongs to those that are `written`; to no call: `None`.
    fn write(
        &self,
        now: Instant,
        sip: &Endpoint,
        calls: Vec<CallId>,
        usages: Vec<UsageId>,
        lingering: &Lingering,
        written: impl Fn(Option<CallId>) -> bool,
    ) -> Result<Vec<u8>, NotWritten> {
        let common = &self.common;
        let calls: Vec<_> = calls.into_iter().filter_map(|id| Some((id, self.calls.get(id)?))).collect();
        let of = |leg: LegId| written(self.calls.leg(leg).map(|it| it.call));
        let is_here = |party: &Party| {
            let mut legs = calls.iter().flat_map(|(_, it)| it.legs.iter());
            written(None) || legs.any(|(_, leg)| *leg.identity.party == *party)
        };
        // Most are of other calls, which shows without a look at where their legs are now.
        let may_be = |it: &Concerns| {
            let named = |leg: &LegId| calls.iter().any(|(_, call)| call.legs.get(*leg).is_some());
            written(None)
                || it.call.is_some_and(|call| written(Some(call)))
                || it.legs.iter().flatten().any(named)
        };
        let of_these = |(_, (_, it)): &(Key, &(Option<CallId>, Waits))| {
            let concerns = it.concerns();
            may_be(&concerns) && written(self.concerned_by(concerns))
        };
        let waits = common.work.waits().filter(of_these).collect::<Vec<_>>();
        let ending = common.recordings_ending.0.iter();
        let octets = Written {
            version: VERSION,
            programs: ages::at(now, || common.applications.saved(waits.iter().map(|(request, _)| *request))),
            waits,
            passed_refers: common.passed_refers.iter().filter(|it| is_here(&it.by)).collect(),
            recordings_ending: ending.filter(|(_, call, _)| written(Some(*call))).collect(),
            delayed_branches: common.sleepers.branches().into_iter().filter(|it| of(it.leg)).collect(),
            generations: self.calls.generations(),
            requests: common.work.generation(),
            calls,
        };
        let calls = ages::at(now, || rmp_serde::to_vec_named(&octets))?.into();
        let lingering = ages::at(now, || rmp_serde::to_vec_named(lingering))?.into();
        let usages = usages.into_iter().filter_map(|id| sip.usage_value(now, id));
        let usages = usages.map(|value| rmp_serde::to_vec_named(&value).map(Bytes::from));
        let usages = usages.collect::<Result<_, _>>()?;
        Ok(rmp_serde::to_vec_named(&Octets { usages, lingering, calls })?)
    }

    /// Removes a call that another switch has taken in: its parties and media hear nothing, its programs are told
    /// that it is gone. Answers that it waits for come too late here.
    pub fn give_out_call(&mut self, t: &mut Turn<'_>, call: CallId) {
        let Some(mut step) = self.step(call) else { return self.common.out.counters.late() };
        for leg in step.call.legs.ids().collect::<Vec<_>>() {
            step.attempted(leg, None);
            step.effect(Effect::TakeFromHandler { leg });
        }
        self.carry_out_effects(t);
        let Some(mut it) = self.calls.remove(call) else {
            return self.common.out.counters.impossible("give_out_call");
        };
        let common = &mut self.common;
        for (id, leg) in it.legs.iter() {
            leg.usage.into_iter().for_each(|usage| t.sip.give_out(usage));
            common.watchers.replaced(Watched::Leg(id));
        }
        it.bridge.iter().for_each(|bridge| common.watchers.replaced(Watched::Bridge(bridge.id)));
        common.watchers.replaced(Watched::Call(call));
        common.timers.disarm(&mut it.queued, call);
        let stays = |leg: &LegId| it.legs.get(*leg).is_none();
        common.recordings_ending.0.retain(|(_, of, _)| *of != call);
        common.sleepers.waiting.retain(|_, it| !matches!(it, Sleeper::Branch { leg, .. } if !stays(leg)));
        common.world.history.given_out(call, t.now);
        common.settle_history(t.at());
        common.part_with_listeners(t.at(), call);
    }
}

/// Writes what has changed of the calls in this turn.
pub(crate) fn keep(switch: &mut Switch, t: &Turn<'_>) {
    if let Some(mut kept) = switch.common.kept.take() {
        let mut changed = std::mem::take(&mut kept.changed);
        for call in changed.drain(..) {
            let is_kept = keep_call(&mut kept, switch, t, call).unwrap_or_else(|error| {
                tracing::warn!("call {} would not outlive this process: {error}", call.0);
                // Nothing of it is to be left.
                let _ = kept.store.keep(call, None);
                false
            });
            if let Some(pages) = switch.common.world.history.own_pages(call).filter(|_| !is_kept) {
                pages.forget_kept();
            }
        }
        kept.untold.clear();
        (kept.changed, kept.media_changes) = (changed, false);
        switch.common.kept = Some(kept);
    }
}

/// Writes what has changed of a call; `false`: there is no room for it.
fn keep_call(kept: &mut Kept, switch: &mut Switch, t: &Turn<'_>, call: CallId) -> Result<bool, NotWritten> {
    let mut parted = Parted { unwritten: switch.common.world.history.unwritten(call), ..Parted::default() };
    if let Some(usages) = kept.unanswered.get_mut(&call) {
        usages.retain(|usage| t.sip.unsettled(&[*usage]).is_some());
        parted.unsettled = t.sip.unsettled(usages);
    }
    match parted.unsettled {
        Some(_) => kept.is_unsettled(t.now, call),
        None => drop(kept.unanswered.remove(&call)),
    }
    kept.octets.clear();
    let Some(of_id) = switch.calls.get(call) else {
        kept.with_programs.remove(&call);
        parted.generations = Some(switch.calls.generations());
        let Some(octets) = parted.octets(t.now)? else {
            return Ok(kept.store.keep(call, None));
        };
        rmp_serde::encode::write(&mut kept.octets, &Piece::of_over(octets))?;
        let written = WrittenCall {
            octets: &kept.octets,
            at: t.now,
            goes_on: false,
            endpoints: Vec::new(),
            media_changes: true,
        };
        return Ok(kept.store.keep(call, Some(written)));
    };
    if !kept.store.takes(call) {
        return Ok(false);
    }
    let parted = parted.octets(t.now)?;
    let endpoints = of_id.legs.iter().filter_map(|(_, leg)| leg.media.endpoint).collect();
    let is_up = of_id.answered_at.is_some();
    let has_program = kept.with_programs.contains_key(&call);
    let is_told = !has_program && !kept.untold.contains(&call);
    let mut pages = switch.common.world.history.own_pages(call).filter(|_| is_told);
    if is_up && pages.as_mut().is_some_and(|pages| pages.first_up()) {
        kept.is_up(t.now, call);
    }
    let goes_on = match pages.and_then(|pages| pages.piece(t.now, &mut kept.begun)) {
        Some(piece) => {
            let piece = Piece { parted, ..piece };
            rmp_serde::encode::write(&mut kept.octets, &piece)?;
            piece.head.is_none()
        }
        None => {
            let value = switch.write_call(t.now, t.sip, call)?;
            let piece = match switch.common.world.history.own_pages(call) {
                Some(pages) => pages.head(t.now, &mut kept.begun, value),
                None => Piece::of_value(value),
            };
            rmp_serde::encode::write(&mut kept.octets, &Piece { parted, ..piece })?;
            false
        }
    };
    let media_changes = kept.media_changes || has_program;
    Ok(kept
        .store
        .keep(call, Some(WrittenCall { octets: &kept.octets, at: t.now, goes_on, endpoints, media_changes })))
}
