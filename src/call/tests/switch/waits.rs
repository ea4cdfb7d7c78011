//! Waiting for states of legs, and for ends, with a handle on the service.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use b2b_call::LegId;
use b2b_call::SwitchThread;
use b2b_call::application::{AppAnswer, AppEvent, Application, Wants};
use b2b_call::bus::Received;
use b2b_call::event::Event;
use b2b_call::leg_fsm::LegState;
use b2b_call::reason::Reason;
use b2b_call::resolver::{DirectPolicy, DirectResolver};
use b2b_call::service::{CallError, DialError, DialRequest};
use b2b_call::switch::SwitchConfig;
use b2b_call::switch::admission::AdmitAll;
use b2b_testkit::{Harness, Network, SESSION, Termination};

use crate::routed::{ANN, BOB, contacts, to_bob, uri};

const PATIENCE: Duration = Duration::from_secs(40);

/// A future that the test polls by hand.
type Waits<T> = Pin<Box<dyn Future<Output = T>>>;

/// The result of a future, if it is ready.
fn now<T>(future: &mut Waits<T>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(it) => Some(it),
        Poll::Pending => None,
    }
}

/// Waits for a state, and polls at once.
fn awaits(harness: &mut Harness, leg: LegId, state: LegState) -> Waits<Result<LegState, CallError>> {
    let service = harness.service();
    let mut future: Waits<_> = Box::pin(async move { service.wait_for_state(leg, state).await });
    assert_eq!(now(&mut future), None, "the switch has not heard of it yet");
    harness.settle();
    future
}

/// An originated call to Bob, and its leg before the answer.
fn originated(harness: &mut Harness) -> (LegId, Waits<Result<LegId, DialError>>) {
    let service = harness.service();
    let begun = harness.wait(PATIENCE, service.originate(DialRequest::to(uri(BOB))));
    let (call, answer) = begun.expect("a call begins");
    harness.settle();
    let (_, leg) =
        harness.wait(PATIENCE, service.locate(call)).expect("its leg is known before it is answered");
    (leg, Box::pin(answer))
}

#[test]
fn the_leg_of_a_call_that_began_here_is_known_before_the_answer_and_is_the_one_that_answers() {
    let mut harness = to_bob();
    let bob = harness.party(BOB);
    let (leg, mut answer) = originated(&mut harness);
    let mut rings = awaits(&mut harness, leg, LegState::Ringing);
    assert_eq!(now(&mut rings), None);
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    assert_eq!(now(&mut rings), Some(Ok(LegState::Ringing)));
    assert!(now(&mut answer).is_none(), "it rings and no more");
    let mut early = awaits(&mut harness, leg, LegState::EarlyMedia);
    let mut answered = awaits(&mut harness, leg, LegState::Answered);
    harness.ring(bob, b, 183, Some(SESSION));
    assert_eq!((now(&mut early), now(&mut answered)), (Some(Ok(LegState::EarlyMedia)), None));
    harness.answer(bob, b, Some(SESSION));
    assert_eq!(now(&mut answered), Some(Ok(LegState::Answered)));
    assert_eq!(now(&mut answer), Some(Ok(leg)));
    // A state already passed is reported at once, a later one when the leg ends.
    let service = harness.service();
    let late = harness.wait(PATIENCE, service.wait_for_state(leg, LegState::Ringing));
    assert_eq!(late, Ok(LegState::Answered));
    let mut over = awaits(&mut harness, leg, LegState::Destroyed);
    harness.hang_up(bob, b);
    assert_eq!(now(&mut over), Some(Ok(LegState::Destroyed)));
    let late = harness.wait(PATIENCE, service.wait_for_state(leg, LegState::Answered));
    assert_eq!(late, Ok(LegState::Destroyed), "it is over, and says so");
    let never = harness.wait(PATIENCE, service.wait_for_state(LegId(4_711), LegState::Answered));
    assert_eq!(never, Err(CallError::Gone));
    harness.assert_nothing_left();
}

#[test]
fn who_waits_for_an_answer_hears_of_a_refusal() {
    let mut harness = to_bob();
    let bob = harness.party(BOB);
    let (leg, mut answer) = originated(&mut harness);
    let mut answered = awaits(&mut harness, leg, LegState::Answered);
    let b = harness.next_call(bob);
    harness.reject(bob, b, 486);
    assert_eq!(now(&mut answered), Some(Ok(LegState::Failed)));
    assert!(matches!(now(&mut answer), Some(Err(DialError::Failed(failure))) if failure.status == 486));
    let service = harness.service();
    let late = harness.wait(PATIENCE, service.wait_for_state(leg, LegState::Ringing));
    assert_eq!(late, Ok(LegState::Failed));
    harness.assert_nothing_left();
}

#[tokio::test]
async fn a_switch_for_tests_and_examples_tells_what_happens_on_its_bus() {
    let here = "127.0.0.1:0".parse().unwrap();
    let switch = SwitchThread::simple(here, Vec::new()).expect("a switch");
    let mut events = switch.bus().expect("it has a bus").subscribe();
    let nobody = DialRequest::to("sip:nobody@127.0.0.1:9");
    let (begun, _answer) = switch.service().originate(nobody).await.expect("a call begins");
    let told = async {
        loop {
            if let Some(Received::Event(published)) = events.recv().await
                && let Event::LegCreated { call, .. } = published.event
            {
                return call;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, told).await, Ok(begun));
}

/// Calls Bob, and records the states of the leg.
struct Watches(Arc<Mutex<Vec<LegState>>>);

impl Application for Watches {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => {
                wants.originate(contacts(&[(BOB, 0)], Default::default()));
            }
            AppEvent::Answered { answer: AppAnswer::Started(call), .. } => {
                wants.locate(call);
            }
            AppEvent::Answered { answer: AppAnswer::Located(Ok((_, leg))), .. } => {
                wants.wait_for_state(leg, LegState::Ringing);
                wants.wait_for_state(leg, LegState::Answered);
            }
            AppEvent::Answered { answer: AppAnswer::LegIs(Ok(state)), .. } => {
                self.0.lock().unwrap().push(state);
            }
            _ => {}
        }
    }
}

#[test]
fn a_machine_waits_for_states_of_a_leg_as_programs_do() {
    let mut harness = to_bob();
    let bob = harness.party(BOB);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let app = harness.service().attend(Box::new(Watches(seen.clone()))).expect("attended");
    harness.settle();
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    assert_eq!(*seen.lock().unwrap(), [LegState::Ringing]);
    harness.answer(bob, b, Some(SESSION));
    assert_eq!(*seen.lock().unwrap(), [LegState::Ringing, LegState::Answered]);
    drop(app);
    harness.hang_up_all();
    harness.run(PATIENCE);
}

/// The requests of a method sent to Bob, with their Reason.
fn told(harness: &Harness, address: &str, method: &str) -> Vec<String> {
    let to = address.parse().unwrap();
    let sent = harness.wire.iter().filter(|sent| sent.to == to && sent.line().starts_with(method));
    let reason = |sent: &b2b_testkit::Sent| {
        sent.text().lines().filter(|line| line.starts_with("Reason: ")).collect::<Vec<_>>().join("; ")
    };
    sent.map(reason).collect()
}

const BUSY: &str = "Reason: Q.850;cause=17;text=\"USER_BUSY\"";

#[test]
fn a_hangup_says_why_to_the_leg_and_to_who_goes_with_it_and_records_have_the_cause() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let service = harness.service();
    for whole in [false, true] {
        harness.wire.clear();
        harness.records();
        harness.call(ann, "bob", Some(SESSION));
        harness.answer_next(bob, SESSION);
        let call = harness.snapshot()[0].call;
        let (_, leg) = harness.wait(PATIENCE, service.locate(call)).unwrap();
        let busy = Reason::q850(17);
        let done = match whole {
            true => harness.wait(PATIENCE, service.hangup_call_with(call, busy)),
            false => harness.wait(PATIENCE, service.hangup_with(leg, busy)),
        };
        assert_eq!(done, Ok(()));
        harness.run(Duration::from_secs(1));
        for party in [ANN, BOB] {
            assert_eq!(told(&harness, party, "BYE"), [BUSY], "{party}, whole: {whole}");
        }
        let causes: Vec<_> = harness.records().iter().map(|record| record.ending.q850).collect();
        assert_eq!(causes, [17, 17], "whole: {whole}");
        harness.run(PATIENCE);
    }
    harness.assert_nothing_left();
}

#[test]
fn a_caller_who_is_not_answered_is_refused_with_the_status_of_the_cause_and_the_callee_cancelled() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    let (service, call) = (harness.service(), harness.snapshot()[0].call);
    let (_, leg) = harness.wait(PATIENCE, service.locate(call)).unwrap();
    assert_eq!(harness.wait(PATIENCE, service.hangup_with(leg, Reason::q850(17))), Ok(()));
    harness.run(Duration::from_secs(1));
    assert!(
        matches!(harness.ended(ann, a), Some(Termination::Failed { response }) if response.status() == 486)
    );
    assert_eq!(told(&harness, ANN, "SIP/2.0 486"), [BUSY]);
    assert_eq!(told(&harness, BOB, "CANCEL"), [BUSY]);
    harness.assert_nothing_left();
}

#[test]
fn who_dials_when_as_many_calls_are_up_as_may_be_is_told_so_and_not_that_it_stops() {
    let config = SwitchConfig { max_calls: 1, ..SwitchConfig::default() };
    let mut harness = Harness::with(
        Instant::now(),
        Vec::new(),
        Arc::new(DirectResolver::new(DirectPolicy::Anybody)),
        Box::new(AdmitAll),
        config,
        Network::QUIET,
    );
    harness.party(BOB);
    let (_, first) = originated(&mut harness);
    let service = harness.service();
    let second = harness.wait(PATIENCE, service.dial(DialRequest::to(uri(BOB))));
    assert_eq!(second, Err(DialError::Full));
    let third = harness.wait(PATIENCE, service.originate(DialRequest::to(uri(BOB)))).map(|_| ());
    assert_eq!(third, Err(DialError::Full));
    drop(first);
    harness.drain();
    let stopping = harness.wait(PATIENCE, service.dial(DialRequest::to(uri(BOB))));
    assert_eq!(stopping, Err(DialError::Stopping));
    harness.hang_up_all();
    harness.run(PATIENCE);
}
