//! A party of a call under load: its leg follows the steps of its scenario, as a state machine. It takes
//! events with their time and returns effects; no I/O, no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;

use super::holding::Holding;
use b2b_config::step::{Deed, Step};

/// Polling interval of audio that a step waits for.
const LOOK: Duration = Duration::from_millis(100);
/// The failure of a step whose event did not come in time.
pub const NOT_IN_TIME: &str = "not in time";
/// A callee retransmits its 200 until it receives an ACK (RFC 3261 §13.3.1.4): without one there is no call.
const NO_ACK: &str = "no ACK came for its 200";
/// Maximum time for the end of an abandoned call: the far end may answer neither INVITE nor CANCEL (RFC 3261
/// §17.1.1.2, Timer B).
const GIVEN_UP: Duration = Duration::from_secs(35);
/// Interval of digits, which need pauses between them (RFC 4733 §2.5.1.1).
const DIGIT: Duration = Duration::from_millis(250);

/// The audio that a leg sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said {
    /// Silence.
    Nothing,
    /// The mark of its call and side.
    Mark,
    /// A tone, Hz.
    Tone(f64),
    /// An audio file from its beginning, by its index in the run.
    File(usize),
}

/// An event of a party.
#[derive(Debug, Clone, PartialEq)]
pub enum PartyEvent {
    /// It begins: a caller is due, or a callee receives a call.
    Begin,
    /// Its alarm is due.
    Due,
    /// The header fields of the received INVITE or of the answer to ours: sent before [`PartyEvent::Begin`]
    /// or [`PartyEvent::Answered`] if a step checks them.
    Received {
        /// Header fields.
        headers: Vec<(String, String)>,
    },
    /// The leg is up.
    Answered,
    /// The call was refused.
    Refused {
        /// Status of the final response; `None` if there was none.
        status: Option<u16>,
    },
    /// The call could not be placed or answered for a local reason.
    NotPlaced {
        /// The reason.
        why: String,
    },
    /// An answered leg is over: the far end hung up, or was lost.
    Ended {
        /// Whether the far end hung up.
        by_them: bool,
    },
    /// The far end has answered a hold or resume.
    Changed {
        /// Whether it agreed.
        agreed: bool,
    },
    /// The result of a transfer.
    TransferEnded {
        /// Whether the target answered.
        arrived: bool,
    },
    /// The expected audio was heard.
    Heard,
    /// The run ends: steps that stay or wait end now.
    Leave,
}

/// An effect of a party.
#[derive(Debug, Clone, PartialEq)]
pub enum PartyEffect {
    /// Call this number or URI, with these header fields.
    Dial {
        /// As written in the step.
        to: String,
        /// Names and values.
        headers: Vec<(String, String)>,
    },
    /// Send 180.
    Ring,
    /// Send 200.
    Answer,
    /// Send this final response.
    Refuse(u16),
    /// Send BYE or CANCEL.
    HangUp,
    /// Send this audio from now on.
    Say(Said),
    /// Play this file from now on.
    Play(String),
    /// Drop the leg without a message.
    Vanish,
    /// Send a digit.
    Press(char),
    /// Put the far end on hold.
    Hold,
    /// Take the far end off hold.
    Resume,
    /// Transfer the far end to this target.
    Transfer(String),
    /// Send [`PartyEvent::Due`] at this time. Replaces an earlier alarm.
    WakeAt(Instant),
    /// Send [`PartyEvent::Heard`] as soon as this is heard; checked at each [`PartyEvent::Due`].
    Listen(Wanted),
    /// The party has finished its steps.
    Over(Outcome),
}

/// The audio that a step waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// The mark of the far end.
    Mark,
    /// Tones, Hz: all of `these` and none of `not`.
    Tones {
        /// Tones that must be present.
        these: Vec<f64>,
        /// Tones that must be absent.
        not: Vec<f64>,
    },
}

/// The result of a party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Done,
    /// A step failed.
    Failed {
        /// The step, as written.
        step: String,
        /// The reason, in words that are the same for every call.
        why: String,
    },
}

/// A party.
#[derive(Debug)]
pub struct Party {
    steps: Arc<[Step]>,
    /// The index of its current step.
    at: usize,
    /// Whether that step has begun and waits.
    waits: bool,
    /// The deadline of that step.
    until: Instant,
    /// Digits to send, the next one last.
    digits: Vec<char>,
    headers: Vec<(String, String)>,
    /// Header fields of the far end's INVITE or answer.
    received: Vec<(String, String)>,
    /// The state of its leg.
    leg: Leg,
    holding: Holding,
    chance: SmallRng,
    /// Whether its call attempt is abandoned when its time is over.
    gives_up: bool,
    /// Whether the far end may end the call.
    may_end: bool,
}

/// The state of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    None,
    Waiting,
    Up,
    /// We have hung up, and wait for the end.
    Ending,
    Over,
}

impl Party {
    /// A party that follows these steps. `chance` makes its random decisions.
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

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step checks the far end's header fields.
    pub fn asks_for_headers(&self) -> bool {
        asks_for_headers(&self.steps)
    }

    /// Processes an event.
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

    /// Whether the event that the current step waits for has come.
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
                self.fail("no answer", effects);
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

    /// Executes steps until one waits.
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
                // the call attempt that they qualify is over
                Deed::GiveUp(_) | Deed::MayRefuse => waits = false,
                Deed::Wait | Deed::HungUp => {}
                // a refusal ends the party, so the call was answered
                Deed::Expect(_) => {
                    return self.fail("answered", effects);
                }
                // for phones of a scene: refused when steps are parsed
                Deed::Cue(_) | Deed::Record(_) | Deed::Consult(_) | Deed::HandOver => waits = false,
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
        // a party whose steps end during a call hangs up
        if matches!(self.leg, Leg::Up | Leg::Waiting) {
            effects.push(PartyEffect::HangUp);
        }
        self.over(Outcome::Done, effects);
    }

    /// The time after which the current call attempt is abandoned, if it is.
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

    /// Whether the current step's request may be refused.
    fn may_refuse(&self) -> bool {
        let behind = self.steps.iter().skip(self.at + 1);
        let mut terms = behind.take_while(|step| matches!(step.deed, Deed::GiveUp(_) | Deed::MayRefuse));
        terms.any(|step| step.deed == Deed::MayRefuse)
    }

    /// Handles the end of the leg.
    fn ended(&mut self, event: &PartyEvent, effects: &mut Vec<PartyEffect>) {
        let step = self.steps.get(self.at).map(|step| &step.deed);
        let next = self.steps.get(self.at + 1).map(|step| &step.deed);
        let outcome = match (event, step) {
            // hung up by us, or by both at once
            (_, Some(Deed::HangUp)) if self.leg == Leg::Ending => Outcome::Done,
            // abandoned
            (_, Some(Deed::Dial(_))) if self.leg == Leg::Ending => Outcome::Done,
            (PartyEvent::Refused { status: Some(_) }, Some(Deed::Dial(_))) if self.may_refuse() => {
                Outcome::Done
            }
            (PartyEvent::Ended { by_them: true }, Some(Deed::HungUp)) => Outcome::Done,
            // the far end has followed its transfer
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
            // for any end before the ACK, which is what completes the answer
            (PartyEvent::Ended { .. }, Some(Deed::Answer)) => return self.fail(NO_ACK, effects),
            (PartyEvent::Ended { by_them: true }, _) if self.may_end => Outcome::Done,
            (PartyEvent::Ended { by_them: true }, _) => return self.fail("the far end hung up", effects),
            _ => return self.fail("the call was lost", effects),
        };
        self.leg = Leg::Over;
        effects.push(PartyEffect::Over(outcome));
    }

    /// Fails the current step, and hangs up the leg.
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

/// Whether one of these steps checks the far end's header fields.
pub fn asks_for_headers(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.deed, Deed::ExpectHeader { .. }))
}

/// Checks for a field with this name and value; a trailing `*` in the value matches anything.
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
