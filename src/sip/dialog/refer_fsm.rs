//! The implicit subscription of a REFER (RFC 3515, RFC 6665), both sides, as
//! tables.

/// Their REFER: we tell them how far we are. One NOTIFY is under way at a time
/// (RFC 6665 §4.2.2); what happens meanwhile goes into the next one.
pub mod notifier {
    use Action::*;

    /// States.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum State {
        /// Our user has not decided.
        Asked,
        /// They know what we know.
        Idle,
        /// A NOTIFY is under way.
        Notifying,
        /// The same, and there is something newer to tell.
        Stale,
        /// The same, and what is to be told is the last.
        LastWaits,
        /// The last NOTIFY is under way.
        Closing,
        Over,
    }

    /// What happens.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Event {
        /// Our user takes it.
        Accept,
        /// Our user takes it, and they do not want to hear of it (RFC 4488).
        AcceptSilently,
        /// Our user refuses.
        Refuse,
        /// 1xx of the new call.
        Progress,
        /// Its final response, or nothing more will come.
        Last,
        /// 2xx to a NOTIFY of ours.
        Told,
        /// Another answer, or none: they do not want to know any more.
        Untold,
    }

    /// What to do, in order.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Action {
        /// Respond to the REFER.
        Answer,
        /// NOTIFY with what we know, active.
        Notify,
        /// The same, terminated.
        NotifyLast,
    }

    /// The table.
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

/// Our REFER: they tell us. A NOTIFY may overtake the 2xx (RFC 6665 §4.1.2.4).
pub mod subscriber {
    use Action::*;

    /// States.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum State {
        /// REFER sent.
        Sent,
        /// 2xx, no NOTIFY yet.
        Accepted,
        /// A NOTIFY has come, the 2xx has not.
        Overtaken,
        /// The last NOTIFY has come, the 2xx has not.
        OvertakenByLast,
        Subscribed,
        Over,
    }

    /// What happens.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Event {
        /// 2xx
        Success,
        /// 2xx with `Refer-Sub: false`: nothing more will come.
        SuccessSilently,
        /// Any other end of the transaction.
        Failure,
        Notify,
        /// NOTIFY with `Subscription-State: terminated`.
        NotifyLast,
        /// No NOTIFY in time.
        Expired,
    }

    /// What to do, in order.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Action {
        /// Tell our user what became of the REFER.
        DeliverAnswer,
        /// Tell our user what the NOTIFY says.
        DeliverProgress,
        /// Tell our user that nothing more will come.
        DeliverExpiry,
        /// Wait 64*T1 for the first NOTIFY (Timer N).
        AwaitFirst,
    }

    /// The table.
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
        // Every walk of six events.
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
