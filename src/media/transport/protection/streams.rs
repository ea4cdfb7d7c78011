//! The state of each SSRC under one key: the highest packet index, and which of those just below it
//! were seen.

use crate::snapshot::{RestoreError, holds};

/// Maximum streams in a table. A call has one at a time in each direction, and another for each
/// party that replaces the far end.
pub(super) const STREAMS: usize = 8;
/// Size of the replay window below the highest index; older indices are refused (RFC 3711 §3.3.2:
/// at least 64).
pub(super) const WINDOW: u64 = 128;

/// Why an index is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Seen before, or too old to tell.
    Replayed,
    /// Every entry of the table is a stream that must not be forgotten.
    Full,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    ssrc: u32,
    highest: u64,
    /// Bit n: index `highest - n` was seen.
    seen: u128,
    /// When it was last used, as a count of uses.
    used: u64,
}

/// A stream of the table, to be written and read back.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct StreamSnapshot {
    ssrc: u32,
    highest: u64,
    /// The upper and the lower half of `Stream::seen`.
    seen: [u64; 2],
}

/// A table of streams. Checks change nothing; an index is recorded after every check.
#[derive(Debug, Default)]
pub(super) struct Streams {
    places: [Option<Stream>; STREAMS],
    uses: u64,
}

impl Streams {
    fn find(&self, ssrc: u32) -> Option<&Stream> {
        self.places.iter().flatten().find(|stream| stream.ssrc == ssrc)
    }

    /// The highest index of a stream; `None` before its first packet.
    pub fn highest(&self, ssrc: u32) -> Option<u64> {
        self.find(ssrc).map(|stream| stream.highest)
    }

    /// Checks that an index was not seen yet.
    pub fn check(&self, ssrc: u32, index: u64) -> Result<(), Refused> {
        let Some(stream) = self.find(ssrc) else { return Ok(()) };
        match stream.highest.checked_sub(index) {
            None => Ok(()),
            Some(age) if age < WINDOW && stream.seen >> age & 1 == 0 => Ok(()),
            Some(_) => Err(Refused::Replayed),
        }
    }

    /// Checks that a stream has an entry, or could get one without evicting another.
    pub fn has_room(&self, ssrc: u32) -> Result<(), Refused> {
        let room = self.places.iter().any(|place| place.is_none_or(|stream| stream.ssrc == ssrc));
        room.then_some(()).ok_or(Refused::Full)
    }

    /// Records a checked index. In a full table the least recently used stream is evicted; its
    /// packets could then be replayed.
    pub fn take(&mut self, ssrc: u32, index: u64) {
        self.uses += 1;
        let new = Stream { ssrc, highest: index, seen: 1, used: self.uses };
        let known = self.places.iter_mut().flatten().find(|stream| stream.ssrc == ssrc);
        let Some(stream) = known else {
            let oldest = self.places.iter_mut().min_by_key(|place| place.map_or(0, |stream| stream.used));
            if let Some(place) = oldest {
                *place = Some(new);
            }
            return;
        };
        stream.used = self.uses;
        match index.checked_sub(stream.highest) {
            Some(ahead) => {
                stream.seen = if ahead < WINDOW { stream.seen << ahead | 1 } else { 1 };
                stream.highest = index;
            }
            None => stream.seen |= 1u128.checked_shl((stream.highest - index) as u32).unwrap_or(0),
        }
    }
}

impl Streams {
    /// The streams, least recently used first.
    pub fn snapshot(&self) -> Vec<StreamSnapshot> {
        let mut streams: Vec<&Stream> = self.places.iter().flatten().collect();
        streams.sort_by_key(|stream| stream.used);
        let halves = |seen: u128| [(seen >> 64) as u64, seen as u64];
        let snapshot =
            |it: &Stream| StreamSnapshot { ssrc: it.ssrc, highest: it.highest, seen: halves(it.seen) };
        streams.into_iter().map(snapshot).collect()
    }

    /// The table; its indices must be below 2^`bits`.
    ///
    /// # Errors
    /// The table is not one that was written here.
    pub fn restored(snapshot: &[StreamSnapshot], bits: u32) -> Result<Self, RestoreError> {
        holds(snapshot.len() <= STREAMS, "number of SRTP streams")?;
        let mut streams = Streams::default();
        for (place, it) in streams.places.iter_mut().zip(snapshot) {
            holds(it.highest >> bits == 0, "SRTP index")?;
            holds(snapshot.iter().filter(|other| other.ssrc == it.ssrc).count() == 1, "SRTP stream")?;
            streams.uses += 1;
            let seen = u128::from(it.seen[0]) << 64 | u128::from(it.seen[1]);
            *place = Some(Stream { ssrc: it.ssrc, highest: it.highest, seen, used: streams.uses });
        }
        Ok(streams)
    }

    /// Marks every index as used that may have been used since: `indices` of each stream, counted
    /// from index `from` for the stream `ssrc` if the table does not have it.
    ///
    /// # Errors
    /// The table has no room for the stream, though the sender's had.
    pub fn pass_over(&mut self, indices: u64, ssrc: u32, from: u64) -> Result<(), RestoreError> {
        if self.find(ssrc).is_none() {
            self.has_room(ssrc).map_err(|_| RestoreError::Value("number of SRTP streams"))?;
            self.take(ssrc, from);
        }
        for stream in self.places.iter_mut().flatten() {
            stream.highest += indices;
            stream.seen = u128::MAX;
        }
        Ok(())
    }
}

/// The packet index (rollover counter and sequence number, 48 bits) that is nearest to the highest
/// one (RFC 3711 §3.3.1 and appendix A). The rollover counter never falls below 0.
pub(super) fn estimate(highest: u64, sequence: u16) -> u64 {
    let (rollovers, last) = (highest >> 16, highest as u16);
    let rollovers = match i32::from(sequence) - i32::from(last) {
        ahead if ahead > 0x8000 => rollovers.saturating_sub(1),
        ahead if ahead < -0x8000 => rollovers + 1,
        _ => rollovers,
    };
    // 2^48 packets last 178,000 years of a call.
    (rollovers & 0xFFFF_FFFF) << 16 | u64::from(sequence)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_index_passes_once_and_not_when_it_is_too_old() {
        let mut streams = Streams::default();
        streams.take(1, 1_000);
        assert_eq!(streams.check(1, 1_000), Err(Refused::Replayed));
        assert_eq!(streams.check(1, 1_001), Ok(()));
        assert_eq!(streams.check(1, 1_000 - WINDOW + 1), Ok(()));
        assert_eq!(streams.check(1, 1_000 - WINDOW), Err(Refused::Replayed));
        assert_eq!(streams.check(2, 1_000), Ok(()), "another stream");
        streams.take(1, 999);
        streams.take(1, 1_010);
        for (index, fresh) in [(999, false), (1_000, false), (998, true), (1_005, true), (1_010, false)] {
            assert_eq!(streams.check(1, index).is_ok(), fresh, "{index}");
        }
        streams.take(1, 1_010 + WINDOW);
        assert_eq!(streams.check(1, 1_010), Err(Refused::Replayed));
        assert_eq!(streams.check(1, 1_011), Ok(()));
    }

    #[test]
    fn a_full_table_forgets_the_stream_that_was_silent_for_longest() {
        let mut streams = Streams::default();
        for ssrc in 0..STREAMS as u32 {
            assert_eq!(streams.has_room(ssrc), Ok(()));
            streams.take(ssrc, 5);
        }
        streams.take(0, 6);
        assert_eq!(streams.has_room(99), Err(Refused::Full));
        assert_eq!(streams.has_room(3), Ok(()));
        streams.take(99, 5);
        assert_eq!(streams.highest(1), None);
        assert_eq!((streams.highest(0), streams.highest(99)), (Some(6), Some(5)));
    }

    #[test]
    fn the_rollover_counter_follows_the_nearest_sequence_number() {
        let at = |rollovers: u64, sequence: u64| rollovers << 16 | sequence;
        assert_eq!(estimate(at(0, 65_535), 0), at(1, 0));
        assert_eq!(estimate(at(1, 0), 65_535), at(0, 65_535));
        assert_eq!(estimate(at(1, 5), 6), at(1, 6));
        assert_eq!(estimate(at(7, 0x8001), 0), at(8, 0));
        assert_eq!(estimate(at(7, 0x8000), 0), at(7, 0));
        // There is nothing before the first rollover.
        assert_eq!(estimate(at(0, 5), 65_000), at(0, 65_000));
    }

    proptest! {
        /// In whatever order packets arrive within half the space, each index is found.
        #[test]
        fn an_index_near_the_highest_is_found(highest in 70_000u64..1 << 40, offset in -0x7FFFi64..0x7FFF) {
            let index = highest.saturating_add_signed(offset);
            prop_assert_eq!(estimate(highest, index as u16), index);
        }

        /// The window compared with a plain list.
        #[test]
        fn the_window_knows_what_it_saw(jumps in proptest::collection::vec(-150i64..150, 1..200)) {
            let (mut streams, mut seen, mut at) = (Streams::default(), Vec::new(), 10_000u64);
            for jump in jumps {
                at = at.saturating_add_signed(jump);
                let highest = seen.iter().copied().max().unwrap_or(0);
                let fresh = !seen.contains(&at) && at + WINDOW > highest;
                prop_assert_eq!(streams.check(7, at).is_ok(), fresh);
                if fresh {
                    streams.take(7, at);
                    seen.push(at);
                }
            }
        }
    }
}
