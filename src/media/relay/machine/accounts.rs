//! Reports sent to and received from a leg, and its counters.

use std::net::SocketAddr;
use std::time::Duration;

use super::{BEFORE, Machine, Transmit};
use crate::Now;
use crate::forward::OutSpace;
use crate::local::{Diagnostics, Reception, TICK};
use crate::relay::endpoint::Endpoint;
use crate::relay::{EndpointStats, QualitySample, Totals};
use crate::rtp::rtcp;
use crate::rtp::sequence::Receiving;
use crate::transport::reports::Sending;
use b2b_base::metrics::MediaStats;

impl Machine {
    /// An endpoint's outgoing stream as it stands now, and its current timestamp.
    fn sending(&mut self, at: u64, slot: u32) -> Option<(OutSpace, u32)> {
        let (space, rate) = self.outgoing(slot)?;
        let elapsed = if space.at == 0 { 0 } else { at.saturating_sub(space.at) };
        let timestamp = space.timestamp.wrapping_add((elapsed / 1_000 * u64::from(rate) / 1_000_000) as u32);
        Some((space, timestamp))
    }

    /// An endpoint's outgoing stream including what its feeder has sent, and its clock rate, Hz.
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
        let link = endpoint.far.link(endpoint.state.jitter_ticks(), endpoint.rule.clock_rate);
        let stream = endpoint.stage.as_mut().and_then(|stage| stage.stream());
        if let (Some(stream), Some(received)) = (stream, &theirs) {
            stream.reported(now.wall, received, link.jitter_ms);
        }
        let has_left = endpoint.far.reports.has_left(endpoint.state.last_at);
        let lives = theirs.is_some() && !has_left && endpoint.far.lock.shows_life(source);
        let counts_again = lives && endpoint.far.silence.is_alive(at);
        if let Some((received, local)) = theirs.zip(endpoint.local.as_mut()) {
            local.collisions.check(received.ssrc, ours, source.ip());
        }
        if counts_again {
            self.arm(slot);
        }
    }

    pub(super) fn report(&mut self, now: Now, at: u64, slot: u32, bye: bool, out: &mut impl Transmit) {
        let Some((space, timestamp)) = self.sending(at, slot) else { return };
        let Some(endpoint) = self.at(slot) else { return };
        // Packets and octets sent under this SSRC.
        let before = endpoint.local.as_ref().map_or((0, 0), |local| local.sent_before);
        let (packets, octets) = ((space.packets - before.0) as u32, (space.payload - before.1) as u32);
        let sending = Sending { ssrc: space.ssrc, timestamp, packets, octets };
        let delay_ms = endpoint.local.as_ref().and_then(|local| local.playout.buffer.delay_ms());
        let buffer_ms = delay_ms.map(|ms| ms as u16);
        let receiving = endpoint.receiving().map(|receiving| Receiving { buffer_ms, ..receiving });
        let mut buffer = [0; rtcp::MAX_LEN];
        let report = endpoint.far.report(now, at, (&sending, receiving), bye, &mut buffer);
        if let Some((channel, to, length)) = report {
            out.transmit(slot, channel, to, &buffer[..length]);
        }
    }

    /// The totals of all endpoints, each as of its last report.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Adds an endpoint's counters to the totals, and returns them.
    pub(super) fn add_up(&mut self, slot: u32) -> EndpointStats {
        let stats = self.stats(slot);
        if let Some(endpoint) = self.at(slot) {
            let more = endpoint.accounted().added_up.advance(Totals::from(&stats));
            self.totals.add(&more);
        }
        stats
    }

    /// The same at a report, and adds a quality sample.
    pub(super) fn sample(&mut self, at: u64, slot: u32) {
        let EndpointStats { received, lost, jitter, rtcp, .. } = self.add_up(slot);
        if let Some(endpoint) = self.at(slot) {
            let open = Duration::from_nanos(at.saturating_sub(endpoint.since));
            endpoint.accounted().over_time.add(QualitySample::new(
                open,
                received.packets,
                lost,
                jitter,
                rtcp.rtt_ms,
            ));
        }
    }

    /// The counters with the quality samples up to now.
    pub(super) fn stats_over_time(&mut self, slot: u32) -> EndpointStats {
        let over_time = self.at(slot).map(|it| it.over_time().to_vec()).unwrap_or_default();
        EndpointStats { over_time, ..self.stats(slot) }
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

impl Endpoint {
    /// The counters of its local source and sink; `None` if it has none.
    pub fn heard(&self) -> Option<(MediaStats, Reception)> {
        let local = self.local.as_deref()?;
        let (playout, reports) = (&local.playout, &self.far.reports.stats);
        let lost = self.lost();
        let recovered = playout.buffer.decoded_and_recovered().1;
        let known_delay = || {
            let network = reports.rtt_ms.unwrap_or(0.0) / 2.0;
            playout.buffer.delay_ms().map(|playout| TICK.as_secs_f64() * 1_000.0 + network + playout)
        };
        let reception = Reception {
            codec: playout.codec,
            expected: local.expected_before + u64::from(self.expected()),
            // Recovered packets are not heard as loss.
            missing: (lost + playout.late).saturating_sub(recovered),
            bursts: playout.bursts,
            jitter_ms: local.stats.jitter_now_ms(),
            delay_ms: playout.delay_ms.or_else(known_delay),
            remote_loss_pct: reports.far_fraction_lost.map(|lost| f64::from(lost) / 2.56),
            remote_reports: u64::from(reports.blocks),
        };
        let stats = MediaStats {
            packets_tx: self.out.packets,
            packets_rx: local.packets,
            bytes_tx: self.out.payload,
            bytes_rx: local.octets,
            lost,
            late: playout.late,
            duplicates: local.duplicates,
            reordered: local.reordered,
            injected: self.drops.source,
            unauthenticated: self.drops.unauthenticated + self.drops.replayed,
            concealed: playout.concealed,
            underruns: local.sender.underruns,
            digits: self.far.digits.count.into(),
            jitter_ms_p50: local.stats.jitter_ms(50.0),
            jitter_ms_p95: local.stats.jitter_ms(95.0),
            rtp_gap_ms_max: local.stats.rtp_gap_ms(),
            arrival_gap_ms_max: local.stats.arrival_gap_ms(),
            rtt_ms: reports.rtt_ms,
            mos: reception.mos(),
            in_call: self.far.remote.is_some(),
        };
        Some((stats, reception))
    }

    /// Counters that [`MediaStats`] has no room for.
    pub fn diagnostics(&self) -> Diagnostics {
        let Some(local) = self.local.as_deref() else { return Diagnostics::default() };
        let (decoded, recovered) = local.playout.buffer.decoded_and_recovered();
        Diagnostics {
            malformed: self.drops.malformed
                + self.drops.other_protocol
                + u64::from(self.far.reports.stats.refused),
            unknown_payload: self.drops.payload_type + self.drops.unjoined,
            skipped_packets: local.sender.skipped,
            skipped_ticks: local.playout.skipped_ticks,
            corrections: local.playout.buffer.corrections(),
            collisions: local.collisions.seen,
            refused_digits: self.far.digits.refused(),
            unsent_digits: local.sender.digits.refused,
            undecodable: local.playout.undecodable,
            decoded,
            recovered,
            unprotected: self.drops.send_failed,
            overflowed: local.overflowed,
        }
    }
}
