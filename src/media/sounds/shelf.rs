//! The cache: samples by file and rate. The least recently used entry is evicted when the limit is
//! exceeded; playback in progress keeps its samples.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::load::Stamp;
use crate::stage::Sound;

/// A file and a sampling rate.
pub(super) type Key = (Arc<Path>, u32);

#[derive(Debug)]
struct Kept {
    sound: Sound,
    stamp: Stamp,
    used: u64,
}

/// The cache; see the module documentation.
#[derive(Debug)]
pub(super) struct Shelf {
    kept: HashMap<Key, Kept>,
    octets: usize,
    most: usize,
    uses: u64,
}

impl Shelf {
    /// An empty cache for this many octets.
    pub fn new(most: usize) -> Self {
        Shelf { kept: HashMap::new(), octets: 0, most, uses: 0 }
    }

    /// The cached sound of a file, if it is of this version.
    pub fn get(&mut self, key: &Key, stamp: Stamp) -> Option<Sound> {
        self.uses += 1;
        let kept = self.kept.get_mut(key).filter(|kept| kept.stamp == stamp)?;
        kept.used = self.uses;
        Some(kept.sound.clone())
    }

    /// Caches a sound in place of an earlier version; others may be evicted.
    pub fn put(&mut self, key: Key, stamp: Stamp, sound: Sound) {
        self.remove(&key);
        self.uses += 1;
        self.octets += octets(&sound);
        self.kept.insert(key, Kept { sound, stamp, used: self.uses });
        while self.octets > self.most {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.octets -= octets(&kept.sound);
        }
    }

    /// Number of entries, and their octets.
    pub fn len(&self) -> (usize, usize) {
        (self.kept.len(), self.octets)
    }
}

fn octets(sound: &Sound) -> usize {
    sound.len() * size_of::<i16>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (Path::new(name).into(), 8_000)
    }

    const STAMP: Stamp = Stamp { modified: None, size: 1 };

    #[test]
    fn the_least_recently_used_leaves_and_a_changed_file_is_not_what_was_kept() {
        let mut shelf = Shelf::new(40);
        for name in ["a", "b"] {
            shelf.put(key(name), STAMP, [1; 10].into());
        }
        assert_eq!(shelf.len(), (2, 40));
        assert!(shelf.get(&key("a"), STAMP).is_some());
        shelf.put(key("c"), STAMP, [1; 10].into());
        assert!(shelf.get(&key("b"), STAMP).is_none());
        assert!(shelf.get(&key("a"), STAMP).is_some() && shelf.get(&key("c"), STAMP).is_some());
        assert!(shelf.get(&key("a"), Stamp { size: 2, ..STAMP }).is_none());
        shelf.put(key("a"), Stamp { size: 2, ..STAMP }, [2; 5].into());
        assert_eq!(shelf.len(), (2, 30));
        // A sound larger than the limit is not kept.
        shelf.put(key("d"), STAMP, [0; 1_000].into());
        assert!(shelf.len().1 <= 40);
    }
}
