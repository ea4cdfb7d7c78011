//! Calls with SRTP: between two agents, directly and through the server, and between an agent and baresip
//! (module `srtp`), both ways. The received audio is compared with the sent audio.
//! `cargo test --test program interop::srtp:: -- --ignored` needs `baresip` (Debian: baresip-core).

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::interop::support::baresip::{Baresip, Setup};
use crate::interop::support::{LIMIT, assert_arrived, samples, signal};
use crate::server_support::server;
use b2b::call::agent::{
    AgentConfig, AgentEvent, AgentService, CallOptions, Codec, FEW_CALLS, LegAudio, Signalling, SrtpPolicy,
};
use b2b::call::leg_fsm::TerminationCause;
use b2b::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};

/// Plays the samples, then silence.
struct Says(std::vec::IntoIter<i16>);

impl FrameSource for Says {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        for sample in frame.samples.iter_mut() {
            match self.0.next() {
                Some(said) => *sample = said,
                None => return Fill::Silence,
            }
        }
        Fill::Audio
    }
}

#[derive(Clone, Default)]
struct Hears(Arc<Mutex<Vec<i16>>>);

impl FrameSink for Hears {
    fn frame(&mut self, frame: &InFrame<'_>) {
        self.0.lock().expect("no panic").extend_from_slice(frame.samples);
    }
}

fn agent(srtp: SrtpPolicy, trace: Option<PathBuf>) -> AgentService {
    let config = AgentConfig {
        user: "agent".to_owned(),
        identity: None,
        signalling: Signalling::default(),
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        ptime_ms: 20,
        srtp,
        jitter_ms: 60,
        rate_hz: 8_000,
        impairment: None,
        rtp_timeout: Duration::from_secs(20),
        sip_trace: trace,
        packet_log: None,
        attributes: Vec::new(),
        watch: false,
        options: CallOptions::default(),
        limits: FEW_CALLS,
        seed: rand::random(),
    };
    AgentService::start(config).expect("started")
}

fn audio(said: &[i16]) -> (LegAudio, Hears) {
    let hears = Hears::default();
    let source = Box::new(Says(Vec::from(said).into_iter()));
    (LegAudio { source, sink: Box::new(hears.clone()) }, hears)
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("in time") });
}

/// Answers every call. Once media have run for this long, the first agent hangs up: `None`. A cause that ends
/// a call before that is returned.
async fn talk(
    agents: &mut [(AgentService, Option<LegAudio>)],
    lasting: Duration,
) -> Option<TerminationCause> {
    let (mut end, mut hung_up) = (None, false);
    let mut up = None;
    loop {
        for (n, (agent, audio)) in agents.iter_mut().enumerate() {
            let Ok(event) = tokio::time::timeout(Duration::from_millis(10), agent.next_event()).await else {
                continue;
            };
            match event {
                AgentEvent::Incoming { leg, .. } => {
                    agent.answer(leg, audio.take().expect("one call")).expect("answered");
                }
                AgentEvent::Answered { leg, .. } if n == 0 => up = Some(leg),
                AgentEvent::MediaStarted { .. } => end = end.or(Some(Instant::now() + lasting)),
                AgentEvent::Ended { cause, .. } if n == 0 => return Some(cause).filter(|_| !hung_up),
                _ => {}
            }
        }
        if let Some(leg) = up.filter(|_| !hung_up && end.is_some_and(|end| Instant::now() > end)) {
            agents[0].0.hangup(leg).expect("it is up");
            hung_up = true;
        }
    }
}

#[test]
fn two_agents_talk_over_srtp_as_they_agree() {
    use SrtpPolicy::{Offered, Required};
    for (caller, callee, protocol) in
        [(Required, Offered, "RTP/SAVP"), (Offered, Required, "RTP/AVP"), (Offered, Offered, "RTP/AVP")]
    {
        on_a_runtime(async {
            let folder = tempfile::tempdir().expect("dir");
            let trace = folder.path().join("sip.txt");
            let (mut near, far) = (agent(caller, Some(trace.clone())), agent(callee, None));
            let (said, answered) = (signal(3), signal(4)[8_000..].to_vec());
            let (near_audio, near_hears) = audio(&said);
            let (far_audio, far_hears) = audio(&answered);
            near.dial(&format!("sip:b@{}", far.local()), near_audio).expect("dialled");
            let mut agents = [(near, None), (far, Some(far_audio))];
            let over = talk(&mut agents, Duration::from_secs(4)).await;
            assert_eq!(over, None, "{caller:?} calls {callee:?}");
            for (agent, _) in &agents {
                let stats = agent.stats().total();
                assert_eq!(stats.unauthenticated, 0, "{stats:?}");
            }
            assert_arrived(&said, &far_hears.0.lock().expect("no panic"), 0.7);
            assert_arrived(&answered, &near_hears.0.lock().expect("no panic"), 0.7);
            let trace = fs::read_to_string(trace).expect("a trace");
            assert_eq!(trace.matches(&format!(" {protocol} 0 8")).count(), 2, "{trace}");
            assert_eq!(trace.matches("a=crypto:1 AEAD_AES_128_GCM inline:").count(), 2, "{trace}");
        });
    }
}

#[test]
fn without_keys_there_is_no_call_where_they_are_required() {
    for (caller, callee) in [(SrtpPolicy::Required, SrtpPolicy::Off), (SrtpPolicy::Off, SrtpPolicy::Required)]
    {
        on_a_runtime(async {
            let (mut near, far) = (agent(caller, None), agent(callee, None));
            near.dial(&format!("sip:b@{}", far.local()), audio(&[]).0).expect("dialled");
            let over = talk(&mut [(near, None), (far, Some(audio(&[]).0))], Duration::ZERO).await;
            assert!(matches!(over, Some(TerminationCause::Failed { status: 488, .. })), "{over:?}");
        });
    }
}

// ---- the server

#[test]
fn the_server_ends_srtp_on_each_leg() {
    use SrtpPolicy::{Off, Required};
    for (caller, callee) in [(Required, Off), (Off, Required), (Required, Required)] {
        on_a_runtime(async {
            let (mut near, far) = (agent(caller, None), agent(callee, None));
            let route = format!(
                "[media]\nsrtp = \"offered\"\n[[route]]\ncalled = \".*\"\nto = \"sip:b@{}\"\n",
                far.local()
            );
            let server = server(&route);
            let (said, answered) = (signal(3), signal(4)[8_000..].to_vec());
            let (near_audio, near_hears) = audio(&said);
            let (far_audio, far_hears) = audio(&answered);
            near.dial(&format!("sip:b@{}", server.sip), near_audio).expect("dialled");
            let over = talk(&mut [(near, None), (far, Some(far_audio))], Duration::from_secs(4)).await;
            assert_eq!(over, None, "{caller:?} calls {callee:?}");
            assert_arrived(&said, &far_hears.0.lock().expect("no panic"), 0.7);
            assert_arrived(&answered, &near_hears.0.lock().expect("no panic"), 0.7);
            assert_eq!(server.metric("b2b_media_dropped_total{reason=\"unauthenticated\"}"), 0.0);
        });
    }
}

#[test]
fn a_server_without_srtp_refuses_who_must_have_it_and_one_that_must_refuses_who_has_none() {
    for (policy, caller) in [("off", SrtpPolicy::Required), ("required", SrtpPolicy::Off)] {
        on_a_runtime(async {
            let (mut near, far) = (agent(caller, None), agent(SrtpPolicy::Offered, None));
            let route = format!(
                "[media]\nsrtp = \"{policy}\"\n[[route]]\ncalled = \".*\"\nto = \"sip:b@{}\"\n",
                far.local()
            );
            let server = server(&route);
            near.dial(&format!("sip:b@{}", server.sip), audio(&[]).0).expect("dialled");
            let over = talk(&mut [(near, None), (far, Some(audio(&[]).0))], Duration::ZERO).await;
            assert!(matches!(over, Some(TerminationCause::Failed { status: 488, .. })), "{policy}: {over:?}");
        });
    }
}

// ---- baresip

/// baresip with this kind of SRTP.
fn baresip(folder: &Path, kind: &str, said: &[i16], arguments: &[&str]) -> Baresip {
    let account = format!(";mediaenc={kind}");
    let setup =
        Setup { codecs: "PCMU/8000/1", account: &account, config: "module srtp.so\n", ..Setup::saying(said) };
    Baresip::start(folder, &setup, arguments)
}

/// Ends baresip; returns its audio and its output.
fn farewell(baresip: Baresip) -> (Vec<i16>, String) {
    let (dump, ended) = baresip.end();
    let heard = dump.map(|dump| samples(&dump)).unwrap_or_default();
    (heard, format!("{}\n{}", ended.output.join("\n"), ended.log))
}

const KINDS: [(&str, SrtpPolicy); 4] = [
    ("srtp", SrtpPolicy::Offered),
    ("srtp", SrtpPolicy::Required),
    ("srtp-mand", SrtpPolicy::Offered),
    ("srtp-mand", SrtpPolicy::Required),
];

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_calls_with_srtp() {
    for (kind, policy) in KINDS {
        on_a_runtime(async {
            let folder = tempfile::tempdir().expect("dir");
            let agent = agent(policy, None);
            let (said, answered) = (signal(30), signal(4));
            let dial = format!("/dial sip:agent@{}", agent.local());
            let baresip = baresip(folder.path(), kind, &said, &["-e", &dial]);
            let (ours, hears) = audio(&answered);
            let mut agents = [(agent, Some(ours))];
            let over = talk(&mut agents, Duration::from_secs(5)).await;
            let (heard, printed) = farewell(baresip);
            assert_eq!(over, None, "{kind} {policy:?}\n{printed}");
            assert!(printed.contains("SRTP is Enabled"), "{printed}");
            let stats = agents[0].0.stats().total();
            // It sends an APP before its keys are set and a BYE after they are deleted, both unencrypted.
            assert!(stats.lost == 0 && stats.unauthenticated <= 2, "{stats:?}");
            assert_arrived(&answered, &heard, 0.7);
            let hears = hears.0.lock().expect("no panic");
            assert_arrived(&said[..3 * 8_000], &hears, 0.7);
            println!(
                "{kind} {policy:?}: {}",
                printed.lines().find(|line| line.contains("Enabled")).unwrap_or("")
            );
        });
    }
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_is_called_with_srtp() {
    for (kind, policy) in KINDS {
        on_a_runtime(async {
            let folder = tempfile::tempdir().expect("dir");
            let (said, answered) = (signal(4), signal(30));
            let baresip = baresip(folder.path(), kind, &answered, &[]);
            let mut agent = agent(policy, None);
            let (ours, hears) = audio(&said);
            agent.dial(&baresip.uri(), ours).expect("dialled");
            let mut agents = [(agent, None)];
            let over = talk(&mut agents, Duration::from_secs(5)).await;
            let (heard, printed) = farewell(baresip);
            if (kind, policy) == ("srtp-mand", SrtpPolicy::Offered) {
                // It ignores keys under RTP/AVP.
                assert!(matches!(over, Some(TerminationCause::Failed { status: 488, .. })), "{over:?}");
                return;
            }
            assert_eq!(over, None, "{kind} {policy:?}\n{printed}");
            assert!(printed.contains("SRTP is Enabled"), "{printed}");
            let stats = agents[0].0.stats().total();
            // It sends an APP before its keys are set and a BYE after they are deleted, both unencrypted.
            assert!(stats.lost == 0 && stats.unauthenticated <= 2, "{stats:?}");
            assert_arrived(&said, &heard, 0.7);
            assert_arrived(&answered[..3 * 8_000], &hears.0.lock().expect("no panic"), 0.7);
            println!(
                "{kind} {policy:?}: {}",
                printed.lines().find(|line| line.contains("Enabled")).unwrap_or("")
            );
        });
    }
}
