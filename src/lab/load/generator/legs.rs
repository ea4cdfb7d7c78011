//! Events of legs: answers, ends, media reports.

use std::time::Instant;

use super::agents::Line;
use super::{Entry, Generator, Role};
use crate::load::hearing::Hears;
use crate::load::messages::{self, Kept};
use crate::load::party::{NOT_IN_TIME, Outcome, PartyEvent};
use b2b_call::agent::LegReport;
use b2b_call::leg_fsm::TerminationCause;
use b2b_dsp::mark::Mark;

impl Generator {
    /// The result of a party, including its marks: a party that completed all steps may have heard another
    /// call.
    pub(super) fn heard_of(&mut self, id: u64, mut outcome: Outcome) -> Outcome {
        if let Outcome::Failed { why, .. } = &mut outcome
            && let Some(entry) = self.entries.get(&id).filter(|it| it.party.measures_speech())
        {
            *why += &format!("; it spoke for {:.2} s", f64::from(entry.sound.sounded_ms()) / 1e3);
        }
        let deaf = self.config.ears.hears == Hears::None || self.config.signalling_only;
        let Some(entry) = self.entries.get_mut(&id).filter(|_| !deaf) else { return outcome };
        if !entry.can_be_judged() {
            return outcome;
        }
        let (counts, number) = (entry.counts(), entry.call.number);
        if !entry.sound.is_listened_to() {
            self.figures.of(counts).for_each(|side| side.not_listened += 1);
            return outcome;
        }
        let heard = entry.heard();
        let own = Mark { call: entry.mark, side: counts.role.side() };
        let since = entry.speaks.unwrap_or(self.began);
        let fault = heard.fault(own, |call| {
            // callees know calls only from the marks they hear
            let others = || self.entries.iter().filter(|(other, _)| **other != id);
            self.marks.was_under_way(call, since) || others().any(|(_, it)| it.call_in_mark() == call)
        });
        self.figures.of(counts).for_each(|side| side.judged(number, &heard));
        if let Some(entry) = self.entries.get(&id) {
            self.figures.gaps.of(&entry.call, &heard.latest_gaps, self.began.elapsed().as_secs_f64());
        }
        with_fault(outcome, fault)
    }

    pub(super) fn answered(&mut self, leg: Line, now: Instant) {
        let Some(entry) = self.entry_of(leg) else { return };
        entry.up = true;
        entry.speaks = Some(now);
        let (role, counts, took) = (entry.role, entry.counts(), now.saturating_duration_since(entry.due));
        entry.call.setup_ms = (role == Role::Caller).then_some(took.as_secs_f64() * 1e3);
        if role == Role::Caller || self.answers_only() {
            self.happens(now).answered += 1;
        }
        if role == Role::Caller {
            self.figures.setup.record(took);
            self.happens(now).set_up(took);
        }
        self.figures.of(counts).for_each(|side| side.answered += 1);
    }

    pub(super) fn media_closed(&mut self, leg: Line, report: &LegReport) {
        let Some(entry) = self.entry_of(leg) else { return };
        let mos = report.reception.mos().filter(|_| entry.up);
        entry.call.mos = mos;
        let (counts, stats) = (entry.counts(), &report.stats);
        for side in self.figures.of(counts) {
            let packets = [stats.packets_tx, stats.packets_rx, stats.lost];
            side.packets.iter_mut().zip(packets).for_each(|(sum, packets)| *sum += packets);
            side.unauthenticated += stats.unauthenticated;
            side.concealed += stats.concealed;
            mos.into_iter().for_each(|mos| side.heard(mos, stats.lost));
        }
    }

    /// Handles the end of a leg.
    pub(super) fn ended(&mut self, leg: Line, cause: &TerminationCause, now: Instant) {
        let Some(id) = self.of_leg.remove(&leg) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(hung_up) = entry.hung_up
            && *cause == TerminationCause::LocalHangup
        {
            self.figures.ending.record(now.saturating_duration_since(hung_up));
        }
        let event = match cause {
            TerminationCause::Failed { status, .. } if !entry.up => {
                PartyEvent::Refused { status: Some(*status) }
            }
            // the caller of a callee has given up
            TerminationCause::Cancelled if entry.role == Role::Callee => PartyEvent::Ended { by_them: true },
            cause => PartyEvent::Ended { by_them: *cause == TerminationCause::RemoteHangup },
        };
        // heard since the last look
        if std::mem::take(&mut entry.listens) && entry.sound.is_heard() {
            self.tell(id, &PartyEvent::Heard);
        }
        self.tell(id, &event);
        self.leave(id);
    }

    /// Removes a party whose leg is over.
    pub(super) fn leave(&mut self, id: u64) {
        let Some(agent) = self.entries.get(&id).map(|entry| entry.agent) else { return };
        self.take_messages(agent);
        let Some(mut entry) = self.entries.remove(&id) else { return };
        entry.call.lasted_s = (entry.due.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        self.marks.end(entry.call_in_mark(), Instant::now());
        let Entry { dialog, call, messages, due, sound, .. } = entry;
        if let Some(dialog) = dialog {
            self.dialogs.end(&dialog, id);
        }
        self.figures.left(&call, |call| {
            call.messages = messages::told(&messages, due);
            call.sound = sound.course();
        });
    }

    /// Sets the dialog of a party's leg.
    pub(super) fn begin_dialog(&mut self, id: u64, agent: usize, call_id: Option<Vec<u8>>) {
        let (Some(call_id), Some(entry)) = (call_id, self.entries.get_mut(&id)) else { return };
        if self.watches {
            entry.call.sip_call_id = Some(String::from_utf8_lossy(&call_id).into_owned());
            let dialog = (agent, call_id);
            entry.messages = self.dialogs.begin(&dialog, id);
            entry.dialog = Some(dialog);
        }
    }

    /// Assigns an agent's traced messages to their calls.
    pub(super) fn take_messages(&mut self, agent: usize) {
        if !self.watches {
            return;
        }
        while let Some((call_id, seen)) = self.agents.at(agent).take_message() {
            let found = self.dialogs.call_of((agent, call_id), Kept::from(seen));
            if let Some((id, message)) = found
                && let Some(entry) = self.entries.get_mut(&id)
            {
                messages::keep(&mut entry.messages, message);
            }
        }
    }
}

/// Combines a result with a fault in the marks: a party that waited in vain for a mark may have heard another
/// one.
fn with_fault(outcome: Outcome, fault: Option<&'static str>) -> Outcome {
    let why = fault.map(ToOwned::to_owned);
    match (outcome, why) {
        (Outcome::Done, Some(why)) => Outcome::Failed { step: "say mark".to_owned(), why },
        (Outcome::Failed { step, why: late }, Some(why))
            if late == NOT_IN_TIME && step.starts_with("hears mark") =>
        {
            Outcome::Failed { step, why }
        }
        (outcome, _) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_in_vain_for_a_mark_is_told_of_with_what_was_heard() {
        let failed = |step: &str, why: &str| Outcome::Failed { step: step.to_owned(), why: why.to_owned() };
        let other = Some("it heard another call");
        assert_eq!(with_fault(Outcome::Done, None), Outcome::Done);
        assert_eq!(with_fault(Outcome::Done, other), failed("say mark", "it heard another call"));
        let late = failed("hears mark within 6 s", NOT_IN_TIME);
        assert_eq!(with_fault(late.clone(), other), failed("hears mark within 6 s", "it heard another call"));
        assert_eq!(with_fault(late.clone(), None), late);
        for else_why in [failed("hung up", NOT_IN_TIME), failed("hears mark", "refused: 486")] {
            assert_eq!(with_fault(else_why.clone(), other), else_why);
        }
    }
}
