//! A slab whose keys are never reused: a key that has outlived its value finds nothing.

use std::time::{Duration, SystemTime};

use foldhash::HashMap;
use slab::Slab;

/// A slot and its generation: `generation << 22 | slot`. Below 2^53, so that JSON readers keep every digit.
pub(crate) type Key = u64;

const SLOT_BITS: u32 = 22;
const GENERATIONS: u32 = (1 << 31) - 1;

pub(crate) struct Slots<T> {
    slab: Slab<(Key, T)>,
    generation: u32,
    removals: usize,
    /// The key for the next insertion.
    foreseen: Option<Key>,
    /// The slots of the keys that name another one, which was taken.
    elsewhere: HashMap<Key, usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        let elsewhere = HashMap::default();
        Slots { slab: Slab::new(), generation: 0, removals: 0, foreseen: None, elsewhere }
    }
}

impl<T> Slots<T> {
    /// Inserts what `make` returns for its key.
    pub fn insert(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let place = self.slab.vacant_key();
        let key = match self.foreseen.take().filter(|key| self.get(*key).is_none()) {
            Some(key) => key,
            None => self.new_key(place),
        };
        // A generation is not given again, whoever gave it.
        self.generation = self.generation.max(generation_of(key));
        if slot(key) != place {
            self.elsewhere.insert(key, place);
        }
        self.slab.insert((key, make(key)));
        key
    }

    fn new_key(&mut self, place: usize) -> Key {
        // There is no generation 0, so that a key is never 0.
        self.generation = self.generation % GENERATIONS + 1;
        key_of(self.generation, place)
    }

    /// Gives later insertions keys behind this one and `more` that came after it.
    pub fn go_on_after(&mut self, last: Key, more: usize) {
        self.generation = generation_of(last).saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    }

    /// Inserts a value under the key that it had before, or under a new one if there is a value under that; returns
    /// its key.
    pub fn put(&mut self, key: Key, value: T) -> Key {
        self.foresee(key);
        self.insert(|_| value)
    }

    /// This key, or a new one if there is a value under it.
    pub fn free(&mut self, key: Key) -> Key {
        if self.get(key).is_none() { key } else { self.new_key(0) }
    }

    /// The generation of the last insertion, for [`Slots::go_on_behind`].
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Gives later insertions keys behind those of this generation.
    pub fn go_on_behind(&mut self, generation: u32) {
        self.generation = self.generation.max(generation);
    }

    /// Gives the next insertion this key, as in a journal.
    pub fn foresee(&mut self, key: Key) {
        self.foreseen = Some(key);
    }

    fn place(&self, key: Key) -> usize {
        self.elsewhere.get(&key).copied().unwrap_or(slot(key))
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let (it, value) = self.slab.get(self.place(key))?;
        (*it == key).then_some(value)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (it, value) = self.slab.get_mut(self.place(key))?;
        (*it == key).then_some(value)
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let (_, value) = self.slab.try_remove(self.place(key))?;
        self.elsewhere.remove(&key);
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

    pub fn iter_keyed(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slab.iter().map(|(_, (key, value))| (*key, value))
    }

    pub fn keys(&self) -> Vec<Key> {
        self.slab.iter().map(|(_, (key, _))| *key).collect()
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
    fn a_key_is_kept_where_another_value_has_its_slot() {
        let mut slots = Slots::default();
        let [own, kept, again] = [slots.insert(|_| "own"), key_of(9, 0), key_of(1, 0)];
        assert_eq!((slots.free(kept), slots.put(kept, "kept")), (kept, kept));
        let new = slots.free(again);
        assert!(new != again && slots.put(again, "again") != again);
        let found = |slots: &Slots<_>| [own, kept].map(|key| slots.get(key).copied());
        assert_eq!(found(&slots), [Some("own"), Some("kept")]);
        assert_eq!(slots.remove(own), Some("own"));
        let later = slots.insert(|_| "later");
        assert!(generation_of(later) > 9 && slots.keys().contains(&kept));
        assert_eq!((found(&slots), slots.remove(kept)), ([None, Some("kept")], Some("kept")));
        assert_eq!((slots.get(kept), slots.get(later), slots.len()), (None, Some(&"later"), 2));
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
