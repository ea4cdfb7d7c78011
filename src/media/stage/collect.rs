//! Digit collection: digits and time in, the result out.
//!
//! | state | a key is pressed | its digit, when it is released | the prompt ends | timeout |
//! |---|---|---|---|---|
//! | `Prompt` | with barge-in: prompt ends, as in `First` | it waits | `First`, taking waiting digits | |
//! | `First` | `Held` | taken: end, or `Between` | | `NoInput` |
//! | `Between` | `Held` | taken: end, or `Between` | | `BetweenDigits`, `TotalTime` |
//! | `Held` | | taken: end, or `Between` | | as in `First` or `Between` |
//!
//! No I/O; times are ns since the caller's epoch.

use std::time::Duration;

/// Maximum digits kept while none are collected.
const KEPT: usize = 15;

/// Parameters of a collection.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DigitPlan {
    /// Maximum number of digits.
    pub max: usize,
    /// Digits that end the collection and are not part of it.
    pub terminators: String,
    /// Maximum wait for the first digit, from the prompt's end.
    pub first: Duration,
    /// Maximum wait between two digits.
    pub between: Duration,
    /// Maximum time for all digits, from the prompt's end.
    pub total: Duration,
    /// The first digit ends the prompt; otherwise digits wait until the prompt ends.
    pub barge_in: bool,
    /// Whether digits pressed before the collection count; those pressed during the prompt always do.
    pub type_ahead: bool,
    /// Whether the digits are confidential: they appear in no event, account or trace, and no stream has them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

impl DigitPlan {
    /// Up to `max` digits, ended by `#`; 5 s for the first, 3 s between two, 30 s in all.
    pub fn new(max: usize) -> Self {
        DigitPlan {
            max,
            terminators: "#".to_owned(),
            first: Duration::from_secs(5),
            between: Duration::from_secs(3),
            total: Duration::from_secs(30),
            barge_in: true,
            type_ahead: false,
            secret: false,
        }
    }
}

/// Why a collection ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectEnd {
    /// The maximum number of digits was reached.
    Full,
    Terminator(char),
    /// No digit was pressed in time.
    #[default]
    NoInput,
    /// No further digit was pressed in time.
    BetweenDigits,
    /// The total time ran out.
    TotalTime,
    /// Another collection replaced it, it was stopped, or the party has gone.
    Stopped,
}

/// The result of a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Collected {
    /// The digits as pressed, without the terminator.
    pub digits: String,
    pub end: CollectEnd,
}

/// Digits not collected yet, oldest first; those beyond the limit are dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Typed {
    digits: [u8; KEPT],
    count: u8,
}

impl Typed {
    /// Adds a digit.
    pub fn push(&mut self, digit: char) {
        if let (Some(place), Ok(digit)) = (self.digits.get_mut(usize::from(self.count)), u8::try_from(digit))
        {
            *place = digit;
            self.count += 1;
        }
    }

    /// Removes and returns the oldest digit.
    pub fn pop(&mut self) -> Option<char> {
        let first = *self.digits[..usize::from(self.count)].first()?;
        self.digits.copy_within(1.., 0);
        self.count -= 1;
        Some(char::from(first))
    }

    /// Removes all digits.
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Prompt,
    First,
    Between,
    /// A key is held: its digit comes when it is released.
    Held,
}

/// One collection; see the module documentation.
#[derive(Debug)]
pub struct Collector {
    plan: DigitPlan,
    state: State,
    digits: String,
    waiting: Typed,
    /// When the prompt ended, and when the last key was pressed or released.
    since: u64,
    last: u64,
}

impl Collector {
    /// A collection that begins at `at`; with a `prompt` its time runs from the prompt's end.
    pub fn new(mut plan: DigitPlan, prompt: bool, at: u64) -> Self {
        plan.max = plan.max.max(1);
        let state = if prompt { State::Prompt } else { State::First };
        let digits = String::with_capacity(plan.max.min(256));
        Collector { plan, state, digits, waiting: Typed::default(), since: at, last: at }
    }

    /// Whether the digits are confidential.
    pub fn is_secret(&self) -> bool {
        self.plan.secret
    }

    /// Whether a digit ends the prompt.
    pub fn barges_in(&self) -> bool {
        self.plan.barge_in
    }

    /// A key was pressed, and its digit follows: meanwhile the caller is not late.
    pub fn key_down(&mut self, at: u64) {
        if !matches!(self.state, State::Prompt | State::Held) {
            (self.state, self.last) = (State::Held, at);
        }
    }

    /// Processes a digit; returns how it ends the collection, if it does. The caller must first end
    /// the prompt if a digit does that.
    pub fn digit(&mut self, at: u64, digit: char) -> Option<CollectEnd> {
        match self.state {
            State::Prompt => {
                self.waiting.push(digit);
                None
            }
            State::First | State::Between | State::Held => self.take(at, digit),
        }
    }

    fn take(&mut self, at: u64, digit: char) -> Option<CollectEnd> {
        if self.plan.terminators.contains(digit) {
            return Some(CollectEnd::Terminator(digit));
        }
        self.digits.push(digit);
        self.last = at;
        self.state = State::Between;
        (self.digits.len() >= self.plan.max).then_some(CollectEnd::Full)
    }

    /// Records that the prompt has ended, which starts the timers.
    pub fn prompt_over(&mut self, at: u64) -> Option<CollectEnd> {
        if self.state != State::Prompt {
            return None;
        }
        self.state = State::First;
        (self.since, self.last) = (at, at);
        while let Some(digit) = self.waiting.pop() {
            if let Some(end) = self.take(at, digit) {
                return Some(end);
            }
        }
        None
    }

    /// When the next timer expires; 0 if none runs.
    pub fn due(&self) -> u64 {
        match self.state {
            State::Prompt => 0,
            _ => self.patience().min(after(self.since, self.plan.total)),
        }
    }

    /// When the wait for the next digit is over.
    fn patience(&self) -> u64 {
        let DigitPlan { first, between, .. } = self.plan;
        let wait = match self.state {
            State::Prompt | State::First => first,
            State::Between => between,
            State::Held => first.max(between),
        };
        after(self.last, wait)
    }

    /// Checks the timers.
    pub fn time(&self, at: u64) -> Option<CollectEnd> {
        let due = self.due();
        if due == 0 || at < due {
            return None;
        }
        Some(match self.digits.is_empty() {
            true => CollectEnd::NoInput,
            false if due < self.patience() => CollectEnd::TotalTime,
            false => CollectEnd::BetweenDigits,
        })
    }

    /// The result; `rest` receives digits that were not taken.
    pub fn finish(mut self, end: CollectEnd, rest: &mut Typed) -> Collected {
        while let Some(digit) = self.waiting.pop() {
            rest.push(digit);
        }
        Collected { digits: self.digits, end }
    }
}

fn after(since: u64, time: Duration) -> u64 {
    since.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).max(1)
}

#[cfg(test)]
mod tests;
