//! Destinations of calls to phones, depending on the content and the source of their REGISTER. Verified at
//! the sockets of an attacker and of the carrier whose address it names.

use std::time::Duration;

use b2b::sip::auth::Authorized;
use b2b::sip::msg::{Message, Method, Name};

use super::peer::{Peer, server};
use super::registering::{Says, ask, heard_nothing, register};

/// 127.0.8.2 calls without a password.
const TRUSTED: &str = "trusted = [\"127.0.8.2\"]";

fn users(registrar: &str) -> String {
    format!(
        "[registrar]\n{registrar}\n[[user]]\nname = \"1001\"\npassword = \"secret\"\n\
         [[user]]\nname = \"1002\"\npassword = \"secret\"\n[[route]]\ncalled = \"100[0-9]\"\nto = \"user/$0\"\n"
    )
}

fn has(message: &[u8], text: &str) -> bool {
    memchr::memmem::find(message, text.as_bytes()).is_some()
}

#[test]
fn a_second_via_a_path_or_a_contact_of_a_phones_leads_nobody_to_the_carrier() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut process, address) = server(folder.path(), TRUSTED, &users(""));
    let carrier = Peer::new([127, 0, 8, 9], address);
    let at = carrier.at;
    let second = format!("Via: SIP/2.0/UDP {at};branch=z9hG4bKlie");
    let path = format!("Path: <sip:{at};lr>\r\nSupported: path");
    for (number, (fields, contact)) in [
        (second.as_str(), format!("sip:+9005551234@{at}")),
        (path.as_str(), "sip:+9005551234@127.0.8.1".to_owned()),
        ("Supported: path", format!("sip:+9005551234@{at}")),
        ("Supported: path", format!("sip:+9005551234@127.0.8.1;maddr={};transport=udp", at.ip())),
    ]
    .into_iter()
    .enumerate()
    {
        let mut liar = Peer::new([127, 0, 8, 1], address);
        let (mut caller, call) = (Peer::new([127, 0, 8, 2], address), format!("lie-{number}"));
        // Only the last registration remains.
        let gone = Says::truly(&liar, "1001").field("X: 1");
        let says = gone.clone().contact(contact).field(fields);
        let response = register(&mut liar, "1001", &format!("r-{number}"), &says);
        assert!(response.header(Name::Path).is_none(), "a Path that does not count is told back");
        let invite = caller.invite("1001", &call, 1, &Authorized::default());
        caller.send(&invite);
        let theirs = liar.wait_for(&Method::Invite);
        assert!(theirs.header(Name::Route).is_none());
        liar.answer(&theirs, 486, &[]);
        // The carrier would have received it before that.
        assert!(heard_nothing(&carrier), "{fields} leads to the carrier");
        unregister(&mut liar, &format!("r-{number}-gone"));
    }
    let line = process.wait_for_line("127.0.8.1 registers 1001 with Path or a second Via");
    assert!(line.contains("proxies = [\"127.0.8.1\"]"), "{line}");
}

fn unregister(peer: &mut Peer, call: &str) {
    let mut digest = b2b::sip::auth::DigestClient::new("1001", "secret", [6; 32]);
    let mut credentials = Authorized::default();
    for cseq in 1..=2 {
        let mut register = peer
            .request(&Method::Register, "sip:b2b.example", call, cseq)
            .header(Name::To, "<sip:1001@b2b.example>")
            .header(Name::Contact, "*")
            .header(Name::Expires, "0");
        for (name, value) in &credentials.headers {
            register = register.header(Name::parse(name), value);
        }
        let response = peer.ask(&register.finish().expect("a request"), call, cseq);
        if cseq == 1 {
            digest.challenged(&response, &Authorized::default()).expect("a challenge");
            credentials = digest.authorize(&Method::Register, b"sip:b2b.example");
        } else {
            assert_eq!(response.status(), 200);
        }
    }
}

#[test]
fn a_pbx_that_sends_from_one_port_and_listens_on_another_is_called_at_its_contact() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_process, address) = server(folder.path(), TRUSTED, &users(""));
    let (mut sends, mut listens) = (Peer::new([127, 0, 8, 3], address), Peer::new([127, 0, 8, 3], address));
    // As CUBE does: without rport, so that responses go to its listening port (RFC 3261 §18.2.2).
    let says = Says::truly(&listens, "1001").via(listens.at.to_string());
    let ok = ask(
        &mut sends,
        (&Method::Register, "sip:b2b.example"),
        ("1001", "secret"),
        "pbx",
        &says,
        Some(&listens),
    );
    assert_eq!(ok.status(), 200);
    let mut caller = Peer::new([127, 0, 8, 2], address);
    let ok = caller.call(&mut listens, "1001", "to-pbx");
    let bye = caller.in_call(&Method::Bye, &ok, "to-pbx", 2);
    caller.send(&bye);
    let theirs = listens.wait_for(&Method::Bye);
    listens.answer(&theirs, 200, &[]);
    assert!(heard_nothing(&sends), "the port that it only sends from got something");
}

#[test]
fn a_pbx_that_asks_for_rport_is_called_where_it_sent_from_and_at_its_contact_if_nobody_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_process, address) = server(folder.path(), TRUSTED, &users(""));
    let (mut sends, mut listens) = (Peer::new([127, 0, 8, 7], address), Peer::new([127, 0, 8, 7], address));
    let says = Says::truly(&listens, "1001");
    register(&mut sends, "1001", "pbx", &says);
    let mut caller = Peer::new([127, 0, 8, 2], address);
    let invite = caller.invite("1001", "first", 1, &Authorized::default());
    caller.send(&invite);
    let theirs = sends.wait_for(&Method::Invite);
    sends.answer(&theirs, 486, &[]);
    // Nothing listens there any more: this machine reports it at once.
    drop(sends);
    let mut caller = Peer::new([127, 0, 8, 2], address);
    let ok = caller.call(&mut listens, "1001", "second");
    let bye = caller.in_call(&Method::Bye, &ok, "second", 2);
    caller.send(&bye);
    let theirs = listens.wait_for(&Method::Bye);
    listens.answer(&theirs, 200, &[]);
}

#[test]
fn keep_alives_go_to_every_phone_on_udp_but_those_inside() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = format!("{TRUSTED}\ninside = [\"127.0.9.0/24\"]");
    let (_process, address) = server(folder.path(), &lines, &users("keep_alive_s = 5"));
    let mut inside = Peer::new([127, 0, 9, 1], address);
    let says = Says::truly(&inside, "1001");
    register(&mut inside, "1001", "inside", &says);
    // Not known to be behind a NAT.
    let mut outside = Peer::new([127, 0, 8, 4], address);
    let says = Says::truly(&outside, "1002");
    register(&mut outside, "1002", "outside", &says);
    for _ in 0..2 {
        let datagram = outside.datagram(Duration::from_secs(60)).expect("a keep-alive");
        assert_eq!(&datagram[..], b"\r\n\r\n");
    }
    assert!(heard_nothing(&inside), "a phone inside is sent keep-alives");
}

#[test]
fn a_watcher_is_told_by_the_way_that_it_asked_by_and_not_at_its_contact() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_process, address) = server(folder.path(), "", &users(""));
    let carrier = Peer::new([127, 0, 8, 9], address);
    let mut liar = Peer::new([127, 0, 8, 5], address);
    let says = Says::truly(&liar, "1001")
        .contact(format!("sip:+9005551234@{}", carrier.at))
        .field("Event: dialog\r\nAccept: application/dialog-info+xml");
    let uri = format!("sip:1002@{address}");
    let response = ask(&mut liar, (&Method::Subscribe, &uri), ("1001", "secret"), "watch", &says, None);
    assert_eq!(response.status(), 200);
    let told = liar.wait_for(&Method::Notify);
    assert!(has(told.uri_bytes(), &carrier.at.to_string()), "its bytes stay the Request-URI");
    liar.answer(&told, 200, &[]);
    // Calling 1002 causes another NOTIFY.
    let mut phone = Peer::new([127, 0, 8, 6], address);
    let says = Says::truly(&phone, "1002");
    register(&mut phone, "1002", "phone", &says);
    let says = Says::truly(&liar, "1001");
    let uri = format!("sip:1002@{address}");
    let ringing = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let invite = phone.wait_for(&Method::Invite);
            phone.answer(&invite, 486, &[]);
        });
        let response = ask(&mut liar, (&Method::Invite, &uri), ("1001", "secret"), "ring", &says, None);
        asked.join().expect("it was called");
        response.status()
    });
    assert_eq!(ringing, 486);
    assert!(heard_nothing(&carrier), "a NOTIFY went where the Contact leads");
    while let Some(message) = liar.message(Duration::from_millis(50)) {
        if let Message::Request(request) = message {
            liar.answer(&request, 200, &[]);
        }
    }
}

#[test]
fn a_service_route_of_a_registrars_leads_no_call_anywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    // The registrar and the Service-Route's target exist before the server.
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let mut carrier = Peer::new([127, 0, 8, 10], nobody);
    let elsewhere = Peer::new([127, 0, 8, 11], nobody);
    let lines = format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\nusername = \"u\"\npassword = \"p\"\nregister = true\n\
         [[route]]\nto = \"gateway/carrier\"\n",
        carrier.at
    );
    let (_process, address) = server(folder.path(), TRUSTED, &lines);
    carrier.server = address;
    let asked = carrier.wait_for(&Method::Register);
    let route = format!("<sip:{};lr>", elsewhere.at);
    let contact = String::from_utf8_lossy(asked.header(Name::Contact).expect("a Contact")).into_owned();
    let contact = format!("{contact};expires=600");
    carrier.answer(&asked, 200, &[(Name::Contact, &contact), (Name::ServiceRoute, &route)]);
    let mut caller = Peer::new([127, 0, 8, 2], address);
    let invite = caller.invite("0123", "out", 1, &Authorized::default());
    caller.send(&invite);
    let theirs = carrier.wait_for(&Method::Invite);
    // It is in Route (RFC 3608 §5); the request still uses the flow of the registration.
    assert_eq!(theirs.header(Name::Route), Some(route.as_bytes()));
    carrier.answer(&theirs, 486, &[]);
    assert!(heard_nothing(&elsewhere));
}
