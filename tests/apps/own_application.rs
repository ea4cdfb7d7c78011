//! The example of an application of one's own, tested as its author would: with the harness,
//! in virtual time, without media.

#[allow(dead_code)] // its main
#[path = "../../examples/own_application.rs"]
mod example;

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b::app::Prompts;
use b2b::call::call_fsm::CallState;
use b2b_testkit::{Harness, SESSION};

use example::Extension;

fn harness() -> Harness {
    let server = "192.0.2.12:5060".parse().expect("an address");
    Harness::new(Instant::now(), vec![Arc::new(Extension { server, prompts: Prompts::new("/p") })])
}

#[test]
fn a_caller_presses_a_number_hears_it_and_is_joined_with_it() {
    let mut harness = harness();
    let (ann, bob) = (harness.party("192.0.2.11:5060"), harness.party("192.0.2.12:5060"));
    let call = harness.call(ann, "anything", Some(SESSION));
    let endpoint = harness.callers_endpoint();
    harness.press(endpoint, "42#");
    assert_eq!(harness.media().heard_words(), ["which-number.wav", "4.wav 2.wav"]);
    assert_eq!(harness.snapshot()[0].variables, [("extension".to_owned(), "42".to_owned())]);
    harness.run(Duration::from_secs(2));
    harness.answer_next(bob, SESSION);
    assert!(harness.wire.iter().any(|sent| sent.line() == "INVITE sip:42@192.0.2.12:5060 SIP/2.0"));
    assert_eq!(harness.snapshot()[0].state, CallState::Bridged);
    harness.hang_up(ann, call);
    harness.assert_nothing_left();
}

#[test]
fn a_caller_who_presses_nothing_or_hangs_up_leaves_nothing() {
    let mut harness = harness();
    let ann = harness.party("192.0.2.11:5060");
    harness.call(ann, "anything", Some(SESSION));
    harness.run(Duration::from_secs(7));
    assert!(harness.snapshot().is_empty(), "5 s behind the prompt it hangs up");
    let call = harness.call(ann, "anything", Some(SESSION));
    harness.hang_up(ann, call);
    harness.assert_nothing_left();
}

#[test]
fn it_is_as_short_as_it_is_said_to_be() {
    let text = include_str!("../../examples/own_application.rs");
    let inside =
        text.split("// application: begin").nth(1).and_then(|rest| rest.split("// application: end").next());
    let lines = inside.expect("an application").lines().filter(|line| !line.trim().is_empty()).count();
    assert!((20..=40).contains(&lines), "{lines} lines");
}
