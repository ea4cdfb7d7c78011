//! Pitch search: the lag at which a signal repeats.

use std::ops::RangeInclusive;

/// The rate at which pitch is searched. At higher rates the search first uses a signal averaged
/// down to this rate and then refines near the result: 48 kHz costs twice as much as 8, not 36
/// times.
pub const BASE_HZ: u32 = 8_000;
/// Maximum length of the signal, in samples at [`BASE_HZ`].
const LONGEST: usize = 400;

/// The lag at which the last `window` samples are most like those before them, and their normalised
/// correlation, 1 for a perfect repetition. `lags` and `window` are in samples at [`BASE_HZ`]; the
/// signal, which must hold the window plus the longest lag, and the lag found are at `factor` times
/// that rate.
pub fn best_lag(signal: &[i16], lags: RangeInclusive<usize>, window: usize, factor: usize) -> (usize, f32) {
    if factor <= 1 {
        return search(signal, lags, window);
    }
    let mut short = [0; LONGEST];
    let needed = (window + lags.end()).min(LONGEST);
    let recent = &signal[signal.len() - needed * factor..];
    for (sample, of) in short.iter_mut().zip(recent.chunks_exact(factor)) {
        *sample = (of.iter().map(|&x| i32::from(x)).sum::<i32>() / factor as i32) as i16;
    }
    let (about, _) = search(&short[..needed], lags.clone(), window);
    let close = (about - 1).max(*lags.start()) * factor..=(about + 1).min(*lags.end()) * factor;
    search(signal, close, window * factor)
}

fn search(signal: &[i16], lags: RangeInclusive<usize>, window: usize) -> (usize, f32) {
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

    #[test]
    fn the_period_of_a_pulse_train_is_found_at_every_rate() {
        for factor in [1, 2, 3, 6] {
            for period in [47.0, 60.5, 101.3] {
                let length = period * factor as f64;
                let wave = |n: usize| (n as f64 % length / length * 20_000.0 - 10_000.0) as i16;
                let signal: Vec<i16> = (0..390 * factor).map(wave).collect();
                let (lag, alike) = best_lag(&signal, 40..=120, 160, factor);
                let off = (lag as f64 / length).round() * length - lag as f64;
                assert!(off.abs() <= 1.0 && alike > 0.95, "{factor} {period}: {lag} {alike}");
            }
        }
    }
}
