//! By which way a contact is reached: each row of the table, and who lies.

use super::*;
use crate::registrar::reach::{as_number, of_number};

const REMOTE: &str = "198.51.100.7:40123";

/// 203.0.113.5 and .6 are edge proxies, 10/8 is inside.
fn trusted() -> Trusted {
    let block = |net: &str, prefix| (net.parse().unwrap(), prefix);
    Trusted {
        proxies: [block("203.0.113.5", 32), block("203.0.113.6", 32)].into_iter().collect(),
        inside: [block("10.0.0.0", 8)].into_iter().collect(),
        ..Trusted::default()
    }
}

/// The way to a contact: its transport and address, `then` another one, and the route.
fn way(flow: Flow, source: &str, register: &Register) -> String {
    let mut bench = Bench::with(RegistrarConfig { trusted: trusted(), ..RegistrarConfig::default() });
    let sender = Sender {
        flow: &flow,
        source: source.parse().unwrap(),
        user: None,
        challenged: false,
        is_open: &|_| true,
    };
    let reply = bench.registrar.handle(bench.now, &register.request(), sender, &House);
    assert_eq!(reply.reply.status, 200);
    let binding = bench.registrar.lookup(bench.now, &"1001@b2b.example".parse().unwrap()).remove(0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match bench.registrar.next_hop(&binding) {
        NextHop::Path(path) => format!("route {}", text(path)),
        NextHop::Flow(flow, b"") => flow.remote_uri().replacen("sip:", "", 1),
        NextHop::Flow(flow, path) => {
            format!("{} route {}", flow.remote_uri().replacen("sip:", "", 1), text(path))
        }
        NextHop::FlowOr(flow, other) => format!("{} then {other}", flow.remote_uri().replacen("sip:", "", 1)),
        NextHop::Contact => "contact".to_owned(),
    }
}

#[test]
fn over_udp_sent_by_rport_and_contact_say_where_a_phone_listens() {
    let here = "198.51.100.7:40123;transport=udp";
    let at_5060 = "198.51.100.7:5060;transport=udp";
    for (remote, via, contact, expected) in [
        // sent-by is where it came from: at its Contact, whatever the port.
        (REMOTE, "198.51.100.7:40123", "sip:1001@198.51.100.7:40123", here),
        (REMOTE, "198.51.100.7:40123;rport", "sip:1001@198.51.100.7:40123", here),
        (REMOTE, "198.51.100.7:40123", "sip:1001@198.51.100.7", at_5060),
        (REMOTE, "198.51.100.7:40123;rport", "sip:1001@198.51.100.7:5060", at_5060),
        ("198.51.100.7:5060", "198.51.100.7", "sip:1001@198.51.100.7", at_5060),
        (
            "[::ffff:198.51.100.7]:5060",
            "198.51.100.7",
            "sip:1001@198.51.100.7",
            "[::ffff:198.51.100.7]:5060;transport=udp",
        ),
        (
            "[2001:db8::1]:5060",
            "[2001:DB8::1]",
            "sip:1001@[2001:db8:0::1]:5070",
            "[2001:db8::1]:5070;transport=udp",
        ),
        // In a network of ours it is where it says, from there alone.
        ("10.0.0.5:5060", "10.0.0.5", "sip:1001@10.0.0.9:5070", "contact"),
        ("198.51.100.7:5060", "198.51.100.7", "sip:1001@10.0.0.9:5070", at_5060),
        // Another port without rport: it sends from one and listens on another (CUBE, IOS).
        (REMOTE, "198.51.100.7:5060", "sip:pbx@198.51.100.7:5060", at_5060),
        (REMOTE, "198.51.100.7", "sip:pbx@198.51.100.7:5070", "198.51.100.7:5070;transport=udp"),
        // With rport answers have to go back: there first.
        (
            REMOTE,
            "198.51.100.7;rport",
            "sip:pbx@198.51.100.7",
            "198.51.100.7:40123;transport=udp then 198.51.100.7:5060",
        ),
        (REMOTE, "198.51.100.7;rport", "sip:pbx@198.51.100.7:40123", here),
        // A private sent-by, or one of another host: NAT.
        (REMOTE, "192.168.1.7:5060;rport", "sip:1001@192.168.1.7:5060", here),
        (REMOTE, "192.168.1.7:40123", "sip:1001@198.51.100.7:5060", here),
        // A name says nothing of NAT; the Contact does.
        (REMOTE, "pbx.example:5060", "sip:pbx@198.51.100.7:5060", at_5060),
        (REMOTE, "pbx.example:5060;rport", "sip:pbx@192.168.1.7:5060", here),
        // A Contact that leads elsewhere, by address, name, maddr or transport, leads nowhere.
        (REMOTE, "198.51.100.7:40123", "sip:1001@203.0.113.9", here),
        (REMOTE, "198.51.100.7", "sip:1001@203.0.113.9", here),
        (REMOTE, "pbx.example", "sip:1001@203.0.113.9", here),
        (REMOTE, "198.51.100.7:40123", "sip:1001@carrier.example", here),
        (REMOTE, "198.51.100.7:40123", "sip:1001@198.51.100.7:5060;maddr=203.0.113.9", here),
        (REMOTE, "198.51.100.7:40123", "sip:1001@198.51.100.7:22;transport=tcp", here),
        (REMOTE, "198.51.100.7:40123", "sips:1001@198.51.100.7:5061", here),
        // RFC 5626.
        (REMOTE, "198.51.100.7:40123", "sip:1001@198.51.100.7:5060;ob", here),
        // On our own machine another port may be ours.
        (
            "192.0.2.99:40123",
            "192.0.2.99:40123",
            "sip:1001@192.0.2.99:5060",
            "192.0.2.99:40123;transport=udp",
        ),
    ] {
        let register = Register::new(1).via(&format!("UDP {via}")).contact(&format!("<{contact}>"));
        assert_eq!(
            way(flow(Transport::Udp, remote), remote, &register),
            expected,
            "{remote} {via} {contact}"
        );
    }
    let outbound = "<sip:1001@198.51.100.7:5060>;+sip.instance=\"<urn:uuid:a>\";reg-id=1";
    let register = Register::new(1).via("UDP 198.51.100.7:40123").contact(outbound);
    assert_eq!(way(flow(Transport::Udp, REMOTE), REMOTE, &register), here, "reg-id");
}

#[test]
fn a_phone_on_our_own_host_is_reached_at_its_contact_if_the_configuration_says_so() {
    let source = "192.0.2.99:40123";
    let at_source = "192.0.2.99:40123;transport=udp";
    for (local_phones, contact, expected) in [
        (true, "sip:1001@192.0.2.99:7070", "192.0.2.99:7070;transport=udp"),
        (false, "sip:1001@192.0.2.99:7070", at_source),
        // Ports of ours, of other services, and other hosts.
        (true, "sip:1001@192.0.2.99:5060", at_source),
        (true, "sip:1001@192.0.2.99", at_source),
        (true, "sip:1001@192.0.2.99:20002", at_source),
        (true, "sip:1001@192.0.2.99:1023", at_source),
        (true, "sip:1001@192.0.2.98:7070", at_source),
        (true, "sip:1001@192.0.2.99:7070;transport=tcp", at_source),
    ] {
        let own_ports = [5_060, 20_002].into();
        let trusted = Trusted { local_phones, own_ports, ..trusted() };
        let mut bench = Bench::with(RegistrarConfig { trusted, ..RegistrarConfig::default() });
        bench.flow = flow(Transport::Udp, source);
        let register = Register::new(1).via(&format!("UDP {source}")).contact(&format!("<{contact}>"));
        let tells = bench.send(&register).local_phone;
        assert_eq!(
            tells,
            contact.ends_with(":7070") && contact.contains(".99:") && !local_phones,
            "{contact}"
        );
        let binding = bench.registrar.lookup(bench.now, &"1001@b2b.example".parse().unwrap()).remove(0);
        let NextHop::Flow(flow, b"") = bench.registrar.next_hop(&binding) else { panic!("{contact}") };
        assert_eq!(flow.remote_uri(), format!("sip:{expected}"), "{local_phones} {contact}");
    }
}

#[test]
fn a_connection_is_the_only_way_back_to_who_came_by_it() {
    for (transport, via) in [(Transport::Tcp, "TCP"), (Transport::Tls, "TLS")] {
        for sent_by in ["198.51.100.7:40123", "198.51.100.7", "x.invalid"] {
            let register =
                Register::new(1).via(&format!("{via} {sent_by}")).contact("<sip:1001@198.51.100.7:5060>");
            let expected = format!("{REMOTE};transport={}", via.to_ascii_lowercase());
            assert_eq!(way(flow(transport, REMOTE), REMOTE, &register), expected);
        }
    }
}

#[test]
fn who_writes_further_vias_or_a_path_without_being_named_keeps_to_the_flow() {
    let second = "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK2";
    for field in [second, "Path: <sip:203.0.113.9;lr>", "Path: <sip:203.0.113.5;lr>"] {
        for contact in ["<sip:1001@203.0.113.9>", "<sip:1001@198.51.100.7:5060>"] {
            let register = Register::new(1).via("UDP 198.51.100.7:40123").contact(contact).field(field);
            assert_eq!(
                way(flow(Transport::Udp, REMOTE), REMOTE, &register),
                format!("{REMOTE};transport=udp"),
                "{field} {contact}"
            );
        }
    }
}

#[test]
fn behind_a_named_proxy_it_is_the_proxys_to_know_the_way() {
    let edge = || flow(Transport::Udp, "203.0.113.5:5060");
    let second = "Via: SIP/2.0/UDP 192.168.1.7;branch=z9hG4bK2;received=198.51.100.7;rport=40123";
    let register = |contact: &str| {
        Register::new(1).via("UDP 203.0.113.5").field(second).contact(&format!("<{contact}>"))
    };
    let to_edge = "203.0.113.5:5060;transport=udp";
    // Without Path: at the phone, if it is in the open; else by the proxy.
    assert_eq!(way(edge(), REMOTE, &register("sip:1001@192.168.1.7")), to_edge);
    assert_eq!(way(edge(), REMOTE, &register("sip:1001@203.0.113.9")), to_edge);
    assert_eq!(way(edge(), REMOTE, &register("sip:1001@198.51.100.7:40123")), "contact");
    // With one: as it says, if its first hop is named, or else by who brought it.
    for (path, expected) in [
        ("<sip:203.0.113.5;lr;received=sip:198.51.100.7:40123>", "route "),
        ("<sip:203.0.113.6;lr>, <sip:192.168.9.9;lr>", "route "),
        ("<sip:edge.example;lr>", "203.0.113.5:5060;transport=udp route "),
        ("<sip:203.0.113.9;lr>", "203.0.113.5:5060;transport=udp route "),
        ("<sip:203.0.113.5;maddr=203.0.113.9;lr>", "203.0.113.5:5060;transport=udp route "),
    ] {
        let register = register("sip:1001@192.168.1.7").field(&format!("Path: {path}"));
        assert_eq!(way(edge(), REMOTE, &register), format!("{expected}{path}"));
    }
}

#[test]
fn who_is_named_no_more_brings_no_path() {
    let mut bench = Bench::with(RegistrarConfig { trusted: trusted(), ..RegistrarConfig::default() });
    bench.flow = flow(Transport::Udp, "203.0.113.5:5060");
    bench.ok(&Register::new(1).contact("<sip:1001@10.0.0.5>").field("Path: <sip:203.0.113.5;lr>"));
    bench.registrar.reconfigure(RegistrarConfig::default());
    let binding = bench.registrar.lookup(bench.now, &"1001@b2b.example".parse().unwrap()).remove(0);
    assert_eq!(bench.registrar.next_hop(&binding), NextHop::Flow(BindingFlow::from(&bench.flow), b""));
}

#[test]
fn what_vias_said_is_a_number_in_a_database_and_back() {
    for number in 1..=6 {
        assert_eq!(of_number(number).map(as_number), Some(number));
    }
    assert_eq!(of_number(0), None);
}
