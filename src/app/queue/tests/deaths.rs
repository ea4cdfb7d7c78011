//! The server dies while callers wait, agents ring, and both talk.

use super::super::QueueSettings;
use super::super::machine::agent::{AgentState, Duty};
use super::super::machine::values::QueuePlan;
use super::{BOB, DAN, Office, agent, office, one_agent, s, sales, two_agents, uri};
use b2b_call::call_fsm::CallState;
use b2b_testkit::{Body, SESSION, Termination};
use std::time::Duration;

/// Bob is the agent, and does not take calls yet.
fn shop(change: impl FnOnce(&mut QueuePlan)) -> Office {
    let QueueSettings { mut plan, sounds, ways_out } = sales(1);
    plan.most = 3;
    change(&mut plan);
    let mut it = office(QueueSettings { plan, sounds, ways_out }, vec![agent("bob", BOB)]);
    it.change("bob", Duty::Paused);
    it
}

#[test]
fn callers_keep_their_places_however_often_and_whenever_the_server_dies() {
    // Before which of the steps it dies: none, each alone, all.
    for deaths in [vec![], vec![0], vec![1], vec![2], vec![3], vec![4], vec![5], (0..6).collect()] {
        let mut it = shop(|_| {});
        let mut step = 0;
        let mut dies = |it: &mut Office| {
            if deaths.contains(&step) {
                it.dies();
            }
            step += 1;
        };
        let dan = it.harness.party(DAN);
        let parties = [it.ann, it.cat, dan];
        let calls = parties.map(|party| {
            let came = it.harness.now();
            let usage = it.harness.call(party, "sales", Some(SESSION));
            // In the middle of the welcome.
            dies(&mut it);
            it.harness.run(s(2));
            (party, usage, came)
        });
        let positions = it.heard().into_iter().filter(|it| it.starts_with("position")).collect::<Vec<_>>();
        let told = [1, 2, 3].map(|position| format!("position.wav {position}.wav"));
        assert_eq!(positions, told, "{deaths:?}");
        dies(&mut it);
        let desk = it.desk.clone();
        let queue = it.harness.wait(s(1), async move { desk.queues().await }).remove(0);
        assert_eq!((queue.callers.len(), it.music()), (3, 3), "{deaths:?}");
        for (caller, (_, _, came)) in queue.callers.iter().zip(calls) {
            let waited = it.harness.now() - came;
            assert!(waited - caller.waited < s(1), "{deaths:?}: {waited:?} {:?}", caller.waited);
        }
        it.change("bob", Duty::Available);
        for (at, (party, usage, _)) in calls.into_iter().enumerate() {
            let b = it.harness.next_call(it.bob);
            it.harness.ring(it.bob, b, 180, None);
            if at == 1 {
                dies(&mut it);
                let taken_back = it.harness.ended(it.bob, b).is_some();
                let b = if taken_back {
                    it.harness.run(s(1));
                    it.harness.next_call(it.bob)
                } else {
                    b
                };
                it.harness.answer(it.bob, b, Some(SESSION));
                dies(&mut it);
                assert_eq!((it.agent("bob"), it.waiting()), (AgentState::Busy, 1), "{deaths:?}");
                it.harness.run(s(60));
                assert!(it.harness.incoming(it.bob).is_empty(), "{deaths:?}: it talks");
                it.harness.hang_up(it.bob, b);
            } else {
                it.harness.answer(it.bob, b, Some(SESSION));
                it.harness.run(s(5));
                it.harness.hang_up(it.bob, b);
            }
            assert!(it.harness.ended(party, usage).is_some(), "{deaths:?}: {at}");
            assert_eq!(it.agent("bob"), AgentState::WrapUp, "{deaths:?}");
            it.harness.run(s(10));
        }
        let news = it.news();
        let of = |what: &str| news.iter().filter(|it| it.starts_with(what)).count();
        assert_eq!([of("joined"), of("answered"), of("left")], [3, 3, 3], "{deaths:?}: {news:?}");
        it.close();
    }
}

#[test]
fn a_caller_has_the_patience_that_they_came_with() {
    let mut it = shop(|plan| plan.patience = Some(s(20)));
    let a = it.caller(it.ann);
    it.harness.run(s(9));
    for _ in 0..2 {
        it.dies();
        it.harness.run(s(4));
    }
    assert!(it.harness.is_up(it.ann, a));
    let c = it.caller(it.cat);
    it.harness.run(s(2));
    assert!(it.harness.ended(it.ann, a).is_some(), "20 s since they came");
    assert!(it.harness.is_up(it.cat, c));
    let record = it.harness.records().remove(0);
    assert!(record.variables.contains(&("queue_result".to_owned(), "timeout".to_owned())), "{record:?}");
    let waited = record.variables.iter().find(|(name, _)| name == "queue_wait_s").expect("it is noted");
    assert!(waited.1.starts_with("20.0"), "{waited:?}");
    it.harness.hang_up(it.cat, c);
    it.close();
}

/// Whose call is older, whose place is in front, and who is in haste are three things.
#[test]
fn callers_have_the_order_in_which_they_came_into_the_queue_and_their_priority() {
    for deaths in 0..3 {
        let mut it = shop(|_| {});
        let dan = it.harness.party(DAN);
        let parties = [(it.ann, "later"), (it.cat, "sales"), (dan, "urgent")];
        let calls = parties.map(|(party, number)| (party, it.harness.call(party, number, Some(SESSION))));
        it.harness.run(s(5));
        (0..deaths).for_each(|_| it.dies());
        it.change("bob", Duty::Available);
        for (party, usage) in calls.into_iter().rev() {
            let b = it.harness.answer_next(it.bob, SESSION);
            it.harness.hang_up(it.bob, b);
            assert!(it.harness.ended(party, usage).is_some(), "{deaths}");
            it.harness.run(s(10));
        }
        it.close();
    }
}

#[test]
fn a_caller_hears_their_position_when_it_is_time_and_leads_out_by_a_key() {
    let mut it = shop(|_| {});
    let dan = it.harness.party(DAN);
    let a = it.caller(it.ann);
    it.harness.run(s(20));
    assert_eq!(it.heard(), ["welcome.wav", "position.wav 1.wav"]);
    it.dies();
    assert_eq!((it.music(), it.harness.snapshot()[0].state), (1, CallState::InQueue));
    it.harness.run(s(8));
    assert_eq!(it.heard(), [""; 0], "30 s after the last time");
    it.harness.run(s(4));
    assert_eq!(it.heard(), ["position.wav 1.wav"]);
    let endpoint = it.harness.callers_endpoint();
    it.harness.press(endpoint, "9");
    it.harness.answer_next(dan, SESSION);
    assert_eq!(it.variable("queue_result").as_deref(), Some("digit"));
    it.harness.hang_up(it.ann, a);
    it.close();
}

#[test]
fn a_phone_that_rings_when_the_server_dies_is_stopped_and_rings_anew() {
    let mut it = one_agent();
    let a = it.caller(it.ann);
    let b = it.harness.next_call(it.bob);
    it.harness.ring(it.bob, b, 180, None);
    it.dies();
    assert!(matches!(it.harness.ended(it.bob, b), Some(Termination::RemoteCancel { .. })));
    it.harness.run(s(1));
    it.harness.answer_next(it.bob, SESSION);
    assert_eq!(it.variable("queue_agent").as_deref(), Some("bob"));
    it.harness.hang_up(it.ann, a);
    it.close();
}

/// At any time around the answer: on its way, in between, and after it.
#[test]
fn an_agent_who_answers_while_the_server_dies_has_the_caller_or_is_called_again() {
    let mut outcomes = [0, 0];
    for hundredths in 0..12 {
        let mut it = one_agent();
        let a = it.caller(it.ann);
        let b = it.harness.next_call(it.bob);
        let settings = it.kept();
        let now = it.harness.now();
        it.harness.endpoint(it.bob).answer(now, b, Some(Body::sdp(SESSION.to_owned()))).unwrap();
        it.harness.run(Duration::from_millis(5) * hundredths);
        it.dies_with(settings);
        it.harness.run(s(1));
        let has = it.harness.is_up(it.bob, b);
        outcomes[usize::from(has)] += 1;
        let b = if has { b } else { it.harness.answer_next(it.bob, SESSION) };
        assert!(it.harness.is_up(it.ann, a) && it.harness.is_up(it.bob, b), "{hundredths}");
        assert_eq!(it.harness.snapshot().len(), 1, "{hundredths}: nobody is left over");
        assert_eq!(it.harness.media().bridges().len(), 1);
        assert_eq!((it.music(), it.agent("bob")), (0, AgentState::Busy), "{hundredths}");
        assert_eq!(it.variable("queue_result").as_deref(), Some("answered"));
        it.harness.hang_up(it.ann, a);
        assert_eq!(it.agent("bob"), AgentState::WrapUp);
        it.close();
    }
    assert!(outcomes.iter().all(|it| *it > 0), "{outcomes:?}");
}

#[test]
fn an_agent_who_has_sent_the_caller_elsewhere_is_free_when_the_server_dies() {
    let mut it = two_agents();
    let dan = it.harness.party(DAN);
    let a = it.caller(it.ann);
    let b = it.harness.answer_next(it.bob, SESSION);
    it.harness.refer(it.bob, b, format!("<{}>", uri(DAN)));
    let d = it.harness.answer_next(dan, SESSION);
    it.harness.answer(it.ann, a, Some(SESSION));
    it.harness.run(s(3));
    it.dies();
    assert!(it.harness.is_up(it.ann, a) && it.harness.is_up(dan, d));
    assert_eq!((it.agent("bob"), it.agent("cat")), (AgentState::Available, AgentState::Available));
    it.harness.hang_up(it.ann, a);
    it.close();
}
