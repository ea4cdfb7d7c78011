//! Legs that end here in an audio source and sink, as the lab and a phone have
//! them: the SIP stack, the media worker and the table of legs on one thread.
//! What a leg wants is carried out in the same turn in which something happened
//! to it; nothing is shared and nothing locked.
//!
//! - `leg`: a leg's logic as a machine: SIP and media events in, commands out
//! - `legs`: the table of legs
//! - `happenings`: what the stack and the worker tell
//! - `perform`: what a leg wants, carried out
//! - `ending`: draining and closing

mod ending;
mod happenings;
pub mod leg;
mod legs;
mod perform;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::LegId;
use super::leg_fsm::TerminationCause;
use super::negotiate::LocalMedia;
use crate::frame::{FrameSink, FrameSource};
use crate::media::session::SessionConfig;
use crate::media::worker::{MediaEvent, MediaHandle, MediaWorker, SessionId, SpawnError, WorkerConfig};
use crate::metrics::UaStats;
use crate::sip::endpoint::{Body, Endpoint, EndpointConfig, EndpointLimits, Invite};
use crate::sip::msg::{Method, Scheme, Uri};
use crate::sip::net::{NetConfig, NetError, SipStack, local_addr};
use leg::Leg;
use legs::{Entry, Legs};

pub use crate::media::codec::Codec;
pub use crate::media::impair::ImpairConfig;

/// A lab role is in a few calls, and is to stay small under any flood.
const LIMITS: EndpointLimits = EndpointLimits {
    server_transactions: 16_384,
    server_bytes: 32 << 20,
    usages: 2_048,
    ..EndpointLimits::DEFAULT
};

/// What an agent needs to start.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// User part of our Contact and From.
    pub user: String,
    /// SIP address, UDP and TCP; RTP binds to the same IP.
    pub bind: SocketAddr,
    /// Codecs in order of priority, for offers.
    pub codecs: Vec<Codec>,
    /// Packet time of what we send, ms.
    pub ptime_ms: u32,
    /// Minimum playout delay, ms.
    pub jitter_ms: u32,
    /// Impairment of received RTP.
    pub impairment: Option<ImpairConfig>,
    /// No RTP for this long ends a leg that should receive.
    pub rtp_timeout: Duration,
    /// Write every SIP message here.
    pub sip_trace: Option<PathBuf>,
    /// Write one CSV row per received RTP packet here.
    pub packet_log: Option<PathBuf>,
    /// Seeds of SIP identifiers and of RTP's random starts: from the operating
    /// system's generator, except in tests.
    pub seed: [u8; 32],
}

/// A leg's audio: where it comes from and where it goes.
pub struct LegAudio {
    /// What we send.
    pub source: Box<dyn FrameSource>,
    /// What we receive.
    pub sink: Box<dyn FrameSink>,
}

/// What happens to legs, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    /// Somebody calls, with an offer that we can take: `answer` or `reject`.
    Incoming { leg: LegId, from: String, to: String, sip_call_id: String },
    /// A provisional response other than 100 to our INVITE.
    Progress { leg: LegId, status: u16, reason: String },
    /// The leg is answered and acknowledged.
    Answered { leg: LegId, codec: Codec, ptime_ms: u32, remote_rtp: SocketAddr },
    /// The first RTP packet has arrived.
    MediaStarted { leg: LegId },
    /// The far end holds us, or takes us back.
    Hold { leg: LegId, held: bool },
    /// A digit, by RFC 4733 or INFO.
    Digit { leg: LegId, digit: char, duration_ms: u32 },
    /// The source has ended, and everything before its end is sent.
    SourceEnded { leg: LegId },
    /// The last event of a leg; its media session is closed.
    Ended { leg: LegId, cause: TerminationCause },
    /// The media worker is gone, and every leg's audio with it.
    MediaLost,
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("cannot bind {addr}: {error}; choose another address or end the program that holds it")]
    Bind { addr: SocketAddr, error: std::io::Error },
    #[error("cannot write {path}: {error}; choose a path that can be written", path = path.display())]
    Trace { path: PathBuf, error: std::io::Error },
    #[error("bad SIP URI {uri:?}: {reason}; write it like sip:name@127.0.0.1:5060")]
    Target { uri: String, reason: String },
    #[error("no media for the leg: {0}")]
    Media(String),
    #[error("no such leg, or it is past that")]
    NoSuchLeg,
    #[error("the system refused a thread or name resolution: {0}")]
    System(std::io::Error),
}

/// The SIP stack, the media worker and the legs between them. Lives on one
/// current-thread tokio runtime; its clock is the stack's.
///
/// Commands are methods; they return at once, and what comes of them are events
/// of [`AgentService::next_event`].
pub struct AgentService {
    stack: SipStack,
    media: MediaHandle,
    media_events: mpsc::UnboundedReceiver<MediaEvent>,
    media_lost: bool,
    legs: Legs,
    news: VecDeque<AgentEvent>,
    config: AgentConfig,
    draining: bool,
    /// Counters of closed sessions.
    closed: UaStats,
    session_id: u64,
}

impl AgentService {
    /// Binds and starts. Must be called within the tokio runtime that the
    /// service will live on.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn start(config: AgentConfig) -> Result<Self, AgentError> {
        let endpoint = Endpoint::new(EndpointConfig {
            user_agent: concat!("b2b/", env!("CARGO_PKG_VERSION")).to_owned(),
            user: config.user.clone(),
            // Digits come by it.
            accept: vec![Method::Info],
            limits: LIMITS,
            ..EndpointConfig::new(config.seed)
        });
        let net = NetConfig { trace: config.sip_trace.clone(), ..NetConfig::new(config.bind) };
        let stack = SipStack::bind(net, endpoint).map_err(|error| match error {
            NetError::Bind { addr, error } => AgentError::Bind { addr, error },
            NetError::Trace { path, error } => AgentError::Trace { path, error },
            NetError::Names(why) => AgentError::System(std::io::Error::other(why)),
        })?;
        let [a, b, c, d, e, f, g, h, ..] = config.seed;
        let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let worker = WorkerConfig {
            packet_log: config.packet_log.clone(),
            ..WorkerConfig::new(config.bind.ip(), seed)
        };
        let (media, worker_events) = MediaWorker::spawn(worker).map_err(|error| match error {
            SpawnError::PacketLog { path, error } => AgentError::Trace { path, error },
            SpawnError::System(error) => AgentError::System(error),
        })?;
        // From the worker's channel into the runtime's, until the worker ends.
        let (forward, media_events) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("media-events".into())
            .spawn(move || worker_events.iter().all(|event| forward.send(event).is_ok()))
            .map_err(AgentError::System)?;
        Ok(AgentService {
            stack,
            media,
            media_events,
            media_lost: false,
            legs: Legs::default(),
            news: VecDeque::new(),
            draining: false,
            closed: UaStats::default(),
            // Below 2^63, as RFC 3264 §5 wants it.
            session_id: seed >> 32,
            config,
        })
    }

    /// The SIP address, with the real port; never a wildcard.
    pub fn local(&self) -> SocketAddr {
        self.stack.local().unwrap_or(self.config.bind)
    }

    /// Moves everything until there is news. Nothing is lost when the future is
    /// dropped half way.
    pub async fn next_event(&mut self) -> AgentEvent {
        loop {
            if let Some(event) = self.news.pop_front() {
                return event;
            }
            tokio::select! {
                event = self.stack.next_event() => self.sip_event(event),
                event = self.media_events.recv(), if !self.media_lost => match event {
                    Some(event) => self.media_event(event),
                    None => {
                        self.media_lost = true;
                        self.news.push_back(AgentEvent::MediaLost);
                    }
                },
            }
        }
    }

    /// Calls `target`, a `sip:` URI.
    ///
    /// # Errors
    /// The target cannot be called, or there is no media session for it.
    pub fn dial(&mut self, target: &str, audio: LegAudio) -> Result<LegId, AgentError> {
        let bad = |reason: String| AgentError::Target { uri: target.to_owned(), reason };
        let uri = Uri::parse(target.as_bytes()).map_err(|error| bad(error.to_string()))?;
        if uri.scheme != Scheme::Sip {
            return Err(bad("only sip: can be dialled".to_owned()));
        }
        let host = uri.host.and_then(|host| host.ip());
        if host.is_some_and(|ip| ip.is_unspecified()) {
            return Err(bad("a wildcard address reaches nobody".to_owned()));
        }
        if host.is_some_and(|ip| ip.is_ipv4() != self.config.bind.is_ipv4()) {
            return Err(bad(format!("its address family is not that of our bind {}", self.config.bind)));
        }
        let ip = host.and_then(|ip| local_addr::towards(ip).ok());
        let ip = ip.unwrap_or_else(|| local_addr::concrete(self.config.bind).ip());
        let (session, rtp) = self.open_session()?;
        let mut local = self.local_media(ip);
        local.rtp.set_port(rtp.port());
        let (leg, offer) = Leg::outbound(local);
        let invite = Invite {
            target: Bytes::copy_from_slice(target.as_bytes()),
            body: Some(Body::sdp(offer)),
            ..Invite::default()
        };
        let now = self.stack.now();
        let usage = self.stack.endpoint().invite(now, invite).map_err(|error| {
            self.media.close(session);
            bad(error.to_string())
        })?;
        let mut entry = Entry::new(leg, usage, true);
        entry.session = Some(session);
        entry.audio = Some(audio);
        Ok(self.legs.insert(entry))
    }

    /// Answers an incoming leg with 200.
    ///
    /// # Errors
    /// It does not wait for an answer, or there is no media session for it; it
    /// is refused with 503 then.
    pub fn answer(&mut self, id: LegId, audio: LegAudio) -> Result<(), AgentError> {
        if !self.legs.get(id).is_some_and(|entry| entry.told && entry.leg.is_waiting()) {
            return Err(AgentError::NoSuchLeg);
        }
        let opened = self.open_session();
        let Some(entry) = self.legs.get(id) else { return Err(AgentError::NoSuchLeg) };
        let result = match opened {
            Ok((session, rtp)) => {
                entry.audio = Some(audio);
                let answered = entry.leg.answer(rtp.port());
                self.legs.set_session(id, session);
                answered.map_err(|_| {
                    self.media.close(session);
                    AgentError::NoSuchLeg
                })
            }
            Err(error) => {
                let _ = entry.leg.reject(503, "No Media Port");
                Err(error)
            }
        };
        self.perform(id);
        result
    }

    /// Refuses an incoming leg.
    ///
    /// # Errors
    /// It does not wait for an answer.
    pub fn reject(&mut self, id: LegId, status: u16, reason: &str) -> Result<(), AgentError> {
        let refused = self.with_leg(id, |leg| leg.reject(status, reason).is_ok());
        if refused == Some(true) { Ok(()) } else { Err(AgentError::NoSuchLeg) }
    }

    /// Ends a leg: BYE, CANCEL or a refusal, whichever fits its state.
    ///
    /// # Errors
    /// There is no such leg.
    pub fn hangup(&mut self, id: LegId) -> Result<(), AgentError> {
        self.with_leg(id, Leg::hangup).ok_or(AgentError::NoSuchLeg)
    }

    /// Counters so far, over all legs.
    pub fn stats(&self) -> UaStats {
        let mut total = self.closed;
        for entry in self.legs.iter() {
            let side = entry.side(&mut total);
            if let Some(stats) = entry.session.and_then(|session| self.media.stats(session)) {
                side.add(&stats);
            }
            side.in_call = entry.is_up();
        }
        total
    }

    /// Acts on a leg that the application knows, and carries out what it wants.
    fn with_leg<T>(&mut self, id: LegId, act: impl FnOnce(&mut Leg) -> T) -> Option<T> {
        let result = self.legs.get(id).filter(|entry| entry.told).map(|entry| act(&mut entry.leg));
        self.perform(id);
        result
    }

    fn open_session(&self) -> Result<(SessionId, SocketAddr), AgentError> {
        let session = SessionConfig {
            jitter_ms: self.config.jitter_ms,
            impairment: self.config.impairment,
            rtp_timeout: Some(self.config.rtp_timeout),
        };
        self.media.open(session).map_err(|error| AgentError::Media(error.to_string()))
    }

    /// Our side of a new leg, its port not yet known. `towards_peer` is our
    /// address as the peer sees it; a concrete bind counts more.
    fn local_media(&mut self, towards_peer: IpAddr) -> LocalMedia {
        self.session_id += 1;
        let bound = self.config.bind.ip();
        let ip = if bound.is_unspecified() { towards_peer } else { bound };
        LocalMedia {
            rtp: SocketAddr::new(ip, 0),
            codecs: self.config.codecs.clone(),
            ptime_ms: self.config.ptime_ms,
            session_id: self.session_id,
        }
    }
}
