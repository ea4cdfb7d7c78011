//! Transactions by the usage that they belong to.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::tokens::OwnKeys;
use crate::ids::UsageId;

/// Slots by usage.
#[derive(Default)]
pub struct OfUsages(HashMap<u64, Vec<u32>, BuildHasherDefault<OwnKeys>>);

/// Who may belong to a usage.
pub trait OfUsage: Copy {
    /// The usage.
    fn usage(self) -> Option<UsageId>;
}

fn key(usage: UsageId) -> u64 {
    u64::from(usage.generation) << 32 | u64::from(usage.slot)
}

impl OfUsages {
    /// Adds a transaction.
    pub fn insert(&mut self, usage: Option<UsageId>, slot: u32) {
        if let Some(usage) = usage {
            self.0.entry(key(usage)).or_default().push(slot);
        }
    }

    /// Removes a transaction.
    pub fn remove(&mut self, usage: Option<UsageId>, slot: u32) {
        let Some(key) = usage.map(key) else { return };
        if let Some(slots) = self.0.get_mut(&key) {
            slots.retain(|it| *it != slot);
            if slots.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    /// The transactions of a usage.
    pub fn of(&self, usage: UsageId) -> &[u32] {
        self.0.get(&key(usage)).map_or(&[], Vec::as_slice)
    }

    /// The number of usages with transactions.
    pub fn entries(&self) -> usize {
        self.0.len()
    }

    /// Releases memory when the slab does.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}
