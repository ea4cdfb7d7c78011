//! A gateway whose name has two addresses (RFC 3263), the first of which takes messages and says nothing.

use std::net::Ipv4Addr;

use b2b_test_support::dns::{NameServer, Zone};

use crate::server_support::phone::Phone;
use crate::server_support::{Server, configured, start, until};

/// The two addresses, and a server whose calls all go there.
fn carrier(keys: &str) -> (Phone, Phone, Server, NameServer) {
    let (silent, speaking) = (Phone::new("silent"), Phone::new("speaking"));
    let port =
        |phone: &Phone| phone.uri().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let zone = Zone::default()
        .srv("_sip._udp.carrier.test", 1, port(&silent), "east.carrier.test")
        .srv("_sip._udp.carrier.test", 2, port(&speaking), "west.carrier.test")
        .a("east.carrier.test", Ipv4Addr::LOCALHOST)
        .a("west.carrier.test", Ipv4Addr::LOCALHOST);
    let names = NameServer::start(Some(zone));
    let folder = configured(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"carrier.test\"]\ntransport = \"udp\"\n{keys}\n\
         [[route]]\nto = \"gateway/carrier\"\n"
    ));
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let resolver = format!("[server]\nresolver = \"{}\"\n", names.addr);
    std::fs::write(&path, text.replacen("[server]\n", &resolver, 1)).expect("a file");
    (silent, speaking, start(folder), names)
}

#[test]
fn a_gateway_is_up_while_one_of_its_addresses_responds() {
    let (silent, speaking, server, _names) = carrier("options_s = 1");
    for _ in 0..4 {
        let (options, peer) = speaking.hear("OPTIONS");
        let health = server.get("/gateways").json()["gateways"][0]["hosts"][0]["health"].clone();
        assert_ne!(health, "down");
        speaking.agree_to(&options, peer);
    }
    assert!(silent.has_heard("OPTIONS"));
    until("its health", || {
        (server.get("/gateways").json()["gateways"][0]["hosts"][0]["health"] == "up").then_some(())
    });
}

#[test]
fn a_call_leaves_a_silent_address_and_what_comes_from_there_later_gets_bye() {
    let (silent, speaking, server, _names) = carrier("options_s = 0\nfailover_s = 1");
    let ann = Phone::new("ann");
    let asked = ann.ask_for(server.sip, "5550100");
    let (left, from) = silent.hear("INVITE");
    speaking.answer();
    let (answer, _) = ann.hear("SIP/2.0 200");
    let call = ann.confirmed(&answer, asked, server.sip);
    // It picks up as well.
    silent.answer_to(&left, from);
    silent.let_go();
    let calls = server.get("/calls").json();
    assert_eq!(calls["calls"].as_array().map(Vec::len), Some(1), "{calls}");
    assert_eq!(calls["calls"][0]["legs"].as_array().map(Vec::len), Some(2), "{calls}");
    assert!(!speaking.has_heard("BYE") && !ann.has_heard("BYE"));
    ann.hang_up(&call);
    speaking.let_go();
}
