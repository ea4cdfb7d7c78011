//! The sending half: frames from a source into packets, on absolute deadlines.

use std::time::{Duration, Instant};

use super::CATCH_UP;
use super::digits::{Digits, Place, Slot};
use super::meter::Meter;
use super::params::Adapt;
use crate::Now;
use crate::codec::{Encoder, MAX_PAYLOAD, OpusTuning};
use crate::conference::Participant;
use crate::forward::OutSpace;
use crate::mix::apply_gain;
use crate::remote::SendFormat;
use crate::rtp::RtpHeader;
use b2b_base::frame::{Fill, FrameSource, OutFrame};

/// Maximum packet time, ms.
const LONGEST_MS: u32 = 60;
/// Maximum octets of a packet.
const MAX_PACKET: usize = RtpHeader::MAX_LEN + MAX_PAYLOAD;
/// Loss, percent, for which Opus is encoded if the far end uses redundancy and no better value is
/// known.
const EXPECTED_LOSS: u8 = 5;

/// The sender of one endpoint. SSRC, sequence numbers and timestamps are those of the leg's stream
/// ([`OutSpace`]).
pub(crate) struct Sender {
    rate_hz: u32,
    /// Sequence number of the last packet sent here: if the leg's stream has another one, other
    /// packets were sent since.
    used: Option<u16>,
    /// Timestamp of the first sample of packet 0 of this schedule.
    origin: u32,
    schedule: Option<Schedule>,
    /// The time of `origin`, also while nothing is sent.
    origin_at: Option<Instant>,
    /// Clock rate of the timestamps, Hz, also while nothing is sent.
    ticks_hz: u32,
    encoder: Option<Encoder>,
    adapt: Option<Adapt>,
    samples: Box<[i16]>,
    source: Option<Box<dyn FrameSource>>,
    pub digits: Digits,
    pub muted: bool,
    pub gain: f32,
    /// The place in a conference, if any.
    pub participant: Option<Box<Participant>>,
    pub meter: Meter,
    marker: bool,
    ended: bool,
    pub underruns: u64,
    /// Packets not sent because the thread got no CPU time for too long.
    pub skipped: u64,
}

/// The format of sent packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub send: SendFormat,
    pub events: Option<(u8, u32)>,
    pub abs_capture_time_id: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    format: Format,
    next: u32,
}

impl Schedule {
    fn ptime(&self) -> Duration {
        Duration::from_millis(u64::from(self.format.send.ptime_ms))
    }

    /// Packet n is sent at start + n · ptime, whenever the earlier ones were sent.
    fn deadline(&self, n: u32) -> Instant {
        self.start + self.ptime() * n
    }
}

/// The outcome of [`Sender::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Packet,
    /// The source ended before this packet, which is the first one without it.
    SourceEnded,
}

impl Sender {
    /// A sender for frames of this rate.
    pub fn new(rate_hz: u32) -> Self {
        Sender {
            rate_hz,
            used: None,
            origin: 0,
            schedule: None,
            origin_at: None,
            ticks_hz: 8_000,
            encoder: None,
            adapt: None,
            samples: vec![0; (rate_hz * LONGEST_MS / 1_000) as usize].into_boxed_slice(),
            source: None,
            digits: Digits::default(),
            muted: false,
            gain: 1.0,
            participant: None,
            meter: Meter::default(),
            marker: true,
            ended: false,
            underruns: 0,
            skipped: 0,
        }
    }

    /// The timestamp of a time, which is `ns` on the clock of the leg's stream.
    pub fn timestamp_at(&self, at: Instant, ns: u64, space: &OutSpace) -> u32 {
        match self.origin_at.filter(|_| self.used == Some(space.sequence)) {
            Some(origin_at) => self.origin.wrapping_add(ticks_between(origin_at, at, self.ticks_hz)),
            None => space.timestamp_at(ns, self.ticks_hz),
        }
    }

    /// Clock rate, Hz, of what it sends, or sent last.
    pub fn ticks_hz(&self) -> u32 {
        self.ticks_hz
    }

    /// Sends in this format from `first` on, which is `ns` for the leg's stream; timestamps include
    /// the time since its last packet. Does nothing if nothing changes, and stops if there is no
    /// source. The codec's state is allocated here.
    pub fn start(
        &mut self,
        (first, ns): (Instant, impl Fn(Instant) -> u64),
        format: Format,
        space: &OutSpace,
    ) {
        if self.source.is_none() {
            return self.stop();
        }
        let (codec, ticks_hz) = (format.send.codec, format.send.codec.clock_rate());
        let tuning = self.tuning(&format.send);
        match &mut self.encoder {
            Some(encoder) if encoder.codec() == codec => encoder.tune(tuning),
            encoder => *encoder = Some(Encoder::new(codec, self.rate_hz, tuning)),
        }
        let first = match &mut self.schedule {
            Some(schedule)
                if schedule.format.send.ptime_ms == format.send.ptime_ms && self.ticks_hz == ticks_hz =>
            {
                schedule.format = format;
                return;
            }
            Some(schedule) => schedule.deadline(schedule.next),
            None => {
                self.marker = true;
                first
            }
        };
        // The time up to here counts in the previous clock rate (RFC 7160 §4.2).
        self.origin = self.timestamp_at(first, ns(first), space);
        self.origin_at = Some(first);
        self.ticks_hz = ticks_hz;
        self.schedule = Some(Schedule { start: first, format, next: 0 });
    }

    /// Stops sending until the next `start`.
    pub fn stop(&mut self) {
        self.schedule = None;
        self.digits.clear();
    }

    /// Changes the robustness of the Opus encoding.
    pub fn adapt(&mut self, adapt: Adapt) {
        self.adapt = Some(adapt);
        if let Some(schedule) = &self.schedule {
            let tuning = self.tuning(&schedule.format.send);
            if let Some(encoder) = &mut self.encoder {
                encoder.tune(tuning);
            }
        }
    }

    fn tuning(&self, format: &SendFormat) -> OpusTuning {
        let unknown = Adapt { expected_loss_pct: EXPECTED_LOSS, bitrate: OpusTuning::bitrate(self.rate_hz) };
        let Adapt { expected_loss_pct, bitrate } = self.adapt.unwrap_or(unknown);
        format.tuning(bitrate, expected_loss_pct)
    }

    /// Whether packets are sent.
    pub fn sends(&self) -> bool {
        self.schedule.is_some()
    }

    /// Replaces the source; the new one has not ended.
    pub fn new_source(&mut self, source: Box<dyn FrameSource>) {
        self.source = Some(source);
        self.ended = false;
        self.marker = true;
    }

    /// When the next packet is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.schedule.map(|schedule| schedule.deadline(schedule.next))
    }

    /// Skips packets due before `limit`, if sending stalled for too long; timestamps follow the
    /// time.
    pub fn skip_before(&mut self, limit: Instant, now: Instant) {
        let Some(schedule) = &mut self.schedule else { return };
        if schedule.deadline(schedule.next) + CATCH_UP >= now {
            return;
        }
        while schedule.deadline(schedule.next) < limit {
            schedule.next += 1;
            self.skipped += 1;
            self.marker = true;
        }
    }

    /// Builds the next due packet, at `at` for the leg's stream, and hands it to `transmit`.
    pub fn send(
        &mut self,
        now: Now,
        (at, space): (u64, &mut OutSpace),
        transmit: impl FnOnce(&[u8]),
    ) -> Option<Sent> {
        let (schedule, source) = self.schedule.as_mut().zip(self.source.as_mut())?;
        let deadline = schedule.deadline(schedule.next);
        let Format { send: format, events, abs_capture_time_id } = schedule.format;
        let samples = &mut self.samples[..(format.ptime_ms * self.rate_hz / 1_000) as usize];
        samples.fill(0);
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
        if self.muted {
            samples.fill(0);
        } else if self.gain != 1.0 {
            apply_gain(samples, self.gain);
        }
        if let Some(participant) = &mut self.participant {
            participant.sent(samples);
        }
        let step = format.ptime_ms * (self.ticks_hz / 1_000);
        let timestamp = self.origin.wrapping_add(schedule.next.wrapping_mul(step));
        let place = Place { timestamp, ptime_ms: format.ptime_ms, rate_hz: self.rate_hz, events };
        let digit = self.digits.next(place, samples);
        // The first packet has the marker, and so has the first audio after silence (RFC 3551
        // §4.1).
        let speaks = match digit {
            Slot::Source if self.participant.is_some() => true,
            Slot::Source => matches!(fill, Some((Fill::Audio | Fill::Underrun, _))) && !self.muted,
            Slot::Sound => true,
            Slot::Event { .. } => false,
        };
        let mut packet = [0; MAX_PACKET];
        let (head, room) = packet.split_at_mut(RtpHeader::MAX_LEN);
        let mut header = RtpHeader {
            abs_capture_time: abs_capture_time_id.map(|id| (id, captured_at.0)),
            ..space.header(
                self.marker && (speaks || self.used.is_none()),
                format.payload_type,
                space.sequence.wrapping_add(1),
                timestamp,
            )
        };
        let payload = if let Slot::Event { payload_type, timestamp, payload, first } = digit {
            header = RtpHeader { marker: first, payload_type, timestamp, abs_capture_time: None, ..header };
            room[..payload.len()].copy_from_slice(&payload);
            Some(payload.len())
        } else {
            self.meter.add(samples, format.ptime_ms);
            self.encoder.as_mut().and_then(|encoder| encoder.encode(samples, room))
        };
        self.marker = !speaks;
        schedule.next += 1;
        // A codec failure leaves a gap in time, but not in sequence numbers.
        if let Some(payload_len) = payload {
            let mut written = [0; RtpHeader::MAX_LEN];
            let header_len = header.write(&mut written);
            // The header directly precedes the payload, whatever its length.
            let start = RtpHeader::MAX_LEN - header_len;
            head[start..].copy_from_slice(&written[..header_len]);
            let len = header_len + payload_len;
            transmit(&packet[start..start + len]);
            space.sent(header.sequence, timestamp, at, len, payload_len);
            self.used = Some(header.sequence);
        }
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

fn ticks_between(from: Instant, to: Instant, ticks_hz: u32) -> u32 {
    let ticks = |span: Duration| (span.as_nanos() * u128::from(ticks_hz) / 1_000_000_000) as u32;
    match to.checked_duration_since(from) {
        Some(span) => ticks(span),
        None => ticks(from.duration_since(to)).wrapping_neg(),
    }
}
