//! Parking: a caller waits in a slot, with music, until somebody dials the slot, or, after a
//! time, goes back to who parked them.
//!
//! - `lot`: which slots are taken, without I/O
//! - `attend`: the way of who is parked and of who picks them up
//! - `announce`: who has parked somebody hears where
//!
//! Somebody is parked by a transfer to the lot, into the first free slot, or to a slot. Who
//! dials a slot picks up whoever is there.

mod announce;
mod attend;
#[cfg(test)]
mod attend_tests;
mod lot;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::prompts::Prompts;
pub use attend::Parking;
pub use lot::{Lot, NoSlot, Parked};

/// What a lot is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LotConfig {
    /// `park/<name>` is the handler's name.
    pub name: String,
    /// The numbers of its slots.
    pub slots: RangeInclusive<u32>,
    /// How long a parked caller waits before `back_to` is called.
    pub timeout: Duration,
    /// How long `back_to` is called then.
    pub ring: Duration,
    /// Who is called when nobody picks the caller up; none: who parked the caller.
    pub back_to: Option<String>,
    /// Class of the music; none: silence.
    pub music: Option<String>,
    /// What the slot is said with to who has parked somebody in the first free one; none: nobody says it.
    pub announce: Option<Prompts>,
}

impl LotConfig {
    /// Slots 701 to 720, for a minute.
    pub fn new(name: impl Into<String>) -> Self {
        LotConfig {
            name: name.into(),
            slots: 701..=720,
            timeout: Duration::from_secs(60),
            ring: Duration::from_secs(20),
            back_to: None,
            music: None,
            announce: None,
        }
    }
}

/// The lots of a server by their names; they outlive a change of its configuration. A handle
/// that can be cloned.
#[derive(Debug, Clone, Default)]
pub struct Lots(Arc<Mutex<BTreeMap<String, Arc<Mutex<Lot>>>>>);

impl Lots {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who is parked where, by lot and slot.
    pub fn view(&self) -> Vec<(String, u32, Parked)> {
        let lots: Vec<_> = lock(&self.0).iter().map(|(name, lot)| (name.clone(), lot.clone())).collect();
        let of = |(name, lot): (String, Arc<Mutex<Lot>>)| {
            let taken: Vec<_> = lock(&lot).taken().map(|(slot, parked)| (slot, parked.clone())).collect();
            taken.into_iter().map(move |(slot, parked)| (name.clone(), slot, parked))
        };
        lots.into_iter().flat_map(of).collect()
    }

    fn lot(&self, name: &str) -> Arc<Mutex<Lot>> {
        lock(&self.0).entry(name.to_owned()).or_default().clone()
    }
}

/// Held for a moment, and never while somebody waits.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves nothing half done behind these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
