//! What is kept: samples by file and rate. What was used least recently leaves when it is too
//! much; who plays it keeps it until the end all the same.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::load::Stamp;
use crate::stage::Sound;

/// A file at a rate.
pub(super) type Key = (Arc<Path>, u32);

#[derive(Debug)]
struct Kept {
    sound: Sound,
    stamp: Stamp,
    used: u64,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shelf {
    kept: HashMap<Key, Kept>,
    octets: usize,
    most: usize,
    uses: u64,
}

impl Shelf {
    /// An empty shelf for so many octets.
    pub fn new(most: usize) -> Self {
        Shelf { kept: HashMap::new(), octets: 0, most, uses: 0 }
    }

    /// What is kept of a file that is in this state now.
    pub fn get(&mut self, key: &Key, stamp: Stamp) -> Option<Sound> {
        self.uses += 1;
        let kept = self.kept.get_mut(key).filter(|kept| kept.stamp == stamp)?;
        kept.used = self.uses;
        Some(kept.sound.clone())
    }

    /// Keeps samples in the place of those of an earlier state; others may have to leave.
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

    /// Forgets a file at a rate.
    pub fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.octets -= octets(&kept.sound);
        }
    }

    /// How many, and their octets.
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
        // What has no room at all is not kept, and nothing else for its sake.
        shelf.put(key("d"), STAMP, [0; 1_000].into());
        assert!(shelf.len().1 <= 40);
    }
}
