//! The behaviour of the floor: one situation per test.

use std::time::{Duration, Instant};

use super::agent::{AgentState, Duty};
use super::values::*;
use super::*;
use crate::caller::Caller;

pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn skills(list: &[(&str, u8)]) -> Skills {
    list.iter().map(|(skill, level)| ((*skill).to_owned(), *level)).collect()
}

pub fn agent(name: &str) -> AgentPlan {
    AgentPlan::new(name)
}

pub fn queue(name: &str, agents: &[usize]) -> QueuePlan {
    QueuePlan {
        priority: 1,
        patience: Some(s(300)),
        most: 10,
        digits: vec!['9'],
        ..QueuePlan::new(name, agents.iter().copied().map(AgentNo))
    }
}

/// A floor with its time, and shortcuts for inputs.
pub struct Desk {
    pub floor: Floor,
    pub now: Instant,
}

/// Each caller is a user of its own.
pub fn who(CallerId(id): CallerId) -> Caller {
    Caller::User(id.to_string())
}

impl Desk {
    pub fn new(agents: Vec<AgentPlan>, queues: Vec<QueuePlan>) -> Self {
        let now = Instant::now();
        Desk { floor: Floor::new(now, FloorPlan { agents, queues }), now }
    }

    /// One queue with these agents.
    pub fn sales(agents: &[&str]) -> Self {
        let all: Vec<usize> = (0..agents.len()).collect();
        Desk::new(agents.iter().map(|name| agent(name)).collect(), vec![queue("sales", &all)])
    }

    /// Handles an input; returns the actions, without changes of agents.
    pub fn say(&mut self, input: Input) -> Vec<Output> {
        self.floor.handle(self.now, input);
        std::iter::from_fn(|| self.floor.poll()).filter(|it| !matches!(it, Output::Agent { .. })).collect()
    }

    /// Lets time pass; returns the resulting actions.
    pub fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut outputs = Vec::new();
        while let Some(at) = self.floor.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            outputs.extend(self.say(Input::Tick));
        }
        self.now = end;
        outputs
    }

    /// A caller joins, and has heard the welcome.
    pub fn caller(&mut self, id: u64) -> Vec<Output> {
        self.caller_for(id, 0, 0, &[])
    }

    pub fn caller_for(&mut self, id: u64, queue: usize, priority: u8, needs: &[(&str, u8)]) -> Vec<Output> {
        let (caller, queue, skills) = (CallerId(id), QueueNo(queue), skills(needs));
        let welcome = self.say(Input::CallerJoined { caller, who: who(caller), queue, priority, skills });
        assert_eq!(welcome, [Output::Welcome { caller, queue }]);
        self.say(Input::CallerReady { caller })
    }

    pub fn answers(&mut self, offer: u64) -> Vec<Output> {
        self.say(Input::AgentAnswered { offer: OfferId(offer) })
    }

    pub fn gone(&mut self, offer: u64, why: Gone) -> Vec<Output> {
        self.say(Input::AgentGone { offer: OfferId(offer), why })
    }

    pub fn joined(&mut self, offer: u64) -> Vec<Output> {
        self.say(Input::Joined { offer: OfferId(offer) })
    }

    pub fn state(&self, agent: usize) -> AgentState {
        self.floor.agent_view(self.now, AgentNo(agent)).unwrap().state
    }

    pub fn duty(&mut self, agent: usize, duty: Duty) -> Vec<Output> {
        self.say(Input::AgentDuty { agent: AgentNo(agent), duty })
    }

    pub fn counters(&self) -> QueueCounters {
        self.floor.queue_view(self.now, QueueNo(0)).unwrap().counters
    }
}

pub fn ring(offer: u64, caller: u64, agent: usize) -> Output {
    let (offer, caller, agent) = (OfferId(offer), CallerId(caller), AgentNo(agent));
    Output::Ring { offer, caller, agent, queue: QueueNo(0) }
}

pub fn join(offer: u64, caller: u64, agent: usize) -> Output {
    Output::Join { offer: OfferId(offer), caller: CallerId(caller), agent: AgentNo(agent) }
}

pub fn cancel(offer: u64, why: Withdrawn) -> Output {
    Output::Cancel { offer: OfferId(offer), why }
}

pub fn left(caller: u64, how: Left, waited: u64) -> Output {
    Output::Left { caller: CallerId(caller), queue: QueueNo(0), how, waited: s(waited) }
}

pub fn told(caller: u64, position: usize) -> Output {
    Output::Announce { caller: CallerId(caller), position, estimate: None }
}

#[test]
fn one_user_leaves_places_of_a_queue_to_others() {
    let mut sales = queue("sales", &[0]);
    sales.most = 16;
    let mut desk = Desk::new(vec![agent("amy")], vec![sales]);
    let mut n = 0;
    let mut waits = |desk: &mut Desk, who: &Caller| {
        n += 1;
        let (caller, who, queue) = (CallerId(n), who.clone(), QueueNo(0));
        let input = Input::CallerJoined { caller, who, queue, priority: 0, skills: skills(&[]) };
        desk.say(input) == [Output::Welcome { caller, queue }]
    };
    let user = |name: &str| Caller::User(name.to_owned());
    assert_eq!((0..50).filter(|_| waits(&mut desk, &user("1001"))).count(), 14);
    assert!(waits(&mut desk, &user("1002")) && !waits(&mut desk, &user("1002")));
    (1..=7).for_each(|n| drop(desk.say(Input::CallerLeft { caller: CallerId(n) })));
    assert_eq!((0..50).filter(|_| waits(&mut desk, &user("1001"))).count(), 1, "half while others wait");
}

#[test]
fn a_caller_reaches_an_agent_who_rests_afterwards() {
    let mut desk = Desk::sales(&["ann"]);
    assert_eq!(desk.caller(1), [ring(1, 1, 0)]);
    assert_eq!(desk.state(0), AgentState::Ringing);
    assert_eq!(desk.pass(s(4)), []);
    assert_eq!(desk.answers(1), [join(1, 1, 0)]);
    assert_eq!(desk.joined(1), [left(1, Left::Answered(AgentNo(0)), 4)]);
    assert_eq!(desk.state(0), AgentState::Busy);
    assert_eq!(desk.gone(1, Gone::Ended), []);
    assert_eq!(desk.state(0), AgentState::WrapUp);
    desk.pass(s(10));
    assert_eq!(desk.state(0), AgentState::Available);
    assert!(desk.floor.is_idle());
    assert_eq!((desk.counters().answered, desk.counters().answered_in_time), (1, 1));
}

#[test]
fn nobody_is_called_before_the_welcome_is_over() {
    let mut desk = Desk::sales(&["ann"]);
    let (caller, queue, skills) = (CallerId(1), QueueNo(0), Skills::new());
    desk.say(Input::CallerJoined { caller, who: who(caller), queue, priority: 0, skills });
    assert_eq!(desk.state(0), AgentState::Available);
    assert_eq!(desk.say(Input::CallerReady { caller }), [ring(1, 1, 0)]);
    assert_eq!(desk.say(Input::CallerReady { caller }), [], "a second time changes nothing");
}

#[test]
fn a_caller_is_told_its_position_at_once_and_every_30_seconds() {
    let mut desk = Desk::sales(&[]);
    assert_eq!(desk.caller(1), [told(1, 1)]);
    assert_eq!(desk.caller(2), [told(2, 2)]);
    assert_eq!(desk.pass(s(29)), []);
    assert_eq!(desk.pass(s(1)), [told(1, 1), told(2, 2)]);
    assert_eq!(desk.say(Input::CallerLeft { caller: CallerId(1) }), [left(1, Left::Abandoned, 30)]);
    assert_eq!(desk.pass(s(30)), [told(2, 1)]);
}

#[test]
fn the_estimate_comes_from_the_latest_answers() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    desk.caller(2);
    desk.pass(s(12));
    desk.answers(1);
    desk.joined(1);
    let told = desk.pass(s(18));
    let [Output::Announce { position: 1, estimate: Some(estimate), .. }] = told[..] else {
        panic!("{told:?}")
    };
    // One answer after 12 s, and 18 s without another one.
    assert_eq!(estimate, s(15));
}

#[test]
fn when_an_agent_rejects_the_caller_keeps_its_place() {
    let mut desk = Desk::sales(&["ann", "bob"]);
    assert_eq!(desk.caller(1), [ring(1, 1, 0)]);
    assert_eq!(desk.caller(2), [ring(2, 2, 1)]);
    assert_eq!(desk.gone(1, Gone::Rejected), []);
    assert_eq!(desk.state(0), AgentState::WrapUp, "who refuses is left alone for a moment");
    // The agent who rings for the second caller answers: the first caller gets that agent.
    assert_eq!(desk.answers(2), [join(2, 1, 1)]);
    assert_eq!(desk.joined(2), [left(1, Left::Answered(AgentNo(1)), 0)]);
    assert_eq!(desk.pass(s(5)), [ring(3, 2, 0)]);
}

#[test]
fn the_first_in_line_gets_the_first_answer_and_the_second_one_the_phone_that_rings_on() {
    let mut desk = Desk::sales(&["ann", "bob"]);
    desk.caller(1);
    desk.caller(2);
    assert_eq!(desk.answers(2), [join(2, 1, 1)]);
    assert_eq!(desk.joined(2), [left(1, Left::Answered(AgentNo(1)), 0)]);
    assert_eq!(desk.answers(1), [join(1, 2, 0)]);
}

#[test]
fn who_does_not_answer_twice_is_paused() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    assert_eq!(desk.pass(s(15)), [cancel(1, Withdrawn::NoAnswer)]);
    assert_eq!(desk.state(0), AgentState::Ringing, "its phone may still ring");
    desk.gone(1, Gone::Cancelled);
    assert_eq!(desk.state(0), AgentState::WrapUp);
    assert_eq!(desk.pass(s(5)), [ring(2, 1, 0)]);
    assert_eq!(desk.pass(s(15)), [cancel(2, Withdrawn::NoAnswer)]);
    desk.gone(2, Gone::Cancelled);
    assert_eq!(desk.state(0), AgentState::Paused);
    assert_eq!(desk.pass(s(60)).iter().filter(|it| matches!(it, Output::Ring { .. })).count(), 0);
    assert_eq!(desk.duty(0, Duty::Available), [ring(3, 1, 0)]);
    assert_eq!(desk.counters().missed, 2);
}

#[test]
fn an_answer_makes_up_for_what_was_missed() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    desk.pass(s(15));
    desk.gone(1, Gone::Cancelled);
    desk.pass(s(5));
    desk.answers(2);
    desk.joined(2);
    desk.gone(2, Gone::Ended);
    desk.pass(s(10));
    desk.caller(2);
    desk.pass(s(15));
    desk.gone(3, Gone::Cancelled);
    assert_eq!(desk.state(0), AgentState::WrapUp);
}

#[test]
fn a_phone_that_cannot_be_reached_counts_as_missed() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    desk.gone(1, Gone::Unreachable);
    desk.pass(s(5));
    desk.gone(2, Gone::Unreachable);
    assert_eq!(desk.state(0), AgentState::Paused);
}

#[test]
fn a_caller_who_hangs_up_ends_the_ringing() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    let gone = desk.say(Input::CallerLeft { caller: CallerId(1) });
    assert_eq!(gone, [cancel(1, Withdrawn::CallerGone), left(1, Left::Abandoned, 0)]);
    // The phone may still ring: the agent is offered no other caller until it has stopped.
    assert_eq!(desk.caller(2), [told(2, 1)]);
    assert_eq!(desk.gone(1, Gone::Cancelled), [ring(2, 2, 0)]);
    assert_eq!(desk.counters().abandoned, 1);
}

#[test]
fn an_answer_that_crosses_the_callers_end_is_hung_up() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    desk.say(Input::CallerLeft { caller: CallerId(1) });
    assert_eq!(desk.answers(1), [cancel(1, Withdrawn::TooLate)]);
    assert_eq!(desk.joined(1), [], "what was not to be joined is not");
    assert_eq!(desk.gone(1, Gone::Ended), []);
    assert_eq!(desk.state(0), AgentState::Available);
    assert!(desk.floor.is_idle());
}

#[test]
fn a_caller_who_hangs_up_while_it_is_joined_ends_the_agents_call() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    desk.answers(1);
    let gone = desk.say(Input::CallerLeft { caller: CallerId(1) });
    assert_eq!(gone, [cancel(1, Withdrawn::CallerGone), left(1, Left::Abandoned, 0)]);
    assert_eq!(desk.say(Input::JoinFailed { offer: OfferId(1) }), []);
    desk.gone(1, Gone::Ended);
    assert!(desk.floor.is_idle());
}

#[test]
fn an_agent_who_vanishes_while_joined_leaves_the_caller_where_it_was() {
    let mut desk = Desk::sales(&["ann", "bob"]);
    desk.duty(1, Duty::Paused);
    desk.caller(1);
    desk.caller(2);
    desk.answers(1);
    desk.gone(1, Gone::Ended);
    assert_eq!(desk.duty(1, Duty::Available), [ring(2, 1, 1)]);
}

#[test]
fn when_they_cannot_be_joined_the_agent_rests_and_the_caller_waits_on() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    desk.answers(1);
    assert_eq!(desk.say(Input::JoinFailed { offer: OfferId(1) }), [cancel(1, Withdrawn::TooLate)]);
    desk.gone(1, Gone::Ended);
    assert_eq!(desk.pass(s(5)), [ring(2, 1, 0)]);
}

#[test]
fn patience_ends_and_so_does_the_ringing() {
    let mut desk = Desk::sales(&["ann"]);
    desk.duty(0, Duty::Paused);
    desk.caller(1);
    desk.pass(s(295));
    desk.duty(0, Duty::Available);
    assert_eq!(desk.pass(s(5)), [cancel(1, Withdrawn::CallerGone), left(1, Left::Timeout, 300)]);
    desk.gone(1, Gone::Cancelled);
    assert!(desk.floor.is_idle());
}

#[test]
fn patience_ends_in_the_welcome_too_but_not_while_an_agent_is_being_joined() {
    let mut desk = Desk::sales(&["ann"]);
    let (caller, queue, skills) = (CallerId(1), QueueNo(0), Skills::new());
    desk.say(Input::CallerJoined { caller, who: who(caller), queue, priority: 0, skills });
    assert_eq!(desk.pass(s(300)), [left(1, Left::Timeout, 300)]);
    desk.caller(2);
    desk.answers(1);
    assert_eq!(desk.pass(s(301)), []);
    assert_eq!(desk.joined(1).len(), 1);
}

#[test]
fn a_full_queue_lets_nobody_in() {
    let mut desk = Desk::sales(&[]);
    for caller in 1..=10 {
        desk.caller(caller);
    }
    let (caller, queue, skills) = (CallerId(11), QueueNo(0), Skills::new());
    let said = desk.say(Input::CallerJoined {
        caller,
        who: who(caller),
        queue,
        priority: 9,
        skills: skills.clone(),
    });
    assert_eq!(said, [left(11, Left::Full, 0)]);
    desk.say(Input::CallerLeft { caller: CallerId(3) });
    let said = desk.say(Input::CallerJoined { caller, who: who(caller), queue, priority: 9, skills });
    assert_eq!(said, [Output::Welcome { caller, queue }]);
}

#[test]
fn a_queue_that_needs_agents_lets_nobody_in_without_one() {
    let plan = QueuePlan { needs_agents: true, ..queue("sales", &[0]) };
    let mut desk = Desk::new(vec![agent("ann")], vec![plan]);
    desk.duty(0, Duty::LoggedOut);
    let (caller, queue, skills) = (CallerId(1), QueueNo(0), Skills::new());
    let said = desk.say(Input::CallerJoined { caller, who: who(caller), queue, priority: 0, skills });
    assert_eq!(said, [left(1, Left::NoAgents, 0)]);
    desk.duty(0, Duty::Paused);
    assert_eq!(desk.caller(2), [told(2, 1)], "who pauses comes back");
}

#[test]
fn a_digit_of_the_queues_leads_out_and_another_one_nowhere() {
    let mut desk = Desk::sales(&["ann"]);
    desk.caller(1);
    assert_eq!(desk.say(Input::CallerPressed { caller: CallerId(1), digit: '8' }), []);
    let out = desk.say(Input::CallerPressed { caller: CallerId(1), digit: '9' });
    assert_eq!(out, [cancel(1, Withdrawn::CallerGone), left(1, Left::Digit('9'), 0)]);
    desk.gone(1, Gone::Cancelled);
    desk.caller(2);
    desk.answers(2);
    assert_eq!(desk.say(Input::CallerPressed { caller: CallerId(2), digit: '9' }), [], "the call is up");
}

#[test]
fn higher_priority_is_served_first() {
    let mut desk = Desk::sales(&["ann"]);
    desk.duty(0, Duty::Paused);
    desk.caller(1);
    assert_eq!(desk.caller_for(2, 0, 5, &[]), [told(2, 1)]);
    assert_eq!(desk.duty(0, Duty::Available), [ring(1, 2, 0)]);
}

#[test]
fn who_needs_a_skill_waits_for_who_has_it_and_blocks_nobody() {
    let french = AgentPlan { skills: skills(&[("french", 5)]), ..agent("zoe") };
    let mut desk = Desk::new(vec![agent("ann"), french], vec![queue("sales", &[0, 1])]);
    desk.duty(1, Duty::Paused);
    assert_eq!(desk.caller_for(1, 0, 0, &[("french", 3)]), [told(1, 1)]);
    assert_eq!(desk.caller(2), [ring(1, 2, 0)]);
    // Ann lacks the skill for the first caller: her answer is for the second one.
    assert_eq!(desk.answers(1), [join(1, 2, 0)]);
    assert_eq!(desk.duty(1, Duty::Available), [ring(2, 1, 1)]);
}

#[test]
fn the_queues_skills_are_needed_by_all_of_its_callers() {
    let plan = QueuePlan { skills: skills(&[("billing", 2)]), ..queue("sales", &[0]) };
    let mut desk = Desk::new(vec![agent("ann")], vec![plan]);
    assert_eq!(desk.caller(1), [told(1, 1)]);
}

#[test]
fn all_ring_and_the_first_to_answer_takes_the_caller() {
    let plan = QueuePlan { strategy: Strategy::RingAll, ..queue("sales", &[0, 1, 2]) };
    let mut desk = Desk::new(vec![agent("ann"), agent("bob"), agent("cid")], vec![plan]);
    desk.duty(2, Duty::Paused);
    assert_eq!(desk.caller(1), [ring(1, 1, 0), ring(2, 1, 1)]);
    assert_eq!(desk.duty(2, Duty::Available), [ring(3, 1, 2)], "who comes later rings, too");
    let ends = [cancel(1, Withdrawn::Elsewhere), cancel(3, Withdrawn::Elsewhere), join(2, 1, 1)];
    assert_eq!(desk.answers(2), ends);
    // The second answer came too late.
    assert_eq!(desk.answers(1), [cancel(1, Withdrawn::TooLate)]);
    assert_eq!(desk.joined(2), [left(1, Left::Answered(AgentNo(1)), 0)]);
}

#[test]
fn one_who_rejects_does_not_end_the_others_ringing() {
    let plan = QueuePlan { strategy: Strategy::RingAll, ..queue("sales", &[0, 1]) };
    let mut desk = Desk::new(vec![agent("ann"), agent("bob")], vec![plan]);
    desk.caller(1);
    assert_eq!(desk.gone(1, Gone::Rejected), []);
    assert_eq!(desk.answers(2), [join(2, 1, 1)]);
}

#[test]
fn a_caller_whose_patience_ended_in_a_joining_that_fails_is_sent_away() {
    for input in
        [Input::JoinFailed { offer: OfferId(1) }, Input::AgentGone { offer: OfferId(1), why: Gone::Ended }]
    {
        let mut desk = Desk::sales(&["ann"]);
        desk.pass(s(1));
        desk.caller(1);
        desk.answers(1);
        desk.pass(s(300));
        assert!(desk.say(input).contains(&left(1, Left::Timeout, 300)));
        desk.gone(1, Gone::Ended);
        desk.pass(s(5));
        assert!(desk.floor.is_idle());
    }
}

#[test]
fn what_is_unknown_changes_nothing() {
    let mut desk = Desk::sales(&["ann"]);
    for input in [
        Input::CallerReady { caller: CallerId(7) },
        Input::CallerLeft { caller: CallerId(7) },
        Input::CallerPressed { caller: CallerId(7), digit: '9' },
        Input::AgentAnswered { offer: OfferId(7) },
        Input::Joined { offer: OfferId(7) },
        Input::JoinFailed { offer: OfferId(7) },
        Input::AgentGone { offer: OfferId(7), why: Gone::Ended },
        Input::AgentDuty { agent: AgentNo(7), duty: Duty::Paused },
        Input::AgentReachable { agent: AgentNo(7), reachable: false },
        Input::Tick,
    ] {
        assert_eq!(desk.say(input), []);
    }
    assert!(desk.floor.is_idle());
}

#[test]
fn callers_who_return_have_their_places_and_nobody_is_called_before_all_are_back() {
    let mut desk = Desk::sales(&["amy"]);
    let came = desk.now;
    desk.pass(s(290));
    let mut returns = |id: u64, number: u64, priority: u8, joined: u64| {
        let (caller, skills) = (CallerId(id), Skills::new());
        let before = Before { number, joined: came + s(joined), is_ready: true, announced: None };
        let (who, queue) = (who(caller), QueueNo(0));
        desk.say(Input::CallerReturned { caller, who, queue, priority, skills, before })
    };
    // Not in their order; the last one is in haste.
    assert_eq!([returns(11, 2, 0, 20), returns(12, 1, 0, 15), returns(13, 3, 7, 30)], [[], [], []]);
    // A new one is behind them.
    desk.say(Input::CallerJoined {
        caller: CallerId(14),
        who: who(CallerId(14)),
        queue: QueueNo(0),
        priority: 0,
        skills: Skills::new(),
    });
    desk.say(Input::CallerReady { caller: CallerId(14) });
    let out = desk.pass(Duration::from_millis(200));
    assert_eq!(out, [ring(1, 13, 0), told(11, 3), told(12, 2)]);
    let view = desk.floor.queue_view(desk.now, QueueNo(0)).unwrap();
    let order: Vec<_> = view.callers.iter().map(|it| it.caller.0).collect();
    assert_eq!((order, view.counters.joined), (vec![13, 12, 11, 14], 1));
    desk.gone(1, Gone::Rejected);
    desk.duty(0, Duty::LoggedOut);
    // The patience is that since they came.
    let mut left: Vec<_> = desk.pass(s(60));
    left.retain(|it| matches!(it, Output::Left { .. }));
    let waited = |it: &Output| matches!(it, Output::Left { waited, .. } if *waited == s(300));
    assert!(left.len() == 3 && left.iter().all(waited), "{left:?}");
}
