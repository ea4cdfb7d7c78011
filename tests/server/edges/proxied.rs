//! Phones behind a named edge proxy, such as Kamailio with `path` and `nathelper`: they are called through
//! it, but each is held responsible separately.

use b2b::sip::auth::Authorized;
use b2b::sip::msg::{Method, Name};

use super::peer::{Peer, server};
use super::registering::{Says, ask, behind, heard_nothing, register};

const TRUSTED: &str = "trusted = [\"127.0.10.2\"]";
const LINES: &str = "[registrar]\nproxies = [\"127.0.10.5\", \"127.0.10.6\"]\n[limits]\nauth_failures = 2\n\
    [[user]]\nname = \"1001\"\npassword = \"secret\"\n[[user]]\nname = \"1002\"\npassword = \"secret\"\n\
    [[user]]\nname = \"1003\"\npassword = \"secret\"\n[[route]]\ncalled = \"100[0-9]\"\nto = \"user/$0\"\n";

/// The edge's additions to a phone's request.
fn handed_on(edge: &Peer, user: &str, seen: &str) -> Says {
    Says::truly(edge, user)
        .via(edge.at.to_string())
        .contact(format!("sip:{user}@192.168.1.7:5060;alias={seen}~40123~1"))
        .field(&behind(seen, 40_123))
}

#[test]
fn a_phone_is_called_by_the_path_that_a_named_proxy_wrote_and_its_octets_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_process, address) = server(folder.path(), TRUSTED, LINES);
    let mut edge = Peer::new([127, 0, 10, 5], address);
    let mut other = Peer::new([127, 0, 10, 6], address);
    let carrier = Peer::new([127, 0, 10, 9], address);
    for (user, path, by_other) in [
        ("1001", format!("<sip:{};lr;received=sip:198.51.100.7:40123%3Btransport=udp;ob>", edge.at), false),
        // Two nodes of one cluster.
        ("1002", format!("<sip:{};lr>, <sip:{};lr>", other.at, edge.at), true),
        // Written by the phone, since this edge adds none.
        ("1003", format!("<sip:{};lr>", carrier.at), false),
    ] {
        let says =
            handed_on(&edge, user, "198.51.100.7").field(&format!("Path: {path}")).field("Supported: path");
        let response = register(&mut edge, user, user, &says);
        let told: Vec<_> = response.headers(Name::Path).map(<[u8]>::to_vec).collect();
        assert_eq!(String::from_utf8_lossy(&told.join(&b", "[..])), path);
        let contact = response.header(Name::Contact).expect("a Contact");
        let contact = String::from_utf8_lossy(contact);
        assert!(contact.starts_with(&format!("<{}>", says.contact)), "{contact}");
        let mut caller = Peer::new([127, 0, 10, 2], address);
        let invite = caller.invite(user, &format!("to-{user}"), 1, &Authorized::default());
        caller.send(&invite);
        let by = if by_other { &mut other } else { &mut edge };
        let theirs = by.wait_for(&Method::Invite);
        assert_eq!(theirs.uri_bytes(), says.contact.as_bytes());
        let route: Vec<_> = theirs.headers(Name::Route).map(<[u8]>::to_vec).collect();
        assert_eq!(String::from_utf8_lossy(&route.join(&b", "[..])), path);
        by.answer(&theirs, 486, &[]);
    }
    assert!(heard_nothing(&carrier), "a phone's own Path was followed");
}

#[test]
fn a_phone_without_path_is_called_by_the_named_proxy_that_brought_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_process, address) = server(folder.path(), TRUSTED, LINES);
    let mut edge = Peer::new([127, 0, 10, 5], address);
    let carrier = Peer::new([127, 0, 10, 9], address);
    let says = handed_on(&edge, "1001", "198.51.100.7").contact(format!("sip:+9005551234@{}", carrier.at));
    register(&mut edge, "1001", "r", &says);
    let mut caller = Peer::new([127, 0, 10, 2], address);
    let invite = caller.invite("1001", "c", 1, &Authorized::default());
    caller.send(&invite);
    let theirs = edge.wait_for(&Method::Invite);
    edge.answer(&theirs, 486, &[]);
    assert!(heard_nothing(&carrier), "a Contact behind the proxy leads anywhere");
}

#[test]
fn a_phone_behind_a_named_proxy_is_banned_and_its_neighbour_registers_and_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut process, address) = server(folder.path(), "", LINES);
    let mut edge = Peer::new([127, 0, 10, 5], address);
    let mut callee = Peer::new([127, 0, 10, 7], address);
    let contact = format!("sip:1003@{}", callee.at);
    assert_eq!(callee.register("1003", "secret", &contact, "callee"), 200);
    let to = (&Method::Register, "sip:b2b.example");
    let bad = handed_on(&edge, "1001", "198.51.100.66");
    for user in ["1001", "1004"] {
        let response = ask(&mut edge, to, (user, "guess"), &format!("guess-{user}"), &bad, None);
        assert_eq!(response.status(), 401, "{user}");
    }
    process.wait_for_line("198.51.100.66 is banned for ");
    // It gets a response: a proxy without responses would consider b2b dead.
    let response = ask(&mut edge, to, ("1001", "secret"), "late", &bad, None);
    assert_eq!(response.status(), 403);
    let good = handed_on(&edge, "1002", "198.51.100.67");
    register(&mut edge, "1002", "neighbour", &good);
    let uri = format!("sip:1003@{address}");
    let status = std::thread::scope(|scope| {
        let called = scope.spawn(|| {
            let invite = callee.wait_for(&Method::Invite);
            callee.answer(&invite, 200, &[]);
            callee.wait_for(&Method::Ack);
        });
        let response = ask(&mut edge, (&Method::Invite, &uri), ("1002", "secret"), "call", &good, None);
        let ack = edge.in_call(&Method::Ack, &response, "call", 2);
        edge.send(&ack);
        called.join().expect("it was called");
        response.status()
    });
    assert_eq!(status, 200);
}
