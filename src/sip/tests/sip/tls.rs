//! SIP over TLS at the stack: incoming and outgoing connections.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::stack::Stack;
use b2b_sip::endpoint::{Termination, Transport};
use b2b_sip::net::budget::Rate;
use b2b_sip::net::{NetConfig, NetLimits, Tls, TlsError, TlsFiles};
use b2b_test_support::tls::{
    Authority, PATIENCE, accept, answer, ask, connect, field, options, read_message, send,
};

/// A stack with a TLS listener.
fn start(tls: Tls, limits: NetLimits) -> Stack {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("address");
    Stack::start(NetConfig { bind_tls: vec![any], tls: Some(tls), limits, ..NetConfig::new(any) })
}

/// Files of a server for `localhost`, with the authority that it trusts.
fn files(folder: &Path) -> (Authority, TlsFiles) {
    let authority = Authority::new(folder, "authority");
    let certificate = Some(authority.issue("server", &["localhost", "127.0.0.1"]));
    let authorities = Some(authority.pem.clone());
    (authority, TlsFiles { certificate, authorities, ..TlsFiles::default() })
}

fn tls(files: &TlsFiles) -> Tls {
    Tls::load(files.clone()).expect("good files")
}

#[test]
fn requests_over_tls_are_answered_on_their_connection() {
    let folder = tempfile::tempdir().expect("folder");
    let (authority, files) = files(folder.path());
    let stack = start(tls(&files), NetLimits::default());
    let mut client = connect(stack.at(Transport::Tls), &authority.pem, "localhost");
    for n in 0..3 {
        ask(&mut client, n);
    }
    stack.wait_for("one connection", |counters, connections| {
        counters.connections_opened == 1 && connections == 1
    });
    drop(client);
    stack.wait_for("none is left", |_, connections| connections == 0);
}

#[test]
fn who_never_finishes_the_handshake_loses_the_connection_and_delays_nobody() {
    let folder = tempfile::tempdir().expect("folder");
    let (authority, files) = files(folder.path());
    let limits = NetLimits { message_timeout: Duration::from_secs(1), ..NetLimits::default() };
    let stack = start(tls(&files), limits);
    let mut silent = std::net::TcpStream::connect(stack.at(Transport::Tls)).expect("connected");
    silent.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut plain = std::net::TcpStream::connect(stack.at(Transport::Tls)).expect("connected");
    plain.set_read_timeout(Some(PATIENCE)).expect("timeout");
    send(&mut plain, &options(1));
    let mut client = connect(stack.at(Transport::Tls), &authority.pem, "localhost");
    ask(&mut client, 2);
    // An alert may come before the end.
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain, &mut rest);
    assert!(!rest.windows(3).any(|it| it == b"SIP"), "answered without TLS");
    assert_eq!(read_message(&mut silent), "", "closed");
    stack.wait_for("both were counted", |counters, connections| {
        counters.failed_handshakes == 1 && counters.closed_timeout == 1 && connections <= 1
    });
}

#[test]
fn phones_that_come_back_at_once_are_taken_a_part_at_a_time_and_tcp_is_not_delayed() {
    let folder = tempfile::tempdir().expect("folder");
    let (_, files) = files(folder.path());
    let limits =
        NetLimits { max_connections_per_source: 900, max_unproven_per_source: 900, ..NetLimits::default() };
    let stack = start(tls(&files), limits);
    let began = Instant::now();
    let _all: Vec<_> = (0..400)
        .map(|_| std::net::TcpStream::connect(stack.at(Transport::Tls)).expect("the kernel takes it"))
        .collect();
    let mut plain = std::net::TcpStream::connect(stack.at(Transport::Tcp)).expect("connected");
    ask(&mut plain, 1);
    let early = stack.run(|stack| (stack.connections(), Instant::now()));
    // 50 at once, and 500 a second.
    let most = 51 + usize::try_from((early.1 - began).as_millis()).expect("a time") / 2 + 1;
    assert!(early.0 <= most, "{} connections, {most} are due", early.0);
    stack.wait_for("all are taken", |_, connections| connections == 401);
    assert!(began.elapsed() >= Duration::from_millis(690), "{:?}", began.elapsed());
}

#[test]
fn a_tls_peer_that_never_reads_loses_its_connection_and_delays_nobody() {
    let folder = tempfile::tempdir().expect("folder");
    let (authority, files) = files(folder.path());
    let limits = NetLimits {
        per_source: Rate { per_second: 1_000_000, burst: 1_000_000 },
        write_queue: 64,
        ..NetLimits::default()
    };
    let stack = start(tls(&files), limits);
    let mut deaf = connect(stack.at(Transport::Tls), &authority.pem, "localhost");
    ask(&mut deaf, 0);
    let flood = std::thread::spawn(move || {
        let mut n = 1;
        loop {
            n += 1;
            // It writes without reading the responses, unlike rustls' own stream.
            let written = std::io::Write::write_all(&mut deaf.conn.writer(), options(n).as_bytes());
            let sent = written.and_then(|()| deaf.conn.write_tls(&mut deaf.sock));
            if let Err(error) = sent {
                return error.kind();
            }
        }
    });
    let mut good = connect(stack.at(Transport::Tls), &authority.pem, "localhost");
    let mut n = 1_000_000;
    while !flood.is_finished() {
        n += 1;
        ask(&mut good, n);
    }
    let error = flood.join().expect("flood");
    assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error:?}");
    ask(&mut good, 2_000_000);
    stack.wait_for("the deaf peer's connection is gone", |counters, connections| {
        counters.closed_not_reading == 1 && connections == 1
    });
}

#[test]
fn a_new_certificate_holds_for_new_connections_and_a_bad_one_for_none() {
    let folder = tempfile::tempdir().expect("folder");
    let (old, files) = files(folder.path());
    let tls = tls(&files);
    let stack = start(tls.clone(), NetLimits::default());
    let mut before = connect(stack.at(Transport::Tls), &old.pem, "localhost");
    ask(&mut before, 1);
    assert!(!tls.reload(files.clone()).expect("the same files"), "nothing has changed");

    let new = Authority::new(folder.path(), "new");
    new.issue("server", &["localhost"]);
    assert!(tls.reload(files.clone()).expect("good files"));
    ask(&mut connect(stack.at(Transport::Tls), &new.pem, "localhost"), 2);
    ask(&mut before, 3);

    let (certificate, key) = files.certificate.clone().expect("there");
    new.issue("other", &["localhost"]);
    std::fs::copy(folder.path().join("other.key"), &key).expect("copied");
    assert!(matches!(tls.reload(files.clone()), Err(TlsError::Pair { .. })), "a key of another one");
    std::fs::write(&certificate, "no certificate").expect("written");
    assert!(matches!(tls.reload(files.clone()), Err(TlsError::NoCertificate { .. })));
    std::fs::remove_file(&certificate).expect("removed");
    assert!(matches!(tls.reload(files), Err(TlsError::Read { .. })));
    ask(&mut connect(stack.at(Transport::Tls), &new.pem, "localhost"), 4);
    ask(&mut before, 5);
}

#[test]
fn a_call_of_ours_goes_to_the_name_it_is_for_and_later_ones_by_the_same_connection() {
    let folder = tempfile::tempdir().expect("folder");
    let (authority, files) = files(folder.path());
    let stack = start(tls(&files), NetLimits::default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let port = listener.local_addr().expect("address").port();
    stack.dial(format!("sip:far@localhost:{port};transport=tls"));
    let mut callee = accept(&listener, &authority.issue("callee", &["localhost"]));
    let invite = read_message(&mut callee);
    assert!(invite.starts_with("INVITE sip:far@localhost"), "{invite}");
    let at = stack.at(Transport::Tls);
    assert!(field(&invite, "Via").starts_with(&format!("SIP/2.0/TLS {at};")), "{invite}");
    assert_eq!(field(&invite, "Contact"), format!("<sip:{at};transport=tls>"), "{invite}");
    send(&mut callee, &answer(&invite, "486 Busy Here", "", ""));
    assert!(read_message(&mut callee).starts_with("ACK "));
    assert!(matches!(stack.ended(), Termination::Failed { .. }));

    stack.dial(format!("sips:far@localhost:{port}"));
    let invite = read_message(&mut callee);
    assert!(invite.starts_with("INVITE sips:far@localhost"), "{invite}");
    assert_eq!(field(&invite, "Contact"), format!("<sips:{at}>"), "RFC 3261 §8.1.1.8");
    send(&mut callee, &answer(&invite, "486 Busy Here", "", ""));
    assert!(read_message(&mut callee).starts_with("ACK "));
    stack.wait_for("one connection", |counters, _| counters.connections_opened == 1);
}

#[test]
fn nothing_is_sent_to_who_has_no_good_certificate_for_the_name() {
    let folder = tempfile::tempdir().expect("folder");
    let (authority, files) = files(folder.path());
    let stranger = Authority::new(folder.path(), "stranger");
    let stack = start(tls(&files), NetLimits::default());
    let bad = [authority.issue("wrong-name", &["example.com"]), stranger.issue("stranger-s", &["localhost"])];
    for pair in bad {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let port = listener.local_addr().expect("address").port();
        stack.dial(format!("sip:far@localhost:{port};transport=tls"));
        assert_eq!(refused(&listener, &pair), "", "nothing came");
        assert!(matches!(stack.ended(), Termination::Unreachable));
    }
}

/// Input from a peer that will refuse this certificate.
fn refused(listener: &TcpListener, pair: &(std::path::PathBuf, std::path::PathBuf)) -> String {
    let mut callee = accept(listener, pair);
    let mut text = Vec::new();
    let error = std::io::Read::read_to_end(&mut callee, &mut text).expect_err("the handshake fails");
    assert_ne!(error.kind(), ErrorKind::WouldBlock, "still open");
    String::from_utf8(text).expect("text")
}

#[test]
fn an_address_needs_a_certificate_of_its_own() {
    let folder = tempfile::tempdir().expect("folder");
    let (authority, files) = files(folder.path());
    let stack = start(tls(&files), NetLimits::default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let target = format!("sips:far@{}", listener.local_addr().expect("address"));
    stack.dial(target.clone());
    assert_eq!(refused(&listener, &authority.issue("name-only", &["localhost"])), "");
    assert!(matches!(stack.ended(), Termination::Unreachable));
    stack.dial(target);
    let mut callee = accept(&listener, &authority.issue("address", &["127.0.0.1"]));
    assert!(read_message(&mut callee).starts_with("INVITE sips:"));
}
