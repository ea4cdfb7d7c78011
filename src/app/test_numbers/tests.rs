//! Test numbers over calls in virtual time.

use std::sync::Arc;
use std::time::Instant;

use super::*;
use b2b_call::handler::HandlerFuture;
use b2b_testkit::{Harness, SESSION};

/// Sends callers to the number that they have dialled.
struct Door;

impl ApplicationHandler for Door {
    fn name(&self) -> &str {
        "door"
    }

    fn handle_incoming_call(&self, call: IncomingCall, _: CallService) -> HandlerFuture {
        Box::pin(async move { HandlerAction::Handle(call.called()) })
    }
}

fn house() -> Harness {
    Harness::new(Instant::now(), program())
}

fn program() -> Vec<Arc<dyn ApplicationHandler>> {
    vec![Arc::new(Door), Arc::new(EchoNumber), Arc::new(Milliwatt)]
}

#[test]
fn who_dials_echo_hears_the_echo_until_hash() {
    let mut harness = house();
    let ann = harness.party("192.0.2.11:5060");
    let call = harness.call(ann, "echo", Some(SESSION));
    harness.run(Duration::from_secs(3_600));
    let endpoint = harness.callers_endpoint();
    assert!(harness.media().hears_itself(endpoint));
    harness.press(endpoint, "12*");
    assert!(harness.is_up(ann, call) && harness.media().hears_itself(endpoint));
    harness.press(endpoint, "#");
    harness.run(Duration::from_secs(1));
    assert!(!harness.is_up(ann, call));
    harness.assert_nothing_left();
}

#[test]
fn who_dials_milliwatt_hears_one_until_they_hang_up() {
    let mut harness = house();
    let ann = harness.party("192.0.2.11:5060");
    let call = harness.call(ann, "milliwatt", Some(SESSION));
    harness.run(Duration::from_secs(3_600));
    let heard = harness.media().heard();
    assert_eq!(heard.iter().map(|it| it.prompt.clone()).collect::<Vec<_>>(), [Milliwatt::tone()]);
    assert!(harness.media().is_playing(harness.callers_endpoint()));
    harness.hang_up(ann, call);
    harness.assert_nothing_left();
}

#[test]
fn who_hears_a_test_number_hears_it_again_when_the_server_dies() {
    let mut harness = house();
    let ann = harness.party("192.0.2.11:5060");
    let echo = harness.call(ann, "echo", Some(SESSION));
    let endpoint = harness.callers_endpoint();
    for _ in 0..2 {
        harness.dies(program());
        assert!(harness.is_up(ann, echo) && harness.media().hears_itself(endpoint));
    }
    harness.press(endpoint, "#");
    assert!(!harness.is_up(ann, echo));
    let milliwatt = harness.call(ann, "milliwatt", Some(SESSION));
    harness.dies(program());
    assert!(harness.media().is_playing(harness.callers_endpoint()));
    harness.hang_up(ann, milliwatt);
    harness.assert_nothing_left();
}
