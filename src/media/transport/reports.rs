//! RTCP of one endpoint, which terminates here (RFC 3550 §6): when reports are due, their contents,
//! and what the far end's reports say. We report what we received from it and sent to it.
//!
//! Times are ns since the owner's epoch; 0 means none.

mod snapshot;

use rand::RngExt;
use rand::rngs::StdRng;

pub(crate) use snapshot::ReportsSnapshot;

use crate::rtp::rtcp::{self, MAX_LEN, Received, Report, ReportBlock, SenderInfo, VoipMetrics};
use crate::rtp::sequence::Receiving;
use b2b_base::util::ntp::NtpTime;

/// Tmin, ns. With two parties the bandwidth share allows shorter intervals, so only this bound
/// matters.
const INTERVAL: f64 = 5e9;
/// Timer reconsideration makes intervals shorter; this factor compensates (§6.3.1).
const COMPENSATION: f64 = 1.218_28;
/// The cumulative loss of a report block is a signed 24-bit number (§6.4.1).
const MOST_LOST: i64 = 0x7F_FFFF;

/// RTCP counters, and what the far end reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RtcpStats {
    /// Compound packets sent.
    pub sent: u32,
    /// Compound packets received and read.
    pub received: u32,
    /// Received packets that were not RTCP, or from an unknown source.
    pub refused: u32,
    /// Round-trip time to the far end, ms.
    pub rtt_ms: Option<f64>,
    /// Received report blocks about our stream.
    #[serde(default)]
    pub blocks: u32,
    /// Loss of our packets that the far end reports, in 256ths of the last interval.
    pub far_fraction_lost: Option<u8>,
    /// The same since the start, in packets.
    pub far_lost: Option<i32>,
    /// Reports in a row up to the last that say nothing of our stream, though we were sending.
    #[serde(default)]
    pub unreported: u32,
    /// Whether the far end has sent BYE.
    pub bye: bool,
}

impl RtcpStats {
    /// Whether the far end sends reports, and the last ones say nothing of what is sent to it. The first
    /// may have crossed the first packets.
    pub fn reports_nothing(&self) -> bool {
        self.unreported >= 2
    }
}

/// Our stream, as reported in a sender report.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// Our SSRC.
    pub ssrc: u32,
    /// The stream's current timestamp.
    pub timestamp: u32,
    /// Packets sent under this SSRC.
    pub packets: u32,
    /// Payload octets sent under this SSRC.
    pub octets: u32,
}

/// State of reporting.
#[derive(Debug, Clone, Copy)]
pub struct Reports {
    /// When the next report is due; 0 before the first offer and answer.
    pub due: u64,
    /// Counters of both sides.
    pub stats: RtcpStats,
    /// RFC 7022 §4.2: a random CNAME reveals nothing about our identity or location.
    cname: [u8; 24],
    /// Packets sent up to the last report, and up to the one before it.
    sent: [u32; 2],
    /// The far end's stream at the last report: SSRC, packets expected and received.
    prior: (u32, u32, u32),
    /// Last SR of the far end: the middle of its NTP time, and its arrival time; 0 if there was none.
    last_sr: u32,
    last_sr_at: u64,
    /// When the far end last said BYE, tenths of a second; 0 if it has not.
    left_at: u32,
}

impl Reports {
    /// The initial state: no report is due yet.
    pub fn new(rng: &mut StdRng) -> Self {
        let cname = std::array::from_fn(|_| b"0123456789abcdef"[usize::from(rng.random::<u8>() & 0x0F)]);
        let stats = RtcpStats::default();
        Reports {
            due: 0,
            stats,
            cname,
            sent: [0; 2],
            prior: (0, 0, 0),
            last_sr: 0,
            last_sr_at: 0,
            left_at: 0,
        }
    }

    /// Starts reporting; the first interval is half as long (§6.2).
    pub fn start(&mut self, at: u64, rng: &mut StdRng) {
        if self.due == 0 {
            self.due = at + interval(rng) / 2;
        }
    }

    /// Schedules the next report one interval after `at`.
    pub fn schedule(&mut self, at: u64, rng: &mut StdRng) {
        self.due = at + interval(rng);
    }

    /// Records that the far end's stream restarts, under the same SSRC or another.
    pub fn new_stream(&mut self) {
        self.prior = (0, 0, 0);
    }

    /// Whether the far end has said BYE, and sent no media since: some say it for one stream and go on with another.
    pub fn has_left(&self, last_media_at: u64) -> bool {
        self.left_at != 0 && tenths(last_media_at) <= self.left_at
    }

    /// Records that our SSRC has changed (§8.2).
    pub fn new_ssrc(&mut self) {
        self.sent = [0; 2];
        self.stats.unreported = 0;
    }

    /// Writes a compound packet and returns its length.
    pub fn write(
        &mut self,
        (wall, at): (NtpTime, u64),
        sending: &Sending,
        receiving: Option<Receiving>,
        bye: bool,
        buffer: &mut [u8; MAX_LEN],
    ) -> usize {
        // A sender is a party that has sent since the report before the last (§6.4).
        let sender = (sending.packets > self.sent[1]).then_some(SenderInfo {
            ntp: wall.0,
            rtp: sending.timestamp,
            packets: sending.packets,
            octets: sending.octets,
        });
        self.sent = [sending.packets, self.sent[0]];
        let block = receiving.map(|receiving| self.block(&receiving, at));
        self.stats.sent += 1;
        let metrics = receiving.and_then(|it| {
            let loss_rate = fraction(it.expected.saturating_sub(it.received), it.expected);
            it.buffer_ms.map(|buffer_ms| VoipMetrics { loss_rate, buffer_ms })
        });
        Report { ssrc: sending.ssrc, sender, block, metrics, cname: &self.cname, bye }.write(buffer)
    }

    fn block(&mut self, receiving: &Receiving, at: u64) -> ReportBlock {
        let Receiving { ssrc, expected, received, .. } = *receiving;
        let (_, expected_prior, received_prior) =
            Some(self.prior).filter(|it| it.0 == ssrc).unwrap_or_default();
        // It can be fewer than before, if missing packets were forgiven.
        let due = expected.saturating_sub(expected_prior);
        let lost = due.saturating_sub(received.saturating_sub(received_prior));
        self.prior = (ssrc, expected, received);
        let since = if self.last_sr_at == 0 { 0 } else { at.saturating_sub(self.last_sr_at) };
        let cumulative = (i64::from(expected) - i64::from(received)).clamp(-MOST_LOST - 1, MOST_LOST);
        ReportBlock {
            ssrc,
            fraction_lost: fraction(lost, due),
            cumulative_lost: cumulative as i32,
            highest_sequence: receiving.highest,
            jitter: receiving.jitter,
            lsr: self.last_sr,
            dlsr: (u128::from(since) * 65_536 / 1_000_000_000) as u32,
        }
    }

    /// Processes a compound packet of the far end, received at this time; `ours` is our SSRC.
    /// Returns its contents; `None` if it is not RTCP, which is counted.
    pub fn received(&mut self, (wall, at): (NtpTime, u64), datagram: &[u8], ours: u32) -> Option<Received> {
        let Ok(received) = rtcp::parse(datagram, ours) else {
            self.stats.refused += 1;
            return None;
        };
        self.stats.received += 1;
        if received.bye {
            (self.stats.bye, self.left_at) = (true, tenths(at));
        }
        if let Some(info) = received.sender {
            (self.last_sr, self.last_sr_at) = (NtpTime(info.ntp).middle(), at);
        }
        if let Some(block) = received.block {
            self.stats.rtt_ms = rtcp::round_trip_ms(&block, wall.middle()).or(self.stats.rtt_ms);
            self.stats.blocks += 1;
            self.stats.unreported = 0;
            self.stats.far_fraction_lost = Some(block.fraction_lost);
            self.stats.far_lost = Some(block.cumulative_lost);
        } else if self.sent[0] > self.sent[1] {
            self.stats.unreported = self.stats.unreported.saturating_add(1);
        }
        Some(received)
    }
}

/// Packets lost of those due, in 256ths.
fn fraction(lost: u32, due: u32) -> u8 {
    (u64::from(lost) * 256).checked_div(u64::from(due)).unwrap_or(0).min(255) as u8
}

/// A time in ns as tenths of a second from 1 on: what is small beside a packet's way.
fn tenths(at: u64) -> u32 {
    u32::try_from(at / 100_000_000 + 1).unwrap_or(u32::MAX)
}

fn interval(rng: &mut StdRng) -> u64 {
    (INTERVAL * (0.5 + rng.random::<f64>()) / COMPENSATION) as u64
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SENDING: Sending = Sending { ssrc: 9, timestamp: 7, packets: 0, octets: 0 };

    fn report(reports: &mut Reports, sending: Sending, receiving: Option<Receiving>) -> rtcp::Received {
        let mut buffer = [0; MAX_LEN];
        let len = reports.write((NtpTime(1 << 40), 5_000_000_000), &sending, receiving, false, &mut buffer);
        rtcp::parse(&buffer[..len], 7).expect("RTCP")
    }

    #[test]
    fn a_block_has_the_loss_of_its_interval_and_of_all_time() {
        let mut reports = Reports::new(&mut StdRng::seed_from_u64(1));
        let stream =
            Receiving { ssrc: 7, expected: 7, received: 6, highest: 104, jitter: 3, buffer_ms: None };
        let block = report(&mut reports, SENDING, Some(stream)).block.expect("a block");
        assert_eq!((block.fraction_lost, block.cumulative_lost, block.highest_sequence), (36, 1, 104));
        let stream = Receiving { expected: 8, received: 7, highest: 105, ..stream };
        let block = report(&mut reports, SENDING, Some(stream)).block.expect("a block");
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1), "the next interval");
        let stream = Receiving { expected: 7, received: 8, ..stream };
        let block = report(&mut reports, SENDING, Some(stream)).block.expect("a block");
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -1), "some of it was forgiven");
        for next in [8, 7] {
            let stream = Receiving { ssrc: next, expected: 4, received: 2, ..stream };
            report(&mut reports, SENDING, Some(stream));
            assert_eq!(reports.prior, (next, 4, 2), "each stream by itself");
        }
        reports.new_stream();
        let stream = Receiving { expected: 4, received: 2, ..stream };
        assert_eq!(report(&mut reports, SENDING, Some(stream)).block.expect("a block").fraction_lost, 128);
    }

    #[test]
    fn reports_without_our_stream_count_while_we_send() {
        let theirs = |block| {
            let mut buffer = [0; MAX_LEN];
            let report = Report { ssrc: 7, sender: None, block, metrics: None, cname: b"far", bye: false };
            let len = report.write(&mut buffer);
            buffer[..len].to_vec()
        };
        let (silent, now) = (theirs(None), (NtpTime(1 << 40), 5_000_000_000));
        let mut reports = Reports::new(&mut StdRng::seed_from_u64(1));
        let hear = |reports: &mut Reports, packets, datagram: &[u8]| {
            report(reports, Sending { packets, ..SENDING }, None);
            reports.received(now, datagram, SENDING.ssrc);
            (reports.stats.unreported, reports.stats.reports_nothing())
        };
        assert_eq!(hear(&mut reports, 0, &silent), (0, false), "nothing was sent");
        assert_eq!(hear(&mut reports, 50, &silent), (1, false), "it may have crossed");
        assert_eq!(hear(&mut reports, 300, &silent), (2, true));
        assert_eq!(hear(&mut reports, 300, &silent), (2, true), "sending rests");
        let stream = Receiving {
            ssrc: SENDING.ssrc,
            expected: 9,
            received: 9,
            highest: 9,
            jitter: 0,
            buffer_ms: None,
        };
        let block = Reports::new(&mut StdRng::seed_from_u64(2)).block(&stream, 1);
        assert_eq!(hear(&mut reports, 550, &theirs(Some(block))), (0, false), "it hears again");
    }

    #[test]
    fn who_has_sent_since_the_report_before_the_last_is_a_sender() {
        let mut reports = Reports::new(&mut StdRng::seed_from_u64(1));
        assert_eq!(report(&mut reports, SENDING, None).sender, None);
        let sending = Sending { packets: 5, octets: 800, ..SENDING };
        for sends in [true, true, false] {
            assert_eq!(report(&mut reports, sending, None).sender.is_some(), sends);
        }
        reports.new_ssrc();
        let sending = Sending { packets: 1, ..sending };
        assert_eq!(report(&mut reports, sending, None).sender.map(|info| info.packets), Some(1));
    }
}
