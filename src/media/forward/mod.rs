//! What becomes of a relayed packet, as plain data.
//!
//! A [`ForwardRule`] says everything that can be said of a packet without knowing the
//! ones before it, a [`ForwardState`] is what has to be remembered of them. Together
//! they hold no reference, take no memory and make no decision that needs thought:
//! what they do not cover is [`Verdict::Unknown`], for the relay machine to look at and
//! to change the rule. So rules can be carried out elsewhere later, in the kernel too.
//!
//! A leg has one outgoing SSRC, sequence and timestamp space for its life
//! ([`OutSpace`]). Whoever feeds it gets offsets into this space that hold from an
//! *anchor* on, its first packet: a transfer, a hold or a new stream of the far end is
//! for the other leg a pause and a marker.
//!
//! - `maps`: payload types and header extensions by number
//! - `space`: the outgoing stream of a leg; `insert`: packets of our own in it
//! - `snapshot`: what is remembered, to be written and read back

mod insert;
mod maps;
mod snapshot;
mod space;

use std::net::SocketAddr;

use super::relay::Drops;
pub use super::rtp::header::Header;
use super::rtp::packet::HEADER_LEN;
use super::rtp::sequence::Sequence;
pub use maps::{Clocks, ExtensionMap, PayloadMap};
pub(crate) use snapshot::{SpaceSnapshot, StateSnapshot};
pub use space::OutSpace;

/// A static payload type (RFC 3389).
pub(crate) const COMFORT_NOISE: u8 = 13;
/// Whether packets are forwarded at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// They are.
    Open,
    /// They are, once the offsets are known: the next one is the anchor.
    Unanchored,
    /// They are not, since the other leg does not want any.
    Held,
    /// They are not, since there is no other leg.
    Unjoined,
}

/// The fate of the packets that one leg receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardRule {
    /// From where they are believed.
    pub source: SocketAddr,
    /// The stream that is believed.
    pub ssrc: u32,
    /// Where they go.
    pub destination: SocketAddr,
    /// Under this SSRC.
    pub out_ssrc: u32,
    /// Added to sequence numbers.
    pub sequence_offset: u16,
    /// Added to timestamps.
    pub timestamp_offset: u32,
    /// The extended sequence number from which the offsets hold.
    pub anchor: u32,
    /// Ticks a second of the stream, as it comes now.
    pub clock_rate: u32,
    /// Payload types of which the next packet is looked at first, a bit each: they tick otherwise, or
    /// loss is to be counted anew.
    pub looks: u128,
    /// Whether they go anywhere.
    pub gate: Gate,
    /// By payload type.
    pub payload_types: PayloadMap,
    /// By number of a header extension.
    pub extensions: ExtensionMap,
}

/// What is remembered of the packets that one leg receives. Times are in ns since
/// any fixed moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardState {
    /// Its sequence numbers.
    pub numbers: Sequence,
    /// Timestamp of the highest one that had a place on the other leg, and when it came.
    pub highest_timestamp: u32,
    /// See `highest_timestamp`.
    pub highest_at: u64,
    /// Arrival minus timestamp of the last packet, ticks.
    transit: u32,
    /// Interarrival jitter (RFC 3550 A.8), sixteenths of a tick.
    jitter: u32,
    /// Sequence numbers left out since the anchor, because their packets were not
    /// forwarded: the other leg is not to take them for lost.
    withheld: u16,
    /// The next packet forwarded begins something (marker).
    mark: bool,
    /// Packets and octets over all streams, and the first and last arrival.
    pub packets: u64,
    /// See `packets`.
    pub bytes: u64,
    /// See `packets`; 0 when there was none.
    pub first_at: u64,
    /// See `first_at`.
    pub last_at: u64,
    /// Packets forwarded since they were last taken.
    pub forwarded: u64,
    /// Their octets.
    pub forwarded_bytes: u64,
    /// Their payload octets.
    pub forwarded_payload: u64,
    /// The last payload type.
    pub payload_type: u8,
    /// The last one that was sound.
    pub sound: Option<u8>,
    /// Octets of the last packet that was forwarded: extensions may have been taken out.
    pub length: u16,
}

/// What is to be done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it; it is rewritten.
    Forward,
    /// The same, and its payload is of interest above.
    ForwardAndUp,
    /// It is untouched, and only of interest above.
    Up,
    /// The rule does not cover it; nothing was counted.
    Unknown(Unknown),
    /// Nothing more; it is counted as received.
    Drop(Reason),
    /// It is no RTP packet; nothing was counted.
    Malformed,
}

/// What a rule does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Another address.
    Source,
    /// Another SSRC, or the first one.
    Stream,
    /// A jump in the sequence.
    Jump,
    /// Another clock, or a stream that begins again after a rest.
    Pace,
    /// No offsets yet.
    Anchor,
}

/// Why a packet that was believed goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The other leg is held.
    Held,
    /// There is no other leg.
    Unjoined,
    /// The payload type has no place on the other leg.
    PayloadType,
    /// It is older than what the other leg has from us.
    Stale,
}

/// Applies a rule to a packet that came from `source` at `at`: checks, counts, and
/// rewrites in place what is to be forwarded.
#[inline]
pub fn apply(
    state: &mut ForwardState,
    rule: &ForwardRule,
    source: SocketAddr,
    at: u64,
    packet: &mut [u8],
) -> Verdict {
    let Some(header) = Header::read(packet) else { return Verdict::Malformed };
    if source != rule.source {
        return Verdict::Unknown(Unknown::Source);
    }
    if header.ssrc != rule.ssrc || state.numbers.highest() == 0 {
        return Verdict::Unknown(Unknown::Stream);
    }
    let Some(sequence) = state.numbers.extend(header.sequence) else {
        return Verdict::Unknown(Unknown::Jump);
    };
    if rule.looks != 0 && rule.looks >> header.payload_type & 1 == 1 {
        return Verdict::Unknown(Unknown::Pace);
    }
    let to = rule.payload_types.get(header.payload_type);
    if rule.gate == Gate::Unanchored && to.is_some() {
        return Verdict::Unknown(Unknown::Anchor);
    }
    let event = rule.payload_types.is_event(header.payload_type);
    let in_order = sequence > state.numbers.highest();
    let timed = !event && to.is_some();
    state.count(sequence, &header, at, packet.len(), rule.clock_rate, (event, timed));

    let up = rule.payload_types.goes_up(header.payload_type);
    match (rule.gate, to) {
        (Gate::Open, Some(to)) => {
            if sequence < rule.anchor {
                return Verdict::Drop(Reason::Stale);
            }
            let mark = !event && std::mem::take(&mut state.mark);
            rewrite(rule, state.withheld, &header, to, mark, packet);
            let extended = packet.first().is_some_and(|first| first & 0x10 != 0);
            let length = if extended { rule.extensions.apply(packet) } else { packet.len() };
            state.length = length as u16;
            state.forwarded += 1;
            state.forwarded_bytes += length as u64;
            state.forwarded_payload += header.payload_len as u64;
            if up { Verdict::ForwardAndUp } else { Verdict::Forward }
        }
        (gate, to) => {
            state.withheld = state.withheld.wrapping_add(u16::from(in_order && gate == Gate::Open));
            match gate {
                _ if up => Verdict::Up,
                Gate::Held if to.is_some() => Verdict::Drop(Reason::Held),
                Gate::Unjoined => Verdict::Drop(Reason::Unjoined),
                _ => Verdict::Drop(Reason::PayloadType),
            }
        }
    }
}

#[inline]
fn rewrite(rule: &ForwardRule, withheld: u16, header: &Header, to: u8, mark: bool, packet: &mut [u8]) {
    let sequence = header.sequence.wrapping_add(rule.sequence_offset).wrapping_sub(withheld);
    let timestamp = header.timestamp.wrapping_add(rule.timestamp_offset);
    // `Header::read` has seen that many octets.
    if let Some(start) = packet.first_chunk_mut::<HEADER_LEN>() {
        start[1] = (u8::from(header.marker || mark) << 7) | to;
        start[2..4].copy_from_slice(&sequence.to_be_bytes());
        start[4..8].copy_from_slice(&timestamp.to_be_bytes());
        start[8..12].copy_from_slice(&rule.out_ssrc.to_be_bytes());
    }
}

impl ForwardState {
    /// A new stream begins with this packet, which is not counted yet.
    pub fn begin(&mut self, header: &Header, at: u64, clock_rate: u32) {
        self.numbers.begin(header.sequence);
        (self.highest_timestamp, self.highest_at) = (header.timestamp, at);
        self.jitter = 0;
        self.transit = ticks(at, clock_rate).wrapping_sub(header.timestamp);
    }

    /// The stream's clock is another one from this packet on, which is not counted yet: jitter stays
    /// what it is in time (RFC 7160 §3.2).
    pub fn change_clock(&mut self, header: &Header, at: u64, from: u32, to: u32) {
        let scaled = u64::from(self.jitter) * u64::from(to) / u64::from(from.max(1));
        self.jitter = u32::try_from(scaled).unwrap_or(u32::MAX);
        self.transit = ticks(at, to).wrapping_sub(header.timestamp);
    }

    /// The stream has rested, or was elsewhere, until this packet, which is not counted yet: what is
    /// missing before it was not for us.
    pub fn resume(&mut self, header: &Header, at: u64, clock_rate: u32) {
        self.numbers.resume(header.sequence);
        self.transit = ticks(at, clock_rate).wrapping_sub(header.timestamp);
    }

    /// The offsets of `rule` hold from this packet on, which is not counted yet.
    pub fn anchored(&mut self) {
        (self.withheld, self.mark) = (0, true);
    }

    #[inline]
    fn count(
        &mut self,
        sequence: u32,
        header: &Header,
        at: u64,
        len: usize,
        clock_rate: u32,
        (event, timed): (bool, bool),
    ) {
        if timed && sequence > self.numbers.highest() {
            (self.highest_timestamp, self.highest_at) = (header.timestamp, at);
        }
        self.numbers.count(sequence);
        if !event {
            if header.payload_type != COMFORT_NOISE {
                self.sound = Some(header.payload_type);
            }
            let transit = ticks(at, clock_rate).wrapping_sub(header.timestamp);
            let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs().min(1 << 20);
            self.transit = transit;
            self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
        }
        self.packets += 1;
        self.bytes += len as u64;
        if self.first_at == 0 {
            self.first_at = at;
        }
        self.last_at = at;
        self.payload_type = header.payload_type;
    }

    /// The last packet, of so many octets, comes once more by the same way: it is counted then.
    pub(crate) fn uncount(&mut self, len: usize) {
        self.packets = self.packets.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len as u64);
    }

    /// Interarrival jitter, ticks.
    pub fn jitter_ticks(&self) -> u32 {
        self.jitter >> 4
    }

    /// Adds what was forwarded to the receiving leg's count and begins again.
    pub fn take_forwarded(&mut self, out: &mut OutSpace) {
        out.packets += std::mem::take(&mut self.forwarded);
        out.bytes += std::mem::take(&mut self.forwarded_bytes);
        out.payload += std::mem::take(&mut self.forwarded_payload);
    }
}

fn ticks(at: u64, clock_rate: u32) -> u32 {
    (at / 1_000 * u64::from(clock_rate) / 1_000_000) as u32
}

impl Drops {
    /// Counts a packet that was believed and not forwarded.
    pub fn count(&mut self, reason: Reason) {
        match reason {
            Reason::Held => self.held += 1,
            Reason::Unjoined => self.unjoined += 1,
            Reason::PayloadType => self.payload_type += 1,
            Reason::Stale => self.stream += 1,
        }
    }
}

#[cfg(test)]
mod tests;
