//! The life of a load: signals, the loop, the final output and reports.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use crossbeam_channel::Receiver;
use nix::sys::signal::Signal;

use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::signal;

use super::config::LoadConfig;
use super::expect::{Judged, Verdict};
use super::figures::Figures;
use super::generator::Generator;
use super::junit;
use super::live::Live;
use super::page;
use super::results::{self, Late};
use super::sipp;
use super::sleeper::Sleeper;
use super::watched::Watch;
use super::worst::Call;

/// Maximum time for active calls to end once the run is over.
const GRACE: Duration = Duration::from_secs(35);
/// Maximum time of a shutdown: longer than calls need to end, and reports to be written.
const PATIENCE: Duration = Duration::from_secs(45);

/// The maker of calls.
enum Maker {
    /// Follows steps.
    Steps(Box<Generator>),
    /// Follows a SIPp scenario.
    Scenario(Box<sipp::Generator>),
}

impl Maker {
    /// Starts it, once the users to be called are registered. `gives_up`: whether to stop waiting.
    async fn start(config: LoadConfig, gives_up: impl Fn() -> bool) -> Result<Self, Failure> {
        let failed = |message: String| Failure::new(Exit::Sip, message);
        if let Some(run) = config.scenario.clone() {
            return Ok(Maker::Scenario(Box::new(sipp::Generator::start(config, &run).map_err(failed)?)));
        }
        let mut generator = Generator::start(config).map_err(|error| failed(error.to_string()))?;
        generator.enrolled(gives_up).await.map_err(failed)?;
        Ok(Maker::Steps(Box::new(generator)))
    }

    fn local(&self) -> Vec<SocketAddr> {
        match self {
            Maker::Steps(it) => it.local(),
            Maker::Scenario(it) => it.local(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Maker::Steps(it) => it.is_over(),
            Maker::Scenario(it) => it.is_over(),
        }
    }

    async fn turn(&mut self) -> Result<(), Failure> {
        match self {
            Maker::Steps(it) => it.turn().await.map_err(|error| Failure::new(Exit::Sip, error.to_string())),
            Maker::Scenario(it) => {
                it.turn().await;
                Ok(())
            }
        }
    }

    fn stop(&mut self) {
        match self {
            Maker::Steps(it) => it.stop(),
            Maker::Scenario(it) => it.stop(),
        }
    }

    fn late_percent(&self) -> f64 {
        match self {
            Maker::Steps(it) => it.late_percent(),
            Maker::Scenario(it) => it.late_percent(),
        }
    }

    fn tell(&self, live: &mut Live) {
        let now = Instant::now();
        match self {
            Maker::Steps(it) => live.tell(now, it.figures(), it.under_way(), it.late_percent()),
            Maker::Scenario(it) => live.tell(now, it.figures(), it.under_way(), it.late_percent()),
        }
    }

    async fn close(self) -> Figures {
        match self {
            Maker::Steps(it) => it.close().await,
            Maker::Scenario(it) => it.close(),
        }
    }
}

/// The end of a run.
#[derive(Debug)]
pub struct Ran {
    /// The verdict.
    pub exit: Exit,
    /// The calls, if each is a case.
    pub calls: Vec<Call>,
}

/// The signals that end a load, in a channel.
///
/// # Errors
/// They cannot be taken over.
pub fn signals() -> anyhow::Result<Receiver<Signal>> {
    signal::take_over(PATIENCE).context("cannot take over the signals")
}

/// Runs the load, up to its end or to the end of its calls after one of [`signals`], and prints its results.
///
/// # Errors
/// The address cannot be bound, a file cannot be written, or the media thread is gone.
pub fn run(config: LoadConfig, signals: &Receiver<Signal>) -> anyhow::Result<Ran> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sleeper = Sleeper::start()?;
    let (expect, report, duration) = (config.expect, config.report.clone(), config.duration);
    let (answers_only, watch_pid, each) = (config.callers.is_none(), config.watch_pid, config.each);
    let (mut began, at) = (Instant::now(), SystemTime::now());
    let mut live = Live::start(&config, began)?;
    let ended = runtime.block_on(async {
        let mut maker = Maker::start(config, || signals.try_recv().is_ok()).await?;
        let watch = watch_pid.map(watch).transpose()?;
        let sip: Vec<String> = maker.local().iter().map(|local| format!("sip={local}")).collect();
        if !each {
            live.say(format!("READY role=load {}", sip.join(" ")));
        }
        began = Instant::now();
        let mut until = None;
        while !maker.is_over() && until.is_none_or(|until| Instant::now() < until) {
            maker.turn().await?;
            let asked = signals.try_recv().is_ok();
            if asked && until.is_some() {
                // the second signal: end without waiting
                break;
            }
            let due = answers_only && duration.is_some_and(|duration| began.elapsed() >= duration);
            if (asked || due) && until.is_none() {
                until = Some(Instant::now() + GRACE);
                maker.stop();
            }
            maker.tell(&mut live);
        }
        let (late, took) = (maker.late_percent(), began.elapsed().as_secs_f64());
        let watched = watch.and_then(Watch::finish);
        let is_whole = maker.is_over();
        let mut figures = Figures { watched, ..maker.close().await };
        if !is_whole {
            figures.callers.cut_off();
            figures.callees.cut_off();
        }
        anyhow::Ok((figures, late, took))
    });
    // the error is printed after the lines on the terminal
    let (figures, late, took) = ended.inspect_err(|error| {
        live.finish(Vec::new());
        if let Some(folder) = &report
            && let Err(error) = write_error(folder, error, (at, began))
        {
            tracing::warn!("--report {}: {error}", folder.display());
        }
    })?;
    let late =
        Late { generator_pct: late, sleeper_pct: sleeper.percent(), sleeper_longest: sleeper.longest() };
    let judged = expect.judge(&figures, (late.generator_pct, late.sleeper_pct));
    let judged = if each { judged.in_sandbox(late.sleeper_longest) } else { judged };
    live.finish(results::lines(&figures, late, took, &judged));
    if let Some(folder) = report {
        let run = Ended { figures: &figures, late, took, judged: &judged, at };
        write(&folder, &run)
            .map_err(|error| Failure::new(Exit::Audio, format!("--report {}: {error}", folder.display())))?;
    }
    let exit = match judged.verdict() {
        Verdict::Passed => Exit::Ok,
        Verdict::Failed(_) | Verdict::Void(_) => Exit::Expectation,
    };
    Ok(Ran { exit, calls: figures.each.unwrap_or_default() })
}

/// Watches a process.
fn watch(pid: u32) -> Result<Watch, Failure> {
    Watch::start(pid).map_err(|error| {
        let hint = "name one that runs on this machine, as `pidof asterisk` says it";
        Failure::new(Exit::Usage, format!("--watch-pid {pid}: {error}; {hint}"))
    })
}

/// A finished run.
struct Ended<'a> {
    figures: &'a Figures,
    late: Late,
    took: f64,
    judged: &'a Judged,
    /// When it began.
    at: SystemTime,
}

/// Writes the report of a run that could not be performed: `junit.xml`, with the reason.
fn write_error(
    folder: &Path,
    error: &anyhow::Error,
    (at, began): (SystemTime, Instant),
) -> std::io::Result<()> {
    let at = humantime::format_rfc3339_millis(at).to_string();
    std::fs::create_dir_all(folder)?;
    std::fs::write(
        folder.join("junit.xml"),
        junit::error(&error.to_string(), &at, began.elapsed().as_secs_f64()),
    )
}

/// Writes the files of a report.
fn write(folder: &Path, run: &Ended<'_>) -> std::io::Result<()> {
    let began = humantime::format_rfc3339_millis(run.at).to_string();
    let json = results::json(run.figures, run.late, run.took, run.judged);
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("load.json"), format!("{json:#}\n"))?;
    let page = page::page(run.figures, run.late, run.took, run.judged, &began);
    std::fs::write(folder.join("report.html"), page)?;
    std::fs::write(folder.join("junit.xml"), junit::xml(run.figures, run.judged, &began, run.took))
}
