//! The registrar in virtual time, REGISTER by REGISTER.

mod life;
mod model;
mod reach;
mod register;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use b2b_sip::endpoint::{Flow, FlowId, Transport};
use b2b_sip::msg::{Limits, Message, Request};

/// Users 1001 to 1009 of `b2b.example`, which `192.0.2.99` stands for as well;
/// `front` is an alias of 1001. Each user registers their own address only.
struct House;

impl AorPolicy for House {
    fn serves(&self, domain: &str) -> bool {
        matches!(domain, "b2b.example" | "192.0.2.99")
    }

    fn canonical(&self, aor: &Aor) -> Option<Aor> {
        let user = if aor.user() == "front" { "1001" } else { aor.user() };
        let ours = self.serves(aor.host()) && user.len() == 4 && user.starts_with("100");
        ours.then(|| Aor::new(user, "b2b.example")).flatten()
    }

    fn may_register(&self, user: Option<&str>, aor: &Aor) -> bool {
        user.is_none_or(|user| user == aor.user())
    }

    fn max_contacts(&self, aor: &Aor) -> Option<usize> {
        (aor.user() == "1002").then_some(1)
    }
}

fn request(text: String) -> Request {
    match Message::parse(Bytes::from(text), &Limits::default()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// A REGISTER in the making.
struct Register {
    uri: String,
    /// Top Via, but for its branch.
    via: String,
    to: String,
    call_id: String,
    cseq: u32,
    fields: String,
}

impl Register {
    fn new(cseq: u32) -> Self {
        Register {
            uri: "sip:b2b.example".into(),
            via: "UDP 192.0.2.1".into(),
            to: "<sip:1001@b2b.example>".into(),
            call_id: "call".into(),
            cseq,
            fields: String::new(),
        }
    }

    fn via(self, via: &str) -> Self {
        Register { via: via.into(), ..self }
    }

    fn to(self, to: &str) -> Self {
        Register { to: to.into(), ..self }
    }

    fn call_id(self, call_id: &str) -> Self {
        Register { call_id: call_id.into(), ..self }
    }

    fn field(mut self, field: &str) -> Self {
        self.fields.push_str(&format!("{field}\r\n"));
        self
    }

    fn contact(self, contact: &str) -> Self {
        self.field(&format!("Contact: {contact}"))
    }

    fn expires(self, seconds: u32) -> Self {
        self.field(&format!("Expires: {seconds}"))
    }

    fn request(&self) -> Request {
        request(format!(
            "REGISTER {} SIP/2.0\r\nVia: SIP/2.0/{};branch=z9hG4bK1\r\nFrom: {};tag=1\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {} REGISTER\r\nMax-Forwards: 70\r\n{}\r\n",
            self.uri, self.via, self.to, self.to, self.call_id, self.cseq, self.fields
        ))
    }
}

fn flow(transport: Transport, remote: &str) -> Flow {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Flow { transport, local: address("192.0.2.99:5060"), remote: address(remote), id: FlowId(7) }
}

/// 192.0.2.1 is an edge proxy of ours.
fn edge() -> Trusted {
    let proxies = [("192.0.2.1".parse().unwrap(), 32)].into_iter().collect();
    Trusted { proxies, ..Trusted::default() }
}

/// A registrar and its time.
struct Bench {
    registrar: Registrar,
    now: Instant,
    flow: Flow,
    /// Connections that are gone.
    closed: Vec<FlowId>,
    challenged: bool,
}

impl Bench {
    fn new() -> Self {
        Bench::with(RegistrarConfig::default())
    }

    fn with(config: RegistrarConfig) -> Self {
        let now = Instant::now();
        let registrar = Registrar::new(config, Box::new(MemoryStore::new()), now);
        Bench {
            registrar,
            now,
            flow: flow(Transport::Udp, "192.0.2.1:5060"),
            closed: Vec::new(),
            challenged: false,
        }
    }

    fn send(&mut self, register: &Register) -> RegistrarReply {
        let is_open = |flow: &Flow| !self.closed.contains(&flow.id);
        let source = self.flow.remote;
        let sender =
            Sender { flow: &self.flow, source, user: None, challenged: self.challenged, is_open: &is_open };
        self.registrar.handle(self.now, &register.request(), sender, &House)
    }

    /// Status, and contacts as the answer lists them.
    fn answer(&mut self, register: &Register) -> (u16, Vec<String>) {
        let reply = self.send(register).reply;
        let contacts = reply.headers.iter().filter(|(name, _)| name == "Contact");
        (reply.status, contacts.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect())
    }

    /// The contacts of an answer that has to be a 200.
    fn ok(&mut self, register: &Register) -> Vec<String> {
        let (status, contacts) = self.answer(register);
        assert_eq!(status, 200);
        contacts
    }

    fn query(&mut self) -> Vec<String> {
        self.ok(&Register::new(1).call_id("query"))
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.registrar.handle_timeout(self.now);
    }

    /// What happened since, as words.
    fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.registrar.poll_event())
            .map(|event| match event {
                RegistrarEvent::Registered { binding, .. } => format!("+{}", binding.contact_str()),
                RegistrarEvent::Refreshed { binding, .. } => format!("={}", binding.contact_str()),
                RegistrarEvent::Removed { binding, why, .. } => format!("-{} {why:?}", binding.contact_str()),
            })
            .collect()
    }

    fn found(&self, aor: &str) -> Vec<String> {
        let aor = aor.parse().unwrap();
        self.registrar.lookup(self.now, &aor).iter().map(|it| it.contact_str().into_owned()).collect()
    }
}
