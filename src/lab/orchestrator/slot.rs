//! One role of a run: its child, and what is known of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::child::Child;
use super::journal::Journal;
use super::output::DropWarnings;
use super::ready::Ready;
use super::record::{EventKind, RoleEnd, RoleRecord};
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

/// A role of a run.
#[derive(Debug)]
pub struct Slot {
    /// Its part of the plan.
    pub plan: RolePlan,
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

impl Slot {
    /// A role that has not started.
    pub fn new(plan: RolePlan) -> Self {
        Slot {
            plan,
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

    /// Which role.
    pub fn role(&self) -> RoleName {
        self.plan.role
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
        let role = self.plan.role;
        let Some(child) = &self.child else { return };
        while let Ok(ready) = child.output.ready.try_recv() {
            match ready {
                Ok(ready) if self.ready.is_none() => {
                    let took = now.saturating_duration_since(child.started);
                    let text = format!("the {role} is READY at {} after {} ms", ready.sip, took.as_millis());
                    journal.event(now, EventKind::Ready, Some(role), text);
                    self.ready = Some((ready, took));
                }
                Ok(_) if self.second_ready => {}
                Ok(_) => {
                    self.second_ready = true;
                    let text = format!("the {role} printed READY more than once; only the first counts");
                    journal.event(now, EventKind::Warning, Some(role), text);
                }
                Err(error) => journal.event(now, EventKind::Warning, Some(role), format!("{role}: {error}")),
            }
        }
        while let Ok(line) = child.output.metrics.try_recv() {
            let stalled = self.stall.on(role, &line);
            if stalled && !self.stalled {
                let text =
                    format!("the {role} is stalled: no packet moved for two metrics periods of its call");
                journal.event(now, EventKind::Warning, Some(role), text);
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
            journal.child(role, child.pid(), line);
        }
        if let Some(lines) = self.drops.on(now, child.output.dropped()) {
            let text =
                format!("dropped {lines} lines of the {role}: it writes faster than they can be shown");
            journal.event(now, EventKind::Warning, Some(role), text);
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
