//! What a run of the load role is told.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::expect::Expect;
use super::hearing::Ears;
use super::holding::Holding;
use super::kinds::{CalleeKind, Callers};
use super::routes::Routes;
use super::sipp::Scenario;
use super::sound::RATE_HZ;
use super::users::Users;
use b2b_base::logging::{Color, Format};
use b2b_call::agent::{AgentConfig, CallOptions, Codec, EndpointLimits, Signalling, SrtpPolicy};
use b2b_config::step::{Deed, Step};
use b2b_config::target;
use b2b_media::stage::Sound;

/// No RTP for so long ends a leg that should hear some.
const RTP_TIMEOUT: Duration = Duration::from_secs(20);

/// Longer sounds are not played: they are held as samples.
const LONGEST_SOUND: Duration = Duration::from_secs(600);

/// As many calls as the generator can make: each is remembered for 32 s behind its end (RFC 3261 §17.2), and
/// refusals are what some targets are asked for.
const LIMITS: EndpointLimits = EndpointLimits {
    server_transactions: 1 << 19,
    server_bytes: 1 << 30,
    usages: 1 << 18,
    refusals_per_second: 1 << 20,
    ..EndpointLimits::DEFAULT
};

/// Everything comes from one address where a server is the target, and what it may send is nothing to judge it by.
const MESSAGES_PER_S: u32 = 1 << 20;

/// Users to register.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// They.
    pub users: Users,
    /// The URI of where that is done.
    pub registrar: String,
    /// How many a second, at most.
    pub per_second: f64,
    /// For how long to ask, seconds.
    pub expires_s: u32,
}

/// A scenario of SIPp in the place of steps.
#[derive(Debug, Clone)]
pub struct ScenarioRun {
    /// What each call does.
    pub scenario: Arc<Scenario>,
    /// RTP that comes to `[media_port]` goes back.
    pub rtp_echo: bool,
}

/// What a run is told.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// SIP addresses, UDP and TCP; RTP binds to the same IPs. Calls go by them in turn; at least one.
    pub binds: Vec<SocketAddr>,
    /// Where numbers that are dialled are: a URI whose user part they take.
    pub target: Option<String>,
    /// The domain of users.
    pub domain: String,
    /// By which way requests go.
    pub signalling: Signalling,
    /// Whether media are encrypted.
    pub srtp: SrtpPolicy,
    /// None: it only answers.
    pub callers: Option<Callers>,
    /// Who is registered before anything else, to be called.
    pub enrolment: Option<Enrolment>,
    /// What callees do; those of whom there is no kind are refused with 480.
    pub callees: Vec<CalleeKind>,
    /// What steps play, by the name that it has there.
    pub sounds: Vec<(String, Sound)>,
    /// What calls do in the place of steps; then `callers` say when, and `callees` is none.
    pub scenario: Option<ScenarioRun>,
    /// What descriptions say in the place of the address that RTP binds to, as of a party behind a NAT that knows nothing
    /// of it.
    pub rtp_advertise: Option<IpAddr>,
    /// There is no sound: the load is signalling.
    pub signalling_only: bool,
    /// What legs that say their mark are to hear.
    pub ears: Ears,
    /// Calls that have figures of their own, by their numbers.
    pub routes: Routes,
    /// How long calls stay.
    pub holding: Holding,
    /// Callers under way at once, at most.
    pub at_once: Option<usize>,
    /// In order of priority.
    pub codecs: Vec<Codec>,
    /// No call begins after this; one that only answers ends then.
    pub duration: Option<Duration>,
    /// Every decision by chance comes from it.
    pub seed: u64,
    /// What the run is judged by.
    pub expect: Expect,
    /// A process of this machine that is watched.
    pub watch_pid: Option<u32>,
    /// Write load.json into this folder.
    pub report: Option<PathBuf>,
    /// Write every SIP message here.
    pub sip_trace: Option<PathBuf>,
    /// Log lines down to this level, and how they look.
    pub log: (tracing::Level, Format),
    /// Whether they are coloured.
    pub color: Color,
}

impl LoadConfig {
    /// The agent at this one of its addresses.
    pub(super) fn agent(&self, n: usize, bind: SocketAddr) -> AgentConfig {
        AgentConfig {
            user: "load".to_owned(),
            identity: None,
            signalling: self.signalling.clone(),
            bind,
            codecs: self.codecs.clone(),
            ptime_ms: 20,
            srtp: self.srtp,
            jitter_ms: 60,
            rate_hz: RATE_HZ,
            impairment: None,
            rtp_timeout: RTP_TIMEOUT,
            sip_trace: self.sip_trace.clone().map(|path| match n {
                0 => path,
                n => PathBuf::from(format!("{}.{n}", path.display())),
            }),
            packet_log: None,
            attributes: Vec::new(),
            watch: self.report.is_some() || self.callers.iter().any(Callers::ask_for_headers),
            options: CallOptions {
                ring_at_once: false,
                rtp_advertise: self.rtp_advertise,
                signalling_only: self.signalling_only,
                source_messages_per_s: Some(MESSAGES_PER_S),
                ..CallOptions::default()
            },
            limits: LIMITS,
            // identifiers have to differ from run to run, whatever the seed of the decisions is
            seed: rand::random(),
        }
    }

    /// The URI of what a step dials: a number is at the target.
    pub(super) fn uri_of(&self, to: &str) -> String {
        if to.contains(':') {
            return to.to_owned();
        }
        format!("sip:{to}@{}", place(self.target.as_deref().unwrap_or_default()))
    }
}

/// Reads the files that steps play, once for all calls.
///
/// # Errors
/// One that cannot be played, and why.
pub fn sounds<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Result<Vec<(String, Sound)>, String> {
    let mut sounds: Vec<(String, Sound)> = Vec::new();
    for step in steps {
        let Deed::Play(file) = &step.deed else { continue };
        if sounds.iter().any(|(name, _)| name == file) {
            continue;
        }
        let sound = b2b_media::sounds::load(Path::new(file), RATE_HZ, LONGEST_SOUND);
        let sound = sound.map_err(|error| format!("the step `{}`: {error}; name a sound file", step.text))?;
        sounds.push((file.clone(), sound));
    }
    Ok(sounds)
}

/// The host of a URI.
pub fn host_of(uri: &str) -> &str {
    target::host(target::host_port(place(uri)))
}

/// What stands behind the user part of a URI.
pub fn place(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or(rest, |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_the_user_part_of_the_target() {
        let config = |target: &str| LoadConfig {
            binds: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            target: Some(target.to_owned()),
            domain: String::new(),
            signalling: Signalling::default(),
            srtp: SrtpPolicy::Off,
            callers: None,
            enrolment: None,
            callees: Vec::new(),
            rtp_advertise: None,
            sounds: Vec::new(),
            scenario: None,
            signalling_only: false,
            ears: Ears::default(),
            routes: Routes::default(),
            holding: Holding::Fixed(1.0),
            at_once: None,
            codecs: vec![Codec::Pcmu],
            duration: None,
            seed: 1,
            expect: Expect::default(),
            watch_pid: None,
            report: None,
            sip_trace: None,
            log: (tracing::Level::INFO, Format::Text),
            color: Color::Never,
        };
        let uri = |target: &str, to: &str| config(target).uri_of(to);
        assert_eq!(host_of("sip:1000@b2b.example:5070;transport=tcp"), "b2b.example");
        assert_eq!(host_of("sip:[::1]:5070"), "[::1]");
        assert_eq!(
            uri("sip:any@127.0.0.1:5060;transport=tcp", "8000"),
            "sip:8000@127.0.0.1:5060;transport=tcp"
        );
        assert_eq!(uri("sip:127.0.0.1", "8000"), "sip:8000@127.0.0.1");
        assert_eq!(uri("sip:127.0.0.1", "sip:x@127.0.0.2"), "sip:x@127.0.0.2");
    }
}
