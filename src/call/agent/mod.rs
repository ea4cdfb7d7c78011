//! Legs that end here in an audio source and sink, as in the lab and in a phone: the SIP stack, the media
//! thread and the table of legs on one thread. The actions of a leg are carried out in the same turn as the
//! event that caused them; nothing is shared and nothing is locked.
//!
//! - `leg`: a leg's logic as a state machine: SIP and media events in, actions out
//! - `legs`: the table of legs
//! - `account`: our identity and our routes to others; `registration`: our registration at a registrar;
//!   `dial`: outgoing calls; `challenge`: credentials within calls
//! - `users`: registrations of many users on one stack
//! - `calls`: commands for legs that are up; `digits`: sending digits; `audio`: sources and sinks
//! - `early`: commands for calls that are not answered yet
//! - `happenings`: events of the stack and the media thread; `identity`: the identity of remote parties
//! - `measure`: media quality of a leg
//! - `perform`: carries out the actions of legs
//! - `transfer`: REFER and Replaces, in both directions
//! - `ending`: draining and closing

mod account;
mod audio;
mod calls;
mod challenge;
mod dial;
mod digits;
mod early;
mod ending;
mod error;
mod happenings;
mod identity;
pub mod leg;
mod legs;
mod measure;
mod messages;
mod perform;
mod registration;
mod registration_error;
mod transfer;
mod users;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::LegId;
use super::leg_fsm::TerminationCause;
use super::negotiate::crypto::LocalCrypto;
use super::negotiate::pair::{OwnAudio, Side};
use b2b_base::frame::{FrameSink, FrameSource};
use b2b_base::metrics::UaStats;
use b2b_media::local::{LocalConfig, MediaConfig, MediaHandle};
use b2b_media::relay::{RelayEvent, RelayId, SpawnError};
use b2b_sip::endpoint::{Endpoint, EndpointConfig, Extensions};
use b2b_sip::msg::Method;
use b2b_sip::net::{NetConfig, NetError, SipStack};
use leg::Leg;
use legs::Legs;
use registration::Registering;
use transfer::Transfers;
use users::Users;

pub use super::negotiate::crypto::SrtpPolicy;
pub use account::{Credentials, DialAs, Roots, Signalling, Transport, may_add, sip_uri};
pub use b2b_media::codec::Codec;
pub use b2b_media::impair::ImpairConfig;
pub use b2b_media::local::{Adapt, Level, Levels, Reception};
pub use b2b_sdp::{Attribute, may_add_attribute};
pub use b2b_sip::endpoint::EndpointLimits;
pub use b2b_sip::net::ConnectError;
pub use digits::DtmfMode;
pub use error::AgentError;
pub use identity::RemoteIdentity;
pub use leg::Change;
pub use measure::LegReport;
pub use messages::{Direction, Seen, SessionDescriptions};
pub use registration::{Pace, RegistrationConfig};
pub use registration_error::RegistrationError;
pub use users::{Registrations, UserAccount, UsersConfig};

/// For an agent with few calls, such as a lab role or a phone, that has to stay small under any flood.
pub const FEW_CALLS: EndpointLimits = EndpointLimits {
    server_transactions: 16_384,
    server_bytes: 32 << 20,
    usages: 2_048,
    ..EndpointLimits::DEFAULT
};

/// The configuration of an agent.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// User part of our Contact, and of From without an identity.
    pub user: String,
    /// The URI in From; `None`: the user at our address.
    pub identity: Option<String>,
    /// How others see us, and how we reach them.
    pub signalling: Signalling,
    /// SIP address, UDP and TCP; RTP binds to the same IP.
    pub bind: SocketAddr,
    /// Codecs for offers, in order of priority.
    pub codecs: Vec<Codec>,
    /// Packet time of sent RTP, in ms.
    pub ptime_ms: u32,
    /// Whether media is encrypted, with keys in the session descriptions: secure over TLS only.
    pub srtp: SrtpPolicy,
    /// Minimum playout delay, in ms.
    pub jitter_ms: u32,
    /// Sample rate of every leg's source and sink, whatever its codec: 8,000, 16,000, 24,000 or 48,000.
    pub rate_hz: u32,
    /// Impairment of received RTP.
    pub impairment: Option<ImpairConfig>,
    /// A leg that should receive RTP ends after this long without any.
    pub rtp_timeout: Duration,
    /// Write every SIP message here.
    pub sip_trace: Option<PathBuf>,
    /// Write one CSV row per received RTP packet here.
    pub packet_log: Option<PathBuf>,
    /// Further attributes of the audio line in our session descriptions.
    pub attributes: Vec<Attribute>,
    /// Keep the SIP messages of legs, for [`AgentService::take_message`] and [`AgentService::answer_headers`].
    pub watch: bool,
    /// How the agent takes part in calls.
    pub options: CallOptions,
    /// Limits of the endpoint; [`FEW_CALLS`] for a phone.
    pub limits: EndpointLimits,
    /// Seed of SIP identifiers and of RTP's random initial values: from the operating system's generator,
    /// except in tests.
    pub seed: [u8; 32],
}

/// How an agent takes part in calls. The default is that of the lab: it rings at once, and uses nothing
/// beyond RFC 3261.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallOptions {
    /// Incoming calls ring at once; otherwise [`AgentService::ring`] makes them ring.
    pub ring_at_once: bool,
    /// Early media of the remote party is played.
    pub early_media: bool,
    /// Digits are also detected in the audio.
    pub in_band_digits: bool,
    /// Reliable provisional responses (RFC 3262).
    pub reliable: bool,
    /// REFER (RFC 3515) and Replaces (RFC 3891).
    pub transfers: bool,
    /// No media: session descriptions name a port that nothing reads, and legs have no media session. For
    /// load tests of signalling alone.
    pub signalling_only: bool,
    /// The address in session descriptions, in place of the one that RTP binds to.
    pub rtp_advertise: Option<IpAddr>,
    /// Impairment of sent RTP.
    pub impairment_sent: Option<ImpairConfig>,
    /// Maximum messages per second from one address; `None`: the default, which suits a phone.
    pub source_messages_per_s: Option<u32>,
}

impl Default for CallOptions {
    fn default() -> Self {
        CallOptions {
            ring_at_once: true,
            early_media: false,
            in_band_digits: false,
            reliable: false,
            transfers: false,
            signalling_only: false,
            rtp_advertise: None,
            impairment_sent: None,
            source_messages_per_s: None,
        }
    }
}

/// A leg's audio source and sink.
pub struct LegAudio {
    /// The audio to send.
    pub source: Box<dyn FrameSource>,
    /// Takes the received audio.
    pub sink: Box<dyn FrameSink>,
}

/// Events of legs, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    /// A call comes in, with an offer that we can accept: `answer` or `reject` it. `replaces`: it replaces
    /// that leg, which ends when the call is answered (RFC 3891). `headers`: all header fields of the INVITE,
    /// in order.
    Incoming {
        leg: LegId,
        from: String,
        to: String,
        sip_call_id: String,
        replaces: Option<LegId>,
        headers: Vec<(String, String)>,
    },
    /// We are registered for this time, under this contact; also sent after each refresh.
    Registered { expires_s: u64, registrar: String, contact: String },
    /// We are not registered, or a refresh has failed; `retry_in`: when the next attempt is made.
    RegistrationFailed { status: Option<u16>, why: RegistrationError, retry_in: Option<Duration> },
    /// The registration has been removed, or never existed.
    Unregistered,
    /// Our address towards the registrar has changed: the registrar and the remote parties of calls are told.
    AddressChanged { from: IpAddr, to: IpAddr },
    /// There was no route to the remote party of a leg, whose end follows.
    Unreachable { leg: LegId, why: ConnectError },
    /// A provisional response other than 100 to our INVITE.
    Progress { leg: LegId, status: u16, reason: String },
    /// The leg is answered and acknowledged.
    Answered { leg: LegId, codec: Codec, ptime_ms: u32, remote_rtp: SocketAddr },
    /// The remote party is another one from now on, or our registrar asserts its identity.
    Identified { leg: LegId, identity: RemoteIdentity },
    /// The first RTP packet has arrived.
    MediaStarted { leg: LegId },
    /// The remote party has put us on hold, or taken us off hold.
    Hold { leg: LegId, held: bool },
    /// The remote party has accepted a change of ours; the new parameters of the session.
    Changed { leg: LegId, change: Change, codec: Codec, ptime_ms: u32, remote_rtp: SocketAddr },
    /// The new parameters of a leg that is up, whichever side changed them: sent at every offer and answer,
    /// in addition to [`AgentEvent::Changed`] and [`AgentEvent::Hold`].
    Agreed { leg: LegId, codec: Codec, ptime_ms: u32, remote_rtp: SocketAddr },
    /// The remote party has refused a change: the session stays as it was.
    ChangeRefused { leg: LegId, change: Change, status: u16, reason: String },
    /// A digit, by RFC 4733 or INFO, or in the audio if in-band detection is on.
    Digit { leg: LegId, digit: char, duration_ms: u32 },
    /// The remote party refuses a digit that we sent by INFO; 408 and 503 also stand for no response.
    DigitRefused { leg: LegId, digit: char, status: u16 },
    /// A provisional response to the call that we asked the remote party for by REFER.
    TransferProgress { leg: LegId, status: u16 },
    /// The outcome of that call. 2xx: it is answered, and the leg is hung up. `None`: unknown, since the
    /// remote party reports no more or is gone.
    TransferEnded { leg: LegId, status: Option<u16> },
    /// The remote party asks us by REFER to call a target: `accept_refer` or `refuse_refer`. `attended`: in
    /// order to take over a call of its own.
    TransferRequested { leg: LegId, target: String, attended: bool },
    /// The source has ended, and all of its audio has been sent.
    SourceEnded { leg: LegId },
    /// The leg's media session is closed; its final counters.
    MediaClosed { leg: LegId, report: Box<LegReport> },
    /// The last event of a leg; its media session is closed.
    Ended { leg: LegId, cause: TerminationCause },
    /// The media thread has ended, and with it the audio of all legs.
    MediaLost,
}

/// The SIP stack, the media thread and the legs between them. Lives on one current-thread tokio runtime; its
/// clock is that of the stack.
///
/// Commands are methods; they return at once, and their results are events of [`AgentService::next_event`].
pub struct AgentService {
    stack: SipStack,
    media: MediaHandle,
    media_events: mpsc::UnboundedReceiver<RelayEvent>,
    media_lost: bool,
    legs: Legs,
    transfers: Transfers,
    news: VecDeque<AgentEvent>,
    config: AgentConfig,
    registering: Option<Registering>,
    users: Option<Users>,
    draining: bool,
    /// Counters of closed sessions.
    closed: UaStats,
    session_id: u64,
    /// Media sessions opened so far.
    opened: u64,
}

impl AgentService {
    /// Binds the sockets and starts. Must be called within the tokio runtime that the service will live on.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn start(config: AgentConfig) -> Result<Self, AgentError> {
        let endpoint = Endpoint::new(EndpointConfig {
            user_agent: concat!("b2b/", env!("CARGO_PKG_VERSION")).to_owned(),
            user: config.user.clone(),
            // Digits may come by INFO.
            accept: vec![Method::Info],
            extensions: Extensions {
                reliable: config.options.reliable,
                refer: config.options.transfers,
                replaces: config.options.transfers,
            },
            limits: config.limits,
            ..EndpointConfig::new(config.seed)
        });
        let signalling = &config.signalling;
        let tls = signalling.tls.as_ref().map(Roots::load).transpose().map_err(AgentError::Tls)?;
        let (trace, names) = (config.sip_trace.clone(), signalling.names());
        let mut net = NetConfig { trace, tls, names, ..NetConfig::new(config.bind) };
        if let Some(most) = config.options.source_messages_per_s {
            (net.limits.per_source.per_second, net.limits.per_source.burst) = (most, most.saturating_mul(2));
        }
        let mut stack = SipStack::bind(net, endpoint).map_err(|error| match error {
            NetError::Bind { addr, error } => AgentError::Bind { addr, error },
            NetError::Trace { path, error } => AgentError::Trace { path, error },
            NetError::Names(why) => AgentError::System(std::io::Error::other(why)),
        })?;
        if config.watch {
            stack.watch();
        }
        let [a, b, c, d, e, f, g, h, ..] = config.seed;
        let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let media =
            MediaConfig { packet_log: config.packet_log.clone(), ..MediaConfig::new(config.bind.ip(), seed) };
        let (media, media_events) = MediaHandle::spawn(media).map_err(|error| match error {
            SpawnError::PacketLog { path, error } => AgentError::Trace { path, error },
            SpawnError::System(error) => AgentError::System(error),
            SpawnError::Bind { ip, error } => AgentError::Bind { addr: SocketAddr::new(ip, 0), error },
            error @ SpawnError::Ports(_) => AgentError::System(std::io::Error::other(error)),
        })?;
        Ok(AgentService {
            stack,
            media,
            media_events,
            media_lost: false,
            legs: Legs::default(),
            transfers: Transfers::default(),
            news: VecDeque::new(),
            registering: None,
            users: None,
            draining: false,
            closed: UaStats::default(),
            // Below 2^63, as RFC 3264 §5 requires.
            session_id: seed >> 32,
            opened: 0,
            config,
        })
    }

    /// The SIP address, with the real port; never a wildcard.
    pub fn local(&self) -> SocketAddr {
        self.stack.local().unwrap_or(self.config.bind)
    }

    /// The next event, if there is one already.
    pub fn take_news(&mut self) -> Option<AgentEvent> {
        self.news.pop_front()
    }

    /// Runs everything until there is an event. Cancel-safe: dropping the future loses nothing.
    pub async fn next_event(&mut self) -> AgentEvent {
        loop {
            if let Some(event) = self.take_news() {
                return event;
            }
            let due = self.registration_timeout().into_iter().chain(self.users_timeout()).min();
            tokio::select! {
                () = sleep_until(due) => {
                    self.registration_due();
                    self.users_due();
                }
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

    /// Refuses an incoming leg.
    ///
    /// # Errors
    /// The leg does not wait for an answer.
    pub fn reject(&mut self, id: LegId, status: u16, reason: &str) -> Result<(), AgentError> {
        let refused = self.with_leg(id, |leg| leg.reject(status, reason).is_ok());
        if refused == Some(true) { Ok(()) } else { Err(AgentError::NoSuchLeg) }
    }

    /// Ends a leg with BYE, CANCEL or a refusal, as its state requires.
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

    /// Acts on a leg that the application knows, and carries out the resulting actions.
    fn with_leg<T>(&mut self, id: LegId, act: impl FnOnce(&mut Leg) -> T) -> Option<T> {
        let result = self.legs.get(id).filter(|entry| entry.told).map(|entry| act(&mut entry.leg));
        self.perform(id);
        result
    }

    /// Opens a media session for a new leg; returns it with its address. Without media there is no session.
    fn open_session(&mut self) -> Result<(Option<RelayId>, SocketAddr), AgentError> {
        if self.config.options.signalling_only {
            // the discard service: no response from there matters
            return Ok((None, SocketAddr::new(self.config.bind.ip(), 9)));
        }
        // Each call has a bad network of its own, and the first one that of the seed.
        let opened = self.opened;
        let own = |impair: ImpairConfig| impair.of_call(opened);
        let session = LocalConfig {
            jitter_ms: self.config.jitter_ms,
            rate_hz: self.config.rate_hz,
            impairment: self.config.impairment.map(own),
            impairment_sent: self.config.options.impairment_sent.map(own),
            rtp_timeout: Some(self.config.rtp_timeout),
            detect_digits: self.config.options.in_band_digits,
        };
        let (session, rtp) = self.media.open(&session)?;
        self.opened += 1;
        Ok((Some(session), rtp))
    }

    /// Our side of a new leg. `towards_peer` is our address as the peer sees it; a concrete bind address
    /// takes precedence. An unknown port is 0.
    fn own_side(&mut self, towards_peer: IpAddr, port: u16) -> Side {
        self.session_id += 1;
        let bound = self.config.bind.ip();
        let own = if bound.is_unspecified() { towards_peer } else { bound };
        let ip = self.config.options.rtp_advertise.unwrap_or(own);
        let own = OwnAudio {
            codecs: self.config.codecs.clone(),
            ptime_ms: self.config.ptime_ms,
            attributes: self.config.attributes.clone(),
        };
        // Never from the seed of the identifiers, which are public.
        let crypto = LocalCrypto::new(self.config.srtp, rand::random());
        Side::new(SocketAddr::new(ip, port), self.session_id << 1).with_own(own).with_crypto(crypto)
    }
}

/// Sleeps until the deadline; for ever without one.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
