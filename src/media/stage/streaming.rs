//! A stream at a party's stage: from received packets to frames for the outside, and from the
//! outside's frames to the encoder.

use std::time::Instant;

use super::TICK_SAMPLES;
use crate::codec::rates::Rates;
use crate::forward::Header;
use crate::remote::Voice;
use crate::room::RoomReceiver;
use crate::rtp::rtcp::Received;
use crate::stream::{Inside, Link, Spoken, StreamEnd};
use b2b_base::util::ntp::NtpTime;

/// Samples per 20 ms at the highest rate of a stream.
const LONGEST: usize = 480;
/// The highest rate of an encoder.
const MOUTH_HZ: u32 = 16_000;

/// The stream of one party.
#[derive(Debug)]
pub struct Streaming {
    line: Inside,
    receiver: RoomReceiver,
    /// Resampler, if the stream's rate is higher than an encoder's.
    rates: Option<Box<Rates>>,
}

impl Streaming {
    /// A stream for a party with this voice; `epoch` is any earlier time.
    pub fn new(line: Inside, epoch: Instant, voice: &Voice) -> Self {
        let rate_hz = line.spec().rate_hz;
        let receiver = RoomReceiver::new(epoch, rate_hz, voice);
        let rates = (rate_hz > MOUTH_HZ).then(|| Box::new(Rates::new(rate_hz, MOUTH_HZ)));
        Streaming { line, receiver, rates }
    }

    /// Whether the party hears the stream.
    pub fn speaks(&self) -> bool {
        self.line.spec().speaks
    }

    /// Whether it is over and can be ended at once.
    pub fn is_over(&self) -> bool {
        self.line.is_abandoned() || !self.speaks() && self.line.is_finished()
    }

    /// Updates what the party may send.
    pub fn listen(&mut self, voice: &Voice) {
        self.receiver.listen(voice);
    }

    /// Starts another received stream of the party.
    pub fn new_stream(&mut self) {
        self.receiver.new_stream();
    }

    /// Processes a packet of the party; returns whether it was used.
    pub fn packet(&mut self, now: Instant, voice: &Voice, header: &Header, payload: &[u8]) -> bool {
        self.receiver.packet(now, voice, header, payload)
    }

    /// Passes on a digit of the party.
    pub fn digit(&mut self, digit: char) {
        self.line.digit(digit);
    }

    /// Passes the party's audio of the tick due at `due` to the outside; `at` is the same time.
    pub fn hear(&mut self, due: u64, at: Instant, link: impl FnOnce() -> Link) {
        let mut frame = [0; LONGEST];
        let frame = &mut frame[..self.line.spec().tick()];
        let delay_ms = self.receiver.delay_ms().unwrap_or(0.0) as f32;
        let kind = self.receiver.play(at, frame);
        self.line.hear(frame);
        self.line.judge(due, frame, kind, delay_ms, link);
    }

    /// A packet with what was spoken last was sent.
    pub fn sent(&mut self, at: u64, sequence: u16) {
        self.line.sent(at, sequence);
    }

    /// A report of the party arrived at this time; `jitter_ms` is that of what it sends.
    pub fn reported(&mut self, wall: NtpTime, received: &Received, jitter_ms: f32) {
        self.line.reported(wall, received, jitter_ms);
    }

    /// Sampling rate of [`Streaming::speak`], Hz.
    pub fn rate_hz(&self) -> u32 {
        self.line.spec().rate_hz.min(MOUTH_HZ)
    }

    /// Reads what the party hears in this tick.
    pub fn speak(&mut self, frame: &mut [i16]) -> Spoken {
        let Some(rates) = &mut self.rates else { return self.line.speak(frame) };
        let mut wide = [0; LONGEST];
        let wide = &mut wide[..self.line.spec().tick()];
        let spoken = self.line.speak(wide);
        let mut made = [0; TICK_SAMPLES];
        let count = rates.process(wide, &mut made).min(frame.len());
        frame[..count].copy_from_slice(&made[..count]);
        spoken
    }

    /// Whether the line was cleared, so that its unsent samples must be discarded.
    pub fn is_cut(&mut self) -> bool {
        let cut = self.line.is_cut();
        if let Some(rates) = self.rates.as_mut().filter(|_| cut) {
            rates.forget();
        }
        cut
    }

    /// Ends the stream.
    pub fn end(mut self: Box<Self>, why: StreamEnd) {
        self.line.end(why);
    }
}
