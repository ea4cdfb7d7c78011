//! What both ways through a mailbox have: who it is, what is said, and what goes wrong.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::boxes::{Counts, Message};
use super::machine::{Came, Keys, Saying};
use super::{House, VOICEMAIL, Word};
use b2b_call::application::{AppAnswer, WantId, Wants};
use b2b_call::controller::{CollectEnd, Collected, DigitPlan, Part, Prompt};
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::service::CallError;

/// The variable of a call that names the mailbox.
pub(super) const MAILBOX: &str = "voicemail";
/// The variable of a call that says what went wrong.
const ERROR: &str = "voicemail_error";

/// One caller.
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
            // The caller has hung up, or everything ends.
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

    /// What was done with a file.
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

    /// Something is wrong with the server's own things: the call's record says what.
    pub fn fails(&self, why: &str, wants: &mut Wants) {
        self.complain(why, wants);
        // The caller may have gone.
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

/// Something is said, and keys are waited for. What cannot be said is passed over, piece by piece.
pub(super) struct Speech {
    each: Vec<Prompt>,
    keys: Option<Keys>,
    at: At,
    waits: WantId,
    /// What has come of it so far, without keys.
    came: Came,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Whole,
    /// This piece, since the whole could not be said.
    Piece(usize),
    /// All is said that could be.
    Collecting,
}

impl Speech {
    /// Begins; without keys nobody listens.
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

    /// Whether this is what it waits for.
    pub fn waits_for(&self, want: WantId) -> bool {
        self.waits == want
    }

    /// What has come of it; none: nothing yet.
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
        // One that is all there is has been tried.
        let first = if self.each.len() > 1 { 0 } else { self.each.len() };
        Ok(self.says(visit, first, wants))
    }

    /// This piece, if there is one, else keys.
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
        // It is over with the prompt.
        Keys::Meanwhile => {
            DigitPlan { terminators: String::new(), first: Duration::from_millis(1), ..DigitPlan::new(1) }
        }
        Keys::Choice => DigitPlan { terminators: String::new(), type_ahead: true, ..DigitPlan::new(1) },
        // Who types ahead types their PIN behind it.
        Keys::Mailbox => DigitPlan { type_ahead: true, secret: true, ..DigitPlan::new(32) },
        Keys::Pin => DigitPlan { type_ahead: true, secret: true, ..DigitPlan::new(16) },
    }
}

fn pressed(collected: Collected) -> Result<Came, CallError> {
    match collected {
        // The caller has gone, or another one has taken them away.
        Collected { end: CollectEnd::Stopped, .. } => Err(CallError::Gone),
        Collected { digits, .. } => Ok(Came::Keys(digits)),
    }
}
