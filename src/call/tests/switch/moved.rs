//! Calls that go on in another process, and octets that are no calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallService, DialRequest};
use b2b_call::switch::restore::NotTakenIn;
use b2b_sip::endpoint::Body;
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};

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
