//! Stop, reload, and the lifetime of a registration at a provider.

use std::fs;
use std::net::SocketAddr;

use b2b::sip::auth::Authorized;
use b2b::sip::msg::{Method, Name};
use nix::sys::signal::Signal;

use super::peer::{Peer, server, write};

const TRUSTED: &str = "trusted = [\"127.0.0.0/8\"]";

fn to(number: &str, peer: &Peer) -> String {
    format!("[[route]]\ncalled = \"{number}\"\nto = \"sip:{number}@{}\"\n", peer.at)
}

/// A callee has to exist before the server whose route names it.
fn callee(address: [u8; 4]) -> Peer {
    Peer::new(address, "127.0.0.1:9".parse().expect("an address"))
}

fn at(callee: Peer, server: SocketAddr) -> Peer {
    Peer { server, ..callee }
}

#[test]
fn at_sigterm_new_calls_get_503_with_retry_after_and_the_call_that_is_up_goes_on_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let bob = callee([127, 0, 8, 1]);
    let (mut server, address) =
        server(folder.path(), &format!("{TRUSTED}\ndrain_s = 86400"), &to("bob", &bob));
    let mut bob = at(bob, address);
    let mut ann = Peer::new([127, 0, 8, 2], address);
    let ok = ann.call(&mut bob, "bob", "up");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("stopping: 1 calls may continue");
    let mut late = Peer::new([127, 0, 8, 3], address);
    let invite = late.invite("bob", "late", 1, &Authorized::default());
    let refusal = late.ask(&invite, "late", 1);
    assert_eq!(refusal.status(), 503);
    assert!(refusal.header(Name::RetryAfter).is_some());
    // The call is not affected.
    let info = ann.in_call(&Method::Info, &ok, "up", 2);
    assert_eq!(ann.ask(&info, "up", 2).status(), 200);
    assert!(server.is_running());
    let bye = ann.in_call(&Method::Bye, &ok, "up", 3);
    assert_eq!(ann.ask(&bye, "up", 3).status(), 200);
    let theirs = bob.wait_for(&Method::Bye);
    bob.answer(&theirs, 200, &[]);
    server.assert_exit(0);
}

#[test]
fn calls_that_outlast_the_drain_are_hung_up_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let bob = callee([127, 0, 8, 4]);
    let (mut server, address) = server(folder.path(), &format!("{TRUSTED}\ndrain_s = 1"), &to("bob", &bob));
    let mut bob = at(bob, address);
    let mut ann = Peer::new([127, 0, 8, 5], address);
    ann.call(&mut bob, "bob", "up");
    server.signal(Signal::SIGTERM);
    for party in [&mut ann, &mut bob] {
        let bye = party.wait_for(&Method::Bye);
        party.answer(&bye, 200, &[]);
    }
    server.assert_exit(0);
}

#[test]
fn sighup_puts_a_good_configuration_in_force_refuses_a_bad_one_and_touches_no_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bob, cat) = (callee([127, 0, 8, 6]), callee([127, 0, 8, 7]));
    let (mut server, address) = server(folder.path(), TRUSTED, &to("bob", &bob));
    let routes = to("bob", &bob) + &to("cat", &cat);
    let (mut bob, mut cat) = (at(bob, address), at(cat, address));
    let mut ann = Peer::new([127, 0, 8, 8], address);
    let ok = ann.call(&mut bob, "bob", "up");
    let invite = ann.invite("cat", "before", 1, &Authorized::default());
    assert_eq!(ann.ask(&invite, "before", 1).status(), 404);
    // An invalid one: the old one stays, and the error gives the line.
    fs::write(folder.path().join("b2bua.toml"), "[server]\nlissten = 1\n").expect("a file");
    server.signal(Signal::SIGHUP);
    let line = server.wait_for_line("the new configuration is refused, the old one stays");
    assert!(line.contains("b2bua.toml:2"), "{line}");
    let second = ann.call(&mut bob, "bob", "second");
    // A valid one, with a limit below the number of current calls.
    write(folder.path(), TRUSTED, &format!("[limits]\ncalls = 3\n{routes}"));
    server.signal(Signal::SIGHUP);
    server.wait_for_line("changed: [limits]");
    let third = ann.call(&mut cat, "cat", "third");
    let invite = ann.invite("cat", "fourth", 1, &Authorized::default());
    assert_eq!(ann.ask(&invite, "fourth", 1).status(), 503, "the new limit is in force");
    for (ok, call, callee) in [(ok, "up", &mut bob), (third, "third", &mut cat)] {
        let bye = ann.in_call(&Method::Bye, &ok, call, 2);
        assert_eq!(ann.ask(&bye, call, 2).status(), 200);
        let theirs = callee.wait_for(&Method::Bye);
        callee.answer(&theirs, 200, &[]);
    }
    drop(second);
    assert!(server.is_running());
}

#[test]
fn a_provider_sees_a_registration_with_a_password_and_its_end_at_the_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let provider = callee([127, 0, 8, 9]);
    let gateway = format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\ntransport = \"udp\"\nusername = \"acme\"\n\
         password = \"secret\"\nregister = true\n",
        provider.at
    );
    let (mut server, address) = server(folder.path(), "", &gateway);
    let mut provider = at(provider, address);
    let first = provider.wait_for(&Method::Register);
    let challenge = "Digest realm=\"carrier.example\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256";
    provider.answer(&first, 401, &[(Name::WwwAuthenticate, challenge)]);
    let second = loop {
        // The first one may have been retransmitted before the response arrived.
        let register = provider.wait_for(&Method::Register);
        if register.cseq().expect("a CSeq").number > first.cseq().expect("a CSeq").number {
            break register;
        }
    };
    let credentials = String::from_utf8_lossy(second.header(Name::Authorization).expect("them")).into_owned();
    assert!(credentials.contains("username=\"acme\"") && credentials.contains("SHA-256"), "{credentials}");
    let contact = String::from_utf8_lossy(second.header(Name::Contact).expect("one")).into_owned();
    provider.answer(&second, 200, &[(Name::Contact, &format!("{contact};expires=600"))]);
    server.wait_for_line("gateway carrier: registered: 200 OK");
    server.signal(Signal::SIGTERM);
    let end = loop {
        let register = provider.wait_for(&Method::Register);
        if register.cseq().expect("a CSeq").number > second.cseq().expect("a CSeq").number {
            break register;
        }
    };
    assert_eq!(end.header(Name::Expires), Some(&b"0"[..]));
    provider.answer(&end, 200, &[]);
    server.assert_exit(0);
}

#[test]
fn a_route_that_records_and_no_folder_for_it_is_exit_64_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "", "[[route]]\nname = \"all\"\nto = \"sip:a@127.0.0.1\"\nrecord = true\n");
    let path = folder.path().join("b2bua.toml");
    let mut server =
        crate::common::child::b2b(&["--role", "b2bua", "--config", path.to_str().expect("UTF-8")]);
    server.assert_exit(64);
    let told = server.output();
    assert!(told.contains("`recording.folder` is missing: route \"all\" (line 8)"), "{told}");
}
