//! How long a program may have a call, and how many mistakes it may make. No I/O; time comes in.
//!
//! | the program | then |
//! |---|---|
//! | says nothing about the call within `answer` of the offer | taken back: `no_answer` |
//! | gives no sign of life for `stall` | taken back: `stalled` |
//! | has it for `most` | taken back: `too_long` |
//! | makes `mistakes` mistakes in a row | it is disconnected, and has no more calls |

use std::time::{Duration, Instant};

use strum::{IntoStaticStr, VariantArray};

/// Time limits of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the first word about a call.
    pub answer: Duration,
    /// Between two signs of life.
    pub stall: Duration,
    /// For the whole call.
    pub most: Duration,
}

/// Why a call is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Back {
    NotConnected,
    Disconnected,
    NoAnswer,
    Stalled,
    TooLong,
}

impl Back {
    /// Every reason.
    pub const ALL: &[Back] = Back::VARIANTS;

    /// The word in events and metrics.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// A call that a program has.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    limits: Limits,
    offered: Instant,
    sign: Instant,
    /// The program has said something about the call.
    touched: bool,
}

impl Hold {
    /// The call is offered now.
    pub fn new(now: Instant, limits: Limits) -> Self {
        Hold { limits, offered: now, sign: now, touched: false }
    }

    /// The program is alive.
    pub fn sign(&mut self, now: Instant) {
        self.sign = self.sign.max(now);
    }

    /// The program has said something about this call.
    pub fn touch(&mut self, now: Instant) {
        self.touched = true;
        self.sign(now);
    }

    /// When to call [`Hold::taken_back`].
    pub fn next_timeout(&self) -> Instant {
        let Limits { answer, stall, most } = self.limits;
        let first = (!self.touched).then_some(self.offered + answer);
        let usual = (self.sign + stall).min(self.offered + most);
        first.map_or(usual, |first| first.min(usual))
    }

    /// Whether the call is to be taken back, and why.
    pub fn taken_back(&self, now: Instant) -> Option<Back> {
        let Limits { answer, stall, most } = self.limits;
        if !self.touched && now >= self.offered + answer {
            return Some(Back::NoAnswer);
        }
        if now >= self.sign + stall {
            return Some(Back::Stalled);
        }
        (now >= self.offered + most).then_some(Back::TooLong)
    }
}

/// Number of a program's mistakes in a row.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    mistakes: u32,
    most: u32,
}

impl Patience {
    /// `most` mistakes in a row are too many.
    pub fn new(most: u32) -> Self {
        Patience { mistakes: 0, most }
    }

    /// The program made no mistake.
    pub fn right(&mut self) {
        self.mistakes = 0;
    }

    /// The program made a mistake; returns whether it was one too many.
    pub fn wrong(&mut self) -> bool {
        self.mistakes += 1;
        self.mistakes >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        answer: Duration::from_secs(5),
        stall: Duration::from_secs(30),
        most: Duration::from_secs(100),
    };

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn who_says_nothing_about_a_call_loses_it_though_it_lives() {
        let start = Instant::now();
        let mut hold = Hold::new(start, LIMITS);
        hold.sign(at(start, 4));
        assert_eq!((hold.next_timeout(), hold.taken_back(at(start, 4))), (at(start, 5), None));
        assert_eq!(hold.taken_back(at(start, 5)), Some(Back::NoAnswer));
        hold.touch(at(start, 4));
        assert_eq!(hold.taken_back(at(start, 5)), None);
    }

    #[test]
    fn signs_of_life_keep_a_call_but_not_for_ever() {
        let start = Instant::now();
        let mut hold = Hold::new(start, LIMITS);
        hold.touch(at(start, 1));
        assert_eq!(hold.next_timeout(), at(start, 31));
        assert_eq!(hold.taken_back(at(start, 31)), Some(Back::Stalled));
        for seconds in [20, 40, 60, 80, 99] {
            assert_eq!(hold.taken_back(at(start, seconds)), None);
            hold.sign(at(start, seconds));
        }
        // An old sign of life changes nothing.
        hold.sign(at(start, 3));
        assert_eq!(
            (hold.next_timeout(), hold.taken_back(at(start, 100))),
            (at(start, 100), Some(Back::TooLong))
        );
    }

    #[test]
    fn mistakes_count_one_after_the_other() {
        let mut patience = Patience::new(3);
        assert_eq!([patience.wrong(), patience.wrong()], [false, false]);
        patience.right();
        assert_eq!([(); 3].map(|()| patience.wrong()), [false, false, true]);
    }
}
