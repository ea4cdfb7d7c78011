//! A caller's way through a room: the PIN, the participant, the keys, the way out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::{Deed, Live, Refused, Role, RoomConfig, Rooms, Word, lock};
use crate::wrong_pins::WrongPins;
use b2b_call::LegId;
use b2b_call::controller::{CollectEnd, ConferenceId, ConferenceSpec, DigitPlan, RecordingSpec};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallError, CallService, Place};

/// How often a PIN may be wrong.
const TRIES: usize = 3;
/// Digits of a PIN at most.
const PIN: usize = 16;
/// Longer than any conversation.
const ALWAYS: Duration = Duration::from_secs(7 * 86_400);

/// The handler of one room.
#[derive(Debug, Clone)]
pub struct Conference {
    name: String,
    pub(super) config: Arc<RoomConfig>,
    pub(super) live: Arc<Mutex<Live>>,
    /// What names of recordings begin with.
    prefix: Arc<str>,
    wrong_pins: WrongPins,
}

impl Conference {
    /// A room as it is to be; who is in it already stays.
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

    /// Only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let attends = Attends { room: self.clone(), service, call };
        Box::pin(async move {
            match attends.run().await {
                Ok(action) => action,
                // He has gone, or there are no media: the call's account says which.
                Err(_) => HandlerAction::Disconnect,
            }
        })
    }
}

/// One caller in a room.
struct Attends {
    room: Conference,
    service: CallService,
    call: IncomingCall,
}

/// A participant that is given back whatever becomes of its caller.
struct Taken {
    room: Conference,
    service: CallService,
    leg: LegId,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut live = lock(&self.room.live);
        let left = live.room.leave(self.leg, self.room.config.needs_moderator);
        let over = left.last.then(|| (live.id.take(), live.recording.take()));
        drop(live);
        let (room, service, leg) = (self.room.clone(), self.service.clone(), self.leg);
        let work = async move {
            let id = lock(&room.live).id;
            if let Some(id) = id {
                let _ = service.leave_conference(id, leg).await;
            }
            let _ = service.stop_moh(leg).await;
            room.carry_out(&service, left.deeds).await;
            if let Some((id, recording)) = over {
                if let Some(recording) = recording {
                    let _ = service.stop_recording(recording).await;
                }
                if let Some(id) = id {
                    let _ = service.end_conference(id).await;
                }
            }
        };
        // A service that has stopped has ended everything.
        let _ = self.service.spawn(work);
    }
}

impl Attends {
    async fn run(&self) -> Result<HandlerAction, CallError> {
        let (call, leg) = (self.call.call, self.call.leg);
        if !self.call.answered {
            self.service.answer(leg).await?;
        }
        self.service.enter(call, Place::Conference).await?;
        let config = self.room.config.clone();
        let Some(role) = self.role().await? else {
            self.say(Word::Goodbye).await?;
            return Ok(HandlerAction::Disconnect);
        };
        let joined = lock(&self.room.live).room.join(call, leg, role, config.most, config.needs_moderator);
        let deeds = match joined {
            Ok(deeds) => deeds,
            Err(refused) => {
                self.say(if refused == Refused::Full { Word::Full } else { Word::Locked }).await?;
                return Ok(HandlerAction::Disconnect);
            }
        };
        let taken = Taken { room: self.room.clone(), service: self.service.clone(), leg };
        let _ = self.service.set_variable(call, "conference", &config.name).await;
        self.tell("joined", &json!({ "leg": leg.0, "moderator": role == Role::Moderator }));
        let first = self.arrive(deeds).await?;
        if first && config.recorded {
            lock(&self.room.live).room.records(true);
            self.room.carry_out(&self.service, vec![Deed::Record(true)]).await;
        }
        let wants_out = self.stay().await;
        drop(taken);
        self.tell("left", &json!({ "leg": leg.0 }));
        Ok(match &config.then {
            Some(then) if wants_out => HandlerAction::Handle(then.clone()),
            _ => HandlerAction::Disconnect,
        })
    }

    /// What the caller's PIN makes of him; none: he knows none.
    async fn role(&self) -> Result<Option<Role>, CallError> {
        let config = &self.room.config;
        if !config.asks() {
            return Ok(Some(Role::Moderator));
        }
        let plan = DigitPlan { type_ahead: true, secret: true, ..DigitPlan::new(PIN) };
        for _ in 0..TRIES {
            let prompt = config.words.prompt(Word::AskPin);
            let collected = self.service.play_and_collect(self.call.leg, &prompt, &plan).await?;
            if collected.end == CollectEnd::Stopped {
                return Err(CallError::Gone);
            }
            if let Some(role) = self.weigh(&collected.digits).await? {
                return Ok(Some(role));
            }
            self.say(Word::WrongPin).await?;
        }
        Ok(None)
    }

    /// What these digits make of the caller, once they may be looked at.
    async fn weigh(&self, digits: &str) -> Result<Option<Role>, CallError> {
        let config = &self.room.config;
        if digits.is_empty() {
            return Ok(config.role_for(digits));
        }
        let now = self.service.now().await?;
        let attempt = self.room.wrong_pins.attempt(now, &self.room.name, &self.call.who(), false);
        let seen = attempt.wait();
        self.service.sleep(seen.unwrap_or_default()).await?;
        // Where only moderators have a PIN, a wrong one lets somebody in, and is a wrong one.
        let role = config.role_for(if seen.is_some() { digits } else { "" });
        match role == Some(Role::Moderator) || role.is_some() && config.pin.is_some() {
            true => attempt.right(),
            false => self.tell("wrong_pin", &json!({ "over_calls": attempt.wrong() })),
        }
        Ok(role)
    }

    /// Carries out what an arrival asks for; whether this is the first one in the mix.
    async fn arrive(&self, deeds: Vec<Deed>) -> Result<bool, CallError> {
        let mut first = false;
        let mut later = Vec::new();
        for deed in deeds {
            match deed {
                // He hears it to its end before he hears the others.
                Deed::Tell(leg, word) if leg == self.call.leg => {
                    first |= word == Word::Alone;
                    self.say(word).await?;
                }
                deed => later.push(deed),
            }
        }
        self.room.carry_out(&self.service, later).await;
        Ok(first)
    }

    /// Until he goes; whether by his own key.
    async fn stay(&self) -> bool {
        let (service, leg) = (&self.service, self.call.leg);
        let plan = DigitPlan {
            max: 2,
            terminators: String::new(),
            first: ALWAYS,
            total: ALWAYS,
            type_ahead: true,
            ..DigitPlan::new(2)
        };
        loop {
            let collected = tokio::select! {
                _ = service.wait_for_termination(leg) => return false,
                collected = service.collect(leg, &plan) => collected,
            };
            let Ok(collected) = collected else { return false };
            if collected.end == CollectEnd::Stopped {
                return false;
            }
            let mut keys = collected.digits.chars();
            let (Some('*'), Some(key)) = (keys.next(), keys.next()) else { continue };
            let deeds = lock(&self.room.live).room.key(leg, key);
            if deeds.contains(&Deed::Leave(leg)) {
                return true;
            }
            self.tell("key", &json!({ "leg": leg.0, "key": key.to_string() }));
            self.room.carry_out(service, deeds).await;
        }
    }

    async fn say(&self, word: Word) -> Result<(), CallError> {
        let prompt = self.room.config.words.prompt(word);
        self.service.play(self.call.leg, &prompt).await.map(drop)
    }

    fn tell(&self, what: &str, data: &serde_json::Value) {
        // A service that has stopped has no readers.
        let _ = self.service.publish(Some(self.call.call), &self.room.name, what, data.clone());
    }
}

impl Conference {
    /// The room's media, which are made for the first who comes.
    async fn id(&self, service: &CallService) -> Result<ConferenceId, CallError> {
        if let Some(id) = lock(&self.live).id {
            return Ok(id);
        }
        let spec = ConferenceSpec { rate_hz: self.config.rate_hz, most: self.config.most };
        let made = service.create_conference(&spec).await?;
        let id = *lock(&self.live).id.get_or_insert(made);
        if id != made {
            service.end_conference(made).await?;
        }
        Ok(id)
    }

    /// Does what the room says. What cannot be done for one member is done for the others:
    /// who has gone meanwhile is told of by his own end.
    pub(super) async fn carry_out(&self, service: &CallService, deeds: Vec<Deed>) {
        for deed in deeds {
            if let Err(error) = self.does(service, deed).await {
                tracing::debug!("{}: {deed:?}: {error}", self.name);
            }
        }
    }

    async fn does(&self, service: &CallService, deed: Deed) -> Result<(), CallError> {
        match deed {
            Deed::Mix(leg, member) => {
                let id = self.id(service).await?;
                service.join_conference(id, leg, member).await
            }
            Deed::Wait(leg) => match &self.config.music {
                Some(music) => service.start_moh(leg, music).await,
                None => Ok(()),
            },
            Deed::Admit(leg) => service.stop_moh(leg).await,
            Deed::Tell(leg, word) => self.beside(service, leg, word, false),
            Deed::SendAway(leg) => self.beside(service, leg, Word::Goodbye, true),
            Deed::Say(word) if self.config.announced || !matches!(word, Word::Joined | Word::Gone) => {
                let Some(id) = lock(&self.live).id else { return Ok(()) };
                let prompt = self.config.words.prompt(word);
                let announces = service.clone();
                // Nobody waits for it.
                service.spawn(async move { drop(announces.announce(id, &prompt).await) })
            }
            Deed::Say(_) | Deed::Leave(_) => Ok(()),
            Deed::Record(true) => self.record(service).await,
            Deed::Record(false) => {
                let running = lock(&self.live).recording.take();
                if let Some(running) = running {
                    service.stop_recording(running).await?;
                    Box::pin(self.does(service, Deed::Say(Word::RecordingEnds))).await?;
                }
                Ok(())
            }
        }
    }

    /// Plays something to one member while the others go on, and sends him away where that is
    /// wanted.
    fn beside(&self, service: &CallService, leg: LegId, word: Word, away: bool) -> Result<(), CallError> {
        let (prompt, speaks) = (self.config.words.prompt(word), service.clone());
        service.spawn(async move {
            let _ = speaks.play(leg, &prompt).await;
            if away {
                let _ = speaks.hangup(leg).await;
            }
        })
    }

    async fn record(&self, service: &CallService) -> Result<(), CallError> {
        let refused = |live: &Mutex<Live>| lock(live).room.records(false);
        let Some(folder) = &self.config.recordings else {
            refused(&self.live);
            return Ok(());
        };
        let id = self.id(service).await?;
        let number = {
            let mut live = lock(&self.live);
            live.recorded += 1;
            live.recorded
        };
        let file = format!("{}-{}-{number}.wav", self.prefix, self.config.name);
        let rate_hz = self.config.rate_hz;
        let spec = RecordingSpec { stereo: false, rate_hz, ..RecordingSpec::new(folder.join(file)) };
        let started = service.record_conference(id, &spec).await.inspect_err(|_| refused(&self.live))?;
        let over = {
            let mut live = lock(&self.live);
            // The last one may have gone meanwhile, or a recording have been there already.
            if live.id == Some(id) { live.recording.replace(started) } else { Some(started) }
        };
        if let Some(over) = over {
            service.stop_recording(over).await?;
        }
        Box::pin(self.does(service, Deed::Say(Word::Recording))).await
    }
}
