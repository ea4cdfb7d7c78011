//! Reliable provisional responses of ours to one INVITE (RFC 3262 §3), as a
//! table: one at a time until its PRACK, and a 2xx that may have to wait for it.

use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// None is under way.
    Open,
    /// One waits for its PRACK.
    Awaiting,
    /// The same, and our 2xx waits with it: it must not overtake a session
    /// description.
    AnswerHeld,
    /// The final response is out.
    Answered,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// There is one to send.
    Send,
    /// The PRACK for the one under way.
    Prack,
    /// Time to send it again.
    Resend,
    /// No PRACK in 64*T1.
    GiveUp,
    /// Our user answers, and the one under way says nothing of the session.
    Answer,
    /// Our user answers, and the one under way carries a session description.
    AnswerBehind,
}

/// What to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send the first one that waits.
    Transmit,
    /// Send the one under way again, and wait twice as long.
    Retransmit,
    /// It has arrived.
    Stop,
    /// If another one waits, it is its turn.
    Next,
    SendAnswer,
    /// Refuse the INVITE.
    Refuse,
}

/// The table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Open, E::Send) => (S::Awaiting, &[Transmit]),
        (S::Awaiting, E::Prack) => (S::Open, &[Stop, Next]),
        (S::AnswerHeld, E::Prack) => (S::Answered, &[Stop, SendAnswer]),
        (S::Answered, E::Prack) => (S::Answered, &[Stop]),
        (S::Awaiting | S::AnswerHeld, E::Resend) => (state, &[Retransmit]),
        (S::Awaiting | S::AnswerHeld, E::GiveUp) => (S::Answered, &[Stop, Refuse]),
        (S::Awaiting, E::AnswerBehind) => (S::AnswerHeld, &[]),
        (S::Open | S::Awaiting, E::Answer) => (S::Answered, &[SendAnswer]),
        (state, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_under_way_at_a_time_and_no_answer_overtakes_a_session_description() {
        let events =
            [Event::Send, Event::Prack, Event::Resend, Event::GiveUp, Event::Answer, Event::AnswerBehind];
        for walk in 0..events.len().pow(6) {
            let (mut state, mut under_way, mut finals, mut rest) = (State::Open, false, 0, walk);
            for _ in 0..6 {
                let event = events[rest % events.len()];
                rest /= events.len();
                // A PRACK is for the one under way, and so is a time-out.
                let needs =
                    matches!(event, Event::Prack | Event::Resend | Event::GiveUp | Event::AnswerBehind);
                if needs && !under_way {
                    continue;
                }
                let (next, actions) = step(state, event);
                for action in actions {
                    match action {
                        Transmit => assert!(!std::mem::replace(&mut under_way, true), "{walk}"),
                        Stop => under_way = false,
                        SendAnswer => {
                            assert!(!under_way || event == Event::Answer, "{walk}");
                            finals += 1;
                        }
                        Refuse => finals += 1,
                        Retransmit => assert!(under_way && finals == 0, "{walk}"),
                        Next => assert_eq!(next, State::Open),
                    }
                }
                assert!(
                    finals <= 1 && (finals == 1) == (next == State::Answered),
                    "{walk}: {state:?} {event:?}"
                );
                state = next;
            }
        }
    }
}
