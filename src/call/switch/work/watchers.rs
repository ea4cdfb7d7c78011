//! Waiting for a state of a leg, or for the end of a leg, a bridge or a call; past ends are kept for watchers
//! that come a little later.

use std::collections::{BTreeMap, VecDeque};

use crate::LegId;
use crate::leg_fsm::LegState;
use crate::service::command::Reply;
use crate::service::{CallEnd, CallError, Watched};

/// Number of ends that are kept: a call has about two legs and a bridge besides its own end.
const ENDS: usize = 4 * 1_024;

/// An awaited state, and the receiver.
type Awaited = (LegState, Reply<Result<LegState, CallError>>);

/// See the module head.
#[derive(Default)]
pub(crate) struct Watchers {
    waiting: BTreeMap<Watched, Vec<Reply<Result<CallEnd, CallError>>>>,
    states: BTreeMap<LegId, Vec<Awaited>>,
    /// The ends that are kept, latest last.
    ended: VecDeque<(Watched, CallEnd)>,
}

impl Watchers {
    /// Waits for the end of `what`. `is_there`: it has not ended yet.
    pub fn watch(&mut self, what: Watched, is_there: bool, reply: Reply<Result<CallEnd, CallError>>) {
        if is_there {
            return self.waiting.entry(what).or_default().push(reply);
        }
        let ended = self.ended.iter().rev().find(|(it, _)| *it == what);
        // A closed receiver is no error.
        let _ = reply.send(ended.map(|(_, end)| end.clone()).ok_or(CallError::Gone));
    }

    /// Waits until the leg reaches `state`; `now`: its present state, `None`: it is over.
    pub fn await_state(
        &mut self,
        leg: LegId,
        state: LegState,
        now: Option<LegState>,
        reply: Reply<Result<LegState, CallError>>,
    ) {
        let told = match now {
            Some(now) if now.has_reached(state) => Ok(now),
            Some(_) => {
                let waiting = self.states.entry(leg).or_default();
                // A client that asks repeatedly has given up its earlier requests.
                waiting.retain(|(_, reply)| !reply.is_closed());
                return waiting.push((state, reply));
            }
            None => {
                let ended = self.ended.iter().rev().find(|(it, _)| *it == Watched::Leg(leg));
                ended.map(|(_, end)| end.leg_state()).ok_or(CallError::Gone)
            }
        };
        // A closed receiver is no error.
        let _ = reply.send(told);
    }

    /// Reports the new state of a leg.
    pub fn leg_is(&mut self, leg: LegId, now: LegState) {
        if let Some(waiting) = self.states.get_mut(&leg) {
            for (_, reply) in waiting.extract_if(.., |(state, _)| now.has_reached(*state)) {
                let _ = reply.send(Ok(now));
            }
        }
        if self.states.get(&leg).is_some_and(Vec::is_empty) {
            self.states.remove(&leg);
        }
    }

    /// Reports an end.
    pub fn ended(&mut self, what: Watched, end: CallEnd) {
        if let Watched::Leg(leg) = what {
            for (_, reply) in self.states.remove(&leg).into_iter().flatten() {
                let _ = reply.send(Ok(end.leg_state()));
            }
        }
        for watcher in self.waiting.remove(&what).into_iter().flatten() {
            let _ = watcher.send(Ok(end.clone()));
        }
        if self.ended.len() >= ENDS {
            self.ended.pop_front();
        }
        self.ended.push_back((what, end));
    }

    /// Fails the watchers of something that has been replaced, or goes on elsewhere, and so has no end.
    pub fn replaced(&mut self, what: Watched) {
        if let Watched::Leg(leg) = what {
            self.states.remove(&leg);
        }
        for watcher in self.waiting.remove(&what).into_iter().flatten() {
            let _ = watcher.send(Err(CallError::Gone));
        }
    }

    /// Number of legs, bridges and calls being watched.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.states.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tokio::sync::oneshot;

    use super::*;
    use crate::leg_fsm::TerminationCause;
    use crate::{BridgeId, CallId};

    fn end() -> CallEnd {
        let (talked, at) = (Some(Duration::from_secs(3)), SystemTime::UNIX_EPOCH);
        CallEnd { cause: TerminationCause::RemoteHangup, by: Some(LegId(1)), talked, at }
    }

    #[test]
    fn an_end_is_told_to_all_who_wait_and_to_who_asks_later() {
        let (mut watchers, what) = (Watchers::default(), Watched::Call(CallId(1)));
        let [(one, mut of_one), (other, mut of_other), (late, mut of_late)] =
            std::array::from_fn(|_| oneshot::channel());
        watchers.watch(what, true, one.into());
        watchers.watch(what, true, other.into());
        watchers.ended(Watched::Call(CallId(2)), end());
        assert!(of_one.try_recv().is_err(), "that was another call");
        watchers.ended(what, end());
        watchers.watch(what, false, late.into());
        for told in [&mut of_one, &mut of_other, &mut of_late] {
            assert_eq!(told.try_recv(), Ok(Ok(end())));
        }
        assert_eq!(watchers.len(), 0);
    }

    #[test]
    fn who_waits_for_a_state_hears_the_end_and_who_gave_up_is_forgotten() {
        let (mut watchers, leg) = (Watchers::default(), LegId(1));
        for _ in 0..3 {
            let (gone, _) = oneshot::channel();
            watchers.await_state(leg, LegState::Answered, Some(LegState::Created), gone.into());
        }
        let (reply, mut told) = oneshot::channel();
        watchers.await_state(leg, LegState::Answered, Some(LegState::Created), reply.into());
        assert_eq!(watchers.states.get(&leg).map(Vec::len), Some(1));
        watchers.ended(Watched::Leg(leg), end());
        assert_eq!(told.try_recv(), Ok(Ok(end().leg_state())));
        assert_eq!(watchers.len(), 0);
    }

    #[test]
    fn what_is_replaced_has_no_end_and_neither_has_what_never_was() {
        let (mut watchers, what) = (Watchers::default(), Watched::Bridge(BridgeId(1)));
        let [(one, mut of_one), (late, mut of_late)] = std::array::from_fn(|_| oneshot::channel());
        watchers.watch(what, true, one.into());
        watchers.replaced(what);
        watchers.watch(what, false, late.into());
        for told in [&mut of_one, &mut of_late] {
            assert_eq!(told.try_recv(), Ok(Err(CallError::Gone)));
        }
        assert_eq!(watchers.len(), 0);
    }
}
