//! `report.html`: one page that needs nothing else. The verdict first, then the
//! sound, the packets, the call and the figures.
//!
//! Everything that came from a peer or a child goes through maud's escaping;
//! only pictures of our own making are put in as they are.
//!
//! - `sound`: waveforms and spectrograms
//! - `ladder`: the call ladder
//! - `tables`: figures, events, plan

mod ladder;
mod sound;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::analysis::Analysis;
use super::charts;
use super::recordings::Recordings;
use crate::orchestrator::record::{Bound, Expectation, RunRecord};

/// The page of a run.
pub fn page(run: &RunRecord, recordings: &Recordings, analysis: &Analysis) -> String {
    let title = if run.verdict.ok { "b2b: passed" } else { "b2b: not passed" };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (verdict(run))
                @for impairment in &run.impairments {
                    p.banner {
                        "The network of the " b { (impairment.role) } " was impaired on purpose: "
                        code { (impairment.value) }
                    }
                }
                (tiles(run, analysis))
                (expectations(&run.expectations))
                (sound::section(recordings, analysis))
                (packets(recordings))
                (ladder::section(&recordings.ladder))
                (tables::figures(run))
                (tables::history(run))
                (notes(&recordings.notes))
                (tables::origin(run))
            }
        }
    }
    .into_string()
}

fn verdict(run: &RunRecord) -> Markup {
    let word = match (run.verdict.ok, run.verdict.interrupted) {
        (true, false) => "Passed",
        (true, true) => "Interrupted",
        (false, _) => "Not passed",
    };
    html! {
        header.verdict.good[run.verdict.ok] {
            h1 { (word) }
            p.headline { (run.verdict.headline) }
            @if !run.verdict.reasons.is_empty() {
                ul { @for reason in &run.verdict.reasons { li { (reason) } } }
            }
            p.soft {
                (run.started) " · " (one(run.duration_s)) " s · exit code " (run.verdict.exit_code)
                " · " (run.plan.path.display().to_string())
            }
        }
    }
}

/// The figures that matter most, large.
fn tiles(run: &RunRecord, analysis: &Analysis) -> Markup {
    let chain = &run.chain;
    let intact = analysis.intact.map(|share| share * 100.0);
    let tile = |value: Option<String>, name: &str, bad: bool| {
        html! {
            div.tile.bad[bad] { b { (value.unwrap_or_else(|| "–".into())) } span { (name) } }
        }
    };
    let failed = |key: &str| run.expectations.iter().any(|e| e.name == key && e.missed());
    let digits = analysis.digits_text();
    html! {
        div.tiles {
            (tile(intact.map(|v| format!("{} %", one(v))), "of what was said can be heard: concealed losses count as heard", failed("min_intact_pct") || intact.is_some_and(|v| v < 99.0)))
            (tile(chain.loss_pct.map(|v| format!("{v:.2} %")), "packets lost", failed("max_loss_pct")))
            (tile(chain.latency_ms_p95.map(ms), "mouth-to-ear, 95 % below", failed("max_latency_ms")))
            (tile(chain.rtp_gap_ms_max.map(ms), "longest RTP timestamp gap", failed("max_rtp_gap_ms")))
            (tile(chain.mos.map(|v| format!("{v:.2}")), "MOS (E-model, of 4.5)", failed("min_mos")))
            (tile((!digits.is_empty()).then(|| digits.len().to_string()), "DTMF digits heard", false))
        }
    }
}

fn expectations(list: &[Expectation]) -> Markup {
    html! {
        @if !list.is_empty() {
            h2 { "Expected and measured" }
            div.scroll tabindex="0" {
                table {
                    tr { th { "" } th.left { "expectation" } th { "expected" } th { "measured" } }
                    @for item in list {
                        tr {
                            @if item.pass { td.good-text { "met" } }
                            @else if item.missed() { td.bad-text { b { "not met" } } }
                            @else { td { "not judged" } }
                            td.left { (item.name) }
                            td { (bound(item.bound)) " " (figure(item.expected)) " " (item.unit) }
                            td.text[item.measured.is_none()] {
                                @match item.measured {
                                    Some(value) => { (figure(value)) " " (item.unit) }
                                    None => { (item.unmeasured.as_deref().unwrap_or("nothing")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::AtMost => "at most",
        Bound::AtLeast => "at least",
    }
}

fn packets(recordings: &Recordings) -> Markup {
    html! {
        @if !recordings.packets.is_empty() {
            h2 { "Packets" }
            p.soft {
                "Time between a packet and the one before it"
                span.key style="background:var(--received)" {} "arrivals"
                span.key style="background:var(--warn)" {} "jitter (RFC 3550)"
                span.key style="background:var(--bad)" {} "packet lost"
            }
        }
        @for (role, story) in &recordings.packets {
            figure {
                h3 { "Received by the " (role) }
                figcaption {
                    (story.packets) " packets, " (story.lost) " lost, mean " (format!("{:.2}", story.mean_spacing_ms))
                    " ms, longest " (ms(story.longest_spacing.0)) " at " (one(story.longest_spacing.1)) " s"
                    @for (verdict, count) in story.verdicts.iter().take(8) { " · " (verdict) " " (count) }
                    @if story.unreadable > 0 { " · " (story.unreadable) " rows of the log could not be read" }
                }
                @if let Some(svg) = charts::packets(story) { div.scroll tabindex="0" { (PreEscaped(svg)) } }
            }
        }
    }
}

fn notes(notes: &[String]) -> Markup {
    html! {
        @if !notes.is_empty() {
            h2 { "Notes" }
            ul { @for note in notes { li { (note) } } }
        }
    }
}

/// Milliseconds for people.
fn ms(value: f64) -> String {
    format!("{} ms", if value < 10.0 { one(value) } else { format!("{value:.0}") })
}

/// One decimal.
fn one(value: f64) -> String {
    format!("{value:.1}")
}

/// As many decimals as the value needs, two at most.
fn figure(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}
