//! Starts one process per role of a plan, follows their output, judges the run.
//!
//! - `record`: what a run leaves behind, for the final table and the report
//! - `report`: `report.json` and `report.html`

pub mod record;
pub mod report;

use std::path::PathBuf;
use std::time::Duration;

use crate::config::files::LoadedPlan;
use crate::logging::{Color, Format};

/// What the orchestrator is told.
#[derive(Debug, Clone)]
pub struct OrchestratorConfig {
    /// The plan to run.
    pub plan: LoadedPlan,
    /// How long roles may take to end by themselves.
    pub grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill: Duration,
    /// How long a role may take until it is READY.
    pub ready: Duration,
    /// Print command lines and start nothing.
    pub dry_run: bool,
    /// Where the report goes.
    pub report: Option<PathBuf>,
    /// Of our own lines, and of the children's.
    pub format: Format,
    /// Of our own lines.
    pub color: Color,
    /// Of our own lines, and of the children's unless the plan says otherwise.
    pub level: tracing::Level,
}

/// Runs a plan.
#[derive(Debug)]
pub struct Orchestrator {
    config: OrchestratorConfig,
}

impl Orchestrator {
    /// An orchestrator that has not started.
    pub fn new(config: OrchestratorConfig) -> Self {
        Orchestrator { config }
    }

    /// Runs the plan to its end; the number is the exit code.
    pub fn run(self) -> anyhow::Result<u8> {
        anyhow::bail!("not built yet: {}", self.config.plan.path.display())
    }
}
