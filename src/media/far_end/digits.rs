//! Digits of a far end: by events (RFC 4733), by tones detected elsewhere, and by INFO; counted, and limited
//! in rate.
//!
//! A far end may send one key both in its media and by INFO. Each of them is then recorded for 2 s, and the
//! first one of the other kind for the same key is the same press: it does not count. So each cancels one.
//!
//! Packets of an event that does not count, or that began before the endpoint was joined, are not forwarded.

use std::time::Instant;

use super::digit_gate::DigitGate;
use crate::rtp::telephone_event::{self, Digit, EventReceiver, EventSnapshot, EventUpdate};

/// How long after one another, ms, a key in media and an INFO are the same press.
const SAME_MS: u32 = 2_000;
/// Keys that are remembered for that time.
const KEYS: usize = 8;

/// How a key was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Media,
    Info,
}

/// A key that awaits the same one by the other way. Few octets: every endpoint has several.
#[derive(Debug, Clone, Copy)]
struct Key {
    digit: u8,
    by: By,
    /// ms since the epoch; wraps.
    at: u32,
}

/// Keys that await the same one by the other way, oldest first.
#[derive(Debug, Default)]
struct Unmatched([Option<Key>; KEYS]);

impl Unmatched {
    /// Whether this is a key that has come by the other way; if not, it is remembered itself.
    fn has_come(&mut self, key: Key) -> bool {
        let is_new = |known: &Key| key.at.wrapping_sub(known.at) <= SAME_MS;
        self.0.iter_mut().for_each(|known| *known = known.filter(is_new));
        let same = |known: &Option<Key>| known.is_some_and(|it| it.digit == key.digit && it.by != key.by);
        let found = self.0.iter().position(same);
        let place = found.or_else(|| self.0.iter().position(Option::is_none)).unwrap_or(0);
        self.0[place] = None;
        self.0[place..].rotate_left(1);
        if found.is_none() {
            let last = self.0.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            self.0[last.min(KEYS - 1)] = Some(key);
        }
        found.is_some()
    }

    /// The last key of this digit in media is still pressed, or was until now.
    fn lasts(&mut self, digit: u8, at: u32) {
        let its = |key: &&mut Key| key.digit == digit && key.by == By::Media;
        if let Some(key) = self.0.iter_mut().flatten().rfind(its) {
            key.at = at;
        }
    }
}

/// The digits of one far end.
#[derive(Debug)]
pub struct Digits {
    events: EventReceiver,
    gate: DigitGate,
    unmatched: Unmatched,
    epoch: Instant,
    /// Number of the press whose packets are not forwarded.
    kept_back: Option<u32>,
    /// Digits let through.
    pub count: u32,
}

impl Digits {
    /// No digits yet. `epoch` is any time before the first digit.
    pub fn new(epoch: Instant) -> Self {
        Digits {
            events: EventReceiver::default(),
            gate: DigitGate::new(epoch),
            unmatched: Unmatched::default(),
            epoch,
            kept_back: None,
            count: 0,
        }
    }

    fn ms(&self, at: Instant) -> u32 {
        at.saturating_duration_since(self.epoch).as_millis() as u32
    }

    fn has_come(&mut self, digit: char, by: By, now: Instant) -> bool {
        let at = self.ms(now);
        self.unmatched.has_come(Key { digit: digit as u8, by, at })
    }

    /// Processes an event packet.
    pub fn packet(&mut self, update: &EventUpdate, arrival: Instant) -> Option<Digit> {
        let before = self.events.last();
        let mut digit = self.events.packet(update, arrival);
        let press = self.events.last();
        if press != before
            && let Some(key) = telephone_event::digit(update.code)
            && self.has_come(key, By::Media, arrival)
        {
            self.kept_back = press;
            digit = if self.events.cancel() { None } else { digit };
        }
        self.admit(digit, arrival)
    }

    /// Ends an event whose packets have stopped.
    pub fn expire(&mut self, now: Instant) -> Option<Digit> {
        let digit = self.events.expire(now);
        self.admit(digit, now)
    }

    /// Starts another stream, whose clock says nothing about earlier events. Returns the digit of a
    /// key that was pressed.
    pub fn new_source(&mut self, now: Instant) -> Option<Digit> {
        self.kept_back = None;
        let digit = self.events.new_source();
        self.admit(digit, now)
    }

    /// Lets a tone through that is not the same press as an INFO.
    pub fn tone(&mut self, digit: Digit, now: Instant) -> Option<Digit> {
        let come = self.has_come(digit.digit, By::Media, now);
        self.admit(Some(digit).filter(|_| !come), now)
    }

    /// Whether a digit by INFO counts: it is not the same press as an event or a tone.
    pub fn info(&mut self, digit: char, now: Instant) -> bool {
        if let Some(pressed) = self.events.pressed() {
            self.unmatched.lasts(pressed as u8, self.ms(now));
        }
        !self.has_come(digit, By::Info, now)
    }

    /// Lets a digit through, unless it is part of a flood.
    fn admit(&mut self, digit: Option<Digit>, now: Instant) -> Option<Digit> {
        let digit = digit.filter(|_| self.gate.admit(now))?;
        self.unmatched.lasts(digit.digit as u8, self.ms(now));
        self.count += 1;
        Some(digit)
    }

    /// Forwards nothing more of a press that has begun.
    pub fn keep_back(&mut self, now: Instant) {
        self.kept_back = self.events.last().filter(|_| self.events.is_under_way(now));
    }

    /// Whether packets of the last press are not forwarded.
    pub fn keeps_back_last(&self) -> bool {
        self.kept_back.is_some() && self.kept_back == self.events.last()
    }

    /// The state of the current event, for a snapshot.
    pub fn snapshot(&self, now: Instant) -> EventSnapshot {
        EventSnapshot::new(&self.events, now)
    }

    /// Restores the event state and the number of digits.
    pub fn restore(&mut self, events: EventReceiver, count: u32) {
        (self.events, self.count) = (events, count);
    }

    /// Whether a key is pressed.
    pub fn is_pressed(&self) -> bool {
        self.events.is_pressed()
    }

    /// Whether it has ever sent a digit as an event.
    pub fn has_heard(&self) -> bool {
        self.events.has_heard()
    }

    /// Digits faster than can be pressed.
    pub fn refused(&self) -> u64 {
        self.gate.refused.into()
    }
}
