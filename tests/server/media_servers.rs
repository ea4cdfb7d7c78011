//! `b2b --role media` and the b2bua whose media it carries, as two programs: calls through it, its death, the
//! b2bua's death, lists of servers, tokens.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::SocketAddr;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::child::{B2b, b2b};
use crate::server::control::all_quiet;
use crate::server_support::phone::{Dialog, Phone, field};
use crate::server_support::{Server, exchange, server, until};

/// A media server on this machine; killed on drop.
pub struct MediaServer {
    pub process: B2b,
    pub at: SocketAddr,
}

impl MediaServer {
    /// With these additional flags, on a free port.
    pub fn start(flags: &[&str]) -> MediaServer {
        MediaServer::start_by(&mut std::process::Command::new(env!("CARGO_BIN_EXE_b2b")), flags)
    }

    /// The same with another command.
    pub fn start_by(command: &mut std::process::Command, flags: &[&str]) -> MediaServer {
        let mut args = vec!["--role", "media"];
        if !flags.contains(&"--listen") {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        if !flags.contains(&"--rtp-ports") {
            args.extend(["--rtp-ports", "20000-59999"]);
        }
        args.extend(flags);
        let mut process = B2b::start(command.args(args));
        let line = process.wait_for_line("READY role=media");
        let at = line.split("listen=").nth(1).and_then(|at| at.parse().ok());
        MediaServer { process, at: at.unwrap_or_else(|| panic!("no address in {line:?}")) }
    }

    /// Its load report.
    pub fn load(&self) -> Value {
        let request = format!("GET /v1/load HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.at);
        exchange(self.at, request.as_bytes()).json()
    }

    pub fn holds(&self, endpoints: usize) {
        until("endpoints at the media server", || (self.load()["endpoints"] == endpoints).then_some(()));
    }
}

/// A b2bua with media on these servers, and one party to which all calls go; ready for calls.
pub fn carried_by(controller: &str, bob: &Phone, lines: &str) -> Server {
    let server =
        server(&format!("[media]\ncontroller = {controller}\n{lines}[[route]]\nto = \"{}\"\n", bob.uri()));
    let servers = controller.matches("://").count();
    until("sessions with all media servers", || {
        let page = server.get("/metrics").text();
        let up = page.lines().filter(|it| it.starts_with("b2b_media_server_up{") && it.ends_with(" 1"));
        (up.count() == servers).then_some(())
    });
    server
}

pub fn call(server: &Server, ann: &Phone, bob: &Phone) -> (Dialog, Dialog) {
    std::thread::scope(|scope| {
        let answered = scope.spawn(|| bob.answer());
        let asked = ann.call(server.sip, "200");
        (asked, answered.join().expect("answered"))
    })
}

pub fn hang_up(ann: &Phone, dialog: &Dialog, bob: &Phone) {
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(dialog);
    });
}

fn a_call_through(scheme: &str) {
    let media = MediaServer::start(&[]);
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = carried_by(&format!("\"{scheme}://{}\"", media.at), &bob, "");
    assert_eq!(media.load()["sessions"], 1);
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    let to_bob = rtp_of(&invite);
    bob.ring_to(&invite, peer);
    ann.hear("SIP/2.0 180");
    let answering = std::thread::scope(|scope| {
        let answered = scope.spawn(|| bob.answer_to(&invite, peer));
        let (answer, _) = ann.hear("SIP/2.0 200");
        let dialog = ann.confirmed(&answer, asked, server.sip);
        answered.join().expect("answered");
        (dialog, rtp_of(&answer))
    });
    let (dialog, to_ann) = answering;
    media.holds(2);
    // Audio both ways.
    std::thread::scope(|scope| {
        scope.spawn(|| bob.speak(to_bob, 100));
        ann.speak(to_ann, 100);
    });
    assert!(ann.listen(20).iter().chain(&bob.listen(20)).all(|packet| packet.len() == 172));
    hang_up(&ann, &dialog, &bob);
    all_quiet(&server);
    assert_eq!(server.metric("b2b_held{what=\"media_requests\"}"), 0.0);
    media.holds(0);
    until("a record of each leg", || {
        let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
        (text.lines().count() == 2).then_some(())
    });
}

/// The RTP address in a message's description.
fn rtp_of(message: &str) -> SocketAddr {
    let line = |start| message.lines().find(|line| line.starts_with(start)).expect("a description");
    let (ip, port) = (line("c=").split(' ').nth(2), line("m=").split(' ').nth(1));
    format!("{}:{}", ip.expect("an address"), port.expect("a port")).parse().expect("an address")
}

#[test]
fn a_call_goes_through_a_media_server_over_rest() {
    a_call_through("http");
}

#[test]
fn a_call_goes_through_a_media_server_over_grpc() {
    a_call_through("grpc");
}

/// Makes this many simultaneous calls, each by its own caller.
pub fn calls(server: &Server, bob: &Phone, count: usize) -> Vec<(Phone, Dialog)> {
    let mut seen = HashSet::new();
    let mut one = || {
        let ann = Phone::new("ann");
        let dialog = std::thread::scope(|scope| {
            scope.spawn(|| {
                // On a slow machine the INVITE is retransmitted.
                let (invite, peer) = loop {
                    let (invite, peer) = bob.hear("INVITE");
                    if seen.insert(field(&invite, "Call-ID")) {
                        break (invite, peer);
                    }
                };
                bob.answer_to(&invite, peer)
            });
            ann.call(server.sip, "200")
        });
        (ann, dialog)
    };
    (0..count).map(|_| one()).collect()
}

#[test]
fn parties_of_a_media_server_that_is_killed_hear_each_other_by_the_next_one() {
    let (first, second) = (MediaServer::start(&[]), MediaServer::start(&[]));
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let list = format!("[\"http://{}\", \"grpc://{}\"]", first.at, second.at);
    let server = carried_by(&list, &bob, "");
    let (dialog, _) = call(&server, &ann, &bob);
    first.holds(2);
    let at = first.at.to_string();
    drop(first);
    // Each is asked once, in the same session.
    let told = std::thread::scope(|scope| {
        let told = [&ann, &bob].map(|phone| scope.spawn(|| phone.answer_again("sendrecv")));
        told.map(|told| told.join().expect("a re-INVITE"))
    });
    let origin = |message: &String| {
        let line = message.lines().find(|line| line.starts_with("o=")).expect("an origin");
        line.split(' ').nth(2).map(str::to_owned)
    };
    assert_eq!(told.each_ref().map(origin), [Some("2".to_owned()), Some("2".to_owned())], "{told:?}");
    second.holds(2);
    let [to_ann, to_bob] = told.each_ref().map(|invite| rtp_of(invite));
    std::thread::scope(|scope| {
        scope.spawn(|| bob.speak(to_bob, 100));
        ann.speak(to_ann, 100);
    });
    assert!(ann.listen(20).iter().chain(&bob.listen(20)).all(|packet| packet.len() == 172));
    // The first one is back: calls stay together.
    let first = MediaServer::start(&["--listen", &at]);
    until("the first one again", || {
        (server.metric(&format!("b2b_media_server_up{{server=\"{at}\"}}")) == 1.0).then_some(())
    });
    let eve = Phone::new("eve");
    let (other, _) = call(&server, &eve, &bob);
    second.holds(4);
    first.holds(0);
    hang_up(&ann, &dialog, &bob);
    hang_up(&eve, &other, &bob);
    all_quiet(&server);
    second.holds(0);
}

#[test]
fn calls_of_the_only_media_server_are_ended_and_reported_when_it_is_killed() {
    const CALLS: usize = 100;
    let media = MediaServer::start(&[]);
    let bob = Phone::new("bob");
    let server = carried_by(&format!("\"http://{}\"", media.at), &bob, "");
    let up = calls(&server, &bob, CALLS);
    media.holds(2 * CALLS);
    media.process.signal(Signal::SIGKILL);
    // Every party of every call gets a BYE.
    let mut told = HashSet::new();
    while told.len() < CALLS {
        told.insert(bob.let_go());
    }
    for (ann, _) in &up {
        ann.let_go();
    }
    let text = until("records of all", || {
        let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
        (text.lines().count() >= 2 * CALLS).then_some(text)
    });
    // Q.850 102, recovery on timer expiry, is the cause for a loss of media. It is recorded for the leg whose
    // loss is noticed first; the call's other leg is hung up with it.
    assert!(text.matches("\"hangup_cause_q850\":102").count() >= CALLS, "{text}");
    all_quiet(&server);
    assert_eq!(server.metric("b2b_held{what=\"media_requests\"}"), 0.0);
    assert_eq!(server.metric(&format!("b2b_media_server_up{{server=\"{}\"}}", media.at)), 0.0);
}

#[test]
fn a_media_server_releases_everything_of_a_b2bua_that_is_killed() {
    let media = MediaServer::start(&[]);
    for scheme in ["http", "grpc"] {
        let bob = Phone::new("bob");
        let server = carried_by(&format!("\"{scheme}://{}\"", media.at), &bob, "");
        let up = calls(&server, &bob, 5);
        media.holds(10);
        server.process.signal(Signal::SIGKILL);
        media.holds(0);
        assert_eq!(media.load()["sessions"], 0, "{scheme}");
        drop(up);
    }
}

#[test]
fn without_a_media_server_a_call_is_refused_with_503_and_when_to_try_again() {
    let bob = Phone::new("bob");
    // Nothing listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let lines = format!("[media]\ncontroller = \"http://{nobody}\"\n[[route]]\nto = \"{}\"\n", bob.uri());
    let server = server(&lines);
    let ann = Phone::new("ann");
    ann.ask_for(server.sip, "200");
    let (refusal, _) = ann.hear("SIP/2.0 503");
    assert!(field(&refusal, "Retry-After").parse::<u32>().is_ok_and(|it| it > 0), "{refusal}");
    all_quiet(&server);
}

#[test]
fn a_full_media_server_gets_no_new_calls() {
    let (first, second) = (MediaServer::start(&["--max-endpoints", "2"]), MediaServer::start(&[]));
    let bob = Phone::new("bob");
    let server = carried_by(&format!("[\"grpc://{}\", \"http://{}\"]", first.at, second.at), &bob, "");
    let one = calls(&server, &bob, 1);
    first.holds(2);
    until("news of the load", || {
        let load = server.metric(&format!("b2b_media_server_load{{server=\"{}\"}}", first.at));
        (load == 2.0).then_some(())
    });
    let two = calls(&server, &bob, 1);
    second.holds(2);
    first.holds(2);
    for (ann, dialog) in one.iter().chain(&two) {
        hang_up(ann, dialog, &bob);
    }
    all_quiet(&server);
}

#[test]
fn a_token_is_needed_whole_and_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "right\n").expect("a file");
    let media = MediaServer::start(&["--token-file", file.to_str().expect("UTF-8")]);
    let asked = |token: &str| {
        let request = format!(
            "GET /v1/load HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n",
            media.at
        );
        exchange(media.at, request.as_bytes())
    };
    assert_eq!(asked("wrong").status, 401);
    assert_eq!(asked("right").json()["sessions"], 0);
    let bob = Phone::new("bob");
    for (scheme, said) in [("http", "401 Unauthorized"), ("grpc", "the token is not the one")] {
        let controller = format!("\"{scheme}://{}\"", media.at);
        let mut wrong = server(&format!(
            "[media]\ncontroller = {controller}\ntoken = \"wrong\"\n[[route]]\nto = \"{}\"\n",
            bob.uri()
        ));
        wrong.process.wait_for_line(said);
        assert_eq!(asked("right").json()["sessions"], 0);
        drop(wrong);
        let right = carried_by(&controller, &bob, "token = \"right\"\n");
        assert_eq!(asked("right").json()["sessions"], 1);
        right.process.signal(Signal::SIGTERM);
        until("the session's end", || (asked("right").json()["sessions"] == 0).then_some(()));
    }
}

#[test]
fn nobody_but_this_machine_is_let_in_without_a_token() {
    for (flags, words) in [
        (["--listen", "0.0.0.0:0"], "--token-file"),
        (["--rtp-bind", "0.0.0.0"], "--rtp-bind"),
        (["--rtp-ports", "9-8"], "range of ports"),
    ] {
        let mut process = b2b(&[&["--role", "media"][..], &flags].concat());
        process.assert_exit(64);
        assert!(process.output().contains(words), "{}", process.output());
    }
}

#[test]
fn a_server_with_the_token_is_let_in_while_others_without_it_hold_every_connection_that_they_get() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "right\n").expect("a file");
    let media = MediaServer::start(&["--token-file", token.to_str().expect("UTF-8")]);
    let request = |token: &str, more: &str| {
        format!("GET /v1/load HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n{more}\r\n", media.at)
    };
    // More than the limit per source; each stays open after its refusal.
    let mut strangers = Vec::new();
    for n in 0..80 {
        let mut stranger = std::net::TcpStream::connect(media.at).expect("a connection");
        stranger.set_read_timeout(Some(crate::common::child::PATIENCE)).expect("a timeout");
        stranger.write_all(request("wrong", "").as_bytes()).expect("written");
        let mut status = [0; 12];
        stranger.read_exact(&mut status).unwrap_or_else(|error| panic!("stranger {n}: {error}"));
        assert_eq!(&status, b"HTTP/1.1 401");
        strangers.push(stranger);
    }
    let answer = exchange(media.at, request("right", "Connection: close\r\n").as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.head);
}

#[test]
fn what_a_stranger_sends_to_a_media_server_is_refused_and_ends_nothing() {
    let media = MediaServer::start(&[]);
    let bob = Phone::new("bob");
    let server = carried_by(&format!("\"http://{}\"", media.at), &bob, "");
    let up = calls(&server, &bob, 1);
    let ask = |method: &str, path: &str, body: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            media.at,
            body.len()
        );
        exchange(media.at, request.as_bytes()).status
    };
    assert_eq!(ask("POST", "/v1/sessions", "{\"version\":99}"), 409);
    assert_eq!(ask("POST", "/v1/sessions", "nonsense"), 400);
    assert_eq!(ask("POST", "/v1/sessions/0/verbs", "{\"batch\":1,\"verbs\":[]}"), 404);
    assert_eq!(ask("GET", "/v1/sessions/0/events?from=0", ""), 404);
    assert_eq!(ask("DELETE", "/v1/sessions/0", ""), 404);
    let long = format!("{{\"batch\":1,\"verbs\":[{}]}}", " ".repeat(5_000_000));
    // A client refused before it has sent everything may not receive the response.
    assert!(matches!(ask("POST", "/v1/sessions/0/verbs", &long), 413 | 0));
    exchange(
        media.at,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then nonsense that is no frame at all, for a while",
    );
    media.holds(2);
    let (ann, dialog) = &up[0];
    hang_up(ann, dialog, &bob);
    all_quiet(&server);
    media.holds(0);
}
