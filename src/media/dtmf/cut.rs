//! Removes DTMF tones from a stream. As digits are detected with a delay, all audio is delayed by
//! 60 ms, so that no tone is let through before it is detected.

use super::LineDetector;
use crate::codec::rates::Rates;

/// Delay of the audio, samples at 8 kHz: 60 ms.
const DELAY: usize = 480;
/// Samples at 8 kHz processed at once.
const PIECE: usize = 160;

/// A digit must be detected before its first sample is output.
const _: () = assert!(DELAY >= LineDetector::ONSET + LineDetector::BESIDE as usize);

/// The tone remover of one stream.
#[derive(Debug)]
pub struct ToneCutter {
    /// Samples per sample at 8 kHz.
    factor: usize,
    rates: Option<Rates>,
    detector: LineDetector,
    /// The delayed samples, and the index of the oldest one.
    line: Box<[i16]>,
    oldest: usize,
    /// Samples output at the stream's rate, including the initial silence of the delay line.
    out: u64,
    /// The last two muted ranges, in samples at 8 kHz.
    cuts: [(u64, u64); 2],
}

impl ToneCutter {
    /// A remover for samples at 8,000, 16,000 or 48,000 Hz.
    pub fn new(rate_hz: u32) -> Self {
        let factor = (rate_hz / 8_000).max(1) as usize;
        ToneCutter {
            factor,
            rates: (factor != 1).then(|| Rates::new(rate_hz, 8_000)),
            detector: LineDetector::default(),
            line: vec![0; DELAY * factor].into_boxed_slice(),
            oldest: 0,
            out: 0,
            cuts: [(0, 0); 2],
        }
    }

    /// The delay in samples at the stream's rate.
    pub fn delay(&self) -> usize {
        self.line.len()
    }

    /// Takes these samples and replaces them by the output.
    pub fn process(&mut self, samples: &mut [i16]) {
        for piece in samples.chunks_mut(PIECE * self.factor) {
            let mut narrow = [0; PIECE + 1];
            match &mut self.rates {
                Some(rates) => {
                    let made = rates.process(piece, &mut narrow);
                    self.detector.push(&narrow[..made], |_| {});
                }
                None => self.detector.push(piece, |_| {}),
            }
            if let Some((from, to)) = self.detector.sounding() {
                let from = from.saturating_sub(LineDetector::BESIDE);
                let to = to + LineDetector::BESIDE;
                if self.cuts[0].0 != from {
                    self.cuts = [(from, to), self.cuts[0]];
                }
                self.cuts[0].1 = to;
            }
            for sample in piece {
                std::mem::swap(sample, &mut self.line[self.oldest]);
                self.oldest = (self.oldest + 1) % self.line.len();
                // The initial contents of the delay line precede all audio.
                let place = (self.out / self.factor as u64).checked_sub(DELAY as u64);
                self.out += 1;
                let cut = |place: u64| self.cuts.iter().any(|(from, to)| (*from..*to).contains(&place));
                if place.is_some_and(cut) {
                    *sample = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LineDetector, Tone, goertzel};
    use super::*;
    use crate::mix::saturate;
    use crate::tone::Oscillator;

    /// -50 dBm0, as an RMS value.
    const LEAK: f64 = 51.0;

    /// Digit tones in a hum, at a rate; before and after removal.
    fn cut(digits: &str, ms: u32, rms: f32, rate_hz: u32, hum: f32) -> (Vec<i16>, Vec<i16>) {
        let mut sound = vec![0; rate_hz as usize / 10 + 77];
        for digit in digits.chars() {
            let mut piece = vec![0; (ms as usize + 60) * rate_hz as usize / 1_000];
            Tone::new(digit, ms, rate_hz).fill(&mut piece, rms);
            sound.extend(piece);
        }
        sound.resize(sound.len() + rate_hz as usize / 5, 0);
        let mut hums = Oscillator::new(200.0, rate_hz);
        sound.iter_mut().for_each(|it| *it = saturate(f32::from(*it) + hum * hums.next_sample()));
        let mut cutter = ToneCutter::new(rate_hz);
        let mut left = sound.clone();
        left.chunks_mut(rate_hz as usize / 50).for_each(|packet| cutter.process(packet));
        (sound, left)
    }

    #[test]
    fn nothing_is_left_of_digits_of_any_length_and_level() {
        for rate_hz in [8_000, 16_000] {
            for ms in [40, 50, 80, 250] {
                for rms in [1_600.0, 5_000.0, 11_000.0] {
                    let (_, left) = cut("159D*0#62", ms, rms, rate_hz, 0.0);
                    for stretch in left.chunks(rate_hz as usize / 100) {
                        let square = |it: &i16| f64::from(*it) * f64::from(*it);
                        let level = (stretch.iter().map(square).sum::<f64>() / stretch.len() as f64).sqrt();
                        assert!(level < LEAK, "{level} of digits of {ms} ms, {rms} at {rate_hz} Hz");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_beside_digits_stays_and_comes_60_ms_later() {
        let (sound, left) = cut("1", 100, 8_000.0, 8_000, 300.0);
        assert!(left[480..1_220] == sound[..740], "before it");
        let end = left.len() - 480;
        assert!(left[end..] == sound[end - 480..end], "after it");
        assert!(goertzel(&left[1_500..1_900], 697.0, 8_000) < 100.0);
        let mut tone = Oscillator::new(1_000.0, 8_000);
        let speech: Vec<i16> = (0..8_000).map(|_| saturate(8_000.0 * tone.next_sample())).collect();
        let mut through = speech.clone();
        ToneCutter::new(8_000).process(&mut through);
        assert!(through[480..] == speech[..7_520]);
        assert!(LineDetector::decode(&speech).is_empty());
    }
}
