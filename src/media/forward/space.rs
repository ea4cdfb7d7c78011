//! A leg's outgoing stream: one SSRC, sequence and timestamp space, whatever feeds it.

use crate::rtp::RtpHeader;

use super::{ForwardRule, ForwardState, Gate, Header, ticks};

/// A leg's outgoing stream, for the life of the leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutSpace {
    /// SSRC of everything that we send to this leg.
    pub ssrc: u32,
    /// Highest sequence number sent.
    pub sequence: u16,
    /// Its timestamp, and the time to which that belongs.
    pub timestamp: u32,
    /// See `timestamp`; 0 if nothing was sent yet.
    pub at: u64,
    /// When the first packet was sent; 0 if none was.
    pub first_at: u64,
    /// Packets sent.
    pub packets: u64,
    /// Octets sent.
    pub bytes: u64,
    /// Payload octets sent.
    pub payload: u64,
}

impl OutSpace {
    /// A space with random initial values (RFC 3550 §5.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        OutSpace { ssrc, sequence, timestamp, at: 0, first_at: 0, packets: 0, bytes: 0, payload: 0 }
    }

    /// The timestamp of a given time, which counts the time in which nothing was sent. It is at
    /// least one frame after the last packet.
    pub fn timestamp_at(&self, at: u64, clock_rate: u32) -> u32 {
        if self.at == 0 {
            return self.timestamp;
        }
        let elapsed = ticks(at.saturating_sub(self.at), clock_rate);
        self.timestamp.wrapping_add(elapsed.max(clock_rate / 50))
    }

    /// The header of a packet of this stream.
    pub fn header(&self, marker: bool, payload_type: u8, sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader { marker, payload_type, sequence, timestamp, ssrc: self.ssrc, abs_capture_time: None }
    }

    /// Records a packet that was sent without a rule.
    pub fn sent(&mut self, sequence: u16, timestamp: u32, at: u64, len: usize, payload: usize) {
        (self.sequence, self.timestamp, self.at) = (sequence, timestamp, at);
        if self.first_at == 0 {
            self.first_at = at;
        }
        self.packets += 1;
        self.bytes += len as u64;
        self.payload += payload as u64;
    }

    /// Gives a feeder offsets into this space, valid from this packet on.
    pub fn anchor(&mut self, rule: &mut ForwardRule, state: &mut ForwardState, header: &Header, at: u64) {
        rule.out_ssrc = self.ssrc;
        rule.sequence_offset = self.sequence.wrapping_add(1).wrapping_sub(header.sequence);
        rule.timestamp_offset = self.timestamp_at(at, rule.clock_rate).wrapping_sub(header.timestamp);
        rule.anchor = state.numbers.extend(header.sequence).unwrap_or(state.numbers.highest());
        rule.gate = Gate::Open;
        if self.first_at == 0 {
            self.first_at = at;
        }
        state.anchored();
    }

    /// The space including what this feeder has sent so far.
    pub fn with(&self, rule: &ForwardRule, state: &ForwardState) -> OutSpace {
        let (mut space, mut rule, mut state) = (*self, *rule, *state);
        space.settle(&mut rule, &mut state);
        space
    }

    /// Ends the validity of a feeder's offsets, and records how far it has come.
    pub fn settle(&mut self, rule: &mut ForwardRule, state: &mut ForwardState) {
        if rule.gate == Gate::Open {
            let last = state.numbers.highest() as u16;
            self.sequence = last.wrapping_add(rule.sequence_offset).wrapping_sub(state.withheld);
            self.timestamp = state.highest_timestamp.wrapping_add(rule.timestamp_offset);
            self.at = state.highest_at;
            rule.gate = Gate::Unanchored;
        }
        state.take_forwarded(self);
    }
}
