//! Playout of received audio: through the jitter buffer into the sink, one frame per tick.

use std::time::Instant;

use super::inband::InBand;
use super::meter::Meter;
use super::params::LocalConfig;
use super::record::Verdict;
use super::{CATCH_UP, TICK};
use crate::Now;
use crate::codec::Codec;
use crate::conference::Participant;
use crate::forward::Header;
use crate::jitter::{Inserted, JitterBuffer};
use crate::mix::apply_gain;
use b2b_base::frame::{FrameKind, FrameSink, InFrame};
use b2b_base::util::ntp::NtpTime;

/// Maximum frames played out when an endpoint closes.
const LAST_FRAMES: u32 = 20;
/// Maximum delay by a capture time; a longer one means that the clocks differ.
const BELIEVABLE_DELAY_MS: f64 = 10_000.0;

/// The playout of one endpoint.
pub(crate) struct Playout {
    pub buffer: JitterBuffer,
    pub sink: Option<Box<dyn FrameSink>>,
    in_band: Option<Box<InBand>>,
    /// The frame being played.
    frame: Box<[i16]>,
    pub heard: Meter,
    pub gain: f32,
    next: Option<Instant>,
    /// Codec of the last audio packet.
    pub codec: Option<Codec>,
    pub late: u64,
    /// Payloads that their codec could not decode.
    pub undecodable: u64,
    /// Mouth-to-ear delay, smoothed, ms.
    pub delay_ms: Option<f64>,
    pub concealed: u64,
    /// Number of times that concealment began.
    pub bursts: u64,
    concealing: bool,
    pub skipped_ticks: u64,
}

impl Playout {
    pub fn new(epoch: Instant, config: &LocalConfig) -> Self {
        let buffer = JitterBuffer::new(epoch, config.jitter_ms, config.rate_hz());
        Playout {
            sink: None,
            in_band: config.detect_digits.then(|| Box::new(InBand::new(config.rate_hz()))),
            frame: vec![0; buffer.frame()].into_boxed_slice(),
            buffer,
            heard: Meter::default(),
            gain: 1.0,
            next: None,
            codec: None,
            late: 0,
            undecodable: 0,
            delay_ms: None,
            concealed: 0,
            bursts: 0,
            concealing: false,
            skipped_ticks: 0,
        }
    }

    /// Starts at this tick if not started. It also runs without a sink: packets are still judged.
    pub fn start(&mut self, tick: Instant) {
        self.next.get_or_insert(tick);
    }

    /// The next tick.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Skips ticks due before `limit`, if playout stalled for too long.
    pub fn skip_before(&mut self, limit: Instant, now: Instant) {
        let stood_still = self.next.is_some_and(|due| due + CATCH_UP < now);
        while let Some(tick) = self.next.filter(|tick| stood_still && *tick < limit) {
            self.next = Some(tick + TICK);
            self.skipped_ticks += 1;
        }
    }

    /// Processes an audio payload.
    pub fn payload(
        &mut self,
        codec: Codec,
        header: &Header,
        arrival: Instant,
        payload: &[u8],
        captured_at: Option<NtpTime>,
    ) -> Verdict {
        self.codec = Some(codec);
        let (sequence, timestamp) = (header.sequence, header.timestamp);
        match self.buffer.payload(codec, sequence, timestamp, arrival, payload, captured_at) {
            Inserted::InTime => Verdict::Played,
            Inserted::Implausible => Verdict::Implausible,
            Inserted::Undecodable => {
                self.undecodable += 1;
                Verdict::Malformed
            }
            Inserted::Late => {
                self.late += 1;
                Verdict::Late
            }
        }
    }

    /// Plays the frame of this tick, if it is due.
    pub fn play(&mut self, now: Now, tick: Instant, participant: Option<&mut Participant>) {
        if self.next.is_none_or(|next| next > tick) {
            return;
        }
        self.next = Some(tick + TICK);
        let played = self.buffer.play(tick, &mut self.frame);
        if let Some(in_band) = &mut self.in_band {
            in_band.frame(&self.frame);
        }
        let concealed = played.kind == FrameKind::Concealed;
        self.concealed += u64::from(concealed);
        self.bursts += u64::from(concealed && !self.concealing);
        self.concealing = concealed;
        if self.gain != 1.0 {
            apply_gain(&mut self.frame, self.gain);
        }
        if let Some(participant) = participant {
            participant.heard(&mut self.frame);
        }
        self.heard.add(&self.frame, TICK.as_millis() as u32);
        if let Some(captured_at) = played.captured_at.filter(|_| played.kind == FrameKind::Audio) {
            let delay = now.wall_at(tick).millis_since(captured_at);
            if (0.0..BELIEVABLE_DELAY_MS).contains(&delay) {
                self.delay_ms = Some(self.delay_ms.map_or(delay, |mean| mean + (delay - mean) / 64.0));
            }
        }
        let Some(sink) = &mut self.sink else { return };
        sink.frame(&InFrame { samples: &self.frame, captured_at: played.captured_at, kind: played.kind });
    }

    /// Plays what the jitter buffer still holds, at once, as the call is over.
    pub fn play_out(&mut self, now: Now, mut participant: Option<&mut Participant>) {
        // The last frame may be incomplete, which is not a loss.
        let before = (self.concealed, self.bursts);
        for _ in 0..LAST_FRAMES {
            let Some(tick) = self.next.filter(|_| self.buffer.holds_any()) else { break };
            self.play(now, tick, participant.as_deref_mut());
        }
        (self.concealed, self.bursts) = before;
    }

    /// The next digit detected in the audio, if detection is on.
    pub fn take_digit(&mut self) -> Option<crate::rtp::telephone_event::Digit> {
        self.in_band.as_mut()?.take()
    }
}
