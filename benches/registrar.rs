//! CPU time of the process per authenticated REGISTER that refreshes a binding: parser, transaction, digest,
//! registrar, response, and the thread that writes to SQLite; without sockets. Also the memory per stored
//! registration. `--quick` shortens the run.

#[path = "../tests/server/pending.rs"]
mod pending;

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use b2b::server::registrar::{
    Aor, AorPolicy, LocationStore, MemoryStore, Outcome, Registrar, RegistrarConfig, Sender, SqliteStore,
};
use b2b::sip::auth::server::Asked;
use b2b::sip::auth::{Algorithm, Credentials, DigestConfig, DigestServer, Secret, Side, Verdict};
use b2b::sip::endpoint::{
    Endpoint, EndpointConfig, Event, Flow, FlowId, Input, Output, Reply, ServerTransactionId, Transport,
};
use b2b::sip::msg::Method;
use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};

use pending::PendingReplies;

const REALM: &str = "b2b.example";

struct House;

impl Credentials for House {
    fn secret(&self, _: &str, _: &str, _: Algorithm) -> Option<Secret<'_>> {
        Some(Secret::Password("secret".into()))
    }
}

impl AorPolicy for House {
    fn serves(&self, domain: &str) -> bool {
        domain == REALM
    }

    fn canonical(&self, aor: &Aor) -> Option<Aor> {
        Some(aor.clone())
    }

    fn may_register(&self, user: Option<&str>, aor: &Aor) -> bool {
        user == Some(aor.user())
    }
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id).map(Duration::from).unwrap_or_default()
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
}

/// A server, its phones, and the CPU time of the phones, which is excluded from the result.
struct Bench {
    endpoint: Endpoint,
    digest: DigestServer,
    registrar: Registrar,
    pending: PendingReplies<(ServerTransactionId, Reply)>,
    flow: Flow,
    now: Instant,
    nonces: Vec<[u8; 52]>,
    phones: Duration,
    answered: u64,
}

impl Bench {
    fn new(store: Box<dyn LocationStore>, users: usize) -> Self {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let flow = Flow {
            transport: Transport::Udp,
            local: address("192.0.2.2:5060"),
            remote: address("192.0.2.1:5060"),
            id: FlowId(1),
        };
        let now = Instant::now();
        let config = EndpointConfig { outside: vec![Method::Register], ..EndpointConfig::new([1; 32]) };
        Bench {
            endpoint: Endpoint::new(config),
            digest: DigestServer::new(DigestConfig::default(), [2; 32], now),
            registrar: Registrar::new(RegistrarConfig::default(), store, now),
            pending: PendingReplies::default(),
            flow,
            now,
            nonces: vec![[0; 52]; users],
            phones: Duration::ZERO,
            answered: 0,
        }
    }

    /// Runs work of a phone, whose CPU time is excluded.
    fn phone<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let begun = clock(ClockId::CLOCK_THREAD_CPUTIME_ID);
        let done = work(self);
        self.phones += clock(ClockId::CLOCK_THREAD_CPUTIME_ID) - begun;
        done
    }

    fn request(&self, user: usize, round: u32) -> Bytes {
        let credentials = match round {
            0 => String::new(),
            _ => {
                let nonce = &self.nonces[user];
                let nc = format!("{round:08x}");
                let ha1 = Algorithm::Md5.ha1(user.to_string().as_bytes(), REALM.as_bytes(), b"secret");
                let qop =
                    b2b::sip::auth::digest::Qop { qop: b"auth", nc: nc.as_bytes(), cnonce: b"0a4f113b" };
                let uri = b"sip:b2b.example";
                let signed =
                    b2b::sip::auth::digest::Signed { method: b"REGISTER", uri, nonce, qop: Some(qop) };
                let response = Algorithm::Md5.response(&ha1, &signed);
                format!(
                    "Authorization: Digest username=\"{user}\", realm=\"{REALM}\", nonce=\"{}\", \
                     uri=\"sip:b2b.example\", response=\"{}\", algorithm=MD5, cnonce=\"0a4f113b\", qop=auth, nc={nc}\r\n",
                    String::from_utf8_lossy(nonce),
                    response.as_str()
                )
            }
        };
        Bytes::from(format!(
            "REGISTER sip:b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{user}x{round};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@b2b.example>;tag={user}t\r\nTo: <sip:{user}@b2b.example>\r\n\
             Call-ID: {user}-8f2a64c1b7@192.0.2.1\r\nCSeq: {} REGISTER\r\n\
             Contact: <sip:{user}-0x55d0c8a2@192.0.2.1:5060>;+sip.instance=\"<urn:uuid:{user:032x}>\"\r\n\
             Expires: 3600\r\nUser-Agent: bench 1.0\r\nAllow: INVITE,ACK,BYE,CANCEL,OPTIONS\r\n{credentials}\
             Content-Length: 0\r\n\r\n",
            round + 1
        ))
    }

    /// Passes one REGISTER to the server.
    fn register(&mut self, user: usize, round: u32) {
        let data = self.phone(|bench| bench.request(user, round));
        self.now += Duration::from_micros(500);
        let now = self.now;
        if self.endpoint.next_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_input(now, Input::Timeout);
        }
        let flow = self.flow;
        self.endpoint.handle_input(now, Input::Datagram { flow, data });
        self.turn(user);
    }

    fn turn(&mut self, user: usize) {
        let now = self.now;
        while let Some((outcome, (transaction, reply))) = self.pending.pop(self.registrar.store()) {
            assert_eq!(outcome, Outcome::Kept);
            self.endpoint.respond(now, transaction, reply).expect("it waits");
        }
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Event(Event::Request { transaction, request, flow }) => {
                    let source: IpAddr = flow.remote.ip();
                    let asked = Asked { source, realm: REALM, side: Side::Server, md5_only: false };
                    match self.digest.verify(now, &request, asked, &House) {
                        Verdict::Authenticated { user } => {
                            let user = Some(user.as_str());
                            let sender = Sender {
                                flow: &flow,
                                source: flow.remote,
                                user,
                                challenged: false,
                                is_open: &|_| true,
                            };
                            let reply = self.registrar.handle(now, &request, sender, &House);
                            self.pending.push(reply.commit, (transaction, reply.reply));
                            while self.registrar.poll_event().is_some() {}
                        }
                        Verdict::Challenge { status, headers } => {
                            self.phone(|bench| {
                                let text = String::from_utf8_lossy(&headers[0].1).into_owned();
                                let nonce = text.split("nonce=\"").nth(1).expect("a nonce");
                                bench.nonces[user].copy_from_slice(&nonce.as_bytes()[..52]);
                            });
                            let reply = Reply { status, headers, ..Reply::default() };
                            self.endpoint.respond(now, transaction, reply).expect("it waits");
                        }
                        other => panic!("{other:?}"),
                    }
                }
                Output::Transmit { data, .. } => {
                    self.answered += u64::from(data.starts_with(b"SIP/2.0 200"));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until every response has been sent.
    fn settle(&mut self) {
        while !self.pending.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
            self.turn(0);
        }
        self.turn(0);
    }

    /// CPU time of the whole process in microseconds per refresh, over `count` refreshes at `rate` per
    /// second, or at full speed.
    fn refreshes(&mut self, count: usize, round: &mut u32, rate: Option<u32>) -> f64 {
        let (begun, phones) = (clock(ClockId::CLOCK_PROCESS_CPUTIME_ID), self.phones);
        let (start, answered) = (Instant::now(), self.answered);
        for index in 0..count {
            let user = index % self.nonces.len();
            *round += u32::from(user == 0);
            if let Some(rate) = rate {
                let due = start + Duration::from_secs(1) * index as u32 / rate;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            // The stride separates consecutive requests in the database.
            self.register((user * 7_919) % self.nonces.len(), *round);
            // Above the store's own limit the server answers 503.
            if self.pending.len() > 10_000 {
                self.settle();
            }
        }
        self.settle();
        assert_eq!(self.answered - answered, count as u64, "every refresh is answered");
        let spent = clock(ClockId::CLOCK_PROCESS_CPUTIME_ID) - begun - (self.phones - phones);
        spent.as_secs_f64() * 1e6 / count as f64
    }
}

/// Each store runs in its own process: otherwise one would reuse memory that the other has freed.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (users, paced) = if quick { (5_000, 500) } else { (100_000, 5_000) };
    let path = std::env::var_os("B2B_BENCH_REGISTRATIONS").map(std::path::PathBuf::from);
    match arguments.iter().find_map(|argument| argument.strip_prefix("--store=")) {
        Some("sqlite") => {
            let path = path.expect("where to put the database");
            let open = || SqliteStore::open(&path).expect("a database");
            measure("sqlite", Box::new(open()), users, paced);
            let begun = Instant::now();
            let (served, after) = (open().len(), begun.elapsed().as_secs_f64());
            println!("registrar, sqlite: {served} bindings served {after:.2} s after a start");
        }
        Some(_) => measure("memory", Box::new(MemoryStore::new()), users, paced),
        None => {
            let folder = tempfile::tempdir().expect("a folder");
            for store in ["--store=memory", "--store=sqlite"] {
                let status = std::process::Command::new(std::env::current_exe().expect("this program"))
                    .args(&arguments)
                    .arg(store)
                    .env("B2B_BENCH_REGISTRATIONS", folder.path().join("registrations.db"))
                    .status();
                assert!(status.is_ok_and(|status| status.success()), "{store} failed");
            }
        }
    }
}

fn measure(name: &str, store: Box<dyn LocationStore>, users: usize, paced: usize) {
    let before = resident();
    let mut bench = Bench::new(store, users);
    let begun = clock(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    for user in 0..users {
        bench.register(user, 0);
        bench.register(user, 1);
        // Transactions are kept for 32 s: register few at a time, so that the result measures registrations.
        bench.now += Duration::from_millis(8);
        if user % 2_000 == 1_999 {
            bench.settle();
        }
    }
    bench.settle();
    let first = clock(ClockId::CLOCK_PROCESS_CPUTIME_ID) - begun - bench.phones;
    assert_eq!(bench.registrar.store().len(), users);
    bench.now += Duration::from_secs(60);
    bench.endpoint.handle_input(bench.now, Input::Timeout);
    let held = resident().saturating_sub(before) as usize / users;
    println!(
        "registrar, {name}: {:.1} µs for 401 and first registration; {held} bytes for each of {users} held",
        first.as_secs_f64() * 1e6 / users as f64
    );
    let (pages, begun) = (1_000, clock(ClockId::CLOCK_THREAD_CPUTIME_ID));
    let mut shown = 0;
    for page in 0..pages {
        let after = (page * users / pages).to_string();
        let mut left = 100;
        bench.registrar.store().visit_behind(&after, &mut |_, bindings| {
            left -= 1;
            shown += bindings.len();
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    let paged = clock(ClockId::CLOCK_THREAD_CPUTIME_ID) - begun;
    println!(
        "registrar, {name}: {:.1} µs for a page of {} among {users}",
        paged.as_secs_f64() * 1e6 / pages as f64,
        shown / pages
    );
    let mut round = 1;
    let full = bench.refreshes(users, &mut round, None);
    println!("registrar, {name}: {full:.1} µs a refresh, as fast as they go");
    for rate in [1_000, 100] {
        let count = if rate == 100 { paced / 10 } else { paced };
        let spent = bench.refreshes(count, &mut round, Some(rate));
        println!("registrar, {name}: {spent:.1} µs a refresh at {rate} a second");
    }
}
