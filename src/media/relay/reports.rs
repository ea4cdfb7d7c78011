//! RTCP of one endpoint: it ends here on both sides (RFC 3550 §6). What we report is
//! what we received from this leg, and sent to it.

use rand::RngExt;
use rand::rngs::StdRng;

use super::RtcpStats;
use crate::Now;
use crate::forward::{ForwardState, OutSpace};
use crate::rtp::rtcp::{self, MAX_LEN, Report, ReportBlock, SenderInfo};

/// Tmin, ns. With two parties the share of the bandwidth allows more than this, so it
/// alone decides.
const INTERVAL: f64 = 5e9;
/// Timer reconsideration makes intervals shorter; this makes up for it (§6.3.1).
const COMPENSATION: f64 = 1.218_28;

/// State of reporting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reports {
    /// When the next report is due, ns; 0 before the first offer and answer.
    pub due: u64,
    pub stats: RtcpStats,
    /// RFC 7022 §4.2: a random CNAME says nothing about who or where we are.
    cname: [u8; 24],
    /// Packets sent up to the last report, and to the one before it.
    sent: [u64; 2],
    expected_prior: u32,
    received_prior: u32,
    /// Last SR of the far end: middle of its NTP time, and when it came.
    last_sr: Option<(u32, u64)>,
}

impl Reports {
    pub fn new(rng: &mut StdRng) -> Self {
        let cname = std::array::from_fn(|_| b"0123456789abcdef"[usize::from(rng.random::<u8>() & 0x0F)]);
        Reports {
            due: 0,
            stats: RtcpStats::default(),
            cname,
            sent: [0; 2],
            expected_prior: 0,
            received_prior: 0,
            last_sr: None,
        }
    }

    /// Begins to report; the first interval is half as long (§6.2).
    pub fn start(&mut self, at: u64, rng: &mut StdRng) {
        if self.due == 0 {
            self.due = at + interval(rng) / 2;
        }
    }

    pub fn schedule(&mut self, at: u64, rng: &mut StdRng) {
        self.due = at + interval(rng);
    }

    /// The far end's stream is another one.
    pub fn new_stream(&mut self) {
        (self.expected_prior, self.received_prior) = (0, 0);
    }

    /// Writes a compound packet. `out` is our stream to this leg, `timestamp` what its
    /// clock shows now; `received` the leg's SSRC and what came from it.
    pub fn write(
        &mut self,
        (now, at): (Now, u64),
        (out, timestamp): (&OutSpace, u32),
        received: Option<(u32, &ForwardState)>,
        bye: bool,
        buffer: &mut [u8; MAX_LEN],
    ) -> usize {
        // A sender is who sent since the report before the last (§6.4).
        let sender = (out.packets > self.sent[1]).then_some(SenderInfo {
            ntp: now.wall.0,
            rtp: timestamp,
            packets: out.packets as u32,
            octets: out.payload as u32,
        });
        self.sent = [out.packets, self.sent[0]];
        let block = received.map(|(ssrc, state)| self.block(ssrc, state, at));
        self.stats.sent += 1;
        Report { ssrc: out.ssrc, sender, block, cname: &self.cname, bye }.write(buffer)
    }

    fn block(&mut self, ssrc: u32, state: &ForwardState, at: u64) -> ReportBlock {
        // Less than before: some of what was missing was forgiven.
        let expected = state.expected().saturating_sub(self.expected_prior);
        let lost = expected.saturating_sub(state.received.wrapping_sub(self.received_prior));
        (self.expected_prior, self.received_prior) = (state.expected(), state.received);
        let fraction = (u64::from(lost) * 256).checked_div(u64::from(expected)).unwrap_or(0).min(255);
        let (lsr, dlsr) = self.last_sr.map_or((0, 0), |(lsr, came)| {
            (lsr, (u128::from(at.saturating_sub(came)) * 65_536 / 1_000_000_000) as u32)
        });
        ReportBlock {
            ssrc,
            fraction_lost: fraction as u8,
            cumulative_lost: i32::try_from(state.lost()).unwrap_or(i32::MAX),
            // One cycle is our own, for what comes before the first packet.
            highest_sequence: state.highest.wrapping_sub(1 << 16),
            jitter: state.jitter_ticks(),
            lsr,
            dlsr,
        }
    }

    /// Takes what the far end reports; `ours` is our SSRC.
    pub fn received(&mut self, now: Now, at: u64, datagram: &[u8], ours: u32) {
        let Ok(received) = rtcp::parse(datagram, ours) else {
            self.stats.refused += 1;
            return;
        };
        self.stats.received += 1;
        self.stats.bye |= received.bye;
        if let Some(info) = received.sender {
            self.last_sr = Some(((info.ntp >> 16) as u32, at));
        }
        if let Some(block) = received.block {
            self.stats.rtt_ms = rtcp::round_trip_ms(&block, now.wall.middle()).or(self.stats.rtt_ms);
            self.stats.far_fraction_lost = Some(block.fraction_lost);
            self.stats.far_lost = Some(block.cumulative_lost);
        }
    }
}

fn interval(rng: &mut StdRng) -> u64 {
    (INTERVAL * (0.5 + rng.random::<f64>()) / COMPENSATION) as u64
}
