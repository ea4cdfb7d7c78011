//! What strangers, users and carriers may fill: each kind of source and each source has a share of the server
//! transactions.

use std::net::SocketAddr;
use std::time::Duration;

use b2b_sip::endpoint::{EndpointConfig, EndpointLimits, Event, Reply, Transport, UsageEvent};
use b2b_sip::known::KnownSources;
use b2b_sip::msg::Method;

use super::pair::{A, B, Hand, Network, Pair, config, field};

const CARRIER: &str = "198.51.100.7:5060";
const HOMES: [&str; 3] = ["198.51.100.21:5060", "198.51.100.22:5060", "198.51.100.23:5060"];
const STRANGER: &str = "203.0.113.66:5060";

/// B knows a carrier and three homes of users.
fn server(limits: EndpointLimits) -> Pair {
    let known = KnownSources::default();
    let ip = |address: &str| address.parse::<SocketAddr>().unwrap().ip();
    known.set_blocks(vec![(ip(CARRIER), ip(CARRIER))]);
    let config = EndpointConfig {
        accept: vec![Method::Info, Method::Message, Method::Notify],
        outside: vec![Method::Register, Method::Subscribe],
        limits,
        known: known.clone(),
        ..config(2)
    };
    let pair =
        Pair::with(Network::QUIET, [super::pair::config(1), config], ["192.0.2.1:5060", "192.0.2.2:5060"]);
    for home in HOMES {
        known.at_home(pair.now, ip(home), pair.now + Duration::from_secs(3_600));
    }
    pair
}

fn number(n: u32, method: &'static str) -> Hand {
    Hand { method, branch: format!("z9hG4bKs{n}"), call_id: format!("s{n}"), ..Hand::invite() }
}

/// Answers every REGISTER and SUBSCRIBE with state, and rejects INVITEs.
fn answer_all(pair: &mut Pair) -> usize {
    let (now, events) = (pair.now, pair.take(B));
    let mut answered = 0;
    for event in events {
        answered += 1;
        match event {
            Event::Request { transaction, .. } => {
                pair.ends[B].respond(now, transaction, Reply::status(200)).unwrap();
            }
            Event::Incoming { usage, .. } => pair.ends[B].reject(now, usage, 480, "").unwrap(),
            _ => answered -= 1,
        }
    }
    pair.flush();
    answered
}

/// Requests from here until one is not taken; at most `most`.
fn flood(pair: &mut Pair, from: &str, first: u32, most: u32, make: impl Fn(u32) -> Hand) -> usize {
    pair.addresses[A] = from.parse().unwrap();
    let mut taken = 0;
    for n in first..first + most {
        pair.hand(&make(n));
        taken += usize::from(answer_all(pair) > 0);
    }
    taken
}

#[test]
fn what_is_not_processed_outside_dialogs_is_405_without_state_over_any_transport() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = server(EndpointLimits::default());
        pair.addresses[A] = STRANGER.parse().unwrap();
        let methods =
            ["MESSAGE", "NOTIFY", "PUBLISH", "REFER", "PRACK", "FROBNICATE", "INFO", "BYE", "UPDATE"];
        for (n, method) in methods.into_iter().enumerate() {
            pair.deliver(B, transport, number(n as u32, method).data());
            let status = if matches!(method, "INFO" | "BYE" | "UPDATE") { "481" } else { "405" };
            let answer = pair.last(B, "SIP/2.0");
            assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{method}: {answer}");
            let allow = field(&answer, "Allow");
            let listed = allow.split(", ").any(|it| it == method);
            assert!(status == "481" || allow.contains("REGISTER") && !listed, "{method}: {allow}");
        }
        assert!(pair.take(B).is_empty(), "nobody is asked");
        let held = pair.ends[B].holdings();
        assert_eq!((held.server_transactions, held.usages, held.map_entries), (0, 0, 0), "{held:?}");
    }
}

#[test]
fn a_strangers_messages_beyond_the_budget_get_no_answer() {
    let mut pair = server(EndpointLimits { refusals_per_second: 100, ..EndpointLimits::default() });
    flood(&mut pair, STRANGER, 0, 500, |n| number(n, "MESSAGE"));
    assert_eq!(pair.sent(B, "SIP/2.0 405").len(), 10, "a tenth for one source");
}

#[test]
fn a_users_flood_fills_its_own_share_and_others_register_call_and_check() {
    let mut pair = server(EndpointLimits { server_transactions: 800, ..EndpointLimits::default() });
    assert_eq!(flood(&mut pair, HOMES[0], 0, 1_000, |n| number(n, "REGISTER")), 200, "half of 400");
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 503 "));
    assert_eq!(
        flood(&mut pair, HOMES[1], 2_000, 1_000, |n| number(n, "INVITE")),
        100,
        "half of what is left"
    );
    for (n, from) in [CARRIER, HOMES[2]].into_iter().enumerate() {
        let n = 4_000 + 10 * n as u32;
        assert_eq!(flood(&mut pair, from, n, 1, |n| number(n, "REGISTER")), 1, "{from}");
        assert_eq!(flood(&mut pair, from, n + 1, 1, |n| number(n, "INVITE")), 1, "{from}");
        pair.hand(&number(n + 2, "OPTIONS"));
        assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 200 "), "{from}");
    }
    pair.run(Duration::from_secs(40));
    assert_eq!(flood(&mut pair, HOMES[0], 9_000, 1, |n| number(n, "REGISTER")), 1, "the flood is forgotten");
}

#[test]
fn who_is_full_still_gets_answers_that_need_no_state() {
    let mut pair = server(EndpointLimits { server_transactions: 80, ..EndpointLimits::default() });
    assert_eq!(flood(&mut pair, CARRIER, 0, 100, |n| number(n, "REGISTER")), 30);
    pair.hand(&number(500, "OPTIONS"));
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 200 "), "a health check");
}

#[test]
fn a_large_answer_is_not_kept_and_a_retransmission_of_its_request_is_nothing_new() {
    let mut pair = server(EndpointLimits::default());
    pair.addresses[A] = HOMES[0].parse().unwrap();
    for n in 0..50 {
        let mut register = number(n, "REGISTER");
        register.extra.push_str(&"Via: SIP/2.0/UDP 198.51.100.9;branch=z9hG4bKlow\r\n".repeat(150));
        pair.hand(&register);
        assert_eq!(answer_all(&mut pair), 1);
        assert!(pair.wire.last().is_some_and(|it| it.data.len() > 4_096), "it is sent whole");
        let sent = pair.wire.len();
        pair.hand(&register);
        assert_eq!((answer_all(&mut pair), pair.wire.len()), (0, sent));
    }
    let small = EndpointLimits { server_bytes: 8 * 50_000, ..EndpointLimits::default() };
    let mut pair = server(small);
    let large = |n| Hand {
        extra: "Via: SIP/2.0/UDP 198.51.100.9;branch=z9hG4bKlow\r\n".repeat(150),
        ..number(n, "REGISTER")
    };
    assert_eq!(flood(&mut pair, HOMES[0], 0, 200, large), 200, "as if they were small");
}

#[test]
fn requests_that_nobody_answers_in_one_call_keep_a_part_of_the_memory_and_leave_the_rest() {
    let limits = EndpointLimits { server_bytes: 8 << 20, ..EndpointLimits::default() };
    let mut pair = server(limits);
    pair.addresses[A] = HOMES[0].parse().unwrap();
    let invite = Hand::invite();
    let (call, ok) = pair.answers(&invite);
    pair.hand(&invite.next("ACK", 10, &ok));
    pair.take(B);
    let large = format!("Subject: {}\r\n", "x".repeat(8_000));
    let mut taken = 0;
    for n in 0..100 {
        let mut info = invite.next("INFO", 11 + n, &ok);
        info.extra.push_str(&large);
        pair.hand(&info);
        taken += pair
            .take(B)
            .iter()
            .filter(|it| matches!(it, Event::Usage { event: UsageEvent::Request { .. }, .. }))
            .count();
    }
    assert!((7..=9).contains(&taken), "{taken} of 8 kB each in 64 KB");
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 503 "));
    let other = number(900, "INVITE");
    pair.hand(&other);
    assert!(matches!(pair.take(B).as_slice(), [Event::Incoming { .. }]), "other calls come in");
    pair.hand(&invite.next("BYE", 500, &ok));
    assert!(
        matches!(pair.take(B).as_slice(), [.., Event::Usage { usage, event: UsageEvent::Terminated { .. } }] if *usage == call),
        "the call can be ended"
    );
    pair.assert_nothing_left();
}
