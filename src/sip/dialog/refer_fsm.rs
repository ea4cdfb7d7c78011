//! State tables of the implicit subscription of a REFER (RFC 3515, RFC 6665), for both sides.

/// A received REFER: we notify the peer of the progress. There is one NOTIFY under way at a
/// time (RFC 6665 §4.2.2); later changes go into the next one.
pub mod notifier {
    use Action::*;

    /// States.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    pub enum State {
        /// The user has not decided yet.
        Asked,
        /// The peer is up to date.
        Idle,
        /// A NOTIFY is under way.
        Notifying,
        /// Like `Notifying`, and there is newer progress to report.
        Stale,
        /// Like `Notifying`, and the final status is to be reported next.
        LastWaits,
        /// The last NOTIFY is under way.
        Closing,
        Over,
    }

    /// Events.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Event {
        /// The user accepts.
        Accept,
        /// The user accepts, and the peer declined the subscription (RFC 4488).
        AcceptSilently,
        /// The user refuses.
        Refuse,
        /// A 1xx of the new call.
        Progress,
        /// The final response of the new call, or no further progress.
        Last,
        /// A 2xx to our NOTIFY.
        Told,
        /// Another response to our NOTIFY, or none: the subscription is over.
        Untold,
    }

    /// Actions, in order.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Action {
        /// Respond to the REFER.
        Answer,
        /// Send NOTIFY with the current status, active.
        Notify,
        /// Send NOTIFY with the current status, terminated.
        NotifyLast,
    }

    /// The state table.
    pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
        use {Event as E, State as S};
        match (state, event) {
            (S::Asked, E::Accept) => (S::Notifying, &[Answer, Notify]),
            (S::Asked, E::AcceptSilently | E::Refuse) => (S::Over, &[Answer]),
            (S::Idle, E::Progress) => (S::Notifying, &[Notify]),
            (S::Notifying, E::Progress) => (S::Stale, &[]),
            (S::Idle, E::Last) => (S::Closing, &[NotifyLast]),
            (S::Notifying | S::Stale, E::Last) => (S::LastWaits, &[]),
            (S::Notifying, E::Told) => (S::Idle, &[]),
            (S::Stale, E::Told) => (S::Notifying, &[Notify]),
            (S::LastWaits, E::Told) => (S::Closing, &[NotifyLast]),
            (S::Closing, E::Told) => (S::Over, &[]),
            (S::Notifying | S::Stale | S::LastWaits | S::Closing, E::Untold) => (S::Over, &[]),
            (state, _) => (state, &[]),
        }
    }
}

/// A sent REFER: the peer notifies us. A NOTIFY may arrive before the 2xx (RFC 6665
/// §4.1.2.4).
pub mod subscriber {
    use Action::*;

    /// States.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    pub enum State {
        /// REFER sent.
        Sent,
        /// 2xx received, no NOTIFY yet.
        Accepted,
        /// A NOTIFY was received before the 2xx.
        Overtaken,
        /// The last NOTIFY was received before the 2xx.
        OvertakenByLast,
        Subscribed,
        Over,
    }

    /// Events.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Event {
        /// 2xx
        Success,
        /// 2xx with `Refer-Sub: false`: there will be no NOTIFY.
        SuccessSilently,
        /// Any other outcome of the transaction.
        Failure,
        Notify,
        /// NOTIFY with `Subscription-State: terminated`.
        NotifyLast,
        /// No NOTIFY in time.
        Expired,
    }

    /// Actions, in order.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Action {
        /// Report the outcome of the REFER to the user.
        DeliverAnswer,
        /// Report the contents of the NOTIFY to the user.
        DeliverProgress,
        /// Report to the user that there will be no further NOTIFY.
        DeliverExpiry,
        /// Wait 64*T1 for the first NOTIFY (Timer N).
        AwaitFirst,
    }

    /// The state table.
    pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
        use {Event as E, State as S};
        match (state, event) {
            (S::Sent, E::Success) => (S::Accepted, &[DeliverAnswer, AwaitFirst]),
            (S::Overtaken, E::Success) => (S::Subscribed, &[DeliverAnswer]),
            (S::OvertakenByLast, E::Success | E::SuccessSilently | E::Failure) => (S::Over, &[DeliverAnswer]),
            (S::Sent | S::Overtaken, E::SuccessSilently | E::Failure) => (S::Over, &[DeliverAnswer]),
            (S::Sent, E::Notify) => (S::Overtaken, &[DeliverProgress]),
            (S::Sent | S::Overtaken, E::NotifyLast) => (S::OvertakenByLast, &[DeliverProgress]),
            (S::Overtaken, E::Notify) => (S::Overtaken, &[DeliverProgress]),
            (S::Accepted | S::Subscribed, E::Notify) => (S::Subscribed, &[DeliverProgress]),
            (S::Accepted | S::Subscribed, E::NotifyLast) => (S::Over, &[DeliverProgress]),
            (S::Accepted | S::Subscribed, E::Expired) => (S::Over, &[DeliverExpiry]),
            (state, _) => (state, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::notifier::{self, Action as N, Event as E, State as S};
    use super::subscriber::{self, Action as D, Event as F, State as T};

    #[test]
    fn a_notifier_has_one_notify_under_way_and_ends_with_a_last_one() {
        let events = [E::Accept, E::AcceptSilently, E::Refuse, E::Progress, E::Last, E::Told, E::Untold];
        // Every sequence of six events.
        for walk in 0..events.len().pow(6) {
            let (mut state, mut under_way, mut last, mut rest) = (S::Asked, 0, 0, walk);
            for _ in 0..6 {
                let event = events[rest % events.len()];
                rest /= events.len();
                if matches!(event, E::Told | E::Untold) {
                    if under_way == 0 {
                        continue;
                    }
                    under_way -= 1;
                }
                let (next, actions) = notifier::step(state, event);
                for action in actions {
                    under_way += i32::from(*action != N::Answer);
                    last += i32::from(*action == N::NotifyLast);
                    assert!(*action == N::Answer || last <= i32::from(*action == N::NotifyLast));
                }
                assert!((0..=1).contains(&under_way) && last <= 1, "{walk}: {state:?} {event:?}");
                if state == S::Over {
                    assert_eq!((next, actions), (S::Over, &[][..]));
                }
                state = next;
            }
        }
    }

    #[test]
    fn a_subscriber_hears_of_the_answer_once_and_of_nothing_after_the_last() {
        let events = [F::Success, F::SuccessSilently, F::Failure, F::Notify, F::NotifyLast, F::Expired];
        for walk in 0..events.len().pow(5) {
            let (mut state, mut answers, mut over, mut rest) = (T::Sent, 0, false, walk);
            for _ in 0..5 {
                let event = events[rest % events.len()];
                rest /= events.len();
                let is_answer = matches!(event, F::Success | F::SuccessSilently | F::Failure);
                if is_answer && answers > 0 {
                    continue;
                }
                let (next, actions) = subscriber::step(state, event);
                answers += actions.iter().filter(|action| **action == D::DeliverAnswer).count();
                assert!(!(over && actions.contains(&D::DeliverProgress)), "{walk}: {state:?} {event:?}");
                over |= event == F::NotifyLast || next == T::Over;
                state = next;
            }
            assert!(answers <= 1);
        }
    }
}
