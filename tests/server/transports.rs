//! The server as a program: calls between transports, as seen on the wire, and its certificates.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::common::child::{B2b, b2b};
use b2b_test_support::dns::{NameServer, Zone};
use b2b_test_support::tls::{Authority, PATIENCE, accept, answer, ask, connect, field, read_message, send};
use nix::sys::signal::Signal;

/// An address without listeners, in this test or any other: a port that was just released may soon be bound
/// again.
const NOBODY: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 9, 9, 9), 9);

/// A server that trusts this machine, with these lines in `[server]` and after it.
pub(super) struct Server {
    pub b2b: B2b,
    pub udp: SocketAddr,
}

impl Server {
    fn start(folder: &Path, server: &str, rest: &str) -> Self {
        let trusted = "trusted = [\"127.0.0.0/8\", \"::1\"]\n";
        Server::start_among_strangers(folder, &(trusted.to_owned() + server), rest)
    }

    /// The same, without trusted addresses.
    pub fn start_among_strangers(folder: &Path, server: &str, rest: &str) -> Self {
        let config = configuration(folder, server, rest);
        let mut b2b = b2b(&["--role", "b2bua", "--config", config.to_str().expect("UTF-8")]);
        let udp = b2b.ready();
        Server { b2b, udp }
    }

    /// Its address for this transport.
    pub fn at(&mut self, transport: &str) -> SocketAddr {
        let line = self.b2b.wait_for_line(&format!("listening: {transport} "));
        line.rsplit(' ').next().and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }

    pub fn stop(mut self) {
        self.b2b.signal(Signal::SIGTERM);
        self.b2b.assert_exit(0);
        let left = self.b2b.wait_for_line("stopped: ");
        assert!(left.contains("left: 0 calls, 0 legs") && left.contains(" 0 media endpoints"), "{left}");
    }
}

fn configuration(folder: &Path, server: &str, rest: &str) -> std::path::PathBuf {
    static SERVERS: AtomicU16 = AtomicU16::new(0);
    let first = 33_000 + 100 * SERVERS.fetch_add(1, Ordering::Relaxed);
    let last = first + 99;
    let path = folder.join("b2b.toml");
    let text = format!(
        "[server]\nstore = \"memory\"\ndrain_s = 2\n{server}\n\
         [http]\nlisten = \"off\"\n[media]\nports = \"{first}-{last}\"\n{rest}\n"
    );
    fs::write(&path, text).expect("a file");
    path
}

/// A route for all calls.
fn route(target: &str) -> String {
    format!("[[route]]\nto = \"{target}\"\n")
}

fn tls_table(authority: &Authority, certificate: &str) -> String {
    let pem = authority.pem.display();
    format!(
        "[tls]\ncertificate = \"{certificate}.pem\"\nkey = \"{certificate}.key\"\nauthorities = \"{pem}\"\n"
    )
}

pub(super) fn udp(bind: &str) -> UdpSocket {
    let socket = UdpSocket::bind(bind).expect("socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket
}

/// A party over both transports at one port: one that is free for UDP may be somebody's for TCP.
fn over_both() -> (UdpSocket, TcpListener, SocketAddr) {
    let both = || {
        let socket = udp("127.0.0.1:0");
        let at = socket.local_addr().expect("address");
        Some((socket, TcpListener::bind(at).ok()?, at))
    };
    (0..100).find_map(|_| both()).expect("a port that is free for both")
}

pub(super) fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("address").port()
}

/// The next message that begins like this; retransmissions and 100 are skipped.
pub(super) fn receive(socket: &UdpSocket, start: &str) -> String {
    let mut buffer = [0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}, no {start}"));
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if message.starts_with(start) {
            return message;
        }
    }
}

pub(super) fn next(stream: &mut impl Read, start: &str) -> String {
    loop {
        let message = read_message(stream);
        assert!(!message.is_empty(), "closed, no {start}");
        if message.starts_with(start) {
            return message;
        }
    }
}

pub(super) fn sdp(address: &str) -> String {
    let kind = if address.contains(':') { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=- 1 1 IN {kind} {address}\r\ns=-\r\nc=IN {kind} {address}\r\nt=0 0\r\n\
         m=audio 40998 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
}

/// A request of the caller, with a recognisable Call-ID and tag.
pub(super) fn request(
    method: &str,
    via: &str,
    from: &str,
    to_tag: &str,
    cseq: u32,
    lines: &str,
    body: &str,
) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:lab@b2b.example SIP/2.0\r\nVia: SIP/2.0/{via} {from};rport;branch=z9hG4bK{method}{cseq}\r\n\
         From: <sip:ann@caller.example>;tag=anns-tag\r\nTo: <sip:lab@b2b.example>{to_tag}\r\n\
         Call-ID: anns-call\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{lines}{kind}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn tag(message: &str) -> String {
    format!(";tag={}", field(message, "To").split_once(";tag=").expect("a tag").1)
}

pub(super) const SDP: &str = "Content-Type: application/sdp\r\n";

#[test]
fn a_call_from_udp_to_tls_and_one_back() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new(folder.path(), "authority");
    authority.issue("server", &["localhost", "127.0.0.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let far = listener.local_addr().expect("address");
    let bob = udp("127.0.0.1:0");
    let routes = format!(
        "{}[[route]]\ncaller = \"bob\"\nto = \"sip:ann@127.0.0.1:{}\"\n{}",
        tls_table(&authority, "server"),
        port(&bob),
        route("gateway/carrier"),
    );
    let gateway = format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"localhost:{}\"]\ntransport = \"tls\"\noptions_s = 0\n",
        far.port()
    );
    let listen = "listen = [\"udp:127.0.0.1:0\", \"tls:127.0.0.1:0\"]";
    let mut server = Server::start(folder.path(), listen, &(routes + &gateway));
    let (at_udp, at_tls) = (server.udp, server.at("tls"));

    let ann = udp("127.0.0.1:0");
    let from = ann.local_addr().expect("address").to_string();
    let contact = format!("Contact: <sip:ann@{from}>\r\n");
    let invite = request("INVITE", "UDP", &from, "", 1, &contact, &sdp("127.0.0.1"));
    ann.send_to(invite.as_bytes(), at_udp).expect("sent");

    let mut callee = accept(&listener, &authority.issue("callee", &["localhost"]));
    let invite = read_message(&mut callee);
    let start = format!("INVITE sip:lab@localhost:{};transport=tls SIP/2.0\r\n", far.port());
    assert!(invite.starts_with(&start), "{invite}");
    assert!(field(&invite, "Via").starts_with(&format!("SIP/2.0/TLS {at_tls};branch=z9hG4bK")), "{invite}");
    assert!(field(&invite, "Contact").contains(&format!("{at_tls};transport=tls>")), "{invite}");
    for theirs in ["anns-call", "anns-tag", &from, "Record-Route", "SIP/2.0/UDP", "40998", "caller.example"] {
        assert!(!invite.contains(theirs), "{theirs} shows:\n{invite}");
    }
    let lines = format!("Contact: <sip:far@{far};transport=tls>\r\n{SDP}");
    send(&mut callee, &answer(&invite, "180 Ringing", "", ""));
    assert!(receive(&ann, "SIP/2.0 180").contains("anns-call"));
    send(&mut callee, &answer(&invite, "200 OK", &lines, &sdp("127.0.0.1")));
    let ok = receive(&ann, "SIP/2.0 200");
    let contact_of_ours = field(&ok, "Contact");
    assert!(contact_of_ours.contains(&format!("{at_udp}>")), "by UDP to the UDP listener: {ok}");
    assert!(!ok.contains("far@") && !ok.contains("TLS") && !ok.contains(&far.to_string()), "{ok}");
    ann.send_to(request("ACK", "UDP", &from, &tag(&ok), 1, "", "").as_bytes(), at_udp).expect("sent");
    assert!(next(&mut callee, "ACK ").starts_with(&format!("ACK sip:far@{far};transport=tls SIP/2.0")));
    ann.send_to(request("BYE", "UDP", &from, &tag(&ok), 2, "", "").as_bytes(), at_udp).expect("sent");
    receive(&ann, "SIP/2.0 200");
    let bye = next(&mut callee, "BYE ");
    assert!(field(&bye, "Via").starts_with("SIP/2.0/TLS "), "{bye}");
    send(&mut callee, &answer(&bye, "200 OK", "", ""));

    // In the other direction: a phone without a listener calls over TLS.
    let mut phone = connect(at_tls, &authority.pem, "localhost");
    let contact = "Contact: <sip:bob@127.0.0.1:9;transport=tls>\r\n";
    let bobs = |request: String| request.replace("ann@caller", "bob@caller").replace("anns-", "bobs-");
    let invite = request("INVITE", "TLS", "127.0.0.1:9", "", 1, contact, &sdp("127.0.0.1"));
    send(&mut phone, &bobs(invite));
    let invite = receive(&bob, "INVITE ");
    assert!(field(&invite, "Via").starts_with(&format!("SIP/2.0/UDP {at_udp};")), "{invite}");
    assert!(!field(&invite, "Contact").contains("transport"), "{invite}");
    let lines = format!("Contact: <sip:ann@127.0.0.1:{}>\r\n{SDP}", port(&bob));
    bob.send_to(answer(&invite, "200 OK", &lines, &sdp("127.0.0.1")).as_bytes(), at_udp).expect("sent");
    let ok = next(&mut phone, "SIP/2.0 200");
    assert!(field(&ok, "Contact").contains(&format!("{at_tls};transport=tls>")), "{ok}");
    send(&mut phone, &bobs(request("ACK", "TLS", "127.0.0.1:9", &tag(&ok), 1, "", "")));
    let ack = receive(&bob, "ACK ");
    let mut bye = ack.replace("ACK ", "BYE ").replace(" ACK", " BYE");
    let (from, to) = (field(&ack, "From"), field(&ack, "To"));
    bye = bye
        .replace(&format!("From: {from}"), "From: @")
        .replace(&format!("To: {to}"), &format!("To: {from}"));
    bye = bye.replace("From: @", &format!("From: {to}")).replace("z9hG4bK", "z9hG4bKbye");
    bye = bye.replace(&format!("UDP {at_udp}"), &format!("UDP 127.0.0.1:{}", port(&bob)));
    bob.send_to(bye.as_bytes(), at_udp).expect("sent");
    receive(&bob, "SIP/2.0 200");
    let bye = next(&mut phone, "BYE ");
    assert!(field(&bye, "Via").starts_with(&format!("SIP/2.0/TLS {at_tls};")), "on Bob's connection: {bye}");
    send(&mut phone, &answer(&bye, "200 OK", "", ""));
    server.stop();
}

#[test]
fn a_call_over_ipv6_from_udp_to_tcp() {
    let folder = tempfile::tempdir().expect("folder");
    let listener = TcpListener::bind("[::1]:0").expect("listener");
    let far = listener.local_addr().expect("address");
    let listen = "listen = [\"udp:[::1]:0\", \"udp:127.0.0.1:0\"]";
    let server = Server::start(folder.path(), listen, &route(&format!("sip:far@{far};transport=tcp")));
    let at = server.udp;
    assert!(at.is_ipv6(), "{at}");
    let ann = udp("[::1]:0");
    let from = ann.local_addr().expect("address").to_string();
    let contact = format!("Contact: <sip:ann@{from}>\r\n");
    let invite = request("INVITE", "UDP", &from, "", 1, &contact, &sdp("::1"));
    ann.send_to(invite.as_bytes(), at).expect("sent");
    let (mut callee, _) = listener.accept().expect("connection");
    callee.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let invite = read_message(&mut callee);
    assert!(field(&invite, "Via").starts_with(&format!("SIP/2.0/TCP {at};")), "{invite}");
    assert!(field(&invite, "Contact").contains(&format!("{at};transport=tcp>")), "{invite}");
    assert!(invite.contains("c=IN IP6 ::1\r\n"), "{invite}");
    let lines = format!("Contact: <sip:far@{far};transport=tcp>\r\n{SDP}");
    send(&mut callee, &answer(&invite, "200 OK", &lines, &sdp("::1")));
    let ok = receive(&ann, "SIP/2.0 200");
    assert!(field(&ok, "Contact").contains(&format!("{at}>")) && ok.contains("c=IN IP6 ::1\r\n"), "{ok}");
    ann.send_to(request("ACK", "UDP", &from, &tag(&ok), 1, "", "").as_bytes(), at).expect("sent");
    next(&mut callee, "ACK ");
    ann.send_to(request("BYE", "UDP", &from, &tag(&ok), 2, "", "").as_bytes(), at).expect("sent");
    receive(&ann, "SIP/2.0 200");
    let bye = next(&mut callee, "BYE ");
    send(&mut callee, &answer(&bye, "200 OK", "", ""));
    server.stop();
}

/// RFC 3261 §18.1.1: requests larger than 1,300 octets use TCP.
#[test]
fn a_large_invite_goes_by_tcp_and_falls_back_to_udp() {
    let folder = tempfile::tempdir().expect("folder");
    let (bob, listener, at_bob) = over_both();
    let server =
        Server::start(folder.path(), "listen = [\"udp:127.0.0.1:0\"]", &route(&format!("sip:bob@{at_bob}")));
    let ann = udp("127.0.0.1:0");
    let from = ann.local_addr().expect("address").to_string();
    let lines = format!("Contact: <sip:ann@{from}>\r\nSubject: {}\r\n", "long ".repeat(250));
    let invite = request("INVITE", "UDP", &from, "", 1, &lines, &sdp("127.0.0.1"));
    ann.send_to(invite.as_bytes(), server.udp).expect("sent");
    let (mut stream, _) = listener.accept().expect("connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let invite = read_message(&mut stream);
    assert!(invite.len() > 1_300 && invite.starts_with("INVITE "), "{invite}");
    assert!(field(&invite, "Via").starts_with("SIP/2.0/TCP "), "{invite}");
    assert!(field(&invite, "Contact").contains(";transport=tcp>"), "{invite}");
    stream.write_all(answer(&invite, "486 Busy Here", "", "").as_bytes()).expect("sent");
    receive(&ann, "SIP/2.0 486");
    ann.send_to(request("ACK", "UDP", &from, ";tag=x", 1, "", "").as_bytes(), server.udp).expect("sent");

    drop((listener, stream));
    let again = request("INVITE", "UDP", &from, "", 2, &lines, &sdp("127.0.0.1"));
    ann.send_to(again.replace("anns-call", "second").as_bytes(), server.udp).expect("sent");
    let invite = receive(&bob, "INVITE ");
    assert!(invite.len() > 1_300 && field(&invite, "Via").starts_with("SIP/2.0/UDP "), "{invite}");
    assert!(!field(&invite, "Contact").contains("transport"), "{invite}");
    bob.send_to(answer(&invite, "486 Busy Here", "", "").as_bytes(), server.udp).expect("sent");
    receive(&ann, "SIP/2.0 486");
}

/// An explicit UDP is respected: providers drop the SYN, and the call would wait for it.
#[test]
fn a_large_invite_stays_with_udp_where_that_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    // A TCP connection would be accepted.
    let (bob, listener, at_bob) = over_both();
    listener.set_nonblocking(true).expect("a listener");
    let gateway = |name: &str, large: &str| {
        format!(
            "[[gateway]]\nname = \"{name}\"\nhosts = [\"{at_bob}\"]\ntransport = \"udp\"\noptions_s = 0\n{large}"
        )
    };
    let routes = format!(
        "{}{}[[route]]\ncalled = \"one\"\nto = \"gateway/usual\"\n[[route]]\ncalled = \"two\"\nto = \"gateway/told\"\n{}",
        gateway("usual", ""),
        gateway("told", "large = \"tcp\"\n"),
        route(&format!("sip:bob@{at_bob};transport=udp"))
    );
    let server = Server::start(folder.path(), "listen = [\"udp:127.0.0.1:0\"]", &routes);
    let ann = udp("127.0.0.1:0");
    let from = ann.local_addr().expect("address").to_string();
    let lines = format!("Contact: <sip:ann@{from}>\r\nSubject: {}\r\n", "long ".repeat(250));
    let call = |called: &str| {
        let invite = request("INVITE", "UDP", &from, "", 1, &lines, &sdp("127.0.0.1"));
        let invite = invite.replace("lab@", &format!("{called}@")).replace("anns-call", called);
        let invite = invite.replace("z9hG4bK", &format!("z9hG4bK{called}"));
        ann.send_to(invite.as_bytes(), server.udp).expect("sent");
    };
    for called in ["one", "other"] {
        call(called);
        let invite = receive(&bob, "INVITE ");
        assert!(invite.len() > 1_300 && field(&invite, "Via").starts_with("SIP/2.0/UDP "), "{invite}");
        bob.send_to(answer(&invite, "486 Busy Here", "", "").as_bytes(), server.udp).expect("sent");
        receive(&ann, "SIP/2.0 486");
    }
    assert!(listener.accept().is_err(), "a connection that nobody asked for");
    listener.set_nonblocking(false).expect("a listener");
    call("two");
    let (mut stream, _) = listener.accept().expect("connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let invite = read_message(&mut stream);
    assert!(field(&invite, "Via").starts_with("SIP/2.0/TCP "), "{invite}");
    stream.write_all(answer(&invite, "486 Busy Here", "", "").as_bytes()).expect("sent");
    receive(&ann, "SIP/2.0 486");
}

#[test]
fn the_advertised_addresses_stand_in_everything_by_family_and_transport() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new(folder.path(), "authority");
    authority.issue("server", &["localhost"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let (v4, v6) = (udp("127.0.0.1:0"), udp("[::1]:0"));
    let routes = format!(
        "{}[[route]]\ncalled = \"one\"\nto = \"sip:one@127.0.0.1:{}\"\n\
         [[route]]\ncalled = \"two\"\nto = \"sip:two@[::1]:{}\"\n{}",
        tls_table(&authority, "server"),
        port(&v4),
        port(&v6),
        route(&format!("sip:far@localhost:{};transport=tls", listener.local_addr().expect("address").port())),
    );
    let listen = "listen = [\"udp:127.0.0.1:0\", \"udp:[::1]:0\", \"tls:127.0.0.1:0\"]\n\
                  advertise = [\"203.0.113.5:15060\", \"2001:db8::5\"]";
    let mut server = Server::start(folder.path(), listen, &routes);
    let (at, at_tls) = (server.udp, server.at("tls"));
    let ann = udp("127.0.0.1:0");
    let from = ann.local_addr().expect("address").to_string();
    let call = |called: &str| {
        let contact = format!("Contact: <sip:ann@{from}>\r\n");
        let invite = request("INVITE", "UDP", &from, "", 1, &contact, &sdp("127.0.0.1"));
        let invite = invite.replace("lab@", &format!("{called}@")).replace("anns-call", called);
        ann.send_to(invite.replace("z9hG4bK", &format!("z9hG4bK{called}")).as_bytes(), at).expect("sent");
    };
    let stands = |invite: &str, via: &str, contact: &str, media: &str| {
        assert!(field(invite, "Via").starts_with(&format!("SIP/2.0/{via};")), "{invite}");
        assert!(field(invite, "Contact").contains(&format!("{contact}>")), "{invite}");
        assert!(invite.contains(&format!("c=IN {media}\r\n")), "{invite}");
    };
    call("one");
    stands(&receive(&v4, "INVITE "), "UDP 203.0.113.5:15060", "203.0.113.5:15060", "IP4 203.0.113.5");
    call("two");
    let invite = receive(&v6, "INVITE ");
    let via = field(&invite, "Via");
    assert!(via.starts_with("SIP/2.0/UDP [2001:db8::5]:"), "{via}");
    let ours = via.trim_start_matches("SIP/2.0/UDP ").split(';').next().expect("sent-by").to_owned();
    stands(&invite, &format!("UDP {ours}"), &ours, "IP6 2001:db8::5");
    call("three");
    let mut callee = accept(&listener, &authority.issue("callee", &["localhost"]));
    let ours = format!("203.0.113.5:{}", at_tls.port());
    let invite = read_message(&mut callee);
    stands(&invite, &format!("TLS {ours}"), &format!("{ours};transport=tls"), "IP4 203.0.113.5");
    let lines = format!("Contact: <sip:far@127.0.0.1;transport=tls>\r\n{SDP}");
    send(&mut callee, &answer(&invite, "183 Progress", &lines, &sdp("127.0.0.1")));
    let heard = receive(&ann, "SIP/2.0 183");
    assert!(field(&heard, "Contact").contains("203.0.113.5:15060>"), "{heard}");
    assert!(heard.contains("c=IN IP4 203.0.113.5\r\n"), "{heard}");
}

#[test]
fn a_new_certificate_comes_with_sighup_and_a_bad_one_is_refused_with_file_and_line() {
    let folder = tempfile::tempdir().expect("folder");
    let old = Authority::new(folder.path(), "old");
    old.issue("server", &["localhost"]);
    let listen = "listen = [\"udp:127.0.0.1:0\", \"tls:127.0.0.1:0\"]";
    let mut server = Server::start(folder.path(), listen, &tls_table(&old, "server"));
    let at = server.at("tls");
    let mut before = connect(at, &old.pem, "localhost");
    ask(&mut before, 1);

    let new = Authority::new(folder.path(), "new");
    new.issue("server", &["localhost"]);
    server.b2b.signal(Signal::SIGHUP);
    server.b2b.wait_for_line("the certificate has changed");
    ask(&mut connect(at, &new.pem, "localhost"), 2);
    ask(&mut before, 3);

    let config = folder.path().join("b2b.toml");
    let text = fs::read_to_string(&config).expect("text");
    let line = 1 + text.lines().position(|line| line.starts_with("certificate")).expect("there");
    fs::write(folder.path().join("server.pem"), "not PEM").expect("written");
    let wrong = format!("b2b.toml:{line}: ");
    server.b2b.signal(Signal::SIGHUP);
    let refused = server.b2b.wait_for_line("the old one stays");
    assert!(refused.contains(&wrong) && refused.contains("server.pem has no PEM certificate"), "{refused}");
    ask(&mut connect(at, &new.pem, "localhost"), 4);
    ask(&mut before, 5);
    server.stop();

    let mut dry = b2b(&["--role", "b2bua", "--dry-run", "--config", config.to_str().expect("UTF-8")]);
    dry.assert_exit(64);
    assert!(dry.stderr().concat().contains(&wrong), "{}", dry.output());
}

#[test]
fn the_certificate_is_looked_at_without_being_told_to() {
    let folder = tempfile::tempdir().expect("folder");
    let old = Authority::new(folder.path(), "old");
    old.issue("server", &["localhost"]);
    let listen = "listen = \"tls:127.0.0.1:0\"";
    let tables = tls_table(&old, "server") + "reload_s = 1\n";
    let mut server = Server::start(folder.path(), listen, &tables);
    let at = server.at("tls");
    assert_eq!(at, server.udp, "the only listener there is");
    ask(&mut connect(at, &old.pem, "localhost"), 1);
    let new = Authority::new(folder.path(), "new");
    new.issue("server", &["localhost"]);
    server.b2b.wait_for_line("the certificate has changed");
    ask(&mut connect(at, &new.pem, "localhost"), 2);
    server.stop();
}

/// RFC 3263 §4.3: one of two servers of a gateway's name is unreachable.
#[test]
fn a_gateway_is_found_by_srv_and_its_dead_server_passed_over() {
    let folder = tempfile::tempdir().expect("folder");
    let alive = udp("127.0.0.1:0");
    let zone = Zone::default()
        .srv("_sip._udp.carrier.test", 10, NOBODY.1, "one.carrier.test")
        .srv("_sip._udp.carrier.test", 20, port(&alive), "two.carrier.test")
        .a("one.carrier.test", NOBODY.0)
        .a("two.carrier.test", Ipv4Addr::LOCALHOST);
    let names = NameServer::start(Some(zone));
    let server = format!("listen = \"udp:127.0.0.1:0\"\nresolver = \"{}\"", names.addr);
    let rest = "[[gateway]]\nname = \"carrier\"\nhosts = [\"carrier.test\"]\noptions_s = 0\n";
    let server = Server::start(folder.path(), &server, &(rest.to_owned() + &route("gateway/carrier")));
    let ann = udp("127.0.0.1:0");
    let from = ann.local_addr().expect("address").to_string();
    let contact = format!("Contact: <sip:ann@{from}>\r\n");
    let invite = request("INVITE", "UDP", &from, "", 1, &contact, &sdp("127.0.0.1"));
    ann.send_to(invite.as_bytes(), server.udp).expect("sent");
    let invite = receive(&alive, "INVITE ");
    assert!(invite.starts_with("INVITE sip:lab@carrier.test SIP/2.0"), "{invite}");
    alive.send_to(answer(&invite, "486 Busy Here", "", "").as_bytes(), server.udp).expect("sent");
    receive(&ann, "SIP/2.0 486");
}

#[test]
fn a_call_to_a_port_where_nobody_is_fails_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let target = route(&format!("sip:far@{}:{}", NOBODY.0, NOBODY.1));
    let server = Server::start(folder.path(), "listen = \"udp:127.0.0.1:0\"", &target);
    let ann = udp("127.0.0.1:0");
    let from = ann.local_addr().expect("address").to_string();
    let contact = format!("Contact: <sip:ann@{from}>\r\n");
    let invite = request("INVITE", "UDP", &from, "", 1, &contact, &sdp("127.0.0.1"));
    ann.send_to(invite.as_bytes(), server.udp).expect("sent");
    // Before Timer B, which would give 408 after 32 s; a 503 is not forwarded to the caller.
    receive(&ann, "SIP/2.0 500");
}
