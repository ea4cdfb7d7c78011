//! The level of the tones: that of the audio that they are mixed with.

use b2b_media::mix::Energy;

/// Mean square below which a frame is ignored (-60 dBov).
const QUIET: f64 = 1_074.0;
/// Level before any input: -20 dBov.
const INITIAL_RMS: f64 = 3_277.0;
/// The level is limited to -36 to -12 dBov.
const LOWEST_RMS: f64 = 519.0;
const HIGHEST_RMS: f64 = 8_231.0;
/// Maximum frames of the running average: 3 s.
const MEMORY: f64 = 150.0;
/// Power of the tones, averaged over their pauses, relative to the input's: with both gains at 0.5 the output
/// is then 2.5 dB below the input.
const ABOVE: f64 = 1.25;
/// Minimum duty cycle; rarer tones are not amplified further.
const LEAST_DUTY: f64 = 0.25;

/// Follows the level of the input.
#[derive(Debug)]
pub(super) struct Level {
    mean_square: f64,
    frames: f64,
    factor: f64,
}

impl Level {
    /// For tones with this duty cycle.
    pub(super) fn new(duty: f64) -> Self {
        let factor = ABOVE / duty.clamp(LEAST_DUTY, 1.0);
        Level { mean_square: INITIAL_RMS * INITIAL_RMS, frames: 0.0, factor }
    }

    /// Processes an input frame.
    pub(super) fn hear(&mut self, frame: &Energy) {
        let square = frame.rms() * frame.rms();
        if square >= QUIET {
            self.frames = (self.frames + 1.0).min(MEMORY);
            self.mean_square += (square - self.mean_square) / self.frames;
        }
    }

    /// The RMS of a tone while it sounds.
    pub(super) fn tone_rms(&self) -> f32 {
        (self.mean_square * self.factor).sqrt().clamp(LOWEST_RMS, HIGHEST_RMS) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tones_follow_the_input_and_outlive_it() {
        let mut level = Level::new(1.0);
        assert!((level.tone_rms() - 3_664.0).abs() < 5.0);
        level.hear(&Energy::of(&[1_000; 160]));
        assert!((level.tone_rms() - 1_118.0).abs() < 5.0, "the first frame counts at once");
        (0..1_000).for_each(|_| level.hear(&Energy::of(&[2_000; 160])));
        assert!((level.tone_rms() - 2_236.0).abs() < 10.0);
        (0..1_000).for_each(|_| level.hear(&Energy::of(&[0; 160])));
        assert!((level.tone_rms() - 2_236.0).abs() < 10.0, "silence says nothing");
    }

    #[test]
    fn the_tones_are_never_deafening_and_never_inaudible() {
        let mut level = Level::new(0.01);
        (0..1_000).for_each(|_| level.hear(&Energy::of(&[i16::MIN; 160])));
        assert_eq!(level.tone_rms(), HIGHEST_RMS as f32);
        (0..2_000).for_each(|_| level.hear(&Energy::of(&[40; 160])));
        assert_eq!(level.tone_rms(), LOWEST_RMS as f32);
    }
}
