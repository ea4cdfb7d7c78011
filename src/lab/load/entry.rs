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

/// The side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The calling side.
    Caller,
    /// The called side.
    Callee,
}

/// A party and its leg.
pub struct Entry {
    /// Its steps.
    pub party: Party,
    /// Which side it is.
    pub role: Role,
    /// The agent of its leg.
    pub agent: usize,
    /// Its leg; `None` before it has one, or if it could not get one.
    pub leg: Option<LegId>,
    /// Its audio.
    pub sound: Arc<LegSound>,
    /// The call number in its mark; 0 for a callee.
    pub mark: u32,
    /// For a callee, the call number of its caller's mark, from a header field of the INVITE.
    pub told: Option<u32>,
    /// The route that counts it.
    pub route: Option<usize>,
    /// The kind that counts it.
    pub kind: Option<usize>,
    /// The index of its kind among those of its side.
    pub place: usize,
    /// The number of the call within its kind, from 0.
    pub turn: u64,
    /// When it was answered, if it has audio to send.
    pub speaks: Option<Instant>,
    /// When its call was due; for a callee, when its INVITE arrived.
    pub due: Instant,
    /// When its INVITE was sent, if it was.
    pub dialled: Option<Instant>,
    /// Whether there was an 18x.
    pub rang: bool,
    /// Whether it was answered.
    pub up: bool,
    /// Whether its call was asked for.
    pub asked: bool,
    /// When it hung up.
    pub hung_up: Option<Instant>,
    /// Its latest alarm; earlier ones are void.
    pub wake: Option<Instant>,
    /// Whether it waits for audio.
    pub listens: bool,
    /// Whether its steps are over; its leg may remain.
    pub over: bool,
    /// Its details, in case it is among the worst.
    pub call: Call,
    /// Its dialog, if messages are kept.
    pub dialog: Option<Dialog>,
    /// Its messages.
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

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Role::Caller => "caller",
            Role::Callee => "callee",
        }
    }
}

impl Entry {
    /// A new party. `number`: in order of starting; `mark`: 0 for a callee; `due`: when its call was due,
    /// absolute and since the start of the run.
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
            asked: false,
            hung_up: None,
            wake: None,
            listens: false,
            over: false,
            call: Call { number, side: role.name(), at_s, mark, ..Call::default() },
            dialog: None,
            messages: Vec::new(),
        }
    }

    /// The figures that count it.
    pub fn counts(&self) -> Counts {
        Counts { role: self.role, route: self.route, kind: self.kind }
    }

    /// The call number of its caller's mark, if known; else 0.
    pub fn call_in_mark(&self) -> u32 {
        self.told.unwrap_or_else(|| self.sound.mark().call)
    }

    /// Whether it sends its mark.
    pub fn is_marked(&self) -> bool {
        self.party.steps().iter().any(|step| step.deed == Deed::SayMark)
    }

    /// Whether it was up long enough to be judged by the marks it heard, and sends one.
    pub fn can_be_judged(&self) -> bool {
        self.speaks.is_some_and(|since| since.elapsed() >= JUDGED) && self.is_marked()
    }

    /// The marks that it heard so far.
    pub fn heard(&mut self) -> Heard {
        let mut heard = self.sound.heard();
        // a callee adopts the first mark that it hears as its caller's
        let other = self.told.is_some_and(|told| ![0, told].contains(&self.sound.mark().call));
        if other && heard.foreign.is_none() {
            heard.foreign = Some(Mark { call: self.sound.mark().call, side: Side::Caller });
        }
        self.call.mouth_to_ear_ms = heard.delay_ms;
        self.call.longest_gap_ms = Some(heard.longest_gap_ms.into());
        self.call.foreign_mark = heard.foreign.map(|mark| mark.call);
        // a callee has the number that it hears
        self.call.mark = self.sound.mark().call;
        heard
    }
}
