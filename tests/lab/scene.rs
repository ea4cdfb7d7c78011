//! A role as a program, and a raw socket that speaks SIP and RTP to it.

use std::net::{SocketAddr, UdpSocket};

use b2b::ua::Engine;

use crate::common::audio::{speech_like, write_wav};
use crate::common::child::{B2b, role};
use b2b_test_support::peer::{OFFER, Peer, header, reply, wait_until};

/// A sink and a raw caller.
pub struct Scene {
    pub sink: B2b,
    pub at: SocketAddr,
    pub peer: Peer,
    /// Number of calls that have ended.
    pub served: usize,
}

impl Scene {
    pub fn new(engine: Engine, more: &[&str]) -> Self {
        let mut sink = role(engine, "sink", &[&["--output", "null"], more].concat());
        let at = sink.ready();
        Scene { sink, at, peer: Peer::new(), served: 0 }
    }

    pub fn send(&self, message: &str) {
        self.peer.socket.send_to(message.as_bytes(), self.at).expect("sent");
    }

    /// Calls with this offer; returns the 200, which is acknowledged.
    pub fn call(&mut self, call: &str, offer: &str) -> String {
        self.send(&self.peer.invite(call, offer));
        let ok = self.peer.expect("SIP/2.0 200");
        self.send(&self.peer.in_dialog("ACK", 1, &ok, "", ""));
        self.sink.wait_for_line("the call is up");
        ok
    }

    /// Hangs up; the sink exits with 0.
    pub fn bye(&mut self, cseq: u32, ok: &str) {
        self.send(&self.peer.in_dialog("BYE", cseq, ok, "", ""));
        self.peer.expect("SIP/2.0 200");
        self.sink.assert_exit(0);
    }
}

/// The RTP address in an answer.
pub fn rtp_address(ok: &str) -> SocketAddr {
    let value = |name: &str| ok.lines().find_map(|line| line.strip_prefix(name)).expect("in the answer");
    let port = value("m=audio ").split(' ').next().unwrap_or_default().to_owned();
    format!("{}:{port}", value("c=IN IP4 ")).parse().expect("an address")
}

/// An RTP stream from its own socket, which the offer names.
pub struct Stream {
    pub socket: UdpSocket,
    pub to: Option<SocketAddr>,
}

impl Stream {
    pub fn new() -> Self {
        Stream { socket: UdpSocket::bind("127.0.0.1:0").expect("a socket"), to: None }
    }

    /// An offer of these payload types, of which PCMU is the first.
    pub fn offer(&self, payload_types: &str) -> String {
        let port = self.socket.local_addr().expect("bound").port();
        OFFER.replace("39998 RTP/AVP 8 0", &format!("{port} RTP/AVP {payload_types}"))
    }

    pub fn send(&self, payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&77u32.to_be_bytes());
        packet.extend_from_slice(payload);
        self.socket.send_to(&packet, self.to.expect("known")).expect("sent");
    }

    /// Sends one packet of silence, at its position.
    pub fn audio(&self, sequence: u16) {
        self.send(0, sequence, u32::from(sequence) * 160, &[0xff; 160]);
    }
}

impl Scene {
    /// Makes `count` calls with a little audio in each, one after another.
    pub fn calls(&mut self, name: &str, count: u32) {
        for n in 0..count {
            let mut stream = Stream::new();
            let call = format!("{name}-{n}");
            self.send(&self.peer.invite(&call, &stream.offer("0")));
            let ok = self.peer.expect("SIP/2.0 200");
            assert!(header(&ok, "Call-ID").starts_with(&call), "{ok}");
            self.send(&self.peer.in_dialog("ACK", 1, &ok, "", ""));
            stream.to = Some(rtp_address(&ok));
            (0..5).for_each(|sequence| stream.audio(sequence));
            self.send(&self.peer.in_dialog("BYE", 2, &ok, "", ""));
            loop {
                let ok = self.peer.expect("SIP/2.0 200");
                if header(&ok, "CSeq") == "2 BYE" {
                    break;
                }
            }
            self.served += 1;
            // The role is busy until it has processed the end of the call.
            let over =
                |sink: &B2b| sink.stderr().iter().filter(|line| line.contains("call has ended")).count();
            wait_until("the end of the call", || over(&self.sink) == self.served);
        }
    }
}

/// A source that calls a raw peer, and its INVITE.
pub fn calling(engine: Engine, peer: &Peer, more: &[&str]) -> (tempfile::TempDir, B2b, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let wav = dir.path().join("speech.wav");
    write_wav(&wav, 8_000, &speech_like(8_000, 30.0));
    let target = format!("sip:peer@{}", peer.local);
    let call = ["--target", &target, "--audio-file", wav.to_str().expect("UTF-8")];
    let source = role(engine, "source", &[&call, more].concat());
    let invite = peer.expect("INVITE ");
    (dir, source, invite)
}

/// The address in a request's Via, where its sender accepts requests.
pub fn sent_by(request: &str) -> SocketAddr {
    let via = header(request, "Via");
    via.split([' ', ';']).nth(1).and_then(|sent_by| sent_by.parse().ok()).expect("an address in Via")
}

/// The 200 to an INVITE, with this answer.
pub fn accepted(peer: &Peer, invite: &str, answer: &str) -> String {
    let body = format!(
        "Contact: <sip:peer@{}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{answer}",
        peer.local,
        answer.len()
    );
    let to = format!("To: {}", header(invite, "To"));
    let ok = reply(invite, "200 OK").replace(&to, &format!("{to};tag=p"));
    ok.replace("Content-Length: 0\r\n\r\n", &body)
}
