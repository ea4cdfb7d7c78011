//! Which endpoints' packets are captured in a captured call, and how many calls can be captured.

use std::time::Duration;

use b2b_call::CallId;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::EndpointId;
use b2b_call::history::CAPTURES;
use b2b_call::switch::CaptureError;
use b2b_testkit::{B2B, Harness, SESSION};

use crate::routed::{ANN, BOB, CAT, uri};
use crate::transfers::{harness, refresh};

fn captured(harness: &Harness) -> Vec<u64> {
    harness.media().captured(harness.now()).into_iter().map(|EndpointId(id)| id).collect()
}

fn calls(harness: &Harness) -> Vec<CallId> {
    harness.snapshot().iter().map(|call| call.call).collect()
}

#[test]
fn a_capture_takes_in_a_leg_that_comes_by_transfer_and_ends_with_the_call() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let call = calls(&harness)[0];
    assert_eq!(captured(&harness), [0; 0], "nobody has asked");
    let view = harness.capture(call, None).expect("it begins");
    assert!(view.running);
    assert_eq!(captured(&harness), [1, 2]);
    assert_eq!(harness.capture(call, None), Err(CaptureError::Running(call)));
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    let c = harness.next_call(cat);
    harness.answer(cat, c, Some(SESSION));
    refresh(&mut harness, bob, b);
    harness.run(Duration::from_secs(3));
    assert_eq!(captured(&harness), [2, 3], "Bob and Cat");
    harness.hang_up(cat, c);
    harness.run(Duration::from_secs(3));
    let report = harness.report(call).expect("it is kept");
    assert!(report.media_captured.is_some_and(|view| !view.running));
    assert_eq!(harness.capture(call, None), Err(CaptureError::Over(call)));
    harness.assert_nothing_left();
}

#[test]
fn a_leg_that_goes_over_into_another_call_is_captured_as_that_call_is() {
    for (asked, what) in [(0, "the call"), (1, "the consultation")] {
        let mut harness = harness(BridgeMode::Intercepting);
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        let consultation = harness.call(ann, "cat", Some(SESSION));
        let c = harness.answer_next(cat, SESSION);
        let call = calls(&harness)[asked];
        harness.capture(call, None).expect("it begins");
        assert_eq!(captured(&harness).len(), 2, "{what}");
        let replaces = harness.replaces(ann, consultation).expect("a dialog");
        harness.refer(ann, a, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
        refresh(&mut harness, bob, b);
        refresh(&mut harness, cat, c);
        harness.run(Duration::from_secs(3));
        let expected: &[u64] = if calls(&harness) == [call] { &[2, 4] } else { &[] };
        assert_eq!(captured(&harness), expected, "{what}");
        harness.hang_up(bob, b);
        harness.assert_nothing_left();
    }
}

#[test]
fn no_more_calls_are_captured_at_once_than_there_is_room_for() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    for _ in 0..=CAPTURES {
        harness.call(ann, "bob", Some(SESSION));
        harness.answer_next(bob, SESSION);
    }
    let calls = calls(&harness);
    let (last, first) = calls.split_last().expect("calls");
    for (n, call) in first.iter().enumerate() {
        let longest = (n == 0).then_some(Duration::from_secs(5));
        harness.capture(*call, longest).expect("there is room");
    }
    assert_eq!(harness.capture(*last, None), Err(CaptureError::TooMany));
    harness.run(Duration::from_secs(6));
    harness.capture(*last, None).expect("the time of the first one is over");
    assert_eq!(harness.capture(first[0], None), Err(CaptureError::TooMany));
    assert!(harness.end_capture(first[1]));
    harness.capture(first[0], None).expect("one was ended");
    assert_eq!(captured(&harness).len(), 2 * CAPTURES);
    assert_eq!(harness.capture(CallId(77), None), Err(CaptureError::NoSuchCall(CallId(77))));
    assert!(!harness.end_capture(CallId(77)));
    harness.hang_up_all();
    harness.run(Duration::from_secs(3));
    harness.assert_nothing_left();
}
