//! What a run works with, of a plan and of a scene alike: the program, signals and the console.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::signals::Interrupts;
use crate::results::console::Console;
use b2b_base::logging::Color;

/// What a run works with.
#[derive(Debug)]
pub struct Surroundings {
    /// The program that is every role.
    pub program: PathBuf,
    /// Signals to us.
    pub interrupts: Interrupts,
    /// Where we write.
    pub console: Console,
    /// Whether our tags are coloured.
    pub color: bool,
    /// Rung when something has happened; the sender goes to whoever rings.
    pub wake: (Sender<()>, Receiver<()>),
}

/// This very program.
///
/// # Errors
/// The system does not say which file it is.
pub fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

impl Surroundings {
    /// Our standard output and the signals of this process.
    ///
    /// # Errors
    /// A thread cannot be started, or a signal not be caught.
    pub fn of_this_process(program: PathBuf, color: Color) -> anyhow::Result<Self> {
        let terminal = std::io::stdout().is_terminal();
        let color = color.enabled(terminal, std::env::var_os("NO_COLOR").as_deref());
        let console = Console::of_stdout()?;
        let wake = bounded(1);
        let interrupts = Interrupts::catch(wake.0.clone())?;
        Ok(Surroundings { program, interrupts, console, color, wake })
    }

    /// Writes the last lines, unless another signal says that nobody waits for them.
    pub fn finish(&self, lines: impl IntoIterator<Item = String>) {
        let may_wait = || self.interrupts.next().is_none();
        for line in lines {
            self.console.important_line(line, may_wait);
        }
        self.console.finish(may_wait);
    }
}
