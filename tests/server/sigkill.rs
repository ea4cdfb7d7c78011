//! A server killed (SIGKILL) during a storm of calls, and its successor: phones are reached without
//! registering again, and no CDR of a finished call is torn or missing.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Limits, Message, Method, Name, Request, RequestWriter, Response, ResponseWriter};
use bytes::Bytes;
use nix::sys::signal::Signal;

use crate::common::child::{B2b, PATIENCE, b2b};

const PHONES: usize = 40;
const SESSION: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                         m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\n";
/// Calls being set up or torn down at any moment.
const AT_ONCE: usize = 16;
/// Minimum number of CDRs when the server is killed.
const RECORDS: usize = 600;

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn receive(socket: &UdpSocket) -> Option<Message> {
    let mut data = [0; 8_192];
    let length = socket.recv(&mut data).ok()?;
    Message::parse(Bytes::copy_from_slice(&data[..length]), &Limits::default()).ok()
}

fn start(folder: &Path) -> (B2b, SocketAddr) {
    let mut child = b2b(&["--role", "b2bua", "--config", folder.join("b2bua.toml").to_str().expect("UTF-8")]);
    let address = child.ready();
    (child, address)
}

fn configure(folder: &Path, drain_s: u32) {
    let users: String =
        (0..PHONES).map(|n| format!("[[user]]\nname = \"u{n}\"\npassword = \"secret\"\n")).collect();
    // The second server needs the first one's address, which no other test may take meanwhile.
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    let ip = Ipv4Addr::new(127, 0, 77, 1 + TAKEN.fetch_add(1, Ordering::Relaxed));
    let text = format!(
        "[server]\nlisten = [\"udp:{ip}:5060\", \"tcp:{ip}:5060\"]\ntrusted = [\"127.0.0.0/8\"]\n\
         domains = [\"b2b.example\"]\nstore = \"sqlite:bindings.sqlite\"\ncdr = \"cdr.jsonl\"\ndrain_s = {drain_s}\n\
         [http]\nlisten = \"off\"\n[registrar]\nkeep_alive = \"off\"\n\
         [media]\nports = \"20000-39999\"\n\
         [[route]]\ncalled = 'u\\d+'\nto = \"user/$0\"\n{users}"
    );
    fs::write(folder.join("b2bua.toml"), text).expect("a file");
}

/// Fields common to all requests of the test.
fn request(method: &Method, uri: &str, from: SocketAddr, call: &str, number: u32) -> RequestWriter {
    RequestWriter::new(method, uri.as_bytes())
        .header_fmt(Name::Via, format_args!("SIP/2.0/UDP {from};branch=z9hG4bK{call}x{number}{method}"))
        .header(Name::MaxForwards, "70")
        .header_fmt(Name::From, format_args!("<sip:ann@{from}>;tag={call}"))
        .header(Name::CallId, call)
        .header_fmt(Name::CSeq, format_args!("{number} {method}"))
        .header_fmt(Name::Contact, format_args!("<sip:ann@{from}>"))
}

/// Registers all phones with their passwords, from one socket.
fn register(server: SocketAddr, socket: &UdpSocket, at: SocketAddr) {
    for phone in 0..PHONES {
        let mut client = DigestClient::new(format!("u{phone}"), "secret", [7; 32]);
        let uri = "sip:b2b.example";
        let mut credentials = Authorized::default();
        let mut number = 0;
        loop {
            number += 1;
            let mut register = RequestWriter::new(&Method::Register, uri.as_bytes())
                .header_fmt(Name::Via, format_args!("SIP/2.0/UDP {at};branch=z9hG4bKr{phone}x{number};rport"))
                .header(Name::MaxForwards, "70")
                .header_fmt(Name::From, format_args!("<sip:u{phone}@b2b.example>;tag=p{phone}"))
                .header_fmt(Name::To, format_args!("<sip:u{phone}@b2b.example>"))
                .header_fmt(Name::CallId, format_args!("register-{phone}"))
                .header_fmt(Name::CSeq, format_args!("{number} REGISTER"))
                .header_fmt(Name::Contact, format_args!("<sip:u{phone}@{at}>"))
                .header(Name::Expires, "3600");
            for (name, value) in &credentials.headers {
                register = register.header(Name::parse(name), value);
            }
            let data = register.finish().expect("a request");
            let response = exchange(socket, server, &data, &format!("register-{phone}"), number);
            if response.status() == 200 {
                break;
            }
            client.challenged(&response, &credentials).expect("a challenge that can be answered");
            credentials = client.authorize(&Method::Register, uri.as_bytes());
        }
    }
}

/// Sends until the response to this request arrives.
fn exchange(socket: &UdpSocket, server: SocketAddr, data: &Bytes, call: &str, number: u32) -> Response {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        socket.send_to(data, server).expect("loopback");
        while let Some(message) = receive(socket) {
            let Message::Response(response) = message else { continue };
            let ours = response.call_id().is_ok_and(|it| it == call.as_bytes());
            if ours && response.cseq().is_ok_and(|it| it.number == number) && response.status() >= 200 {
                return response;
            }
        }
    }
    panic!("no answer");
}

/// The phones: they answer every call and every BYE. The called ones are recorded.
fn answer(socket: &UdpSocket, at: SocketAddr, stop: &AtomicBool, called: &Mutex<HashSet<String>>) {
    while !stop.load(Ordering::Relaxed) {
        let Some(Message::Request(request)) = receive(socket) else { continue };
        let reply = |tag| {
            ResponseWriter::reply_to(&request, 200, "OK", tag)
                .header_fmt(Name::Contact, format_args!("<sip:phone@{at}>"))
        };
        let response = match request.method() {
            Method::Invite => {
                let uri = request.uri().expect("a URI");
                let user = String::from_utf8_lossy(uri.user.expect("a user")).into_owned();
                called.lock().expect("not poisoned").insert(user);
                reply(Some("phone")).body("application/sdp", SESSION)
            }
            Method::Ack => continue,
            _ => reply(None),
        };
        let to = server_of(&request);
        let _ = socket.send_to(&response.finish().expect("a response"), to);
    }
}

/// The server's address, from the request's Via.
fn server_of(request: &Request) -> SocketAddr {
    let via = request.top_via().expect("a Via");
    format!("{}:{}", via.host, via.port.unwrap_or(5060)).parse().expect("an address")
}

/// Calls and hangs up repeatedly, many calls at a time. Collects the Call-IDs of ended calls, in the order of
/// the responses to BYE.
struct Caller<'a> {
    socket: &'a UdpSocket,
    at: SocketAddr,
    server: SocketAddr,
    made: usize,
    /// Whether a call is hung up at once; the next field, whether another one follows it.
    hangs_up: bool,
    again: bool,
    answered: usize,
    finished: Vec<String>,
}

impl<'a> Caller<'a> {
    fn new(socket: &'a UdpSocket, at: SocketAddr, server: SocketAddr) -> Self {
        let finished = Vec::new();
        Caller { socket, at, server, made: 0, hangs_up: true, again: true, answered: 0, finished }
    }

    fn call(&mut self) {
        let call = format!("storm-{}", self.made);
        let uri = format!("sip:u{}@{}", self.made % PHONES, self.server);
        let invite = request(&Method::Invite, &uri, self.at, &call, 1)
            .header_fmt(Name::To, format_args!("<{uri}>"))
            .body("application/sdp", SESSION);
        self.made += 1;
        let _ = self.socket.send_to(&invite.finish().expect("a request"), self.server);
    }

    /// Processes one response; `false` if there was none.
    fn turn(&mut self) -> bool {
        let Some(Message::Response(response)) = receive(self.socket) else { return false };
        if response.status() < 200 {
            return true;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let call = text(response.call_id().expect("a Call-ID"));
        let sequence = response.cseq().expect("a CSeq");
        if sequence.method == Method::Bye {
            if !self.finished.contains(&call) {
                self.finished.push(call);
                if self.again {
                    self.call();
                }
            }
            return true;
        }
        assert_eq!(response.status(), 200, "{call}");
        let target = text(response.contact().expect("a Contact").expect("a URI").uri.raw);
        let to = text(response.header(Name::To).expect("a To"));
        self.answered += 1;
        for (method, number) in [(Method::Ack, 1), (Method::Bye, 2)] {
            if method == Method::Bye && !self.hangs_up {
                continue;
            }
            let message = request(&method, &target, self.at, &call, number).header(Name::To, &to);
            let _ = self.socket.send_to(&message.finish().expect("a request"), self.server);
        }
        true
    }
}

/// The CDRs in the file, of which every line is one.
fn records(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn a_server_killed_in_a_storm_has_its_records_and_the_next_one_its_phones() {
    let folder = tempfile::tempdir().expect("a folder");
    configure(folder.path(), 30);
    let cdr = folder.path().join("cdr.jsonl");
    let (phones, phones_at) = socket();
    let (caller_socket, caller_at) = socket();
    let (mut server, address) = start(folder.path());
    register(address, &phones, phones_at);

    let stop = Arc::new(AtomicBool::new(false));
    let called = Arc::new(Mutex::new(HashSet::new()));
    let answering = thread::spawn({
        let (phones, stop, called) = (phones.try_clone().expect("a socket"), stop.clone(), called.clone());
        move || answer(&phones, phones_at, &stop, &called)
    });
    let mut caller = Caller::new(&caller_socket, caller_at, address);
    (0..AT_ONCE).for_each(|_| caller.call());
    let begun = Instant::now();
    while fs::read(&cdr).map_or(0, |text| text.iter().filter(|octet| **octet == b'\n').count()) < RECORDS {
        assert!(begun.elapsed() < PATIENCE, "only {} calls\n{}", caller.finished.len(), server.output());
        for _ in 0..50 {
            caller.turn();
        }
    }
    server.signal(Signal::SIGKILL);
    server.wait();
    // Responses in transit.
    while caller.turn() {}
    let finished = std::mem::take(&mut caller.finished);

    // A call whose end was confirmed has its CDR, unless the server was killed before it could write the last
    // ones. A CDR waits for the last counters of its media thread, of which there are two: CDRs may overtake
    // each other, but by no more than the number of simultaneous calls.
    let before = fs::read(&cdr).expect("records");
    let found: HashSet<String> = records(&cdr)
        .iter()
        .filter(|record| record["direction"] == "inbound")
        .map(|record| record["sip_call_id"].as_str().expect("text").to_owned())
        .collect();
    let kept = finished.iter().take_while(|call| found.contains(*call)).count();
    assert!(kept >= RECORDS / 2 - AT_ONCE, "{kept} of {} records", finished.len());
    let after: Vec<&String> = finished[kept..].iter().filter(|call| found.contains(*call)).collect();
    assert!(after.len() < AT_ONCE, "the {kept}th record is missing, and there are {after:?}");

    // The successor: all phones are reached without registering again.
    called.lock().expect("not poisoned").clear();
    let (mut server, again) = start(folder.path());
    assert_eq!(again, address);
    caller.again = false;
    (0..PHONES).for_each(|_| caller.call());
    let begun = Instant::now();
    while called.lock().expect("not poisoned").len() < PHONES || caller.finished.len() < PHONES {
        assert!(begun.elapsed() < PATIENCE, "{:?}\n{}", called.lock(), server.output());
        caller.turn();
    }
    server.signal(Signal::SIGTERM);
    server.assert_exit(0);
    stop.store(true, Ordering::Relaxed);
    answering.join().expect("the phones");
    let now = fs::read(&cdr).expect("records");
    assert!(now.starts_with(&before) && now.len() > before.len(), "records were changed by the next server");
    assert!(records(&cdr).iter().all(|record| record["disposition"] == "ANSWERED"));
}

#[test]
fn a_server_that_is_stopped_writes_the_records_of_calls_whose_parties_answer_no_bye() {
    let folder = tempfile::tempdir().expect("a folder");
    configure(folder.path(), 0);
    let (phones, phones_at) = socket();
    let (caller_socket, caller_at) = socket();
    let (mut server, address) = start(folder.path());
    register(address, &phones, phones_at);
    let stop = AtomicBool::new(false);
    let called = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        scope.spawn(|| answer(&phones, phones_at, &stop, &called));
        let mut caller = Caller { hangs_up: false, ..Caller::new(&caller_socket, caller_at, address) };
        (0..PHONES).for_each(|_| caller.call());
        let begun = Instant::now();
        while caller.answered < PHONES {
            assert!(begun.elapsed() < PATIENCE, "{}", server.output());
            caller.turn();
        }
        stop.store(true, Ordering::Relaxed);
    });
    server.signal(Signal::SIGTERM);
    server.assert_exit(0);
    assert_eq!(records(&folder.path().join("cdr.jsonl")).len(), 2 * PHONES);
}
