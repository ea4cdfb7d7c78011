//! The state of a far end, independent of what it is joined with: what it has said of itself, its
//! believed source, RTCP in both directions, its silence and its digits. Each endpoint has one.
//!
//! - `silence`: no RTP although some is expected
//! - `digits`: the digits it sends; `digit_gate`: their rate limit
//!
//! No I/O, no clock. Times are ns since the owner's epoch; 0 means none.

mod digit_gate;
mod digits;
mod silence;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::Now;
use crate::remote::Remote;
use crate::rtp::rtcp::MAX_LEN;
use crate::transport::Channel;
use crate::transport::lock::{NamedSources, SourceLock};
use crate::transport::reports::{Receiving, Reports, Sending};
pub use digits::Digits;
pub use silence::Silence;

/// The state of one far end; see the module documentation.
pub struct FarEnd {
    pub lock: SourceLock,
    /// `None` until it is described.
    pub remote: Option<Remote>,
    pub reports: Reports,
    pub silence: Silence,
    pub digits: Digits,
}

impl FarEnd {
    /// A far end of which nothing is known yet. `epoch` is any time before the first packet.
    pub fn new(
        sources: NamedSources,
        rtp_timeout: Option<Duration>,
        epoch: Instant,
        rng: &mut StdRng,
    ) -> Self {
        FarEnd {
            lock: SourceLock::new(sources),
            remote: None,
            reports: Reports::new(rng),
            silence: Silence::new(rtp_timeout),
            digits: Digits::new(epoch),
        }
    }

    /// Applies its description and returns the previous one. A refused stream (port 0) says nothing
    /// about its address.
    pub fn describe(&mut self, at: u64, remote: Remote, rng: &mut StdRng) -> Option<Remote> {
        if remote.rtp.port() != 0 {
            let named = Some(remote.rtp).filter(|_| !remote.awaited);
            self.lock.signal(named, remote.signalling, at);
        }
        self.reports.start(at, rng);
        self.remote.replace(remote)
    }

    /// The destination of RTP; `None` if it accepts no packets now.
    pub fn rtp_at(&self) -> Option<SocketAddr> {
        let remote = self.remote.as_ref().filter(|remote| remote.receives)?;
        let to = match remote.rtp.ip().is_unspecified() {
            // It has named no address: it is where its packets come from.
            true => self.lock.believed(),
            false => self.lock.destination(),
        };
        // Port 0 refuses the stream, wherever packets came from.
        to.filter(|to| remote.rtp.port() != 0 && to.port() != 0)
    }

    /// Writes the report that is due, or the last one with BYE (RFC 3550 §6.6). Returns the socket
    /// to send it from, its destination and its length; `None` if there is no destination.
    pub fn report(
        &mut self,
        now: Now,
        at: u64,
        (sending, receiving): (&Sending, Option<Receiving>),
        bye: bool,
        room: &mut [u8; MAX_LEN],
    ) -> Option<(Channel, SocketAddr, usize)> {
        let (channel, to) = self.remote.as_ref()?.rtcp_at(self.lock.destination()?)?;
        let length = self.reports.write((now.wall, at), sending, receiving, bye, room);
        Some((channel, to, length))
    }

    /// When its next timer is due, if RTP was last received at `last`; 0 if none is.
    pub fn due(&self, last: u64) -> u64 {
        let all = [self.reports.due, self.silence.due(last), self.lock.due()];
        all.into_iter().filter(|due| *due != 0).min().unwrap_or(0)
    }
}
