//! The server as a program: which certificate it presents to each peer, and the name by which it verifies
//! others.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use super::transports::{Server, receive, request, sdp, udp};
use crate::common::child::b2b;
use crate::server_support::{configured, start, until};
use b2b_test_support::dns::{NameServer, Zone};
use b2b_test_support::tls::{
    Authority, Callee, accept, accept_asking, answer, ask, connect, is_of, read_message, send,
};
use nix::sys::signal::Signal;

const TRUSTED: &str = "trusted = \"127.0.0.0/8\"\n";

/// Ann calls this number, over UDP.
fn call(server: &Server, number: u32) -> std::net::UdpSocket {
    let ann = udp("127.0.0.1:0");
    let from = ann.local_addr().expect("address").to_string();
    let contact = format!("Contact: <sip:ann@{from}>\r\n");
    let invite = request("INVITE", "UDP", &from, "", number, &contact, &sdp("127.0.0.1"));
    let invite = invite.replace("INVITE sip:lab@", &format!("INVITE sip:{number}@"));
    // Each is a separate call.
    let invite = invite.replace("anns-call", &format!("call-from-{from}"));
    ann.send_to(invite.as_bytes(), server.udp).expect("sent");
    ann
}

/// The far end is busy.
fn busy(callee: &mut Callee) -> String {
    let invite = read_message(callee);
    assert!(invite.starts_with("INVITE "), "{invite}");
    send(callee, &answer(&invite, "486 Busy Here", "", ""));
    assert!(read_message(callee).starts_with("ACK "));
    invite
}

#[test]
fn two_names_have_two_certificates_and_a_bad_one_among_new_ones_changes_none() {
    let temporary = tempfile::tempdir().expect("folder");
    let folder = temporary.path();
    let old = Authority::new(folder, "old");
    let issue = |authority: &Authority| {
        authority.issue("first", &["localhost"]);
        authority.issue("customer", &["sbc.customer.example"]);
    };
    issue(&old);
    let tables = "[tls]\ncertificate = \"first.pem\"\nkey = \"first.key\"\n\
                  [[tls.certificates]]\ncertificate = \"customer.pem\"\nkey = \"customer.key\"\n";
    let mut server =
        Server::start_among_strangers(folder, "listen = [\"udp:127.0.0.1:0\", \"tls:127.0.0.1:0\"]", tables);
    let at = server.at("tls");
    // The client refuses a certificate for another name.
    let both = |authority: &Authority| {
        for (n, name) in [(1, "localhost"), (2, "sbc.customer.example")] {
            ask(&mut connect(at, &authority.pem, name), n);
        }
    };
    both(&old);

    let new = Authority::new(folder, "new");
    issue(&new);
    fs::write(folder.join("customer.pem"), "not PEM").expect("written");
    let config = fs::read_to_string(folder.join("b2b.toml")).expect("text");
    let line = 1 + config.lines().position(|line| line == "[[tls.certificates]]").expect("there");
    server.b2b.signal(Signal::SIGHUP);
    let refused = server.b2b.wait_for_line("the old one stays");
    assert!(refused.contains(&format!("b2b.toml:{line}: ")) && refused.contains("customer.pem"), "{refused}");
    both(&old);
    issue(&new);
    server.b2b.signal(Signal::SIGHUP);
    server.b2b.wait_for_line("the certificate has changed");
    both(&new);
    server.stop();
}

#[test]
fn gateways_at_one_address_see_our_certificate_for_each_and_get_connections_of_their_own() {
    let temporary = tempfile::tempdir().expect("folder");
    let folder = temporary.path();
    let [authority, private] = ["authority", "private"].map(|name| Authority::new(folder, name));
    for name in ["usual", "one", "two"] {
        authority.issue(name, &[&format!("{name}.example")]);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let far = listener.local_addr().expect("address").port();
    let gateway = |name: &str, number: u32, keys: &str| {
        format!(
            "[[gateway]]\nname = \"{name}\"\nhosts = [\"localhost:{far}\"]\ntransport = \"tls\"\noptions_s = 0\n\
             {keys}\n[[route]]\ncalled = \"{number}\"\nto = \"gateway/{name}/{number}\"\n"
        )
    };
    let own = |name: &str| format!("tls_certificate = \"{name}.pem\"\ntls_key = \"{name}.key\"");
    let named = own("two") + "\ntls_authorities = \"private.pem\"\ntls_name = \"hub.example\"";
    let tables = format!(
        "[tls]\ncertificate = \"usual.pem\"\nkey = \"usual.key\"\nauthorities = \"authority.pem\"\n{}{}{}",
        gateway("one", 1, &own("one")),
        gateway("two", 2, &named),
        gateway("three", 3, "")
    );
    let listen = TRUSTED.to_owned() + "listen = \"udp:127.0.0.1:0\"";
    let server = Server::start_among_strangers(folder, &listen, &tables);
    let public = authority.issue("callee", &["localhost"]);
    let hidden = private.issue("hidden", &["hub.example"]);
    let mut open = Vec::new();
    for (number, file, callee, asked) in [
        (1, "one.pem", &public, "localhost"),
        (2, "two.pem", &hidden, "hub.example"),
        (3, "usual.pem", &public, "localhost"),
    ] {
        let ann = call(&server, number);
        let mut stream = accept_asking(&listener, callee, &authority.pem);
        let invite = busy(&mut stream);
        assert!(
            invite.starts_with(&format!("INVITE sip:{number}@localhost:{far};transport=tls ")),
            "{invite}"
        );
        assert!(is_of(stream.conn.peer_certificates(), &folder.join(file)), "{file}");
        assert_eq!(stream.conn.server_name(), Some(asked));
        receive(&ann, "SIP/2.0 486");
        open.push(stream);
    }
    // Each again on its own connection.
    for number in [2, 1, 3] {
        let ann = call(&server, number);
        let invite = busy(&mut open[number as usize - 1]);
        assert!(invite.contains(&format!("sip:{number}@localhost")), "{invite}");
        receive(&ann, "SIP/2.0 486");
    }
    drop(open);
    server.stop();
}

#[test]
fn registrations_and_questions_go_by_the_certificate_for_their_gateway() {
    let temporary = tempfile::tempdir().expect("folder");
    let folder = temporary.path();
    let authority = Authority::new(folder, "authority");
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("listener"));
    let gateway = |name: &str, listener: usize, keys: &str| {
        authority.issue(name, &[&format!("{name}.example")]);
        let far = listeners[listener].local_addr().expect("address").port();
        format!(
            "[[gateway]]\nname = \"{name}\"\nhosts = [\"localhost:{far}\"]\ntransport = \"tls\"\n\
             tls_certificate = \"{name}.pem\"\ntls_key = \"{name}.key\"\n{keys}\n"
        )
    };
    let tables = "[tls]\nauthorities = \"authority.pem\"\n".to_owned()
        + &gateway(
            "one",
            0,
            "options_s = 0\nregister = true\nusername = \"u\"\npassword = \"secret-password\"",
        )
        + &gateway("two", 1, "options_s = 1");
    let listen = TRUSTED.to_owned() + "listen = \"udp:127.0.0.1:0\"";
    let server = Server::start_among_strangers(folder, &listen, &tables);
    let callee = authority.issue("callee", &["localhost"]);
    for (listener, method, file) in [(0, "REGISTER ", "one.pem"), (1, "OPTIONS ", "two.pem")] {
        let mut stream = accept_asking(&listeners[listener], &callee, &authority.pem);
        let asked = read_message(&mut stream);
        assert!(asked.starts_with(method), "{asked}");
        assert!(is_of(stream.conn.peer_certificates(), &folder.join(file)), "{file}");
        send(&mut stream, &answer(&asked, "403 Forbidden", "", ""));
    }
    drop(server);
}

/// RFC 5922 §4: the name is the one requested, not the one returned by DNS.
#[test]
fn a_certificate_has_to_be_for_the_host_of_the_gateway_and_not_for_what_srv_names() {
    let temporary = tempfile::tempdir().expect("folder");
    let folder = temporary.path();
    let authority = Authority::new(folder, "authority");
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("listener"));
    let ports = [0, 1].map(|it: usize| listeners[it].local_addr().expect("address").port());
    let zone = Zone::default()
        .srv("_sips._tcp.one.test", 10, ports[0], "node.one.test")
        .srv("_sips._tcp.two.test", 10, ports[1], "node.two.test")
        .a("node.one.test", Ipv4Addr::LOCALHOST)
        .a("node.two.test", Ipv4Addr::LOCALHOST);
    let names = NameServer::start(Some(zone));
    let gateway = |name: &str, number: u32| {
        format!(
            "[[gateway]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\ntransport = \"tls\"\noptions_s = 0\n\
             [[route]]\ncalled = \"{number}\"\nto = \"gateway/{name}/{number}\"\n"
        )
    };
    let tables =
        "[tls]\nauthorities = \"authority.pem\"\n".to_owned() + &gateway("one", 1) + &gateway("two", 2);
    let listen = format!("{TRUSTED}listen = \"udp:127.0.0.1:0\"\nresolver = \"{}\"", names.addr);
    let server = Server::start_among_strangers(folder, &listen, &tables);

    let ann = call(&server, 1);
    let mut stream = accept(&listeners[0], &authority.issue("domain", &["one.test"]));
    let invite = busy(&mut stream);
    assert_eq!(stream.conn.server_name(), Some("one.test"));
    assert!(invite.starts_with("INVITE sip:1@one.test;transport=tls "), "{invite}");
    receive(&ann, "SIP/2.0 486");

    let ann = call(&server, 2);
    let mut stream = accept(&listeners[1], &authority.issue("node", &["node.two.test"]));
    let mut rest = Vec::new();
    assert!(std::io::Read::read_to_end(&mut stream, &mut rest).is_err() && rest.is_empty());
    // 503 is not forwarded (RFC 3261 §21.5.4).
    receive(&ann, "SIP/2.0 500");
}

#[test]
fn a_certificate_tells_until_when_it_is_good_and_an_alarm_stands_when_that_is_soon() {
    let folder = configured(
        "[tls]\ncertificate = \"first.pem\"\nkey = \"first.key\"\n\
         [[tls.certificates]]\ncertificate = \"other.pem\"\nkey = \"other.key\"\n",
    );
    let authority = Authority::new(folder.path(), "ca");
    authority.issue_until("first", "sbc.example", (2_101, 2, 3));
    authority.issue_until("other", "other.example", (2_026, 1, 2));
    let path = folder.path().join("b2bua.toml");
    let mut dry = b2b(&["--role", "b2bua", "--dry-run", "--config", path.to_str().expect("UTF-8")]);
    dry.assert_exit(0);
    let has_expired = "other.pem has expired at 2026-01-02T00:00:00Z";
    let said = dry.stdout().concat();
    assert!(said.contains(has_expired) && !said.contains("first.pem has expired"), "{said}");
    let mut server = start(folder);
    server.process.wait_for_line(has_expired);
    let series = |file: &str| {
        let path = server.folder.path().join(file);
        server.metric(&format!("b2b_certificate_not_after_seconds{{file=\"{}\"}}", path.display()))
    };
    assert_eq!((series("first.pem"), series("other.pem")), (4_136_832_000.0, 1_767_312_000.0));
    let alarms = until("an alarm", || {
        let alarms = server.get("/alarms").json()["alarms"].clone();
        alarms.as_array().filter(|alarms| !alarms.is_empty()).cloned()
    });
    let [alarm] = alarms.as_slice() else { panic!("{alarms:?}") };
    assert_eq!(alarm["name"], "certificate_expires");
    assert!(alarm["subject"].as_str().is_some_and(|file| file.ends_with("other.pem")), "{alarm}");
    assert_eq!(alarm["text"], "valid until 2026-01-02T00:00:00Z");
}

#[test]
fn a_certificate_of_an_authority_is_a_warning_at_start_and_in_a_dry_run() {
    let folder = configured("[tls]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n");
    Authority::new(folder.path(), "ca").issue_authority("own", "sbc.example");
    let path = folder.path().join("b2bua.toml");
    let mut dry = b2b(&["--role", "b2bua", "--dry-run", "--config", path.to_str().expect("UTF-8")]);
    dry.assert_exit(0);
    let warning = "own.pem is that of an authority (CA:TRUE)";
    assert!(dry.stdout().iter().any(|line| line.starts_with("warning") && line.contains(warning)));
    start(folder).process.wait_for_line(warning);
}

#[test]
fn a_certificate_that_is_refused_without_sighup_is_an_alarm_until_a_good_one_is_there() {
    let folder = configured("[tls]\ncertificate = \"first.pem\"\nkey = \"first.key\"\nreload_s = 1\n");
    let authority = Authority::new(folder.path(), "ca");
    authority.issue_until("first", "sbc.example", (2_101, 2, 3));
    let server = start(folder);
    let alarms = || server.get("/alarms").json()["alarms"].as_array().expect("a list").clone();
    let file = server.folder.path().join("first.pem");
    std::fs::write(&file, "not PEM").expect("written");
    let refused = until("an alarm", || alarms().first().cloned());
    assert_eq!((&refused["name"], &refused["severity"]), (&"certificate_refused".into(), &"critical".into()));
    assert_eq!(refused["subject"], file.display().to_string());
    assert!(refused["text"].as_str().is_some_and(|text| text.contains("no PEM certificate")), "{refused}");
    authority.issue_until("first", "sbc.example", (2_102, 2, 3));
    until("its end", || alarms().is_empty().then_some(()));
}
