//! Calls that continue from their snapshots in another process, and invalid or forged snapshots.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::controller::MediaEvent;
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::journal::{SNAPSHOT_VERSION, Snapshot, SnapshotError};
use b2b_call::service::{CallService, DialRequest};
use b2b_call::switch::NotWhole;
use b2b_call::switch::restore::Lost;
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
    assert!(harness.move_to_another_process().is_empty());
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
    assert!(harness.move_to_another_process().is_empty());
    harness.run(Duration::from_secs(1));
    assert!(!harness.is_up(ann, call));
    assert!(harness.wire.iter().any(|it| it.line().starts_with("BYE ")));
    harness.assert_nothing_left();
}

#[test]
fn calls_that_talk_go_on_in_another_process_and_are_replayed_whole_at_their_end() {
    let mut harness = to_bob();
    let ((ann, at_ann), (bob, at_bob)) = up(&mut harness);
    for offer in [HOLD, SESSION, HOLD] {
        assert!(harness.move_to_another_process().is_empty());
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
    // Its journal contains the inputs from each of the processes.
    harness.assert_nothing_left();
    let journal = harness.journals().pop().expect("a journal");
    assert_eq!(journal.matches("\"INVITE sip").count(), 4, "{journal}");
}

/// A snapshot of a call that is up.
fn snapshot() -> Vec<u8> {
    let mut harness = to_bob();
    up(&mut harness);
    harness.snapshots().expect("it is whole").pop().expect("a call")
}

#[test]
fn octets_that_are_no_snapshot_are_refused_with_what_is_wrong() {
    let octets = snapshot();
    assert!(Snapshot::from_bytes(&octets).is_ok());
    assert_eq!(Snapshot::from_bytes(b"").unwrap_err(), SnapshotError::Mark);
    assert_eq!(Snapshot::from_bytes(b"INVITE sip:bob@192.0.2.1 SIP/2.0").unwrap_err(), SnapshotError::Mark);
    let mut newer = octets.clone();
    newer[8] += 1;
    assert_eq!(Snapshot::from_bytes(&newer).unwrap_err(), SnapshotError::Version(SNAPSHOT_VERSION + 1));
    for length in 8..octets.len() {
        let cut = Snapshot::from_bytes(&octets[..length]);
        assert!(matches!(cut, Err(SnapshotError::Damaged(_))), "{length} octets");
    }
    for at in 12..octets.len() {
        let mut other = octets.clone();
        other[at] ^= 1 << (at % 8);
        assert!(matches!(Snapshot::from_bytes(&other), Err(SnapshotError::Damaged(_))), "octet {at}");
    }
}

#[test]
fn a_liars_snapshot_is_lost_or_a_call_and_nothing_worse() {
    let (mut lost, mut calls) = (0, 0);
    for seed in 0..60_usize {
        let mut harness = to_bob();
        up(&mut harness);
        harness.has_no_replay();
        let liars = harness.move_to_another_process_with(|octets| {
            for octets in octets {
                let lie = Snapshot::from_bytes(octets).unwrap().with_records(|records| {
                    for n in 0..1 + seed % 4 {
                        let at = (seed * 7_919 + n * 104_729) % records.len();
                        records[at] = (seed * 31 + n * 17) as u8;
                    }
                    if seed % 5 == 0 {
                        records.truncate(records.len() * (seed % 97) / 97);
                    }
                });
                *octets = lie.to_bytes().unwrap();
            }
        });
        lost += liars.len();
        calls += harness.snapshot().len();
        harness.run(Duration::from_secs(3));
        harness.hang_up_all();
        harness.run(Duration::from_secs(100));
        assert_eq!(harness.counters().impossible_at, None);
        assert!(harness.snapshot().is_empty(), "seed {seed}");
    }
    assert!(lost > 20 && calls > 2, "{lost} lost, {calls} calls");
}

#[test]
fn a_call_whose_journal_is_cut_is_not_written_and_says_so() {
    let mut harness = to_bob();
    up(&mut harness);
    let endpoint = harness.callers_endpoint();
    for _ in 0..5_000 {
        harness.media_event(MediaEvent::Digit {
            endpoint,
            digit: '7',
            duration_ms: 90,
            passed_on: true,
            by_tone: false,
        });
    }
    let call = harness.snapshot()[0].call;
    assert_eq!(harness.snapshots().unwrap_err(), NotWhole::Cut(call));
}

#[test]
fn a_call_whose_run_is_not_what_was_is_lost_and_leaves_the_others_alone() {
    let mut harness = to_bob();
    let ((ann, at_ann), (bob, at_bob)) = up(&mut harness);
    let other = harness.call(ann, "bob", Some(SESSION));
    let at_bob_too = harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(2));
    let lost: Vec<Lost> = harness.move_to_another_process_with(|octets| {
        // As written by a program that behaves differently.
        let text = |it: &[u8]| Snapshot::from_bytes(it).unwrap().text(Instant::now());
        assert_eq!(octets.len(), 2);
        assert!(text(&octets[0]).contains("\"INVITE "));
        let otherwise = Snapshot::from_bytes(&octets[0]).unwrap().with_records(|records| {
            let place = records.windows(4).position(|it| it == b"leg\xce").expect("a fact");
            records[place..place + 3].copy_from_slice(b"lag");
        });
        octets[0] = otherwise.to_bytes().unwrap();
    });
    assert_eq!(lost.len(), 1);
    assert!(lost[0].why.contains("the call asks for"), "{lost:?}");
    let calls = harness.snapshot();
    assert_eq!((calls.len(), calls[0].legs.len()), (1, 2));
    let _ = (at_ann, at_bob);
    harness.has_no_replay();
    let left = calls[0].call;
    assert!(!lost[0].calls.contains(&left));
    for (party, usage) in [(ann, at_ann), (ann, other), (bob, at_bob), (bob, at_bob_too)] {
        if harness.is_up(party, usage) {
            harness.hang_up(party, usage);
        }
    }
    harness.run(Duration::from_secs(400));
    assert!(harness.is_idle());
}

#[test]
fn a_call_that_is_in_no_snapshot_is_told_of() {
    let mut harness = to_bob();
    up(&mut harness);
    let call = harness.snapshot()[0].call;
    harness.has_no_replay();
    let lost = harness.restart_with(|octets| octets.clear());
    assert_eq!(lost.iter().flat_map(|it| it.calls.clone()).collect::<Vec<_>>(), [call]);
    assert!(harness.snapshot().is_empty() && harness.is_idle());
}
