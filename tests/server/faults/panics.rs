//! What a panic costs: a handler's its own call, that of a thread that calls need the process, with
//! a goodbye and a record for every call. `B2B_PANIC` says where it may be had, in debug builds only.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use serde_json::Value;

use super::{NEIGHBOUR, Neighbour};
use crate::server_support::phone::{Phone, rtp_of};
use crate::server_support::{Server, configured, start_by, until};

/// A server in which this place panics when it is told to.
fn breakable(place: &str) -> Server {
    let folder = configured(&format!("{NEIGHBOUR}[[route]]\ncalled = \".*\"\napp = \"milliwatt\"\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command
        .env("B2B_PANIC", place)
        .args(["--role", "b2bua", "--config"])
        .arg(folder.path().join("b2bua.toml"));
    start_by(&mut command, folder)
}

fn records(server: &Server) -> Vec<Value> {
    let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a whole record")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_ends_its_own_call_and_no_other() {
    let mut server = breakable("handler");
    let neighbour = Neighbour::calls(&server).await;
    let ann = Phone::new("ann");
    ann.ask_for(server.sip, "panic");
    ann.hear("SIP/2.0 500");
    until("its record", || records(&server).iter().find(|it| it["callee"] == "panic").cloned());
    // Whoever calls next is served.
    let bob = Phone::new("bob");
    let call = bob.call(server.sip, "901");
    bob.listen(5);
    bob.hang_up(&call);
    neighbour.has_noticed_nothing(&server).await;
    assert_eq!(server.metric("b2b_handler_panics_total"), 1.0);
    assert_eq!(server.metric("b2b_panics_total{thread=\"calls\"}"), 1.0);
    assert_eq!(server.metric("b2b_panics_total{thread=\"media\"}"), 0.0);
    let said = server.process.stderr().join("\n");
    assert!(said.contains("panic in the thread calls"), "{said}");
    server.process.signal(nix::sys::signal::Signal::SIGTERM);
    server.process.assert_exit(0);
}

/// Calls that are up; where the first one's media is received.
fn talking(server: &Server) -> ([Phone; 3], SocketAddr) {
    let phones = ["ann", "bob", "cat"].map(Phone::new);
    let mut rtp = Vec::new();
    for (phone, number) in phones.iter().zip(["901", "902", "903"]) {
        let asked = phone.ask_for(server.sip, number);
        let answer = phone.hear("SIP/2.0 200").0;
        phone.confirmed(&answer, asked, server.sip);
        phone.listen(2);
        rtp.push(rtp_of(&answer));
    }
    (phones, rtp[0])
}

/// Every party is told, every call has its record, and the exit code says why.
fn ends_cleanly(mut server: Server, phones: &[Phone]) {
    for phone in phones {
        phone.let_go();
    }
    server.process.assert_exit(70);
    let mut called: Vec<String> =
        records(&server).iter().map(|it| it["callee"].as_str().expect("a number").to_owned()).collect();
    called.sort();
    assert_eq!(called, ["901", "902", "903"]);
}

#[test]
fn a_panic_of_the_calls_thread_ends_the_process_with_a_goodbye_and_a_record_for_every_call() {
    let server = breakable("calls");
    let (phones, _) = talking(&server);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let at = socket.local_addr().expect("an address");
    let info = format!(
        "INFO sip:x@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKp\r\nMax-Forwards: 70\r\n\
         From: <sip:x@{at}>;tag=p\r\nTo: <sip:x@{to}>;tag=q\r\nCall-ID: p\r\nCSeq: 1 INFO\r\n\
         Content-Type: text/plain\r\nContent-Length: 5\r\n\r\npanic",
        to = server.sip
    );
    socket.send_to(info.as_bytes(), server.sip).expect("sent");
    ends_cleanly(server, &phones);
}

#[test]
fn a_panic_of_a_media_thread_ends_the_process_with_a_goodbye_and_a_record_for_every_call() {
    let server = breakable("media");
    let (phones, rtp) = talking(&server);
    let mut payload = [0xd5; 160];
    payload[155..].copy_from_slice(b"panic");
    phones[0].sound(rtp, 1, &payload);
    ends_cleanly(server, &phones);
}
