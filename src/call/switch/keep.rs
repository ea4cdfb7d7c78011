//! Where calls are written at the end of each turn in which they have changed, for the process after this one: what
//! their journals have more, or, where that cannot be run again or would be long, the calls as they are.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::CallId;
use crate::application::AppId;
use crate::controller::EndpointId;
use crate::journal::pieces::Begun;
use b2b_sip::endpoint::UsageId;

/// How long a call is up before it is written as it is.
const GROWN_UP: Duration = Duration::from_secs(5);
/// The time between two of them.
const APART: Duration = Duration::from_millis(5);
/// When it is looked whether a call is settled.
const SOON: Duration = Duration::from_secs(1);

/// Where calls are written for the process after this one.
pub trait CallStore: Send {
    /// Whether there is room for a call, before it is written.
    fn takes(&mut self, _call: CallId) -> bool {
        true
    }

    /// Writes what has changed of a call in a turn, whose messages leave when this returns; `None`: it is over, or
    /// cannot be written. `false`: there is no room for it, and nothing is left of it.
    fn keep(&mut self, call: CallId, written: Option<WrittenCall<'_>>) -> bool;
}

/// What has changed of a call that can go on in another process.
#[derive(Debug)]
pub struct WrittenCall<'a> {
    /// For [`Survivor::pieces`](crate::switch::restore::Survivor::pieces).
    pub octets: &'a [u8],
    /// The time of the turn, from which ages in it are counted back.
    pub at: Instant,
    /// It goes on from the pieces before; otherwise it takes their place.
    pub goes_on: bool,
    /// The media endpoints that it needs there.
    pub endpoints: Vec<EndpointId>,
    /// They have been asked for something in this turn, or have reported something.
    pub media_changes: bool,
}

/// A store, and the calls that have changed in this turn.
pub(crate) struct Kept {
    pub store: Box<dyn CallStore>,
    pub changed: Vec<CallId>,
    /// Those among them whose journals do not tell of it.
    pub untold: Vec<CallId>,
    /// Whether media has been asked for something, or has reported something.
    pub media_changes: bool,
    /// The calls that applications decide on: what those do is in no journal.
    pub with_programs: HashMap<CallId, AppId>,
    /// Calls that are up and have never been written as they are, and when they will be.
    young: VecDeque<(Instant, CallId)>,
    /// The next of them is not written before.
    not_before: Option<Instant>,
    /// Dialogs that are over and were never answered, by calls: a refusal, or a BYE after a 2xx that has crossed our
    /// CANCEL, may have to be repeated.
    pub unanswered: HashMap<CallId, Vec<UsageId>>,
    /// When it is looked whether those of a call are settled.
    unsettled: VecDeque<(Instant, CallId)>,
    /// The calls in it.
    looked_at: HashSet<CallId>,
    pub begun: Begun,
    /// Of the latest piece.
    pub octets: Vec<u8>,
}

impl Kept {
    pub fn new(store: Box<dyn CallStore>) -> Self {
        let (with_programs, young, begun) = (HashMap::new(), VecDeque::new(), Begun::default());
        let (changed, untold, octets) = (Vec::new(), Vec::new(), Vec::new());
        Kept {
            store,
            changed,
            untold,
            media_changes: false,
            with_programs,
            young,
            not_before: None,
            unanswered: HashMap::new(),
            unsettled: VecDeque::new(),
            looked_at: HashSet::new(),
            begun,
            octets,
        }
    }

    /// A call is up for the first time.
    pub fn is_up(&mut self, now: Instant, call: CallId) {
        self.young.push_back((now + GROWN_UP, call));
    }

    /// When the next call has to be written.
    pub fn next(&self) -> Option<Instant> {
        let young = self.next_young().into_iter();
        young.chain(self.unsettled.front().map(|(at, _)| *at)).min()
    }

    fn next_young(&self) -> Option<Instant> {
        let (at, _) = self.young.front()?;
        Some(self.not_before.map_or(*at, |not_before| not_before.max(*at)))
    }

    /// What parties of a call that have gone were told may have to be repeated: it is looked again later.
    pub fn is_unsettled(&mut self, now: Instant, call: CallId) {
        if self.looked_at.insert(call) {
            self.unsettled.push_back((now + SOON, call));
        }
    }

    /// Looks again which calls are settled; nothing of the others has to be written.
    pub fn look_again(&mut self, now: Instant, is_settled: impl Fn(&[UsageId]) -> bool) {
        while let Some((_, call)) = self.unsettled.front().copied().filter(|(at, _)| *at <= now) {
            self.unsettled.pop_front();
            self.looked_at.remove(&call);
            match self.unanswered.get(&call) {
                Some(usages) if !is_settled(usages) => self.is_unsettled(now, call),
                _ => self.changes(call, true),
            }
        }
    }

    /// Writes a call as it is in this turn that has been up for long enough: so there is little to be run again, and if
    /// that fails, the call goes on as it was. One at a time, so that a thousand of an age are no burden.
    pub fn grow_up(&mut self, now: Instant) {
        if self.next_young().is_some_and(|at| at <= now)
            && let Some((_, call)) = self.young.pop_front()
        {
            self.changes(call, false);
            self.not_before = Some(now + APART);
        }
    }

    /// Media is asked for something in this turn, or has reported something.
    pub fn media_changes(&mut self) {
        self.media_changes = true;
    }

    /// A call changes in this turn, of which its journal tells or not.
    pub fn changes(&mut self, call: CallId, is_told: bool) {
        if !self.changed.contains(&call) {
            self.changed.push(call);
        }
        if !is_told && !self.untold.contains(&call) {
            self.untold.push(call);
        }
    }

    /// An application that decides on this call steps in this turn, or has decided: then another one may have begun.
    pub fn program_steps(&mut self, call: CallId, app: AppId, has_decided: bool) {
        self.changes(call, false);
        if !has_decided {
            self.with_programs.insert(call, app);
        } else if self.with_programs.get(&call) == Some(&app) {
            self.with_programs.remove(&call);
        }
    }
}
