//! The application in which owners hear their messages: carries out the machine's actions on the call model.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::boxes::{Age, Message};
use super::machine::{Came, Do, Hearing, Keys};
use super::visit::{MAILBOX, Speech, Visit};
use super::{House, VOICEMAIL};
use crate::caller::Caller;
use crate::wrong_pins::Attempt;
use b2b_call::application::{AppAnswer, AppEvent, Application, Saved, WantId, Wants};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, Place};

/// The timer of a PIN that may not be checked yet.
const LATER: u32 = 1;

/// The application in which owners hear their messages.
pub(super) struct Hear(pub Arc<House>);

impl ApplicationHandler for Hear {
    fn name(&self) -> &str {
        VOICEMAIL
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        Some(Box::new(self.hears(call)))
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        let mut it = self.hears(call);
        let machine: Option<Hearing>;
        (machine, it.visit.mailbox, it.visit.messages) = saved.read()?;
        if let Some(machine) = machine {
            (it.first, it.refused) = (None, machine.refused());
            it.machine = machine.goes_on(it.machine);
        }
        Some(Box::new(it))
    }
}

impl Hear {
    fn hears(&self, call: &IncomingCall) -> Hears {
        let visit = Visit::new(VOICEMAIL, &self.0, call);
        let owner = call.identity.as_deref().and_then(|user| self.0.owner(user));
        let is_owner = owner.is_some();
        let (machine, first) = Hearing::begin(self.0.pins.clone(), owner);
        Hears { visit, is_owner, machine, first: Some(first), refused: 0, at: At::Beginning }
    }
}

/// A caller who hears messages.
struct Hears {
    visit: Visit,
    /// The call comes from a phone of the mailbox's owner.
    is_owner: bool,
    machine: Hearing,
    /// The machine's first action, once the caller is answered.
    first: Option<Do>,
    /// The number of wrong PINs so far.
    refused: usize,
    at: At,
}

/// The action in progress.
enum At {
    Beginning,
    Answering(WantId),
    Entering(WantId),
    /// A prompt; whether it asks for a PIN.
    Speaking(Speech, bool),
    /// The input may be checked when the timer fires.
    Weighing(Came, Attempt),
    /// Setting the mailbox on the call.
    Opening(WantId, String),
    Ageing(WantId, usize),
    Deleting(WantId, usize),
}

impl Application for Hears {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        let went_on = match event {
            AppEvent::Begin => {
                self.at = At::Answering(wants.answer(self.visit.call.leg));
                Ok(())
            }
            AppEvent::Answered { want, answer } => self.answered(now, want, answer, wants),
            AppEvent::Timer(_) => {
                if let At::Weighing(came, attempt) = std::mem::replace(&mut self.at, At::Beginning) {
                    self.goes_on(came, Some(attempt), wants);
                }
                Ok(())
            }
            // The result of a file operation in progress is still reported.
            AppEvent::Gone if matches!(self.at, At::Ageing(..) | At::Deleting(..)) => Ok(()),
            AppEvent::Gone => Err(CallError::Gone),
            AppEvent::Resumed => {
                self.resumes(wants);
                Ok(())
            }
            AppEvent::Told(_) | AppEvent::Lost(_) | AppEvent::Over => Ok(()),
        };
        if let Err(error) = went_on {
            self.visit.ended(Err(error), wants);
        }
    }

    fn save(&self) -> Option<Saved> {
        let begun = self.first.is_none().then_some(&self.machine);
        Saved::of(&(begun, &self.visit.mailbox, &self.visit.messages))
    }
}

impl Hears {
    /// The process that had the caller has ended; what it was doing to a file may be done.
    fn resumes(&mut self, wants: &mut Wants) {
        let (call, leg) = (self.visit.call.call, self.visit.call.leg);
        if self.first.is_some() {
            self.at = match self.visit.call.answered {
                true => At::Entering(wants.enter(call, Place::Ivr)),
                false => At::Answering(wants.answer(leg)),
            };
            return;
        }
        let Visit { house, mailbox, messages, .. } = &mut self.visit;
        let now = |it: &mut Message| {
            let age = house.mailboxes.age_of(mailbox, &it.file);
            it.age = age.unwrap_or(it.age);
            age
        };
        let ages: Vec<_> = messages.iter_mut().map(now).collect();
        match self.machine.again(ages.clone()) {
            Do::Delete(n) if ages.get(n) == Some(&None) => {
                self.deleted(&Came::Done, n, wants);
                self.goes_on(Came::Done, None, wants);
            }
            act => self.does(act, wants),
        }
    }

    fn answered(
        &mut self,
        now: Instant,
        want: WantId,
        answer: AppAnswer,
        wants: &mut Wants,
    ) -> Result<(), CallError> {
        match &mut self.at {
            At::Answering(waits) if *waits == want => {
                answer.done()?;
                self.at = At::Entering(wants.enter(self.visit.call.call, Place::Ivr));
            }
            At::Entering(waits) if *waits == want => {
                answer.done()?;
                let first = self.first.take().unwrap_or(Do::HangUp);
                self.does(first, wants);
            }
            At::Speaking(speech, is_pin) if speech.waits_for(want) => {
                let is_pin = *is_pin;
                match speech.answered(&self.visit, answer, wants)? {
                    Some(came) if is_pin => self.weighs(now, came, wants),
                    Some(came) => self.goes_on(came, None, wants),
                    None => {}
                }
            }
            At::Opening(waits, mailbox) if *waits == want => {
                answer.done()?;
                self.visit.mailbox = std::mem::take(mailbox);
                self.visit.messages = self.visit.house.mailboxes.messages(&self.visit.mailbox);
                let came = Came::Opened(self.visit.messages.iter().map(|message| message.age).collect());
                self.goes_on(came, None, wants);
            }
            At::Ageing(waits, n) if *waits == want => {
                let n = *n;
                let came = self.visit.carried_out(answer, wants);
                self.aged(&came, n, wants);
                self.goes_on(came, None, wants);
            }
            At::Deleting(waits, n) if *waits == want => {
                let n = *n;
                let came = self.visit.carried_out(answer, wants);
                self.deleted(&came, n, wants);
                self.goes_on(came, None, wants);
            }
            // An answer that is no longer awaited.
            _ => {}
        }
        Ok(())
    }

    /// Processes the input to the question for a PIN, once it may be checked.
    fn weighs(&mut self, now: Instant, came: Came, wants: &mut Wants) {
        if !matches!(&came, Came::Keys(keys) if !keys.is_empty()) {
            return self.goes_on(came, None, wants);
        }
        let place = format!("{VOICEMAIL}/{}", self.machine.mailbox());
        let pins = self.visit.house.mailboxes.wrong_pins();
        let attempt = pins.attempt(now, &place, &Caller::of(&self.visit.call), self.is_owner);
        match attempt.wait() {
            Some(wait) if wait.is_zero() => self.goes_on(came, Some(attempt), wants),
            Some(wait) => {
                wants.set_timer(LATER, now + wait);
                self.at = At::Weighing(came, attempt);
            }
            None => self.goes_on(Came::Keys(String::new()), Some(attempt), wants),
        }
    }

    fn goes_on(&mut self, came: Came, attempt: Option<Attempt>, wants: &mut Wants) {
        let act = self.machine.came(came);
        let times = self.machine.refused();
        if times > self.refused {
            self.refused = times;
            let over_calls = attempt.map(Attempt::wrong);
            let mailbox = self.machine.mailbox();
            let data = json!({ "mailbox": mailbox, "times": times, "over_calls": over_calls });
            self.visit.tell("wrong_pin", data, wants);
        } else if let Some(attempt) = attempt {
            attempt.right(true);
        }
        self.does(act, wants);
    }

    fn does(&mut self, act: Do, wants: &mut Wants) {
        let visit = &self.visit;
        let house = visit.house.clone();
        self.at = match act {
            Do::Say(said) => At::Speaking(Speech::begin(visit, &said, None, wants), false),
            Do::Ask(said, keys) => {
                At::Speaking(Speech::begin(visit, &said, Some(keys), wants), keys == Keys::Pin)
            }
            Do::Open(mailbox) => At::Opening(wants.set_variable(visit.call.leg, MAILBOX, &mailbox), mailbox),
            Do::Age(n) => {
                let Some(message) = visit.messages.get(n) else {
                    return self.goes_on(Came::NotDone, None, wants);
                };
                let from = house.path(&visit.mailbox, message.age, &message.file);
                let to = house.path(&visit.mailbox, Age::Old, &message.file);
                At::Ageing(wants.run(move |_| house.files.rename(&from, &to)), n)
            }
            Do::Delete(n) => {
                let Some(message) = visit.messages.get(n) else {
                    return self.goes_on(Came::NotDone, None, wants);
                };
                let path = house.path(&visit.mailbox, message.age, &message.file);
                At::Deleting(wants.run(move |_| house.files.remove(&path)), n)
            }
            _ => return wants.end(HandlerAction::Disconnect),
        };
    }

    fn aged(&mut self, came: &Came, n: usize, wants: &mut Wants) {
        if let Some(message) = self.visit.messages.get_mut(n).filter(|_| *came == Came::Done) {
            message.age = Age::Old;
            let message = message.clone();
            let counts = self.visit.house.mailboxes.put(&self.visit.mailbox, message);
            self.visit.changed(counts, wants);
        }
    }

    fn deleted(&self, came: &Came, n: usize, wants: &mut Wants) {
        let visit = &self.visit;
        if let Some(message) = visit.messages.get(n).filter(|_| *came == Came::Done) {
            let path = visit.house.path(&visit.mailbox, message.age, &message.file);
            visit.changed(visit.house.mailboxes.remove(&visit.mailbox, &message.file), wants);
            visit.tell("deleted", json!({ "mailbox": visit.mailbox, "file": path }), wants);
        }
    }
}
