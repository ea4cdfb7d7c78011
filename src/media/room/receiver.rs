//! A party's packets to frames at the room's rate, on the room's ticks.

use std::time::Instant;

use crate::forward::Header;
use crate::jitter::JitterBuffer;
use crate::remote::Voice;
use b2b_base::frame::FrameKind;

/// The least delay, ms: what most networks do to packets.
const JITTER_MS: u32 = 40;

/// See the module's text. About 20 KB where only G.711 comes at 8 kHz, else 120 KB.
pub struct RoomReceiver {
    buffer: JitterBuffer,
}

impl RoomReceiver {
    /// A receiver that has heard nothing; `epoch` is any moment before.
    pub fn new(epoch: Instant, rate_hz: u32, voice: &Voice) -> Self {
        let mut receiver = RoomReceiver { buffer: JitterBuffer::new(epoch, JITTER_MS, rate_hz) };
        receiver.listen(voice);
        receiver
    }

    /// What the party may say from now on.
    pub fn listen(&mut self, voice: &Voice) {
        self.buffer.receive(voice.codecs());
    }

    /// Takes a packet; whether it was of use.
    pub fn packet(&mut self, now: Instant, voice: &Voice, header: &Header, payload: &[u8]) -> bool {
        let Some(codec) = voice.codec(header.payload_type) else { return false };
        let taken = self.buffer.payload(codec, header.timestamp, now, payload, None);
        taken == crate::jitter::Inserted::InTime
    }

    /// Another stream of the party's begins.
    pub fn new_stream(&mut self) {
        self.buffer.new_source();
    }

    /// The 20 ms of this tick; whether there was anything.
    pub fn play(&mut self, at: Instant, frame: &mut [i16]) -> bool {
        self.buffer.play(at, frame).kind != FrameKind::Silence
    }
}

impl std::fmt::Debug for RoomReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomReceiver").finish_non_exhaustive()
    }
}
