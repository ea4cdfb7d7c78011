//! Converts a party's packets to frames at the room's rate, on the room's ticks.

use std::time::Instant;

use crate::forward::Header;
use crate::jitter::JitterBuffer;
use crate::remote::Voice;
use b2b_base::frame::FrameKind;

/// Minimum delay, ms: it covers the jitter of most networks.
const JITTER_MS: u32 = 40;

/// The receiver of one party. About 20 KB if only G.711 is received at 8 kHz, otherwise 60 KB.
pub struct RoomReceiver {
    buffer: JitterBuffer,
    /// It has received what the room says.
    spoken_to: bool,
}

impl RoomReceiver {
    /// A receiver in its initial state; `epoch` is any earlier time.
    pub fn new(epoch: Instant, rate_hz: u32, voice: &Voice) -> Self {
        let mut receiver =
            RoomReceiver { buffer: JitterBuffer::new(epoch, JITTER_MS, rate_hz), spoken_to: false };
        receiver.listen(voice);
        receiver
    }

    /// Sets the codecs that the party may send.
    pub fn listen(&mut self, voice: &Voice) {
        self.buffer.receive(voice.codecs());
    }

    /// Whether the party has put the room on hold: it received once, and no longer does (RFC 3264 §8.4). The music that it
    /// sends meanwhile is not for the room. A party that never receives is a speaker.
    pub fn is_on_hold(&mut self, receives: bool) -> bool {
        self.spoken_to |= receives;
        self.spoken_to && !receives
    }

    /// Processes a packet; returns whether it was used.
    pub fn packet(&mut self, now: Instant, voice: &Voice, header: &Header, payload: &[u8]) -> bool {
        let Some(codec) = voice.codec(header.payload_type) else { return false };
        let (sequence, timestamp) = (header.sequence, header.timestamp);
        let taken = self.buffer.payload(codec, sequence, timestamp, now, payload, None);
        taken == crate::jitter::Inserted::InTime
    }

    /// Starts another stream of the party.
    pub fn new_stream(&mut self) {
        self.buffer.new_source();
    }

    /// Plays the 20 ms of this tick; returns what they are.
    pub fn play(&mut self, at: Instant, frame: &mut [i16]) -> FrameKind {
        self.buffer.play(at, frame).kind
    }

    /// The delay of what is played next, ms; `None` before the first packet.
    pub fn delay_ms(&self) -> Option<f64> {
        self.buffer.delay_ms()
    }
}

impl std::fmt::Debug for RoomReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomReceiver").finish_non_exhaustive()
    }
}
