//! Releases the memory of slabs after a flood.

use slab::Slab;

/// Slabs up to this size are never shrunk; larger ones are checked once per this many
/// removals.
const SMALL: usize = 1_024;

/// Called after each removal; shrinks a slab that is mostly empty. Returns whether it did.
/// The cost is amortised over the removals counted.
pub fn give_back<T>(slab: &mut Slab<T>, removals: &mut usize) -> bool {
    *removals += 1;
    let capacity = slab.capacity();
    let due = slab.is_empty() || (*removals >= SMALL && slab.len() < capacity / 4);
    if capacity <= SMALL || !due {
        return false;
    }
    *removals = 0;
    slab.shrink_to_fit();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_shrinks_after_a_flood_also_with_survivors() {
        for survivors in [0, 10] {
            let mut slab = Slab::new();
            let mut removals = 0;
            let keys: Vec<usize> = (0..100_000).map(|i| slab.insert(i)).collect();
            for key in &keys[survivors..] {
                slab.remove(*key);
                give_back(&mut slab, &mut removals);
            }
            // Remaining entries at the end of the slab may delay it by a little ordinary
            // traffic.
            for i in 0..2 * SMALL {
                let key = slab.insert(i);
                slab.remove(key);
                give_back(&mut slab, &mut removals);
            }
            assert!(slab.capacity() <= SMALL, "{} left", slab.capacity());
        }
    }
}
