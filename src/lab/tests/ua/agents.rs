//! UAs of the native engine, and recognisable audio.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use b2b_lab::engine;
use b2b_test_support::peer::{PATIENCE, wait_until};
use b2b_ua::{
    Audio, CallId, Codec, EndCause, Engine, Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame, Ua,
    UaConfig, UaEvent,
};

pub fn config(user: &str, bind: &str) -> UaConfig {
    UaConfig {
        user: user.into(),
        bind: bind.parse().expect("address"),
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        ptime_ms: 20,
        jitter_ms: 60,
        impairment: None,
        rtp_timeout: Duration::from_secs(20),
        sip_trace: None,
        packet_log: None,
    }
}

pub fn open(user: &str, bind: &str) -> Box<dyn Ua> {
    engine::open(Engine::Native, config(user, bind)).expect("UA")
}

/// A source with a constant level.
pub struct Level(i16);

impl FrameSource for Level {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        frame.samples.fill(self.0);
        Fill::Audio
    }
}

#[derive(Clone, Default)]
pub struct Heard {
    /// Frames whose samples are all near the expected level.
    right: Arc<AtomicU64>,
    expected: i16,
}

impl FrameSink for Heard {
    fn frame(&mut self, frame: &InFrame<'_>) {
        let near = |sample: &i16| (i32::from(*sample) - i32::from(self.expected)).abs() < 600;
        if frame.kind == FrameKind::Audio && frame.samples.iter().all(near) {
            self.right.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Heard {
    pub fn level(expected: i16) -> Self {
        Heard { expected, ..Heard::default() }
    }

    pub fn wait_for(&self, frames: u64) {
        wait_until("audio is heard", || self.right.load(Ordering::Relaxed) >= frames);
    }
}

pub fn audio(says: i16, heard: &Heard) -> Audio {
    Audio { source: Box::new(Level(says)), sink: Box::new(heard.clone()) }
}

pub fn silence() -> Audio {
    audio(0, &Heard::default())
}

/// The next event that is not about media.
pub fn event(ua: &dyn Ua) -> UaEvent {
    loop {
        match ua.events().recv_timeout(PATIENCE).expect("an event") {
            UaEvent::MediaStarted { .. } | UaEvent::Progress { .. } => {}
            event => return event,
        }
    }
}

pub fn incoming(ua: &dyn Ua) -> CallId {
    match event(ua) {
        UaEvent::Incoming { call, .. } => call,
        other => panic!("no call came, but {other:?}"),
    }
}

pub fn answered(ua: &dyn Ua) -> CallId {
    match event(ua) {
        UaEvent::Answered { call, .. } => call,
        other => panic!("no answer came, but {other:?}"),
    }
}

pub fn ended(ua: &dyn Ua) -> EndCause {
    match event(ua) {
        UaEvent::Ended { cause, .. } => cause,
        other => panic!("no end came, but {other:?}"),
    }
}
