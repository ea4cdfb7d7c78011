//! `report.html`: a self-contained page with the verdict first, then figures, the timeline, failures and the
//! worst calls.

use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

use super::expect::{Judged, Verdict};
use super::figures::{Figures, Side, Times};
use super::results::Late;
use super::timeline::Timeline;
use super::ways::BEYOND_MS;
use crate::results::charts::{BAD, BOTTOM, RECEIVED, SENT, WARN, svg, time_chart, time_mesh};
use crate::results::page::{self, figure, ms, one, tile};

mod calls;

/// The page of a run. `began`: RFC 3339.
pub fn page(figures: &Figures, late: Late, took_s: f64, judged: &Judged, began: &str) -> String {
    let rows: Vec<_> = judged.rows().cloned().collect();
    let body = html! {
        (verdict(figures, took_s, judged, began))
        (tiles(figures, judged))
        (page::expectations(&rows))
        (over_time(&figures.timeline))
        (watched(figures))
        (times(figures))
        (sides(figures))
        (failures(figures))
        (calls::worst(&figures.worst.calls()))
        p.soft {
            "The generator was late for " (figure(late.generator_pct)) " % of the time, a thread that only slept for " (figure(late.sleeper_pct))
            " %. b2b " (env!("CARGO_PKG_VERSION")) "."
        }
    };
    let role = if figures.each.is_some() { "sandbox" } else { "load" };
    let word = if judged.verdict() == Verdict::Passed { "passed" } else { "not passed" };
    page::document(&format!("b2b {role}: {word}"), &body)
}

fn verdict(figures: &Figures, took_s: f64, judged: &Judged, began: &str) -> Markup {
    let verdict = judged.verdict();
    let (word, reasons) = match &verdict {
        Verdict::Passed => ("Passed", Vec::new()),
        Verdict::Failed(why) => ("Not passed", why.clone()),
        Verdict::Void(why) => ("Void", vec![why.clone()]),
    };
    let side = figures.main();
    let headline =
        format!("{} calls begun, {} answered, {} failed", side.begun, side.answered, figures.failures());
    let about =
        html! { (began) " · " (one(took_s)) " s · " (figures.at_once) " legs under way at once, at most" };
    page::verdict(verdict == Verdict::Passed, word, &headline, &reasons, &about)
}

/// The most important figures, in large type.
fn tiles(figures: &Figures, judged: &Judged) -> Markup {
    let missed = |name: &str| judged.limits.iter().any(|row| row.name.starts_with(name) && row.missed());
    let sides = [&figures.callers, &figures.callees];
    let times = |times: &Times, percent| (times.count() > 0).then(|| ms(times.percentile_ms(percent)));
    let mos = sides.into_iter().filter_map(|side| side.mos_of_worst(1.0)).reduce(f64::min);
    let delay =
        if figures.callers.delay.count() > 0 { &figures.callers.delay } else { &figures.callees.delay };
    html! {
        div.tiles {
            (tile(Some(figures.failures().to_string()), "calls failed", missed("min_done_pct")))
            (tile(times(&figures.setup, 50.0), "setup, half below", false))
            (tile(times(&figures.setup, 99.0), "setup, 99 % below", missed("max_setup_p99_ms")))
            (tile(mos.map(|mos| format!("{mos:.2}")), "MOS of the worst hundredth", missed("min_mos")))
            (tile(times(delay, 95.0), "mouth to ear, 95 % below", missed("max_mouth_to_ear_p95_ms")))
            (tile(Some(sides.iter().map(|side| side.packets[2]).sum::<u64>().to_string()), "packets lost", missed("max_loss_pct")))
        }
    }
}

fn over_time(timeline: &Timeline) -> Markup {
    let length = timeline.length_s();
    let per_second = |count: u64| count as f64 / length;
    let line = |value: &dyn Fn(&super::timeline::Step) -> Option<f64>| -> Vec<(f64, f64)> {
        timeline
            .steps()
            .filter_map(|(at, step)| value(step).map(|value| (at + length / 2.0, value)))
            .collect()
    };
    let (begun, answered, failed) = (
        line(&|step| Some(per_second(step.begun))),
        line(&|step| Some(per_second(step.answered))),
        line(&|step| Some(per_second(step.failed))),
    );
    let legs = line(&|step| Some(step.legs as f64));
    let [p50, p99] = [50.0, 99.0].map(|percent| line(&move |step| step.setup_ms(percent)));
    let end_s = timeline.steps().last().map_or(0.0, |(at, _)| at) + length;
    let drawn = |name: &str, lines: &[(&[(f64, f64)], RGBColor)]| {
        html! {
            @if let Some(svg) = chart(name, end_s, lines) { div.scroll tabindex="0" { (PreEscaped(svg)) } }
        }
    };
    html! {
        h2 { "Over time" }
        figure {
            h3 { "Calls a second" }
            figcaption { (page::key("sent", "begun")) (page::key("received", "answered")) (page::key("bad", "failed")) }
            (drawn("1/s", &[(&begun, SENT), (&answered, RECEIVED), (&failed, BAD)]))
        }
        @if !p50.is_empty() {
            figure {
                h3 { "Setup" }
                figcaption { (page::key("received", "half below")) (page::key("warn", "99 % below")) }
                (drawn("ms", &[(&p50, RECEIVED), (&p99, WARN)]))
            }
        }
        figure {
            h3 { "Legs under way" }
            (drawn("legs", &[(&legs, RECEIVED)]))
        }
        p.soft { "A point is " (figure(length)) " s." }
    }
}

/// The resource usage of the system under test.
fn watched(figures: &Figures) -> Markup {
    let Some(watched) = &figures.watched else { return html! {} };
    let memory: Vec<_> = watched.memory_over_time().map(|(at, kb)| (at, kb as f64 / 1024.0)).collect();
    let end_s = memory.last().map_or(0.0, |(at, _)| *at);
    html! {
        h2 { "The process that was watched" }
        p { (watched.words(figures.main().begun)) "." }
        figure {
            h3 { "Its memory" }
            @if let Some(svg) = chart("MB", end_s, &[(&memory, RECEIVED)]) { div.scroll tabindex="0" { (PreEscaped(svg)) } }
        }
    }
}

/// Lines over the time of a run; `None` if plotters fails.
fn chart(name: &str, end_s: f64, lines: &[(&[(f64, f64)], RGBColor)]) -> Option<String> {
    let top =
        lines.iter().flat_map(|(line, _)| line.iter()).map(|(_, value)| *value).fold(1.0, f64::max) * 1.1;
    svg(200, |area| {
        let mut chart = time_chart(area, 8, BOTTOM, 0.0..end_s.max(1.0), 0.0..top)?;
        let decimals = usize::from(top < 5.0);
        time_mesh(&mut chart, name, 5, |value| format!("{value:.decimals$}"), true)?;
        for (line, colour) in lines {
            chart.draw_series([PathElement::new(line.to_vec(), colour.stroke_width(2))])?;
            // a single point is not a line
            chart.draw_series(line.iter().map(|point| Circle::new(*point, 2, colour.filled())))?;
        }
        Ok(())
    })
}

fn times(figures: &Figures) -> Markup {
    let all = [
        ("setup, from when a call was due to its answer", &figures.setup),
        ("ringing, from INVITE to the first 18x", &figures.ringing),
        ("response, from the end of what a party says to the first sound that answers it", &figures.response),
        ("ending, from BYE to its answer", &figures.ending),
        ("mouth to ear, heard by callers", &figures.callers.delay),
        ("mouth to ear, heard by callees", &figures.callees.delay),
        ("longest gaps, heard by callers", &figures.callers.gaps),
        ("longest gaps, heard by callees", &figures.callees.gaps),
        ("how late calls began", &figures.lateness),
    ];
    html! {
        h2 { "Times" }
        div.scroll tabindex="0" { table {
            tr {
                th { "ms" } th { "p50" } th { "p90" } th { "p95" } th { "p99" } th { "p99.9" } th { "max" } th { "calls" }
            }
            @for (name, times) in all.into_iter().filter(|(_, times)| times.count() > 0) {
                tr {
                    td { (name) }
                    @for percent in [50.0, 90.0, 95.0, 99.0, 99.9, 100.0] {
                        td { (format!("{:.2}", times.percentile_ms(percent))) }
                    }
                    td { (times.count()) }
                }
            }
        } }
    }
}

fn sides(figures: &Figures) -> Markup {
    let mos =
        |side: &Side, percent| side.mos_of_worst(percent).map_or("–".to_owned(), |mos| format!("{mos:.2}"));
    let routes = figures.routes().map(|it| (format!("route {}", it.prefix), &it.side));
    let all = figures.sides().map(|(name, side)| (name.to_owned(), side)).chain(routes);
    html! {
        h2 { "Calls and packets" }
        div.scroll tabindex="0" { table {
            tr {
                th { "" } th { "begun" } th { "answered" } th { "done" } th { "failed" } th { "judged by mark" }
                th { "MOS p50" } th { "worst hundredth" } th { "RTP sent" } th { "received" } th { "lost" }
                th { "concealed frames" }
            }
            @for (name, side) in all {
                tr {
                    td { (name) } td { (side.begun) } td { (side.answered) } td { (side.done) } td { (side.failures()) }
                    td {
                        (side.judged) @if side.not_listened > 0 { " of " (side.judged + side.not_listened) }
                    }
                    td { (mos(side, 50.0)) } td { (mos(side, 1.0)) }
                    @for packets in side.packets { td { (packets) } }
                    td { (side.concealed) }
                }
            }
        } }
        @for (name, side) in figures.sides() {
            @if let Some(slower) = side.ways.slower(BEYOND_MS) { p { "Of " (name) ", " (slower.to_string()) "." } }
        }
    }
}

fn failures(figures: &Figures) -> Markup {
    let mut failed: Vec<_> = figures
        .sides()
        .flat_map(|(name, side)| {
            side.failed.iter().map(move |((step, why), calls)| (*calls, name, step, why))
        })
        .collect();
    failed.sort_by_key(|(calls, ..)| std::cmp::Reverse(*calls));
    html! {
        @if !failed.is_empty() {
            h2 { "Failures" }
            div.scroll tabindex="0" { table {
                tr { th { "side" } th { "calls" } th.left { "step" } th.left { "why" } }
                @for (calls, name, step, why) in failed {
                    tr { td { (name) } td { (calls) } td.text { code { (step) } } td.text { (why) } }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::expect::Expect;
    use super::super::party::Outcome;
    use super::super::watched::Watch;
    use super::super::worst::Call;
    use super::*;

    #[test]
    fn a_page_tells_of_failures_and_leaves_no_word_of_a_far_end_unescaped() {
        let mut figures = Figures::default();
        (figures.callers.begun, figures.callers.answered, figures.callers.done) = (2, 1, 1);
        let why = "refused: <script>".to_owned();
        figures.callers.over(Outcome::Failed { step: "dial 1".to_owned(), why: why.clone() });
        figures.worst.offer(&Call { number: 2, side: "caller", why: Some(why), ..Call::default() }, |_| ());
        figures.timeline.at(Duration::from_secs(2)).set_up(Duration::from_millis(20));
        figures.watched = Watch::start(std::process::id()).unwrap().finish();
        let judged = Expect::default().judge(&figures, (0.0, 0.0));
        let page = page(&figures, Late::default(), 3.0, &judged, "2026-01-01T00:00:00Z");
        for part in [
            "Not passed",
            "min_done_pct of callers",
            "<svg",
            "var(--received)",
            "The worst calls",
            "was watched",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert_eq!(page.matches("refused: &lt;script&gt;").count(), 2, "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
}
