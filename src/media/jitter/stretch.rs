//! One pitch period more or less in a frame, joined by a cross-fade where the
//! signal repeats itself (the idea of WSOLA): pitch stays, only length changes.

use super::FRAME;
use crate::media::conceal::best_lag;

/// Periods looked for, samples: 5 to 15 ms.
const LONGEST: usize = 120;
const SHORTEST: usize = 40;
/// Length of the cross-fade and of the comparison: 10 ms.
const JOIN: usize = 80;
/// Below this likeness a join is heard; better wait for another frame.
const ALIKE: f32 = 0.7;
/// Mean square below which nobody hears a join: about −60 dBov.
const QUIET: f32 = 1_000.0;

/// Samples that the largest change needs.
pub(super) const INPUT: usize = FRAME + LONGEST;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Play one period twice: more delay.
    Repeat,
    /// Leave one period out: less delay.
    Skip,
}

/// Samples of input that a change needs from the playout position on.
pub(super) fn needed(change: Change) -> usize {
    match change {
        Change::Repeat => FRAME,
        Change::Skip => INPUT,
    }
}

/// The period to repeat or skip, or `None` when the signal has none now.
/// `history` is what was played before, newest last.
pub(super) fn lag(change: Change, history: &[i16], input: &[i16; INPUT], urgent: bool) -> Option<usize> {
    let mut signal = [0; LONGEST + JOIN];
    match change {
        Change::Repeat => {
            signal[..LONGEST].copy_from_slice(&history[history.len() - LONGEST..]);
            signal[LONGEST..].copy_from_slice(&input[..JOIN]);
        }
        Change::Skip => signal.copy_from_slice(&input[..LONGEST + JOIN]),
    }
    let energy = signal.iter().map(|&x| f32::from(x) * f32::from(x)).sum::<f32>() / signal.len() as f32;
    if energy < QUIET {
        return Some(LONGEST);
    }
    let (lag, alike) = best_lag(&signal, SHORTEST..=LONGEST, JOIN);
    (urgent || alike >= ALIKE).then_some(lag)
}

/// Makes the frame: `lag` samples fewer or more of the input go into it.
pub(super) fn apply(
    change: Change,
    lag: usize,
    history: &[i16],
    input: &[i16; INPUT],
    frame: &mut [i16; FRAME],
) {
    // `from` is what plays before the join, `to` what plays after it.
    let earlier = |n: usize| match n.checked_sub(lag) {
        Some(n) => input[n],
        None => history[history.len() + n - lag],
    };
    let join = match change {
        Change::Repeat => 0,
        Change::Skip => LONGEST - lag,
    };
    for (n, sample) in frame.iter_mut().enumerate() {
        let from = input[n];
        let to = match change {
            Change::Repeat => earlier(n),
            Change::Skip => input[n + lag],
        };
        *sample = if n < join {
            from
        } else if n < join + JOIN {
            let rise = (n - join) as i32 + 1;
            let span = JOIN as i32 + 1;
            ((i32::from(to) * rise + i32::from(from) * (span - rise)) / span) as i16
        } else {
            to
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(n: i64) -> i16 {
        (9_000.0 * (std::f64::consts::TAU * 150.0 * n as f64 / 8_000.0).sin()) as i16
    }

    /// The tone goes on where the next frame will, without a step.
    #[test]
    fn a_tone_goes_on_without_a_step() {
        let history: Vec<i16> = (-390..0).map(sine).collect();
        let input: [i16; INPUT] = std::array::from_fn(|n| sine(n as i64));
        for change in [Change::Repeat, Change::Skip] {
            let lag = lag(change, &history, &input, false).unwrap();
            assert!((lag as i64 - 53).abs() <= 1 || (lag as i64 - 107).abs() <= 1, "{lag}");
            let mut frame = [0; FRAME];
            apply(change, lag, &history, &input, &mut frame);
            let next = match change {
                Change::Repeat => FRAME as i64 - lag as i64,
                Change::Skip => FRAME as i64 + lag as i64,
            };
            let mut all = vec![sine(-1)];
            all.extend_from_slice(&frame);
            all.push(sine(next));
            let step = all.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
            assert!(step < 1_200, "{change:?}: {step}; the tone steps by 1060");
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
        let input: [i16; INPUT] = std::array::from_fn(|_| noise());
        assert_eq!(lag(Change::Skip, &history, &input, false), None);
        assert!(lag(Change::Skip, &history, &input, true).is_some());
        assert_eq!(lag(Change::Repeat, &[0; 390], &[3; INPUT], false), Some(LONGEST), "quiet");
    }
}
