//! The life of a load: signals, the loop, what is said and written at its end.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

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
use super::sleeper::Sleeper;

/// How long calls under way have to end once the run is over.
const GRACE: Duration = Duration::from_secs(35);
/// A shutdown that takes longer is cut off.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes the load, and says how it went; the exit code.
///
/// # Errors
/// The address cannot be bound, a file cannot be written, or the media worker is gone.
pub fn run(config: LoadConfig) -> anyhow::Result<Exit> {
    let signals = signal::take_over(PATIENCE).context("cannot take over the signals")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sleeper = Sleeper::start()?;
    let (expect, report, duration) = (config.expect, config.report.clone(), config.duration);
    let answers_only = config.callers.is_none();
    let (mut began, at) = (Instant::now(), SystemTime::now());
    let mut live = Live::start(&config, began)?;
    let ended = runtime.block_on(async {
        let failed = |error: b2b_call::agent::AgentError| Failure::new(Exit::Sip, error.to_string());
        let mut generator = Generator::start(config).map_err(failed)?;
        let enrolled = generator.enrolled(|| signals.try_recv().is_ok()).await;
        enrolled.map_err(|message| Failure::new(Exit::Sip, message))?;
        let sip: Vec<String> = generator.local().iter().map(|local| format!("sip={local}")).collect();
        live.say(format!("READY role=load {}", sip.join(" ")));
        began = Instant::now();
        let mut until = None;
        while !generator.is_over() && until.is_none_or(|until| Instant::now() < until) {
            generator.turn().await.map_err(failed)?;
            let asked = signals.try_recv().is_ok();
            if asked && until.is_some() {
                // the second time: nobody waits for what is left
                break;
            }
            let due = answers_only && duration.is_some_and(|duration| began.elapsed() >= duration);
            if (asked || due) && until.is_none() {
                until = Some(Instant::now() + GRACE);
                generator.stop();
            }
            live.tell(Instant::now(), generator.figures(), generator.under_way(), generator.late_percent());
        }
        let (late, took) = (generator.late_percent(), began.elapsed().as_secs_f64());
        anyhow::Ok((generator.close().await, late, took))
    });
    // the error is written behind what is on the terminal
    let (figures, late, took) = ended.inspect_err(|_| live.finish(Vec::new()))?;
    let late = (late, sleeper.percent());
    let judged = expect.judge(&figures, late);
    live.finish(results::lines(&figures, late, took, &judged));
    if let Some(folder) = report {
        let run = Ended { figures: &figures, late, took, judged: &judged, at };
        write(&folder, &run)
            .map_err(|error| Failure::new(Exit::Audio, format!("--report {}: {error}", folder.display())))?;
    }
    Ok(match judged.verdict() {
        Verdict::Passed => Exit::Ok,
        Verdict::Failed(_) | Verdict::Void(_) => Exit::Expectation,
    })
}

/// A run that is over.
struct Ended<'a> {
    figures: &'a Figures,
    late: Late,
    took: f64,
    judged: &'a Judged,
    /// When it began.
    at: SystemTime,
}

/// Writes the files of a report.
fn write(folder: &Path, run: &Ended<'_>) -> std::io::Result<()> {
    let began = humantime::format_rfc3339_millis(run.at).to_string();
    let json = results::json(run.figures, run.late, run.took, run.judged);
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("load.json"), format!("{json:#}\n"))?;
    let page = page::page(run.figures, run.late, run.took, run.judged, &began);
    std::fs::write(folder.join("report.html"), page)?;
    std::fs::write(folder.join("junit.xml"), junit::xml(run.judged, &began, run.took))
}
