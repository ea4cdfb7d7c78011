//! Checks the sounds that a configuration names, beside the calls: what cannot be played is known before a caller
//! misses it, and keeps no server from taking calls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{Sounds, playable};
use b2b_app::Prompts;

/// The sounds of a configuration that cannot be played, with the reasons, as far as they are checked.
#[derive(Debug, Clone, Default)]
pub struct SoundCheck(Arc<Mutex<Vec<(PathBuf, String)>>>);

impl SoundCheck {
    /// Starts to check these.
    pub fn start(sounds: Vec<Sounds>) -> Self {
        let check = SoundCheck::default();
        check.again(sounds);
        check
    }

    /// Checks them again, as files may have been replaced.
    pub fn again(&self, sounds: Vec<Sounds>) {
        self.found().clear();
        if sounds.is_empty() {
            return;
        }
        let found = self.clone();
        let run = move || sounds.into_iter().for_each(|sound| found.check(sound));
        if let Err(error) = std::thread::Builder::new().name("sound-check".into()).spawn(run) {
            tracing::warn!("sounds are not checked: {error}");
        }
    }

    fn check(&self, sounds: Sounds) {
        let (path, checked) = match sounds {
            Sounds::File(file) => (file.clone(), playable(&file)),
            Sounds::Folder(folder) => {
                let left_out = Prompts::check_folder(&folder).map(|unplayable| {
                    unplayable.iter().for_each(|reason| tracing::warn!("a sound is left out: {reason}"));
                });
                (folder, left_out)
            }
        };
        if let Err(reason) = checked {
            tracing::warn!("{reason}");
            self.found().push((path, reason));
        }
    }

    fn found(&self) -> MutexGuard<'_, Vec<(PathBuf, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found so far.
    pub fn unplayable(&self) -> Vec<(PathBuf, String)> {
        self.found().clone()
    }
}
