//! Detects the mark in samples.
//!
//! The sync word shows where code words begin, in steps of 2.5 ms. A word that begins there is
//! compared with those of the followed mark, and decoded only if it matches none of them. If the
//! sync word is damaged, the word is searched for where it is due.

use super::gaps::{Found, Gaps};
use super::history::{History, LAST, THERE, WORD};
use super::tones::{BASE_HZ, Bank, STEP, STEPS, Step};
use super::word::{self, SYMBOLS, Word};
use super::{Heard, Mark, MarkEvent, WORDS, factor};

/// Minimum of a detected sync word, of 4,080. Noise gives 510 ± 110.
const SYNC_FOUND: u32 = 1_500;
/// A sync word is best at a step if none of this many steps before and after is better.
const AROUND: usize = 4;
/// Minimum distance of two words, steps.
const APART: i64 = 16;
/// Matching symbols, of 24, that identify a word of the followed mark. Words of two marks share 8 at most.
const MATCHING: usize = 12;
/// The same for a word where it is due.
const MATCHING_DUE: usize = 6;
/// A due word is searched for this many steps around its position,
const DUE_AROUND: i64 = 16;
/// and this many steps after its end: until then its sync word may be found at another position.
const DUE_AFTER: i64 = 72;
/// Consecutive missing words after which none is due any more.
const MISSED: u8 = 3;
/// Confidence, of 255, below which a symbol counts as unknown.
const DOUBTFUL: u8 = 90;
/// Maximum distance, steps, of two consecutive words.
const IN_A_ROW: i64 = 2 * WORD + DUE_AFTER;
/// A jump of the clock by at least this much means missing audio.
const LEAST_JUMP_MS: i64 = 40;
/// Maximum silence inserted for a jump of the clock, s.
const LONGEST_JUMP_S: u64 = 30;

/// The followed mark, and its words.
#[derive(Debug)]
struct Followed {
    mark: Mark,
    words: Box<[Word; WORDS as usize]>,
}

/// The last word found; the next one is due one word later.
#[derive(Debug, Clone, Copy)]
struct Lock {
    start: i64,
    number: u8,
    missed: u8,
}

/// The listener on one leg, for frames of any length. About 25 KB; it does not allocate per frame,
/// except for `events`.
#[derive(Debug)]
pub struct MarkReader {
    expected: Option<Mark>,
    rate_hz: u32,
    factor: usize,
    bank: Bank,
    history: History,
    /// The clock at the first sample; `None` before it.
    start: Option<u64>,
    /// Samples since the first one.
    taken: u64,
    /// The sync word's shares at the last steps.
    syncs: [u32; 2 * AROUND + 1],
    followed: Option<Followed>,
    /// A mark detected in a single word, and its position.
    unconfirmed: Option<(Mark, i64)>,
    lock: Option<Lock>,
    gaps: Gaps,
}

impl MarkReader {
    /// A listener for `expected`, or for any mark, at 8,000, 16,000, 24,000, 32,000, 40,000 or 48,000 Hz.
    pub fn new(expected: Option<Mark>, rate_hz: u32) -> Self {
        let factor = factor(rate_hz);
        let mut reader = MarkReader {
            expected,
            rate_hz: BASE_HZ * factor as u32,
            factor,
            bank: Bank::new(factor),
            history: History::new(),
            start: None,
            taken: 0,
            syncs: [0; 2 * AROUND + 1],
            followed: None,
            unconfirmed: None,
            lock: None,
            gaps: Gaps::new(),
        };
        if let Some(mark) = expected {
            reader.follow(mark);
        }
        reader
    }

    /// Changes the expected mark, for example after a transfer.
    pub fn expect(&mut self, expected: Option<Mark>) {
        self.expected = expected;
    }

    /// Processes the next samples, one channel, of which the first was heard at `at` on the
    /// reader's clock, in samples. Events are appended to `events`. If the clock is 40 ms or more
    /// ahead, there was silence; less is clock jitter, and the audio is continuous.
    pub fn push(&mut self, at: u64, samples: &[i16], events: &mut Vec<MarkEvent>) {
        let start = *self.start.get_or_insert(at);
        let due = start.wrapping_add(self.taken);
        let ahead = at.wrapping_sub(due) as i64;
        if ahead >= i64::from(self.rate_hz) / 1_000 * LEAST_JUMP_MS {
            let mut left = ahead.unsigned_abs().min(LONGEST_JUMP_S * u64::from(self.rate_hz));
            while left > 0 {
                let silence = [0; STEP];
                let count = left.min(STEP as u64);
                self.take(&silence[..count as usize], events);
                left -= count;
            }
        }
        self.start = Some(at.wrapping_sub(self.taken));
        self.take(samples, events);
    }

    /// Ends the stream, and reports a gap that lasts until now.
    pub fn finish(&mut self, events: &mut Vec<MarkEvent>) {
        let clock = Clock::of(self);
        let due = self.due();
        self.gaps.finish(due, &self.history, &clock, events);
    }

    fn take(&mut self, mut samples: &[i16], events: &mut Vec<MarkEvent>) {
        self.taken += samples.len() as u64;
        while let Some(step) = self.bank.take(&mut samples) {
            self.step(&step, events);
        }
    }

    fn step(&mut self, step: &Step, events: &mut Vec<MarkEvent>) {
        self.history.push(step);
        let start = self.history.newest() - LAST;
        self.syncs.rotate_left(1);
        self.syncs[2 * AROUND] = self.history.sync(start);
        let (before, after) = (&self.syncs[..AROUND], &self.syncs[AROUND + 1..]);
        let middle = self.syncs[AROUND];
        if middle >= SYNC_FOUND
            && before.iter().all(|&other| middle > other)
            && after.iter().all(|&other| middle >= other)
        {
            self.candidate(start - AROUND as i64, events);
        }
        if self.lock.is_some_and(|lock| start >= lock.start + WORD + DUE_AFTER) {
            self.look_where_due(events);
        }
        self.gaps.step(&self.history, &Clock::of(self), events);
    }

    /// Examines a word whose sync word was detected at `start`.
    fn candidate(&mut self, start: i64, events: &mut Vec<MarkEvent>) {
        if self.lock.is_some_and(|lock| (start - lock.start).abs() < APART) {
            return;
        }
        let (symbols, sure) = self.history.symbols(start);
        if let Some(followed) = &self.followed {
            let matching =
                |word: &Word| word::places().filter(|&place| word[place] == symbols[place]).count();
            let best = followed.words.iter().zip(0..).map(|(word, number)| (matching(word), number)).max();
            if let Some((_, number)) = best.filter(|(matching, _)| *matching >= MATCHING) {
                return self.found(start, followed.mark, number, events);
            }
        }
        if let Some((mark, number)) = word::decode(&symbols, &sure, DOUBTFUL) {
            self.found(start, mark, number, events);
        }
    }

    /// The next due word, and its position.
    fn due(&self) -> Option<Found> {
        let (lock, followed) = (self.lock?, self.followed.as_ref()?);
        let number = (lock.number + 1) % WORDS;
        Some(Found { start: lock.start + WORD, word: followed.words[usize::from(number)] })
    }

    /// Searches for the due word, as its sync word was not detected.
    fn look_where_due(&mut self, events: &mut Vec<MarkEvent>) {
        let (Some(due), Some(lock), Some(followed)) = (self.due(), self.lock, &self.followed) else {
            self.lock = None;
            return;
        };
        let number = (lock.number + 1) % WORDS;
        let there = |start: i64| {
            let share = |place: usize| self.history.share(start + (place * STEPS) as i64, due.word[place]);
            let shares = || word::places().map(share).filter(|&share| share >= THERE);
            (shares().count(), shares().sum::<u32>())
        };
        let best = (due.start - DUE_AROUND..=due.start + DUE_AROUND).map(|start| (there(start), start)).max();
        if let Some((_, start)) = best.filter(|((count, _), _)| *count >= MATCHING_DUE) {
            return self.found(start, followed.mark, number, events);
        }
        let missed = lock.missed + 1;
        self.lock = (missed < MISSED).then_some(Lock { start: due.start, number, missed });
        self.gaps.missed(due, &self.history, &Clock::of(self), events);
    }

    /// Processes a word of `mark` found at `start`.
    fn found(&mut self, start: i64, mark: Mark, number: u8, events: &mut Vec<MarkEvent>) {
        let word = word::encode(mark, number);
        let before = |back: i64| Found {
            start: start - back * WORD,
            word: word::encode(mark, (number + WORDS - back as u8) % WORDS),
        };
        self.gaps.found(before, &self.history, &Clock::of(self), events);
        let followed = self.followed.as_ref().is_some_and(|followed| followed.mark == mark);
        let again = self.unconfirmed.is_some_and(|(other, at)| other == mark && start - at <= IN_A_ROW);
        if self.expected != Some(mark) && !followed && !again {
            self.unconfirmed = Some((mark, start));
            self.lock = None;
            return;
        }
        self.unconfirmed = None;
        self.follow(mark);
        self.lock = Some(Lock { start, number, missed: 0 });
        // the shift is only approximate far from the right position
        let mut near = start;
        for _ in 0..3 {
            near += self.history.shift(near, &word).round() as i64;
        }
        let exact = near as f64 + self.history.shift(near, &word);
        let there = (0..SYMBOLS)
            .filter(|&place| self.history.share(start + (place * STEPS) as i64, word[place]) >= THERE);
        let clock = Clock::of(self);
        let heard = Heard {
            mark,
            position: u64::from(number) * clock.samples(WORD),
            at: clock.at(exact),
            quality: there.count() as f32 / SYMBOLS as f32,
            rate_hz: self.rate_hz,
        };
        events.push(match self.expected {
            Some(expected) if expected != mark => MarkEvent::Foreign(heard),
            _ => MarkEvent::Heard(heard),
        });
    }

    fn follow(&mut self, mark: Mark) {
        match &mut self.followed {
            Some(followed) if followed.mark == mark => return,
            Some(followed) => followed.mark = mark,
            None => self.followed = Some(Followed { mark, words: Box::new([[0; SYMBOLS]; WORDS as usize]) }),
        }
        if let Some(followed) = &mut self.followed {
            for (word, number) in followed.words.iter_mut().zip(0..) {
                *word = word::encode(mark, number);
            }
        }
    }
}

/// Converts steps to times of the reader's clock.
pub(super) struct Clock {
    start: u64,
    factor: usize,
}

impl Clock {
    fn of(reader: &MarkReader) -> Self {
        Clock { start: reader.start.unwrap_or(0), factor: reader.factor }
    }

    /// The clock at the beginning of a step.
    pub fn at(&self, step: f64) -> u64 {
        let samples = step * (STEP * self.factor) as f64;
        self.start.wrapping_add_signed(samples.round() as i64)
    }

    /// The samples of this many steps.
    pub fn samples(&self, steps: i64) -> u64 {
        steps.max(0) as u64 * (STEP * self.factor) as u64
    }
}
