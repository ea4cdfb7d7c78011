//! A run: the driver that ties children, their output and the shutdown table
//! together. It stays on the thread that called it; see [`Child::spawn`].

use std::time::{Duration, Instant, SystemTime};

use tracing::Level;

use super::OrchestratorConfig;
use super::child::Child;
use super::command::{self, Common};
use super::journal::Journal;
use super::record::{EventKind, RoleEnd, RunRecord};
use super::rollup;
use super::shutdown::{Action, Input, Shutdown};
use super::slot::{Slot, Timeline};
use super::surroundings::{self, KILL_LAG, POLL, STATUS_EVERY, Surroundings};
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
    let started = (Instant::now(), SystemTime::now());
    let plan = &config.plan.plan;
    let slots =
        command::START_ORDER.iter().filter_map(|role| plan.role(*role)).cloned().map(Slot::new).collect();
    let console = surroundings.console.clone();
    Run {
        config,
        surroundings,
        common: config.common(),
        slots,
        journal: Journal::new(console, config.format, config.level, surroundings.color, started.0),
        shutdown: Shutdown::new(config.grace, config.kill),
        timeline: Timeline::default(),
        ending: Ending::default(),
        started: started.0,
        next_rollup: started.0 + ROLLUP_EVERY + ROLLUP_LAG,
        next_status: started.0,
        over_since: None,
        killed_at: None,
    }
    .finish(started.1)
}

struct Run<'a> {
    config: &'a OrchestratorConfig,
    surroundings: &'a Surroundings,
    common: Common,
    /// In start order.
    slots: Vec<Slot>,
    journal: Journal,
    shutdown: Shutdown,
    timeline: Timeline,
    ending: Ending,
    started: Instant,
    next_rollup: Instant,
    next_status: Instant,
    over_since: Option<Instant>,
    killed_at: Option<Instant>,
}

impl Run<'_> {
    fn finish(mut self, started: SystemTime) -> RunRecord {
        loop {
            let now = Instant::now();
            self.take_interrupts(now);
            self.follow(now);
            self.reap(now);
            self.start_next(now);
            self.check_ready(now);
            if self.only_servers() {
                self.turn(now, Input::OnlyServers);
            }
            self.turn(now, Input::Tick);
            self.show(now);
            if self.is_over(now) {
                break;
            }
            let waiting = self.slots.iter().any(|slot| !slot.is_done() && self.has_lines(slot));
            let pause = if waiting { Duration::from_millis(1) } else { self.pause(now) };
            let _ = self.surroundings.wake.1.recv_timeout(pause);
        }
        self.surroundings.console.status(String::new());
        if self.ending.failed.is_none()
            && self.ending.interrupted.is_none()
            && let Some(slot) = self.slots.iter().find(|slot| slot.ready.is_none())
        {
            let reason = format!("the {} never was READY", slot.role());
            self.fail(Instant::now(), Some(slot.role()), Exit::Timeout as u8, reason);
        }
        // in call order
        self.slots.reverse();
        let recordings = self.config.recordings();
        let roles = self.slots.iter().map(|slot| slot.record(recordings.as_ref())).collect();
        let events = self.journal.take_events();
        verdict::record(self.config, started, roles, self.ending, events, self.timeline.lines)
    }

    /// Lines wait that this turn left for others' sake.
    fn has_lines(&self, slot: &Slot) -> bool {
        slot.child.as_ref().is_some_and(|child| child.output.has_lines())
    }

    fn pause(&self, now: Instant) -> Duration {
        let deadlines = [self.shutdown.deadline(), Some(self.next_rollup), Some(self.next_status)];
        let next = deadlines.into_iter().flatten().min().unwrap_or(now + POLL);
        next.saturating_duration_since(now).clamp(Duration::from_millis(1), POLL)
    }

    fn take_interrupts(&mut self, now: Instant) {
        while let Some(signal) = self.surroundings.interrupts.next() {
            self.ending.interrupted = Some(signal);
            let text = format!("{signal}: ending the run; send it again to kill what still runs");
            self.journal.event(now, EventKind::Signal, None, text);
            self.turn(now, Input::Interrupt);
        }
    }

    fn follow(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.follow(now, &mut self.journal, &self.surroundings.console, &mut self.timeline);
        }
    }

    /// Starts the next role when everyone before it is READY.
    fn start_next(&mut self, now: Instant) {
        if !self.shutdown.is_running() {
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
                    self.fail(now, Some(role), Exit::Timeout as u8, reason);
                }
            }
        }
    }

    /// Whether nothing runs but what does not end by itself.
    fn only_servers(&self) -> bool {
        self.slots.iter().filter(|slot| slot.is_alive()).all(|slot| slot.role() == RoleName::B2bua)
    }

    fn check_ready(&mut self, now: Instant) {
        if !self.shutdown.is_running() {
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
            self.fail(now, Some(role), Exit::Timeout as u8, reason);
        }
    }

    fn reap(&mut self, now: Instant) {
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
                && self.shutdown.is_running()
                && let Some(waiting) = waiting.filter(|_| was_ready)
            {
                let reason = format!("the {role} has ended ({}) before the {waiting} was started", end.text);
                self.fail(now, Some(role), Exit::Timeout as u8, reason);
            } else if well && (was_ready || self.shutdown.is_told()) {
                self.journal.event(now, EventKind::Ended, Some(role), text);
                self.turn(now, Input::EndedWell);
            } else if well {
                let reason = format!("the {role} has ended ({}) before it was READY", end.text);
                self.fail(now, Some(role), Exit::Timeout as u8, reason);
            } else {
                self.fail(now, Some(role), verdict::code(&end), text);
            }
        }
    }

    /// Something failed: the first failure decides the exit code.
    fn fail(&mut self, now: Instant, role: Option<RoleName>, code: u8, reason: String) {
        self.journal.event(now, EventKind::Error, role, reason.clone());
        let failed = Failed { code, reason };
        match &self.ending.failed {
            None => self.ending.failed = Some(failed),
            Some(_) => self.ending.also.push(failed.reason),
        }
        self.turn(now, Input::Failed);
    }

    fn turn(&mut self, now: Instant, input: Input) {
        let Some(action) = self.shutdown.on(now, input) else { return };
        let alive: Vec<&mut Slot> = self.slots.iter_mut().filter(|slot| slot.is_alive()).collect();
        let names: Vec<&str> = alive.iter().map(|slot| slot.role().as_str()).collect();
        if names.is_empty() {
            return;
        }
        let names = names.join(" and ");
        let kill_ms = self.config.kill.as_millis();
        let (kind, text) = match action {
            Action::Terminate => (EventKind::Signal, format!("SIGTERM to {names}")),
            Action::Remind => {
                (EventKind::Warning, format!("still running: {names}; SIGKILL {kill_ms} ms after SIGTERM"))
            }
            Action::Kill => (EventKind::Warning, format!("SIGKILL to {names}")),
        };
        surroundings::end(action, alive.into_iter().filter_map(|slot| slot.child.as_mut()));
        if action == Action::Kill {
            self.killed_at = Some(now);
        }
        self.journal.event(now, kind, None, text);
    }

    fn show(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started);
        let standings = || self.slots.iter().rev().map(Slot::standing).collect::<Vec<_>>();
        if now >= self.next_rollup {
            self.next_rollup = now + ROLLUP_EVERY;
            self.journal.say(Level::INFO, &rollup::line(elapsed, &standings()));
        }
        if self.surroundings.console.has_status()
            && self.config.format == Format::Text
            && now >= self.next_status
        {
            self.next_status = now + STATUS_EVERY;
            let tag = tag::plain(RoleName::Orchestrator);
            self.surroundings.console.status(format!("{tag} {}", rollup::line(elapsed, &standings())));
        }
    }

    fn is_over(&mut self, now: Instant) -> bool {
        if self.killed_at.is_some_and(|killed| now >= killed + KILL_LAG) {
            return true;
        }
        let all_started = self.slots.iter().all(|slot| slot.child.is_some());
        if self.slots.iter().any(Slot::is_alive) || (!all_started && self.shutdown.is_running()) {
            self.over_since = None;
            return false;
        }
        let since = *self.over_since.get_or_insert(now);
        now >= since + LAST_OUTPUT || self.slots.iter().all(Slot::is_done)
    }
}
