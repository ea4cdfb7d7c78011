//! Calls that go on in another process, and octets that are no calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallService, DialRequest};
use b2b_call::switch::restore::NotTakenIn;
use b2b_sip::endpoint::Body;
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hand::last;
use crate::routed::{ANN, BOB, to_bob, uri};
use crate::snapshots::{HOLD, up};

/// Answers, and waits for ever.
struct Waits {
    resumes: bool,
}

impl ApplicationHandler for Waits {
    fn name(&self) -> &str {
        "waits"
    }

    fn resumes(&self, _: &IncomingCall) -> bool {
        self.resumes
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Box::pin(async move {
            if call.resumed {
                return HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB))));
            }
            let _ = service.answer(call.leg).await;
            std::future::pending().await
        })
    }
}

fn with_a_handler(resumes: bool) -> (Harness, PartyId, UsageId) {
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(Waits { resumes })]);
    let ann = harness.party(ANN);
    let call = harness.call(ann, "anybody", Some(SESSION));
    harness.run(Duration::from_secs(2));
    assert!(harness.is_up(ann, call));
    (harness, ann, call)
}

#[test]
fn a_handler_that_takes_it_so_is_given_its_call_again_after_its_process_has_ended() {
    let (mut harness, ann, call) = with_a_handler(true);
    let bob = harness.party(BOB);
    assert_eq!(harness.move_to_another_process().expect("they are read").len(), 1);
    harness.run(Duration::from_secs(1));
    harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(1));
    assert!(harness.is_up(ann, call));
    harness.hang_up(ann, call);
    harness.assert_nothing_left();
}

#[test]
fn a_caller_whose_handler_does_not_is_hung_up_after_its_process_has_ended() {
    let (mut harness, ann, call) = with_a_handler(false);
    harness.wire.clear();
    assert_eq!(harness.move_to_another_process().expect("they are read").len(), 1);
    harness.run(Duration::from_secs(1));
    assert!(!harness.is_up(ann, call));
    assert!(harness.wire.iter().any(|it| it.line().starts_with("BYE ")));
    harness.assert_nothing_left();
}

#[test]
fn calls_that_talk_go_on_in_one_process_after_another() {
    let mut harness = to_bob();
    let ((ann, at_ann), (bob, at_bob)) = up(&mut harness);
    for offer in [HOLD, SESSION, HOLD] {
        assert_eq!(harness.move_to_another_process().expect("they are read").len(), 1);
        harness.run(Duration::from_secs(20));
        let now = harness.now();
        harness.endpoint(bob).reinvite(now, at_bob, Some(Body::sdp(offer))).unwrap();
        harness.settle();
        harness.answer(ann, at_ann, Some(SESSION));
        harness.run(Duration::from_secs(20));
    }
    assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob));
    harness.hang_up(ann, at_ann);
    assert!(!harness.is_up(bob, at_bob));
    harness.assert_nothing_left();
}

#[test]
fn octets_that_are_no_calls_are_refused_and_change_nothing() {
    let mut harness = to_bob();
    up(&mut harness);
    let octets = harness.octets();
    for length in 0..octets.len() {
        let mut harness = to_bob();
        let cut = harness.take_in(&octets[..length]);
        assert!(matches!(cut, Err(NotTakenIn::Unread(_))), "{length} octets");
        assert!(harness.is_idle());
    }
    let refused = harness.take_in(&octets).expect_err("there is a call");
    assert!(matches!(refused, NotTakenIn::NotEmpty), "{refused}");
}

#[test]
fn damaged_octets_are_refused_or_calls_and_no_panic() {
    let mut harness = to_bob();
    up(&mut harness);
    let octets = harness.octets();
    let (mut refused, mut calls) = (0, 0);
    for seed in 0..2_000_usize {
        let mut octets = octets.clone();
        for n in 0..1 + seed % 4 {
            let at = (seed * 7_919 + n * 104_729) % octets.len();
            octets[at] = (seed * 31 + n * 17) as u8;
        }
        match to_bob().take_in(&octets) {
            Ok(taken) => calls += taken.len(),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 200 && calls > 200, "{refused} refused, {calls} calls");
}

/// Written calls, as far as they are known here.
#[derive(Serialize, Deserialize)]
struct Octets {
    usages: Vec<Bytes>,
    lingering: Bytes,
    calls: Bytes,
}

/// Calls as another build would have written them: each has a field that this one does not know, and lacks one that
/// this one has.
fn of_another_build(octets: &mut Vec<u8>) {
    let mut read: Octets = rmp_serde::from_slice(octets).expect("octets of calls");
    let mut calls = read.calls.to_vec();
    // MessagePack: a text of fewer than 32 octets has its length in the low bits of 0xa0, nil is 0xc0.
    let key = |name: &str| [&[0xa0 | name.len() as u8], name.as_bytes()].concat();
    let lacked = [key("application"), vec![0xc0]].concat();
    let found = calls.windows(lacked.len()).filter(|part| *part == &lacked[..]).count();
    assert_eq!(found, 1, "the call has no application");
    let at = calls.windows(lacked.len()).position(|part| part == &lacked[..]).expect("found");
    calls.splice(at..at + lacked.len(), [key("of_a_later_build"), vec![0x2a]].concat());
    read.calls = calls.into();
    *octets = rmp_serde::to_vec_named(&read).expect("octets of calls");
}

#[test]
fn a_build_with_other_fields_and_another_message_takes_a_call_over() {
    let mut harness = to_bob();
    let ((ann, at_ann), (bob, at_bob)) = up(&mut harness);
    let taken = harness.move_to_another_process_with(|octets, endpoint| {
        of_another_build(octets);
        endpoint.user_agent = "b2b of tomorrow".to_owned();
    });
    assert_eq!(taken.expect("they are read").len(), 1);
    harness.wire.clear();
    let now = harness.now();
    harness.endpoint(bob).reinvite(now, at_bob, Some(Body::sdp(HOLD))).unwrap();
    harness.settle();
    let reinvite = last(&harness, ANN, "INVITE");
    assert_eq!(reinvite.field("User-Agent").as_deref(), Some("b2b of tomorrow"));
    harness.answer(ann, at_ann, Some(SESSION));
    harness.run(Duration::from_secs(20));
    assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob));
    harness.hang_up(ann, at_ann);
    assert!(!harness.is_up(bob, at_bob));
    harness.assert_nothing_left();
}
