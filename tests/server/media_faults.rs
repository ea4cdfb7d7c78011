//! Media servers that are slow, stalled, dead, full or incompatible, and b2buas that are suspended: the
//! effects on calls, and the alarms raised.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::server::control::all_quiet;
use crate::server::media_servers::{MediaServer, call, calls, carried_by, hang_up};
use crate::server_support::phone::{Phone, field};
use crate::server_support::{Server, server, until};

/// The lease of a session at a media server.
const LEASE: Duration = Duration::from_secs(6);

fn configured(controller: &str, bob: &Phone) -> Server {
    server(&format!("[media]\ncontroller = {controller}\n[[route]]\nto = \"{}\"\n", bob.uri()))
}

/// A proxy to that address whose connections take this long to be established.
fn slow_way(to: SocketAddr, pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                std::thread::sleep(pause);
                let Ok(far) = TcpStream::connect(to) else { return };
                let (Ok(mut near_in), Ok(mut far_in)) = (near.try_clone(), far.try_clone()) else { return };
                let (mut near_out, mut far_out) = (near, far);
                std::thread::spawn(move || std::io::copy(&mut far_in, &mut near_out));
                let _ = std::io::copy(&mut near_in, &mut far_out);
            });
        }
    });
    at
}

#[test]
fn the_first_call_of_all_is_taken_though_the_media_server_is_slow_to_answer() {
    let media = MediaServer::start(&[]);
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let way = slow_way(media.at, Duration::from_millis(700));
    let server = configured(&format!("\"http://{way}\""), &bob);
    let (dialog, _) = call(&server, &ann, &bob);
    media.holds(2);
    hang_up(&ann, &dialog, &bob);
    media.holds(0);
}

/// A proxy to that address; the first connection with an allocation request breaks before its response has
/// passed.
fn breaking_way(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let broken = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for mut near in listener.incoming().map_while(Result::ok) {
            let broken = broken.clone();
            std::thread::spawn(move || {
                let mut far = TcpStream::connect(to).expect("the media server");
                let (mut far_in, mut near_out) =
                    (far.try_clone().expect("a copy"), near.try_clone().expect("a copy"));
                let deaf = Arc::new(AtomicBool::new(false));
                let lost = deaf.clone();
                std::thread::spawn(move || {
                    let mut octets = [0; 16_384];
                    while let Ok(length @ 1..) = far_in.read(&mut octets) {
                        if lost.load(Ordering::SeqCst) || near_out.write_all(&octets[..length]).is_err() {
                            break;
                        }
                    }
                    let _ = near_out.shutdown(Shutdown::Both);
                });
                let mut octets = [0; 16_384];
                while let Ok(length @ 1..) = near.read(&mut octets) {
                    let allocates = octets[..length].windows(8).any(|it| it == b"allocate");
                    if allocates && !broken.swap(true, Ordering::SeqCst) {
                        deaf.store(true, Ordering::SeqCst);
                    }
                    if far.write_all(&octets[..length]).is_err() {
                        break;
                    }
                }
                let _ = far.shutdown(Shutdown::Both);
            });
        }
    });
    at
}

#[test]
fn a_request_whose_answer_is_lost_with_its_connection_is_sent_again_and_done_once() {
    for scheme in ["http", "grpc"] {
        let media = MediaServer::start(&[]);
        let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
        let server = carried_by(&format!("\"{scheme}://{}\"", breaking_way(media.at)), &bob, "");
        let (dialog, _) = call(&server, &ann, &bob);
        media.holds(2);
        assert_eq!(media.load()["sessions"], 1, "{scheme}: the session goes on");
        hang_up(&ann, &dialog, &bob);
        media.holds(0);
    }
}

#[test]
fn calls_outlive_the_lease_of_their_session() {
    let media = MediaServer::start(&[]);
    for scheme in ["http", "grpc"] {
        let bob = Phone::new("bob");
        let server = carried_by(&format!("\"{scheme}://{}\"", media.at), &bob, "");
        let up = calls(&server, &bob, 1);
        let start = Instant::now();
        while start.elapsed() < LEASE + Duration::from_secs(2) {
            assert_eq!(media.load()["endpoints"], 2, "{scheme}, after {:?}", start.elapsed());
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(server.metric("b2b_held{what=\"legs\"}"), 2.0);
        hang_up(&up[0].0, &up[0].1, &bob);
        media.holds(0);
        server.process.signal(Signal::SIGTERM);
        until("the session's end", || (media.load()["sessions"] == 0).then_some(()));
    }
}

#[test]
fn a_b2bua_that_sleeps_through_its_lease_ends_its_calls_and_goes_on() {
    let media = MediaServer::start(&[]);
    let bob = Phone::new("bob");
    let server = carried_by(&format!("\"grpc://{}\"", media.at), &bob, "");
    let up = calls(&server, &bob, 2);
    media.holds(4);
    server.process.signal(Signal::SIGSTOP);
    media.holds(0);
    server.process.signal(Signal::SIGCONT);
    for (ann, _) in &up {
        bob.let_go();
        ann.let_go();
    }
    until("another session", || {
        (server.metric(&format!("b2b_media_server_up{{server=\"{}\"}}", media.at)) == 1.0).then_some(())
    });
    let ann = Phone::new("ann");
    let (dialog, _) = call(&server, &ann, &bob);
    media.holds(2);
    hang_up(&ann, &dialog, &bob);
    all_quiet(&server);
}

#[test]
fn a_media_server_that_hangs_is_as_good_as_dead_and_holds_nothing_once_it_wakes() {
    let (first, second) = (MediaServer::start(&[]), MediaServer::start(&[]));
    let bob = Phone::new("bob");
    let server = carried_by(&format!("[\"grpc://{}\", \"http://{}\"]", first.at, second.at), &bob, "");
    let up = calls(&server, &bob, 2);
    first.holds(4);
    first.process.signal(Signal::SIGSTOP);
    for (ann, _) in &up {
        bob.let_go();
        ann.let_go();
    }
    let ann = Phone::new("ann");
    let (dialog, _) = call(&server, &ann, &bob);
    second.holds(2);
    first.process.signal(Signal::SIGCONT);
    first.holds(0);
    hang_up(&ann, &dialog, &bob);
    all_quiet(&server);
}

/// Active alarms about media: names and subjects.
pub fn alarms(server: &Server) -> Vec<(String, String)> {
    let standing = server.get("/alarms").json();
    let alarms = standing["alarms"].as_array().expect("a list").iter().map(|alarm| {
        for said in ["text", "fix"] {
            assert!(alarm[said].as_str().is_some_and(|text| !text.is_empty()), "{alarm}");
        }
        let word = |name: &str| alarm[name].as_str().expect("a text").to_owned();
        (word("name"), word("subject"))
    });
    alarms.filter(|(name, _)| matches!(&**name, "no_media" | "media_server_down")).collect()
}

/// Waits until exactly these are active.
pub fn alarmed(server: &Server, expected: &[(&str, String)]) {
    until("these alarms and no others", || {
        let standing = alarms(server);
        let same =
            standing.iter().map(|(name, subject)| (&**name, subject.clone())).eq(expected.iter().cloned());
        same.then_some(())
    });
}

#[test]
fn alarms_stand_while_a_media_server_is_dead_and_while_none_takes_calls() {
    let first = MediaServer::start(&[]);
    let second = MediaServer::start(&["--max-endpoints", "2"]);
    let bob = Phone::new("bob");
    let server = carried_by(&format!("[\"http://{}\", \"grpc://{}\"]", first.at, second.at), &bob, "");
    alarmed(&server, &[]);
    let at = first.at.to_string();
    first.process.signal(Signal::SIGKILL);
    let dead = ("media_server_down", at.clone());
    alarmed(&server, std::slice::from_ref(&dead));
    assert_eq!(server.metric("b2b_alarms{alarm=\"media_server_down\"}"), 1.0);
    assert_eq!(server.metric("b2b_alarms{alarm=\"no_media\"}"), 0.0);
    // The other one is full now, so no server is left.
    let ann = Phone::new("ann");
    let (dialog, _) = call(&server, &ann, &bob);
    alarmed(&server, &[("no_media", String::new()), dead.clone()]);
    let eve = Phone::new("eve");
    eve.ask_for(server.sip, "200");
    let (refusal, _) = eve.hear("SIP/2.0 503");
    assert!(field(&refusal, "Retry-After").parse::<u32>().is_ok_and(|it| it > 0), "{refusal}");
    hang_up(&ann, &dialog, &bob);
    alarmed(&server, &[dead]);
    drop(first);
    let _first = MediaServer::start(&["--listen", &at]);
    alarmed(&server, &[]);
}

/// A media server over REST that answers session requests with these words, and nothing else; also returns
/// the request lines received.
fn welcoming(words: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let heard = heard.clone();
            std::thread::spawn(move || {
                let mut octets = [0; 4_096];
                while let Ok(length @ 1..) = stream.read(&mut octets) {
                    let text = String::from_utf8_lossy(&octets[..length]).into_owned();
                    let line = text.lines().next().unwrap_or_default().to_owned();
                    let begins = line.starts_with("POST /v1/sessions ");
                    heard.lock().expect("a lock").push(line);
                    if begins {
                        let head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length";
                        let _ = write!(stream, "{head}: {}\r\n\r\n{words}", words.len());
                    }
                }
            });
        }
    });
    (at, asked)
}

#[test]
fn a_media_server_that_cannot_do_what_is_needed_or_is_of_another_version_gets_no_calls() {
    const LOAD: &str = r#""load":{"version":4,"sessions":1,"endpoints":0,"most":9,"conferences":0,"recordings":0,"accepting":true}}"#;
    let some =
        r#"{"version":4,"session":"k","lease_ms":6000,"capabilities":["endpoints","pairs","bridges"],"#;
    let old = r#"{"version":1,"session":"k","lease_ms":6000,"capabilities":[],"#;
    for (begin, said) in [(some, "it cannot do"), (old, "version 1, and ours is 4")] {
        let words: &'static str = Box::leak(format!("{begin}{LOAD}").into_boxed_str());
        let (at, asked) = welcoming(words);
        let bob = Phone::new("bob");
        let mut server = configured(&format!("\"http://{at}\""), &bob);
        server.process.wait_for_line(said);
        assert_eq!(server.metric(&format!("b2b_media_server_up{{server=\"{at}\"}}")), 0.0);
        let ann = Phone::new("ann");
        ann.ask_for(server.sip, "200");
        ann.hear("SIP/2.0 503");
        alarmed(&server, &[("no_media", String::new()), ("media_server_down", at.to_string())]);
        assert!(asked.lock().expect("a lock").iter().all(|line| line.starts_with("POST /v1/sessions ")));
    }
}
