//! The common part of leaving and hearing messages: the caller, announcements, and errors.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::boxes::{Counts, Message};
use super::machine::{Came, Keys, Saying};
use super::{House, VOICEMAIL, Word};
use b2b_call::application::{AppAnswer, WantId, Wants};
use b2b_call::controller::{CollectEnd, Collected, DigitPlan, Part, Prompt};
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::service::{CallError, MediaVerbs};

/// The call variable with the mailbox.
pub(super) const MAILBOX: &str = "voicemail";
/// The call variable with the error.
const ERROR: &str = "voicemail_error";

/// A caller.
pub(super) struct Visit {
    pub app: String,
    pub house: Arc<House>,
    pub call: IncomingCall,
    pub mailbox: String,
    pub greeting: Option<Prompt>,
    pub messages: Vec<Message>,
}

impl Visit {
    pub fn new(app: &str, house: &Arc<House>, call: &IncomingCall) -> Self {
        Visit {
            app: app.to_owned(),
            house: house.clone(),
            call: call.clone(),
            mailbox: String::new(),
            greeting: None,
            messages: Vec::new(),
        }
    }

    pub fn ended(&self, how: Result<(), CallError>, wants: &mut Wants) {
        wants.end(match how {
            Ok(()) => HandlerAction::Disconnect,
            // The caller has hung up, or the service is stopping.
            Err(CallError::Gone | CallError::Stopping) => HandlerAction::Complete,
            Err(error) => {
                tracing::warn!("call {}: {}: {error}", self.call.call.0, self.app);
                HandlerAction::Reject { status: 488, reason: String::new() }
            }
        });
    }

    fn prompt(&self, saying: Saying) -> Prompt {
        let words = &self.house.words;
        match saying {
            Saying::Word(word) => words.prompt(word),
            Saying::Number(count, age) => words.count(count, age),
            Saying::Greeting => self.greeting.clone().unwrap_or_else(|| words.prompt(Word::Greeting)),
            Saying::Message(n) => match self.messages.get(n) {
                Some(message) => Prompt::file(self.house.path(&self.mailbox, message.age, &message.file)),
                None => Prompt::default(),
            },
        }
    }

    /// The result of a file operation.
    pub fn carried_out(&self, answer: AppAnswer, wants: &mut Wants) -> Came {
        let how = answer.own::<Result<(), String>>();
        match how.unwrap_or_else(|| Err("nothing was done to the file".to_owned())) {
            Ok(()) => Came::Done,
            Err(why) => {
                self.fails(&why, wants);
                Came::NotDone
            }
        }
    }

    pub fn changed(&self, counts: Option<Counts>, wants: &mut Wants) {
        if let Some(Counts { new, old }) = counts {
            let data = json!({ "mailbox": self.mailbox, "new": new, "old": old });
            wants.publish(None, VOICEMAIL, "mailbox_changed", data);
        }
    }

    /// Reports a failure of the server itself, also in the call's record.
    pub fn fails(&self, why: &str, wants: &mut Wants) {
        self.complain(why, wants);
        // The caller may have hung up.
        wants.set_variable(self.call.call, ERROR, &why[..why.floor_char_boundary(1_024)]);
    }

    pub fn complain(&self, why: &str, wants: &mut Wants) {
        tracing::error!("call {}: {}: {why}", self.call.call.0, self.app);
        self.tell("failed", json!({ "error": why }), wants);
    }

    pub fn tell(&self, what: &str, data: serde_json::Value, wants: &mut Wants) {
        wants.publish(Some(self.call.call), &self.app, what, data);
    }
}

/// An announcement with optional key collection. Parts that cannot be played are skipped.
pub(super) struct Speech {
    each: Vec<Prompt>,
    keys: Option<Keys>,
    at: At,
    waits: WantId,
    /// The result so far, without keys.
    came: Came,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Whole,
    /// This part, since the whole could not be played.
    Piece(usize),
    /// Every playable part was played.
    Collecting,
}

impl Speech {
    /// Starts the announcement; without `keys` no digits are collected.
    pub fn begin(visit: &Visit, said: &[Saying], keys: Option<Keys>, wants: &mut Wants) -> Self {
        let pause = || Part::Silence(Duration::from_millis(150));
        let each: Vec<Prompt> = said.iter().map(|saying| visit.prompt(*saying)).collect();
        let parts = each.iter().map(|prompt| prompt.parts.clone()).collect::<Vec<_>>().join(&pause());
        let (whole, leg) = (Prompt::new(parts), visit.call.leg);
        let waits = match keys {
            Some(keys) => wants.play_and_collect(leg, &whole, &plan(keys)),
            None => wants.play(leg, &whole),
        };
        Speech { each, keys, at: At::Whole, waits, came: Came::NotSaid }
    }

    /// Whether it waits for this answer.
    pub fn waits_for(&self, want: WantId) -> bool {
        self.waits == want
    }

    /// The result; `None` if it is not complete.
    pub fn answered(
        &mut self,
        visit: &Visit,
        answer: AppAnswer,
        wants: &mut Wants,
    ) -> Result<Option<Came>, CallError> {
        match (self.at, self.keys) {
            (At::Whole, Some(_)) => match answer.collected() {
                Err(CallError::Media(why)) => self.in_pieces(visit, &why, wants),
                collected => pressed(collected?).map(Some),
            },
            (At::Whole, None) => match answer.done() {
                Ok(()) => Ok(Some(Came::Said)),
                Err(CallError::Media(why)) => self.in_pieces(visit, &why, wants),
                Err(error) => Err(error),
            },
            (At::Piece(n), _) => {
                match answer.done() {
                    Ok(()) => self.came = Came::Said,
                    Err(CallError::Media(_)) => {}
                    Err(error) => return Err(error),
                }
                Ok(self.says(visit, n + 1, wants))
            }
            (At::Collecting, _) => pressed(answer.collected()?).map(Some),
        }
    }

    fn in_pieces(&mut self, visit: &Visit, why: &str, wants: &mut Wants) -> Result<Option<Came>, CallError> {
        visit.complain(why, wants);
        // A single part was tried already.
        let first = if self.each.len() > 1 { 0 } else { self.each.len() };
        Ok(self.says(visit, first, wants))
    }

    /// Plays this part, if there is one; otherwise collects keys.
    fn says(&mut self, visit: &Visit, n: usize, wants: &mut Wants) -> Option<Came> {
        let leg = visit.call.leg;
        (self.at, self.waits) = match (self.each.get(n), self.keys) {
            (Some(prompt), _) => (At::Piece(n), wants.play(leg, prompt)),
            (None, None | Some(Keys::Meanwhile)) => return Some(self.came.clone()),
            (None, Some(keys)) => (At::Collecting, wants.collect(leg, &plan(keys))),
        };
        None
    }
}

fn plan(keys: Keys) -> DigitPlan {
    match keys {
        // The collection ends with the prompt.
        Keys::Meanwhile => {
            DigitPlan { terminators: String::new(), first: Duration::from_millis(1), ..DigitPlan::new(1) }
        }
        Keys::Choice => DigitPlan { terminators: String::new(), type_ahead: true, ..DigitPlan::new(1) },
        // The caller may type the PIN ahead, after the mailbox.
        Keys::Mailbox => DigitPlan { type_ahead: true, secret: true, ..DigitPlan::new(32) },
        Keys::Pin => DigitPlan { type_ahead: true, secret: true, ..DigitPlan::new(16) },
    }
}

fn pressed(collected: Collected) -> Result<Came, CallError> {
    match collected {
        // The caller has hung up, or another application has taken them over.
        Collected { end: CollectEnd::Stopped, .. } => Err(CallError::Gone),
        Collected { digits, .. } => Ok(Came::Keys(digits)),
    }
}
