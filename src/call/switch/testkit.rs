//! What `b2b-testkit` needs to drive a switch in place of `driver`: the commands of its service, carried out
//! when the test decides. A build with a feature for it would be a second one, of this crate and of all above it.

use std::fmt::Debug;

use tokio::sync::mpsc;

use super::{RecordSink, Switch, SwitchConfig, SwitchParts, Turn};
use crate::LegId;
use crate::bridge_fsm::{self, BridgeEvent, BridgeState};
use crate::call_fsm::{self, CallEvent, CallState};
use crate::controller::EndpointId;
use crate::leg_fsm::{self, LegEvent, LegState};
use crate::service::command::Command;

/// Commands of a switch's [`CallService`](crate::service::CallService) that are not carried out yet.
pub struct Commands(mpsc::UnboundedReceiver<Command>);

/// How often each cell of the state tables was used. Only a switch [in hand](Switch::in_hand) counts.
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

impl Switch {
    /// How often each cell of the state tables was used.
    pub fn rows(&self) -> Option<&Rows> {
        self.common.rows.as_deref()
    }

    /// A switch without calls, and the commands that its service will send.
    pub fn in_hand(config: SwitchConfig, parts: SwitchParts) -> (Self, Commands) {
        let (mut switch, commands) = Switch::new(config, parts);
        switch.common.rows = Some(Box::default());
        (switch, Commands(commands))
    }

    /// Its collaborators, for a switch that replaces it; records go to `records`.
    pub fn parts_again(&mut self, records: RecordSink) -> SwitchParts {
        let parts = std::mem::replace(&mut self.common.parts, super::nobody::nobody());
        SwitchParts { records: Some(records), ..parts }
    }

    /// Carries out the next command; `false`: there is none.
    pub fn obey_next(&mut self, turn: &mut Turn<'_>, commands: &mut Commands) -> bool {
        let Ok(command) = commands.0.try_recv() else { return false };
        self.obey(turn, command);
        true
    }

    /// The media endpoint of an answered leg.
    pub fn endpoint_of(&self, leg: LegId) -> Option<EndpointId> {
        self.calls.leg(leg).filter(|it| it.is_up())?.media.endpoint
    }
}
