//! The environment of a run, for plans and scenes: the program, signals and the console.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::child::Child;
use super::signals::Interrupts;
use crate::results::console::Console;
use b2b_base::logging::Color;
use b2b_config::RoleName;

/// The environment of a run.
#[derive(Debug)]
pub struct Surroundings {
    /// The executable of every role.
    pub program: PathBuf,
    /// Signals to the orchestrator.
    pub interrupts: Interrupts,
    /// The output.
    pub console: Console,
    /// Whether our tags are coloured.
    pub color: bool,
    /// Signalled for each event; the sender is cloned for each source of events.
    pub wake: (Sender<()>, Receiver<()>),
}

/// The path of this executable.
///
/// # Errors
/// The system does not report the path.
pub fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

impl Surroundings {
    /// Standard output and the signals of this process.
    ///
    /// # Errors
    /// A thread cannot be started, or a signal cannot be caught.
    pub fn of_this_process(program: PathBuf, color: Color) -> anyhow::Result<Self> {
        let terminal = std::io::stdout().is_terminal();
        let color = color.enabled(terminal, std::env::var_os("NO_COLOR").as_deref());
        let console = Console::of_stdout()?;
        let wake = bounded(1);
        let interrupts = Interrupts::catch(wake.0.clone())?;
        Ok(Surroundings { program, interrupts, console, color, wake })
    }

    /// Starts a role with these arguments; see [`Child::spawn`].
    ///
    /// # Errors
    /// The process or a thread cannot be started.
    pub fn spawn(&self, role: RoleName, arguments: &[String]) -> std::io::Result<Child> {
        Child::spawn(role, &self.program, arguments, self.wake.0.clone())
    }

    /// Writes the last lines, unless another signal arrives.
    pub fn finish(&self, lines: impl IntoIterator<Item = String>) {
        let may_wait = || self.interrupts.next().is_none();
        for line in lines {
            self.console.important_line(line, may_wait);
        }
        self.console.finish(may_wait);
    }
}
