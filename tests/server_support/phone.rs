//! A minimal phone: its messages are written out, received ones are text.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::child::PATIENCE;

mod refer;
mod user;

/// Ends [`Phone::agree`] when dropped, also if the test fails, which would otherwise wait forever for that
/// thread.
pub struct CallsOff<'a>(pub &'a AtomicBool);

impl Drop for CallsOff<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

pub struct Phone {
    name: &'static str,
    /// Tells its calls from those of a phone of the same name that had its port before.
    nth: u32,
    sip: UdpSocket,
    rtp: UdpSocket,
    /// The address in its descriptions.
    told: Ipv4Addr,
    /// The port in its descriptions, if not that of its media.
    pub told_port: Option<u16>,
    /// Payload type for telephone events, if supported.
    pub events: Option<u8>,
    /// Value of its Allow, if any.
    pub allows: Option<&'static str>,
    /// Its payload types, and their attribute lines.
    formats: (&'static str, String),
    /// The profile of its audio line.
    pub profile: &'static str,
    described: fn(String) -> String,
}

/// State for further requests in a call.
pub struct Dialog {
    from: String,
    to: String,
    call_id: String,
    peer: SocketAddr,
}

static PHONES: AtomicU32 = AtomicU32::new(0);

impl Phone {
    pub fn new(name: &'static str) -> Phone {
        Phone::at(name, [Ipv4Addr::LOCALHOST; 3])
    }

    /// A phone with these addresses for signalling and media, whose descriptions give the third as media
    /// address.
    pub fn at(name: &'static str, [sip, rtp, told]: [Ipv4Addr; 3]) -> Phone {
        let socket = |ip| {
            let socket = UdpSocket::bind((ip, 0)).expect("loopback");
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
            socket
        };
        Phone {
            name,
            nth: PHONES.fetch_add(1, Ordering::Relaxed),
            sip: socket(sip),
            rtp: socket(rtp),
            told,
            told_port: None,
            events: None,
            allows: None,
            formats: ("8", String::new()),
            profile: "RTP/AVP",
            described: |description| description,
        }
    }

    /// Changes each of its descriptions in this way.
    pub fn described(mut self, change: fn(String) -> String) -> Phone {
        self.described = change;
        self
    }

    /// Sets these payload types, with these lines (each ends with CR and LF).
    pub fn speaking(mut self, types: &'static str, lines: &str) -> Phone {
        self.formats = (types, lines.to_owned());
        self
    }

    /// Moves its media to another port, which its next description gives.
    pub fn moves(&mut self) {
        let ip = self.rtp().ip();
        self.rtp = UdpSocket::bind((ip, 0)).expect("loopback");
        self.rtp.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    }

    pub fn uri(&self) -> String {
        format!("sip:{}@{}", self.name, self.sip.local_addr().expect("an address"))
    }

    fn session(&self) -> String {
        let (ip, (types, lines), profile) = (self.told, &self.formats, self.profile);
        let port = self.told_port.unwrap_or(self.rtp().port());
        let (number, line) = match self.events {
            Some(event) => (format!(" {event}"), format!("a=rtpmap:{event} telephone-event/8000\r\n")),
            None => (String::new(), String::new()),
        };
        (self.described)(format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} {profile} {types}{number}\r\n{lines}{line}"
        ))
    }

    fn allow(&self) -> String {
        self.allows.map(|methods| format!("Allow: {methods}\r\n")).unwrap_or_default()
    }

    /// The next message that begins like this; others are skipped.
    pub fn hear(&self, beginning: &str) -> (String, SocketAddr) {
        let (start, mut buffer) = (Instant::now(), vec![0; 65_536]);
        while start.elapsed() < PATIENCE {
            let Ok((length, from)) = self.sip.recv_from(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with(beginning) {
                return (text, from);
            }
        }
        panic!("{} has heard no {beginning:?}", self.name);
    }

    /// The next message that begins like this, if one has arrived by now; others are skipped.
    pub fn next(&self, beginning: &str) -> Option<(String, SocketAddr)> {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = self.sip.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with(beginning) {
                return Some((text, from));
            }
        }
        None
    }

    /// Calls a number, and acknowledges the answer.
    pub fn call(&self, server: SocketAddr, number: &str) -> Dialog {
        let (from, call_id) = self.ask_for(server, number);
        let (answer, _) = self.hear("SIP/2.0 200");
        let dialog = Dialog { from, to: field(&answer, "To"), call_id, peer: server };
        self.request(&dialog, "ACK", 1);
        dialog
    }

    /// Acknowledges this response to its INVITE.
    pub fn confirmed(&self, answer: &str, (from, call_id): (String, String), server: SocketAddr) -> Dialog {
        let dialog = Dialog { from, to: field(answer, "To"), call_id, peer: server };
        self.request(&dialog, "ACK", 1);
        dialog
    }

    /// Sends an INVITE; returns its From and Call-ID.
    pub fn ask_for(&self, server: SocketAddr, number: &str) -> (String, String) {
        self.ask_with(server, number, "")
    }

    /// The same with further header fields.
    pub fn ask_with(&self, server: SocketAddr, number: &str, more: &str) -> (String, String) {
        self.ask_in(server, number, &format!("{}-{}", self.name, self.nth), more)
    }

    fn ask_in(&self, server: SocketAddr, number: &str, call_id: &str, more: &str) -> (String, String) {
        let (at, body) = (self.sip.local_addr().expect("an address"), self.session());
        let (name, call_id) = (self.name, call_id.to_owned());
        let from = format!("<sip:{name}@{at}>;tag={name}");
        let more = format!("{}{more}", self.allow());
        let invite = format!(
            "INVITE sip:{number}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: <sip:{number}@{server}>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:{name}@{at}>\r\n{more}Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.say(&invite, server);
        (from, call_id)
    }

    /// Answers the next incoming call.
    pub fn answer(&self) -> Dialog {
        let (invite, peer) = self.hear("INVITE");
        self.answer_to(&invite, peer)
    }

    /// Sends 180 for this call.
    pub fn ring_to(&self, invite: &str, peer: SocketAddr) {
        let to = format!("{};tag={}", field(invite, "To"), self.name);
        self.respond_with("180 Ringing", invite, &to, "", "", peer);
    }

    /// Sends 183 with early media.
    pub fn progress_to(&self, invite: &str, peer: SocketAddr) {
        let to = format!("{};tag={}", field(invite, "To"), self.name);
        let more = format!("Contact: <{}>\r\nContent-Type: application/sdp\r\n", self.uri());
        self.respond_with("183 Session Progress", invite, &to, &more, &self.session(), peer);
    }

    /// Answers this call.
    pub fn answer_to(&self, invite: &str, peer: SocketAddr) -> Dialog {
        let to = format!("{};tag={}", field(invite, "To"), self.name);
        let body = self.session();
        let allow = self.allow();
        let more = format!("Contact: <{}>\r\n{allow}Content-Type: application/sdp\r\n", self.uri());
        self.respond(invite, &to, &more, &body, peer);
        self.hear("ACK");
        // The local party comes first.
        Dialog { from: to, to: field(invite, "From"), call_id: field(invite, "Call-ID"), peer }
    }

    /// Hangs up, and waits for the response.
    pub fn hang_up(&self, dialog: &Dialog) {
        // A CSeq after all its other requests.
        self.request(dialog, "BYE", 1_000);
        self.hear("SIP/2.0 200");
    }

    /// Waits for the far end to hang up; returns the Call-ID.
    pub fn let_go(&self) -> String {
        let (bye, peer) = self.hear("BYE");
        self.agree_to(&bye, peer);
        field(&bye, "Call-ID")
    }

    /// Refuses an INVITE.
    pub fn refuse_to(&self, status: &str, invite: &str, peer: SocketAddr) {
        let to = format!("{};tag={}", field(invite, "To"), self.name);
        self.respond_with(status, invite, &to, "", "", peer);
    }

    /// Grants a registration, with further header fields.
    pub fn grant(&self, register: &str, peer: SocketAddr, more: &str) {
        self.grant_for(600, register, peer, more);
    }

    /// The same for `seconds`.
    pub fn grant_for(&self, seconds: u32, register: &str, peer: SocketAddr, more: &str) {
        let to = format!("{};tag={}", field(register, "To"), self.name);
        let more = format!("Contact: {};expires={seconds}\r\n{more}", field(register, "Contact"));
        self.respond(register, &to, &more, "", peer);
    }

    /// Challenges a request for this realm.
    pub fn challenge(&self, request: &str, peer: SocketAddr, realm: &str) {
        let to = format!("{};tag={}", field(request, "To"), self.name);
        let more = format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"1\"\r\n");
        self.respond_with("401 Unauthorized", request, &to, &more, "", peer);
    }

    /// Answers 200 to a request.
    pub fn agree_to(&self, request: &str, peer: SocketAddr) {
        self.respond(request, &field(request, "To"), "", "", peer);
    }

    /// Whether a message that begins like this has arrived by now.
    pub fn has_heard(&self, beginning: &str) -> bool {
        let (mut buffer, mut found) = (vec![0; 65_536], false);
        while let Ok((length, _)) = self.sip.recv_from(&mut buffer) {
            found |= buffer[..length].starts_with(beginning.as_bytes());
        }
        found
    }

    /// Sends this many packets of silence to the far end's address.
    pub fn speak(&self, to: SocketAddr, packets: u16) {
        for n in 0..packets {
            let mut packet = vec![0x80, 8];
            packet.extend_from_slice(&n.to_be_bytes());
            packet.extend_from_slice(&(u32::from(n) * 160).to_be_bytes());
            packet.extend_from_slice(&7u32.to_be_bytes());
            packet.resize(172, 0xd5);
            self.rtp.send_to(&packet, to).expect("loopback");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends packet `n` of G.711 A-law, 20 ms of audio.
    pub fn sound(&self, to: SocketAddr, n: u16, payload: &[u8; 160]) {
        self.other_packet(to, (8, n, u32::from(n) * 160), payload);
    }

    /// Sends a packet of another format.
    pub fn other_packet(&self, to: SocketAddr, (payload_type, n, timestamp): (u8, u16, u32), payload: &[u8]) {
        let head =
            [&[0x80, payload_type][..], &n.to_be_bytes(), &timestamp.to_be_bytes(), &7u32.to_be_bytes()];
        self.rtp.send_to(&[&head.concat(), payload].concat(), to).expect("loopback");
    }

    /// Presses a key for 100 ms, as a telephone event with this payload type; `n` is the sequence number of
    /// its first packet.
    pub fn press_event(&self, to: SocketAddr, n: u16, payload_type: u8, code: u8) {
        for packet in event(n, payload_type, code) {
            self.rtp.send_to(&packet, to).expect("loopback");
        }
    }

    /// Sends a packet of that payload type, sequence number and timestamp.
    pub fn packet(&self, to: SocketAddr, payload_type: u8, n: u16, timestamp: u32) {
        self.other_packet(to, (payload_type, n, timestamp), &[0xd5; 160]);
    }

    /// Requests another direction of its media, and acknowledges the response, which it returns.
    pub fn change(&self, dialog: &Dialog, cseq: u32, direction: &str) -> String {
        let body =
            format!("{}a={direction}\r\n", self.session().replacen("o=- 1 1", &format!("o=- 1 {cseq}"), 1));
        let more = format!("Contact: <{}>\r\nContent-Type: application/sdp\r\n", self.uri());
        self.request_with(dialog, "INVITE", cseq, &more, &body);
        let (answer, _) = self.hear("SIP/2.0 200");
        self.request(dialog, "ACK", cseq);
        answer
    }

    /// Answers the next re-INVITE with this direction; returns that INVITE.
    pub fn answer_again(&self, direction: &str) -> String {
        let (invite, peer) = self.hear("INVITE");
        let body = format!("{}a={direction}\r\n", self.session());
        let more = format!("Contact: <{}>\r\nContent-Type: application/sdp\r\n", self.uri());
        self.respond(&invite, &field(&invite, "To"), &more, &body, peer);
        self.hear("ACK");
        invite
    }

    /// Refuses the next INVITE; returns it.
    pub fn refuse_again(&self, status: &str) -> String {
        let (invite, peer) = self.hear("INVITE");
        self.respond_with(status, &invite, &field(&invite, "To"), "", "", peer);
        self.hear("ACK");
        invite
    }

    /// Payloads received so far, and within a moment.
    pub fn payloads(&self) -> Vec<Vec<u8>> {
        let (start, mut buffer, mut found) = (Instant::now(), [0; 2_048], Vec::new());
        while start.elapsed() < Duration::from_millis(300) {
            let Ok((length, _)) = self.rtp.recv_from(&mut buffer) else { break };
            found.push(buffer[12.min(length)..length].to_vec());
        }
        found
    }

    /// Presses a key, by INFO.
    pub fn press(&self, dialog: &Dialog, cseq: u32, key: char) {
        let body = format!("Signal={key}\r\nDuration=100\r\n");
        self.request_with(dialog, "INFO", cseq, "Content-Type: application/dtmf-relay\r\n", &body);
        self.hear("SIP/2.0 200");
    }

    /// Answers 200 to every request, until it is called off.
    pub fn agree(&self, over: &AtomicBool) {
        let mut buffer = vec![0; 65_536];
        while !over.load(Ordering::Acquire) {
            let Ok((length, from)) = self.sip.recv_from(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("INVITE") {
                let body = self.session();
                let more = format!("Contact: <{}>\r\nContent-Type: application/sdp\r\n", self.uri());
                self.respond(&text, &field(&text, "To"), &more, &body, from);
            } else if !text.starts_with("ACK") && !text.starts_with("SIP/2.0") {
                self.respond(&text, &field(&text, "To"), "", "", from);
            }
        }
    }

    /// Its RTP address.
    pub fn rtp(&self) -> SocketAddr {
        self.rtp.local_addr().expect("an address")
    }

    /// The source of the next packet, if one arrives soon.
    pub fn heard_from(&self) -> Option<SocketAddr> {
        self.rtp.recv_from(&mut [0; 2_048]).ok().map(|(_, from)| from)
    }

    /// The next `packets` packets that it hears.
    pub fn listen(&self, packets: usize) -> Vec<Vec<u8>> {
        let (start, mut buffer, mut heard) = (Instant::now(), [0; 2_048], Vec::new());
        while heard.len() < packets {
            assert!(start.elapsed() < PATIENCE, "{} has heard {} of {packets}", self.name, heard.len());
            let Ok((length, _)) = self.rtp.recv_from(&mut buffer) else { continue };
            heard.push(buffer[..length].to_vec());
        }
        heard
    }

    /// Packets received by now.
    pub fn packets_by_now(&self) -> Vec<Vec<u8>> {
        let (mut buffer, mut found) = ([0; 2_048], Vec::new());
        self.rtp.set_nonblocking(true).expect("a socket");
        while let Ok((length, _)) = self.rtp.recv_from(&mut buffer) {
            found.push(buffer[..length].to_vec());
        }
        self.rtp.set_nonblocking(false).expect("a socket");
        found
    }

    /// Whether a matching packet has arrived.
    pub fn heard(&self, like: impl Fn(&[u8]) -> bool) -> bool {
        let (mut buffer, mut found) = ([0; 2_048], false);
        for _ in 0..200 {
            let Ok((length, _)) = self.rtp.recv_from(&mut buffer) else { break };
            found |= like(&buffer[..length]);
        }
        found
    }

    /// Listens until it is called off, and for at least this many packets; returns sequence numbers and
    /// sources (RFC 3550 §5.1).
    pub fn hears_until(&self, over: &AtomicBool, least: usize) -> Vec<(u16, u32)> {
        let (mut buffer, mut heard, start) = ([0; 2_048], Vec::new(), Instant::now());
        while !over.load(Ordering::Acquire) || heard.len() < least && start.elapsed() < PATIENCE {
            let Ok((length, _)) = self.rtp.recv_from(&mut buffer) else { continue };
            if length >= 12 {
                let [_, _, a, b, _, _, _, _, c, d, e, f, ..] = buffer;
                heard.push((u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])));
            }
        }
        heard
    }

    fn request(&self, dialog: &Dialog, method: &str, cseq: u32) {
        self.request_with(dialog, method, cseq, "", "");
    }

    /// Sends a request in a call; sent twice, it is a retransmission.
    pub fn request_with(&self, dialog: &Dialog, method: &str, cseq: u32, more: &str, body: &str) {
        let at = self.sip.local_addr().expect("an address");
        let Dialog { from, to, call_id, peer } = dialog;
        let request = format!(
            "{method} sip:b2b@{peer} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{method}{cseq}{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.say(&request, *peer);
    }

    fn respond(&self, request: &str, to: &str, more: &str, body: &str, peer: SocketAddr) {
        self.respond_with("200 OK", request, to, more, body, peer);
    }

    fn respond_with(&self, status: &str, request: &str, to: &str, more: &str, body: &str, peer: SocketAddr) {
        let field = |name| field(request, name);
        let response = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            field("Via"),
            field("From"),
            field("Call-ID"),
            field("CSeq"),
            body.len()
        );
        self.say(&response, peer);
    }

    /// Sends a message that the test has written.
    pub fn say(&self, message: &str, to: SocketAddr) {
        self.sip.send_to(message.as_bytes(), to).expect("loopback");
    }
}

/// The packets of a key pressed for 100 ms (RFC 4733 §2.5.1), the end three times.
pub fn event(n: u16, payload_type: u8, code: u8) -> [Vec<u8>; 4] {
    [0, 1, 2, 3].map(|step| {
        let (marker, end, duration) = if step == 0 { (0x80, 0, 160u16) } else { (0, 0x80, 800) };
        let mut packet = vec![0x80, marker | payload_type];
        packet.extend_from_slice(&(n + step).to_be_bytes());
        packet.extend_from_slice(&(u32::from(n) * 160).to_be_bytes());
        packet.extend_from_slice(&7u32.to_be_bytes());
        packet.extend_from_slice(&[code, end | 10]);
        packet.extend_from_slice(&duration.to_be_bytes());
        packet
    })
}

/// The direction of the audio in a description (RFC 3264 §5.1).
pub fn direction_of(description: &str) -> &str {
    let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let attributes = description.lines().filter_map(|line| line.strip_prefix("a="));
    attributes.into_iter().find(|it| directions.contains(it)).unwrap_or("sendrecv")
}

/// The RTP address in this answer.
pub fn rtp_of(answer: &str) -> SocketAddr {
    let line = |start: &str| answer.lines().find_map(|line| line.strip_prefix(start)).expect("a description");
    let port = line("m=audio ").split(' ').next().and_then(|port| port.parse().ok()).expect("a port");
    SocketAddr::new(line("c=IN IP4 ").parse().expect("an address"), port)
}

/// The value of a message's header field.
pub fn field(message: &str, name: &str) -> String {
    let mut fields = message.lines().filter_map(|line| line.split_once(": "));
    let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("no {name} in\n{message}")).1.to_owned()
}
