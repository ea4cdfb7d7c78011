//! The end of a run, as a table without clock or process: it takes `now` and returns the action.
//!
//! | state | a role ended well | no callers left | only servers left | a role failed | interrupt | time |
//! |---|---|---|---|---|---|---|
//! | Running | → Ending | | | → Terminating, **terminate** | → Terminating, **terminate** | |
//! | Ending | | → Dismissing, **terminate callees** | → Terminating, **terminate** | → Terminating, **terminate** | → Terminating, **terminate** | grace: → Terminating, **terminate** |
//! | Dismissing | | | as Ending | as Ending | as Ending | as Ending |
//! | Terminating | | | | | second one: → Killing, **kill** | grace: **remind**, once; kill: → Killing, **kill** |
//! | Killing | | | | | | |
//!
//! Ending is the normal end: the source has hung up, and the others follow by BYE. A server (the b2bua) does
//! not end by itself and is told when it is alone. Loads that only answer are told before it, since they may
//! remove their registrations there. Grace and kill are counted from the moment the state was entered.

use std::time::{Duration, Instant};

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A role exited with code 0.
    EndedWell,
    /// Only servers and loads that only answer still run, at least one load among them.
    NobodyCalls,
    /// No process that still runs would end by itself.
    OnlyServers,
    /// A role failed, crashed or was not READY in time.
    Failed,
    /// SIGINT or SIGTERM to the orchestrator.
    Interrupt,
    /// Time has passed.
    Tick,
}

/// An action on the roles that still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send SIGTERM to loads that only answer.
    TerminateCallees,
    /// Send SIGTERM.
    Terminate,
    /// Report the roles that still run.
    Remind,
    /// Send SIGKILL.
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ending { since: Instant },
    Dismissing { since: Instant },
    Terminating { since: Instant, reminded: bool, interrupted: bool },
    Killing,
}

/// The table, and the current state of a run.
#[derive(Debug, Clone)]
pub struct Shutdown {
    grace: Duration,
    kill: Duration,
    state: State,
}

impl Shutdown {
    /// A run that has begun.
    pub fn new(grace: Duration, kill: Duration) -> Self {
        Shutdown { grace, kill, state: State::Running }
    }

    /// Whether nothing has ended yet.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether the roles were told to end; the way they end then is expected.
    pub fn is_told(&self) -> bool {
        matches!(self.state, State::Terminating { .. } | State::Killing)
    }

    /// The next transition.
    pub fn on(&mut self, now: Instant, input: Input) -> Option<Action> {
        let told = |interrupted| State::Terminating { since: now, reminded: false, interrupted };
        let (state, action) = match (self.state, input) {
            (State::Running, Input::EndedWell) => (State::Ending { since: now }, None),
            (State::Running | State::Ending { .. } | State::Dismissing { .. }, Input::Failed) => {
                (told(false), Some(Action::Terminate))
            }
            (State::Running | State::Ending { .. } | State::Dismissing { .. }, Input::Interrupt) => {
                (told(true), Some(Action::Terminate))
            }
            (State::Ending { .. }, Input::NobodyCalls) => {
                (State::Dismissing { since: now }, Some(Action::TerminateCallees))
            }
            (State::Ending { .. } | State::Dismissing { .. }, Input::OnlyServers) => {
                (told(false), Some(Action::Terminate))
            }
            (State::Ending { since } | State::Dismissing { since }, Input::Tick)
                if now >= since + self.grace =>
            {
                (told(false), Some(Action::Terminate))
            }
            (State::Terminating { since, reminded, interrupted: false }, Input::Interrupt) => {
                (State::Terminating { since, reminded, interrupted: true }, None)
            }
            (State::Terminating { .. }, Input::Interrupt) => (State::Killing, Some(Action::Kill)),
            (State::Terminating { since, .. }, Input::Tick) if now >= since + self.kill => {
                (State::Killing, Some(Action::Kill))
            }
            (State::Terminating { since, reminded: false, interrupted }, Input::Tick)
                if now >= since + self.grace =>
            {
                (State::Terminating { since, reminded: true, interrupted }, Some(Action::Remind))
            }
            (state, _) => (state, None),
        };
        self.state = state;
        action
    }

    /// The latest time of the next [`Input::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running | State::Killing => None,
            State::Ending { since } | State::Dismissing { since } => Some(since + self.grace),
            State::Terminating { since, reminded: false, .. } => Some(since + self.grace.min(self.kill)),
            State::Terminating { since, .. } => Some(since + self.kill),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);
    const KILL: Duration = Duration::from_secs(15);

    fn started() -> (Shutdown, Instant) {
        (Shutdown::new(GRACE, KILL), Instant::now())
    }

    #[test]
    fn the_normal_end_gives_the_others_grace_and_then_terminates() {
        let (mut it, start) = started();
        assert_eq!(it.on(start, Input::Tick), None);
        assert_eq!(it.on(start, Input::EndedWell), None);
        assert_eq!(it.deadline(), Some(start + GRACE));
        assert_eq!(it.on(start + GRACE / 2, Input::EndedWell), None);
        assert_eq!(it.on(start + GRACE / 2, Input::Tick), None);
        assert_eq!(it.on(start + GRACE, Input::Tick), Some(Action::Terminate));
        assert_eq!(it.on(start + GRACE * 2, Input::Tick), Some(Action::Remind));
        assert_eq!(it.on(start + GRACE + KILL, Input::Tick), Some(Action::Kill));
        assert_eq!(it.on(start + GRACE + KILL * 2, Input::Tick), None);
    }

    #[test]
    fn servers_that_are_alone_are_told_once_the_end_has_begun() {
        let (mut it, start) = started();
        assert_eq!(it.on(start, Input::OnlyServers), None);
        assert!(it.is_running());
        it.on(start, Input::EndedWell);
        assert_eq!(it.on(start, Input::OnlyServers), Some(Action::Terminate));
        assert_eq!(it.on(start, Input::OnlyServers), None);
        assert_eq!(it.on(start + KILL, Input::Tick), Some(Action::Kill));
    }

    #[test]
    fn callees_are_told_before_the_servers_and_have_grace() {
        let (mut it, start) = started();
        assert_eq!(it.on(start, Input::NobodyCalls), None);
        it.on(start, Input::EndedWell);
        assert_eq!(it.on(start, Input::NobodyCalls), Some(Action::TerminateCallees));
        assert_eq!(it.on(start, Input::NobodyCalls), None);
        assert!(!it.is_told());
        let mut alone = it.clone();
        assert_eq!(alone.on(start, Input::OnlyServers), Some(Action::Terminate));
        assert_eq!(it.deadline(), Some(start + GRACE));
        assert_eq!(it.on(start + GRACE, Input::Tick), Some(Action::Terminate));
    }

    #[test]
    fn a_failure_terminates_at_once_and_kills_in_the_end() {
        let (mut it, start) = started();
        assert_eq!(it.on(start, Input::Failed), Some(Action::Terminate));
        assert!(it.is_told());
        assert_eq!(it.on(start, Input::Failed), None);
        assert_eq!(it.on(start + GRACE, Input::Tick), Some(Action::Remind));
        assert_eq!(it.on(start + GRACE, Input::Tick), None);
        assert_eq!(it.deadline(), Some(start + KILL));
        assert_eq!(it.on(start + KILL, Input::Tick), Some(Action::Kill));
    }

    #[test]
    fn a_failure_during_the_normal_end_terminates_too() {
        let (mut it, start) = started();
        it.on(start, Input::EndedWell);
        assert_eq!(it.on(start, Input::Failed), Some(Action::Terminate));
    }

    #[test]
    fn the_second_interrupt_kills() {
        let (mut it, start) = started();
        assert_eq!(it.on(start, Input::Interrupt), Some(Action::Terminate));
        assert_eq!(it.on(start, Input::Interrupt), Some(Action::Kill));
        assert_eq!(it.on(start, Input::Interrupt), None);
    }

    #[test]
    fn the_first_interrupt_during_our_own_shutdown_does_not_kill() {
        let (mut it, start) = started();
        it.on(start, Input::Failed);
        assert_eq!(it.on(start, Input::Interrupt), None);
        assert_eq!(it.on(start, Input::Interrupt), Some(Action::Kill));
    }
}
