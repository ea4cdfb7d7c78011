//! Detects gaps, where the mark was missing although expected.
//!
//! A word is judged when the next one was found or missed: how much of each symbol was silent, and
//! how much of it was not its tones. Consecutive losses are one gap.

use super::history::{History, THERE, WORD};
use super::reader::Clock;
use super::tones::STEPS;
use super::word::{SYMBOLS, Word};
use super::{Gap, MarkEvent};

/// Minimum length of a reported gap, steps: 25 ms. A concealed frame of 20 ms is not reported.
/// Concealment continues the previous symbol, and nothing is missing until that symbol's end: of
/// 40 ms, only 20 may be detected.
const TOLD: f64 = 10.0;
/// A continuing gap is reported after this many steps, 1.5 s, within which the first word is found
/// even if the stream begins in the middle of one,
const LASTS: i64 = 600;
/// and then every second.
const AGAIN: i64 = 400;
/// Missing steps that make a symbol part of a gap.
const MISSING: f64 = 2.0;
/// Maximum offset of a symbol from the others of its word, 25 ms: a jitter buffer skipped or
/// repeated something.
const ASIDE: i64 = 10;
/// Maximum jump of a part of a word, in steps, 160 ms,
const JUMP: i64 = 64;
/// if it has this many symbols, or the next word has jumped as well.
const JUMPED: usize = 4;
/// Power ratio by which silence is below the surrounding audio: 15 dB.
const QUIETER: f32 = 32.0;
/// Mean square of silence if there is no reference: −48 dBov.
const SILENCE: f32 = 17_000.0;
/// How far back silence is examined where no word was found, steps.
const LOOKED_AT: i64 = 150;
/// Number of words before the first one that are searched for, as far as the history reaches.
const BEFORE: i64 = 2;

/// A word, and the step at which it begins.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub start: i64,
    pub word: Word,
}

/// A gap in progress, in steps.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    /// It began with the stream, before the first symbol, where nothing need be missing.
    leads: bool,
    from: f64,
    missing: f64,
    silent: f64,
}

/// The state of the gap detection.
#[derive(Debug)]
pub struct Gaps {
    /// Everything before this step was judged.
    judged: i64,
    /// A word that is not judged yet.
    waiting: Option<Found>,
    run: Option<Run>,
    /// A symbol of a word was detected.
    begun: bool,
    /// The last word was missing, or there was none yet.
    lost: bool,
    /// How often this continuing gap was reported.
    told: i64,
    /// Mean square of the steps of words that were detected.
    loudness: f32,
}

impl Gaps {
    /// The initial state.
    pub fn new() -> Self {
        Gaps {
            judged: 0,
            waiting: None,
            run: None,
            begun: false,
            lost: true,
            told: 0,
            loudness: SILENCE * QUIETER,
        }
    }

    /// Processes a word that was found: `before(0)`. `before(n)` is the word expected `n` words earlier.
    pub fn found(
        &mut self,
        before: impl Fn(i64) -> Found,
        history: &History,
        clock: &Clock,
        events: &mut Vec<MarkEvent>,
    ) {
        let found = before(0);
        self.judge(Some(found), history, clock, events);
        // a small gap before a word that follows others is a jump, which is judged with it
        let least = if self.lost { 0 } else { JUMP };
        for back in (1..=BEFORE).rev() {
            if self.judged < found.start - (back - 1) * WORD - least {
                self.waiting = Some(before(back));
                self.judge(Some(before(back - 1)), history, clock, events);
            }
        }
        self.waiting = Some(found);
        self.lost = false;
    }

    /// Processes a word that was not found where it was due.
    pub fn missed(&mut self, due: Found, history: &History, clock: &Clock, events: &mut Vec<MarkEvent>) {
        self.judge(None, history, clock, events);
        self.waiting = Some(due);
        self.judge(None, history, clock, events);
        self.lost = true;
    }

    /// Reports a continuing gap; called after each step.
    pub fn step(&mut self, history: &History, clock: &Clock, events: &mut Vec<MarkEvent>) {
        if !self.lost {
            return;
        }
        let from = self.run.map_or(self.judged as f64, |run| run.from);
        let lasts = history.steps() - from as i64;
        if lasts >= LASTS + AGAIN * self.told {
            self.told += 1;
            let silent = self.silent(history.steps() - LOOKED_AT, history.steps(), history);
            events.push(told(from, lasts as f64, silent > LOOKED_AT / 2, clock));
        }
    }

    /// Judges the waiting word, as far as it was received. `next` is the word after it.
    fn judge(&mut self, next: Option<Found>, history: &History, clock: &Clock, events: &mut Vec<MarkEvent>) {
        let Some(Found { start, word }) = self.waiting.take() else { return };
        let place = |symbol: usize| start + (symbol * STEPS) as i64;
        let share = |symbol: usize, shift: i64| {
            let around = (-ASIDE..=ASIDE).step_by(2).map(|aside| place(symbol) + shift + aside);
            let known = around.filter(|&window| window <= history.newest());
            known.map(|window| history.share(window, word[symbol])).max().unwrap_or(0)
        };
        let mut shares: [u32; SYMBOLS] = std::array::from_fn(|symbol| share(symbol, 0));
        // the shift shown by the next word, or by this one against the previous one
        let jumped = match next.map_or(0, |next| next.start - start - WORD) {
            0 => self.judged - start,
            jumped => jumped,
        };
        let (shift, moved) = jump(&mut shares, jumped, share);
        // if the first symbols are early, the audio after them jumped ahead
        let early = if shift < 0 && moved & 1 == 1 { moved.trailing_ones() as usize } else { SYMBOLS };
        let late = if shift > 0 { moved.trailing_zeros() as usize } else { SYMBOLS };
        self.between(if early < SYMBOLS { start + shift } else { start }, history);
        self.measure(&shares, place, history);
        for (symbol, &share) in shares.iter().enumerate() {
            if place(symbol) < self.judged - STEPS as i64 / 2 || place(symbol) > history.newest() {
                continue;
            }
            let aside = if moved >> symbol & 1 == 1 { shift } else { 0 };
            let (mut missing, mut silent) = self.missing(place(symbol) + aside, share, history);
            if symbol == early || symbol == late {
                // the gap or overlap before it
                let from = place(symbol) + shift.min(0);
                missing += shift.abs() as f64;
                silent += self.silent(from, from + shift.abs(), history) as f64;
            }
            if missing < MISSING {
                self.begun = true;
                self.close(clock, events);
                continue;
            }
            let from = (place(symbol) + STEPS as i64) as f64 - missing.min(STEPS as f64);
            let run = self.run.get_or_insert(Run { leads: !self.begun, from, ..Run::default() });
            run.missing += missing;
            run.silent += silent;
        }
        self.judged = (start + WORD + shift.max(0)).min(history.steps());
    }

    /// Ends the stream, in the word that is `due`. Without one, everything after the last word is missing.
    pub fn finish(
        &mut self,
        due: Option<Found>,
        history: &History,
        clock: &Clock,
        events: &mut Vec<MarkEvent>,
    ) {
        self.judge(due, history, clock, events);
        self.waiting = due;
        self.judge(None, history, clock, events);
        self.between(history.steps(), history);
        self.close(clock, events);
        self.judged = history.steps();
    }

    /// The number of steps of a symbol that are missing, and that were silent.
    fn missing(&self, place: i64, share: u32, history: &History) -> (f64, f64) {
        let power = |n: i64| history.power(place + n);
        let steps = STEPS as i64;
        let mean = (0..steps).map(power).sum::<f32>() / STEPS as f32;
        if share < THERE && mean < self.loudness / QUIETER {
            return (STEPS as f64, STEPS as f64);
        }
        // relative to the symbol itself: the level may change from one symbol to the next
        let loudest = (0..steps).map(power).fold(0.0, f32::max);
        let silent = (0..steps).filter(|&n| power(n) <= loudest / QUIETER).count() as f64;
        let other = if share < THERE { made_up(share) } else { 0.0 };
        (silent.max(other), silent)
    }

    /// Counts the steps between the last word and one that begins at `start` as missing.
    fn between(&mut self, start: i64, history: &History) {
        let missing = start - self.judged;
        if missing < MISSING as i64 {
            return;
        }
        let looked_at = missing.min(LOOKED_AT);
        let silent = self.silent(start - looked_at, start, history) * missing / looked_at;
        let run = Run { leads: !self.begun, from: self.judged as f64, ..Run::default() };
        let run = self.run.get_or_insert(run);
        run.missing += missing as f64;
        run.silent += silent as f64;
        self.judged = start;
    }

    /// The number of silent steps in this range.
    fn silent(&self, from: i64, to: i64, history: &History) -> i64 {
        let silence = SILENCE.max(self.loudness / QUIETER);
        (from..to).filter(|&step| history.power(step) < silence).count() as i64
    }

    /// Measures the level of the symbols that were detected.
    fn measure(&mut self, shares: &[u32], place: impl Fn(usize) -> i64, history: &History) {
        let there = || (0..SYMBOLS).filter(|&symbol| shares[symbol] >= THERE);
        let steps = there().flat_map(|symbol| place(symbol)..place(symbol) + STEPS as i64);
        let count = (there().count() * STEPS) as f32;
        if count > 0.0 {
            self.loudness = steps.map(|step| history.power(step)).sum::<f32>() / count;
        }
    }

    fn close(&mut self, clock: &Clock, events: &mut Vec<MarkEvent>) {
        let run = self.run.take();
        if let Some(run) = run.filter(|run| run.missing >= TOLD && !(run.leads && self.begun)) {
            events.push(told(run.from, run.missing, run.silent > run.missing / 2.0, clock));
        }
        self.told = 0;
    }
}

/// Looks for missing symbols at another offset, the same for all. Returns that offset and a bit
/// mask of those symbols. `jumped` is the offset that other words suggest.
fn jump(shares: &mut [u32], jumped: i64, share: impl Fn(usize, i64) -> u32) -> (i64, u32) {
    let at = |symbol: usize, shift: i64, now: u32| if now < THERE { share(symbol, shift) } else { 0 };
    let there = |shift: i64| {
        let shares = shares.iter().enumerate().map(|(symbol, &now)| at(symbol, shift, now));
        shares.filter(|&share| share >= THERE).count()
    };
    let none = (0, 0);
    let shift = if jumped != 0 && jumped.abs() <= JUMP {
        jumped
    } else if shares.iter().filter(|&&share| share < THERE).count() < JUMPED {
        return none;
    } else {
        let places = (-JUMP..=JUMP).step_by(2 * ASIDE as usize).map(|shift| (there(shift), shift));
        let Some((_, shift)) = places.max().filter(|(count, _)| *count >= JUMPED) else { return none };
        shift
    };
    let mut moved = 0;
    for (symbol, now) in shares.iter_mut().enumerate() {
        let other = at(symbol, shift, *now);
        if other >= THERE {
            *now = other;
            moved |= 1 << symbol;
        }
    }
    if moved == 0 { none } else { (shift, moved) }
}

/// The number of steps of a symbol that were other audio: the energies of two signals that share a
/// window are the squares of their lengths.
fn made_up(share: u32) -> f64 {
    let share = f64::from(share) / 510.0;
    let (own, other) = (share.sqrt(), (1.0 - share).max(0.0).sqrt());
    STEPS as f64 * other / (own + other)
}

fn told(from: f64, length: f64, silent: bool, clock: &Clock) -> MarkEvent {
    let gap = Gap { from: clock.at(from), length: clock.samples(length.round() as i64) };
    if silent { MarkEvent::Silence(gap) } else { MarkEvent::Noise(gap) }
}
