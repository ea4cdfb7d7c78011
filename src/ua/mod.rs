//! The interface of the lab's roles to an engine: listen, dial, call events, and one audio
//! source and sink per call. Roles do not depend on the engine in use.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::Receiver;
use strum::{Display, EnumString};

pub use b2b_base::codec::Codec;
pub use b2b_base::end_cause::EndCause;
pub use b2b_base::frame::{Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame};
pub use b2b_base::impairment::ImpairConfig;
pub use b2b_base::metrics::{MediaStats, UaStats};
use b2b_base::rtp_timeout;

/// A call, unique within its UA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Configuration of a UA.
#[derive(Debug, Clone)]
pub struct UaConfig {
    /// User part of our Contact and From: `source`, `mixer`, `sink`.
    pub user: String,
    /// SIP address for UDP and TCP; port 0 takes a free one. RTP uses the same IP address.
    pub bind: SocketAddr,
    /// Codecs in order of preference, for offers; answers follow the peer's order.
    pub codecs: Vec<Codec>,
    /// Packet time for sending, in ms: 10 to 60 in steps of 10.
    pub ptime_ms: u32,
    /// Minimum playout delay, ms.
    pub jitter_ms: u32,
    /// Impairment of received RTP.
    pub impairment: Option<ImpairConfig>,
    /// Time without RTP after which a call that should receive is ended.
    pub rtp_timeout: Duration,
    /// File to which every SIP message sent and received is written.
    pub sip_trace: Option<PathBuf>,
    /// File to which one CSV row per received RTP packet is written.
    pub packet_log: Option<PathBuf>,
}

impl Default for UaConfig {
    /// On a free loopback port, like the lab's roles without flags.
    fn default() -> Self {
        UaConfig {
            user: "b2b".to_owned(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            ptime_ms: 20,
            jitter_ms: 60,
            impairment: None,
            rtp_timeout: rtp_timeout::LAB,
            sip_trace: None,
            packet_log: None,
        }
    }
}

/// The audio source and sink of one call.
pub struct Audio {
    /// The audio to send.
    pub source: Box<dyn FrameSource>,
    /// Receives the incoming audio.
    pub sink: Box<dyn FrameSink>,
}

/// Events of calls.
#[derive(Debug, Clone, PartialEq)]
pub enum UaEvent {
    /// An incoming call; decide with `answer` or `reject`.
    Incoming { call: CallId, from: String, to: String, sip_call_id: String },
    /// A provisional response other than 100 to our call.
    Progress { call: CallId, status: u16, reason: String },
    /// The call is established: answered (by either side) and acknowledged.
    Answered { call: CallId, codec: Codec, ptime_ms: u32, remote_rtp: SocketAddr },
    /// The first RTP packet from the peer has arrived.
    MediaStarted { call: CallId },
    /// The peer holds or resumes the call.
    Hold { call: CallId, held: bool },
    /// A DTMF digit (RFC 4733).
    Digit { call: CallId, digit: char, duration_ms: u32 },
    /// The source returned [`Fill::End`], and everything before it was sent.
    SourceEnded { call: CallId },
    /// The last event of a call, exactly once.
    Ended { call: CallId, cause: EndCause },
    /// The engine cannot continue; all calls have ended.
    Fatal { message: String },
}

/// Why an operation of a UA failed.
#[derive(Debug, thiserror::Error)]
pub enum UaError {
    #[error("cannot bind {addr}: {error}; choose another --sip-bind or end the program that holds it")]
    Bind { addr: SocketAddr, error: std::io::Error },
    #[error("bad SIP URI {uri:?}: {reason}; write it like sip:name@127.0.0.1:5060")]
    Target { uri: String, reason: String },
    #[error("cannot write {path}: {error}", path = path.display())]
    Trace { path: PathBuf, error: std::io::Error },
    #[error("no media for the call: {0}")]
    Media(String),
    #[error("no such call")]
    NoSuchCall,
    #[error("the engine has stopped: {0}")]
    Stopped(String),
    /// The engine is not in this build, or does not support the operation.
    #[error("{0}")]
    Unsupported(String),
}

/// A SIP endpoint with audio.
pub trait Ua: Send {
    /// The SIP address in use, with the actual port; never a wildcard.
    fn local(&self) -> SocketAddr;
    /// The events, in order.
    fn events(&self) -> &Receiver<UaEvent>;
    /// Calls `target` (a `sip:` URI; `;transport=tcp` is supported).
    fn dial(&self, target: &str, audio: Audio) -> Result<CallId, UaError>;
    /// Answers an incoming call with 200.
    fn answer(&self, call: CallId, audio: Audio) -> Result<(), UaError>;
    /// Refuses an incoming call.
    fn reject(&self, call: CallId, status: u16, reason: &str) -> Result<(), UaError>;
    /// Ends a call with BYE, CANCEL or a refusal, depending on its state.
    fn hangup(&self, call: CallId) -> Result<(), UaError>;
    /// Counters so far, by direction of the calls.
    fn stats(&self) -> UaStats;
    /// Hangs up all calls, waits at most `grace` for them, and stops.
    fn shutdown(self: Box<Self>, grace: Duration);
}

/// The engines behind [`Ua`], by their names in `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Display, EnumString)]
#[strum(serialize_all = "snake_case", parse_err_ty = UnknownEngine, parse_err_fn = unknown)]
pub enum Engine {
    /// b2b's own SIP and media engine.
    #[default]
    Native,
    /// libbaresip, in builds with the cargo feature `baresip`.
    Baresip,
}

impl Engine {
    /// Whether its RTP carries the capture time of audio ([`InFrame::captured_at`]), which is
    /// needed to measure mouth-to-ear latency.
    pub fn measures_latency(self) -> bool {
        self == Engine::Native
    }
}

/// Why an engine name was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown engine {0:?}; use native or baresip")]
pub struct UnknownEngine(pub String);

fn unknown(name: &str) -> UnknownEngine {
    UnknownEngine(name.to_owned())
}
