//! The messages of a call as a capture file (PCAP) for Wireshark.
//!
//! Messages are written as they were on the wire: IP (without Ethernet, link type RAW) and UDP, or TCP with
//! synthetic sequence numbers. TLS is written as TCP, in plain text, since an encrypted capture would be of
//! no use. RTP packets may be truncated, as with the snap length of a capture program.
//!
//! - `frame`: IP, UDP and TCP headers with their checksums

mod frame;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use b2b_sip::msg::Transport;

/// LINKTYPE_RAW: packets begin with an IPv4 or IPv6 header.
const LINKTYPE_RAW: u32 = 101;
/// The magic number for nanosecond timestamps, in the byte order of the writer (here: little-endian).
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The longest frame that is kept whole.
const SNAP_LENGTH: u32 = 65_535;
/// The maximum payload of one frame, so that it fits an IP packet.
const MAX_PAYLOAD: usize = 65_000;
/// The size of a record header, in bytes.
const RECORD: usize = 16;

/// A bounded capture of one call. The oldest records are kept, since the beginning of a call is the most
/// informative; records after the limit are only counted.
#[derive(Debug)]
pub struct Capture {
    limit: usize,
    bytes: usize,
    records: Vec<Record>,
    /// Records after the limit.
    left_out: u64,
    /// The next TCP sequence number of each direction.
    sequences: HashMap<(SocketAddr, SocketAddr), u32>,
}

#[derive(Debug, Clone)]
struct Record {
    at: SystemTime,
    frame: Bytes,
    /// The length on the wire.
    original: u32,
}

impl Capture {
    /// A capture that keeps at most `limit` bytes of frames.
    pub fn new(limit: usize) -> Self {
        Capture { limit, bytes: 0, records: Vec::new(), left_out: 0, sequences: HashMap::new() }
    }

    /// Adds a SIP message as it was sent or received.
    pub fn sip(
        &mut self,
        at: SystemTime,
        transport: Transport,
        from: SocketAddr,
        to: SocketAddr,
        message: &[u8],
    ) {
        for part in message.chunks(MAX_PAYLOAD) {
            let frame = match transport {
                Transport::Udp => frame::udp(from, to, part, part.len()),
                _ => {
                    let acknowledged = self.sequences.get(&(to, from)).copied().unwrap_or(1);
                    let sequence = self.sequences.entry((from, to)).or_insert(1);
                    let frame = frame::tcp(from, to, *sequence, acknowledged, part);
                    *sequence = sequence.wrapping_add(part.len() as u32);
                    frame
                }
            };
            let length = frame.len();
            self.push(at, frame, length);
        }
    }

    /// Adds an RTP or RTCP packet, of which `kept` is the beginning and `original` the length.
    pub fn rtp(&mut self, at: SystemTime, from: SocketAddr, to: SocketAddr, kept: &[u8], original: usize) {
        let kept = &kept[..kept.len().min(MAX_PAYLOAD)];
        let length = original.clamp(kept.len(), MAX_PAYLOAD);
        let frame = frame::udp(from, to, kept, length);
        let original = frame.len() + length - kept.len();
        self.push(at, frame, original);
    }

    fn push(&mut self, at: SystemTime, frame: Vec<u8>, original: usize) {
        let size = RECORD + frame.len();
        // Once a record did not fit, no later one is kept: a capture with gaps is misleading.
        if self.left_out > 0 || self.bytes + size > self.limit {
            self.left_out += 1;
            return;
        }
        self.bytes += size;
        self.records.push(Record { at, frame: frame.into(), original: original as u32 });
    }

    /// The number of frames kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no frame is kept.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of frames after the limit.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The size of the frames kept, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The capture as a PCAP file.
    pub fn to_pcap(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(24 + self.bytes);
        let word = |file: &mut Vec<u8>, word: u32| file.extend_from_slice(&word.to_le_bytes());
        word(&mut file, MAGIC_NANOSECONDS);
        file.extend_from_slice(&[2, 0, 4, 0]); // version 2.4
        for value in [0, 0, SNAP_LENGTH, LINKTYPE_RAW] {
            word(&mut file, value);
        }
        for record in &self.records {
            let at = record.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            // Unsigned 32-bit seconds: valid until 2106.
            word(&mut file, at.as_secs() as u32);
            word(&mut file, at.subsec_nanos());
            word(&mut file, record.frame.len() as u32);
            word(&mut file, record.original);
            file.extend_from_slice(&record.frame);
        }
        file
    }
}
