//! The behaviour of the floor: agents in several queues, their states, reloads.

use super::agent::{AgentState, Duty};
use super::tests::{Desk, agent, cancel, left, queue, ring, s, told};
use super::values::*;

#[test]
fn agents_of_several_queues_are_called_once() {
    let mut desk = Desk::new(vec![agent("ann")], vec![queue("sales", &[0]), queue("help", &[0])]);
    assert_eq!(desk.caller(1), [ring(1, 1, 0)]);
    assert_eq!(desk.caller_for(2, 1, 0, &[]), [told(2, 1)], "another queue, another line");
    desk.answers(1);
    desk.joined(1);
    desk.gone(1, Gone::Ended);
    let rings = desk.pass(s(10));
    assert!(matches!(rings[..], [Output::Ring { caller: CallerId(2), queue: QueueNo(1), .. }]), "{rings:?}");
}

#[test]
fn a_queue_that_goes_first_is_served_first() {
    let plans = vec![QueuePlan { priority: 2, ..queue("sales", &[0]) }, queue("help", &[0])];
    let mut desk = Desk::new(vec![agent("ann")], plans);
    desk.duty(0, Duty::Paused);
    desk.caller(1);
    desk.caller_for(2, 1, 0, &[]);
    let rings = desk.duty(0, Duty::Available);
    assert!(matches!(rings[..], [Output::Ring { caller: CallerId(2), .. }]), "{rings:?}");
}

#[test]
fn who_logs_out_is_not_called_on_and_who_pauses_may_still_answer() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    assert_eq!(desk.duty(0, Duty::Paused), []);
    assert_eq!(desk.duty(0, Duty::LoggedOut), [cancel(1, Withdrawn::LoggedOut)]);
    desk.gone(1, Gone::Cancelled);
    assert_eq!(desk.state(0), AgentState::LoggedOut);
    assert_eq!(desk.counters().missed, 0);
}

#[test]
fn a_phone_that_goes_is_logged_out_until_it_comes_back() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    let reach = |reachable| Input::AgentReachable { agent: AgentNo(0), reachable };
    assert_eq!(desk.say(reach(false)), [cancel(1, Withdrawn::LoggedOut)]);
    desk.gone(1, Gone::Unreachable);
    assert_eq!(desk.state(0), AgentState::LoggedOut);
    assert_eq!(desk.say(reach(true)), [ring(2, 1, 0)]);
}

#[test]
fn who_pauses_in_a_call_ends_it_first() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    desk.answers(1);
    desk.joined(1);
    desk.duty(0, Duty::Paused);
    assert_eq!(desk.state(0), AgentState::Busy);
    desk.gone(1, Gone::Ended);
    assert_eq!(desk.state(0), AgentState::Paused);
    desk.duty(0, Duty::Available);
    assert_eq!(desk.state(0), AgentState::Available, "who says so has rested");
    assert!(desk.floor.is_idle());
}

#[test]
fn agents_states_are_told_with_the_reason() {
    let mut desk = Desk::sales(&["ann"]);
    desk.floor.handle(desk.now, Input::AgentDuty { agent: AgentNo(0), duty: Duty::Paused });
    let (agent, from, to, why) = (AgentNo(0), AgentState::Available, AgentState::Paused, Why::Asked);
    assert_eq!(desk.floor.poll(), Some(Output::Agent { agent, from, to, why }));
    desk.floor.handle(desk.now, Input::AgentDuty { agent, duty: Duty::Paused });
    assert_eq!(desk.floor.poll(), None, "what is so already is no news");
}

#[test]
fn another_plan_keeps_who_is_in_both() {
    let mut desk = Desk::sales(&["ann", "bob"]);
    desk.caller(1);
    desk.caller(2);
    desk.answers(1);
    desk.joined(1);
    // Bob is removed, Cid is added, and Ann's index changes.
    let plan = FloorPlan { agents: vec![agent("cid"), agent("ann")], queues: vec![queue("sales", &[0, 1])] };
    desk.floor.reload(desk.now, plan);
    let said: Vec<_> = std::iter::from_fn(|| desk.floor.poll()).collect();
    assert!(said.contains(&cancel(2, Withdrawn::LoggedOut)), "{said:?}");
    assert!(said.contains(&ring(3, 2, 2)), "the new one is called at once: {said:?}");
    assert_eq!(desk.state(0), AgentState::Busy, "who talks talks on");
    assert_eq!(desk.floor.agents().collect::<Vec<_>>(), [AgentNo(0), AgentNo(2)]);
    assert_eq!(desk.floor.agent_named("bob"), None);
    assert_eq!(desk.answers(2), [cancel(2, Withdrawn::TooLate)]);
    desk.gone(2, Gone::Ended);
    desk.gone(1, Gone::Ended);
    assert_eq!(desk.state(0), AgentState::WrapUp);
    assert_eq!(desk.counters().answered, 1, "what was counted stays");
}

#[test]
fn a_queue_that_is_no_more_sends_its_callers_away_but_not_those_who_are_answered() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    desk.caller(2);
    desk.answers(1);
    desk.floor.reload(desk.now, FloorPlan { agents: vec![agent("ann")], queues: vec![] });
    let said: Vec<_> = std::iter::from_fn(|| desk.floor.poll()).collect();
    assert_eq!(said, [left(2, Left::Closed, 0)]);
    assert_eq!(desk.joined(1), [left(1, Left::Answered(AgentNo(0)), 0)]);
    assert_eq!(desk.floor.queue_named("sales"), None);
    desk.gone(1, Gone::Ended);
    desk.pass(s(10));
    assert!(desk.floor.is_idle());
    // An agent who is added again has the same number.
    let plan = FloorPlan { agents: vec![agent("ann")], queues: vec![queue("sales", &[0])] };
    desk.floor.reload(desk.now, plan);
    assert_eq!(desk.caller(3), [ring(2, 3, 0)]);
}
