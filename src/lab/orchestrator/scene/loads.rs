//! The loads of a scene: answering loads start before its phones, calling loads with them, each at its time
//! or cue.

use std::net::SocketAddr;
use std::time::Instant;

use super::SceneConfig;
use crate::orchestrator::child::Child;
use crate::orchestrator::command::quoted;
use crate::orchestrator::journal::Journal;
use crate::orchestrator::loads::{Load, Start, folder};
use crate::orchestrator::record::{EventKind, LoadRecord};
use crate::orchestrator::rollup;
use crate::orchestrator::slot::{Slot, Timeline};
use crate::orchestrator::surroundings::Surroundings;
use crate::orchestrator::verdict;
use b2b_base::util::exit::Exit;

/// The exit code and the reason of a failure of a load.
pub type Broke = (u8, String);

/// The loads of a scene.
pub struct Loads<'a> {
    config: &'a SceneConfig,
    surroundings: &'a Surroundings,
    /// The loads, in the order of the plan.
    slots: Vec<Slot>,
    /// When each may start; `None` before its turn.
    due: Vec<Option<Instant>>,
    journal: Journal,
    timeline: Timeline,
}

impl<'a> Loads<'a> {
    /// The loads of a scene, none of them started.
    pub fn new(config: &'a SceneConfig, surroundings: &'a Surroundings, now: Instant) -> Self {
        let console = surroundings.console.clone();
        Loads {
            config,
            surroundings,
            slots: config.run.loads.iter().cloned().map(Slot::of_load).collect(),
            due: vec![None; config.run.loads.len()],
            journal: Journal::new(console, config.run.format, config.run.level, surroundings.color, now),
            timeline: Timeline::default(),
        }
    }

    /// Schedules the loads of this start phase that wait for no cue.
    pub fn begin(&mut self, now: Instant, start: Start) {
        self.give(now, |load| load.start() == start && load.part.on.is_none());
    }

    /// Schedules the loads that wait for this cue.
    pub fn cue(&mut self, now: Instant, cue: &str) {
        self.give(now, |load| load.part.on.as_ref().is_some_and(|(on, _)| on == cue));
    }

    fn give(&mut self, now: Instant, whose: impl Fn(&Load) -> bool) {
        for (slot, due) in self.slots.iter().zip(&mut self.due) {
            if let Some(load) = slot.load.as_ref().filter(|load| whose(load)) {
                due.get_or_insert(now + load.part.start_after);
            }
        }
    }

    /// Whether all loads of this start phase are READY.
    pub fn are_ready(&self, start: Start) -> bool {
        let of = |slot: &&Slot| slot.load.as_ref().is_some_and(|load| load.start() == start);
        self.slots.iter().filter(of).all(|slot| slot.ready.is_some())
    }

    /// Processes the output of the loads, and starts those that are due. `server`: its address, once known;
    /// `told`: the loads were told to end; `running`: the end has not begun.
    ///
    /// # Errors
    /// The first failure of a load.
    pub fn turn(
        &mut self,
        now: Instant,
        server: Option<SocketAddr>,
        running: bool,
        told: bool,
    ) -> Result<(), Broke> {
        for index in 0..self.slots.len() {
            self.follow(index, now, told)?;
            if running {
                self.start(index, now, server)?;
                self.check_ready(index, now)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, index: usize, now: Instant, told: bool) -> Result<(), Broke> {
        let Some(slot) = self.slots.get_mut(index) else { return Ok(()) };
        slot.follow(now, &mut self.journal, &self.surroundings.console, &mut self.timeline);
        let Some(end) = slot.reap(now) else { return Ok(()) };
        // its last lines before the report of its end
        slot.follow(now, &mut self.journal, &self.surroundings.console, &mut self.timeline);
        let (title, text) = (slot.title(), &end.text);
        // exit code 1 is its verdict, which is judged with the others
        let well = end.code == Some(Exit::Expectation as u8) || verdict::ended_well(&end);
        if well && (slot.ready.is_some() || told) {
            let text = format!("the {title} has ended: {text}");
            self.journal.event(now, EventKind::Ended, Some(slot.name()), text);
            return Ok(());
        }
        let why = if well { " before it was READY" } else { "" };
        let error = slot.last_error().map(|error| format!("; its last error: {error}")).unwrap_or_default();
        Err((verdict::code(&end), format!("the {title} has ended: {text}{why}{error}")))
    }

    fn start(&mut self, index: usize, now: Instant, server: Option<SocketAddr>) -> Result<(), Broke> {
        let due = self.due.get(index).copied().flatten().is_some_and(|due| now >= due);
        let Some(slot) = self.slots.get_mut(index).filter(|slot| due && slot.child.is_none()) else {
            return Ok(());
        };
        let Some(load) = &slot.load else { return Ok(()) };
        let report = folder::of(&folder::reports(self.config.run.report.as_deref()), load);
        let words = load.arguments((self.config.run.format, self.config.run.level), &report, server);
        slot.command = quoted(&self.surroundings.program, &words);
        let (role, title) = (slot.role(), slot.title());
        let child = self
            .surroundings
            .spawn(role, &words)
            .map_err(|error| (Exit::Timeout as u8, format!("cannot start the {title}: {error}")))?;
        let text = format!("started the {title} (pid {}): {}", child.pid(), slot.command);
        slot.child = Some(child);
        self.journal.event(now, EventKind::Started, Some(slot.name()), text);
        Ok(())
    }

    fn check_ready(&self, index: usize, now: Instant) -> Result<(), Broke> {
        let Some(slot) = self.slots.get(index).filter(|slot| slot.ready.is_none()) else { return Ok(()) };
        let late = slot.child.as_ref().is_some_and(|child| now >= child.started + self.config.run.ready);
        let (ms, title) = (self.config.run.ready.as_millis(), slot.title());
        let reason = || format!("the {title} was not READY within {ms} ms; --ready-ms gives it longer");
        if late { Err((Exit::Timeout as u8, reason())) } else { Ok(()) }
    }

    /// Whether calling loads that end by themselves are running or due.
    pub fn are_busy(&self) -> bool {
        let mut callers = self.slots.iter().zip(&self.due).filter(|(slot, _)| slot.is_caller());
        callers.any(|(slot, due)| match slot.child {
            Some(_) => slot.is_alive() && (!slot.is_endless() || slot.ready.is_none()),
            None => due.is_some(),
        })
    }

    /// Tells endless loads to end, once all others have. Returns whether any calling load still runs.
    pub fn end_calls(&mut self, now: Instant) -> bool {
        for slot in &mut self.slots {
            if slot.end_calls() {
                let text = format!("SIGTERM to {}: the phones have ended", slot.title());
                self.journal.event(now, EventKind::Signal, Some(slot.name()), text);
            }
        }
        self.slots.iter().any(|slot| slot.is_caller() && slot.is_alive())
    }

    /// The running loads.
    pub fn alive(&mut self) -> impl Iterator<Item = (String, &mut Child)> {
        let alive = self.slots.iter_mut().filter(|slot| slot.is_alive());
        alive.filter_map(|slot| Some((slot.title(), slot.child.as_mut()?)))
    }

    /// The running loads that only answer.
    pub fn callees(&mut self) -> impl Iterator<Item = (String, &mut Child)> {
        let callees = self.slots.iter_mut().filter(|slot| slot.is_alive() && slot.is_callee());
        callees.filter_map(|slot| Some((slot.title(), slot.child.as_mut()?)))
    }

    /// Whether any load runs.
    pub fn any_alive(&self) -> bool {
        self.slots.iter().any(Slot::is_alive)
    }

    /// The server's route arguments for the answering loads.
    pub fn routes(&self) -> Vec<String> {
        let answering = self.slots.iter().filter(|slot| slot.is_callee());
        answering.filter_map(|slot| Some(slot.load.as_ref()?.route(slot.address()?))).flatten().collect()
    }

    /// Their part of the status line.
    pub fn standings(&self) -> String {
        match self.slots.as_slice() {
            [] => String::new(),
            slots => {
                let standings: Vec<_> = slots.iter().map(Slot::standing).collect();
                rollup::parts(&standings)
            }
        }
    }

    /// Their records.
    pub fn records(&self) -> Vec<LoadRecord> {
        let (report, kept) =
            (folder::reports(self.config.run.report.as_deref()), self.config.run.report.is_some());
        let of = |slot: &Slot| Some(slot.load_record(&folder::of(&report, slot.load.as_ref()?), kept));
        self.slots.iter().filter_map(of).collect()
    }

    /// When the next load is due.
    pub fn next_due(&self) -> Option<Instant> {
        let waiting = self.slots.iter().zip(&self.due).filter(|(slot, _)| slot.child.is_none());
        waiting.filter_map(|(_, due)| *due).min()
    }
}
