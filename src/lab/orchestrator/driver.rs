//! Runs children to their end: signals to the orchestrator, the shutdown table, the status line, and waiting.
//! A [`Children`] decides which children there are, when each starts and what its end means: the chain of a
//! plan, or the server and phones of a scene. The driver stays on the calling thread; see [`Child::spawn`].

use std::time::{Duration, Instant};

use super::child::Child;
use super::record::EventKind;
use super::shutdown::{Action, Input, Shutdown};
use super::surroundings::Surroundings;

/// Interval of checks for ended children.
const POLL: Duration = Duration::from_millis(50);
/// Minimum wait.
const SOON: Duration = Duration::from_millis(1);
/// Interval of the status line.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// How long the kernel may take to end a process after SIGKILL.
const KILL_LAG: Duration = Duration::from_secs(5);

/// The children of a run.
pub trait Children {
    /// Processes their output, starts those that are due, and reports to the driver what ends the run.
    fn turn(&mut self, now: Instant, driver: &mut Driver<'_>);

    /// The running children, by name.
    fn alive(&mut self) -> Vec<(String, &mut Child)>;

    /// Those of them that are loads which only answer.
    fn callees(&mut self) -> Vec<(String, &mut Child)>;

    /// Called when the orchestrator receives a signal.
    fn interrupted(&mut self, signal: &'static str);

    /// Reports an event of the run as a whole.
    fn say(&mut self, now: Instant, kind: EventKind, text: String);

    /// The status line after this time; `None` if there is none.
    fn status(&self, elapsed: Duration) -> Option<String>;

    /// When the next turn has work by itself, if known.
    fn due(&self, now: Instant) -> Option<Instant>;

    /// Whether no child runs and all output is processed. `running`: nothing has ended the run yet.
    fn is_over(&mut self, now: Instant, running: bool) -> bool;
}

/// One run.
pub struct Driver<'a> {
    surroundings: &'a Surroundings,
    shutdown: Shutdown,
    kill: Duration,
    started: Instant,
    next_status: Instant,
    killed_at: Option<Instant>,
}

impl<'a> Driver<'a> {
    /// A run that begins now. Children that were told to end are reminded after `grace`, and killed after
    /// `kill`.
    pub fn new(surroundings: &'a Surroundings, now: Instant, grace: Duration, kill: Duration) -> Self {
        let shutdown = Shutdown::new(grace, kill);
        Driver { surroundings, shutdown, kill, started: now, next_status: now, killed_at: None }
    }

    /// When the run began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether nothing has ended the run yet.
    pub fn is_running(&self) -> bool {
        self.shutdown.is_running()
    }

    /// Whether the children were told to end; the way they end then is expected.
    pub fn is_told(&self) -> bool {
        self.shutdown.is_told()
    }

    /// Runs the children to their end.
    pub fn run(mut self, children: &mut impl Children) {
        loop {
            let now = Instant::now();
            while let Some(signal) = self.surroundings.interrupts.next() {
                children.interrupted(signal);
                let text = format!("{signal}: ending the run; send it again to kill what still runs");
                children.say(now, EventKind::Signal, text);
                self.on(now, Input::Interrupt, children);
            }
            children.turn(now, &mut self);
            self.on(now, Input::Tick, children);
            if now >= self.next_status {
                self.next_status = now + STATUS_EVERY;
                let status = children.status(now.saturating_duration_since(self.started));
                status.into_iter().for_each(|status| self.surroundings.console.status(status));
            }
            let lost = self.killed_at.is_some_and(|killed| now >= killed + KILL_LAG);
            if lost || children.is_over(now, self.shutdown.is_running()) {
                break;
            }
            let deadlines = [self.shutdown.deadline(), Some(self.next_status), children.due(now)];
            let next = deadlines.into_iter().flatten().min().unwrap_or(now + POLL);
            let pause = next.saturating_duration_since(now).clamp(SOON, POLL);
            let _ = self.surroundings.wake.1.recv_timeout(pause);
        }
        self.surroundings.console.status(String::new());
    }

    /// Applies the next transition of the shutdown table to the running children.
    pub fn on(&mut self, now: Instant, input: Input, children: &mut impl Children) {
        let Some(action) = self.shutdown.on(now, input) else { return };
        let mut alive = match action {
            Action::TerminateCallees => children.callees(),
            Action::Terminate | Action::Remind | Action::Kill => children.alive(),
        };
        if alive.is_empty() {
            return;
        }
        let names = alive.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" and ");
        for (_, child) in &mut alive {
            match action {
                Action::Terminate | Action::TerminateCallees => child.terminate(),
                Action::Remind => child.remind(),
                Action::Kill => child.kill(),
            }
        }
        let (kind, text) = match action {
            Action::Terminate | Action::TerminateCallees => {
                (EventKind::Signal, format!("SIGTERM to {names}"))
            }
            Action::Remind => {
                let kill_ms = self.kill.as_millis();
                (EventKind::Warning, format!("still running: {names}; SIGKILL {kill_ms} ms after SIGTERM"))
            }
            Action::Kill => {
                self.killed_at = Some(now);
                (EventKind::Warning, format!("SIGKILL to {names}"))
            }
        };
        children.say(now, kind, text);
    }
}
