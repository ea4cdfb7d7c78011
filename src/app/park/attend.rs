//! Who is parked, and who picks up: a machine each.
//!
//! | `Parks` | is done | then |
//! |---|---|---|
//! | `Answering` | who is in no conversation is answered | `Asking` |
//! | `Asking` | who parked the caller? | a slot: `Entering`; none: over |
//! | `Entering`, `Noting` | the call says where it is | `Waiting`, with music; who has dialled the lot: `Hearing` |
//! | `Hearing` | the slot's number is said | `Waiting` |
//! | `Waiting` | nothing, for a while | picked up: over; time over: `GoingBack` |
//! | `GoingBack` | who parked the caller is called | joined: `Quieting`; else a slot again, three times |
//! | `Quieting` | the music ends | over |
//!
//! | `PicksUp` | is done |
//! |---|---|
//! | `Adopting`, `Answering` | the caller is ours, and up |
//! | `Quieting` | the music of who is parked ends |
//! | `Joining` | both are joined |

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::json;

use super::announce::{Announces, number};
use super::{Lot, LotConfig, Lots, NoSlot, Parked, lock};
use b2b_call::LegId;
use b2b_call::application::{AppAnswer, AppEvent, Application, WantId, Wants};
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, DialRequest, Place, TRANSFERRED_BY};

/// How often a caller goes back before the server gives them up.
const ROUNDS: usize = 3;
/// The timer of who waits in a slot.
const PATIENCE: u32 = 1;

/// The handler of one lot.
#[derive(Debug, Clone)]
pub struct Parking {
    name: String,
    config: Arc<LotConfig>,
    lot: Arc<Mutex<Lot>>,
}

impl Parking {
    /// A lot as it is to be; who is parked there already stays.
    pub fn new(config: LotConfig, lots: &Lots) -> Self {
        let lot = lots.lot(&config.name);
        Parking { name: format!("park/{}", config.name), lot, config: Arc::new(config) }
    }
}

impl ApplicationHandler for Parking {
    fn name(&self) -> &str {
        &self.name
    }

    /// Only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        let slot = call.called().parse().ok().filter(|slot| self.config.slots.contains(slot));
        let (parking, call) = (self.clone(), call.clone());
        Some(match (call.answered, slot) {
            // Who is in no conversation yet has dialled.
            (false, Some(slot)) => {
                Box::new(PicksUp { parking, call, slot, at: Picking::Adopting, waits: None, parked: None })
            }
            (_, wanted) => {
                let (at, by, slot) = (At::Answering, None, None);
                Box::new(Parks { parking, call, wanted, at, waits: None, by, slot, rounds: 0 })
            }
        })
    }
}

impl Parking {
    fn tell(&self, wants: &mut Wants, call: &IncomingCall, what: &str, slot: u32) {
        let data = json!({ "slot": slot, "leg": call.leg.0 });
        wants.publish(Some(call.call), &self.name, what, data);
    }
}

/// Joins who has dialled a slot with who is parked there.
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
                    // The caller has gone, or there are no media: the call's account says which.
                    wants.end(HandlerAction::Disconnect);
                }
            }
            AppEvent::Gone => wants.end(HandlerAction::Complete),
            AppEvent::Answered { .. }
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
            return wants.end(HandlerAction::Reject { status: 404, reason: "Nobody Parked".to_owned() });
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
                    // One record of the conversation: from who was parked.
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

/// Waits until somebody picks the caller up, they go, or their time is over.
struct Parks {
    parking: Parking,
    call: IncomingCall,
    wanted: Option<u32>,
    at: At,
    waits: Option<WantId>,
    /// Who parked the caller.
    by: Option<String>,
    /// The caller's, until they leave it or are picked up.
    slot: Option<u32>,
    /// How often the caller has been parked.
    rounds: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                if self.came(now, answer, wants).is_err() {
                    self.leaves(wants);
                    // The caller has gone, or there are no media: the call's account says which.
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
}

impl Parks {
    fn goes(&mut self, at: At, waits: WantId) {
        (self.at, self.waits) = (at, Some(waits));
    }

    fn asks(&mut self, wants: &mut Wants) {
        let asked = wants.variables(self.call.call);
        self.goes(At::Asking, asked);
    }

    fn came(&mut self, now: Instant, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        let (call, leg) = (self.call.call, self.call.leg);
        match self.at {
            At::Answering => {
                answer.done()?;
                self.asks(wants);
            }
            At::Asking => {
                let noted = answer.variables()?.into_iter();
                self.by = noted.into_iter().find(|(name, _)| name == TRANSFERRED_BY).map(|(_, by)| by);
                self.parks(wants);
            }
            At::Entering => {
                answer.done()?;
                let slot = self.slot.unwrap_or_default().to_string();
                let noted = wants.set_variable(call, "parked", &slot);
                self.goes(At::Noting, noted);
            }
            At::Noting => {
                answer.done()?;
                if let Some(slot) = self.slot {
                    self.parking.tell(wants, &self.call, "parked", slot);
                }
                wants.set_timer(PATIENCE, now + self.parking.config.timeout);
                match self.announces(wants) {
                    Some(hears) => self.goes(At::Hearing, hears),
                    None => self.waits(wants),
                }
            }
            // A number that cannot be said is in the events.
            At::Hearing => self.waits(wants),
            // The music.
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
        self.at = At::Waiting;
        let music = self.parking.config.music.as_ref();
        self.waits = music.map(|music| wants.start_moh(self.call.leg, music));
    }

    /// Says where the caller is parked, once, to who did it and did not choose the slot. What the caller hears for
    /// that, if they have parked themselves.
    fn announces(&self, wants: &mut Wants) -> Option<WantId> {
        let config = &self.parking.config;
        let prompts = config.announce.as_ref().filter(|_| self.rounds == 1 && self.wanted.is_none())?;
        let slot = self.slot?;
        match &self.by {
            Some(by) => {
                wants.attend(Box::new(Announces::new(config, prompts, slot, by)));
                None
            }
            None => Some(wants.play(self.call.leg, &number(prompts, slot))),
        }
    }

    /// Into a slot, once more.
    fn parks(&mut self, wants: &mut Wants) {
        let (call, leg, by) = (self.call.call, self.call.leg, self.by.clone());
        let parked = Parked { call, leg, by };
        let slot = match self.rounds {
            ROUNDS => Err(NoSlot::Taken),
            _ => lock(&self.parking.lot).park(&self.parking.config.slots, self.wanted, parked),
        };
        self.rounds += 1;
        match slot {
            Ok(slot) => {
                self.slot = Some(slot);
                let entered = wants.enter(call, Place::Parking);
                self.goes(At::Entering, entered);
            }
            // Nobody wants the caller: it is better to say so than to keep them.
            Err(NoSlot::Taken | NoSlot::Unknown) => wants.end(HandlerAction::Disconnect),
        }
    }

    /// Calls whoever parked the caller.
    fn has_waited(&mut self, wants: &mut Wants) {
        let Some(slot) = self.slot.take() else { return };
        if !lock(&self.parking.lot).leave(slot, self.call.leg) {
            // Somebody is picking the caller up.
            return wants.end(HandlerAction::Complete);
        }
        self.parking.tell(wants, &self.call, "timed_out", slot);
        let back = self.parking.config.back_to.clone();
        let Some(target) = back.or_else(|| self.by.clone()) else { return self.parks(wants) };
        let mut request = DialRequest::to(target);
        request.options.ring_timeout = self.parking.config.ring;
        request.options.total_timeout = self.parking.config.ring;
        request.options.mode = BridgeMode::Intercepting;
        let dialled = wants.dial_and_bridge(self.call.leg, request);
        self.goes(At::GoingBack, dialled);
    }

    /// The slot is given back, if the caller still has it.
    fn leaves(&mut self, wants: &mut Wants) {
        if let Some(slot) = self.slot.take()
            && lock(&self.parking.lot).leave(slot, self.call.leg)
        {
            self.parking.tell(wants, &self.call, "left", slot);
        }
    }
}
