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

use super::surroundings::{Surroundings, this_program};
use super::{Passing, RunConfig, print};
use crate::config::scene::Scene;

/// The settings of a scene's orchestrator.
#[derive(Debug, Clone)]
pub struct SceneConfig {
    /// The scene to run.
    pub scene: Scene,
    /// How to run it.
    pub run: RunConfig,
}

/// Runs a scene to its end; returns the exit code. Call it on the main thread: children die with the thread
/// that started them.
///
/// # Errors
/// The reason why it cannot start, with the exit code in a [`b2b_base::util::exit::Failure`].
pub fn run(config: &SceneConfig) -> anyhow::Result<u8> {
    let program = this_program()?;
    if config.run.dry_run {
        return Ok(print(&command::dry_run(&program, config)));
    }
    prompts::make(&config.scene.prompts)?;
    let passwords = command::Passwords::write(&config.scene.phones)?;
    let surroundings = Surroundings::of_this_process(program, config.run.color)?;
    let _passing = Passing::of_loads(config.run.report.as_deref(), &config.run.loads)?;
    let mut outcome = run::run(config, &passwords, &surroundings);
    let report = config.run.report.as_deref().map(|folder| report::write(folder, config, &mut outcome));
    let report = report.map(|line| config.run.last_line(line));
    surroundings.finish(verdict::lines(config, &outcome).into_iter().chain(report));
    Ok(outcome.verdict.code)
}
