//! How a relayed packet is handled, as plain data.
//!
//! A [`ForwardRule`] covers everything that can be decided about a packet without knowing earlier
//! ones; a [`ForwardState`] holds what must be remembered of them. Together they hold no reference,
//! allocate nothing and make no complex decision: what they do not cover is [`Verdict::Unknown`],
//! upon which the relay machine changes the rule. Rules can thus be executed elsewhere later, even
//! in the kernel.
//!
//! A leg has one outgoing SSRC, sequence and timestamp space for its whole life ([`OutSpace`]). Its
//! feeder gets offsets into this space that are valid from its first packet, the *anchor*, on: to
//! the other leg a transfer, a hold or a new stream of the far end is a pause and a marker.
//!
//! - `maps`: payload types and header extensions by number
//! - `space`: the outgoing stream of a leg; `insert`: our own packets in it
//! - `snapshot`: the state, to be written and read back

mod drops;
mod insert;
mod maps;
mod snapshot;
mod space;

use std::net::SocketAddr;

pub use super::rtp::header::Header;
use super::rtp::packet::HEADER_LEN;
use super::rtp::sequence::Sequence;
pub use drops::Drops;
pub use maps::{Clocks, ExtensionMap, PayloadMap};
pub(crate) use snapshot::{SpaceSnapshot, StateSnapshot};
pub use space::OutSpace;

/// Static payload type of comfort noise (RFC 3389).
pub(crate) const COMFORT_NOISE: u8 = 13;
/// Whether packets are forwarded at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Packets are forwarded.
    Open,
    /// Packets are forwarded once the offsets are known: the next one is the anchor.
    Unanchored,
    /// Packets are not forwarded, as the other leg does not want any.
    Held,
    /// Packets are not forwarded, as there is no other leg.
    Unjoined,
}

/// The rule for packets that one leg receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardRule {
    /// The believed source address.
    pub source: SocketAddr,
    /// SSRC of the believed stream.
    pub ssrc: u32,
    /// Where packets are forwarded to.
    pub destination: SocketAddr,
    /// SSRC of forwarded packets.
    pub out_ssrc: u32,
    /// Added to sequence numbers.
    pub sequence_offset: u16,
    /// Added to timestamps.
    pub timestamp_offset: u32,
    /// The extended sequence number from which the offsets are valid.
    pub anchor: u32,
    /// Current clock rate of the stream, Hz.
    pub clock_rate: u32,
    /// Payload types of which the next packet is examined first, one bit each: their clock rate
    /// differs, or loss counting restarts.
    pub looks: u128,
    /// Whether packets are forwarded at all.
    pub gate: Gate,
    /// Handling by payload type.
    pub payload_types: PayloadMap,
    /// Handling by number of a header extension.
    pub extensions: ExtensionMap,
}

/// State of the packets that one leg receives. Times are in ns since any fixed point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardState {
    /// The received sequence numbers.
    pub numbers: Sequence,
    /// Timestamp of the highest packet whose type the other leg supports, and its arrival time.
    pub highest_timestamp: u32,
    /// See `highest_timestamp`.
    pub highest_at: u64,
    /// Arrival minus timestamp of the last packet, ticks.
    transit: u32,
    /// Interarrival jitter (RFC 3550 A.8), sixteenths of a tick.
    jitter: u32,
    /// Number of sequence numbers skipped since the anchor because their packets were not
    /// forwarded: to the other leg they must not look lost.
    withheld: u16,
    /// The last packet is the newest one.
    in_order: bool,
    /// The next forwarded packet gets the marker.
    mark: bool,
    /// Packets and octets of all streams, and the first and last arrival.
    pub packets: u64,
    /// See `packets`.
    pub bytes: u64,
    /// See `packets`; 0 if there was none.
    pub first_at: u64,
    /// See `first_at`.
    pub last_at: u64,
    /// Packets forwarded since these counters were last taken.
    pub forwarded: u64,
    /// Their octets.
    pub forwarded_bytes: u64,
    /// Their payload octets.
    pub forwarded_payload: u64,
    /// The last payload type.
    pub payload_type: u8,
    /// The last audio payload type.
    pub sound: Option<u8>,
    /// Octets of the last forwarded packet: extensions may have been removed.
    pub length: u16,
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it; it is rewritten in place.
    Forward,
    /// The same, and pass it up.
    ForwardAndUp,
    /// Only pass it up; it is unchanged.
    Up,
    /// The rule does not cover the packet; nothing was counted.
    Unknown(Unknown),
    /// Drop it; it is counted as received.
    Drop(Reason),
    /// It is not an RTP packet; nothing was counted.
    Malformed,
}

/// What a rule does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The source address.
    Source,
    /// The SSRC, or the first stream.
    Stream,
    /// A jump in the sequence numbers.
    Jump,
    /// Another clock rate, or a stream that resumes after a pause.
    Pace,
    /// There are no offsets yet.
    Anchor,
}

/// Why a believed packet is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The other leg is on hold.
    Held,
    /// There is no other leg.
    Unjoined,
    /// The other leg does not support the payload type.
    PayloadType,
    /// The packet precedes the anchor.
    Stale,
}

/// Applies a rule to a packet received from `source` at `at`: checks and counts it, and rewrites it
/// in place if it is to be forwarded.
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
    state.in_order = sequence > state.numbers.highest();
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
            state.withheld = state.withheld.wrapping_add(u16::from(state.in_order && gate == Gate::Open));
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
    // `Header::read` has checked this length.
    if let Some(start) = packet.first_chunk_mut::<HEADER_LEN>() {
        start[1] = (u8::from(header.marker || mark) << 7) | to;
        start[2..4].copy_from_slice(&sequence.to_be_bytes());
        start[4..8].copy_from_slice(&timestamp.to_be_bytes());
        start[8..12].copy_from_slice(&rule.out_ssrc.to_be_bytes());
    }
}

impl ForwardState {
    /// Starts a new stream with this packet, which is not counted yet.
    pub fn begin(&mut self, header: &Header, at: u64, clock_rate: u32) {
        self.numbers.begin(header.sequence);
        (self.highest_timestamp, self.highest_at) = (header.timestamp, at);
        self.jitter = 0;
        self.transit = ticks(at, clock_rate).wrapping_sub(header.timestamp);
    }

    /// Changes the clock rate from this packet on, which is not counted yet: jitter keeps its value
    /// in time (RFC 7160 §3.2).
    pub fn change_clock(&mut self, header: &Header, at: u64, from: u32, to: u32) {
        let scaled = u64::from(self.jitter) * u64::from(to) / u64::from(from.max(1));
        self.jitter = u32::try_from(scaled).unwrap_or(u32::MAX);
        self.transit = ticks(at, to).wrapping_sub(header.timestamp);
    }

    /// Resumes the stream with this packet, which is not counted yet, after a pause or a bypass:
    /// the gap before it is not loss.
    pub fn resume(&mut self, header: &Header, at: u64, clock_rate: u32) {
        self.numbers.resume(header.sequence);
        self.transit = ticks(at, clock_rate).wrapping_sub(header.timestamp);
    }

    /// Records that the offsets of `rule` are valid from this packet on, which is not counted yet.
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

    /// Reverts the forwarding of the last packet, rewritten and of this length, which is not sent.
    pub(crate) fn withhold(&mut self, payload_len: usize, len: usize) {
        self.withheld = self.withheld.wrapping_add(u16::from(self.in_order));
        self.forwarded = self.forwarded.saturating_sub(1);
        self.forwarded_bytes = self.forwarded_bytes.saturating_sub(len as u64);
        self.forwarded_payload = self.forwarded_payload.saturating_sub(payload_len as u64);
    }

    /// By how many numbers packets of the stream are sent on lower than their offset says; wraps.
    pub(crate) fn withheld(&self) -> u16 {
        self.withheld
    }

    /// Reverts the count of the last packet, of this length, which is to be processed again.
    pub(crate) fn uncount(&mut self, len: usize) {
        self.packets = self.packets.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len as u64);
    }

    /// Interarrival jitter, ticks.
    pub fn jitter_ticks(&self) -> u32 {
        self.jitter >> 4
    }

    /// Moves the counts of forwarded packets to the receiving leg.
    pub fn take_forwarded(&mut self, out: &mut OutSpace) {
        out.packets += std::mem::take(&mut self.forwarded);
        out.bytes += std::mem::take(&mut self.forwarded_bytes);
        out.payload += std::mem::take(&mut self.forwarded_payload);
    }
}

fn ticks(at: u64, clock_rate: u32) -> u32 {
    (at / 1_000 * u64::from(clock_rate) / 1_000_000) as u32
}

#[cfg(test)]
mod tests;
