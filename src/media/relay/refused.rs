//! Packets of a far end that are refused for good.

use std::net::SocketAddr;

/// Consecutive packets with used numbers before a restart of the stream is reported.
const RESTARTED: u8 = 25;

/// The source address that was refused, and the stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refused {
    /// The last refused address.
    pub source: Option<SocketAddr>,
    /// Consecutive packets from that address while no source is believed.
    pub in_vain: u32,
    pub told: bool,
    pub replayed: Replayed,
}

/// SRTP packets with numbers that were used, and no other packet among them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Replayed {
    began: u64,
    /// The number of believed packets before them, modulo 2^32.
    after: u32,
    in_a_row: u8,
}

impl Replayed {
    /// Adds a packet that came after this number of believed ones. Returns whether to report the series: the first
    /// one that is long enough.
    pub fn add(&mut self, after: u64, at: u64) -> bool {
        if self.in_a_row >= RESTARTED {
            return false;
        }
        if self.in_a_row == 0 || self.after != after as u32 {
            *self = Replayed { began: at, after: after as u32, in_a_row: 0 };
        }
        self.in_a_row += 1;
        self.in_a_row >= RESTARTED
    }

    /// When the series that was reported began, ns; 0 if none was.
    pub fn since(&self) -> u64 {
        if self.in_a_row >= RESTARTED { self.began } else { 0 }
    }
}
