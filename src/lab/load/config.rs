//! The settings of a load.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::expect::Expect;
use super::hearing::Ears;
use super::holding::Holding;
use super::kinds::{CalleeKind, Callers};
use super::routes::Routes;
use super::sipp::Scenario;
use super::sound::RATE_HZ;
use super::users::Users;
use b2b_base::impairment::ImpairConfig;
use b2b_base::logging::{Color, Format};
use b2b_base::rtp_timeout;
use b2b_call::agent::{AgentConfig, CallOptions, Codec, EndpointLimits, Signalling, SrtpPolicy};
use b2b_config::step::Step;
use b2b_config::target;
use b2b_media::stage::Sound;

/// As many calls as the generator can make: each is remembered for 32 s after its end (RFC 3261 §17.2), and
/// some targets are tested with refusals.
const LIMITS: EndpointLimits = EndpointLimits {
    server_transactions: 1 << 19,
    server_bytes: 1 << 30,
    usages: 1 << 18,
    refusals_per_second: 1 << 20,
    ..EndpointLimits::DEFAULT
};

/// All messages come from one address if a server is the target, so its rate must not count as abuse.
const MESSAGES_PER_S: u32 = 1 << 20;

/// Users to register.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The users.
    pub users: Users,
    /// The URI of the registrar.
    pub registrar: String,
    /// Maximum registrations per second.
    pub per_second: f64,
    /// Requested lifetime, seconds.
    pub expires_s: u32,
}

/// A SIPp scenario in place of steps.
#[derive(Debug, Clone)]
pub struct ScenarioRun {
    /// What each call does.
    pub scenario: Arc<Scenario>,
    /// Whether RTP to `[media_port]` is echoed.
    pub rtp_echo: bool,
}

/// The settings of a load.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// SIP addresses, UDP and TCP; RTP binds to the same IPs. Calls use them in turn; at least one.
    pub binds: Vec<SocketAddr>,
    /// The URI whose user part a dialled number replaces.
    pub target: Option<String>,
    /// The domain of users.
    pub domain: String,
    /// The transport of requests.
    pub signalling: Signalling,
    /// Whether media are encrypted.
    pub srtp: SrtpPolicy,
    /// `None`: it only answers.
    pub callers: Option<Callers>,
    /// The users to register before anything else, to be called.
    pub enrolment: Option<Enrolment>,
    /// The callees; calls that match no kind are refused with 480.
    pub callees: Vec<CalleeKind>,
    /// Audio files that steps play and texts that they speak, by their name there.
    pub sounds: Vec<(String, Sound)>,
    /// A scenario in place of steps; then `callers` only sets the schedule, and `callees` is empty.
    pub scenario: Option<ScenarioRun>,
    /// The address in session descriptions in place of the one that RTP binds to, as for a party behind a NAT
    /// of which it does not know.
    pub rtp_advertise: Option<IpAddr>,
    /// Whether calls have no audio: the load is signalling only.
    pub signalling_only: bool,
    /// Impairment of RTP in both directions; each call has the same.
    pub impair: Option<ImpairConfig>,
    /// The marks that legs with a mark expect.
    pub ears: Ears,
    /// Routes with figures of their own, by number prefix.
    pub routes: Routes,
    /// The durations of calls.
    pub holding: Holding,
    /// Maximum simultaneous callers.
    pub at_once: Option<usize>,
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
    /// The audio in a packet, ms.
    pub ptime_ms: u32,
    /// No call begins after this; a load that only answers ends then.
    pub duration: Option<Duration>,
    /// The seed of random decisions.
    pub seed: u64,
    /// The limits that the run is judged by.
    pub expect: Expect,
    /// The local process to watch.
    pub watch_pid: Option<u32>,
    /// The folder for load.json and the other report files.
    pub report: Option<PathBuf>,
    /// The file for every SIP message.
    pub sip_trace: Option<PathBuf>,
    /// Log level and format.
    pub log: (tracing::Level, Format),
    /// Whether log lines are coloured.
    pub color: Color,
    /// Who makes the calls that callees ask for: gets the number of the kind of each.
    pub asks: Option<Sender<usize>>,
    /// Whether each call is a case with its own result, as in the sandbox.
    pub each: bool,
}

impl LoadConfig {
    /// What the load would do, for `--dry-run`.
    pub fn summary(&self) -> String {
        let mut lines: Vec<String> = self.binds.iter().map(|bind| format!("sip       {bind}")).collect();
        if let Some(run) = &self.scenario {
            let (path, steps) = (run.scenario.path.display(), run.scenario.steps.len());
            let does = if run.scenario.calls() { "it calls" } else { "it answers" };
            lines.push(format!("scenario  {path}, {steps} steps: {does}"));
        }
        lines.extend(self.target.iter().map(|target| format!("target    {target}")));
        let steps = |steps: &[Step]| steps.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join("; ");
        let callers = self.callers.iter().flat_map(|callers| &callers.kinds);
        let callers = callers.map(|kind| ("caller", &kind.name, steps(&kind.steps)));
        let callees = self.callees.iter().map(|kind| ("callee", &kind.name, steps(&kind.steps)));
        let kinds = callers.chain(callees).filter(|(_, _, steps)| !steps.is_empty());
        lines.extend(kinds.map(|(who, name, steps)| {
            let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
            format!("{who:<9} {name}{steps}")
        }));
        lines.join("\n")
    }

    /// Whether the messages of calls are kept.
    pub(super) fn watches(&self) -> bool {
        self.report.is_some() || self.each
    }

    /// The configuration of the agent at one of its addresses.
    pub(super) fn agent(&self, n: usize, bind: SocketAddr) -> AgentConfig {
        let impair = self.impair.map(|it| it.of_call((n as u64) << 32));
        AgentConfig {
            user: "load".to_owned(),
            identity: None,
            signalling: self.signalling.clone(),
            bind,
            codecs: self.codecs.clone(),
            ptime_ms: self.ptime_ms,
            srtp: self.srtp,
            jitter_ms: 60,
            rate_hz: RATE_HZ,
            impairment: impair,
            rtp_timeout: rtp_timeout::LAB,
            sip_trace: self.sip_trace.clone().map(|path| match n {
                0 => path,
                n => PathBuf::from(format!("{}.{n}", path.display())),
            }),
            packet_log: None,
            attributes: Vec::new(),
            watch: self.watches() || self.callers.iter().any(Callers::ask_for_headers),
            options: CallOptions {
                ring_at_once: false,
                rtp_advertise: self.rtp_advertise,
                // other packets than those that are received
                impairment_sent: impair.map(|it| ImpairConfig { seed: !it.seed, ..it }),
                // NOTIFYs about a `transfer` of theirs
                transfers: true,
                signalling_only: self.signalling_only,
                source_messages_per_s: Some(MESSAGES_PER_S),
                ..CallOptions::default()
            },
            limits: LIMITS,
            // identifiers must differ from run to run, whatever the seed of the decisions
            seed: rand::random(),
        }
    }

    /// The URI that a step dials: a number belongs to the target.
    pub(super) fn uri_of(&self, to: &str) -> String {
        if to.contains(':') {
            return to.to_owned();
        }
        format!("sip:{to}@{}", place(self.target.as_deref().unwrap_or_default()))
    }
}

/// The host of a URI.
pub fn host_of(uri: &str) -> &str {
    target::host(target::host_port(place(uri)))
}

/// The part of a URI after the user.
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
            impair: None,
            ears: Ears::default(),
            routes: Routes::default(),
            holding: Holding::Fixed(1.0),
            at_once: None,
            codecs: vec![Codec::Pcmu],
            ptime_ms: 20,
            duration: None,
            seed: 1,
            expect: Expect::default(),
            watch_pid: None,
            report: None,
            sip_trace: None,
            log: (tracing::Level::INFO, Format::Text),
            color: Color::Never,
            asks: None,
            each: false,
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
