//! Transfers: blind and attended by REFER, and Replaces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::bus::Received;
use b2b_call::call_fsm::CallState;
use b2b_call::event::{Event as News, EventFilter};
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, DialOptions, DialRequest, Place};
use b2b_sip::endpoint::{Body, Event, Invite, Termination, UsageEvent, UsageId};
use b2b_testkit::{B2B, Handler, Harness, PartyId, SESSION};
use bytes::Bytes;

use crate::routed::{ANN, BOB, CAT, contacts, uri};

/// `bob` is Bob, `cat` is Cat; b2b handles REFER itself or passes it on.
pub fn harness(mode: BridgeMode) -> Harness {
    let handler = Handler(move |call: IncomingCall, _: CallService| async move {
        let address = if call.called() == "bob" { BOB } else { CAT };
        let options = DialOptions { mode, ..DialOptions::default() };
        HandlerAction::Dial(Box::new(contacts(&[(address, 0)], options)))
    });
    Harness::new(Instant::now(), vec![Arc::new(handler)])
}

/// The transfer status that a referrer has received.
pub fn told(harness: &mut Harness, party: PartyId) -> (Option<u16>, Vec<(u16, bool)>) {
    let mut answered = None;
    let mut progress = Vec::new();
    for event in harness.take(party) {
        match event {
            Event::Usage { event: UsageEvent::ReferAnswered { result, .. }, .. } => {
                answered = result.ok().map(|response| response.status());
            }
            Event::Usage { event: UsageEvent::ReferProgress { status, last, .. }, .. } => {
                progress.extend(status.map(|(status, _)| (status, last)));
            }
            _ => {}
        }
    }
    (answered, progress)
}

/// An INVITE that replaces a party in its call.
pub fn replacing(harness: &mut Harness, party: PartyId, usage: UsageId) -> Invite {
    let replaces = harness.replaces(party, usage).expect("a dialog");
    Invite {
        target: Bytes::from(format!("sip:bob@{B2B}")),
        headers: vec![("Replaces".into(), replaces.to_string().into())],
        body: Some(Body::sdp(SESSION)),
        ..Invite::default()
    }
}

/// A party answers the re-INVITE that it received.
pub fn refresh(harness: &mut Harness, party: PartyId, usage: UsageId) {
    harness.answer(party, usage, Some(SESSION));
}

#[test]
fn a_blind_transfer_joins_who_stays_with_the_target_and_tells_how_it_goes() {
    for caller_transfers in [true, false] {
        let mut harness = harness(BridgeMode::Intercepting);
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        let ((leaves, leaving), (stays, staying)) =
            if caller_transfers { ((ann, a), (bob, b)) } else { ((bob, b), (ann, a)) };
        harness.take(leaves);
        harness.refer(leaves, leaving, format!("<{}>", uri(CAT)));
        let c = harness.next_call(cat);
        let cat_at = CAT.parse().unwrap();
        let invite = harness.wire.iter().find(|it| it.to == cat_at && it.line().starts_with("INVITE"));
        let from = invite.unwrap().field("From").unwrap();
        let shown = if caller_transfers { "<sip:callee@" } else { "<sip:party1@" };
        assert!(from.starts_with(shown), "whom Cat will talk to: {from}");
        harness.ring(cat, c, 180, None);
        let dialling = harness.snapshot().remove(0).dialling.expect("the target rings");
        assert!(dialling.transfer && dialling.targets == [uri(CAT)], "{dialling:?}");
        harness.answer(cat, c, Some(SESSION));
        assert_eq!(harness.snapshot()[0].dialling, None);
        let (answered, progress) = told(&mut harness, leaves);
        assert_eq!(answered, Some(202));
        assert_eq!(progress.last(), Some(&(200, true)), "{progress:?}");
        assert!(progress.contains(&(180, false)), "{progress:?}");
        refresh(&mut harness, stays, staying);
        harness.run(Duration::from_secs(3));
        assert!(!harness.is_up(leaves, leaving));
        assert!(harness.is_up(stays, staying) && harness.is_up(cat, c));
        assert_eq!(harness.media().bridges().len(), 1);
        harness.hang_up(cat, c);
        assert!(!harness.is_up(stays, staying));
        harness.assert_nothing_left();
    }
}

#[test]
fn a_blind_transfer_that_nobody_answers_leaves_the_old_parties_talking() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    let c = harness.next_call(cat);
    harness.reject(cat, c, 486);
    let (answered, progress) = told(&mut harness, ann);
    assert_eq!((answered, progress.last()), (Some(202), Some(&(486, true))));
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(ann, a);
    assert!(!harness.is_up(bob, b));
    harness.assert_nothing_left();
}

#[test]
fn a_referrer_who_hangs_up_at_once_does_not_end_the_transfer() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    harness.hang_up(ann, a);
    assert!(harness.is_up(bob, b), "Bob is on the way to Cat");
    let c = harness.answer_next(cat, SESSION);
    refresh(&mut harness, bob, b);
    assert!(harness.is_up(bob, b) && harness.is_up(cat, c));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn an_attended_transfer_joins_the_far_ends_of_two_calls() {
    for mode in [BridgeMode::Intercepting, BridgeMode::Translating, BridgeMode::Transparent] {
        let mut harness = harness(mode);
        let mut states = harness.bus().subscribe_to(EventFilter::all().of_types("call_state").unwrap());
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        let consultation = harness.call(ann, "cat", Some(SESSION));
        let c = harness.answer_next(cat, SESSION);
        harness.take(ann);
        let replaces = harness.replaces(ann, consultation).expect("a dialog");
        harness.refer(ann, a, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
        let (answered, progress) = told(&mut harness, ann);
        assert_eq!((answered, progress.last()), (Some(202), Some(&(200, true))), "{progress:?}");
        refresh(&mut harness, bob, b);
        refresh(&mut harness, cat, c);
        harness.run(Duration::from_secs(3));
        assert!(!harness.is_up(ann, a) && !harness.is_up(ann, consultation));
        assert!(harness.is_up(bob, b) && harness.is_up(cat, c));
        let moved: Vec<CallState> = std::iter::from_fn(|| states.try_recv())
            .filter_map(|received| match received {
                Received::Event(it) => match it.event {
                    News::CallState { to, .. } => Some(to),
                    _ => None,
                },
                Received::Lagged(_) => None,
            })
            .collect();
        let merges = moved.iter().position(|state| *state == CallState::Merging).expect("merging is told");
        assert_eq!(moved.get(merges + 1), Some(&CallState::Bridged), "{moved:?}");
        assert_eq!(harness.media().bridges().len(), 1);
        assert_eq!(harness.holdings().0.calls, 1);
        harness.hang_up(bob, b);
        assert!(!harness.is_up(cat, c));
        let records = harness.records();
        let calls: std::collections::HashSet<_> = records.iter().map(|it| it.call.0).collect();
        assert_eq!((records.len(), calls.len()), (4, 2), "one a leg, in two calls");
        assert!(records.iter().all(|it| it.linked == records[0].linked), "{records:?}");
        harness.assert_nothing_left();
    }
}

#[test]
fn an_attended_transfer_to_a_phone_that_still_rings_lets_who_stays_wait_for_it() {
    for answers in [true, false] {
        let mut harness = harness(BridgeMode::Intercepting);
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        let consultation = harness.call(ann, "cat", Some(SESSION));
        let c = harness.next_call(cat);
        harness.ring(cat, c, 180, None);
        harness.take(ann);
        let replaces = harness.replaces(ann, consultation).expect("a dialog");
        harness.refer(ann, a, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
        match harness.ended(ann, consultation) {
            Some(Termination::Failed { response }) => assert_eq!(response.status(), 487),
            other => panic!("{other:?}"),
        }
        let (answered, progress) = told(&mut harness, ann);
        assert_eq!((answered, progress.last()), (Some(202), Some(&(180, false))), "{progress:?}");
        assert!(harness.is_up(ann, a) && harness.is_up(bob, b), "they talk until somebody answers");
        if answers {
            harness.answer(cat, c, Some(SESSION));
            assert_eq!(told(&mut harness, ann).1.last(), Some(&(200, true)));
            refresh(&mut harness, bob, b);
            harness.run(Duration::from_secs(3));
            assert!(!harness.is_up(ann, a));
            assert!(harness.is_up(bob, b) && harness.is_up(cat, c));
            assert_eq!((harness.media().bridges().len(), harness.media().held()), (1, 2));
            harness.hang_up(bob, b);
            assert!(!harness.is_up(cat, c));
        } else {
            harness.reject(cat, c, 486);
            assert_eq!(told(&mut harness, ann).1.last(), Some(&(486, true)));
            assert!(harness.is_up(ann, a) && harness.is_up(bob, b), "they talk on");
            harness.hang_up(ann, a);
        }
        harness.assert_nothing_left();
    }
}

#[test]
fn a_transparent_bridge_passes_refer_and_its_news_on() {
    let mut harness = harness(BridgeMode::Transparent);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.take(bob);
    harness.refer(ann, a, "<sip:cat@example.com>".to_owned());
    let asked = harness.take(bob).into_iter().find_map(|event| match event {
        Event::Usage { event: UsageEvent::Refer { refer, .. }, .. } => Some(refer),
        _ => None,
    });
    let asked = asked.expect("a REFER");
    let now = harness.now();
    let accepted = b2b_sip::endpoint::Reply::status(202);
    harness.endpoint(bob).answer_refer(now, b, asked, accepted).unwrap();
    harness.endpoint(bob).notify_refer(now, b, asked, 200, "").unwrap();
    harness.settle();
    let (answered, progress) = told(&mut harness, ann);
    assert_eq!((answered, progress.last()), (Some(202), Some(&(200, true))));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn an_invite_with_replaces_takes_the_place_of_its_sender_s_other_phone() {
    let mut harness = harness(BridgeMode::Transparent);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(bob);
    // Cat picks up the call that Ann has on hold.
    let invite = replacing(&mut harness, ann, a);
    let c = harness.invite(cat, invite);
    harness.answer(bob, b, Some(SESSION));
    assert!(harness.is_up(cat, c) && harness.is_up(bob, b));
    assert!(matches!(harness.ended(ann, a), Some(Termination::RemoteBye { .. })));
    assert_eq!(harness.holdings().0.calls, 1);
    harness.hang_up(cat, c);
    assert!(!harness.is_up(bob, b));
    harness.assert_nothing_left();
}

#[test]
fn nobody_is_transferred_from_a_call_in_which_a_place_is_being_taken() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(bob);
    let (call, second) = (harness.snapshot()[0].call, Duration::from_secs(1));
    let invite = replacing(&mut harness, ann, a);
    let c = harness.invite(cat, invite);
    harness.settle();
    // A program may set a call's place at any time: the transfer then ends.
    let service = harness.service();
    for place in [Place::Queue, Place::Handler] {
        assert_eq!(harness.wait(second, service.enter(call, place)), Ok(()));
    }
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    assert_eq!(told(&mut harness, ann).0, Some(491));
    let leg = harness.snapshot().iter().find(|it| it.call == call).unwrap().legs[0].leg;
    let transfer = harness.wait(second, service.transfer(leg, &uri(CAT)));
    assert_eq!(transfer, Err(CallError::WrongState("a transfer is under way")));
    harness.answer(bob, b, Some(SESSION));
    assert!(harness.is_up(cat, c) && harness.is_up(bob, b) && !harness.is_up(ann, a));
    harness.hang_up(cat, c);
    harness.assert_nothing_left();
}

#[test]
fn an_application_transfers_a_party() {
    let mut harness = harness(BridgeMode::Transparent);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let service = harness.service();
    let calls = harness.snapshot();
    let leg = calls[0].legs.iter().find(|leg| leg.contact.is_none()).unwrap().leg;
    harness.wait(Duration::from_secs(1), service.transfer(leg, &uri(CAT))).unwrap();
    let c = harness.answer_next(cat, SESSION);
    refresh(&mut harness, bob, b);
    assert!(!harness.is_up(ann, a) && harness.is_up(bob, b) && harness.is_up(cat, c));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn a_handler_dials_and_bridges_and_hears_of_the_end() {
    let (ended, end) = std::sync::mpsc::channel();
    let handler = Handler(move |call: IncomingCall, service: CallService| {
        let ended = ended.clone();
        async move {
            let Ok(leg) = service.adopt_inbound_leg(&call).await else { return HandlerAction::Complete };
            match service.dial_and_bridge(leg, DialRequest::to(uri(BOB))).await {
                Ok(bridge) => drop(ended.send(service.wait_for_termination(bridge).await)),
                Err(error) => drop(service.reject(leg, error.status(), "").await),
            }
            HandlerAction::Complete
        }
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    assert!(harness.is_up(ann, a));
    harness.run(Duration::from_secs(60));
    harness.hang_up(bob, b);
    let end = end.try_recv().unwrap().unwrap();
    assert!(end.talked.is_some_and(|talked| talked.as_secs() == 60), "{end:?}");
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.reject(bob, b, 486);
    assert!(
        matches!(harness.ended(ann, a), Some(Termination::Failed { response }) if response.status() == 486)
    );
    harness.assert_nothing_left();
}

#[test]
fn a_handler_that_panics_ends_only_its_call() {
    let handler = Handler(|call: IncomingCall, _: CallService| async move {
        assert_ne!(call.called(), "boom", "a handler's own mistake");
        HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB))))
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let good = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    let bad = harness.call(ann, "boom", Some(SESSION));
    assert!(
        matches!(harness.ended(ann, bad), Some(Termination::Failed { response }) if response.status() == 500)
    );
    assert!(harness.is_up(ann, good));
    assert_eq!(harness.counters().panics, 1);
    harness.hang_up(ann, good);
    harness.assert_nothing_left();
}

#[test]
fn beyond_the_limit_and_while_stopping_callers_get_503_with_retry_after() {
    let mut harness = harness(BridgeMode::Transparent);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.drain();
    let refused = harness.call(ann, "bob", Some(SESSION));
    match harness.ended(ann, refused) {
        Some(Termination::Failed { response }) => {
            assert_eq!(response.status(), 503);
            assert!(response.header(b2b_sip::msg::Name::RetryAfter).is_some());
        }
        other => panic!("{other:?}"),
    }
    assert!(harness.is_up(ann, a), "calls that are up go on");
    harness.hang_up_all();
    assert!(!harness.is_up(ann, a));
    harness.assert_nothing_left();
}

#[test]
fn every_leg_has_a_record_and_those_of_a_transfer_belong_together() {
    use b2b_call::cdr::Disposition;
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    harness.answer(bob, b, Some(SESSION));
    harness.run(Duration::from_secs(10));
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    let c = harness.answer_next(cat, SESSION);
    refresh(&mut harness, bob, b);
    harness.run(Duration::from_secs(5));
    harness.hang_up(cat, c);
    let records = harness.records();
    let legs: Vec<_> = records.iter().map(|it| (it.callee.as_str(), it.ending.disposition)).collect();
    let expected = [
        ("bob", Disposition::Answered),
        (&*uri(CAT), Disposition::Answered),
        (&*uri(BOB), Disposition::Answered),
    ];
    assert_eq!(legs, expected, "in the order of their ends");
    assert!(records.iter().all(|it| it.linked == records[0].linked && it.call == records[0].call));
    assert!(records[2].rang.is_some() && records[0].answered.is_some());
    let call_ids: std::collections::BTreeSet<_> = records.iter().map(|it| &it.sip_call_id).collect();
    assert_eq!(call_ids.len(), 3);

    let refused = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.reject(bob, b, 486);
    assert!(harness.ended(ann, refused).is_some());
    let records = harness.records();
    assert!(records.iter().all(|it| it.ending.disposition == Disposition::Busy), "{records:?}");
    assert_eq!(records.len(), 2);
    harness.assert_nothing_left();
}

/// The directions of the descriptions that a party was sent in requests, and of its own answers.
fn offered_to(harness: &Harness, from: usize, address: &str) -> Vec<String> {
    let to = address.parse().unwrap();
    let invites = harness.wire[from..].iter().filter(|it| it.to == to && it.line().starts_with("INVITE"));
    let direction = |text: String| {
        let known = ["a=sendonly", "a=recvonly", "a=inactive"];
        known.into_iter().find(|it| text.contains(it)).unwrap_or("a=sendrecv").to_owned()
    };
    invites.map(|it| direction(String::from_utf8_lossy(&it.data).into_owned())).collect()
}

/// RFC 3264 §6.1: a party that answers `recvonly` to a hold has not put anyone on hold.
#[test]
fn an_attended_transfer_after_holds_lets_both_hear_each_other() {
    // The answer of a party that is put on hold.
    for answers in ["a=recvonly", "a=inactive"] {
        let holds = if answers == "a=recvonly" { "a=sendonly" } else { "a=inactive" };
        let mut harness = harness(BridgeMode::Transparent);
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        let hold = |harness: &mut Harness, usage: UsageId, (party, held): (PartyId, UsageId)| {
            let now = harness.now();
            let offer = Body::sdp(format!("{SESSION}{holds}\r\n"));
            harness.endpoint(ann).reinvite(now, usage, Some(offer)).unwrap();
            harness.settle();
            harness.answer(party, held, Some(&format!("{SESSION}{answers}\r\n")));
        };
        hold(&mut harness, a, (bob, b));
        let consultation = harness.call(ann, "cat", Some(SESSION));
        let c = harness.answer_next(cat, SESSION);
        hold(&mut harness, consultation, (cat, c));
        let replaces = harness.replaces(ann, consultation).expect("a dialog");
        let from = harness.wire.len();
        harness.refer(ann, a, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
        refresh(&mut harness, bob, b);
        refresh(&mut harness, cat, c);
        harness.run(Duration::from_secs(3));
        for party in [BOB, CAT] {
            assert_eq!(offered_to(&harness, from, party), ["a=sendrecv"], "{party}, {answers}");
        }
        assert!(harness.is_up(bob, b) && harness.is_up(cat, c));
        harness.hang_up(bob, b);
        harness.assert_nothing_left();
    }
}

/// RFC 6337 §5.3: a party's own hold continues.
#[test]
fn who_holds_itself_goes_on_with_that_after_a_transfer() {
    let mut harness = harness(BridgeMode::Transparent);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let consultation = harness.call(ann, "cat", Some(SESSION));
    let c = harness.answer_next(cat, SESSION);
    let now = harness.now();
    let held = format!("{SESSION}a=sendonly\r\n");
    harness.endpoint(cat).reinvite(now, c, Some(Body::sdp(held.clone()))).unwrap();
    harness.settle();
    harness.answer(ann, consultation, Some(&format!("{SESSION}a=recvonly\r\n")));
    let replaces = harness.replaces(ann, consultation).expect("a dialog");
    let from = harness.wire.len();
    harness.refer(ann, a, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
    harness.answer(bob, b, Some(&format!("{SESSION}a=recvonly\r\n")));
    harness.answer(cat, c, Some(&held));
    harness.run(Duration::from_secs(3));
    assert_eq!(offered_to(&harness, from, BOB), ["a=sendonly"], "Cat holds");
    assert_eq!(offered_to(&harness, from, CAT), ["a=sendrecv"], "Bob does not");
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}
