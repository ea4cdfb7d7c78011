//! Applications: they hand a caller on by name, wait by the switch's clock, and control only their own call.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::bus::{Received, Subscriber};
use b2b_call::call_fsm::CallState;
use b2b_call::controller::{CollectEnd, Collected, DigitPlan, MediaBackend, Played, Prompt};
use b2b_call::event::Event;
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall, Referral};
use b2b_call::service::{CallError, CallService, DialOptions, DialRequest, MediaVerbs, Place};
use b2b_sip::endpoint::{Body, Event as SipEvent, Termination, UsageEvent};
use b2b_testkit::{Handler, Harness, PartyId, SESSION};

use crate::routed::{ANN, BOB, uri};

/// A handler with a name.
struct Named<F>(&'static str, F);

impl<F, R> ApplicationHandler for Named<F>
where
    F: Fn(IncomingCall, CallService) -> R + Send + Sync,
    R: Future<Output = HandlerAction> + Send + 'static,
{
    fn name(&self) -> &str {
        self.0
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Box::pin((self.1)(call, service))
    }
}

fn to(name: &'static str) -> Arc<dyn ApplicationHandler> {
    Arc::new(Handler(move |_, _| async move { HandlerAction::Handle(name.to_owned()) }))
}

/// A harness whose only application is this function.
fn with<F, R>(handle: F) -> Harness
where
    F: Fn(IncomingCall, CallService) -> R + Send + Sync + 'static,
    R: Future<Output = HandlerAction> + Send + 'static,
{
    Harness::new(Instant::now(), vec![to("app/x"), Arc::new(Named("app/x", handle))])
}

#[test]
fn a_caller_that_is_answered_is_handed_on_and_dialled_for() {
    let menu = Named("ivr/main", |call: IncomingCall, service: CallService| async move {
        service.answer(call.leg).await.expect("an answer");
        service.enter(call.call, Place::Ivr).await.expect("a place");
        HandlerAction::Handle("queue/sales".to_owned())
    });
    let queue = Named("queue/sales", |call: IncomingCall, service: CallService| async move {
        service.enter(call.call, Place::Queue).await.expect("a place");
        service.sleep(Duration::from_secs(5)).await.expect("time");
        HandlerAction::TransferTo(uri(BOB))
    });
    let mut harness = Harness::new(Instant::now(), vec![to("ivr/main"), Arc::new(menu), Arc::new(queue)]);
    let mut events = harness.bus().subscribe();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "main", Some(SESSION));
    let call = harness.snapshot().remove(0);
    assert_eq!(call.state, CallState::InQueue);
    assert_eq!(call.application.as_deref(), Some("queue/sales"));
    assert!(harness.incoming(bob).is_empty());
    harness.run(Duration::from_secs(5));
    harness.answer_next(bob, SESSION);
    let bob_at = BOB.parse().unwrap();
    let invite = harness.wire.iter().find(|it| it.to == bob_at && it.line().starts_with("INVITE"));
    let from = invite.unwrap().field("From").unwrap();
    assert!(from.starts_with("<sip:party1@"), "the caller's number outlives the answer: {from}");
    let call = harness.snapshot().remove(0);
    assert_eq!((call.state, call.application), (CallState::Bridged, None));
    assert!(call.bridge.is_some());
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(ann, a);
    let told: Vec<String> = heard(&mut events)
        .filter_map(|event| match event {
            Event::HandlerStarted { handler, .. } => Some(format!("+{handler}")),
            Event::HandlerEnded { handler, action, .. } => Some(format!("-{handler} {action}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["+ivr/main", "-ivr/main handle", "+queue/sales", "-queue/sales transfer_to"]);
    harness.assert_nothing_left();
}

#[test]
fn who_is_taken_from_an_application_is_not_hung_up_by_what_that_decides_then() {
    let menu = Named("ivr/main", |call: IncomingCall, service: CallService| async move {
        service.answer(call.leg).await.expect("an answer");
        // It is stopped when the caller is taken over.
        let _ = service.play(call.leg, &Prompt::file("/welcome.wav")).await;
        HandlerAction::Disconnect
    });
    let other = Named("app/other", |_: IncomingCall, service: CallService| async move {
        let _ = service.sleep(Duration::from_secs(600)).await;
        HandlerAction::Complete
    });
    let mut harness = Harness::new(Instant::now(), vec![to("ivr/main"), Arc::new(menu), Arc::new(other)]);
    let ann = harness.party(ANN);
    let a = harness.call(ann, "main", Some(SESSION));
    let (service, leg) = (harness.service(), harness.snapshot()[0].legs[0].leg);
    harness.wait(Duration::from_secs(2), service.hand_over(leg, "app/other", None)).expect("given");
    harness.settle();
    assert!(harness.is_up(ann, a));
    assert_eq!(harness.snapshot()[0].application.as_deref(), Some("app/other"));
    harness.hang_up(ann, a);
}

#[test]
fn a_dial_of_an_answered_caller_that_fails_hangs_up() {
    let mut harness = with(|call: IncomingCall, service: CallService| async move {
        service.answer(call.leg).await.expect("an answer");
        HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB))))
    });
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "x", Some(SESSION));
    assert!(harness.is_up(ann, a));
    let b = harness.next_call(bob);
    // Early media is heard in place of the prompt, and does not change the session that Ann has.
    let endpoint = harness.callers_endpoint();
    let before = harness.media().descriptions(endpoint);
    let early = SESSION.replace("8 0 101", "8 101");
    harness.ring(bob, b, 183, Some(&early));
    assert_eq!(harness.media().bridges().len(), 1);
    assert_eq!(harness.media().descriptions(endpoint), before);
    harness.reject(bob, b, 486);
    assert!(matches!(harness.ended(ann, a), Some(Termination::RemoteBye { .. })));
    harness.assert_nothing_left();
}

#[test]
fn who_is_handed_to_nobody_or_round_in_a_circle_is_hung_up() {
    for (target, status) in [("queue/none", 404), ("app/x", 482)] {
        let mut harness = with(move |_, _| async move { HandlerAction::Handle(target.to_owned()) });
        let ann = harness.party(ANN);
        let a = harness.call(ann, "x", Some(SESSION));
        let ended = harness.ended(ann, a);
        assert!(
            matches!(&ended, Some(Termination::Failed { response }) if response.status() == status),
            "{ended:?}"
        );
        harness.assert_nothing_left();
    }
}

#[test]
fn an_application_that_continues_or_completes_leaves_no_answered_caller_behind() {
    for action in [HandlerAction::Continue, HandlerAction::Complete] {
        let mut harness = with(move |call: IncomingCall, service: CallService| {
            let action = action.clone();
            async move {
                service.answer(call.leg).await.expect("an answer");
                action
            }
        });
        let ann = harness.party(ANN);
        let a = harness.call(ann, "x", Some(SESSION));
        assert!(matches!(harness.ended(ann, a), Some(Termination::RemoteBye { .. })));
        harness.assert_nothing_left();
    }
}

#[test]
fn a_handler_that_hangs_is_dropped_some_time_after_its_caller_has_gone() {
    struct Alive(Arc<()>);
    let alive = Arc::new(());
    let held = alive.clone();
    let mut harness = with(move |call: IncomingCall, service: CallService| {
        let alive = Alive(held.clone());
        async move {
            service.answer(call.leg).await.expect("an answer");
            std::future::pending::<()>().await;
            drop(alive.0);
            HandlerAction::Complete
        }
    });
    let ann = harness.party(ANN);
    let a = harness.call(ann, "x", Some(SESSION));
    let good = harness.call(ann, "x", Some(SESSION));
    harness.run(Duration::from_secs(60));
    assert!(harness.is_up(ann, a));
    assert_eq!(Arc::strong_count(&alive), 4, "two calls, the handler and we");
    harness.hang_up(ann, a);
    harness.run(Duration::from_secs(31));
    assert_eq!(Arc::strong_count(&alive), 4);
    harness.run(Duration::from_secs(2));
    assert_eq!(Arc::strong_count(&alive), 3);
    assert!(harness.is_up(ann, good));
    harness.hang_up(ann, good);
    harness.assert_nothing_left();
}

#[test]
fn an_invite_without_an_offer_is_answered_with_ours_and_plays_after_the_ack() {
    let answered: Arc<Mutex<Option<Result<(), CallError>>>> = Arc::default();
    let said = answered.clone();
    let mut harness = with(move |call: IncomingCall, service: CallService| {
        let said = said.clone();
        async move {
            let result = service.answer(call.leg).await;
            *said.lock().unwrap() = Some(result);
            match service.play(call.leg, &Prompt::file("welcome.wav")).await {
                Ok(Played::Complete) => HandlerAction::TransferTo(uri(BOB)),
                other => panic!("{other:?}"),
            }
        }
    });
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "x", None);
    assert!(answered.lock().unwrap().is_none(), "nothing is agreed before the ACK");
    let now = harness.now();
    harness.endpoint(ann).ack(now, a, Some(Body::sdp(SESSION.to_owned()))).expect("an ACK");
    harness.settle();
    assert_eq!(*answered.lock().unwrap(), Some(Ok(())));
    assert_eq!(harness.media().heard_words(), ["welcome.wav"]);
    harness.run(Duration::from_secs(1));
    harness.answer_next(bob, SESSION);
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn an_ack_that_owes_the_answer_ends_the_call() {
    let answered: Arc<Mutex<Option<Result<(), CallError>>>> = Arc::default();
    let said = answered.clone();
    let mut harness = with(move |call: IncomingCall, service: CallService| {
        let said = said.clone();
        async move {
            *said.lock().unwrap() = Some(service.answer(call.leg).await);
            HandlerAction::Complete
        }
    });
    let ann = harness.party(ANN);
    let a = harness.call(ann, "x", None);
    let now = harness.now();
    harness.endpoint(ann).ack(now, a, None).expect("an ACK");
    harness.settle();
    assert!(matches!(*answered.lock().unwrap(), Some(Err(CallError::Media(_)))));
    assert!(matches!(harness.ended(ann, a), Some(Termination::RemoteBye { .. })));
    harness.assert_nothing_left();
}

fn heard(events: &mut Subscriber) -> impl Iterator<Item = Event> {
    std::iter::from_fn(|| events.try_recv()).filter_map(|received| match received {
        Received::Event(published) => Some(published.event.clone()),
        Received::Lagged(_) => None,
    })
}

type Digits = Arc<Mutex<Vec<(u64, Collected)>>>;

/// Collects digits by the plan repeatedly, and notes the elapsed ms.
fn collecting(plan: DigitPlan, prompt: Option<Prompt>) -> (Harness, Digits) {
    let digits = Digits::default();
    let noted = digits.clone();
    let harness = with(move |call: IncomingCall, service: CallService| {
        let (plan, prompt, noted) = (plan.clone(), prompt.clone(), noted.clone());
        async move {
            service.answer(call.leg).await.expect("an answer");
            let began = service.now().await.expect("time");
            loop {
                let collected = match &prompt {
                    Some(prompt) => service.play_and_collect(call.leg, prompt, &plan).await,
                    None => service.collect(call.leg, &plan).await,
                };
                let Ok(collected) = collected else { return HandlerAction::Complete };
                let Ok(now) = service.now().await else { return HandlerAction::Complete };
                noted.lock().unwrap().push(((now - began).as_millis() as u64, collected));
            }
        }
    });
    (harness, digits)
}

fn told(digits: &Digits) -> Vec<(u64, String, CollectEnd)> {
    let taken = std::mem::take(&mut *digits.lock().unwrap());
    taken.into_iter().map(|(at, it)| (at, it.digits, it.end)).collect()
}

#[test]
fn digits_are_collected_by_plan_in_virtual_time() {
    let (mut harness, digits) = collecting(DigitPlan::new(4), None);
    let ann = harness.party(ANN);
    let a = harness.call(ann, "x", Some(SESSION));
    let endpoint = harness.callers_endpoint();
    let now = harness.now();
    harness.press(endpoint, "1234");
    harness.press(endpoint, "56#");
    assert_eq!(
        told(&digits).into_iter().map(|(_, digits, end)| (digits, end)).collect::<Vec<_>>(),
        [("1234".to_owned(), CollectEnd::Full), ("56".to_owned(), CollectEnd::Terminator('#'))]
    );
    // 5 s without a digit from the end of the previous collection; then one digit and 3 s without another.
    let last = harness.now() - now;
    harness.run(Duration::from_secs(5));
    let none = told(&digits);
    assert_eq!((none[0].1.as_str(), none[0].2, none.len()), ("", CollectEnd::NoInput, 1));
    let pressed = harness.now();
    harness.press(endpoint, "7");
    harness.run(Duration::from_secs(3));
    let one = told(&digits);
    assert_eq!((one[0].1.as_str(), one[0].2), ("7", CollectEnd::BetweenDigits));
    assert_eq!(one[0].0 - none[0].0, 3_000 + (pressed - now - last).as_millis() as u64 - 5_000 + 100);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn the_first_digit_ends_a_prompt_unless_the_plan_says_that_it_waits() {
    for barge_in in [true, false] {
        let plan = DigitPlan { barge_in, ..DigitPlan::new(1) };
        let (mut harness, digits) = collecting(plan, Some(Prompt::file("menu.wav")));
        harness.media().set_length("menu.wav", Duration::from_secs(10));
        let ann = harness.party(ANN);
        let a = harness.call(ann, "x", Some(SESSION));
        let endpoint = harness.callers_endpoint();
        harness.run(Duration::from_secs(2));
        harness.press(endpoint, "1");
        assert_eq!(told(&digits).len(), usize::from(barge_in));
        harness.run(Duration::from_secs(9));
        let later = told(&digits);
        match barge_in {
            true => assert!(later.is_empty(), "{later:?}"),
            false => assert_eq!(later, [(10_000, "1".to_owned(), CollectEnd::Full)]),
        }
        harness.hang_up(ann, a);
        harness.assert_nothing_left();
    }
}

#[test]
fn a_party_that_goes_stops_what_is_played_and_collected() {
    let (mut harness, digits) = collecting(DigitPlan::new(4), Some(Prompt::file("menu.wav")));
    let ann = harness.party(ANN);
    let a = harness.call(ann, "x", Some(SESSION));
    let endpoint = harness.callers_endpoint();
    assert!(harness.media().is_playing(endpoint) && harness.media().is_collecting(endpoint));
    harness.hang_up(ann, a);
    assert!(told(&digits).iter().all(|(_, _, end)| *end == CollectEnd::Stopped));
    harness.assert_nothing_left();
}

#[test]
fn what_runs_beside_calls_has_a_clock_too_and_its_panic_is_its_own() {
    let mut harness = with(|call: IncomingCall, service: CallService| async move {
        service.answer(call.leg).await.expect("an answer");
        let beside = service.clone();
        service
            .spawn(async move {
                beside.sleep(Duration::from_secs(2)).await.expect("time");
                beside
                    .publish(Some(call.call), "app/x", "rang", serde_json::json!({"after_s": 2}))
                    .expect("a service");
                panic!("a mistake of its own");
            })
            .expect("a service");
        let within = service.within(Duration::from_secs(1), std::future::pending::<()>()).await;
        assert_eq!(within, Ok(None));
        HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB))))
    });
    let mut events = harness.bus().subscribe();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "x", Some(SESSION));
    assert!(harness.incoming(bob).is_empty());
    harness.run(Duration::from_secs(1));
    harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(2));
    let mut told = heard(&mut events);
    assert!(told.any(|event| matches!(event, Event::Application { name, .. } if name == "rang")));
    assert_eq!(harness.counters().panics, 1);
    assert!(harness.is_up(ann, a));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn legs_that_were_dialled_apart_are_joined_by_the_application() {
    let mut harness = with(|call: IncomingCall, service: CallService| async move {
        let leg = service.adopt_inbound_leg(&call).await.expect("the leg");
        service.answer(leg).await.expect("an answer");
        service.enter(call.call, Place::Queue).await.expect("a place");
        service.start_moh(leg, "jazz").await.expect("music");
        let request = DialRequest { options: DialOptions::default(), ..DialRequest::to(uri(BOB)) };
        let agent = service.dial(request).await.expect("an agent");
        service.stop_moh(leg).await.expect("silence");
        let bridge = service.create_bridge(leg, agent, BridgeMode::Intercepting, true).await;
        service.wait_for_termination(bridge.expect("a bridge")).await.expect("an end");
        HandlerAction::Complete
    });
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "x", Some(SESSION));
    let endpoint = harness.endpoint_of(harness.snapshot()[0].legs[0].leg).expect("an endpoint");
    assert_eq!(harness.media().music(), [(endpoint, "jazz".to_owned())]);
    harness.answer_next(bob, SESSION);
    assert!(harness.media().music().is_empty());
    assert_eq!(harness.snapshot().remove(0).state, CallState::Bridged);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

/// Dials Bob for calls to `bob`; a party transferred to 701 is handed to an application that reports its
/// calls.
struct Desk;

impl ApplicationHandler for Desk {
    fn name(&self) -> &str {
        "desk"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
        let request = crate::routed::contacts(&[(BOB, 0)], options);
        Box::pin(async { HandlerAction::Dial(Box::new(request)) })
    }

    fn handle_referral(&self, referral: Referral) -> HandlerFuture {
        let name = if referral.target.contains("701") { "app/x" } else { "app/none" };
        Box::pin(async move { HandlerAction::Handle(name.to_owned()) })
    }
}

#[test]
fn who_is_sent_to_an_application_by_refer_is_with_it_whichever_party_it_is() {
    for caller_stays in [true, false] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let app = Named("app/x", {
            let seen = seen.clone();
            move |call: IncomingCall, service: CallService| {
                let seen = seen.clone();
                async move {
                    seen.lock().expect("one thread").push((call.called(), call.caller()));
                    service.enter(call.call, Place::Ivr).await.expect("a place");
                    service.play(call.leg, &Prompt::file("hello.wav")).await.expect("heard");
                    HandlerAction::Disconnect
                }
            }
        });
        let mut harness = Harness::new(Instant::now(), vec![Arc::new(Desk), Arc::new(app)]);
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        let ((leaves, leaving), (stays, staying)) =
            if caller_stays { ((bob, b), (ann, a)) } else { ((ann, a), (bob, b)) };
        // The application does not exist: they stay connected.
        harness.refer(leaves, leaving, "<sip:702@192.0.2.1>".to_owned());
        assert_eq!(told_of(&mut harness, leaves).last(), Some(&404));
        assert_eq!(harness.snapshot().remove(0).state, CallState::Bridged);
        harness.refer(leaves, leaving, "<sip:701@192.0.2.1>".to_owned());
        assert_eq!(told_of(&mut harness, leaves), [200]);
        let number = if caller_stays { "party1" } else { "callee" };
        assert_eq!(*seen.lock().expect("one thread"), [("701".to_owned(), number.to_owned())]);
        let call = harness.snapshot().remove(0);
        assert_eq!((call.state, call.application.as_deref()), (CallState::InIvr, Some("app/x")));
        assert!(call.bridge.is_none());
        // The remaining party may have been on hold, so it is offered sendrecv.
        harness.answer(stays, staying, Some(SESSION));
        assert_eq!(harness.media().heard_words(), ["hello.wav"]);
        harness.run(Duration::from_secs(4));
        assert!(!harness.is_up(leaves, leaving) && !harness.is_up(stays, staying));
        harness.assert_nothing_left();
    }
}

fn told_of(harness: &mut Harness, party: PartyId) -> Vec<u16> {
    let events = harness.take(party).into_iter();
    let progress = events.filter_map(|event| match event {
        SipEvent::Usage { event: UsageEvent::ReferProgress { status, .. }, .. } => status,
        _ => None,
    });
    progress.map(|(status, _)| status).filter(|status| *status >= 200).collect()
}
