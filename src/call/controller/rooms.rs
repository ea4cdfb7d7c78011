//! Conference rooms of the embedded controller. A room is mixed on the media thread of its first member; a
//! member on another thread is connected by a trunk, like legs that are joined across threads.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::convert::{endpoint_id, refused, relay_id};
use super::embedded::EmbeddedController;
use super::joining::State;
use super::trunk;
use super::{
    AddressFamily, ConferenceId, ConferenceSpec, EndpointId, MediaError, MediaFuture, Member, Played, Prompt,
    RecordingId, RecordingSpec,
};
use b2b_media::forward::{ExtensionMap, PayloadMap};
use b2b_media::relay::{RelayHandle, RelayId, Way};
use b2b_media::remote::Remote;
use b2b_media::room::RoomAct;
use b2b_media::sounds::Listener;
use b2b_media::stage::Program;

/// The rooms of a controller.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    last: u64,
    open: HashMap<ConferenceId, Room>,
}

#[derive(Debug)]
struct Room {
    spec: ConferenceSpec,
    /// The thread that mixes it, once it is chosen.
    thread: Option<u16>,
    members: Vec<Seated>,
}

#[derive(Debug)]
struct Seated {
    endpoint: EndpointId,
    bridge: Option<Across>,
}

/// The trunk of a member to the thread of its room.
#[derive(Debug, Clone, Copy)]
struct Across {
    /// The end beside the leg, and the one in the room.
    ends: [RelayId; 2],
    /// The address that the end in the room sends to.
    to: SocketAddr,
}

impl Room {
    fn thread(&mut self, relay: &RelayHandle, number: u64, first: u16) -> u16 {
        *self.thread.get_or_insert_with(|| {
            relay.room(first, number, RoomAct::Open { rate_hz: self.spec.rate_hz });
            first
        })
    }
}

impl Rooms {
    /// The number of open rooms.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Removes an endpoint from every room.
    pub fn leave(&mut self, relay: &RelayHandle, endpoint: EndpointId) {
        let rooms: Vec<ConferenceId> = self.open.keys().copied().collect();
        rooms.into_iter().for_each(|room| self.remove(relay, room, endpoint));
    }

    fn remove(&mut self, relay: &RelayHandle, conference: ConferenceId, endpoint: EndpointId) {
        let Some(room) = self.open.get_mut(&conference) else { return };
        let Some(place) = room.members.iter().position(|seated| seated.endpoint == endpoint) else { return };
        let seated = room.members.swap_remove(place);
        let id = seated.bridge.map_or(relay_id(endpoint), |across| across.ends[1]);
        if let Some(thread) = room.thread {
            relay.room(thread, conference.0, RoomAct::Leave { id });
        }
        if let Some(across) = seated.bridge {
            across.ends.into_iter().for_each(|end| relay.close(end));
        }
    }

    /// Updates a member after its party has described itself anew.
    pub fn follow(&self, relay: &RelayHandle, endpoint: EndpointId, remote: &Remote) {
        let all = self.open.values().flat_map(|room| &room.members);
        let seated = all.filter(|seated| seated.endpoint == endpoint);
        if let Some(across) = seated.filter_map(|seated| seated.bridge).next() {
            across.describe(relay, endpoint, remote);
        }
    }
}

impl Across {
    fn open(
        relay: &RelayHandle,
        endpoint: EndpointId,
        thread: u16,
        ipv6: bool,
    ) -> Result<Across, MediaError> {
        let legs = [relay_id(endpoint), RelayId { thread, slot: 0, generation: 0 }];
        let (ends, [to, _]) =
            trunk::open(relay, legs, ipv6).map_err(|error| refused(error, AddressFamily::V4))?;
        Ok(Across { ends, to })
    }

    /// The end in the room gets the party's audio formats; everything else passes the trunk unchanged.
    fn describe(&self, relay: &RelayHandle, endpoint: EndpointId, remote: &Remote) {
        let clock_rate = remote.voice.gets.map_or(8_000, |target| target.codec.clock_rate());
        let through = Way { extensions: ExtensionMap::all(), ..Way::new(PayloadMap::all(), clock_rate) };
        let mut forward = through;
        forward.clocks = remote.voice.clocks();
        for (payload_type, _) in remote.telephone_events.iter() {
            // Digits are collected at the party's own endpoint.
            forward.payload_types.telephone_event(payload_type);
        }
        relay.describe(self.ends[1], Remote { voice: remote.voice, ..Remote::at(self.to) });
        relay.join(relay_id(endpoint), self.ends[0], forward, through);
    }
}

impl EmbeddedController {
    /// The number of open rooms.
    pub fn conferences(&self) -> usize {
        self.state().rooms.len()
    }

    pub(super) fn open_room(&self, spec: &ConferenceSpec) -> ConferenceId {
        let rooms = &mut self.state().rooms;
        rooms.last += 1;
        let conference = ConferenceId(rooms.last);
        rooms.open.insert(conference, Room { spec: *spec, thread: None, members: Vec::new() });
        conference
    }

    pub(super) fn end_room(&self, conference: ConferenceId) {
        let rooms = &mut self.state().rooms;
        let members = rooms.open.get(&conference).map(|room| &room.members);
        let members: Vec<_> = members.into_iter().flatten().map(|seated| seated.endpoint).collect();
        members.into_iter().for_each(|endpoint| rooms.remove(&self.relay, conference, endpoint));
        if let Some(thread) = rooms.open.remove(&conference).and_then(|room| room.thread) {
            self.relay.room(thread, conference.0, RoomAct::Close);
        }
    }

    pub(super) fn enter_room(
        &self,
        conference: ConferenceId,
        endpoint: EndpointId,
        member: Member,
    ) -> Result<(), MediaError> {
        let mut state = self.state();
        let entry = state.get(endpoint)?;
        let (remote, joined) = (entry.side.remote(), entry.joined);
        let ipv6 = self.is_ipv6();
        let room = state.rooms.open.get(&conference).ok_or(MediaError::Conference)?;
        let seated = room.members.iter().find(|seated| seated.endpoint == endpoint);
        let known = seated.map(|seated| seated.bridge);
        if known.is_none() && room.members.len() >= room.spec.most {
            return Err(MediaError::Conference);
        }
        if known.is_none() {
            if let Some(joined) = joined {
                self.part(&mut state, endpoint, joined);
            }
            state.rooms.leave(&self.relay, endpoint);
        }
        let State { rooms, .. } = &mut *state;
        let room = rooms.open.get_mut(&conference).ok_or(MediaError::Conference)?;
        let party = relay_id(endpoint);
        let thread = room.thread(&self.relay, conference.0, party.thread);
        let bridge = match known {
            Some(bridge) => bridge,
            None if thread == party.thread => None,
            None => {
                let across = Across::open(&self.relay, endpoint, thread, ipv6)?;
                if let Some(remote) = &remote {
                    across.describe(&self.relay, endpoint, remote);
                }
                Some(across)
            }
        };
        if known.is_none() {
            room.members.push(Seated { endpoint, bridge });
        }
        let id = bridge.map_or(party, |across| across.ends[1]);
        self.relay.room(thread, conference.0, RoomAct::Enter { id, party, member });
        Ok(())
    }

    pub(super) fn leave_room(&self, conference: ConferenceId, endpoint: EndpointId) {
        self.state().rooms.remove(&self.relay, conference, endpoint);
    }

    pub(super) fn record_room(
        &self,
        conference: ConferenceId,
        spec: &RecordingSpec,
    ) -> Result<MediaFuture<RecordingId>, MediaError> {
        let mut state = self.state();
        let room = state.rooms.open.get_mut(&conference).ok_or(MediaError::Conference)?;
        let thread = room.thread(&self.relay, conference.0, 0);
        let (tap, begun) = self.recordings.begin_room(spec);
        self.relay.room(thread, conference.0, RoomAct::Record { tap: Box::new(tap) });
        Ok(begun)
    }

    pub(super) fn play_to_room(
        &self,
        conference: ConferenceId,
        prompt: &Prompt,
    ) -> Result<MediaFuture<Played>, MediaError> {
        let mut state = self.state();
        let room = state.rooms.open.get_mut(&conference).ok_or(MediaError::Conference)?;
        let rate_hz = if room.spec.rate_hz > 8_000 { 16_000 } else { 8_000 };
        let thread = room.thread(&self.relay, conference.0, 0);
        let roomer = self.relay.roomer(thread, conference.0).ok_or(MediaError::Conference)?;
        drop(state);
        let (reply, answer) = self.relay.reply();
        let times = prompt.times;
        self.fetch(prompt, Listener::plain(rate_hz), move |fetched| match fetched {
            Ok(segments) => {
                let program = Box::new(Program::new(rate_hz, segments, times));
                roomer.act(RoomAct::Play { program, reply });
            }
            Err(error) => reply.give(Err(error)),
        });
        Ok(MediaFuture::pending(async move { Ok(answer.await.map_err(|_| MediaError::Conference)??) }))
    }
}

/// Converts the event of a media thread.
pub(super) fn speaking(room: u64, id: RelayId, on: bool) -> super::MediaEvent {
    super::MediaEvent::Speaking { conference: ConferenceId(room), endpoint: endpoint_id(id), on }
}
