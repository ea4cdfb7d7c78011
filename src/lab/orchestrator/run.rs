//! The run of a plan: its roles start one after the other, each when those before it are READY.

use std::time::{Duration, Instant, SystemTime};

use tracing::Level;

use super::OrchestratorConfig;
use super::child::Child;
use super::command::{self, Common};
use super::driver::{Children, Driver};
use super::journal::Journal;
use super::record::{EventKind, RoleEnd, RunRecord};
use super::rollup;
use super::shutdown::Input;
use super::slot::{Slot, Timeline};
use super::surroundings::Surroundings;
use super::tag;
use super::verdict::{self, Ending, Failed};
use b2b_base::logging::Format;
use b2b_base::util::exit::Exit;
use b2b_config::RoleName;

/// Between two rollups.
const ROLLUP_EVERY: Duration = Duration::from_secs(5);
/// The first rollup waits this much longer: until the roles' first metrics are in.
const ROLLUP_LAG: Duration = Duration::from_millis(500);
/// How long output may go on coming when every child has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Runs the plan of `config` to its end.
pub fn run(config: &OrchestratorConfig, surroundings: &Surroundings) -> RunRecord {
    let (now, started) = (Instant::now(), SystemTime::now());
    let plan = &config.plan.plan;
    let slots =
        command::START_ORDER.iter().filter_map(|role| plan.role(*role)).cloned().map(Slot::new).collect();
    let console = surroundings.console.clone();
    let mut roles = Roles {
        config,
        surroundings,
        common: config.common(),
        slots,
        journal: Journal::new(console, config.format, config.level, surroundings.color, now),
        timeline: Timeline::default(),
        ending: Ending::default(),
        next_rollup: now + ROLLUP_EVERY + ROLLUP_LAG,
        over_since: None,
    };
    Driver::new(surroundings, now, config.grace, config.kill).run(&mut roles);
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
    over_since: Option<Instant>,
}

impl Children for Roles<'_> {
    fn turn(&mut self, now: Instant, driver: &mut Driver<'_>) {
        self.follow(now);
        self.reap(now, driver);
        self.start_next(now, driver);
        self.check_ready(now, driver);
        if self.only_servers() {
            driver.on(now, Input::OnlyServers, self);
        }
        if now >= self.next_rollup {
            self.next_rollup = now + ROLLUP_EVERY;
            let elapsed = now.saturating_duration_since(driver.started());
            self.journal.say(Level::INFO, &rollup::line(elapsed, &self.standings()));
        }
    }

    fn alive(&mut self) -> Vec<(String, &mut Child)> {
        let alive = self.slots.iter_mut().filter(|slot| slot.is_alive());
        alive.filter_map(|slot| Some((slot.role().to_string(), slot.child.as_mut()?))).collect()
    }

    fn interrupted(&mut self, signal: &'static str) {
        self.ending.interrupted = Some(signal);
    }

    fn say(&mut self, now: Instant, kind: EventKind, text: String) {
        self.journal.event(now, kind, None, text);
    }

    fn status(&self, elapsed: Duration) -> Option<String> {
        let shown = self.surroundings.console.has_status() && self.config.format == Format::Text;
        let tag = tag::plain(RoleName::Orchestrator);
        shown.then(|| format!("{tag} {}", rollup::line(elapsed, &self.standings())))
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        // Lines wait that this turn left for others' sake.
        let has_lines = |slot: &Slot| slot.child.as_ref().is_some_and(|child| child.output.has_lines());
        let waiting = self.slots.iter().any(|slot| !slot.is_done() && has_lines(slot));
        Some(if waiting { now } else { self.next_rollup })
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
    /// What came of it.
    fn record(mut self, started: SystemTime) -> RunRecord {
        if self.ending.failed.is_none()
            && self.ending.interrupted.is_none()
            && let Some(slot) = self.slots.iter().find(|slot| slot.ready.is_none())
        {
            let reason = format!("the {} never was READY", slot.role());
            self.failed(Instant::now(), Some(slot.role()), Exit::Timeout as u8, reason);
        }
        // in call order
        self.slots.reverse();
        let recordings = self.config.recordings();
        let roles = self.slots.iter().map(|slot| slot.record(recordings.as_ref())).collect();
        let events = self.journal.take_events();
        verdict::record(self.config, started, roles, self.ending, events, self.timeline.lines)
    }

    fn standings(&self) -> Vec<rollup::Standing<'_>> {
        self.slots.iter().rev().map(Slot::standing).collect()
    }

    fn follow(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.follow(now, &mut self.journal, &self.surroundings.console, &mut self.timeline);
        }
    }

    /// Starts the next role when everyone before it is READY.
    fn start_next(&mut self, now: Instant, driver: &mut Driver<'_>) {
        if !driver.is_running() {
            return;
        }
        let Some(index) = self.slots.iter().position(|slot| slot.child.is_none()) else { return };
        if self.slots.iter().take(index).any(|slot| slot.ready.is_none()) {
            return;
        }
        let Some(plan) = self.slots.get(index).map(|slot| slot.plan.clone()) else { return };
        let callee = command::next_of(&self.config.plan.plan, plan.role);
        let next = self.slots.iter().find(|slot| Some(slot.role()) == callee);
        let next = next.and_then(|slot| slot.ready.as_ref()).map(|(ready, _)| ready.sip);
        let words = command::arguments(&self.config.plan.plan, &plan, &self.common, next);
        let command = command::quoted(&self.surroundings.program, &words);
        let wake = self.surroundings.wake.0.clone();
        let child = Child::spawn(plan.role, &self.surroundings.program, &words, wake);
        let role = plan.role;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.command.clone_from(&command);
            match child {
                Ok(child) => {
                    let text = format!("started the {role} (pid {}): {command}", child.pid());
                    slot.child = Some(child);
                    self.journal.event(now, EventKind::Started, Some(role), text);
                }
                Err(error) => {
                    let reason = format!("cannot start the {role}: {error}");
                    self.fail(now, driver, Some(role), Exit::Timeout as u8, reason);
                }
            }
        }
    }

    /// Whether nothing runs but what does not end by itself.
    fn only_servers(&self) -> bool {
        self.slots.iter().filter(|slot| slot.is_alive()).all(|slot| slot.role() == RoleName::B2bua)
    }

    fn check_ready(&mut self, now: Instant, driver: &mut Driver<'_>) {
        if !driver.is_running() {
            return;
        }
        let late = self.slots.iter().find(|slot| {
            let started = slot.child.as_ref().map(|child| child.started);
            slot.ready.is_none() && started.is_some_and(|started| now >= started + self.config.ready)
        });
        if let Some(role) = late.map(Slot::role) {
            let waiting =
                self.slots.iter().filter(|slot| slot.child.is_none()).map(|slot| slot.role().as_str());
            let waiting: Vec<_> = waiting.collect();
            let rest = match waiting.as_slice() {
                [] => String::new(),
                names => format!(" (and so {} was not started)", names.join(" and ")),
            };
            let ms = self.config.ready.as_millis();
            let reason = format!("the {role} was not READY within {ms} ms{rest}; --ready-ms gives it longer");
            self.fail(now, driver, Some(role), Exit::Timeout as u8, reason);
        }
    }

    fn reap(&mut self, now: Instant, driver: &mut Driver<'_>) {
        let mut ends: Vec<(RoleName, RoleEnd, Option<String>, bool)> = Vec::new();
        for slot in &mut self.slots {
            if let Some(end) = slot.reap(now) {
                // its last lines before the news of its end
                slot.follow(now, &mut self.journal, &self.surroundings.console, &mut self.timeline);
                ends.push((slot.role(), end, slot.last_error(), slot.ready.is_some()));
            }
        }
        // several ends in one turn: what crashed comes before what missed it
        ends.sort_by_key(|(_, end, ..)| verdict::severity(end));
        for (role, end, last_error, was_ready) in ends {
            let well = verdict::ended_well(&end);
            let error = last_error
                .filter(|_| !well)
                .map(|line| format!("; its last error: {line}"))
                .unwrap_or_default();
            let text = format!("the {role} has ended: {}{error}", end.text);
            let waiting = self.slots.iter().find(|slot| slot.child.is_none()).map(Slot::role);
            if well
                && driver.is_running()
                && let Some(waiting) = waiting.filter(|_| was_ready)
            {
                let reason = format!("the {role} has ended ({}) before the {waiting} was started", end.text);
                self.fail(now, driver, Some(role), Exit::Timeout as u8, reason);
            } else if well && (was_ready || driver.is_told()) {
                self.journal.event(now, EventKind::Ended, Some(role), text);
                driver.on(now, Input::EndedWell, self);
            } else if well {
                let reason = format!("the {role} has ended ({}) before it was READY", end.text);
                self.fail(now, driver, Some(role), Exit::Timeout as u8, reason);
            } else {
                self.fail(now, driver, Some(role), verdict::code(&end), text);
            }
        }
    }

    /// Something failed, which ends the run.
    fn fail(
        &mut self,
        now: Instant,
        driver: &mut Driver<'_>,
        role: Option<RoleName>,
        code: u8,
        reason: String,
    ) {
        self.failed(now, role, code, reason);
        driver.on(now, Input::Failed, self);
    }

    /// The first failure decides the exit code.
    fn failed(&mut self, now: Instant, role: Option<RoleName>, code: u8, reason: String) {
        self.journal.event(now, EventKind::Error, role, reason.clone());
        let failed = Failed { code, reason };
        match &self.ending.failed {
            None => self.ending.failed = Some(failed),
            Some(_) => self.ending.also.push(failed.reason),
        }
    }
}
