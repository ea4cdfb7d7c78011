//! A raw UDP socket that speaks SIP.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Generous, because a loaded machine is slow; reached only on failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub const OFFER: &str = "v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio 39998 RTP/AVP 8 0\r\n";

/// The socket, and its address.
pub struct Peer {
    pub socket: UdpSocket,
    pub local: SocketAddr,
}

impl Default for Peer {
    fn default() -> Self {
        Peer::new()
    }
}

impl Peer {
    pub fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let local = socket.local_addr().expect("address");
        Peer { socket, local }
    }

    pub fn send(&self, to: SocketAddr, message: &str) {
        self.socket.send_to(message.as_bytes(), to).expect("sent");
    }

    /// The next message, if one comes within the socket's time limit.
    pub fn received(&self) -> Option<String> {
        let mut buffer = [0; 65_535];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// The next message that begins like this; others are skipped.
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

    /// A request in the dialog established by `ok`, the 200 to the local INVITE.
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
