//! A SIP server whose responses are written by hand in a test.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::within;

/// A server with its own address.
pub struct Hand {
    socket: UdpSocket,
    /// Branches received so far: messages that repeat one are retransmissions.
    heard: RefCell<HashSet<(String, String)>>,
}

/// A received message.
#[derive(Debug, Clone)]
pub struct Heard {
    pub text: String,
    pub from: SocketAddr,
}

impl Heard {
    /// The first header field of this name.
    pub fn find(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.split("\r\n\r\n").next().unwrap_or_default().lines().skip(1);
        lines.find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn field(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {}", self.text))
    }

    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The number in CSeq.
    pub fn number(&self) -> u32 {
        self.field("CSeq").split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// A parameter of its credentials.
    pub fn credential(&self, name: &str) -> String {
        let value = self.find("Authorization").or_else(|| self.find("Proxy-Authorization"));
        let value = value.unwrap_or_else(|| panic!("no credentials in {}", self.text));
        let found = value
            .trim_start_matches("Digest ")
            .split(", ")
            .find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {value}")).trim_matches('"').to_owned()
    }
}

impl Hand {
    pub async fn new() -> Hand {
        Hand::at("127.0.0.1:0".parse().expect("an address")).await
    }

    pub async fn at(address: SocketAddr) -> Hand {
        Hand { socket: UdpSocket::bind(address).await.expect("loopback"), heard: RefCell::default() }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    pub fn uri(&self) -> String {
        format!("sip:{}", self.address())
    }

    /// The next message that begins like this; others, and retransmissions, are skipped.
    pub async fn hear(&self, beginning: &str) -> Heard {
        within(beginning, async {
            loop {
                let heard = self.next().await;
                if heard.text.starts_with(beginning) {
                    return heard;
                }
            }
        })
        .await
    }

    /// Waits for two line ends, which keep a NAT binding open; messages are skipped.
    pub async fn keep_alive(&self) {
        within("a keep-alive", async { while self.datagram().await != b"\r\n\r\n" {} }).await;
    }

    /// The next datagram, whatever its content.
    pub async fn datagram(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let (length, _) = self.socket.recv_from(&mut buffer).await.expect("a datagram");
        buffer.truncate(length);
        buffer
    }

    /// Sends this text unchanged.
    pub async fn send(&self, text: &str, to: SocketAddr) {
        self.socket.send_to(text.as_bytes(), to).await.expect("sent");
    }

    /// The next message.
    pub async fn next(&self) -> Heard {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).await.expect("a datagram");
            let heard = Heard { text: String::from_utf8_lossy(&buffer[..length]).into_owned(), from };
            let mut words = heard.text.split(' ');
            let method = words.by_ref().take(if heard.text.starts_with("SIP/2.0") { 2 } else { 1 }).collect();
            if let Some(via) = heard.find("Via")
                && self.heard.borrow_mut().insert((method, via.to_owned()))
            {
                return heard;
            }
        }
    }

    /// Answers with this status line, these lines, and a session description unless it is empty.
    pub async fn answer(&self, request: &Heard, status: &str, lines: &str, body: &str) {
        let to = request.field("To");
        let tag = if to.contains("tag=") { "" } else { ";tag=hand" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let response = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{lines}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            request.field("Via"),
            request.field("From"),
            request.field("Call-ID"),
            request.field("CSeq"),
            body.len()
        );
        self.socket.send_to(response.as_bytes(), request.from).await.expect("sent");
    }

    /// Grants a REGISTER for this many seconds.
    pub async fn grant(&self, register: &Heard, seconds: u32) {
        let lines = format!("Contact: {};expires={seconds}\r\n", register.field("Contact"));
        self.answer(register, "200 OK", &lines, "").await;
    }

    /// Challenges a request.
    pub async fn challenge(&self, request: &Heard, status: u16, algorithm: &str, nonce: &str) {
        let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let lines = format!(
            "{name}: Digest realm=\"here\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"\r\n"
        );
        self.answer(request, &format!("{status} Password"), &lines, "").await;
    }

    /// Answers a call with PCMU.
    pub async fn accept(&self, invite: &Heard) {
        self.accept_as(invite, &self.uri()).await;
    }

    /// The same with another Contact.
    pub async fn accept_as(&self, invite: &Heard, contact: &str) {
        self.accept_with(invite, contact, "sendrecv").await;
    }

    /// Answers a hold.
    pub async fn accept_held(&self, invite: &Heard) {
        self.accept_with(invite, &self.uri(), "recvonly").await;
    }

    async fn accept_with(&self, invite: &Heard, contact: &str, direction: &str) {
        let session = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na={direction}\r\n"
        );
        self.answer(invite, "200 OK", &format!("Contact: <{contact}>\r\n"), &session).await;
    }
}
