//! The values that a call knows, and the messages that it writes with them.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::fields::Line;
use super::template::{Keyword, Piece, Start, Template};
use super::variables::{Value, Variables};
use b2b_sdp::SessionDescription;
use b2b_sip::auth::fields::DigestCredentials;
use b2b_sip::auth::{Algorithm, Authorized, DigestClient};
use b2b_sip::msg::{Message, Method, Name, NameAddr, Response};

/// The identity and the addresses of a call.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its number, from 1.
    pub number: u64,
    /// When the run began.
    pub began: Instant,
    /// A value that differs from run to run.
    pub run: u32,
    /// Its own SIP address.
    pub local: SocketAddr,
    /// The far end's SIP address.
    pub remote: SocketAddr,
    /// The far end as written in the target.
    pub remote_host: String,
    /// The user part of the target.
    pub service: String,
    /// Its RTP address: of this call alone if the scenario sends RTP, otherwise of all calls.
    pub media: SocketAddr,
    /// User and password for `[authentication]`.
    pub account: Option<(String, String)>,
    /// The values of `[field0]`, `[field1]` …
    pub fields: Vec<Line>,
}

/// The values that a call knows.
pub struct Known {
    pub(super) place: Place,
    pub(super) call_id: Bytes,
    pub(super) cseq: u32,
    peer_tag: Option<Vec<u8>>,
    routes: Vec<Vec<u8>>,
    contact: Option<Vec<u8>>,
    /// The last received message.
    pub(super) last: Option<Message>,
    pub(super) variables: Variables,
    challenge: Option<Response>,
    digest: Option<DigestClient>,
    /// The destination of RTP.
    pub(super) session: Option<SocketAddr>,
    /// How often each step has sent its message.
    pub(super) sent: Vec<u32>,
    /// Milliseconds since the run began.
    pub(super) tick_ms: u64,
}

/// Why a message cannot be written, in words that are the same for every call.
pub type Unwritten = String;

impl Known {
    /// A new call. `call_id`: that of the message that began it; `None`: generates one.
    pub fn new(place: Place, call_id: Option<Bytes>, steps: usize, variables: Variables) -> Self {
        let own = || {
            let Place { number, run, local, .. } = &place;
            Bytes::from(format!("{number}-{}-{run:x}@{}", std::process::id(), local.ip()))
        };
        Known {
            call_id: call_id.unwrap_or_else(own),
            place,
            cseq: 0,
            peer_tag: None,
            routes: Vec::new(),
            contact: None,
            last: None,
            variables,
            challenge: None,
            digest: None,
            session: None,
            sent: vec![0; steps],
            tick_ms: 0,
        }
    }

    /// Notes an expected message.
    pub fn came(&mut self, message: Message, (routes, challenge, session): (bool, bool, bool)) {
        let tag = match &message {
            Message::Response(response) => response.to_tag(),
            Message::Request(request) => request.from_tag(),
        };
        if let Some(tag) = tag {
            self.peer_tag = Some(tag.to_vec());
        }
        if routes {
            // RFC 3261 §12.1: the route set of a dialog is constant, its Contact may change; a caller
            // reverses the route set
            if self.routes.is_empty() {
                self.routes = message.headers(Name::RecordRoute).map(<[u8]>::to_vec).collect();
                if matches!(message, Message::Response(_)) {
                    self.routes.reverse();
                }
            }
            if let Some(contact) = message.header(Name::Contact).and_then(NameAddr::parse) {
                self.contact = Some(contact.uri.raw.to_vec());
            }
        }
        match &message {
            Message::Response(response) if challenge => self.challenge = Some(response.clone()),
            Message::Response(_) => {}
            Message::Request(request) => {
                self.cseq = self.cseq.max(request.cseq().map_or(0, |cseq| cseq.number));
            }
        }
        if session && let Some(at) = session_of(&message) {
            self.session = Some(at);
        }
        self.last = Some(message);
    }

    /// Its Via without the branch, and a branch that no step uses.
    pub fn via(&self) -> (String, String) {
        let Place { number, run, local, .. } = &self.place;
        (format!("SIP/2.0/UDP {local}"), format!("z9hG4bK-{}-{run:x}-{number}-end", std::process::id()))
    }

    /// Writes the message of this step.
    pub fn write(&mut self, template: &Template, step: usize) -> Result<Bytes, Unwritten> {
        if let Start::Request(method) = &template.start
            && !matches!(method.as_str(), "ACK" | "CANCEL")
        {
            self.cseq += 1;
        }
        if let Some(sent) = self.sent.get_mut(step) {
            *sent += 1;
        }
        let head = template.body.map_or(template.lines.len(), |body| body - 1);
        let mut body = Vec::new();
        for line in template.lines.iter().skip(head + 1) {
            self.line(line, (step, 0), &mut body)?;
            body.extend(b"\r\n");
        }
        if body == b"\r\n" {
            body.clear();
        }
        let mut out = Vec::with_capacity(1_024 + body.len());
        for line in template.lines.iter().take(head) {
            let begin = out.len();
            self.line(line, (step, body.len()), &mut out)?;
            if out.len() > begin {
                out.extend(b"\r\n");
            }
        }
        out.extend(b"\r\n");
        out.extend(body);
        Ok(Bytes::from(out))
    }

    /// Writes text that is no message.
    pub fn text(&mut self, template: &Template, step: usize) -> Result<Vec<u8>, Unwritten> {
        let mut out = Vec::new();
        for line in &template.lines {
            self.line(line, (step, 0), &mut out)?;
        }
        Ok(out)
    }

    /// Writes the reason of a failure.
    pub fn reason(&mut self, template: &Template, step: usize) -> String {
        self.text(template, step).map_or_else(|why| why, |text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether the last request has credentials of this user with this password, whoever made the nonce.
    pub fn is_by(&mut self, user: &Template, password: &Template, step: usize) -> Result<bool, Unwritten> {
        let (user, password) = (self.text(user, step)?, self.text(password, step)?);
        let Some(Message::Request(request)) = &self.last else { return Ok(false) };
        let fields = [Name::Authorization, Name::ProxyAuthorization];
        let mut given = fields.into_iter().flat_map(|name| request.field_values(name));
        Ok(given.any(|value| {
            let Ok(Some(given)) = DigestCredentials::parse(value) else { return false };
            let algorithm = given.algorithm.map_or(Some((Algorithm::Md5, false)), Algorithm::parse);
            let Some((algorithm, false)) = algorithm else { return false };
            given.is_of(request.method().as_bytes(), algorithm, &algorithm.ha1(&user, given.realm, &password))
        }))
    }

    /// Writes one line. If a value is missing, the rest of the line is left out.
    fn line(
        &mut self,
        line: &[Piece],
        (step, len): (usize, usize),
        out: &mut Vec<u8>,
    ) -> Result<(), Unwritten> {
        for piece in line {
            let (keyword, offset) = match piece {
                Piece::Text(text) => {
                    out.extend(text.as_bytes());
                    continue;
                }
                Piece::Keyword(keyword, offset) => (keyword, *offset),
            };
            if !self.keyword(keyword, offset, (step, len), out)? {
                break;
            }
        }
        Ok(())
    }

    /// Writes one keyword; returns whether there is a value for it.
    fn keyword(
        &mut self,
        keyword: &Keyword,
        offset: i64,
        (step, len): (usize, usize),
        out: &mut Vec<u8>,
    ) -> Result<bool, Unwritten> {
        let place = &self.place;
        let number = |number: u64| (i128::from(number) + i128::from(offset)).to_string();
        let ip_type = |at: SocketAddr| if at.is_ipv4() { "4" } else { "6" }.to_owned();
        let text = match keyword {
            Keyword::CallId => {
                out.extend(&self.call_id);
                return Ok(true);
            }
            Keyword::CallNumber => number(place.number),
            Keyword::Branch(back) => {
                let of = step.saturating_sub(*back);
                let times = self.sent.get(of).copied().unwrap_or_default();
                format!("z9hG4bK-{}-{:x}-{}-{of}-{times}", std::process::id(), place.run, place.number)
            }
            Keyword::LocalIp => host(place.local),
            Keyword::LocalIpType => ip_type(place.local),
            Keyword::LocalPort => number(place.local.port().into()),
            Keyword::RemoteIp => host(place.remote),
            Keyword::RemoteHost => place.remote_host.clone(),
            Keyword::RemotePort => number(place.remote.port().into()),
            Keyword::Transport => "UDP".to_owned(),
            Keyword::Service => place.service.clone(),
            Keyword::Pid => number(std::process::id().into()),
            Keyword::ClockTick => number(self.tick_ms),
            Keyword::MsgIndex => number(step as u64),
            Keyword::CSeq => number(self.cseq.into()),
            Keyword::Len => number(len as u64),
            Keyword::MediaIp => place.media.ip().to_string(),
            Keyword::MediaIpType => ip_type(place.media),
            Keyword::MediaPort | Keyword::OwnMediaPort => number(place.media.port().into()),
            Keyword::PeerTagParam => {
                if let Some(tag) = &self.peer_tag {
                    out.extend(b";tag=");
                    out.extend(tag);
                }
                return Ok(true);
            }
            Keyword::Routes => {
                if self.routes.is_empty() {
                    return Ok(false);
                }
                out.extend(b"Route: ");
                out.extend(self.routes.join(&b", "[..]));
                return Ok(true);
            }
            Keyword::NextUrl => match &self.contact {
                Some(contact) => {
                    out.extend(contact);
                    return Ok(true);
                }
                // SIPp writes nothing, and with it a request that its peer cannot read.
                None => format!("sip:{}@{}:{}", place.service, host(place.remote), place.remote.port()),
            },
            Keyword::Variable(at) => {
                out.extend(self.variables.get(*at).map(Value::written).unwrap_or_default());
                return Ok(true);
            }
            Keyword::Field { file, number } => {
                // A file whose lines have fewer fields is refused.
                if let Some(field) =
                    place.fields.get(*file).cloned().and_then(|line| line.get(*number).cloned())
                {
                    self.line(&field, (step, len), out)?;
                }
                return Ok(true);
            }
            Keyword::Authentication { user, password } => {
                // SIPp's defaults of -au and -ap
                let (name, secret) =
                    place.account.clone().unwrap_or((place.service.clone(), "password".to_owned()));
                let account = match (user, password) {
                    (Some(user), Some(password)) => (user.clone(), password.clone()),
                    (user, _) => (user.clone().unwrap_or(name), secret),
                };
                return self.authentication(account, out);
            }
            Keyword::Last(_) | Keyword::LastCSeqNumber | Keyword::LastRequestUri | Keyword::LastMessage => {
                return Ok(self.last(keyword, offset, out));
            }
        };
        out.extend(text.as_bytes());
        Ok(true)
    }

    /// Writes a part of the last message.
    fn last(&self, keyword: &Keyword, offset: i64, out: &mut Vec<u8>) -> bool {
        let Some(last) = &self.last else { return false };
        match (keyword, last) {
            (Keyword::Last(name), _) => {
                let wanted = Name::parse(name.as_bytes());
                let lines = last.fields().zip(last.lines()).filter(|((name, _), _)| *name == wanted);
                let lines: Vec<&[u8]> = lines.map(|(_, line)| line.trim_ascii_end()).collect();
                out.extend(lines.join(&b"\r\n"[..]));
                !lines.is_empty()
            }
            (Keyword::LastCSeqNumber, _) => {
                let cseq = last.cseq().map_or(0, |cseq| i64::from(cseq.number));
                out.extend((cseq + offset).to_string().as_bytes());
                true
            }
            (Keyword::LastRequestUri, Message::Request(request)) => {
                out.extend(request.uri_bytes());
                true
            }
            (Keyword::LastMessage, _) => {
                out.extend(last.as_bytes());
                true
            }
            _ => false,
        }
    }

    /// Writes the header fields that answer a challenge; `out` begins with the first line of their message.
    fn authentication(&mut self, account: (String, String), out: &mut Vec<u8>) -> Result<bool, Unwritten> {
        let Some(challenge) = self.challenge.take() else {
            return match &mut self.digest {
                Some(digest) => Ok(authorize(digest, out)),
                None => {
                    Err("[authentication]: no challenge was received; write auth=\"true\" at the <recv> of 401 or 407"
                        .to_owned())
                }
            };
        };
        let (user, password) = account;
        let digest = self.digest.get_or_insert_with(|| DigestClient::new(user, password, rand::random()));
        let answerable = digest.challenged(&challenge, &Authorized::default());
        answerable.map_err(|error| format!("[authentication]: {error}"))?;
        Ok(authorize(digest, out))
    }
}

fn authorize(digest: &mut DigestClient, out: &mut Vec<u8>) -> bool {
    let mut words = out.split(|octet| octet.is_ascii_whitespace());
    let method = Method::from_bytes(words.next().unwrap_or_default());
    let uri = words.next().unwrap_or_default().to_vec();
    let authorized = digest.authorize(&method, &uri);
    let lines = authorized.headers.iter().map(|(name, value)| [name, &b": "[..], value].concat());
    let lines = lines.collect::<Vec<_>>().join(&b"\r\n"[..]);
    out.extend(&lines);
    !lines.is_empty()
}

/// An IP address in URI form.
fn host(at: SocketAddr) -> String {
    match at {
        SocketAddr::V4(at) => at.ip().to_string(),
        SocketAddr::V6(at) => format!("[{}]", at.ip()),
    }
}

/// The RTP address in the session description of a message.
fn session_of(message: &Message) -> Option<SocketAddr> {
    let body = body_of(message);
    if !body.starts_with(b"v=0") {
        return None;
    }
    let session = SessionDescription::parse(&body).ok()?;
    let audio = session.audio(session.audio_index()?).ok()?;
    (!audio.is_refused()).then(|| audio.rtp())
}

/// The body of a message.
pub fn body_of(message: &Message) -> Bytes {
    match message {
        Message::Request(request) => request.body(),
        Message::Response(response) => response.body(),
    }
}
