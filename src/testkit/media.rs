//! A media controller without media: it numbers endpoints, and writes descriptions like the embedded one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;

use super::stage::{Hears, Stage};
use crate::controller::{
    Answer, AudioStream, Capabilities, Capability, Descriptions, EndpointId, EndpointSpec, EndpointStats,
    Joined, MediaBackend, MediaError, MediaEvent, MediaFuture, PacketTrace, Route, StreamSpec, Verb,
};
use crate::negotiate::NegotiateError;
use crate::negotiate::pair::{self, Side};
use b2b_media::stream::{Inside, StreamEnd, Streams};

/// Simulated media. Endpoint `n` receives at 192.0.2.1:10000+2n.
#[derive(Debug)]
pub struct FakeMedia {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) stage: Stage,
    last: u64,
    held: BTreeMap<EndpointId, Side>,
    bridges: Vec<(EndpointId, EndpointId)>,
    refuse: bool,
    /// The share of failing requests, and its random generator.
    faults: Option<(f64, StdRng)>,
    /// Descriptions held back until the test releases them, if enabled.
    gates: Option<Gates>,
    /// Of endpoints and recordings that are to be opened later.
    endpoint_gates: Option<Gates>,
    /// Endpoints after this one are not written.
    last_written: Option<u64>,
    is_behind: bool,
    /// Counters set by the test.
    stats: HashMap<EndpointId, EndpointStats>,
    closed: VecDeque<(EndpointId, EndpointStats)>,
    silent: bool,
    digits: Vec<(EndpointId, char, u32)>,
    traces: BTreeMap<EndpointId, Arc<PacketTrace>>,
    /// Starts the thread that wakes readers, once a stream is requested.
    streaming: Option<Streams>,
    streams: BTreeMap<EndpointId, Inside>,
}

/// Each lets one answer go.
type Gates = Vec<oneshot::Sender<()>>;

/// The answer: at once, or when the test opens the gates. At the end of a test all are open.
fn gated(gates: &mut Option<Gates>, answer: MediaFuture<Answer>) -> MediaFuture<Answer> {
    let Some(gates) = gates else { return answer };
    let (opens, gate) = oneshot::channel();
    gates.push(opens);
    MediaFuture::pending(async move {
        let _ = gate.await;
        answer.await
    })
}

fn open_all(gates: Option<Gates>) {
    for gate in gates.into_iter().flatten() {
        // An error means that the receiver no longer waits.
        let _ = gate.send(());
    }
}

impl FakeMedia {
    /// Starts simulated media.
    pub(super) fn new(start: Instant) -> Self {
        let state = State {
            stage: Stage::new(start),
            last: 0,
            held: BTreeMap::new(),
            bridges: Vec::new(),
            refuse: false,
            faults: None,
            gates: None,
            endpoint_gates: None,
            last_written: None,
            is_behind: false,
            stats: HashMap::new(),
            closed: VecDeque::new(),
            silent: false,
            digits: Vec::new(),
            traces: BTreeMap::new(),
            streaming: None,
            streams: BTreeMap::new(),
        };
        FakeMedia { start, state: Mutex::new(state) }
    }

    /// Sets an endpoint's counters.
    pub fn set_stats(&self, endpoint: EndpointId, stats: EndpointStats) {
        self.state().stats.insert(endpoint, stats);
    }

    /// From now on, released endpoints report no final counters.
    pub fn say_nothing(&self) {
        self.state().silent = true;
    }

    pub(super) fn poll_closed(&self) -> Option<(EndpointId, EndpointStats)> {
        let mut state = self.state();
        if state.silent { None } else { state.closed.pop_front() }
    }

    /// Number of endpoints that are not released.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Bridged pairs.
    pub fn bridges(&self) -> Vec<(EndpointId, EndpointId)> {
        self.state().bridges.clone()
    }

    /// Its process ends, and its endpoints are opened again in the next one.
    pub(super) fn dies(&self) {
        self.state().stage.dies();
    }

    /// An endpoint as it is kept for the next process; `None`: it is released.
    pub(super) fn write(&self, endpoint: EndpointId) -> Option<Vec<u8>> {
        let state = self.state();
        let side = state.held.get(&endpoint)?;
        Some(rmp_serde::to_vec_named(side).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Whether this endpoint is not written, though it is not released.
    pub(super) fn is_unwritten(&self, endpoint: EndpointId) -> bool {
        self.state().last_written.is_some_and(|last| endpoint.0 > last)
    }

    /// In the next process, opens the endpoints that were kept, and joins those pairs of them; returns their numbers
    /// there.
    pub(super) fn goes_on<'a>(
        &self,
        kept: impl Iterator<Item = &'a (EndpointId, Vec<u8>)>,
        joined: impl Iterator<Item = (EndpointId, EndpointId)>,
    ) -> HashMap<EndpointId, EndpointId> {
        let mut state = self.state();
        (state.held, state.closed) = Default::default();
        (state.traces, state.streams, state.last_written, state.is_behind) = Default::default();
        let mut numbers = HashMap::new();
        for (before, octets) in kept {
            state.last += 1;
            let endpoint = EndpointId(state.last);
            numbers.insert(*before, endpoint);
            let mut side: Side = rmp_serde::from_slice(octets).unwrap_or_else(|error| panic!("{error}"));
            side.resume();
            state.held.insert(endpoint, side);
        }
        let here = |(a, b)| Some((*numbers.get(&a)?, *numbers.get(&b)?));
        state.bridges = joined.filter_map(here).collect();
        numbers
    }

    /// Its time.
    pub(super) fn now(&self) -> Instant {
        self.state().stage.now()
    }

    /// Digits requested to be sent since the last query: endpoint, digit, length in ms.
    pub fn digits(&self) -> Vec<(EndpointId, char, u32)> {
        std::mem::take(&mut self.state().digits)
    }

    /// The media's end of the stream of this endpoint's party, if it exists.
    pub fn with_stream<T>(&self, endpoint: EndpointId, act: impl FnOnce(&mut Inside) -> T) -> Option<T> {
        let mut state = self.state();
        state.streams.retain(|_, stream| !stream.is_abandoned());
        state.streams.get_mut(&endpoint).map(act)
    }

    pub(super) fn press(&self, endpoint: EndpointId, digit: char) {
        self.state().stage.press(endpoint, digit);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.state().stage.next()
    }

    pub(super) fn advance(&self, now: Instant) {
        self.state().stage.advance(now);
    }

    pub(super) fn take_events(&self) -> Vec<MediaEvent> {
        self.state().stage.take_events()
    }

    /// Runs an operation on an endpoint that is not released.
    fn staged<T>(
        &self,
        endpoint: EndpointId,
        act: impl FnOnce(&mut Stage) -> MediaFuture<T>,
    ) -> MediaFuture<T> {
        let mut state = self.state();
        match state.held.contains_key(&endpoint) {
            true => act(&mut state.stage),
            false => MediaFuture::ready(Err(MediaError::NoSuchEndpoint(endpoint))),
        }
    }

    /// Endpoints whose packets are being captured.
    pub fn captured(&self, now: Instant) -> Vec<EndpointId> {
        let state = self.state();
        let running = state.traces.iter().filter(|(_, trace)| trace.is_running(now));
        running.map(|(endpoint, _)| *endpoint).collect()
    }

    /// From now on, there are no free ports.
    pub fn run_out_of_ports(&self) {
        self.state().refuse = true;
    }

    /// From now on, this share of requests fails, by the seed, as with a media server that does not answer.
    /// Requests that release resources never fail.
    pub fn fail(&self, share: f64, seed: u64) {
        self.state().faults = Some((share, StdRng::seed_from_u64(seed)));
    }

    /// From now on, descriptions wait for [`FakeMedia::describe`], as with a distant media server.
    pub fn hold_descriptions(&self) {
        self.state().gates.get_or_insert_default();
    }

    /// Releases the waiting descriptions; later ones are not held back.
    pub fn describe(&self) {
        open_all(self.state().gates.take());
    }

    /// From now on, endpoints are opened and recordings begin at [`FakeMedia::open_endpoints`], as by a distant media
    /// server, or a slow disk.
    pub fn hold_endpoints(&self) {
        self.state().endpoint_gates.get_or_insert_default();
    }

    /// Opens what waits; later endpoints and recordings are opened at once.
    pub fn open_endpoints(&self) {
        open_all(self.state().endpoint_gates.take());
    }

    /// Endpoints that begin from now on are not written: the process ends before.
    pub fn write_no_more(&self) {
        let mut state = self.state();
        state.last_written = Some(state.last);
    }

    /// Endpoints stay written as they are now: the process ends before what they are asked for is written.
    pub fn fall_behind(&self) {
        self.state().is_behind = true;
    }

    pub(super) fn is_behind(&self) -> bool {
        self.state().is_behind
    }

    /// Whether this request fails.
    fn fails(&self, verb: &Verb) -> bool {
        let gives_back = matches!(
            verb,
            Verb::Release { .. }
                | Verb::Unbridge { .. }
                | Verb::EndConference { .. }
                | Verb::RemoveFromConference { .. }
                | Verb::StopRecording { .. }
                | Verb::WaitForRecording { .. }
                | Verb::StopPrompt { .. }
                | Verb::StopCollecting { .. }
                | Verb::StopMoh { .. }
        );
        let mut state = self.state();
        let fails = |(share, random): &mut (f64, StdRng)| random.random_bool(*share);
        !gives_back && state.faults.as_mut().is_some_and(fails)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of `with` for the sides of one endpoint, or of two.
    fn described<T: Into<Bytes>, E: Into<MediaError>>(
        &self,
        one: EndpointId,
        other: Option<EndpointId>,
        with: impl FnOnce(&mut Side, Option<&mut Side>) -> Result<T, E>,
    ) -> MediaFuture<Answer> {
        let mut state = self.state();
        let gone = |id| MediaFuture::ready(Err(MediaError::NoSuchEndpoint(id)));
        let Some(mut taken) = state.held.remove(&one) else { return gone(one) };
        let second = other.map(|other| (other, state.held.get_mut(&other)));
        let result = match second {
            Some((other, None)) => Err(MediaError::NoSuchEndpoint(other)),
            second => with(&mut taken, second.and_then(|(_, side)| side)).map_err(Into::into),
        };
        state.held.insert(one, taken);
        let answer = result.map(|octets| Answer::Description(octets.into()));
        gated(&mut state.gates, MediaFuture::ready(answer))
    }

    fn between<T: Into<Bytes>, E: Into<MediaError> + From<NegotiateError>>(
        &self,
        one: EndpointId,
        other: EndpointId,
        with: impl FnOnce(&mut Side, &mut Side) -> Result<T, E>,
    ) -> MediaFuture<Answer> {
        self.described(one, Some(other), |one, other| match other {
            Some(other) => with(one, other),
            None => Err(NegotiateError::NoAudio.into()),
        })
    }

    fn open(&self, spec: EndpointSpec) -> Result<Answer, MediaError> {
        let mut state = self.state();
        if state.refuse {
            return Err(MediaError::NoPorts);
        }
        state.last += 1;
        let endpoint = EndpointId(state.last);
        let rtp = SocketAddr::from(([192, 0, 2, 1], port(endpoint)));
        let mut side = Side::new(rtp, state.last * 2).with_audio(spec.audio);
        if let Some(before) = spec.session {
            before.go_on_in(&mut side);
        }
        state.held.insert(endpoint, side);
        Ok(Answer::Allocated { endpoint: Some(endpoint), rtp })
    }

    fn release(&self, endpoint: EndpointId) {
        let mut state = self.state();
        state.traces.remove(&endpoint);
        state.streams.remove(&endpoint);
        state.stage.release(endpoint);
        if state.held.remove(&endpoint).is_some() {
            let stats = state.stats.remove(&endpoint).unwrap_or(EndpointStats::new(self.start));
            state.closed.push_back((endpoint, stats));
        }
        state.bridges.retain(|(a, b)| *a != endpoint && *b != endpoint);
    }

    fn apply(&self, endpoint: EndpointId, answer: &[u8]) -> Result<Answer, MediaError> {
        let mut state = self.state();
        let side = state.held.get_mut(&endpoint).ok_or(MediaError::NoSuchEndpoint(endpoint))?;
        pair::apply(side, answer)?;
        Ok(Answer::Done)
    }

    fn join(&self, a: EndpointId, b: EndpointId) -> Result<Answer, MediaError> {
        let mut state = self.state();
        let is_unknown = |it| state.held.get(&it).is_some_and(|side| !side.is_described());
        if is_unknown(a) || is_unknown(b) {
            return Err(MediaError::Undescribed);
        }
        state.bridges.retain(|(x, y)| ![*x, *y].iter().any(|it| [a, b].contains(it)));
        state.bridges.push((a, b));
        let route = || Route::Relay { encoding: "PCMA".to_owned() };
        Ok(Answer::Joined(Joined { forward: route(), backward: route() }))
    }

    fn counted(&self, endpoint: EndpointId) -> Result<Answer, MediaError> {
        let state = self.state();
        if !state.held.contains_key(&endpoint) {
            return Err(MediaError::NoSuchEndpoint(endpoint));
        }
        let stats = state.stats.get(&endpoint).cloned();
        Ok(Answer::Stats(Box::new(stats.unwrap_or(EndpointStats::new(self.start)))))
    }
}

fn port(endpoint: EndpointId) -> u16 {
    10_000 + (endpoint.0 as u16 % 20_000) * 2
}

impl MediaBackend for FakeMedia {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(Capability::ALL)
    }

    fn request(&self, verb: Verb) -> MediaFuture<Answer> {
        if self.fails(&verb) {
            return MediaFuture::ready(Err(MediaError::Stopped));
        }
        match verb {
            Verb::Allocate { spec, .. } => {
                let opened = MediaFuture::ready(self.open(*spec));
                return gated(&mut self.state().endpoint_gates, opened);
            }
            // There are no packets, so their source does not matter.
            Verb::SignalledFrom { .. } | Verb::HostFound { .. } => {}
            Verb::Release { endpoint } => self.release(endpoint),
            Verb::PairOffer { from, to, offer, policy } => {
                return self.between(from, to, |from, to| pair::offer(from, to, &offer, &policy));
            }
            Verb::PairAnswer { from, to, answer } => {
                return self.between(from, to, |from, to| pair::answer(from, to, &answer));
            }
            Verb::LocalOffer { endpoint, like, policy } => {
                return self
                    .described(endpoint, like, |to, like| pair::local_offer(to, like.as_deref(), &policy));
            }
            Verb::ApplyRemote { endpoint, answer } => {
                return MediaFuture::ready(self.apply(endpoint, &answer));
            }
            Verb::LocalAnswer { endpoint, offer, policy } => {
                return self.described(endpoint, None, |side, _| pair::local_answer(side, &offer, &policy));
            }
            Verb::RepeatOffer { endpoint } => {
                return self.described(endpoint, None, |side, _| pair::repeat(side));
            }
            Verb::DirectOffer { from, to, heard, policy } => {
                return self.described(from, Some(to), |from, to| match to {
                    Some(to) => pair::direct(from, to, heard, &policy),
                    None => Err(pair::DirectError::Held),
                });
            }
            Verb::ReturnOffer { endpoint, policy } => {
                return self.described(endpoint, None, |side, _| pair::back(side, &policy));
            }
            Verb::SendDigit { endpoint, digit, duration_ms } => {
                self.state().digits.push((endpoint, digit, duration_ms));
            }
            Verb::WithdrawOffer { endpoint } => {
                if let Some(side) = self.state().held.get_mut(&endpoint) {
                    side.withdraw();
                }
            }
            Verb::Bridge { a, b } => return MediaFuture::ready(self.join(a, b)),
            Verb::Unbridge { a, b } => {
                self.state().bridges.retain(|pair| *pair != (a, b) && *pair != (b, a));
            }
            Verb::Stats { endpoint } => return MediaFuture::ready(self.counted(endpoint)),
            Verb::Play { endpoint, prompt } => {
                return self.staged(endpoint, |stage| stage.play(endpoint, &prompt)).map(Answer::Played);
            }
            Verb::StopPrompt { endpoint } => self.state().stage.stop_prompt(endpoint),
            Verb::Collect { endpoint, prompt, plan } => {
                let collected =
                    self.staged(endpoint, |stage| stage.collect(endpoint, prompt.as_ref(), &plan));
                return collected.map(Answer::Collected);
            }
            Verb::StopCollecting { endpoint } => self.state().stage.stop_collecting(endpoint),
            Verb::FeedDigit { endpoint, digit } => self.state().stage.press(endpoint, digit),
            Verb::HearTones { endpoint, on } => {
                if let Some(side) = self.state().held.get_mut(&endpoint) {
                    side.set_tones(on);
                }
            }
            Verb::TakesInfo { endpoint } => {
                if let Some(side) = self.state().held.get_mut(&endpoint) {
                    side.takes_info();
                }
            }
            Verb::Record { recording: _, endpoint, spec } => {
                let begun = self.staged(endpoint, |stage| stage.record(Hears::Party(endpoint), &spec));
                return gated(&mut self.state().endpoint_gates, begun.map(Answer::Recording));
            }
            Verb::PauseRecording { recording, paused } => self.state().stage.pause(recording, paused),
            Verb::FollowRecording { recording, endpoint, other_side: _ } => {
                self.state().stage.follow(recording, endpoint);
            }
            Verb::StopRecording { recording } => {
                return self.state().stage.stop_recording(recording).map(Answer::Recorded);
            }
            Verb::WaitForRecording { recording } => {
                return self.state().stage.wait_for_recording(recording).map(Answer::Recorded);
            }
            Verb::CreateConference { conference: _, spec } => {
                return self.state().stage.create_room(&spec).map(Answer::Conference);
            }
            Verb::EndConference { conference } => self.state().stage.end_room(conference),
            Verb::AddToConference { conference, endpoint, member } => {
                let joined = self.staged(endpoint, |stage| stage.join_room(conference, endpoint, member));
                return joined.map(|()| Answer::Done);
            }
            Verb::RemoveFromConference { conference, endpoint } => {
                self.state().stage.leave_room(conference, endpoint);
            }
            Verb::PlayToConference { conference, prompt } => {
                return self.state().stage.announce(conference, &prompt).map(Answer::Played);
            }
            Verb::RecordConference { recording: _, conference, spec } => {
                let mut state = self.state();
                let known = state.stage.rooms().iter().any(|(id, _)| *id == conference);
                return match known {
                    true => state.stage.record(Hears::Room(conference), &spec).map(Answer::Recording),
                    false => MediaFuture::ready(Err(MediaError::Conference)),
                };
            }
            Verb::StartMoh { endpoint, class } => {
                return self.staged(endpoint, |stage| {
                    stage.start_moh(endpoint, class);
                    MediaFuture::ready(Ok(Answer::Done))
                });
            }
            Verb::StopMoh { endpoint } => self.state().stage.stop_moh(endpoint),
            Verb::Echo { endpoint, on } => {
                return self.staged(endpoint, |stage| {
                    stage.echo(endpoint, on);
                    MediaFuture::ready(Ok(Answer::Done))
                });
            }
        }
        MediaFuture::ready(Ok(Answer::Done))
    }

    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.state().held.get(&endpoint).is_some_and(|side| side.repeats(description))
    }

    fn capture(&self, endpoint: EndpointId, trace: Option<Arc<PacketTrace>>) -> MediaFuture<()> {
        let mut state = self.state();
        match trace {
            Some(trace) => state.traces.insert(endpoint, trace),
            None => state.traces.remove(&endpoint),
        };
        MediaFuture::ready(Ok(()))
    }

    fn is_behind(&self, endpoint: EndpointId, other: EndpointId) -> bool {
        let state = self.state();
        state
            .held
            .get(&endpoint)
            .zip(state.held.get(&other))
            .is_some_and(|(side, other)| side.is_behind(other))
    }

    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions> {
        let state = self.state();
        Descriptions::of(state.held.get(&endpoint)?)
    }

    fn open_stream(&self, endpoint: EndpointId, spec: StreamSpec) -> MediaFuture<AudioStream> {
        let mut state = self.state();
        if !state.held.contains_key(&endpoint) {
            return MediaFuture::ready(Err(MediaError::NoSuchEndpoint(endpoint)));
        }
        if state.refuse {
            return MediaFuture::ready(Err(MediaError::Streams));
        }
        if state.streaming.is_none() {
            state.streaming = Streams::start().ok();
        }
        let opened = state.streaming.as_ref().and_then(|streams| streams.open(spec));
        let Some((inside, stream)) = opened else { return MediaFuture::ready(Err(MediaError::Streams)) };
        if let Some(mut before) = state.streams.insert(endpoint, inside) {
            before.end(StreamEnd::Replaced);
        }
        MediaFuture::ready(Ok(stream))
    }
}
