//! The engine inside of this process: relay threads, and the descriptions of each leg.
//! Everything is ready within the turn but for counters.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use super::trunk::Trunks;
use super::{
    AddressFamily, Capabilities, Capability, Descriptions, EndpointId, EndpointSpec, EndpointStats, Joined,
    LocalDescription, MediaController, MediaError, MediaEvent, MediaFuture, PairPolicy, Route,
};
use crate::call::negotiate::pair::{self, DirectError, PairError, Side};
use crate::media::relay::{
    EndpointConfig, OpenError, RelayConfig, RelayEvent, RelayHandle, RelayId, SpawnError,
};

/// What the embedded controller needs to start.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Addresses to receive at: at most one IPv4 and one IPv6 address, no wildcards; and as
    /// what each is told to far ends, where that differs (a NAT before us).
    pub addresses: Vec<(IpAddr, Option<IpAddr>)>,
    /// RTP takes even ports of this range, RTCP the odd ones behind them.
    pub ports: RangeInclusive<u16>,
    /// Media threads; none: one for each core but one. Each holds as many descriptors as
    /// a process may have.
    pub threads: Option<usize>,
    /// Far ends that do not multiplex RTCP get a socket for it.
    pub rtcp_sockets: bool,
    /// From the operating system's generator, except in tests.
    pub seed: u64,
}

impl EmbeddedConfig {
    /// The usual settings.
    pub fn new(addresses: Vec<(IpAddr, Option<IpAddr>)>, ports: RangeInclusive<u16>, seed: u64) -> Self {
        EmbeddedConfig { addresses, ports, threads: None, rtcp_sockets: true, seed }
    }
}

/// Why it could not start.
pub type StartError = SpawnError;

/// See the module's text.
pub struct EmbeddedController {
    relay: RelayHandle,
    told: Vec<(IpAddr, IpAddr)>,
    state: Mutex<State>,
}

struct State {
    rng: StdRng,
    endpoints: HashMap<EndpointId, Entry>,
    trunks: Trunks,
}

struct Entry {
    side: Side,
    joined: Option<EndpointId>,
}

impl State {
    fn get(&mut self, id: EndpointId) -> Result<&mut Entry, MediaError> {
        self.endpoints.get_mut(&id).ok_or(MediaError::NoSuchEndpoint(id))
    }

    fn two(&mut self, a: EndpointId, b: EndpointId) -> Result<(&mut Entry, &mut Entry), MediaError> {
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
    /// What it can do, known before there is one.
    pub const CAPABILITIES: Capabilities = Capabilities::of(&[
        Capability::Endpoints,
        Capability::Pairs,
        Capability::Bridges,
        Capability::Transcoding,
        Capability::DigitEvents,
        Capability::Timeouts,
        Capability::Statistics,
        Capability::DirectMedia,
    ]);

    /// Starts the media threads.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        config: EmbeddedConfig,
    ) -> Result<(EmbeddedController, mpsc::UnboundedReceiver<MediaEvent>), StartError> {
        let mut rng = StdRng::seed_from_u64(config.seed);
        let bind = config.addresses.iter().map(|(ip, _)| *ip).collect();
        let mut relay = RelayConfig::new(bind, config.ports, rng.random());
        relay.threads = config.threads.unwrap_or(relay.threads).max(1);
        relay.rtcp_sockets = config.rtcp_sockets;
        let (relay, events) = RelayHandle::spawn(relay)?;
        let told = config.addresses.iter().map(|(ip, told)| (*ip, told.unwrap_or(*ip))).collect();
        let state = Mutex::new(State { rng, endpoints: HashMap::new(), trunks: Trunks::default() });
        Ok((EmbeddedController { relay, told, state }, events))
    }

    /// Endpoints that are not released.
    pub fn endpoints(&self) -> usize {
        self.state().endpoints.len()
    }

    /// Joins across media threads.
    pub fn trunks(&self) -> usize {
        self.state().trunks.len()
    }

    /// Tables of descriptors that the media threads have: one each, or one with everything
    /// else where the system refuses that.
    pub fn tables(&self) -> usize {
        self.relay.threads().1.max(1)
    }

    /// Closes every endpoint and waits for the media threads.
    pub fn shutdown(&self) {
        self.relay.shutdown();
        self.state().endpoints.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done behind this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the media in line with what an endpoint was told and has said.
    fn describe(&self, state: &mut State, id: EndpointId) -> Result<(), MediaError> {
        if let Some(remote) = state.get(id)?.side.remote() {
            self.relay.describe(relay_id(id), remote);
        }
        Ok(())
    }

    /// The same for a join that exists already.
    fn rejoin(&self, state: &mut State, id: EndpointId) -> Result<(), MediaError> {
        match state.get(id)?.joined {
            Some(other) => self.join(state, id, other).map(drop),
            None => Ok(()),
        }
    }

    fn join(&self, state: &mut State, a: EndpointId, b: EndpointId) -> Result<Joined, MediaError> {
        let (one, other) = state.two(a, b)?;
        let pair::Join { forward, backward } = pair::join(&one.side, &other.side)?;
        let ipv6 = self.told.first().is_some_and(|(ip, _)| ip.is_ipv6());
        let legs = [relay_id(a), relay_id(b)];
        let joined = state.trunks.join(&self.relay, legs, ipv6, forward.0, backward.0);
        joined.map_err(|error| refused(error, AddressFamily::V4))?;
        let route = |from: String, to: Option<String>| match to {
            Some(to) => Route::Transcode { from, to },
            None => Route::Relay { encoding: from },
        };
        Ok(Joined { forward: route(forward.1, forward.2), backward: route(backward.1, backward.2) })
    }

    fn part(&self, state: &mut State, a: EndpointId, b: EndpointId) {
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

impl MediaController for EmbeddedController {
    fn capabilities(&self) -> Capabilities {
        EmbeddedController::CAPABILITIES
    }

    fn allocate_endpoint(&self, spec: EndpointSpec) -> MediaFuture<(EndpointId, LocalDescription)> {
        let near = spec.near.map(relay_id);
        let config = EndpointConfig { rtp_timeout: spec.rtp_timeout };
        let opened = self.relay.open(spec.family == AddressFamily::V6, near, config);
        MediaFuture::ready(opened.map_err(|error| refused(error, spec.family)).map(|(relay, local)| {
            let id = endpoint_id(relay);
            let told = self.told.iter().find(|(ip, _)| *ip == local.ip()).map_or(local.ip(), |told| told.1);
            let rtp = SocketAddr::new(told, local.port());
            let mut state = self.state();
            let side = Side::new(rtp, state.rng.random());
            state.endpoints.insert(id, Entry { side, joined: None });
            (id, LocalDescription { rtp })
        }))
    }

    fn release_endpoint(&self, endpoint: EndpointId) {
        let mut state = self.state();
        let Some(entry) = state.endpoints.remove(&endpoint) else { return };
        if let Some(other) = entry.joined.and_then(|other| state.endpoints.get_mut(&other)) {
            other.joined = None;
        }
        state.trunks.release(&self.relay, relay_id(endpoint));
        self.relay.close(relay_id(endpoint));
    }

    fn pair_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        offer: Bytes,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        let mut state = self.state();
        MediaFuture::ready(state.two(from, to).and_then(|(from, to)| {
            Ok(pair::offer(&mut from.side, &mut to.side, &offer, policy)?.into_vec().into())
        }))
    }

    fn pair_answer(&self, from: EndpointId, to: EndpointId, answer: Bytes) -> MediaFuture<Bytes> {
        let mut state = self.state();
        let paired = state.two(from, to).and_then(|(from, to)| {
            Ok(pair::answer(&mut from.side, &mut to.side, &answer)?.into_vec().into())
        });
        MediaFuture::ready(paired.and_then(|answer| {
            let both = [from, to];
            for id in both {
                self.describe(&mut state, id)?;
            }
            let together = state.get(from)?.joined == Some(to);
            for id in if together { &both[..1] } else { &both[..] } {
                self.rejoin(&mut state, *id)?;
            }
            Ok(answer)
        }))
    }

    fn local_offer(
        &self,
        endpoint: EndpointId,
        like: Option<EndpointId>,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        let mut state = self.state();
        let offer = match like.filter(|like| *like != endpoint) {
            Some(like) => state
                .two(endpoint, like)
                .and_then(|(to, like)| Ok(pair::local_offer(&mut to.side, Some(&like.side), policy)?)),
            None => {
                state.get(endpoint).and_then(|entry| Ok(pair::local_offer(&mut entry.side, None, policy)?))
            }
        };
        MediaFuture::ready(offer.map(|offer| offer.into_vec().into()))
    }

    fn apply_remote(&self, endpoint: EndpointId, answer: Bytes) -> MediaFuture<()> {
        let mut state = self.state();
        let applied = state.get(endpoint).and_then(|entry| Ok(pair::apply(&mut entry.side, &answer)?));
        MediaFuture::ready(applied.and_then(|()| {
            self.describe(&mut state, endpoint)?;
            self.rejoin(&mut state, endpoint)
        }))
    }

    fn local_answer(&self, endpoint: EndpointId, offer: Bytes, policy: &PairPolicy) -> MediaFuture<Bytes> {
        let mut state = self.state();
        let answer =
            state.get(endpoint).and_then(|entry| Ok(pair::local_answer(&mut entry.side, &offer, policy)?));
        MediaFuture::ready(answer.and_then(|answer| {
            self.describe(&mut state, endpoint)?;
            self.rejoin(&mut state, endpoint)?;
            Ok(answer.into_vec().into())
        }))
    }

    fn repeat_offer(&self, endpoint: EndpointId) -> MediaFuture<Bytes> {
        let mut state = self.state();
        let offer = state.get(endpoint).and_then(|entry| Ok(pair::repeat(&mut entry.side)?));
        MediaFuture::ready(offer.map(|offer| offer.into_vec().into()))
    }

    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.state().get(endpoint).is_ok_and(|entry| entry.side.repeats(description))
    }

    fn direct_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        heard: SocketAddr,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        let mut state = self.state();
        MediaFuture::ready(state.two(from, to).and_then(|(from, to)| {
            Ok(pair::direct(&from.side, &mut to.side, heard, policy)?.into_vec().into())
        }))
    }

    fn return_offer(&self, endpoint: EndpointId, policy: &PairPolicy) -> MediaFuture<Bytes> {
        let mut state = self.state();
        let offer = state.get(endpoint).and_then(|entry| Ok(pair::back(&mut entry.side, policy)?));
        MediaFuture::ready(offer.map(|offer| offer.into_vec().into()))
    }

    fn send_digit(&self, endpoint: EndpointId, digit: char, duration_ms: u32) {
        let code = "0123456789*#ABCD".find(digit.to_ascii_uppercase());
        if let Some(code) = code.and_then(|code| u8::try_from(code).ok()) {
            self.relay.digit(relay_id(endpoint), code, duration_ms);
        }
    }

    fn withdraw_offer(&self, endpoint: EndpointId) {
        if let Ok(entry) = self.state().get(endpoint) {
            entry.side.withdraw();
        }
    }

    fn bridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<Joined> {
        let mut state = self.state();
        let joined = self.join(&mut state, a, b);
        if joined.is_ok() {
            for (id, other) in [(a, b), (b, a)] {
                let before = state.endpoints.get_mut(&id).and_then(|entry| entry.joined.replace(other));
                if let Some(before) = before.filter(|before| *before != other)
                    && let Some(entry) = state.endpoints.get_mut(&before)
                {
                    entry.joined = None;
                }
            }
        }
        MediaFuture::ready(joined)
    }

    fn unbridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<()> {
        self.part(&mut self.state(), a, b);
        MediaFuture::ready(Ok(()))
    }

    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions> {
        let mut state = self.state();
        let (told, said) = state.get(endpoint).ok()?.side.described()?;
        Some(Descriptions { told: told.into(), said: said.into() })
    }

    fn stats(&self, endpoint: EndpointId) -> MediaFuture<EndpointStats> {
        if let Err(error) = self.state().get(endpoint) {
            return MediaFuture::ready(Err(error));
        }
        let stats = self.relay.stats(relay_id(endpoint));
        MediaFuture::pending(async move {
            stats.await.map(|stats| *stats).map_err(|_| MediaError::NoSuchEndpoint(endpoint))
        })
    }
}

/// An endpoint's name holds where it is: eight bits of thread, 24 of place.
fn endpoint_id(id: RelayId) -> EndpointId {
    EndpointId(u64::from(id.thread) << 56 | u64::from(id.slot) << 32 | u64::from(id.generation))
}

fn relay_id(id: EndpointId) -> RelayId {
    let EndpointId(id) = id;
    RelayId { thread: (id >> 56) as u16, slot: (id >> 32) as u32 & 0xFF_FFFF, generation: id as u32 }
}

fn refused(error: OpenError, family: AddressFamily) -> MediaError {
    match error {
        OpenError::Ports => MediaError::NoPorts,
        OpenError::Family => MediaError::Family(family),
        OpenError::Stopped => MediaError::Stopped,
    }
}

impl From<PairError> for MediaError {
    fn from(error: PairError) -> Self {
        match error {
            PairError::Negotiate(crate::call::negotiate::NegotiateError::NoCommonCodec) => {
                MediaError::NoCommonCodec
            }
            PairError::Negotiate(error) => MediaError::Description(error),
            PairError::NoOffer => MediaError::NoOffer,
            PairError::Undescribed => MediaError::Undescribed,
        }
    }
}

impl From<DirectError> for MediaError {
    fn from(error: DirectError) -> Self {
        MediaError::NotDirect(error.to_string())
    }
}

impl From<RelayEvent> for MediaEvent {
    fn from(event: RelayEvent) -> Self {
        match event {
            RelayEvent::Started { id, from } => MediaEvent::Started { endpoint: endpoint_id(id), from },
            RelayEvent::Timeout { id } => MediaEvent::Timeout { endpoint: endpoint_id(id) },
            RelayEvent::SourceChanged { id, from, to } => {
                MediaEvent::SourceChanged { endpoint: endpoint_id(id), from, to }
            }
            RelayEvent::Digit { id, digit, duration_ms, passed_on } => {
                MediaEvent::Digit { endpoint: endpoint_id(id), digit, duration_ms, passed_on }
            }
            RelayEvent::Closed { id, stats } => MediaEvent::Closed { endpoint: endpoint_id(id), stats },
            RelayEvent::Lost { reason } => MediaEvent::Lost { reason },
        }
    }
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
