//! A telephone network in a box: calls a voice agent as its callers would, through a server of its own on
//! loopback, and judges by ear. Its plan is that of a load, with the `[agent]` that is called.
//!
//! - `agent`: where it is, and the command that starts it
//! - `server`: the server between, and its journals

mod agent;
mod server;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::flags::Flags;
use crate::load;
use crate::load::config::LoadConfig;
use crate::load::hearing::{Ears, Hears};
use crate::load::pace::Stage;
use crate::load::plan::{LoadPlan, PlannedCaller};
use agent::Agent;
use b2b_base::util::exit::{Exit, Failure};
use b2b_config::command_line::CommandLine;
use b2b_config::step;
use server::Server;

/// Lateness of the generator that spoils no verdict, percent of the time: 20 ms in each second.
const LATE_PCT: f64 = 2.0;
/// The steps of callers that have none.
const STEPS: &str = "dial agent; hears speech within 5 s; hang up";
/// How many calls begin in a second, if there is room.
const RATE: f64 = 10.0;

/// The settings of a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// The plan.
    pub plan: PathBuf,
    /// The folder for the report.
    pub report: Option<PathBuf>,
    /// In place of the plan's seed.
    pub seed: Option<u64>,
    /// Print what would be done, and start nothing.
    pub dry_run: bool,
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Runs a sandbox to its end; returns the exit code. Call it on the main thread: the server ends with the
/// thread that started it.
///
/// # Errors
/// The plan is wrong, the agent is not there, or a file cannot be written.
pub fn run(config: &SandboxConfig) -> anyhow::Result<Exit> {
    let (agent, mut calls) = read(config)?;
    let work = tempfile::Builder::new().prefix("b2b-sandbox-").tempdir()?;
    let at = calls.binds.first().copied().unwrap_or_else(any_port);
    let configuration = server::configuration(&agent, &calls.callees, at);
    let path = server::write(&configuration, work.path(), &config.plan)?;
    if config.dry_run {
        println!("{}\n\n{}", calls.summary(), toml::to_string(&configuration)?.trim_end());
        return Ok(Exit::Ok);
    }
    let folder = config.report.as_deref();
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        // those of an earlier run tell nothing of this one
        let _ = std::fs::remove_dir_all(folder.join("journals"));
    }
    // from here on a signal ends the agent's command, too
    let signals = load::signals()?;
    let output = folder.unwrap_or(work.path()).join("agent.log");
    let bot = agent.start(&output, || signals.try_recv().is_ok())?;
    let server = Server::start(&path)?;
    let (asks, asked) = crossbeam_channel::unbounded();
    server.originate(asked, at, &agent)?;
    for (place, kind) in calls.callees.iter_mut().enumerate().filter(|(_, kind)| kind.calls > 0) {
        kind.called.push(server::number(place));
    }
    calls.asks = Some(asks);
    calls.target = Some(format!("sip:agent@{}", server.address()));
    let ran = load::run(calls, &signals)?;
    if let Some(folder) = folder {
        let failed: Vec<(String, String)> = (ran.calls.iter().filter(|call| call.why.is_some()))
            .filter_map(|call| Some((call.name(), call.sip_call_id.clone()?)))
            .collect();
        let journals = folder.join("journals");
        let written = server.journals(&failed, &journals).map_err(|error| unwritable(folder, &error))?;
        if written > 0 {
            println!("{written} journals in {}; b2b replay runs one again", journals.display());
        }
    }
    let log = folder.map(|folder| folder.join("server.log"));
    server.end(log.as_deref())?;
    drop(bot);
    Ok(ran.exit)
}

fn unwritable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Audio, format!("--report {}: {error}", folder.display()))
}

/// Reads the plan: the agent, and the calls to it.
fn read(config: &SandboxConfig) -> Result<(Agent, LoadConfig), Failure> {
    let path = config.plan.display();
    let mut plan = LoadPlan::read(&config.plan).map_err(|error| usage(error.to_string()))?;
    let Some(table) = plan.agent.take() else {
        let like = "url = \"ws://127.0.0.1:8765/\" and the other keys of a [[voice_agent]]";
        return Err(usage(format!("{path}: [agent] is missing; say where it is, with {like}, or sip")));
    };
    let agent = Agent::of(table).map_err(|why| usage(format!("{path}: [agent]: {why}")))?;
    for (key, given, why) in [
        ("target", plan.load.target.is_some(), "the agent is called"),
        ("calls", plan.load.calls.is_some(), "each [[caller]] has its calls"),
        ("scenario", plan.load.scenario.is_some(), "callers have steps"),
    ] {
        if given {
            return Err(usage(format!("{path}: load.{key}: {why}; remove it")));
        }
    }
    plan.load.target = Some("sip:agent@127.0.0.1".to_owned());
    plan.load.sip_bind.get_or_insert_with(any_port);
    plan.load.at_once.get_or_insert(1);
    plan.load.seed = config.seed.or(plan.load.seed);
    // Few calls are at once, and a stall of the machine is judged by itself.
    plan.expect.max_late_pct = plan.expect.max_late_pct.max(LATE_PCT);
    plan.ears.get_or_insert(Ears { hears: Hears::None, sample: None });
    if plan.stages.is_empty() {
        plan.stages.push(Stage { rate: RATE, ramp: Duration::ZERO, hold: None });
    }
    if plan.callers.is_empty() {
        // without callers, callees alone
        let calls = plan.callees.iter().any(|it| it.calls > 0).then_some(0);
        let (name, steps, users) = ("caller".to_owned(), None, None);
        plan.callers.push(PlannedCaller { name, share: 1.0, calls, steps, users });
    }
    for caller in &mut plan.callers {
        caller.share = f64::from(*caller.calls.get_or_insert(1));
        if caller.steps.is_none() {
            caller.steps = Some(step::caller(STEPS).map_err(usage)?.into());
        }
    }
    let flags = Flags::read(&CommandLine::default())?;
    let calls = flags.load_of(plan).map_err(|failure| usage(format!("{path}: {}", failure.message)))?;
    Ok((agent, LoadConfig { each: true, report: config.report.clone(), ..calls }))
}

/// An address of loopback that is free, which the server's configuration names before the callees have it:
/// none of the ports that the system gives to whom asks for any (32768 to 60999).
fn any_port() -> SocketAddr {
    let free = |at: &SocketAddr| UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok();
    let random = || SocketAddr::from(([127, 0, 0, 1], rand::random_range(5_100..10_000)));
    std::iter::repeat_with(random).take(100).find(free).unwrap_or_else(random)
}
