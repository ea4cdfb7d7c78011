//! What of the calls would outlive this process, and what of the one before has.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Shared, is_of_call, locked};
use b2b_call::CallId;
use b2b_call::switch::restore::Survivor;

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
}

/// A call that did not go on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallLost {
    pub call: u64,
    pub why: String,
}

impl ProcessBefore {
    /// What became of these calls.
    pub(super) fn of(away: Duration, calls: &[Survivor]) -> ProcessBefore {
        let lost = |it: &Survivor| Some(CallLost { call: it.call.0, why: it.ends.clone()? });
        let ended: Vec<CallLost> = calls.iter().filter_map(lost).collect();
        ProcessBefore { away_ms: away.as_millis() as u64, went_on: calls.len() - ended.len(), ended }
    }
}

/// A handle on the figures. Cheap to clone.
#[derive(Clone, Default)]
pub struct SurviveFigures(Option<Arc<Figures>>);

struct Figures {
    store: Shared,
    not_covered: Mutex<HashSet<CallId>>,
    before: Option<ProcessBefore>,
}

impl SurviveFigures {
    pub(super) fn new(store: Shared, before: Option<ProcessBefore>) -> Self {
        SurviveFigures(Some(Arc::new(Figures { store, not_covered: Mutex::default(), before })))
    }

    /// A call has been written, or could not be.
    pub(super) fn covers(&self, call: CallId, is_covered: bool) {
        let Some(figures) = &self.0 else { return };
        let mut not_covered = figures.not_covered.lock().unwrap_or_else(PoisonError::into_inner);
        match is_covered {
            true => not_covered.remove(&call),
            false => not_covered.insert(call),
        };
    }

    /// As it is now.
    pub fn view(&self) -> Survival {
        let Some(figures) = &self.0 else { return Survival::default() };
        let store = locked(&figures.store);
        let covered = store.keys().filter(|key| is_of_call(*key)).count();
        let (octets, size) = store.room();
        drop(store);
        let not_covered = figures.not_covered.lock().unwrap_or_else(PoisonError::into_inner).len();
        Survival { on: true, covered, not_covered, octets, size, before: figures.before.clone() }
    }
}
