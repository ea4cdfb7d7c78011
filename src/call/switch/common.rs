//! What the calls of a switch share.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::history::Mirror;
use super::sleepers::Sleepers;
use super::{PassedRequest, SwitchConfig, SwitchCounters, SwitchParts, TakesCalls};
use super::{follow, journaling, listener, recording, referring, stepping, tasks, testkit, watchers};
use crate::CallId;
use crate::history::CallHistory;
use crate::service::CallService;
use b2b_sip::endpoint::RequestId;
use b2b_sip::transaction::timer_queue::TimerQueue;

/// What the calls of a switch share.
pub(super) struct Common {
    pub config: SwitchConfig,
    pub parts: SwitchParts,
    pub mirror: Option<Mirror>,
    pub service: CallService,
    /// Requests passed across a bridge: the source leg, the target leg, and the transaction that waits for
    /// the answer.
    pub passed: HashMap<RequestId, PassedRequest>,
    pub referrals: referring::Referrals,
    pub timers: TimerQueue<CallId>,
    pub work: tasks::Work,
    pub applications: stepping::Applications,
    pub follows: follow::Follows,
    pub sleepers: Sleepers,
    pub history: CallHistory,
    pub watchers: watchers::Watchers,
    pub recordings_ending: recording::Ending,
    /// Listeners of calls that are over, and how long they may continue.
    pub parting: VecDeque<(Instant, listener::Ends)>,
    pub takes: TakesCalls,
    pub counters: SwitchCounters,
    pub journaling: journaling::Journaling,
    /// What `b2b-testkit` counts.
    pub rows: Option<Box<testkit::Rows>>,
}

impl Common {
    /// Whether ordinary new calls are refused.
    pub fn is_draining(&self) -> bool {
        self.takes != TakesCalls::All
    }
}
