//! Decoded samples that many listeners may share, with their Opus packets: an encoder costs more
//! than everything else a listener needs, and listeners with equal settings get the same packets.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::codec::{Codec, Encoder, MAX_PAYLOAD, OpusTuning};
use crate::remote::SendFormat;
use crate::transcode::tuning;

/// Maximum modes for which packets of one sound are kept.
const MODES: usize = 4;
/// Longer sounds, s, are encoded per listener: encoding takes half a percent of the duration.
const LONGEST_S: usize = 600;

/// Opus settings: listeners with the same mode get the same packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpusMode {
    /// Sampling rate, Hz.
    rate_hz: u32,
    ptime_ms: u32,
    tuning: OpusTuning,
}

impl OpusMode {
    /// The mode for this format; `None` for another codec.
    pub fn of(target: &SendFormat, rate_hz: u32) -> Option<OpusMode> {
        let (ptime_ms, tuning) = (target.ptime_ms, tuning(target));
        (target.codec == Codec::Opus).then_some(OpusMode { rate_hz, ptime_ms, tuning })
    }

    /// Samples per packet.
    fn frame(&self) -> usize {
        (self.rate_hz / 1_000 * self.ptime_ms) as usize
    }
}

/// Shared samples with their packets.
#[derive(Debug, Clone)]
pub struct Sound(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    samples: Box<[i16]>,
    packets: [OnceLock<Packets>; MODES],
}

#[derive(Debug)]
struct Packets {
    mode: OpusMode,
    octets: Box<[u8]>,
    /// Where each packet ends.
    ends: Box<[usize]>,
}

/// The place from which samples were read.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The sound that contains all of them.
    pub sound: &'a Sound,
    /// Offset of the first sample.
    pub at: usize,
}

impl Sound {
    /// Whether it should be encoded for this mode: it is not yet, there is room, and it is not too long.
    pub fn lacks(&self, mode: &OpusMode) -> bool {
        let known = |slot: &OnceLock<Packets>| slot.get().is_none_or(|packets| packets.mode == *mode);
        let room = self.0.packets.iter().find(|slot| known(slot));
        let short = self.len() <= LONGEST_S * mode.rate_hz as usize;
        short && !self.is_empty() && room.is_some_and(|slot| slot.get().is_none())
    }

    /// Encodes it, which takes time; listeners get these packets from its next beginning on.
    pub fn encode(&self, mode: OpusMode) {
        if !self.lacks(&mode) {
            return;
        }
        let mut encoder = Encoder::new(Codec::Opus, mode.rate_hz, mode.tuning);
        let (mut octets, mut ends) = (Vec::new(), Vec::new());
        let (mut frame, mut payload) = (vec![0; mode.frame()], [0; MAX_PAYLOAD]);
        for samples in self.chunks(mode.frame().max(1)) {
            // Pad the last samples with silence.
            frame[samples.len()..].fill(0);
            frame[..samples.len()].copy_from_slice(samples);
            // If the codec fails, the rest is encoded per listener.
            let Some(length) = encoder.encode(&frame, &mut payload) else { break };
            octets.extend_from_slice(&payload[..length]);
            ends.push(octets.len());
        }
        let mut packets = Packets { mode, octets: octets.into(), ends: ends.into() };
        for slot in &self.0.packets {
            match slot.set(packets) {
                Ok(()) => return,
                Err(back) => packets = back,
            }
        }
    }

    /// The packet of this mode that begins with this sample, if there is one.
    pub fn packet(&self, mode: &OpusMode, at: usize) -> Option<&[u8]> {
        let mut all = self.0.packets.iter().map_while(OnceLock::get);
        let packets = all.find(|packets| packets.mode == *mode)?;
        let frame = mode.frame();
        let index = at.checked_div(frame).filter(|index| index * frame == at)?;
        let begin = index.checked_sub(1).map_or(Some(0), |before| packets.ends.get(before).copied())?;
        packets.octets.get(begin..*packets.ends.get(index)?)
    }
}

impl Deref for Sound {
    type Target = [i16];

    fn deref(&self) -> &[i16] {
        &self.0.samples
    }
}

impl<T: Into<Box<[i16]>>> From<T> for Sound {
    fn from(samples: T) -> Self {
        Sound(Arc::new(Kept { samples: samples.into(), packets: Default::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mode(expected_loss_pct: u8, bitrate: u32) -> OpusMode {
        OpusMode { rate_hz: 16_000, ptime_ms: 20, tuning: OpusTuning { bitrate, expected_loss_pct } }
    }

    const MODE: OpusMode = mode(0, 24_000);

    fn sound(samples: usize) -> Sound {
        (0..samples).map(|n| ((n % 80) * 200) as i16).collect::<Vec<_>>().into()
    }

    #[test]
    fn packets_are_those_of_an_encoder_and_only_for_their_mode() {
        let sound = sound(3 * 320 + 7);
        assert!(sound.lacks(&MODE) && sound.packet(&MODE, 0).is_none());
        sound.encode(MODE);
        assert!(!sound.lacks(&MODE));
        let target =
            SendFormat { payload_type: 9, codec: Codec::Opus, ptime_ms: 20, fec: false, max_bitrate: None };
        assert_eq!(OpusMode::of(&target, 16_000), Some(MODE));
        assert_eq!(OpusMode::of(&SendFormat { codec: Codec::G722, ..target }, 16_000), None);
        let mut encoder = Encoder::new(Codec::Opus, 16_000, tuning(&target));
        for at in [0, 320, 640, 960] {
            let mut frame = [0; 320];
            let samples = &sound[at..sound.len().min(at + 320)];
            frame[..samples.len()].copy_from_slice(samples);
            let mut payload = [0; MAX_PAYLOAD];
            let length = encoder.encode(&frame, &mut payload).expect("encoded");
            assert_eq!(sound.packet(&MODE, at), Some(&payload[..length]), "at {at}");
        }
        assert!(sound.packet(&MODE, 1_280).is_none() && sound.packet(&MODE, 100).is_none());
        assert!(sound.packet(&mode(5, 24_000), 0).is_none());
    }

    #[test]
    fn a_sound_has_packets_for_some_modes_and_none_if_it_is_long() {
        let sound = sound(320);
        for n in 0..6 {
            sound.encode(mode(0, 10_000 + n));
        }
        let has = |n: u32| sound.packet(&mode(0, 10_000 + n), 0).is_some();
        assert_eq!([0, 1, 2, 3, 4, 5].map(has), [true, true, true, true, false, false]);
        assert!(!sound.lacks(&MODE), "no room for another mode");
        let long: Sound = vec![0; LONGEST_S * 16_000 + 1].into();
        assert!(!long.lacks(&MODE));
    }
}
