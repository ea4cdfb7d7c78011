//! What of the calls would outlive this process, and what of the one before has.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::fault::ProcessFault;
use super::{Shared, is_of_call, locked};
use b2b_call::CallId;
use b2b_call::switch::restore::Survivor;

/// The least time between two lines of the log on calls that are not covered.
const TOLD: Duration = Duration::from_secs(60);

/// Calls that outlive the server.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Survival {
    /// Whether `survive.file` is set; otherwise all else is empty.
    pub on: bool,
    /// Calls that would go on.
    pub covered: usize,
    /// Calls that would not, since their record did not fit in or could not be written.
    pub not_covered: usize,
    /// Octets of memory in use.
    pub octets: usize,
    /// Octets of memory that records may use.
    pub size: usize,
    /// The process before; null: it has ended its calls itself, or there was none.
    pub before: Option<ProcessBefore>,
}

/// What the start found of a process that has ended without a farewell.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProcessBefore {
    /// For how long there was no process, as far as it is known to a second.
    pub away_ms: u64,
    /// Calls that went on.
    pub went_on: usize,
    /// Calls that did not.
    pub ended: Vec<CallLost>,
    /// What has brought it down, if that is known.
    pub fault: Option<ProcessFault>,
    /// What the time until its calls went on was spent with.
    pub took: Took,
}

/// What the time until calls went on was spent with, in milliseconds and in this order. The sound of a call flows once it
/// is joined.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Took {
    /// From the start of the process, known to 10 ms, until calls were read.
    pub starting_ms: u64,
    /// Reading calls and their media.
    pub reading_ms: u64,
    /// Opening endpoints at their ports.
    pub opening_ms: u64,
    /// Writing them anew.
    pub writing_ms: u64,
    /// Joining them.
    pub joining_ms: u64,
    /// From then on until all calls were taken up: registrar, sockets, applications.
    pub listening_ms: Option<u64>,
    /// Taking calls up; null: that is not done yet.
    pub signalling_ms: Option<u64>,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Took { starting_ms, reading_ms, opening_ms, writing_ms, joining_ms, .. } = self;
        write!(
            f,
            "starting {starting_ms} ms, reading {reading_ms}, opening ports {opening_ms}, writing {writing_ms}, joining {joining_ms}"
        )
    }
}

/// A call that did not go on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallLost {
    pub call: u64,
    pub why: String,
}

impl ProcessBefore {
    /// What became of these calls, without its fault and what the start has taken.
    pub(super) fn of(away: Duration, calls: &[Survivor]) -> ProcessBefore {
        let calls: Vec<&Survivor> = calls.iter().filter(|it| !it.is_over()).collect();
        let lost = |it: &&Survivor| Some(CallLost { call: it.call.0, why: it.ends.clone()? });
        let ended: Vec<CallLost> = calls.iter().filter_map(lost).collect();
        ProcessBefore {
            away_ms: away.as_millis() as u64,
            went_on: calls.len() - ended.len(),
            ended,
            fault: None,
            took: Took::default(),
        }
    }
}

/// A handle on the figures. Cheap to clone.
#[derive(Clone, Default)]
pub struct SurviveFigures(Option<Arc<Figures>>);

struct Figures {
    store: Shared,
    not_covered: Mutex<NotCovered>,
    before: Mutex<Option<ProcessBefore>>,
    /// When its calls were joined.
    joined: Instant,
}

#[derive(Default)]
struct NotCovered {
    calls: HashSet<CallId>,
    /// When the log last said so.
    told: Option<Instant>,
}

impl Figures {
    fn not_covered(&self) -> MutexGuard<'_, NotCovered> {
        self.not_covered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SurviveFigures {
    pub(super) fn new(store: Shared, before: Option<ProcessBefore>) -> Self {
        SurviveFigures(Some(Arc::new(Figures {
            store,
            not_covered: Mutex::default(),
            before: Mutex::new(before),
            joined: Instant::now(),
        })))
    }

    /// Its calls have been taken up, which has begun then.
    pub fn has_taken_up(&self, began: Instant) {
        let Some(figures) = &self.0 else { return };
        let mut before = figures.before.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = before.as_mut() else { return };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (listening, signalling) = (ms(began - figures.joined), ms(began.elapsed()));
        (before.took.listening_ms, before.took.signalling_ms) = (Some(listening), Some(signalling));
        tracing::info!(
            "{} calls of the process before go on, {} ms after its end, and {} have ended: {}, listening {listening}, \
             signalling {signalling}",
            before.went_on,
            before.away_ms,
            before.ended.len(),
            before.took,
        );
    }

    /// A call has been written, or is over.
    pub(super) fn covers(&self, call: CallId) {
        if let Some(figures) = &self.0 {
            figures.not_covered().calls.remove(&call);
        }
    }

    /// A call would not outlive this process. The log says so once a minute.
    pub(super) fn does_not_cover(&self, call: CallId, why: &str) {
        let Some(figures) = &self.0 else { return };
        let mut not_covered = figures.not_covered();
        not_covered.calls.insert(call);
        if not_covered.told.is_none_or(|told| told.elapsed() > TOLD) {
            not_covered.told = Some(Instant::now());
            let (call, count) = (call.0, not_covered.calls.len());
            tracing::warn!("call {call} would not outlive this process, as {count} in all: {why}");
        }
    }

    /// As it is now.
    pub fn view(&self) -> Survival {
        let Some(figures) = &self.0 else { return Survival::default() };
        let store = locked(&figures.store);
        let covered = store.keys().filter(|key| is_of_call(*key)).count();
        let (octets, size) = store.room();
        drop(store);
        let not_covered = figures.not_covered().calls.len();
        let before = figures.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Survival { on: true, covered, not_covered, octets, size, before }
    }
}
