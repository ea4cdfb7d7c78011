//! Whole calls between two endpoints in virtual time.

use std::time::Duration;

use super::pair::{A, B, Network, Pair, config, field};
use b2b_sip::endpoint::{Body, Event, Invite, Termination, Transport, UsageEvent};

const KINDS: [Transport; 2] = [Transport::Udp, Transport::Tcp];

#[test]
fn a_call_is_made_answered_and_hung_up_by_either_side() {
    for transport in KINDS {
        for who in [A, B] {
            let mut pair = Pair::new(Network::QUIET);
            let usages = pair.connected(transport);
            let now = pair.now;
            pair.ends[who].bye(now, [usages.0, usages.1][who]).unwrap();
            pair.settle();
            assert!(matches!(pair.ended(who), Termination::LocalBye));
            assert!(matches!(pair.ended(1 - who), Termination::RemoteBye { .. }));
            pair.assert_nothing_left();
        }
    }
}

#[test]
fn ringing_and_early_media_come_up_before_the_answer() {
    let mut pair = Pair::new(Network::QUIET);
    pair.call(Transport::Udp);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].provisional(now, b, 180, "", None).unwrap();
    pair.settle();
    let now = pair.now;
    pair.ends[B].provisional(now, b, 183, "", Some(Body::sdp("early"))).unwrap();
    pair.settle();
    let statuses: Vec<u16> = pair
        .take(A)
        .iter()
        .map(|event| match event {
            Event::Usage { event: UsageEvent::Provisional { response, .. }, .. } => response.status(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(statuses, [180, 183]);
    let now = pair.now;
    pair.ends[B].reject(now, b, 486, "").unwrap();
    pair.settle();
    match pair.ended(A) {
        Termination::Failed { response } => assert_eq!(response.status(), 486),
        other => panic!("{other:?}"),
    }
    assert!(matches!(pair.ended(B), Termination::Rejected { status: 486 }));
    pair.assert_nothing_left();
}

#[test]
fn every_call_ends_properly_on_a_bad_network() {
    for transport in KINDS {
        for seed in 0..60 {
            let network = Network { loss: 0.3, duplicate: 0.1, delay_ms: (5, 120), seed };
            let mut pair = Pair::new(network);
            let a = pair.call(transport);
            let mut incoming = None;
            let mut ended = [0, 0];
            let mut up = [false, false];
            for _ in 0..1_200 {
                pair.run(Duration::from_millis(250));
                for end in [A, B] {
                    for event in pair.take(end) {
                        assert_eq!(ended[end], 0, "seed {seed}: {event:?} after the last event");
                        match event {
                            Event::Incoming { usage, .. } => {
                                assert!(incoming.is_none(), "seed {seed}: one INVITE, two calls");
                                incoming = Some(usage);
                                let now = pair.now;
                                pair.ends[B].answer(now, usage, Some(Body::sdp("answer"))).unwrap();
                            }
                            Event::Usage { event: UsageEvent::Answered { .. }, .. } => {
                                up[A] = true;
                                let now = pair.now;
                                if seed % 2 == 0 {
                                    pair.ends[A].bye(now, a).unwrap();
                                }
                            }
                            Event::Usage { usage, event: UsageEvent::Acknowledged { .. } } => {
                                up[B] = true;
                                let now = pair.now;
                                if seed % 2 == 1 {
                                    let _ = pair.ends[B].bye(now, usage);
                                }
                            }
                            Event::Usage { event: UsageEvent::Terminated { .. }, .. } => ended[end] += 1,
                            other => panic!("seed {seed}: {other:?}"),
                        }
                    }
                }
            }
            // All seven attempts with 30 % loss each way may fail; then both ends know it.
            assert_eq!(ended[A], 1, "{transport:?} seed {seed}");
            assert_eq!(ended[B], usize::from(incoming.is_some()), "{transport:?} seed {seed}");
            if transport == Transport::Tcp {
                assert!(up[A] && up[B]);
            }
            pair.assert_nothing_left();
        }
    }
}

#[test]
fn an_offer_in_the_2xx_gets_its_answer_in_the_ack() {
    for transport in KINDS {
        let mut pair = Pair::new(Network::QUIET);
        let target = pair.uri(B, transport);
        let now = pair.now;
        let a = pair.ends[A].invite(now, Invite { target, ..Invite::default() }).unwrap();
        let b = pair.incoming();
        let now = pair.now;
        pair.ends[B].answer(now, b, Some(Body::sdp("offer"))).unwrap();
        pair.settle();
        match pair.take(A).as_slice() {
            [Event::Usage { event: UsageEvent::Answered { response, ack_wanted: true }, .. }] => {
                assert_eq!(response.body(), "offer");
            }
            other => panic!("{other:?}"),
        }
        assert!(pair.sent(A, "ACK").is_empty(), "the ACK is the user's to send");
        let now = pair.now;
        pair.ends[A].ack(now, a, Some(Body::sdp("answer"))).unwrap();
        pair.settle();
        match pair.take(B).as_slice() {
            [Event::Usage { event: UsageEvent::Acknowledged { request }, .. }] => {
                assert_eq!(request.body(), "answer");
            }
            other => panic!("{other:?}"),
        }
        let now = pair.now;
        pair.ends[A].bye(now, a).unwrap();
        pair.settle();
        pair.assert_nothing_left();
    }
}

#[test]
fn ipv6_addresses_stand_in_brackets_everywhere() {
    for transport in KINDS {
        let addresses = ["[2001:db8::1]:5060", "[2001:db8::2]:5070"];
        let mut pair = Pair::with(Network::QUIET, [config(1), config(2)], addresses);
        let (a, _) = pair.connected(transport);
        let invite = pair.last(A, "INVITE");
        assert!(invite.starts_with("INVITE sip:callee@[2001:db8::2]:5070"), "{invite}");
        assert!(field(&invite, "Via").contains(" [2001:db8::1]:5060;branch="), "{invite}");
        assert!(field(&invite, "Contact").contains("sip:end1@[2001:db8::1]:5060"), "{invite}");
        let now = pair.now;
        pair.ends[A].bye(now, a).unwrap();
        pair.settle();
        assert!(pair.last(A, "BYE").starts_with("BYE sip:end2@[2001:db8::2]:5070"));
        assert!(matches!(pair.ended(A), Termination::LocalBye));
        assert!(matches!(pair.ended(B), Termination::RemoteBye { .. }));
        pair.assert_nothing_left();
    }
}

#[test]
fn a_large_request_goes_over_tcp_and_over_udp_where_there_is_none() {
    for tcp in [true, false] {
        let mut pair = Pair::new(Network::QUIET);
        pair.tcp = tcp;
        let target = pair.uri(B, Transport::Udp);
        let body = Some(Body::sdp(vec![b'x'; 1_400]));
        let now = pair.now;
        let a = pair.ends[A].invite(now, Invite { target, body, ..Invite::default() }).unwrap();
        let b = pair.incoming();
        let expected = if tcp { Transport::Tcp } else { Transport::Udp };
        assert_eq!(pair.wire[0].transport, expected);
        assert!(field(&pair.last(A, "INVITE"), "Via").starts_with(&format!("SIP/2.0/{expected} ")));
        let now = pair.now;
        pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
        pair.settle();
        let now = pair.now;
        pair.ends[A].bye(now, a).unwrap();
        pair.settle();
        pair.take(A);
        assert!(pair.take(B).iter().any(|event| matches!(
            event,
            Event::Usage { event: UsageEvent::Terminated { cause: Termination::RemoteBye { .. } }, .. }
        )));
        pair.assert_nothing_left();
    }
}

#[test]
fn a_host_name_is_resolved_and_a_dead_target_is_unreachable() {
    let mut pair = Pair::new(Network::QUIET);
    let now = pair.now;
    let invite = |target: &'static str| Invite {
        target: target.into(),
        body: Some(Body::sdp("offer")),
        ..Invite::default()
    };
    let a = pair.ends[A].invite(now, invite("sip:bob@example.com")).unwrap();
    pair.incoming();
    pair.ends[A].cancel(now, a).unwrap();
    pair.settle();
    pair.take(A);
    pair.take(B);

    pair.tcp = false;
    let now = pair.now;
    pair.ends[A].invite(now, invite("sip:bob@192.0.2.2;transport=tcp")).unwrap();
    pair.settle();
    assert!(matches!(pair.ended(A), Termination::Unreachable));
    assert!(pair.ends[A].invite(now, invite("tel:+123")).is_err());
    pair.assert_nothing_left();
}
