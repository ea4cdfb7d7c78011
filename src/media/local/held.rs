//! Holds the packet of an unconfirmed stream; once the next packet confirms it, it is played first.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Now;
use crate::forward::Header;
use b2b_base::util::ntp::NtpTime;

/// Maximum octets of a held packet; a longer one is not held.
const MAX_HELD: usize = 1_500;

/// A slot for one packet; see the module documentation.
pub(crate) struct Held {
    arrival: Now,
    source: Option<SocketAddr>,
    len: usize,
    data: Box<[u8; MAX_HELD]>,
}

impl Held {
    /// An empty slot. `epoch` is any time.
    pub fn new(epoch: Instant) -> Self {
        let arrival = Now { at: epoch, wall: NtpTime(0) };
        Held { arrival, source: None, len: 0, data: Box::new([0; MAX_HELD]) }
    }

    /// Holds this packet in place of an earlier one. Returns whether there was one.
    pub fn hold(&mut self, arrival: Now, source: SocketAddr, datagram: &[u8]) -> bool {
        let had = self.forget();
        if let Some(room) = self.data.get_mut(..datagram.len()) {
            room.copy_from_slice(datagram);
            (self.arrival, self.source, self.len) = (arrival, Some(source), datagram.len());
        }
        had
    }

    /// Discards the held packet. Returns whether there was one.
    pub fn forget(&mut self) -> bool {
        self.source.take().is_some()
    }

    /// Takes the held packet if `next` directly follows it: its arrival time, source, header and
    /// octets, which are copied to `room`.
    pub fn take_before<'a>(
        &mut self,
        next: &Header,
        room: &'a mut [u8; MAX_HELD],
    ) -> Option<(Now, SocketAddr, Header, &'a mut [u8])> {
        let source = self.source?;
        let header = Header::read(&self.data[..self.len])?;
        if (header.ssrc, header.sequence.wrapping_add(1)) != (next.ssrc, next.sequence) {
            return None;
        }
        self.source = None;
        *room = *self.data;
        Some((self.arrival, source, header, &mut room[..self.len]))
    }
}

/// A buffer for the copy.
pub(crate) const fn room() -> [u8; MAX_HELD] {
    [0; MAX_HELD]
}
