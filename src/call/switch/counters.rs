//! Counters of a switch, and the sizes of its collections.

use std::fmt::Debug;

use crate::bridge_fsm::{self, BridgeEvent, BridgeState};
use crate::call_fsm::{self, CallEvent, CallState};
use crate::leg_fsm::{self, LegEvent, LegState};

/// Counters of a switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwitchCounters {
    /// Inbound calls, refused ones included.
    pub incoming: u64,
    /// Calls refused for lack of room or while stopping.
    pub refused: u64,
    /// Legs that were dialled.
    pub dialled: u64,
    /// Bridges whose two parties were both connected.
    pub bridged: u64,
    /// Targets named by parties that were not followed.
    pub not_followed: u64,
    /// Calls that ended.
    pub ended: u64,
    /// Calls ended because they exceeded the maximum duration.
    pub too_long: u64,
    /// Events not allowed in the current state.
    pub illegal: u64,
    /// Answers, timers and commands whose call, leg or bridge was over by then: caused by races.
    pub late: u64,
    /// Events that need no action in the current state.
    pub ignored: u64,
    /// Impossible states: bugs.
    pub impossible: u64,
    /// Where the last impossible state occurred.
    pub impossible_at: Option<&'static str>,
    /// Handlers that panicked.
    pub panics: u64,
    /// Events dropped because a handler was too slow.
    pub unheard: u64,
    /// INFOs that became no event because their leg had sent too many.
    pub infos_untold: u64,
}

/// An input without effect is counted by its meaning, and never dropped silently.
impl SwitchCounters {
    /// The input's target is over.
    pub(super) fn late(&mut self) {
        self.late += 1;
    }

    /// The input is legal, and needs no action here.
    pub(super) fn ignored(&mut self) {
        self.ignored += 1;
    }

    /// An impossible state at `place`. Only the first one is logged as a warning, since one that does occur
    /// recurs.
    #[cold]
    pub(super) fn impossible(&mut self, place: &'static str) {
        self.impossible += 1;
        self.impossible_at = Some(place);
        match self.impossible {
            1 => tracing::warn!("bug: an impossible state in {place}; please report it"),
            _ => tracing::debug!("bug: an impossible state in {place}"),
        }
    }
}

/// Current sizes of the switch's collections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwitchHoldings {
    pub calls: usize,
    pub legs: usize,
    pub bridges: usize,
    /// Entries in maps from dialogs and media endpoints to legs.
    pub map_entries: usize,
    pub timer_entries: usize,
    pub tasks: usize,
    /// Histories of calls that are up or have records to come.
    pub accounts: usize,
    /// Calls that are up and whose media is or was captured.
    pub captures: usize,
}

/// How often each cell of the state tables was used. Only a switch [in hand](super::Switch::in_hand) counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    legs: [[u64; LegEvent::ALL.len()]; LegState::ALL.len()],
    calls: [[u64; CallEvent::ALL.len()]; CallState::ALL.len()],
    bridges: [[u64; BridgeEvent::ALL.len()]; BridgeState::ALL.len()],
}

/// One cell of a state table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `leg`, `call` or `bridge`.
    pub table: &'static str,
    /// The state.
    pub state: String,
    /// The event.
    pub event: String,
    /// Whether the event is legal in the state.
    pub is_legal: bool,
    /// How often it occurred.
    pub count: u64,
}

impl Rows {
    pub(super) fn leg(&mut self, state: LegState, event: LegEvent) {
        count(&mut self.legs, &LegState::ALL, &state, &LegEvent::ALL, &event);
    }

    pub(super) fn call(&mut self, state: CallState, event: CallEvent) {
        count(&mut self.calls, &CallState::ALL, &state, &CallEvent::ALL, &event);
    }

    pub(super) fn bridge(&mut self, state: BridgeState, event: BridgeEvent) {
        count(&mut self.bridges, &BridgeState::ALL, &state, &BridgeEvent::ALL, &event);
    }

    /// Adds the counts of another switch.
    pub fn add(&mut self, other: &Rows) {
        let pairs = |one: &mut [u64], other: &[u64]| {
            one.iter_mut().zip(other).for_each(|(one, other)| *one += other);
        };
        pairs(self.legs.as_flattened_mut(), other.legs.as_flattened());
        pairs(self.calls.as_flattened_mut(), other.calls.as_flattened());
        pairs(self.bridges.as_flattened_mut(), other.bridges.as_flattened());
    }

    /// All cells of the tables.
    pub fn all(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        list(&mut rows, "leg", &LegState::ALL, &LegEvent::ALL, self.legs.as_flattened(), leg_fsm::next);
        list(&mut rows, "call", &CallState::ALL, &CallEvent::ALL, self.calls.as_flattened(), call_fsm::next);
        let (states, events) = (&BridgeState::ALL, &BridgeEvent::ALL);
        list(&mut rows, "bridge", states, events, self.bridges.as_flattened(), bridge_fsm::next);
        rows
    }
}

fn count<S: PartialEq, E: PartialEq, const M: usize, const N: usize>(
    table: &mut [[u64; M]; N],
    states: &[S],
    state: &S,
    events: &[E],
    event: &E,
) {
    let row = states.iter().position(|it| it == state).and_then(|at| table.get_mut(at));
    let column = events.iter().position(|it| it == event);
    if let Some(field) = row.zip(column).and_then(|(row, at)| row.get_mut(at)) {
        *field += 1;
    }
}

fn list<S: Debug + Copy, E: Debug + Copy, X>(
    rows: &mut Vec<Row>,
    table: &'static str,
    states: &[S],
    events: &[E],
    counts: &[u64],
    next: fn(S, E) -> Result<S, X>,
) {
    let fields = states.iter().flat_map(|state| events.iter().map(move |event| (*state, *event)));
    rows.extend(fields.zip(counts).map(|((state, event), count)| Row {
        table,
        state: format!("{state:?}"),
        event: format!("{event:?}"),
        is_legal: next(state, event).is_ok(),
        count: *count,
    }));
}
