//! One role of a run, or one load: its child and its state.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::OrchestratorConfig;
use super::child::Child;
use super::journal::Journal;
use super::loads::{Load, Start, figures};
use super::output::DropWarnings;
use super::ready::Ready;
use super::record::{EventKind, LoadRecord, RoleEnd, RoleRecord};
use super::rollup::Standing;
use super::stall::Stall;
use crate::config::plan::RolePlan;
use crate::results::console::Console;
use b2b_base::metrics::MetricsLine;
use b2b_config::RoleName;

/// Maximum lines taken from one child per turn.
const LINES_A_TURN: usize = 64;
/// How long the output of an ended child may lag behind its end.
const OUTPUT_LAG: Duration = Duration::from_millis(500);

/// A role of a run, or a load.
#[derive(Debug)]
pub struct Slot {
    /// Its part of the plan.
    pub plan: RolePlan,
    /// Further settings of a load.
    pub load: Option<Load>,
    /// Its command line, quoted.
    pub command: String,
    /// Its process, once started.
    pub child: Option<Child>,
    /// Its READY line, and the time until then.
    pub ready: Option<(Ready, Duration)>,
    /// Its latest metrics line.
    pub metrics: Option<MetricsLine>,
    stall: Stall,
    stalled: bool,
    ever_stalled: bool,
    second_ready: bool,
    drops: DropWarnings,
    reaped: Option<Instant>,
    ended: bool,
}

/// Roles and loads in start order: callees before callers.
pub fn in_order(config: &OrchestratorConfig) -> Vec<Slot> {
    let roles = |names: &'static [RoleName]| {
        names.iter().filter_map(|name| config.plan.plan.role(*name)).cloned().map(Slot::new)
    };
    let loads = |start: Start| {
        config.run.loads.iter().filter(move |load| load.start() == start).cloned().map(Slot::of_load)
    };
    loads(Start::Before)
        .chain(roles(&[RoleName::Sink, RoleName::B2bua, RoleName::Mixer]))
        .chain(loads(Start::WithServer))
        .chain(roles(&[RoleName::Source]))
        .chain(loads(Start::WithCalls))
        .collect()
}

impl Slot {
    /// A role that has not started.
    pub fn new(plan: RolePlan) -> Self {
        Slot {
            plan,
            load: None,
            command: String::new(),
            child: None,
            ready: None,
            metrics: None,
            stall: Stall::default(),
            stalled: false,
            ever_stalled: false,
            second_ready: false,
            drops: DropWarnings::default(),
            reaped: None,
            ended: false,
        }
    }

    /// A load that has not started.
    pub fn of_load(load: Load) -> Self {
        Slot { load: Some(load.clone()), ..Slot::new(load.part.plan) }
    }

    /// Its role.
    pub fn role(&self) -> RoleName {
        self.plan.role
    }

    /// Its name in the record: the role, or a load's own name.
    pub fn name(&self) -> &str {
        self.load.as_ref().map_or(self.plan.role.as_str(), |load| &load.part.name)
    }

    /// Its name in messages: `sink`, `load crowd`.
    pub fn title(&self) -> String {
        match &self.load {
            Some(load) => format!("load {}", load.part.name),
            None => self.plan.role.to_string(),
        }
    }

    /// Its address, once it is READY.
    pub fn address(&self) -> Option<SocketAddr> {
        self.ready.as_ref().map(|(ready, _)| ready.sip)
    }

    /// Whether it is a load that makes calls.
    pub fn is_caller(&self) -> bool {
        self.load.as_ref().is_some_and(|load| load.calls)
    }

    /// Whether it is a load that makes calls until it is told to end.
    pub fn is_endless(&self) -> bool {
        self.load.as_ref().is_some_and(|load| load.calls && !load.ends)
    }

    /// Tells an endless load to end, once, if it is already making calls; returns whether it was told.
    pub fn end_calls(&mut self) -> bool {
        let endless = self.is_endless() && self.ready.is_some() && self.is_alive();
        match self.child.as_mut().filter(|child| endless && !child.is_told()) {
            Some(child) => {
                child.terminate();
                true
            }
            None => false,
        }
    }

    /// Whether it is a load that only answers, and ends only when told.
    pub fn is_callee(&self) -> bool {
        self.load.as_ref().is_some_and(|load| !load.calls)
    }

    /// Whether it has ended and its end was processed.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether its process runs, or its end was not processed yet.
    pub fn is_alive(&self) -> bool {
        self.child.is_some() && !self.ended
    }

    /// Whether no more output will come from it.
    pub fn is_done(&self) -> bool {
        self.child.as_ref().is_none_or(|child| self.ended && child.output.is_done())
    }

    /// Processes its child's output: READY, metrics (added to `timeline`), and log lines as long as the
    /// console has room.
    pub fn follow(
        &mut self,
        now: Instant,
        journal: &mut Journal,
        console: &Console,
        timeline: &mut Timeline,
    ) {
        let (role, title, name) = (self.plan.role, self.title(), self.name().to_owned());
        let name = name.as_str();
        let Some(child) = &self.child else { return };
        while let Ok(ready) = child.output.ready.try_recv() {
            match ready {
                Ok(ready) if self.ready.is_none() => {
                    let took = now.saturating_duration_since(child.started);
                    let text = format!("the {title} is READY at {} after {} ms", ready.sip, took.as_millis());
                    journal.event(now, EventKind::Ready, Some(name), text);
                    self.ready = Some((ready, took));
                }
                Ok(_) if self.second_ready => {}
                Ok(_) => {
                    self.second_ready = true;
                    let text = format!("the {title} printed READY more than once; only the first counts");
                    journal.event(now, EventKind::Warning, Some(name), text);
                }
                Err(error) => journal.event(now, EventKind::Warning, Some(name), format!("{title}: {error}")),
            }
        }
        while let Ok(line) = child.output.metrics.try_recv() {
            let stalled = self.stall.on(role, &line);
            if stalled && !self.stalled {
                let text =
                    format!("the {title} is stalled: no packet moved for two metrics periods of its call");
                journal.event(now, EventKind::Warning, Some(name), text);
            }
            self.stalled = stalled;
            self.ever_stalled |= stalled;
            timeline.add(&line);
            self.metrics = Some(line);
        }
        for _ in 0..LINES_A_TURN {
            if !console.has_room() {
                break;
            }
            let Some(line) = child.output.next_line() else { break };
            journal.child(role, self.load.as_ref().map(|_| name), child.pid(), line);
        }
        if let Some(lines) = self.drops.on(now, child.output.dropped()) {
            let text =
                format!("dropped {lines} lines of the {title}: it writes faster than they can be shown");
            journal.event(now, EventKind::Warning, Some(name), text);
        }
    }

    /// Checks whether the child and its output have ended. Returns its end once.
    pub fn reap(&mut self, now: Instant) -> Option<RoleEnd> {
        let child = self.child.as_mut()?;
        if child.reap() {
            self.reaped = Some(now);
        }
        let reaped = self.reaped.filter(|_| !self.ended)?;
        // a process started by the child may keep its pipes open
        if child.output.is_closed() || now >= reaped + OUTPUT_LAG {
            self.ended = true;
            return Some(child.end());
        }
        None
    }

    /// The last error that its child reported.
    pub fn last_error(&self) -> Option<String> {
        self.child.as_ref().and_then(|child| child.output.last_error())
    }

    /// Its part of the rollup.
    pub fn standing(&self) -> Standing<'_> {
        Standing {
            role: self.plan.role,
            name: self.load.as_ref().map(|load| load.part.name.as_str()),
            ready: self.ready.is_some(),
            ended: self.ended,
            stalled: self.stalled,
            metrics: self.metrics.as_ref(),
        }
    }

    /// Its part of the record.
    pub fn record(&self, recordings: Option<&PathBuf>) -> RoleRecord {
        let role = self.plan.role;
        let traced = self.plan.get("sip_trace").map(PathBuf::from);
        RoleRecord {
            role: role.to_string(),
            pid: self.child.as_ref().map(Child::pid),
            engine: self.plan.engine().to_string(),
            command: self.command.clone(),
            sip: self.ready.as_ref().map(|(ready, _)| ready.sip.to_string()),
            ready_ms: self.ready.as_ref().map(|(_, took)| took.as_millis() as u64),
            end: match &self.child {
                Some(child) => child.end(),
                None => RoleEnd { text: "never started".to_string(), ..RoleEnd::default() },
            },
            last_error: self.last_error(),
            stalled: self.ever_stalled,
            lines_dropped: self.child.as_ref().map_or(0, |child| child.output.dropped()),
            metrics: self.metrics.clone(),
            sip_trace: traced.or_else(|| recordings.map(|folder| folder.join(format!("{role}.sip")))),
        }
    }
}

impl Slot {
    /// The record of a load whose report is in this folder; `kept`: the folder outlives the run.
    pub fn load_record(&self, folder: &Path, kept: bool) -> LoadRecord {
        let record = self.record(None);
        LoadRecord {
            name: self.name().to_owned(),
            pid: record.pid,
            command: record.command,
            sip: record.sip,
            ready_ms: record.ready_ms,
            end: record.end,
            last_error: record.last_error,
            lines_dropped: record.lines_dropped,
            figures: figures::read(folder),
            report: kept.then(|| folder.to_path_buf()),
        }
    }
}

/// All metrics lines of a run, up to a limit.
#[derive(Debug, Default)]
pub struct Timeline {
    /// In order of arrival.
    pub lines: Vec<MetricsLine>,
}

impl Timeline {
    /// One line every 5 s from three roles, for nearly two days.
    const MAX: usize = 100_000;

    fn add(&mut self, line: &MetricsLine) {
        if self.lines.len() < Self::MAX {
            self.lines.push(line.clone());
        }
    }
}
