//! A message that brings the server down does so once: its call ends, what is left of it is refused, and all else goes on.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::keep::{Kept, asked, keeper, options};
use super::survive::{folder, hear_each_other, records, talk, written};
use crate::server_support::phone::Phone;
use crate::server_support::{start_by, until};

/// A server that dies at messages that end with `panic` or `abort`.
fn kept(at: &str, folder: tempfile::TempDir) -> Kept {
    let path = folder.path().join("b2bua.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    // Each server has the same one.
    let text = text.replace("[http]\nlisten = \"127.0.0.1:0\"", &format!("[http]\nlisten = \"{at}:8080\""));
    fs::write(&path, text).expect("a configuration");
    let mut command = keeper(env!("CARGO_BIN_EXE_b2b"), folder.path());
    Kept { server: start_by(command.env("B2B_PANIC", "calls"), folder) }
}

#[test]
fn a_call_whose_message_brings_the_server_down_ends_and_others_go_on() {
    for (at, how, told) in [("127.0.84.4", "panic", "a panic"), ("127.0.84.5", "abort", "SIGABRT")] {
        let [ann, bob, cat] = ["ann", "bob", "cat"].map(Phone::new);
        let kept = kept(at, folder(at, &bob, ""));
        let broken = talk(&kept.server, &ann, &bob);
        // Bob has a second line.
        let stays = talk(&kept.server, &cat, &bob);
        hear_each_other(&cat, &bob, &stays);
        written(kept.server.folder.path(), 2, 4);
        let info = || ann.request_with(&broken.of_ann, "INFO", 2, "Content-Type: text/plain\r\n", how);
        info();
        kept.is_ready(2);
        std::thread::scope(|scope| {
            scope.spawn(|| ann.let_go());
            bob.let_go();
        });
        info();
        asked(kept.server.sip, "after")();
        info();
        hear_each_other(&cat, &bob, &stays);
        let lost = until("the records", || Some(records(&kept.server)).filter(|all| all.len() == 2));
        assert!(lost.iter().all(|record| record["hangup_cause_q850"] == 41), "{lost:?}");

        let fault = kept.server.get("/survive").json()["before"]["fault"].clone();
        assert_eq!((&fault["how"], &fault["call"]), (&told.into(), &lost[0]["call_id"]), "{fault}");
        let report = kept.server.folder.path().join("calls.fault-1");
        assert_eq!(fs::metadata(&report).expect("a report").permissions().mode() & 0o777, 0o600);
        let report = fs::read_to_string(&report).expect("a report");
        assert!(report.contains("CSeq: 2 INFO") && report.contains("{\"begin\":"), "{report}");

        std::thread::scope(|scope| {
            scope.spawn(|| bob.let_go());
            cat.hang_up(&stays.of_ann);
        });
        let all = until("the records", || Some(records(&kept.server)).filter(|all| all.len() == 4));
        assert!(all[2..].iter().all(|record| record["resumed"] == 1), "{all:?}");
        written(kept.server.folder.path(), 0, 0);
        assert_eq!(kept.servers().len(), 2, "it has died once");
    }
}

#[test]
fn a_stranger_whose_message_brings_the_server_down_is_banned() {
    let bob = Phone::new("bob");
    let folder = folder("127.0.84.6", &bob, "");
    let path = folder.path().join("b2bua.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, text.replace("127.0.0.0/8", "127.0.0.1")).expect("a configuration");
    let kept = kept("127.0.84.6", folder);
    let to = kept.server.sip;
    let stranger = UdpSocket::bind("127.0.0.9:0").expect("loopback");
    let from = stranger.local_addr().expect("an address");
    let info = options(from, to, "UDP", "bad")
        .replace("OPTIONS", "INFO")
        .replace("Content-Length: 0", "Content-Length: 5")
        + "panic";
    stranger.send_to(info.as_bytes(), to).expect("loopback");
    kept.is_ready(2);
    kept.says("127.0.0.9 is banned for 600 s");
    stranger.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    // The endpoint itself had answered before anything was stepped.
    while stranger.recv(&mut [0; 2_048]).is_ok() {}
    for again in [info, options(from, to, "UDP", "another")] {
        stranger.send_to(again.as_bytes(), to).expect("loopback");
        assert!(stranger.recv(&mut [0; 2_048]).is_err(), "it is banned");
    }
    // Others are served.
    asked(to, "others")();
    assert_eq!(kept.servers().len(), 2);
}
