//! Registrations at providers according to RFC 5626: the content of REGISTER, and keeping flows open.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stun;
use crate::server_support::phone::{Phone, field};
use crate::server_support::{Server, configured, server, start, until};
use b2b_test_support::tls::{PATIENCE, answer, read_message, send};

const ACCOUNT: &str =
    "username = \"acme\"\npassword = \"a good secret\"\nregister = true\noutbound = true\noptions_s = 0\n";
const TO_CARRIER: &str = "[[route]]\ncalled = \"200\"\nto = \"gateway/carrier\"\n";
const OUTBOUND: &str = "Supported: outbound\r\nRequire: outbound\r\n";

fn gateway(at: SocketAddr, transport: &str, more: &str) -> String {
    format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\ntransport = \"{transport}\"\n{ACCOUNT}{more}{TO_CARRIER}"
    )
}

fn registration(server: &Server) -> Value {
    server.get("/gateways").json()["gateways"][0]["registration"].clone()
}

fn shows(server: &Server, outbound: bool) {
    until("the registration", || {
        let it = registration(server);
        (it["registered"] == true && it["outbound"] == json!(outbound)).then_some(())
    });
}

fn granted(register: &str, more: &str) -> String {
    let contact = format!("Contact: {};expires=600\r\n{more}", field(register, "Contact"));
    answer(register, "200 OK", &contact, "")
}

/// A registrar over UDP that receives SIP and STUN.
struct Registrar(UdpSocket);

impl Registrar {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.3:0").expect("loopback");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        Registrar(socket)
    }

    fn at(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    fn hear(&self, is_it: impl Fn(&[u8]) -> bool) -> (Vec<u8>, SocketAddr) {
        let (start, mut buffer) = (Instant::now(), vec![0; 65_536]);
        while start.elapsed() < PATIENCE {
            let Ok((length, from)) = self.0.recv_from(&mut buffer) else { continue };
            if is_it(&buffer[..length]) {
                return (buffer[..length].to_vec(), from);
            }
        }
        panic!("nothing of the kind has come");
    }

    fn request(&self, method: &str) -> (String, SocketAddr) {
        let (found, from) = self.hear(|it| it.starts_with(method.as_bytes()));
        (String::from_utf8(found).expect("text"), from)
    }

    fn say(&self, message: &str, to: SocketAddr) {
        self.0.send_to(message.as_bytes(), to).expect("loopback");
    }

    /// Answers the next Binding request with this address.
    fn binding(&self, said: SocketAddr) {
        let (request, from) = self.hear(|it| it.starts_with(&[0, 1, 0, 0]));
        self.0.send_to(&stun::answer(&request[8..], said), from).expect("loopback");
    }
}

#[test]
fn over_udp_the_flow_is_asked_for_kept_by_stun_and_made_anew_when_a_nat_moves_it() {
    let registrar = Registrar::new();
    let caller = Phone::at("caller", [Ipv4Addr::new(127, 0, 0, 2); 3]);
    let server = server(&gateway(registrar.at(), "udp", ""));
    let (register, peer) = registrar.request("REGISTER");
    assert_eq!(field(&register, "Supported"), "path, outbound", "{register}");
    let contact = field(&register, "Contact");
    let (uri, params) = contact.split_once('>').expect("a name-addr");
    assert!(!uri.contains(";ob"), "{contact}");
    let instance = params.strip_prefix(";reg-id=1;+sip.instance=\"<urn:uuid:").expect("an instance");
    assert_eq!(instance.len(), 36 + 2, "{contact}");
    registrar.say(&granted(&register, &format!("{OUTBOUND}Flow-Timer: 5\r\n")), peer);
    shows(&server, true);

    caller.ask_for(server.sip, "200");
    let (invite, peer) = registrar.request("INVITE");
    assert!(field(&invite, "Contact").ends_with(";ob>"), "{invite}");
    registrar.say(&answer(&invite, "486 Busy Here", "", ""), peer);
    caller.hear("SIP/2.0 486");

    registrar.binding("203.0.113.7:5060".parse().expect("an address"));
    registrar.binding("203.0.113.7:5061".parse().expect("an address"));
    let (again, peer) = registrar.request("REGISTER");
    assert_eq!(field(&again, "Contact"), contact, "the same instance and flow");
    registrar.say(&granted(&again, OUTBOUND), peer);
    shows(&server, true);
}

#[test]
fn over_tcp_a_flow_is_kept_by_line_ends_and_one_that_breaks_is_made_anew_at_once() {
    let provider = TcpListener::bind("127.0.0.3:0").expect("a listener");
    let server = server(&gateway(
        provider.local_addr().expect("an address"),
        "tcp",
        "instance = \"urn:uuid:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6\"\n",
    ));
    let (mut connection, _) = provider.accept().expect("a connection");
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let register = read_message(&mut connection);
    let instance = "+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
    assert!(field(&register, "Contact").ends_with(instance), "{register}");
    send(&mut connection, &granted(&register, &format!("{OUTBOUND}Flow-Timer: 1\r\n")));
    shows(&server, true);
    for _ in 0..2 {
        let mut ping = [0; 4];
        std::io::Read::read_exact(&mut connection, &mut ping).expect("a ping");
        assert_eq!(ping, *b"\r\n\r\n");
        send(&mut connection, "\r\n");
    }
    drop(connection);
    let (mut another, _) = provider.accept().expect("a connection");
    another.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let again = read_message(&mut another);
    assert!(again.starts_with("REGISTER ") && field(&again, "Contact").ends_with(instance), "{again}");
    send(&mut another, &granted(&again, ""));
    shows(&server, false);
}

#[test]
fn a_provider_whose_edge_knows_no_outbound_gets_a_registration_without_it() {
    let registrar = Registrar::new();
    let server = server(&gateway(registrar.at(), "udp", ""));
    let (register, peer) = registrar.request("REGISTER");
    registrar.say(&answer(&register, "439 First Hop Lacks Outbound Support", "", ""), peer);
    let next = |it: &[u8]| it.starts_with(b"REGISTER") && !it.windows(6).any(|part| part == b"reg-id");
    let (plain, peer) = registrar.hear(next);
    let plain = String::from_utf8(plain).expect("text");
    assert!(!plain.contains("outbound") && !plain.contains("sip.instance"), "{plain}");
    registrar.say(&granted(&plain, ""), peer);
    shows(&server, false);
}

/// The token in a Contact gives access, so no file, log, page or collector may contain it.
#[test]
fn a_token_is_in_the_register_and_nowhere_else() {
    let registrar = Registrar::new();
    let callee = Phone::at("callee", [Ipv4Addr::new(127, 0, 0, 4); 3]);
    let collector = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    collector.set_nonblocking(true).expect("a socket");
    let lines = format!(
        "{}[[route]]\nsource = \"gateway/carrier\"\nto = [\"{}\"]\n[log]\nlevel = \"debug\"\nsip_trace = \"trace.sip\"\n\
         [hep]\ncollector = \"{}\"\ncalls = \"all\"\n",
        gateway(registrar.at(), "udp", "contact_token = true\n")
            .replace("outbound = true\n", "")
            .replace(TO_CARRIER, ""),
        callee.uri(),
        collector.local_addr().expect("an address")
    );
    let folder = configured(&lines);
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    std::fs::write(&path, text.replace("trusted = [\"127.0.0.0/8\"]\n", "")).expect("a file");
    let server = start(folder);
    let (register, peer) = registrar.request("REGISTER");
    let contact = field(&register, "Contact");
    let (_, token) = contact.trim_end_matches('>').split_once(";b2b-token=").expect("a token");
    registrar.say(&granted(&register, ""), peer);
    shows(&server, false);

    // From an unknown address; some providers copy the Request-URI into To.
    let provider = UdpSocket::bind("127.0.0.5:0").expect("loopback");
    provider.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (from, uri) = (provider.local_addr().expect("an address"), contact.trim_matches(['<', '>']));
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.5\r\ns=-\r\nc=IN IP4 127.0.0.5\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n";
    let call = format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKsbc\r\nMax-Forwards: 70\r\nFrom: <sip:0123@{from}>;tag=sbc\r\n\
         To: <{uri}>\r\nCall-ID: sbc\r\nCSeq: 1 INVITE\r\nContact: <sip:{from}>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    provider.send_to(call.as_bytes(), server.sip).expect("loopback");
    let (invite, at) = callee.hear("INVITE");
    assert!(!invite.contains("b2b-token") && !invite.contains(token), "{invite}");
    let mut seen = format!("{}{}", server.get("/calls").text(), server.get("/gateways").text());
    callee.refuse_to("486 Busy Here", &invite, at);
    let mut buffer = vec![0; 65_536];
    let mut answered = || {
        let (length, _) = provider.recv_from(&mut buffer).expect("an answer");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert!(std::iter::repeat_with(&mut answered).any(|it| it.starts_with("SIP/2.0 486")));
    until("the record, and the copy of a message", || {
        while let Ok((length, _)) = collector.recv_from(&mut buffer) {
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let record = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
        (record.contains("carrier") && seen.contains("486 Busy")).then_some(())
    });
    seen.push_str(&server.get("/calls/history").text());
    for file in std::fs::read_dir(server.folder.path()).expect("the folder").flatten() {
        seen.push_str(&String::from_utf8_lossy(&std::fs::read(file.path()).unwrap_or_default()));
    }
    seen.push_str(&server.process.output());
    assert!(
        seen.contains("REGISTER") && seen.contains(";b2b-token=xxxx"),
        "the trace has the messages: {seen}"
    );
    assert!(!seen.contains(token), "{seen}");
}
