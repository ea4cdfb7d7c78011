//! Parties that we put on hold for a program (RFC 3264 §8.4): a re-INVITE offers not to receive their media.
//! They answer `recvonly` or `inactive`, and media that they send all the same is dropped. The other party of
//! the bridge is not asked; it hears nothing meanwhile.
//!
//! A hold belongs to a leg and ends with its bridge; a new bridge tells the party so. A hold that the party
//! itself requests is independent of ours (RFC 6337 §5.3) and stays in force.

use super::exchange::Origin;
use super::{CallStep, Turn};
use crate::LegId;
use crate::controller::{Hold, MediaError};
use crate::event::Event;
use crate::leg_life::OnAck;
use crate::service::CallError;
use crate::service::command::Reply;

impl CallStep<'_> {
    /// Puts a party on hold, or takes it off hold; the reply follows the party's answer. If the state is
    /// already as requested, the reply is immediate.
    pub(super) fn put_on_hold(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        hold: Hold,
        reply: Reply<Result<(), CallError>>,
    ) {
        // A closed receiver is no error.
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending()) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        let (Some(_), true) = (it.media.endpoint, it.is_up()) else {
            return drop(reply.send(Err(CallError::WrongState("the leg has to be answered first"))));
        };
        if it.takes.no_reinvites {
            let why = "its gateway takes no re-INVITE (reinvites = false)";
            return drop(reply.send(Err(CallError::WrongState(why))));
        }
        let busy = it.hold.reply.is_some() || it.life.on_ack() != OnAck::Nothing || self.call.is_asked();
        if busy {
            return drop(reply.send(Err(CallError::Busy)));
        }
        if it.hold.ours == hold {
            return drop(reply.send(Ok(())));
        }
        if let Some(it) = self.call.leg_mut(leg) {
            it.hold.reply = Some(reply);
        }
        if !self.offer(t, leg, leg, Origin::Hold(hold)) {
            self.common.counters.impossible("put_on_hold");
            self.tell_holding(leg, Err(CallError::Busy));
        }
    }

    /// The party's answer to a hold offer has been applied, or cannot be used.
    pub(super) fn is_held(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        hold: Hold,
        taken: Result<(), MediaError>,
    ) {
        if let Err(error) = taken {
            self.tell_holding(leg, Err(error.into()));
            return self.offer_pending(t);
        }
        // The sender of the command has given up waiting.
        let asked = self.call.leg(leg).and_then(|it| it.hold.reply.as_ref());
        let unwanted = hold != Hold::No
            && self.common.fact("hold is unwanted", |_| asked.is_none_or(|it| it.is_closed()));
        let Some(it) = self.call.leg_mut(leg) else { return self.common.counters.late() };
        let changed = (it.hold.ours == Hold::No) != (hold == Hold::No);
        it.hold.ours = hold;
        let (call, joined) = (it.call, it.media.joined);
        if let Some(endpoint) = it.media.endpoint.filter(|_| hold == Hold::No) {
            self.common.parts.controller.stop_moh(endpoint);
        }
        if changed {
            self.tell(t, Event::OnHold { call, leg, on: hold != Hold::No });
            self.hold_bridge(t);
        }
        if let Some(other) = joined {
            self.join_media(t, leg, other);
        }
        self.led_here(t, &[leg]);
        self.tell_holding(leg, Ok(()));
        self.offer_pending(t);
        if unwanted {
            self.put_on_hold(t, leg, Hold::No, crate::service::command::Reply::default());
        }
    }

    /// Reports the outcome to the command that changed a leg's hold.
    pub(super) fn tell_holding(&mut self, leg: LegId, result: Result<(), CallError>) {
        if let Some(holding) = self.call.leg_mut(leg).and_then(|it| it.hold.reply.take()) {
            // A closed receiver is no error.
            let _ = holding.send(result);
        }
    }

    /// Ends a leg's hold with its bridge; the next offer to the leg says so.
    pub(super) fn hold_over(&mut self, t: &mut Turn<'_>, leg: LegId) {
        let call = self.id;
        let Some(it) = self.call.leg_mut(leg) else { return self.common.counters.impossible("hold_over") };
        if std::mem::take(&mut it.hold.ours) == Hold::No {
            return;
        }
        if let Some(endpoint) = it.media.endpoint {
            self.common.parts.controller.stop_moh(endpoint);
        }
        self.tell(t, Event::OnHold { call, leg, on: false });
    }
}
