//! The server's processing around the registrar: REGISTER arrives as a datagram, is checked, authenticated
//! and served, and its response is sent once it is stored.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::server::pending::PendingReplies;
use b2b::server::registrar::{
    Aor, AorPolicy, LocationStore, MemoryStore, Outcome, Registrar, RegistrarConfig, Sender, SqliteStore,
};
use b2b::sip::auth::server::Asked;
use b2b::sip::auth::{
    Algorithm, Authorized, Claim, Credentials, DigestClient, DigestConfig, DigestServer, Penalties,
    PenaltyConfig, Secret, Side, Standing, Verdict,
};
use b2b::sip::endpoint::{
    Endpoint, EndpointConfig, Event, Flow, FlowId, Input, Output, Reply, ServerTransactionId, Transport,
};
use b2b::sip::msg::{Limits, Message, Method, Name, Request, Response};
use bytes::Bytes;

const REALM: &str = "b2b.example";

#[derive(Default)]
struct Users(HashMap<&'static str, &'static str>);

impl Credentials for Users {
    fn secret(&self, user: &str, _: &str, _: Algorithm) -> Option<Secret<'_>> {
        self.0.get(user).map(|password| Secret::Password((*password).into()))
    }
}

impl AorPolicy for Users {
    fn serves(&self, domain: &str) -> bool {
        domain == REALM
    }

    fn canonical(&self, aor: &Aor) -> Option<Aor> {
        self.0.contains_key(aor.user()).then(|| aor.clone())
    }

    fn may_register(&self, user: Option<&str>, aor: &Aor) -> bool {
        user == Some(aor.user())
    }
}

struct Server {
    endpoint: Endpoint,
    users: Users,
    penalties: Penalties,
    digest: DigestServer,
    registrar: Registrar,
    pending: PendingReplies<(ServerTransactionId, Reply)>,
    now: Instant,
    sent: u32,
}

impl Server {
    fn new(store: Box<dyn LocationStore>) -> Self {
        let now = Instant::now();
        let config = EndpointConfig { outside: vec![Method::Register], ..EndpointConfig::new([1; 32]) };
        Server {
            endpoint: Endpoint::new(config),
            users: Users(HashMap::from([("1001", "secret"), ("1002", "other")])),
            penalties: Penalties::new(PenaltyConfig::new(10, Duration::from_secs(300)), now),
            digest: DigestServer::new(DigestConfig::default(), [2; 32], now),
            registrar: Registrar::new(RegistrarConfig::default(), store, now),
            pending: PendingReplies::default(),
            now,
            sent: 0,
        }
    }

    /// The response to a REGISTER; `None` if there is none.
    fn register(
        &mut self,
        request: &Request,
        flow: &Flow,
    ) -> Option<(Reply, b2b::server::registrar::Commit)> {
        let (now, source) = (self.now, flow.remote.ip());
        let at_once = |reply| Some((reply, b2b::server::registrar::Commit::NONE));
        let asked = Asked { source, realm: REALM, side: Side::Server, md5_only: false };
        let mut knows = false;
        if let Some(Claim { user, acquainted }) = self.digest.claim(now, request, asked) {
            let aor = Aor::new(&user, REALM);
            let at_home = aor.is_some_and(|aor| self.registrar.is_registered_from(now, &aor, flow.remote));
            knows = acquainted || at_home;
            let waits = self.penalties.pair(now, source, &user).max(self.penalties.source(now, source));
            if waits != Standing::Clear && !knows {
                let headers = self.digest.challenge(now, asked, false);
                return at_once(Reply { headers, ..Reply::status(401) });
            }
        }
        match self.digest.verify(now, request, asked, &self.users) {
            Verdict::Challenge { status, headers } => at_once(Reply { headers, ..Reply::status(status) }),
            Verdict::Malformed => at_once(Reply::status(400)),
            Verdict::Rejected { status, headers, user } => {
                self.penalties.failed(now, source, &user);
                at_once(Reply { headers, ..Reply::status(status) })
            }
            Verdict::Authenticated { user } => {
                if !knows {
                    self.penalties.succeeded(source, &user);
                }
                let sender = Sender {
                    flow,
                    source: flow.remote,
                    user: Some(&user),
                    challenged: false,
                    is_open: &|_| true,
                };
                let reply = self.registrar.handle(now, request, sender, &self.users);
                Some((reply.reply, reply.commit))
            }
        }
    }

    /// Processes a datagram; returns the response once everything is stored.
    fn turn(&mut self, flow: Flow, data: Bytes) -> Option<Response> {
        self.endpoint.handle_input(self.now, Input::Datagram { flow, data });
        let mut answer = None;
        loop {
            while let Some((outcome, (transaction, reply))) = self.pending.pop(self.registrar.store()) {
                let reply = if outcome == Outcome::Kept { reply } else { Reply::status(500) };
                self.endpoint.respond(self.now, transaction, reply).expect("it waits");
            }
            let Some(output) = self.endpoint.poll_output() else {
                match self.pending.is_empty() {
                    true => return answer,
                    false => std::thread::sleep(Duration::from_millis(1)),
                }
                continue;
            };
            match output {
                Output::Event(Event::Request { transaction, request, flow }) => {
                    if let Some((reply, commit)) = self.register(&request, &flow) {
                        self.pending.push(commit, (transaction, reply));
                    }
                }
                Output::Transmit { data, flow: to } => {
                    assert_eq!(to.remote, flow.remote, "it goes back where the request came from");
                    match Message::parse(data, &Limits::default()) {
                        Ok(Message::Response(response)) => answer = Some(response),
                        other => panic!("{other:?}"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn flow(remote: &str) -> Flow {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Flow {
        transport: Transport::Udp,
        local: address("192.0.2.2:5060"),
        remote: address(remote),
        id: FlowId(1),
    }
}

/// A phone behind a NAT.
struct Phone {
    user: &'static str,
    digest: DigestClient,
    flow: Flow,
}

impl Phone {
    fn new(user: &'static str, password: &str, remote: &str) -> Self {
        Phone { user, digest: DigestClient::new(user, password, [5; 32]), flow: flow(remote) }
    }

    /// Sends one REGISTER.
    fn send(&mut self, server: &mut Server) -> (Option<Response>, Authorized) {
        server.sent += 1;
        let authorized = self.digest.authorize(&Method::Register, b"sip:b2b.example");
        let fields: String = authorized
            .headers
            .iter()
            .map(|(name, value)| format!("{}: {}\r\n", name.escape_ascii(), String::from_utf8_lossy(value)))
            .collect();
        // One CSeq series for all: two phones with the same Call-ID would look like one request that was
        // forked on its way (RFC 3261 §8.2.2.2).
        let (user, sent) = (self.user, server.sent);
        let text = format!(
            "REGISTER sip:b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK{sent};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@b2b.example>;tag=1\r\nTo: <sip:{user}@b2b.example>\r\n\
             Call-ID: {user}@10.0.0.5\r\nCSeq: {sent} REGISTER\r\nContact: <sip:{user}@10.0.0.5:5060>\r\n\
             Expires: 600\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        (server.turn(self.flow, Bytes::from(text)), authorized)
    }

    /// Sends REGISTER as often as it is challenged; returns the last status, and the number of requests.
    /// Status 0: no response.
    fn register(&mut self, server: &mut Server) -> (u16, u32) {
        for tries in 1.. {
            let (response, sent) = self.send(server);
            let Some(response) = response else { return (0, tries) };
            if response.status() != 401 {
                self.digest.accepted(&sent);
                return (response.status(), tries);
            }
            if self.digest.challenged(&response, &sent).is_err() {
                return (401, tries);
            }
        }
        unreachable!()
    }
}

#[test]
fn a_phone_registers_refreshes_with_one_request_and_is_found_on_its_flow() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registrations.db");
    let open = || Box::new(SqliteStore::open(&path).expect("a database"));
    let mut server = Server::new(open());
    let mut phone = Phone::new("1001", "secret", "198.51.100.7:40123");
    assert_eq!(phone.register(&mut server), (200, 2));
    server.now += Duration::from_secs(300);
    assert_eq!(phone.register(&mut server), (200, 1));
    let aor: Aor = "1001@b2b.example".parse().expect("an address");
    let found = server.registrar.lookup(server.now, &aor);
    assert_eq!(found[0].flow.flow(), Some(phone.flow));
    assert!(found[0].behind_nat());
    let now = server.now;
    drop(server);
    // Another process: the old nonce is invalid there, which users do not notice.
    let mut server = Server::new(open());
    server.digest = DigestServer::new(DigestConfig::default(), [3; 32], server.now);
    let found = server.registrar.lookup(server.now, &aor);
    assert_eq!((found.len(), found[0].flow.flow()), (1, None));
    assert_eq!(found[0].flow.remote_uri(), "sip:198.51.100.7:40123;transport=udp");
    server.now = server.now.max(now);
    server.sent = 100;
    assert_eq!(phone.register(&mut server), (200, 2));
    assert_eq!(server.registrar.lookup(server.now, &aor)[0].flow.flow(), Some(phone.flow));
}

#[test]
fn guesses_are_not_looked_at_after_a_few_and_the_user_goes_on_at_home_and_elsewhere() {
    let mut server = Server::new(Box::new(MemoryStore::new()));
    let mut owner = Phone::new("1001", "secret", "198.51.100.7:40123");
    assert_eq!(owner.register(&mut server).0, 200);
    for guess in 0..40 {
        let mut attacker = Phone::new("1001", &format!("guess{guess}"), "203.0.113.9:5060");
        assert_eq!(attacker.register(&mut server).0, 401, "the same answer, looked at or not");
    }
    assert!(server.digest.counters().rejected <= 6, "no guess is looked at meanwhile");
    let mut lucky = Phone::new("1001", "secret", "203.0.113.9:5060");
    assert_eq!(lucky.register(&mut server).0, 401, "the right one neither, and nothing tells");
    // Waiting between guesses does not help.
    let before = server.digest.counters().rejected;
    for guess in 0..40 {
        server.now += Duration::from_secs(20);
        let mut attacker = Phone::new("1001", &format!("more{guess}"), "203.0.113.9:5060");
        assert_eq!(attacker.register(&mut server).0, 401);
        assert_eq!(owner.register(&mut server).0, 200, "at home");
    }
    assert!(server.digest.counters().rejected - before <= 30);
    let mut elsewhere = Phone::new("1001", "secret", "203.0.113.77:5060");
    assert_eq!(elsewhere.register(&mut server).0, 200, "elsewhere they get in at once");
}

#[test]
fn behind_one_nat_a_guesser_shuts_out_neither_whom_it_guesses_nor_its_neighbours() {
    let mut server = Server::new(Box::new(MemoryStore::new()));
    let mut owner = Phone::new("1001", "secret", "198.51.100.7:40123");
    assert_eq!(owner.register(&mut server).0, 200);
    for guess in 0..40 {
        let mut attacker = Phone::new("1001", &format!("guess{guess}"), "198.51.100.7:40777");
        assert_eq!(attacker.register(&mut server).0, 401);
    }
    assert_eq!(owner.register(&mut server), (200, 1), "with the nonce that its password was used with");
    owner.digest = DigestClient::new("1001", "secret", [6; 32]);
    assert_eq!(owner.register(&mut server), (200, 2), "with a new nonce from where it is registered");
    let mut neighbour = Phone::new("1002", "other", "198.51.100.7:40888");
    assert_eq!(neighbour.register(&mut server).0, 200);
    // A valid password of one's own does not allow more attempts at others' (a success between guesses).
    let looked_at = server.digest.counters().rejected;
    for guess in 0..10 {
        let mut attacker = Phone::new("1001", &format!("late{guess}"), "198.51.100.7:40888");
        assert_eq!(attacker.register(&mut server).0, 401);
        assert_eq!(neighbour.register(&mut server).0, 200);
    }
    assert_eq!(server.digest.counters().rejected, looked_at);
}

#[test]
fn nobody_registers_somebody_elses_address() {
    let mut server = Server::new(Box::new(MemoryStore::new()));
    let mut thief = Phone::new("1001", "secret", "198.51.100.7:40123");
    assert_eq!(thief.register(&mut server).0, 200);
    for user in ["1002", "9999"] {
        thief.user = user;
        assert_eq!(thief.register(&mut server).0, 403, "{user}");
    }
}

#[test]
fn a_retransmission_gets_the_same_answer_and_uses_up_nothing() {
    let mut server = Server::new(Box::new(MemoryStore::new()));
    let text = "REGISTER sip:b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKx;rport\r\n\
                Max-Forwards: 70\r\nFrom: <sip:1001@b2b.example>;tag=1\r\nTo: <sip:1001@b2b.example>\r\n\
                Call-ID: 1\r\nCSeq: 1 REGISTER\r\nContact: <sip:1001@10.0.0.5>\r\nContent-Length: 0\r\n\r\n";
    let remote = flow("198.51.100.7:40123");
    let first = server.turn(remote, Bytes::from(text)).expect("an answer");
    let second = server.turn(remote, Bytes::from(text)).expect("an answer");
    assert_eq!(first.as_bytes(), second.as_bytes());
    assert_eq!(server.digest.counters().challenged, 1);
    assert!(first.header(Name::WwwAuthenticate).is_some());
}
