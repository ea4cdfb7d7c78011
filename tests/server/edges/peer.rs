//! A peer with its own socket, and the server with which it communicates.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Limits, Message, Method, Name, Request, RequestWriter, Response, ResponseWriter};
use bytes::Bytes;

use crate::common::child::{B2b, PATIENCE, b2b};

pub const SESSION: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                             m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\n";

/// A server with these lines in its configuration, on a free port.
pub fn server(folder: &Path, server: &str, lines: &str) -> (B2b, SocketAddr) {
    write(folder, server, lines);
    let path = folder.join("b2bua.toml");
    let mut child = b2b(&["--role", "b2bua", "--config", path.to_str().expect("UTF-8")]);
    let address = child.ready();
    (child, address)
}

/// Writes its configuration; `server` goes into `[server]`.
pub fn write(folder: &Path, server: &str, lines: &str) {
    let text = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\"]\ndomains = [\"b2b.example\"]\n\
         store = \"memory\"\n{server}\n[http]\nlisten = \"off\"\n{lines}"
    );
    fs::write(folder.join("b2bua.toml"), text).expect("a file");
}

/// A phone, a trunk, or a stranger.
pub struct Peer {
    pub socket: UdpSocket,
    pub at: SocketAddr,
    pub server: SocketAddr,
    pub count: u32,
}

impl Peer {
    /// At this address, on a free port.
    pub fn new(address: [u8; 4], server: SocketAddr) -> Peer {
        let socket = UdpSocket::bind((Ipv4Addr::from(address), 0)).expect("loopback");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let at = socket.local_addr().expect("an address");
        Peer { socket, at, server, count: 0 }
    }

    /// The common fields of a request.
    pub fn request(&mut self, method: &Method, uri: &str, call: &str, number: u32) -> RequestWriter {
        self.count += 1;
        let (at, count) = (self.at, self.count);
        RequestWriter::new(method, uri.as_bytes())
            .header_fmt(Name::Via, format_args!("SIP/2.0/UDP {at};branch=z9hG4bK{call}x{count};rport"))
            .header(Name::MaxForwards, "70")
            .header_fmt(Name::From, format_args!("<sip:ann@b2b.example>;tag={call}"))
            .header(Name::CallId, call)
            .header_fmt(Name::CSeq, format_args!("{number} {method}"))
    }

    /// An INVITE for this number.
    pub fn invite(&mut self, number: &str, call: &str, cseq: u32, credentials: &Authorized) -> Bytes {
        let (uri, at) = (format!("sip:{number}@{}", self.server), self.at);
        let mut invite = self
            .request(&Method::Invite, &uri, call, cseq)
            .header_fmt(Name::To, format_args!("<{uri}>"))
            .header_fmt(Name::Contact, format_args!("<sip:ann@{at}>"));
        for (name, value) in &credentials.headers {
            invite = invite.header(Name::parse(name), value);
        }
        invite.body("application/sdp", SESSION).finish().expect("a request")
    }

    /// A REGISTER of this user with this contact.
    pub fn registration(
        &mut self,
        user: &str,
        contact: &str,
        (call, cseq): (&str, u32),
        credentials: &Authorized,
    ) -> Bytes {
        let mut register = self
            .request(&Method::Register, "sip:b2b.example", call, cseq)
            .header_fmt(Name::To, format_args!("<sip:{user}@b2b.example>"))
            .header_fmt(Name::Contact, format_args!("<{contact}>"))
            .header(Name::Expires, "600");
        for (name, value) in &credentials.headers {
            register = register.header(Name::parse(name), value);
        }
        register.finish().expect("a request")
    }

    pub fn send(&self, data: &[u8]) {
        self.socket.send_to(data, self.server).expect("loopback");
    }

    /// The next datagram within this time.
    pub fn datagram(&self, patience: Duration) -> Option<Bytes> {
        let begun = Instant::now();
        let mut data = [0; 8_192];
        loop {
            if let Ok(length) = self.socket.recv(&mut data) {
                return Some(Bytes::copy_from_slice(&data[..length]));
            }
            if begun.elapsed() >= patience {
                return None;
            }
        }
    }

    /// The next message within this time.
    pub fn message(&self, patience: Duration) -> Option<Message> {
        let begun = Instant::now();
        loop {
            let data = self.datagram(patience.saturating_sub(begun.elapsed()))?;
            if let Ok(message) = Message::parse(data, &Limits::default()) {
                return Some(message);
            }
        }
    }

    /// The final response to the request, which is retransmitted until then.
    pub fn ask(&mut self, request: &Bytes, call: &str, cseq: u32) -> Response {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            self.send(request);
            while let Some(message) = self.message(Duration::from_millis(500)) {
                let Message::Response(response) = message else { continue };
                let ours = response.call_id().is_ok_and(|it| it == call.as_bytes())
                    && response.cseq().is_ok_and(|it| it.number == cseq);
                if ours && response.status() >= 200 {
                    return response;
                }
            }
        }
        panic!("no answer to {}", String::from_utf8_lossy(request));
    }

    /// Registers with a password; returns the last status.
    pub fn register(&mut self, user: &str, password: &str, contact: &str, call: &str) -> u16 {
        let mut digest = DigestClient::new(user, password, [7; 32]);
        let first = self.registration(user, contact, (call, 1), &Authorized::default());
        let response = self.ask(&first, call, 1);
        if digest.challenged(&response, &Authorized::default()).is_err() {
            return response.status();
        }
        let credentials = digest.authorize(&Method::Register, b"sip:b2b.example");
        let second = self.registration(user, contact, (call, 2), &credentials);
        self.ask(&second, call, 2).status()
    }

    /// The next request of this method; others are answered with 200.
    pub fn wait_for(&mut self, method: &Method) -> Request {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(Message::Request(request)) = self.message(Duration::from_millis(200)) {
                if request.method() == method {
                    return request;
                }
                if *request.method() != Method::Ack {
                    self.answer(&request, 200, &[]);
                }
            }
        }
        panic!("no {method}");
    }

    /// Answers a request; a 200 to an INVITE has a session.
    pub fn answer(&self, request: &Request, status: u16, headers: &[(Name<'static>, &str)]) {
        let reason = if status == 200 { "OK" } else { "No" };
        let mut response = ResponseWriter::reply_to(request, status, reason, Some("peer"));
        for (name, value) in headers {
            response = response.header(*name, value);
        }
        if *request.method() == Method::Invite && status == 200 {
            response = response
                .header_fmt(Name::Contact, format_args!("<sip:peer@{}>", self.at))
                .body("application/sdp", SESSION);
        }
        self.send(&response.finish().expect("a response"));
    }

    /// This peer calls, and the other one answers; returns its 200.
    pub fn call(&mut self, callee: &mut Peer, number: &str, call: &str) -> Response {
        let invite = self.invite(number, call, 1, &Authorized::default());
        self.send(&invite);
        let theirs = callee.wait_for(&Method::Invite);
        callee.answer(&theirs, 200, &[]);
        let ok = loop {
            match self.message(PATIENCE) {
                // A final response to an earlier INVITE may be repeated.
                Some(Message::Response(response))
                    if response.status() >= 200
                        && response.call_id().is_ok_and(|it| it == call.as_bytes()) =>
                {
                    break response;
                }
                Some(_) => {}
                None => panic!("no answer"),
            }
        };
        assert_eq!(ok.status(), 200);
        let ack = self.in_call(&Method::Ack, &ok, call, 1);
        self.send(&ack);
        callee.wait_for(&Method::Ack);
        ok
    }

    /// A request in the call established by this 200.
    pub fn in_call(&mut self, method: &Method, ok: &Response, call: &str, cseq: u32) -> Bytes {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let target = text(ok.contact().expect("a Contact").expect("a URI").uri.raw);
        let to = text(ok.header(Name::To).expect("a To"));
        self.request(method, &target, call, cseq).header(Name::To, &to).finish().expect("a request")
    }
}
