//! Exits of a queue, and actions of agents.

use b2b_call::call_fsm::CallState;
use b2b_testkit::{SESSION, Termination};

use super::super::machine::agent::{AgentState, Duty};
use super::{DAN, one_agent, s, uri};

#[test]
fn a_full_queue_refuses_whom_it_has_no_way_for() {
    let mut it = one_agent();
    it.change("bob", Duty::Paused);
    let (a, c) = (it.caller(it.ann), it.caller(it.cat));
    let dan = it.harness.party(DAN);
    let d = it.caller(dan);
    let ended = it.harness.ended(dan, d);
    let busy = matches!(&ended, Some(Termination::Failed { response }) if response.status() == 486);
    assert!(busy, "{ended:?}");
    it.harness.hang_up(it.ann, a);
    it.harness.hang_up(it.cat, c);
    it.close();
}

#[test]
fn patience_leads_to_another_application() {
    let mut it = one_agent();
    it.change("bob", Duty::Paused);
    let a = it.caller(it.ann);
    it.harness.run(s(300));
    // There is no such application, and the target is not a URI either.
    assert!(it.harness.ended(it.ann, a).is_some());
    assert_eq!(it.news().last().map(String::as_str), Some("left timeout"));
    let record = it.harness.records().remove(0);
    assert!(record.variables.contains(&("queue_result".to_owned(), "timeout".to_owned())), "{record:?}");
    it.close();
}

#[test]
fn a_digit_leads_out_to_a_target() {
    let mut it = one_agent();
    let dan = it.harness.party(DAN);
    it.change("bob", Duty::Paused);
    let a = it.caller(it.ann);
    it.harness.run(s(5));
    let endpoint = it.harness.callers_endpoint();
    it.harness.press(endpoint, "8");
    assert!(it.harness.incoming(dan).is_empty());
    it.harness.press(endpoint, "9");
    it.harness.answer_next(dan, SESSION);
    assert_eq!(it.harness.snapshot()[0].state, CallState::Bridged);
    assert_eq!(it.harness.media().under_way(), 0);
    assert_eq!(it.variable("queue_result").as_deref(), Some("digit"));
    it.harness.hang_up(it.ann, a);
    it.close();
}

#[test]
fn a_prompt_that_is_missing_is_not_heard_and_the_caller_is_served() {
    let mut it = one_agent();
    it.harness.media().lose_file("welcome.wav");
    it.harness.media().lose_file("position.wav");
    let a = it.harness.call(it.ann, "sales", Some(SESSION));
    it.harness.answer_next(it.bob, SESSION);
    assert_eq!(it.variable("queue_agent").as_deref(), Some("bob"));
    it.harness.hang_up(it.ann, a);
    it.close();
}

#[test]
fn who_is_not_known_to_be_an_agent_changes_nobody_by_a_code() {
    let mut it = one_agent();
    // The harness does not challenge callers, so no user is authenticated.
    let a = it.harness.call(it.bob, "*45", Some(SESSION));
    assert_eq!(it.agent("bob"), AgentState::Available);
    it.harness.run(s(1));
    it.harness.hang_up(it.bob, a);
    it.close();
}

#[test]
fn an_agent_logs_out_and_in_and_pauses() {
    let mut it = one_agent();
    it.change("bob", Duty::LoggedOut);
    let a = it.caller(it.ann);
    assert!(it.harness.incoming(it.bob).is_empty());
    it.change("bob", Duty::Paused);
    assert!(it.harness.incoming(it.bob).is_empty());
    it.change("bob", Duty::Available);
    it.harness.answer_next(it.bob, SESSION);
    it.change("bob", Duty::LoggedOut);
    assert_eq!(it.agent("bob"), AgentState::Busy, "a call is ended first");
    it.harness.hang_up(it.ann, a);
    assert_eq!(it.agent("bob"), AgentState::LoggedOut);
    it.close();
}

#[test]
fn an_agent_who_sends_the_caller_elsewhere_is_free_again_and_the_caller_keeps_its_record() {
    let mut it = one_agent();
    let dan = it.harness.party(DAN);
    let a = it.caller(it.ann);
    let b = it.harness.answer_next(it.bob, SESSION);
    it.harness.refer(it.bob, b, format!("<{}>", uri(DAN)));
    let d = it.harness.answer_next(dan, SESSION);
    it.harness.answer(it.ann, a, Some(SESSION));
    it.harness.run(s(3));
    assert!(!it.harness.is_up(it.bob, b) && it.harness.is_up(it.ann, a));
    assert_eq!(it.agent("bob"), AgentState::WrapUp);
    it.harness.run(s(10));
    assert_eq!(it.agent("bob"), AgentState::Available);
    it.harness.hang_up(dan, d);
    let records = it.harness.records();
    let agents = records
        .iter()
        .filter(|record| record.variables.contains(&("queue_agent".to_owned(), "bob".to_owned())));
    assert_eq!((agents.count(), records.len()), (3, 3), "{records:?}");
    it.close();
}
