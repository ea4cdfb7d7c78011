//! Properties of every state of the four state machines.

use super::{Action, Timer, invite_client, invite_server, non_invite_client, non_invite_server};

const TIMERS: [Timer; 15] = [
    Timer::A,
    Timer::B,
    Timer::D,
    Timer::E,
    Timer::F,
    Timer::G,
    Timer::H,
    Timer::I,
    Timer::J,
    Timer::K,
    Timer::L,
    Timer::M,
    Timer::Patience,
    Timer::Trying,
    Timer::Unanswered,
];

/// Visits every state reachable from the start: no state that only a timer can end lacks a
/// running timer, and the terminated state is final.
fn walk<S: Copy + PartialEq + std::fmt::Debug, E: Copy + std::fmt::Debug>(
    start: (S, &[Action]),
    terminated: S,
    waits_for_its_user: &[S],
    events: &[E],
    step: impl Fn(S, E) -> (S, &'static [Action]),
) {
    let started = |actions: &[Action], mut running: Vec<Timer>| {
        for action in actions {
            match *action {
                Action::Start(timer) | Action::Double(timer) | Action::Slow(timer) => {
                    running.retain(|other| other.slot() != timer.slot());
                    running.push(timer);
                }
                Action::Stop(timer) => running.retain(|other| *other != timer),
                _ => {}
            }
        }
        running
    };
    let mut seen = vec![(start.0, started(start.1, Vec::new()))];
    let mut next = 0;
    while next < seen.len() {
        let (state, running) = seen[next].clone();
        next += 1;
        if state == terminated {
            continue;
        }
        let ends = running.iter().any(|timer| timer.slot() == super::timer::Slot::Ending);
        assert!(ends || waits_for_its_user.contains(&state), "{state:?} with {running:?} may last for ever");
        for event in events {
            let (to, actions) = step(state, *event);
            let after = (to, started(actions, running.clone()));
            if !seen.contains(&after) {
                seen.push(after);
            }
        }
    }
    assert!(seen.iter().any(|(state, _)| *state == terminated));
    for event in events {
        assert_eq!(step(terminated, *event), (terminated, &[][..]), "{event:?} after the end");
    }
}

#[test]
fn an_invite_client_cannot_last_for_ever_but_for_its_users_timer_c() {
    use invite_client::{Event as E, START, State as S, step};
    let mut events = vec![E::Provisional, E::Success, E::Failure, E::TransportError, E::Abandon, E::Orphan];
    events.extend(TIMERS.map(E::Timer));
    walk(START, S::Terminated, &[S::Proceeding], &events, step);
}

#[test]
fn a_non_invite_client_cannot_last_for_ever() {
    use non_invite_client::{Event as E, START, State as S, step};
    let mut events = vec![E::Provisional, E::Final, E::TransportError];
    events.extend(TIMERS.map(E::Timer));
    walk(START, S::Terminated, &[], &events, step);
}

#[test]
fn an_invite_server_cannot_last_for_ever_but_for_its_users_decision() {
    use invite_server::{Event as E, START, State as S, step};
    let mut events =
        vec![E::Retransmission, E::Ack, E::Provisional, E::Success, E::Failure, E::TransportError];
    events.extend(TIMERS.map(E::Timer));
    walk(START, S::Terminated, &[S::Proceeding], &events, step);
}

#[test]
fn a_non_invite_server_cannot_last_for_ever() {
    use non_invite_server::{Event as E, START, State as S, step};
    let mut events = vec![E::Retransmission, E::Provisional, E::Final, E::TransportError];
    events.extend(TIMERS.map(E::Timer));
    walk(START, S::Terminated, &[], &events, step);
}
