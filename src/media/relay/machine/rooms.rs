//! Rooms of this thread: their members and their ticks.

use std::time::Duration;

use super::{BEFORE, Channel, Machine, Now, RelayId, Transmit};
use crate::forward::Header;
use crate::relay::RelayEvent;
use crate::relay::endpoint::Endpoint;
use crate::remote::Voice;
use crate::room::{Room, RoomAct, RoomReceiver};
use crate::stage::TICK_SAMPLES;
use b2b_base::frame::FrameKind;

/// Flag of a number on the wheel that is a room's slot, not an endpoint's.
const ROOM: u32 = 1 << 31;

/// The room's slot that a number on the wheel denotes.
pub(super) fn room_of(member: u32) -> Option<usize> {
    (member & ROOM != 0).then_some((member & !ROOM) as usize)
}

impl Machine {
    /// Executes a command for a room; `number` identifies it outside this thread.
    pub(super) fn room(&mut self, at: u64, number: u64, act: RoomAct) {
        let found = self.rooms.iter().position(|room| room.as_ref().is_some_and(|it| it.number == number));
        match (act, found) {
            (RoomAct::Open { rate_hz }, None) => {
                let room = Some(Box::new(Room::new(number, rate_hz)));
                match self.rooms.iter_mut().find(|place| place.is_none()) {
                    Some(place) => *place = room,
                    None => self.rooms.push(room),
                }
            }
            (RoomAct::Enter { id, party, member }, Some(place)) => {
                self.leave_room(at, id, Some(place));
                let Some(Some(room)) = self.rooms.get_mut(place) else { return };
                let rate_hz = room.rate_hz();
                if self.get(id).is_some_and(|endpoint| endpoint.local.is_none())
                    && let Some(Some(room)) = self.rooms.get_mut(place)
                    && room.enter(id, party, member)
                {
                    self.take_into_room(at, id, place as u32, rate_hz);
                }
            }
            (RoomAct::Leave { id }, Some(_)) => self.leave_room(at, id, None),
            (RoomAct::Play { program, reply }, Some(place)) => {
                if let Some(Some(room)) = self.rooms.get_mut(place) {
                    room.announce(program, reply);
                }
            }
            (RoomAct::Record { tap }, Some(place)) => {
                if let Some(Some(room)) = self.rooms.get_mut(place) {
                    room.record(tap);
                }
            }
            (RoomAct::Close, Some(place)) => {
                let chairs = self.rooms[place].as_ref().map(|room| room.chairs());
                let ids: Vec<RelayId> = chairs.unwrap_or_default().iter().map(|chair| chair.id).collect();
                ids.into_iter().for_each(|id| self.leave_room(at, id, None));
                if let Some(mut room) = self.rooms[place].take() {
                    room.close();
                    if let Some(phase) = room.phase {
                        self.wheel.remove(phase, ROOM | place as u32);
                    }
                }
            }
            // The room exists already, or there is none; a requester is told by the reply being dropped.
            (RoomAct::Open { .. }, Some(_))
            | (
                RoomAct::Enter { .. }
                | RoomAct::Leave { .. }
                | RoomAct::Play { .. }
                | RoomAct::Record { .. }
                | RoomAct::Close,
                None,
            ) => {}
        }
        if let Some(place) = found {
            self.set_room(at, place);
        }
    }

    fn take_into_room(&mut self, at: u64, id: RelayId, place: u32, rate_hz: u32) {
        if let Some(peer) = self.get(id).and_then(|endpoint| endpoint.peer) {
            self.part(id.slot);
            self.part(peer);
        }
        let epoch = self.epoch;
        let Some(endpoint) = self.get(id) else { return };
        let voice = endpoint.far.remote.map_or(Voice::NONE, |remote| remote.voice);
        let stage = endpoint.stage.get_or_insert_default();
        stage.leave_to_others();
        stage.room = Some(place);
        stage.receiver = Some(Box::new(RoomReceiver::new(epoch, rate_hz, &voice)));
        if let Some(target) = &voice.gets {
            stage.prepare(target, rate_hz);
        }
        let way = endpoint.idle_way();
        endpoint.set_way(&way);
        self.set_stage(at, id.slot);
    }

    /// Removes an endpoint from its room, unless that is `but`.
    pub(super) fn leave_room(&mut self, at: u64, id: RelayId, but: Option<usize>) {
        let Some(stage) = self.get(id).and_then(|endpoint| endpoint.stage.as_mut()) else { return };
        let Some(place) = stage.room.filter(|place| Some(*place as usize) != but) else { return };
        (stage.room, stage.receiver) = (None, None);
        if let Some(Some(room)) = self.rooms.get_mut(place as usize)
            && let Some((party, true)) = room.leave(id)
        {
            let number = room.number;
            self.events.push_back(RelayEvent::Speaking { room: number, id: party, on: false });
        }
        self.set_room(at, place as usize);
        if let Some(endpoint) = self.get(id).filter(|endpoint| endpoint.peer.is_none()) {
            let way = endpoint.idle_way();
            endpoint.set_way(&way);
        }
        self.set_stage(at, id.slot);
    }

    fn set_room(&mut self, at: u64, place: usize) {
        let Machine { rooms, wheel, .. } = self;
        let Some(Some(room)) = rooms.get_mut(place) else { return };
        let member = ROOM | place as u32;
        match room.phase {
            None if !room.is_quiet() => room.phase = Some(wheel.add(at, member)),
            Some(phase) if room.is_quiet() => {
                wheel.remove(phase, member);
                room.phase = None;
            }
            _ => {}
        }
    }

    /// Processes a packet of a party in a room.
    pub(super) fn hear(&mut self, now: Now, slot: u32, datagram: &[u8]) {
        let Some(endpoint) = self.at(slot) else { return };
        if endpoint.is_event() {
            return self.event(now, slot, datagram, false, false);
        }
        let Endpoint { stage: Some(stage), far, drops, .. } = endpoint else { return };
        let (Some(receiver), Some(remote)) = (&mut stage.receiver, &far.remote) else { return };
        if receiver.is_on_hold(remote.receives) {
            return;
        }
        let Some(header) = Header::read(datagram) else { return };
        let payload = datagram.get(header.payload..header.payload + header.payload_len).unwrap_or_default();
        let taken = receiver.packet(now.at, &remote.voice, &header, payload);
        drops.undecodable += u64::from(!taken);
    }

    /// Serves a room that is due. Returns its number of members, and whether there will be another tick.
    pub(super) fn tick_room(
        &mut self,
        due: u64,
        at: u64,
        place: usize,
        out: &mut impl Transmit,
    ) -> (u64, bool) {
        let Some(mut room) = self.rooms.get_mut(place).and_then(Option::take) else { return (0, false) };
        let count = room.chairs().len();
        let moment = self.epoch + Duration::from_nanos(due - BEFORE);
        for n in 0..count {
            let id = room.chairs()[n].id;
            let receiver = self.get(id).and_then(|endpoint| endpoint.stage.as_mut()?.receiver.as_mut());
            let heard = receiver
                .is_some_and(|receiver| receiver.play(moment, room.frame_of(n)) != FrameKind::Silence);
            room.heard(n, heard);
        }
        let (number, events) = (room.number, &mut self.events);
        room.mix(|party, on| events.push_back(RelayEvent::Speaking { room: number, id: party, on }));
        room.keep(moment);
        let rate_hz = room.rate_hz();
        let frame = room.frame();
        for n in 0..count {
            let id = room.chairs()[n].id;
            let Some(Endpoint { stage: Some(stage), out: space, far, inserted, drops, .. }) = self.get(id)
            else {
                continue;
            };
            if stage.is_playing() {
                continue;
            }
            let takes = far.rtp_at().filter(|_| inserted.is_none());
            let target = far.remote.and_then(|remote| remote.voice.gets).zip(takes);
            let Some((target, to)) = target else {
                stage.say_nothing();
                continue;
            };
            let send = |packet: &[u8]| {
                let sent = out.transmit(id.slot, Channel::Rtp, to, packet);
                drops.send_failed += u64::from(!sent);
            };
            stage.room_tick(due);
            let mut own = [0; TICK_SAMPLES];
            if room.own(n, &mut own) {
                stage.say_room(&target, rate_hz, &own[..frame], at, space, send);
            } else if let Some(payloads) = room.shared(n, &target) {
                stage.say_shared(&target, &payloads, at, space, send);
            }
        }
        let goes_on = !room.is_quiet();
        if !goes_on {
            room.phase = None;
        }
        self.rooms[place] = Some(room);
        (count as u64, goes_on)
    }
}
