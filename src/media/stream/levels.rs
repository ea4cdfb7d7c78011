//! How loud both sides of a stream are over time, for a picture of the talk.

/// Steps of a second.
const STEPS: usize = 5;
const STEP: u64 = Levels::STEP_MS as u64 * 1_000_000;
/// The softest level that is shown, dBov, and the distance from one level to the next.
const SOFTEST: f32 = -60.0;
const APART: f32 = 4.0;

/// The levels of a second in steps of 200 ms: the loudest frame of each, from 0 for silence to 15, 4 dB apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    pub party: [u8; STEPS],
    pub outside: [u8; STEPS],
}

impl Levels {
    /// Length of a step, ms.
    pub const STEP_MS: u32 = 200;
}

/// Gathers levels.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When its second began, ns.
    begun: Option<u64>,
    levels: Levels,
}

impl Meter {
    /// Takes a frame of both sides, in dBov, at this time; returns the levels of the second that is over by then.
    pub fn take(&mut self, at: u64, party: f32, outside: f32) -> Option<Levels> {
        let begun = *self.begun.get_or_insert(at);
        let mut step = (at.saturating_sub(begun) / STEP) as usize;
        let over = (step >= STEPS).then(|| std::mem::take(&mut self.levels));
        if over.is_some() {
            // After a gap, a new second begins with this frame.
            let next = begun + STEPS as u64 * STEP;
            let begun = if at < next + STEP { next } else { at };
            (self.begun, step) = (Some(begun), 0);
        }
        for (side, level) in [(&mut self.levels.party, party), (&mut self.levels.outside, outside)] {
            side[step] = side[step].max(shown(level));
        }
        over
    }
}

fn shown(dbov: f32) -> u8 {
    // A float's cast saturates.
    (((dbov - SOFTEST) / APART).ceil() as u8).min(15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_loudest_frames() {
        let mut meter = Meter::default();
        let mut seconds = Vec::new();
        for tick in 0..151_u64 {
            // The party speaks in the first second, the outside in a frame of the third step of the next one.
            let party = if tick < 50 { -20.0 } else { -96.0 };
            let outside = if tick == 75 { -3.0 } else { -59.0 };
            seconds.extend(meter.take(tick * 20_000_000, party, outside));
        }
        let quiet = Levels { party: [0; 5], outside: [1; 5] };
        let second = Levels { outside: [1, 1, 15, 1, 1], ..quiet };
        assert_eq!(seconds, [Levels { party: [10; 5], ..quiet }, second, quiet]);
        assert_eq!(meter.take(90_000_000_000, 0.0, 0.0).map(|it| it.party), Some([0; 5]), "after a gap");
        assert_eq!(meter.levels.party, [15, 0, 0, 0, 0]);
    }
}
