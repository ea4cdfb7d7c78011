//! Who has the floor: the loudest few are mixed, with hysteresis, so that a cough takes the
//! floor from nobody. In a room so small that all have it, nobody is left out.

use crate::mix::Energy;

/// How many are mixed at most.
pub const MIXED: usize = 4;

/// Louder than this is speech, dBov.
const SPEECH: f32 = -45.0;
/// Somebody who is louder by this takes the place of who is mixed, dB.
const LEAD: f32 = 6.0;
/// How fast a level falls, dB a tick; it rises at once, so that no word loses its beginning.
const FALL: f32 = 1.5;
/// Ticks of quiet after which somebody has ceased to speak: half a second.
const QUIET: u8 = 25;
/// The level of silence.
const SILENCE: f32 = -96.0;

/// One of a room, as far as the floor is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speaker {
    pub(super) level: f32,
    pub(super) quiet: u8,
    /// It may be heard.
    pub has_voice: bool,
    /// It is mixed.
    pub mixed: bool,
    /// It speaks.
    pub speaks: bool,
}

impl Default for Speaker {
    fn default() -> Self {
        Speaker { level: SILENCE, quiet: 0, has_voice: true, mixed: false, speaks: false }
    }
}

impl Speaker {
    /// What it said in this tick, if anything. Whether it has begun or ceased to speak.
    pub fn hear(&mut self, frame: Option<&[i16]>) -> bool {
        let frame = frame.filter(|_| self.has_voice);
        let now = frame.and_then(|frame| Energy::of(frame).dbov()).map_or(SILENCE, |level| level as f32);
        self.level = now.max(self.level - FALL).max(SILENCE);
        self.quiet = if self.level > SPEECH { 0 } else { self.quiet.saturating_add(1) };
        let before = self.speaks;
        self.speaks = self.has_voice && (self.level > SPEECH || before && self.quiet < QUIET);
        before != self.speaks
    }
}

/// Says who is mixed in this tick; `speaker` is where each has what this is about.
pub(super) fn choose<T>(all: &mut [T], speaker: impl Fn(&mut T) -> &mut Speaker) {
    if all.len() <= MIXED {
        all.iter_mut().map(speaker).for_each(|it| it.mixed = it.has_voice);
        return;
    }
    let mut mixed = 0;
    for it in all.iter_mut().map(&speaker) {
        it.mixed &= it.speaks;
        mixed += usize::from(it.mixed);
    }
    loop {
        let waiting = all.iter_mut().map(&speaker).filter(|it| it.speaks && !it.mixed);
        let Some(loudest) = waiting.max_by(|a, b| a.level.total_cmp(&b.level)) else { return };
        if mixed < MIXED {
            loudest.mixed = true;
            mixed += 1;
            continue;
        }
        let level = loudest.level;
        let there = all.iter_mut().map(&speaker).filter(|it| it.mixed);
        let Some(weakest) = there.min_by(|a, b| a.level.total_cmp(&b.level)) else { return };
        if level <= weakest.level + LEAD {
            return;
        }
        weakest.mixed = false;
        mixed -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(all: &mut [Speaker], said: &[i16]) -> Vec<bool> {
        for (speaker, amplitude) in all.iter_mut().zip(said) {
            let frame = [*amplitude; 160];
            speaker.hear((*amplitude > 0).then_some(&frame[..]));
        }
        choose(all, |it| it);
        all.iter().map(|it| it.mixed).collect()
    }

    #[test]
    fn in_a_small_room_all_are_heard_but_who_has_no_voice() {
        let mut all = [Speaker::default(); 4];
        all[2].has_voice = false;
        assert_eq!(tick(&mut all, &[1, 10_000, 10_000, 0]), [true, true, false, true]);
        assert_eq!(all.map(|it| it.speaks), [false, true, false, false]);
    }

    #[test]
    fn the_loudest_four_have_the_floor_from_their_first_frame_on() {
        let mut all = [Speaker::default(); 7];
        let said = [1_000, 2_000, 3_000, 4_000, 0, 6_000, 7_000];
        assert_eq!(tick(&mut all, &said), [false, false, true, true, false, true, true]);
    }

    #[test]
    fn a_little_louder_takes_the_floor_from_nobody_and_much_louder_does() {
        let mut all = [Speaker::default(); 6];
        let before = tick(&mut all, &[1_000, 1_000, 1_000, 1_000, 0, 0]);
        assert_eq!(tick(&mut all, &[1_000, 1_000, 1_000, 1_000, 1_900, 0]), before, "5.6 dB");
        let after = tick(&mut all, &[1_000, 1_000, 1_000, 1_000, 0, 2_100]);
        assert_eq!((after[5], after.iter().filter(|mixed| **mixed).count()), (true, 4));
    }

    #[test]
    fn a_pause_for_breath_is_still_speech_and_half_a_second_more_is_not() {
        let mut speaker = Speaker::default();
        assert!(speaker.hear(Some(&[1_000; 160])), "begins");
        let mut ticks = 0;
        while !speaker.hear(None) {
            assert!(speaker.speaks);
            ticks += 1;
        }
        assert!((25..45).contains(&ticks), "{ticks}");
        assert!(!speaker.speaks);
        assert!(!speaker.hear(Some(&[20; 160])), "noise is no speech");
    }
}
