//! Between sampling rates that are small multiples of each other: a windowed sinc, 16 samples
//! of the lower rate on each side, cut into one short filter for each place that an output
//! sample can have between two input samples. The resampler for files is exact and long, and
//! one that works in the frequency domain delays by half a packet; this one delays by 2 ms
//! against 8 kHz, by 1 ms against 16 kHz.

use std::f64::consts::PI;

/// Samples of the lower rate on each side.
const REACH: usize = 16;
/// Of the Kaiser window: about 70 dB.
const BETA: f64 = 7.0;
/// Input samples filtered at once: 20 ms at 48 kHz.
const BLOCK: usize = 960;
/// The longest filter: 48 to 8 kHz.
const MAX_TAPS: usize = 2 * REACH * 6;
/// Sums that run beside each other, so that they fit into vector registers.
const LANES: usize = 8;

/// A converter and what it remembers, at most 2 KB.
#[derive(Debug, Clone)]
pub struct Rates {
    up: usize,
    down: usize,
    /// Taps of each place, the newest input sample's last.
    taps: Box<[f32]>,
    /// How many each place has.
    length: usize,
    /// Places that stand on an input sample: the filter is nought at all others, and gives that one
    /// as it is. Which of those under the taps it is.
    plain: Box<[Option<usize>]>,
    /// Input samples before the next ones.
    history: Box<[f32]>,
    /// Where the next output sample stands, in `up`ths of an input sample.
    place: usize,
}

impl Rates {
    /// From one rate to another, each 8,000, 16,000, 24,000 or 48,000 Hz.
    ///
    /// # Panics
    /// If a rate is another one.
    pub fn new(from_hz: u32, to_hz: u32) -> Self {
        let known = |rate_hz: u32| [8_000, 16_000, 24_000, 48_000].contains(&rate_hz);
        assert!(known(from_hz) && known(to_hz), "no converter from {from_hz} to {to_hz} Hz");
        let (from, to) = (from_hz as usize / 8_000, to_hz as usize / 8_000);
        let common = gcd(from, to);
        let (up, down) = (to / common, from / common);
        // The filter as a whole, at the rate of which both are parts.
        let wide = up.max(down);
        let length = 2 * REACH * wide / up;
        let middle = (REACH * wide - 1) as f64;
        let tap = |n: usize| {
            let x = (n as f64 - middle) / wide as f64;
            let sinc = if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
            let beside = (1.0 - (x / REACH as f64).powi(2)).max(0.0);
            sinc * bessel(BETA * beside.sqrt()) / bessel(BETA)
        };
        let mut taps = vec![0.0; up * length].into_boxed_slice();
        for (place, taps) in taps.chunks_exact_mut(length).enumerate() {
            let of_place: Vec<f64> = (0..length).rev().map(|n| tap(place + n * up)).collect();
            let sum: f64 = of_place.iter().sum();
            taps.iter_mut().zip(of_place).for_each(|(tap, value)| *tap = (value / sum) as f32);
        }
        let plain = taps.chunks_exact(length).map(only_one).collect();
        let history = vec![0.0; length - 1].into_boxed_slice();
        Rates { up, down, taps, length, plain, history, place: 0 }
    }

    /// What comes next has nothing to do with what was before.
    pub fn forget(&mut self) {
        self.history.fill(0.0);
    }

    /// Converts samples, and says how many that makes: as many as both rates say over time,
    /// and exactly that many for each 10 ms.
    ///
    /// # Panics
    /// If `to` has no room for them.
    pub fn process(&mut self, from: &[i16], to: &mut [i16]) -> usize {
        let mut made = 0;
        for block in from.chunks(BLOCK) {
            let mut line = [0.0; BLOCK + MAX_TAPS];
            let before = self.length - 1;
            line[..before].copy_from_slice(&self.history);
            for (place, sample) in line[before..].iter_mut().zip(block) {
                *place = f32::from(*sample);
            }
            // A division for each sample would cost as much as its filter.
            let (mut at, mut place) = (self.place / self.up, self.place % self.up);
            while at < block.len() {
                to[made] = match self.plain[place] {
                    Some(only) => line[at + only] as i16,
                    None => {
                        let taps = &self.taps[place * self.length..][..self.length];
                        whole(dot(taps, &line[at..at + self.length]))
                    }
                };
                made += 1;
                place += self.down;
                while place >= self.up {
                    (at, place) = (at + 1, place - self.up);
                }
            }
            self.place = (at - block.len()) * self.up + place;
            self.history.copy_from_slice(&line[block.len()..][..before]);
        }
        made
    }
}

/// Which tap is the only one, if all others are nought but for rounding.
fn only_one(taps: &[f32]) -> Option<usize> {
    let only = taps.iter().position(|tap| (tap - 1.0).abs() < 1e-6)?;
    let others = taps.iter().enumerate().filter(|(n, _)| *n != only);
    others.map(|(_, tap)| tap.abs()).all(|tap| tap < 1e-9).then_some(only)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The modified Bessel function of the first kind, order 0.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..30 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

/// Every filter's length is a multiple of [`LANES`].
fn dot(taps: &[f32], samples: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (taps, samples) in taps.as_chunks::<LANES>().0.iter().zip(samples.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += taps[lane] * samples[lane];
        }
    }
    sums.iter().sum()
}

/// The nearest 16-bit value. A cast saturates; `f32::round` is a call on most machines.
pub(super) fn whole(value: f32) -> i16 {
    (value + 0.5f32.copysign(value)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

    fn tone(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
        let at = |n: usize| (n as f64 * hz * std::f64::consts::TAU / f64::from(rate)).sin() * 10_000.0;
        (0..samples).map(|n| at(n) as i16).collect()
    }

    /// RMS of what is left of a tone, against its own.
    fn level(samples: &[i16]) -> f64 {
        let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        (sum / samples.len() as f64).sqrt() / 10_000.0 * std::f64::consts::SQRT_2
    }

    fn converted(hz: f64, from: u32, to: u32) -> Vec<i16> {
        let mut out = vec![0; to as usize / 5];
        let made = Rates::new(from, to).process(&tone(hz, from, from as usize / 5), &mut out);
        assert_eq!(made, out.len(), "{from} to {to}");
        out.split_off(to as usize / 50)
    }

    fn pairs() -> impl Iterator<Item = (u32, u32)> {
        ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to))).filter(|(from, to)| from != to)
    }

    #[test]
    fn what_both_rates_can_hold_keeps_its_level_and_its_shape() {
        for (from, to) in pairs() {
            let edge = f64::from(from.min(to)) * 0.41;
            for hz in [100.0, 1_000.0, edge] {
                let out = converted(hz, from, to);
                let level = level(&out);
                assert!((0.97..1.03).contains(&level), "{hz} Hz, {from} to {to}: {level}");
                // Against the tone itself, delayed as the filter does.
                let common = gcd(from as usize, to as usize);
                let delay = (REACH * from.max(to) as usize / common - 1) as f64
                    / (from as usize * to as usize / common) as f64;
                let first = f64::from(to) / 50.0;
                let error = out.iter().enumerate().map(|(n, sample)| {
                    let t = (first + n as f64) / f64::from(to) - delay;
                    let wanted = (t * hz * std::f64::consts::TAU).sin() * 10_000.0;
                    (f64::from(*sample) - wanted).powi(2)
                });
                let noise = (error.sum::<f64>() / out.len() as f64).sqrt();
                assert!(noise < 300.0, "{hz} Hz, {from} to {to}: noise {noise}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_into_the_lower_rate_is_not_folded_into_it() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            for hz in [f64::from(to) * 0.59, f64::from(to) * 0.7, f64::from(from) * 0.45] {
                let level = level(&converted(hz, from, to));
                assert!(level < 0.003, "{hz} Hz, {from} to {to}: {level}");
            }
        }
        // Nor is there an image above it on the way up: what is left beside the tone.
        for (from, to) in pairs().filter(|(from, to)| from < to) {
            let out = converted(1_000.0, from, to);
            let period = to as usize / 1_000;
            let beside = out.windows(period + 1).map(|part| i32::from(part[0]) - i32::from(part[period]));
            assert!(beside.map(i32::abs).max().unwrap() < 20, "{from} to {to}");
        }
    }

    #[test]
    fn the_size_of_the_pieces_does_not_matter() {
        for (from, to) in pairs() {
            let sound = tone(700.0, from, from as usize / 5);
            let mut whole = vec![0; to as usize / 5];
            Rates::new(from, to).process(&sound, &mut whole);
            let (mut rates, mut pieces) = (Rates::new(from, to), Vec::new());
            for piece in sound.chunks(37) {
                let mut room = [0; 37 * 6 + 1];
                let made = rates.process(piece, &mut room);
                pieces.extend_from_slice(&room[..made]);
            }
            assert_eq!(pieces, whole, "{from} to {to}");
        }
    }

    #[test]
    fn the_rails_hold() {
        let mut out = vec![0; 4_800];
        Rates::new(8_000, 48_000).process(&[i16::MAX; 800], &mut out);
        assert!(out[1_000..].iter().all(|sample| *sample > 32_700));
    }
}
