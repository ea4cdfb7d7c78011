//! Encodes samples to payloads. Memory is allocated when an encoder is created and not per packet.

use std::panic::{AssertUnwindSafe, catch_unwind};

use audio_codec::Encoder as _;
use audio_codec::g722::G722Encoder;
use rusty_opus::{Application, OpusEncoder};

use super::rates::Rates;
use super::{Codec, Law, MAX_PAYLOAD};

/// Complexity of the Opus encoder, 0 to 10; for its cost see designs/0008-relay.md.
const COMPLEXITY: i32 = 2;
/// Maximum frame length, ms.
const FRAME_MS: u32 = 60;
/// Samples of G.722 encoded at once: 20 ms.
const PIECE: usize = 320;

/// Settings of the Opus encoder; the other codecs have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpusTuning {
    /// Bit rate, bits a second: 6,000 to 64,000, so that 60 ms fit into [`MAX_PAYLOAD`].
    pub bitrate: u32,
    /// Expected loss at the far end, percent. If it is above 0, each packet repeats the previous
    /// one at a lower quality (RFC 6716 §2.1.7).
    pub expected_loss_pct: u8,
}

impl OpusTuning {
    /// Default bit rate of speech at a sampling rate, bits a second.
    pub const fn bitrate(rate_hz: u32) -> u32 {
        if rate_hz > 16_000 { 32_000 } else { 24_000 }
    }
}

/// The encoder of one codec in one direction, with input at one sampling rate.
pub struct Encoder {
    codec: Codec,
    rate_hz: u32,
    engine: Engine,
    /// Set if the rate differs from the codec's own.
    rates: Option<Box<Rates>>,
}

enum Engine {
    G711(Law),
    G722(Box<G722Encoder>),
    Opus {
        /// `None` once the crate has panicked; then nothing is sent.
        encoder: Option<Box<OpusEncoder>>,
        floats: Box<[f32]>,
    },
}

impl Encoder {
    /// An encoder for samples at 8,000, 16,000, 24,000 or 48,000 Hz.
    pub fn new(codec: Codec, rate_hz: u32, tuning: OpusTuning) -> Self {
        let native = codec.native_rate_hz();
        let rates =
            (codec != Codec::Opus && native != rate_hz).then(|| Box::new(Rates::new(rate_hz, native)));
        let engine = match codec {
            Codec::Pcmu => Engine::G711(Law::Mu),
            Codec::Pcma => Engine::G711(Law::A),
            Codec::G722 => Engine::G722(Box::default()),
            Codec::Opus => Engine::Opus {
                encoder: OpusEncoder::new(rate_hz as i32, 1, Application::Voip).ok().map(|mut encoder| {
                    encoder.complexity = COMPLEXITY;
                    Box::new(encoder)
                }),
                floats: vec![0.0; (rate_hz * FRAME_MS / 1_000) as usize].into_boxed_slice(),
            },
        };
        let mut encoder = Encoder { codec, rate_hz, engine, rates };
        encoder.tune(tuning);
        encoder
    }

    /// The codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Changes the settings from the next frame on.
    pub fn tune(&mut self, tuning: OpusTuning) {
        if let Engine::Opus { encoder: Some(encoder), .. } = &mut self.engine {
            encoder.bitrate_bps = tuning.bitrate.clamp(6_000, 64_000) as i32;
            encoder.use_inband_fec = tuning.expected_loss_pct > 0;
            encoder.packet_loss_perc = i32::from(tuning.expected_loss_pct.min(100));
        }
    }

    /// Encodes a frame of a packet time that the codec supports, and returns the number of octets;
    /// `None` if the codec failed. `payload` needs room for [`MAX_PAYLOAD`].
    pub fn encode(&mut self, frame: &[i16], payload: &mut [u8]) -> Option<usize> {
        let room = payload.len().min(MAX_PAYLOAD);
        let payload = &mut payload[..room];
        let piece = (self.rate_hz / 50) as usize;
        match (&mut self.engine, &mut self.rates) {
            (Engine::G711(law), None) => Some(law.encode(frame, payload)),
            (Engine::G722(encoder), None) => encoder.encode_into(frame, payload).ok(),
            (Engine::G711(law), Some(rates)) => {
                converted(rates, frame, piece, payload, |samples, payload| Some(law.encode(samples, payload)))
            }
            (Engine::G722(encoder), Some(rates)) => {
                converted(rates, frame, piece, payload, |samples, payload| {
                    encoder.encode_into(samples, payload).ok()
                })
            }
            (Engine::Opus { encoder: slot, floats }, _) => {
                let floats = floats.get_mut(..frame.len())?;
                for (float, sample) in floats.iter_mut().zip(frame) {
                    *float = f32::from(*sample) / 32_768.0;
                }
                let encoder = slot.as_mut()?;
                let encoded = catch_unwind(AssertUnwindSafe(|| encoder.encode(floats, frame.len(), payload)));
                match encoded {
                    Ok(octets) => octets.ok(),
                    Err(_) => {
                        *slot = None;
                        None
                    }
                }
            }
        }
    }
}

fn converted(
    rates: &mut Rates,
    frame: &[i16],
    piece: usize,
    payload: &mut [u8],
    mut encode: impl FnMut(&[i16], &mut [u8]) -> Option<usize>,
) -> Option<usize> {
    let mut octets = 0;
    for piece in frame.chunks(piece) {
        let mut samples = [0; PIECE + 1];
        let made = rates.process(piece, &mut samples);
        octets += encode(&samples[..made], &mut payload[octets..])?;
    }
    Some(octets)
}
