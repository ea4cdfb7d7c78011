//! The engine inside of this process: relay threads, and the descriptions of each leg.
//! Everything is ready within the turn but for counters.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crossbeam_channel::Receiver;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use super::config::EmbeddedConfig;
use super::convert::{endpoint_id, refused, relay_id};
use super::joining::{Entry, State};
use super::recordings::Recordings;
use super::rooms::Rooms;
use super::sounding::Sounding;
use super::trunk::Trunks;
use super::{
    AddressFamily, AudioStream, Capabilities, Capability, Collected, ConferenceId, ConferenceSpec,
    Descriptions, DigitPlan, EndpointId, EndpointSpec, EndpointStats, Joined, LocalDescription,
    MediaController, MediaError, MediaEvent, MediaFuture, Member, PacketTrace, PairPolicy, Played, Prompt,
    Recorded, RecordingId, RecordingSpec, StreamCounters, StreamSpec,
};
use crate::negotiate::crypto::{LocalCrypto, SrtpPolicy};
use crate::negotiate::pair::{self, Side};
use b2b_media::relay::{EndpointConfig, Ports, RelayConfig, RelayHandle, SpawnError, Totals};
use b2b_media::{sounds::StoreStats, stage::Act, stream::Streams};

/// Why it could not start.
pub type StartError = SpawnError;

/// See the module's text.
pub struct EmbeddedController {
    pub(super) relay: RelayHandle,
    pub(super) sounding: Sounding,
    pub(super) recordings: Recordings,
    streams: Streams,
    told: Vec<(IpAddr, IpAddr)>,
    state: Mutex<State>,
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
        Capability::Prompts,
        Capability::Conferences,
        Capability::DigitCollection,
        Capability::MusicOnHold,
        Capability::DirectMedia,
        Capability::Capture,
        Capability::Recording,
        Capability::Echo,
        Capability::Streams,
        Capability::Encryption,
    ]);

    /// Starts the media threads.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        config: EmbeddedConfig,
    ) -> Result<(EmbeddedController, mpsc::UnboundedReceiver<MediaEvent>), StartError> {
        let sounding = Sounding::start(config.music, config.sounds).map_err(StartError::System)?;
        let mut rng = StdRng::seed_from_u64(config.seed);
        let bind = config.addresses.iter().map(|(ip, _)| *ip).collect();
        let mut relay = RelayConfig::new(bind, config.ports, rng.random());
        relay.threads = config.threads.unwrap_or(relay.threads).max(1);
        relay.rtcp_sockets = config.rtcp_sockets;
        let (told_events, events) = mpsc::unbounded_channel();
        let relay = RelayHandle::spawn_with(relay, told_events.clone())?;
        let recordings =
            Recordings::start(told_events, config.recording_free_bytes).map_err(StartError::System)?;
        let streams = Streams::start().map_err(StartError::System)?;
        let told = config.addresses.iter().map(|(ip, told)| (*ip, told.unwrap_or(*ip))).collect();
        let state = Mutex::new(State {
            rng,
            endpoints: HashMap::new(),
            trunks: Trunks::default(),
            rooms: Rooms::default(),
        });
        Ok((EmbeddedController { relay, sounding, recordings, streams, told, state }, events))
    }

    /// Endpoints that are not released.
    pub fn endpoints(&self) -> usize {
        self.state().endpoints.len()
    }

    /// Joins across media threads.
    pub fn trunks(&self) -> usize {
        self.state().trunks.len()
    }

    /// Streams to and from parties.
    pub fn streams(&self) -> &StreamCounters {
        self.streams.counters()
    }

    /// What all endpoints have carried so far, and the RTP ports.
    pub async fn totals(&self) -> (Totals, Ports) {
        let mut all = (Totals::default(), Ports::default());
        for answer in self.relay.totals() {
            if let Ok((totals, ports)) = answer.await {
                all.0.add(&totals);
                all.1.add(&ports);
            }
        }
        all
    }

    /// What is kept of prompts and music.
    pub fn sounds(&self) -> StoreStats {
        self.sounding.stats()
    }

    /// Tables of descriptors that the media threads have: one each, or one with everything
    /// else where the system refuses that.
    pub fn tables(&self) -> usize {
        self.relay.threads().1.max(1)
    }

    /// Hears when a media thread has panicked.
    pub fn panicked(&self) -> Receiver<String> {
        self.relay.panicked()
    }

    /// Closes every endpoint and waits for the media threads.
    pub fn shutdown(&self) {
        self.relay.shutdown();
        self.recordings.shutdown();
        self.state().endpoints.clear();
    }

    /// Whether trunks are of IPv6.
    pub(super) fn is_ipv6(&self) -> bool {
        self.told.first().is_some_and(|(ip, _)| ip.is_ipv6())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done behind this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MediaController for EmbeddedController {
    fn capabilities(&self) -> Capabilities {
        EmbeddedController::CAPABILITIES
    }

    fn allocate_endpoint(&self, spec: EndpointSpec) -> MediaFuture<(EndpointId, LocalDescription)> {
        let near = spec.near.map(relay_id);
        let config = EndpointConfig { rtp_timeout: spec.rtp_timeout, sources: spec.sources };
        let opened = self.relay.open(spec.family == AddressFamily::V6, near, config);
        MediaFuture::ready(opened.map_err(|error| refused(error, spec.family)).map(|(relay, local)| {
            let id = endpoint_id(relay);
            let told = self.told.iter().find(|(ip, _)| *ip == local.ip()).map_or(local.ip(), |told| told.1);
            let rtp = SocketAddr::new(told, local.port());
            let mut state = self.state();
            let mut side = Side::new(rtp, state.rng.random());
            if spec.srtp != SrtpPolicy::Off {
                // Never from the seed that identifiers come from: those are for all to see.
                side = side.with_crypto(LocalCrypto::new(spec.srtp, rand::random()));
            }
            state.endpoints.insert(
                id,
                Entry { side, joined: None, signalling: spec.signalling, bound: spec.bound, bound_to: None },
            );
            (id, LocalDescription { rtp })
        }))
    }

    fn signalled_from(&self, endpoint: EndpointId, host: IpAddr) {
        if let Ok(entry) = self.state().get(endpoint) {
            entry.signalling[1] = Some(host);
        }
    }

    fn release_endpoint(&self, endpoint: EndpointId) {
        let mut state = self.state();
        let Some(entry) = state.endpoints.remove(&endpoint) else { return };
        if let Some(other) = entry.joined.and_then(|other| state.endpoints.get_mut(&other)) {
            other.joined = None;
        }
        state.trunks.release(&self.relay, relay_id(endpoint));
        state.rooms.leave(&self.relay, endpoint);
        self.recordings.released(endpoint);
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
                state.rooms.leave(&self.relay, id);
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

    fn capture(&self, endpoint: EndpointId, trace: Option<Arc<PacketTrace>>) -> MediaFuture<()> {
        if let Err(error) = self.state().get(endpoint) {
            return MediaFuture::ready(Err(error));
        }
        self.relay.trace(relay_id(endpoint), trace);
        // Commands are obeyed in their order: once this is answered, that is done.
        let counted = self.stats(endpoint);
        MediaFuture::pending(async move { counted.await.map(drop) })
    }

    fn start_recording(&self, endpoint: EndpointId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let mut state = self.state();
        match state.get(endpoint) {
            Err(error) => MediaFuture::ready(Err(error)),
            Ok(entry) => {
                let (tap, begun) = self.recordings.begin(endpoint, &entry.side, spec);
                self.relay.record(relay_id(endpoint), tap);
                begun
            }
        }
    }

    fn follow_recording(
        &self,
        RecordingId(recording): RecordingId,
        endpoint: EndpointId,
        other_side: bool,
    ) -> Result<(), MediaError> {
        let mut state = self.state();
        let tap = self.recordings.follow(recording, endpoint, &state.get(endpoint)?.side, other_side);
        self.relay.record(relay_id(endpoint), tap);
        Ok(())
    }

    fn pause_recording(&self, recording: RecordingId, paused: bool) {
        self.recordings.pause(recording, paused);
    }

    fn stop_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.recordings.stop(recording)
    }

    fn wait_for_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.recordings.wait(recording)
    }

    fn play_prompt(&self, endpoint: EndpointId, prompt: &Prompt) -> MediaFuture<Played> {
        self.play(endpoint, prompt)
    }

    fn stop_prompt(&self, endpoint: EndpointId) {
        self.stop_playing(endpoint);
    }

    fn collect_dtmf(&self, endpoint: EndpointId, plan: &DigitPlan) -> MediaFuture<Collected> {
        self.collect(endpoint, None, plan)
    }

    fn play_and_collect(
        &self,
        endpoint: EndpointId,
        prompt: &Prompt,
        plan: &DigitPlan,
    ) -> MediaFuture<Collected> {
        self.collect(endpoint, Some(prompt), plan)
    }

    fn stop_collecting(&self, endpoint: EndpointId) {
        self.stage(endpoint, Act::StopCollecting);
    }

    fn feed_digit(&self, endpoint: EndpointId, digit: char) {
        self.stage(endpoint, Act::Digit { digit: digit.to_ascii_uppercase() });
    }

    fn takes_info(&self, endpoint: EndpointId) {
        if let Ok(entry) = self.state().get(endpoint) {
            entry.side.takes_info();
        }
    }

    fn hear_tones(&self, endpoint: EndpointId, on: bool) {
        self.listen_for_tones(endpoint, on);
    }

    fn start_moh(&self, endpoint: EndpointId, class: &str) -> MediaFuture<()> {
        self.start_music(endpoint, class)
    }

    fn stop_moh(&self, endpoint: EndpointId) {
        self.stop_music(endpoint);
    }

    fn echo(&self, endpoint: EndpointId, on: bool) -> MediaFuture<()> {
        let known = self.state().get(endpoint).map(drop);
        if known.is_ok() {
            self.stage(endpoint, Act::Echo { on });
        }
        MediaFuture::ready(known)
    }

    fn open_stream(&self, endpoint: EndpointId, spec: StreamSpec) -> MediaFuture<AudioStream> {
        let known = self.state().get(endpoint).map(drop);
        MediaFuture::ready(known.and_then(|()| {
            let (inside, stream) = self.streams.open(spec).ok_or(MediaError::Streams)?;
            self.stage(endpoint, Act::Stream(Box::new(inside)));
            Ok(stream)
        }))
    }

    fn create_conference(&self, spec: &ConferenceSpec) -> MediaFuture<ConferenceId> {
        MediaFuture::ready(Ok(self.open_room(spec)))
    }

    fn end_conference(&self, conference: ConferenceId) {
        self.end_room(conference);
    }

    fn add_to_conference(&self, room: ConferenceId, endpoint: EndpointId, member: Member) -> MediaFuture<()> {
        MediaFuture::ready(self.enter_room(room, endpoint, member))
    }

    fn remove_from_conference(&self, conference: ConferenceId, endpoint: EndpointId) {
        self.leave_room(conference, endpoint);
    }

    fn record_conference(&self, conference: ConferenceId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        self.record_room(conference, spec)
    }

    fn play_to_conference(&self, conference: ConferenceId, prompt: &Prompt) -> MediaFuture<Played> {
        self.play_to_room(conference, prompt)
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

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
