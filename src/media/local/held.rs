//! A packet of a stream that the packet behind it is to confirm: it is played before that one.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Now;
use crate::forward::Header;
use b2b_base::util::ntp::NtpTime;

/// Octets of the longest packet that is held; a longer one is forgotten.
const MAX_HELD: usize = 1_500;

/// See the module's text.
pub(crate) struct Held {
    arrival: Now,
    source: Option<SocketAddr>,
    len: usize,
    data: Box<[u8; MAX_HELD]>,
}

impl Held {
    /// Nothing is held. `epoch` is any moment.
    pub fn new(epoch: Instant) -> Self {
        let arrival = Now { at: epoch, wall: NtpTime(0) };
        Held { arrival, source: None, len: 0, data: Box::new([0; MAX_HELD]) }
    }

    /// Holds this one, in place of one before. Whether there was one.
    pub fn hold(&mut self, arrival: Now, source: SocketAddr, datagram: &[u8]) -> bool {
        let had = self.forget();
        if let Some(room) = self.data.get_mut(..datagram.len()) {
            room.copy_from_slice(datagram);
            (self.arrival, self.source, self.len) = (arrival, Some(source), datagram.len());
        }
        had
    }

    /// What is held will not be confirmed. Whether something is.
    pub fn forget(&mut self) -> bool {
        self.source.take().is_some()
    }

    /// The packet right before this one, if it is held: when and from where it came, its header, and its octets, which
    /// are copied to `room`.
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

/// Where it is copied to.
pub(crate) const fn room() -> [u8; MAX_HELD] {
    [0; MAX_HELD]
}
