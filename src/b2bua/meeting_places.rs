//! Rooms, parking lots and mailboxes: what outlives a change of the configuration.

use std::sync::Arc;
use std::time::SystemTime;

use crate::app::Applications;
use crate::app::conference::{Conference, Rooms};
use crate::app::park::{Lots, Parking};
use crate::app::voicemail::Mailboxes;
use crate::config::server::ServerConfig;

/// The rooms, lots and mailboxes of a server. A handle that can be cloned.
#[derive(Debug, Clone)]
pub struct MeetingPlaces {
    pub rooms: Rooms,
    pub lots: Lots,
    pub mailboxes: Mailboxes,
}

impl MeetingPlaces {
    /// Of a server that starts at this time.
    pub fn new(started: SystemTime) -> Self {
        // As part of a file's name: without colons.
        let prefix = humantime::format_rfc3339_seconds(started).to_string().replace(':', "-");
        MeetingPlaces { rooms: Rooms::new(&prefix), lots: Lots::new(), mailboxes: Mailboxes::new() }
    }

    /// Makes those of a configuration known by their names.
    pub fn enlist(&self, apps: &Applications, config: &ServerConfig) {
        for room in &config.apps.conferences {
            apps.add(Arc::new(Conference::new(room.clone(), &self.rooms)));
        }
        for lot in &config.apps.lots {
            apps.add(Arc::new(Parking::new(lot.clone(), &self.lots)));
        }
    }
}
