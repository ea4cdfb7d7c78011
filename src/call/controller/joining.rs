//! The descriptions exchanged at endpoints, and the joins that follow from them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use rand::RngExt;
use rand::rngs::StdRng;

use super::convert::{endpoint_id, refused, relay_id};
use super::embedded::EmbeddedController;
use super::rooms::Rooms;
use super::trunk::Trunks;
use super::{
    AddressFamily, Answer, Bound, EndpointId, EndpointSpec, Joined, MediaError, MediaEvent, Route, Signalling,
};
use crate::negotiate::crypto::LocalCrypto;
use crate::negotiate::pair::{self, Side};
use crate::policy::media::{Naming, Receiving};
use b2b_media::relay::Opened;
use b2b_media::remote::Remote;
use b2b_media::sounds::Listener;

pub(super) struct State {
    pub rng: StdRng,
    /// Boxed: half of the hash table's slots are empty.
    pub endpoints: HashMap<EndpointId, Box<Entry>>,
    /// Where they receive, as bound and as told.
    pub receiving: Receiving,
    pub trunks: Trunks,
    pub rooms: Rooms,
}

impl State {
    /// Registers an endpoint that the relay has opened; `told` is its address in descriptions. `other_family`:
    /// its network has an address of the other family, too.
    pub fn opened(
        &mut self,
        opened: Opened,
        told: IpAddr,
        other_family: bool,
        spec: EndpointSpec,
    ) -> Result<Answer, MediaError> {
        let (relay, local) = opened.map_err(|error| refused(error, spec.family))?;
        let id = endpoint_id(relay);
        let rtp = SocketAddr::new(if spec.inside { local.ip() } else { told }, local.port());
        let mut side =
            Side::new(rtp, self.rng.random()).with_audio(spec.audio).with_other_family(other_family);
        if spec.srtp.encrypted {
            // Not from the seed of the identifiers, which are public.
            side = side.with_crypto(LocalCrypto::new(spec.srtp, rand::random()));
        }
        if let Some(before) = spec.session {
            before.go_on_in(&mut side);
        }
        let entry = Entry {
            side,
            local,
            joined: None,
            signalling: spec.signalling,
            bound: spec.bound,
            bound_to: None,
            interface: spec.interface,
            hears_tones: false,
        };
        let gateway = entry.bound.as_ref().and_then(Bound::gateway);
        self.receiving.extend([(local, gateway.clone()), (rtp, gateway)]);
        self.endpoints.insert(id, Box::new(entry));
        Ok(Answer::Allocated { endpoint: Some(id), rtp })
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Entry {
    pub side: Side,
    /// Where it receives, as bound.
    pub local: SocketAddr,
    pub joined: Option<EndpointId>,
    pub signalling: Signalling,
    /// The addresses that its party may name, and in `bound_to` the host that the limit currently applies to.
    pub bound: Option<Bound>,
    pub bound_to: Option<IpAddr>,
    /// The name of its network, if it has one.
    pub interface: Option<String>,
    /// Whether tones in its party's audio are detected.
    pub hears_tones: bool,
}

impl Entry {
    /// What may be sent to the addresses in a description of its party. `receiving`: where our endpoints receive.
    fn naming(&self, remote: &Remote, receiving: &Receiving) -> Naming {
        let naming = |bound: &Bound| bound.naming_of(remote, &self.signalling, receiving);
        self.bound.as_ref().map_or(Naming::Own, naming)
    }

    /// The new limited host, if it has changed; the inner `None` lifts the limit.
    fn rebound(&mut self, host: Option<IpAddr>) -> Option<Option<(String, IpAddr)>> {
        let to = self.bound.as_ref().zip(host).map(|(bound, host)| (bound.party.clone(), host));
        (std::mem::replace(&mut self.bound_to, host) != host).then_some(to)
    }
}

impl State {
    pub fn get(&mut self, id: EndpointId) -> Result<&mut Entry, MediaError> {
        self.endpoints.get_mut(&id).map(Box::as_mut).ok_or(MediaError::NoSuchEndpoint(id))
    }

    pub fn two(&mut self, a: EndpointId, b: EndpointId) -> Result<(&mut Entry, &mut Entry), MediaError> {
        let missing = [a, b].into_iter().find(|id| !self.endpoints.contains_key(id));
        match (missing, a == b) {
            (None, false) => match self.endpoints.get_disjoint_mut([&a, &b]) {
                [Some(one), Some(other)] => Ok((one, other)),
                _ => Err(MediaError::NoSuchEndpoint(a)),
            },
            (missing, _) => Err(MediaError::NoSuchEndpoint(missing.unwrap_or(b))),
        }
    }
}

impl EmbeddedController {
    /// The audio format for sounds played to a party.
    pub(super) fn listener(&self, id: EndpointId) -> Result<Listener, MediaError> {
        let mut state = self.state();
        let remote = state.get(id)?.side.remote();
        Ok(remote.map_or(Listener::plain(8_000), |remote| remote.voice.listener()))
    }

    /// Runs `act`, which completes an offer/answer exchange of these endpoints, and updates their media.
    pub(super) fn settled<T>(
        &self,
        ids: &[EndpointId],
        act: impl FnOnce(&mut State) -> Result<T, MediaError>,
    ) -> Result<T, MediaError> {
        let mut state = self.state();
        let done = act(&mut state)?;
        for id in ids {
            self.describe(&mut state, *id)?;
        }
        let again = match ids {
            // Endpoints joined with each other are rejoined once.
            [one, other] if state.get(*one)?.joined == Some(*other) => &ids[..1],
            ids => ids,
        };
        for id in again {
            self.rejoin(&mut state, *id)?;
        }
        Ok(done)
    }

    /// Updates the relay with the descriptions of an endpoint.
    pub(super) fn describe(&self, state: &mut State, id: EndpointId) -> Result<(), MediaError> {
        let State { endpoints, receiving, .. } = state;
        let entry = endpoints.get_mut(&id).ok_or(MediaError::NoSuchEndpoint(id))?;
        self.recordings.described(id, &entry.side);
        if let Some(remote) = entry.side.remote() {
            let mut remote = Remote { signalling: entry.signalling, ..remote };
            let naming = entry.naming(&remote, receiving);
            if let Some(to) = entry.rebound((naming == Naming::Bounded).then(|| remote.rtp.ip())) {
                self.relay.bound(relay_id(id), to);
            }
            remote.awaited |= naming == Naming::Never;
            let asks = remote.awaited && entry.bound.as_ref().is_some_and(|bound| bound.sdp_names);
            if let Some(host) = asks.then(|| entry.side.unasked_host()).flatten()
                && let Some(events) = self.events.upgrade()
            {
                let family = AddressFamily::of(entry.local);
                let _ = events.send(MediaEvent::HostNamed { endpoint: id, family, host });
            }
            let side = &entry.side;
            // Keys are set before the destination, so nothing is sent there unencrypted.
            if side.encrypts() {
                self.relay.protect(relay_id(id), side.keys());
            }
            self.relay.describe(relay_id(id), remote);
            self.look_for_tones(id, state.get(id)?);
            state.rooms.follow(&self.relay, id, &remote);
        }
        Ok(())
    }

    /// Updates an existing join of an endpoint.
    pub(super) fn rejoin(&self, state: &mut State, id: EndpointId) -> Result<(), MediaError> {
        match state.get(id)?.joined {
            Some(other) => self.join(state, id, other).map(drop),
            None => Ok(()),
        }
    }

    fn join(&self, state: &mut State, a: EndpointId, b: EndpointId) -> Result<Joined, MediaError> {
        let (one, other) = state.two(a, b)?;
        let pair::Join { forward, backward } = pair::join(&one.side, &other.side)?;
        let ipv6 = self.is_ipv6();
        let legs = [relay_id(a), relay_id(b)];
        let remotes = [one.side.remote(), other.side.remote()];
        let joined = state.trunks.join(&self.relay, legs, remotes, ipv6, forward.way, backward.way);
        joined.map_err(|error| refused(error, AddressFamily::V4))?;
        let route = |from: String, to: Option<String>| match to {
            Some(to) => Route::Transcode { from, to },
            None => Route::Relay { encoding: from },
        };
        Ok(Joined {
            forward: route(forward.encoding, forward.transcoded),
            backward: route(backward.encoding, backward.transcoded),
        })
    }

    /// Joins two endpoints and separates them from earlier ones.
    pub(super) fn put_together(&self, a: EndpointId, b: EndpointId) -> Result<Joined, MediaError> {
        let mut state = self.state();
        let joined = self.join(&mut state, a, b)?;
        for (id, other) in [(a, b), (b, a)] {
            state.rooms.leave(&self.relay, id);
            let before = state.endpoints.get_mut(&id).and_then(|entry| entry.joined.replace(other));
            if let Some(before) = before.filter(|before| *before != other)
                && let Some(entry) = state.endpoints.get_mut(&before)
            {
                entry.joined = None;
            }
        }
        Ok(joined)
    }

    pub(super) fn part(&self, state: &mut State, a: EndpointId, b: EndpointId) {
        for (id, other) in [(a, b), (b, a)] {
            if let Some(entry) = state.endpoints.get_mut(&id)
                && entry.joined == Some(other)
            {
                entry.joined = None;
            }
        }
        state.trunks.part(&self.relay, [relay_id(a), relay_id(b)]);
        self.relay.part(relay_id(a), relay_id(b));
    }
}
