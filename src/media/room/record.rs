//! Records a room: the mix of each tick as a packet of its own stream.

use std::time::Instant;

use crate::codec::{Codec, Encoder, MAX_PAYLOAD, OpusTuning};
use crate::recording::{Side, Tap};
use crate::rtp::RtpHeader;
use crate::rtp::packet::HEADER_LEN;

/// Timestamp units per 20 ms: both codecs below have a clock rate of 8,000 (RFC 3551 §4.5.2).
const TICKS: u32 = 160;

/// Encodes the mix into packets for a recorder.
pub(super) struct RoomTap {
    tap: Box<Tap>,
    payload_type: u8,
    encoder: Encoder,
    sequence: u16,
    timestamp: u32,
    packet: [u8; HEADER_LEN + MAX_PAYLOAD],
}

impl RoomTap {
    /// A tap for a room mixed at 8,000 or 16,000 Hz.
    pub fn new(tap: Box<Tap>, rate_hz: u32) -> Self {
        let (payload_type, codec) = if rate_hz > 8_000 { (9, Codec::G722) } else { (8, Codec::Pcma) };
        let tuning = OpusTuning { bitrate: 24_000, expected_loss_pct: 0 };
        RoomTap {
            tap,
            payload_type,
            encoder: Encoder::new(codec, rate_hz, tuning),
            sequence: 0,
            timestamp: 0,
            packet: [0; HEADER_LEN + MAX_PAYLOAD],
        }
    }

    /// Records the mix of a tick; returns whether more is wanted.
    pub fn take(&mut self, at: Instant, mix: &[i16]) -> bool {
        let (header, payload) = self.packet.split_at_mut(HEADER_LEN);
        let Some(octets) = self.encoder.encode(mix, payload) else { return true };
        let (payload_type, sequence, timestamp) = (self.payload_type, self.sequence, self.timestamp);
        let (marker, ssrc, abs_capture_time) = (false, 0, None);
        RtpHeader { marker, payload_type, sequence, timestamp, ssrc, abs_capture_time }.write_fixed(header);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(TICKS);
        self.tap.take(at, Side::Said, &self.packet[..HEADER_LEN + octets])
    }
}

impl std::fmt::Debug for RoomTap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomTap").finish_non_exhaustive()
    }
}
