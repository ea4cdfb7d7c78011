//! A stream at a party's stage: its packets to frames for the outside, and frames of the outside to
//! its encoder.

use std::time::Instant;

use super::TICK_SAMPLES;
use crate::codec::rates::Rates;
use crate::forward::Header;
use crate::remote::Voice;
use crate::room::RoomReceiver;
use crate::stream::{Inside, Spoken, StreamEnd};

/// Samples of 20 ms at the highest rate of a stream.
const LONGEST: usize = 480;
/// The highest rate of a encoder.
const MOUTH_HZ: u32 = 16_000;

/// See the module's text.
#[derive(Debug)]
pub struct Streaming {
    line: Inside,
    receiver: RoomReceiver,
    /// From the stream's rate, where no encoder has that.
    rates: Option<Box<Rates>>,
}

impl Streaming {
    /// A stream of a party that speaks so; `epoch` is any moment before.
    pub fn new(line: Inside, epoch: Instant, voice: &Voice) -> Self {
        let rate_hz = line.spec().rate_hz;
        let receiver = RoomReceiver::new(epoch, rate_hz, voice);
        let rates = (rate_hz > MOUTH_HZ).then(|| Box::new(Rates::new(rate_hz, MOUTH_HZ)));
        Streaming { line, receiver, rates }
    }

    /// Whether the party hears it.
    pub fn speaks(&self) -> bool {
        self.line.spec().speaks
    }

    /// Whether it is over without a further word.
    pub fn is_over(&self) -> bool {
        self.line.is_abandoned() || !self.speaks() && self.line.is_finished()
    }

    /// What the party may say from now on.
    pub fn listen(&mut self, voice: &Voice) {
        self.receiver.listen(voice);
    }

    /// Another stream of the party's begins.
    pub fn new_stream(&mut self) {
        self.receiver.new_stream();
    }

    /// Takes a packet of the party's; whether it was of use.
    pub fn packet(&mut self, now: Instant, voice: &Voice, header: &Header, payload: &[u8]) -> bool {
        self.receiver.packet(now, voice, header, payload)
    }

    /// The party has pressed this.
    pub fn digit(&mut self, digit: char) {
        self.line.digit(digit);
    }

    /// What the party says in this tick goes out.
    pub fn hear(&mut self, at: Instant) {
        let mut frame = [0; LONGEST];
        let frame = &mut frame[..self.line.spec().tick()];
        self.receiver.play(at, frame);
        self.line.hear(frame);
    }

    /// Samples a second of [`Streaming::speak`].
    pub fn rate_hz(&self) -> u32 {
        self.line.spec().rate_hz.min(MOUTH_HZ)
    }

    /// What the party hears in this tick.
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

    /// Whether what of it waits to be sent is not to be.
    pub fn is_cut(&mut self) -> bool {
        let cut = self.line.is_cut();
        if let Some(rates) = self.rates.as_mut().filter(|_| cut) {
            rates.forget();
        }
        cut
    }

    /// Ends it.
    pub fn end(mut self: Box<Self>, why: StreamEnd) {
        self.line.end(why);
    }
}
