//! A subscription to us as a table (RFC 6665 §4.2): one NOTIFY is outstanding at a time; changes meanwhile go
//! into the next one, which waits for the minimum interval.

use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The subscriber is up to date.
    Idle,
    /// There is news, and the minimum interval is not over yet.
    Waiting,
    /// A NOTIFY is outstanding.
    Notifying,
    /// A NOTIFY is outstanding, and there is further news.
    Stale,
    /// A NOTIFY is outstanding, and the next one is the last.
    LastWaits,
    /// The last NOTIFY is outstanding.
    Closing,
    Over,
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A SUBSCRIBE, the first one or another: a NOTIFY is due at once.
    Subscribed,
    /// The watched resource has changed.
    Changed,
    /// The minimum interval is over.
    Due,
    /// Unsubscribed, expired, or the server stops.
    End,
    /// 2xx to a NOTIFY of ours.
    Told,
    /// Another response, or none: the subscription is over.
    Untold,
}

/// Actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// NOTIFY with the present state, active.
    Notify,
    /// The same, terminated.
    NotifyLast,
}

/// The transition table.
pub fn step(state: State, event: Event) -> (State, Option<Action>) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Idle | S::Waiting, E::Subscribed) => (S::Notifying, Some(Notify)),
        (S::Idle, E::Changed) => (S::Waiting, None),
        (S::Waiting, E::Due) => (S::Notifying, Some(Notify)),
        (S::Notifying, E::Changed | E::Subscribed) => (S::Stale, None),
        (S::Notifying, E::Told) => (S::Idle, None),
        (S::Stale, E::Told) => (S::Waiting, None),
        (S::Idle | S::Waiting, E::End) => (S::Closing, Some(NotifyLast)),
        (S::Notifying | S::Stale, E::End) => (S::LastWaits, None),
        (S::LastWaits, E::Told) => (S::Closing, Some(NotifyLast)),
        (S::Closing, E::Told) => (S::Over, None),
        (S::Notifying | S::Stale | S::LastWaits | S::Closing, E::Untold) => (S::Over, None),
        (state, _) => (state, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{Action as A, Event as E, State as S, step};

    #[test]
    fn one_notify_is_under_way_at_a_time_and_the_last_one_is_the_last() {
        let events = [E::Subscribed, E::Changed, E::Due, E::End, E::Told, E::Untold];
        // Every sequence of seven events.
        for walk in 0..events.len().pow(7) {
            let (mut state, mut under_way, mut last, mut rest) = (S::Idle, 0, false, walk);
            for _ in 0..7 {
                let event = events[rest % events.len()];
                rest /= events.len();
                if matches!(event, E::Told | E::Untold) {
                    if under_way == 0 {
                        continue;
                    }
                    under_way -= 1;
                }
                let (next, action) = step(state, event);
                assert!(!(last && action.is_some()), "{walk}: {state:?} {event:?}");
                under_way += i32::from(action.is_some());
                last |= action == Some(A::NotifyLast);
                assert!((0..=1).contains(&under_way), "{walk}: {state:?} {event:?}");
                let waits = matches!(next, S::Notifying | S::Stale | S::LastWaits | S::Closing);
                assert_eq!(waits, under_way == 1, "{walk}: {next:?} after {event:?}");
                state = next;
            }
        }
    }

    #[test]
    fn a_change_while_a_notify_is_under_way_is_told_after_it() {
        let walk = [
            (E::Subscribed, S::Notifying, Some(A::Notify)),
            (E::Changed, S::Stale, None),
            (E::Changed, S::Stale, None),
            (E::Told, S::Waiting, None),
            (E::Due, S::Notifying, Some(A::Notify)),
            (E::Told, S::Idle, None),
        ];
        let mut state = S::Idle;
        for (event, to, does) in walk {
            assert_eq!(step(state, event), (to, does), "{event:?}");
            state = to;
        }
    }

    #[test]
    fn who_answers_no_notify_is_forgotten() {
        for state in [S::Notifying, S::Stale, S::LastWaits, S::Closing] {
            assert_eq!(step(state, E::Untold), (S::Over, None), "{state:?}");
        }
    }
}
