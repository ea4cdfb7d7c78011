//! Runs a scene: a server, phones that go by steps, and loads beside them.
//!
//! - `run`: the driver; `party`: one phone of it; `loads`: its loads
//! - `command`: command lines and passwords; `prompts`: sounds that are made before
//! - `watch`: `GET /calls` while it goes on; `records`: call records and recordings afterwards
//! - `figures`: what was seen of whom; `verdict`: the table, expectations, exit code; `report`: all that as files

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

/// What the orchestrator of a scene is told.
#[derive(Debug, Clone)]
pub struct SceneConfig {
    /// What to run.
    pub scene: Scene,
    /// Its loads.
    pub loads: Vec<Load>,
    /// From SIGTERM to a word about who still runs.
    pub grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill: Duration,
    /// How long the server may take until it is READY.
    pub ready: Duration,
    /// Print command lines and start nothing.
    pub dry_run: bool,
    /// Where the report goes.
    pub report: Option<PathBuf>,
    /// Of all lines.
    pub format: Format,
    /// Of our own lines.
    pub color: Color,
    /// Of our own lines, and of the children's.
    pub level: tracing::Level,
}

/// Runs a scene to its end; the number is the exit code. Call it on the main thread: children die
/// with the thread that started them.
///
/// # Errors
/// What keeps it from starting, with the exit code in a [`b2b_base::util::exit::Failure`].
pub fn run(config: &SceneConfig) -> anyhow::Result<u8> {
    let program = this_program()?;
    if config.dry_run {
        let lines = command::dry_run(&program, config);
        // a closed pipe has seen enough
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
