//! The parked caller, and the party that picks them up: a machine each.
//!
//! | `Parks` | action | next |
//! |---|---|---|
//! | `Answering` | answer a caller who is not answered | `Asking` |
//! | `Asking` | read who parked the caller | a slot: `Entering`; none: over |
//! | `Entering`, `Noting` | set the call's state and variable | `Waiting`, with music; by dialling: `Hearing` |
//! | `Hearing` | say the slot number | `Waiting` |
//! | `Waiting` | wait until the timeout | picked up: over; timeout: `GoingBack` |
//! | `GoingBack` | call the parking party | joined: `Quieting`; else a slot again, three times |
//! | `Quieting` | stop the music | over |
//!
//! | `PicksUp` | action |
//! |---|---|
//! | `Adopting`, `Answering` | adopt and answer the caller |
//! | `Quieting` | stop the music of the parked caller |
//! | `Joining` | join both |

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::announce::{Announces, number};
use super::{Lot, LotConfig, Lots, NoSlot, Parked, lock};
use crate::caller::Caller;
use b2b_call::LegId;
use b2b_call::application::{AppAnswer, AppEvent, Application, Saved, WantId, Wants};
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, DialRequest, MediaVerbs, Place, TRANSFERRED_BY};

/// How often a caller is parked before they are hung up.
const ROUNDS: usize = 3;
/// The timer of a parked caller.
const PATIENCE: u32 = 1;

/// The handler of one lot.
#[derive(Debug, Clone)]
pub struct Parking {
    name: String,
    config: Arc<LotConfig>,
    lot: Arc<Mutex<Lot>>,
}

impl Parking {
    /// The handler of a lot with this configuration; callers parked there stay.
    pub fn new(config: LotConfig, lots: &Lots) -> Self {
        let lot = lots.lot(&config.name);
        Parking { name: format!("park/{}", config.name), lot, config: Arc::new(config) }
    }
}

impl ApplicationHandler for Parking {
    fn name(&self) -> &str {
        &self.name
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        let slot = call.called().parse().ok().filter(|slot| self.config.slots.contains(slot));
        let (parking, call) = (self.clone(), call.clone());
        Some(match (call.answered, slot) {
            // A caller who is not answered has dialled the slot.
            (false, Some(slot)) => {
                Box::new(PicksUp { parking, call, slot, at: Picking::Adopting, waits: None, parked: None })
            }
            (_, wanted) => {
                let stay = Stay { wanted, at: At::Answering, by: None, slot: None, until: None, rounds: 0 };
                Box::new(Parks { parking, call, stay, waits: None })
            }
        })
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        let (parking, call, stay) = (self.clone(), call.clone(), saved.read()?);
        Some(Box::new(Parks { parking, call, stay, waits: None }))
    }
}

impl Parking {
    fn tell(&self, wants: &mut Wants, call: &IncomingCall, what: &str, slot: u32) {
        let data = json!({ "slot": slot, "leg": call.leg.0 });
        wants.publish(Some(call.call), &self.name, what, data);
    }
}

/// Joins a caller who has dialled a slot with the parked one.
struct PicksUp {
    parking: Parking,
    call: IncomingCall,
    slot: u32,
    at: Picking,
    waits: Option<WantId>,
    parked: Option<LegId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Picking {
    Adopting,
    Answering,
    Quieting,
    Joining,
}

impl Application for PicksUp {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => self.takes(wants),
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                if self.came(answer, wants).is_err() {
                    // The caller has hung up, or there is no media: the call's history tells which.
                    wants.end(HandlerAction::Disconnect);
                }
            }
            AppEvent::Gone => wants.end(HandlerAction::Complete),
            AppEvent::Resumed
            | AppEvent::Answered { .. }
            | AppEvent::Timer(_)
            | AppEvent::Told(_)
            | AppEvent::Lost(_)
            | AppEvent::Over => {}
        }
    }
}

impl PicksUp {
    fn takes(&mut self, wants: &mut Wants) {
        let Some(Parked { leg: parked, .. }) = lock(&self.parking.lot).take(self.slot) else {
            return wants.end(HandlerAction::Reject { status: 404, reason: "Slot Empty".to_owned() });
        };
        self.parked = Some(parked);
        self.parking.tell(wants, &self.call, "picked_up", self.slot);
        self.waits = Some(wants.adopt(self.call.leg));
    }

    fn came(&mut self, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        let parked = self.parked.ok_or(CallError::Gone)?;
        let next;
        (self.at, next) = match self.at {
            Picking::Joining => {
                let joined = answer.done().is_ok();
                wants.end(if joined { HandlerAction::Complete } else { HandlerAction::Disconnect });
                return Ok(());
            }
            at => {
                answer.done()?;
                let leg = self.call.leg;
                match at {
                    Picking::Adopting => (Picking::Answering, wants.answer(leg)),
                    Picking::Answering => (Picking::Quieting, wants.stop_moh(parked)),
                    // The bridge belongs to the parked caller's call, so the conversation has one record.
                    Picking::Quieting | Picking::Joining => {
                        let mode = BridgeMode::Intercepting;
                        (Picking::Joining, wants.create_bridge(parked, leg, mode, true))
                    }
                }
            }
        };
        self.waits = Some(next);
        Ok(())
    }
}

/// Waits until the caller is picked up, hangs up, or the timeout expires.
struct Parks {
    parking: Parking,
    call: IncomingCall,
    waits: Option<WantId>,
    stay: Stay,
}

/// What goes on in another process.
#[derive(Serialize, Deserialize)]
struct Stay {
    wanted: Option<u32>,
    at: At,
    /// The party that parked the caller.
    by: Option<String>,
    /// The occupied slot, until the caller leaves it or is picked up.
    slot: Option<u32>,
    /// When the caller has waited long enough.
    #[serde(with = "b2b_base::ages::option")]
    until: Option<Instant>,
    /// How often the caller has been parked.
    rounds: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    Answering,
    Asking,
    Entering,
    Noting,
    Hearing,
    Waiting,
    GoingBack,
    Quieting,
}

impl Application for Parks {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin if self.call.answered => self.asks(wants),
            AppEvent::Begin => self.waits = Some(wants.answer(self.call.leg)),
            AppEvent::Resumed => self.resumes(now, wants),
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                if self.came(now, answer, wants).is_err() {
                    self.leaves(wants);
                    // The caller has hung up, or there is no media: the call's history tells which.
                    wants.end(HandlerAction::Disconnect);
                }
            }
            AppEvent::Timer(_) => self.has_waited(wants),
            AppEvent::Gone => {
                self.leaves(wants);
                wants.end(HandlerAction::Complete);
            }
            AppEvent::Over => self.leaves(wants),
            AppEvent::Answered { .. } | AppEvent::Told(_) | AppEvent::Lost(_) => {}
        }
    }

    fn save(&self) -> Option<Saved> {
        Saved::of(&self.stay)
    }
}

impl Parks {
    /// The process in which the caller was parked has ended. They are in the same slot, for as long as it was.
    fn resumes(&mut self, now: Instant, wants: &mut Wants) {
        match (self.stay.at, self.stay.slot.take()) {
            (At::Answering, _) if !self.call.answered => self.waits = Some(wants.answer(self.call.leg)),
            (At::Answering | At::Asking, _) => self.asks(wants),
            (At::GoingBack | At::Quieting, _) => {
                let dialled = wants.await_dialled(self.call.leg);
                self.goes(At::GoingBack, dialled);
                if let Some(music) = &self.parking.config.music {
                    wants.start_moh(self.call.leg, music);
                }
            }
            (_, slot) => {
                let until = self.stay.until.unwrap_or(now + self.parking.config.timeout);
                self.stay.slot = self.takes(slot).ok();
                match self.stay.slot {
                    Some(_) => {
                        wants.set_timer(PATIENCE, until);
                        self.waits(wants);
                    }
                    None => wants.end(HandlerAction::Disconnect),
                }
            }
        }
    }

    /// Puts the caller into a slot.
    fn takes(&self, wanted: Option<u32>) -> Result<u32, NoSlot> {
        let (call, leg, by) = (self.call.call, self.call.leg, self.stay.by.clone());
        let who = by.as_deref().map_or_else(|| Caller::of(&self.call), Caller::named);
        lock(&self.parking.lot).park(&self.parking.config.slots, wanted, Parked { call, leg, by, who })
    }

    fn goes(&mut self, at: At, waits: WantId) {
        (self.stay.at, self.waits) = (at, Some(waits));
    }

    fn asks(&mut self, wants: &mut Wants) {
        let asked = wants.variables(self.call.call);
        self.goes(At::Asking, asked);
    }

    fn came(&mut self, now: Instant, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        let (call, leg) = (self.call.call, self.call.leg);
        match self.stay.at {
            At::Answering => {
                answer.done()?;
                self.asks(wants);
            }
            At::Asking => {
                let noted = answer.variables()?.into_iter();
                self.stay.by = noted.into_iter().find(|(name, _)| name == TRANSFERRED_BY).map(|(_, by)| by);
                self.parks(wants);
            }
            At::Entering => {
                answer.done()?;
                let slot = self.stay.slot.unwrap_or_default().to_string();
                let noted = wants.set_variable(call, "parked", &slot);
                self.goes(At::Noting, noted);
            }
            At::Noting => {
                answer.done()?;
                if let Some(slot) = self.stay.slot {
                    self.parking.tell(wants, &self.call, "parked", slot);
                }
                let until = now + self.parking.config.timeout;
                self.stay.until = Some(until);
                wants.set_timer(PATIENCE, until);
                match self.announces(wants) {
                    Some(hears) => self.goes(At::Hearing, hears),
                    None => self.waits(wants),
                }
            }
            // A slot number that cannot be played is in the events.
            At::Hearing => self.waits(wants),
            // The answer is that of the music.
            At::Waiting => answer.done()?,
            At::GoingBack => match answer.dialled() {
                Ok(_) => {
                    let stopped = wants.stop_moh(leg);
                    self.goes(At::Quieting, stopped);
                }
                Err(_) => self.parks(wants),
            },
            At::Quieting => {
                answer.done()?;
                wants.end(HandlerAction::Complete);
            }
        }
        Ok(())
    }

    fn waits(&mut self, wants: &mut Wants) {
        self.stay.at = At::Waiting;
        let music = self.parking.config.music.as_ref();
        self.waits = music.map(|music| wants.start_moh(self.call.leg, music));
    }

    /// Announces the slot once, if it was not chosen, to the party that parked the caller. Returns the prompt
    /// in progress if the callers have parked themselves.
    fn announces(&self, wants: &mut Wants) -> Option<WantId> {
        let config = &self.parking.config;
        let prompts =
            config.announce.as_ref().filter(|_| self.stay.rounds == 1 && self.stay.wanted.is_none())?;
        let slot = self.stay.slot?;
        match &self.stay.by {
            Some(by) => {
                wants.attend(Box::new(Announces::new(config, prompts, slot, by)));
                None
            }
            None => Some(wants.play(self.call.leg, &number(prompts, slot))),
        }
    }

    /// Parks the caller, possibly again.
    fn parks(&mut self, wants: &mut Wants) {
        let slot = match self.stay.rounds {
            ROUNDS => Err(NoSlot::Taken),
            _ => self.takes(self.stay.wanted),
        };
        self.stay.rounds += 1;
        match slot {
            Ok(slot) => {
                self.stay.slot = Some(slot);
                let entered = wants.enter(self.call.call, Place::Parking);
                self.goes(At::Entering, entered);
            }
            // No party takes the caller: hanging up is better than keeping them.
            Err(NoSlot::Taken | NoSlot::Unknown) => wants.end(HandlerAction::Disconnect),
        }
    }

    /// The timeout has expired: calls the parking party.
    fn has_waited(&mut self, wants: &mut Wants) {
        let Some(slot) = self.stay.slot.take() else { return };
        if !lock(&self.parking.lot).leave(slot, self.call.leg) {
            // The caller is being picked up.
            return wants.end(HandlerAction::Complete);
        }
        self.parking.tell(wants, &self.call, "timed_out", slot);
        let back = self.parking.config.back_to.clone();
        let Some(target) = back.or_else(|| self.stay.by.clone()) else { return self.parks(wants) };
        let mut request = DialRequest::to(target);
        request.options.ring_timeout = self.parking.config.ring;
        request.options.target_timeout = Some(self.parking.config.ring);
        request.options.mode = BridgeMode::Intercepting;
        let dialled = wants.dial_and_bridge(self.call.leg, request);
        self.goes(At::GoingBack, dialled);
    }

    /// Frees the slot, if the caller still occupies it.
    fn leaves(&mut self, wants: &mut Wants) {
        if let Some(slot) = self.stay.slot.take()
            && lock(&self.parking.lot).leave(slot, self.call.leg)
        {
            self.parking.tell(wants, &self.call, "left", slot);
        }
    }
}
