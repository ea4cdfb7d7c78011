//! Append-only octets that are written once and rarely read: older ones are compressed.

use std::borrow::Cow;
use std::sync::Arc;

/// The allocation step: doubling would waste as much memory as a call's setup takes.
const STEP: usize = 2_048;

/// Fewer octets are not worth compressing.
const LEAST: usize = 512;

/// An LZ4 block.
#[derive(Debug, Clone)]
struct Packed {
    octets: Box<[u8]>,
    /// The first part of the dictionary, shared by many blocks.
    pattern: Option<Arc<[u8]>>,
    /// Whether octets given again at decompression are part of the dictionary.
    alike: bool,
}

impl Packed {
    fn unpacked(&self, like: &[u8]) -> Vec<u8> {
        let like = if self.alike { like } else { &[] };
        let like = known(self.pattern.as_deref(), like);
        lz4_flex::block::decompress_size_prepended_with_dict(&self.octets, &like).unwrap_or_else(|error| {
            // The block was compressed by this process, so this cannot happen.
            tracing::error!("octets of a call: {error}");
            Vec::new()
        })
    }
}

/// The dictionary of a block.
fn known<'a>(pattern: Option<&'a [u8]>, like: &'a [u8]) -> Cow<'a, [u8]> {
    match pattern {
        Some(pattern) if like.is_empty() => Cow::Borrowed(pattern),
        Some(pattern) => Cow::Owned([pattern, like].concat()),
        None => Cow::Borrowed(like),
    }
}

/// Append-only octets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Octets {
    /// The compressed blocks, oldest first.
    packed: Vec<Packed>,
    /// The uncompressed length of these blocks.
    before: usize,
    recent: Vec<u8>,
}

impl Octets {
    /// The total length, uncompressed.
    pub fn len(&self) -> usize {
        self.before + self.recent.len()
    }

    /// The uncompressed tail, to be appended to, with capacity for `more` octets.
    pub fn with_room(&mut self, more: usize) -> &mut Vec<u8> {
        if self.recent.capacity() - self.recent.len() < more {
            self.recent.reserve_exact(more.next_multiple_of(STEP));
        }
        &mut self.recent
    }

    /// The uncompressed tail.
    pub fn recent(&self) -> &[u8] {
        &self.recent
    }

    /// All octets; `like` as it was given to [`Octets::pack`]. Decompression takes some microseconds.
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

    /// The first compressed block, which is never changed: others may use it as their `like`. Empty if
    /// nothing is compressed.
    pub fn first_packed(&self) -> Vec<u8> {
        self.packed.first().map(|block| block.unpacked(&[])).unwrap_or_default()
    }

    /// Compresses the tail, which will not be read soon. `like` is similar data that the caller keeps and
    /// gives again for decompression; `pattern` is similar data that is kept with the block.
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

    /// Removes all octets.
    pub fn clear(&mut self) {
        *self = Octets::default();
    }

    /// Releases spare capacity; no more octets follow.
    pub fn shrink(&mut self) {
        // Small savings are not worth a reallocation.
        if self.recent.capacity() - self.recent.len() > STEP / 2 {
            self.recent.shrink_to_fit();
        }
    }

    /// The heap memory in use, in bytes.
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
        // Later octets, and octets compressed before others, are kept apart.
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
