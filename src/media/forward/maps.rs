//! Maps of numbers that differ between the two legs.

use std::ops::Range;

use crate::rtp::header::extension;

/// How each payload type of one direction is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadMap {
    to: [u8; 128],
    up: Types,
    event: Types,
}

/// A set of payload types. Each packet is looked up in it: a bit of a word costs less than one of a `u128`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Types([u32; 4]);

impl Types {
    const EMPTY: Types = Types([0; 4]);

    fn add(&mut self, payload_type: u8) {
        self.0[usize::from(payload_type & 0x7F) / 32] |= 1 << (payload_type % 32);
    }

    #[inline]
    fn has(&self, payload_type: u8) -> bool {
        self.0[usize::from(payload_type & 0x7F) / 32] >> (payload_type % 32) & 1 == 1
    }
}

/// The type is not forwarded.
const NONE: u8 = 0xFF;

impl PayloadMap {
    /// Forwards nothing.
    pub const EMPTY: PayloadMap = PayloadMap { to: [NONE; 128], up: Types::EMPTY, event: Types::EMPTY };

    /// Forwards everything under its own number.
    pub fn all() -> Self {
        PayloadMap { to: std::array::from_fn(|payload_type| payload_type as u8), ..Self::EMPTY }
    }

    /// Forwards packets of this type, under another number or the same one.
    pub fn forward(&mut self, from: u8, to: u8) {
        self.to[usize::from(from & 0x7F)] = to & 0x7F;
    }

    /// Passes packets of this type up, whether or not they are forwarded.
    pub fn up(&mut self, from: u8) {
        self.up.add(from);
    }

    /// Marks this type as `telephone-event`: it is passed up, and its timestamps do not follow the
    /// media clock.
    pub fn telephone_event(&mut self, from: u8) {
        self.up(from);
        self.event.add(from);
    }

    /// Makes types that were passed up for conversion forwarded as they are, so that a closed gate
    /// stops them. Events are still passed up.
    pub fn hold(&mut self) {
        for payload_type in 0..128 {
            if self.goes_up(payload_type) && !self.is_event(payload_type) {
                self.forward(payload_type, payload_type);
            }
        }
        self.up = self.event;
    }

    /// The number under which a type is forwarded.
    pub fn get(&self, from: u8) -> Option<u8> {
        Some(self.to[usize::from(from & 0x7F)]).filter(|to| *to != NONE)
    }

    /// Whether a type is passed up.
    pub fn goes_up(&self, from: u8) -> bool {
        self.up.has(from)
    }

    /// All types except `telephone-event`, one bit each.
    pub fn all_but_events(&self) -> u128 {
        (0..128).filter(|from| !self.is_event(*from)).fold(0, |all, from| all | 1 << from)
    }

    /// Whether a type is `telephone-event`.
    pub fn is_event(&self, from: u8) -> bool {
        self.event.has(from)
    }
}

/// Maximum clock rates in one direction: 8, 16 and 48 kHz, and one more.
const CLOCKS: usize = 4;

/// Clock rate, Hz, of each audio payload type in one direction. Types without an entry use the
/// clock of the packets before them: comfort noise, and types that were not negotiated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clocks {
    rates: [u32; CLOCKS],
    of: [u128; CLOCKS],
}

impl Clocks {
    /// Sets the clock rate of a type. A fifth rate is ignored.
    pub fn set(&mut self, payload_type: u8, rate: u32) {
        let place = self.rates.iter().position(|known| *known == rate || *known == 0);
        if let Some(place) = place.filter(|_| rate != 0) {
            self.rates[place] = rate;
            self.of[place] |= 1 << (payload_type & 0x7F);
        }
    }

    /// The clock rate of a type.
    pub fn get(&self, payload_type: u8) -> Option<u32> {
        let place = self.of.iter().position(|types| types >> (payload_type & 0x7F) & 1 == 1)?;
        self.rates.get(place).copied()
    }

    /// The types with another clock rate, one bit each.
    pub fn others(&self, rate: u32) -> u128 {
        let others = self.rates.iter().zip(self.of).filter(|(known, _)| **known != rate);
        others.fold(0, |all, (_, types)| all | types)
    }
}

/// The profile of the one-byte form of header extensions (RFC 8285 §4.2).
const ONE_BYTE: u16 = 0xBEDE;
/// Identifiers of the one-byte form, 1 to 14.
const IDS: usize = 15;

/// How each RTP header extension (RFC 8285) of one direction is handled: its number on the other
/// leg. Extensions not negotiated there are removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtensionMap {
    to: [u8; IDS],
}

impl ExtensionMap {
    /// Forwards no extension.
    pub const EMPTY: ExtensionMap = ExtensionMap { to: [0; IDS] };

    /// Forwards every extension under its own number.
    pub fn all() -> Self {
        ExtensionMap { to: std::array::from_fn(|id| id as u8) }
    }

    /// Forwards an extension under another number or the same one. Both must be 1 to 14; otherwise
    /// nothing changes.
    pub fn pass(&mut self, from: u8, to: u8) {
        if let Some(place) = self.to.get_mut(usize::from(from)).filter(|_| from != 0 && usize::from(to) < IDS)
        {
            *place = to;
        }
    }

    fn get(&self, id: u8) -> u8 {
        self.to.get(usize::from(id)).copied().unwrap_or(0)
    }

    /// Rewrites the extensions of a packet in place and returns its new length: the whole block is
    /// removed if no element of it is forwarded. The packet must have been accepted by
    /// [`Header::read`](super::Header::read), and its extension bit set.
    pub fn apply(&self, packet: &mut [u8]) -> usize {
        let len = packet.len();
        let Ok(Range { start, end }) = extension(packet) else { return len };
        let Some((&mut [p0, p1, ..], elements)) = packet[start..end].split_first_chunk_mut::<4>() else {
            return len;
        };
        let kept = match u16::from_be_bytes([p0, p1]) {
            ONE_BYTE => self.elements(elements, false),
            profile if profile >> 4 == 0x100 => self.elements(elements, true),
            // It has no elements or numbers, so it cannot have been negotiated.
            _ => 0,
        };
        if kept > 0 {
            return len;
        }
        packet.copy_within(end.., start);
        packet[0] &= !0x10;
        len - (end - start)
    }

    /// Renumbers the forwarded elements and overwrites the others with padding; returns how many are forwarded.
    fn elements(&self, mut rest: &mut [u8], two_byte: bool) -> usize {
        let mut kept = 0;
        loop {
            let padding = rest.iter().take_while(|octet| **octet == 0).count();
            rest = &mut std::mem::take(&mut rest)[padding..];
            let (id, len) = match *rest {
                [] => return kept,
                [id, len, ..] if two_byte => (id, 2 + usize::from(len)),
                // The reserved identifier ends the list (RFC 8285 §4.2).
                [first, ..] if !two_byte && first >> 4 != 15 => (first >> 4, 2 + usize::from(first & 0x0F)),
                _ => (0, usize::MAX),
            };
            if len > rest.len() {
                rest.fill(0);
                return kept;
            }
            let (element, after) = std::mem::take(&mut rest).split_at_mut(len);
            match (self.get(id), two_byte) {
                (0, _) => element.fill(0),
                (to, true) => element[0] = to,
                (to, false) => element[0] = to << 4 | element[0] & 0x0F,
            }
            kept += usize::from(self.get(id) != 0);
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Header;
    use super::*;

    /// A packet with one contributing source, this extension and a payload.
    fn packet(profile: u16, elements: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x91, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
        packet.extend_from_slice(&profile.to_be_bytes());
        packet.extend_from_slice(&(elements.len() as u16 / 4).to_be_bytes());
        packet.extend_from_slice(elements);
        packet.extend_from_slice(b"speech");
        packet
    }

    fn applied(map: &ExtensionMap, profile: u16, elements: &[u8]) -> Vec<u8> {
        let mut packet = packet(profile, elements);
        assert!(Header::read(&packet).is_some());
        let len = map.apply(&mut packet);
        packet.truncate(len);
        let header = Header::read(&packet).unwrap();
        assert_eq!(&packet[header.payload..header.payload + header.payload_len], b"speech");
        packet
    }

    #[test]
    fn each_payload_type_has_its_clock() {
        let mut clocks = Clocks::default();
        for (payload_type, rate) in
            [(111, 48_000), (0, 8_000), (8, 8_000), (107, 16_000), (1, 32_000), (2, 11_025)]
        {
            clocks.set(payload_type, rate);
        }
        assert_eq!([111, 0, 8, 107].map(|it| clocks.get(it)), [48_000, 8_000, 8_000, 16_000].map(Some));
        assert_eq!([101, 2].map(|it| clocks.get(it)), [None, None], "not known, and one clock too many");
        assert_eq!(clocks.others(8_000), 1 << 111 | 1 << 107 | 1 << 1);
        assert_eq!(clocks.others(48_000) & 0b1_0000_0001, 0b1_0000_0001);
    }

    #[test]
    fn agreed_ones_are_renumbered_and_others_become_padding() {
        let mut map = ExtensionMap::EMPTY;
        map.pass(1, 5);
        map.pass(3, 3);
        let elements = [0x10, 0xAA, 0x21, 1, 2, 0, 0x30, 0xBB];
        let expected = packet(ONE_BYTE, &[0x50, 0xAA, 0, 0, 0, 0, 0x30, 0xBB]);
        assert_eq!(applied(&map, ONE_BYTE, &elements), expected);
        let two_byte = [1, 1, 7, 2, 2, 8, 8, 0, 200, 0, 0, 0];
        let expected = packet(0x1000, &[5, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(applied(&map, 0x1000, &two_byte), expected);
    }

    #[test]
    fn a_block_of_which_nothing_passes_goes() {
        let without = applied(&ExtensionMap::EMPTY, ONE_BYTE, &[0x10, 0xAA, 0, 0]);
        let mut expected = packet(ONE_BYTE, &[]);
        expected.drain(16..20);
        expected[0] = 0x81;
        assert_eq!(without, expected);
        assert_eq!(applied(&ExtensionMap::all(), 0xABCD, &[1, 2, 3, 4]).len(), without.len(), "no elements");
        assert_eq!(applied(&ExtensionMap::all(), ONE_BYTE, &[]).len(), without.len());
    }

    #[test]
    fn an_element_that_does_not_fit_and_what_follows_it_goes() {
        let elements = [0x10, 0xAA, 0x2F, 1, 2, 3, 4, 5];
        let kept = applied(&ExtensionMap::all(), ONE_BYTE, &elements);
        assert_eq!(kept, packet(ONE_BYTE, &[0x10, 0xAA, 0, 0, 0, 0, 0, 0]));
        let reserved = applied(&ExtensionMap::all(), ONE_BYTE, &[0x10, 0xAA, 0xF0, 1]);
        assert_eq!(reserved, packet(ONE_BYTE, &[0x10, 0xAA, 0, 0]));
        let cut = applied(&ExtensionMap::all(), 0x1000, &[1, 1, 7, 2]);
        assert_eq!(cut, packet(0x1000, &[1, 1, 7, 0]));
    }
}
