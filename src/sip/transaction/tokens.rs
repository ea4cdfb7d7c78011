//! Maps keys of ours to slab slots: the random bits of a tag or branch, or what a secret has hashed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Slots by keys that no peer can choose, so that they need no further hash. A hit by the random bits of a
/// token is only valid once the whole token was compared.
#[derive(Default)]
pub struct Tokens(HashMap<u64, u32, BuildHasherDefault<OwnKeys>>);

impl Tokens {
    /// Adds a token; it replaces one with the same bits.
    pub fn insert(&mut self, random: u64, slot: u32) {
        self.0.insert(random, slot);
    }

    /// The slot of the token with these bits.
    pub fn get(&self, random: u64) -> Option<u32> {
        self.0.get(&random).copied()
    }

    /// Removes a token if it still maps to this slot.
    pub fn remove(&mut self, random: u64, slot: u32) {
        if self.get(random) == Some(slot) {
            self.0.remove(&random);
        }
    }

    /// Number of tokens.
    pub fn entries(&self) -> usize {
        self.0.len()
    }

    /// Releases memory when the slab does.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

/// A hasher for keys of ours, which nobody can choose. Of a hash the table takes the lowest and the highest bits,
/// and of numbers that count up the highest are all the same.
#[derive(Default)]
pub(super) struct OwnKeys(u64);

impl Hasher for OwnKeys {
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = self.0 << 32 | u64::from(value);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_forgotten_with_its_own_slot_only() {
        let mut tokens = Tokens::default();
        tokens.insert(5, 1);
        tokens.insert(6, 2);
        assert_eq!((tokens.get(5), tokens.get(6), tokens.get(7)), (Some(1), Some(2), None));
        // The same token again, in another slot: the removal of the older entry does not
        // remove it.
        tokens.insert(5, 3);
        tokens.remove(5, 1);
        assert_eq!(tokens.get(5), Some(3));
        tokens.remove(5, 3);
        tokens.remove(6, 2);
        assert_eq!((tokens.get(5), tokens.entries()), (None, 0));
    }
}
