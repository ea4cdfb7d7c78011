//! The settings of a client, all checked together by [`ClientBuilder::build`].

mod calls;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::account::Account;
use crate::audio::{Pipelines, check_file};
#[cfg(feature = "processing")]
use crate::audio::{Processing, processed};
use crate::driver::Measuring;
use crate::{Audio, AudioPipeline, FrameFormat, SipClient};
use b2b_base::rtp_timeout;
use b2b_call::agent::{
    AgentConfig, Attribute, Codec, FEW_CALLS, ImpairConfig, RegistrationConfig, SrtpPolicy, may_add_attribute,
};
use b2b_media::codec::rates::Rates;
use b2b_sip::msg::{Host, Scheme, Uri};
use calls::CallKeys;
pub(super) use calls::CallSettings;

/// Packet times that every codec supports, ms.
const PTIMES: [u32; 4] = [10, 20, 40, 60];

/// An error in one setting, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The builder's method.
    pub key: &'static str,
    /// The error.
    pub problem: String,
    /// The remedy.
    pub fix: String,
}

/// All errors in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// One entry per error, in the order of the settings; never empty.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Mistake { key, problem, fix }) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{key}: {problem}; {fix}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}

/// Collects the settings of a client.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    identity: String,
    bind: Option<String>,
    codecs: Vec<Codec>,
    rate_hz: u32,
    ptime_ms: u32,
    jitter_ms: u32,
    srtp: SrtpPolicy,
    rtp_timeout: Duration,
    events: usize,
    levels: bool,
    recovery: bool,
    impairment: Option<ImpairConfig>,
    calls: CallKeys,
    sip_trace: Option<PathBuf>,
    call_logs: Option<PathBuf>,
    attributes: Vec<(String, Option<String>)>,
    pipelines: Pipelines,
    audio: Audio,
    #[cfg(feature = "processing")]
    processing: Processing,
    pub(super) account: Account,
}

/// The checked settings of a client.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub agent: AgentConfig,
    pub registration: Option<RegistrationConfig>,
    pub events: usize,
    pub pipelines: Pipelines,
    pub audio: Audio,
    pub measuring: Measuring,
    pub call_logs: Option<PathBuf>,
    pub calls: CallSettings,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        ClientBuilder {
            identity: String::new(),
            bind: None,
            codecs: Codec::ALL.to_vec(),
            rate_hz: 16_000,
            ptime_ms: 20,
            jitter_ms: 40,
            srtp: SrtpPolicy::Off,
            rtp_timeout: rtp_timeout::CLIENT,
            events: 1_024,
            levels: false,
            recovery: true,
            impairment: None,
            calls: CallKeys::default(),
            sip_trace: None,
            call_logs: None,
            attributes: Vec::new(),
            pipelines: Pipelines::default(),
            audio: Audio::None,
            #[cfg(feature = "processing")]
            processing: Processing::NONE,
            account: Account::default(),
        }
    }

    /// The client's address: `sip:alice@example.com`. Required.
    pub fn identity(mut self, uri: impl Into<String>) -> Self {
        self.identity = uri.into();
        self
    }

    /// The local address for SIP (UDP and TCP) and RTP: an IP address with a port, 0 for a free one. Default:
    /// a free port, on loopback if the identity's host is a loopback address, else on every address.
    pub fn bind(mut self, address: impl Into<String>) -> Self {
        self.bind = Some(address.into());
        self
    }

    /// Codecs in order of preference. Default: Opus, G.722, PCMU, PCMA.
    pub fn codecs(mut self, codecs: impl Into<Vec<Codec>>) -> Self {
        self.codecs = codecs.into();
        self
    }

    /// Sample rate of all audio that a call delivers and accepts, whatever its codec, Hz: 8,000, 16,000
    /// (default), 24,000 or 48,000.
    pub fn rate_hz(mut self, rate_hz: u32) -> Self {
        self.rate_hz = rate_hz;
        self
    }

    /// Audio per sent packet, ms: 10, 20 (default), 40 or 60.
    pub fn ptime_ms(mut self, ptime_ms: u32) -> Self {
        self.ptime_ms = ptime_ms;
        self
    }

    /// Minimum delay of the jitter buffer, so that late packets can still be played, ms: up to 500. Default:
    /// 40.
    pub fn jitter_ms(mut self, jitter_ms: u32) -> Self {
        self.jitter_ms = jitter_ms;
        self
    }

    /// Whether audio is encrypted (SRTP with SDES keys, RFC 4568). The session description carries the keys,
    /// so they are only as secret as the signalling. Default: off.
    pub fn srtp(mut self, policy: SrtpPolicy) -> Self {
        self.srtp = policy;
        self
    }

    /// Ends a call that expects RTP and receives none for this long. Default: 60 s, so that a call survives
    /// half a minute without a network.
    pub fn rtp_timeout(mut self, timeout: Duration) -> Self {
        self.rtp_timeout = timeout;
        self
    }

    /// Events queued for a slow subscriber before it loses the oldest ones. Default: 1,024.
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// Whether [`crate::ClientEvent::Level`] reports the loudness of calls. Default: no.
    pub fn levels(mut self, wanted: bool) -> Self {
        self.levels = wanted;
        self
    }

    /// The audio sources and sinks of calls. Default: none but what the program plays, writes and reads.
    pub fn audio(mut self, audio: Audio) -> Self {
        self.audio = audio;
        self
    }

    /// Processing of what a microphone, a file or another source of [`audio`](Self::audio) or
    /// [`pipeline`](Self::pipeline) supplies: echo cancellation, noise suppression, gain control. It runs on one
    /// thread per call and delays that audio by one packet. What the program writes or plays is sent as it is.
    /// Default: none. Requires the feature `processing`.
    #[cfg(feature = "processing")]
    pub fn processing(mut self, processing: Processing) -> Self {
        self.processing = processing;
        self
    }

    /// Whether the client reacts to lost RTP: it sends Opus more robustly, and replaces a codec that
    /// tolerates loss badly by another one of `codecs` with a re-INVITE. [`crate::ClientEvent::Recovery`]
    /// reports each step. Default: yes.
    pub fn recovery(mut self, wanted: bool) -> Self {
        self.recovery = wanted;
        self
    }

    /// Impairs received RTP (loss, delay, reordering, duplicates), to test how a program copes.
    pub fn impairment(mut self, impairment: ImpairConfig) -> Self {
        self.impairment = Some(impairment);
        self
    }

    /// Writes every SIP message to this file.
    pub fn sip_trace(mut self, path: impl Into<PathBuf>) -> Self {
        self.sip_trace = Some(path.into());
        self
    }

    /// Writes a debug log of each call into this folder, which is created: SIP messages, events and counters,
    /// with their times. The logs hold password digests and media keys; only this user may read them.
    pub fn call_logs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.call_logs = Some(folder.into());
        self
    }

    /// Adds an attribute to the audio section of every session description that the client sends, after the
    /// existing ones; without a value it is `a=name`. Attributes that b2b writes itself cannot be repeated:
    /// codecs come from `codecs`, the packet time from `ptime_ms`.
    pub fn sdp_attribute(mut self, name: impl Into<String>, value: Option<&str>) -> Self {
        self.attributes.push((name.into(), value.map(str::to_owned)));
        self
    }

    /// The pipeline that the audio of each call passes. `make` is called once per call, before the call has
    /// audio. Default: none.
    pub fn pipeline(mut self, make: impl Fn(FrameFormat) -> AudioPipeline + Send + Sync + 'static) -> Self {
        self.pipelines = Pipelines::new(make);
        self
    }

    /// Checks everything. The client starts with [`SipClient::start`] or its first use.
    ///
    /// # Errors
    /// Returns every mistake at once.
    pub fn build(self) -> Result<SipClient, BuildError> {
        self.settings().map(SipClient::with)
    }

    fn settings(self) -> Result<Settings, BuildError> {
        let mut mistakes = Mistakes::default();
        let identity = mistakes.take("identity", identity(&self.identity));
        let loopback = identity.as_ref().and_then(|identity| identity.loopback);
        let any = SocketAddr::new(loopback.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), 0);
        let bind = self.bind.as_deref().map_or(Ok(any), bind);
        let bind = mistakes.take("bind", bind).unwrap_or(any);
        mistakes.take("codecs", codecs(&self.codecs));
        mistakes.take("rate_hz", one_of("samples a second", self.rate_hz, &Rates::ALL));
        mistakes.take("ptime_ms", one_of("ms a packet", self.ptime_ms, &PTIMES));
        mistakes.take("jitter_ms", at_most("ms", self.jitter_ms as usize, 0, 500));
        let seconds = usize::try_from(self.rtp_timeout.as_secs()).unwrap_or(usize::MAX);
        mistakes.take("rtp_timeout", at_most("s", seconds, 1, 86_400));
        mistakes.take("event_buffer", at_most("events", self.events, 1, 1 << 20));
        let pipelines = self.pipelines;
        #[cfg(feature = "processing")]
        let pipelines = {
            let processing = self.processing;
            Pipelines::new(move |FrameFormat { rate_hz, ptime_ms }| {
                processed(pipelines.make(rate_hz, ptime_ms), processing, rate_hz)
            })
        };
        if let Audio::Files { say } = &self.audio {
            let fix =
                "name a file that can be read: WAV, MP3, FLAC, Ogg, AU, .ulaw, .alaw, .sln, .g722 or .gsm"
                    .to_owned();
            mistakes.take("audio", check_file(say, self.rate_hz).map_err(|problem| (problem, fix)));
        }
        for (name, value) in &self.attributes {
            let fix = "use a name of your own, like X-account, and a value of one line".to_owned();
            let problem = format!("{name:?} with the value {value:?} cannot be added");
            let may = may_add_attribute(name, value.as_deref());
            mistakes.take("sdp_attribute", may.then_some(()).ok_or((problem, fix)));
        }
        mistakes.take("max_calls", at_most("calls", self.calls.max, 1, 10_000));
        mistakes.take("digit_ms", at_most("ms", self.calls.digit_ms as usize, 40, 5_000));
        let Self { levels, recovery, .. } = self;
        let measuring = Measuring { levels, recovery, codecs: self.codecs.clone() };
        let (signalling, registration) = self.account.check(&mut mistakes);
        match identity {
            Some(identity) if mistakes.0.is_empty() => Ok(Settings {
                agent: AgentConfig {
                    user: identity.user,
                    identity: Some(identity.uri),
                    signalling,
                    bind,
                    codecs: self.codecs,
                    ptime_ms: self.ptime_ms,
                    srtp: self.srtp,
                    jitter_ms: self.jitter_ms,
                    rate_hz: self.rate_hz,
                    impairment: self.impairment,
                    rtp_timeout: self.rtp_timeout,
                    sip_trace: self.sip_trace,
                    packet_log: None,
                    attributes: self.attributes.into_iter().map(attribute).collect(),
                    watch: self.call_logs.is_some(),
                    options: self.calls.options(),
                    limits: FEW_CALLS,
                    seed: rand::random(),
                },
                registration,
                events: self.events,
                pipelines,
                audio: self.audio,
                measuring,
                call_logs: self.call_logs,
                calls: self.calls.settings(),
            }),
            _ => Err(BuildError { mistakes: mistakes.0 }),
        }
    }
}

fn attribute((attribute, value): (String, Option<String>)) -> Attribute {
    Attribute { attribute, value }
}

/// A problem and its remedy.
pub(super) type Fault = (String, String);

#[derive(Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn take<T>(&mut self, key: &'static str, checked: Result<T, Fault>) -> Option<T> {
        checked.map_err(|(problem, fix)| self.0.push(Mistake { key, problem, fix })).ok()
    }
}

struct Identity {
    uri: String,
    user: String,
    /// The host, if it is a loopback address.
    loopback: Option<IpAddr>,
}

fn identity(text: &str) -> Result<Identity, Fault> {
    let fault = |problem: String| (problem, "write it like sip:alice@example.com".to_owned());
    if text.is_empty() {
        return Err(fault("it is missing".to_owned()));
    }
    let uri = Uri::parse(text.as_bytes()).map_err(|error| fault(format!("{text:?}: {error}")))?;
    if uri.scheme != Scheme::Sip {
        return Err(fault(format!("{text:?} is no sip: URI")));
    }
    let user = uri.user.map(|user| String::from_utf8_lossy(user).into_owned()).unwrap_or_default();
    if user.is_empty() {
        let (problem, fix) = fault(format!("{text:?} has no user"));
        let host = text.strip_prefix("sip:").filter(|host| !host.contains('@'));
        let fix = host
            .map_or(fix, |it| format!("{it} is taken for its host; if it is the user, write sip:{it}@HOST"));
        return Err((problem, fix));
    }
    let loopback = match uri.host {
        None => return Err(fault(format!("{text:?} has no host"))),
        Some(Host::V4(ip)) => Some(IpAddr::from(ip)),
        Some(Host::V6(ip)) => Some(IpAddr::from(ip)),
        Some(Host::Name(_)) => None,
    };
    Ok(Identity { uri: text.to_owned(), user, loopback: loopback.filter(IpAddr::is_loopback) })
}

fn bind(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map_err(|_| {
        let fix = "write an address of this machine with a port, like 127.0.0.1:5070 or [::1]:0";
        (format!("{text:?} is no socket address"), fix.to_owned())
    })
}

fn codecs(codecs: &[Codec]) -> Result<(), Fault> {
    if codecs.is_empty() {
        return Err(("none is left".to_owned(), "name at least one, such as Codec::Pcmu".to_owned()));
    }
    match codecs.iter().enumerate().find(|(index, codec)| codecs[..*index].contains(codec)) {
        Some((_, twice)) => Err((format!("{twice} is there twice"), "name each once".to_owned())),
        None => Ok(()),
    }
}

fn one_of(unit: &str, value: u32, allowed: &[u32]) -> Result<(), Fault> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let list: Vec<String> = allowed.iter().map(u32::to_string).collect();
    Err((format!("{value} {unit} cannot be had"), format!("use one of {}", list.join(", "))))
}

fn at_most(unit: &str, value: usize, least: usize, most: usize) -> Result<(), Fault> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err((format!("{value} {unit} is out of range"), format!("use {least} to {most}")))
}

#[cfg(test)]
mod tests;
