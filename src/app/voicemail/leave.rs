//! The application in which callers leave messages: carries out the machine's actions on the call model.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::boxes::{Age, Message, Place as Reserved};
use super::machine::{Came, Do, Leaving, SHORTEST};
use super::visit::{MAILBOX, Speech, Visit};
use super::{Coding, House, MailboxConfig, VOICEMAIL};
use b2b_call::application::{AppAnswer, AppEvent, Application, Saved, WantId, Wants};
use b2b_call::controller::{CollectEnd, DigitPlan, Prompt, Recorded, RecordingId, RecordingSpec};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, MediaVerbs, Place};

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

    fn leaves(&self, call: &IncomingCall, stay: Stay) -> Leaves {
        let mut visit = Visit::new(&self.name, &self.house, call);
        visit.mailbox = self.mailbox.name.clone();
        visit.greeting = self.mailbox.greeting.clone().map(Prompt::file);
        let (config, at) = (self.mailbox.clone(), At::Answering(None));
        Leaves { visit, config, at, place: None, stay, has_before: false, has_gone: false }
    }
}

impl ApplicationHandler for Leave {
    fn name(&self) -> &str {
        &self.name
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        Some(Box::new(self.leaves(call, Stay::default())))
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        Some(Box::new(self.leaves(call, saved.read()?)))
    }
}

/// A caller who leaves a message.
struct Leaves {
    visit: Visit,
    config: MailboxConfig,
    at: At,
    /// Reserved for the caller's message.
    place: Option<Reserved>,
    stay: Stay,
    /// What was recorded in the process before is to be continued.
    has_before: bool,
    has_gone: bool,
}

/// What goes on in another process.
#[derive(Default, Serialize, Deserialize)]
struct Stay {
    /// `None`: the caller is not greeted yet.
    machine: Option<Leaving>,
    /// The file name of the message.
    file: String,
    recorded: Option<Recorded>,
}

/// The action in progress.
enum At {
    Answering(Option<WantId>),
    Entering(WantId),
    /// Setting the mailbox on the call.
    Naming(WantId),
    Speaking(Speech),
    /// What was recorded in the process before is taken back from the messages.
    TakingBack(WantId),
    /// A recording is starting.
    Beginning(WantId),
    Recording(Recording),
    Keeping(WantId),
    Discarding(WantId),
}

/// A recording in progress.
struct Recording {
    id: RecordingId,
    ends: WantId,
    /// The collection that waits for `#`; `None` if it has ended.
    hash: Option<WantId>,
}

impl Application for Leaves {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        let went_on = match event {
            AppEvent::Begin => {
                self.at = At::Answering(Some(wants.answer(self.visit.call.leg)));
                Ok(())
            }
            AppEvent::Answered { want, answer } => self.answered(now, want, answer, wants),
            AppEvent::Gone => {
                self.has_gone = true;
                match &mut self.at {
                    At::Recording(recording) => {
                        recording.stop(wants);
                        Ok(())
                    }
                    // The recorded message is still saved or discarded.
                    At::TakingBack(_) | At::Beginning(_) | At::Keeping(_) | At::Discarding(_) => Ok(()),
                    _ => Err(CallError::Gone),
                }
            }
            AppEvent::Resumed => {
                self.resumes(now, wants);
                Ok(())
            }
            AppEvent::Over => {
                if let At::Recording(recording) = &mut self.at {
                    recording.stop(wants);
                }
                self.place = None;
                Ok(())
            }
            AppEvent::Timer(_) | AppEvent::Told(_) | AppEvent::Lost(_) => Ok(()),
        };
        if let Err(error) = went_on {
            self.visit.ended(Err(error), wants);
        }
    }

    fn save(&self) -> Option<Saved> {
        Saved::of(&self.stay)
    }
}

impl Recording {
    fn stop(&mut self, wants: &mut Wants) {
        self.hash = None;
        self.ends = wants.stop_recording(self.id);
    }
}

fn until_hash() -> DigitPlan {
    DigitPlan { first: ALWAYS, total: ALWAYS, ..DigitPlan::new(1) }
}

impl Leaves {
    fn written(&self) -> PathBuf {
        self.visit.house.coming(&self.config.name, &self.stay.file)
    }

    /// The process that had the caller has ended. What it recorded may be a message since this one has started.
    fn resumes(&mut self, now: Instant, wants: &mut Wants) {
        let (house, call, leg) = (self.visit.house.clone(), self.visit.call.call, self.visit.call.leg);
        let Some(machine) = &self.stay.machine else {
            self.at = match self.visit.call.answered {
                true => At::Entering(wants.enter(call, Place::Ivr)),
                false => At::Answering(Some(wants.answer(leg))),
            };
            return;
        };
        let act = machine.act();
        let new = house.path(&self.config.name, Age::New, &self.stay.file);
        let is_message = house.mailboxes.age_of(&self.config.name, &self.stay.file).is_some();
        // Ogg cannot be continued: what was said before is a message of its own.
        if act == Do::Record && house.coding == Coding::Opus {
            self.stay.file = house.name_of(now, call);
        } else if is_message && matches!(act, Do::Record | Do::Discard) {
            self.visit.changed(house.mailboxes.remove(&self.config.name, &self.stay.file), wants);
        }
        self.place = house.mailboxes.reserve(&self.config.name, self.config.most);
        match act {
            Do::Record if is_message && house.coding != Coding::Opus => {
                let written = self.written();
                self.at = At::TakingBack(wants.run(move |_| house.files.rename(&new, &written)));
            }
            Do::Keep if is_message => {
                self.kept(&Came::Done, wants);
                self.goes_on(&Came::Done, wants);
            }
            Do::Discard if is_message => {
                self.at = At::Discarding(wants.run(move |_| house.files.remove(&new)));
            }
            // It was deleted, by then or when this process started.
            Do::Discard => self.goes_on(&Came::Done, wants),
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
        let (call, leg) = (self.visit.call.call, self.visit.call.leg);
        match &mut self.at {
            At::Answering(Some(waits)) if *waits == want => {
                answer.done()?;
                self.at = At::Entering(wants.enter(call, Place::Ivr));
            }
            At::Entering(waits) if *waits == want => {
                answer.done()?;
                self.at = At::Naming(wants.set_variable(leg, MAILBOX, &self.config.name));
            }
            At::Naming(waits) if *waits == want => {
                answer.done()?;
                self.begins(now, wants);
            }
            At::Speaking(speech) if speech.waits_for(want) => {
                if let Some(came) = speech.answered(&self.visit, answer, wants)? {
                    self.goes_on(&came, wants);
                }
            }
            At::TakingBack(waits) if *waits == want => {
                self.has_before = self.visit.carried_out(answer, wants) == Came::Done;
                if !self.has_before {
                    // It stays a message of its own.
                    let message = Message { file: self.stay.file.clone(), age: Age::New };
                    self.visit.changed(self.visit.house.mailboxes.put(&self.config.name, message), wants);
                    self.stay.file = self.visit.house.name_of(now, call);
                }
                self.does(Do::Record, wants);
            }
            At::Beginning(waits) if *waits == want => self.records(answer.recording(), wants)?,
            At::Recording(recording) if recording.ends == want => {
                self.recorded(answer.recorded(), wants)?;
            }
            At::Recording(recording) if recording.hash == Some(want) => {
                match answer.collected().map(|it| it.end) {
                    Ok(CollectEnd::Terminator(_)) => recording.stop(wants),
                    Ok(CollectEnd::Stopped) | Err(_) => recording.hash = None,
                    // Other keys are ignored.
                    Ok(_) => recording.hash = Some(wants.collect(leg, &until_hash())),
                }
            }
            At::Keeping(waits) if *waits == want => {
                let came = self.visit.carried_out(answer, wants);
                self.kept(&came, wants);
                self.goes_on(&came, wants);
            }
            At::Discarding(waits) if *waits == want => {
                let came = self.visit.carried_out(answer, wants);
                self.goes_on(&came, wants);
            }
            // An answer that is no longer awaited.
            _ => {}
        }
        Ok(())
    }

    fn begins(&mut self, now: Instant, wants: &mut Wants) {
        self.place = self.visit.house.mailboxes.reserve(&self.config.name, self.config.most);
        if self.place.is_none() {
            self.visit.tell("full", json!({ "mailbox": self.config.name }), wants);
        }
        self.stay.file = self.visit.house.name_of(now, self.visit.call.call);
        let (machine, act) = Leaving::begin(self.place.is_some());
        self.stay.machine = Some(machine);
        self.does(act, wants);
    }

    fn goes_on(&mut self, came: &Came, wants: &mut Wants) {
        let act = self.stay.machine.as_mut().map_or(Do::HangUp, |machine| machine.came(came));
        self.does(act, wants);
    }

    fn does(&mut self, act: Do, wants: &mut Wants) {
        let (house, leg) = (self.visit.house.clone(), self.visit.call.leg);
        self.at = match act {
            Do::Say(_) | Do::Ask(..) if self.has_gone => {
                return self.visit.ended(Err(CallError::Gone), wants);
            }
            Do::Say(said) => At::Speaking(Speech::begin(&self.visit, &said, None, wants)),
            Do::Ask(said, keys) => At::Speaking(Speech::begin(&self.visit, &said, Some(keys), wants)),
            Do::Record => {
                let (longest, silence) = (Some(self.config.longest), house.silence);
                let path = self.written();
                let (coding, spec) = (house.coding, RecordingSpec::new(path));
                let append = self.visit.call.resumed && coding != Coding::Opus;
                let spec = RecordingSpec { stereo: false, longest, silence, coding, append, ..spec };
                At::Beginning(wants.start_recording(leg, &spec))
            }
            Do::Keep => {
                let (from, to) = (self.written(), house.path(&self.config.name, Age::New, &self.stay.file));
                At::Keeping(wants.run(move |_| house.files.rename(&from, &to)))
            }
            Do::Discard => {
                self.visit.tell("discarded", json!({ "mailbox": self.config.name }), wants);
                let written = self.written();
                At::Discarding(wants.run(move |_| house.files.remove(&written)))
            }
            _ => return wants.end(HandlerAction::Disconnect),
        };
    }

    fn records(&mut self, begun: Result<RecordingId, CallError>, wants: &mut Wants) -> Result<(), CallError> {
        match begun {
            Ok(id) => {
                let ends = wants.wait_for_recording(id);
                let hash = wants.collect(self.visit.call.leg, &until_hash());
                let mut recording = Recording { id, ends, hash: Some(hash) };
                if self.has_gone {
                    recording.stop(wants);
                }
                self.at = At::Recording(recording);
                Ok(())
            }
            Err(error) if self.has_before => {
                if let CallError::Media(why) = error {
                    self.visit.fails(&why, wants);
                }
                // Nothing is added to what there is.
                self.goes_on(&Came::Recorded { lasts: SHORTEST, spoken: SHORTEST, cut: true }, wants);
                Ok(())
            }
            Err(error) => self.not_recorded(error, wants),
        }
    }

    fn not_recorded(&mut self, error: CallError, wants: &mut Wants) -> Result<(), CallError> {
        let CallError::Media(why) = error else { return Err(error) };
        self.visit.fails(&why, wants);
        self.goes_on(&Came::NotRecorded, wants);
        Ok(())
    }

    fn recorded(&mut self, over: Result<Recorded, CallError>, wants: &mut Wants) -> Result<(), CallError> {
        match over {
            Ok(recorded) => {
                if let Some(error) = &recorded.error {
                    self.visit.fails(error, wants);
                }
                let (lasts, spoken, cut) = (recorded.lasts, recorded.spoken, recorded.error.is_some());
                self.stay.recorded = Some(recorded);
                self.goes_on(&Came::Recorded { lasts, spoken, cut }, wants);
                Ok(())
            }
            Err(error) => self.not_recorded(error, wants),
        }
    }

    fn kept(&self, came: &Came, wants: &mut Wants) {
        if *came != Came::Done {
            return;
        }
        let (house, mailbox) = (&self.visit.house, &self.config.name);
        let message = Message { file: self.stay.file.clone(), age: Age::New };
        self.visit.changed(house.mailboxes.put(mailbox, message), wants);
        let lasts = self.stay.recorded.as_ref().map_or(Duration::ZERO, |it| it.lasts);
        let data = json!({
            "mailbox": mailbox,
            "file": house.path(mailbox, Age::New, &self.stay.file),
            "lasts_s": lasts.as_secs_f64(),
            "caller": self.visit.call.caller(),
        });
        self.visit.tell("message", data, wants);
    }
}
