//! What was sent and what arrived, on one time axis.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};

use super::super::RATE_HZ;
use super::super::analysis::{Analysis, fault_word};
use super::super::charts::{self, Span};
use super::super::recordings::Recordings;
use super::super::spectrogram;
use super::one;

/// Faults listed in words; the chart shows all.
const LISTED: usize = 20;

/// The section about the sound.
pub fn section(recordings: &Recordings, analysis: &Analysis) -> Markup {
    let Recordings { sent, received, .. } = recordings;
    if sent.is_none() && received.is_none() {
        return html! {};
    }
    let rate = f64::from(RATE_HZ);
    // Time zero is the first sample that was sent.
    let offset_s = analysis.alignment.map_or(0.0, |a| -(a.lag as f64) / rate);
    let length = |samples: &Option<Vec<i16>>| samples.as_ref().map_or(0.0, |s| s.len() as f64 / rate);
    let to_s = if sent.is_some() { length(sent) } else { length(received) };
    let span = Span { from_s: 0.0, to_s: to_s.max(0.1) };
    let envelope = |samples: &Option<Vec<i16>>, offset_s| {
        samples.as_ref().map_or_else(Vec::new, |s| charts::envelope(s, RATE_HZ, offset_s, span))
    };
    let (upper, lower) = (envelope(sent, 0.0), envelope(received, offset_s));
    let marks: Vec<(f64, char)> = analysis.digits.iter().map(|d| (d.at_s + offset_s, d.digit)).collect();
    html! {
        h2 { "Sound" }
        p { (summary(recordings, analysis)) }
        (faults(analysis))
        figure {
            @if let Some(svg) = charts::waveforms(&upper, &lower, &analysis.faults, span) {
                div.scroll { (PreEscaped(svg)) }
            }
            figcaption {
                "Seconds since the source began."
                span.key style="background:var(--bad)" {} "did not arrive"
                span.key style="background:var(--warn)" {} "arrived in part"
            }
        }
        (picture("sent", sent, 0.0, span, &[]))
        (picture("arrived", received, offset_s, span, &marks))
        @if !marks.is_empty() {
            p.soft { "Above the lower picture: DTMF digits where they were heard in what arrived." }
        }
    }
}

fn summary(recordings: &Recordings, analysis: &Analysis) -> Markup {
    let digits = analysis.digits_text();
    html! {
        @match (&recordings.sent, &recordings.received, analysis.alignment) {
            (Some(_), Some(_), Some(alignment)) => {
                "What was sent was found in what arrived"
                @if let Some(intact) = analysis.intact { ", " b { (one(intact * 100.0)) " % of it whole" } }
                ", at " (one(20.0 * alignment.gain.log10())) " dB"
                @if let Some(moved) = analysis.moved_ms() { "; the playout point moved by " (one(moved)) " ms" }
                "."
            }
            (Some(_), Some(_), None) => b.bad-text { "What was sent was not found in what arrived." },
            (None, Some(_), _) => "What was sent was not recorded, so there is nothing to compare with.",
            _ => "What arrived was not recorded.",
        }
        @if !digits.is_empty() { " DTMF digits heard: " code { (digits) } "." }
    }
}

fn faults(analysis: &Analysis) -> Markup {
    html! {
        @if !analysis.faults.is_empty() {
            ul {
                @for fault in analysis.faults.iter().take(LISTED) {
                    li { (fault_word(fault.state)) " at " (one(fault.at_s)) " s, for " (one(fault.length_s)) " s" }
                }
                @if analysis.faults.len() > LISTED { li { (analysis.faults.len() - LISTED) " more" } }
            }
        }
    }
}

fn picture(
    name: &str,
    samples: &Option<Vec<i16>>,
    offset_s: f64,
    span: Span,
    marks: &[(f64, char)],
) -> Markup {
    let svg = samples.as_ref().and_then(|samples| {
        let png = spectrogram::png(samples, RATE_HZ, offset_s, span)?;
        let uri = format!("data:image/png;base64,{}", STANDARD.encode(png));
        charts::picture(name, &uri, f64::from(RATE_HZ) / 2.0, span, marks)
    });
    html! {
        @if let Some(svg) = svg { figure { div.scroll { (PreEscaped(svg)) } } }
    }
}
