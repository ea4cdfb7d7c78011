//! What `b2b-testkit` needs to drive a switch in place of `driver`: the commands of its service, carried out
//! when the test decides. A build with a feature for it would be a second one, of this crate and of all above it.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::controller::EndpointId;
use crate::service::command::Command;
use crate::switch::Switch;
use crate::switch::common::{RecordSink, SwitchConfig, SwitchParts};
use crate::switch::turn::Turn;
use crate::{CallId, LegId};

pub use crate::switch::counters::{Row, Rows};

/// Commands of a switch's [`CallService`](crate::service::CallService) that are not carried out yet.
pub struct Commands(mpsc::UnboundedReceiver<Command>);

impl Commands {
    /// Whether all are carried out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Switch {
    /// How often each cell of the state tables was used.
    pub fn rows(&self) -> Option<&Rows> {
        self.common.out.rows.as_deref()
    }

    /// A switch without calls, and the commands that its service will send.
    pub fn in_hand(config: SwitchConfig, parts: SwitchParts) -> (Self, Commands) {
        let (mut switch, commands) = Switch::new(config, parts);
        switch.common.out.rows = Some(Box::default());
        (switch, Commands(commands))
    }

    /// Its collaborators, for a switch that replaces it; records go to `records`.
    pub fn parts_again(&mut self, records: RecordSink) -> SwitchParts {
        let parts = std::mem::replace(&mut self.common.world.parts, crate::switch::replay::nobody::nobody());
        SwitchParts { records: Some(records), ..parts }
    }

    /// Carries out the next command; `false`: there is none.
    pub fn obey_next(&mut self, turn: &mut Turn<'_>, commands: &mut Commands) -> bool {
        let Ok(command) = commands.0.try_recv() else { return false };
        self.obey(turn, command);
        true
    }

    /// The branches whose INVITEs are delayed, in the order of their turns.
    pub fn delayed(&self) -> Vec<LegId> {
        self.common.sleepers.branches().into_iter().map(|it| it.leg).collect()
    }

    /// Whether an offer to a party of this call has no answer yet.
    pub fn is_asked(&self, call: CallId) -> bool {
        self.calls.get(call).is_some_and(|it| it.is_asked())
    }

    /// When each call next does something by itself.
    pub fn deadlines(&self) -> BTreeMap<CallId, Option<Instant>> {
        let of = |id| self.calls.get(id).and_then(|it| it.next_timeout());
        self.calls.ids().into_iter().map(|id| (id, of(id))).collect()
    }

    /// The media endpoint of an answered leg.
    pub fn endpoint_of(&self, leg: LegId) -> Option<EndpointId> {
        self.calls.leg(leg).filter(|it| it.is_up())?.media.endpoint
    }
}
