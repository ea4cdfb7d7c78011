//! One role of a run, or one load: its child, and what is known of it.

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

/// Lines taken from one child before the next child's turn.
const LINES_A_TURN: usize = 64;
/// How long the output of a child that has ended may lag behind its end.
const OUTPUT_LAG: Duration = Duration::from_millis(500);

/// A role of a run, or a load.
#[derive(Debug)]
pub struct Slot {
    /// Its part of the plan.
    pub plan: RolePlan,
    /// What more there is of a load.
    pub load: Option<Load>,
    /// Its command line, quoted.
    pub command: String,
    /// Its process, once started.
    pub child: Option<Child>,
    /// Its READY line, and how long it took.
    pub ready: Option<(Ready, Duration)>,
    /// Its newest metrics line.
    pub metrics: Option<MetricsLine>,
    stall: Stall,
    stalled: bool,
    ever_stalled: bool,
    second_ready: bool,
    drops: DropWarnings,
    reaped: Option<Instant>,
    ended: bool,
}

/// Roles and loads in the order in which they start: who is called before who calls.
pub fn in_order(config: &OrchestratorConfig) -> Vec<Slot> {
    let roles = |names: &'static [RoleName]| {
        names.iter().filter_map(|name| config.plan.plan.role(*name)).cloned().map(Slot::new)
    };
    let loads = |start: Start| {
        config.loads.iter().filter(move |load| load.start() == start).cloned().map(Slot::of_load)
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

    /// Which role.
    pub fn role(&self) -> RoleName {
        self.plan.role
    }

    /// What the record calls it: its role, or a load's own name.
    pub fn name(&self) -> &str {
        self.load.as_ref().map_or(self.plan.role.as_str(), |load| &load.part.name)
    }

    /// What people call it: `sink`, `load crowd`.
    pub fn title(&self) -> String {
        match &self.load {
            Some(load) => format!("load {}", load.part.name),
            None => self.plan.role.to_string(),
        }
    }

    /// Where it is, once it is READY.
    pub fn address(&self) -> Option<SocketAddr> {
        self.ready.as_ref().map(|(ready, _)| ready.sip)
    }

    /// It is a load that makes calls.
    pub fn is_caller(&self) -> bool {
        self.load.as_ref().is_some_and(|load| load.calls)
    }

    /// It is a load that makes calls until it is told to end.
    pub fn is_endless(&self) -> bool {
        self.load.as_ref().is_some_and(|load| load.calls && !load.ends)
    }

    /// Tells an endless load to end, once, if it makes calls by now: true, when it was told.
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

    /// It is a load that only answers: it ends when it is told.
    pub fn is_callee(&self) -> bool {
        self.load.as_ref().is_some_and(|load| !load.calls)
    }

    /// It has ended, and its end has been looked at.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Its process runs, or its end has not been looked at yet.
    pub fn is_alive(&self) -> bool {
        self.child.is_some() && !self.ended
    }

    /// Nothing more will come from it.
    pub fn is_done(&self) -> bool {
        self.child.as_ref().is_none_or(|child| self.ended && child.output.is_done())
    }

    /// Takes what its child wrote: READY, metrics (into `timeline`), and log
    /// lines as long as the console has room.
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

    /// Looks whether the child has ended, and its output with it. Gives its end
    /// once.
    pub fn reap(&mut self, now: Instant) -> Option<RoleEnd> {
        let child = self.child.as_mut()?;
        if child.reap() {
            self.reaped = Some(now);
        }
        let reaped = self.reaped.filter(|_| !self.ended)?;
        // something that the child started may hold its pipes open
        if child.output.is_closed() || now >= reaped + OUTPUT_LAG {
            self.ended = true;
            return Some(child.end());
        }
        None
    }

    /// The last thing that it complained about.
    pub fn last_error(&self) -> Option<String> {
        self.child.as_ref().and_then(|child| child.output.last_error())
    }

    /// For the rollup.
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

    /// For the record of the run.
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
    /// The same of a load, whose report is in this folder; `kept`: for longer than the run.
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

/// Every metrics line of a run, as far as memory should go.
#[derive(Debug, Default)]
pub struct Timeline {
    /// In order of arrival.
    pub lines: Vec<MetricsLine>,
}

impl Timeline {
    /// A line each 5 s from three roles: nearly two days.
    const MAX: usize = 100_000;

    fn add(&mut self, line: &MetricsLine) {
        if self.lines.len() < Self::MAX {
            self.lines.push(line.clone());
        }
    }
}
