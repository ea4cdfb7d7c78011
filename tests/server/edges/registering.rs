//! A REGISTER or INVITE with every field written by the test, and its credentials.

use std::time::{Duration, Instant};

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Message, Method, Response};

use super::peer::{Peer, SESSION};
use crate::common::child::PATIENCE;

/// The request's claims about its sender.
#[derive(Clone)]
pub struct Says {
    /// Sent-by with its parameters.
    pub via: String,
    pub contact: String,
    /// Additional header fields, whole lines.
    pub more: String,
}

impl Says {
    /// True values.
    pub fn truly(peer: &Peer, user: &str) -> Says {
        let at = peer.at;
        Says { via: format!("{at};rport"), contact: format!("sip:{user}@{at}"), more: String::new() }
    }

    pub fn contact(self, contact: impl Into<String>) -> Says {
        Says { contact: contact.into(), ..self }
    }

    pub fn via(self, via: impl Into<String>) -> Says {
        Says { via: via.into(), ..self }
    }

    pub fn field(mut self, field: &str) -> Says {
        self.more.push_str(&format!("{field}\r\n"));
        self
    }
}

/// A second Via, of a phone behind NAT, with the address observed by an edge proxy.
pub fn behind(seen: &str, port: u16) -> String {
    format!("Via: SIP/2.0/UDP 192.168.1.7:5060;branch=z9hG4bKphone;received={seen};rport={port}")
}

/// A request of this method to `uri`, from this user.
fn request(
    peer: &mut Peer,
    (method, uri): (&Method, &str),
    user: &str,
    (call, cseq): (&str, u32),
    says: &Says,
    credentials: &Authorized,
) -> String {
    peer.count += 1;
    let to = if *method == Method::Register { format!("sip:{user}@b2b.example") } else { uri.to_owned() };
    let (body, kind) = match *method {
        Method::Invite => (SESSION, "Content-Type: application/sdp\r\n"),
        _ => (&b""[..], "Expires: 600\r\n"),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let credentials: String = credentials
        .headers
        .iter()
        .map(|(name, value)| format!("{}: {}\r\n", text(name), text(value)))
        .collect();
    let Says { via, contact, more } = says;
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{call}x{}\r\n{more}Max-Forwards: 70\r\n\
         From: <sip:{user}@b2b.example>;tag={call}\r\nTo: <{to}>\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <{contact}>\r\n{credentials}{kind}Content-Length: {}\r\n\r\n{}",
        peer.count,
        body.len(),
        text(body)
    )
}

/// Sends a request, and repeats it with the password; returns the last response, received at its own socket
/// or at another one.
pub fn ask(
    peer: &mut Peer,
    (method, uri): (&Method, &str),
    (user, password): (&str, &str),
    call: &str,
    says: &Says,
    hears: Option<&Peer>,
) -> Response {
    let mut digest = DigestClient::new(user, password, [5; 32]);
    let mut credentials = Authorized::default();
    for cseq in 1.. {
        let text = request(peer, (method, uri), user, (call, cseq), says, &credentials);
        let response = answer(peer, hears, &text, (call, cseq));
        if !matches!(response.status(), 401 | 407) || digest.challenged(&response, &credentials).is_err() {
            return response;
        }
        if *method == Method::Invite {
            acknowledge(peer, &text, &response);
        }
        credentials = digest.authorize(method, uri.as_bytes());
    }
    unreachable!("it ends with an answer");
}

/// The ACK to a refusal, with the same Via.
fn acknowledge(peer: &Peer, invite: &str, response: &Response) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let to = text(response.header(b2b::sip::msg::Name::To).expect("a To"));
    let line = |name: &str| {
        let line = invite.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {invite}")).to_owned()
    };
    let first = line("INVITE ").replacen("INVITE", "ACK", 1);
    let cseq = line("CSeq: ").replace("INVITE", "ACK");
    let ack = format!(
        "{first}\r\n{}\r\nMax-Forwards: 70\r\n{}\r\nTo: {to}\r\n{}\r\n{cseq}\r\nContent-Length: 0\r\n\r\n",
        line("Via: "),
        line("From: "),
        line("Call-ID: ")
    );
    peer.send(ack.as_bytes());
}

fn answer(peer: &Peer, hears: Option<&Peer>, request: &str, (call, cseq): (&str, u32)) -> Response {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        peer.send(request.as_bytes());
        let sent = Instant::now();
        while sent.elapsed() < Duration::from_millis(500) {
            let message = hears.unwrap_or(peer).message(Duration::from_millis(100));
            let Some(Message::Response(response)) = message else { continue };
            let ours = response.call_id().is_ok_and(|it| it == call.as_bytes())
                && response.cseq().is_ok_and(|it| it.number == cseq);
            if ours && response.status() >= 200 {
                return response;
            }
        }
    }
    panic!("no answer to {request}");
}

/// Registers with these claims, successfully.
pub fn register(peer: &mut Peer, user: &str, call: &str, says: &Says) -> Response {
    let response = ask(peer, (&Method::Register, "sip:b2b.example"), (user, "secret"), call, says, None);
    assert_eq!(response.status(), 200);
    response
}

/// Whether nothing has arrived by now: earlier messages would have, since this machine delivers at once.
pub fn heard_nothing(peer: &Peer) -> bool {
    peer.datagram(Duration::from_millis(50)).is_none()
}
