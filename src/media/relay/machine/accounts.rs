//! What a leg is told of its streams, and what is told of the leg: reports and counters.

use std::net::SocketAddr;
use std::time::Duration;

use super::{BEFORE, Machine, Transmit};
use crate::Now;
use crate::forward::OutSpace;
use crate::relay::{EndpointStats, Totals};
use crate::rtp::rtcp;
use crate::transport::reports::Sending;

impl Machine {
    /// An endpoint's outgoing stream as it stands now, and what its clock shows.
    fn sending(&mut self, at: u64, slot: u32) -> Option<(OutSpace, u32)> {
        let (space, rate) = self.outgoing(slot)?;
        let elapsed = if space.at == 0 { 0 } else { at.saturating_sub(space.at) };
        let timestamp = space.timestamp.wrapping_add((elapsed / 1_000 * u64::from(rate) / 1_000_000) as u32);
        Some((space, timestamp))
    }

    /// An endpoint's outgoing stream with what its feeder has sent, and ticks a second of it.
    pub(super) fn outgoing(&mut self, slot: u32) -> Option<(OutSpace, u32)> {
        let endpoint = self.at(slot)?;
        let (own, mut space, mut rate) = (endpoint.out, endpoint.out, endpoint.rule.clock_rate);
        let spoken = endpoint.spoken_clock_rate();
        if let Some(peer) = endpoint.peer.and_then(|peer| self.at(peer))
            && peer.peer == Some(slot)
        {
            space = own.with(&peer.rule, &peer.state);
            rate = peer.clock_rate_out();
        }
        if let Some(spoken) = spoken {
            rate = spoken;
        }
        Some((space, rate))
    }

    pub(super) fn rtcp(&mut self, now: Now, at: u64, slot: u32, source: SocketAddr, datagram: &[u8]) {
        let Some(endpoint) = self.at(slot) else { return };
        if !endpoint.far.lock.admits_rtcp(source) {
            endpoint.far.reports.stats.refused += 1;
            return;
        }
        let ours = endpoint.out.ssrc;
        let theirs = endpoint.far.reports.received((now.wall, at), datagram, ours);
        if let Some((ssrc, local)) = theirs.zip(endpoint.local.as_mut()) {
            local.collisions.check(ssrc, ours, source.ip());
        }
    }

    pub(super) fn report(&mut self, now: Now, at: u64, slot: u32, bye: bool, out: &mut impl Transmit) {
        let Some((space, timestamp)) = self.sending(at, slot) else { return };
        let Some(endpoint) = self.at(slot) else { return };
        // Under this SSRC.
        let before = endpoint.local.as_ref().map_or((0, 0), |local| local.sent_before);
        let (packets, octets) = ((space.packets - before.0) as u32, (space.payload - before.1) as u32);
        let sending = Sending { ssrc: space.ssrc, timestamp, packets, octets };
        let receiving = endpoint.receiving();
        let mut buffer = [0; rtcp::MAX_LEN];
        let report = endpoint.far.report(now, at, (&sending, receiving), bye, &mut buffer);
        if let Some((channel, to, length)) = report {
            out.transmit(slot, channel, to, &buffer[..length]);
        }
    }

    /// What all endpoints have come to, each as far as it has been added up.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Adds up an endpoint's counters, and gives them.
    pub(super) fn add_up(&mut self, slot: u32) -> EndpointStats {
        let stats = self.stats(slot);
        if let Some(endpoint) = self.at(slot) {
            let more = endpoint.added_up.advance(Totals::from(&stats));
            self.totals.add(&more);
        }
        stats
    }

    pub(super) fn stats(&mut self, slot: u32) -> EndpointStats {
        let epoch = self.epoch;
        let moment = |at: u64| epoch + Duration::from_nanos(at.saturating_sub(BEFORE));
        let sending = self.sending(0, slot).map(|(space, _)| space);
        match (self.at(slot), sending) {
            (Some(endpoint), Some(space)) => endpoint.stats(&space, moment),
            _ => EndpointStats::new(epoch),
        }
    }
}
