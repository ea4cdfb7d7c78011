//! Parties that have lost their connection in a call: they speak for it over another one once they have proved who they
//! are, and others never do.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::journal::assert_replays;
use super::survive::{killed, written};
use crate::server_support::phone::{Phone, rtp_of};
use crate::server_support::{Server, configured, start, until};
use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Limits, Message, Method};
use b2b_test_support::tls::{
    Authority, PATIENCE, Shows, answer, client, connect_by, field, read_message, send,
};

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection of somebody who says that it is ann's.
struct Line {
    stream: Box<dyn Stream>,
    server: SocketAddr,
    transport: &'static str,
    /// Of its Contact.
    port: u16,
    /// Of the phone.
    instance: &'static str,
    cseq: u32,
    branch: u32,
    /// Requests that came before the response that it waited for.
    early: VecDeque<String>,
}

/// A call of ann's, as her phone knows it.
#[derive(Clone)]
struct Call {
    /// With their tags.
    local: String,
    remote: String,
    call_id: String,
}

impl Line {
    /// A connection from this address.
    fn from(ip: [u8; 4], server: SocketAddr) -> Line {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((ip, 0)).into()).expect("loopback");
        socket.connect(&server.into()).expect("the server");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let port = stream.local_addr().expect("an address").port();
        Line::over(Box::new(stream), "TCP", server, port)
    }

    fn over(stream: Box<dyn Stream>, transport: &'static str, server: SocketAddr, port: u16) -> Line {
        Line {
            stream,
            server,
            transport,
            port,
            instance: "<urn:uuid:1>",
            cseq: 0,
            branch: 0,
            early: VecDeque::new(),
        }
    }

    fn say(&mut self, method: &str, uri: &str, call: &Call, (cseq, more, body): (u32, &str, &str)) {
        self.branch += 1;
        let Line { transport, port, instance, branch, .. } = self;
        let way = transport.to_ascii_lowercase();
        let Call { local, remote, call_id } = call;
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let message = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:{port};branch=z9hG4bK{port}n{branch}\r\n\
             Max-Forwards: 70\r\nFrom: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:ann@127.0.0.1:{port};transport={way}>;+sip.instance=\"{instance}\"\r\n{more}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        send(&mut self.stream, &message);
    }

    /// The next message that begins like this; other responses are skipped.
    fn hear(&mut self, beginning: &str) -> String {
        if let Some(at) = self.early.iter().position(|message| message.starts_with(beginning)) {
            return self.early.remove(at).expect("a message");
        }
        loop {
            let message = read_message(&mut self.stream);
            assert!(!message.is_empty(), "closed, no {beginning}");
            if message.starts_with(beginning) {
                return message;
            }
            if !message.starts_with("SIP/2.0") {
                self.early.push_back(message);
            }
        }
    }

    /// The final response to a request, whose challenge it answers as this user.
    fn ask(
        &mut self,
        method: &str,
        uri: &str,
        call: &Call,
        user: Option<(&str, &str)>,
        body: &str,
    ) -> String {
        let mut credentials = String::new();
        loop {
            self.cseq += 1;
            let cseq = self.cseq;
            self.say(method, uri, call, (cseq, &credentials, body));
            let response = loop {
                let response = self.hear("SIP/2.0 ");
                let is_final = !response.starts_with("SIP/2.0 1");
                if is_final && field(&response, "CSeq") == format!("{cseq} {method}") {
                    break response;
                }
            };
            if method == "INVITE" {
                self.say(
                    "ACK",
                    uri,
                    &Call { remote: field(&response, "To"), ..call.clone() },
                    (cseq, "", ""),
                );
            }
            let is_challenge = ["401", "407"].contains(&&response[8..11]);
            match user.filter(|_| is_challenge && credentials.is_empty()) {
                Some((name, password)) => credentials = answered(&response, (name, password), method, uri),
                None => return response,
            }
        }
    }

    fn register(&mut self, password: &str) {
        let local = "<sip:ann@b2b.example>".to_owned();
        let call_id = format!("registers-{}-{}", self.port, self.cseq);
        let call = Call { local: format!("{local};tag=r"), remote: local, call_id };
        let response = self.ask("REGISTER", "sip:b2b.example", &call, Some(("ann", password)), "");
        assert!(response.starts_with("SIP/2.0 200"), "{response}");
    }

    /// Calls bob, who answers.
    fn call(&mut self, bob: &Phone) -> Call {
        let uri = format!("sip:200@{}", self.server);
        let local = format!("<sip:ann@b2b.example>;tag=ann{}", self.port);
        let call_id = format!("calls-{}-{}", self.port, self.cseq);
        let call = Call { local, remote: format!("<{uri}>"), call_id };
        let response = std::thread::scope(|scope| {
            scope.spawn(|| {
                bob.answer();
            });
            self.ask("INVITE", &uri, &call, Some(("ann", "secret-of-ann")), SESSION)
        });
        assert!(response.starts_with("SIP/2.0 200"), "{response}");
        rtp_of(&response);
        Call { remote: field(&response, "To"), ..call }
    }

    /// The status of the final response to a request in a call.
    fn in_call(&mut self, method: &str, call: &Call, user: Option<(&str, &str)>) -> u16 {
        let uri = format!("sip:{};transport=tcp", self.server);
        let body = if method == "INVITE" { SESSION } else { "" };
        // After the requests by other connections.
        self.cseq = self.cseq.max(10);
        self.ask(method, &uri, call, user, body)[8..11].parse().expect("a status")
    }

    fn agree(&mut self, request: &str) {
        send(&mut self.stream, &answer(request, "200 OK", "", ""));
    }
}

/// The header field that answers a challenge.
fn answered(challenge: &str, (user, password): (&str, &str), method: &str, uri: &str) -> String {
    let parsed = Message::parse(challenge.to_owned().into(), &Limits::default());
    let Ok(Message::Response(response)) = parsed else { panic!("no response: {challenge}") };
    let mut digest = DigestClient::new(user, password, [7; 32]);
    digest.challenged(&response, &Authorized::default()).expect("a challenge");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = digest.authorize(&Method::from_bytes(method.as_bytes()), uri.as_bytes()).headers;
    fields.iter().map(|(name, value)| format!("{}: {}\r\n", text(name), text(value))).collect()
}

const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                       m=audio 40998 RTP/AVP 8\r\n";

const BOB: [u8; 4] = [127, 0, 80, 9];

fn bob() -> Phone {
    Phone::at("bob", [Ipv4Addr::from(BOB); 3])
}

/// A server at this address that trusts bob alone and keeps calls and registrations, with users ann and eve.
fn folder(ip: &str, bob: &Phone, rest: &str) -> tempfile::TempDir {
    let folder = configured(&format!(
        "[survive]\nfile = \"calls\"\nsize_mb = 1\n[media]\nports = \"20000-29999\"\n\
         [[user]]\nname = \"ann\"\npassword = \"secret-of-ann\"\n\
         [[user]]\nname = \"eve\"\npassword = \"secret-of-eve\"\n\
         [[route]]\ncalled = '2.*'\nto = \"{}\"\n[[route]]\ncalled = \"ann\"\nto = \"user/ann\"\n{rest}",
        bob.uri()
    ));
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let text = text.replace("\"udp:127.0.0.1:0\"", &format!("\"udp:{ip}:5060\", \"tls:{ip}:5061\""));
    let text = text.replace("127.0.0.0/8", "127.0.80.9/32").replace("\"memory\"", "\"sqlite:reg.db\"");
    let authority = Authority::new(folder.path(), "authority");
    authority.issue("server", &["localhost"]);
    Authority::new(folder.path(), "clients");
    let tls = format!(
        "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_authorities = \"clients.pem\"\n\
         client_request = \"tls:{ip}:5061\"\n"
    );
    std::fs::write(path, text + &tls).expect("a configuration");
    folder
}

/// A connection over TLS by which this certificate is shown, if any.
fn over_tls(server: &Server, port: u16, shows: Option<&(PathBuf, PathBuf)>) -> Line {
    let at = SocketAddr::new(server.sip.ip(), 5061);
    let client = client(&server.folder.path().join("authority.pem"), &Shows::new(shows));
    let stream = connect_by(&client, at, "localhost");
    Line::over(Box::new(stream), "TLS", server.sip, port)
}

const ANN: [u8; 4] = [127, 0, 80, 2];
/// Where ann is after she has gone from Wi-Fi to LTE.
const ELSEWHERE: [u8; 4] = [127, 0, 80, 3];
const ANNS: Option<(&str, &str)> = Some(("ann", "secret-of-ann"));
const EVES: Option<(&str, &str)> = Some(("eve", "secret-of-eve"));

fn no_call(server: &Server) {
    until("no call", || server.get("/calls").json()["calls"].as_array().filter(|it| it.is_empty()).map(drop));
}

#[test]
fn a_phone_that_registers_again_after_a_kill_goes_on_with_its_calls() {
    let bob = bob();
    let server = start(folder("127.0.80.1", &bob, ""));
    let mut old = Line::from(ANN, server.sip);
    old.register("secret-of-ann");
    let [first, second] = [(); 2].map(|()| old.call(&bob));
    let mut old_tls = over_tls(&server, 7, None);
    let third = old_tls.call(&bob);
    written(server.folder.path(), 3, 6);
    let server = start(killed(server));
    assert!(!bob.has_heard("BYE"));

    // Another phone of ann's registers first; it is not the one in the calls.
    let mut other = Line::from(ANN, server.sip);
    other.instance = "<urn:uuid:2>";
    other.register("secret-of-ann");
    let mut new = Line::from(ELSEWHERE, server.sip);
    new.register("secret-of-ann");
    assert_eq!(new.in_call("INVITE", &first, None), 200);
    assert_eq!(new.in_call("BYE", &first, None), 200);
    bob.let_go();
    until("the end of the first", || (server.get("/calls").json()["total"] == 2).then_some(()));
    // The phone has sent nothing in this call.
    let (line, id) = (&mut new, second.call_id.clone());
    std::thread::scope(|scope| {
        let hears = scope.spawn(move || {
            let bye = line.hear("BYE");
            line.agree(&bye);
            field(&bye, "Call-ID")
        });
        end_oldest(&server);
        assert_eq!(hears.join().expect("a BYE"), id);
    });
    bob.let_go();
    let mut tls = over_tls(&server, 8, None);
    tls.register("secret-of-ann");
    assert_eq!(tls.in_call("BYE", &third, None), 200);
    bob.let_go();
    no_call(&server);
}

fn says(server: &Server, what: &str) {
    until(what, || server.process.stderr().iter().any(|line| line.contains(what)).then_some(()));
}

fn oldest(server: &Server) -> u64 {
    let calls = server.get("/calls").json();
    let ids =
        calls["calls"].as_array().expect("calls").iter().map(|it| it["call"].as_u64().expect("a number"));
    ids.min().expect("a call")
}

/// Ends the oldest call.
fn end_oldest(server: &Server) {
    let ended = server.ask("DELETE", &format!("/calls/{}", oldest(server)));
    assert!(ended.status < 300, "{}", ended.text());
}

#[test]
fn who_knows_the_tags_of_a_call_needs_the_password_of_its_user() {
    let bob = bob();
    let server = start(folder("127.0.80.11", &bob, ""));
    let mut ann = Line::from(ANN, server.sip);
    ann.register("secret-of-ann");
    let call = ann.call(&bob);
    let journal = format!("/calls/{}/journal", oldest(&server));
    let mut liar = Line::from(ANN, server.sip);
    for method in ["BYE", "INVITE", "INFO", "UPDATE", "REFER", "FOO"] {
        liar.cseq = 2_000_000_000;
        assert_eq!(liar.in_call(method, &call, None), 407, "{method}");
    }
    assert_eq!(liar.in_call("BYE", &call, EVES), 403);
    says(&server, "has the password of user/eve");
    assert_eq!(liar.in_call("BYE", &call, Some(("ann", "a guess"))), 407);
    // Nor over UDP.
    let eve = Phone::at("eve", [Ipv4Addr::from(ANN); 3]);
    let Call { local, remote, call_id } = &call;
    eve.say(
        &format!(
            "BYE sip:b2b SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.80.2:9;rport;branch=z9hG4bKeve\r\nMax-Forwards: 70\r\n\
             From: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: 2000000900 BYE\r\nContent-Length: 0\r\n\r\n"
        ),
        server.sip,
    );
    eve.hear("SIP/2.0 407");
    assert!(!bob.has_heard("BYE") && !bob.has_heard("INVITE"));
    // Her numbers count as before.
    assert_eq!(ann.in_call("INVITE", &call, None), 200);
    // Without a registration, the password suffices; then the call is at the new connection.
    let mut new = Line::from(ELSEWHERE, server.sip);
    new.cseq = 100;
    assert_eq!(new.in_call("INVITE", &call, None), 407);
    assert_eq!(new.in_call("INVITE", &call, ANNS), 200);
    assert_eq!(new.in_call("INVITE", &call, None), 200);
    std::thread::scope(|scope| {
        scope.spawn(|| end_oldest(&server));
        let bye = new.hear("BYE");
        new.agree(&bye);
    });
    bob.let_go();
    no_call(&server);
    assert_replays(&server.get(&journal).text());
}

#[test]
fn a_phone_that_is_away_gets_the_bye_when_it_is_back_within_five_seconds() {
    let bob = bob();
    let server = start(folder("127.0.80.12", &bob, ""));
    let mut ann = Line::from(ANN, server.sip);
    ann.register("secret-of-ann");
    let call = ann.call(&bob);
    drop(ann);
    end_oldest(&server);
    bob.let_go();
    // The BYE waits for the phone: longer than one look for it, and less than the 5 s.
    std::thread::sleep(Duration::from_secs(1));
    let mut back = Line::from(ELSEWHERE, server.sip);
    back.register("secret-of-ann");
    let bye = back.hear("BYE");
    assert_eq!(field(&bye, "Call-ID"), call.call_id);
    back.agree(&bye);
    no_call(&server);

    back.call(&bob);
    drop(back);
    let began = Instant::now();
    end_oldest(&server);
    bob.let_go();
    no_call(&server);
    let lasted = began.elapsed();
    assert!(lasted > Duration::from_millis(4_500) && lasted < Duration::from_secs(10), "{lasted:?}");
}

#[test]
fn a_call_to_a_phone_whose_connection_ended_with_the_server_waits_for_it() {
    let bob = bob();
    let server = start(folder("127.0.80.13", &bob, ""));
    let mut ann = Line::from(ANN, server.sip);
    ann.register("secret-of-ann");
    let server = start(killed(server));
    bob.ask_for(server.sip, "ann");
    // The call waits as long, and is not refused.
    std::thread::sleep(Duration::from_secs(1));
    assert!(!bob.has_heard("SIP/2.0 4"));
    let mut back = Line::from(ELSEWHERE, server.sip);
    back.register("secret-of-ann");
    let invite = back.hear("INVITE");
    assert!(invite.starts_with(&format!("INVITE sip:ann@127.0.0.1:{};", back.port)), "{invite}");
    send(&mut back.stream, &answer(&invite, "486 Busy Here", "", ""));
    bob.hear("SIP/2.0 486");

    let server = start(killed(server));
    let (cat, began) = (Phone::at("cat", [Ipv4Addr::from(BOB); 3]), Instant::now());
    cat.ask_for(server.sip, "ann");
    cat.hear("SIP/2.0 480");
    let lasted = began.elapsed();
    assert!(lasted > Duration::from_millis(4_500) && lasted < Duration::from_secs(10), "{lasted:?}");
}

#[test]
fn a_gateway_speaks_over_any_connection_from_its_address_and_others_do_not() {
    let bob = bob();
    let listener = TcpListener::bind("127.0.80.20:0").expect("a listener");
    let at = listener.local_addr().expect("an address");
    let gateway = format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\ntransport = \"tcp\"\noptions_s = 0\n\
         sources = [\"127.0.80.21/32\"]\n[[route]]\ncalled = \"300\"\nto = \"gateway/carrier\"\n"
    );
    let server = start(folder("127.0.80.14", &bob, &gateway));
    bob.ask_for(server.sip, "300");
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut far = Line::over(Box::new(stream), "TCP", server.sip, at.port());
    let invite = far.hear("INVITE");
    let lines = format!("Contact: <sip:far@{at};transport=tcp>\r\nContent-Type: application/sdp\r\n");
    let ok = answer(&invite, "200 OK", &lines, SESSION);
    send(&mut far.stream, &ok);
    far.hear("ACK");
    bob.hear("SIP/2.0 200");
    let call =
        Call { local: field(&ok, "To"), remote: field(&ok, "From"), call_id: field(&invite, "Call-ID") };
    written(server.folder.path(), 1, 2);
    let server = start(killed(server));
    drop(far);
    let mut liar = Line::from([127, 0, 80, 22], server.sip);
    assert_eq!(liar.in_call("BYE", &call, None), 403);
    says(&server, "in a call of gateway/carrier, by another connection");
    assert_eq!(liar.in_call("BYE", &call, ANNS), 403);
    for (own, cseq) in [(20, 20), (21, 30)] {
        let mut new = Line::from([127, 0, 80, own], server.sip);
        new.cseq = cseq;
        assert_eq!(new.in_call("INFO", &call, None), 200, "127.0.80.{own}");
    }
    // Requests of ours go where its Contact says.
    std::thread::scope(|scope| {
        scope.spawn(|| end_oldest(&server));
        let (mut stream, _) = listener.accept().expect("a connection");
        let bye = read_message(&mut stream);
        assert!(bye.starts_with("BYE"), "{bye}");
        send(&mut stream, &answer(&bye, "200 OK", "", ""));
    });
    bob.let_go();
    no_call(&server);
}

#[test]
fn a_gateway_with_a_certificate_speaks_over_any_connection_that_shows_it() {
    let bob = bob();
    let gateway = "[[gateway]]\nname = \"teams\"\nhosts = [\"192.0.2.9\"]\ntransport = \"tls\"\noptions_s = 0\n\
                   tls_client = [\"sip.hub.example\"]\n";
    let folder = folder("127.0.80.15", &bob, gateway);
    let authority = Authority::new(folder.path(), "clients");
    let own = authority.issue("hub", &["sip.hub.example"]);
    let other = authority.issue("other", &["sip.other.example"]);
    let server = start(folder);
    let mut old = over_tls(&server, 7, Some(&own));
    let call = old.call(&bob);
    written(server.folder.path(), 1, 2);
    let server = start(killed(server));
    for shows in [None, Some(&other)] {
        assert_eq!(over_tls(&server, 8, shows).in_call("BYE", &call, None), 403);
    }
    assert!(!bob.has_heard("BYE"));
    assert_eq!(over_tls(&server, 9, Some(&own)).in_call("BYE", &call, None), 200);
    bob.let_go();
    no_call(&server);
}
