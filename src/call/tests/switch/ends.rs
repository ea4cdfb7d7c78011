//! The reported ends of legs, bridges and calls: who ended them, and when.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use b2b_call::leg_fsm::TerminationCause;
use b2b_call::service::{CallEnd, CallError, Watched};
use b2b_call::{BridgeId, CallId, LegId};
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};

use crate::routed::{ANN, BOB, to_bob};

type Ends = Pin<Box<dyn Future<Output = Result<CallEnd, CallError>>>>;

/// A call of Ann with Bob for one minute, and watchers of the ends of everything in it.
struct Watched4 {
    harness: Harness,
    ann: (PartyId, UsageId),
    bob: (PartyId, UsageId),
    call: CallId,
    bridge: BridgeId,
    legs: [LegId; 2],
    /// The ends of the caller's leg, the callee's, the bridge, the call.
    ends: [Ends; 4],
}

fn watched() -> Watched4 {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(60));
    let snapshot = harness.snapshot().remove(0);
    let bridge = snapshot.bridge.expect("a bridge").bridge;
    let legs = [snapshot.legs[0].leg, snapshot.legs[1].leg];
    let of = |what: Watched| -> Ends {
        let service = harness.service();
        Box::pin(async move { service.wait_for_termination(what).await })
    };
    let mut ends = [of(legs[0].into()), of(legs[1].into()), of(bridge.into()), of(snapshot.call.into())];
    assert!(ends.iter_mut().all(|end| told(end).is_none()));
    harness.settle();
    Watched4 { harness, ann: (ann, a), bob: (bob, b), call: snapshot.call, bridge, legs, ends }
}

fn told(end: &mut Ends) -> Option<Result<CallEnd, CallError>> {
    match end.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(told) => Some(told),
        Poll::Pending => None,
    }
}

impl Watched4 {
    /// Who ended the caller's leg, the callee's, the bridge and the call.
    fn by(&mut self) -> [Option<LegId>; 4] {
        self.harness.run(Duration::from_secs(1));
        self.ends.each_mut().map(|end| {
            let end = told(end).expect("over").expect("known");
            let talked = end.talked.expect("answered");
            assert!((60..62).contains(&talked.as_secs()), "{talked:?}");
            assert_eq!(end.answered_at(), Some(end.at - talked));
            let at = end.at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            assert!((60..63).contains(&at), "the clock of the harness begins at the epoch: {at}");
            end.by
        })
    }

    fn accounted(&mut self) -> Option<LegId> {
        let (call, bridge) = (self.call, self.bridge);
        let report = self.harness.report(call).expect("an account");
        let verdict = report.verdicts.iter().find(|it| it.bridge == bridge).expect("a verdict");
        assert!(verdict.ended_ms.is_some());
        verdict.ended_by
    }
}

#[test]
fn who_hangs_up_has_ended_its_leg_the_other_one_the_bridge_and_the_call() {
    for bobs in [false, true] {
        let mut it = watched();
        let (party, usage) = if bobs { it.bob } else { it.ann };
        it.harness.hang_up(party, usage);
        let who = Some(it.legs[usize::from(bobs)]);
        assert_eq!(it.by(), [who; 4], "Bob hangs up: {bobs}");
        assert_eq!(it.accounted(), who);
    }
}

#[test]
fn no_party_has_ended_what_a_program_hangs_up() {
    let mut it = watched();
    let (service, leg) = (it.harness.service(), it.legs[1]);
    assert_eq!(it.harness.wait(Duration::from_secs(1), service.hangup(leg)), Ok(()));
    assert_eq!(it.by(), [None; 4]);
    assert_eq!(it.accounted(), None);
}

#[test]
fn a_caller_who_gives_up_has_ended_the_call_and_what_rang_for_it() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    let snapshot = harness.snapshot().remove(0);
    let legs = [snapshot.legs[0].leg, snapshot.legs[1].leg];
    harness.cancel(ann, a);
    harness.run(Duration::from_secs(1));
    let service = harness.service();
    for what in [Watched::from(legs[0]), legs[1].into(), snapshot.call.into()] {
        let end = harness.wait(Duration::from_secs(1), service.wait_for_termination(what)).expect("over");
        assert_eq!((end.by, end.talked, end.answered_at()), (Some(legs[0]), None, None), "{what:?}");
        assert_eq!(end.cause, TerminationCause::Cancelled);
    }
    harness.assert_nothing_left();
}
