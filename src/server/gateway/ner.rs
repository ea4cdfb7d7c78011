//! The network effectiveness ratio of a gateway (ITU-T E.425): the share of its last calls that the network
//! delivered, whether the called party answers, is busy, does not answer or refuses. Below a bound, the
//! gateway is out of use for a time; then one call tries it. Pure: time is an argument.
//!
//! One caller, and one called number, account for a quarter of the calls at most: neither a caller who dials
//! dead numbers nor a dead number that many dial takes the gateway from others.
//!
//! | state \\ event | a call got through | one did not | one says nothing | time is over |
//! |---|---|---|---|---|
//! | In | In | In; Out, if the share is below | In | – |
//! | Out | Out | Out | Out | Trying |
//! | Trying, its call | In, nothing counted | Out | Trying, without a call | – |
//! | Trying, another call | Trying | Trying | Trying | – |

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::config::NerRules;

/// The calls of one gateway.
#[derive(Debug)]
pub struct Ner {
    rules: NerRules,
    /// The last `rules.calls` calls, or those that put it out of use.
    results: VecDeque<Decided>,
    /// Undecided calls, by their number.
    open: HashMap<u64, Ends>,
    state: State,
    /// Number of the last call that began, and of the last one that no longer counts.
    last: u64,
    before: u64,
}

/// Caller and called number, as hashes that tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub caller: u64,
    pub called: u64,
}

#[derive(Debug, Clone, Copy)]
struct Decided {
    at: Instant,
    effective: bool,
    ends: Ends,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    In,
    /// Out of use until this time.
    Out(Instant),
    /// Tried by the call of this number; `None`: by the next one.
    Trying(Option<u64>),
}

/// How the gateway's state has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// It is out of use: this many of this many calls got through.
    Out(usize, usize),
    /// The trial call got through.
    In,
}

/// The state, for observers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NerState {
    /// Counted calls that got through.
    pub effective: usize,
    /// Counted calls.
    pub calls: usize,
    /// Whether it is out of use, and whether a call may try it.
    pub out: Option<Out>,
}

/// Out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// No calls go there.
    Resting,
    /// The next call tries it.
    Trying,
}

impl NerState {
    /// The ratio in percent; `None`: no call is counted.
    pub fn percent(&self) -> Option<usize> {
        (self.effective * 100).checked_div(self.calls)
    }
}

impl Ner {
    /// Starts in use, with no calls counted.
    pub fn new(rules: NerRules) -> Self {
        let (results, open) = (VecDeque::new(), HashMap::new());
        Ner { rules, results, open, state: State::In, last: 0, before: 0 }
    }

    /// The rules in force.
    pub fn rules(&self) -> &NerRules {
        &self.rules
    }

    /// A call of this number, higher than all before, is about to go out. `false`: it must not use this
    /// gateway. An `urgent` call always may.
    pub fn begin(&mut self, number: u64, ends: Ends, urgent: bool) -> bool {
        match &mut self.state {
            State::In => {}
            State::Trying(by @ None) => *by = Some(number),
            State::Out(_) | State::Trying(Some(_)) if urgent => {}
            State::Out(_) | State::Trying(Some(_)) => return false,
        }
        self.last = number;
        self.open.insert(number, ends);
        true
    }

    /// The result of the call of this number: it got through, it did not, or it tells nothing, as when the
    /// caller hung up first.
    pub fn decided(&mut self, now: Instant, number: u64, effective: Option<bool>) -> Change {
        let Some(ends) = self.open.remove(&number) else { return Change::Nothing };
        match (self.state, effective) {
            (State::In, Some(effective)) if number > self.before => {
                self.count(Decided { at: now, effective, ends })
            }
            (State::Trying(Some(by)), effective) if by == number => match effective {
                Some(true) => {
                    (self.state, self.before) = (State::In, self.last);
                    self.results.clear();
                    Change::In
                }
                Some(false) => {
                    self.state = State::Out(now + self.rules.out);
                    Change::Nothing
                }
                None => {
                    self.state = State::Trying(None);
                    Change::Nothing
                }
            },
            _ => Change::Nothing,
        }
    }

    fn count(&mut self, decided: Decided) -> Change {
        let now = decided.at;
        let old = |it: &Decided| now.saturating_duration_since(it.at) > self.rules.window;
        while self.results.front().is_some_and(old) {
            self.results.pop_front();
        }
        let share = (self.rules.calls / 4).max(1);
        self.make_room(share, |it| it.ends.caller == decided.ends.caller);
        self.make_room(share, |it| it.ends.called == decided.ends.called);
        self.make_room(self.rules.calls, |_| true);
        self.results.push_back(decided);
        let NerState { effective, calls, .. } = self.state();
        if calls < self.rules.calls || effective * 100 >= usize::from(self.rules.below) * calls {
            return Change::Nothing;
        }
        self.state = State::Out(now + self.rules.out);
        Change::Out(effective, calls)
    }

    /// Removes the oldest of the calls like this one once there are `most` of them.
    fn make_room(&mut self, most: usize, alike: impl Fn(&Decided) -> bool) {
        if self.results.iter().filter(|it| alike(it)).count() >= most
            && let Some(oldest) = self.results.iter().position(alike)
        {
            self.results.remove(oldest);
        }
    }

    /// When to call [`Ner::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Out(until) => Some(until),
            State::In | State::Trying(_) => None,
        }
    }

    /// Handles the time. `true`: a call may try the gateway from now on.
    pub fn timeout(&mut self, now: Instant) -> bool {
        let over = matches!(self.state, State::Out(until) if until <= now);
        if over {
            self.state = State::Trying(None);
        }
        over
    }

    /// The state, for observers.
    pub fn state(&self) -> NerState {
        NerState {
            effective: self.results.iter().filter(|it| it.effective).count(),
            calls: self.results.len(),
            out: match self.state {
                State::In => None,
                State::Out(_) => Some(Out::Resting),
                State::Trying(_) => Some(Out::Trying),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OUT: Duration = Duration::from_secs(60);

    fn ner() -> (Ner, Instant) {
        let window = Duration::from_secs(300);
        (Ner::new(NerRules { below: 50, calls: 4, window, out: OUT }), Instant::now())
    }

    /// Each call has a different caller and a different called number.
    fn other(ner: &Ner) -> Ends {
        Ends { caller: ner.last, called: ner.last }
    }

    fn begin_of(ner: &mut Ner, ends: Ends, urgent: bool) -> Option<u64> {
        let number = ner.last + 1;
        ner.begin(number, ends, urgent).then_some(number)
    }

    fn begin(ner: &mut Ner) -> Option<u64> {
        begin_of(ner, other(ner), false)
    }

    fn urgently(ner: &mut Ner) -> Option<u64> {
        begin_of(ner, other(ner), true)
    }

    fn call(ner: &mut Ner, now: Instant, effective: bool) -> Change {
        let number = begin(ner).expect("it takes calls");
        ner.decided(now, number, Some(effective))
    }

    #[test]
    fn it_is_out_when_of_enough_calls_too_few_got_through_and_not_before() {
        let (mut ner, now) = ner();
        // Half of four is not below 50 %, and three calls are too few.
        for effective in [false, false, true, true, false, true] {
            assert_eq!(call(&mut ner, now, effective), Change::Nothing);
        }
        assert_eq!((ner.state().percent(), ner.state().out), (Some(75), None), "of the last four");
        assert_eq!(call(&mut ner, now, false), Change::Nothing);
        assert_eq!(call(&mut ner, now, false), Change::Out(1, 4));
        assert_eq!((begin(&mut ner), ner.next_timeout()), (None, Some(now + OUT)));
        assert_eq!(ner.state().out, Some(Out::Resting));
    }

    #[test]
    fn calls_of_too_long_ago_say_nothing() {
        let (mut ner, now) = ner();
        let later = now + Duration::from_secs(301);
        for at in [now, now, now, later, later, later] {
            assert_eq!(call(&mut ner, at, false), Change::Nothing);
        }
        assert_eq!(call(&mut ner, later, false), Change::Out(0, 4));
    }

    fn out() -> (Ner, Instant) {
        let (mut ner, now) = ner();
        assert_eq!((0..4).map(|_| call(&mut ner, now, false)).last(), Some(Change::Out(0, 4)));
        assert!(!ner.timeout(now + OUT / 2) && ner.timeout(now + OUT));
        (ner, now + OUT)
    }

    #[test]
    fn one_call_tries_it_and_brings_it_back_with_a_clean_sheet() {
        let (mut ner, now) = out();
        let number = begin(&mut ner).unwrap();
        assert_eq!(begin(&mut ner), None, "one at a time");
        assert_eq!(ner.decided(now, number, Some(true)), Change::In);
        assert_eq!((ner.state().calls, ner.state().out), (0, None));
        for _ in 0..3 {
            assert_eq!(call(&mut ner, now, false), Change::Nothing);
        }
    }

    #[test]
    fn a_try_that_fails_costs_the_same_time_again_and_one_without_a_word_nothing() {
        let (mut ner, now) = out();
        let number = begin(&mut ner).unwrap();
        assert_eq!(ner.decided(now, number, None), Change::Nothing);
        let number = begin(&mut ner).expect("the next one");
        assert_eq!(ner.decided(now, number, Some(false)), Change::Nothing);
        assert_eq!((begin(&mut ner), ner.next_timeout()), (None, Some(now + OUT)));
    }

    #[test]
    fn one_caller_and_one_number_take_it_from_nobody() {
        let liars: [fn(u64) -> Ends; 3] = [
            |n| Ends { caller: 7, called: n },
            |n| Ends { caller: n, called: 7 },
            |n| Ends { caller: 7, called: n % 3 },
        ];
        for ends in liars {
            let (mut ner, now) = ner();
            ner.rules.calls = 8;
            for n in 0..100 {
                let number = begin_of(&mut ner, ends(n), false).expect("it takes calls");
                assert_eq!(ner.decided(now, number, Some(false)), Change::Nothing);
            }
            assert_eq!(ner.state().calls, 2, "a quarter");
            for _ in 0..6 {
                assert_eq!(call(&mut ner, now, true), Change::Nothing);
            }
            assert_eq!(ner.state().percent(), Some(75));
        }
    }

    #[test]
    fn what_began_before_decides_nothing_afterwards() {
        let (mut ner, now) = ner();
        let old: Vec<u64> = (0..8).map(|_| begin(&mut ner).unwrap()).collect();
        for number in &old[..4] {
            ner.decided(now, *number, Some(false));
        }
        ner.timeout(now + OUT);
        assert_eq!(ner.decided(now + OUT, old[4], Some(false)), Change::Nothing);
        let number = begin(&mut ner).expect("it is still to be tried");
        assert_eq!(ner.decided(now + OUT, number, Some(true)), Change::In);
        for number in &old[5..] {
            ner.decided(now + OUT, *number, Some(false));
        }
        assert_eq!(ner.state().calls, 0);
    }

    #[test]
    fn who_calls_for_help_is_not_asked_to_wait_and_takes_no_turn_from_others() {
        let (mut ner, now) = ner();
        assert_eq!((0..4).map(|_| call(&mut ner, now, false)).last(), Some(Change::Out(0, 4)));
        let urgent = urgently(&mut ner).unwrap();
        ner.timeout(now + OUT);
        let number = begin(&mut ner).unwrap();
        assert!(urgently(&mut ner).is_some());
        assert_eq!(ner.decided(now + OUT, urgent, Some(true)), Change::Nothing);
        assert_eq!(ner.decided(now + OUT, number, Some(true)), Change::In);
    }
}
