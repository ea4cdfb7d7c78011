//! A contact whose INVITE is delayed, since its gateway limits calls per second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::resolver::ChainResolver;
use b2b_call::service::{CallService, DialOptions};
use b2b_call::switch::admission::{Admission, AdmissionControl, Caller, Dialled, Fate, Outgoing};
use b2b_call::switch::{SwitchConfig, Turn};
use b2b_sip::endpoint::{Flow, Reply, Termination};
use b2b_sip::msg::Request;
use b2b_testkit::{Handler, Harness, Network, SESSION};

use crate::routed::{ANN, BOB, CAT, contacts};

const WAIT: Duration = Duration::from_millis(700);

/// Admits every call, after a delay.
struct Pacing;

impl AdmissionControl for Pacing {
    fn invite(&mut self, _: Instant, _: &Request, flow: &Flow) -> Admission {
        Admission::Accept(Box::new(Caller::at(flow.remote)))
    }

    fn request(&mut self, _: &mut Turn<'_>, _: &Request, _: &Flow) -> Fate {
        Fate::ReplyOnce(Reply::status(405))
    }

    fn outgoing(&mut self, _: Instant, _: Dialled<'_>) -> Result<Outgoing, (u16, &'static str)> {
        Ok(Outgoing { wait: WAIT, ..Outgoing::default() })
    }
}

fn harness() -> Harness {
    harness_of(Handler(|_: IncomingCall, _: CallService| async {
        HandlerAction::Dial(Box::new(contacts(&[(BOB, 0)], DialOptions::default())))
    }))
}

fn harness_of(handler: impl ApplicationHandler + 'static) -> Harness {
    let handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(handler)];
    let (resolver, admission) = (Arc::new(ChainResolver::new(Vec::new())), Box::new(Pacing));
    Harness::with(Instant::now(), handlers, resolver, admission, SwitchConfig::default(), Network::QUIET)
}

fn invited(harness: &Harness) -> usize {
    invited_at(harness, BOB)
}

fn invited_at(harness: &Harness, address: &str) -> usize {
    let at = address.parse().unwrap();
    harness.wire.iter().filter(|it| it.to == at && it.line().starts_with("INVITE")).count()
}

/// The response timeout starts when the INVITE is sent; otherwise a slow gateway would always fail.
#[test]
fn a_host_is_silent_from_when_its_invite_left() {
    let second = Duration::from_secs(1);
    let handler = Handler(move |_: IncomingCall, _: CallService| async move {
        let options = DialOptions { trying_timeout: Some(second), ..DialOptions::default() };
        HandlerAction::Dial(Box::new(contacts(&[(BOB, 0), (CAT, 1)], options)))
    });
    let mut harness = harness_of(handler);
    // No party is at Bob's address.
    let (ann, cat) = (harness.party(ANN), harness.party(CAT));
    harness.call(ann, "bob", Some(SESSION));
    harness.run(WAIT + second - Duration::from_millis(200));
    assert_ne!(invited(&harness), 0);
    // Cat's own INVITE is delayed, too.
    harness.run(WAIT + Duration::from_millis(100));
    assert_eq!(invited_at(&harness, CAT), 0, "Bob's second was not over");
    harness.run(second);
    assert_ne!(invited_at(&harness, CAT), 0);
    harness.answer_next(cat, SESSION);
}

#[test]
fn an_invite_goes_out_when_its_turn_has_come() {
    let mut harness = harness();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.run(WAIT - Duration::from_millis(100));
    assert_eq!(invited(&harness), 0);
    harness.run(Duration::from_millis(200));
    assert_eq!(invited(&harness), 1);
    let b = harness.answer_next(bob, SESSION);
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(ann, a);
    harness.run(Duration::from_secs(40));
    harness.assert_nothing_left();
}

#[test]
fn a_caller_who_gives_up_before_that_calls_nobody() {
    let mut harness = harness();
    let (ann, _) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.run(Duration::from_millis(300));
    harness.cancel(ann, a);
    assert!(matches!(harness.ended(ann, a), Some(Termination::LocalCancel)));
    harness.run(Duration::from_secs(40));
    assert_eq!(invited(&harness), 0);
    harness.assert_nothing_left();
}
