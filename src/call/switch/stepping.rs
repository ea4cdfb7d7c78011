//! Applications that are state machines: which callers they have, and their events.
//!
//! Events are queued within the turn and delivered at its end ([`Switch::step_applications`]), so that a
//! machine never acts in the middle of the step that caused its event: its requests are commands like any
//! others, each with its line in the journal, and its decision is the answer of a handler that had to wait.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::listener::Ends;
use super::slots::Key;
use super::tasks::{Answered, Came, Panicked};
use super::waiting::{Found, OnFound, Waits};
use super::{CallStep, Common, Done, Switch, Turn};
use crate::LegId;
use crate::application::{AppEvent, AppId, Application, Inbox, Message, WantId, Wants};
use crate::handler::{ApplicationHandler, IncomingCall};

/// How long a handler may continue after its caller's end.
const PARTING: Duration = Duration::from_secs(32);

/// A handler's hold on a leg.
pub(super) enum Handled {
    /// Ends the handler's future when dropped.
    Future(Ends),
    Machine(AppId),
}

/// See the module head.
pub(super) struct Applications {
    pub(super) running: HashMap<AppId, Running>,
    pub(super) inbox: Inbox,
    events: mpsc::UnboundedReceiver<(AppId, AppEvent)>,
    timers: BTreeMap<(Instant, u64), (AppId, Timer)>,
    /// Number of timers set so far.
    set: u64,
}

/// A running application.
pub(super) struct Running {
    machine: Box<dyn Application>,
    /// The request that its decision answers; `None`: it belongs to no call.
    decides: Option<Key>,
    /// The number of its last request.
    last: u64,
    timers: HashMap<Timer, (Instant, u64)>,
    /// Its pending requests that run as tasks: dropping an entry ends the task.
    pub(super) waits: HashMap<WantId, Ends>,
    /// Its caller has another owner now.
    is_taken: bool,
}

/// The purpose of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Timer {
    Own(u32),
    /// The time after the caller's end is over.
    Parting,
}

impl Default for Applications {
    fn default() -> Self {
        let (inbox, events) = mpsc::unbounded_channel();
        Applications { running: HashMap::new(), inbox, events, timers: BTreeMap::new(), set: 0 }
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

    fn is_running(&self, app: AppId) -> bool {
        self.running.contains_key(&app)
    }

    /// Queues an event for an application.
    pub fn tell(&self, app: AppId, event: AppEvent) {
        // The receiver is held beside this sender.
        let _ = self.inbox.send((app, event));
    }

    fn begin(&mut self, app: AppId, machine: Box<dyn Application>, decides: Option<Key>) {
        let (timers, waits) = (HashMap::new(), HashMap::new());
        let running = Running { machine, decides, last: 0, timers, waits, is_taken: false };
        self.running.insert(app, running);
        self.tell(app, AppEvent::Begin);
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

    fn pop_due(&mut self, now: Instant) -> Option<(AppId, Timer)> {
        let due = self.timers.first_entry().filter(|it| it.key().0 <= now)?;
        let (app, timer) = due.remove();
        if let Some(it) = self.running.get_mut(&app) {
            it.timers.remove(&timer);
        }
        Some((app, timer))
    }

    /// Removes an application with its timers.
    fn remove(&mut self, app: AppId) -> Option<Running> {
        let it = self.running.remove(&app)?;
        for entry in it.timers.values() {
            self.timers.remove(entry);
        }
        Some(it)
    }
}

impl Switch {
    /// Starts a machine that belongs to no call.
    pub(super) fn attend_beside(&mut self, app: AppId, machine: Box<dyn Application>) {
        self.common.applications.begin(app, machine, None);
    }

    /// Delivers a message to an application.
    pub(super) fn inform(&mut self, app: AppId, from: Option<AppId>, message: Message) {
        if self.common.applications.is_running(app) {
            return self.common.applications.tell(app, AppEvent::Told(message));
        }
        self.common.counters.late();
        if let Some(from) = from.filter(|from| self.common.applications.is_running(*from)) {
            self.common.applications.tell(from, AppEvent::Lost(app));
        }
    }

    /// Delivers the timers of applications that are due.
    pub(super) fn wake_applications(&mut self, t: &Turn<'_>) {
        while let Some((app, timer)) = self.common.applications.pop_due(t.now) {
            match timer {
                Timer::Own(timer) => self.common.applications.tell(app, AppEvent::Timer(timer)),
                Timer::Parting => self.common.take_from_application(app),
            }
        }
    }

    /// A request of an application has its result.
    pub(super) fn application_answered(
        &mut self,
        t: &mut Turn<'_>,
        app: AppId,
        want: WantId,
        answered: Result<Answered, Panicked>,
    ) {
        let waited = self.common.applications.running.get_mut(&app).and_then(|it| it.waits.remove(&want));
        // Before the application knows: it may begin the next prompt then.
        let answer = answered.map(|Answered { answer, end }| {
            end.into_iter().for_each(|end| self.tell(t, end));
            answer
        });
        match (waited, answer) {
            (None, _) => self.common.counters.late(),
            (Some(_), Ok(answer)) => self.common.applications.tell(app, AppEvent::Answered { want, answer }),
            (Some(_), Err(Panicked)) => self.application_breaks(t, app),
        }
    }

    /// Delivers all queued events to applications and carries out their requests, until no event is left.
    /// Must be called after each turn. `false`: there was none.
    pub fn step_applications(&mut self, t: &mut Turn<'_>) -> bool {
        let mut has_stepped = false;
        while let Ok((app, event)) = self.common.applications.events.try_recv() {
            has_stepped = true;
            self.step_application(t, app, event);
            self.carry_out(t);
        }
        has_stepped
    }

    fn step_application(&mut self, t: &mut Turn<'_>, app: AppId, event: AppEvent) {
        let is_over = matches!(event, AppEvent::Over);
        let inbox = self.common.applications.inbox.clone();
        let running = self.common.applications.running.get_mut(&app).filter(|it| is_over || !it.is_taken);
        let Some(it) = running else {
            return match event {
                // The application's last request needs no answer.
                AppEvent::Answered { .. } => self.common.counters.ignored(),
                _ => self.common.counters.late(),
            };
        };
        let mut wants = Wants::new(app, it.last, inbox);
        let stepped = catch_unwind(AssertUnwindSafe(|| it.machine.step(t.now, event, &mut wants)));
        if stepped.is_err() {
            return self.application_breaks(t, app);
        }
        let (wanted, last, decision) = wants.into_parts();
        it.last = last;
        for want in wanted {
            self.carry_out_want(t, app, want);
        }
        let decision = if is_over { None } else { decision };
        if decision.is_none() && !is_over {
            return;
        }
        let Some(it) = self.common.applications.remove(app) else { return self.common.counters.late() };
        let decides = it.decides;
        self.drop_application(it);
        match (decides, decision) {
            (Some(request), Some(action)) => {
                self.done(t, Done(Came::Found(request, Box::new(Ok(Found::Action(action))))));
            }
            (Some(request), None) => self.done(t, Done(Came::Dropped(request))),
            (None, _) => {}
        }
    }

    /// An application has panicked: it ends, and with it the call that it has. It may still release shared
    /// resources, as far as it can.
    fn application_breaks(&mut self, t: &mut Turn<'_>, app: AppId) {
        let Some(mut it) = self.common.applications.remove(app) else { return self.common.counters.late() };
        let (decides, is_taken) = (it.decides, it.is_taken);
        let mut wants = Wants::new(app, it.last, self.common.applications.inbox.clone());
        let gives_back = || it.machine.step(t.now, AppEvent::Over, &mut wants);
        let wanted = match catch_unwind(AssertUnwindSafe(gives_back)) {
            Ok(()) => wants.into_parts().0,
            Err(_) => Vec::new(),
        };
        self.drop_application(it);
        for want in wanted {
            self.carry_out_want(t, app, want);
        }
        match decides {
            Some(request) if is_taken => {
                self.common.counters.panics += 1;
                self.done(t, Done(Came::Dropped(request)));
            }
            Some(request) => self.done(t, Done(Came::Found(request, Box::new(Err(Panicked))))),
            None => {
                self.common.counters.panics += 1;
                tracing::error!("an application without a call panicked and has ended");
                let mut others: Vec<AppId> = self.common.applications.running.keys().copied().collect();
                others.sort_unstable();
                for other in others {
                    self.common.applications.tell(other, AppEvent::Lost(app));
                }
            }
        }
    }

    fn drop_application(&mut self, it: Running) {
        if catch_unwind(AssertUnwindSafe(|| drop(it))).is_err() {
            self.common.counters.panics += 1;
        }
    }
}

impl CallStep<'_> {
    /// Takes a leg from its handler, which releases its resources.
    pub(super) fn take_from_handler(&mut self, leg: LegId) {
        let handled = self.call.leg_mut(leg).and_then(|it| it.handled.take());
        self.common.handled_no_more(handled);
    }
}

impl Common {
    /// The state machine by which a handler decides on a call; `None`: it uses a future.
    pub(super) fn machine_of(
        &self,
        handler: &Arc<dyn ApplicationHandler>,
        call: &IncomingCall,
    ) -> Result<Option<Box<dyn Application>>, Panicked> {
        // Its decision is in the journal.
        if self.is_replay() {
            return Ok(None);
        }
        catch_unwind(AssertUnwindSafe(|| handler.begin(call, &self.service))).map_err(|_| Panicked)
    }

    /// Starts a machine with a caller.
    pub(super) fn attend(&mut self, machine: Box<dyn Application>, decides: OnFound) -> Handled {
        let request = self.work.wait(self.is_about(), Waits::Found(decides));
        self.writes("later", &request);
        let app = self.service.new_application();
        self.applications.begin(app, machine, Some(request));
        Handled::Machine(app)
    }

    /// As [`CallStep::take_from_handler`], for a hold that has been taken from its leg.
    pub(super) fn handled_no_more(&mut self, handled: Option<Handled>) {
        match handled {
            // The future is dropped, which releases its resources.
            Some(Handled::Future(ends)) => drop(ends),
            Some(Handled::Machine(app)) => self.take_from_application(app),
            None => {}
        }
    }

    fn take_from_application(&mut self, app: AppId) {
        // An application that has decided is not running any more.
        if let Some(it) = self.applications.running.get_mut(&app) {
            it.is_taken = true;
            self.applications.tell(app, AppEvent::Over);
        }
    }

    /// The leg is over: its handler may finish its work.
    pub(super) fn part_with_handler(&mut self, t: &Turn<'_>, handled: Option<Handled>) {
        match handled {
            Some(Handled::Future(ends)) => self.parting.push_back((t.now + PARTING, ends)),
            Some(Handled::Machine(app)) if self.applications.is_running(app) => {
                self.applications.tell(app, AppEvent::Gone);
                self.applications.set_timer(app, Timer::Parting, Some(t.now + PARTING));
            }
            // An application that has decided has nothing left to do.
            Some(Handled::Machine(_)) | None => {}
        }
    }
}
