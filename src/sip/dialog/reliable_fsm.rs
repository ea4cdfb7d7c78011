//! State table of our reliable provisional responses to one INVITE (RFC 3262 §3): one at a
//! time until its PRACK, and a 2xx that may have to wait for it.

use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum State {
    /// None is outstanding.
    Open,
    /// One awaits its PRACK.
    Awaiting,
    /// Like `Awaiting`, and our 2xx waits too: it must not be sent before the session
    /// description is acknowledged.
    AnswerHeld,
    /// The final response was sent.
    Answered,
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A response was queued.
    Send,
    /// PRACK for the outstanding response.
    Prack,
    /// The retransmission timer has fired.
    Resend,
    /// No PRACK within 64*T1.
    GiveUp,
    /// The user answers; the outstanding response, if any, has no session description.
    Answer,
    /// The user answers; the outstanding response carries a session description.
    AnswerBehind,
}

/// Actions, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send the first response in the queue.
    Transmit,
    /// Retransmit the outstanding response, and double the interval.
    Retransmit,
    /// Stop the retransmission.
    Stop,
    /// Continue with the next response in the queue, if any.
    Next,
    SendAnswer,
    /// Refuse the INVITE.
    Refuse,
}

/// The state table.
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
                // PRACK and time-outs concern the outstanding response.
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
