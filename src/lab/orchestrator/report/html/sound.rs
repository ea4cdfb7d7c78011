//! Sent and received audio on one time axis.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};

use super::super::RATE_HZ;
use super::super::analysis::{Analysis, fault_word};
use super::super::charts;
use super::super::recordings::Recordings;
use super::super::spectrogram;
use crate::results::charts::Span;
use crate::results::page::one;
use b2b_media::codec::g711::ulaw_encode;

/// Maximum length of recordings playable on the page, seconds; longer ones would make it too large.
const PLAYABLE: f64 = 180.0;
/// Maximum faults listed in words; the chart shows all.
const LISTED: usize = 20;

/// The section about the audio.
pub fn section(recordings: &Recordings, analysis: &Analysis) -> Markup {
    let Recordings { sent, received, .. } = recordings;
    if sent.is_none() && received.is_none() {
        return html! {};
    }
    let rate = f64::from(RATE_HZ);
    // Time zero is the first sent sample.
    let offset_s = analysis.alignment.map_or(0.0, |a| -(a.lag as f64) / rate);
    let length = |samples: &Option<Vec<i16>>| samples.as_ref().map_or(0.0, |s| s.len() as f64 / rate);
    let to_s = if sent.is_some() { length(sent) } else { length(received) };
    let span = Span { from_s: 0.0, to_s: to_s.max(0.1) };
    let envelope = |samples: &Option<Vec<i16>>, offset_s| {
        samples.as_ref().map_or_else(Vec::new, |s| charts::envelope(s, RATE_HZ, offset_s, span))
    };
    let (upper, lower) = (envelope(sent, 0.0), envelope(received, offset_s));
    let marks: Vec<(f64, char)> =
        analysis.digits.iter().map(|d| (d.start as f64 / rate + offset_s, d.digit)).collect();
    html! {
        h2 { "Sound" }
        p { (summary(recordings, analysis)) }
        (faults(analysis))
        figure {
            @if let Some(svg) = charts::waveforms(&upper, &lower, &analysis.faults, span) {
                div.scroll tabindex="0" { (PreEscaped(svg)) }
            }
            figcaption {
                "Seconds since the source began."
                span.key style="background:var(--bad)" {} "did not arrive"
                span.key style="background:var(--warn)" {} "arrived in part"
            }
        }
        (player("sent", sent))
        (player("arrived", received))
        (picture("sent", sent, 0.0, span, &[]))
        (picture("arrived", received, offset_s, span, &marks))
        @if !marks.is_empty() && marks.len() <= charts::MARKS {
            p.soft { "Above the lower picture: DTMF digits where they were heard in what arrived." }
        }
    }
}

fn summary(recordings: &Recordings, analysis: &Analysis) -> Markup {
    let (sequence, times, rest) = analysis.digits_told();
    html! {
        @match (&recordings.sent, &recordings.received, analysis.alignment) {
            (Some(_), Some(_), Some(_)) => {
                "What was sent was found in what arrived"
                @if let Some(intact) = analysis.intact { ", " b { (one(intact * 100.0)) " % of it can be heard (what concealment made good counts as heard)" } }
                @if let Some(gain) = analysis.gain_db() { ", at " (one(gain)) " dB" }
                @if let Some(moved) = analysis.moved_ms() { "; the playout point moved by " (one(moved)) " ms" }
                "."
            }
            (Some(_), Some(_), None) => b.bad-text { "What was sent was not found in what arrived." },
            (None, Some(_), _) => "What was sent was not recorded, so there is nothing to compare with.",
            _ => "What arrived was not recorded.",
        }
        @if !analysis.digits.is_empty() {
            " DTMF digits heard: " code { (sequence) }
            @if times > 1 { ", " (times) " times" }
            @if !rest.is_empty() { ", then " code { (rest) } }
            "."
        }
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

/// A player for a recording, as a WAV of µ-law bytes (format tag 7).
fn player(name: &str, samples: &Option<Vec<i16>>) -> Markup {
    let short = samples.as_ref().filter(|s| s.len() as f64 <= PLAYABLE * f64::from(RATE_HZ));
    html! {
        @if let Some(samples) = short {
            figure {
                figcaption { (name) }
                audio controls preload="none" src=(format!("data:audio/wav;base64,{}", STANDARD.encode(wav(samples)))) {}
            }
        }
    }
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let length = samples.len() as u32;
    let mut file = Vec::with_capacity(samples.len() + 58);
    file.extend(b"RIFF");
    file.extend((50 + length).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(18u32.to_le_bytes());
    for half in [7, 1] {
        file.extend(u16::to_le_bytes(half)); // µ-law, one channel
    }
    file.extend(RATE_HZ.to_le_bytes());
    file.extend(RATE_HZ.to_le_bytes()); // one byte per sample
    for half in [1, 8, 0] {
        file.extend(u16::to_le_bytes(half)); // block, bits, no extension
    }
    file.extend(b"fact");
    file.extend(4u32.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(samples.iter().map(|s| ulaw_encode(*s)));
    file
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
        @if let Some(svg) = svg { figure { div.scroll tabindex="0" { (PreEscaped(svg)) } } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_players_file_has_the_lengths_that_it_says() {
        let file = wav(&[0; 1_000]);
        let number =
            |at: usize| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]) as usize;
        assert_eq!(number(4) + 8, file.len());
        assert_eq!(&file[38..42], b"fact");
        assert_eq!(&file[50..54], b"data");
        assert_eq!((number(46), number(54), file.len()), (1_000, 1_000, 1_058));
    }
}
