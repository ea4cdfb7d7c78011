//! Digits as tones (ITU-T Q.23) for a party that accepts no telephone events: one after the other,
//! in place of all other audio.

use std::collections::VecDeque;

use crate::dtmf::Tone;

/// Limits of a digit's length, ms: shorter ones are missed (ITU-T Q.24 §2.3 has 40 ms), longer ones
/// are a mistake.
const LENGTH: (u32, u32) = (50, 6_000);
/// Silence after a digit, ms, so that receivers tell digits apart (ITU-T Q.24 §2.4).
const PAUSE_MS: u32 = 60;
/// Maximum number of queued digits.
const QUEUE: usize = 32;
/// Amplitude of each of the two tones at -10 dBm0, where a full-scale sine has 3.17 dBm0 (ITU-T
/// G.711 §4): 32768 · 10^(-13.17 / 20). It is also the RMS of both together.
const RMS: f32 = 7_193.0;

/// The queue of digits.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Digits and their lengths, ms.
    queue: VecDeque<(char, u32)>,
    current: Option<Tone>,
    /// Remaining samples of the current digit, including its pause.
    left: usize,
    rate_hz: u32,
}

impl Keys {
    /// Queues a digit at 8,000 or 16,000 Hz; digits beyond the limit are dropped.
    pub fn push(&mut self, digit: char, duration_ms: u32, rate_hz: u32) {
        if self.rate_hz == 0 {
            self.rate_hz = rate_hz;
        }
        if self.queue.len() < QUEUE {
            self.queue.push_back((digit, duration_ms.clamp(LENGTH.0, LENGTH.1)));
        }
    }

    /// Sampling rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Whether all samples were read.
    pub fn is_over(&self) -> bool {
        self.queue.is_empty() && self.left == 0
    }

    /// Reads the next samples; after the last digit there is silence.
    pub fn read(&mut self, frame: &mut [i16]) {
        let mut filled = 0;
        while filled < frame.len() {
            if self.left == 0 {
                let Some((digit, ms)) = self.queue.pop_front() else { break };
                self.current = Some(Tone::new(digit, ms, self.rate_hz));
                self.left = (ms + PAUSE_MS) as usize * self.rate_hz as usize / 1_000;
            }
            let count = self.left.min(frame.len() - filled);
            let part = &mut frame[filled..filled + count];
            match &mut self.current {
                Some(tone) => tone.fill(part, RMS),
                None => part.fill(0),
            }
            self.left -= count;
            filled += count;
        }
        frame[filled..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtmf::{Heard, LineDetector};

    /// The digits that a receiver detects in everything read.
    fn heard(keys: &mut Keys, ticks: usize) -> Vec<(char, u64)> {
        let (mut detector, mut found) = (LineDetector::default(), Vec::new());
        for _ in 0..ticks {
            let mut frame = [0; 160];
            keys.read(&mut frame);
            detector.push(&frame, |heard: Heard| found.push((heard.digit, heard.length / 8)));
        }
        found
    }

    #[test]
    fn digits_sound_one_after_the_other_as_long_as_they_were_pressed() {
        let mut keys = Keys::default();
        for (digit, ms) in [('1', 100), ('1', 1), ('D', 400)] {
            keys.push(digit, ms, 8_000);
        }
        let found = heard(&mut keys, 60);
        assert!(keys.is_over());
        let wanted = [('1', 100), ('1', 50), ('D', 400)];
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert_eq!(found.0, wanted.0);
            assert!(found.1.abs_diff(wanted.1) <= 20, "{found:?}");
        }
    }

    #[test]
    fn digits_do_not_pile_up() {
        let mut keys = Keys::default();
        (0..1_000).for_each(|_| keys.push('5', u32::MAX, 8_000));
        assert_eq!(keys.queue.len(), QUEUE);
        let mut frame = [0; 160];
        (0..(6_060 / 20) * QUEUE).for_each(|_| keys.read(&mut frame));
        assert!(keys.is_over());
    }
}
