//! A slab whose keys are never reused: a key that has outlived its value finds nothing.

use std::time::{Duration, SystemTime};

use slab::Slab;

/// A slot and its generation: `generation << 22 | slot`. Below 2^53, so that JSON readers keep every digit.
pub(crate) type Key = u64;

const SLOT_BITS: u32 = 22;
const GENERATIONS: u32 = (1 << 31) - 1;

/// Bound of the slots that a foreseen key may name: the slab allocates all slots below it.
const FORESEEN: usize = 65_536;

pub(crate) struct Slots<T> {
    slab: Slab<(u32, T)>,
    generation: u32,
    removals: usize,
    /// The key for the next insertion.
    foreseen: Option<Key>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slab: Slab::new(), generation: 0, removals: 0, foreseen: None }
    }
}

impl<T> Slots<T> {
    /// Inserts what `make` returns for its key.
    pub fn insert(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        if let Some(key) = self.foreseen.take().filter(|key| self.can_put(*key)) {
            let value = (generation_of(key), make(key));
            // Its own keys are not reused either.
            self.generation = self.generation.max(generation_of(key));
            if self.slab.vacant_key() == slot(key) {
                self.slab.insert(value);
            } else {
                let others = std::mem::take(&mut self.slab).into_iter();
                self.slab = others.chain([(slot(key), value)]).collect();
            }
            return key;
        }
        // There is no generation 0, so that a key is never 0.
        self.generation = self.generation % GENERATIONS + 1;
        let generation = self.generation;
        let entry = self.slab.vacant_entry();
        let key = key_of(generation, entry.key());
        entry.insert((generation, make(key)));
        key
    }

    /// Gives later insertions keys behind this one and `more` that came after it.
    pub fn go_on_after(&mut self, last: Key, more: usize) {
        self.generation = generation_of(last).saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    }

    /// Inserts a value under the key that it had before, or under a new one if its slot is taken; returns its key.
    pub fn put(&mut self, key: Key, value: T) -> Key {
        self.foresee(key);
        self.insert(|_| value)
    }

    /// Whether the slot of a key is free.
    pub fn can_put(&self, key: Key) -> bool {
        slot(key) < FORESEEN && !self.slab.contains(slot(key))
    }

    /// The generation of the last insertion, for [`Slots::go_on_behind`].
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Gives later insertions keys behind those of this generation.
    pub fn go_on_behind(&mut self, generation: u32) {
        self.generation = self.generation.max(generation);
    }

    /// Gives the next insertion this key, as in a journal. Copies all values, unless the slot is the next one
    /// anyway.
    pub fn foresee(&mut self, key: Key) {
        self.foreseen = Some(key);
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let (generation, value) = self.slab.get(slot(key))?;
        (*generation == generation_of(key)).then_some(value)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.slab.get_mut(slot(key))?;
        (*generation == generation_of(key)).then_some(value)
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let (_, value) = self.slab.try_remove(slot(key))?;
        // The memory of a load peak is freed once most of it is unused.
        self.removals += 1;
        if self.removals > self.slab.capacity() && self.slab.len() < self.slab.capacity() / 8 {
            self.removals = 0;
            self.slab.shrink_to_fit();
        }
        Some(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slab.iter().map(|(_, (_, value))| value)
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub fn keys(&self) -> Vec<Key> {
        self.slab.iter().map(|(slot, (generation, _))| key_of(*generation, slot)).collect()
    }
}

/// A key behind those of an earlier process that made fewer than one a second: with a generation a second, they
/// last until 2094.
pub(crate) fn key_of_time(wall: SystemTime) -> Key {
    const BEGAN: Duration = Duration::from_secs(1_793_491_200);
    let passed = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(BEGAN);
    key_of(u32::try_from(passed.as_secs()).unwrap_or(u32::MAX) % GENERATIONS, 0)
}

fn key_of(generation: u32, slot: usize) -> Key {
    u64::from(generation) << SLOT_BITS | slot as u64
}

fn slot(key: Key) -> usize {
    (key & ((1 << SLOT_BITS) - 1)) as usize
}

fn generation_of(key: Key) -> u32 {
    (key >> SLOT_BITS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_outlived_its_value_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert(|_| "first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert(|_| "second");
        assert_eq!(slot(first), slot(second), "the slot is used again");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
    }

    #[test]
    fn a_key_that_was_foreseen_is_not_given_again() {
        let mut slots = Slots::default();
        slots.foresee(key_of(7, 3));
        assert_eq!(slots.insert(|_| "foreseen"), key_of(7, 3));
        slots.remove(key_of(7, 3));
        let later: Vec<Key> = (0..5).map(|_| slots.insert(|_| "later")).collect();
        assert!(later.iter().all(|key| generation_of(*key) > 7), "{later:?}");
    }

    #[test]
    fn keys_go_on_after_those_of_an_earlier_process() {
        let mut slots = Slots::default();
        slots.go_on_after(key_of(7, 3), 2);
        assert_eq!(slots.insert(|_| ()), key_of(10, 0));
        slots.go_on_after(key_of(GENERATIONS, 0), usize::MAX);
        assert_ne!(slots.insert(|_| ()), 0);
    }

    #[test]
    fn keys_come_through_json_readers_whole() {
        assert!(key_of(GENERATIONS, (1 << SLOT_BITS) - 1) < 1 << 53);
    }

    #[test]
    fn keys_of_all_that_is_there() {
        let mut slots = Slots::default();
        let keys: Vec<Key> = (0..3).map(|n| slots.insert(|_| n)).collect();
        slots.remove(keys[1]);
        assert_eq!(slots.keys(), [keys[0], keys[2]]);
        assert_eq!(slots.len(), 2);
    }
}
