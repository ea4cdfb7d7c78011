//! Conferences: their members and the devices they use.

use super::super::audio::Program;
use super::super::conference::{Conference, ConferenceId};
use super::super::{CallError, CallId};
use super::Driver;
use b2b_call::LegId;

/// An operation on a conference.
#[derive(Debug)]
pub(crate) enum Gathering {
    Begin(Vec<LegId>),
    Add(ConferenceId, LegId),
    Remove(ConferenceId, LegId),
    Members(ConferenceId),
    End(ConferenceId),
}

/// All conferences and their members.
#[derive(Debug, Default)]
pub(super) struct Conferences {
    last: u64,
    all: Vec<(ConferenceId, Vec<LegId>)>,
}

impl Conferences {
    fn members(&mut self, id: ConferenceId) -> Result<&mut Vec<LegId>, CallError> {
        let found = self.all.iter_mut().find(|(it, _)| *it == id).map(|(_, members)| members);
        found.ok_or(CallError::Conference("it is over"))
    }

    /// The conference that a leg is in.
    fn of(&self, leg: LegId) -> Option<ConferenceId> {
        self.all.iter().find(|(_, members)| members.contains(&leg)).map(|(id, _)| *id)
    }
}

impl Driver {
    /// Executes it; returns the conference and its current members.
    pub(super) fn gather(&mut self, gathering: Gathering) -> Result<(ConferenceId, Vec<CallId>), CallError> {
        let id = match gathering {
            Gathering::Begin(legs) => self.begin(legs)?,
            Gathering::Add(id, leg) => {
                let mut wanted = self.conferences.members(id)?.clone();
                wanted.push(leg);
                self.admit(&wanted, &[leg])?;
                *self.conferences.members(id)? = wanted;
                self.seat(id);
                id
            }
            Gathering::Remove(id, leg) => {
                if !self.conferences.members(id)?.contains(&leg) {
                    return Err(CallError::Conference("this call is not in it"));
                }
                self.leaves(leg);
                id
            }
            Gathering::Members(id) => id,
            Gathering::End(id) => {
                for leg in std::mem::take(self.conferences.members(id)?) {
                    self.is_alone(leg);
                }
                self.conferences.all.retain(|(it, _)| *it != id);
                id
            }
        };
        let members = self.conferences.members(id).map(|members| members.clone()).unwrap_or_default();
        Ok((id, members.into_iter().map(|leg| CallId(leg.0)).collect()))
    }

    fn begin(&mut self, mut legs: Vec<LegId>) -> Result<ConferenceId, CallError> {
        legs.sort_unstable();
        legs.dedup();
        if legs.len() < 2 {
            return Err(CallError::Conference("it takes two different calls at least"));
        }
        self.admit(&legs, &legs)?;
        self.conferences.last += 1;
        let id = ConferenceId(self.conferences.last);
        self.conferences.all.push((id, legs));
        self.seat(id);
        Ok(id)
    }

    /// Checks that these legs, of which `new` are new, may form a conference.
    fn admit(&mut self, legs: &[LegId], new: &[LegId]) -> Result<(), CallError> {
        if legs.len() > Conference::MOST {
            return Err(CallError::Conference("it has as many calls as one takes"));
        }
        if new.iter().any(|leg| self.conferences.of(*leg).is_some()) {
            return Err(CallError::Conference("a call of these is in one; take it out first"));
        }
        if !legs.iter().all(|leg| self.service.is_up(*leg)) {
            return Err(CallError::NotAnswered);
        }
        self.mix(legs)
    }

    /// Mixes these legs, except those on hold.
    fn mix(&mut self, legs: &[LegId]) -> Result<(), CallError> {
        let (held, open): (Vec<LegId>, Vec<LegId>) = legs.iter().copied().partition(|leg| self.is_held(*leg));
        if open.len() > 1 {
            self.service.confer(&open)?;
        }
        let alone = if open.len() == 1 { &open[..] } else { &[] };
        for leg in held.iter().chain(alone) {
            // An ended leg has no media to update.
            let _ = self.service.leave_conference(*leg);
        }
        Ok(())
    }

    fn is_held(&self, leg: LegId) -> bool {
        self.calls.get(&leg).is_some_and(|record| record.shared.audio.is_held())
    }

    /// Updates the conference of a leg that was put on hold or resumed.
    pub(super) fn regroup(&mut self, leg: LegId) {
        let Some(id) = self.conferences.of(leg) else { return };
        let Ok(members) = self.conferences.members(id).cloned() else { return };
        if let Err(error) = self.mix(&members) {
            tracing::info!("call {}: its conference is unchanged: {error}", leg.0);
        }
        self.seat(id);
    }

    /// Updates the conference of a leg that was muted or unmuted.
    pub(super) fn seated(&mut self, leg: LegId) {
        if let Some(id) = self.conferences.of(leg) {
            self.seat(id);
        }
    }

    /// Gives the client's devices to one call of the conference that is not on hold: through it the
    /// microphone reaches all members, and all members are heard on it. With more than one such call, every
    /// voice would be heard several times.
    fn seat(&mut self, id: ConferenceId) {
        let Ok(members) = self.conferences.members(id).cloned() else { return };
        let audio = |leg: &LegId| self.calls.get(leg).map(|record| &record.shared.audio);
        let muted = members.iter().filter_map(audio).any(Program::is_muted);
        let seat = members.iter().find(|leg| !self.is_held(**leg));
        for leg in &members {
            if let Some(audio) = audio(leg) {
                let seated = Some(leg) == seat;
                audio.seat(seated && !muted, seated);
            }
        }
    }

    /// Gives a leg that has left its conference its own devices again.
    fn is_alone(&mut self, leg: LegId) {
        // An ended leg has left already.
        let _ = self.service.leave_conference(leg);
        if let Some(record) = self.calls.get(&leg) {
            record.shared.audio.seat(true, true);
        }
    }

    /// Replaces a leg by another one, in its conference too.
    pub(super) fn sits_down(&mut self, replaced: LegId, by: LegId) {
        let Some(id) = self.conferences.of(replaced) else { return };
        let Ok(members) = self.conferences.members(id).cloned() else { return };
        let wanted: Vec<LegId> = members.into_iter().map(|it| if it == replaced { by } else { it }).collect();
        if let Err(error) = self.admit(&wanted, &[by]) {
            return tracing::info!("call {}: not in the conference of call {}: {error}", by.0, replaced.0);
        }
        // The far end of the replaced leg may still be connected, outside the conference.
        self.is_alone(replaced);
        if let Ok(members) = self.conferences.members(id) {
            *members = wanted;
        }
        self.seat(id);
    }

    /// Removes a leg from its conference, if it is in one. A single remaining member is removed too.
    pub(super) fn leaves(&mut self, leg: LegId) {
        let Some(id) = self.conferences.of(leg) else { return };
        let Ok(members) = self.conferences.members(id) else { return };
        members.retain(|it| *it != leg);
        let alone = if let [last] = members[..] { Some(last) } else { None };
        for gone in [leg].into_iter().chain(alone) {
            self.is_alone(gone);
        }
        if alone.is_some() {
            self.conferences.all.retain(|(it, _)| *it != id);
        } else {
            self.seat(id);
        }
    }
}
