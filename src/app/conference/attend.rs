//! A caller's way through a room: the PIN, the membership, the keys, the exit.
//!
//! | state | action | next |
//! |---|---|---|
//! | `Answering`, `Entering` | answer, and set the call's state | a PIN: `Asking`; none: `Arriving` |
//! | `Asking` | ask for the PIN | `Weighing` |
//! | `Weighing` | wait until the PIN may be checked | right: `Arriving`; wrong: `Refusing`, three times |
//! | `Refusing` | say that it was wrong | `Asking` |
//! | `Arriving` | the prompts for the newcomer alone, then the actions of joining | `Staying` |
//! | `Staying` | wait for keys | `*2`: out; `Doing` |
//! | `Doing` | carry out the function of a key | `Staying` |
//! | `Parting` | say why the caller is not admitted | out |
//! | `Leaving` | finish an action that others need | out |

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::deeds::{Deeds, parts};
use super::room::Kept;
use super::{Deed, Live, Refused, Role, RoomConfig, Rooms, Word, lock};
use crate::caller::Caller;
use crate::wrong_pins::{Attempt, WrongPins};
use b2b_call::application::{AppAnswer, AppEvent, Application, Saved, WantId, Wants};
use b2b_call::controller::{CollectEnd, Collected, DigitPlan};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, MediaVerbs, Place};

/// Maximum number of attempts for the PIN.
const TRIES: usize = 3;
/// Maximum length of a PIN.
const PIN: usize = 16;
/// Longer than any call.
const ALWAYS: Duration = Duration::from_secs(7 * 86_400);
/// The timer of a PIN that may not be checked yet.
const LATER: u32 = 1;

/// The handler of one room.
#[derive(Debug, Clone)]
pub struct Conference {
    pub(super) name: String,
    pub(super) config: Arc<RoomConfig>,
    pub(super) live: Arc<Mutex<Live>>,
    /// The prefix of recording names.
    pub(super) prefix: Arc<str>,
    wrong_pins: WrongPins,
}

impl Conference {
    /// The handler of a room with this configuration; present members stay.
    pub fn new(config: RoomConfig, rooms: &Rooms) -> Self {
        let live = rooms.live(&config.name);
        Conference {
            name: format!("conference/{}", config.name),
            live,
            prefix: rooms.prefix(),
            wrong_pins: rooms.wrong_pins.clone(),
            config: Arc::new(config),
        }
    }
}

impl ApplicationHandler for Conference {
    fn name(&self) -> &str {
        &self.name
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        let stay = Stay { at: At::Answering, tries: 0, is_first: false, hears: VecDeque::new() };
        Some(Box::new(Attends::new(self, call, stay, None)))
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        let (stay, kept) = saved.read()?;
        Some(Box::new(Attends::new(self, call, stay, kept)))
    }
}

/// One caller in a room.
struct Attends {
    room: Conference,
    call: IncomingCall,
    stay: Stay,
    /// What the caller, as a member, has kept of the process before.
    kept: Option<Kept>,
    waits: Option<WantId>,
    /// The entered PIN, until it may be checked.
    weighs: Option<(String, Attempt)>,
    /// The caller is a member; the membership is released in any case.
    is_member: bool,
    /// The actions of joining, after the prompts.
    later: Vec<Deed>,
    deeds: Deeds,
}

/// What goes on in another process.
#[derive(Serialize, Deserialize)]
struct Stay {
    at: At,
    /// The number of attempts so far.
    tries: usize,
    /// The caller was the first member in the mix.
    is_first: bool,
    /// The prompts for the caller alone, before they hear the others; the first one is played.
    hears: VecDeque<Word>,
}

/// The states; see the module documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    Answering,
    Entering,
    Asking,
    Weighing,
    Refusing,
    Arriving,
    Staying,
    Doing,
    Parting(Word),
    Leaving,
}

impl Application for Attends {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        let went_on = match event {
            AppEvent::Begin if self.call.answered => {
                self.enters(wants);
                Ok(())
            }
            AppEvent::Begin => {
                self.waits = Some(wants.answer(self.call.leg));
                Ok(())
            }
            AppEvent::Answered { want, answer } if self.deeds.wait_for(want) => {
                self.deeds.answered(answer, wants);
                self.has_done(wants);
                Ok(())
            }
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                self.waits = None;
                self.came(now, answer, wants)
            }
            AppEvent::Timer(_) => {
                if let Some((digits, attempt)) = self.weighs.take() {
                    self.is_weighed(&digits, attempt, wants);
                }
                Ok(())
            }
            AppEvent::Gone => Err(CallError::Gone),
            AppEvent::Resumed => {
                self.resumes(wants);
                Ok(())
            }
            AppEvent::Over => {
                self.leaves(wants);
                Ok(())
            }
            AppEvent::Answered { .. } | AppEvent::Told(_) | AppEvent::Lost(_) => Ok(()),
        };
        // The caller has hung up, or there is no media: the call's history tells which.
        if went_on.is_err() {
            self.goes(false, wants);
        }
    }

    fn save(&self) -> Option<Saved> {
        Saved::of(&(&self.stay, lock(&self.room.live).room.kept(self.call.leg)))
    }
}

impl Attends {
    fn new(room: &Conference, call: &IncomingCall, stay: Stay, kept: Option<Kept>) -> Self {
        Attends {
            room: room.clone(),
            call: call.clone(),
            stay,
            kept,
            waits: None,
            weighs: None,
            is_member: false,
            later: Vec::new(),
            deeds: Deeds::new(room),
        }
    }

    /// The process that had the caller has ended. Members are in the room before any media answer, so that it begins
    /// and ends for nobody; whoever was typing a PIN is asked for it again.
    fn resumes(&mut self, wants: &mut Wants) {
        if let Some(kept) = self.kept.take() {
            let (leg, waits) = (self.call.leg, kept.0.waits);
            self.is_member = true;
            let mut live = lock(&self.room.live);
            live.apps.insert(leg, wants.me());
            self.later = live.room.take_up(kept, Caller::of(&self.call));
            drop(live);
            if self.stay.at == At::Arriving && !waits {
                self.later.push(Deed::Say(Word::Joined));
            }
            return self.arrives(wants);
        }
        match self.stay.at {
            At::Answering if !self.call.answered => self.waits = Some(wants.answer(self.call.leg)),
            At::Answering | At::Entering => self.enters(wants),
            At::Asking | At::Weighing => {
                // Who is asked again has not used up a try.
                self.stay.tries = self.stay.tries.saturating_sub(1);
                self.asks(wants);
            }
            At::Refusing => self.says(At::Refusing, Word::WrongPin, wants),
            At::Parting(word) => self.parts(word, wants),
            At::Arriving | At::Staying | At::Doing | At::Leaving => wants.end(HandlerAction::Disconnect),
        }
    }

    fn came(&mut self, now: Instant, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        match self.stay.at {
            At::Answering => {
                answer.done()?;
                self.enters(wants);
            }
            At::Entering => {
                answer.done()?;
                match self.room.config.asks() {
                    true => self.asks(wants),
                    false => self.joins(Role::Moderator, wants),
                }
            }
            At::Asking => match answer.collected()? {
                Collected { end: CollectEnd::Stopped, .. } => return Err(CallError::Gone),
                Collected { digits, .. } => self.weighs(now, digits, wants),
            },
            At::Refusing => {
                answer.done()?;
                match self.stay.tries < TRIES {
                    true => self.asks(wants),
                    false => self.parts(Word::Goodbye, wants),
                }
            }
            At::Arriving => {
                answer.done()?;
                self.stay.hears.pop_front();
                self.arrives(wants);
            }
            At::Staying => match answer.collected()? {
                Collected { end: CollectEnd::Stopped, .. } => return Err(CallError::Gone),
                Collected { digits, .. } => self.pressed(&digits, wants),
            },
            At::Parting(_) => {
                answer.done()?;
                wants.end(HandlerAction::Disconnect);
            }
            // Deeds and timers end these states.
            At::Doing | At::Weighing | At::Leaving => {}
        }
        Ok(())
    }

    fn enters(&mut self, wants: &mut Wants) {
        self.stay.at = At::Entering;
        self.waits = Some(wants.enter(self.call.call, Place::Conference));
    }

    fn says(&mut self, at: At, word: Word, wants: &mut Wants) {
        self.stay.at = at;
        self.waits = Some(wants.play(self.call.leg, &self.room.config.words.prompt(word)));
    }

    fn parts(&mut self, word: Word, wants: &mut Wants) {
        self.says(At::Parting(word), word, wants);
    }

    fn asks(&mut self, wants: &mut Wants) {
        self.stay.tries += 1;
        let plan = DigitPlan { type_ahead: true, secret: true, ..DigitPlan::new(PIN) };
        let prompt = self.room.config.words.prompt(Word::AskPin);
        self.stay.at = At::Asking;
        self.waits = Some(wants.play_and_collect(self.call.leg, &prompt, &plan));
    }

    /// Checks a PIN, once it may be checked.
    fn weighs(&mut self, now: Instant, digits: String, wants: &mut Wants) {
        if digits.is_empty() {
            return self.is(self.room.config.role_for(""), wants);
        }
        let attempt = self.room.wrong_pins.attempt(now, &self.room.name, &Caller::of(&self.call), false);
        match attempt.wait() {
            Some(wait) if !wait.is_zero() => {
                self.stay.at = At::Weighing;
                wants.set_timer(LATER, now + wait);
                self.weighs = Some((digits, attempt));
            }
            _ => self.is_weighed(&digits, attempt, wants),
        }
    }

    fn is_weighed(&mut self, digits: &str, attempt: Attempt, wants: &mut Wants) {
        let config = &self.room.config;
        // If only moderators have a PIN, a wrong one admits the caller as a participant, but counts as wrong.
        let role = config.role_for(if attempt.wait().is_some() { digits } else { "" });
        match role == Some(Role::Moderator) || role.is_some() && config.pin.is_some() {
            true => attempt.right(role == Some(Role::Moderator) || config.moderator_pin.is_none()),
            false => self.tell("wrong_pin", json!({ "over_calls": attempt.wrong() }), wants),
        }
        self.is(role, wants);
    }

    /// Continues with the caller's role; `None`: the PIN was wrong.
    fn is(&mut self, role: Option<Role>, wants: &mut Wants) {
        match role {
            Some(role) => self.joins(role, wants),
            None => self.says(At::Refusing, Word::WrongPin, wants),
        }
    }

    fn joins(&mut self, role: Role, wants: &mut Wants) {
        let (call, leg, config) = (self.call.call, self.call.leg, self.room.config.clone());
        let mut live = lock(&self.room.live);
        let begins = live.room.participants().is_empty();
        let joined =
            live.room.join(call, leg, Caller::of(&self.call), role, config.most, config.needs_moderator);
        drop(live);
        let deeds = match joined {
            Ok(deeds) => deeds,
            Err(Refused::Full) => return self.parts(Word::Full, wants),
            Err(Refused::Locked) => return self.parts(Word::Locked, wants),
        };
        self.is_member = true;
        lock(&self.room.live).apps.insert(leg, wants.me());
        wants.set_variable(call, "conference", &config.name);
        if begins {
            self.tell("started", json!({ "leg": leg.0 }), wants);
        }
        self.tell("joined", json!({ "leg": leg.0, "moderator": role == Role::Moderator }), wants);
        let mut later = Vec::new();
        for deed in deeds {
            match deed {
                // Played to the end before the newcomer hears the others.
                Deed::Tell(told, word) if told == leg => {
                    self.stay.is_first |= word == Word::Alone;
                    self.stay.hears.push_back(word);
                }
                deed => later.push(deed),
            }
        }
        self.later = later;
        self.arrives(wants);
    }

    /// The next prompt for the newcomer alone; after the last one the actions of joining.
    fn arrives(&mut self, wants: &mut Wants) {
        if let Some(word) = self.stay.hears.front().copied() {
            return self.says(At::Arriving, word, wants);
        }
        self.stay.at = At::Doing;
        let deeds = std::mem::take(&mut self.later);
        self.deeds.add(deeds, wants);
        self.has_done(wants);
    }

    /// Back to waiting for keys, once all actions are done.
    fn has_done(&mut self, wants: &mut Wants) {
        if self.stay.at == At::Leaving {
            return self.goes(false, wants);
        }
        if self.stay.at != At::Doing || !self.deeds.are_done() {
            return;
        }
        if std::mem::take(&mut self.stay.is_first) && self.room.config.recorded {
            lock(&self.room.live).room.records(true);
            self.deeds.add([Deed::Record(true)], wants);
            if !self.deeds.are_done() {
                return;
            }
        }
        self.listens(wants);
    }

    fn listens(&mut self, wants: &mut Wants) {
        let plan = DigitPlan {
            max: 2,
            terminators: String::new(),
            first: ALWAYS,
            total: ALWAYS,
            type_ahead: true,
            ..DigitPlan::new(2)
        };
        self.stay.at = At::Staying;
        self.waits = Some(wants.collect(self.call.leg, &plan));
    }

    fn pressed(&mut self, digits: &str, wants: &mut Wants) {
        let mut keys = digits.chars();
        let (Some('*'), Some(key)) = (keys.next(), keys.next()) else { return self.listens(wants) };
        let leg = self.call.leg;
        let deeds = lock(&self.room.live).room.key(leg, key);
        if deeds.contains(&Deed::Leave(leg)) {
            return self.goes(true, wants);
        }
        self.tell("key", json!({ "leg": leg.0, "key": key.to_string() }), wants);
        self.stay.at = At::Doing;
        self.deeds.add(deeds, wants);
        self.has_done(wants);
    }

    /// Ends the attendance; `wants_out`: by the caller's key.
    fn goes(&mut self, wants_out: bool, wants: &mut Wants) {
        self.leaves(wants);
        if !wants_out && self.deeds.is_one_under_way() {
            (self.stay.at, self.waits) = (At::Leaving, None);
            return;
        }
        wants.end(match &self.room.config.then {
            Some(then) if wants_out => HandlerAction::Handle(then.clone()),
            _ => HandlerAction::Disconnect,
        });
    }

    /// The caller is no longer a member.
    fn leaves(&mut self, wants: &mut Wants) {
        if std::mem::take(&mut self.is_member) {
            let is_last = parts(&self.room, self.call.leg, &mut self.deeds, wants);
            self.tell("left", json!({ "leg": self.call.leg.0 }), wants);
            if is_last {
                self.tell("ended", json!({ "leg": self.call.leg.0 }), wants);
            }
        }
    }

    fn tell(&self, what: &str, data: serde_json::Value, wants: &mut Wants) {
        wants.publish(Some(self.call.call), &self.room.name, what, data);
    }
}
