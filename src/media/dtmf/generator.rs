//! Generates a digit sequence as tones, repeatedly.

use std::time::Duration;

use super::{Sequence, frequencies};
use crate::tone::Oscillator;

/// Length of a digit.
pub const TONE: Duration = Duration::from_millis(200);
/// Silence after a digit.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Length of the raised-cosine edges within a digit, which avoid clicks.
const EDGE: Duration = Duration::from_millis(5);
/// Silence between two sequences if their period leaves no time between them.
const MINIMUM_REST: Duration = Duration::from_millis(500);

/// Plays a sequence repeatedly at one sampling rate.
///
/// Sequences begin one period apart. One that is longer than the period is not cut off: the next
/// one follows after a pause of half a second.
#[derive(Debug)]
pub struct Generator {
    digits: Vec<(Oscillator, Oscillator)>,
    position: usize,
    length: usize,
    tone: usize,
    slot: usize,
    edge: Vec<f32>,
}

impl Generator {
    /// A generator of this sequence at this sampling rate, repeated with this period.
    pub fn new(sequence: &Sequence, period: Duration, rate_hz: u32) -> Self {
        let samples = |time: Duration| (time.as_micros() as u64 * u64::from(rate_hz) / 1_000_000) as usize;
        let digits: Vec<_> = sequence
            .digits()
            .iter()
            .filter_map(|&digit| frequencies(digit))
            .map(|(row, column)| (Oscillator::new(row, rate_hz), Oscillator::new(column, rate_hz)))
            .collect();
        let (tone, slot) = (samples(TONE), samples(TONE + PAUSE));
        let played = digits.len() * slot;
        let length = if samples(period) >= played { samples(period) } else { played + samples(MINIMUM_REST) };
        let edge_length = samples(EDGE);
        let edge = (0..edge_length)
            .map(|n| {
                let part = (n as f32 + 0.5) / edge_length as f32;
                0.5 - 0.5 * (std::f32::consts::PI * part).cos()
            })
            .collect();
        Generator { digits, position: 0, length, tone, slot, edge }
    }

    /// The share of time in which a tone sounds, from 0 to 1.
    pub fn duty(&self) -> f64 {
        (self.digits.len() * self.tone) as f64 / self.length.max(1) as f64
    }

    /// Generates the next samples. `rms` is the RMS of a digit while it sounds, in units of a
    /// 16-bit sample; both its tones are equally loud.
    pub fn fill(&mut self, samples: &mut [f32], rms: f32) {
        // The squares of two sines of amplitude a sum to a mean of a².
        samples.iter_mut().for_each(|sample| *sample = rms * self.next_sample());
    }

    fn next_sample(&mut self) -> f32 {
        let (index, offset) = (self.position / self.slot, self.position % self.slot);
        self.position += 1;
        if self.position >= self.length {
            self.position = 0;
        }
        match self.digits.get_mut(index) {
            Some((row, column)) if offset < self.tone => {
                let from_edge = offset.min(self.tone - 1 - offset);
                let envelope = self.edge.get(from_edge).copied().unwrap_or(1.0);
                envelope * (row.next_sample() + column.next_sample())
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtmf::{COLUMN_HZ, ROW_HZ, goertzel};
    use crate::mix::{Energy, saturate};

    fn play(text: &str, period_ms: u64, samples: usize) -> Vec<i16> {
        let sequence = text.parse().unwrap();
        let mut generator = Generator::new(&sequence, Duration::from_millis(period_ms), 8_000);
        let mut sound = vec![0.0; samples];
        // In uneven pieces, which must not be noticeable.
        for piece in sound.chunks_mut(137) {
            generator.fill(piece, 4_000.0);
        }
        sound.into_iter().map(saturate).collect()
    }

    #[test]
    fn every_digit_has_its_two_frequencies_at_equal_level() {
        for digit in "1234567890ABCD*#".chars() {
            let sound = play(&digit.to_string(), 1_000, 1_600);
            let (row, column) = frequencies(digit).unwrap();
            // Away from the edges, over a whole number of periods at a resolution of 1 Hz.
            let power = |hz| goertzel(&sound[80..1_520], hz, 8_000);
            let (row_power, column_power) = (power(row), power(column));
            assert!((10.0 * (row_power / column_power).log10()).abs() < 0.3, "twist of {digit}");
            for hz in ROW_HZ.into_iter().chain(COLUMN_HZ).filter(|&hz| hz != row && hz != column) {
                assert!(power(hz) < row_power / 300.0, "{digit} leaks into {hz} Hz");
            }
            // Half a per cent off the frequency there is less power.
            assert!(power(row) > power(row * 1.005) && power(row) > power(row * 0.995));
            assert!((Energy::of(&sound[80..1_520]).rms() - 4_000.0).abs() < 60.0);
        }
    }

    #[test]
    fn a_digit_lasts_200_ms_and_50_ms_follow() {
        let sound = play("55", 2_000, 16_000);
        let energy = |from: usize, to: usize| Energy::of(&sound[from..to]).rms();
        assert!(energy(1_520, 1_600) > 1_000.0 && sound[1_600..2_000].iter().all(|&s| s == 0));
        assert!(energy(2_000, 2_080) > 1_000.0 && sound[3_600..].iter().all(|&s| s == 0));
    }

    #[test]
    fn the_edges_are_shaped() {
        let sound = play("1", 1_000, 1_600);
        // The first and last samples are near zero, and no step is larger than a tone of 1633 Hz
        // causes.
        assert!(sound[0].abs() < 20 && sound[1_599].abs() < 60, "{} {}", sound[0], sound[1_599]);
        assert!(Energy::of(&sound[..10]).rms() < 400.0);
        assert!(Energy::of(&sound[1_590..]).rms() < 400.0);
    }

    #[test]
    fn the_period_counts_from_start_to_start() {
        let sound = play("12", 700, 3 * 5_600);
        let loud = |from: usize| Energy::of(&sound[from..from + 400]).rms() > 1_000.0;
        assert!(loud(100) && loud(5_700) && loud(11_300));
        assert!(sound[4_000..5_600].iter().all(|&s| s == 0));
    }

    #[test]
    fn a_sequence_longer_than_its_period_is_played_whole() {
        // Four digits last a second; then half a second of pause.
        let sound = play("1234", 200, 20_000);
        assert!(sound[8_000 - 400..12_000].iter().all(|&s| s == 0));
        assert!(Energy::of(&sound[12_040..12_400]).rms() > 1_000.0);
    }
}
