//! Routes at work in virtual time: what a configuration means on the wire.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::board::GatewayBoard;
use crate::config::parse_alone;
use crate::in_force::PartyTargets;
use crate::registrar::{MemoryStore, Registrar};
use crate::settings;
use b2b_call::switch::admission::{Admission, AdmissionControl, Caller, Fate};
use b2b_call::switch::{SwitchConfig, Turn};
use b2b_sip::endpoint::{Body, Flow, Invite, Reply, Termination, UsageId};
use b2b_sip::msg::Request;
use b2b_testkit::{B2B, Harness, Network, PartyId, SESSION};

pub const ANN: &str = "192.0.2.11:5060";
pub const BOB: &str = "192.0.2.12:5060";
pub const CAT: &str = "192.0.2.13:5060";

/// Believes every claimed identity.
struct Believing;

impl AdmissionControl for Believing {
    fn invite(&mut self, _: Instant, request: &Request, flow: &Flow) -> Admission {
        let from = request.from().ok().and_then(|from| from.uri.user);
        let identity = from.map(|user| String::from_utf8_lossy(user).into_owned());
        Admission::Accept(Box::new(Caller { identity, ..Caller::at(flow.remote) }))
    }

    fn request(&mut self, _: &mut Turn<'_>, _: &Request, _: &Flow) -> Fate {
        Fate::ReplyOnce(Reply::status(405))
    }
}

/// A server with these lines, where 1001 is a user of class `internal` and 1002 one of
/// class `guest`; `b` and `c` are gateways where Bob and Cat are.
pub fn server(lines: &str) -> Harness {
    let settings = settings(lines);
    let config = &settings.config;
    let switch = SwitchConfig { policy: settings::pair_policy(config), ..SwitchConfig::default() };
    let current = Current::new(settings);
    let handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(Routes(current.clone()))];
    let resolver = Arc::new(PartyTargets(current));
    Harness::with(Instant::now(), handlers, resolver, Box::new(Believing), switch, Network::QUIET)
}

/// The same configuration, in force.
pub fn settings(lines: &str) -> Settings {
    let text = format!(
        "[server]\nlisten = [\"udp:{B2B}\"]\ndomains = [\"b2b.example\"]\n\
         [[user]]\nname = \"1001\"\npassword = \"x\"\n\
         [[user]]\nname = \"1002\"\npassword = \"x\"\nclass = \"guest\"\n{lines}"
    );
    let config = parse_alone(&text).unwrap_or_else(|error| panic!("{error}"));
    let store = Box::new(MemoryStore::new());
    let registrar = Registrar::new(settings::registrar(&config), store, Instant::now());
    Settings::new(config, Arc::new(Mutex::new(registrar)), GatewayBoard::default()).unwrap()
}

pub fn gateway(name: &str, at: &str, keys: &str) -> String {
    format!(
        "[[gateway]]\nname = \"{name}\"\nhosts = [\"{at}\"]\ntransport = \"udp\"\noptions_s = 0\n{keys}\n"
    )
}

pub fn call_as(harness: &mut Harness, party: PartyId, user: &str, number: &str) -> UsageId {
    let invite = Invite {
        target: format!("sip:{number}@{B2B}").into(),
        from: Some(format!("\"A. Name\" <sip:{user}@phones.example>").into()),
        body: Some(Body::sdp(SESSION)),
        ..Invite::default()
    };
    harness.invite(party, invite)
}

/// The last INVITE that was sent to an address.
pub fn invite_to(harness: &Harness, address: &str) -> String {
    let to = address.parse().unwrap();
    let sent = harness.wire.iter().rev().find(|it| it.to == to && it.line().starts_with("INVITE"));
    sent.expect("an INVITE").text()
}

pub fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
}

fn refused(harness: &mut Harness, party: PartyId, usage: UsageId) -> u16 {
    match harness.ended(party, usage) {
        Some(Termination::Failed { response }) => response.status(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_the_codecs_of_a_route_or_of_its_gateway_are_offered() {
    let lines = |route: &str, of_gateway: &str| {
        gateway("b", BOB, of_gateway) + &format!("[[route]]\nto = \"gateway/b\"\n{route}")
    };
    let offered = |route: &str, of_gateway: &str| {
        let mut harness = server(&lines(route, of_gateway));
        let (ann, _bob) = (harness.party(ANN), harness.party(BOB));
        call_as(&mut harness, ann, "1001", "5");
        let invite = invite_to(&harness, BOB);
        invite.lines().find_map(|line| line.strip_prefix("m=audio ")).unwrap().to_owned()
    };
    let formats = |line: String| line.split_once("RTP/AVP ").unwrap().1.to_owned();
    // The caller offers PCMA, PCMU and events.
    assert!(formats(offered("", "")).starts_with("8 0 "), "in the caller's order");
    assert_eq!(formats(offered("codecs = [\"pcmu\", \"pcma\"]", "")), "0 8 101");
    assert_eq!(formats(offered("codecs = [\"pcmu\"]", "")), "0 101");
    assert_eq!(
        formats(offered("codecs = [\"pcmu\", \"pcma\"]", "codecs = [\"pcma\"]")),
        "8 101",
        "the gateway's"
    );
}

#[test]
fn without_a_codec_that_may_pass_the_caller_is_refused_with_488() {
    let lines =
        gateway("b", BOB, "codecs = [\"opus\"]") + "[media]\ncodecs = []\n[[route]]\nto = \"gateway/b\"\n";
    let mut harness = server(&lines);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = call_as(&mut harness, ann, "1001", "5");
    assert!(harness.incoming(bob).is_empty());
    assert_eq!(refused(&mut harness, ann, a), 488);
    harness.assert_nothing_left();
}

#[test]
fn the_next_gateway_is_tried_after_the_failures_that_the_route_names() {
    for (failover, status, leads) in [
        ("", 503, true),
        ("", 480, true),
        ("", 486, false),
        ("failover = false\n", 503, false),
        ("failover = true\n", 486, true),
        ("failover = true\n", 603, false),
        ("failover = [486, \"4xx\"]\n", 404, true),
        ("failover = [486]\n", 503, false),
    ] {
        let lines = gateway("b", BOB, "") + &gateway("c", CAT, "");
        let mut harness =
            server(&(lines + &format!("[[route]]\nto = [\"gateway/b\", \"gateway/c\"]\n{failover}")));
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let a = call_as(&mut harness, ann, "1001", "5");
        let b = harness.next_call(bob);
        harness.reject(bob, b, status);
        if leads {
            let c = harness.answer_next(cat, SESSION);
            assert!(harness.is_up(ann, a) && harness.is_up(cat, c), "{failover}{status}");
            harness.hang_up(ann, a);
        } else {
            assert!(harness.incoming(cat).is_empty(), "{failover}{status}");
            refused(&mut harness, ann, a);
        }
        harness.assert_nothing_left();
    }
}

#[test]
fn silence_leads_on_whatever_the_route_says_and_a_target_that_rang_counts_as_408() {
    let lines = gateway("b", BOB, "") + &gateway("c", CAT, "");
    let route = "[[route]]\nto = [\"gateway/b\", \"gateway/c\"]\nfailover = false\ntimeout_s = 5\n";
    for rings in [false, true] {
        let mut harness = server(&(lines.clone() + route));
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let a = call_as(&mut harness, ann, "1001", "5");
        if rings {
            let b = harness.next_call(bob);
            harness.ring(bob, b, 180, None);
        } else {
            harness.kill(bob);
        }
        harness.run(Duration::from_secs(6));
        if rings {
            assert!(harness.incoming(cat).is_empty());
            assert_eq!(refused(&mut harness, ann, a), 408);
        } else {
            harness.answer_next(cat, SESSION);
            harness.hang_up(ann, a);
        }
        harness.assert_nothing_left();
    }
}

fn group(strategy: &str) -> Harness {
    let members = format!("\"sip:b@{BOB}\", \"sip:c@{CAT}\"");
    server(&format!(
        "[[group]]\nname = \"sales\"\nmembers = [{members}]\nstrategy = \"{strategy}\"\ntimeout_s = 10\n\
         [[route]]\ncalled = \"5\"\nto = [\"group/sales\", \"sip:d@192.0.2.14:5060\"]\n"
    ))
}

#[test]
fn a_groups_time_is_each_members_in_turn_or_all_of_theirs_together() {
    for serial in [true, false] {
        let mut harness = group(if serial { "serial" } else { "parallel" });
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let dan = harness.party("192.0.2.14:5060");
        let a = call_as(&mut harness, ann, "1001", "5");
        let b = harness.next_call(bob);
        harness.ring(bob, b, 180, None);
        assert_eq!(harness.incoming(cat).len(), usize::from(!serial));
        harness.run(Duration::from_millis(9_500));
        assert!(harness.ended(bob, b).is_none());
        harness.run(Duration::from_secs(1));
        assert!(matches!(harness.ended(bob, b), Some(Termination::RemoteCancel { .. })));
        if serial {
            let c = harness.next_call(cat);
            harness.ring(cat, c, 180, None);
            assert!(harness.incoming(dan).is_empty());
            harness.run(Duration::from_secs(10));
            assert!(matches!(harness.ended(cat, c), Some(Termination::RemoteCancel { .. })));
        }
        // No answer there: 408 is one of the failures that try the next target.
        harness.answer_next(dan, SESSION);
        assert!(!harness.is_up(bob, b));
        harness.hang_up(ann, a);
        harness.assert_nothing_left();
    }
}

#[test]
fn a_busy_member_of_a_serial_group_gives_way_to_the_next_one() {
    let mut harness = group("serial");
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = call_as(&mut harness, ann, "1001", "5");
    let b = harness.next_call(bob);
    harness.reject(bob, b, 486);
    let c = harness.answer_next(cat, SESSION);
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c));
    harness.hang_up(cat, c);
    harness.assert_nothing_left();
}

#[test]
fn a_gateway_is_told_the_caller_as_it_is_configured() {
    let from = |keys: &str| {
        let mut harness = server(&(gateway("b", BOB, keys) + "[[route]]\nto = \"gateway/b\"\n"));
        let (ann, _bob) = (harness.party(ANN), harness.party(BOB));
        call_as(&mut harness, ann, "1001", "5");
        let from = field(&invite_to(&harness, BOB), "From").unwrap();
        from.split_once(";tag=").unwrap().0.to_owned()
    };
    assert_eq!(from(""), "\"A. Name\" <sip:1001@192.0.2.12>");
    let rules = "caller = [{ match = '1(\\d+)', to = \"+44208$1\" }]\n";
    assert_eq!(from(rules), "\"A. Name\" <sip:+44208001@192.0.2.12>");
    assert_eq!(from("from_domain = \"acme.example\""), "\"A. Name\" <sip:1001@acme.example>");
    assert_eq!(
        from(&format!("{rules}from_user = \"acme\"\nfrom_domain = \"acme.example\"")),
        "\"A. Name\" <sip:acme@acme.example>"
    );
}

#[test]
fn an_account_names_the_route_that_refuses_a_call_and_says_why() {
    let routes = "[[route]]\nname = \"shut\"\ncalled = '9.*'\nreject = 603\nreason = \"Not today\"\n\
        [[route]]\nname = \"admission\"\ncalled = '5'\nclass = \"internal\"\nto = \"user/1002\"\n\
        [[route]]\nname = \"menu\"\ncalled = '6'\napp = \"ivr/menu\"\n\
        [[ivr]]\nname = \"menu\"\nnode = [{ name = \"bye\", kind = \"hangup\" }]\n";
    let mut harness = server(routes);
    let ann = harness.party(ANN);
    for (user, number, status, route, why) in [
        ("1001", "99", 603, Some("shut"), "shut: 99 is refused: 603 Not today"),
        ("1001", "5", 480, Some("admission"), "admission: 5 to user/1002; user '1002' is not registered"),
        ("1002", "5", 404, None, "none takes 5 from 1002, user/1002 of class guest"),
    ] {
        let call = call_as(&mut harness, ann, user, number);
        assert_eq!(refused(&mut harness, ann, call), status, "{number}");
        let call = harness.ended_calls()[0];
        let report = harness.report(call).unwrap();
        assert_eq!(report.route.as_deref(), route, "{number}");
        let text = report.to_string();
        assert!(text.contains(&format!("* route: {why}")), "{number}: {text}");
        assert_eq!(harness.records().pop().unwrap().route.as_deref(), route, "{number}");
    }
}

#[test]
fn an_account_says_which_targets_of_its_route_could_not_be_called() {
    let lines = gateway("b", BOB, "") + "[[route]]\nname = \"out\"\nto = [\"user/1002\", \"gateway/b\"]\n";
    let mut harness = server(&lines);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = call_as(&mut harness, ann, "1001", "5");
    harness.answer_next(bob, SESSION);
    let now = harness.now();
    harness.endpoint(ann).refer(now, a, "<sip:x@elsewhere.example>".into(), true, Vec::new()).unwrap();
    harness.settle();
    harness.hang_up(ann, a);
    let call = harness.ended_calls()[0];
    let report = harness.report(call).unwrap();
    let text = report.to_string();
    for why in [
        "* route: out: 5 to user/1002, gateway/b/5; user '1002' is not registered",
        " not followed: refer to sip:x@elsewhere.example: ",
    ] {
        assert!(text.contains(why), "{why}\nin\n{text}");
    }
    assert_eq!(report.route.as_deref(), Some("out"), "a transfer that is refused changes nothing");
}

#[test]
fn a_gateway_that_gives_no_response_in_its_time_is_passed_over_and_one_that_says_100_is_not() {
    let route = "[limits]\ntrying_s = 8\n[[route]]\nfailover = false\nto = [\"gateway/b\", \"gateway/c\"]\n";
    for (of_gateway, seconds) in [("trying_s = 3", 3), ("", 8)] {
        let mut harness = server(&(gateway("b", BOB, of_gateway) + &gateway("c", CAT, "") + route));
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        harness.kill(bob);
        let a = call_as(&mut harness, ann, "1001", "5");
        harness.run(Duration::from_millis(seconds * 1_000 - 500));
        assert!(harness.incoming(cat).is_empty(), "{of_gateway}");
        harness.run(Duration::from_secs(1));
        // Cat's phone says 100 by itself, and rings for as long as it may.
        assert_eq!(harness.incoming(cat).len(), 1, "{of_gateway}");
        let now = harness.wire.len();
        harness.revive(bob);
        harness.run(Duration::from_secs(20));
        let to_bob = harness.wire[now..].iter().filter(|it| it.to == BOB.parse().unwrap());
        let lines: Vec<String> = to_bob.map(|it| it.line()).collect();
        assert!(lines.iter().any(|it| it.starts_with("CANCEL ")), "Bob comes back too late: {lines:?}");
        assert_eq!(harness.snapshot()[0].legs.len(), 2, "Ann and Cat");
        harness.cancel(ann, a);
        harness.run(Duration::from_secs(40));
        let call = harness.ended_calls()[0];
        let text = harness.report(call).unwrap().to_string();
        assert!(text.contains("given up: no response in time"), "{text}");
        harness.assert_nothing_left();
    }
}

#[test]
fn a_silent_host_of_a_gateway_is_left_soon_and_the_last_one_is_waited_for() {
    for (keys, seconds) in [("", 4), ("failover_s = 2", 2), ("trying_s = 7", 7), ("failover_s = 20", 20)] {
        let lines = gateway("b", &format!("{BOB}\", \"{CAT}"), keys);
        let mut harness = server(&format!("{lines}[[route]]\nto = \"gateway/b\"\n"));
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        harness.kill(bob);
        let a = call_as(&mut harness, ann, "1001", "5");
        harness.run(Duration::from_millis(seconds * 1_000 - 500));
        assert!(harness.incoming(cat).is_empty(), "{keys}");
        harness.run(Duration::from_secs(1));
        assert_eq!(harness.incoming(cat).len(), 1, "{keys}");
        harness.cancel(ann, a);
        harness.run(Duration::from_secs(70));
        // The last host has the time of RFC 3261, unless `trying_s` says otherwise.
        harness.kill(cat);
        let a = call_as(&mut harness, ann, "1001", "5");
        harness.run(Duration::from_secs(seconds + if keys.contains("trying") { 6 } else { 30 }));
        assert!(harness.snapshot()[0].legs.len() > 1, "{keys}: given up too soon");
        harness.run(Duration::from_secs(40));
        assert_eq!(refused(&mut harness, ann, a), 408, "{keys}");
        harness.assert_nothing_left();
    }
}
