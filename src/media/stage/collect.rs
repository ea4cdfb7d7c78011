//! Digits in, time in; what they come to out.
//!
//! | state | a digit | the prompt is over | too long |
//! |---|---|---|---|
//! | `Prompt` | with barge-in the prompt is over, then as in `First`; else it waits | `First`, and what waits is taken | |
//! | `First` | taken: over, or `Between` | | `NoInput` |
//! | `Between` | taken: over, or `Between` | | `BetweenDigits`, `TotalTime` |
//!
//! No I/O; moments are ns since whatever the caller counts from.

use std::time::Duration;

/// Presses that are kept while nobody takes them.
const KEPT: usize = 15;

/// Which digits are awaited.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DigitPlan {
    /// No more than these.
    pub max: usize,
    /// These end the collection and are not part of it.
    pub terminators: String,
    /// Longest wait for the first digit, from the prompt's end.
    pub first: Duration,
    /// Longest wait between two.
    pub between: Duration,
    /// Longest wait for all, from the prompt's end.
    pub total: Duration,
    /// The first digit ends the prompt; else digits wait until the prompt is over.
    pub barge_in: bool,
    /// Digits that came before the collection began count, the prompt's are never lost.
    pub type_ahead: bool,
    /// What is pressed is nobody else's business: it is in no event, account or trace. Of media nobody
    /// need know.
    #[serde(skip)]
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
    /// As many as were wanted.
    Full,
    Terminator(char),
    /// No digit came.
    #[default]
    NoInput,
    /// No further digit came.
    BetweenDigits,
    /// All of it took too long.
    TotalTime,
    /// Another collection takes its place, it was stopped, or the party has gone.
    Stopped,
}

/// Digits that were collected.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Collected {
    /// As they were pressed, without the terminator.
    pub digits: String,
    pub end: CollectEnd,
}

/// Presses that nobody has taken yet, oldest first; what does not fit is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Typed {
    digits: [u8; KEPT],
    count: u8,
}

impl Typed {
    /// One more.
    pub fn push(&mut self, digit: char) {
        if let (Some(place), Ok(digit)) = (self.digits.get_mut(usize::from(self.count)), u8::try_from(digit))
        {
            *place = digit;
            self.count += 1;
        }
    }

    /// The oldest one, which is no longer here then.
    pub fn pop(&mut self) -> Option<char> {
        let first = *self.digits[..usize::from(self.count)].first()?;
        self.digits.copy_within(1.., 0);
        self.count -= 1;
        Some(char::from(first))
    }

    /// None any more.
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Prompt,
    First,
    Between,
}

/// One collection. See the module's text.
#[derive(Debug)]
pub struct Collector {
    plan: DigitPlan,
    state: State,
    digits: String,
    waiting: Typed,
    /// When the prompt was over, and the last digit came.
    since: u64,
    last: u64,
}

impl Collector {
    /// A collection that begins at `at`; with a `prompt` its time runs from that one's end.
    pub fn new(mut plan: DigitPlan, prompt: bool, at: u64) -> Self {
        plan.max = plan.max.max(1);
        let state = if prompt { State::Prompt } else { State::First };
        let digits = String::with_capacity(plan.max.min(256));
        Collector { plan, state, digits, waiting: Typed::default(), since: at, last: at }
    }

    /// Whether a press ends the prompt.
    pub fn barges_in(&self) -> bool {
        self.plan.barge_in
    }

    /// A digit was pressed; how that ends the collection. Whoever calls it ends the prompt
    /// first if that is what a press does.
    pub fn digit(&mut self, at: u64, digit: char) -> Option<CollectEnd> {
        match self.state {
            State::Prompt => {
                self.waiting.push(digit);
                None
            }
            State::First | State::Between => self.take(at, digit),
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

    /// The prompt is over: time runs.
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

    /// When it has taken too long; 0: time does not run.
    pub fn due(&self) -> u64 {
        let after = |since: u64, time: Duration| {
            since.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).max(1)
        };
        let wait = match self.state {
            State::Prompt => return 0,
            State::First => self.plan.first,
            State::Between => self.plan.between,
        };
        after(self.last, wait).min(after(self.since, self.plan.total))
    }

    /// Time has passed.
    pub fn time(&self, at: u64) -> Option<CollectEnd> {
        let due = self.due();
        if due == 0 || at < due {
            return None;
        }
        let between = self.last.saturating_add(self.plan.between.as_nanos() as u64);
        Some(match self.state {
            State::Between if due < between => CollectEnd::TotalTime,
            State::Between => CollectEnd::BetweenDigits,
            State::First | State::Prompt => CollectEnd::NoInput,
        })
    }

    /// What was collected; `rest` gets what came and was not taken.
    pub fn finish(mut self, end: CollectEnd, rest: &mut Typed) -> Collected {
        while let Some(digit) = self.waiting.pop() {
            rest.push(digit);
        }
        Collected { digits: self.digits, end }
    }
}

#[cfg(test)]
mod tests;
