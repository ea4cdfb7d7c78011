//! Packet-loss concealment by repeating the last pitch period, after the idea of G.711 Appendix I:
//! full level for 10 ms, then a fade to silence at 60 ms, and a cross-fade where real samples
//! return. It adds no delay: the step between the last sample and the period is spread over time.

use super::mix::clip;
use super::pitch::{self, BASE_HZ};

/// Samples kept, 48.75 ms: two windows of the pitch search and the longest lag. This and the
/// following constants are in samples at 8 kHz, and in multiples of it at other rates.
const HISTORY: usize = 390;
/// Pitch lags searched: 5 to 15 ms (200 to 66 Hz); multiples of shorter periods fit in as well.
const LAGS: std::ops::RangeInclusive<usize> = 40..=120;
/// Window of the pitch search, 20 ms.
const WINDOW: usize = 160;
/// Full level up to here, 10 ms.
const FADE_START: usize = 80;
/// Silence from here, 60 ms.
const FADE_END: usize = 480;
/// The step from the last real sample to the period is spread over 4 ms.
const JOIN: usize = 32;
/// Cross-fade back to real samples: 4 ms, and as much again per 10 ms lost up to
/// the whole 10 ms.
const RECOVER_MIN: usize = 32;
const RECOVER_MAX: usize = 80;

/// Keeps the samples played, and synthesises missing ones.
#[derive(Debug, Clone)]
pub struct Concealer {
    /// Samples per sample at 8 kHz.
    factor: usize,
    history: Box<[i16]>,
    /// Samples synthesised since the last real one.
    lost: usize,
    /// The repeated period, its end smoothed into its start.
    period: Box<[i16]>,
    lag: usize,
    /// Difference between the last real sample and the one that precedes the period.
    step: i32,
}

impl Concealer {
    /// For samples at 8,000, 16,000, 24,000 or 48,000 Hz.
    pub fn new(rate_hz: u32) -> Self {
        let factor = (rate_hz / BASE_HZ).max(1) as usize;
        Concealer {
            factor,
            history: vec![0; HISTORY * factor].into_boxed_slice(),
            lost: 0,
            period: vec![0; LAGS.end() * factor].into_boxed_slice(),
            lag: LAGS.start() * factor,
            step: 0,
        }
    }

    /// Takes real samples. The first ones after a loss are cross-faded with what concealment would
    /// have continued with.
    pub fn good(&mut self, samples: &mut [i16]) {
        if self.lost > 0 && !samples.is_empty() {
            let tens = self.lost / (FADE_START * self.factor);
            let length = (RECOVER_MIN + tens * RECOVER_MIN).min(RECOVER_MAX) * self.factor;
            let length = length.min(samples.len());
            for (n, sample) in samples.iter_mut().take(length).enumerate() {
                let made_up = i32::from(self.next_sample());
                let (rise, span) = (n as i32 + 1, length as i32 + 1);
                *sample = ((i32::from(*sample) * rise + made_up * (span - rise)) / span) as i16;
            }
            self.lost = 0;
        }
        self.remember(samples);
    }

    /// Fills `samples` with concealment. Returns whether it is audible.
    pub fn lost(&mut self, samples: &mut [i16]) -> bool {
        if self.lost == 0 {
            self.find_period();
        }
        let audible = self.lost < FADE_END * self.factor;
        for sample in samples.iter_mut() {
            *sample = self.next_sample();
        }
        self.remember(samples);
        audible
    }

    /// Whether the last sample was synthesised.
    pub fn in_loss(&self) -> bool {
        self.lost > 0
    }

    /// The last samples played, newest last.
    pub fn history(&self) -> &[i16] {
        &self.history
    }

    fn next_sample(&mut self) -> i16 {
        let n = self.lost;
        let (start, end, join) = (FADE_START * self.factor, FADE_END * self.factor, JOIN * self.factor);
        self.lost = (self.lost + 1).min(end + 1);
        if n >= end {
            return 0;
        }
        let level = (end - n.max(start)) as i32;
        let step = self.step * join.saturating_sub(n) as i32 / (join + 1) as i32;
        let sample = i32::from(self.period[n % self.lag]) + step;
        // A sample and its step have 17 bits, the level at 48 kHz has twelve.
        clip(sample * level / (end - start) as i32)
    }

    fn find_period(&mut self) {
        self.lag = pitch::best_lag(&self.history, LAGS, WINDOW, self.factor).0;
        let length = self.history.len();
        let start = length - self.lag;
        self.step = i32::from(self.history[length - 1]) - i32::from(self.history[start - 1]);
        self.period[..self.lag].copy_from_slice(&self.history[start..]);
        // So that the period's end meets its start, its last quarter fades to the quarter before
        // the start.
        let quarter = self.lag / 4;
        for n in 0..quarter {
            let to_end = self.lag - quarter + n;
            let before_start = i32::from(self.history[start - quarter + n]);
            let at_end = i32::from(self.period[to_end]);
            let (rise, span) = (n as i32 + 1, quarter as i32 + 1);
            self.period[to_end] = ((at_end * (span - rise) + before_start * rise) / span) as i16;
        }
    }

    fn remember(&mut self, samples: &[i16]) {
        let length = self.history.len();
        let samples = &samples[samples.len().saturating_sub(length)..];
        self.history.copy_within(samples.len().., 0);
        self.history[length - samples.len()..].copy_from_slice(samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, from: usize, count: usize) -> Vec<i16> {
        (from..from + count)
            .map(|n| (8_000.0 * (std::f64::consts::TAU * hz * n as f64 / 8_000.0).sin()) as i16)
            .collect()
    }

    fn after(hz: f64) -> Concealer {
        let mut concealer = Concealer::new(8_000);
        concealer.good(&mut tone(hz, 0, 800));
        concealer
    }

    #[test]
    fn the_first_ten_milliseconds_go_on_with_the_tone() {
        for hz in [100.0, 160.0, 250.0, 400.0] {
            let mut concealer = after(hz);
            let mut made_up = [0; 80];
            assert!(concealer.lost(&mut made_up));
            for (n, (&got, want)) in made_up.iter().zip(tone(hz, 800, 80)).enumerate() {
                assert!((i32::from(got) - i32::from(want)).abs() < 1_500, "{hz} Hz, {n}: {got} {want}");
            }
        }
    }

    #[test]
    fn at_other_rates_it_goes_on_with_the_tone_as_well() {
        for rate_hz in [16_000, 24_000, 48_000] {
            for hz in [100.0, 250.0, 400.0] {
                let tone =
                    |n: usize| 8_000.0 * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate_hz)).sin();
                let mut concealer = Concealer::new(rate_hz);
                concealer.good(&mut (0..rate_hz as usize / 10).map(|n| tone(n) as i16).collect::<Vec<_>>());
                let mut made_up = vec![0; rate_hz as usize / 100];
                assert!(concealer.lost(&mut made_up));
                for (n, got) in made_up.iter().enumerate() {
                    let want = tone(rate_hz as usize / 10 + n);
                    assert!((f64::from(*got) - want).abs() < 800.0, "{rate_hz} {hz} Hz, {n}: {got} {want}");
                }
                let mut rest = vec![0; rate_hz as usize / 20];
                assert!(concealer.lost(&mut rest) && !concealer.lost(&mut made_up), "silence at 60 ms");
                assert!(made_up.iter().all(|sample| *sample == 0));
            }
        }
    }

    #[test]
    fn it_fades_to_silence_at_sixty_milliseconds() {
        let mut concealer = after(200.0);
        let mut energy = Vec::new();
        for _ in 0..4 {
            let mut frame = [0; 160];
            let audible = concealer.lost(&mut frame);
            assert_eq!(audible, energy.len() < 3);
            energy.push(frame.iter().map(|&x| i64::from(x).pow(2)).sum::<i64>());
        }
        assert!(energy[0] > energy[1] && energy[1] > energy[2]);
        assert_eq!(energy[3], 0);
        assert!(concealer.in_loss());
    }

    /// Voiced speech: harmonics of a gliding pitch at a swelling level, with some breath noise.
    fn speech(count: usize) -> Vec<i16> {
        let (mut phase, mut noise) = (0.0f64, 1u32);
        let mut sample = |n: usize| {
            let t = n as f64 / 8_000.0;
            phase += std::f64::consts::TAU * (120.0 + 25.0 * (6.0 * t).sin()) / 8_000.0;
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let breath = f64::from(noise >> 16) / 65_536.0 - 0.5;
            let voice: f64 = (1..=12).map(|h| (phase * f64::from(h)).sin() / f64::from(h)).sum();
            ((3_000.0 + 2_500.0 * (17.0 * t).sin()) * (voice + 0.05 * breath)) as i16
        };
        (0..count).map(&mut sample).collect()
    }

    /// A click is a change of slope that the signal itself does not have: the largest second
    /// difference at the borders of losses, relative to the largest of the signal around.
    fn worst_click(lost: usize) -> f64 {
        let clean = speech(8_000);
        let bend = |signal: &[i16]| {
            let bend = |w: &[i16]| (i32::from(w[2]) - 2 * i32::from(w[1]) + i32::from(w[0])).abs();
            f64::from(signal.windows(3).map(bend).max().unwrap())
        };
        let mut worst = 0.0f64;
        for start in (800..7_000).step_by(37) {
            let mut concealer = Concealer::new(8_000);
            let mut heard = clean[..start].to_vec();
            concealer.good(&mut heard);
            let mut made_up = vec![0; lost];
            concealer.lost(&mut made_up);
            let mut back = clean[start + lost..start + lost + 160].to_vec();
            concealer.good(&mut back);
            heard.extend(made_up);
            heard.extend(back);
            let entry = bend(&heard[start - 2..start + 2]);
            let exit = bend(&heard[start + lost - 2..start + lost + 82]);
            let around = bend(&clean[start - 160..start + lost + 160]);
            worst = worst.max(entry.max(exit) / around);
        }
        worst
    }

    #[test]
    fn neither_border_of_a_loss_clicks() {
        for lost in [80, 160, 320, 480, 800] {
            let worst = worst_click(lost);
            assert!(worst < 1.2, "{lost} samples: {worst} times what the signal does");
        }
    }

    #[test]
    fn recovery_has_no_click() {
        for lost in [160, 320, 640] {
            let mut concealer = after(200.0);
            let mut all = tone(200.0, 0, 800);
            let mut made_up = vec![0; lost];
            concealer.lost(&mut made_up);
            let mut back = tone(200.0, 800 + lost + 13, 160);
            concealer.good(&mut back);
            assert!(!concealer.in_loss());
            all.extend(made_up);
            all.extend(back);
            let step = all.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max();
            assert!(step < Some(2_600), "{lost}: {step:?}; the tone itself steps by 1256");
        }
    }

    #[test]
    fn silence_stays_silence_and_extremes_do_not_overflow() {
        let mut concealer = Concealer::new(8_000);
        let mut frame = [0; 160];
        concealer.lost(&mut frame);
        assert_eq!(frame, [0; 160]);
        let mut concealer = Concealer::new(8_000);
        let mut square: Vec<i16> =
            (0..800).map(|n| if n / 25 % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
        concealer.good(&mut square);
        concealer.lost(&mut frame);
        concealer.good(&mut [i16::MIN; 160]);
    }
}
