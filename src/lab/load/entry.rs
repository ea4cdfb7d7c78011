//! A party of the generator, and its leg.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::figures::Counts;
use super::hearing::{Heard, JUDGED};
use super::messages::{Dialog, Kept};
use super::party::Party;
use super::sound::LegSound;
use super::worst::Call;
use b2b_call::LegId;
use b2b_config::step::Deed;
use b2b_dsp::mark::{Mark, Side};

/// Which side of a call a party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It calls.
    Caller,
    /// It is called.
    Callee,
}

/// A party and its leg.
pub struct Entry {
    /// Its steps.
    pub party: Party,
    /// Which side it is.
    pub role: Role,
    /// Which agent has its leg.
    pub agent: usize,
    /// Its leg; none: it has none yet, or could get none.
    pub leg: Option<LegId>,
    /// What it says and hears.
    pub sound: Arc<LegSound>,
    /// The number in its mark; of a callee 0.
    pub mark: u32,
    /// The number in its caller's mark, as a header field of the INVITE says it; of a callee.
    pub told: Option<u32>,
    /// The route whose figures it counts for, too.
    pub route: Option<usize>,
    /// The kind whose figures it counts for, too.
    pub kind: Option<usize>,
    /// Its kind's place among those of its side.
    pub place: usize,
    /// Which call of its kind it is, from 0 on.
    pub turn: u64,
    /// When it was answered; it has something to say.
    pub speaks: Option<Instant>,
    /// When its call was due; of a callee, when its INVITE came.
    pub due: Instant,
    /// When its INVITE left; none: it has not.
    pub dialled: Option<Instant>,
    /// There was a 18x.
    pub rang: bool,
    /// It was answered.
    pub up: bool,
    /// When it hung up.
    pub hung_up: Option<Instant>,
    /// Its last wish to be woken; earlier ones mean nothing.
    pub wake: Option<Instant>,
    /// It waits to hear something.
    pub listens: bool,
    /// It is through; its leg may not be.
    pub over: bool,
    /// What is told of it, if it is among the worst.
    pub call: Call,
    /// Its dialog, where messages are kept.
    pub dialog: Option<Dialog>,
    /// What passed.
    pub messages: Vec<Kept>,
}

impl Role {
    /// The side of its mark.
    pub fn side(self) -> Side {
        match self {
            Role::Caller => Side::Caller,
            Role::Callee => Side::Callee,
        }
    }

    /// In reports.
    pub fn name(self) -> &'static str {
        match self {
            Role::Caller => "caller",
            Role::Callee => "callee",
        }
    }
}

impl Entry {
    /// A party that begins. `number`: in order of beginning; `mark`: of a callee 0, who hears nobody; `due`: when its
    /// call was due, and how long after the beginning of the run that was.
    pub fn new(
        party: Party,
        role: Role,
        (number, mark): (u64, u32),
        (due, since): (Instant, Duration),
        sound: LegSound,
    ) -> Self {
        let at_s = (since.as_secs_f64() * 1e3).round() / 1e3;
        Entry {
            party,
            role,
            agent: 0,
            leg: None,
            sound: Arc::new(sound),
            mark,
            told: None,
            route: None,
            kind: None,
            place: 0,
            turn: 0,
            speaks: None,
            due,
            dialled: None,
            rang: false,
            up: false,
            hung_up: None,
            wake: None,
            listens: false,
            over: false,
            call: Call { number, side: role.name(), at_s, mark, ..Call::default() },
            dialog: None,
            messages: Vec::new(),
        }
    }

    /// What it counts for.
    pub fn counts(&self) -> Counts {
        Counts { role: self.role, route: self.route, kind: self.kind }
    }

    /// The number in its caller's mark, as far as that is known; else 0.
    pub fn call_in_mark(&self) -> u32 {
        self.told.unwrap_or_else(|| self.sound.mark().call)
    }

    /// Whether it says its mark.
    pub fn is_marked(&self) -> bool {
        self.party.steps().iter().any(|step| step.deed == Deed::SayMark)
    }

    /// Whether it was up for long enough to be judged by what it has heard of marks, and says one.
    pub fn can_be_judged(&self) -> bool {
        self.speaks.is_some_and(|since| since.elapsed() >= JUDGED) && self.is_marked()
    }

    /// What it has heard of marks.
    pub fn heard(&mut self) -> Heard {
        let mut heard = self.sound.heard();
        // a callee takes the first mark that it hears for its caller's
        let other = self.told.is_some_and(|told| ![0, told].contains(&self.sound.mark().call));
        if other && heard.foreign.is_none() {
            heard.foreign = Some(Mark { call: self.sound.mark().call, side: Side::Caller });
        }
        self.call.mouth_to_ear_ms = heard.delay_ms;
        self.call.longest_gap_ms = Some(heard.longest_gap_ms.into());
        self.call.foreign_mark = heard.foreign.map(|mark| mark.call);
        // a callee has that of whom it hears
        self.call.mark = self.sound.mark().call;
        heard
    }
}
