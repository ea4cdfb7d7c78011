//! A process that ends while something is under way: what is left of a call that is over, records and refusals, has not
//! left, or media has not answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::cdr::Cdr;
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallService, DialRequest};
use b2b_testkit::{Handler, Harness, Moment, SESSION};

use crate::routed::{ANN, BOB, CAT, recorded, uri};
use crate::transfers;

pub fn desk() -> Vec<Arc<dyn ApplicationHandler>> {
    let decide = |call: IncomingCall, _: CallService| async move {
        match call.called().as_str() {
            "busy" => HandlerAction::Reject { status: 486, reason: String::new() },
            _ => HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB)))),
        }
    };
    vec![Arc::new(Handler(decide))]
}

pub fn surviving() -> Harness {
    let mut harness = Harness::new(Instant::now(), desk());
    harness.survives();
    harness
}

#[test]
fn a_record_that_waits_for_counters_is_written_once_by_the_next_process() {
    let mut harness = surviving();
    harness.media().say_nothing();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let at_ann = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.hang_up(ann, at_ann);
    assert!(harness.snapshot().is_empty() && harness.records().is_empty());
    // In the turn in which it would wait no longer.
    harness.dies_after(1, Moment::BeforeRecord);
    harness.run(Duration::from_secs(3));
    assert!(harness.is_down());
    harness.comes_back(desk(), |_| {});
    let records = harness.records();
    assert_eq!(records.len(), 2, "{records:?}");
    assert!(records.iter().all(|it| it.answered.is_some() && it.codec.is_some() && it.quality.is_none()));
    // In the process after that one, nothing is left.
    harness.dies_after(1, Moment::BeforeRecord);
    harness.call(ann, "busy", Some(SESSION));
    assert!(harness.is_down());
    harness.comes_back(desk(), |_| {});
    assert!(harness.records().is_empty());
    harness.run(Duration::from_secs(400));
    harness.assert_nothing_held();
}

#[test]
fn a_refusal_that_has_not_left_leaves_from_the_next_process() {
    let mut harness = surviving();
    let ann = harness.party(ANN);
    harness.dies_after(1, Moment::BeforeMessages);
    let refused = harness.call(ann, "busy", Some(SESSION));
    assert!(harness.is_down());
    harness.comes_back(desk(), |_| {});
    harness.run(Duration::from_secs(2));
    assert!(harness.ended(ann, refused).is_some());
    harness.run(Duration::from_secs(400));
    harness.assert_nothing_held();
    let statuses: Vec<_> = harness.records().iter().map(|it| it.ending.sip_status).collect();
    assert_eq!(statuses, [Some(486)], "one call");
    assert_eq!(harness.counters_of_all().incoming, 1);
}

#[test]
fn a_leg_whose_media_was_not_written_yet_ends_and_the_others_talk_on() {
    let mut harness = transfers::harness(BridgeMode::Intercepting);
    harness.survives();
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let at_ann = harness.call(ann, "bob", Some(SESSION));
    let at_bob = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.media().write_no_more();
    harness.refer(ann, at_ann, format!("<{}>", uri(CAT)));
    let at_cat = harness.next_call(cat);
    harness.dies_after(1, Moment::BeforeMessages);
    harness.ring(cat, at_cat, 180, None);
    assert!(harness.is_down());
    harness.comes_back(desk(), |_| {});
    harness.run(Duration::from_secs(1));
    assert!(harness.ended(cat, at_cat).is_some(), "it is cancelled");
    let (_, progress) = transfers::told(&mut harness, ann);
    assert_eq!(progress.last(), Some(&(503, true)), "{progress:?}");
    assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob));
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(ann, at_ann);
    assert!(!harness.is_up(bob, at_bob));
    harness.run(Duration::from_secs(400));
    harness.assert_nothing_held();
    assert_eq!(harness.records().len(), 3);
}

/// The server dies three times in a row while media does not answer.
fn recording_goes_on(has_begun: bool) {
    let (mut harness, ann, at_ann) = recorded();
    harness.survives();
    let (call, service) = (harness.snapshot()[0].call, harness.service());
    if !has_begun {
        harness.media().hold_endpoints();
    }
    harness.wait(Duration::from_secs(1), async move { service.record_call(call, None).await }).unwrap();
    harness.media().hold_endpoints();
    for _ in 0..3 {
        harness.dies_after(1, Moment::BeforeRecord);
        harness.call(ann, "busy", Some(SESSION));
        assert!(harness.is_down());
        harness.comes_back(desk(), |_| {});
        assert_eq!(harness.snapshot()[0].recording, None);
    }
    harness.media().open_endpoints();
    harness.run(Duration::from_secs(1));
    let files: HashSet<_> = harness.media().recordings().into_iter().map(|(_, it)| it.spec.path).collect();
    let file = harness.snapshot().remove(0).recording.unwrap().file;
    assert_eq!(files, HashSet::from([file.clone().into()]));
    harness.hang_up(ann, at_ann);
    harness.run(Duration::from_secs(400));
    harness.assert_nothing_held();
    let files =
        |it: Cdr| it.variables.into_iter().find(|(name, _)| name == "recording").map(|(_, files)| files);
    let told: Vec<_> = harness.records().into_iter().filter_map(files).collect();
    assert_eq!(told, [file.clone(), file], "once for each leg");
}

#[test]
fn a_recording_that_media_is_asked_for_again_outlives_another_death() {
    recording_goes_on(true);
}

#[test]
fn a_recording_that_is_about_to_begin_outlives_its_process() {
    recording_goes_on(false);
}
