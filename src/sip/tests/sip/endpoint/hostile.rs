//! Peers that ask for too much, for nonsense, or at the wrong moment: the call continues and
//! costs no more than allowed.

use std::net::SocketAddr;
use std::time::Duration;

use b2b_sip::endpoint::{
    Body, EndpointConfig, EndpointLimits, Event, Termination, Transport, UsageEvent, UsageId,
};
use b2b_sip::known::KnownSources;
use b2b_sip::msg::Method;
use b2b_sip::msg::body::ACCEPT;

use super::pair::{A, B, Hand, Network, Pair, config, field, reply};

const ADDRESSES: [&str; 2] = ["192.0.2.1:5060", "192.0.2.2:5060"];

/// B in a call with a hand-made peer, and B's 200.
fn up(pair: &mut Pair, invite: &Hand) -> (UsageId, String) {
    let (b, ok) = pair.answers(invite);
    pair.hand(&invite.next("ACK", invite.cseq, &ok));
    pair.take(B);
    (b, ok)
}

/// B hangs up and the peer confirms.
fn hang_up(pair: &mut Pair, b: UsageId) {
    let now = pair.now;
    pair.ends[B].bye(now, b).unwrap();
    pair.flush();
    let bye = pair.last(B, "BYE");
    pair.deliver(B, Transport::Udp, reply(&bye, "200 OK", "", ""));
    assert!(matches!(pair.ended(B), Termination::LocalBye));
}

#[test]
fn a_contact_that_is_not_one_host_is_reached_where_the_peer_came_from() {
    for contact in [
        "sip:hand@0.0.0.0:5060",
        "sip:hand@[::]:5060",
        "sip:hand@224.0.1.75",
        "sip:hand@255.255.255.255",
        "sip:hand@192.0.2.1:0",
        "sip:hand@192.0.2.77;maddr=0.0.0.0",
        "sips:hand@192.0.2.1;transport=pigeon",
    ] {
        let mut pair = Pair::new(Network::QUIET);
        let invite = Hand { extra: format!("Contact: <{contact}>\r\n"), ..Hand::invite() };
        let (b, _) = up(&mut pair, &invite);
        hang_up(&mut pair, b);
        let bye = pair.wire.iter().find(|sent| sent.line().starts_with("BYE")).unwrap();
        assert_eq!(bye.line(), format!("BYE {contact} SIP/2.0"));
        assert_eq!(bye.to, pair.addresses[A], "{contact}");
    }
}

#[test]
fn a_call_to_a_tel_or_sips_uri_is_taken() {
    for uri in ["tel:+1-555-0100", "sips:callee@192.0.2.2"] {
        let mut pair = Pair::new(Network::QUIET);
        let invite = Hand { uri: uri.to_owned(), ..Hand::invite() };
        let (b, _) = up(&mut pair, &invite);
        hang_up(&mut pair, b);
        pair.assert_nothing_left();
    }
}

#[test]
fn a_retransmitted_request_in_a_call_gets_its_answer_again() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (b, ok) = up(&mut pair, &invite);
    for (cseq, method, status) in [(11, "OPTIONS", "200"), (12, "FROBNICATE", "405"), (13, "INFO", "200")] {
        let request = invite.next(method, cseq, &ok);
        pair.hand(&request);
        let first = pair.last(B, "SIP/2.0");
        assert_eq!(&first[8..11], status, "{method}");
        pair.hand(&request);
        assert_eq!(pair.last(B, "SIP/2.0"), first, "{method}: our first answer was lost");
    }
    assert!(pair.last(B, "SIP/2.0 405").contains("\r\nAllow: INVITE, "));
    hang_up(&mut pair, b);
}

#[test]
fn an_update_that_our_user_never_answers_does_not_block_the_session_for_ever() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (b, ok) = up(&mut pair, &invite);
    pair.hand(&Hand { body: "stuck", ..invite.next("UPDATE", 11, &ok) });
    assert!(matches!(pair.take(B).as_slice(), [Event::Usage { event: UsageEvent::Update { .. }, .. }]));
    pair.hand(&Hand { body: "offer", ..invite.next("INVITE", 12, &ok) });
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 500 "), "one offer at a time");
    let now = pair.now;
    assert!(pair.ends[B].reinvite(now, b, Some(Body::sdp("ours"))).is_err());

    pair.run(Duration::from_secs(33));
    pair.hand(&Hand { body: "offer", ..invite.next("INVITE", 13, &ok) });
    assert!(matches!(pair.take(B).as_slice(), [Event::Usage { event: UsageEvent::ReInvite { .. }, .. }]));
    let now = pair.now;
    pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    pair.hand(&invite.next("ACK", 13, &ok));
    pair.take(B);
    hang_up(&mut pair, b);
    pair.assert_nothing_left();
}

#[test]
fn an_update_of_ours_that_is_never_answered_ends_the_call() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, _) = pair.connected(Transport::Udp);
    pair.mute[B] = true;
    let now = pair.now;
    pair.ends[A].update(now, a, Body::sdp("offer")).unwrap();
    pair.run(Duration::from_secs(33));
    assert!(matches!(
        pair.take(A).as_slice(),
        [Event::Usage { event: UsageEvent::ReInviteFailed { status: 408, .. }, .. }]
    ));
    assert!(!pair.sent(A, "BYE").is_empty());
}

#[test]
fn info_outside_a_call_gets_481_even_where_it_is_taken_inside() {
    let taking = EndpointConfig { accept: vec![Method::Info], ..config(2) };
    let mut pair = Pair::with(Network::QUIET, [config(1), taking], ADDRESSES);
    pair.hand(&Hand { method: "INFO", ..Hand::invite() });
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 481 "));
    assert!(pair.take(B).is_empty());
}

#[test]
fn a_refusal_of_a_media_type_says_which_one_is_taken() {
    let mut pair = Pair::new(Network::QUIET);
    pair.hand(&Hand::invite());
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].reject(now, b, 415, "").unwrap();
    pair.flush();
    assert_eq!(field(&pair.last(B, "SIP/2.0 415"), "Accept"), ACCEPT);
}

#[test]
fn endless_requests_in_a_call_are_put_off_and_hold_little() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (_, ok) = up(&mut pair, &invite);
    let mut cseq = 10;
    let mut most = 0;
    for _ in 0..120 {
        for n in 0..300 {
            cseq += 1;
            let method = ["INFO", "OPTIONS", "UPDATE", "FROBNICATE"][n % 4];
            pair.hand(&invite.next(method, cseq, &ok));
        }
        most = most.max(pair.ends[B].holdings().server_transactions);
        pair.run(Duration::from_millis(500));
        pair.wire.truncate(0);
        pair.take(B);
    }
    assert!(most <= 4_000, "{most} transactions: 100 a second for 32 s, not 600");
    pair.hand(&invite.next("INFO", cseq + 1, &ok));
    pair.run(Duration::from_secs(2));
    pair.hand(&invite.next("INFO", cseq + 2, &ok));
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 200 "), "the flood over, all is as before");
    for n in 0..300 {
        pair.hand(&invite.next("INFO", cseq + 3 + n, &ok));
    }
    assert!(!field(&pair.last(B, "SIP/2.0 503"), "Retry-After").is_empty());
    pair.hand(&invite.next("BYE", cseq + 400, &ok));
    assert!(matches!(pair.ended(B), Termination::RemoteBye { .. }), "BYE is never put off");
    pair.assert_nothing_left();
}

#[test]
fn large_messages_are_counted_by_their_bytes() {
    let limits = EndpointLimits { server_bytes: 100_000, ..EndpointLimits::default() };
    let mut pair = Pair::with(Network::QUIET, [config(1), EndpointConfig { limits, ..config(2) }], ADDRESSES);
    for number in 0..100 {
        let mut invite = Hand { branch: format!("z9hG4bKlarge{number}"), ..Hand::invite() };
        invite.call_id = format!("large{number}");
        invite.extra.push_str(&format!("Subject: {}\r\n", "x".repeat(8_000)));
        pair.hand(&invite);
    }
    let events = pair.take(B);
    assert!((10..=13).contains(&events.len()), "{} of 8 kB each in 100 kB", events.len());
    assert!(!pair.sent(B, "SIP/2.0 503").is_empty());
    for event in events {
        let Event::Incoming { usage, .. } = event else { panic!("{event:?}") };
        let now = pair.now;
        pair.ends[B].reject(now, usage, 486, "").unwrap();
    }
    pair.flush();
    pair.take(B);
    let again = Hand { branch: "z9hG4bKafter".to_owned(), call_id: "after".to_owned(), ..Hand::invite() };
    pair.hand(&again);
    assert!(matches!(pair.take(B).as_slice(), [Event::Incoming { .. }]), "there is room again");
    pair.assert_nothing_left();
}

#[test]
fn endless_reliable_provisional_responses_get_a_bounded_number_of_pracks() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    for rseq in 1..=500 {
        let extra = format!("Require: 100rel\r\nRSeq: {rseq}\r\nContact: <sip:far@192.0.2.2>\r\n");
        pair.answer_by_hand(&invite, "183 Session Progress", "far", &extra);
    }
    assert_eq!(pair.sent(A, "PRACK").len(), 64);
    assert_eq!(pair.take(A).len(), 64);
    pair.answer_by_hand(&invite, "200 OK", "far", "Contact: <sip:far@192.0.2.2>\r\n");
    assert!(matches!(pair.take(A).as_slice(), [Event::Usage { event: UsageEvent::Answered { .. }, .. }]));
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
}

#[test]
fn a_2xx_that_nobody_wants_gets_a_bounded_number_of_acks() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "far", "");
    let now = pair.now;
    pair.ends[A].cancel(now, a).unwrap();
    pair.flush();
    for _ in 0..500 {
        pair.answer_by_hand(&invite, "200 OK", "far", "Contact: <sip:far@example.com>\r\n");
    }
    assert_eq!((pair.sent(A, "ACK").len(), pair.sent(A, "BYE").len()), (16, 1));
    assert_eq!(pair.ends[A].holdings().waiting, 0);
}

#[test]
fn a_contact_over_tcp_that_cannot_be_connected_to_gives_way_to_the_flow() {
    for tcp in [true, false] {
        let mut pair = Pair::new(Network::QUIET);
        pair.tcp = tcp;
        let contact = "sip:hand@192.0.2.1:5090;transport=tcp";
        let invite = Hand { extra: format!("Contact: <{contact}>\r\n"), ..Hand::invite() };
        let (b, _) = up(&mut pair, &invite);
        let now = pair.now;
        pair.ends[B].bye(now, b).unwrap();
        pair.flush();
        let bye = pair.wire.iter().find(|sent| sent.line().starts_with("BYE")).unwrap();
        let expected = if tcp { (Transport::Tcp, 5090) } else { (Transport::Udp, 5060) };
        assert_eq!((bye.transport, bye.to.port()), expected);
    }
}

#[test]
fn one_source_leaves_refusals_for_the_others() {
    let limits = EndpointLimits { refusals_per_second: 50, ..EndpointLimits::default() };
    let mut pair = Pair::with(Network::QUIET, [config(1), EndpointConfig { limits, ..config(2) }], ADDRESSES);
    let stray = |n| Hand { method: "BYE", call_id: format!("stray{n}"), body: "", ..Hand::invite() };
    for n in 0..100 {
        pair.hand(&stray(n));
    }
    assert_eq!(pair.sent(B, "SIP/2.0 481").len(), 5);
    pair.addresses[A] = "198.51.100.7:5060".parse().unwrap();
    pair.hand(&stray(200));
    assert_eq!(pair.sent(B, "SIP/2.0 481").len(), 6, "another source is still told");
}

#[test]
fn strangers_take_no_answers_from_sources_that_are_known() {
    let (limits, known) =
        (EndpointLimits { refusals_per_second: 20, ..EndpointLimits::default() }, KnownSources::default());
    let carrier = "198.51.100.7:5060".parse::<SocketAddr>().unwrap();
    known.set_blocks(vec![(carrier.ip(), carrier.ip())]);
    let config = EndpointConfig { limits, known, ..config(2) };
    let mut pair = Pair::with(Network::QUIET, [super::pair::config(1), config], ADDRESSES);
    let options = |n| Hand { method: "OPTIONS", call_id: format!("o{n}"), body: "", ..Hand::invite() };
    for n in 0..1_000 {
        pair.addresses[A] = format!("192.0.2.{}:5060", 100 + n % 50).parse().unwrap();
        pair.hand(&options(n));
    }
    let strangers = pair.sent(B, "SIP/2.0 200").len();
    assert!((2..=20).contains(&strangers), "{strangers}");
    pair.addresses[A] = carrier;
    for n in 1_000..1_010 {
        pair.hand(&options(n));
    }
    assert_eq!(pair.sent(B, "SIP/2.0 200").len(), strangers + 10, "each health check of the carrier");
}

#[test]
fn a_hundred_vias_come_back_in_order() {
    let mut pair = Pair::new(Network::QUIET);
    let vias: String =
        (0..100).map(|n| format!("Via: SIP/2.0/UDP 198.51.100.{n};branch=z9hG4bKhop{n}\r\n")).collect();
    let mut invite = Hand::invite();
    invite.extra.push_str(&vias);
    let (b, ok) = up(&mut pair, &invite);
    let back: Vec<_> = ok.lines().filter(|line| line.starts_with("Via: ")).skip(1).collect();
    assert_eq!(back, vias.lines().collect::<Vec<_>>());
    hang_up(&mut pair, b);
}
