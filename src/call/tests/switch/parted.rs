//! A process that ends when a call is over, and what is left of it has not left: records and refusals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallService, DialRequest};
use b2b_testkit::{Handler, Harness, Moment, SESSION};

use crate::routed::{ANN, BOB, uri};

fn desk() -> Vec<Arc<dyn ApplicationHandler>> {
    let decide = |call: IncomingCall, _: CallService| async move {
        match call.called().as_str() {
            "busy" => HandlerAction::Reject { status: 486, reason: String::new() },
            _ => HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB)))),
        }
    };
    vec![Arc::new(Handler(decide))]
}

fn surviving() -> Harness {
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
