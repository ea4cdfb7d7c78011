//! The media engine inside this process: relay threads, and the session descriptions of each leg. Every
//! answer is ready within the turn, except for counters, and for endpoints when no pre-bound one is left.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crossbeam_channel::Receiver;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use super::config::EmbeddedConfig;
use super::convert::relay_id;
use super::joining::{Entry, State};
use super::recordings::Recordings;
use super::rooms::Rooms;
use super::sounding::Sounding;
use super::trunk::Trunks;
use super::{
    AddressFamily, Answer, AudioStream, Capabilities, Capability, Descriptions, EndpointId, EndpointSpec,
    MediaBackend, MediaError, MediaEvent, MediaFuture, Music, PacketTrace, StreamCounters, StreamSpec, Verb,
};
use crate::negotiate::pair;
use crate::policy::media::Receiving;
use b2b_media::relay::{EndpointConfig, Opening, Ports, RelayConfig, RelayHandle, SpawnError, Totals};
use b2b_media::{sounds::StoreStats, stage::Act, stream::Streams};

/// The reason why the controller could not start.
pub type StartError = SpawnError;

/// Addresses, each as bound and as announced in session descriptions.
type Told = Vec<(IpAddr, IpAddr)>;

/// The networks and their announced addresses.
struct Networks {
    /// For parties in no named network.
    usual: Told,
    named: HashMap<String, Told>,
}

/// The embedded media controller; see the module documentation.
pub struct EmbeddedController {
    pub(super) relay: RelayHandle,
    pub(super) sounding: Sounding,
    pub(super) recordings: Recordings,
    /// Those of the media threads: once they have ended there are no more events.
    pub(super) events: mpsc::WeakUnboundedSender<MediaEvent>,
    streams: Streams,
    networks: RwLock<Networks>,
    state: Arc<Mutex<State>>,
}

impl EmbeddedController {
    /// The capabilities, known without an instance.
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
        let mut bind: Vec<IpAddr> = Vec::new();
        for (ip, _) in config.addresses.iter().chain(config.interfaces.iter().flat_map(|(_, all)| all)) {
            if !bind.contains(ip) {
                bind.push(*ip);
            }
        }
        let mut relay = RelayConfig::new(bind, config.ports, rng.random());
        relay.threads = config.threads.unwrap_or(relay.threads).max(1);
        relay.rtcp_sockets = config.rtcp_sockets;
        let (told_events, events) = mpsc::unbounded_channel();
        let events_to = told_events.downgrade();
        let relay = RelayHandle::spawn_with(relay, told_events.clone())?;
        let recordings =
            Recordings::start(told_events, config.recording_free_bytes).map_err(StartError::System)?;
        let streams = Streams::start().map_err(StartError::System)?;
        let told_of = |all: Vec<(IpAddr, Option<IpAddr>)>| {
            all.into_iter().map(|(ip, told)| (ip, told.unwrap_or(ip))).collect::<Vec<_>>()
        };
        let networks = RwLock::new(Networks {
            usual: told_of(config.addresses),
            named: config.interfaces.into_iter().map(|(name, all)| (name, told_of(all))).collect(),
        });
        let state = Arc::new(Mutex::new(State {
            rng,
            endpoints: HashMap::new(),
            receiving: Receiving::new(),
            trunks: Trunks::default(),
            rooms: Rooms::default(),
        }));
        let controller =
            EmbeddedController { relay, sounding, recordings, events: events_to, streams, networks, state };
        Ok((controller, events))
    }

    /// The number of open endpoints.
    pub fn endpoints(&self) -> usize {
        self.state().endpoints.len()
    }

    /// The number of joins across media threads.
    pub fn trunks(&self) -> usize {
        self.state().trunks.len()
    }

    /// The counters of audio streams.
    pub fn streams(&self) -> &StreamCounters {
        self.streams.counters()
    }

    /// The totals of all endpoints so far, and the use of RTP ports.
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

    /// Statistics of the cache of prompts and music.
    pub fn sounds(&self) -> StoreStats {
        self.sounding.stats()
    }

    /// The number of file descriptor tables of the media threads: one each, or one shared with the rest of
    /// the process where the system refuses that.
    pub fn tables(&self) -> usize {
        self.relay.threads().1.max(1)
    }

    /// Receives a message when a media thread has panicked.
    pub fn panicked(&self) -> Receiver<String> {
        self.relay.panicked()
    }

    /// Closes every endpoint and waits for the media threads to end.
    pub fn shutdown(&self) {
        self.relay.shutdown();
        self.recordings.shutdown();
        let mut state = self.state();
        state.endpoints.clear();
        state.receiving.clear();
    }

    /// Whether trunks use IPv6.
    pub(super) fn is_ipv6(&self) -> bool {
        self.networks().usual.first().is_some_and(|(ip, _)| ip.is_ipv6())
    }

    fn networks(&self) -> RwLockReadGuard<'_, Networks> {
        self.networks.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on new descriptions of this network (`None`: the default one) announce this address for its
    /// family, instead of the bound address or the one announced so far.
    pub fn set_told(&self, network: Option<&str>, ip: IpAddr) {
        let mut networks = self.networks.write().unwrap_or_else(PoisonError::into_inner);
        let all = match network {
            None => Some(&mut networks.usual),
            Some(name) => networks.named.get_mut(name),
        };
        let of_family = |(bound, _): &&mut (IpAddr, IpAddr)| bound.is_ipv4() == ip.is_ipv4();
        for (_, told) in all.into_iter().flatten().filter(of_family) {
            *told = ip;
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic elsewhere leaves no inconsistent state behind this lock.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EmbeddedController {
    fn open(&self, mut spec: EndpointSpec) -> Result<MediaFuture<Answer>, MediaError> {
        let near = spec.near.map(relay_id);
        let config =
            EndpointConfig { rtp_timeout: spec.rtp_timeout, sources: std::mem::take(&mut spec.sources) };
        // A network without an address of this family has no endpoints of it: an address of another network
        // would reveal that network.
        let of_family = |all: &[(IpAddr, IpAddr)]| {
            let is_of = |(ip, _): &&(IpAddr, IpAddr)| ip.is_ipv6() == (spec.family == AddressFamily::V6);
            let found = all.iter().find(is_of)?;
            Some((found.0, (found.1, !all.iter().all(|it| is_of(&it)))))
        };
        let found = match &spec.interface {
            Some(name) => self.networks().named.get(name).and_then(|all| of_family(all)),
            None => of_family(&self.networks().usual),
        };
        let (bind, (told, other_family)) = found.ok_or(MediaError::Family(spec.family))?;
        Ok(match self.relay.open_at(bind, near, config) {
            Opening::Done(opened) => {
                MediaFuture::ready(self.state().opened(opened, told, other_family, spec))
            }
            soon => {
                let state = self.state.clone();
                MediaFuture::pending(async move {
                    let opened = soon.done().await;
                    locked(&state).opened(opened, told, other_family, spec)
                })
            }
        })
    }

    fn close(&self, endpoint: EndpointId) {
        let mut state = self.state();
        let Some(entry) = state.endpoints.remove(&endpoint) else { return };
        for address in [entry.local, entry.side.rtp()] {
            state.receiving.remove(&address);
        }
        if let Some(other) = entry.joined.and_then(|other| state.endpoints.get_mut(&other)) {
            other.joined = None;
        }
        state.trunks.release(&self.relay, relay_id(endpoint));
        state.rooms.leave(&self.relay, endpoint);
        self.recordings.released(endpoint);
        self.relay.close(relay_id(endpoint));
    }

    /// Creates a description for a party; the media of the `settled` endpoints is updated.
    fn describes(
        &self,
        settled: &[EndpointId],
        make: impl FnOnce(&mut State) -> Result<Box<[u8]>, MediaError>,
    ) -> Result<MediaFuture<Answer>, MediaError> {
        at_once(Answer::Description(self.settled(settled, make)?.into_vec().into()))
    }

    /// Runs `act` on an endpoint, unless it is released.
    fn with(&self, endpoint: EndpointId, act: impl FnOnce(&mut Entry)) {
        if let Ok(entry) = self.state().get(endpoint) {
            act(entry);
        }
    }

    fn insert_digit(&self, endpoint: EndpointId, digit: char, duration_ms: u32) {
        let code = "0123456789*#ABCD".find(digit.to_ascii_uppercase());
        if let Some(code) = code.and_then(|code| u8::try_from(code).ok()) {
            self.relay.digit(relay_id(endpoint), code, duration_ms);
        }
    }

    fn feed(&self, endpoint: EndpointId, digit: char) -> MediaFuture<Answer> {
        let counts = self.relay.info(relay_id(endpoint), digit.to_ascii_uppercase());
        MediaFuture::pending(async move {
            let counts = counts.await.map_err(|_| MediaError::NoSuchEndpoint(endpoint))?;
            Ok(if counts { Answer::Done } else { Answer::Repeated })
        })
    }

    fn counted(&self, endpoint: EndpointId) -> Result<MediaFuture<Answer>, MediaError> {
        self.state().get(endpoint)?;
        let stats = self.relay.stats(relay_id(endpoint));
        Ok(MediaFuture::pending(async move {
            stats.await.map(Answer::Stats).map_err(|_| MediaError::NoSuchEndpoint(endpoint))
        }))
    }

    /// The answer of a verb that is carried out, now or later.
    fn start_verb(&self, verb: Verb) -> Result<MediaFuture<Answer>, MediaError> {
        match verb {
            Verb::Allocate { endpoint: _, spec } => return self.open(*spec),
            Verb::SignalledFrom { endpoint, host } => {
                self.with(endpoint, |entry| entry.signalling[1] = Some(host));
            }
            Verb::HostFound { endpoint, host, address } => {
                let found = |state: &mut State| {
                    state.get(endpoint)?.side.host_found(&host, address);
                    Ok(())
                };
                self.settled(&[endpoint], found)?;
            }
            Verb::Release { endpoint } => self.close(endpoint),
            Verb::PairOffer { from, to, offer, policy } => {
                return self.describes(&[], |state| {
                    let (from, to) = state.two(from, to)?;
                    Ok(pair::offer(&mut from.side, &mut to.side, &offer, &policy)?)
                });
            }
            Verb::PairAnswer { from, to, answer } => {
                return self.describes(&[from, to], |state| {
                    let (from, to) = state.two(from, to)?;
                    Ok(pair::answer(&mut from.side, &mut to.side, &answer)?)
                });
            }
            Verb::LocalOffer { endpoint, like, policy } => {
                return self.describes(&[], |state| match like.filter(|like| *like != endpoint) {
                    Some(like) => {
                        let (to, like) = state.two(endpoint, like)?;
                        Ok(pair::local_offer(&mut to.side, Some(&like.side), &policy)?)
                    }
                    None => Ok(pair::local_offer(&mut state.get(endpoint)?.side, None, &policy)?),
                });
            }
            Verb::ApplyRemote { endpoint, answer } => {
                let take = |state: &mut State| Ok(pair::apply(&mut state.get(endpoint)?.side, &answer)?);
                self.settled(&[endpoint], take)?;
            }
            Verb::LocalAnswer { endpoint, offer, policy } => {
                return self.describes(&[endpoint], |state| {
                    Ok(pair::local_answer(&mut state.get(endpoint)?.side, &offer, &policy)?)
                });
            }
            Verb::RepeatOffer { endpoint } => {
                return self.describes(&[], |state| Ok(pair::repeat(&mut state.get(endpoint)?.side)?));
            }
            Verb::DirectOffer { from, to, heard, policy } => {
                return self.describes(&[], |state| {
                    let (from, to) = state.two(from, to)?;
                    if from.interface != to.interface {
                        return Err(MediaError::NotDirect("they are in different networks".to_owned()));
                    }
                    Ok(pair::direct(&from.side, &mut to.side, heard, &policy)?)
                });
            }
            Verb::ReturnOffer { endpoint, policy } => {
                return self.describes(&[], |state| Ok(pair::back(&mut state.get(endpoint)?.side, &policy)?));
            }
            Verb::SendDigit { endpoint, digit, duration_ms } => {
                self.insert_digit(endpoint, digit, duration_ms);
            }
            Verb::WithdrawOffer { endpoint } => self.with(endpoint, |entry| entry.side.withdraw()),
            Verb::Bridge { a, b } => return at_once(Answer::Joined(self.put_together(a, b)?)),
            Verb::Unbridge { a, b } => self.part(&mut self.state(), a, b),
            Verb::Stats { endpoint } => return self.counted(endpoint),
            Verb::Play { endpoint, prompt } => return Ok(self.play(endpoint, &prompt)?.map(Answer::Played)),
            Verb::StopPrompt { endpoint } => self.stop_playing(endpoint),
            Verb::Collect { endpoint, prompt, plan } => {
                return Ok(self.collect(endpoint, prompt.as_ref(), plan)?.map(Answer::Collected));
            }
            Verb::StopCollecting { endpoint } => self.stage(endpoint, Act::StopCollecting),
            Verb::FeedDigit { endpoint, digit } => return Ok(self.feed(endpoint, digit)),
            Verb::HearTones { endpoint, on } => self.listen_for_tones(endpoint, on),
            Verb::TakesInfo { endpoint } => self.with(endpoint, |entry| entry.side.takes_info()),
            Verb::Record { recording: _, endpoint, spec } => {
                return Ok(self.record(endpoint, &spec)?.map(Answer::Recording));
            }
            Verb::PauseRecording { recording, paused } => self.recordings.pause(recording, paused),
            Verb::FollowRecording { recording, endpoint, other_side } => {
                self.record_on(recording, endpoint, other_side)?;
            }
            Verb::StopRecording { recording } => {
                return Ok(self.recordings.stop(recording).map(Answer::Recorded));
            }
            Verb::WaitForRecording { recording } => {
                return Ok(self.recordings.wait(recording).map(Answer::Recorded));
            }
            Verb::CreateConference { conference: _, spec } => {
                return at_once(Answer::Conference(self.open_room(&spec)));
            }
            Verb::EndConference { conference } => self.end_room(conference),
            Verb::AddToConference { conference, endpoint, member } => {
                self.enter_room(conference, endpoint, member)?;
            }
            Verb::RemoveFromConference { conference, endpoint } => self.leave_room(conference, endpoint),
            Verb::PlayToConference { conference, prompt } => {
                return Ok(self.play_to_room(conference, &prompt)?.map(Answer::Played));
            }
            Verb::RecordConference { recording: _, conference, spec } => {
                return Ok(self.record_room(conference, &spec)?.map(Answer::Recording));
            }
            Verb::StartMoh { endpoint, class: Music::Named(name) } => {
                return Ok(self.start_music(endpoint, &name)?.map(|()| Answer::Done));
            }
            Verb::StartMoh { endpoint, class: Music::Class(class) } => {
                return Ok(self.start_music_of(endpoint, &class)?.map(|()| Answer::Done));
            }
            Verb::StopMoh { endpoint } => self.stop_music(endpoint),
            Verb::Echo { endpoint, on } => {
                self.state().get(endpoint)?;
                self.stage(endpoint, Act::Echo { on });
            }
        }
        at_once(Answer::Done)
    }
}

fn at_once(answer: Answer) -> Result<MediaFuture<Answer>, MediaError> {
    Ok(MediaFuture::ready(Ok(answer)))
}

impl MediaBackend for EmbeddedController {
    fn capabilities(&self) -> Capabilities {
        EmbeddedController::CAPABILITIES
    }

    fn begin_turn(&self) {
        self.relay.begin_turn();
    }

    fn end_turn(&self) {
        self.relay.end_turn();
    }

    fn request(&self, verb: Verb) -> MediaFuture<Answer> {
        self.start_verb(verb).unwrap_or_else(|error| MediaFuture::ready(Err(error)))
    }

    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.state().get(endpoint).is_ok_and(|entry| entry.side.repeats(description))
    }

    fn is_behind(&self, endpoint: EndpointId, other: EndpointId) -> bool {
        self.state().two(endpoint, other).is_ok_and(|(it, other)| it.side.is_behind(&other.side))
    }

    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions> {
        let mut state = self.state();
        Descriptions::of(&state.get(endpoint).ok()?.side)
    }

    fn capture(&self, endpoint: EndpointId, trace: Option<Arc<PacketTrace>>) -> MediaFuture<()> {
        let known = self.state().get(endpoint).map(drop);
        let counted = known.and_then(|()| {
            self.relay.trace(relay_id(endpoint), trace);
            // Commands are executed in order: once the counters are answered, the trace is in effect.
            self.counted(endpoint)
        });
        counted.map_or_else(|error| MediaFuture::ready(Err(error)), |counted| counted.map(drop))
    }

    fn open_stream(&self, endpoint: EndpointId, spec: StreamSpec) -> MediaFuture<AudioStream> {
        let known = self.state().get(endpoint).map(drop);
        MediaFuture::ready(known.and_then(|()| {
            let (inside, stream) = self.streams.open(spec).ok_or(MediaError::Streams)?;
            self.stage(endpoint, Act::Stream(Box::new(inside)));
            Ok(stream)
        }))
    }
}

#[cfg(test)]
mod tests;
