//! The line of samples that playout walks along: a ring, and the contents of its parts.

use b2b_base::util::ntp::NtpTime;

/// Maximum packets held: with 10 ms each, twice the longest target delay.
pub(super) const SLOTS: usize = 64;

/// The contents of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Content {
    /// Decoded samples of a packet.
    #[default]
    Samples,
    /// Samples concealed by a decoder.
    MadeUp,
    /// A payload that is not decoded yet.
    Payload,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slot {
    pub start: i64,
    /// 0 if the slot is free.
    pub len: i64,
    pub captured_at: Option<NtpTime>,
    pub content: Content,
}

impl Slot {
    pub fn end(&self) -> i64 {
        self.start + self.len
    }

    fn covers(&self, position: i64) -> bool {
        self.start <= position && position < self.end()
    }
}

/// The line. Positions are in samples.
pub(super) struct Line {
    samples: Box<[i16]>,
    slots: [Slot; SLOTS],
    /// Slots from this index on are free; as few are in use, only those below are searched.
    pub used: usize,
}

impl Line {
    /// A line that holds at least this many samples.
    pub fn new(samples: usize) -> Self {
        let samples = vec![0; samples.next_power_of_two()].into_boxed_slice();
        Line { samples, slots: [Slot::default(); SLOTS], used: 0 }
    }

    pub fn held(&self) -> &[Slot] {
        &self.slots[..self.used]
    }

    /// Assigns a slot. Returns its index, and the slot that was evicted for it.
    pub fn take(&mut self, taken: Slot) -> (usize, Option<Slot>) {
        // A slot with the same start is replaced; otherwise use a free slot, or the oldest one.
        let same = self.held().iter().position(|slot| slot.len > 0 && slot.start == taken.start);
        let free = || self.held().iter().position(|slot| slot.len == 0);
        let (slot, gone) = match same.or_else(free) {
            Some(slot) => (slot, None),
            None if self.used < SLOTS => {
                self.used += 1;
                (self.used - 1, None)
            }
            None => {
                let oldest = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.end());
                oldest.map_or((0, None), |(slot, gone)| (slot, Some(*gone)))
            }
        };
        self.slots[slot] = taken;
        (slot, gone)
    }

    /// Changes the contents of a slot; `len` 0 frees it.
    pub fn change(&mut self, slot: usize, content: Content, len: i64) {
        (self.slots[slot].content, self.slots[slot].len) = (content, len);
    }

    /// Frees slots that end at or before a position.
    pub fn release(&mut self, position: i64) {
        for slot in self.slots[..self.used].iter_mut().filter(|slot| slot.end() <= position) {
            slot.len = 0;
        }
        while self.used > 0 && self.slots[self.used - 1].len == 0 {
            self.used -= 1;
        }
    }

    /// The slot that covers a position and extends furthest.
    pub fn covering(&self, position: i64) -> Option<&Slot> {
        self.held().iter().filter(|slot| slot.covers(position)).max_by_key(|slot| slot.end())
    }

    /// The first slot that covers a position.
    pub fn first_covering(&self, position: i64) -> Option<&Slot> {
        self.held().iter().find(|slot| slot.covers(position))
    }

    /// Where the next slot after a position begins.
    pub fn next_start(&self, position: i64) -> Option<i64> {
        self.held().iter().filter(|slot| slot.len > 0 && slot.start > position).map(|slot| slot.start).min()
    }

    /// Whether packets cover this whole range.
    pub fn holds(&self, position: i64, count: usize) -> bool {
        let mut until = position;
        while until < position + count as i64 {
            match self.covering(until) {
                Some(slot) if slot.content != Content::MadeUp => until = slot.end(),
                _ => return false,
            }
        }
        true
    }

    /// The payload to decode next, with the index of its slot.
    pub fn next_payload(&self) -> Option<(usize, Slot)> {
        let payloads = self
            .held()
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.len > 0 && slot.content == Content::Payload);
        payloads.min_by_key(|(_, slot)| slot.start).map(|(index, slot)| (index, *slot))
    }

    pub fn write(&mut self, position: i64, samples: &[i16]) {
        let (at, first) = self.split(position, samples.len());
        let (samples, rest) = samples.split_at(first);
        self.samples[at..at + first].copy_from_slice(samples);
        self.samples[..rest.len()].copy_from_slice(rest);
    }

    pub fn read(&self, position: i64, out: &mut [i16]) {
        let (at, first) = self.split(position, out.len());
        let (out, rest) = out.split_at_mut(first);
        out.copy_from_slice(&self.samples[at..at + first]);
        rest.copy_from_slice(&self.samples[..rest.len()]);
    }

    /// The range's start in the ring, and how much of it lies before the ring's end.
    fn split(&self, position: i64, count: usize) -> (usize, usize) {
        let at = position.rem_euclid(self.samples.len() as i64) as usize;
        (at, count.min(self.samples.len() - at))
    }
}
