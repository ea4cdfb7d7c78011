//! Commands with an id of their client's, for the process after this one: repeated there, they get the first answer, and
//! nothing is done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Shared, locked};

/// The bit in the numbers of their records.
pub(super) const OF_COMMAND: u64 = 1 << 62;
/// As many are written, the latest; in a small store as many as take a sixteenth of it.
const MOST: usize = 1_024;
/// What one takes, octets.
const ROOM: usize = 512;

/// A handle on them. Cheap to clone; the default keeps none.
#[derive(Clone, Default)]
pub struct KeptCommands(Option<Arc<Kept>>);

struct Kept {
    store: Shared,
    before: BTreeMap<u64, Bytes>,
    most: usize,
    /// The numbers of the records.
    numbers: Mutex<BTreeSet<u64>>,
}

impl KeptCommands {
    /// With the records of the process before.
    pub(super) fn new(store: Shared, before: BTreeMap<u64, Bytes>) -> Self {
        let most = MOST.min(locked(&store).room().1 / (16 * ROOM));
        let numbers = Mutex::new(before.keys().copied().collect());
        KeptCommands(Some(Arc::new(Kept { store, before, most, numbers })))
    }

    /// Those of the process before, in the order in which they were accepted, with their numbers.
    pub fn of_before(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.0.iter().flat_map(|kept| kept.before.iter().map(|(number, octets)| (*number, &**octets)))
    }

    /// The number of the next command; `None`: none is kept. The oldest one makes room.
    pub fn next(&self) -> Option<u64> {
        let kept = self.0.as_ref()?;
        let mut numbers = kept.numbers();
        if numbers.len() >= kept.most
            && let Some(oldest) = numbers.pop_first()
        {
            locked(&kept.store).remove(oldest);
        }
        let number = numbers.last().map_or(OF_COMMAND, |last| last + 1);
        numbers.insert(number);
        Some(number)
    }

    /// Writes a command, unless it has made room for others.
    pub fn write(&self, number: u64, octets: &[u8]) {
        let Some(kept) = self.0.as_ref().filter(|kept| kept.numbers().contains(&number)) else { return };
        let mut store = locked(&kept.store);
        if store.put(number, octets).is_err() {
            // Calls need the room more.
            store.remove(number);
        }
    }
}

impl Kept {
    fn numbers(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
