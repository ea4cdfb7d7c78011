//! Speaker selection: the few loudest members are mixed, however soft they are, with hysteresis, so that a cough
//! does not displace a speaker. In a small room all members are mixed.

use crate::mix::{Energy, SpeechDetector};

/// Maximum number of members mixed.
pub const MIXED: usize = 4;

/// A louder member displaces one that is mixed and speaks if it is louder by this much, dB.
const LEAD: f32 = 6.0;
/// The same for one that does not speak.
const LEAD_OVER_NOISE: f32 = 3.0;
/// How fast a level falls, dB per tick; it rises at once, so that no word loses its beginning.
const FALL: f32 = 1.5;
/// Quiet ticks after which a member has stopped speaking: six tenths of a second.
const QUIET: u8 = 30;
/// The level of silence.
const SILENCE: f32 = -96.0;

/// The speaker state of one member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speaker {
    pub(super) level: f32,
    pub(super) quiet: u8,
    pub(super) detector: SpeechDetector,
    /// The member is not muted.
    pub has_voice: bool,
    /// The member is mixed.
    pub mixed: bool,
    /// The member is speaking.
    pub speaks: bool,
}

impl Default for Speaker {
    fn default() -> Self {
        Speaker {
            level: SILENCE,
            quiet: 0,
            detector: SpeechDetector::default(),
            has_voice: true,
            mixed: false,
            speaks: false,
        }
    }
}

impl Speaker {
    /// Processes the member's frame of this tick, if any. Returns whether it began or stopped speaking.
    pub fn hear(&mut self, frame: Option<&[i16]>) -> bool {
        let frame = frame.filter(|_| self.has_voice);
        let now = frame.and_then(|frame| Energy::of(frame).dbov()).map_or(SILENCE, |level| level as f32);
        self.level = now.max(self.level - FALL).max(SILENCE);
        let is_speech = self.detector.hears(now);
        self.quiet = if is_speech { 0 } else { self.quiet.saturating_add(1) };
        let before = self.speaks;
        self.speaks = self.has_voice && (is_speech || before && self.quiet < QUIET);
        before != self.speaks
    }

    fn is_audible(&self) -> bool {
        self.has_voice && self.level > SILENCE
    }

    /// The level that another member has to exceed to displace this one, dBov.
    fn stands_at(&self) -> f32 {
        self.level + if self.speaks { LEAD } else { LEAD_OVER_NOISE }
    }
}

/// Selects who is mixed in this tick; `speaker` gives access to each item's state.
pub(super) fn choose<T>(all: &mut [T], speaker: impl Fn(&mut T) -> &mut Speaker) {
    if all.len() <= MIXED {
        all.iter_mut().map(speaker).for_each(|it| it.mixed = it.has_voice);
        return;
    }
    let mut mixed = 0;
    for it in all.iter_mut().map(&speaker) {
        it.mixed &= it.is_audible();
        mixed += usize::from(it.mixed);
    }
    loop {
        let waiting = all.iter_mut().map(&speaker).filter(|it| it.is_audible() && !it.mixed);
        let Some(loudest) = waiting.max_by(|a, b| a.level.total_cmp(&b.level)) else { return };
        if mixed < MIXED {
            loudest.mixed = true;
            mixed += 1;
            continue;
        }
        let level = loudest.level;
        let there = all.iter_mut().map(&speaker).filter(|it| it.mixed);
        let Some(weakest) = there.min_by(|a, b| a.stands_at().total_cmp(&b.stands_at())) else { return };
        if level <= weakest.stands_at() {
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
