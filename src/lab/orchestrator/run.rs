//! The run of a plan: its roles start one after the other, each when the previous ones are READY, and calling
//! loads when the whole chain is. The run lasts as long as the chain or these loads, whichever is longer.

use std::time::{Duration, Instant, SystemTime};

use tracing::Level;

use super::OrchestratorConfig;
use super::child::Child;
use super::command::{self, Common};
use super::driver::{Children, Driver};
use super::journal::Journal;
use super::loads::{Load, folder};
use super::record::{EventKind, LoadRecord, RoleEnd, RunRecord};
use super::rollup;
use super::shutdown::Input;
use super::slot::{self, Slot, Timeline};
use super::surroundings::Surroundings;
use super::tag;
use super::verdict::{self, Ended, Ending, Failed};
use b2b_base::logging::Format;
use b2b_base::util::exit::Exit;
use b2b_config::RoleName;

/// Interval of rollups.
const ROLLUP_EVERY: Duration = Duration::from_secs(5);
/// Additional delay of the first rollup, until the first metrics of the roles are received.
const ROLLUP_LAG: Duration = Duration::from_millis(500);
/// How long output may continue after every child has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Runs the plan of `config` to its end.
pub fn run(config: &OrchestratorConfig, surroundings: &Surroundings) -> RunRecord {
    let (now, started) = (Instant::now(), SystemTime::now());
    let console = surroundings.console.clone();
    let mut roles = Roles {
        config,
        surroundings,
        common: config.common(),
        slots: slot::in_order(config),
        journal: Journal::new(console, config.run.format, config.run.level, surroundings.color, now),
        timeline: Timeline::default(),
        ending: Ending::default(),
        next_rollup: now + ROLLUP_EVERY + ROLLUP_LAG,
        complete_since: None,
        over_since: None,
    };
    Driver::new(surroundings, now, config.run.grace, config.run.kill).run(&mut roles);
    roles.record(started)
}

/// The roles of a plan.
struct Roles<'a> {
    config: &'a OrchestratorConfig,
    surroundings: &'a Surroundings,
    common: Common,
    /// In start order.
    slots: Vec<Slot>,
    journal: Journal,
    timeline: Timeline,
    ending: Ending,
    next_rollup: Instant,
    /// When all roles and answering loads became READY, so that calling loads may begin.
    complete_since: Option<Instant>,
    over_since: Option<Instant>,
}

impl Children for Roles<'_> {
    fn turn(&mut self, now: Instant, driver: &mut Driver<'_>) {
        self.follow(now);
        self.reap(now, driver);
        self.start_next(now, driver);
        self.start_callers(now, driver);
        self.check_ready(now, driver);
        self.end_calls(now, driver);
        if self.is_ending() {
            driver.on(now, Input::EndedWell, self);
        }
        if self.only_servers() {
            driver.on(now, Input::OnlyServers, self);
        } else if self.nobody_calls() {
            driver.on(now, Input::NobodyCalls, self);
        }
        if now >= self.next_rollup {
            self.next_rollup = now + ROLLUP_EVERY;
            let elapsed = now.saturating_duration_since(driver.started());
            self.journal.say(Level::INFO, &rollup::line(elapsed, &self.standings()));
        }
    }

    fn alive(&mut self) -> Vec<(String, &mut Child)> {
        let alive = self.slots.iter_mut().filter(|slot| slot.is_alive());
        alive.filter_map(|slot| Some((slot.title(), slot.child.as_mut()?))).collect()
    }

    fn callees(&mut self) -> Vec<(String, &mut Child)> {
        let callees = self.slots.iter_mut().filter(|slot| slot.is_alive() && slot.is_callee());
        callees.filter_map(|slot| Some((slot.title(), slot.child.as_mut()?))).collect()
    }

    fn interrupted(&mut self, signal: &'static str) {
        self.ending.interrupted = Some(signal);
    }

    fn say(&mut self, now: Instant, kind: EventKind, text: String) {
        self.journal.event(now, kind, None, text);
    }

    fn status(&self, elapsed: Duration) -> Option<String> {
        let shown = self.surroundings.console.has_status() && self.config.run.format == Format::Text;
        let tag = tag::plain(RoleName::Orchestrator);
        shown.then(|| format!("{tag} {}", rollup::line(elapsed, &self.standings())))
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        // This turn left lines in the queue to serve other children.
        let has_lines = |slot: &Slot| slot.child.as_ref().is_some_and(|child| child.output.has_lines());
        let waiting = self.slots.iter().any(|slot| !slot.is_done() && has_lines(slot));
        let load = self.slots.iter().filter(|slot| slot.child.is_none()).filter_map(|slot| self.due_of(slot));
        Some(if waiting { now } else { load.fold(self.next_rollup, Instant::min) })
    }

    fn is_over(&mut self, now: Instant, running: bool) -> bool {
        let all_started = self.slots.iter().all(|slot| slot.child.is_some());
        if self.slots.iter().any(Slot::is_alive) || (!all_started && running) {
            self.over_since = None;
            return false;
        }
        let since = *self.over_since.get_or_insert(now);
        now >= since + LAST_OUTPUT || self.slots.iter().all(Slot::is_done)
    }
}

impl Roles<'_> {
    /// The record of the run.
    fn record(mut self, started: SystemTime) -> RunRecord {
        if self.ending.failed.is_none()
            && self.ending.interrupted.is_none()
            && let Some(slot) = self.slots.iter().find(|slot| slot.ready.is_none())
        {
            let (name, reason) = (slot.name().to_owned(), format!("the {} never was READY", slot.title()));
            self.failed(Instant::now(), Some(&name), Exit::Timeout as u8, reason);
        }
        let (reports, kept) = (self.config.load_reports(), self.config.run.report.is_some());
        let of = |load: &Load| {
            let slot = self.slots.iter().find(|slot| slot.load.as_ref() == Some(load));
            slot.map(|slot| slot.load_record(&folder::of(&reports, load), kept))
        };
        let loads: Vec<LoadRecord> = self.config.run.loads.iter().filter_map(of).collect();
        let unread = loads.iter().find(|load| load.figures.is_none()).map(|load| load.name.clone());
        if let Some(name) = unread.filter(|_| self.ending == Ending::default()) {
            let reason = format!("the load {name} has ended, and its load.json cannot be read");
            self.failed(Instant::now(), Some(&name), Exit::Audio as u8, reason);
        }
        // in call order
        self.slots.reverse();
        let recordings = self.config.recordings();
        let roles = self.slots.iter().filter(|slot| slot.load.is_none());
        let roles = roles.map(|slot| slot.record(recordings.as_ref())).collect();
        let ended = Ended { roles, loads, ending: self.ending, events: self.journal.take_events() };
        verdict::record(self.config, started, ended, self.timeline.lines)
    }

    fn standings(&self) -> Vec<rollup::Standing<'_>> {
        let chain = self.slots.iter().rev().filter(|slot| slot.load.is_none());
        chain.chain(self.slots.iter().filter(|slot| slot.load.is_some())).map(Slot::standing).collect()
    }

    fn follow(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.follow(now, &mut self.journal, &self.surroundings.console, &mut self.timeline);
        }
    }

    /// Starts the next role once all previous ones are READY.
    fn start_next(&mut self, now: Instant, driver: &mut Driver<'_>) {
        let waited_for = || self.slots.iter().enumerate().filter(|(_, slot)| !slot.is_caller());
        let next = waited_for().find(|(_, slot)| slot.child.is_none()).map(|(index, _)| index);
        let first = next.unwrap_or(self.slots.len());
        if !driver.is_running() || waited_for().any(|(index, slot)| index < first && slot.ready.is_none()) {
            return;
        }
        match next {
            Some(index) => self.start(index, now, driver),
            None => {
                self.complete_since.get_or_insert(now);
            }
        }
    }

    /// Starts calling loads, each at its time.
    fn start_callers(&mut self, now: Instant, driver: &mut Driver<'_>) {
        for index in 0..self.slots.len() {
            let slot = self.slots.get(index).filter(|slot| slot.child.is_none());
            let due = slot.and_then(|slot| self.due_of(slot));
            if driver.is_running() && due.is_some_and(|due| now >= due) {
                self.start(index, now, driver);
            }
        }
    }

    /// When a calling load is due; `None` for other slots, or before everything else is READY.
    fn due_of(&self, slot: &Slot) -> Option<Instant> {
        let load = slot.load.as_ref().filter(|load| load.calls)?;
        Some(self.complete_since? + load.part.start_after)
    }

    fn start(&mut self, index: usize, now: Instant, driver: &mut Driver<'_>) {
        let Some(slot) = self.slots.get(index) else { return };
        let (role, title, name) = (slot.role(), slot.title(), slot.name().to_owned());
        let words = self.words(slot);
        let command = command::quoted(&self.surroundings.program, &words);
        let child = self.surroundings.spawn(role, &words);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.command.clone_from(&command);
            match child {
                Ok(child) => {
                    let text = format!("started the {title} (pid {}): {command}", child.pid());
                    slot.child = Some(child);
                    self.journal.event(now, EventKind::Started, Some(&name), text);
                }
                Err(error) => {
                    let reason = format!("cannot start the {title}: {error}");
                    self.fail(now, driver, Some(&name), Exit::Timeout as u8, reason);
                }
            }
        }
    }

    /// The arguments of a role or load, with the addresses of those that are READY.
    fn words(&self, slot: &Slot) -> Vec<String> {
        let plan = &self.config.plan.plan;
        let at = |role: Option<RoleName>| {
            let slot = self.slots.iter().find(|slot| Some(slot.role()) == role);
            slot.and_then(Slot::address)
        };
        if let Some(load) = &slot.load {
            let (log, server) = ((self.common.format, self.common.level), at(Some(RoleName::B2bua)));
            return load.arguments(log, &folder::of(&self.config.load_reports(), load), server);
        }
        let next = at(command::next_of(plan, slot.role()));
        let mut words = command::arguments(plan, &slot.plan, &self.common, next);
        if slot.role() == RoleName::B2bua {
            let answering = self.slots.iter().filter(|slot| slot.is_callee());
            let routes = answering.filter_map(|slot| Some(slot.load.as_ref()?.route(slot.address()?)));
            words.extend(routes.flatten());
        }
        words
    }

    /// Whether the end has begun: a role of the chain has ended, and so has every calling load.
    fn is_ending(&self) -> bool {
        self.has_chain_ended() && self.slots.iter().all(|slot| !slot.is_caller() || slot.has_ended())
    }

    fn has_chain_ended(&self) -> bool {
        self.slots.iter().any(|slot| slot.load.is_none() && slot.has_ended())
    }

    /// Tells endless loads to end, once the chain and all other calls have ended.
    fn end_calls(&mut self, now: Instant, driver: &Driver<'_>) {
        let waits = |slot: &Slot| slot.is_caller() && !slot.is_endless() && !slot.has_ended();
        if !driver.is_running() || !self.has_chain_ended() || self.slots.iter().any(waits) {
            return;
        }
        for slot in &mut self.slots {
            if slot.end_calls() {
                let text = format!("SIGTERM to {}: the chain has ended", slot.title());
                self.journal.event(now, EventKind::Signal, Some(slot.name()), text);
            }
        }
    }

    /// Whether only servers still run.
    fn only_servers(&self) -> bool {
        self.slots.iter().filter(|slot| slot.is_alive()).all(|slot| slot.role() == RoleName::B2bua)
    }

    /// Whether only servers and answering loads still run.
    fn nobody_calls(&self) -> bool {
        let mut alive = self.slots.iter().filter(|slot| slot.is_alive());
        alive.all(|slot| slot.is_callee() || slot.role() == RoleName::B2bua)
    }

    fn check_ready(&mut self, now: Instant, driver: &mut Driver<'_>) {
        if !driver.is_running() {
            return;
        }
        let late = self.slots.iter().find(|slot| {
            let started = slot.child.as_ref().map(|child| child.started);
            slot.ready.is_none() && started.is_some_and(|started| now >= started + self.config.run.ready)
        });
        if let Some((title, name)) = late.map(|slot| (slot.title(), slot.name().to_owned())) {
            let waiting = self.slots.iter().filter(|slot| slot.child.is_none()).map(Slot::name);
            let waiting: Vec<_> = waiting.collect();
            let rest = match waiting.as_slice() {
                [] => String::new(),
                names => format!(" (and so {} was not started)", names.join(" and ")),
            };
            let ms = self.config.run.ready.as_millis();
            let reason =
                format!("the {title} was not READY within {ms} ms{rest}; --ready-ms gives it longer");
            self.fail(now, driver, Some(&name), Exit::Timeout as u8, reason);
        }
    }

    fn reap(&mut self, now: Instant, driver: &mut Driver<'_>) {
        let mut ends: Vec<(usize, RoleEnd)> = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(end) = slot.reap(now) {
                // its last lines before the report of its end
                slot.follow(now, &mut self.journal, &self.surroundings.console, &mut self.timeline);
                ends.push((index, end));
            }
        }
        // several ends in one turn: the crash comes before its consequences
        ends.sort_by_key(|(_, end)| verdict::severity(end));
        for (index, end) in ends {
            let Some(slot) = self.slots.get(index) else { continue };
            let (title, name, was_ready) = (slot.title(), slot.name().to_owned(), slot.ready.is_some());
            // exit code 1 of a load is its verdict, which is judged with all others
            let judged = slot.load.is_some() && end.code == Some(Exit::Expectation as u8);
            let well = judged || verdict::ended_well(&end);
            let error = slot.last_error().filter(|_| !well);
            let error = error.map(|line| format!("; its last error: {line}")).unwrap_or_default();
            let text = format!("the {title} has ended: {}{error}", end.text);
            let waiting = self.slots.iter().find(|slot| slot.child.is_none() && !slot.is_caller());
            let waiting = waiting.filter(|_| was_ready).map(Slot::title);
            if well
                && driver.is_running()
                && let Some(waiting) = waiting
            {
                let reason = format!("the {title} has ended ({}) before the {waiting} was started", end.text);
                self.fail(now, driver, Some(&name), Exit::Timeout as u8, reason);
            } else if well && (was_ready || driver.is_told()) {
                self.journal.event(now, EventKind::Ended, Some(&name), text);
            } else if well {
                let reason = format!("the {title} has ended ({}) before it was READY", end.text);
                self.fail(now, driver, Some(&name), Exit::Timeout as u8, reason);
            } else {
                self.fail(now, driver, Some(&name), verdict::code(&end), text);
            }
        }
    }

    /// Reports a failure, which ends the run.
    fn fail(&mut self, now: Instant, driver: &mut Driver<'_>, name: Option<&str>, code: u8, reason: String) {
        self.failed(now, name, code, reason);
        driver.on(now, Input::Failed, self);
    }

    /// Records a failure; the first one decides the exit code.
    fn failed(&mut self, now: Instant, name: Option<&str>, code: u8, reason: String) {
        self.journal.event(now, EventKind::Error, name, reason.clone());
        let failed = Failed { code, reason };
        match &self.ending.failed {
            None => self.ending.failed = Some(failed),
            Some(_) => self.ending.also.push(failed.reason),
        }
    }
}
