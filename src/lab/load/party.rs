//! A party of a call under load: its leg follows the steps of its scenario, as a state machine. It takes
//! events with their time and returns effects; no I/O, no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;

use super::holding::Holding;
use b2b_config::step::{Deed, Step};

mod events;

pub use events::{Outcome, PartyEffect, PartyEvent, Said, Wanted};

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

    /// Whether its current step waits for the far end to speak.
    pub fn awaits_speech(&self) -> bool {
        matches!(self.steps.get(self.at).map(|step| &step.deed), Some(Deed::HearsSpeech(_)))
    }

    /// Whether its current step is about how long the far end speaks.
    pub fn measures_speech(&self) -> bool {
        let deed = self.steps.get(self.at).map(|step| &step.deed);
        matches!(deed, Some(Deed::HearsSpeech(length)) if !length.is_zero())
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
            (Deed::HearsNothing, PartyEvent::Heard) => {
                let left = self.until.saturating_duration_since(now);
                let after =
                    self.steps.get(self.at).map_or(Duration::ZERO, |it| it.within.saturating_sub(left));
                let after = after.as_secs_f64();
                self.fail(&format!("it spoke after {after:.1} s"), effects);
                return false;
            }
            (Deed::HearsNothing, event) => late || *event == PartyEvent::Leave,
            (deed, PartyEvent::Heard) if listens(deed) => true,
            (Deed::Hold | Deed::Resume | Deed::Offer(_), PartyEvent::Changed { agreed: true }) => true,
            (Deed::Hold | Deed::Resume | Deed::Offer(_), PartyEvent::Changed { agreed: false }) => {
                self.fail("the far end refused it", effects);
                return false;
            }
            (Deed::Transfer(_), PartyEvent::TransferEnded { status: Some(200..300) }) => true,
            (Deed::Transfer(_), PartyEvent::TransferEnded { .. }) if self.may_refuse() => true,
            (Deed::Transfer(_), PartyEvent::TransferEnded { status }) => {
                let why =
                    status.map_or_else(|| "no answer".to_owned(), |status| format!("refused: {status}"));
                self.fail(&why, effects);
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
        } else if listens(deed) && *event == PartyEvent::Due {
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
                Deed::Progress => {
                    self.leg = Leg::Waiting;
                    effects.push(PartyEffect::Progress);
                    waits = false;
                }
                Deed::Refuse(status) => {
                    effects.push(PartyEffect::Refuse(*status));
                    return self.over(Outcome::Done, effects);
                }
                Deed::Say(_) | Deed::SayMark | Deed::SayNothing | Deed::Echo => {
                    effects.push(PartyEffect::Say(match step.deed {
                        Deed::Say(hz) => Said::Tone(hz),
                        Deed::SayMark => Said::Mark,
                        Deed::Echo => Said::Echo,
                        _ => Said::Nothing,
                    }));
                    waits = false;
                }
                Deed::Play(file) | Deed::Speak(file) => {
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
                Deed::Said => effects.push(PartyEffect::Listen(Wanted::Played)),
                Deed::Hears { these, not } => {
                    let wanted = Wanted::Tones { these: these.clone(), not: not.clone() };
                    effects.push(PartyEffect::Listen(wanted));
                }
                Deed::HearsMark => effects.push(PartyEffect::Listen(Wanted::Mark)),
                Deed::HearsSpeech(length) => effects.push(PartyEffect::Listen(Wanted::Speech(*length))),
                Deed::HearsNothing => effects.push(PartyEffect::Listen(Wanted::Sound)),
                Deed::HearsSilence(length) => effects.push(PartyEffect::Listen(Wanted::Silence(*length))),
                Deed::Press(digits) => {
                    self.digits = digits.chars().rev().collect();
                    self.digits.pop().into_iter().for_each(|digit| effects.push(PartyEffect::Press(digit)));
                    until = now + DIGIT;
                }
                Deed::Offer(codecs) => effects.push(PartyEffect::Offer(codecs.clone())),
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
                let alarm = if listens(&step.deed) { (now + LOOK).min(until) } else { until };
                effects.push(PartyEffect::WakeAt(alarm));
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
            // the last digit was what it waited for
            (PartyEvent::Ended { by_them: true }, Some(Deed::Press(_)))
                if self.digits.is_empty() && next == Some(&Deed::HungUp) =>
            {
                Outcome::Done
            }
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

/// Whether a step waits for audio.
fn listens(deed: &Deed) -> bool {
    let hears = matches!(deed, Deed::Hears { .. } | Deed::HearsMark | Deed::HearsSpeech(_));
    hears || matches!(deed, Deed::HearsSilence(_) | Deed::HearsNothing | Deed::Said)
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
