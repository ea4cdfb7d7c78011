//! Packet-loss concealment by repeating the last pitch period, after the idea of
//! G.711 Appendix I: full level for 10 ms, then a fade to silence at 60 ms, and a
//! cross-fade where real samples return. No delay is added: where the period does
//! not quite follow the last sample, the step between them is spread.

/// Samples kept, 48.75 ms: two windows of the pitch search and the longest lag.
const HISTORY: usize = 390;
/// Pitch lags searched: 5 to 15 ms (200 to 66 Hz); half-periods of higher
/// voices fit in as multiples.
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

/// Keeps what was played, and makes up what is missing.
#[derive(Debug, Clone)]
pub struct Concealer {
    history: [i16; HISTORY],
    /// Samples made up since the last real one.
    lost: usize,
    /// The period that repeats, its end smoothed into its start.
    period: [i16; *LAGS.end()],
    lag: usize,
    /// How far the last real sample lies above the one that the period follows.
    step: i32,
}

impl Default for Concealer {
    fn default() -> Self {
        Concealer { history: [0; HISTORY], lost: 0, period: [0; *LAGS.end()], lag: *LAGS.start(), step: 0 }
    }
}

impl Concealer {
    /// Takes real samples. The first ones after a loss are cross-faded with what
    /// the concealment would have gone on with.
    pub fn good(&mut self, samples: &mut [i16]) {
        if self.lost > 0 && !samples.is_empty() {
            let length = (RECOVER_MIN + self.lost / FADE_START * RECOVER_MIN).min(RECOVER_MAX);
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

    /// Fills `samples` with what sounds least like a loss. Returns whether
    /// anything but silence was made.
    pub fn lost(&mut self, samples: &mut [i16]) -> bool {
        if self.lost == 0 {
            self.find_period();
        }
        let audible = self.lost < FADE_END;
        for sample in samples.iter_mut() {
            *sample = self.next_sample();
        }
        self.remember(samples);
        audible
    }

    /// Whether the last sample was made up.
    pub fn in_loss(&self) -> bool {
        self.lost > 0
    }

    /// The last samples played, newest last.
    pub fn history(&self) -> &[i16] {
        &self.history
    }

    fn next_sample(&mut self) -> i16 {
        let n = self.lost;
        self.lost = (self.lost + 1).min(FADE_END + 1);
        if n >= FADE_END {
            return 0;
        }
        let level = (FADE_END - n.max(FADE_START)) as i32;
        let step = self.step * JOIN.saturating_sub(n) as i32 / (JOIN + 1) as i32;
        let sample = i32::from(self.period[n % self.lag]) + step;
        let sample = sample * level / (FADE_END - FADE_START) as i32;
        sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    }

    fn find_period(&mut self) {
        self.lag = best_lag(&self.history, LAGS, WINDOW).0;
        let start = HISTORY - self.lag;
        self.step = i32::from(self.history[HISTORY - 1]) - i32::from(self.history[start - 1]);
        self.period[..self.lag].copy_from_slice(&self.history[start..]);
        // Where the period's end meets its start again, the quarter before it
        // leads over to the quarter before the start.
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
        let samples = &samples[samples.len().saturating_sub(HISTORY)..];
        self.history.copy_within(samples.len().., 0);
        self.history[HISTORY - samples.len()..].copy_from_slice(samples);
    }
}

/// The lag at which the last `window` samples are most like those before them,
/// and how alike: the normalised correlation, 1 for a perfect repetition. The
/// signal must hold `window` plus the longest lag.
pub fn best_lag(signal: &[i16], lags: std::ops::RangeInclusive<usize>, window: usize) -> (usize, f32) {
    let recent = &signal[signal.len() - window..];
    let energy = |samples: &[i16]| samples.iter().map(|&x| f32::from(x) * f32::from(x)).sum::<f32>();
    let recent_energy = energy(recent);
    let mut best = (*lags.start(), f32::MIN);
    for lag in lags {
        let from = signal.len() - window - lag;
        let earlier = &signal[from..from + window];
        let product: f32 = recent.iter().zip(earlier).map(|(&x, &y)| f32::from(x) * f32::from(y)).sum();
        let alike = product / (recent_energy * energy(earlier)).sqrt().max(1.0);
        if alike > best.1 {
            best = (lag, alike);
        }
    }
    best
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
        let mut concealer = Concealer::default();
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

    /// Voiced speech: harmonics of a pitch that glides, through a level that swells,
    /// and some breath.
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

    /// A click is a jump of the slope that the signal itself does not have: the
    /// second difference, largest at the borders of losses over the largest of the
    /// signal around.
    fn worst_click(lost: usize) -> f64 {
        let clean = speech(8_000);
        let bend = |signal: &[i16]| {
            let bend = |w: &[i16]| (i32::from(w[2]) - 2 * i32::from(w[1]) + i32::from(w[0])).abs();
            f64::from(signal.windows(3).map(bend).max().unwrap())
        };
        let mut worst = 0.0f64;
        for start in (800..7_000).step_by(37) {
            let mut concealer = Concealer::default();
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
        let mut concealer = Concealer::default();
        let mut frame = [0; 160];
        concealer.lost(&mut frame);
        assert_eq!(frame, [0; 160]);
        let mut concealer = Concealer::default();
        let mut square: Vec<i16> =
            (0..800).map(|n| if n / 25 % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
        concealer.good(&mut square);
        concealer.lost(&mut frame);
        concealer.good(&mut [i16::MIN; 160]);
    }
}
