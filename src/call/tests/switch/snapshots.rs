//! Calls that are written, and read into another switch and another endpoint: the wire trace is the same, octet by
//! octet, as without that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallService, DialOptions, DialRequest};
use b2b_call::switch::SwitchConfig;
use b2b_call::switch::admission::AdmitAll;
use b2b_sip::endpoint::Body;
use b2b_testkit::{B2B, Handler, Harness, Network, PartyId, SESSION, UsageId};

use crate::routed::{ANN, BOB, CAT, Route, contacts, routed, to_bob, uri};

pub const HOLD: &str = "v=0\r\no=party 1 2 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
                    m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n";

/// Runs a world unchanged, with its calls restored after every or every few steps, and with its calls given to another
/// process and back as often: the messages and their times are equal.
fn same_on_the_wire(world: impl Fn(&mut Harness), new: impl Fn() -> Harness) {
    let plain = same_if_restored(&world, &new);
    for every in [1, 3, 7] {
        let moved = beside_another_call(&world, &new, every);
        for (index, (plain, moved)) in plain.iter().zip(&moved).enumerate() {
            assert_eq!(plain, moved, "message {index}, in another process after every {every}th step");
        }
        assert_eq!(plain.len(), moved.len(), "in another process after every {every}th step");
    }
}

/// The same without another process; and after each step a call that is kept in pieces is in them as it is. For worlds
/// with programs, or with messages that come again when their call is over.
fn same_if_restored(world: impl Fn(&mut Harness), new: impl Fn() -> Harness) -> Vec<Said> {
    let run = |every: Option<usize>| {
        let mut harness = new();
        if let Some(every) = every {
            harness.restart_every(every);
        }
        world(&mut harness);
        harness.assert_nothing_left();
        let wire = harness.wire.iter().map(|it| (it.at, it.to, it.text())).collect::<Vec<_>>();
        (harness.restarts(), wire, said(&harness))
    };
    let mut kept = new();
    kept.keep_pieces();
    world(&mut kept);
    kept.assert_nothing_left();
    let (none, plain, said) = run(None);
    assert!(none == 0 && plain.len() > 5, "{plain:?}");
    for every in [1, 3, 7] {
        let (restarts, restored, _) = run(Some(every));
        assert!(restarts > 2, "{restarts} restarts");
        for (index, (plain, restored)) in plain.iter().zip(&restored).enumerate() {
            assert_eq!(plain, restored, "message {index}, restored after every {every}th step");
        }
        assert_eq!(plain.len(), restored.len(), "restored after every {every}th step");
    }
    said
}

/// Runs a world whose calls go to and fro between two processes, one of which has a call of its own, with the numbers
/// of the first of them.
fn beside_another_call(world: impl Fn(&mut Harness), new: impl Fn() -> Harness, every: usize) -> Vec<Said> {
    let mut harness = new();
    let mut other = harness.beside(new());
    harness.change_process(&mut other);
    let own = alone_together(&mut harness, ["192.0.2.21:5060", "192.0.2.22:5060"]);
    harness.change_process(&mut other);
    harness.wire.clear();
    harness.change_process_every(every, other);
    world(&mut harness);
    assert!(harness.restarts() > 2, "{} changes", harness.restarts());
    let mut other = harness.change_process_no_more().expect("another process");
    harness.run(Duration::from_secs(400));
    let said = said(&harness);
    assert!(own.iter().all(|(party, usage)| harness.is_up(*party, *usage)));
    harness.hang_up(own[0].0, own[0].1);
    assert!(!harness.is_up(own[1].0, own[1].1));
    harness.assert_nothing_left();
    harness.change_process(&mut other);
    harness.assert_nothing_left();
    said
}

/// When, after the first message, to whom, and a method or a status.
type Said = (Duration, SocketAddr, String);

fn said(harness: &Harness) -> Vec<Said> {
    let first = harness.wire.first().map(|it| it.at).unwrap_or_default();
    let kind =
        |line: String| line.trim_start_matches("SIP/2.0 ").split(' ').next().unwrap_or_default().to_owned();
    harness.wire.iter().map(|it| (it.at - first, it.to, kind(it.line()))).collect()
}

/// Calls both parties and joins them.
pub fn alone_together(harness: &mut Harness, addresses: [&str; 2]) -> [(PartyId, UsageId); 2] {
    const PATIENCE: Duration = Duration::from_secs(1);
    let service = harness.service();
    let joined = addresses.map(|address| {
        let party = harness.party(address);
        let to = contacts(&[(address, 0)], DialOptions::default());
        let (_, answer) = harness.wait(PATIENCE, service.originate(to)).expect("a call begins");
        harness.settle();
        let usage = harness.answer_next(party, SESSION);
        (party, usage, harness.wait(PATIENCE, answer).expect("an answer"))
    });
    let [(_, _, a), (_, _, b)] = joined;
    harness.wait(PATIENCE, service.create_bridge(a, b, BridgeMode::Intercepting, true)).expect("a bridge");
    harness.settle();
    joined.map(|(party, usage, _)| (party, usage))
}

pub fn up(harness: &mut Harness) -> ((PartyId, UsageId), (PartyId, UsageId)) {
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let at_ann = harness.call(ann, "bob", Some(SESSION));
    let at_bob = harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(2));
    ((ann, at_ann), (bob, at_bob))
}

#[test]
fn a_call_that_is_up_goes_on_from_its_snapshot() {
    let mut harness = to_bob();
    let ((ann, at_ann), (bob, at_bob)) = up(&mut harness);
    harness.restart();
    assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob));
    harness.wire.clear();
    harness.hang_up(bob, at_bob);
    let said: Vec<String> = harness.wire.iter().map(|it| format!("{} to {}", it.line(), it.to)).collect();
    let to = |line: &str, to: &str| said.iter().any(|it| it.starts_with(line) && it.ends_with(to));
    assert!(to("BYE ", ANN) && to("SIP/2.0 200", BOB), "{said:?}");
    assert!(!harness.is_up(ann, at_ann));
    harness.assert_nothing_left();
}

#[test]
fn calls_one_after_the_other_ring_and_are_answered_cancelled_and_refused() {
    same_if_restored(
        |harness| {
            let (ann, bob) = (harness.party(ANN), harness.party(BOB));
            for ends in 0..4 {
                let at_ann = harness.call(ann, "bob", Some(SESSION));
                let at_bob = harness.next_call(bob);
                harness.ring(bob, at_bob, 180, None);
                harness.run(Duration::from_secs(1));
                match ends {
                    0 => harness.cancel(ann, at_ann),
                    1 => harness.reject(bob, at_bob, 486),
                    _ => harness.answer(bob, at_bob, Some(SESSION)),
                }
                harness.run(Duration::from_secs(2));
                match ends {
                    2 => harness.hang_up(ann, at_ann),
                    3 => harness.hang_up(bob, at_bob),
                    _ => {}
                }
            }
        },
        to_bob,
    );
}

#[test]
fn calls_at_once_begin_and_end_among_each_other() {
    same_on_the_wire(
        |harness| {
            let (ann, bob) = (harness.party(ANN), harness.party(BOB));
            let mut calls = Vec::new();
            for _ in 0..6 {
                let at_ann = harness.call(ann, "bob", Some(SESSION));
                let at_bob = harness.next_call(bob);
                harness.ring(bob, at_bob, 183, Some(SESSION));
                calls.push((at_ann, at_bob));
                harness.run(Duration::from_millis(300));
                if let [.., (_, before), _] = calls[..] {
                    harness.answer(bob, before, Some(SESSION));
                }
            }
            for (at_ann, _) in calls.iter().take(5).rev() {
                harness.run(Duration::from_millis(700));
                harness.hang_up(ann, *at_ann);
            }
        },
        to_bob,
    );
}

#[test]
fn a_2xx_without_its_ack_and_a_bye_without_its_answer_are_sent_again() {
    same_on_the_wire(
        |harness| {
            let (ann, bob) = (harness.party(ANN), harness.party(BOB));
            harness.call(ann, "bob", Some(SESSION));
            let at_bob = harness.next_call(bob);
            harness.kill(ann);
            harness.answer(bob, at_bob, Some(SESSION));
            harness.run(Duration::from_secs(5));
            harness.hang_up(bob, at_bob);
            harness.run(Duration::from_secs(40));
        },
        to_bob,
    );
}

#[test]
fn an_invite_that_nobody_answers_is_sent_again_and_goes_to_the_next_contact() {
    let silent_first = || routed(contacts(&[(CAT, 0), (BOB, 1)], DialOptions::default()));
    same_on_the_wire(
        |harness| {
            let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
            harness.kill(cat);
            let at_ann = harness.call(ann, "bob", Some(SESSION));
            harness.run(Duration::from_secs(40));
            harness.answer_next(bob, SESSION);
            harness.run(Duration::from_secs(1));
            harness.hang_up(ann, at_ann);
        },
        silent_first,
    );
}

#[test]
fn a_hold_a_reinvite_on_its_way_and_a_refusal_of_it_go_across() {
    same_on_the_wire(
        |harness| {
            let ((ann, at_ann), (bob, at_bob)) = up(harness);
            for (answer, offer) in [(Some(SESSION), HOLD), (None, SESSION), (Some(SESSION), SESSION)] {
                let now = harness.now();
                harness.endpoint(ann).reinvite(now, at_ann, Some(Body::sdp(offer))).unwrap();
                harness.run(Duration::from_millis(1_300));
                match answer {
                    Some(answer) => harness.answer(bob, at_bob, Some(answer)),
                    None => harness.reject(bob, at_bob, 488),
                }
                harness.run(Duration::from_secs(1));
            }
            harness.hang_up(ann, at_ann);
        },
        to_bob,
    );
}

/// Routes calls by number, and follows transfers.
fn by_name() -> Harness {
    let handler = Handler(|call: IncomingCall, _| async move {
        let to = if call.called() == "cat" { CAT } else { BOB };
        let mode = BridgeMode::Intercepting;
        let options = DialOptions { mode, ..DialOptions::default() };
        HandlerAction::Dial(Box::new(contacts(&[(to, 0)], options)))
    });
    Harness::new(Instant::now(), vec![Arc::new(handler)])
}

#[test]
fn a_blind_transfer_joins_who_stays_with_who_comes() {
    same_on_the_wire(
        |harness| {
            let ((_, _), (bob, at_bob)) = up(harness);
            let cat = harness.party(CAT);
            harness.refer(bob, at_bob, format!("<{}>", uri(CAT)));
            harness.run(Duration::from_secs(1));
            let at_cat = harness.answer_next(cat, SESSION);
            harness.run(Duration::from_secs(3));
            harness.hang_up(cat, at_cat);
        },
        by_name,
    );
}

#[test]
fn an_attended_transfer_makes_one_group_of_two_calls() {
    same_on_the_wire(
        |harness| {
            let ((ann, at_ann), (bob, at_bob)) = up(harness);
            let cat = harness.party(CAT);
            let consultation = harness.call(ann, "cat", Some(SESSION));
            let at_cat = harness.answer_next(cat, SESSION);
            harness.run(Duration::from_secs(1));
            let replaces = harness.replaces(ann, consultation).expect("a dialog");
            harness.refer(ann, at_ann, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
            harness.run(Duration::from_secs(3));
            assert!(harness.is_up(cat, at_cat) && harness.is_up(bob, at_bob));
            harness.hang_up(cat, at_cat);
        },
        by_name,
    );
}

#[test]
fn calls_on_a_network_that_loses_and_doubles_send_the_same_again() {
    for seed in 1..=2 {
        same_if_restored(
            |harness| {
                let (ann, bob) = (harness.party(ANN), harness.party(BOB));
                for n in 0..4_u64 {
                    let at_ann = harness.call(ann, "bob", Some(SESSION));
                    harness.run(Duration::from_millis(1_800 + n * 130));
                    for at_bob in harness.incoming(bob) {
                        harness.ring(bob, at_bob, 180, None);
                        harness.run(Duration::from_millis(400));
                        harness.answer(bob, at_bob, Some(SESSION));
                    }
                    harness.run(Duration::from_secs(9));
                    if harness.is_up(ann, at_ann) {
                        harness.hang_up(ann, at_ann);
                    }
                }
            },
            || {
                let network = Network { loss: 0.15, duplicate: 0.1, delay_ms: (1, 40), seed };
                let route = Route(DialRequest::to(uri(BOB)));
                let handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(route)];
                let resolver = Arc::new(b2b_call::resolver::DirectResolver::new(
                    b2b_call::resolver::DirectPolicy::Anybody,
                ));
                let config = SwitchConfig::default();
                Harness::with(Instant::now(), handlers, resolver, Box::new(AdmitAll), config, network)
            },
        );
    }
}

#[test]
fn what_a_call_takes_as_octets_is_told() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    for most in [50, 200] {
        while harness.snapshot().len() < most {
            harness.call(ann, "bob", Some(SESSION));
            harness.answer_next(bob, SESSION);
        }
        let began = Instant::now();
        let octets = harness.octets();
        let written = began.elapsed();
        harness.restart();
        let (calls, bytes) = (most, octets.len());
        // A restart writes them, too.
        let [written, read] =
            [written, began.elapsed() - written * 2].map(|it| it.as_micros() / calls as u128);
        println!(
            "{calls} calls: {} bytes, {written} µs to write, {read} µs to restore a call",
            bytes / calls
        );
        assert!(bytes / calls < 16_384, "{} bytes a call", bytes / calls);
    }
}

#[test]
fn a_program_of_ours_goes_on_in_the_same_process() {
    let asks = || {
        let handler = Handler(|call: IncomingCall, service: CallService| async move {
            let _ = service.sleep(Duration::from_secs(3)).await;
            let _ = call.leg;
            HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB))))
        });
        Harness::new(Instant::now(), vec![Arc::new(handler)])
    };
    same_if_restored(
        |harness| {
            let (ann, bob) = (harness.party(ANN), harness.party(BOB));
            let at_ann = harness.call(ann, "bob", Some(SESSION));
            harness.run(Duration::from_secs(4));
            harness.answer_next(bob, SESSION);
            harness.run(Duration::from_secs(1));
            harness.hang_up(ann, at_ann);
        },
        asks,
    );
}
