//! A caller's way through a mailbox: it carries out what the machines say, over the call model.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::boxes::{Age, Message, Place as Reserved};
use super::machine::{Came, Do, Hearing, Keys, Leaving, Saying};
use super::{House, MailboxConfig, VOICEMAIL};
use crate::wrong_pins::Attempt;
use b2b_call::controller::{
    CollectEnd, Collected, DigitPlan, Part, Prompt, Recorded, RecordingId, RecordingSpec,
};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallError, CallService, Place};

/// The variable of a call that names the mailbox.
const MAILBOX: &str = "voicemail";
/// The variable of a call that says what went wrong.
const ERROR: &str = "voicemail_error";
/// Longer than any message.
const ALWAYS: Duration = Duration::from_secs(7 * 86_400);

/// The application in which callers leave messages for one mailbox.
pub(super) struct Leave {
    name: String,
    house: Arc<House>,
    mailbox: MailboxConfig,
}

impl Leave {
    pub fn new(house: Arc<House>, mailbox: MailboxConfig) -> Self {
        Leave { name: format!("{VOICEMAIL}/{}", mailbox.name), house, mailbox }
    }
}

impl ApplicationHandler for Leave {
    fn name(&self) -> &str {
        &self.name
    }

    /// Only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let mut visit = Visit::new(&self.name, &self.house, call, service);
        visit.mailbox = self.mailbox.name.clone();
        visit.greeting = self.mailbox.greeting.clone().map(Prompt::file);
        let mailbox = self.mailbox.clone();
        Box::pin(async move { visit.ended(visit.begin_leaving(&mailbox).await) })
    }
}

/// The application in which owners hear their messages.
pub(super) struct Hear(pub Arc<House>);

impl ApplicationHandler for Hear {
    fn name(&self) -> &str {
        VOICEMAIL
    }

    /// Only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let mut visit = Visit::new(VOICEMAIL, &self.0, call, service);
        Box::pin(async move {
            let how = visit.hears().await;
            visit.ended(how)
        })
    }
}

/// One caller.
struct Visit {
    app: String,
    house: Arc<House>,
    service: CallService,
    call: IncomingCall,
    mailbox: String,
    greeting: Option<Prompt>,
    messages: Vec<Message>,
}

impl Visit {
    fn new(app: &str, house: &Arc<House>, call: IncomingCall, service: CallService) -> Self {
        Visit {
            app: app.to_owned(),
            house: house.clone(),
            service,
            call,
            mailbox: String::new(),
            greeting: None,
            messages: Vec::new(),
        }
    }

    async fn begin(&self) -> Result<(), CallError> {
        self.service.answer(self.call.leg).await?;
        self.service.enter(self.call.call, Place::Ivr).await
    }

    fn ended(&self, how: Result<(), CallError>) -> HandlerAction {
        match how {
            Ok(()) => HandlerAction::Disconnect,
            // He has hung up, or everything ends.
            Err(CallError::Gone | CallError::Stopping) => HandlerAction::Complete,
            Err(error) => {
                tracing::warn!("call {}: {}: {error}", self.call.call.0, self.app);
                HandlerAction::Reject { status: 488, reason: String::new() }
            }
        }
    }

    // ---- leaving a message

    async fn begin_leaving(&self, config: &MailboxConfig) -> Result<(), CallError> {
        self.begin().await?;
        self.service.set_variable(self.call.leg, MAILBOX, &config.name).await?;
        let place = self.house.mailboxes.reserve(&config.name, config.most);
        if place.is_none() {
            self.tell("full", json!({ "mailbox": config.name }));
        }
        self.leaves(config, place).await
    }

    /// His place is kept while he speaks.
    async fn leaves(&self, config: &MailboxConfig, place: Option<Reserved>) -> Result<(), CallError> {
        let now = self.service.now().await?;
        let file = self.house.name_of(now, self.call.call);
        let written = self.house.coming(&config.name, &file);
        let (mut machine, mut act) = Leaving::begin(place.is_some());
        let mut recorded: Option<Recorded> = None;
        loop {
            let came = match act {
                Do::Say(said) => self.say(&said).await?,
                Do::Ask(said, keys) => self.ask(&said, keys).await?,
                Do::Record => {
                    let path = written.clone();
                    let rate_hz = 8_000;
                    let (longest, silence) = (Some(config.longest), self.house.silence);
                    let spec = RecordingSpec { stereo: false, rate_hz, longest, silence, path };
                    recorded = self.record(&spec).await?;
                    match &recorded {
                        Some(Recorded { lasts, spoken, error, .. }) => {
                            let (lasts, spoken, cut) = (*lasts, *spoken, error.is_some());
                            Came::Recorded { lasts, spoken, cut }
                        }
                        None => Came::NotRecorded,
                    }
                }
                Do::Keep => {
                    let lasts = recorded.as_ref().map_or(Duration::ZERO, |it| it.lasts);
                    self.keep(&config.name, &file, lasts).await
                }
                Do::Discard => {
                    self.tell("discarded", json!({ "mailbox": config.name }));
                    self.carried_out(self.house.files.remove(&written).await).await
                }
                _ => return Ok(()),
            };
            act = machine.came(&came);
        }
    }

    /// Until its end; none: there is no recording.
    async fn record(&self, spec: &RecordingSpec) -> Result<Option<Recorded>, CallError> {
        let recording = match self.service.start_recording(self.call.leg, spec).await {
            Ok(recording) => recording,
            Err(CallError::Media(why)) => {
                self.fails(&why).await;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let over = tokio::select! {
            biased;
            over = self.service.wait_for_recording(recording) => over,
            () = self.hash() => self.service.stop_recording(recording).await,
            over = self.gone(recording) => over,
        };
        match over {
            Ok(recorded) => {
                if let Some(error) = &recorded.error {
                    self.fails(error).await;
                }
                Ok(Some(recorded))
            }
            Err(CallError::Media(why)) => {
                self.fails(&why).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Until `#` is pressed; never, if it cannot be any more.
    async fn hash(&self) {
        let plan = DigitPlan { first: ALWAYS, total: ALWAYS, ..DigitPlan::new(1) };
        while let Ok(collected) = self.service.collect(self.call.leg, &plan).await {
            match collected.end {
                CollectEnd::Terminator(_) => return,
                CollectEnd::Stopped => break,
                _ => {}
            }
        }
        std::future::pending().await
    }

    /// Until the caller has gone.
    async fn gone(&self, recording: RecordingId) -> Result<Recorded, CallError> {
        let _ = self.service.wait_for_termination(self.call.leg).await;
        self.service.stop_recording(recording).await
    }

    async fn keep(&self, mailbox: &str, file: &str, lasts: Duration) -> Came {
        let (from, to) = (self.house.coming(mailbox, file), self.house.path(mailbox, Age::New, file));
        let kept = self.house.files.rename(&from, &to).await;
        if kept.is_ok() {
            let message = Message { file: file.to_owned(), age: Age::New };
            self.changed(mailbox, self.house.mailboxes.put(mailbox, message));
            let data = json!({
                "mailbox": mailbox,
                "file": to,
                "lasts_s": lasts.as_secs_f64(),
                "caller": self.call.caller(),
            });
            self.tell("message", data);
        }
        self.carried_out(kept).await
    }

    // ---- hearing messages

    async fn hears(&mut self) -> Result<(), CallError> {
        self.begin().await?;
        let owner = self.call.identity.as_deref().and_then(|user| self.house.owner(user));
        let (mut machine, mut act) = Hearing::begin(self.house.pins.clone(), owner.clone());
        let mut refused = 0;
        loop {
            let mut attempt = None;
            let came = match act {
                Do::Say(said) => self.say(&said).await?,
                Do::Ask(said, Keys::Pin) => {
                    let said = self.ask(&said, Keys::Pin).await?;
                    let came;
                    (came, attempt) = self.weigh(said, machine.mailbox(), owner.is_some()).await?;
                    came
                }
                Do::Ask(said, keys) => self.ask(&said, keys).await?,
                Do::Open(mailbox) => {
                    self.service.set_variable(self.call.leg, MAILBOX, &mailbox).await?;
                    self.messages = self.house.mailboxes.messages(&mailbox);
                    self.mailbox = mailbox;
                    Came::Opened(self.messages.iter().map(|message| message.age).collect())
                }
                Do::Age(n) => self.age(n).await,
                Do::Delete(n) => self.delete(n).await,
                _ => return Ok(()),
            };
            act = machine.came(came);
            if machine.refused() > refused {
                refused = machine.refused();
                let over_calls = attempt.map(Attempt::wrong);
                let data =
                    json!({ "mailbox": machine.mailbox(), "times": refused, "over_calls": over_calls });
                self.tell("wrong_pin", data);
            } else if let Some(attempt) = attempt {
                attempt.right();
            }
        }
    }

    /// What was said in answer to a PIN's question, once it may be looked at.
    async fn weigh(
        &self,
        came: Came,
        mailbox: &str,
        owner: bool,
    ) -> Result<(Came, Option<Attempt>), CallError> {
        if !matches!(&came, Came::Keys(keys) if !keys.is_empty()) {
            return Ok((came, None));
        }
        let (now, place) = (self.service.now().await?, format!("{VOICEMAIL}/{mailbox}"));
        let pins = self.house.mailboxes.wrong_pins();
        let attempt = pins.attempt(now, &place, &self.call.who(), owner);
        match attempt.wait() {
            Some(wait) => {
                self.service.sleep(wait).await?;
                Ok((came, Some(attempt)))
            }
            None => Ok((Came::Keys(String::new()), Some(attempt))),
        }
    }

    async fn age(&mut self, n: usize) -> Came {
        let Some(message) = self.messages.get_mut(n) else { return Came::NotDone };
        let from = self.house.path(&self.mailbox, message.age, &message.file);
        let to = self.house.path(&self.mailbox, Age::Old, &message.file);
        let moved = self.house.files.rename(&from, &to).await;
        if moved.is_ok() {
            message.age = Age::Old;
            let message = message.clone();
            self.changed(&self.mailbox, self.house.mailboxes.put(&self.mailbox, message));
        }
        self.carried_out(moved).await
    }

    async fn delete(&self, n: usize) -> Came {
        let Some(message) = self.messages.get(n) else { return Came::NotDone };
        let path = self.house.path(&self.mailbox, message.age, &message.file);
        let removed = self.house.files.remove(&path).await;
        if removed.is_ok() {
            self.changed(&self.mailbox, self.house.mailboxes.remove(&self.mailbox, &message.file));
            self.tell("deleted", json!({ "mailbox": self.mailbox, "file": path }));
        }
        self.carried_out(removed).await
    }

    // ---- what both do

    fn prompt(&self, saying: Saying) -> Prompt {
        let words = &self.house.words;
        match saying {
            Saying::Word(word) => words.prompt(word),
            Saying::Number(count, age) => words.count(count, age),
            Saying::Greeting => self.greeting.clone().unwrap_or_else(|| words.prompt(super::Word::Greeting)),
            Saying::Message(n) => match self.messages.get(n) {
                Some(message) => Prompt::file(self.house.path(&self.mailbox, message.age, &message.file)),
                None => Prompt::default(),
            },
        }
    }

    fn prompts(&self, said: &[Saying]) -> (Vec<Prompt>, Prompt) {
        let pause = || Part::Silence(Duration::from_millis(150));
        let each: Vec<Prompt> = said.iter().map(|saying| self.prompt(*saying)).collect();
        let parts = each.iter().map(|prompt| prompt.parts.clone()).collect::<Vec<_>>().join(&pause());
        (each, Prompt::new(parts))
    }

    async fn say(&self, said: &[Saying]) -> Result<Came, CallError> {
        let (each, whole) = self.prompts(said);
        match self.service.play(self.call.leg, &whole).await {
            Ok(_) => Ok(Came::Said),
            Err(CallError::Media(why)) => self.say_what_is_there(&each, &why).await,
            Err(error) => Err(error),
        }
    }

    /// What cannot be played is passed over.
    async fn say_what_is_there(&self, each: &[Prompt], why: &str) -> Result<Came, CallError> {
        self.complain(why);
        let mut came = Came::NotSaid;
        for prompt in each.iter().filter(|_| each.len() > 1) {
            match self.service.play(self.call.leg, prompt).await {
                Ok(_) => came = Came::Said,
                Err(CallError::Media(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(came)
    }

    async fn ask(&self, said: &[Saying], keys: Keys) -> Result<Came, CallError> {
        let plan = match keys {
            // It is over with the prompt.
            Keys::Meanwhile => {
                DigitPlan { terminators: String::new(), first: Duration::from_millis(1), ..DigitPlan::new(1) }
            }
            Keys::Choice => DigitPlan { terminators: String::new(), type_ahead: true, ..DigitPlan::new(1) },
            // Who types ahead types their PIN behind it.
            Keys::Mailbox => DigitPlan { type_ahead: true, secret: true, ..DigitPlan::new(32) },
            Keys::Pin => DigitPlan { type_ahead: true, secret: true, ..DigitPlan::new(16) },
        };
        let (each, whole) = self.prompts(said);
        let collected = match self.service.play_and_collect(self.call.leg, &whole, &plan).await {
            Err(CallError::Media(why)) => {
                let came = self.say_what_is_there(&each, &why).await?;
                if keys == Keys::Meanwhile {
                    return Ok(came);
                }
                self.service.collect(self.call.leg, &plan).await?
            }
            collected => collected?,
        };
        match collected {
            // He has gone, or another one has taken him away.
            Collected { end: CollectEnd::Stopped, .. } => Err(CallError::Gone),
            Collected { digits, .. } => Ok(Came::Keys(digits)),
        }
    }

    /// Tells of what was done with a file.
    async fn carried_out(&self, how: Result<(), String>) -> Came {
        match how {
            Ok(()) => Came::Done,
            Err(why) => {
                self.fails(&why).await;
                Came::NotDone
            }
        }
    }

    fn changed(&self, mailbox: &str, counts: Option<super::Counts>) {
        if let Some(super::Counts { new, old }) = counts {
            let data = json!({ "mailbox": mailbox, "new": new, "old": old });
            // A service that has stopped has no readers.
            let _ = self.service.publish(None, VOICEMAIL, "mailbox_changed", data);
        }
    }

    /// Something is wrong with the server's own things: the call's record says what.
    async fn fails(&self, why: &str) {
        self.complain(why);
        // He may have gone.
        let _ = self.service.set_variable(self.call.call, ERROR, why.get(..1_024).unwrap_or(why)).await;
    }

    fn complain(&self, why: &str) {
        tracing::error!("call {}: {}: {why}", self.call.call.0, self.app);
        self.tell("failed", json!({ "error": why }));
    }

    fn tell(&self, what: &str, data: serde_json::Value) {
        // A service that has stopped has no readers.
        let _ = self.service.publish(Some(self.call.call), &self.app, what, data);
    }
}
