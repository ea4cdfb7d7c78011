//! The verdict of a run: from the ends of its roles to the exit code and the record.

use std::time::SystemTime;

use super::OrchestratorConfig;
use super::record::{
    ChainFigures, Event, ImpairmentRecord, LoadRecord, PlanRecord, RoleEnd, RoleRecord, RunRecord, SCHEMA,
    Verdict, Versions,
};
use super::{chain, report};
use crate::config::plan::RolePlan;
use b2b_base::logging;
use b2b_base::metrics::MetricsLine;
use b2b_base::util::exit::Exit;
use b2b_config::RoleName;

/// The first failure of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The exit code that it causes.
    pub code: u8,
    /// The reason.
    pub reason: String,
}

/// The causes of a run's end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// The first failure.
    pub failed: Option<Failed>,
    /// Later failures.
    pub also: Vec<String>,
    /// The signal that the orchestrator received.
    pub interrupted: Option<&'static str>,
}

/// Whether a role ended as expected: exit 0, or by our SIGTERM before it could handle it.
pub fn ended_well(end: &RoleEnd) -> bool {
    end.code == Some(0) || (end.terminated && !end.killed && end.signal.as_deref() == Some("SIGTERM"))
}

/// The exit code of a run in which this role's end is the first failure.
pub fn code(end: &RoleEnd) -> u8 {
    match end.code {
        _ if end.killed => Exit::Timeout as u8,
        Some(code) if code != 0 => code,
        Some(_) => Exit::Timeout as u8,
        // a crash counts like a panic
        None => Exit::Panic as u8,
    }
}

/// The order of simultaneous ends, the likelier cause first: a crash before its consequences.
pub fn severity(end: &RoleEnd) -> u8 {
    match (code(end), ended_well(end)) {
        (_, true) => 9,
        (70, _) => 0,
        (64, _) => 1,
        (66, _) => 2,
        (65, _) => 4,
        _ => 3,
    }
}

/// The results of a run.
#[derive(Debug)]
pub struct Ended {
    /// The roles, in call order.
    pub roles: Vec<RoleRecord>,
    /// The loads, in the order of the plan.
    pub loads: Vec<LoadRecord>,
    /// The causes of its end.
    pub ending: Ending,
    /// The events.
    pub events: Vec<Event>,
}

/// Assembles the record of a run.
pub fn record(
    config: &OrchestratorConfig,
    started: SystemTime,
    run: Ended,
    timeline: Vec<MetricsLine>,
) -> RunRecord {
    let Ended { roles, mut loads, ending, events } = run;
    let ended = SystemTime::now();
    let judged = ending.failed.is_none() && ending.interrupted.is_none();
    let expect = &config.plan.plan.expect;
    let mut chain = chain::figures(&roles, None);
    let wanted = expect.min_intact_pct.is_some() || chain.latency_by.is_none();
    let heard = config.recordings().filter(|_| judged && wanted).map(|folder| report::heard(&folder));
    if let Some(latency) = heard.as_ref().and_then(|heard| heard.latency_ms) {
        chain = chain::figures(&roles, Some(latency));
    }
    chain.intact_pct =
        heard.as_ref().and_then(|heard| heard.intact_pct).filter(|_| expect.min_intact_pct.is_some());
    let sink = config.plan.plan.role(RoleName::Sink);
    let plays = |sink: &RolePlan| sink.get("output") == Some("aplay");
    let listens =
        config.recordings().is_some() || sink.is_some_and(|it| it.get("wav").is_some() || plays(it));
    if chain.latency_by.is_none() {
        let line = roles.last().and_then(|role| role.metrics.as_ref());
        chain.no_latency = chain::no_latency(line, listens, heard.is_some());
    }
    let latency_measured = config.plan.plan.roles.iter().all(|role| role.engine().measures_latency());
    let mut expectations = if judged { chain::check(expect, &chain, latency_measured) } else { Vec::new() };
    for load in &mut loads {
        match judged {
            true => expectations.extend(load.figures.iter().flat_map(|figures| figures.limits(&load.name))),
            false => load.unjudged(),
        }
    }
    let missed: Vec<String> =
        expectations.iter().filter(|expectation| expectation.missed()).map(|missed| missed.line()).collect();
    let (exit_code, headline, mut reasons) = match (ending.failed, ending.interrupted) {
        (Some(failed), _) => (failed.code, failed.reason, Vec::new()),
        (None, Some(signal)) => {
            (Exit::Ok as u8, format!("ended by {signal}, in order; nothing was judged"), Vec::new())
        }
        (None, None) if !missed.is_empty() => {
            let headline = format!("{} of {} expectations are not met", missed.len(), expectations.len());
            (Exit::Expectation as u8, headline, missed)
        }
        (None, None) => (Exit::Ok as u8, good_headline(&chain, &loads), Vec::new()),
    };
    reasons.extend(ending.also);
    let impairments = roles
        .iter()
        .filter_map(|role| {
            let planned = || {
                let role = role.role.parse::<RoleName>().ok()?;
                config.plan.plan.role(role)?.get("impair").map(str::to_string)
            };
            let value = role.metrics.as_ref().and_then(|line| line.impair.clone()).or_else(planned)?;
            Some(ImpairmentRecord { role: role.role.clone(), value })
        })
        .collect();
    RunRecord {
        schema: SCHEMA,
        verdict: Verdict {
            ok: exit_code == 0,
            exit_code,
            headline,
            reasons,
            interrupted: ending.interrupted.is_some(),
        },
        started: logging::timestamp(started),
        ended: logging::timestamp(ended),
        duration_s: ended.duration_since(started).unwrap_or_default().as_secs_f64(),
        plan: PlanRecord { path: config.plan.path.clone(), text: config.plan.text.clone() },
        versions: versions(),
        roles,
        loads,
        chain,
        expectations,
        impairments,
        events,
        timeline,
        recordings: config.run.report.as_ref().and(config.recordings()),
    }
}

fn good_headline(chain: &ChainFigures, loads: &[LoadRecord]) -> String {
    let mut parts = Vec::new();
    if let Some(seconds) = chain.duration_s {
        parts.push(format!("{seconds:.1} s of audio arrived"));
    }
    if let Some(loss) = chain.loss_pct {
        parts.push(format!("{loss:.2} % lost"));
    }
    if let Some(latency) = chain.latency_ms_p95 {
        parts.push(format!("{latency:.0} ms from mouth to ear (p95)"));
    }
    if let Some(mos) = chain.mos {
        parts.push(format!("MOS {mos:.2}"));
    }
    let calls = loads.iter().filter_map(|load| load.figures.as_ref()?.callers.as_ref());
    let calls: u64 = calls.map(|calls| calls.done).sum();
    if calls > 0 {
        parts.push(format!("{calls} calls beside it"));
    }
    if parts.is_empty() {
        "every role ended well, but nothing was measured".to_string()
    } else {
        parts.join(", ")
    }
}

fn versions() -> Versions {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    Versions {
        b2b: env!("CARGO_PKG_VERSION").to_string(),
        os: std::env::consts::OS.to_string(),
        kernel: kernel.map(|release| release.trim().to_string()),
        arch: std::env::consts::ARCH.to_string(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(code: Option<u8>, signal: Option<&str>) -> RoleEnd {
        RoleEnd { code, signal: signal.map(str::to_string), ..RoleEnd::default() }
    }

    #[test]
    fn the_code_of_a_run_is_the_code_of_its_first_failure() {
        assert_eq!(code(&end(Some(66), None)), 66);
        assert_eq!(code(&end(None, Some("SIGSEGV"))), 70);
        assert_eq!(code(&RoleEnd { killed: true, ..end(None, Some("SIGKILL")) }), 67);
    }

    #[test]
    fn only_our_own_sigterm_is_a_good_end() {
        assert!(ended_well(&end(Some(0), None)));
        assert!(!ended_well(&end(None, Some("SIGTERM"))));
        assert!(ended_well(&RoleEnd { terminated: true, ..end(None, Some("SIGTERM")) }));
        assert!(!ended_well(&RoleEnd { terminated: true, killed: true, ..end(None, Some("SIGKILL")) }));
    }

    #[test]
    fn a_crash_comes_before_what_follows_from_it() {
        let mut ends = [end(Some(65), None), end(None, Some("SIGKILL")), end(Some(0), None)];
        ends.sort_by_key(severity);
        assert_eq!(ends[0].signal.as_deref(), Some("SIGKILL"));
        assert_eq!(ends[2].code, Some(0));
    }
}
