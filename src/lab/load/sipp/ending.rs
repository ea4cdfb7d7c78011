//! The messages that a failed call still has to send, so that the far end does not keep it: ACK, CANCEL, BYE,
//! or a refusal.

use bytes::Bytes;

use super::seen::reply;
use b2b_sip::msg::{Limits, Message, Method, Name, NameAddr, Request, Response};

/// Maximum requests without a response that a call remembers.
const MOST_ASKED: usize = 16;

/// The state of a call's INVITEs and its dialog.
#[derive(Debug, Default)]
pub struct Ending {
    /// A sent INVITE without a final response.
    pending: Option<Request>,
    /// A sent INVITE, its final response, and whether the ACK is missing.
    answered: Option<(Request, Response, bool)>,
    /// Received requests without a final response: one that gets none comes again and again.
    asked: Vec<Request>,
    /// A received INVITE, and the 2xx sent to it.
    accepted: Option<(Request, Response)>,
    /// The highest sent CSeq.
    cseq: u32,
    /// Whether a BYE was sent or received.
    closed: bool,
}

impl Ending {
    /// Notes a sent message. A message that cannot be parsed is ignored.
    pub fn sent(&mut self, message: &Bytes) {
        let Ok(message) = Message::parse(message.clone(), &Limits::default()) else { return };
        let Ok(cseq) = message.cseq() else { return };
        match message {
            Message::Request(request) => {
                self.cseq = self.cseq.max(cseq.number);
                match request.method() {
                    Method::Invite => self.pending = Some(request),
                    Method::Bye => self.closed = true,
                    Method::Ack => {
                        if let Some((_, _, unacknowledged)) = &mut self.answered {
                            *unacknowledged = false;
                        }
                    }
                    _ => {}
                }
            }
            Message::Response(response) if response.status() >= 200 => {
                let at = self.asked.iter().position(|it| it.cseq().is_ok_and(|it| it == cseq));
                let request = at.map(|at| self.asked.remove(at)).filter(|it| *it.method() == Method::Invite);
                if let Some(request) = request.filter(|_| response.status() < 300) {
                    self.accepted = Some((request, response));
                }
            }
            Message::Response(_) => {}
        }
    }

    /// Notes a received message, expected or not.
    pub fn came(&mut self, message: &Message) {
        match message {
            Message::Request(request) if *request.method() != Method::Ack => {
                self.closed |= *request.method() == Method::Bye;
                // a scenario may loop, and leave every request without a response
                self.asked.truncate(MOST_ASKED - 1);
                self.asked.push(request.clone());
            }
            Message::Request(_) => {}
            Message::Response(response) if response.status() >= 200 => {
                let of_invite = response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
                if let Some(request) = self.pending.take_if(|_| of_invite) {
                    // a re-INVITE may be refused while the call goes on
                    let within = response.status() >= 300 && self.is_up();
                    if !within {
                        self.answered = Some((request, response.clone(), true));
                    }
                }
            }
            Message::Response(_) => {}
        }
    }

    fn is_up(&self) -> bool {
        self.accepted.is_some()
            || self.answered.as_ref().is_some_and(|(_, response, _)| response.status() < 300)
    }

    /// The missing messages. `via`: without its branch; `branch`: an unused one.
    pub fn messages(&self, via: &str, branch: &str) -> Vec<Bytes> {
        let mut messages = Vec::new();
        for request in &self.asked {
            // a BYE ends the call, whatever the scenario says
            let ends = matches!(request.method(), Method::Bye | Method::Cancel);
            messages.push(reply(request, if ends { 200 } else { 500 }));
        }
        let own = |name: &str| format!("{via};branch={branch}{name}").into_bytes();
        if let Some((request, response, unacknowledged)) = &self.answered {
            let up = response.status() < 300;
            let head = Head {
                uri: if up { contact(response).unwrap_or(request.uri_bytes()) } else { request.uri_bytes() },
                // RFC 3261 §12.1.2
                routes: response
                    .headers(Name::RecordRoute)
                    .filter(|_| up)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect(),
                from: request.header(Name::From).unwrap_or_default(),
                to: response.header(Name::To).unwrap_or_default(),
                call_id: request.header(Name::CallId).unwrap_or_default(),
            };
            if *unacknowledged {
                // RFC 3261 §17.1.1.3: the ACK to a non-2xx response has the INVITE's branch
                let via = if up { own("a") } else { request.header(Name::Via).unwrap_or_default().to_vec() };
                messages.push(head.request("ACK", request.cseq().map_or(1, |cseq| cseq.number), &via));
            }
            if up && !self.closed {
                messages.push(head.request("BYE", self.cseq + 1, &own("b")));
            }
        }
        if let (Some(request), false) = (&self.pending, self.is_up()) {
            let head = Head {
                uri: request.uri_bytes(),
                routes: request.headers(Name::Route).collect(),
                from: request.header(Name::From).unwrap_or_default(),
                to: request.header(Name::To).unwrap_or_default(),
                call_id: request.header(Name::CallId).unwrap_or_default(),
            };
            let number = request.cseq().map_or(1, |cseq| cseq.number);
            messages.push(head.request("CANCEL", number, request.header(Name::Via).unwrap_or_default()));
        }
        if let (Some((request, response)), false) = (&self.accepted, self.closed) {
            let to = request.header(Name::From).unwrap_or_default();
            let from_uri = NameAddr::parse(to).map_or(&b""[..], |it| it.uri.raw);
            let head = Head {
                uri: contact(request).unwrap_or(from_uri),
                routes: request.headers(Name::RecordRoute).collect(),
                from: response.header(Name::To).unwrap_or_default(),
                to,
                call_id: request.header(Name::CallId).unwrap_or_default(),
            };
            messages.push(head.request("BYE", self.cseq + 1, &own("b")));
        }
        messages
    }
}

/// The common parts of requests within a dialog.
struct Head<'a> {
    uri: &'a [u8],
    routes: Vec<&'a [u8]>,
    from: &'a [u8],
    to: &'a [u8],
    call_id: &'a [u8],
}

impl Head<'_> {
    fn request(&self, method: &str, cseq: u32, via: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(512);
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out.extend_from_slice(b"\r\n");
        };
        line(&[method.as_bytes(), b" ", self.uri, b" SIP/2.0"]);
        line(&[b"Via: ", via]);
        self.routes.iter().for_each(|route| line(&[b"Route: ", route]));
        line(&[b"Max-Forwards: 70"]);
        line(&[b"From: ", self.from]);
        line(&[b"To: ", self.to]);
        line(&[b"Call-ID: ", self.call_id]);
        line(&[b"CSeq: ", cseq.to_string().as_bytes(), b" ", method.as_bytes()]);
        line(&[b"Content-Length: 0"]);
        line(&[]);
        Bytes::from(out)
    }
}

/// The URI of the first Contact.
fn contact(headers: &b2b_sip::msg::Headers) -> Option<&[u8]> {
    headers.header(Name::Contact).and_then(NameAddr::parse).map(|contact| contact.uri.raw)
}
