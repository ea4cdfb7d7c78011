//! Payloads to be decoded in the order of the line, not of their arrival.
//!
//! A stateful decoder (G.722, Opus, a resampler) must get packets in the order in which they were
//! sent. A payload is therefore kept until playout needs it: the whole delay of the buffer is
//! available for reordering, what is missing then is lost, and the next packet is usually there
//! with the redundancy that Opus carries.

use super::line::{Content, Line, SLOTS, Slot};
use crate::codec::{Codec, Decoder, LONGEST_MS};

/// Maximum octets of a payload: what a datagram holds on Ethernet.
const MOST: usize = 1_472;
/// Slots that have memory from the beginning: 320 ms of packets. Only a stream with more jitter makes it grow, at
/// most twice, to all slots.
const USUAL: usize = 16;
/// Maximum concealment by a decoder for one loss, and the length of its final fade, ms.
const MADE_UP_MS: usize = 120;
const FADE_MS: usize = 20;

pub(super) struct Pending {
    rate_hz: usize,
    decoders: Vec<Decoder>,
    /// The decoder used last.
    last: usize,
    /// For each slot the codec and the length of its payload, and the payloads.
    kept: [(Codec, usize); SLOTS],
    payloads: Vec<u8>,
    samples: Box<[i16]>,
    /// Everything up to here is decoded, concealed or given up.
    pub done: i64,
    /// Samples concealed since the last packet.
    made_up: usize,
    /// Losses recovered from the next packet.
    pub recovered: u64,
    /// Packets decoded.
    pub decoded: u64,
}

impl Pending {
    pub fn new(rate_hz: u32, codecs: impl Iterator<Item = Codec>) -> Self {
        let mut pending = Pending {
            rate_hz: rate_hz as usize,
            decoders: Vec::new(),
            last: 0,
            kept: [(Codec::Pcmu, 0); SLOTS],
            payloads: vec![0; USUAL * MOST],
            samples: vec![0; (rate_hz * LONGEST_MS / 1_000) as usize].into_boxed_slice(),
            done: i64::MIN,
            made_up: usize::MAX,
            recovered: 0,
            decoded: 0,
        };
        pending.receive(codecs);
        pending
    }

    /// Creates missing decoders; existing ones keep their state.
    pub fn receive(&mut self, codecs: impl Iterator<Item = Codec>) {
        for codec in codecs {
            if !self.decoders.iter().any(|decoder| decoder.codec() == codec) {
                self.decoders.push(Decoder::new(codec, self.rate_hz as u32));
            }
        }
    }

    /// Whether a payload can be kept.
    pub fn takes(&self, codec: Codec, payload: &[u8]) -> bool {
        payload.len() <= MOST && self.decoders.iter().any(|decoder| decoder.codec() == codec)
    }

    /// Keeps the payload of a slot.
    pub fn keep(&mut self, slot: usize, codec: Codec, payload: &[u8]) {
        let payload = &payload[..payload.len().min(MOST)];
        if self.payloads.len() < (slot + 1) * MOST {
            let slots = (slot + 1).next_power_of_two().min(SLOTS);
            self.payloads.reserve_exact(slots * MOST - self.payloads.len());
            self.payloads.resize(slots * MOST, 0);
        }
        self.kept[slot] = (codec, payload.len());
        self.payloads[slot * MOST..][..payload.len()].copy_from_slice(payload);
    }

    /// Decodes onto the line up to `limit`, as far as there is anything to decode or conceal. What
    /// lies before `position` was played.
    pub fn decode_until(&mut self, line: &mut Line, position: i64, limit: i64) {
        self.done = self.done.max(position);
        loop {
            let next = line.next_payload();
            match next {
                // Most of it is past. Overlapping packets thus cost at most twice the decoding of
                // normal ones.
                Some((index, slot)) if (self.done - slot.start) * 2 > slot.len => {
                    line.change(index, Content::Payload, 0);
                }
                Some((index, slot)) if slot.start < limit && slot.start <= self.done => {
                    self.decode(line, index, slot);
                }
                _ if self.done >= limit => return,
                _ => self.hole(line, next, limit),
            }
        }
    }

    fn decode(&mut self, line: &mut Line, index: usize, slot: Slot) {
        let (codec, octets) = self.kept[index];
        let payload = &self.payloads[index * MOST..][..octets];
        let Some(place) = self.decoders.iter().position(|decoder| decoder.codec() == codec) else {
            return line.change(index, Content::Payload, 0);
        };
        self.last = place;
        let Ok(made) = self.decoders[place].decode(payload, &mut self.samples) else {
            return line.change(index, Content::Payload, 0);
        };
        self.made_up = 0;
        self.decoded += 1;
        // Concealment in its place was already played.
        let heard = (self.done - slot.start).clamp(0, made as i64);
        line.write(slot.start + heard, &self.samples[heard as usize..made]);
        line.change(index, Content::Samples, made as i64);
        self.done = self.done.max(slot.start + made as i64);
    }

    /// Fills a gap at `done` that is to be played now.
    fn hole(&mut self, line: &mut Line, next: Option<(usize, Slot)>, limit: i64) {
        if let Some(there) = line.covering(self.done) {
            self.done = there.end();
            return;
        }
        // In steps of 10 ms, so that no more is concealed than needed now.
        let step = (self.rate_hz / 100) as i64;
        let longest = self.rate_hz * MADE_UP_MS / 1_000;
        let until = next.map_or(i64::MAX, |(_, slot)| slot.start);
        let hole = until.saturating_sub(self.done);
        if let Some((index, slot)) = next.filter(|(_, slot)| slot.len == hole)
            && self.recover(line, index, slot)
        {
            return;
        }
        let made = match self.decoders.get_mut(self.last) {
            Some(decoder) if self.made_up < longest => {
                decoder.conceal(step.min(hole) as usize, &mut self.samples)
            }
            _ => 0,
        };
        if made == 0 {
            // Left to the concealer, or to silence.
            self.done = until.min(limit);
            return;
        }
        let fade = self.rate_hz * FADE_MS / 1_000;
        for (n, sample) in self.samples[..made].iter_mut().enumerate() {
            let left = longest.saturating_sub(self.made_up + n).min(fade) as i32;
            *sample = (i32::from(*sample) * left / fade as i32) as i16;
        }
        self.made_up += made;
        self.put(line, Content::MadeUp, made);
    }

    /// Recovers the previous packet from this packet's redundancy.
    fn recover(&mut self, line: &mut Line, index: usize, slot: Slot) -> bool {
        let (codec, octets) = self.kept[index];
        let payload = &self.payloads[index * MOST..][..octets];
        let Some(decoder) = self.decoders.iter_mut().find(|decoder| decoder.codec() == codec) else {
            return false;
        };
        // Recovery needs earlier decoder state.
        if self.made_up == usize::MAX || !decoder.recovers(payload) {
            return false;
        }
        let made = decoder.recover(payload, &mut self.samples);
        if made as i64 != slot.len {
            return false;
        }
        self.made_up = 0;
        self.recovered += 1;
        self.put(line, Content::Samples, made);
        true
    }

    fn put(&mut self, line: &mut Line, content: Content, made: usize) {
        line.write(self.done, &self.samples[..made]);
        line.take(Slot { start: self.done, len: made as i64, captured_at: None, content });
        self.done += made as i64;
    }
}
