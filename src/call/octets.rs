//! Octets that are written at one time and read at another, mostly never: what is old is packed.

use std::borrow::Cow;

/// In what steps room is made: doubling would waste as much as a call's setup takes.
const STEP: usize = 2_048;

/// Less is not worth packing.
const LEAST: usize = 512;

/// They are added at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Octets {
    /// The first ones, in blocks of LZ4.
    packed: Vec<Box<[u8]>>,
    /// How many these are, unpacked.
    before: usize,
    recent: Vec<u8>,
}

impl Octets {
    /// All of them, packed ones too.
    pub fn len(&self) -> usize {
        self.before + self.recent.len()
    }

    /// Those that are not packed, to be added to; there is room for so many more.
    pub fn with_room(&mut self, more: usize) -> &mut Vec<u8> {
        if self.recent.capacity() - self.recent.len() < more {
            self.recent.reserve_exact(more.next_multiple_of(STEP));
        }
        &mut self.recent
    }

    /// Those that are not packed.
    pub fn recent(&self) -> &[u8] {
        &self.recent
    }

    /// All of them. Unpacking takes some microseconds.
    pub fn all(&self) -> Cow<'_, [u8]> {
        if self.packed.is_empty() {
            return Cow::Borrowed(&self.recent);
        }
        let mut all = Vec::with_capacity(self.len());
        for block in &self.packed {
            match lz4_flex::decompress_size_prepended(block) {
                Ok(octets) => all.extend_from_slice(&octets),
                // It was packed here.
                Err(error) => tracing::error!("octets of a call: {error}"),
            }
        }
        all.extend_from_slice(&self.recent);
        Cow::Owned(all)
    }

    /// Nobody looks at them soon.
    pub fn pack(&mut self) {
        if self.recent.len() >= LEAST {
            self.packed.reserve_exact(1);
            self.packed.push(lz4_flex::compress_prepend_size(&self.recent).into_boxed_slice());
            self.before += self.recent.len();
            self.recent = Vec::new();
        }
    }

    /// None are left.
    pub fn clear(&mut self) {
        *self = Octets::default();
    }

    /// Nothing more comes: room that was made ahead is given back.
    pub fn shrink(&mut self) {
        // A little is not worth moving it.
        if self.recent.capacity() - self.recent.len() > STEP / 2 {
            self.recent.shrink_to_fit();
        }
    }

    /// Heap memory that they take.
    pub fn heap_bytes(&self) -> usize {
        let packed = self.packed.iter().map(|block| block.len()).sum::<usize>();
        packed + self.packed.capacity() * size_of::<Box<[u8]>>() + self.recent.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was_and_takes_less() {
        let mut octets = Octets::default();
        let mut expected = Vec::new();
        for n in 0..3_usize {
            for line in 0..40_usize {
                let text = format!("Via: SIP/2.0/UDP 192.0.2.{n};branch=z9hG4bK{line}\r\n");
                octets.with_room(text.len()).extend_from_slice(text.as_bytes());
                expected.extend_from_slice(text.as_bytes());
            }
            octets.pack();
            assert!(octets.recent().is_empty());
        }
        octets.with_room(3).extend_from_slice(b"end");
        expected.extend_from_slice(b"end");
        assert_eq!((&*octets.all(), octets.len()), (&*expected, expected.len()));
        assert!(octets.heap_bytes() < expected.len() / 2 + STEP, "{}", octets.heap_bytes());
    }
}
