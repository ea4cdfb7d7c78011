//! The audio path from one leg to the other: received frames pass a small ring and are mixed with the tones
//! in the outbound `fill`.
//!
//! Both ends run on the engine's audio thread, the entrance before the exit in each tick; with the ring they
//! could also run on two threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::level::Level;
use b2b_base::frame::RATE_HZ;
use b2b_base::util::ntp::NtpTime;
use b2b_media::dtmf::Generator;
use b2b_media::mix::{Energy, apply_gain, mix};
use b2b_ua::{Fill, FrameSink, FrameSource, InFrame, OutFrame};

/// Samples of a received frame.
const FRAME: usize = 160;
/// Capacity of the ring in frames; each tick drains it to what is needed.
const RING: usize = 16;
/// Consecutive fills with a leftover frame after which one frame is dropped.
const PATIENCE: u32 = 50;

/// `--mix-gain-in` and `--mix-gain-dtmf`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gains {
    pub input: f32,
    pub tones: f32,
}

/// A received frame in transit.
#[derive(Debug, Clone, Copy)]
struct Received {
    samples: [i16; FRAME],
    length: usize,
    captured_at: Option<NtpTime>,
}

/// Energy of received and sent audio, over the same time.
#[derive(Debug, Default)]
pub(super) struct Loudness {
    received: AtomicU64,
    sent: AtomicU64,
    samples: AtomicU64,
}

impl Loudness {
    fn add(&self, received: Energy, sent: Energy) {
        self.received.fetch_add(received.sum, Ordering::Relaxed);
        self.sent.fetch_add(sent.sum, Ordering::Relaxed);
        self.samples.fetch_add(sent.samples, Ordering::Relaxed);
    }

    /// RMS received and sent, dBov, and the duration in seconds.
    pub(super) fn read(&self) -> (Option<f64>, Option<f64>, f64) {
        let samples = self.samples.load(Ordering::Relaxed);
        let dbov = |sum: &AtomicU64| Energy { sum: sum.load(Ordering::Relaxed), samples }.dbov();
        (dbov(&self.received), dbov(&self.sent), samples as f64 / f64::from(RATE_HZ))
    }
}

/// The sink of the inbound leg, and the source of the outbound leg.
pub(super) fn crossing(tones: Option<Generator>, gains: Gains, loudness: Arc<Loudness>) -> (Entrance, Exit) {
    let (producer, consumer) = RingBuffer::new(RING);
    let level = Level::new(tones.as_ref().map_or(1.0, Generator::duty));
    let exit = Exit {
        ring: consumer,
        current: None,
        started: false,
        waited: 0,
        tones,
        gains,
        level,
        loudness,
        sound: [0.0; FRAME],
    };
    (Entrance { ring: producer }, exit)
}

/// Takes the caller's audio.
#[derive(Debug)]
pub(super) struct Entrance {
    ring: Producer<Received>,
}

impl FrameSink for Entrance {
    fn frame(&mut self, frame: &InFrame<'_>) {
        for piece in frame.samples.chunks(FRAME) {
            let mut received =
                Received { samples: [0; FRAME], length: piece.len(), captured_at: frame.captured_at };
            received.samples[..piece.len()].copy_from_slice(piece);
            // The ring is full while the outbound leg is not up, which needs no old audio.
            let _ = self.ring.push(received);
        }
    }
}

/// Delivers the caller's audio with the tones to the far end.
#[derive(Debug)]
pub(super) struct Exit {
    ring: Consumer<Received>,
    /// A partly sent frame, and how much of it was sent.
    current: Option<(Received, usize)>,
    started: bool,
    /// Consecutive fills that left a frame in the ring.
    waited: u32,
    tones: Option<Generator>,
    gains: Gains,
    level: Level,
    loudness: Arc<Loudness>,
    sound: [f32; FRAME],
}

impl FrameSource for Exit {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        self.drop_surplus(frame.samples.len());
        if let Some(captured_at) = self.receive(frame.samples) {
            frame.captured_at = captured_at;
        }
        let received = Energy::of(frame.samples);
        self.level.hear(&received);
        match &mut self.tones {
            None => apply_gain(frame.samples, self.gains.input),
            Some(tones) => {
                let rms = self.level.tone_rms();
                for piece in frame.samples.chunks_mut(FRAME) {
                    let sound = &mut self.sound[..piece.len()];
                    tones.fill(sound, rms);
                    mix(piece, self.gains.input, sound, self.gains.tones);
                }
            }
        }
        self.loudness.add(received, Energy::of(frame.samples));
        Fill::Audio
    }
}

impl Exit {
    /// Keeps the delay of the ring minimal: at the start only the newest audio is used; later, frames that
    /// stay in the ring, due to clock drift or a burst, are dropped.
    fn drop_surplus(&mut self, wanted: usize) {
        let needed = wanted.div_ceil(FRAME);
        if !self.started {
            self.started = true;
            while self.ring.slots() > needed {
                let _ = self.ring.pop();
            }
        }
        self.waited = if self.ring.slots() > needed { self.waited + 1 } else { 0 };
        if self.waited >= PATIENCE {
            let _ = self.ring.pop();
            self.waited = 0;
        }
    }

    /// Takes received samples and fills the rest with silence. Returns the capture time of the first sample,
    /// if known.
    fn receive(&mut self, samples: &mut [i16]) -> Option<NtpTime> {
        let (mut filled, mut captured_at) = (0, None);
        while filled < samples.len() {
            let next = self.current.take().or_else(|| self.ring.pop().ok().map(|received| (received, 0)));
            let Some((received, used)) = next else { break };
            if filled == 0 {
                let offset = Duration::from_micros(used as u64 * 1_000_000 / u64::from(RATE_HZ));
                captured_at = received.captured_at.map(|time| time.plus(offset));
            }
            let length = (received.length - used).min(samples.len() - filled);
            samples[filled..filled + length].copy_from_slice(&received.samples[used..used + length]);
            filled += length;
            if used + length < received.length {
                self.current = Some((received, used + length));
            }
        }
        samples[filled..].fill(0);
        captured_at
    }
}
