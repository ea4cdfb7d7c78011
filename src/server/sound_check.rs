//! Checks the sounds that a configuration names, beside the calls: what cannot be played is known before a caller
//! misses it, and keeps no server from taking calls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Sounds;

/// The sounds of a configuration that cannot be played, with the reasons, as far as they are checked.
#[derive(Debug, Clone, Default)]
pub struct SoundCheck(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    /// Number of the last round: an earlier one may still be running.
    round: u64,
    unplayable: Vec<(PathBuf, String)>,
}

impl SoundCheck {
    /// Starts to check these.
    pub fn start(sounds: Vec<Sounds>) -> Self {
        let check = SoundCheck::default();
        check.again(sounds);
        check
    }

    /// Checks them again, as files may have been replaced.
    pub fn again(&self, sounds: Vec<Sounds>) {
        let round = {
            let mut found = self.found();
            *found = Found { round: found.round + 1, unplayable: Vec::new() };
            found.round
        };
        if sounds.is_empty() {
            return;
        }
        let check = self.clone();
        let run = move || sounds.iter().for_each(|sounds| check.look(round, sounds));
        if let Err(error) = std::thread::Builder::new().name("sound-check".into()).spawn(run) {
            tracing::warn!("sounds are not checked: {error}");
        }
    }

    fn look(&self, round: u64, sounds: &Sounds) {
        let unplayable = sounds.check();
        let mut found = self.found();
        if found.round != round {
            return;
        }
        match unplayable {
            Ok(left_out) => left_out.iter().for_each(|why| tracing::warn!("a sound is left out: {why}")),
            Err(reason) => {
                tracing::warn!("{reason}");
                found.unplayable.push((sounds.path().to_path_buf(), reason));
            }
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found so far.
    pub fn unplayable(&self) -> Vec<(PathBuf, String)> {
        self.found().unplayable.clone()
    }
}
