//! The analysis of the recordings: one value for both files.

use serde::Serialize;

use super::RATE_HZ;
use super::align::{self, Alignment};
use super::clock;
use super::compare::{self, Fault, Piece, State};
use super::recordings::Recordings;
use b2b_media::dtmf::{Detector, Heard};

/// The results. Empty where a recording is missing.
#[derive(Debug, Default)]
pub struct Analysis {
    /// The position of the sent signal in the received one.
    pub alignment: Option<Alignment>,
    /// The sent signal piece by piece.
    pub pieces: Vec<Piece>,
    /// Pieces that were not received intact.
    pub faults: Vec<Fault>,
    /// Share of the non-silent sent audio received intact, 0 to 1.
    pub intact: Option<f64>,
    /// Mouth-to-ear latency from the audio, p50 and p95, ms.
    pub latency_ms: Option<(f64, f64)>,
    /// DTMF digits in the received audio.
    pub digits: Vec<Heard>,
}

/// Analyses the recordings.
pub fn listen(recordings: &Recordings) -> Analysis {
    let mut analysis = Analysis::default();
    let Some(received) = &recordings.received else { return analysis };
    analysis.digits = Detector::decode(received);
    let Some(sent) = &recordings.sent else { return analysis };
    analysis.alignment = align::align(sent, received);
    if let Some(alignment) = &analysis.alignment {
        analysis.pieces = compare::compare(sent, received, alignment);
        analysis.faults = compare::faults(&analysis.pieces, RATE_HZ);
        analysis.intact = compare::intact_share(&analysis.pieces);
        let (sent, received) = (&recordings.sent_clock, &recordings.received_clock);
        analysis.latency_ms = clock::latency(sent, received, &analysis.pieces, analysis.intact);
    }
    analysis
}

impl Analysis {
    /// The range of the playout point during the call, ms.
    pub fn moved_ms(&self) -> Option<f64> {
        let lags = || self.pieces.iter().filter(|p| p.state == State::Intact).map(|p| p.lag);
        Some((lags().max()? - lags().min()?) as f64 * 1e3 / f64::from(RATE_HZ))
    }

    /// Gain of the received audio, dB relative to the sent audio: the median of all pieces.
    pub fn gain_db(&self) -> Option<f64> {
        let intact = self.pieces.iter().filter(|p| p.state == State::Intact);
        let mut gains: Vec<f64> = intact.map(|p| p.gain).collect();
        gains.sort_by(f64::total_cmp);
        gains.get(gains.len() / 2).map(|gain| 20.0 * gain.log10())
    }

    /// The detected digits, for display: a repeated sequence once, the number of repetitions, and the rest
    /// after the last complete one.
    pub fn digits_told(&self) -> (String, usize, String) {
        let digits: Vec<char> = self.digits.iter().map(|heard| heard.digit).collect();
        let repeats = |period: &usize| digits.iter().zip(digits.iter().skip(*period)).all(|(a, b)| a == b);
        let period = (1..digits.len()).find(repeats).unwrap_or(digits.len()).max(1);
        let whole = digits.len() / period;
        let text = |digits: &[char]| digits.iter().collect::<String>();
        (text(&digits[..period.min(digits.len())]), whole, text(&digits[whole * period..]))
    }

    /// The detected digits, as text.
    pub fn digits_text(&self) -> String {
        self.digits.iter().map(|heard| heard.digit).collect()
    }
}

/// The analysis, as written to `report.json`.
#[derive(Debug, Serialize)]
pub struct Summary {
    audio: AudioSummary,
    packets: Vec<PacketSummary>,
    sip_messages: usize,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AudioSummary {
    sent_s: Option<f64>,
    received_s: Option<f64>,
    similarity: Option<f64>,
    gain_db: Option<f64>,
    intact_pct: Option<f64>,
    latency_ms_p50: Option<f64>,
    latency_ms_p95: Option<f64>,
    playout_moved_ms: Option<f64>,
    faults: Vec<FaultSummary>,
    dtmf_digits: String,
}

#[derive(Debug, Serialize)]
struct FaultSummary {
    at_s: f64,
    length_s: f64,
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct PacketSummary {
    role: String,
    packets: usize,
    lost: usize,
    duration_s: f64,
    mean_spacing_ms: f64,
    longest_spacing_ms: f64,
    verdicts: Vec<(String, usize)>,
}

/// The figures of an analysis without its series.
pub fn summary(recordings: &Recordings, analysis: &Analysis) -> Summary {
    let seconds = |samples: &Option<Vec<i16>>| samples.as_ref().map(|s| s.len() as f64 / f64::from(RATE_HZ));
    let audio = AudioSummary {
        sent_s: seconds(&recordings.sent),
        received_s: seconds(&recordings.received),
        similarity: analysis.alignment.map(|a| a.similarity),
        gain_db: analysis.gain_db(),
        intact_pct: analysis.intact.map(|share| share * 100.0),
        latency_ms_p50: analysis.latency_ms.map(|(p50, _)| p50),
        latency_ms_p95: analysis.latency_ms.map(|(_, p95)| p95),
        playout_moved_ms: analysis.moved_ms(),
        faults: analysis
            .faults
            .iter()
            .map(|f| FaultSummary { at_s: f.at_s, length_s: f.length_s, kind: fault_word(f.state) })
            .collect(),
        dtmf_digits: analysis.digits_text(),
    };
    let packets = recordings
        .packets
        .iter()
        .map(|(role, story)| PacketSummary {
            role: role.clone(),
            packets: story.packets,
            lost: story.lost,
            duration_s: story.duration_s,
            mean_spacing_ms: story.mean_spacing_ms,
            longest_spacing_ms: story.longest_spacing.0,
            verdicts: story.verdicts.clone(),
        })
        .collect();
    Summary { audio, packets, sip_messages: recordings.ladder.steps.len(), notes: recordings.notes.clone() }
}

/// A fault in a word.
pub fn fault_word(state: State) -> &'static str {
    match state {
        State::Missing => "missing",
        State::Damaged => "damaged",
        State::Intact => "intact",
        State::Quiet => "quiet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(digits: &str) -> (String, usize, String) {
        let heard = |(at, digit)| Heard { digit, start: at as u64 * 2_000, length: 1_600 };
        Analysis { digits: digits.chars().enumerate().map(heard).collect(), ..Analysis::default() }
            .digits_told()
    }

    #[test]
    fn repeated_digits_are_told_once() {
        assert_eq!(told("4242424"), ("42".into(), 3, "4".into()));
        assert_eq!(told("1177"), ("1177".into(), 1, String::new()));
        assert_eq!(told("555"), ("5".into(), 3, String::new()));
        assert_eq!(told("5"), ("5".into(), 1, String::new()));
        assert_eq!(told(""), (String::new(), 0, String::new()));
    }
}
