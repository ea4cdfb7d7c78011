//! Copies of SIP messages for a HEPv3 collector, as received there.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server_support::child::{B2b, PATIENCE};
use crate::server_support::phone::Phone;
use crate::server_support::{Server, configured, server, until};

/// A collector that parses chunks, and nothing else of HEP.
struct Collector(UdpSocket);

/// Chunks by their type.
type Chunks = BTreeMap<u16, Vec<u8>>;

impl Collector {
    fn new() -> Collector {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        Collector(socket)
    }

    fn next(&self) -> Option<Chunks> {
        let mut buffer = vec![0; 65_536];
        let (length, _) = self.0.recv_from(&mut buffer).ok()?;
        let packet = &buffer[..length];
        assert_eq!(&packet[..4], b"HEP3");
        let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        assert_eq!(usize::from(number(4)), length, "the length in the head");
        let (mut at, mut chunks) = (6, Chunks::new());
        while at < length {
            let size = usize::from(number(at + 4));
            assert_eq!(number(at), 0, "a generic chunk");
            chunks.insert(number(at + 2), packet[at + 6..at + size].to_vec());
            at += size;
        }
        assert_eq!(at, length);
        Some(chunks)
    }

    /// All messages up to one that begins like this.
    fn until(&self, beginning: &str) -> Vec<Chunks> {
        let (start, mut heard) = (Instant::now(), Vec::new());
        while start.elapsed() < PATIENCE {
            let Some(chunks) = self.next() else { continue };
            let is_it = chunks[&0x0F].starts_with(beginning.as_bytes());
            heard.push(chunks);
            if is_it {
                return heard;
            }
        }
        panic!("no {beginning:?} among {} messages", heard.len());
    }
}

fn exports(collector: &Collector, calls: &str, bob: &Phone) -> Server {
    let port = collector.0.local_addr().expect("an address").port();
    server(&format!(
        "[hep]\ncollector = \"127.0.0.1:{port}\"\ncapture_id = 2001\npassword = \"homer\"\ncalls = \"{calls}\"\n\
         [[route]]\ncalled = \".*\"\nto = \"{}\"\n",
        bob.uri()
    ))
}

fn call(server: &Server, ann: &Phone, bob: &Phone) -> crate::server_support::phone::Dialog {
    std::thread::scope(|scope| {
        let answered = scope.spawn(|| bob.answer());
        let dialog = ann.call(server.sip, "200");
        answered.join().expect("Bob has answered");
        dialog
    })
}

fn hang_up(ann: &Phone, bob: &Phone, dialog: &crate::server_support::phone::Dialog) {
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(dialog);
    });
}

#[test]
fn every_message_of_a_call_reaches_the_collector_whole_with_who_sent_it_to_whom() {
    let (ann, bob, collector) = (Phone::new("ann"), Phone::new("bob"), Collector::new());
    let server = exports(&collector, "all", &bob);
    let dialog = call(&server, &ann, &bob);
    hang_up(&ann, &bob, &dialog);
    let heard = collector.until("BYE");
    let first = &heard[0];
    let text = String::from_utf8_lossy(&first[&0x0F]).into_owned();
    assert!(text.starts_with("INVITE sip:200@") && text.ends_with("RTP/AVP 8\r\n"), "{text}");
    assert_eq!((&*first[&1], &*first[&2], &*first[&0x0B]), (&[2u8][..], &[17u8][..], &[1u8][..]));
    assert_eq!((&*first[&3], &*first[&4]), (&[127, 0, 0, 1][..], &[127, 0, 0, 1][..]));
    let port =
        |chunks: &Chunks, kind| u16::from_be_bytes(chunks[&kind].clone().try_into().expect("two octets"));
    assert!(ann.uri().ends_with(&port(first, 7).to_string()), "from Ann");
    assert_eq!(port(first, 8), server.sip.port());
    assert_eq!((&*first[&0x0C], &*first[&0x0E]), (&[0, 0, 7, 0xD1][..], &b"homer"[..]));
    assert!(text.contains(&format!("Call-ID: {}\r\n", String::from_utf8_lossy(&first[&0x11]))));
    let seconds = u32::from_be_bytes(first[&9].clone().try_into().expect("four octets"));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    assert!(now - u64::from(seconds) < 300, "{seconds} is no time of today");
    // Both legs, both ways, each with its own Call-ID.
    let lines: Vec<String> = heard
        .iter()
        .map(|it| String::from_utf8_lossy(&it[&0x0F]).lines().next().unwrap_or("").to_owned())
        .collect();
    let count = |beginning: &str| lines.iter().filter(|line| line.starts_with(beginning)).count();
    assert_eq!((count("INVITE"), count("SIP/2.0 200"), count("ACK")), (2, 2, 2), "{lines:#?}");
    let ids: std::collections::BTreeSet<_> = heard.iter().map(|it| it[&0x11].clone()).collect();
    assert_eq!(ids.len(), 2);
    until("counters", || {
        (server.metric("b2b_hep_total{result=\"sent\"}") >= heard.len() as f64).then_some(())
    });
    assert_eq!(server.metric("b2b_hep_total{result=\"dropped\"}"), 0.0);
}

#[test]
fn messages_without_a_call_go_there_too() {
    let (ann, bob, collector) = (Phone::new("ann"), Phone::new("bob"), Collector::new());
    let server = exports(&collector, "all", &bob);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let at = socket.local_addr().expect("an address");
    let options = format!(
        "OPTIONS sip:{} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKo\r\nMax-Forwards: 70\r\nFrom: <sip:o@{at}>;tag=o\r\n\
         To: <sip:{}>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        server.sip, server.sip
    );
    socket.send_to(options.as_bytes(), server.sip).expect("loopback");
    let heard = collector.until("SIP/2.0");
    assert!(heard[0][&0x0F].starts_with(b"OPTIONS"));
    drop(ann);
}

#[test]
fn of_captured_calls_only_what_comes_while_they_are_captured_is_sent() {
    let (ann, bob, collector) = (Phone::new("ann"), Phone::new("bob"), Collector::new());
    let server = exports(&collector, "captured", &bob);
    let dialog = call(&server, &ann, &bob);
    let id = until("a call", || server.get("/calls").json()["calls"][0]["call"].as_u64());
    assert_eq!(server.post(&format!("/calls/{id}/capture"), &json!({})).status, 202);
    hang_up(&ann, &bob, &dialog);
    let heard = collector.until("SIP/2.0 200");
    let before = |it: &Chunks| {
        let text = String::from_utf8_lossy(&it[&0x0F]).into_owned();
        text.starts_with("INVITE") || text.starts_with("SIP/2.0") && text.contains(" INVITE\r\n")
    };
    assert!(heard.iter().any(|it| it[&0x0F].starts_with(b"BYE")));
    // The ACK may have arrived after the capture began.
    assert!(!heard.iter().any(before), "the call was answered before it was captured");
}

#[test]
fn a_collector_that_is_away_costs_no_call() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let collector = Collector::new();
    let server = exports(&collector, "all", &bob);
    // Nothing listens there any more: the kernel reports it for every second message.
    drop(collector);
    let dialog = call(&server, &ann, &bob);
    hang_up(&ann, &bob, &dialog);
    until("what the system did not take", || {
        (server.metric("b2b_hep_total{result=\"failed\"}") > 0.0).then_some(())
    });
    until("the end", || (server.get("/calls").json()["total"] == 0).then_some(()));
}

#[test]
fn a_server_that_exports_and_cannot_listen_for_http_says_so_and_ends() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = configured("[hep]\ncollector = \"127.0.0.1:9\"\n");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "b2bua", "--config"]).arg(folder.path().join("b2bua.toml"));
    let mut process = B2b::start(command.args(["--http-bind", &address]));
    process.wait_for_line(&format!("the HTTP interface cannot listen at {address}: "));
    process.assert_exit(65);
}
