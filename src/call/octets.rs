//! Octets that are written at one time and read at another, mostly never: what is old is packed.

use std::borrow::Cow;
use std::sync::Arc;

/// In what steps room is made: doubling would waste as much as a call's setup takes.
const STEP: usize = 2_048;

/// Less is not worth packing.
const LEAST: usize = 512;

/// A block of LZ4.
#[derive(Debug, Clone)]
struct Packed {
    octets: Box<[u8]>,
    /// What it has in common with these is not in it: many are packed as like them.
    pattern: Option<Arc<[u8]>>,
    /// Nor is what it has in common with others that are given again to unpack it.
    alike: bool,
}

impl Packed {
    fn unpacked(&self, like: &[u8]) -> Vec<u8> {
        let like = if self.alike { like } else { &[] };
        let like = known(self.pattern.as_deref(), like);
        lz4_flex::block::decompress_size_prepended_with_dict(&self.octets, &like).unwrap_or_else(|error| {
            // It was packed here.
            tracing::error!("octets of a call: {error}");
            Vec::new()
        })
    }
}

/// What is known before a block is read.
fn known<'a>(pattern: Option<&'a [u8]>, like: &'a [u8]) -> Cow<'a, [u8]> {
    match pattern {
        Some(pattern) if like.is_empty() => Cow::Borrowed(pattern),
        Some(pattern) => Cow::Owned([pattern, like].concat()),
        None => Cow::Borrowed(like),
    }
}

/// They are added at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Octets {
    /// The first ones.
    packed: Vec<Packed>,
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

    /// All of them; `like` as they were packed. Unpacking takes some microseconds.
    pub fn all(&self, like: &[u8]) -> Cow<'_, [u8]> {
        if self.packed.is_empty() {
            return Cow::Borrowed(&self.recent);
        }
        let mut all = Vec::with_capacity(self.len());
        for block in &self.packed {
            all.extend_from_slice(&block.unpacked(like));
        }
        all.extend_from_slice(&self.recent);
        Cow::Owned(all)
    }

    /// The first that were packed, which stay: others may be packed as like them. None: nothing is packed.
    pub fn first_packed(&self) -> Vec<u8> {
        self.packed.first().map(|block| block.unpacked(&[])).unwrap_or_default()
    }

    /// Nobody looks at them soon. They may be much like others that are kept, too, and are given again to unpack them;
    /// and like `pattern`, which is kept for them.
    pub fn pack(&mut self, like: &[u8], pattern: Option<&Arc<[u8]>>) {
        if self.recent.len() >= LEAST {
            let like_all = known(pattern.map(|pattern| &**pattern), like);
            let octets = lz4_flex::block::compress_prepend_size_with_dict(&self.recent, &like_all);
            let (octets, alike, pattern) = (octets.into_boxed_slice(), !like.is_empty(), pattern.cloned());
            self.packed.reserve_exact(1);
            self.packed.push(Packed { octets, pattern, alike });
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
        let packed = self.packed.iter().map(|block| block.octets.len()).sum::<usize>();
        packed + self.packed.capacity() * size_of::<Packed>() + self.recent.capacity()
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
            octets.pack(&[], None);
            assert!(octets.recent().is_empty());
        }
        octets.with_room(3).extend_from_slice(b"end");
        expected.extend_from_slice(b"end");
        assert_eq!((&*octets.all(&[]), octets.len()), (&*expected, expected.len()));
        assert!(octets.heap_bytes() < expected.len() / 2 + STEP, "{}", octets.heap_bytes());
    }

    #[test]
    fn what_is_like_others_takes_little_and_needs_them_to_come_out() {
        let text = |n: usize| -> Vec<u8> {
            (0..60)
                .flat_map(|line| format!("Via: {}\r\n", (line * 7_919 + n * 104_729) % 65_536).into_bytes())
                .collect()
        };
        let (mut first, mut other) = (Octets::default(), Octets::default());
        first.with_room(0).extend_from_slice(&text(1));
        first.pack(&[], None);
        let like = first.first_packed();
        assert_eq!(like, text(1));
        // What comes later, and what came before the others were packed, is not mixed up with it.
        let mut expected = Vec::new();
        let pattern: Arc<[u8]> = text(4).into();
        let none = &[][..];
        let ways = [(2, none, None), (1, &like, None), (3, &like, None), (4, none, Some(&pattern))];
        for (n, like, pattern) in
            ways.into_iter().chain([(4, &*like, Some(&pattern)), (1, &*like, Some(&pattern))])
        {
            other.with_room(0).extend_from_slice(&text(n));
            expected.extend_from_slice(&text(n));
            other.pack(like, pattern);
        }
        drop(pattern);
        assert_eq!(*other.all(&like), expected);
        for alike in [1, 3, 4, 5] {
            assert!(other.packed[alike].octets.len() * 8 < first.packed[0].octets.len(), "block {alike}");
        }
    }
}
