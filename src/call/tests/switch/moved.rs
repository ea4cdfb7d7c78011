//! Calls that go on in another process, which may have calls of its own, and octets that are no calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallService, DialRequest, Place};
use b2b_call::switch::CallSnapshot;
use b2b_call::switch::restore::NotTakenIn;
use b2b_call::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::{Body, Event, InDialog, Reply, ServerTransactionId, UsageEvent};
use b2b_sip::msg::Method;
use b2b_testkit::{Harness, PartyId, SESSION, Termination, UsageId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hand::last;
use crate::routed::{ANN, BOB, CAT, to_bob, uri};
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

/// Bob is called for a program, and answers with this. Returns the program, and Bob's call.
fn originated(harness: &mut Harness, session: Option<&'static str>) -> (PartyId, UsageId, Option<LegId>) {
    let (service, bob) = (harness.service(), harness.party(BOB));
    let soon = Duration::from_secs(1);
    let (_, leg) = harness.wait(soon, service.originate(DialRequest::to(uri(BOB)))).expect("a call");
    let call = harness.next_call(bob);
    harness.ring(bob, call, 180, None);
    let Some(session) = session else {
        // The program ends with its process.
        let _leg = std::mem::ManuallyDrop::new(leg);
        return (bob, call, None);
    };
    harness.answer(bob, call, Some(session));
    let leg = harness.wait(soon, leg).expect("a leg");
    (bob, call, Some(leg))
}

#[test]
fn whoever_was_called_for_a_program_is_not_kept_when_its_process_has_ended() {
    for session in [None, Some(SESSION)] {
        let mut harness = Harness::new(Instant::now(), vec![]);
        let (bob, call, _) = originated(&mut harness, session);
        assert_eq!(harness.move_to_another_process().expect("they are read").len(), 1);
        harness.run(Duration::from_secs(1));
        let cancelled = matches!(harness.ended(bob, call), Some(Termination::RemoteCancel { .. }));
        assert_eq!((harness.is_up(bob, call), cancelled), (false, session.is_none()));
        harness.assert_nothing_left();
    }
}

#[test]
fn a_party_that_waits_for_commands_or_is_being_joined_goes_on_when_the_process_has_ended() {
    for (joins, answers) in [(false, false), (true, true), (true, false)] {
        let mut harness = Harness::new(Instant::now(), vec![]);
        let (bob, call, leg) = originated(&mut harness, Some(SESSION));
        let (service, leg, cat) = (harness.service(), leg.expect("it is answered"), harness.party(CAT));
        let soon = Duration::from_secs(1);
        if joins {
            let joined = service.dial_and_bridge(leg, DialRequest::to(uri(CAT)));
            let mut joined = Box::pin(joined);
            let _ = harness.wait(soon, async {
                tokio::select! { biased; it = &mut joined => Some(it), () = async {} => None }
            });
            let _joined = std::mem::ManuallyDrop::new(joined);
        } else {
            let of = harness.snapshot().remove(0).call;
            harness.wait(soon, service.enter(of, Place::Program)).expect("it waits");
        }
        assert_eq!(harness.move_to_another_process().expect("they are read").len(), 1);
        harness.run(Duration::from_secs(1));
        assert!(harness.is_up(bob, call));
        if joins {
            let c = harness.next_call(cat);
            if answers {
                harness.answer(cat, c, Some(SESSION));
                assert!(harness.is_up(cat, c));
            } else {
                harness.reject(cat, c, 486);
            }
        }
        harness.run(Duration::from_secs(60));
        assert_eq!(harness.is_up(bob, call), !joins || answers, "nothing else would end it");
        harness.hang_up_all();
        harness.assert_nothing_left();
    }
}

/// Each call, its legs and its bridge.
fn numbers(harness: &Harness) -> Vec<(CallId, Vec<LegId>, Option<BridgeId>)> {
    let legs = |it: &CallSnapshot| it.legs.iter().map(|leg| leg.leg).collect();
    let calls = harness.snapshot().into_iter();
    calls.map(|it| (it.call, legs(&it), it.bridge.map(|bridge| bridge.bridge))).collect()
}

/// A MESSAGE of `from`, which `to` has yet to answer.
fn asked(harness: &mut Harness, from: (PartyId, UsageId), to: PartyId) -> ServerTransactionId {
    let now = harness.now();
    let request = InDialog { method: Method::Message, headers: Vec::new(), body: None };
    harness.endpoint(from.0).request(now, from.1, request).unwrap();
    harness.settle();
    let transaction = |event| match event {
        Event::Usage { event: UsageEvent::Request { transaction, .. }, .. } => Some(transaction),
        _ => None,
    };
    harness.take(to).into_iter().find_map(transaction).expect("a MESSAGE")
}

#[test]
fn a_call_goes_on_in_a_switch_whose_own_calls_have_its_numbers() {
    let mut harness = to_bob();
    let ((ann, at_ann), (bob, at_bob)) = up(&mut harness);
    let (stays, _) = (harness.call(ann, "bob", Some(SESSION)), harness.answer_next(bob, SESSION));
    let here = numbers(&harness);
    let of_bob = asked(&mut harness, (bob, at_bob), ann);
    let mut other = harness.beside(to_bob());
    harness.change_process(&mut other);
    let cat = harness.party(CAT);
    let (at_cat, own) = (harness.call(cat, "bob", Some(SESSION)), harness.answer_next(bob, SESSION));
    let there = numbers(&harness);
    assert_eq!(there, here[..1]);
    let of_cat = asked(&mut harness, (cat, at_cat), bob);
    harness.change_process(&mut other);
    let given = harness.give(&[here[0].0], &mut other);
    let both = numbers(&harness);
    assert_eq!((both.len(), &both[0], both[1].0), (2, &there[0], given[0]));
    let ((call, legs, bridge), (other_call, other_legs, other_bridge)) = (&both[0], &both[1]);
    assert!(call != other_call && bridge != other_bridge && other_legs.len() == 2);
    assert!(legs.iter().all(|leg| !other_legs.contains(leg)), "{both:?}");

    let now = harness.now();
    harness.endpoint(ann).respond(now, of_bob, Reply::status(202)).unwrap();
    harness.endpoint(bob).respond(now, of_cat, Reply::status(415)).unwrap();
    harness.settle();
    for (asker, status) in [(bob, 202), (cat, 415)] {
        let told = harness.take(asker).into_iter().find_map(|event| match event {
            Event::Usage { event: UsageEvent::Response { result: Ok(response), .. }, .. } => {
                Some(response.status())
            }
            _ => None,
        });
        assert_eq!(told, Some(status));
    }
    let offers =
        [((bob, at_bob), (ann, at_ann)), ((cat, at_cat), (bob, own)), ((ann, at_ann), (bob, at_bob))];
    for ((from, usage), (to, at_to)) in offers {
        let now = harness.now();
        harness.endpoint(from).reinvite(now, usage, Some(Body::sdp(HOLD))).unwrap();
        harness.settle();
        harness.answer(to, at_to, Some(SESSION));
        harness.run(Duration::from_secs(20));
    }
    harness.hang_up(bob, at_bob);
    assert!(!harness.is_up(ann, at_ann) && harness.is_up(cat, at_cat) && harness.is_up(bob, own));
    harness.hang_up(cat, at_cat);
    assert!(!harness.is_up(bob, own) && harness.is_up(ann, stays));
    harness.change_process(&mut other);
    harness.hang_up(ann, stays);
    for records in [2, 4] {
        harness.assert_nothing_left();
        assert_eq!(harness.records().len(), records);
        harness.change_process(&mut other);
    }
}

#[test]
fn a_call_keeps_its_numbers_where_they_are_free_and_comes_back_with_them() {
    let mut harness = to_bob();
    let ((ann, at_ann), (bob, at_bob)) = up(&mut harness);
    let here = numbers(&harness);
    let mut other = harness.beside(to_bob());
    harness.change_process(&mut other);
    let cat = harness.party(CAT);
    let before = harness.call(cat, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.hang_up(cat, before);
    // In the slots of the given call, and under other numbers.
    let (at_cat, own) = (harness.call(cat, "bob", Some(SESSION)), harness.answer_next(bob, SESSION));
    harness.change_process(&mut other);
    for _ in 0..2 {
        let given = harness.give(&[here[0].0], &mut other);
        assert_eq!(given, [here[0].0]);
        assert!(numbers(&harness).contains(&here[0]), "{:?}", numbers(&harness));
        harness.run(Duration::from_secs(40));
    }
    assert_eq!(numbers(&harness), here);
    harness.hang_up(bob, at_bob);
    harness.change_process(&mut other);
    harness.hang_up(bob, own);
    assert!(!harness.is_up(ann, at_ann) && !harness.is_up(cat, at_cat));
    harness.assert_nothing_left();
    harness.change_process(&mut other);
    harness.assert_nothing_left();
}

#[test]
fn a_handler_with_a_call_is_given_another_one_and_keeps_its_own() {
    let (mut harness, ann, at_ann) = with_a_handler(false);
    let mut other = harness.beside(Harness::new(harness.now(), vec![Arc::new(Waits { resumes: true })]));
    harness.change_process(&mut other);
    let (bob, cat) = (harness.party(BOB), harness.party(CAT));
    let at_cat = harness.call(cat, "anybody", Some(SESSION));
    harness.run(Duration::from_secs(2));
    harness.change_process(&mut other);
    let call = harness.snapshot()[0].call;
    harness.give(&[call], &mut other);
    harness.run(Duration::from_secs(1));
    let at_bob = harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(1));
    assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob) && harness.is_up(cat, at_cat));
    harness.hang_up(ann, at_ann);
    assert!(!harness.is_up(bob, at_bob) && harness.is_up(cat, at_cat));
    harness.hang_up(cat, at_cat);
    harness.assert_nothing_left();
    harness.change_process(&mut other);
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
    assert!(matches!(refused, NotTakenIn::Here), "{refused}");
    assert_eq!(harness.snapshot().len(), 1);
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
