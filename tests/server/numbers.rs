//! Telephone numbers on the real program: one number however a party spells it, for routes, records, redirects,
//! transfers and gateways, and no name that becomes another.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::trunk::{at, carrier, phone, route};
use crate::server_support::phone::{Phone, field};
use crate::server_support::{Server, configured, start, until};

/// A caller, who writes what the tests say.
struct Caller {
    phone: Phone,
    server: SocketAddr,
    calls: u32,
}

impl Caller {
    fn new(server: &Server) -> Caller {
        Caller { phone: phone("caller", 9), server: server.sip, calls: 0 }
    }

    /// Calls a URI, as this From.
    fn invites(&mut self, uri: &str, from: &str) {
        self.calls += 1;
        let (call, at) = (format!("number-{}", self.calls), at(&self.phone));
        let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n\
                    m=audio 40000 RTP/AVP 8\r\n";
        let invite = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
             From: <{from}>;tag=1\r\nTo: <{uri}>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:caller@{at}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.phone.say(&invite, self.server);
    }

    /// The final status of its call.
    fn status(&self) -> String {
        loop {
            let (answer, _) = self.phone.hear("SIP/2.0 ");
            let own = field(&answer, "Call-ID") == format!("number-{}", self.calls);
            if own && !answer.starts_with("SIP/2.0 1") {
                return answer[8..11].to_owned();
            }
        }
    }

    /// The status of a call to this URI.
    fn asks(&mut self, uri: &str) -> String {
        self.invites(uri, "sip:caller@b2b.example");
        self.status()
    }

    /// The INVITE that a call of `from` to `uri` sends to this phone, which is busy.
    fn reaches(&mut self, uri: &str, from: &str, callee: &Phone) -> String {
        self.invites(uri, from);
        let (invite, peer) = callee.hear("INVITE");
        callee.refuse_to("486 Busy Here", &invite, peer);
        assert_eq!(self.status(), "486", "{uri}");
        invite
    }
}

const ANN: &str = "sip:ann@b2b.example";

fn records(server: &Server, count: usize) -> Vec<Value> {
    let path = server.folder.path().join("cdr.jsonl");
    until("the records", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let inbound: Vec<_> = all.filter(|it| it["direction"] == "inbound").collect();
        (inbound.len() >= count).then_some(inbound)
    })
}

#[test]
fn a_route_takes_a_number_however_it_is_spelt() {
    let bob = phone("bob", 2);
    let server = start(configured(&route(r"\\+442079460\\d\\d\\d", &bob)));
    let mut caller = Caller::new(&server);
    let spellings = [
        "sip:+442079460123;rn=+442079460999;npdi@b2b.example",
        "sip:+44-20.7946-0123@b2b.example;user=phone",
        "sip:+44-20-79460123@b2b.example",
        "sip:%2b44%2D2079460123@b2b.example",
        "sip:+442079460123%3bcpc=test@b2b.example",
        "tel:+44(20)7946-0123;isub=7",
        "tel:+442079460123;phone-context=+1",
    ];
    let callers = [
        ("sip:+12025550100;cpc=ordinary;oli=61@carrier.example;user=phone", "+12025550100"),
        ("tel:+1-202-555-0100", "+12025550100"),
        ("sip:+1.202.555.0100@carrier.example", "+12025550100"),
        ("sip:anna-lena.b@b2b.example;user=phone", "anna-lena.b"),
    ];
    for (n, uri) in spellings.iter().enumerate() {
        let (from, shown) = callers[n % callers.len()];
        let invite = caller.reaches(uri, from, &bob);
        assert!(
            field(&invite, "From").starts_with(&format!("<sip:{shown}@b2b.example>")),
            "{from}: {invite}"
        );
    }
    for record in records(&server, spellings.len()) {
        assert_eq!(record["callee"], "+442079460123");
        assert!(callers.iter().any(|(_, shown)| record["caller"] == *shown), "{record}");
    }
}

#[test]
fn a_barred_number_is_barred_in_every_spelling() {
    let trunk = phone("carrier", 3);
    let barred = "[[route]]\ncalled = '0900\\d+'\nreject = 403\n";
    let out = "[[route]]\nto = \"gateway/carrier\"\n";
    let server = start(configured(&format!("{barred}{}{out}", carrier(&trunk, ""))));
    let mut caller = Caller::new(&server);
    for uri in [
        "sip:0900123456@b2b.example",
        "sip:0900-123.456@b2b.example",
        "sip:%30%39%30%30123456@b2b.example",
        "sip:0900123456;x=y@b2b.example",
        "sip:0900123456%3Bx=y@b2b.example",
        "sip:(0900)123456@b2b.example;user=phone",
        "tel:0900-123456;ext=1",
    ] {
        assert_eq!(caller.asks(uri), "403", "{uri}");
    }
    // Of another network it is not even a number of ours.
    assert_eq!(caller.asks("sip:0900123456;phone-context=+49@b2b.example"), "404");
    assert!(!trunk.has_heard("INVITE"));
    let invite = caller.reaches("sip:0800-1;tgrp=t1@b2b.example", ANN, &trunk);
    assert!(invite.starts_with(&format!("INVITE sip:08001@{}", at(&trunk))), "{invite}");
}

#[test]
fn a_local_number_of_another_network_is_none_of_ours() {
    let (bob, cat) = (phone("bob", 2), phone("cat", 4));
    let named = r"600;phone-context=ims\\.example";
    let lines = format!("{}{}{}", route("600", &bob), route(named, &cat), route(".+", &bob));
    let server = start(configured(&lines));
    let mut caller = Caller::new(&server);
    caller.reaches("sip:600;phone-context=B2B.example@b2b.example;user=phone", ANN, &bob);
    caller.reaches("tel:6-0-0;phone-context=127.0.0.1", ANN, &bob);
    for uri in ["tel:600;phone-context=other.example", "sip:600;phone-context=+44@b2b.example;user=phone"] {
        assert_eq!(caller.asks(uri), "404", "{uri}");
    }
    // A route may name the network.
    caller.reaches("tel:600;phone-context=IMS.example", ANN, &cat);
    assert!(records(&server, 5).iter().all(|it| it["callee"] == "600"));
}

#[test]
fn a_users_name_is_dialled_as_it_is_spelt() {
    let user = |name: &str, alias: &str| {
        format!("[[user]]\nname = \"{name}\"\npassword = \"a-long-secret\"\naliases = [\"{alias}\"]\n")
    };
    let (bob, cat) = (phone("bob", 2), phone("cat", 4));
    let routes = [("30-07", &bob), ("3007", &cat), ("j.r-e", &bob), ("jre", &cat), ("701", &cat)];
    let routes: String = routes.map(|(called, to)| route(called, to)).concat();
    let server = start(configured(&format!("{}{}{routes}", user("30-07", "j.r-e"), user("jre", "7.01"))));
    let mut caller = Caller::new(&server);
    for uri in
        ["sip:30-07@b2b.example", "sip:30-07@b2b.example;user=phone", "tel:30-07", "sip:j.r-e@b2b.example"]
    {
        caller.reaches(uri, ANN, &bob);
    }
    for uri in ["sip:30.07@b2b.example", "sip:jre@b2b.example", "sip:7-01@b2b.example"] {
        caller.reaches(uri, ANN, &cat);
    }
    assert_eq!(caller.asks("sip:7.01@b2b.example"), "404", "the alias, which has no route here");
    let invite = caller.reaches("sip:jre@b2b.example", "sip:30-07@b2b.example", &cat);
    assert!(field(&invite, "From").starts_with("<sip:30-07@b2b.example>"), "{invite}");
}

#[test]
fn a_transfer_leads_to_a_number_however_it_is_spelt() {
    let (ann, bob, cat) = (phone("ann", 1), phone("bob", 2), phone("cat", 4));
    let routes = format!("{}{}", route("200", &bob), route(r"\\+12025550123", &cat));
    let server = start(configured(&routes));
    let asked = ann.ask_for(server.sip, "200");
    bob.answer();
    let dialog = ann.confirmed(&ann.hear("SIP/2.0 200").0, asked, server.sip);
    for (cseq, to) in ["tel:+1-202-555-0123", "sip:+1.202.5550123;npdi@b2b.example"].iter().enumerate() {
        ann.refer(&dialog, u32::try_from(cseq).unwrap_or(0) + 2, to);
        let (invite, peer) = cat.hear("INVITE");
        cat.refuse_to("486 Busy Here", &invite, peer);
        cat.hear("ACK");
    }
}

#[test]
fn a_program_may_spell_a_number_in_any_way() {
    let (trunk, bob) = (phone("carrier", 3), phone("bob", 2));
    let server = start(configured(&carrier(&trunk, "")));
    let call = json!({
        "from": bob.uri(), "to": "gateway/carrier/+1-202-555.0123;npdi", "caller": "tel:+44-20-7946-0000"
    });
    assert_eq!(server.post("/calls", &call).status, 201);
    let (invite, peer) = bob.hear("INVITE");
    assert!(field(&invite, "From").starts_with("<sip:+442079460000@"), "{invite}");
    bob.answer_to(&invite, peer);
    let (invite, peer) = trunk.hear("INVITE");
    assert!(invite.starts_with("INVITE sip:+12025550123@"), "{invite}");
    trunk.refuse_to("486 Busy Here", &invite, peer);
}
