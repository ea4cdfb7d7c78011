//! A peer whose SIP and RTP are written by hand, and helpers for clients connected to it.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{PATIENCE, within};
use b2b_client::{Call, ClientBuilder, ClientEvent, Codec, Events, IncomingCalls, SipClient};

/// A client with G.711, which a hand-written peer can decode.
pub fn builder(name: &str) -> ClientBuilder {
    SipClient::builder().identity(format!("sip:{name}@127.0.0.1")).codecs([Codec::Pcmu]).rate_hz(8_000)
}

pub async fn client(name: &str) -> (SipClient, IncomingCalls) {
    started(builder(name)).await
}

pub async fn started(builder: ClientBuilder) -> (SipClient, IncomingCalls) {
    let client = builder.build().expect("a client");
    let incoming = client.incoming().await.expect("calls");
    (client, incoming)
}

/// An established call, at both ends.
pub async fn connected_to(from: &SipClient, to: &SipClient, incoming: &mut IncomingCalls) -> (Call, Call) {
    let ours = from.call(to.uri().expect("started")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("it rings");
    let theirs = within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", ours.wait_for_answer()).await.expect("answered");
    (ours, theirs)
}

/// Waits for an event; returns it with those before it.
pub async fn until(
    events: &mut Events,
    what: &str,
    mut wanted: impl FnMut(&ClientEvent) -> bool,
) -> Vec<ClientEvent> {
    let mut seen = Vec::new();
    // The limit applies to the whole search, because quality reports keep coming.
    let search = async {
        loop {
            let event = events.next().await;
            let event = event.unwrap_or_else(|| panic!("{what}: the stream has ended after {seen:?}"));
            let found = wanted(&event);
            seen.push(event);
            if found {
                return;
            }
        }
    };
    within(what, search).await;
    seen
}

/// A hand-written peer: it blocks, which does not affect the client's own threads.
pub struct Hand {
    sip: UdpSocket,
    pub local: SocketAddr,
    pub rtp: UdpSocket,
    seen: HashSet<String>,
}

/// A received message, and its source.
pub struct Came {
    pub text: String,
    pub from: SocketAddr,
}

impl Came {
    pub fn field(&self, name: &str) -> &str {
        field(&self.text, name)
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The RTP address in this session description.
    pub fn rtp(&self) -> SocketAddr {
        let line = self.body().lines().find(|line| line.starts_with("m=audio ")).expect("audio");
        let port = line.split(' ').nth(1).and_then(|port| port.parse().ok()).expect("a port");
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

pub fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let mut lines = text.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": "));
    lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value).unwrap_or_default()
}

impl Default for Hand {
    fn default() -> Self {
        Hand::new()
    }
}

impl Hand {
    pub fn new() -> Self {
        let sip = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let rtp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for socket in [&sip, &rtp] {
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        }
        let local = sip.local_addr().expect("bound");
        Hand { sip, local, rtp, seen: HashSet::new() }
    }

    pub fn uri(&self) -> String {
        format!("sip:hand@{}", self.local)
    }

    /// A local description, in PCMU.
    pub fn sdp(&self, direction: &str) -> String {
        let port = self.rtp.local_addr().expect("bound").port();
        format!(
            "v=0\r\no=hand 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na={direction}\r\n"
        )
    }

    pub fn send(&self, to: SocketAddr, text: &str) {
        self.sip.send_to(text.as_bytes(), to).expect("sent");
    }

    /// The next message that begins like this; retransmissions and others are skipped.
    pub fn expect(&mut self, start: &str) -> Came {
        let until = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        while Instant::now() < until {
            let Some(came) = self.next_message() else { break };
            if came.text.starts_with(start) {
                return came;
            }
            others.push(came.text.lines().next().unwrap_or_default().to_owned());
        }
        panic!("no {start}, but {others:?}");
    }

    /// The next message that is not a retransmission.
    pub fn next_message(&mut self) -> Option<Came> {
        let mut buffer = [0; 65_535];
        loop {
            let (length, from) = self.sip.recv_from(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if self.seen.insert(text.clone()) {
                return Some(Came { text, from });
            }
        }
    }

    /// Answers a request; `headers` are whole lines.
    pub fn answer(&self, request: &Came, status: &str, headers: &str, body: &str) {
        let tag = if request.field("To").contains(";tag=") { "" } else { ";tag=hand" };
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:hand@{}>\r\n{headers}{content}Content-Length: {}\r\n\r\n{body}",
            request.field("Via"),
            request.field("From"),
            request.field("To"),
            request.field("Call-ID"),
            request.field("CSeq"),
            self.local,
            body.len(),
        );
        self.send(request.from, &text);
    }

    /// A request outside a dialog.
    pub fn request(&self, method: &str, target: &str, call_id: &str, headers: &str, body: &str) -> String {
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{call_id}\r\n\
             From: <sip:hand@{local}>;tag=hand\r\nTo: <{target}>\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:hand@{local}>\r\nMax-Forwards: 70\r\n{headers}{content}Content-Length: {}\r\n\r\n{body}",
            body.len(),
            local = self.local,
        )
    }

    /// A request in a dialog. `other` is a message of the far end in it: its request, or its response to a
    /// local one.
    pub fn in_dialog(&self, method: &str, cseq: &str, other: &Came, headers: &str) -> String {
        let theirs = other.text.starts_with("SIP/2.0");
        let (from, to) = if theirs { ("From", "To") } else { ("To", "From") };
        let tag = if other.field(from).contains(";tag=") { "" } else { ";tag=hand" };
        let target = other.field("Contact").trim_start_matches('<').split('>').next().unwrap_or_default();
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{method}-{}\r\n\
             From: {}{tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:hand@{local}>\r\nMax-Forwards: 70\r\n{headers}{}",
            cseq.replace(' ', "-"),
            other.field(from),
            other.field(to),
            other.field("Call-ID"),
            if headers.contains("\r\n\r\n") { "" } else { "Content-Length: 0\r\n\r\n" },
            local = self.local,
        )
    }

    /// Takes the client's call; returns its INVITE, which was answered.
    pub fn take_call(&mut self) -> Came {
        let invite = self.expect("INVITE");
        self.answer(&invite, "200 OK", "", &self.sdp("sendrecv"));
        self.expect("ACK");
        invite
    }

    /// Waits for a PCMU packet whose largest sample satisfies the condition.
    pub fn hears(&self, what: &str, mut pleases: impl FnMut(i16) -> bool) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if pleases(self.loudness()) {
                return;
            }
        }
        panic!("{what}: never heard");
    }

    /// The largest sample of the next PCMU packet.
    pub fn loudness(&self) -> i16 {
        let mut buffer = [0; 2_048];
        loop {
            let length = self.rtp.recv(&mut buffer).expect("a packet");
            if length > 12 && buffer[1] & 0x7f == 0 {
                return buffer[12..length].iter().map(|code| ulaw(*code).saturating_abs()).max().unwrap_or(0);
            }
        }
    }

    /// Sends `count` packets of PCMU, 20 ms apart.
    pub fn speaks(&self, to: SocketAddr, count: u16) {
        for n in 0..count {
            let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9];
            packet[2..4].copy_from_slice(&n.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(n) * 160).to_be_bytes());
            packet.extend([0x90; 160]);
            self.rtp.send_to(&packet, to).expect("sent");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// ITU-T G.711 µ-law.
fn ulaw(code: u8) -> i16 {
    let code = !code;
    let magnitude = ((i16::from(code & 0x0f) << 3) + 0x84) << ((code >> 4) & 7);
    let value = magnitude - 0x84;
    if code & 0x80 != 0 { -value } else { value }
}
