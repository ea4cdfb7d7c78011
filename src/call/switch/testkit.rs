//! What `b2b-testkit` drives a switch with, in place of `driver`: the commands of its service, which
//! are carried out when the test lets them be (feature `testkit`).

use tokio::sync::mpsc;

use super::command::Command;
use super::{Switch, SwitchConfig, SwitchParts, Turn};
use crate::LegId;
use crate::controller::EndpointId;

/// What a switch's [`CallService`](crate::service::CallService) has asked for and is not carried out.
pub struct Commands(mpsc::UnboundedReceiver<Command>);

impl Switch {
    /// A switch without calls, and the commands that its service will send.
    pub fn in_hand(config: SwitchConfig, parts: SwitchParts) -> (Self, Commands) {
        let (switch, commands) = Switch::new(config, parts);
        (switch, Commands(commands))
    }

    /// Carries the next command out; `false`: there is none.
    pub fn obey_next(&mut self, turn: &mut Turn<'_>, commands: &mut Commands) -> bool {
        let Ok(command) = commands.0.try_recv() else { return false };
        self.obey(turn, command);
        true
    }

    /// The media endpoint of an answered leg.
    pub fn endpoint_of(&self, leg: LegId) -> Option<EndpointId> {
        self.leg_media(leg).ok().map(|media| media.endpoint)
    }
}
