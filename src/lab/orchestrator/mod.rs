//! Starts one process per role of a plan, follows their output and judges the run.
//!
//! - `driver`: runs children to their end; `surroundings`: its environment
//! - `run`: the roles of a plan; `slot`: one of them
//! - `command`: command lines; `child`: processes; `output`: their output
//! - `ready`, `shutdown`, `stall`: the READY line, the shutdown table, detection of stalled roles
//! - `signals`, `tag`, `journal`, `rollup`: signals and output
//! - `chain`, `verdict`, `summary`: figures, exit code, final table
//! - `http`: questions to a server
//! - `record`: the results of a run, for the final table and the report
//! - `report`: `report.json` and `report.html`
//! - `loads`: loads beside the chain, and their measurements
//! - `scene`: a server and phones that follow steps, in place of a chain of calls

pub mod chain;
pub mod child;
pub mod command;
mod driver;
#[cfg(feature = "server")]
pub mod http;
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
pub mod surroundings;
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

/// The settings of the orchestrator.
#[derive(Debug, Clone)]
pub struct OrchestratorConfig {
    /// The plan to run.
    pub plan: LoadedPlan,
    /// How to run it.
    pub run: RunConfig,
}

/// The settings of a run, of a plan or of a scene.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// Its loads.
    pub loads: Vec<Load>,
    /// How long to wait for roles to exit by themselves; after SIGTERM, time to a report of those that still run.
    pub grace: Duration,
    /// Time from SIGTERM to SIGKILL.
    pub kill: Duration,
    /// How long to wait for a role to be READY.
    pub ready: Duration,
    /// Print command lines and start nothing.
    pub dry_run: bool,
    /// The folder of the report.
    pub report: Option<PathBuf>,
    /// The format of our own lines and of the children's.
    pub format: Format,
    /// The colour of our own lines.
    pub color: Color,
    /// The log level of our own lines, and of the children's unless the plan sets one.
    pub level: tracing::Level,
}

impl RunConfig {
    /// A last line in the format of the run.
    fn last_line(&self, line: String) -> String {
        match self.format {
            Format::Text => line,
            Format::Json => logging::plain_line(self.format, tracing::Level::INFO, "orchestrator", &line),
        }
    }
}

impl OrchestratorConfig {
    /// The folder of the recordings.
    pub fn recordings(&self) -> Option<PathBuf> {
        let report = self.run.report.as_ref().map(|folder| folder.join("recordings"));
        report.or_else(|| self.passing_recordings())
    }

    /// A temporary folder for recordings that only serve a limit on the audio, or on a latency that no time
    /// stamp can provide; it is not kept.
    fn passing_recordings(&self) -> Option<PathBuf> {
        let (plan, expect) = (&self.plan.plan, &self.plan.plan.expect);
        let by_sound = expect.max_latency_ms.is_some() && !command::carries_stamps(plan);
        let wanted = self.run.report.is_none() && (expect.min_intact_pct.is_some() || by_sound);
        wanted.then(|| passing("recordings"))
    }

    /// The folder of the loads' reports, one subfolder per load.
    fn load_reports(&self) -> PathBuf {
        folder::reports(self.run.report.as_deref())
    }

    fn common(&self) -> Common {
        Common { format: self.run.format, level: self.run.level, recordings: self.recordings() }
    }
}

/// Runs a plan.
#[derive(Debug)]
pub struct Orchestrator {
    config: OrchestratorConfig,
    program: Option<PathBuf>,
}

impl Orchestrator {
    /// An orchestrator that has not started; its roles run this executable.
    pub fn new(config: OrchestratorConfig) -> Self {
        Orchestrator { config, program: None }
    }

    /// Runs another executable for the roles.
    pub fn with_program(self, program: PathBuf) -> Self {
        Orchestrator { program: Some(program), ..self }
    }

    /// Runs the plan to its end; returns the exit code. Call it on the main thread: children die with the
    /// thread that started them.
    ///
    /// # Errors
    /// The reason why a run cannot start, with the exit code in a [`Failure`].
    pub fn run(self) -> anyhow::Result<u8> {
        let config = &self.config;
        let program = match self.program {
            Some(program) => program,
            None => surroundings::this_program()?,
        };
        if config.run.dry_run {
            return Ok(print(&command::dry_run(&program, config)));
        }
        let passing = config.passing_recordings().map(Passing::make).transpose()?;
        if let Some(folder) = config.recordings().filter(|_| passing.is_none()) {
            prepare(&folder)?;
        }
        let _passing = Passing::of_loads(config.run.report.as_deref(), &config.run.loads)?;
        let surroundings = Surroundings::of_this_process(program, config.run.color)?;
        log_to(&surroundings.console, config, surroundings.color);
        let mut run = run::run(config, &surroundings);
        let report = config.run.report.as_deref().map(|folder| write_report(folder, &mut run));
        let report = report.map(|line| config.run.last_line(line));
        let heard = heard(config).filter(|_| config.run.format == Format::Text);
        surroundings.finish(last_lines(config.run.format, &run).into_iter().chain(heard).chain(report));
        Ok(run.verdict.exit_code)
    }
}

/// Prints the command lines of a dry run; returns the exit code. A closed pipe is not an error.
fn print(lines: &[String]) -> u8 {
    let _ = std::io::stdout().write_all((lines.join("\n") + "\n").as_bytes());
    Exit::Ok as u8
}

/// The path of a temporary folder of this run.
fn passing(what: &str) -> PathBuf {
    std::env::temp_dir().join(format!("b2b-{}.{what}", std::process::id()))
}

/// A private folder, removed on drop.
struct Passing(PathBuf);

impl Passing {
    /// A temporary folder for the reports of loads, if there are any and they are not kept. If they are kept,
    /// reports of an earlier run are removed.
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
        // Fails if the path exists, for example as a symbolic link planted by another user.
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

/// Creates the folder for recordings, and removes those of an earlier run.
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

/// Routes log events of libraries to the console.
fn log_to(console: &Console, config: &OrchestratorConfig, color: bool) {
    let (console, format) = (console.clone(), config.run.format);
    let tag = tag::tag(RoleName::Orchestrator, color);
    let emit = move |line: String| {
        console.line(match format {
            Format::Text => format!("{tag} {line}"),
            Format::Json => line,
        });
    };
    logging::init_with(RoleName::Orchestrator.as_str(), config.run.level, format, false, Box::new(emit));
}

/// Writes the report. If it cannot be written, a successful run fails.
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

/// The path of the sink's recording, if it exists.
fn heard(config: &OrchestratorConfig) -> Option<String> {
    let wav = config.plan.plan.role(RoleName::Sink)?.get("wav")?;
    Path::new(wav).exists().then(|| format!("heard     {wav}"))
}

/// The final table, or in JSON format one line with everything but the timeline.
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
