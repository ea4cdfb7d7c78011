//! The sending half: frames from a source into packets, on absolute deadlines.

use std::time::{Duration, Instant};

use super::params::SendFormat;
use crate::frame::{Fill, FrameSource, OutFrame};
use crate::media::Now;
use crate::media::rtp::RtpHeader;

/// Samples of the longest packet sent: 60 ms.
const MAX_SAMPLES: usize = 480;
/// Octets of the longest packet sent.
const MAX_PACKET: usize = RtpHeader::MAX_LEN + MAX_SAMPLES;
const SAMPLE: Duration = Duration::from_micros(125);

/// One outgoing SSRC, sequence and timestamp space for the life of the session.
#[derive(Debug)]
pub(super) struct Sender {
    pub ssrc: u32,
    sequence: u16,
    /// Timestamp of the first sample of packet 0 of this schedule.
    origin: u32,
    schedule: Option<Schedule>,
    /// When `origin` was, also while nothing is sent.
    origin_at: Option<Instant>,
    marker: bool,
    ended: bool,
    pub packets: u64,
    pub octets: u64,
    pub underruns: u64,
    /// Packets not sent because the thread was kept from running for too long.
    pub skipped: u64,
    /// Packets since the last two reports (RFC 3550 §6.4).
    pub since_report: u64,
    /// Packets and octets sent under SSRCs before this one.
    before: (u64, u64),
}

#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    format: SendFormat,
    abs_capture_time_id: Option<u8>,
    next: u32,
}

impl Schedule {
    fn ptime(&self) -> Duration {
        Duration::from_millis(u64::from(self.format.ptime_ms))
    }

    /// Packet n leaves at start + n · ptime, whenever the ones before it left.
    fn deadline(&self, n: u32) -> Instant {
        self.start + self.ptime() * n
    }
}

/// What a call of [`Sender::send`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Packet,
    /// The source ended before this packet, which is the first without it.
    SourceEnded,
}

impl Sender {
    /// Random numbers come from the caller (RFC 3550 §5.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Sender {
            ssrc,
            sequence,
            origin: timestamp,
            schedule: None,
            origin_at: None,
            marker: true,
            ended: false,
            packets: 0,
            octets: 0,
            underruns: 0,
            skipped: 0,
            since_report: 0,
            before: (0, 0),
        }
    }

    /// Goes on under another SSRC (RFC 3550 §8.2).
    pub fn change_ssrc(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
        self.before = (self.packets, self.octets);
    }

    /// Packets and octets under this SSRC: what a sender report counts (§6.4.1).
    pub fn counts(&self) -> (u64, u64) {
        (self.packets - self.before.0, self.octets - self.before.1)
    }

    /// Sends in this format from `first` on; time that went by since the last
    /// schedule is in the timestamps. Does nothing when nothing changes.
    pub fn start(&mut self, first: Instant, format: SendFormat, abs_capture_time_id: Option<u8>) {
        let first = match &mut self.schedule {
            Some(schedule) if schedule.format.ptime_ms == format.ptime_ms => {
                schedule.format = format;
                schedule.abs_capture_time_id = abs_capture_time_id;
                return;
            }
            Some(schedule) => schedule.deadline(schedule.next),
            None => {
                self.marker = true;
                first
            }
        };
        self.origin = self.origin.wrapping_add(samples_between(self.origin_at.unwrap_or(first), first));
        self.origin_at = Some(first);
        self.schedule = Some(Schedule { start: first, format, abs_capture_time_id, next: 0 });
    }

    /// Nothing is sent until the next `start`.
    pub fn stop(&mut self) {
        self.schedule = None;
    }

    /// A new source: it has not ended.
    pub fn new_source(&mut self) {
        self.ended = false;
        self.marker = true;
    }

    /// When the next packet is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.schedule.map(|schedule| schedule.deadline(schedule.next))
    }

    /// Gives up packets that were due before `limit`; timestamps go on with time.
    pub fn skip_before(&mut self, limit: Instant) {
        let Some(schedule) = &mut self.schedule else { return };
        while schedule.deadline(schedule.next) < limit {
            schedule.next += 1;
            self.skipped += 1;
            self.marker = true;
        }
    }

    /// The timestamp of a moment, for sender reports.
    pub fn timestamp_at(&self, at: Instant) -> u32 {
        self.origin.wrapping_add(samples_between(self.origin_at.unwrap_or(at), at))
    }

    /// Makes the packet that is due next and hands it to `transmit`.
    pub fn send(
        &mut self,
        now: Now,
        source: &mut dyn FrameSource,
        transmit: impl FnOnce(&[u8]),
    ) -> Option<Sent> {
        let schedule = self.schedule.as_mut()?;
        let deadline = schedule.deadline(schedule.next);
        let samples_per_packet = schedule.format.ptime_ms as usize * 8;
        let mut samples = [0i16; MAX_SAMPLES];
        let samples = &mut samples[..samples_per_packet.min(MAX_SAMPLES)];
        let slot = now.wall_at(deadline).minus(schedule.ptime());

        let fill = if self.ended {
            None
        } else {
            let mut frame = OutFrame { samples: &mut *samples, captured_at: slot };
            let fill = source.fill(&mut frame);
            let captured_at = frame.captured_at;
            Some((fill, captured_at))
        };
        let captured_at = match fill {
            Some((Fill::Audio, captured_at)) => captured_at,
            Some((Fill::Silence, captured_at)) => {
                samples.fill(0);
                captured_at
            }
            _ => {
                samples.fill(0);
                slot
            }
        };
        // The first packet has the marker, and the first audio after silence
        // (RFC 3551 §4.1).
        let speaks = matches!(fill, Some((Fill::Audio | Fill::Underrun, _)));
        let header = RtpHeader {
            marker: self.marker && (speaks || self.packets == 0),
            payload_type: schedule.format.payload_type,
            sequence: self.sequence,
            timestamp: self.origin.wrapping_add(schedule.next.wrapping_mul(samples.len() as u32)),
            ssrc: self.ssrc,
            abs_capture_time: schedule.abs_capture_time_id.map(|id| (id, captured_at.0)),
        };
        self.marker = !speaks;

        let mut packet = [0; MAX_PACKET];
        let (head, _) = packet.split_first_chunk_mut().expect("MAX_PACKET holds the longest header");
        let header_len = header.write(head);
        let payload_len = schedule.format.codec.encode(samples, &mut packet[header_len..]);
        transmit(&packet[..header_len + payload_len]);

        schedule.next += 1;
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.octets += payload_len as u64;
        self.since_report += 1;
        match fill {
            Some((Fill::Underrun, _)) => self.underruns += 1,
            Some((Fill::End, _)) => {
                self.ended = true;
                return Some(Sent::SourceEnded);
            }
            _ => {}
        }
        Some(Sent::Packet)
    }
}

fn samples_between(from: Instant, to: Instant) -> u32 {
    let samples = |span: Duration| (span.as_nanos() / SAMPLE.as_nanos()) as u32;
    match to.checked_duration_since(from) {
        Some(span) => samples(span),
        None => samples(from.duration_since(to)).wrapping_neg(),
    }
}
