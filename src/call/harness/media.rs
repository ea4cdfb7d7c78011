//! A media controller without media: it numbers endpoints, and writes descriptions as
//! the embedded one does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::call::controller::{
    Capabilities, Capability, Descriptions, EndpointId, EndpointSpec, EndpointStats, Joined,
    LocalDescription, MediaController, MediaError, MediaFuture, PairPolicy, Route,
};
use crate::call::negotiate::NegotiateError;
use crate::call::negotiate::pair::{self, Side};

/// Media that is only told of. Every endpoint `n` receives at 192.0.2.1:10000+2n.
#[derive(Debug)]
pub struct FakeMedia {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    held: BTreeMap<EndpointId, Side>,
    bridges: Vec<(EndpointId, EndpointId)>,
    refuse: bool,
    /// What the test says that media counted.
    stats: HashMap<EndpointId, EndpointStats>,
    closed: VecDeque<(EndpointId, EndpointStats)>,
    silent: bool,
    digits: Vec<(EndpointId, char, u32)>,
}

impl FakeMedia {
    /// Media that begins now.
    pub(super) fn new(start: Instant) -> Self {
        FakeMedia { start, state: Mutex::default() }
    }

    /// From now on an endpoint's counters are these.
    pub fn set_stats(&self, endpoint: EndpointId, stats: EndpointStats) {
        self.state().stats.insert(endpoint, stats);
    }

    /// Released endpoints have no last word from now on.
    pub fn say_nothing(&self) {
        self.state().silent = true;
    }

    pub(super) fn poll_closed(&self) -> Option<(EndpointId, EndpointStats)> {
        let mut state = self.state();
        if state.silent { None } else { state.closed.pop_front() }
    }

    /// Endpoints that are not released.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Pairs that are joined.
    pub fn bridges(&self) -> Vec<(EndpointId, EndpointId)> {
        self.state().bridges.clone()
    }

    /// Digits that were to be sent since this was last asked: to which endpoint, for how
    /// many ms.
    pub fn digits(&self) -> Vec<(EndpointId, char, u32)> {
        std::mem::take(&mut self.state().digits)
    }

    /// From now on there are no ports.
    pub fn run_out_of_ports(&self) {
        self.state().refuse = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `with` makes of the sides of one endpoint, or of two.
    fn described<T: Into<Bytes>, E: Into<MediaError>>(
        &self,
        (one, other): (EndpointId, Option<EndpointId>),
        with: impl FnOnce(&mut Side, Option<&mut Side>) -> Result<T, E>,
    ) -> MediaFuture<Bytes> {
        let mut state = self.state();
        let gone = |id| MediaFuture::ready(Err(MediaError::NoSuchEndpoint(id)));
        let Some(mut taken) = state.held.remove(&one) else { return gone(one) };
        let second = other.map(|other| (other, state.held.get_mut(&other)));
        let result = match second {
            Some((other, None)) => Err(MediaError::NoSuchEndpoint(other)),
            second => with(&mut taken, second.and_then(|(_, side)| side)).map_err(Into::into),
        };
        state.held.insert(one, taken);
        MediaFuture::ready(result.map(Into::into))
    }

    fn between<T: Into<Bytes>, E: Into<MediaError> + From<NegotiateError>>(
        &self,
        one: EndpointId,
        other: EndpointId,
        with: impl FnOnce(&mut Side, &mut Side) -> Result<T, E>,
    ) -> MediaFuture<Bytes> {
        self.described((one, Some(other)), |one, other| match other {
            Some(other) => with(one, other),
            None => Err(NegotiateError::NoAudio.into()),
        })
    }
}

fn port(endpoint: EndpointId) -> u16 {
    10_000 + (endpoint.0 as u16 % 20_000) * 2
}

impl MediaController for FakeMedia {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&[
            Capability::Endpoints,
            Capability::Pairs,
            Capability::Bridges,
            Capability::DirectMedia,
        ])
    }

    fn allocate_endpoint(&self, spec: EndpointSpec) -> MediaFuture<(EndpointId, LocalDescription)> {
        let _ = spec;
        let mut state = self.state();
        if state.refuse {
            return MediaFuture::ready(Err(MediaError::NoPorts));
        }
        state.last += 1;
        let endpoint = EndpointId(state.last);
        let rtp = SocketAddr::from(([192, 0, 2, 1], port(endpoint)));
        let side = Side::new(rtp, state.last * 2);
        state.held.insert(endpoint, side);
        MediaFuture::ready(Ok((endpoint, LocalDescription { rtp })))
    }

    fn release_endpoint(&self, endpoint: EndpointId) {
        let mut state = self.state();
        if state.held.remove(&endpoint).is_some() {
            let stats = state.stats.remove(&endpoint).unwrap_or(EndpointStats::new(self.start));
            state.closed.push_back((endpoint, stats));
        }
        state.bridges.retain(|(a, b)| *a != endpoint && *b != endpoint);
    }

    fn pair_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        offer: Bytes,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.between(from, to, |from, to| pair::offer(from, to, &offer, policy))
    }

    fn pair_answer(&self, from: EndpointId, to: EndpointId, answer: Bytes) -> MediaFuture<Bytes> {
        self.between(from, to, |from, to| pair::answer(from, to, &answer))
    }

    fn local_offer(
        &self,
        endpoint: EndpointId,
        like: Option<EndpointId>,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.described((endpoint, like), |to, like| pair::local_offer(to, like.as_deref(), policy))
    }

    fn apply_remote(&self, endpoint: EndpointId, answer: Bytes) -> MediaFuture<()> {
        let mut state = self.state();
        let side = state.held.get_mut(&endpoint).ok_or(MediaError::NoSuchEndpoint(endpoint));
        MediaFuture::ready(side.and_then(|side| Ok(pair::apply(side, &answer)?)))
    }

    fn local_answer(&self, endpoint: EndpointId, offer: Bytes, policy: &PairPolicy) -> MediaFuture<Bytes> {
        self.described((endpoint, None), |side, _| pair::local_answer(side, &offer, policy))
    }

    fn repeat_offer(&self, endpoint: EndpointId) -> MediaFuture<Bytes> {
        self.described((endpoint, None), |side, _| pair::repeat(side))
    }

    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.state().held.get(&endpoint).is_some_and(|side| side.repeats(description))
    }

    fn direct_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        heard: SocketAddr,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.described((from, Some(to)), |from, to| match to {
            Some(to) => pair::direct(from, to, heard, policy),
            None => Err(pair::DirectError::Held),
        })
    }

    fn return_offer(&self, endpoint: EndpointId, policy: &PairPolicy) -> MediaFuture<Bytes> {
        self.described((endpoint, None), |side, _| pair::back(side, policy))
    }

    fn send_digit(&self, endpoint: EndpointId, digit: char, duration_ms: u32) {
        self.state().digits.push((endpoint, digit, duration_ms));
    }

    fn withdraw_offer(&self, endpoint: EndpointId) {
        if let Some(side) = self.state().held.get_mut(&endpoint) {
            side.withdraw();
        }
    }

    fn bridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<Joined> {
        let mut state = self.state();
        state.bridges.retain(|(x, y)| ![*x, *y].iter().any(|it| [a, b].contains(it)));
        state.bridges.push((a, b));
        let route = || Route::Relay { encoding: "PCMA".to_owned() };
        MediaFuture::ready(Ok(Joined { forward: route(), backward: route() }))
    }

    fn unbridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<()> {
        self.state().bridges.retain(|pair| *pair != (a, b) && *pair != (b, a));
        MediaFuture::ready(Ok(()))
    }

    fn stats(&self, endpoint: EndpointId) -> MediaFuture<EndpointStats> {
        let state = self.state();
        if !state.held.contains_key(&endpoint) {
            return MediaFuture::ready(Err(MediaError::NoSuchEndpoint(endpoint)));
        }
        let stats = state.stats.get(&endpoint).copied();
        MediaFuture::ready(Ok(stats.unwrap_or(EndpointStats::new(self.start))))
    }

    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions> {
        let state = self.state();
        let (told, said) = state.held.get(&endpoint)?.described()?;
        Some(Descriptions { told: told.into(), said: said.into() })
    }
}
