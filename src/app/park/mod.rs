//! Call parking: a caller waits in a slot, with music, until another party dials the slot, or returns
//! to the parking party after a timeout.
//!
//! - `lot`: the occupied slots, without I/O
//! - `attend`: the parked caller, and the party that picks them up
//! - `announce`: tells the parking party the slot
//!
//! A caller is parked by a transfer to the lot, which takes the first free slot, or to a certain slot.
//! Dialling a slot picks up the caller parked there.

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

/// The configuration of a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LotConfig {
    /// The name; `park/<name>` is the handler's name.
    pub name: String,
    /// The slot numbers.
    pub slots: RangeInclusive<u32>,
    /// How long a parked caller waits before `back_to` is called.
    pub timeout: Duration,
    /// The ring timeout of that call.
    pub ring: Duration,
    /// The party called after the timeout; `None`: the parking party.
    pub back_to: Option<String>,
    /// The class of music; `None` for silence.
    pub music: Option<String>,
    /// The prompts that tell the parking party the first free slot that was taken; `None` for no
    /// announcement.
    pub announce: Option<Prompts>,
}

impl LotConfig {
    /// Slots 701 to 720, with a timeout of a minute.
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

/// The lots of a server by name; they survive a configuration reload. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Lots(Arc<Mutex<BTreeMap<String, Arc<Mutex<Lot>>>>>);

impl Lots {
    /// No lots.
    pub fn new() -> Self {
        Self::default()
    }

    /// The parked callers, by lot and slot.
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

/// Held briefly, and never across a wait.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves no inconsistent state behind these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
