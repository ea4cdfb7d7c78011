//! Inserts or removes one pitch period in a frame, with a cross-fade where the signal repeats
//! itself (the idea of WSOLA): the pitch stays, only the length changes.

use crate::pitch::best_lag;

/// Samples per frame. This and the following constants are in samples at 8 kHz, and in multiples of
/// it at other rates.
const FRAME: usize = 160;
/// Limits of the period, samples: 5 to 15 ms.
const LONGEST: usize = 120;
const SHORTEST: usize = 40;
/// Length of the cross-fade and of the comparison: 10 ms.
const JOIN: usize = 80;
/// Below this correlation the join is audible; it is better to wait for another frame.
const ALIKE: f32 = 0.7;
/// Mean square below which a join is inaudible: about −60 dBov.
const QUIET: f32 = 1_000.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Play one period twice, which increases the delay.
    Repeat,
    /// Skip one period, which reduces the delay.
    Skip,
}

/// Lengthens or shortens frames at one rate.
pub(super) struct Stretch {
    /// Samples per sample at 8 kHz.
    factor: usize,
    /// Input from the playout position on, as long as the largest change needs.
    pub input: Box<[i16]>,
    signal: Box<[i16]>,
}

impl Stretch {
    pub fn new(factor: usize) -> Self {
        let zeros = |samples: usize| vec![0; samples * factor].into_boxed_slice();
        Stretch { factor, input: zeros(FRAME + LONGEST), signal: zeros(LONGEST + JOIN) }
    }

    /// Input samples from the playout position on that a change needs.
    pub fn needed(&self, change: Change) -> usize {
        match change {
            Change::Repeat => FRAME * self.factor,
            Change::Skip => (FRAME + LONGEST) * self.factor,
        }
    }

    /// The period to repeat or skip; `None` if the signal in `input` has none now. `history` holds
    /// the samples played before, newest last.
    pub fn lag(&mut self, change: Change, history: &[i16], urgent: bool) -> Option<usize> {
        let (longest, join) = (LONGEST * self.factor, JOIN * self.factor);
        let signal = &mut self.signal;
        match change {
            Change::Repeat => {
                signal[..longest].copy_from_slice(&history[history.len() - longest..]);
                signal[longest..].copy_from_slice(&self.input[..join]);
            }
            Change::Skip => signal.copy_from_slice(&self.input[..longest + join]),
        }
        let energy = signal.iter().map(|&x| f32::from(x) * f32::from(x)).sum::<f32>() / signal.len() as f32;
        if energy < QUIET {
            return Some(longest);
        }
        let (lag, alike) = best_lag(signal, SHORTEST..=LONGEST, JOIN, self.factor);
        (urgent || alike >= ALIKE).then_some(lag)
    }

    /// Produces the frame from `lag` samples more or fewer of the input.
    pub fn apply(&self, change: Change, lag: usize, history: &[i16], frame: &mut [i16]) {
        let input = &self.input;
        let length = JOIN * self.factor;
        // `from` plays before the join, `to` after it.
        let earlier = |n: usize| match n.checked_sub(lag) {
            Some(n) => input[n],
            None => history[history.len() + n - lag],
        };
        let join = match change {
            Change::Repeat => 0,
            Change::Skip => LONGEST * self.factor - lag,
        };
        for (n, sample) in frame.iter_mut().enumerate() {
            let from = input[n];
            let to = match change {
                Change::Repeat => earlier(n),
                Change::Skip => input[n + lag],
            };
            *sample = if n < join {
                from
            } else if n < join + length {
                let rise = (n - join) as i32 + 1;
                let span = length as i32 + 1;
                ((i32::from(to) * rise + i32::from(from) * (span - rise)) / span) as i16
            } else {
                to
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(factor: usize, input: impl FnMut(usize) -> i16) -> Stretch {
        let mut stretch = Stretch::new(factor);
        stretch.input = (0..stretch.input.len()).map(input).collect();
        stretch
    }

    /// The tone continues into the next frame without a step.
    #[test]
    fn a_tone_goes_on_without_a_step() {
        for factor in [1, 2, 3, 6] {
            let sine = |n: i64| {
                (9_000.0 * (std::f64::consts::TAU * 150.0 * n as f64 / 8_000.0 / factor as f64).sin()) as i16
            };
            let length = factor as i64;
            let history: Vec<i16> = (-390 * length..0).map(sine).collect();
            for change in [Change::Repeat, Change::Skip] {
                let mut stretch = stretch(factor, |n| sine(n as i64));
                let lag = stretch.lag(change, &history, false).unwrap();
                let near = |period: i64| (lag as i64 - period * length).abs() <= length;
                assert!(near(53) || near(107), "{lag}");
                let mut frame = vec![0; FRAME * factor];
                stretch.apply(change, lag, &history, &mut frame);
                let next = match change {
                    Change::Repeat => FRAME as i64 * length - lag as i64,
                    Change::Skip => FRAME as i64 * length + lag as i64,
                };
                let mut all = vec![sine(-1)];
                all.extend_from_slice(&frame);
                all.push(sine(next));
                let step = all.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
                assert!(step < 1_200, "{change:?}: {step}; at 8 kHz the tone steps by 1060");
            }
        }
    }

    #[test]
    fn noise_is_left_alone_unless_it_is_urgent() {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16
        };
        let history: Vec<i16> = (0..390).map(|_| noise()).collect();
        let mut noisy = stretch(1, |_| noise());
        assert_eq!(noisy.lag(Change::Skip, &history, false), None);
        assert!(noisy.lag(Change::Skip, &history, true).is_some());
        let mut quiet = stretch(1, |_| 3);
        assert_eq!(quiet.lag(Change::Repeat, &[0; 390], false), Some(LONGEST), "quiet");
    }
}
