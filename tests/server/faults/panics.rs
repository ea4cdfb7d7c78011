//! Effects of a panic: in a handler it ends its own call; in a thread that calls need it ends the process,
//! with a BYE and a CDR for every call. `B2B_PANIC` selects the place, in debug builds only.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use serde_json::Value;

use super::{NEIGHBOUR, Neighbour};
use crate::common::audio::write_wav;
use crate::server::media_servers::{MediaServer, carried_by};
use crate::server_support::phone::{Phone, rtp_of};
use crate::server_support::{Server, configured, start_by, until};

/// A server in which this place can be made to panic.
fn breakable(place: &str) -> Server {
    breakable_with(place, "")
}

/// The same with these lines before the route for all other numbers.
fn breakable_with(place: &str, lines: &str) -> Server {
    let folder = configured(&format!("{NEIGHBOUR}{lines}[[route]]\ncalled = \".*\"\napp = \"milliwatt\"\n"));
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
    // The next caller is served.
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

/// Other calls are not affected, one panic of a media thread is counted, and the process ends normally.
async fn only_one_of_media(mut server: Server, neighbour: Neighbour) {
    neighbour.has_noticed_nothing(&server).await;
    assert_eq!(server.metric("b2b_panics_total{thread=\"media\"}"), 1.0);
    assert_eq!(server.metric("b2b_panics_total{thread=\"calls\"}"), 0.0);
    server.process.signal(nix::sys::signal::Signal::SIGTERM);
    server.process.assert_exit(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_that_panics_costs_the_sound_of_its_own_party_and_nothing_else() {
    let room = "[[conference]]\nname = \"red\"\nannounced = false\n\
                [[route]]\ncalled = \"8000\"\napp = \"conference/red\"\n";
    let server = breakable_with("codec", room);
    let neighbour = Neighbour::calls(&server).await;
    let bob = Phone::new("bob");
    let bobs = bob.call(server.sip, "8000");
    let ann = Phone::new("ann").speaking("111", "a=rtpmap:111 opus/48000/2\r\n");
    let asked = ann.ask_for(server.sip, "8000");
    let answer = ann.hear("SIP/2.0 200").0;
    let anns = ann.confirmed(&answer, asked, server.sip);
    let mut n = 0;
    until("the codec to panic", || {
        ann.other_packet(rtp_of(&answer), (111, n, u32::from(n) * 960), b"\x08a frame, and then panic");
        n += 1;
        (server.metric("b2b_panics_total{thread=\"media\"}") >= 1.0).then_some(())
    });
    // The room goes on, also for Ann.
    bob.listen(20);
    ann.listen(20);
    bob.hang_up(&bobs);
    ann.hang_up(&anns);
    only_one_of_media(server, neighbour).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_whose_decoder_panics_is_passed_over_and_spoils_no_other() {
    let sounds = tempfile::tempdir().expect("a folder");
    let tone: Vec<i16> = (0..8_000).map(|n| if n % 8 < 4 { 4_000 } else { -4_000 }).collect();
    for name in ["panic.wav", "well.wav"] {
        write_wav(&sounds.path().join(name), 8_000, &tone);
    }
    let tree = |name: &str| {
        format!(
            "[[route]]\ncalled = \"{name}\"\napp = \"ivr/{name}\"\n[[ivr]]\nname = \"{name}\"\n\
             [[ivr.node]]\nname = \"say\"\nkind = \"play_prompt\"\nprompt = \"{name}.wav\"\nnext = \"over\"\n\
             [[ivr.node]]\nname = \"over\"\nkind = \"set\"\nvalues = {{ over = \"yes\" }}\nnext = \"end\"\n\
             [[ivr.node]]\nname = \"end\"\nkind = \"hangup\"\n"
        )
    };
    let lines = format!("[prompts]\nfolder = {:?}\n{}{}", sounds.path(), tree("panic"), tree("well"));
    let server = breakable_with("sound", &lines);
    let neighbour = Neighbour::calls(&server).await;
    for (name, least) in [("panic", 0), ("well", 40)] {
        let phone = Phone::new("ann");
        let call = phone.ask_for(server.sip, name);
        phone.confirmed(&phone.hear("SIP/2.0 200").0, call.clone(), server.sip);
        assert_eq!(phone.let_go(), call.1, "{name}");
        let record = until("its record", || records(&server).into_iter().find(|it| it["callee"] == name));
        assert_eq!(record["variables"]["over"], "yes", "{name}: the tree goes on: {record}");
        let tone = phone.payloads().iter().filter(|it| it.iter().any(|octet| *octet != it[0])).count();
        assert!(tone >= least && (tone > 0) == (least > 0), "{name}: {tone} packets of a tone");
    }
    only_one_of_media(server, neighbour).await;
}

#[test]
fn a_media_server_whose_media_thread_panics_ends_with_a_code_that_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.env("B2B_PANIC", "media");
    let mut media = MediaServer::start_by(&mut command, &[]);
    let bob = Phone::new("bob");
    let server = carried_by(&format!("\"http://{}\"", media.at), &bob, "");
    let ann = Phone::new("ann");
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    bob.answer_to(&invite, peer);
    ann.confirmed(&ann.hear("SIP/2.0 200").0, asked, server.sip);
    let mut payload = [0xd5; 160];
    payload[155..].copy_from_slice(b"panic");
    bob.sound(rtp_of(&invite), 1, &payload);
    media.process.assert_exit(70);
    // The server that has the call sends BYE to the parties whose media were carried.
    ann.let_go();
    bob.let_go();
}

/// Established calls, and the address for the first one's media.
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

/// Every party gets a BYE, every call has its CDR, and the exit code gives the reason.
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
