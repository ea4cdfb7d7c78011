//! Legs of agents, without a client library.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};
use std::time::Duration;

use b2b_base::frame::{Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_call::LegId;
use b2b_call::agent::{FEW_CALLS, 
    AgentConfig, AgentError, AgentEvent, AgentService, CallOptions, Codec, LegAudio, Signalling, SrtpPolicy,
};

/// Generous: a loaded machine is slow, but a broken agent never gets there.
const PATIENCE: Duration = Duration::from_secs(20);

struct Level(i16);

impl FrameSource for Level {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        frame.samples.fill(self.0);
        Fill::Audio
    }
}

/// The most recent audio level.
#[derive(Clone, Default)]
struct Heard(Arc<AtomicI16>);

impl FrameSink for Heard {
    fn frame(&mut self, frame: &InFrame<'_>) {
        if frame.kind == FrameKind::Audio {
            self.0.store(frame.samples[80], Ordering::Relaxed);
        }
    }
}

impl Heard {
    fn is(&self, level: i16) -> bool {
        (i32::from(self.0.load(Ordering::Relaxed)) - i32::from(level)).abs() < 600
    }
}

fn agent() -> AgentService {
    let config = AgentConfig {
        user: "agent".to_owned(),
        identity: None,
        signalling: Signalling::default(),
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        codecs: vec![Codec::Pcmu],
        ptime_ms: 20,
        srtp: SrtpPolicy::Off,
        jitter_ms: 60,
        rate_hz: 8_000,
        impairment: None,
        rtp_timeout: PATIENCE,
        sip_trace: None,
        packet_log: None,
        attributes: Vec::new(),
        watch: false,
        options: CallOptions::default(),
        limits: FEW_CALLS,
        seed: rand::random(),
    };
    AgentService::start(config).expect("started")
}

fn audio(says: i16, heard: &Heard) -> LegAudio {
    LegAudio { source: Box::new(Level(says)), sink: Box::new(heard.clone()) }
}

/// Runs both agents until the condition holds.
async fn until(agents: &mut [AgentService; 2], what: &str, mut holds: impl FnMut() -> bool) {
    let moved = async {
        while !holds() {
            for agent in agents.iter_mut() {
                let _ = tokio::time::timeout(Duration::from_millis(5), agent.next_event()).await;
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, moved).await.is_ok(), "in vain: {what}");
}

#[tokio::test]
async fn a_leg_that_is_up_gets_other_audio() {
    let mut agents = [agent(), agent()];
    let (here, there, later) = (Heard::default(), Heard::default(), Heard::default());
    let target = format!("sip:agent@{}", agents[1].local());
    let ours = agents[0].dial(&target, audio(4_000, &here)).expect("dialled");
    let theirs = loop {
        let [caller, callee] = &mut agents;
        tokio::select! {
            _ = caller.next_event() => {}
            event = callee.next_event() => if let AgentEvent::Incoming { leg, .. } = event { break leg },
        }
    };
    agents[1].answer(theirs, audio(8_000, &there)).expect("answered");
    until(&mut agents, "both are heard", || here.is(8_000) && there.is(4_000)).await;
    agents[0].attach(ours, audio(-12_000, &later)).expect("attached");
    until(&mut agents, "the new ones are heard", || later.is(8_000) && there.is(-12_000)).await;
    let nobody = agents[0].attach(LegId(99), audio(0, &here));
    assert!(matches!(nobody, Err(AgentError::NoSuchLeg)), "{nobody:?}");
}

#[tokio::test]
async fn audio_attached_before_the_answer_is_what_the_leg_begins_with() {
    let mut agents = [agent(), agent()];
    let (first, second, there) = (Heard::default(), Heard::default(), Heard::default());
    let target = format!("sip:agent@{}", agents[1].local());
    let ours = agents[0].dial(&target, audio(4_000, &first)).expect("dialled");
    agents[0].attach(ours, audio(-4_000, &second)).expect("attached");
    let theirs = loop {
        let [caller, callee] = &mut agents;
        tokio::select! {
            _ = caller.next_event() => {}
            event = callee.next_event() => if let AgentEvent::Incoming { leg, .. } = event { break leg },
        }
    };
    agents[1].answer(theirs, audio(8_000, &there)).expect("answered");
    until(&mut agents, "the second one is heard", || second.is(8_000) && there.is(-4_000)).await;
    assert!(first.is(0), "the first one was never there");
}
