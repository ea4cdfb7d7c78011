//! A media controller without media: it numbers endpoints, and writes descriptions as
//! the embedded one does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::stage::{Hears, Stage};
use crate::controller::{
    AudioStream, Capabilities, Capability, Collected, ConferenceId, ConferenceSpec, Descriptions, DigitPlan,
    EndpointId, EndpointSpec, EndpointStats, Joined, LocalDescription, MediaController, MediaError,
    MediaEvent, MediaFuture, Member, PacketTrace, PairPolicy, Played, Prompt, Recorded, RecordingId,
    RecordingSpec, Route, StreamSpec,
};
use crate::negotiate::NegotiateError;
use crate::negotiate::pair::{self, Side};
use b2b_media::stream::{Inside, StreamEnd, Streams};

/// Media that is only told of. Every endpoint `n` receives at 192.0.2.1:10000+2n.
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
    /// What the test says that media counted.
    stats: HashMap<EndpointId, EndpointStats>,
    closed: VecDeque<(EndpointId, EndpointStats)>,
    silent: bool,
    digits: Vec<(EndpointId, char, u32)>,
    traces: BTreeMap<EndpointId, Arc<PacketTrace>>,
    /// What starts the thread that wakes readers, once somebody wants a stream.
    streaming: Option<Streams>,
    streams: BTreeMap<EndpointId, Inside>,
}

impl FakeMedia {
    /// Media that begins now.
    pub(super) fn new(start: Instant) -> Self {
        let state = State {
            stage: Stage::new(start),
            last: 0,
            held: BTreeMap::new(),
            bridges: Vec::new(),
            refuse: false,
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

    /// The media's end of the stream of this endpoint's party, as long as that is there.
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

    fn verb<T>(
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

    /// Endpoints whose packets somebody keeps.
    pub fn captured(&self, now: Instant) -> Vec<EndpointId> {
        let state = self.state();
        let running = state.traces.iter().filter(|(_, trace)| trace.is_running(now));
        running.map(|(endpoint, _)| *endpoint).collect()
    }

    /// From now on there are no ports.
    pub fn run_out_of_ports(&self) {
        self.state().refuse = true;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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
        Capabilities::of(&Capability::ALL)
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
        state.traces.remove(&endpoint);
        state.streams.remove(&endpoint);
        state.stage.release(endpoint);
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

    fn capture(&self, endpoint: EndpointId, trace: Option<Arc<PacketTrace>>) -> MediaFuture<()> {
        let mut state = self.state();
        match trace {
            Some(trace) => state.traces.insert(endpoint, trace),
            None => state.traces.remove(&endpoint),
        };
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

    fn play_prompt(&self, endpoint: EndpointId, prompt: &Prompt) -> MediaFuture<Played> {
        self.verb(endpoint, |stage| stage.play(endpoint, prompt))
    }

    fn stop_prompt(&self, endpoint: EndpointId) {
        self.state().stage.stop_prompt(endpoint);
    }

    fn collect_dtmf(&self, endpoint: EndpointId, plan: &DigitPlan) -> MediaFuture<Collected> {
        self.verb(endpoint, |stage| stage.collect(endpoint, None, plan))
    }

    fn play_and_collect(
        &self,
        endpoint: EndpointId,
        prompt: &Prompt,
        plan: &DigitPlan,
    ) -> MediaFuture<Collected> {
        self.verb(endpoint, |stage| stage.collect(endpoint, Some(prompt), plan))
    }

    fn stop_collecting(&self, endpoint: EndpointId) {
        self.state().stage.stop_collecting(endpoint);
    }

    fn feed_digit(&self, endpoint: EndpointId, digit: char) {
        self.state().stage.press(endpoint, digit);
    }

    fn takes_info(&self, endpoint: EndpointId) {
        if let Some(side) = self.state().held.get_mut(&endpoint) {
            side.takes_info();
        }
    }

    fn hear_tones(&self, endpoint: EndpointId, on: bool) {
        self.state().stage.hear_tones(endpoint, on);
    }

    fn start_recording(&self, endpoint: EndpointId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        self.verb(endpoint, |stage| stage.record(Hears::Party(endpoint), spec))
    }

    fn pause_recording(&self, recording: RecordingId, paused: bool) {
        self.state().stage.pause(recording, paused);
    }

    fn follow_recording(
        &self,
        recording: RecordingId,
        endpoint: EndpointId,
        _other_side: bool,
    ) -> Result<(), MediaError> {
        self.state().stage.follow(recording, endpoint);
        Ok(())
    }

    fn stop_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.state().stage.stop_recording(recording)
    }

    fn wait_for_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.state().stage.wait_for_recording(recording)
    }

    fn create_conference(&self, spec: &ConferenceSpec) -> MediaFuture<ConferenceId> {
        self.state().stage.create_room(spec)
    }

    fn end_conference(&self, conference: ConferenceId) {
        self.state().stage.end_room(conference);
    }

    fn add_to_conference(
        &self,
        conference: ConferenceId,
        endpoint: EndpointId,
        member: Member,
    ) -> MediaFuture<()> {
        self.verb(endpoint, |stage| stage.join_room(conference, endpoint, member))
    }

    fn remove_from_conference(&self, conference: ConferenceId, endpoint: EndpointId) {
        self.state().stage.leave_room(conference, endpoint);
    }

    fn play_to_conference(&self, conference: ConferenceId, prompt: &Prompt) -> MediaFuture<Played> {
        self.state().stage.announce(conference, prompt)
    }

    fn record_conference(&self, conference: ConferenceId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let mut state = self.state();
        let known = state.stage.rooms().iter().any(|(id, _)| *id == conference);
        match known {
            true => state.stage.record(Hears::Room(conference), spec),
            false => MediaFuture::ready(Err(MediaError::Conference)),
        }
    }

    fn start_moh(&self, endpoint: EndpointId, class: &str) -> MediaFuture<()> {
        let class = class.to_owned();
        self.verb(endpoint, |stage| {
            stage.start_moh(endpoint, &class);
            MediaFuture::ready(Ok(()))
        })
    }

    fn stop_moh(&self, endpoint: EndpointId) {
        self.state().stage.stop_moh(endpoint);
    }

    fn echo(&self, endpoint: EndpointId, on: bool) -> MediaFuture<()> {
        self.verb(endpoint, |stage| {
            stage.echo(endpoint, on);
            MediaFuture::ready(Ok(()))
        })
    }
    fn open_stream(&self, endpoint: EndpointId, spec: StreamSpec) -> MediaFuture<AudioStream> {
        let mut state = self.state();
        if !state.held.contains_key(&endpoint) {
            return MediaFuture::ready(Err(MediaError::NoSuchEndpoint(endpoint)));
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
