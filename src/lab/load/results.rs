//! The results of a run: a table for the user, and JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::cases;
use super::expect::{Judged, Verdict};
use super::figures::{Figures, Side, Times};
use super::ways::BEYOND_MS;

/// The lateness of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Late {
    /// The generator, percent of the time.
    pub generator_pct: f64,
    /// The idle sleeper, percent of the time.
    pub sleeper_pct: f64,
    /// The longest delay of the idle sleeper.
    pub sleeper_longest: Duration,
}

/// The run as JSON.
pub fn json(figures: &Figures, late: Late, took_s: f64, judged: &Judged) -> Value {
    let (word, why) = match judged.verdict() {
        Verdict::Passed => ("passed", Vec::new()),
        Verdict::Failed(why) => ("failed", why),
        Verdict::Void(why) => ("void", vec![why]),
    };
    let mut run = figures.json();
    run["version"] = json!(1);
    run["took_s"] = json!((took_s * 1e3).round() / 1e3);
    run["generator_late_pct"] = json!(late.generator_pct);
    run["sleeper_late_pct"] = json!(late.sleeper_pct);
    run["sleeper_longest_ms"] = json!(late.sleeper_longest.as_millis());
    run["expectations"] = json!(judged.rows().collect::<Vec<_>>());
    run["verdict"] = json!({"result": word, "why": why});
    run
}

/// The run as lines.
pub fn lines(figures: &Figures, late: Late, took_s: f64, judged: &Judged) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(each) = &figures.each {
        lines.extend(cases::lines(each));
        if figures.response.count() > 0 {
            let [usual, longest] = [50.0, 100.0].map(|percent| figures.response.percentile_ms(percent));
            lines.push(format!("answered within {longest:.0} ms, half of them within {usual:.0} ms"));
        }
        lines.extend(verdict(judged));
        return lines;
    }
    figures.sides().for_each(|(who, side)| lines.extend(of_side(who, side, took_s)));
    lines.extend(figures.routes().map(|route| of_route(&route.prefix, &route.side)));
    if figures.callers.begun > 0 {
        lines.push(format!(
            "{:<9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "ms", "p50", "p90", "p99", "p99.9", "calls"
        ));
        for (what, times) in [
            ("setup", &figures.setup),
            ("ringing", &figures.ringing),
            ("response", &figures.response),
            ("ending", &figures.ending),
        ] {
            lines.extend((times.count() > 0).then(|| of_times(what, times)));
        }
    }
    lines.push(format!(
        "late      generator {:.2} % of the time, idle sleeper {:.2} %; calls began {:.1} ms late in the 99th percentile",
        late.generator_pct,
        late.sleeper_pct,
        figures.lateness.percentile_ms(99.0)
    ));
    if figures.registrations.users > 0 {
        let it = &figures.registrations;
        let failures: u64 = it.failures.values().sum();
        lines.push(format!(
            "users     {} of {} registered at the end, {failures} attempts failed",
            it.registered, it.users
        ));
    }
    if let Some(watched) = &figures.watched {
        lines.push(format!("watched   {}", watched.words(figures.main().begun)));
    }
    if figures.held_back > 0 {
        lines.push(format!(
            "held back {} times, since as many calls were under way as may be",
            figures.held_back
        ));
    }
    lines.extend(verdict(judged));
    lines
}

fn verdict(judged: &Judged) -> Vec<String> {
    match judged.verdict() {
        Verdict::Passed => vec!["passed".to_owned()],
        Verdict::Failed(why) => why.iter().map(|why| format!("failed    {why}")).collect(),
        Verdict::Void(why) => vec![format!("void      {why}")],
    }
}

fn of_side(who: &str, side: &Side, took_s: f64) -> Vec<String> {
    let [sent, received, lost] = side.packets;
    let mos = match (side.mos_of_worst(1.0), side.mos_of_worst(50.0)) {
        (Some(worst), Some(usual)) => format!("MOS {usual:.2}, worst hundredth {worst:.2}"),
        _ => "nothing heard".to_owned(),
    };
    let mut lines = vec![
        format!(
            "{who:<9} {} begun ({:.1}/s), {} answered, {} done, {} failed, {} at the end still under way",
            side.begun,
            side.begun as f64 / took_s.max(0.001),
            side.answered,
            side.done,
            side.failures(),
            side.begun - side.done - side.failures(),
        ),
        format!("{:<9} RTP {sent} sent, {received} received, {lost} lost; {mos}", ""),
    ];
    if side.judged > 0 {
        let [p50, p95, max] = [50.0, 95.0, 100.0].map(|percent| side.delay.percentile_ms(percent));
        let gaps = match side.gaps.count() {
            0 => "no gap".to_owned(),
            calls => format!("gaps in {calls} of them, the longest {:.0} ms", side.gaps.percentile_ms(100.0)),
        };
        let of = match side.not_listened {
            0 => String::new(),
            others => format!(" of {}", side.judged + others),
        };
        lines.push(format!(
            "{:<9} {}{of} judged by their mark: mouth to ear {p50:.1} ms, p95 {p95:.1}, max {max:.1}; {gaps}",
            "", side.judged
        ));
    }
    lines.extend(side.ways.slower(BEYOND_MS).map(|slower| format!("{:<9} {slower}", "")));
    lines.extend(side.reasons().map(|reason| format!("{:<9} {reason}", "")));
    lines
}

fn of_route(prefix: &str, side: &Side) -> String {
    let mos = |percent| side.mos_of_worst(percent).map_or("–".to_owned(), |mos| format!("{mos:.2}"));
    let delay = match side.delay.count() {
        0 => "–".to_owned(),
        _ => format!("{:.1} ms, p95 {:.1}", side.delay.percentile_ms(50.0), side.delay.percentile_ms(95.0)),
    };
    format!(
        "route {prefix:<3} {} begun, {} done, {} failed; {} RTP lost; MOS {}, worst hundredth {}; mouth to ear {delay}",
        side.begun,
        side.done,
        side.failures(),
        side.packets[2],
        mos(50.0),
        mos(1.0)
    )
}

fn of_times(what: &str, times: &Times) -> String {
    let [p50, p90, p99, p999] = [50.0, 90.0, 99.0, 99.9].map(|percent| times.percentile_ms(percent));
    format!("{what:<9} {p50:>9.2} {p90:>9.2} {p99:>9.2} {p999:>9.2} {:>9}", times.count())
}
