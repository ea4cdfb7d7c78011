//! Reads DTMF digits back from a recording with the Goertzel algorithm, also
//! under speech of the same level.

use crate::media::dtmf::{COLUMN_HZ, KEYPAD, ROW_HZ};

/// 30 ms at 8 kHz: separates neighbours in a group, which are 73 Hz apart or more.
const WINDOW: usize = 240;
/// 10 ms at 8 kHz.
const HOP: usize = 80;
/// Power of a group's strongest frequency over its second: 6 dB.
const CLEAR: f64 = 4.0;
/// Power of one group over the other, either way: 9 dB.
const TWIST: f64 = 8.0;
/// Power of each frequency of a pair, as a sine: -45 dBFS.
const AUDIBLE: f64 = 1.6e-5;
/// Windows that must agree: 70 ms of the 200 ms that a digit sounds.
const AGREE: usize = 5;
/// Windows within a digit that speech may spoil in a row.
const SPOILT: usize = 2;

/// A digit that was heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// `0-9 * # A-D`.
    pub digit: char,
    /// Where it began, seconds from the start of the recording.
    pub at_s: f64,
}

/// The DTMF digits in a recording of 8 kHz mono samples, in order.
pub fn decode(samples: &[i16]) -> Vec<Heard> {
    let mut heard = Vec::new();
    let mut run: Option<Run> = None;
    let windows = samples.windows(WINDOW).step_by(HOP).map(pair).chain([None; SPOILT + 1]);
    for (index, now) in windows.enumerate() {
        match (&mut run, now) {
            (Some(open), Some(digit)) if open.digit == digit => {
                open.agreeing += 1;
                open.spoilt = 0;
            }
            (Some(open), _) if open.spoilt < SPOILT => open.spoilt += 1,
            (_, next) => {
                heard.extend(run.take().and_then(Run::accept));
                run = next.map(|digit| Run { digit, start: index, agreeing: 1, spoilt: 0 });
            }
        }
    }
    heard
}

struct Run {
    digit: char,
    start: usize,
    agreeing: usize,
    spoilt: usize,
}

impl Run {
    fn accept(self) -> Option<Heard> {
        let at_s = (self.start * HOP) as f64 / 8_000.0;
        (self.agreeing >= AGREE).then_some(Heard { digit: self.digit, at_s })
    }
}

/// The digit that one window holds.
fn pair(window: &[i16]) -> Option<char> {
    let (row, row_power) = strongest(window, ROW_HZ)?;
    let (column, column_power) = strongest(window, COLUMN_HZ)?;
    let ratio = row_power / column_power;
    let audible = row_power.min(column_power) > AUDIBLE;
    (audible && (1.0 / TWIST..TWIST).contains(&ratio)).then(|| KEYPAD[row][column])
}

/// The one frequency of a group that stands out, and its power.
fn strongest(window: &[i16], group: [f64; 4]) -> Option<(usize, f64)> {
    let powers = group.map(|hz| power(window, hz));
    let (best, power) = powers.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let clear = powers.iter().enumerate().all(|(i, other)| i == best || power >= other * CLEAR);
    clear.then_some((best, power))
}

/// Power of a sine of this frequency in a window (Goertzel), full scale = 0.5.
fn power(window: &[i16], hz: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * hz / 8_000.0).cos();
    let (mut s1, mut s2) = (0.0, 0.0);
    for sample in window {
        let s0 = f64::from(*sample) / 32_768.0 + coefficient * s1 - s2;
        (s2, s1) = (s1, s0);
    }
    let magnitude = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    2.0 * magnitude / (window.len() as f64).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::dtmf::frequencies;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// The digits, 200 ms each and `off` ms apart, after 300 ms of nothing.
    fn dialled(digits: &str, off_ms: usize) -> Vec<i16> {
        let mut samples = vec![0; 2_400];
        for digit in digits.chars() {
            let (row, column) = frequencies(digit).expect("a digit");
            samples.extend((0..1_600).map(|i| {
                let t = f64::from(i) / 8_000.0 * std::f64::consts::TAU;
                (((t * row).sin() + (t * column).sin()) * 2_000.0) as i16
            }));
            samples.extend(vec![0; off_ms * 8]);
        }
        samples
    }

    fn text(heard: &[Heard]) -> String {
        heard.iter().map(|h| h.digit).collect()
    }

    #[test]
    fn every_digit_is_read_back_in_order() {
        let all = "0123456789*#ABCD";
        assert_eq!(text(&decode(&dialled(all, 50))), all);
    }

    #[test]
    fn repeated_digits_are_told_apart() {
        let heard = decode(&dialled("1177", 50));
        assert_eq!(text(&heard), "1177");
        assert!((heard[0].at_s - 0.3).abs() < 0.03, "{heard:?}");
        assert!((heard[1].at_s - 0.55).abs() < 0.03, "{heard:?}");
    }

    #[test]
    fn digits_are_read_under_noise_of_their_own_level() {
        let mut random = StdRng::seed_from_u64(1);
        let noisy: Vec<i16> =
            dialled("442083661177", 300).iter().map(|s| s + random.random_range(-3_400..3_400)).collect();
        assert_eq!(text(&decode(&noisy)), "442083661177");
    }

    #[test]
    fn noise_single_tones_and_silence_hold_no_digit() {
        let mut random = StdRng::seed_from_u64(2);
        let noise: Vec<i16> = (0..80_000).map(|_| random.random_range(-8_000..8_000)).collect();
        let tone: Vec<i16> = (0..8_000)
            .map(|i| ((f64::from(i) * 770.0 / 8_000.0 * std::f64::consts::TAU).sin() * 8_000.0) as i16)
            .collect();
        assert_eq!(decode(&noise), []);
        assert_eq!(decode(&tone), []);
        assert_eq!(decode(&[0; 8_000]), []);
        assert_eq!(decode(&[]), []);
    }
}
