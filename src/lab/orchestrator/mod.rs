//! Starts one process per role of a plan, follows their output, judges the run.
//!
//! - `driver`: runs children to their end; `surroundings`: what it works with
//! - `run`: the roles of a plan as such children; `slot`: one of them
//! - `command`: command lines; `child`: processes; `output`: what they write
//! - `ready`, `shutdown`, `stall`: the READY line, the table of the end, a watch
//! - `signals`, `tag`, `journal`, `rollup`: in and out
//! - `chain`, `verdict`, `summary`: figures, exit code, final table
//! - `record`: what a run leaves behind, for the final table and the report
//! - `report`: `report.json` and `report.html`
//! - `loads`: loads beside all that, and what they have measured
//! - `scene`: a server and phones that go by steps, in place of a chain of calls

pub mod chain;
pub mod child;
pub mod command;
mod driver;
mod journal;
pub mod loads;
pub mod output;
pub mod ready;
pub mod record;
pub mod report;
mod rollup;
mod run;
#[cfg(all(feature = "phone", feature = "server"))]
pub mod scene;
pub mod shutdown;
pub mod signals;
mod slot;
pub mod stall;
mod summary;
mod surroundings;
pub mod tag;
mod verdict;

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::config::files::LoadedPlan;
use crate::results::console::Console;
use b2b_base::logging::{self, Color, Format};
use b2b_base::util::exit::{Exit, Failure};
use b2b_config::RoleName;
use command::Common;
use loads::{Load, folder};
use record::RunRecord;
use surroundings::Surroundings;

/// What the orchestrator is told.
#[derive(Debug, Clone)]
pub struct OrchestratorConfig {
    /// The plan to run.
    pub plan: LoadedPlan,
    /// Its loads.
    pub loads: Vec<Load>,
    /// How long to wait for roles to exit by themselves.
    pub grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill: Duration,
    /// How long to wait for a role to be READY.
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

impl OrchestratorConfig {
    /// Where the roles record for the report.
    pub fn recordings(&self) -> Option<PathBuf> {
        let report = self.report.as_ref().map(|folder| folder.join("recordings"));
        report.or_else(|| self.passing_recordings())
    }

    /// Where they record for a limit on the sound alone, or for one on a latency that no stamp may tell: nobody wants
    /// to keep that.
    fn passing_recordings(&self) -> Option<PathBuf> {
        let (plan, expect) = (&self.plan.plan, &self.plan.plan.expect);
        let by_sound = expect.max_latency_ms.is_some() && !command::carries_stamps(plan);
        let wanted = self.report.is_none() && (expect.min_intact_pct.is_some() || by_sound);
        wanted.then(|| passing("recordings"))
    }

    /// Where loads write their reports, each in a folder of its name.
    fn load_reports(&self) -> PathBuf {
        folder::reports(self.report.as_deref())
    }

    fn common(&self) -> Common {
        Common { format: self.format, level: self.level, recordings: self.recordings() }
    }
}

/// Runs a plan.
#[derive(Debug)]
pub struct Orchestrator {
    config: OrchestratorConfig,
    program: Option<PathBuf>,
}

impl Orchestrator {
    /// An orchestrator that has not started; its roles are this very program.
    pub fn new(config: OrchestratorConfig) -> Self {
        Orchestrator { config, program: None }
    }

    /// Starts another program for the roles.
    pub fn with_program(self, program: PathBuf) -> Self {
        Orchestrator { program: Some(program), ..self }
    }

    /// Runs the plan to its end; the number is the exit code. Call it on the main
    /// thread: children die with the thread that started them.
    ///
    /// # Errors
    /// What keeps a run from starting, with the exit code in a [`Failure`].
    pub fn run(self) -> anyhow::Result<u8> {
        let config = &self.config;
        let program = match self.program {
            Some(program) => program,
            None => surroundings::this_program()?,
        };
        if config.dry_run {
            let lines = command::dry_run(&program, config);
            // a closed pipe has seen enough
            let _ = std::io::stdout().write_all((lines.join("\n") + "\n").as_bytes());
            return Ok(Exit::Ok as u8);
        }
        let passing = config.passing_recordings().map(Passing::make).transpose()?;
        if let Some(folder) = config.recordings().filter(|_| passing.is_none()) {
            prepare(&folder)?;
        }
        let _passing = Passing::of_loads(config.report.as_deref(), &config.loads)?;
        let surroundings = Surroundings::of_this_process(program, config.color)?;
        log_to(&surroundings.console, config, surroundings.color);
        let mut run = run::run(config, &surroundings);
        let report = config.report.as_deref().map(|folder| write_report(folder, &mut run));
        let report = report.map(|line| match config.format {
            Format::Text => line,
            Format::Json => logging::plain_line(config.format, tracing::Level::INFO, "orchestrator", &line),
        });
        let heard = heard(config).filter(|_| config.format == Format::Text);
        surroundings.finish(last_lines(config.format, &run).into_iter().chain(heard).chain(report));
        Ok(run.verdict.exit_code)
    }
}

/// The place of a folder that goes with the run.
fn passing(what: &str) -> PathBuf {
    std::env::temp_dir().join(format!("b2b-{}.{what}", std::process::id()))
}

/// A folder that is ours alone, and goes with this value.
struct Passing(PathBuf);

impl Passing {
    /// One for the reports of loads, if there are any and nobody keeps them. Where they are kept, those of an
    /// earlier run go.
    fn of_loads(report: Option<&Path>, loads: &[Load]) -> Result<Option<Passing>, Failure> {
        match report {
            Some(report) => {
                folder::prepare(report, loads).map_err(|error| unwritable(report, &error))?;
                Ok(None)
            }
            None => (!loads.is_empty()).then(|| Passing::make(passing("loads"))).transpose(),
        }
    }

    fn make(folder: PathBuf) -> Result<Passing, Failure> {
        // Where something is already, a link of somebody's for one, nothing is made.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| unwritable(&folder, &error))?;
        Ok(Passing(folder))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unwritable(folder: &Path, error: &std::io::Error) -> Failure {
    let folder = folder.display();
    Failure::new(Exit::Usage, format!("cannot write to {folder}: {error}; choose another --report"))
}

/// Makes the folder for recordings, without those of an earlier run.
fn prepare(folder: &Path) -> Result<(), Failure> {
    let failure = |error: std::io::Error| unwritable(folder, &error);
    std::fs::create_dir_all(folder).map_err(failure)?;
    for role in RoleName::CHAIN {
        let clocks = ["sent.clock.csv", "received.clock.csv"];
        for name in clocks.into_iter().chain(["sent.wav", "received.wav", "packets.csv", "sip"]) {
            match std::fs::remove_file(folder.join(format!("{role}.{name}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failure(error)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Events of libraries below us go where our own lines go.
fn log_to(console: &Console, config: &OrchestratorConfig, color: bool) {
    let (console, format) = (console.clone(), config.format);
    let tag = tag::tag(RoleName::Orchestrator, color);
    let emit = move |line: String| {
        console.line(match format {
            Format::Text => format!("{tag} {line}"),
            Format::Json => line,
        });
    };
    logging::init_with(RoleName::Orchestrator.as_str(), config.level, format, false, Box::new(emit));
}

/// Writes the report. A run that went well and cannot say so has failed.
fn write_report(folder: &Path, run: &mut RunRecord) -> String {
    match report::write(folder, run) {
        Ok(written) => format!("report    {}", written.html.display()),
        Err(error) => {
            if run.verdict.ok {
                run.verdict.ok = false;
                run.verdict.exit_code = Exit::Audio as u8;
                run.verdict.headline = format!("the run went well, but its report is missing: {error}");
            }
            format!("report    {error}")
        }
    }
}

/// Where the sink wrote what it heard, if it did.
fn heard(config: &OrchestratorConfig) -> Option<String> {
    let wav = config.plan.plan.role(RoleName::Sink)?.get("wav")?;
    Path::new(wav).exists().then(|| format!("heard     {wav}"))
}

/// The final table, or in JSON one line with everything but the timeline.
fn last_lines(format: Format, run: &RunRecord) -> Vec<String> {
    match format {
        Format::Text => summary::lines(run),
        Format::Json => {
            let run = RunRecord { timeline: Vec::new(), ..run.clone() };
            let ts = logging::timestamp(std::time::SystemTime::now());
            let role = RoleName::Orchestrator.as_str();
            vec![
                json!({"ts": ts, "level": "info", "role": role, "msg": "summary", "summary": run})
                    .to_string(),
            ]
        }
    }
}
