//! A call between two baresips, replayed from its journal by a b2b in an empty folder and without a
//! configuration: every message equals the one captured by tshark, to the last byte.
//! `cargo test --test program interop::journal:: -- --ignored` needs `baresip` (baresip-core) and `tshark`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::interop::support::baresip::{Baresip, Setup};
use crate::interop::support::signal;
use crate::interop::support::wire::Capture;
use crate::server_support::{server, until};

/// The messages that `b2b replay --messages` has printed as sent: destination and text.
fn sent(said: &str) -> BTreeSet<(String, String)> {
    let begins = |line: &str| {
        let (moment, rest) = line.trim_start().split_once("  ")?;
        moment.parse::<f64>().ok()?;
        Some(rest.strip_prefix("to ").map(|rest| rest.split(' ').next().unwrap_or_default().to_owned()))
    };
    let (mut sent, mut to, mut text) = (BTreeSet::new(), None, String::new());
    for line in said.split_inclusive('\n') {
        match begins(line.trim_end()) {
            None => text.push_str(line),
            Some(next) => {
                let message = std::mem::take(&mut text);
                // Each is preceded by an empty line, and followed by a line end.
                sent.extend(
                    to.replace(next).flatten().map(|to| (to, message[1..message.len() - 1].to_owned())),
                );
            }
        }
    }
    sent
}

#[test]
#[ignore = "needs baresip and tshark; .ci/run installs them"]
fn interop_a_call_of_two_baresips_is_run_again_elsewhere_to_the_last_byte() {
    let folder = tempfile::tempdir().expect("dir");
    let (place, said) = (|name: &str| folder.path().join(name), signal(20));
    let callee = Baresip::start(&place("callee"), &Setup::saying(&said), &[]);
    let server = server(&format!("[[route]]\ncalled = \"100\"\nto = \"{}\"\n", callee.uri()));
    let capture = Capture::start(folder.path(), &format!("udp port {}", server.sip.port()));
    let dial = format!("/dial sip:100@{}", server.sip);
    let setup = Setup { config: "module stdio.so\n", ..Setup::saying(&said) };
    let mut caller = Baresip::start(&place("caller"), &setup, &["-e", &dial]);
    let talks = |server: &crate::server_support::Server| {
        let calls = server.get("/calls").json();
        let call = &calls["calls"][0];
        (call["state"] == "bridged").then(|| call["call"].as_u64().expect("a number"))
    };
    let call = until("the call to be up", || talks(&server));
    // baresip does not report the end of a transaction, and accepts no other before it.
    thread::sleep(Duration::from_secs(1));
    for key in ["/hold", "/resume"] {
        caller.running.types(key);
        thread::sleep(Duration::from_secs(1));
    }
    caller.end();
    until("its end", || (server.get(&format!("/calls/{call}")).json()["over"] == true).then_some(()));
    let journal = server.get(&format!("/calls/{call}/journal?secrets=keep"));
    assert_eq!(journal.status, 200, "{}", journal.text());
    callee.end();
    let wire = capture.end();

    fs::create_dir(place("elsewhere")).expect("a folder");
    fs::write(place("elsewhere").join("call.journal"), &journal.body).expect("a file");
    let mut b2b = Command::new(env!("CARGO_BIN_EXE_b2b"));
    b2b.current_dir(place("elsewhere")).env_clear().args(["replay", "--messages", "call.journal"]);
    let replayed = b2b.output().expect("b2b");
    let printed = String::from_utf8(replayed.stdout).expect("UTF-8");
    assert!(replayed.status.success(), "{printed}");

    let seen: BTreeSet<(String, String)> = wire
        .sip(server.sip.port())
        .into_iter()
        .filter(|it| it.from == server.sip)
        .map(|it| (it.to.to_string(), it.text))
        .collect();
    let count = |begin: &str, has: &str| {
        seen.iter().filter(|(_, text)| text.starts_with(begin) && text.contains(has)).count()
    };
    let (calls, agrees) = (count("INVITE ", ""), count("SIP/2.0 200 ", " INVITE\r\n"));
    assert_eq!((calls, agrees, count("BYE ", "")), (1, 3, 1), "the call, hold and back, its end: {seen:#?}");
    assert_eq!(sent(&printed), seen);
}
