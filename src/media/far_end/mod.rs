//! What is known of a far end, whatever it is joined with: what it has said of itself, from where it is believed,
//! what we report to it and it to us, its silence and its digits. Each endpoint has one.
//!
//! - `silence`: no RTP although some should come
//! - `digits`: those that it presses; `digit_gate`: digits, but no flood
//!
//! Pure. Moments are ns since whatever the owner counts from, and 0 is none.

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

/// See the module's text.
pub struct FarEnd {
    pub lock: SourceLock,
    /// None: nothing was agreed on yet.
    pub remote: Option<Remote>,
    pub reports: Reports,
    pub silence: Silence,
    pub digits: Digits,
}

impl FarEnd {
    /// One that nothing is known of yet. `epoch` is any moment before the first packet.
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

    /// What it has said of itself; gives what it had said before. A stream that it refuses (port 0) says nothing of
    /// where it is.
    pub fn describe(&mut self, at: u64, remote: Remote, rng: &mut StdRng) -> Option<Remote> {
        if remote.rtp.port() != 0 {
            self.lock.signal(remote.rtp, remote.signalling, at);
        }
        self.reports.start(at, rng);
        self.remote.replace(remote)
    }

    /// Where RTP goes to it; none: it takes no packets now.
    pub fn rtp_at(&self) -> Option<SocketAddr> {
        let remote =
            self.remote.as_ref().filter(|remote| remote.receives && !remote.rtp.ip().is_unspecified())?;
        // Port 0 refuses the stream, wherever packets may have come from.
        self.lock.destination().filter(|to| remote.rtp.port() != 0 && to.port() != 0)
    }

    /// Writes the report that is due, or the last one with BYE (RFC 3550 §6.6): from which socket it goes, to where,
    /// and its length; none: nobody is there.
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

    /// When something of it is due, if RTP came at `last`; 0: nothing is.
    pub fn due(&self, last: u64) -> u64 {
        let all = [self.reports.due, self.silence.due(last), self.lock.due()];
        all.into_iter().filter(|due| *due != 0).min().unwrap_or(0)
    }
}
