//! The sample caller: a user of the configuration, on a phone that supports everything that b2b does, in a
//! configuration reduced to that user.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;

use super::GatewayQuestion;
use crate::config::parties::Credentials;
use crate::config::sound::PartySound;
use crate::config::{
    Action, Carrier, Gateway, Policy, Route, Secret, ServerConfig, Srtp, Store, Target, User, Verstat,
};
use crate::directory::Directory;
use crate::origin::Origin;
use crate::routing::{Outcome, RouteRequest, Router};
use crate::{caller_policy, signalling};
use b2b_call::CallId;
use b2b_sip::auth::{Authorized, DigestClient};
use b2b_sip::endpoint::{Flow, Transport};
use b2b_sip::msg::number::of_text;
use b2b_sip::msg::{Limits, Message, Method};

/// The number called by default: London, in the range that Ofcom reserves for drama use.
const NUMBER: &str = "+442079460000";
/// The phone's address: TEST-NET-3 (RFC 5737).
pub const PHONE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 250), 5060));
/// The caller's password for this one call.
const PASSWORD: &str = "a sample of a password";

/// The configuration to run, and how it was derived.
pub struct Sample {
    /// The configuration, reduced to the gateway, the caller and one route.
    pub config: ServerConfig,
    /// The number called.
    pub called: String,
    /// How the call is routed.
    pub way: Way,
    /// The calling user is not in the configuration.
    pub is_made_up: bool,
}

/// How a call is routed.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// An emergency call, which goes to these gateways, past the routes.
    Emergency(Vec<String>),
    /// By this route: its name and line.
    Route(String, usize),
    /// No route leads to the gateway.
    Nowhere,
}

impl Sample {
    /// The sample for a question.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn new(config: &ServerConfig, gateway: &Gateway, question: &GatewayQuestion) -> Result<Self, String> {
        let (user, is_made_up) = caller(config, question.from.as_deref())?;
        let called = of_text(question.to.as_deref().unwrap_or(NUMBER), &Directory::new(config));
        let found = route(config, gateway, &user, &called);
        // Any authenticated user may make emergency calls (`emergency`).
        let helps = config.emergency.as_ref().filter(|emergency| emergency.number_of(&called).is_some());
        let way = match (helps, &found) {
            (Some(emergency), _) => Way::Emergency(emergency.gateways.clone()),
            (None, Some(route)) => Way::Route(route.name.clone(), route.line),
            (None, None) => Way::Nowhere,
        };
        let mut sample = ServerConfig {
            users: vec![User {
                credentials: Credentials::Password(Secret::new(PASSWORD)),
                max_calls: None,
                // The caller's leg is unencrypted: the other leg is the one of interest.
                srtp: Some(Srtp::default()),
                ..user
            }],
            gateways: vec![gateway.clone()],
            groups: Vec::new(),
            routes: vec![found.unwrap_or_else(|| direct(gateway))],
            ..config.clone()
        };
        // Nothing is written, and no other system is contacted.
        sample.server.store = Store::Memory;
        sample.server.cdr = None;
        sample.log.sip_trace = None;
        sample.media.controller = Carrier::Embedded;
        sample.recording.folder = None;
        let named = sample.listeners.iter_mut().flat_map(|it| &mut it.listen);
        for listener in sample.server.listen.iter_mut().chain(named).filter(|it| it.bind.port() == 0) {
            listener.bind.set_port(if listener.transport == Transport::Tls { 5061 } else { 5060 });
        }
        Ok(Sample { config: sample, called, way, is_made_up })
    }

    /// The gateway to explain.
    #[expect(clippy::indexing_slicing, reason = "made with one")]
    pub fn gateway(&self) -> &Gateway {
        &self.config.gateways[0]
    }

    /// The gateways that take the call, where it is an emergency call and this gateway is none of them.
    pub fn goes_elsewhere(&self) -> Option<&[String]> {
        match &self.way {
            Way::Emergency(gateways) if !gateways.contains(&self.gateway().name) => Some(gateways),
            _ => None,
        }
    }

    /// The calling user.
    #[expect(clippy::indexing_slicing, reason = "made with one")]
    pub fn user(&self) -> &User {
        &self.config.users[0]
    }

    /// The transport by which the phone reaches b2b.
    pub fn transport(&self) -> Transport {
        let only_tls = self.config.listening().all(|it| it.transport == Transport::Tls);
        if only_tls { Transport::Tls } else { Transport::Udp }
    }
}

fn caller(config: &ServerConfig, name: Option<&str>) -> Result<(User, bool), String> {
    let known = match name {
        Some(name) => Some(config.user(name).ok_or_else(|| {
            let names: Vec<_> = config.users.iter().map(|it| it.name.as_str()).collect();
            format!("--from {name}: no such user; there are: {}", names.join(", "))
        })?),
        None => config.users.first(),
    };
    let made_up = || User {
        name: "1001".to_owned(),
        credentials: Credentials::Password(Secret::new(PASSWORD)),
        aliases: Vec::new(),
        display_name: None,
        caller_id: None,
        numbers: Vec::new(),
        class: "internal".to_owned(),
        max_contacts: None,
        weak_password: true,
        max_calls: None,
        media_from: Vec::new(),
        sound: PartySound::default(),
        srtp: None,
        session_timers: true,
        line: 0,
    };
    Ok((known.cloned().unwrap_or_else(made_up), known.is_none()))
}

/// The route that the call takes, with the gateway as its only target; `None`: no route leads to it.
fn route(config: &ServerConfig, gateway: &Gateway, user: &User, called: &str) -> Option<Route> {
    let request = RouteRequest {
        method: &Method::Invite,
        called,
        caller: &caller_policy::number_of(user, ""),
        class: Some(&user.class),
        origin: Origin::User(&user.name),
        address: PHONE.ip(),
        verstat: Verstat::None,
    };
    let decision = Router::new(config).route(&request);
    let (Outcome::Dial(dial), Some(index)) = (decision.outcome, decision.route) else { return None };
    let leads = |target: &String| {
        let rest = target.strip_prefix("gateway/").and_then(|rest| rest.strip_prefix(&gateway.name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let at = dial.targets.iter().position(leads)?;
    let mut route = config.routes.get(index)?.clone();
    let Action::Dial { targets, policy } = &mut route.action else { return None };
    *targets = vec![targets.get(at)?.clone()];
    policy.record = false;
    policy.unanswered = None;
    Some(route)
}

/// A route with only `to = "gateway/NAME"`.
fn direct(gateway: &Gateway) -> Route {
    let targets = vec![Target::Gateway { name: gateway.name.clone(), number: None }];
    Route {
        name: "sample".to_owned(),
        called: None,
        caller: None,
        classes: Vec::new(),
        sources: Vec::new(),
        verstat: Vec::new(),
        methods: vec![Method::Invite],
        action: Action::Dial { targets, policy: Box::new(Policy::default()) },
        line: 0,
    }
}

/// The caller's phone.
pub struct Phone {
    uri: String,
    user: String,
    domain: String,
    digest: DigestClient,
    sent: Authorized,
    cseq: u32,
}

impl Phone {
    /// The calling user's phone.
    pub fn new(sample: &Sample) -> Self {
        let domain = signalling::switch(&sample.config, CallId(0)).domain;
        let user = sample.user().name.clone();
        Phone {
            uri: format!("sip:{}@{domain}", sample.called),
            digest: DigestClient::new(&user, PASSWORD, rand::random()),
            user,
            domain,
            sent: Authorized::default(),
            cseq: 0,
        }
    }

    /// Its INVITE: all codecs that b2b knows, no encryption.
    pub fn invite(&mut self, flow: &Flow) -> Bytes {
        self.cseq += 1;
        let (cseq, Phone { uri, user, domain, .. }) = (self.cseq, &*self);
        let transport = flow.transport.as_str();
        let secure = if flow.transport == Transport::Udp { "" } else { ";transport=tls" };
        let ip = PHONE.ip();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio 40000 RTP/AVP 8 0 9 96 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n"
        );
        let credentials: String = self
            .sent
            .headers
            .iter()
            .map(|(name, value)| {
                format!("{}: {}\r\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            })
            .collect();
        let message = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {PHONE};branch=z9hG4bKsample{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{domain}>;tag=sample\r\nTo: <{uri}>\r\n\
             Call-ID: sample@{ip}\r\nCSeq: {cseq} INVITE\r\nContact: <sip:{user}@{PHONE}{secure}>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n{credentials}\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        message.into()
    }

    /// The phone's requests after a response, and the first line of a final one.
    pub fn answered(&mut self, flow: &Flow, data: &Bytes) -> (Vec<Bytes>, Option<String>) {
        let Ok(Message::Response(response)) = Message::parse(data.clone(), &Limits::default()) else {
            return Default::default();
        };
        if response.status() < 200 {
            return Default::default();
        }
        let line = String::from_utf8_lossy(data).lines().next().unwrap_or_default().to_owned();
        if self.cseq == 1 && self.digest.challenged(&response, &self.sent).is_ok() {
            self.sent = self.digest.authorize(&Method::Invite, self.uri.as_bytes());
            return (vec![self.invite(flow)], None);
        }
        (Vec::new(), Some(line))
    }
}

/// 200 to REGISTER or OPTIONS, as a gateway that accepts it sends it.
pub fn ok(request: &Bytes) -> Bytes {
    let request = String::from_utf8_lossy(request);
    let fields = request.lines().skip(1).take_while(|line| !line.is_empty());
    let expires = fields.clone().find_map(|line| line.strip_prefix("Expires: "));
    let kept = fields.filter_map(|line| match line.split(':').next()? {
        "Via" | "From" | "Call-ID" | "CSeq" => Some(format!("{line}\r\n")),
        "To" => Some(format!("{line};tag=sample\r\n")),
        "Contact" => expires.map(|expires| format!("{line};expires={expires}\r\n")),
        _ => None,
    });
    format!("SIP/2.0 200 OK\r\n{}Content-Length: 0\r\n\r\n", kept.collect::<String>()).into()
}
