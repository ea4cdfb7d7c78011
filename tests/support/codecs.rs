//! The codecs of a far end, and the purity of a tone after them: the codec crates themselves, without b2b's
//! wrappers.

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};
use b2b_media::codec::g711;
use rusty_opus::{Application, OpusDecoder, OpusEncoder};

/// Codecs that a far end may have, in addition to `telephone-event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has {
    Pcmu,
    Pcma,
    G722,
    Opus,
}

pub const ALL: [Has; 4] = [Has::Pcmu, Has::Pcma, Has::G722, Has::Opus];

impl Has {
    pub fn name(self) -> &'static str {
        ["PCMU", "PCMA", "G722", "opus"][self as usize]
    }

    pub fn rtpmap(self, payload_type: u8) -> String {
        let rate = if self == Has::Opus { "48000/2" } else { "8000" };
        format!("a=rtpmap:{payload_type} {}/{rate}\r\n", self.name())
    }

    pub fn payload_type(self) -> u8 {
        [0, 8, 9, 98][self as usize]
    }

    pub fn clock(self) -> u32 {
        if self == Has::Opus { 48_000 } else { 8_000 }
    }

    /// The codec's own sample rate.
    pub fn rate(self) -> usize {
        [8_000, 8_000, 16_000, 48_000][self as usize]
    }
}

/// A far end's encoder and decoder: the crates themselves, without the relay's wrappers.
pub struct Codecs {
    has: Has,
    g722: (G722Encoder, G722Decoder),
    opus: (OpusEncoder, OpusDecoder),
}

impl Codecs {
    pub fn new(has: Has) -> Self {
        let encoder = OpusEncoder::new(48_000, 1, Application::Voip).expect("an encoder");
        let decoder = OpusDecoder::new(48_000, 1).expect("a decoder");
        Codecs { has, g722: (G722Encoder::new(), G722Decoder::new()), opus: (encoder, decoder) }
    }

    pub fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        let mut payload = vec![0; 1_000];
        let len = match self.has {
            Has::Pcmu => return samples.iter().map(|sample| g711::ulaw_encode(*sample)).collect(),
            Has::Pcma => return samples.iter().map(|sample| g711::alaw_encode(*sample)).collect(),
            Has::G722 => self.g722.0.encode_into(samples, &mut payload).expect("encoded"),
            Has::Opus => {
                let floats: Vec<f32> = samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
                self.opus.0.encode(&floats, floats.len(), &mut payload).expect("encoded")
            }
        };
        payload.truncate(len);
        payload
    }

    pub fn decode(&mut self, payload: &[u8]) -> Vec<i16> {
        match self.has {
            Has::Pcmu => payload.iter().map(|octet| g711::ulaw_decode(*octet)).collect(),
            Has::Pcma => payload.iter().map(|octet| g711::alaw_decode(*octet)).collect(),
            Has::G722 => {
                let mut samples = vec![0; payload.len() * 2];
                let len = self.g722.1.decode_into(payload, &mut samples).expect("decoded");
                samples.truncate(len);
                samples
            }
            Has::Opus => {
                let mut floats = vec![0.0; 5_760];
                let len = self.opus.1.decode(payload, 5_760, &mut floats).expect("decoded");
                floats[..len].iter().map(|float| (float * 32_767.0) as i16).collect()
            }
        }
    }
}

pub fn rms(samples: &[i16]) -> f64 {
    (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

/// Share of a tone of this frequency in the signal, 0 to 1.
pub fn purity(samples: &[i16], rate: usize, hz: f64) -> f64 {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let phase = n as f64 * hz * std::f64::consts::TAU / rate as f64;
        sine += f64::from(*sample) * phase.sin();
        cosine += f64::from(*sample) * phase.cos();
    }
    let amplitude = 2.0 * (sine * sine + cosine * cosine).sqrt() / samples.len() as f64;
    amplitude / std::f64::consts::SQRT_2 / rms(samples).max(1.0)
}
