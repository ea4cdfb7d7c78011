//! Calls whose media other programs carry go on in the next process: their sound has never stopped.

use std::fs;
use std::net::UdpSocket;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server::media_servers::MediaServer;
use crate::server::ng_daemon::faithful_daemon;
use crate::server::survive::{Talk, folder, hear_each_other, killed, records, talk, written};
use crate::server_support::phone::{Phone, rtp_of};
use crate::server_support::{Server, exchange, start, until};

/// A folder as in `survive`, with media elsewhere.
fn carried(ip: &str, bob: &Phone, survive: &str, controller: &str) -> tempfile::TempDir {
    let folder = folder(ip, bob, survive);
    let path = folder.path().join("b2bua.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let text = text.replace("[media]\n", &format!("[media]\ncontroller = \"{controller}\"\n"));
    fs::write(&path, text).expect("a configuration");
    folder
}

/// Waits until these calls are in memory, and the latest has no ACK under way: one that comes while nobody is there is
/// lost.
fn up(server: &Server, calls: usize) {
    until("the ACKs", || {
        let all = server.get("/calls").json();
        let messages = |call: &Value| {
            server.get(&format!("/calls/{}/messages", call["call"])).text().matches("ACK sip:").count()
        };
        (all["calls"].as_array()?.iter().map(messages).sum::<usize>() >= 2).then_some(())
    });
    written(server.folder.path(), calls, 2 * calls);
}

fn two_records(server: &Server) {
    let records = until("the records", || Some(records(server)).filter(|all| all.len() == 2));
    assert!(records.iter().all(|record| record["disposition"] == "ANSWERED"), "{records:?}");
}

fn a_call_on_a_media_server(scheme: &str, ip: &str) {
    let media = MediaServer::start(&[]);
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(Phone::new);
    let server = start(carried(ip, &bob, "", &format!("{scheme}://{}", media.at)));
    let first = talk(&server, &ann, &bob);
    hear_each_other(&ann, &bob, &first);
    up(&server, 1);
    let folder = killed(server);
    hear_each_other(&ann, &bob, &first);
    let server = start(folder);
    assert!(!ann.has_heard("BYE") && !bob.has_heard("BYE"));
    hear_each_other(&ann, &bob, &first);
    assert_eq!(media.load()["sessions"], 1, "the same session");
    media.holds(2);
    // A call that begins now gets no number of the other one, and both go on.
    let second = talk(&server, &cat, &bob);
    media.holds(4);
    up(&server, 2);
    let server = start(killed(server));
    for (phone, talk) in [(&ann, &first), (&cat, &second)] {
        hear_each_other(phone, &bob, talk);
        std::thread::scope(|scope| {
            scope.spawn(|| bob.let_go());
            phone.hang_up(&talk.of_ann);
        });
    }
    let records = until("the records", || Some(records(&server)).filter(|all| all.len() == 4));
    assert!(records.iter().all(|record| record["disposition"] == "ANSWERED"), "{records:?}");
    media.holds(0);
    assert_eq!(server.metric("b2b_held{what=\"media_endpoints\"}"), 0.0);
    written(server.folder.path(), 0, 0);
}

#[test]
fn a_call_on_a_media_server_goes_on_after_a_kill_over_rest() {
    a_call_on_a_media_server("http", "127.0.79.21");
}

#[test]
fn a_call_on_a_media_server_goes_on_after_a_kill_over_grpc() {
    a_call_on_a_media_server("grpc", "127.0.79.22");
}

#[test]
fn parties_whose_media_server_has_gone_meanwhile_talk_on_after_a_reinvite() {
    let media = MediaServer::start(&[]);
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let server = start(carried("127.0.79.23", &bob, "", &format!("http://{}", media.at)));
    let talk = talk(&server, &ann, &bob);
    up(&server, 1);
    let folder = killed(server);
    let at = media.at.to_string();
    media.process.signal(Signal::SIGKILL);
    drop(media);
    let media = MediaServer::start(&["--listen", &at]);
    let server = start(folder);
    let rtp = std::thread::scope(|scope| {
        let told = [&ann, &bob].map(|phone| scope.spawn(|| phone.answer_again("sendrecv")));
        told.map(|told| rtp_of(&told.join().expect("a re-INVITE")))
    });
    let talk = Talk { rtp, ..talk };
    hear_each_other(&ann, &bob, &talk);
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&talk.of_ann);
    });
    two_records(&server);
    media.holds(0);
}

#[test]
fn a_call_that_is_too_old_is_released_at_its_media_server() {
    let media = MediaServer::start(&[]);
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let server = start(carried("127.0.79.24", &bob, "max_age_s = 1\n", &format!("http://{}", media.at)));
    let _talk = talk(&server, &ann, &bob);
    up(&server, 1);
    let folder = killed(server);
    // Only time makes it too old.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    media.holds(2);
    let _server = start(folder);
    ann.let_go();
    bob.let_go();
    media.holds(0);
}

/// Begins a session at a media server with this body; the status, and what it says.
fn begin(media: &MediaServer, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        media.at,
        body.len()
    );
    let answer = exchange(media.at, request.as_bytes());
    (answer.status, if answer.status == 201 { answer.json() } else { Value::Null })
}

#[test]
fn endpoints_are_given_to_nobody_who_does_not_know_the_key_of_their_session() {
    let media = MediaServer::start(&[]);
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let server = start(carried("127.0.79.25", &bob, "", &format!("http://{}", media.at)));
    let call = talk(&server, &ann, &bob);
    media.holds(2);
    let resumes = |key: &str, endpoints: &Value| {
        begin(&media, &json!({ "version": 4, "resumes": { "session": key, "endpoints": endpoints } }))
    };
    let all: Value = (1..100).collect();
    for key in ["", "0", "00000000000000000000000000000000", "../sessions"] {
        assert_eq!(resumes(key, &all).0, 404, "{key:?}");
    }
    // One who has a session of its own gets nothing else by it, and what it does not name it loses.
    let (status, own) = begin(&media, &json!({ "version": 4 }));
    assert_eq!((status, &own["resumed"]), (201, &Value::Null));
    let (status, again) = resumes(own["session"].as_str().expect("a key"), &all);
    assert_eq!(
        (status, &again["session"], &again["resumed"]["endpoints"]),
        (201, &own["session"], &json!([]))
    );
    media.holds(2);
    hear_each_other(&ann, &bob, &call);
    assert_eq!(server.metric("b2b_held{what=\"legs\"}"), 2.0);
}

#[test]
fn a_session_at_rtpengine_goes_on_after_a_kill_and_is_told_nothing_again() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let at = socket.local_addr().expect("an address");
    let heard = faithful_daemon(socket);
    let asked = |command: &str| -> Vec<String> {
        let heard = heard.lock().expect("a lock");
        let calls = heard.commands.iter().filter(|(it, _)| it == command);
        calls.map(|(_, call)| call.clone()).collect()
    };
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let server = start(carried("127.0.79.26", &bob, "", &format!("rtpengine://{at}")));
    let call = talk(&server, &ann, &bob);
    up(&server, 1);
    // Each is opened, and then told of the other.
    let offers = until("both legs told", || Some(asked("offer")).filter(|it| it.len() >= 4));
    let calls: std::collections::BTreeSet<String> = offers.iter().cloned().collect();
    assert_eq!(calls.len(), 2, "{offers:?}");
    let folder = killed(server);
    let (before, looked) = (asked("offer").len(), asked("query").len());
    let server = start(folder);
    until("questions of the next process", || (asked("query").len() >= looked + 2).then_some(()));
    assert_eq!(asked("offer").len(), before, "nothing is told again");
    assert!(!ann.has_heard("BYE") && !bob.has_heard("BYE"));
    // A hold is told in the same session.
    ann.change(&call.of_ann, 2, "sendonly");
    let offers = until("the hold", || Some(asked("offer")).filter(|it| it.len() > before));
    assert!(offers.iter().all(|it| calls.contains(it)), "{offers:?}");
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&call.of_ann);
    });
    two_records(&server);
    let deleted = until("the end of both", || Some(asked("delete")).filter(|it| it.len() >= 2));
    assert_eq!(deleted.into_iter().collect::<std::collections::BTreeSet<_>>(), calls);
}
