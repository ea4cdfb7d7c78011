//! Rooms, parking lots and mailboxes: the state that outlives a change of the configuration.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::mailboxes::{Folder, messages};
use crate::config::ServerConfig;
use crate::registrar::{SavedPin, SavedPins};
use b2b_app::Applications;
use b2b_app::conference::{Conference, Rooms};
use b2b_app::park::{Lots, Parking};
use b2b_app::voicemail::{self, Mailboxes};
use b2b_app::wrong_pins::{Acquaintance, Acquaintances, WrongPins};
use b2b_base::util::wall::WallClock;

/// The rooms, lots and mailboxes of a server. A handle that can be cloned.
#[derive(Debug, Clone)]
pub struct MeetingPlaces {
    pub rooms: Rooms,
    pub lots: Lots,
    pub mailboxes: Mailboxes,
    /// Opened once there are mailboxes.
    folder: Arc<Mutex<Option<Arc<Folder>>>>,
    clock: WallClock,
}

impl Acquaintances for SavedPins {
    fn found(&self) -> Vec<(Acquaintance, Duration)> {
        let found = self.found.iter().cloned();
        found.map(|(SavedPin { place, user, all }, ago)| (Acquaintance { place, user, all }, ago)).collect()
    }

    fn keep(&self, Acquaintance { place, user, all }: Acquaintance) {
        self.save(SavedPin { place, user, all });
    }
}

impl MeetingPlaces {
    /// The places of a server that starts at this time, with who has got in before.
    pub fn new(now: Instant, started: SystemTime, pins: Option<SavedPins>) -> Self {
        let wrong_pins = pins.map_or_else(WrongPins::default, |pins| WrongPins::kept(now, Arc::new(pins)));
        // Part of a file name, so it has no colons.
        let prefix = humantime::format_rfc3339_seconds(started).to_string().replace(':', "-");
        MeetingPlaces {
            rooms: Rooms::new(&prefix, wrong_pins.clone()),
            lots: Lots::new(),
            mailboxes: Mailboxes::new(wrong_pins),
            folder: Arc::default(),
            clock: WallClock::new(now, started),
        }
    }

    /// Registers those of a configuration by their names.
    ///
    /// # Errors
    /// If the voicemail folder cannot be used; in words.
    pub fn enlist(&self, apps: &Applications, config: &ServerConfig) -> Result<(), String> {
        for room in &config.apps.conferences {
            apps.add(Arc::new(Conference::new(room.clone(), &self.rooms)));
        }
        for lot in &config.apps.lots {
            apps.add(Arc::new(Parking::new(lot.clone(), &self.lots)));
        }
        let voicemail = &config.apps.voicemail;
        if !voicemail.mailboxes.is_empty() {
            let folder = self.folder(config)?;
            let all = voicemail::applications(voicemail.clone(), &self.mailboxes, folder, self.clock);
            all.into_iter().for_each(|app| apps.add(app));
        }
        let names = voicemail.mailboxes.iter().map(|mailbox| mailbox.name.as_str());
        self.mailboxes.set(names, |name| messages(voicemail, name));
        Ok(())
    }

    fn folder(&self, config: &ServerConfig) -> Result<Arc<Folder>, String> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &*folder {
            return Ok(folder.clone());
        }
        let opened = Arc::new(Folder::open(&config.apps.voicemail)?);
        Ok(folder.insert(opened).clone())
    }
}
