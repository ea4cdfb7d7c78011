//! Generates one digit as a tone of a given length.

use super::frequencies;
use crate::mix::saturate;
use crate::tone::Oscillator;

/// Length of the raised-cosine edges, which avoid clicks, ms.
const EDGE_MS: usize = 3;

/// Both tones of a digit, equally loud, and silence after them.
#[derive(Debug)]
pub struct Tone {
    tones: Option<(Oscillator, Oscillator)>,
    position: usize,
    length: usize,
    edge: usize,
}

impl Tone {
    /// A digit of length `duration_ms`; silence if `digit` is invalid.
    pub fn new(digit: char, duration_ms: u32, rate_hz: u32) -> Self {
        let ms = rate_hz as usize / 1_000;
        let tones = frequencies(digit.to_ascii_uppercase())
            .map(|(row, column)| (Oscillator::new(row, rate_hz), Oscillator::new(column, rate_hz)));
        Tone { tones, position: 0, length: duration_ms as usize * ms, edge: EDGE_MS * ms }
    }

    /// Generates the next samples; `rms` is the RMS of the digit while it sounds.
    pub fn fill(&mut self, samples: &mut [i16], rms: f32) {
        for sample in samples {
            *sample = match &mut self.tones {
                Some((row, column)) if self.position < self.length => {
                    let from_edge = self.position.min(self.length - 1 - self.position) as f32 + 0.5;
                    let part = (from_edge / self.edge.max(1) as f32).min(1.0);
                    let envelope = 0.5 - 0.5 * (std::f32::consts::PI * part).cos();
                    // The squares of two sines of amplitude a sum to a mean of a².
                    saturate(rms * envelope * (row.next_sample() + column.next_sample()))
                }
                _ => 0,
            };
            self.position += 1;
        }
    }
}
