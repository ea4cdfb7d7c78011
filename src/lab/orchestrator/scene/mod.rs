//! Runs a scene: a server, phones that follow steps, and loads beside them.
//!
//! - `run`: the driver; `party`: a phone; `loads`: the loads
//! - `command`: command lines and passwords; `prompts`: generated prompts
//! - `watch`: polls `GET /calls` during the run; `records`: call records and recordings afterwards
//! - `figures`: observations of a phone; `verdict`: the table, expectations, exit code; `report`: the report
//!   files

mod command;
mod figures;
mod loads;
mod party;
mod prompts;
mod records;
mod report;
mod run;
mod verdict;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::Passing;
use super::loads::Load;
use super::surroundings::{Surroundings, this_program};
use crate::config::scene::Scene;
use b2b_base::logging::{self, Color, Format};
use b2b_base::util::exit::Exit;

/// The settings of a scene's orchestrator.
#[derive(Debug, Clone)]
pub struct SceneConfig {
    /// The scene to run.
    pub scene: Scene,
    /// Its loads.
    pub loads: Vec<Load>,
    /// Time from SIGTERM to a report of the processes that still run.
    pub grace: Duration,
    /// Time from SIGTERM to SIGKILL.
    pub kill: Duration,
    /// Maximum time until the server is READY.
    pub ready: Duration,
    /// Print command lines and start nothing.
    pub dry_run: bool,
    /// The folder of the report.
    pub report: Option<PathBuf>,
    /// The format of all lines.
    pub format: Format,
    /// The colour of our own lines.
    pub color: Color,
    /// The log level of our own lines and of the children's.
    pub level: tracing::Level,
}

/// Runs a scene to its end; returns the exit code. Call it on the main thread: children die with the thread
/// that started them.
///
/// # Errors
/// The reason why it cannot start, with the exit code in a [`b2b_base::util::exit::Failure`].
pub fn run(config: &SceneConfig) -> anyhow::Result<u8> {
    let program = this_program()?;
    if config.dry_run {
        let lines = command::dry_run(&program, config);
        // a closed pipe is not an error
        let _ = std::io::stdout().write_all((lines.join("\n") + "\n").as_bytes());
        return Ok(Exit::Ok as u8);
    }
    prompts::make(&config.scene.prompts)?;
    let passwords = command::Passwords::write(&config.scene.phones)?;
    let surroundings = Surroundings::of_this_process(program, config.color)?;
    let _passing = Passing::of_loads(config.report.as_deref(), &config.loads)?;
    let mut outcome = run::run(config, &passwords, &surroundings);
    let report = config.report.as_deref().map(|folder| report::write(folder, config, &mut outcome));
    let report = report.map(|line| match config.format {
        Format::Text => line,
        Format::Json => logging::plain_line(config.format, tracing::Level::INFO, "orchestrator", &line),
    });
    surroundings.finish(verdict::lines(config, &outcome).into_iter().chain(report));
    Ok(outcome.verdict.code)
}
