//! Slab house-keeping: a flood's memory is given back after it.

use slab::Slab;

/// Slabs up to this size are never shrunk.
const SMALL: usize = 1_024;

/// Called after each removal; shrinks a slab that has become mostly empty, and
/// says whether it did. Its cost is paid for by the removals counted before.
pub fn give_back<T>(slab: &mut Slab<T>, removals: &mut usize) -> bool {
    *removals += 1;
    let capacity = slab.capacity();
    let due = slab.is_empty() || (*removals >= capacity / 16 && slab.len() < capacity / 4);
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
            assert!(slab.capacity() <= 100_000 / 8, "{} left", slab.capacity());
            // A little ordinary traffic brings the rest back.
            for i in 0..5_000 {
                let key = slab.insert(i);
                slab.remove(key);
                give_back(&mut slab, &mut removals);
            }
            assert!(slab.capacity() <= SMALL, "{} left", slab.capacity());
        }
    }
}
