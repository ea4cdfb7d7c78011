//! Converts between sampling rates that are small multiples of each other: a windowed sinc with 16
//! samples of the lower rate on each side, split into one short filter for each phase of an output
//! sample between two input samples. The resampler for files is exact and long, and one in the
//! frequency domain delays by half a packet; this one delays by 2 ms for 8 kHz and 1 ms for 16 kHz.

use std::f64::consts::PI;

use crate::mix::saturate;

/// Samples of the lower rate on each side.
const REACH: usize = 16;
/// Parameter of the Kaiser window: about 70 dB.
const BETA: f64 = 7.0;
/// Input samples filtered at once: 10 ms at 48 kHz.
const BLOCK: usize = 480;
/// Maximum ratio of the highest to the lowest rate.
const MAX_DOWN: usize = 6;
/// Taps of the longest filter: 48 to 8 kHz.
const MAX_TAPS: usize = 2 * REACH * MAX_DOWN;
/// Output samples of one phase computed in parallel, in vector registers.
const LANES: usize = 16;
/// Every `down`th input sample forms a strand, so that the samples which one tap multiplies for consecutive
/// outputs are adjacent. Length of all strands of a block, and what is read past their ends.
const STRANDS: usize = BLOCK + MAX_TAPS + MAX_DOWN + LANES;

/// A converter with its state, at most 3 KB.
#[derive(Debug, Clone)]
pub struct Rates {
    up: usize,
    down: usize,
    /// One filter for each phase, without zero taps. The phase that coincides with an input sample
    /// has one tap and passes the sample through.
    places: Box<[Box<[Tap]>]>,
    /// The last input samples: one fewer than a filter spans.
    history: Box<[f32]>,
    /// Position of the next output sample, in `up`ths of an input sample.
    place: usize,
}

/// A filter coefficient, and its input sample: the strand and the index in it, relative to the first.
#[derive(Debug, Clone, Copy)]
struct Tap {
    value: f32,
    strand: u8,
    step: u8,
}

impl Rates {
    /// The supported rates, Hz.
    pub const ALL: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

    /// A converter from one of [`Rates::ALL`] to another.
    ///
    /// # Panics
    /// If a rate is not supported.
    pub fn new(from_hz: u32, to_hz: u32) -> Self {
        let known = |rate_hz: u32| Self::ALL.contains(&rate_hz);
        assert!(known(from_hz) && known(to_hz), "no converter from {from_hz} to {to_hz} Hz");
        let (from, to) = (from_hz as usize / 8_000, to_hz as usize / 8_000);
        let common = gcd(from, to);
        let (up, down) = (to / common, from / common);
        // The whole filter, at the common multiple of both rates.
        let wide = up.max(down);
        let length = 2 * REACH * wide / up;
        let middle = (REACH * wide - 1) as f64;
        let tap = |n: usize| {
            let x = (n as f64 - middle) / wide as f64;
            let sinc = if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
            let beside = (1.0 - (x / REACH as f64).powi(2)).max(0.0);
            sinc * bessel(BETA * beside.sqrt()) / bessel(BETA)
        };
        let filter = |place: usize| -> Box<[Tap]> {
            // The tap of the newest input sample comes last.
            let values: Vec<f64> = (0..length).rev().map(|n| tap(place + n * up)).collect();
            let sum: f64 = values.iter().sum();
            let values = values.into_iter().map(|value| value / sum).enumerate();
            // Zeros of the sinc differ from 0 only by rounding.
            let heard = values.filter(|(_, value)| value.abs() > 1e-9);
            let tap = |(n, value): (usize, f64)| Tap {
                value: value as f32,
                strand: (n % down) as u8,
                step: (n / down) as u8,
            };
            heard.map(tap).collect()
        };
        let places = (0..up).map(filter).collect();
        let history = vec![0.0; length - 1].into_boxed_slice();
        Rates { up, down, places, history, place: 0 }
    }

    /// Clears the history, as what follows is unrelated.
    pub fn forget(&mut self) {
        self.history.fill(0.0);
    }

    /// Converts samples and returns their number: the ratio of the rates on average, and exactly
    /// for each 10 ms.
    ///
    /// # Panics
    /// If `to` is too short.
    pub fn process(&mut self, from: &[i16], to: &mut [i16]) -> usize {
        let mut made = 0;
        for block in from.chunks(BLOCK) {
            made += self.block(block, &mut to[made..]);
        }
        made
    }

    fn block(&mut self, block: &[i16], to: &mut [i16]) -> usize {
        let (up, down, before) = (self.up, self.down, self.history.len());
        let mut strands = [0.0; STRANDS];
        let stride = (before + block.len()).div_ceil(down);
        let place = |n: usize| n % down * stride + n / down;
        if down == 1 {
            strands[..before].copy_from_slice(&self.history);
        } else {
            self.history.iter().enumerate().for_each(|(n, sample)| strands[place(n)] = *sample);
        }
        for first in 0..down.min(block.len()) {
            let strand = strands[place(before + first)..].iter_mut();
            strand.zip(block[first..].iter().step_by(down)).for_each(|(to, it)| *to = f32::from(*it));
        }
        // Start of each strand; after the last one follows the first again, one step on.
        let bases: [usize; 2 * MAX_DOWN] = std::array::from_fn(place);
        let mut made = 0;
        for first in 0..up {
            // This output and every `up`th after it have the same phase, each `down` input samples
            // further.
            let position = self.place + first * down;
            let (at, filter) = (position / up, &self.places[position % up]);
            let count = block.len().saturating_sub(at).div_ceil(down);
            made += count;
            let bases = &bases[at % down..];
            for done in (0..count).step_by(LANES) {
                let sums = sums(filter, bases, &strands[at / down + done..]);
                let to = to[first + done * up..].chunks_mut(up).zip(sums);
                to.take(count - done).for_each(|(to, sum)| to[0] = saturate(sum));
            }
        }
        assert!(made <= to.len(), "no room for {made} samples");
        self.place += made * down;
        self.place -= block.len() * up;
        // Save the end of the input, oldest first.
        for (n, to) in self.history.iter_mut().enumerate() {
            *to = strands[place(n + block.len())];
        }
        made
    }
}

/// The filter sums for consecutive outputs. The order of summation is the same at every position.
fn sums(filter: &[Tap], bases: &[usize], strands: &[f32]) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    for tap in filter {
        let at = bases[usize::from(tap.strand)] + usize::from(tap.step);
        let samples = &strands[at..at + LANES];
        for lane in 0..LANES {
            sums[lane] += tap.value * samples[lane];
        }
    }
    sums
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
        let at = |n: usize| (n as f64 * hz * std::f64::consts::TAU / f64::from(rate)).sin() * 10_000.0;
        (0..samples).map(|n| at(n) as i16).collect()
    }

    /// RMS of the output of a tone, relative to the tone.
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
        Rates::ALL
            .into_iter()
            .flat_map(|from| Rates::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from != to)
    }

    #[test]
    fn what_both_rates_can_hold_keeps_its_level_and_its_shape() {
        for (from, to) in pairs() {
            let edge = f64::from(from.min(to)) * 0.41;
            for hz in [100.0, 1_000.0, edge] {
                let out = converted(hz, from, to);
                let level = level(&out);
                assert!((0.97..1.03).contains(&level), "{hz} Hz, {from} to {to}: {level}");
                // Compared with the tone itself, delayed by the filter's delay.
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
        // No image above it when upsampling either: the remainder besides the tone.
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
