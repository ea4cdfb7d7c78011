//! TLS depending on the peer: a certificate for each of our names, client certificates, and
//! settings for one peer.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::stack::Stack;
use b2b_sip::endpoint::{Termination, Transport};
use b2b_sip::net::{
    AskClient, CertifiedPeers, NetConfig, NetLimits, PeerTls, ProvenBy, Tls, TlsError, TlsFiles,
};
use b2b_test_support::tls::{
    Authority, Purpose, Shows, accept, accept_asking, answer, ask, client, connect, connect_by, is_of,
    is_refused, read_message, send,
};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn load(files: &TlsFiles) -> Tls {
    Tls::load(files.clone()).expect("good files")
}

#[test]
fn who_asks_for_a_name_is_shown_its_certificate_and_anybody_else_the_first() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new(folder.path(), "authority");
    let first = authority.issue("first", &["localhost", "127.0.0.1", "two.example", "a.b.two.example"]);
    let one = authority.issue("one", &["one.example", "also.example"]);
    let two = authority.issue("two", &["*.two.example", "one.example"]);
    let files = TlsFiles {
        certificate: Some(first.clone()),
        further: vec![one.clone(), two.clone()],
        ..TlsFiles::default()
    };
    let tls = load(&files);
    let any = address("127.0.0.1:0");
    let stack =
        Stack::start(NetConfig { bind_tls: vec![any], tls: Some(tls.clone()), ..NetConfig::new(any) });
    let at = stack.at(Transport::Tls);
    // The client refuses a certificate for another name.
    let shown = |name: &str, pair: &(PathBuf, PathBuf)| {
        let mut stream = connect(at, &authority.pem, name);
        ask(&mut stream, 1);
        assert!(is_of(stream.conn.peer_certificates(), &pair.0), "{name}");
    };
    for (name, pair) in [
        ("one.example", &one),
        ("ALSO.example", &one),
        ("x.two.example", &two),
        ("two.example", &first),
        ("a.b.two.example", &first),
        ("localhost", &first),
        ("127.0.0.1", &first),
    ] {
        shown(name, pair);
    }

    // All or nothing.
    let nameless = authority.issue_uris("nameless", &["192.0.2.1"], &["https://x.example"]);
    let new = authority.issue("new", &["one.example", "localhost"]);
    let others = TlsFiles { certificate: Some(new), further: vec![nameless], ..TlsFiles::default() };
    assert!(matches!(tls.reload(others), Err(TlsError::NoNames { .. })));
    std::fs::copy(folder.path().join("one.key"), folder.path().join("two.key")).expect("copied");
    let _ = authority.issue("first", &["localhost", "127.0.0.1"]);
    assert!(matches!(tls.reload(files.clone()), Err(TlsError::Pair { .. })), "one of them is bad");
    shown("x.two.example", &two);
    let mut stream = connect(at, &authority.pem, "a.b.two.example");
    ask(&mut stream, 2);
    let _ = authority.issue("two", &["two.example"]);
    assert!(tls.reload(files).expect("good files"));
    shown("two.example", &two);
}

/// A stack with three listeners, of which one requests no client certificate, one requests
/// and one requires it; and their addresses.
fn asking(folder: &Path, authority: &Authority) -> (Stack, [SocketAddr; 3], CertifiedPeers) {
    let binds = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"].map(address);
    let files = TlsFiles {
        certificate: Some(Authority::new(folder, "ours").issue("server", &["localhost"])),
        asking: vec![(binds[1], AskClient::Request), (binds[2], AskClient::Require)],
        client_authorities: Some(authority.pem.clone()),
        ..TlsFiles::default()
    };
    let certified = CertifiedPeers::default();
    let stack = Stack::start(NetConfig {
        bind_tls: binds.to_vec(),
        tls: Some(load(&files)),
        certified: certified.clone(),
        ..NetConfig::new(binds[0])
    });
    let at = stack.all_at(Transport::Tls).try_into().expect("three listeners");
    (stack, at, certified)
}

#[test]
fn certificates_are_asked_for_where_the_configuration_says_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new(folder.path(), "clients");
    let (_stack, [open, requesting, requiring], _) = asking(folder.path(), &authority);
    let ours = folder.path().join("ours.pem");
    let own = authority.issue("sbc", &["sbc.example"]);
    for (at, pair, asked, good) in [
        (open, Some(&own), false, true),
        (requesting, None, true, true),
        (requesting, Some(&own), true, true),
        (requiring, None, true, false),
        (requiring, Some(&own), true, true),
    ] {
        let shows = Shows::new(pair);
        let mut stream = connect_by(&client(&ours, &shows), at, "localhost");
        match good {
            true => ask(&mut stream, 1),
            false => assert!(is_refused(&mut stream), "{at} without a certificate"),
        }
        assert_eq!(shows.was_asked(), asked, "{at}");
    }
}

#[test]
fn certificates_of_servers_and_of_sip_domains_are_good_and_those_of_other_purposes_and_authorities_not() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new(folder.path(), "clients");
    let other = Authority::new(folder.path(), "other");
    let (stack, [_, requesting, requiring], _) = asking(folder.path(), &authority);
    let ours = folder.path().join("ours.pem");
    let sip_domain = Purpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 20]);
    let issue = |file: &str, purposes: &[Purpose]| authority.issue_for(file, &["*.sbc.example"], purposes);
    let mut refusals = 0;
    for (pair, good) in [
        (issue("server-only", &[Purpose::ServerAuth]), true),
        (issue("client-only", &[Purpose::ClientAuth]), true),
        (issue("sip", &[sip_domain]), true),
        (issue("any", &[Purpose::Any]), true),
        (issue("both", &[Purpose::CodeSigning, Purpose::ServerAuth]), true),
        (issue("code", &[Purpose::CodeSigning]), false),
        (other.issue_for("stranger", &["*.sbc.example"], &[Purpose::ServerAuth]), false),
    ] {
        for at in [requesting, requiring] {
            let mut stream = connect_by(&client(&ours, &Shows::new(Some(&pair))), at, "localhost");
            match good {
                true => ask(&mut stream, 1),
                false => assert!(is_refused(&mut stream), "{}", pair.0.display()),
            }
            refusals += u64::from(!good);
        }
    }
    stack.wait_for("refusals are counted", |counters, _| counters.failed_handshakes == refusals);
}

#[test]
fn a_session_that_was_made_with_a_certificate_is_not_taken_up_again() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new(folder.path(), "clients");
    let (_stack, [open, _, requiring], _) = asking(folder.path(), &authority);
    let shows = Shows::new(Some(&authority.issue("sbc", &["sbc.example"])));
    let config = client(&folder.path().join("ours.pem"), &shows);
    let resumed = |at: SocketAddr| {
        let kinds = [1, 2].map(|n| {
            let mut stream = connect_by(&config, at, "localhost");
            ask(&mut stream, n);
            stream.conn.handshake_kind()
        });
        kinds[1] == Some(rustls::HandshakeKind::Resumed)
    };
    assert!(!resumed(requiring));
    assert!(resumed(open), "where nobody shows one");
}

/// Settings for connecting with the certificate `pair`.
fn peer(pair: &(PathBuf, PathBuf)) -> PeerTls {
    PeerTls { certificate: Some(pair.clone()), ..PeerTls::default() }
}

#[test]
fn peers_with_settings_of_their_own_see_their_certificate_and_share_no_connection() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new(folder.path(), "authority");
    let [usual, one, two] =
        ["usual", "one", "two"].map(|name| authority.issue(name, &[&format!("{name}.example")]));
    let peers = [("one", peer(&one)), ("two", peer(&two))];
    let files = TlsFiles {
        certificate: Some(usual.clone()),
        authorities: Some(authority.pem.clone()),
        peers: BTreeMap::from(peers.map(|(name, peer)| (Arc::from(name), peer))),
        ..TlsFiles::default()
    };
    let tls = load(&files);
    let any = address("127.0.0.1:0");
    let stack = Stack::start(NetConfig { tls: Some(tls.clone()), ..NetConfig::new(any) });
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let callee = authority.issue("callee", &["localhost"]);
    let target =
        format!("sip:far@localhost:{};transport=tls", listener.local_addr().expect("address").port());
    let refuse = |stream: &mut b2b_test_support::tls::Callee| {
        let invite = read_message(stream);
        assert!(invite.starts_with("INVITE "), "{invite}");
        send(stream, &answer(&invite, "486 Busy Here", "", ""));
        assert!(read_message(stream).starts_with("ACK "));
        assert!(matches!(stack.ended(), Termination::Failed { .. }));
    };
    let mut open = Vec::new();
    for (name, pair) in [(Some("one"), &one), (Some("two"), &two), (None, &usual)] {
        stack.dial_by(target.clone(), name);
        let mut stream = accept_asking(&listener, &callee, &authority.pem);
        refuse(&mut stream);
        assert!(is_of(stream.conn.peer_certificates(), &pair.0), "{name:?}");
        open.push(stream);
    }
    for (name, stream) in [(Some("one"), 0), (Some("two"), 1), (None, 2)] {
        stack.dial_by(target.clone(), name);
        refuse(&mut open[stream]);
    }
    // A name without settings leads nowhere, in particular not with those of others.
    stack.dial_by(target.clone(), Some("three"));
    assert!(matches!(stack.ended(), Termination::Unreachable));

    // Other settings need another connection, the same ones do not.
    authority.issue("one", &["one.example"]);
    assert!(tls.reload(files).expect("good files"));
    stack.dial_by(target.clone(), Some("two"));
    refuse(&mut open[1]);
    stack.dial_by(target, Some("one"));
    let mut stream = accept_asking(&listener, &callee, &authority.pem);
    refuse(&mut stream);
    assert!(is_of(stream.conn.peer_certificates(), &one.0), "the new one");
}

#[test]
fn a_peer_is_checked_by_its_own_authorities_and_name() {
    let folder = tempfile::tempdir().expect("folder");
    let usual = Authority::new(folder.path(), "usual");
    let own = Authority::new(folder.path(), "own");
    let peer = |name: Option<&str>| PeerTls {
        authorities: Some(own.pem.clone()),
        name: name.map(str::to_owned),
        ..PeerTls::default()
    };
    let peers = [("own", peer(None)), ("named", peer(Some("sbc.example")))];
    let files = TlsFiles {
        authorities: Some(usual.pem.clone()),
        peers: BTreeMap::from(peers.map(|(name, peer)| (Arc::from(name), peer))),
        ..TlsFiles::default()
    };
    let any = address("127.0.0.1:0");
    let stack = Stack::start(NetConfig { tls: Some(load(&files)), ..NetConfig::new(any) });
    for (authority, host, by, good) in [
        (&own, "localhost", Some("own"), true),
        (&usual, "localhost", Some("own"), false),
        (&own, "localhost", None, false),
        (&own, "sbc.example", Some("named"), true),
        (&own, "localhost", Some("named"), false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let port = listener.local_addr().expect("address").port();
        stack.dial_by(format!("sip:far@localhost:{port};transport=tls"), by);
        let mut stream = accept(&listener, &authority.issue("callee", &[host]));
        if good {
            let invite = read_message(&mut stream);
            assert!(invite.starts_with("INVITE sip:far@localhost:"), "{invite}");
            let asked = if by == Some("named") { "sbc.example" } else { "localhost" };
            assert_eq!(stream.conn.server_name(), Some(asked), "SNI");
            send(&mut stream, &answer(&invite, "486 Busy Here", "", ""));
            assert!(matches!(stack.ended(), Termination::Failed { .. }));
        } else {
            let mut rest = Vec::new();
            assert!(std::io::Read::read_to_end(&mut stream, &mut rest).is_err() && rest.is_empty());
            assert!(matches!(stack.ended(), Termination::Unreachable), "{host} by {by:?}");
        }
    }
}

#[test]
fn a_stranger_gets_so_many_handshakes_a_second_and_tcp_connections_are_not_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new(folder.path(), "authority");
    let files = TlsFiles { certificate: Some(authority.issue("one", &["localhost"])), ..TlsFiles::default() };
    let any = address("127.0.0.1:0");
    let limits = NetLimits { proof: ProvenBy::Password, max_unproven_per_source: 1, ..NetLimits::default() };
    let stack = Stack::start(NetConfig {
        bind_tls: vec![any],
        tls: Some(load(&files)),
        limits,
        ..NetConfig::new(any)
    });
    let open = |transport| {
        let at = stack.at(transport);
        drop((0..40).map(|_| TcpStream::connect(at).expect("loopback")).collect::<Vec<_>>());
    };
    open(Transport::Tcp);
    stack.wait_for("each one is let in", |counters, _| {
        counters.connections_opened == 40 && counters.connections_refused == 0
    });
    let begun = std::time::Instant::now();
    open(Transport::Tls);
    stack.wait_for("most are refused", |counters, _| {
        counters.connections_opened + counters.connections_refused == 80
    });
    // Five at once, and one a second.
    let most = 5 + 1 + begun.elapsed().as_secs();
    stack.wait_for("few are let in", |counters, _| counters.connections_opened <= 40 + most);
}
