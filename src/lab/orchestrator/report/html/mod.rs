//! `report.html`: a self-contained page with the verdict first, then the audio, the packets, the call and the
//! figures.
//!
//! All text from a peer or a child passes maud's escaping; only generated pictures are inserted unescaped.
//!
//! - `sound`: waveforms and spectrograms
//! - `tables`: figures, events, plan

mod sound;
mod tables;

use maud::{Markup, PreEscaped, html};

use super::analysis::Analysis;
use super::charts;
use super::recordings::Recordings;
use crate::orchestrator::loads::table;
use crate::orchestrator::record::RunRecord;
use crate::results::ladder;
use crate::results::page::{self, ms, one, tile};

/// The page of a run.
pub fn page(run: &RunRecord, recordings: &Recordings, analysis: &Analysis) -> String {
    let title = if run.verdict.ok { "b2b: passed" } else { "b2b: not passed" };
    let body = html! {
        (verdict(run))
        @for impairment in &run.impairments {
            p.banner {
                "The network of the " b { (impairment.role) } " was impaired on purpose: "
                code { (impairment.value) }
            }
        }
        (tiles(run, analysis))
        (page::expectations(&run.expectations))
        (sound::section(recordings, analysis))
        (table::section(&run.loads))
        (packets(recordings))
        @if !recordings.ladder.steps.is_empty() {
            h2 { "Call" }
            @if !run.loads.is_empty() {
                p.soft { "Without the messages of the loads: the worst calls of each are in its own report." }
            }
            (ladder::picture(&recordings.ladder))
        }
        (tables::figures(run))
        (tables::history(run))
        (notes(&recordings.notes))
        (tables::origin(run))
    };
    page::document(title, &body)
}

fn verdict(run: &RunRecord) -> Markup {
    let word = match (run.verdict.ok, run.verdict.interrupted) {
        (true, false) => "Passed",
        (true, true) => "Interrupted",
        (false, _) => "Not passed",
    };
    let about = html! {
        (run.started) " · " (one(run.duration_s)) " s · exit code " (run.verdict.exit_code)
        " · " (run.plan.path.display().to_string())
    };
    page::verdict(run.verdict.ok, word, &run.verdict.headline, &run.verdict.reasons, &about)
}

/// The most important figures, in large type.
fn tiles(run: &RunRecord, analysis: &Analysis) -> Markup {
    let chain = &run.chain;
    let intact = analysis.intact.map(|share| share * 100.0);
    let failed = |key: &str| run.expectations.iter().any(|e| e.name == key && e.missed());
    let digits = analysis.digits_text();
    html! {
        div.tiles {
            (tile(intact.map(|v| format!("{} %", one(v))), "of what was said can be heard: concealed losses count as heard", failed("min_intact_pct") || intact.is_some_and(|v| v < 99.0)))
            (tile(chain.loss_pct.map(|v| format!("{v:.2} %")), "packets lost", failed("max_loss_pct")))
            (tile(chain.latency_ms_p95.map(ms), "mouth-to-ear, 95 % below", failed("max_latency_ms")))
            (tile(chain.rtp_gap_ms_max.map(ms), "longest RTP timestamp gap", failed("max_rtp_gap_ms")))
            (tile(chain.mos.map(|v| format!("{v:.2}")), "MOS (E-model, of 4.5)", failed("min_mos")))
            (tile(chain.setup_ms.map(ms), "from dialling to the answer", failed("max_setup_ms")))
            (tile((!digits.is_empty()).then(|| digits.len().to_string()), "DTMF digits heard", false))
        }
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
