//! The state of everything that can be watched: written by the follower of the event bus, read by the
//! subscriptions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::document::{DialogLine, DialogState, MessageCounts};
use super::resource::Resource;
use b2b_call::LegId;
use b2b_call::call_fsm::CallDirection;
use b2b_call::leg_fsm::LegState;

/// Maximum dialogs of one document, so that it fits a datagram.
const DIALOGS: usize = 8;

/// Shared state; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct NotifierState(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    /// The user of each leg.
    legs: HashMap<LegId, String>,
    users: HashMap<String, BTreeMap<LegId, Line>>,
    /// Lot and slot.
    slots: BTreeSet<(String, u32)>,
    /// Queues with waiting callers.
    queues: BTreeSet<String>,
    mailboxes: BTreeMap<String, Mailbox>,
    /// Number of subscriptions by resource.
    watched: HashMap<Resource, usize>,
    /// Watched resources that have changed since the last `take_changed`.
    changed: BTreeSet<Resource>,
    /// Number of subscriptions, for observers.
    subscriptions: usize,
    counters: NotifierCounters,
}

/// Counters of subscriptions since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotifierCounters {
    /// Accepted.
    pub begun: u64,
    /// Refreshed.
    pub refreshed: u64,
    /// Refused, except by limits; a challenge is no refusal.
    pub refused: u64,
    /// Refused by a limit, or because the server stops.
    pub over_limit: u64,
    /// Unsubscribed, or a single fetch.
    pub ended: u64,
    /// Expired.
    pub expired: u64,
    /// Ended because a NOTIFY got no 2xx.
    pub untold: u64,
    /// Ended because the watched resource was removed.
    pub no_resource: u64,
    /// Ended because the server stopped.
    pub stopped: u64,
    /// NOTIFYs, without retransmissions.
    pub notifies: u64,
}

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    pub name: String,
    /// Its users, by their own names.
    pub users: Vec<String>,
    pub counts: MessageCounts,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    initiator: bool,
    state: LegState,
}

impl Watched {
    fn touch(&mut self, resource: Resource) {
        if self.watched.contains_key(&resource) {
            self.changed.insert(resource);
        }
    }
}

impl NotifierState {
    /// A leg of this user's phone begins. An inbound leg belongs to a call that the user makes.
    pub fn leg_began(&self, leg: LegId, user: &str, direction: CallDirection) {
        let mut watched = self.lock();
        let line = Line { initiator: direction == CallDirection::Inbound, state: LegState::Created };
        watched.legs.insert(leg, user.to_owned());
        watched.users.entry(user.to_owned()).or_default().insert(leg, line);
        watched.touch(Resource::User(user.to_owned()));
    }

    /// A leg has changed its state. Legs that are no user's are ignored.
    pub fn leg_moved(&self, leg: LegId, state: LegState) {
        let mut watched = self.lock();
        let Some(user) = watched.legs.get(&leg).cloned() else { return };
        let Some(lines) = watched.users.get_mut(&user) else { return };
        if state.is_over() {
            lines.remove(&leg);
            if lines.is_empty() {
                watched.users.remove(&user);
            }
            watched.legs.remove(&leg);
        } else if let Some(line) = lines.get_mut(&leg) {
            line.state = state;
        }
        watched.touch(Resource::User(user));
    }

    /// Replaces all legs of users' phones.
    pub fn set_legs(&self, legs: impl Iterator<Item = (LegId, String, CallDirection, LegState)>) {
        let mut watched = self.lock();
        let before: Vec<String> = watched.users.drain().map(|(user, _)| user).collect();
        watched.legs.clear();
        for (leg, user, direction, state) in legs.filter(|(.., state)| !state.is_over()) {
            let line = Line { initiator: direction == CallDirection::Inbound, state };
            watched.legs.insert(leg, user.clone());
            watched.users.entry(user).or_default().insert(leg, line);
        }
        let after: Vec<String> = watched.users.keys().cloned().collect();
        for user in before.into_iter().chain(after) {
            watched.touch(Resource::User(user));
        }
    }

    /// Replaces the occupied slots.
    pub fn set_slots(&self, taken: impl Iterator<Item = (String, u32)>) {
        let mut watched = self.lock();
        let before = std::mem::replace(&mut watched.slots, taken.collect());
        let changed: Vec<_> = before.symmetric_difference(&watched.slots).cloned().collect();
        for (lot, slot) in changed {
            watched.touch(Resource::Slot { lot, slot });
        }
    }

    /// Replaces the queues with waiting callers.
    pub fn set_queues(&self, waiting: impl Iterator<Item = String>) {
        let mut watched = self.lock();
        let before = std::mem::replace(&mut watched.queues, waiting.collect());
        let changed: Vec<_> = before.symmetric_difference(&watched.queues).cloned().collect();
        for queue in changed {
            watched.touch(Resource::Queue(queue));
        }
    }

    /// Replaces the mailboxes.
    pub fn set_mailboxes(&self, mailboxes: impl Iterator<Item = Mailbox>) {
        let mut watched = self.lock();
        let now = mailboxes.map(|mailbox| (mailbox.name.clone(), mailbox)).collect();
        let before = std::mem::replace(&mut watched.mailboxes, now);
        let counts = |of: &BTreeMap<String, Mailbox>, name: &str| of.get(name).map(|it| it.counts);
        let names = before.keys().chain(watched.mailboxes.keys());
        let changed = names.filter(|name| counts(&before, name) != counts(&watched.mailboxes, name));
        let changed: Vec<String> = changed.cloned().collect();
        for name in changed {
            watched.touch(Resource::Mailbox(name));
        }
    }

    /// The message counts of a mailbox; `None`: there is no such mailbox.
    pub fn messages(&self, mailbox: &str) -> Option<MessageCounts> {
        self.lock().mailboxes.get(mailbox).map(|it| it.counts)
    }

    /// The mailbox of a user, else the one of this name, and its users.
    pub fn mailbox(&self, user: Option<&str>, name: &str) -> Option<(String, Vec<String>)> {
        let watched = self.lock();
        let of_user = |it: &&Mailbox| user.is_some_and(|user| it.users.iter().any(|other| other == user));
        let found = watched.mailboxes.values().find(of_user).or_else(|| watched.mailboxes.get(name));
        found.map(|it| (it.name.clone(), it.users.clone()))
    }

    /// The dialogs of a resource, the most advanced ones first.
    pub fn dialogs(&self, resource: &Resource) -> Vec<DialogLine> {
        let watched = self.lock();
        // A parked or queued call did not originate there, so it is shown like an incoming call.
        let one = |id: String| vec![DialogLine { id, initiator: Some(false), state: DialogState::Confirmed }];
        match resource {
            Resource::User(user) => {
                let lines = watched.users.get(user).into_iter().flatten();
                let line = |(leg, line): (&LegId, &Line)| DialogLine {
                    id: leg.0.to_string(),
                    initiator: Some(line.initiator),
                    state: state_of(line.state),
                };
                let mut lines: Vec<_> = lines.map(line).collect();
                lines.sort_by_key(|line| std::cmp::Reverse(line.state));
                lines.truncate(DIALOGS);
                lines
            }
            Resource::Slot { lot, slot } if watched.slots.contains(&(lot.clone(), *slot)) => {
                one(slot.to_string())
            }
            Resource::Queue(queue) if watched.queues.contains(queue) => one(queue.clone()),
            Resource::Slot { .. } | Resource::Queue(_) | Resource::Mailbox(_) => Vec::new(),
        }
    }

    /// Number of subscriptions.
    pub fn subscriptions(&self) -> usize {
        self.lock().subscriptions
    }

    /// Counters since the start.
    pub fn counters(&self) -> NotifierCounters {
        self.lock().counters
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut NotifierCounters) -> &mut u64) {
        *count(&mut self.lock().counters) += 1;
    }

    /// Whether a watched resource has changed.
    pub fn has_changed(&self) -> bool {
        !self.lock().changed.is_empty()
    }

    pub(super) fn take_changed(&self) -> BTreeSet<Resource> {
        std::mem::take(&mut self.lock().changed)
    }

    pub(super) fn watch(&self, resource: &Resource) {
        let mut watched = self.lock();
        *watched.watched.entry(resource.clone()).or_default() += 1;
        watched.subscriptions += 1;
    }

    pub(super) fn unwatch(&self, resource: &Resource) {
        let mut watched = self.lock();
        watched.subscriptions -= 1;
        let Some(count) = watched.watched.get_mut(resource) else { return };
        *count -= 1;
        if *count == 0 {
            watched.watched.remove(resource);
            watched.changed.remove(resource);
        }
    }

    /// Held only for a read or a change; a panic elsewhere leaves the data consistent.
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state_of(state: LegState) -> DialogState {
    match state {
        LegState::Created => DialogState::Trying,
        LegState::Ringing | LegState::EarlyMedia => DialogState::Early,
        LegState::Answered => DialogState::Confirmed,
        LegState::Destroyed | LegState::Failed => DialogState::Terminated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Resource {
        Resource::User(name.to_owned())
    }

    fn shown(state: &NotifierState, resource: &Resource) -> Vec<(String, Option<bool>, &'static str)> {
        let lines = state.dialogs(resource).into_iter();
        lines.map(|line| (line.id, line.initiator, line.state.as_str())).collect()
    }

    #[test]
    fn legs_of_a_user_are_their_dialogs_until_they_are_over() {
        let state = NotifierState::default();
        state.watch(&user("1001"));
        state.leg_began(LegId(1), "1001", CallDirection::Inbound);
        state.leg_began(LegId(2), "1001", CallDirection::Outbound);
        state.leg_began(LegId(3), "1002", CallDirection::Outbound);
        assert_eq!(state.take_changed().into_iter().collect::<Vec<_>>(), [user("1001")]);
        state.leg_moved(LegId(2), LegState::Ringing);
        state.leg_moved(LegId(9), LegState::Ringing);
        assert_eq!(
            shown(&state, &user("1001")),
            [("2".into(), Some(false), "early"), ("1".into(), Some(true), "trying")]
        );
        state.leg_moved(LegId(1), LegState::Answered);
        state.leg_moved(LegId(2), LegState::Failed);
        assert_eq!(shown(&state, &user("1001")), [("1".into(), Some(true), "confirmed")]);
        state.leg_moved(LegId(1), LegState::Destroyed);
        assert!(state.has_changed() && shown(&state, &user("1001")).is_empty());
        state.unwatch(&user("1001"));
        assert!(!state.has_changed(), "nobody watches");
        let left = state.lock();
        assert_eq!((left.legs.len(), left.users.len(), left.watched.len()), (1, 1, 0));
    }

    #[test]
    fn only_slots_that_have_changed_are_told_of() {
        let slot = |slot| Resource::Slot { lot: "lot".to_owned(), slot };
        let state = NotifierState::default();
        (701..=703).for_each(|n| state.watch(&slot(n)));
        let take = |slots: &[u32]| state.set_slots(slots.iter().map(|slot| ("lot".to_owned(), *slot)));
        take(&[701, 702]);
        assert_eq!(state.take_changed(), [slot(701), slot(702)].into());
        take(&[702, 703]);
        assert_eq!(state.take_changed(), [slot(701), slot(703)].into());
        assert_eq!(shown(&state, &slot(703)), [("703".into(), Some(false), "confirmed")]);
        assert!(shown(&state, &slot(701)).is_empty());
    }

    #[test]
    fn a_mailbox_is_found_by_its_users_and_by_its_name() {
        let state = NotifierState::default();
        let mailbox = |name: &str, users: &[&str], new| Mailbox {
            name: name.to_owned(),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            counts: MessageCounts { new, old: 0 },
        };
        state.set_mailboxes(
            [mailbox("1001", &["1001"], 0), mailbox("sales", &["1002", "1003"], 1)].into_iter(),
        );
        let name = |user, name| state.mailbox(user, name).map(|(name, _)| name);
        assert_eq!(name(Some("1003"), "1003").as_deref(), Some("sales"));
        assert_eq!(name(None, "sales").as_deref(), Some("sales"));
        assert_eq!((name(Some("1004"), "1004"), name(None, "1004")), (None, None));
        state.watch(&Resource::Mailbox("sales".to_owned()));
        state.watch(&Resource::Mailbox("1001".to_owned()));
        state.set_mailboxes([mailbox("1001", &["1001"], 0), mailbox("sales", &["1002"], 2)].into_iter());
        assert_eq!(state.take_changed(), [Resource::Mailbox("sales".to_owned())].into());
        state.set_mailboxes([mailbox("sales", &["1002"], 2)].into_iter());
        assert_eq!(state.take_changed(), [Resource::Mailbox("1001".to_owned())].into());
        assert_eq!(state.messages("1001"), None);
    }

    #[test]
    fn after_events_were_lost_everything_is_taken_anew() {
        let state = NotifierState::default();
        ["1", "2", "3"].iter().for_each(|name| state.watch(&user(name)));
        state.leg_began(LegId(1), "1", CallDirection::Inbound);
        state.take_changed();
        state.set_legs([(LegId(2), "2".to_owned(), CallDirection::Inbound, LegState::Answered)].into_iter());
        assert_eq!(state.take_changed(), [user("1"), user("2")].into());
        assert!(shown(&state, &user("1")).is_empty());
    }
}
