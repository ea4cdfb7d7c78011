//! Relays by rtpengine, over its `ng` protocol.
//!
//! - `bencode`: the encoding; `exchange`: requests and replies as datagrams
//! - `words`: the commands, and the meaning of replies
//! - `relay`: endpoints as a machine; `driver`: the thread that drives it; `written`: endpoints as octets
//!
//! Session descriptions are ours, as with the embedded engine: rtpengine is only told addresses, and
//! allocates ports. Every endpoint is an `ng` call of two ends, and a bridge sends the inner ends of two
//! endpoints to each other: packets pass rtpengine twice, but the address for a party never changes,
//! whichever party it is bridged with. designs/0016-remote-media.md says why.

mod bencode;
mod driver;
mod exchange;
mod relay;
mod words;
mod written;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use b2b_base::util::vital::Vital;
use b2b_call::controller::{
    AddressFamily, Answer, Bound, Capabilities, Capability, Descriptions, EndpointId, EndpointSpec, Joined,
    LocalDescription, MediaBackend, MediaError, MediaEvent, MediaFuture, PairPolicy, Remote, Route,
    Signalling, Verb,
};
use b2b_call::negotiate::pair::{self, Side};
use b2b_call::policy::media::{Naming, Receiving};
use driver::Command;
use relay::{Places as Opened, Wanted};
use words::End;
pub use words::Interfaces;

/// The address of rtpengine, and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpengineConfig {
    /// The address of its `--listen-ng`.
    pub server: SocketAddr,
    pub interfaces: Interfaces,
    /// Whether endpoints outlive a controller that is dropped, for the next process.
    pub lasts: bool,
    /// Seed for identifiers; from the operating system's generator, except in tests.
    pub seed: u64,
}

/// See the module documentation.
pub struct RtpengineController {
    commands: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    shared: Arc<Shared>,
    vital: Vital,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// State shared by callers and the thread.
struct Shared {
    state: Mutex<State>,
    /// Whether rtpengine responds, as far as is known.
    alive: AtomicBool,
    /// Whether endpoints stay when the thread ends.
    lasts: AtomicBool,
}

struct State {
    rng: StdRng,
    last: u64,
    endpoints: HashMap<EndpointId, Entry>,
    /// Where they receive.
    receiving: Receiving,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    side: Side,
    inner: SocketAddr,
    joined: Option<EndpointId>,
    signalling: Signalling,
    bound: Option<Bound>,
}

impl Entry {
    /// The destination of the party's media, near which rtpengine looks for its source: what its description
    /// says. If that is unknown, or the party may not name it, the source of its signalling; `None`: neither.
    fn party(&self, remote: &Remote, receiving: &Receiving) -> Option<End> {
        let may_name = |remote: &Remote| {
            let naming = |bound: &Bound| bound.naming_of(remote, &self.signalling, receiving);
            self.bound.as_ref().map(naming) != Some(Naming::Never)
        };
        let at = |host: &IpAddr| {
            let rtp = SocketAddr::new(host.to_canonical(), remote.rtp.port());
            Remote { rtp, rtcp: None, awaited: false, ..*remote }
        };
        let is_reachable = |it: &Remote| it.rtp.is_ipv4() == self.side.rtp().is_ipv4() && may_name(it);
        let remote = match remote.awaited || !may_name(remote) {
            true => self.signalling.iter().flatten().map(at).find(is_reachable)?,
            false => *remote,
        };
        Some(End { rtp: remote.rtp, rtcp_mux: remote.rtcp_mux, rtcp: remote.rtcp })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the data behind this lock consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, id: EndpointId, places: Opened) {
        let mut state = self.state();
        let side = Side::new(places.party, state.rng.random());
        state.receiving.extend([(places.party, None), (places.inner, None)]);
        let (inner, signalling) = (places.inner, [None; 2]);
        state.endpoints.insert(id, Entry { side, inner, joined: None, signalling, bound: None });
    }
}

impl State {
    fn get(&mut self, id: EndpointId) -> Result<&mut Entry, MediaError> {
        self.endpoints.get_mut(&id).ok_or(MediaError::NoSuchEndpoint(id))
    }

    fn two(&mut self, a: EndpointId, b: EndpointId) -> Result<(&mut Entry, &mut Entry), MediaError> {
        let missing = [a, b].into_iter().find(|id| !self.endpoints.contains_key(id));
        if a != b
            && missing.is_none()
            && let [Some(one), Some(other)] = self.endpoints.get_disjoint_mut([&a, &b])
        {
            return Ok((one, other));
        }
        Err(MediaError::NoSuchEndpoint(missing.unwrap_or(b)))
    }

    /// What rtpengine is to do for an endpoint now.
    fn wanted(&self, id: EndpointId) -> Option<Wanted> {
        let entry = self.endpoints.get(&id)?;
        let other = entry.joined.and_then(|other| self.endpoints.get(&other));
        let inner = other.map_or(End::nowhere(entry.inner.is_ipv6()), |other| End::at(other.inner));
        let remote = entry.side.remote()?;
        let takes = remote.receives && remote.rtp.port() != 0;
        let party = takes.then(|| entry.party(&remote, &self.receiving)).flatten();
        let party = party.unwrap_or(End::nowhere(remote.rtp.is_ipv6()));
        Some(Wanted { party, inner, expects: remote.sends && other.is_some() })
    }
}

/// The part of a policy that rtpengine supports as we use it: nothing is decoded.
fn relayed(policy: PairPolicy) -> PairPolicy {
    PairPolicy { transcode: false, ..policy }
}

impl RtpengineController {
    /// The capabilities, known before it is started.
    pub const CAPABILITIES: Capabilities = Capabilities::of(&[
        Capability::Endpoints,
        Capability::Pairs,
        Capability::Bridges,
        Capability::Timeouts,
        Capability::Statistics,
    ]);

    /// Starts the thread for rtpengine, which need not be up yet: until it responds, no endpoints can be
    /// created.
    ///
    /// # Errors
    /// If the system refuses a socket or a thread.
    pub fn start(
        config: RtpengineConfig,
    ) -> std::io::Result<(RtpengineController, mpsc::UnboundedReceiver<MediaEvent>)> {
        let mut rng = StdRng::seed_from_u64(config.seed);
        // The next process writes its endpoints beside those of this one.
        let last = rng.random::<u32>().into();
        let state = Mutex::new(State { rng, last, endpoints: HashMap::new(), receiving: HashMap::new() });
        let (alive, lasts) = (AtomicBool::new(true), AtomicBool::new(config.lasts));
        let shared = Arc::new(Shared { state, alive, lasts });
        let (told, events) = mpsc::unbounded_channel();
        let vital = Vital::default();
        let (commands, thread) =
            driver::start(config.server, config.interfaces, shared.clone(), told, vital.clone())?;
        let controller = RtpengineController {
            commands: Mutex::new(Some(commands)),
            shared,
            vital,
            thread: Mutex::new(Some(thread)),
        };
        Ok((controller, events))
    }

    /// Number of endpoints that are not released.
    pub fn endpoints(&self) -> usize {
        self.shared.state().endpoints.len()
    }

    /// Whether rtpengine responds. It is assumed to, until it has not responded for long enough.
    pub fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Relaxed)
    }

    /// Receives a message when the thread panics.
    pub fn panicked(&self) -> Receiver<String> {
        self.vital.panicked()
    }

    /// Ends every endpoint, and the thread.
    pub fn shutdown(&self) {
        self.shared.lasts.store(false, Ordering::Relaxed);
        self.end();
    }

    fn end(&self) {
        drop(self.commands.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of rtpengine panicked");
        }
    }

    fn tell(&self, command: Command) {
        if let Some(commands) = &*self.commands.lock().unwrap_or_else(PoisonError::into_inner) {
            // Without the thread, nothing is held either.
            let _ = commands.send(command);
        }
    }

    /// Updates rtpengine with the latest session descriptions of an endpoint.
    fn push(&self, state: &State, id: EndpointId) {
        if let Some(wanted) = state.wanted(id) {
            self.tell(Command::Want(id, wanted));
        }
    }

    fn join(&self, state: &mut State, a: EndpointId, b: EndpointId) -> Result<Joined, MediaError> {
        let (one, other) = state.two(a, b)?;
        let pair::Join { forward, backward } = pair::join(&one.side, &other.side)?;
        let route = |one: pair::OneWay| {
            let pair::OneWay { way, encoding, transcoded } = one;
            let same = (0..=127).all(|from| way.payload_types.get(from).is_none_or(|to| to == from));
            match (way.transcode, way.recode, transcoded) {
                (None, None, None) if same => Ok(Route::Relay { encoding }),
                _ => Err(MediaError::NoCommonCodec),
            }
        };
        let joined = Joined { forward: route(forward)?, backward: route(backward)? };
        for (id, other) in [(a, b), (b, a)] {
            let before = state.get(id)?.joined.replace(other).filter(|before| *before != other);
            if let Some(before) = before
                && let Some(entry) = state.endpoints.get_mut(&before)
                && entry.joined == Some(id)
            {
                entry.joined = None;
                self.push(state, before);
            }
        }
        [a, b].into_iter().for_each(|id| self.push(state, id));
        Ok(joined)
    }

    /// The same for an existing join, or for an endpoint without one.
    fn rejoin(&self, state: &mut State, id: EndpointId) -> Result<(), MediaError> {
        match state.get(id)?.joined {
            Some(other) => self.join(state, id, other).map(drop),
            None => {
                self.push(state, id);
                Ok(())
            }
        }
    }

    fn part(&self, state: &mut State, a: EndpointId, b: EndpointId) {
        for (id, other) in [(a, b), (b, a)] {
            if let Some(entry) = state.endpoints.get_mut(&id)
                && entry.joined == Some(other)
            {
                entry.joined = None;
                self.push(state, id);
            }
        }
    }
}

impl Drop for RtpengineController {
    fn drop(&mut self) {
        self.end();
    }
}

impl RtpengineController {
    fn open(&self, spec: EndpointSpec) -> MediaFuture<Answer> {
        if spec.srtp.encrypted {
            return MediaFuture::unsupported(Capability::Encryption);
        }
        let id = {
            let mut state = self.shared.state();
            state.last += 1;
            EndpointId(state.last)
        };
        let (reply, opened) = oneshot::channel();
        let ipv6 = spec.family == AddressFamily::V6;
        self.tell(Command::Open { id, ipv6, timeout: spec.rtp_timeout.filter(|it| !it.is_zero()), reply });
        let shared = self.shared.clone();
        MediaFuture::pending(async move {
            let (endpoint, LocalDescription { rtp }) = opened.await.unwrap_or(Err(MediaError::Stopped))?;
            if let Ok(entry) = shared.state().get(endpoint) {
                (entry.signalling, entry.bound) = (spec.signalling, spec.bound);
                if let Some(before) = spec.session {
                    before.go_on_in(&mut entry.side);
                }
            }
            Ok(Answer::Allocated { endpoint: Some(endpoint), rtp })
        })
    }

    fn release(&self, endpoint: EndpointId) {
        let mut state = self.shared.state();
        let Some(entry) = state.endpoints.remove(&endpoint) else { return };
        for address in [entry.side.rtp(), entry.inner] {
            state.receiving.remove(&address);
        }
        if let Some(other) = entry.joined
            && let Some(it) = state.endpoints.get_mut(&other)
            && it.joined == Some(endpoint)
        {
            it.joined = None;
            self.push(&state, other);
        }
        self.tell(Command::Release(endpoint));
    }

    fn offer_across(
        &self,
        from: EndpointId,
        to: EndpointId,
        offer: &[u8],
        policy: &PairPolicy,
    ) -> Result<Answer, MediaError> {
        let mut state = self.shared.state();
        let (from, to) = state.two(from, to)?;
        Ok(description(pair::offer(&mut from.side, &mut to.side, offer, policy)?))
    }

    fn answer_across(&self, from: EndpointId, to: EndpointId, answer: &[u8]) -> Result<Answer, MediaError> {
        let mut state = self.shared.state();
        let (one, other) = state.two(from, to)?;
        let answer = description(pair::answer(&mut one.side, &mut other.side, answer)?);
        self.rejoin(&mut state, from)?;
        if state.get(from)?.joined != Some(to) {
            self.rejoin(&mut state, to)?;
        }
        Ok(answer)
    }

    fn own_offer(
        &self,
        endpoint: EndpointId,
        like: Option<EndpointId>,
        policy: &PairPolicy,
    ) -> Result<Answer, MediaError> {
        let mut state = self.shared.state();
        Ok(description(match like.filter(|like| *like != endpoint) {
            Some(like) => {
                let (to, like) = state.two(endpoint, like)?;
                pair::local_offer(&mut to.side, Some(&like.side), policy)?
            }
            None => pair::local_offer(&mut state.get(endpoint)?.side, None, policy)?,
        }))
    }

    fn take_answer(&self, endpoint: EndpointId, answer: &[u8]) -> Result<Answer, MediaError> {
        let mut state = self.shared.state();
        pair::apply(&mut state.get(endpoint)?.side, answer)?;
        self.rejoin(&mut state, endpoint)?;
        Ok(Answer::Done)
    }

    fn own_answer(
        &self,
        endpoint: EndpointId,
        offer: &[u8],
        policy: &PairPolicy,
    ) -> Result<Answer, MediaError> {
        let mut state = self.shared.state();
        let answer = pair::local_answer(&mut state.get(endpoint)?.side, offer, policy)?;
        self.rejoin(&mut state, endpoint)?;
        Ok(description(answer))
    }

    fn same_offer(&self, endpoint: EndpointId) -> Result<Answer, MediaError> {
        Ok(description(pair::repeat(&mut self.shared.state().get(endpoint)?.side)?))
    }

    fn own_offer_back(&self, endpoint: EndpointId, policy: &PairPolicy) -> Result<Answer, MediaError> {
        Ok(description(pair::back(&mut self.shared.state().get(endpoint)?.side, policy)?))
    }

    fn counted(&self, endpoint: EndpointId) -> MediaFuture<Answer> {
        if let Err(error) = self.shared.state().get(endpoint) {
            return MediaFuture::ready(Err(error));
        }
        let (reply, counted) = oneshot::channel();
        self.tell(Command::Look(endpoint, reply));
        MediaFuture::pending(
            async move { counted.await.unwrap_or(Err(MediaError::Stopped)).map(Answer::Stats) },
        )
    }
}

fn description(octets: Box<[u8]>) -> Answer {
    Answer::Description(octets.into_vec().into())
}

impl MediaBackend for RtpengineController {
    fn capabilities(&self) -> Capabilities {
        RtpengineController::CAPABILITIES
    }

    fn request(&self, verb: Verb) -> MediaFuture<Answer> {
        let needed = verb.capability();
        MediaFuture::ready(match verb {
            Verb::Allocate { endpoint: _, spec } => return self.open(*spec),
            Verb::Release { endpoint } => {
                self.release(endpoint);
                Ok(Answer::Done)
            }
            Verb::PairOffer { from, to, offer, policy } => {
                self.offer_across(from, to, &offer, &relayed(policy))
            }
            Verb::PairAnswer { from, to, answer } => self.answer_across(from, to, &answer),
            Verb::LocalOffer { endpoint, like, policy } => self.own_offer(endpoint, like, &relayed(policy)),
            Verb::ApplyRemote { endpoint, answer } => self.take_answer(endpoint, &answer),
            Verb::LocalAnswer { endpoint, offer, policy } => {
                self.own_answer(endpoint, &offer, &relayed(policy))
            }
            Verb::RepeatOffer { endpoint } => self.same_offer(endpoint),
            Verb::ReturnOffer { endpoint, policy } => self.own_offer_back(endpoint, &relayed(policy)),
            Verb::WithdrawOffer { endpoint } => {
                if let Ok(entry) = self.shared.state().get(endpoint) {
                    entry.side.withdraw();
                }
                Ok(Answer::Done)
            }
            Verb::Bridge { a, b } => self.join(&mut self.shared.state(), a, b).map(Answer::Joined),
            Verb::Unbridge { a, b } => {
                self.part(&mut self.shared.state(), a, b);
                Ok(Answer::Done)
            }
            Verb::Stats { endpoint } => return self.counted(endpoint),
            Verb::SignalledFrom { endpoint, host } => {
                let mut state = self.shared.state();
                state.get(endpoint).map(|entry| entry.signalling[1] = Some(host)).map(|()| Answer::Done)
            }
            // Ignored silently, as the trait specifies.
            Verb::HostFound { .. } | Verb::SendDigit { .. } | Verb::TakesInfo { .. } => Ok(Answer::Done),
            _ => Err(MediaError::Unsupported(needed)),
        })
    }

    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.shared.state().get(endpoint).is_ok_and(|entry| entry.side.repeats(description))
    }

    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions> {
        let mut state = self.shared.state();
        Descriptions::of(&state.get(endpoint).ok()?.side)
    }
}

/// Feeds replies of rtpengine to a machine that has requested endpoints, each with the cookie that is
/// awaited. For fuzzing, from outside this module.
#[cfg(fuzzing)]
pub fn hear_replies(mut now: std::time::Instant, replies: &mut dyn Iterator<Item = &[u8]>) {
    let mut relay = relay::Relay::new(now, "f".to_owned(), Interfaces::default());
    let timeout = Some(std::time::Duration::from_secs(5));
    relay.open(now, EndpointId(1), false, timeout);
    relay.open(now, EndpointId(2), true, timeout);
    let mut asked = std::collections::VecDeque::new();
    for (n, reply) in replies.enumerate() {
        while let Some(output) = relay.poll() {
            if let relay::Output::Transmit(datagram) = output {
                let cookie = datagram.split(|&octet| octet == b' ').next().unwrap_or_default().to_vec();
                asked.push_back(cookie);
            }
        }
        let cookie = asked.pop_front().unwrap_or_default();
        relay.input(now, &[&cookie, &b" "[..], reply].concat());
        if n % 4 == 3 {
            relay.look(now, EndpointId(1));
            now += std::time::Duration::from_millis(700);
            relay.timeout(now);
        }
    }
    relay.release(now, EndpointId(1));
}

#[cfg(test)]
mod tests;
