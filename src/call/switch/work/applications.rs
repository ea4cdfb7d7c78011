//! Applications that are at work: their machines, timers, and what they wait for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::application::{AppEvent, AppId, Application, Inbox, WantId};
use crate::event::Event;
use crate::handler::ApplicationHandler;
use crate::switch::work::slots::Key;

/// A handler's hold on a leg.
pub(crate) enum Handled {
    /// Ends the handler's future when dropped.
    Future(Ends),
    Machine(AppId),
}

/// Ends the listening when dropped.
pub(crate) type Ends = oneshot::Sender<()>;

/// The call's end of a handler's queue.
pub(crate) struct Listener {
    pub handler: Arc<dyn ApplicationHandler>,
    pub events: mpsc::Sender<Event>,
    pub ends: Ends,
}

/// How long a handler may continue after its caller's end.
pub(crate) const PARTING: Duration = Duration::from_secs(32);

/// See the module head.
pub(crate) struct Applications {
    pub(crate) running: HashMap<AppId, Running>,
    /// By the requests that their decisions answer.
    deciding: HashMap<Key, AppId>,
    pub(crate) inbox: Inbox,
    pub(crate) events: mpsc::UnboundedReceiver<(AppId, AppEvent)>,
    pub(crate) timers: BTreeMap<(Instant, u64), (AppId, Timer)>,
    /// Number of timers set so far.
    pub(crate) set: u64,
}

/// A running application.
pub(crate) struct Running {
    pub(crate) machine: Box<dyn Application>,
    /// The request that its decision answers; `None`: it belongs to no call.
    pub(crate) decides: Option<Key>,
    /// The number of its last request.
    pub(crate) last: u64,
    pub(crate) timers: HashMap<Timer, (Instant, u64)>,
    /// Its pending requests that run as tasks: dropping an entry ends the task.
    pub(crate) waits: HashMap<WantId, Ends>,
    /// Its caller has another owner now.
    pub(crate) is_taken: bool,
}

/// The purpose of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Timer {
    Own(u32),
    /// The time after the caller's end is over.
    Parting,
}

impl Default for Applications {
    fn default() -> Self {
        let (inbox, events) = mpsc::unbounded_channel();
        let (running, deciding) = (HashMap::new(), HashMap::new());
        Applications { running, deciding, inbox, events, timers: BTreeMap::new(), set: 0 }
    }
}

impl Running {
    pub fn is_of_call(&self) -> bool {
        self.decides.is_some()
    }
}

impl Applications {
    /// When the next timer is due.
    pub fn next(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Number of timers set.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Number of applications that have a caller.
    pub fn with_calls(&self) -> usize {
        self.running.values().filter(|it| it.is_of_call()).count()
    }

    pub(crate) fn is_running(&self, app: AppId) -> bool {
        self.running.contains_key(&app)
    }

    /// Queues an event for an application.
    pub fn tell(&self, app: AppId, event: AppEvent) {
        // The receiver is held beside this sender.
        let _ = self.inbox.send((app, event));
    }

    /// Starts a machine with this first event.
    pub(crate) fn begin(
        &mut self,
        app: AppId,
        machine: Box<dyn Application>,
        decides: Option<Key>,
        first: AppEvent,
    ) {
        let (timers, waits) = (HashMap::new(), HashMap::new());
        let running = Running { machine, decides, last: 0, timers, waits, is_taken: false };
        self.running.insert(app, running);
        self.deciding.extend(decides.map(|request| (request, app)));
        self.tell(app, first);
    }

    /// Those among the machines whose decisions answer these requests that can go on in another process.
    pub fn saved(&self, requests: impl Iterator<Item = Key>) -> Vec<(Key, Bytes)> {
        let saved = |request: Key| {
            let machine = &self.running.get(self.deciding.get(&request)?)?.machine;
            Some((request, machine.save()?.into_octets()))
        };
        requests.filter_map(saved).collect()
    }

    /// Sets a timer, replacing its earlier setting; `None` clears it.
    pub fn set_timer(&mut self, app: AppId, timer: Timer, at: Option<Instant>) {
        self.set += 1;
        let (entry, running) = (at.map(|at| (at, self.set)), self.running.get_mut(&app));
        let before = running.and_then(|it| match entry {
            Some(entry) => it.timers.insert(timer, entry),
            None => it.timers.remove(&timer),
        });
        if let Some(before) = before {
            self.timers.remove(&before);
        }
        if let Some(entry) = entry.filter(|_| self.is_running(app)) {
            self.timers.insert(entry, (app, timer));
        }
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(AppId, Timer)> {
        let due = self.timers.first_entry().filter(|it| it.key().0 <= now)?;
        let (app, timer) = due.remove();
        if let Some(it) = self.running.get_mut(&app) {
            it.timers.remove(&timer);
        }
        Some((app, timer))
    }

    /// Removes an application with its timers.
    pub(crate) fn remove(&mut self, app: AppId) -> Option<Running> {
        let it = self.running.remove(&app)?;
        it.decides.and_then(|request| self.deciding.remove(&request));
        for entry in it.timers.values() {
            self.timers.remove(entry);
        }
        Some(it)
    }
}
