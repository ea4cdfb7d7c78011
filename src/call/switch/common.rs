//! What the calls of a switch share.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use tokio::sync::oneshot;

use crate::bus::EventBus;
use crate::cdr::Cdr;
use crate::controller::{MediaController, PairPolicy, SrtpRules};
use crate::handler::{ApplicationHandler, HandlerAction, Party as Named};
use crate::history::CallHistory;
use crate::lookup::{LookupError, LookupRequest, Resolver};
use crate::recording::RecordingRules;
use crate::service::CallService;
use crate::service::command::{Reply, Until};
use crate::switch::admission::AdmissionControl;
use crate::switch::journal::Journaling;
use crate::switch::keep::Kept;
use crate::switch::state::follow::{Follow, Outcome};
use crate::switch::state::recording::Ending;
use crate::switch::state::transfer::PassedRefer;
use crate::switch::state::waits::{Found, OnFound, Waits};
use crate::switch::turn::Moment;
use crate::switch::work::applications::{Applications, Ends, Handled, Listener};
use crate::switch::work::sleepers::{FAR, Sleeper, Sleepers};
use crate::switch::work::slots::Key;
use crate::switch::work::tasks::{Came, Done, Guarded, Panicked, Task, Work, polled};
use crate::switch::work::watchers::Watchers;
use crate::switch::works_on::WorksOn;
use crate::{CallId, LegId};
use b2b_base::rtp_timeout;
use b2b_sip::endpoint::Reply as SipReply;
use b2b_sip::msg::{Name, NameAddr, Request};
use b2b_sip::net::tap::Seen;
use b2b_sip::transaction::timer_queue::TimerQueue;

/// A deadline further away than this is checked again on the way, so that the entries of calls that have been
/// answered meanwhile do not pile up.
pub(crate) const HORIZON: Duration = Duration::from_secs(16);

/// The configuration of a switch.
#[derive(Debug, Clone)]
pub struct SwitchConfig {
    /// Host part of the URIs in which we name callers: `b2b.example.com`, `192.0.2.1:5060`.
    pub domain: String,
    /// Maximum number of concurrent calls; further ones are refused with 503.
    pub max_calls: usize,
    /// Retry-After of a 503, in seconds.
    pub retry_after: u32,
    /// A call that expects RTP ends after this long without any; `None`: never.
    pub rtp_timeout: Option<Duration>,
    /// Maximum duration of a call after its answer; `None`: unlimited.
    pub max_duration: Option<Duration>,
    /// What session descriptions may carry from leg to leg.
    pub policy: PairPolicy,
    /// Whether media is encrypted, decided for each leg separately.
    pub srtp: SrtpRules,
    /// Where recordings without a file name of their own go; `None`: nothing is recorded.
    pub recording: Option<Arc<RecordingRules>>,
    /// Whether the inputs of calls are written to a journal: [`CallHistory::journal`].
    pub journal: bool,
    /// The highest number of the calls that ended in an earlier process: those of this one get none of its numbers,
    /// nor those of `max_calls` that it may have had when it was lost. `None`: numbers begin anew.
    pub last_call: Option<CallId>,
    /// No message is read before [`Jobs::go_on`](super::driver::Jobs::go_on): calls of a process that has ended come
    /// first.
    pub resumes: bool,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        SwitchConfig {
            domain: "b2b.invalid".to_owned(),
            max_calls: 10_000,
            retry_after: 10,
            rtp_timeout: Some(rtp_timeout::SERVER),
            max_duration: None,
            policy: PairPolicy::default(),
            srtp: SrtpRules::default(),
            recording: None,
            journal: false,
            last_call: None,
            resumes: false,
        }
    }
}

/// The collaborators of a switch.
pub struct SwitchParts {
    pub controller: Arc<dyn MediaController>,
    pub resolver: Arc<dyn Resolver>,
    /// Asked in this order.
    pub handlers: Vec<Arc<dyn ApplicationHandler>>,
    pub admission: Box<dyn AdmissionControl>,
    /// Receives the events; `None`: events are dropped.
    pub bus: Option<EventBus>,
    /// Receives call detail records; `None`: none are written.
    pub records: Option<RecordSink>,
}

/// Which new calls are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakesCalls {
    All,
    /// Draining: only emergency calls and others that admission control calls urgent.
    Urgent,
    None,
}

/// Called for each message that passes, with whether its call is captured; must not block.
pub type Mirror = Box<dyn FnMut(&Seen, bool) + Send>;

/// The destination of records.
pub type RecordSink = Box<dyn FnMut(Cdr) + Send>;

/// What surrounds the calls, and answers the questions of their steps.
pub(crate) struct World {
    pub parts: SwitchParts,
    pub history: CallHistory,
    pub journaling: Journaling,
    /// Journals are also for the process after this one.
    pub is_kept: bool,
    /// The handlers' holds on legs.
    pub handled: HashMap<LegId, Handled>,
    /// The handlers that hear of a call, the newest last.
    pub listeners: HashMap<CallId, Vec<Listener>>,
}

/// What the calls of a switch share.
pub(crate) struct Common {
    pub config: SwitchConfig,
    pub world: World,
    pub mirror: Option<Mirror>,
    /// Where calls are written for the process after this one.
    pub kept: Option<Kept>,
    pub works_on: WorksOn,
    /// Messages are read.
    pub reads: bool,
    pub service: CallService,
    /// REFERs passed on, to recognize an INVITE with Replaces that results; the latest last.
    pub passed_refers: Vec<PassedRefer>,
    pub timers: TimerQueue<CallId>,
    pub work: Work,
    pub applications: Applications,
    pub out: Outcome,
    pub sleepers: Sleepers,
    pub watchers: Watchers,
    pub recordings_ending: Ending,
    /// Listeners of calls that are over, and how long they may continue.
    pub parting: VecDeque<(Instant, Ends)>,
    pub takes: TakesCalls,
}

impl Common {
    /// Whether ordinary new calls are refused.
    pub fn is_draining(&self) -> bool {
        self.takes != TakesCalls::All
    }

    /// Takes the answer of a resolver or a handler from the journal.
    fn found_told(&mut self, then: OnFound) -> Option<Key> {
        let later = self.world.reads_unless("later", &["found"]);
        match later {
            Some(request) => self.work.ask_journal(self.world.is_told_of(), request, Waits::Found(then)),
            None => {
                let found = self.world.reads("found").unwrap_or(Err(Panicked));
                self.out.push(Follow::Found { then, found });
            }
        }
        later
    }

    /// Continues with `then` once a resolver or a handler has answered; the future is polled within the turn.
    /// Returns the number of the request; `None`: it has been answered.
    pub(crate) fn run<T: Send + 'static>(
        &mut self,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        found: fn(T) -> Found,
        then: OnFound,
    ) -> Option<Key> {
        self.ask_for(future, found, then, |request, future| Box::pin(found_by(request, future, found)))
    }

    /// As [`Common::run`], but the future is dropped once the returned sender is. A decision that it makes at
    /// that moment is ignored: it results from the loss of its call. `None`: it has been answered.
    pub(crate) fn run_until(
        &mut self,
        future: Pin<Box<dyn Future<Output = HandlerAction> + Send>>,
        then: OnFound,
    ) -> Option<oneshot::Sender<()>> {
        let (ends, ended) = oneshot::channel();
        let asked = self.ask_for(future, Found::Action, then, |request, future| {
            Box::pin(async move {
                tokio::select! {
                    biased;
                    _ = ended => Done(Came::Dropped(request)),
                    done = found_by(request, future, Found::Action) => done,
                }
            })
        });
        asked.filter(|_| !self.world.is_replay()).map(|_| ends)
    }

    fn ask_for<T: Send + 'static>(
        &mut self,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        found: fn(T) -> Found,
        then: OnFound,
        task: impl FnOnce(Key, Guarded<'static, T>) -> Task,
    ) -> Option<Key> {
        let is_fact = then.is_fact();
        if self.world.is_replay() {
            return is_fact.then(|| self.found_told(then)).flatten();
        }
        match polled(future) {
            Ok(result) => {
                let found = result.map(found);
                if is_fact {
                    self.world.writes("found", &found);
                }
                self.out.push(Follow::Found { then, found });
                None
            }
            Err(future) => {
                let call = self.world.is_about().filter(|_| is_fact);
                let request = self.work.ask(call, Waits::Found(then), |request| task(request, future));
                if is_fact {
                    self.world.writes("later", &request);
                }
                Some(request)
            }
        }
    }

    /// Looks up a target. Returns the number of the request; `None`: it has been answered.
    pub(crate) fn look_up(&mut self, lookup: LookupRequest, then: OnFound) -> Option<Key> {
        let resolver = self.world.parts.resolver.clone();
        let future = Box::pin(async move {
            let found = resolver.lookup(&lookup).await?;
            found.ok_or_else(|| LookupError::NoResolver { target: lookup.target, known: resolver.known() })
        });
        self.run(future, Found::Contacts, then)
    }
}

async fn found_by<T>(request: Key, future: Guarded<'static, T>, found: fn(T) -> Found) -> Done {
    Done(Came::Found(request, Box::new(future.await.map(found))))
}

impl Common {
    /// A 503 with Retry-After.
    pub(crate) fn busy(&self) -> SipReply {
        let wait = self.config.retry_after.to_string();
        SipReply { headers: vec![("Retry-After".into(), wait.into())], ..SipReply::status(503) }
    }
}

/// How long a referred party may use Replaces: as long as the INVITE of the referral may last (RFC 3261
/// §17.1.1.2, Timer B).
pub(crate) const REFERRED: Duration = Duration::from_secs(32);

/// Maximum number of REFERs remembered for this.
pub(crate) const REMEMBERED: usize = 256;

impl Common {
    /// Remembers a REFER that was passed on.
    pub(crate) fn remember(&mut self, refer: PassedRefer) {
        self.passed_refers.retain(|it| refer.at < it.at + REFERRED);
        if self.passed_refers.len() >= REMEMBERED {
            self.passed_refers.remove(0);
        }
        self.passed_refers.push(refer);
    }

    /// Whether the party to be replaced has referred this one here, by a REFER that was passed on and that
    /// the INVITE names (RFC 3892).
    pub(crate) fn has_referred(&mut self, t: Moment, asker: &Named, of: &Named, invite: &Request) -> bool {
        let referred = self.is_referred(t, asker, of, invite);
        self.world.fact("is referred", |_| referred)
    }

    fn is_referred(&self, t: Moment, asker: &Named, of: &Named, invite: &Request) -> bool {
        let Some(by) = invite.header(Name::ReferredBy).and_then(NameAddr::parse) else { return false };
        let Some(named) = by.uri.number(self.world.parts.admission.ours()) else { return false };
        let passed = self.passed_refers.iter().filter(|it| t.now < it.at + REFERRED);
        passed.into_iter().any(|it| {
            let is_named = it.by.user.as_ref() == Some(&named) || it.by.number == named;
            is_named
                && self.world.parts.admission.is_same(&it.to, asker)
                && self.world.parts.admission.is_same(&it.by, of)
        })
    }

    /// Runs work that belongs to no call; its result is not awaited.
    pub(crate) fn run_beside(&mut self, work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let guarded = Guarded::new(work);
        self.work.beside.push_back(Box::pin(async move { Done(Came::Beside(guarded.await)) }));
    }

    pub(crate) fn sleep(&mut self, t: Moment, until: Until, reply: Reply<Instant>) {
        let at = match until {
            Until::Now => t.now,
            Until::At(at) => at,
            // As good as never.
            Until::In(time) => t.now.checked_add(time).unwrap_or(t.now + FAR),
        };
        if at <= t.now {
            // A closed receiver is no error.
            let _ = reply.send(t.now);
            return;
        }
        self.sleepers.add(at, Sleeper::Application(reply));
    }

    /// Wakes this waiter after this time.
    pub(crate) fn sleep_for(&mut self, t: Moment, wait: Duration, sleeper: Sleeper) {
        self.sleepers.add(t.now.checked_add(wait).unwrap_or(t.now + FAR), sleeper);
    }
}
