//! Who is parked, and who picks up.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Lot, LotConfig, Lots, NoSlot, Parked, lock};
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallError, CallService, DialRequest, Place, TRANSFERRED_BY};

/// How often somebody goes back before the server gives him up.
const ROUNDS: usize = 3;

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

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let attends = Attends { parking: self.clone(), service, call };
        Box::pin(async move {
            let slot = attends.call.called().parse().ok();
            let slot = slot.filter(|slot| attends.parking.config.slots.contains(slot));
            let action = match (attends.call.answered, slot) {
                // Who is in no conversation yet has dialled.
                (false, Some(slot)) => attends.pick_up(slot).await,
                (_, slot) => attends.park(slot).await,
            };
            // He has gone, or there are no media: the call's account says which.
            action.unwrap_or(HandlerAction::Disconnect)
        })
    }
}

struct Attends {
    parking: Parking,
    service: CallService,
    call: IncomingCall,
}

/// A slot that is given back whatever becomes of its caller.
struct Taken<'a> {
    attends: &'a Attends,
    slot: u32,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Attends { parking, call, .. } = self.attends;
        if lock(&parking.lot).leave(self.slot, call.leg) {
            self.attends.tell("left", self.slot);
        }
    }
}

impl Attends {
    /// Joins who has dialled a slot with who is parked there.
    async fn pick_up(&self, slot: u32) -> Result<HandlerAction, CallError> {
        let Some(Parked { leg: parked, .. }) = lock(&self.parking.lot).take(slot) else {
            return Ok(HandlerAction::Reject { status: 404, reason: "Nobody Parked".to_owned() });
        };
        self.tell("picked_up", slot);
        let leg = self.service.adopt_inbound_leg(&self.call).await?;
        self.service.answer(leg).await?;
        self.service.stop_moh(parked).await?;
        // One record of the conversation: from who was parked.
        let joined = self.service.create_bridge(parked, leg, BridgeMode::Intercepting, true).await;
        Ok(if joined.is_ok() { HandlerAction::Complete } else { HandlerAction::Disconnect })
    }

    /// Waits until somebody picks him up, he goes, or his time is over.
    async fn park(&self, wanted: Option<u32>) -> Result<HandlerAction, CallError> {
        let (service, config) = (&self.service, &self.parking.config);
        let (call, leg) = (self.call.call, self.call.leg);
        if !self.call.answered {
            service.answer(leg).await?;
        }
        let by = service.variables(call).await?;
        let by = by.into_iter().find(|(name, _)| name == TRANSFERRED_BY).map(|(_, by)| by);
        for _ in 0..ROUNDS {
            let parked = Parked { call, leg, by: by.clone() };
            let slot = lock(&self.parking.lot).park(&config.slots, wanted, parked);
            let slot = match slot {
                Ok(slot) => slot,
                Err(NoSlot::Taken | NoSlot::Unknown) => break,
            };
            let taken = Taken { attends: self, slot };
            service.enter(call, Place::Parking).await?;
            service.set_variable(call, "parked", &slot.to_string()).await?;
            self.tell("parked", slot);
            if let Some(music) = &config.music {
                service.start_moh(leg, music).await?;
            }
            let over = service.within(config.timeout, service.wait_for_termination(leg)).await?;
            if over.is_some() {
                return Ok(HandlerAction::Complete);
            }
            if !lock(&self.parking.lot).leave(slot, leg) {
                // Somebody is picking him up.
                return Ok(HandlerAction::Complete);
            }
            self.tell("timed_out", slot);
            drop(taken);
            if self.goes_back(by.as_deref()).await? {
                return Ok(HandlerAction::Complete);
            }
        }
        // Nobody wants him: it is better to say so than to keep him.
        Ok(HandlerAction::Disconnect)
    }

    /// Calls whoever parked him; whether he has answered.
    async fn goes_back(&self, by: Option<&str>) -> Result<bool, CallError> {
        let back = self.parking.config.back_to.clone();
        let Some(target) = back.or_else(|| by.map(str::to_owned)) else { return Ok(false) };
        let mut request = DialRequest::to(target);
        request.options.ring_timeout = self.parking.config.ring;
        request.options.total_timeout = self.parking.config.ring;
        request.options.mode = BridgeMode::Intercepting;
        let joined = self.service.dial_and_bridge(self.call.leg, request).await;
        let there = joined.is_ok();
        if there {
            self.service.stop_moh(self.call.leg).await?;
        }
        Ok(there)
    }

    fn tell(&self, what: &str, slot: u32) {
        let data = json!({ "slot": slot, "leg": self.call.leg.0 });
        // A service that has stopped has no readers.
        let _ = self.service.publish(Some(self.call.call), &self.parking.name, what, data);
    }
}
