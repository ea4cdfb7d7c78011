//! A party of a call under load: its leg goes by the steps of its scenario, as a machine. Events in with the
//! time, effects out; no I/O, no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;

use super::holding::Holding;
use b2b_config::step::{Deed, Step};

/// How often sound is looked at for which a step waits.
const LOOK: Duration = Duration::from_millis(100);
/// What a step waited for did not come within its time.
pub const NOT_IN_TIME: &str = "not in time";
/// A callee's 200 is sent again until an ACK comes (RFC 3261 §13.3.1.4): a call without one is none.
const NO_ACK: &str = "no ACK came for its 200";
/// How long the end of a call that is given up may take: the far end may answer neither INVITE nor CANCEL (RFC 3261
/// §17.1.1.2, Timer B).
const GIVEN_UP: Duration = Duration::from_secs(35);
/// From one digit to the next: RFC 4733 §2.5.1.1 wants them apart.
const DIGIT: Duration = Duration::from_millis(250);

/// What a leg says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said {
    /// Silence.
    Nothing,
    /// The mark of its call and side.
    Mark,
    /// A tone, Hz.
    Tone(f64),
    /// A sound file from its beginning, by its place among those of the run.
    File(usize),
}

/// What happens to a party.
#[derive(Debug, Clone, PartialEq)]
pub enum PartyEvent {
    /// It begins: a caller is due, or a callee is called.
    Begin,
    /// The time it asked for has come.
    Due,
    /// What the INVITE that came has, or the answer to ours: told before [`PartyEvent::Begin`] or
    /// [`PartyEvent::Answered`] where a step asks for it.
    Received {
        /// Header fields.
        headers: Vec<(String, String)>,
    },
    /// The leg is up.
    Answered,
    /// The call is refused or cannot be placed; by whom and why is in the cause.
    Refused {
        /// Of the final response; none: there was none.
        status: Option<u16>,
    },
    /// The call could not even be placed, or not be answered, by ourselves.
    NotPlaced {
        /// In words.
        why: String,
    },
    /// The leg is over after it was up: the far end, or the loss of it.
    Ended {
        /// The far end has hung up.
        by_them: bool,
    },
    /// The far end has agreed to a hold or its end, or has not.
    Changed {
        /// It has.
        agreed: bool,
    },
    /// What became of a transfer.
    TransferEnded {
        /// Somebody has answered.
        arrived: bool,
    },
    /// What it waits to hear is heard.
    Heard,
    /// The run ends: times that it stays or waits for are over.
    Leave,
}

/// What a party wants.
#[derive(Debug, Clone, PartialEq)]
pub enum PartyEffect {
    /// Call this number or URI, with these header fields.
    Dial {
        /// As it is written in the step.
        to: String,
        /// Names and values.
        headers: Vec<(String, String)>,
    },
    /// 180.
    Ring,
    /// 200.
    Answer,
    /// This final response.
    Refuse(u16),
    /// BYE or CANCEL.
    HangUp,
    /// Say this from now on.
    Say(Said),
    /// Play this file from now on.
    Play(String),
    /// Be gone without a word.
    Vanish,
    /// Send a digit.
    Press(char),
    /// Hold the far end.
    Hold,
    /// Take it back.
    Resume,
    /// Send the far end there.
    Transfer(String),
    /// Tell [`PartyEvent::Due`] then. The last one counts.
    WakeAt(Instant),
    /// Tell [`PartyEvent::Heard`] as soon as this is heard; looked at with each [`PartyEvent::Due`].
    Listen(Wanted),
    /// It is through.
    Over(Outcome),
}

/// What a step waits to hear.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// The mark of the far end.
    Mark,
    /// Tones, Hz: these and not those.
    Tones {
        /// All of them.
        these: Vec<f64>,
        /// None of them.
        not: Vec<f64>,
    },
}

/// How it went for a party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Done,
    /// A step failed.
    Failed {
        /// The step, as it is written.
        step: String,
        /// In words that do not differ from call to call.
        why: String,
    },
}

/// A party.
#[derive(Debug)]
pub struct Party {
    steps: Arc<[Step]>,
    /// The step that it is at.
    at: usize,
    /// That step is begun and waits for something.
    waits: bool,
    /// When that has to have come.
    until: Instant,
    /// Digits to come, the next one last.
    digits: Vec<char>,
    headers: Vec<(String, String)>,
    /// What the far end's INVITE or answer has.
    received: Vec<(String, String)>,
    /// The leg is there.
    leg: Leg,
    holding: Holding,
    chance: SmallRng,
    /// Its dial is given up when its time is over.
    gives_up: bool,
    /// The far end may end the call.
    may_end: bool,
}

/// What it knows of its leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    None,
    Waiting,
    Up,
    /// We have hung up, and wait for its end.
    Ending,
    Over,
}

impl Party {
    /// A party that goes by these steps. Its decisions come from this seed.
    pub fn new(steps: Arc<[Step]>, holding: Holding, chance: SmallRng, now: Instant) -> Self {
        Party {
            steps,
            at: 0,
            waits: false,
            until: now,
            digits: Vec::new(),
            headers: Vec::new(),
            received: Vec::new(),
            leg: Leg::None,
            holding,
            chance,
            gives_up: false,
            may_end: false,
        }
    }

    /// What it goes by.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step asks what the far end's INVITE or answer has.
    pub fn asks_for_headers(&self) -> bool {
        asks_for_headers(&self.steps)
    }

    /// Takes an event.
    pub fn step(&mut self, now: Instant, event: &PartyEvent, effects: &mut Vec<PartyEffect>) {
        if self.leg == Leg::Over {
            return;
        }
        match event {
            PartyEvent::Begin => {}
            PartyEvent::Received { headers } => {
                self.received.clone_from(headers);
                return;
            }
            // the CANCEL came too late: the leg ends all the same
            PartyEvent::Answered if self.leg == Leg::Ending => return,
            PartyEvent::Answered => self.leg = Leg::Up,
            PartyEvent::Refused { .. } | PartyEvent::Ended { .. } => return self.ended(event, effects),
            PartyEvent::NotPlaced { why } => return self.fail(why, effects),
            _ => {}
        }
        if self.waits && !self.is_met(now, event, effects) {
            return;
        }
        self.go_on(now, effects);
    }

    /// Whether what the current step waits for has come.
    fn is_met(&mut self, now: Instant, event: &PartyEvent, effects: &mut Vec<PartyEffect>) -> bool {
        let late = now >= self.until;
        let Some(deed) = self.steps.get(self.at).map(|step| &step.deed) else { return false };
        let met = match (deed, event) {
            (Deed::Wait | Deed::WaitUpTo(_) | Deed::Stay, event) => late || *event == PartyEvent::Leave,
            (Deed::Dial(_) | Deed::Answer, PartyEvent::Answered) => true,
            (Deed::Hears { .. } | Deed::HearsMark, PartyEvent::Heard) => true,
            (Deed::Hold | Deed::Resume, PartyEvent::Changed { agreed: true }) => true,
            (Deed::Hold | Deed::Resume, PartyEvent::Changed { agreed: false }) => {
                self.fail("the far end refused it", effects);
                return false;
            }
            (Deed::Transfer(_), PartyEvent::TransferEnded { arrived: true }) => true,
            (Deed::Transfer(_), PartyEvent::TransferEnded { arrived: false }) if self.may_refuse() => true,
            (Deed::Transfer(_), PartyEvent::TransferEnded { arrived: false }) => {
                self.fail("nobody answered there", effects);
                return false;
            }
            (Deed::Press(_), PartyEvent::Due) if late => match self.digits.pop() {
                Some(digit) => {
                    effects.push(PartyEffect::Press(digit));
                    self.until = now + DIGIT;
                    effects.push(PartyEffect::WakeAt(self.until));
                    false
                }
                None => true,
            },
            _ => false,
        };
        if met {
            self.at += 1;
            self.waits = false;
        } else if late && self.gives_up && self.leg == Leg::Waiting {
            self.leg = Leg::Ending;
            effects.push(PartyEffect::HangUp);
            self.until = now + GIVEN_UP;
            effects.push(PartyEffect::WakeAt(self.until));
        } else if late && !matches!(deed, Deed::Press(_)) {
            let why = if *deed == Deed::Answer { NO_ACK } else { NOT_IN_TIME };
            self.fail(why, effects);
        } else if matches!((deed, event), (Deed::Hears { .. } | Deed::HearsMark, PartyEvent::Due)) {
            effects.push(PartyEffect::WakeAt((now + LOOK).min(self.until)));
        }
        met
    }

    /// Does steps until one waits.
    fn go_on(&mut self, now: Instant, effects: &mut Vec<PartyEffect>) {
        let steps = self.steps.clone();
        while let Some(step) = steps.get(self.at) {
            if step.chance < 1.0 && self.chance.random::<f64>() >= step.chance {
                self.at += 1;
                continue;
            }
            let mut until = now + step.within;
            let mut waits = true;
            match &step.deed {
                Deed::Header { name, value } => {
                    self.headers.push((name.clone(), value.clone()));
                    waits = false;
                }
                Deed::Dial(to) => {
                    self.leg = Leg::Waiting;
                    if let Some(after) = self.gives_up_after(&steps) {
                        (self.gives_up, until) = (true, now + after);
                    }
                    let headers = std::mem::take(&mut self.headers);
                    effects.push(PartyEffect::Dial { to: to.clone(), headers });
                }
                Deed::Answer => {
                    self.leg = Leg::Waiting;
                    effects.push(PartyEffect::Answer);
                }
                Deed::Ring => {
                    effects.push(PartyEffect::Ring);
                    waits = false;
                }
                Deed::Refuse(status) => {
                    effects.push(PartyEffect::Refuse(*status));
                    return self.over(Outcome::Done, effects);
                }
                Deed::Say(hz) => {
                    effects.push(PartyEffect::Say(Said::Tone(*hz)));
                    waits = false;
                }
                Deed::SayMark => {
                    effects.push(PartyEffect::Say(Said::Mark));
                    waits = false;
                }
                Deed::SayNothing => {
                    effects.push(PartyEffect::Say(Said::Nothing));
                    waits = false;
                }
                Deed::Play(file) => {
                    effects.push(PartyEffect::Play(file.clone()));
                    waits = false;
                }
                Deed::ExpectHeader { name, value } => {
                    if let Err(why) = expect_header(&self.received, name, value) {
                        return self.fail(why, effects);
                    }
                    waits = false;
                }
                Deed::Vanish => {
                    effects.push(PartyEffect::Vanish);
                    return self.over(Outcome::Done, effects);
                }
                Deed::HearsMark => {
                    effects.push(PartyEffect::Listen(Wanted::Mark));
                    effects.push(PartyEffect::WakeAt((now + LOOK).min(until)));
                }
                Deed::Hears { these, not } => {
                    effects
                        .push(PartyEffect::Listen(Wanted::Tones { these: these.clone(), not: not.clone() }));
                    effects.push(PartyEffect::WakeAt((now + LOOK).min(until)));
                }
                Deed::Press(digits) => {
                    self.digits = digits.chars().rev().collect();
                    self.digits.pop().into_iter().for_each(|digit| effects.push(PartyEffect::Press(digit)));
                    until = now + DIGIT;
                }
                Deed::Hold => effects.push(PartyEffect::Hold),
                Deed::Resume => effects.push(PartyEffect::Resume),
                Deed::Transfer(to) => effects.push(PartyEffect::Transfer(to.clone())),
                Deed::Stay => until = now + self.holding.draw(&mut self.chance),
                Deed::HangUp => {
                    self.leg = Leg::Ending;
                    effects.push(PartyEffect::HangUp);
                }
                Deed::WaitUpTo(most) => {
                    until += most.saturating_sub(step.within).mul_f64(self.chance.random::<f64>());
                }
                Deed::MayHangUp => {
                    self.may_end = true;
                    waits = false;
                }
                // what they are about is over
                Deed::GiveUp(_) | Deed::MayRefuse => waits = false,
                Deed::Wait | Deed::HungUp => {}
                // a refusal ends the party, so the call was answered
                Deed::Expect(_) => {
                    return self.fail("answered", effects);
                }
                // for phones of a scene: refused where steps are read
                Deed::Cue(_) | Deed::Consult(_) | Deed::HandOver => waits = false,
            }
            if waits {
                self.waits = true;
                self.until = until;
                let listens = matches!(effects.last(), Some(PartyEffect::WakeAt(_)));
                if !listens {
                    effects.push(PartyEffect::WakeAt(until));
                }
                return;
            }
            self.at += 1;
        }
        // a caller whose steps end in a call hangs up; a callee too
        if matches!(self.leg, Leg::Up | Leg::Waiting) {
            effects.push(PartyEffect::HangUp);
        }
        self.over(Outcome::Done, effects);
    }

    /// After which time the dial of the present step is given up, if it is.
    fn gives_up_after(&mut self, steps: &[Step]) -> Option<Duration> {
        for step in steps.iter().skip(self.at + 1) {
            match step.deed {
                Deed::GiveUp(after) if step.chance >= 1.0 || self.chance.random::<f64>() < step.chance => {
                    return Some(after);
                }
                Deed::GiveUp(_) | Deed::MayRefuse => {}
                _ => break,
            }
        }
        None
    }

    /// Whether what the present step asks for may be refused.
    fn may_refuse(&self) -> bool {
        let behind = self.steps.iter().skip(self.at + 1);
        let mut terms = behind.take_while(|step| matches!(step.deed, Deed::GiveUp(_) | Deed::MayRefuse));
        terms.any(|step| step.deed == Deed::MayRefuse)
    }

    /// The leg is gone.
    fn ended(&mut self, event: &PartyEvent, effects: &mut Vec<PartyEffect>) {
        let step = self.steps.get(self.at).map(|step| &step.deed);
        let next = self.steps.get(self.at + 1).map(|step| &step.deed);
        let outcome = match (event, step) {
            // hung up by us, or by both at once
            (_, Some(Deed::HangUp)) if self.leg == Leg::Ending => Outcome::Done,
            // given up
            (_, Some(Deed::Dial(_))) if self.leg == Leg::Ending => Outcome::Done,
            (PartyEvent::Refused { status: Some(_) }, Some(Deed::Dial(_))) if self.may_refuse() => {
                Outcome::Done
            }
            (PartyEvent::Ended { by_them: true }, Some(Deed::HungUp)) => Outcome::Done,
            // the far end has gone where it was sent to
            (PartyEvent::Ended { by_them: true }, Some(Deed::Transfer(_))) => Outcome::Done,
            (PartyEvent::Refused { status: Some(status) }, Some(Deed::Dial(_)))
                if next == Some(&Deed::Expect(*status)) =>
            {
                Outcome::Done
            }
            (PartyEvent::Refused { status: Some(status) }, _) => {
                return self.fail(&format!("refused: {status}"), effects);
            }
            (PartyEvent::Refused { status: None }, _) => return self.fail("no way to the far end", effects),
            // whoever ended it: it is told that it is answered when the ACK comes
            (PartyEvent::Ended { .. }, Some(Deed::Answer)) => return self.fail(NO_ACK, effects),
            (PartyEvent::Ended { by_them: true }, _) if self.may_end => Outcome::Done,
            (PartyEvent::Ended { by_them: true }, _) => return self.fail("the far end hung up", effects),
            _ => return self.fail("the call was lost", effects),
        };
        self.leg = Leg::Over;
        effects.push(PartyEffect::Over(outcome));
    }

    /// The current step has failed: the leg is hung up.
    fn fail(&mut self, why: &str, effects: &mut Vec<PartyEffect>) {
        let step = self.steps.get(self.at).map(|step| step.text.clone()).unwrap_or_default();
        if matches!(self.leg, Leg::Waiting | Leg::Up) {
            effects.push(PartyEffect::HangUp);
        }
        self.over(Outcome::Failed { step, why: why.to_owned() }, effects);
    }

    fn over(&mut self, outcome: Outcome, effects: &mut Vec<PartyEffect>) {
        self.leg = Leg::Over;
        effects.push(PartyEffect::Over(outcome));
    }
}

/// Whether one of these steps asks what the far end's INVITE or answer has.
pub fn asks_for_headers(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.deed, Deed::ExpectHeader { .. }))
}

/// Looks for a field with this name and value, which may end in `*` for anything.
fn expect_header(headers: &[(String, String)], name: &str, value: &str) -> Result<(), &'static str> {
    let mut found = headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name)).peekable();
    if found.peek().is_none() {
        return Err("there is no such header field");
    }
    let fits = |it: &str| match value.strip_suffix('*') {
        Some(begin) => it.starts_with(begin),
        None => it == value,
    };
    if found.any(|(_, it)| fits(it.trim())) { Ok(()) } else { Err("it has another value") }
}

#[cfg(test)]
mod tests;
