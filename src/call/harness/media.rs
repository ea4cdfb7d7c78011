//! A media controller without media: it numbers endpoints, and writes its own
//! addresses into descriptions.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::call::controller::{
    Capabilities, Capability, EndpointId, EndpointSpec, EndpointStats, Joined, LocalDescription,
    MediaController, MediaError, MediaFuture, PairPolicy, Route,
};

/// Media that is only told of. Every endpoint `n` receives at 192.0.2.1:10000+2n.
#[derive(Debug, Default)]
pub struct FakeMedia {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    held: BTreeSet<EndpointId>,
    bridges: Vec<(EndpointId, EndpointId)>,
    refuse: bool,
    /// What each party was told last, has said last, and offers.
    told: HashMap<EndpointId, Bytes>,
    said: HashMap<EndpointId, Bytes>,
    offers: HashMap<EndpointId, Bytes>,
}

impl FakeMedia {
    /// Endpoints that are not released.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Pairs that are joined.
    pub fn bridges(&self) -> Vec<(EndpointId, EndpointId)> {
        self.state().bridges.clone()
    }

    /// From now on there are no ports.
    pub fn run_out_of_ports(&self) {
        self.state().refuse = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rewrite(&self, to: EndpointId, description: &Bytes) -> MediaFuture<Bytes> {
        if !self.state().held.contains(&to) {
            return MediaFuture::ready(Err(MediaError::NoSuchEndpoint(to)));
        }
        let text = String::from_utf8_lossy(description);
        let lines = text.lines().map(|line| match line.split_once(' ') {
            _ if line.starts_with("c=") => "c=IN IP4 192.0.2.1".to_owned(),
            _ if line.starts_with("o=") => format!("o=- {} 1 IN IP4 192.0.2.1", to.0),
            Some(("m=audio", rest)) => {
                let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
                format!("m=audio {} {rest}", port(to))
            }
            _ => line.to_owned(),
        });
        let text: String = lines.map(|line| line + "\r\n").collect();
        let text = Bytes::from(text);
        self.state().told.insert(to, text.clone());
        MediaFuture::ready(Ok(text))
    }

    fn hear(&self, from: EndpointId, description: &Bytes) {
        self.state().said.insert(from, description.clone());
    }
}

fn port(endpoint: EndpointId) -> u16 {
    10_000 + (endpoint.0 as u16 % 20_000) * 2
}

impl MediaController for FakeMedia {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&[Capability::Endpoints, Capability::Pairs, Capability::Bridges])
    }

    fn allocate_endpoint(&self, spec: EndpointSpec) -> MediaFuture<(EndpointId, LocalDescription)> {
        let _ = spec;
        let mut state = self.state();
        if state.refuse {
            return MediaFuture::ready(Err(MediaError::NoPorts));
        }
        state.last += 1;
        let endpoint = EndpointId(state.last);
        state.held.insert(endpoint);
        let rtp = SocketAddr::from(([192, 0, 2, 1], port(endpoint)));
        MediaFuture::ready(Ok((endpoint, LocalDescription { rtp })))
    }

    fn release_endpoint(&self, endpoint: EndpointId) {
        let mut state = self.state();
        state.held.remove(&endpoint);
        state.told.remove(&endpoint);
        state.said.remove(&endpoint);
        state.offers.remove(&endpoint);
        state.bridges.retain(|(a, b)| *a != endpoint && *b != endpoint);
    }

    fn pair_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        offer: Bytes,
        _: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.state().offers.insert(from, offer.clone());
        self.rewrite(to, &offer)
    }

    fn pair_answer(&self, from: EndpointId, to: EndpointId, answer: Bytes) -> MediaFuture<Bytes> {
        self.hear(from, &answer);
        let offer = self.state().offers.remove(&to);
        if let Some(offer) = offer {
            self.hear(to, &offer);
        }
        self.rewrite(to, &answer)
    }

    fn local_offer(&self, endpoint: EndpointId, _: Option<EndpointId>, _: &PairPolicy) -> MediaFuture<Bytes> {
        self.rewrite(endpoint, &Bytes::from_static(super::SESSION.as_bytes()))
    }

    fn apply_remote(&self, from: EndpointId, answer: Bytes) -> MediaFuture<()> {
        self.hear(from, &answer);
        MediaFuture::ready(Ok(()))
    }

    fn local_answer(&self, endpoint: EndpointId, offer: Bytes, _: &PairPolicy) -> MediaFuture<Bytes> {
        self.hear(endpoint, &offer);
        self.rewrite(endpoint, &offer)
    }

    fn repeat_offer(&self, endpoint: EndpointId) -> MediaFuture<Bytes> {
        MediaFuture::ready(self.state().told.get(&endpoint).cloned().ok_or(MediaError::Undescribed))
    }

    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.state().said.get(&endpoint).is_some_and(|said| said == description)
    }

    fn withdraw_offer(&self, endpoint: EndpointId) {
        self.state().offers.remove(&endpoint);
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
        MediaFuture::ready(Err(MediaError::NoSuchEndpoint(endpoint)))
    }
}
