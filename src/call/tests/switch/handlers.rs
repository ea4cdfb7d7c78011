//! Events of handlers' calls, variables, ends.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use b2b_call::CallId;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::call_fsm::CallState;
use b2b_call::event::Event;
use b2b_call::handler::{ApplicationHandler, EventFuture, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::leg_fsm::TerminationCause;
use b2b_call::service::{CallError, CallService, DialError, DialRequest, Place};
use b2b_sip::endpoint::Termination;
use b2b_testkit::{Handler, Harness, SESSION};

use crate::routed::{ANN, BOB, CAT, DAN, uri};

type Heard = Arc<Mutex<Vec<(CallId, Event)>>>;

/// Dials Bob and records the events it gets; for some calls it never finishes, for others it panics.
#[derive(Default)]
struct Listening {
    heard: Heard,
    slow: Arc<Mutex<Option<CallId>>>,
    broken: Arc<Mutex<Option<CallId>>>,
}

impl ApplicationHandler for Listening {
    fn name(&self) -> &str {
        "listening"
    }

    fn handle_incoming_call(&self, call: IncomingCall, _: CallService) -> HandlerFuture {
        match call.called().as_str() {
            "slow" => *self.slow.lock().unwrap() = Some(call.call),
            "broken" => *self.broken.lock().unwrap() = Some(call.call),
            _ => {}
        }
        Box::pin(async { HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB)))) })
    }

    fn wants_events(&self) -> bool {
        true
    }

    fn handle_event(&self, call: CallId, event: Event, _: CallService) -> EventFuture {
        assert_ne!(*self.broken.lock().unwrap(), Some(call), "a handler's own mistake");
        if *self.slow.lock().unwrap() == Some(call) {
            return Box::pin(std::future::pending());
        }
        self.heard.lock().unwrap().push((call, event));
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn a_handler_hears_of_its_call_in_order_and_to_its_end() {
    let handler = Arc::new(Listening::default());
    let heard = handler.heard.clone();
    let mut harness = Harness::new(Instant::now(), vec![handler]);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.hang_up(ann, a);
    harness.run(Duration::from_secs(1));
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    let call = heard[0].0;
    assert!(heard.iter().all(|(it, event)| *it == call && event.call() == Some(call)));
    let states: Vec<CallState> = heard
        .iter()
        .filter_map(|(_, event)| match event {
            Event::CallState { to, .. } => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(states.first(), Some(&CallState::Bridged), "{states:?}");
    assert_eq!(states.last(), Some(&CallState::Idle), "{states:?}");
    assert!(heard.iter().any(|(_, event)| matches!(event, Event::Dialling { .. })));
    harness.assert_nothing_left();
}

/// Decides so about each call, and records the events it gets.
struct Front(fn() -> HandlerAction, Heard);

impl ApplicationHandler for Front {
    fn name(&self) -> &str {
        "front"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        Box::pin(std::future::ready((self.0)()))
    }

    fn wants_events(&self) -> bool {
        true
    }

    fn handle_event(&self, call: CallId, event: Event, _: CallService) -> EventFuture {
        self.1.lock().unwrap().push((call, event));
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn a_handler_that_passes_its_call_on_hears_it_to_its_end() {
    let decisions: [(fn() -> HandlerAction, bool); 2] =
        [(|| HandlerAction::Handle("listening".to_owned()), true), (|| HandlerAction::Continue, false)];
    for (decision, hears) in decisions {
        let (front, behind) = (Arc::new(Front(decision, Heard::default())), Arc::new(Listening::default()));
        let mut harness = Harness::new(Instant::now(), vec![front.clone(), behind.clone()]);
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        harness.answer_next(bob, SESSION);
        harness.hang_up(ann, a);
        harness.run(Duration::from_secs(1));
        let idle = |heard: &Heard| {
            let heard = heard.lock().unwrap();
            heard.iter().any(|(_, event)| matches!(event, Event::CallState { to: CallState::Idle, .. }))
        };
        assert_eq!((idle(&front.1), idle(&behind.heard)), (hears, true));
        harness.assert_nothing_left();
    }
}

#[test]
fn a_slow_handler_is_late_by_itself_and_does_not_outlive_its_call() {
    let handler = Arc::new(Listening::default());
    let heard = handler.heard.clone();
    let mut harness = Harness::new(Instant::now(), vec![handler]);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let slow = harness.call(ann, "slow", Some(SESSION));
    harness.answer_next(bob, SESSION);
    let good = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    assert!(harness.is_up(ann, slow) && harness.is_up(ann, good));
    let of_good = heard.lock().unwrap().len();
    assert!(of_good > 3, "{of_good}");
    harness.hang_up(ann, slow);
    harness.hang_up(ann, good);
    assert!(heard.lock().unwrap().len() > of_good);
    harness.assert_nothing_left();
}

#[test]
fn a_handler_that_panics_at_an_event_ends_only_its_call() {
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(Listening::default())]);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let good = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    let broken = harness.call(ann, "broken", Some(SESSION));
    assert!(
        matches!(harness.ended(ann, broken), Some(Termination::Failed { response }) if response.status() == 500)
    );
    assert!(harness.is_up(ann, good));
    assert_eq!(harness.counters().panics, 1);
    harness.hang_up(ann, good);
    harness.assert_nothing_left();
}

#[test]
fn what_is_noted_on_a_call_is_seen_in_its_snapshot_and_records() {
    let handler = Handler(|call: IncomingCall, service: CallService| async move {
        for (name, value) in [("account", "17"), ("gone", "x"), ("gone", "")] {
            service.set_variable(call.call, name, value).await.expect("a variable");
        }
        let long = "x".repeat(2_000);
        assert!(service.set_variable(call.call, "long", &long).await.is_err());
        HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB))))
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    let call = harness.snapshot().remove(0);
    assert_eq!(call.variables, [("account".to_owned(), "17".to_owned())]);
    // Identified by any of its legs, from outside.
    let (service, leg) = (harness.service(), call.legs[1].leg);
    let known = harness.wait(Duration::from_secs(1), async move {
        service.set_variable(leg, "account", "18").await.expect("a variable");
        service.variables(leg).await
    });
    assert_eq!(known, Ok(vec![("account".to_owned(), "18".to_owned())]));
    harness.hang_up(ann, a);
    let records = harness.records();
    assert_eq!(records.len(), 2);
    for record in records {
        let line = record.line(b2b_base::util::redact::Redaction::Off);
        let line: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(line["variables"]["account"], "18");
    }
    let (service, call) = (harness.service(), call.call);
    let gone = harness.wait(Duration::from_secs(1), async move { service.variables(call).await });
    assert_eq!(gone, Err(CallError::Gone));
    harness.assert_nothing_left();
}

#[test]
fn who_asks_for_an_end_too_late_still_hears_of_it() {
    let mut harness = crate::routed::to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    let call = harness.snapshot().remove(0);
    harness.run(Duration::from_secs(10));
    harness.hang_up(ann, a);
    harness.run(Duration::from_secs(1));
    let (service, bridge) = (harness.service(), call.bridge.expect("a bridge").bridge);
    let (of_call, of_leg, of_bridge) = harness.wait(Duration::from_secs(1), async move {
        let of_call = service.wait_for_termination(call.call).await;
        let of_leg = service.wait_for_termination(call.legs[1].leg).await;
        (of_call, of_leg, service.wait_for_termination(bridge).await)
    });
    let (of_call, of_leg, of_bridge) =
        (of_call.expect("an end"), of_leg.expect("an end"), of_bridge.expect("an end"));
    assert_eq!(of_call.cause, TerminationCause::RemoteHangup);
    assert_eq!(
        (of_leg.cause, of_bridge.cause),
        (TerminationCause::LocalHangup, TerminationCause::RemoteHangup)
    );
    assert_eq!(of_call.talked.map(|it| it.as_secs()), Some(10));
    let service = harness.service();
    let never =
        harness.wait(Duration::from_secs(1), async move { service.wait_for_termination(CallId(7)).await });
    assert_eq!(never, Err(CallError::Gone));
    harness.assert_nothing_left();
}

/// Found by simulation: the bridge made by the transfer was forgotten, and its party was left in silence.
#[test]
fn whoever_was_transferred_is_not_dialled_for_by_their_handler_any_more() {
    let handler = Handler(|call: IncomingCall, service: CallService| async move {
        let leg = service.adopt_inbound_leg(&call).await.unwrap();
        service.answer(leg).await.unwrap();
        let mut request = DialRequest::to(uri(BOB));
        request.options.mode = BridgeMode::Intercepting;
        let bridge = service.dial_and_bridge(leg, request).await.unwrap();
        let _replaced = service.wait_for_termination(bridge).await;
        let asked = service.dial_and_bridge(leg, DialRequest::to(uri(CAT))).await;
        assert!(matches!(asked, Err(DialError::Invalid(_))), "{asked:?}");
        HandlerAction::TransferTo(uri(CAT))
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let dan = harness.party(DAN);
    let a = harness.call(ann, "anybody", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.refer(bob, b, format!("<{}>", uri(DAN)));
    let d = harness.answer_next(dan, SESSION);
    harness.answer(ann, a, Some(SESSION));
    harness.run(Duration::from_secs(3));
    assert!(harness.incoming(cat).is_empty());
    assert!(harness.is_up(ann, a) && harness.is_up(dan, d));
    assert_eq!(harness.counters().panics, 0);
    harness.hang_up(dan, d);
    assert!(!harness.is_up(ann, a));
    harness.assert_nothing_left();
}

#[test]
fn what_a_program_asks_for_at_a_wrong_moment_is_refused_and_no_illegal_event() {
    let handler = Handler(|_: IncomingCall, _: CallService| async move {
        let mut request = DialRequest::to(uri(BOB));
        request.options.mode = BridgeMode::Intercepting;
        HandlerAction::Dial(Box::new(request))
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let (service, call) = (harness.service(), harness.snapshot()[0].call);
    let second = Duration::from_secs(1);
    // The transfer is cancelled when a program sets the call's place.
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    let c = harness.next_call(cat);
    assert_eq!(harness.wait(second, service.enter(call, Place::Ivr)), Ok(()));
    harness.reject(cat, c, 486);
    assert_eq!(harness.wait(second, service.enter(call, Place::Handler)), Ok(()));
    let again = harness.wait(second, service.enter(call, Place::Handler));
    assert!(matches!(again, Err(CallError::WrongState(_))), "{again:?}");
    assert_eq!(harness.wait(second, service.enter(call, Place::Program)), Ok(()));
    let leg = harness.snapshot()[0].legs[0].leg;
    harness.wait(second, service.unbridge(leg, false)).unwrap();
    assert_eq!(harness.counters().illegal, 0);
    for (party, usage) in [(ann, a), (bob, b)] {
        harness.hang_up(party, usage);
    }
    harness.assert_nothing_left();
}

/// Found by simulation: both of the following cases.
#[test]
fn whoever_is_hung_up_with_their_bridge_is_not_dialled_for_by_their_handler_any_more() {
    let handler = Handler(|call: IncomingCall, service: CallService| async move {
        let leg = service.adopt_inbound_leg(&call).await.unwrap();
        let bridge = service.dial_and_bridge(leg, DialRequest::to(uri(BOB))).await.unwrap();
        let _ended = service.wait_for_termination(bridge).await;
        let asked = service.dial_and_bridge(leg, DialRequest::to(uri(CAT))).await;
        assert!(matches!(asked, Err(DialError::CallerGone)), "{asked:?}");
        HandlerAction::Complete
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "anybody", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.hang_up(bob, b);
    harness.run(Duration::from_secs(3));
    assert!(harness.incoming(cat).is_empty() && !harness.is_up(ann, a));
    assert_eq!(harness.counters().panics, 0);
    harness.assert_nothing_left();
}

#[test]
fn a_leg_that_somebody_is_called_for_is_not_joined_with_another_one_meanwhile() {
    let handler = Handler(|call: IncomingCall, service: CallService| async move {
        let leg = service.adopt_inbound_leg(&call).await.unwrap();
        service.answer(leg).await.unwrap();
        let other = service.dial(DialRequest::to(uri(BOB))).await.unwrap();
        let dialling = service.clone();
        let dials = async move { drop(dialling.dial_and_bridge(leg, DialRequest::to(uri(CAT))).await) };
        service.spawn(dials).unwrap();
        service.sleep(Duration::from_secs(1)).await.unwrap();
        let joined = service.create_bridge(leg, other, BridgeMode::Intercepting, true).await;
        assert!(matches!(joined, Err(CallError::WrongState(_))), "{joined:?}");
        service.hangup(other).await.unwrap();
        HandlerAction::Complete
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "anybody", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(2));
    let c = harness.answer_next(cat, SESSION);
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c) && !harness.is_up(bob, b));
    assert_eq!((harness.counters().panics, harness.media().bridges().len()), (0, 1));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}
