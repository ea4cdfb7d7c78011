//! The server as a program: identification of gateways by their certificates, and refusal of all others.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use super::transports::{SDP, Server, next, port, receive, request, sdp, tag, udp};
use b2b_test_support::tls::{
    Authority, Purpose, Shows, accept_asking, answer, client, connect_by, field, is_of, read_message, send,
};

type Pair = (PathBuf, PathBuf);

/// Calls of `teams`, which is identified by its certificate, go to bob; no other party may call.
struct Scene {
    server: Server,
    bob: UdpSocket,
    authority: Authority,
    calls: u32,
}

const LISTEN: &str =
    "listen = [\"udp:127.0.0.1:0\", \"tls:127.0.0.1:0\", \"tls:127.0.0.2:0\", \"tls:127.0.0.3:0\"]";

impl Scene {
    /// With these lines at the gateway, and these tables.
    fn start(folder: &Path, gateway: &str, rest: &str) -> Self {
        let ours = Authority::new(folder, "ours");
        ours.issue("server", &["localhost"]);
        let authority = Authority::new(folder, "clients");
        let bob = udp("127.0.0.1:0");
        let tables = format!(
            "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_authorities = \"clients.pem\"\n\
             client_request = \"tls:127.0.0.2:0\"\nclient_require = \"tls:127.0.0.3:0\"\n\
             [[gateway]]\nname = \"teams\"\nhosts = [\"192.0.2.9\"]\ntransport = \"tls\"\noptions_s = 0\n\
             class = \"teams\"\ntls_client = [\"sip.hub.example\", \"*.hub.example\"]\n{gateway}\n\
             [[route]]\nclass = \"teams\"\nto = \"sip:bob@127.0.0.1:{}\"\n{rest}",
            port(&bob)
        );
        let server = Server::start_among_strangers(folder, LISTEN, &tables);
        Scene { server, bob, authority, calls: 0 }
    }

    /// A client connected to the listener at this address, which presents this certificate if requested.
    fn connect(
        &mut self,
        folder: &Path,
        listener: &str,
        own: Option<&Pair>,
    ) -> b2b_test_support::tls::Client {
        let line = self.server.b2b.wait_for_line(&format!("listening: tls {listener}:"));
        let at = line.rsplit(' ').next().and_then(|it| it.parse().ok()).expect("an address");
        connect_by(&client(&folder.join("ours.pem"), &Shows::new(own)), at, "localhost")
    }

    /// Calls, and returns the status of the response; bob is busy.
    fn call(&mut self, stream: &mut (impl Read + Write), bob: Option<&UdpSocket>) -> String {
        self.calls += 1;
        let contact = "Contact: <sip:ann@127.0.0.1:9;transport=tls>\r\n";
        let invite = request("INVITE", "TLS", "127.0.0.1:9", "", 1, contact, &sdp("127.0.0.1"));
        let own = |text: &str| text.replace("anns-call", &format!("call-{}", self.calls));
        let invite = own(&invite).replace("z9hG4bK", &format!("z9hG4bK{}n", self.calls));
        send(stream, &invite);
        if let Some(bob) = bob {
            let invite = receive(bob, "INVITE ");
            let at = self.server.udp;
            bob.send_to(answer(&invite, "486 Busy Here", "", "").as_bytes(), at).expect("sent");
            receive(bob, "ACK ");
        }
        let answered = loop {
            let message = read_message(stream);
            if !message.starts_with("SIP/2.0 1") {
                break message;
            }
        };
        let mut ack = request("ACK", "TLS", "127.0.0.1:9", &tag(&answered), 1, "", "");
        ack = own(&ack).replace(&field(&ack, "Via"), &field(&invite, "Via"));
        send(stream, &ack);
        answered[8..11].to_owned()
    }
}

#[test]
fn a_gateway_is_who_shows_its_certificate_and_nobody_else() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    let mut scene = Scene::start(folder, "", "");
    let bob = scene.bob.try_clone().expect("a socket");
    let issue = |file: &str, host: &str| scene.authority.issue_for(file, &[host], &[Purpose::ServerAuth]);
    let [exact, under, wildcard, other] = [
        ("exact", "SIP.hub.example"),
        ("under", "sip2.hub.example"),
        ("wildcard", "*.hub.example"),
        ("other", "sip.other.example"),
    ]
    .map(|(file, host)| issue(file, host));
    let mut open = Vec::new();
    for (listener, own) in [("127.0.0.3", &exact), ("127.0.0.2", &under), ("127.0.0.3", &wildcard)] {
        let mut stream = scene.connect(folder, listener, Some(own));
        assert_eq!(scene.call(&mut stream, Some(&bob)), "486", "{}", own.0.display());
        assert_eq!(scene.call(&mut stream, Some(&bob)), "486", "again");
        open.push(stream);
    }
    // The same address, while the gateway's connections exist.
    for (listener, own, why) in [
        ("127.0.0.3", Some(&other), "another name of the same authority"),
        ("127.0.0.2", None, "no certificate, where one is only requested"),
        ("127.0.0.1", Some(&exact), "a certificate that nobody asks for"),
    ] {
        let mut stream = scene.connect(folder, listener, own);
        assert_eq!(scene.call(&mut stream, None), "407", "{why}");
    }
    let plain = udp("127.0.0.1:0");
    let from = plain.local_addr().expect("address").to_string();
    let contact = format!("Contact: <sip:ann@{from}>\r\n");
    let invite = request("INVITE", "UDP", &from, "", 1, &contact, &sdp("127.0.0.1"));
    plain.send_to(invite.as_bytes(), scene.server.udp).expect("sent");
    receive(&plain, "SIP/2.0 407");
    assert_eq!(scene.call(&mut open[0], Some(&bob)), "486", "it is who it was");
    drop(open);
    scene.server.stop();
}

/// An address may be shared, so the certificate takes precedence.
#[test]
fn a_certificate_counts_for_more_than_the_address_that_it_comes_from() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    let cat = udp("127.0.0.1:0");
    let lan = format!(
        "[[route]]\nclass = \"lan\"\nto = \"sip:cat@127.0.0.1:{}\"\n\
         [[gateway]]\nname = \"lan\"\nhosts = [\"192.0.2.10\"]\noptions_s = 0\nclass = \"lan\"\n\
         sources = [\"127.0.0.1\"]\n",
        port(&cat)
    );
    let mut scene = Scene::start(folder, "", &lan);
    let bob = scene.bob.try_clone().expect("a socket");
    let own = scene.authority.issue("own", &["sip.hub.example"]);
    let mut stream = scene.connect(folder, "127.0.0.2", Some(&own));
    assert_eq!(scene.call(&mut stream, Some(&bob)), "486", "the certificate's");
    let mut stream = scene.connect(folder, "127.0.0.2", None);
    assert_eq!(scene.call(&mut stream, Some(&cat)), "486", "the address's");
}

/// Requests to a gateway that called use its settings, too, once its connection is gone.
#[test]
fn a_call_that_came_by_certificate_ends_by_a_connection_with_our_identity_for_it() {
    let temporary = tempfile::tempdir().expect("folder");
    let folder = temporary.path();
    let there = Authority::new(folder, "there");
    there.issue("customer", &["customer.example"]);
    let keys =
        "tls_certificate = \"customer.pem\"\ntls_key = \"customer.key\"\ntls_authorities = \"there.pem\"";
    let mut scene = Scene::start(folder, keys, "");
    let own = scene.authority.issue("own", &["sip.hub.example"]);
    let mut stream = scene.connect(folder, "127.0.0.3", Some(&own));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let far = listener.local_addr().expect("address");

    let contact = format!("Contact: <sip:ann@{far};transport=tls>\r\n");
    let invite = request("INVITE", "TLS", &far.to_string(), "", 1, &contact, &sdp("127.0.0.1"));
    send(&mut stream, &invite);
    let (bob, at) = (&scene.bob, scene.server.udp);
    let invite = receive(bob, "INVITE ");
    let lines = format!("Contact: <sip:bob@127.0.0.1:{}>\r\n{SDP}", port(bob));
    let ok = answer(&invite, "200 OK", &lines, &sdp("127.0.0.1"));
    bob.send_to(ok.as_bytes(), at).expect("sent");
    let ok = next(&mut stream, "SIP/2.0 200");
    send(&mut stream, &request("ACK", "TLS", &far.to_string(), &tag(&ok), 1, "", ""));
    let ack = receive(bob, "ACK ");
    drop(stream);

    let (from, to) = (field(&ack, "From"), field(&ack, "To"));
    let bye = ack.replace("ACK ", "BYE ").replace(" ACK", " BYE").replace("z9hG4bK", "z9hG4bKbye");
    let bye = bye
        .replace(&format!("From: {from}"), "From: @")
        .replace(&format!("To: {to}"), &format!("To: {from}"))
        .replace("From: @", &format!("From: {to}"))
        .replace(&format!("UDP {at}"), &format!("UDP 127.0.0.1:{}", port(bob)));
    bob.send_to(bye.as_bytes(), at).expect("sent");
    let mut back = accept_asking(&listener, &there.issue("callee", &["127.0.0.1"]), &there.pem);
    let bye = read_message(&mut back);
    assert!(bye.starts_with(&format!("BYE sip:ann@{far};transport=tls SIP/2.0\r\n")), "{bye}");
    assert!(is_of(back.conn.peer_certificates(), &folder.join("customer.pem")));
    send(&mut back, &answer(&bye, "200 OK", "", ""));
    receive(bob, "SIP/2.0 200");
    scene.server.stop();
}
