//! Sound and silence in the received audio of a leg, and its echo: passed between the media thread and the
//! generator through atomics.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI16, AtomicU32};
use std::time::{Duration, Instant};

/// Minimum mean square of a frame with sound: −45 dBFS.
const AUDIBLE: u64 = 33_900;
/// Minimum mean square of a frame that is a loud click: −20 dBFS.
const LOUD: u64 = 10_737_418;
/// Samples of a piece of sound whose length counts, 5 ms: a frame that is lost falls into two of these frames.
const PIECE: usize = 40;
const PIECE_MS: u32 = 5;
const FRAME_MS: u32 = 20;
/// Frames that are judged together, 200 ms.
const WINDOW: u32 = 10;
/// Frames of these with sound that are more than a click.
const SOUND: u32 = 5;
/// Samples of an echo on their way, a quarter of a second.
const KEPT: u32 = 2_048;

/// When sound was heard.
#[derive(Debug)]
pub struct Loudness {
    began: Instant,
    /// Since when it is of interest, ms.
    since: AtomicU32,
    /// When there was sound last, ms.
    last: AtomicU32,
    /// When there was a loud frame last, ms.
    loud: AtomicU32,
    /// Pieces with sound since it is of interest.
    pieces: AtomicU32,
    /// When its party had said what it plays, ms, and when the first sound after that began; 0: not yet.
    said: AtomicU32,
    answered: AtomicU32,
}

impl Default for Loudness {
    fn default() -> Self {
        let [since, last, loud, pieces, said, answered] = std::array::from_fn(|_| AtomicU32::new(0));
        Loudness { began: Instant::now(), since, last, loud, pieces, said, answered }
    }
}

impl Loudness {
    /// The time, ms, from 1 on: 0 is never.
    pub fn now(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Sound is of interest from now on.
    pub fn listen(&self, now: u32) {
        self.since.store(now, Relaxed);
        self.pieces.store(0, Relaxed);
    }

    /// Whether there was sound since then.
    pub fn has_sound(&self) -> bool {
        self.last.load(Relaxed) >= self.since.load(Relaxed).max(1)
    }

    /// Whether there was a loud click since then, however short.
    pub fn has_click(&self) -> bool {
        self.loud.load(Relaxed) >= self.since.load(Relaxed).max(1)
    }

    /// How long there was sound since then, without pauses, ms.
    pub fn sounded_ms(&self) -> u32 {
        self.pieces.load(Relaxed).saturating_mul(PIECE_MS)
    }

    /// Its party has said what it plays.
    pub fn has_said(&self, now: u32) {
        self.answered.store(0, Relaxed);
        self.said.store(now, Relaxed);
    }

    /// How long after the end of what was said the first sound began, once for each answer; `None` if there was none, or if
    /// there was sound already.
    pub fn takes_response(&self) -> Option<Duration> {
        let (said, answered) = (self.said.load(Relaxed), self.answered.load(Relaxed));
        (said > 0 && answered > 0).then(|| self.said.store(0, Relaxed))?;
        Some(Duration::from_millis(answered.checked_sub(said)?.into()))
    }

    /// How long it has been silent since then. Without packets it is silent, too.
    pub fn silence(&self, now: u32) -> Duration {
        let from = self.last.load(Relaxed).max(self.since.load(Relaxed));
        Duration::from_millis(now.saturating_sub(from).into())
    }
}

/// The media thread's measurement.
#[derive(Debug, Default)]
pub struct Meter {
    /// The last frames, the latest in the lowest bit: whether each had sound.
    frames: u32,
}

impl Meter {
    /// Forgets what it has measured.
    pub fn reset(&mut self) {
        self.frames = 0;
    }

    /// Measures a frame of 20 ms.
    pub fn frame(&mut self, samples: &[i16], now: u32, loudness: &Loudness) {
        let energy_of =
            |samples: &[i16]| samples.iter().map(|it| u64::from(it.unsigned_abs()).pow(2)).sum::<u64>();
        let is_audible = |samples: &[i16]| energy_of(samples) > AUDIBLE * samples.len() as u64;
        let (energy, has_sound) = (energy_of(samples), is_audible(samples));
        self.frames = (self.frames << 1 | u32::from(has_sound)) & ((1 << WINDOW) - 1);
        if energy > LOUD * samples.len() as u64 {
            loudness.loud.store(now, Relaxed);
        }
        let pieces = samples.chunks(PIECE).filter(|piece| is_audible(piece)).count() as u32;
        loudness.pieces.fetch_add(pieces, Relaxed);
        if has_sound && self.frames.count_ones() >= SOUND {
            loudness.last.store(now, Relaxed);
            if loudness.answered.load(Relaxed) == 0 {
                let ago = FRAME_MS * (u32::BITS - 1 - self.frames.leading_zeros());
                loudness.answered.store(now.saturating_sub(ago).max(1), Relaxed);
            }
        }
    }
}

/// Audio on its way back to where it came from.
#[derive(Debug)]
pub struct Echo {
    samples: Box<[AtomicI16]>,
    /// Samples written so far.
    written: AtomicU32,
}

impl Default for Echo {
    fn default() -> Self {
        let samples = (0..KEPT).map(|_| AtomicI16::new(0)).collect();
        Echo { samples, written: AtomicU32::new(0) }
    }
}

impl Echo {
    /// Takes what was heard.
    pub fn write(&self, samples: &[i16]) {
        let mut at = self.written.load(Relaxed);
        for sample in samples {
            if let Some(slot) = self.samples.get((at % KEPT) as usize) {
                slot.store(*sample, Relaxed);
            }
            at = at.wrapping_add(1);
        }
        self.written.store(at, Relaxed);
    }

    /// Fills a frame with what follows `read`; `false`: there is not enough. What is late is skipped.
    pub fn read(&self, read: &mut u32, frame: &mut [i16]) -> bool {
        let (written, length) = (self.written.load(Relaxed), frame.len() as u32);
        if written.wrapping_sub(*read) > 3 * length {
            *read = written.wrapping_sub(length);
        }
        if written.wrapping_sub(*read) < length {
            return false;
        }
        for sample in frame {
            *sample = self.samples.get((*read % KEPT) as usize).map_or(0, |slot| slot.load(Relaxed));
            *read = read.wrapping_add(1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_is_no_sound_and_a_tenth_of_a_second_is() {
        let (loudness, mut meter) = (Loudness::default(), Meter::default());
        (0..4).for_each(|_| meter.frame(&[1_000; 160], 10, &loudness));
        (0..9).for_each(|_| meter.frame(&[100; 160], 10, &loudness));
        assert!(!loudness.has_sound() && !loudness.has_click());
        (0..5).for_each(|_| meter.frame(&[1_000; 160], 10, &loudness));
        assert!(loudness.has_sound());
        loudness.listen(20);
        assert!(!loudness.has_sound() && loudness.silence(25) == Duration::from_millis(5));
        assert_eq!(loudness.silence(60), Duration::from_millis(40), "without frames it is silent");
    }

    #[test]
    fn speech_is_as_long_as_its_sound_and_a_loud_click_is_heard() {
        let (loudness, mut meter) = (Loudness::default(), Meter::default());
        loudness.listen(20);
        let mut half = [1_000; 160];
        half[80..].fill(0);
        for frame in [[0; 160], [1_000; 160], half, half] {
            meter.frame(&frame, 25, &loudness);
        }
        assert_eq!((loudness.sounded_ms(), loudness.has_click()), (40, false));
        let mut click = [0; 160];
        click[..40].fill(20_000);
        meter.frame(&click, 30, &loudness);
        assert!(loudness.has_click() && !loudness.has_sound());
        loudness.listen(40);
        assert_eq!((loudness.sounded_ms(), loudness.has_click()), (0, false));
    }

    #[test]
    fn a_response_is_timed_from_the_end_of_what_was_said_to_the_first_sound() {
        let (loudness, mut meter) = (Loudness::default(), Meter::default());
        let mut at = 0;
        let mut frames = |loudness: &Loudness, count: u32, level: i16| {
            for _ in 0..count {
                at += FRAME_MS;
                meter.frame(&[level; 160], at, loudness);
            }
            at
        };
        let now = frames(&loudness, 50, 0);
        loudness.has_said(now);
        assert_eq!(loudness.takes_response(), None);
        frames(&loudness, 30, 0);
        frames(&loudness, 4, 1_000);
        assert_eq!(loudness.takes_response(), None, "a click");
        frames(&loudness, 6, 1_000);
        assert_eq!(loudness.takes_response(), Some(Duration::from_millis(620)));
        let now = frames(&loudness, 20, 1_000);
        assert_eq!(loudness.takes_response(), None, "once");
        loudness.has_said(now);
        frames(&loudness, 20, 1_000);
        assert_eq!(loudness.takes_response(), None, "it was speaking already");
    }

    #[test]
    fn an_echo_is_what_was_heard_and_nothing_that_is_late() {
        let (echo, mut at, mut frame) = (Echo::default(), 0, [0; 4]);
        assert!(!echo.read(&mut at, &mut frame));
        echo.write(&[1, 2, 3, 4, 5, 6]);
        assert!(echo.read(&mut at, &mut frame) && frame == [1, 2, 3, 4]);
        assert!(!echo.read(&mut at, &mut frame));
        (0..20).for_each(|n| echo.write(&[n; 160]));
        assert!(echo.read(&mut at, &mut frame) && frame == [19; 4]);
    }
}
