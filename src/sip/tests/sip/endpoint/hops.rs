//! Where the requests of a dialog are sent: to Route and Contact, by the flow, or as a judge
//! decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_sip::endpoint::{
    Body, Event, Flow, HopJudge, HopRule, HopVerdict, InDialog, Invite, NextHop, PeerWay, Termination,
    Transport, UsageEvent, UsageId, Whereabouts,
};
use b2b_sip::msg::Method;

use super::pair::{A, B, Hand, Network, Pair, field, reply};

/// The address of the hand-made peer.
const PEER: &str = "192.0.2.1:5060";

/// Points to another host in Contact and in Record-Route.
const LIES: &str = "Contact: <sip:hand@203.0.113.9:5070;alias=1~2;ob>\r\n\
                    Record-Route: <sip:203.0.113.10;lr>, <sip:203.0.113.11;lr>\r\n";

/// A call from the hand-made peer that B has accepted, with this rule.
fn call(pair: &mut Pair, lines: &str, hops: HopRule) -> UsageId {
    let invite = Hand { extra: lines.to_owned(), ..Hand::invite() };
    pair.hand(&invite);
    let usage = pair.incoming();
    let now = pair.now;
    pair.ends[B].set_hops(usage, hops).unwrap();
    pair.ends[B].answer(now, usage, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.hand(&invite.next("ACK", invite.cseq, &ok));
    usage
}

/// B hangs up: the destination of its BYE, and its text.
fn bye(pair: &mut Pair, usage: UsageId) -> (SocketAddr, String) {
    let now = pair.now;
    pair.ends[B].bye(now, usage).unwrap();
    pair.flush();
    let sent = pair.wire.iter().rev().find(|sent| sent.from == B && sent.line().starts_with("BYE"));
    let sent = sent.expect("a BYE");
    (sent.to, sent.text())
}

/// The verdicts reported.
fn told(pair: &mut Pair) -> Vec<(String, bool)> {
    let told = pair.take(B).into_iter().filter_map(|event| match event {
        Event::Usage { event: UsageEvent::NextHop { address, followed, .. }, .. } => {
            Some((address.to_string(), followed))
        }
        _ => None,
    });
    told.collect()
}

#[derive(Debug)]
struct Fixed(HopVerdict);

impl HopJudge for Fixed {
    fn judge(&self, hop: NextHop<'_>) -> HopVerdict {
        assert_eq!(hop.came_by.map(|it| it.to_string()).as_deref(), Some(PEER));
        self.0
    }
}

#[derive(Debug)]
struct At(PeerWay);

impl Whereabouts for At {
    fn now_at(&self, _: Instant, target: &[u8], _: &Flow) -> Option<PeerWay> {
        assert_eq!(target, b"sip:hand@203.0.113.9:5070;alias=1~2;ob");
        Some(self.0)
    }

    fn are_at(&self, _: Instant, _: &Flow) -> bool {
        false
    }

    fn is_by(&self, _: Instant, _: &Flow) -> bool {
        false
    }
}

#[test]
fn without_a_rule_route_and_contact_are_followed() {
    let mut pair = Pair::new(Network::QUIET);
    let usage = call(&mut pair, LIES, HopRule::Follow);
    let (to, bye) = bye(&mut pair, usage);
    assert_eq!(to.to_string(), "203.0.113.10:5060");
    assert_eq!(field(&bye, "Route"), "<sip:203.0.113.10;lr>");
    let mut pair = Pair::new(Network::QUIET);
    let usage = call(&mut pair, "Contact: <sip:hand@203.0.113.9:5070>\r\n", HopRule::Follow);
    assert_eq!(self::bye(&mut pair, usage).0.to_string(), "203.0.113.9:5070");
}

#[test]
fn by_the_flow_contact_is_the_request_uri_byte_for_byte_and_record_route_is_nothing() {
    let mut pair = Pair::new(Network::QUIET);
    let usage = call(&mut pair, LIES, HopRule::Flow(None));
    let (to, bye) = bye(&mut pair, usage);
    assert_eq!(to.to_string(), PEER);
    assert!(bye.starts_with("BYE sip:hand@203.0.113.9:5070;alias=1~2;ob SIP/2.0\r\n"), "{bye}");
    assert!(!bye.contains("\r\nRoute:"), "{bye}");
    assert_eq!(told(&mut pair), []);
}

#[test]
fn ack_and_bye_of_a_call_of_ours_go_by_the_flow_of_its_invite() {
    let mut pair = Pair::new(Network::QUIET);
    pair.deaf[B] = true;
    let target = format!("sip:callee@{}", pair.addresses[B]);
    let invite = Invite {
        target: target.into(),
        body: Some(Body::sdp("offer")),
        hops: HopRule::Flow(None),
        ..Invite::default()
    };
    let now = pair.now;
    let usage = pair.ends[A].invite(now, invite).unwrap();
    pair.flush();
    let invite = pair.last(A, "INVITE");
    pair.answer_by_hand(&invite, "200 OK", "hand", LIES);
    let now = pair.now;
    pair.ends[A].bye(now, usage).unwrap();
    pair.flush();
    for method in ["ACK", "BYE"] {
        let sent = pair.wire.iter().find(|sent| sent.from == A && sent.line().starts_with(method));
        let sent = sent.unwrap_or_else(|| panic!("no {method}"));
        assert_eq!(sent.to, pair.addresses[B], "{method}");
        assert_eq!(sent.line(), format!("{method} sip:hand@203.0.113.9:5070;alias=1~2;ob SIP/2.0"));
        assert!(!sent.text().contains("\r\nRoute:"), "{}", sent.text());
    }
}

#[test]
fn a_judge_may_let_a_hop_be_followed_and_told_once_for_each_target() {
    let mut pair = Pair::new(Network::QUIET);
    let judge = Arc::new(Fixed(HopVerdict::FollowTold("elsewhere")));
    let usage = call(&mut pair, "Contact: <sip:hand@203.0.113.9:5070>\r\n", HopRule::Judged(judge));
    let now = pair.now;
    let info =
        b2b_sip::endpoint::InDialog { method: b2b_sip::msg::Method::Info, headers: Vec::new(), body: None };
    pair.ends[B].request(now, usage, info).unwrap();
    pair.flush();
    let (to, _) = bye(&mut pair, usage);
    assert_eq!(to.to_string(), "203.0.113.9:5070");
    assert_eq!(told(&mut pair), [("203.0.113.9:5070".to_owned(), true)]);
    assert_eq!(pair.ends[B].counters().hops_elsewhere, 1);
}

#[test]
fn what_a_judge_refuses_goes_by_the_flow_with_the_route_set_as_it_came() {
    let mut pair = Pair::new(Network::QUIET);
    let judge = Arc::new(Fixed(HopVerdict::Flow("inside")));
    let usage = call(&mut pair, LIES, HopRule::Judged(judge));
    let (to, bye) = bye(&mut pair, usage);
    assert_eq!(to.to_string(), PEER);
    assert!(bye.starts_with("BYE sip:hand@203.0.113.9:5070;alias=1~2;ob SIP/2.0\r\n"), "{bye}");
    assert!(bye.contains("Route: <sip:203.0.113.10;lr>\r\nRoute: <sip:203.0.113.11;lr>\r\n"), "{bye}");
    assert_eq!(told(&mut pair), [("203.0.113.10:5060".to_owned(), false)]);
    assert_eq!(pair.ends[B].counters().hops_refused, 1);
}

/// The same over TCP, after the connection has broken.
fn bye_after_the_connection_broke(hops: HopRule) -> (Transport, SocketAddr) {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand { extra: LIES.to_owned(), ..Hand::invite() };
    pair.deliver(B, Transport::Tcp, invite.data());
    let usage = pair.incoming();
    let now = pair.now;
    pair.ends[B].set_hops(usage, hops).unwrap();
    pair.ends[B].answer(now, usage, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.deliver(B, Transport::Tcp, invite.next("ACK", invite.cseq, &ok).data());
    pair.close(B);
    let now = pair.now;
    pair.ends[B].bye(now, usage).unwrap();
    pair.flush();
    let sent = pair.wire.iter().find(|sent| sent.from == B && sent.line().starts_with("BYE"));
    sent.map(|sent| (sent.transport, sent.to)).expect("a BYE")
}

#[test]
fn once_the_connection_is_gone_it_is_where_they_are_now_and_never_where_they_say() {
    let now_at: SocketAddr = "192.0.2.77:40123".parse().unwrap();
    let at = Arc::new(At(PeerWay::Address(Transport::Udp, now_at)));
    let (transport, to) = bye_after_the_connection_broke(HopRule::Flow(Some(at)));
    assert_eq!((transport, to), (Transport::Udp, now_at));
    let (transport, to) = bye_after_the_connection_broke(HopRule::Flow(None));
    assert_eq!(
        (transport, to.ip().to_string().as_str()),
        (Transport::Tcp, "192.0.2.1"),
        "the host it came from"
    );
}

#[test]
fn who_asks_from_another_host_does_not_become_the_peer_and_who_has_moved_port_does() {
    for (from, reached) in [("203.0.113.66:5060", PEER), ("192.0.2.1:40999", "192.0.2.1:40999")] {
        let mut pair = Pair::new(Network::QUIET);
        let invite = Hand { extra: LIES.to_owned(), ..Hand::invite() };
        let usage = call(&mut pair, LIES, HopRule::Flow(None));
        let ok = pair.last(B, "SIP/2.0 200");
        let mut flow = pair.flow(B, Transport::Udp);
        flow.remote = from.parse().unwrap();
        let info = Hand { extra: String::new(), ..invite.next("INFO", 11, &ok) };
        let now = pair.now;
        let input = b2b_sip::endpoint::Input::Datagram { flow, data: info.data() };
        pair.ends[B].handle_input(now, input);
        pair.flush();
        assert_eq!(bye(&mut pair, usage).0.to_string(), reached, "from {from}");
        pair.run(Duration::from_secs(1));
    }
}

/// B's call with a peer over TCP whose Record-Route names another port.
fn by_tcp(pair: &mut Pair, lines: &str) -> (UsageId, Hand, String) {
    let invite = Hand { extra: lines.to_owned(), ..Hand::invite() };
    pair.deliver(B, Transport::Tcp, invite.data());
    let usage = pair.incoming();
    let now = pair.now;
    pair.ends[B].answer(now, usage, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.deliver(B, Transport::Tcp, invite.next("ACK", invite.cseq, &ok).data());
    pair.take(B);
    (usage, invite, ok)
}

/// The ports to which B has sent requests with this method.
fn ports(pair: &Pair, method: &str) -> Vec<u16> {
    let sent = pair.wire.iter().filter(|sent| sent.from == B && sent.line().starts_with(method));
    sent.map(|sent| sent.to.port()).collect()
}

#[test]
fn a_next_hop_that_closes_without_a_response_gives_way_to_the_flow() {
    let route = "Contact: <sip:hand@192.0.2.1;transport=tcp>\r\n\
                 Record-Route: <sip:192.0.2.1:5099;transport=tcp;lr>\r\n";
    let contact = "Contact: <sip:hand@192.0.2.1:5099;transport=tcp>\r\n";
    for (lines, method) in [(route, "BYE"), (contact, "BYE"), (route, "INVITE")] {
        let mut pair = Pair::new(Network::QUIET);
        pair.deaf[A] = true;
        let (usage, ..) = by_tcp(&mut pair, lines);
        // The second request is as the first: what closed is not where the peer is.
        for ports_so_far in [vec![5099, 5060], vec![5099, 5060, 5099, 5060]] {
            let now = pair.now;
            match method {
                "BYE" => pair.ends[B].bye(now, usage).unwrap(),
                _ => pair.ends[B].reinvite(now, usage, Some(Body::sdp("offer"))).unwrap(),
            }
            pair.flush();
            pair.close_to(B, 5099);
            assert_eq!(ports(&pair, method), ports_so_far, "{method} {lines}");
            let request = pair.last(B, method);
            pair.deliver(
                B,
                Transport::Tcp,
                reply(&request, "200 OK", "", "Contact: <sip:hand@192.0.2.1>\r\n\r\nanswer"),
            );
            if method == "BYE" {
                break;
            }
        }
        if method != "BYE" {
            let now = pair.now;
            pair.ends[B].bye(now, usage).unwrap();
            pair.flush();
        }
        pair.assert_nothing_left();
    }
}

#[test]
fn an_info_that_a_closing_hop_may_have_passed_on_is_not_repeated() {
    let mut pair = Pair::new(Network::QUIET);
    pair.deaf[A] = true;
    let (usage, ..) = by_tcp(&mut pair, "Contact: <sip:hand@192.0.2.1:5099;transport=tcp>\r\n");
    let body = Some(Body { content_type: "application/dtmf".into(), data: "5".into() });
    let info = InDialog { method: Method::Info, headers: Vec::new(), body };
    let now = pair.now;
    pair.ends[B].request(now, usage, info).unwrap();
    pair.flush();
    pair.close_to(B, 5099);
    assert_eq!(ports(&pair, "INFO"), [5099]);
    let events = pair.take(B);
    assert!(
        matches!(events[..], [Event::Usage { event: UsageEvent::Response { result: Err(_), .. }, .. }]),
        "{events:?}"
    );
}

#[test]
fn a_next_hop_that_has_responded_is_not_left_and_no_hop_is_asked_for_ever() {
    // A response, then the end: nothing else is tried.
    let contact = "Contact: <sip:hand@192.0.2.1:5099;transport=tcp>\r\n";
    for response in ["100 Trying", "200 OK"] {
        let mut pair = Pair::new(Network::QUIET);
        pair.deaf[A] = true;
        let (usage, ..) = by_tcp(&mut pair, contact);
        let (_, sent) = bye(&mut pair, usage);
        pair.deliver(B, Transport::Tcp, reply(&sent, response, "", ""));
        pair.close_to(B, 5099);
        assert_eq!(ports(&pair, "BYE"), [5099], "{response}");
        pair.assert_nothing_left();
    }
    // The flow itself closes under the request: one new connection.
    let contact = "Contact: <sip:hand@192.0.2.1;transport=tcp>\r\n";
    let mut pair = Pair::new(Network::QUIET);
    pair.deaf[A] = true;
    let (usage, ..) = by_tcp(&mut pair, contact);
    bye(&mut pair, usage);
    for _ in 0..3 {
        pair.close(B);
    }
    assert_eq!(ports(&pair, "BYE"), [5060, 5060]);
    assert!(matches!(pair.ended(B), Termination::ByeUnanswered));
    pair.assert_nothing_left();
}

#[test]
fn a_hop_that_closes_before_a_callee_has_its_ack_does_not_end_the_call() {
    let mut pair = Pair::new(Network::QUIET);
    pair.deaf[B] = true;
    let usage = pair.call(Transport::Tcp);
    let invite = pair.last(A, "INVITE");
    let contact = "Contact: <sip:far@192.0.2.2:5099;transport=tcp>\r\n\r\nanswer";
    let ok = reply(&invite, "200 OK", "far", contact);
    pair.deliver(A, Transport::Tcp, ok.clone());
    pair.close_to(A, 5099);
    pair.deliver(A, Transport::Tcp, ok);
    let now = pair.now;
    pair.ends[A].bye(now, usage).unwrap();
    pair.flush();
    pair.close_to(A, 5099);
    let ports = |method: &str| -> Vec<u16> {
        let sent = pair.wire.iter().filter(|sent| sent.from == A && sent.line().starts_with(method));
        sent.map(|sent| sent.to.port()).collect()
    };
    assert_eq!((ports("ACK"), ports("BYE")), (vec![5099, 5060], vec![5099, 5060]));
    let bye = pair.last(A, "BYE");
    pair.deliver(A, Transport::Tcp, reply(&bye, "200 OK", "", ""));
    pair.assert_nothing_left();
}

#[test]
fn a_closed_udp_port_that_contact_names_gives_way_to_the_flow() {
    let mut pair = Pair::new(Network::QUIET);
    pair.deaf[A] = true;
    let usage = call(&mut pair, "Contact: <sip:hand@192.0.2.1:5099>\r\n", HopRule::Follow);
    let (to, bye) = bye(&mut pair, usage);
    assert_eq!(to.port(), 5099);
    let mut flow = pair.flow(B, Transport::Udp);
    flow.remote = to;
    let (now, quoted) = (pair.now, bye.into());
    pair.ends[B].handle_input(now, b2b_sip::endpoint::Input::Undelivered { flow, quoted });
    pair.flush();
    assert_eq!(ports(&pair, "BYE"), [5099, 5060]);
    let bye = pair.last(B, "BYE");
    pair.deliver(B, Transport::Udp, reply(&bye, "200 OK", "", ""));
    pair.assert_nothing_left();
}
