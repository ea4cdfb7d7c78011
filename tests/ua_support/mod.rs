//! What the tests of the native engine share: UAs, audio that can be recognised,
//! and a raw socket that speaks SIP.
#![allow(dead_code)] // Each test program uses its part.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use b2b::lab::engine;
use b2b::ua::{
    Audio, CallId, Codec, EndCause, Engine, Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame, Ua,
    UaConfig, UaEvent,
};

/// Generous: a loaded machine is slow, a broken engine never comes.
pub const PATIENCE: Duration = Duration::from_secs(20);

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

/// A steady level, and a count of what was heard of one.
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

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
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

pub const OFFER: &str = "v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio 39998 RTP/AVP 8 0\r\n";

/// A raw UDP socket that speaks SIP.
pub struct Peer {
    pub socket: UdpSocket,
    pub local: SocketAddr,
}

impl Peer {
    pub fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let local = socket.local_addr().expect("address");
        Peer { socket, local }
    }

    pub fn send(&self, ua: &dyn Ua, message: &str) {
        self.socket.send_to(message.as_bytes(), ua.local()).expect("sent");
    }

    /// The next message, if one comes within the socket's time limit.
    pub fn received(&self) -> Option<String> {
        let mut buffer = [0; 65_535];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// The next message that begins like this; others are passed over.
    pub fn expect(&self, start: &str) -> String {
        loop {
            let message = self.received().unwrap_or_else(|| panic!("no {start}"));
            if message.starts_with(start) {
                return message;
            }
        }
    }

    pub fn request(&self, method: &str, call: &str, headers: &str, body: &str) -> String {
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{call}-{method}\r\n\
             From: <sip:peer@{local}>;tag=peer-{call}\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: {call}@peer\r\n\
             CSeq: 1 {method}\r\nContact: <sip:peer@{local}>\r\n{headers}{content}Content-Length: {length}\r\n\r\n{body}",
            local = self.local,
            length = body.len()
        )
    }

    pub fn invite(&self, call: &str, body: &str) -> String {
        self.request("INVITE", call, "Max-Forwards: 70\r\n", body)
    }

    /// A request in the dialog that `ok`, the 200 to our INVITE, made.
    pub fn in_dialog(&self, method: &str, cseq: u32, ok: &str, content_type: &str, body: &str) -> String {
        let contact = header(ok, "Contact");
        let target = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
        let content =
            if body.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-{cseq}-{method}-{}\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:peer@{}>\r\n{content}\
             Content-Length: {}\r\n\r\n{body}",
            self.local,
            header(ok, "Call-ID").split('@').next().unwrap_or_default(),
            header(ok, "From"),
            header(ok, "To"),
            header(ok, "Call-ID"),
            self.local,
            body.len()
        )
    }
}

pub fn header(message: &str, name: &str) -> String {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name} in {message}"))
        .to_owned()
}

pub fn reply(request: &str, status: &str) -> String {
    let copied: String = request
        .lines()
        .filter(|line| {
            ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "].iter().any(|name| line.starts_with(name))
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    format!("SIP/2.0 {status}\r\n{copied}Content-Length: 0\r\n\r\n")
}
