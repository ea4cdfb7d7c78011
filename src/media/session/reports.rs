//! RTCP of one session: when reports are due (RFC 3550 §6.2, §6.3), what is in
//! them, and what those of the far end say.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::receiver::Receiver;
use super::sender::Sender;
use crate::Now;
use crate::rtp::rtcp::{self, MAX_LEN, Report, ReportBlock, RtcpError, SenderInfo};

/// Tmin. With two parties the share of the bandwidth allows more than this, so
/// it alone decides.
const INTERVAL: Duration = Duration::from_secs(5);
/// Timer reconsideration makes intervals shorter; this makes up for it (§6.3.1).
const COMPENSATION: f64 = 1.218_28;

pub(super) struct Reports {
    rng: StdRng,
    cname: Box<[u8]>,
    due: Option<Instant>,
    /// A packet was sent before the last report too: still a sender (§6.4).
    sent_before: bool,
    /// Last SR of the far end: middle of its NTP time, and when it came.
    last_sr: Option<(u32, Instant)>,
    pub rtt_ms: Option<f64>,
    /// Loss that the far end has told last, percent, and how often it has told.
    pub remote_loss_pct: Option<f64>,
    pub told: u64,
    pub malformed: u64,
}

impl Reports {
    pub fn new(seed: u64, cname: &[u8]) -> Self {
        Reports {
            rng: StdRng::seed_from_u64(seed),
            cname: cname.into(),
            due: None,
            sent_before: false,
            last_sr: None,
            rtt_ms: None,
            remote_loss_pct: None,
            told: 0,
            malformed: 0,
        }
    }

    /// Begins to report; the first interval is half as long (§6.2).
    pub fn start(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = Some(now + self.interval() / 2);
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    fn interval(&mut self) -> Duration {
        INTERVAL.mul_f64((0.5 + self.rng.random::<f64>()) / COMPENSATION)
    }

    /// Writes a compound packet and schedules the next one.
    pub fn report(
        &mut self,
        now: Now,
        bye: bool,
        sender: &mut Sender,
        receiver: &mut Receiver,
        buffer: &mut [u8; MAX_LEN],
    ) -> usize {
        self.due = Some(now.at + self.interval());
        let sends = sender.since_report > 0 || self.sent_before;
        self.sent_before = sender.since_report > 0;
        sender.since_report = 0;
        let (packets, octets) = sender.counts();
        let info = sends.then(|| SenderInfo {
            ntp: now.wall.0,
            rtp: sender.timestamp_at(now.at),
            packets: packets as u32,
            octets: octets as u32,
        });
        let block = receiver.validator.report().map(|loss| {
            let (lsr, dlsr) = match self.last_sr {
                Some((lsr, at)) => {
                    let delay = now.at.saturating_duration_since(at).as_secs_f64() * 65_536.0;
                    (lsr, delay as u32)
                }
                None => (0, 0),
            };
            ReportBlock {
                ssrc: loss.ssrc,
                fraction_lost: loss.fraction,
                cumulative_lost: loss.cumulative,
                highest_sequence: loss.highest,
                jitter: receiver.stats.jitter_ticks(),
                lsr,
                dlsr,
            }
        });
        Report { ssrc: sender.ssrc, sender: info, block, cname: &self.cname, bye }.write(buffer)
    }

    /// Takes a compound packet of the far end; gives the SSRC it is from.
    pub fn received(
        &mut self,
        now: Now,
        arrival: Instant,
        datagram: &[u8],
        ours: u32,
    ) -> Result<u32, RtcpError> {
        let received = rtcp::parse(datagram, ours).inspect_err(|_| self.malformed += 1)?;
        if let Some(info) = received.sender {
            self.last_sr = Some(((info.ntp >> 16) as u32, arrival));
        }
        if let Some(block) = received.block {
            let rtt = rtcp::round_trip_ms(&block, now.wall_at(arrival).middle());
            self.rtt_ms = rtt.or(self.rtt_ms);
            self.remote_loss_pct = Some(f64::from(block.fraction_lost) / 2.56);
            self.told += 1;
        }
        Ok(received.ssrc)
    }
}
