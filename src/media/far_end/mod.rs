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
use crate::rtp::sequence::Receiving;
use crate::stream::Link;
use crate::transport::Channel;
use crate::transport::lock::{NamedSources, SourceLock};
use crate::transport::reports::{Reports, Sending};
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
            let is_host = |it: &Remote| it.awaited && it.rtp.ip().is_unspecified();
            match self.remote.filter(is_host).filter(|it| it.rtp.port() == remote.rtp.port()).and(named) {
                Some(found) => self.lock.found(found),
                None => self.lock.signal(named, remote.signalling, at),
            }
        }
        self.reports.start(at, rng);
        self.remote.replace(remote)
    }

    /// The destination of RTP; `None` if it accepts no packets now.
    pub fn rtp_at(&self) -> Option<SocketAddr> {
        let on_hold = |remote: &Remote| remote.rtp.ip().is_unspecified() && !remote.awaited;
        let remote = self.remote.as_ref().filter(|remote| remote.receives && !on_hold(remote))?;
        // Port 0 refuses the stream, wherever packets came from.
        self.lock.destination().filter(|to| remote.rtp.port() != 0 && to.port() != 0)
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

    /// Its packets and ours. `jitter` is that of its packets, in units of this clock rate, Hz.
    pub fn link(&self, jitter: u32, clock_rate: u32) -> Link {
        let gets = self.remote.and_then(|remote| remote.voice.gets);
        Link {
            clock_rate: gets.map_or(8_000, |gets| gets.codec.clock_rate()),
            packet_ms: gets.map_or(20, |gets| gets.ptime_ms) as f32,
            jitter_ms: jitter as f32 * 1_000.0 / clock_rate.max(1) as f32,
        }
    }

    /// When its next timer is due, if RTP was last received at `last`; 0 if none is.
    pub fn due(&self, last: u64) -> u64 {
        let all = [self.reports.due, self.silence.due(last), self.lock.due()];
        all.into_iter().filter(|due| *due != 0).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_address_of_a_host_name_is_sent_to_unless_rtp_came_before() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for heard in [None, Some(at("203.0.113.5:31000"))] {
            let mut rng = StdRng::seed_from_u64(1);
            let mut far = FarEnd::new(NamedSources::default(), None, Instant::now(), &mut rng);
            let signalling = [Some("203.0.113.5".parse().unwrap()), None];
            let named = Remote { awaited: true, signalling, ..Remote::at(at("0.0.0.0:4000")) };
            far.describe(1, named, &mut rng);
            if let Some(heard) = heard {
                far.lock.consider(heard, 2, 0);
            }
            assert_eq!(far.rtp_at(), heard);
            let found = Remote { awaited: false, rtp: at("198.51.100.7:4000"), ..named };
            far.describe(3, found, &mut rng);
            assert_eq!(far.rtp_at(), heard.or(Some(found.rtp)));
            // An address that the party signals itself starts over.
            let moved = Remote { rtp: at("198.51.100.9:4000"), ..found };
            far.describe(4, moved, &mut rng);
            assert_eq!(far.rtp_at(), Some(moved.rtp));
        }
    }
}
