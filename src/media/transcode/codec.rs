//! Payloads to samples and back, at a rate that the plan sets. State that is large is made
//! with the first packet that needs it: most calls never do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};
use rusty_opus::{Application, OpusDecoder, OpusEncoder};

use super::halfband::HalfBand;
use super::{Coding, Target};
use crate::media::codec::Codec;
use crate::media::conceal::Concealer;

/// Samples that one packet may hold: 120 ms at 16 kHz, the longest of Opus.
pub(super) const LONGEST: usize = 1_920;
/// Octets of G.711 or G.722 that are taken at once: 20 ms.
pub(super) const PIECE: usize = 160;
/// Octets of an encoded packet: 60 ms of G.711, and what Opus may take at our rates.
pub(super) const PAYLOAD: usize = 480;
/// Effort of the Opus encoder, 0 to 10: what it costs is in designs/0008-relay.md.
const COMPLEXITY: i32 = 2;
/// Loss against which redundancy is sent where the far end makes use of it, percent.
const EXPECTED_LOSS: i32 = 5;

/// The codec could make nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;

/// Decoders of one direction. The concealer is for those that have none of their own.
#[derive(Default)]
pub(super) struct Decoder {
    rate_hz: u32,
    last: Option<Coding>,
    g722: Option<Box<G722Decoder>>,
    opus: Option<Box<OpusDecoder>>,
    band: HalfBand,
    concealer: Concealer,
    floats: Vec<f32>,
    /// The crate has panicked once: nothing of it is believed any more.
    broken: bool,
}

impl Decoder {
    pub fn new(rate_hz: u32) -> Self {
        Decoder { rate_hz, ..Decoder::default() }
    }

    /// Decodes up to [`PIECE`] octets of G.711 or G.722, or a whole packet of Opus, and
    /// says how many samples that is.
    pub fn decode(
        &mut self,
        coding: Coding,
        payload: &[u8],
        to: &mut [i16; LONGEST],
    ) -> Result<usize, Undecodable> {
        self.last = Some(coding);
        let samples = match coding {
            Coding::Pcmu | Coding::Pcma => self.narrow(coding, payload, to),
            Coding::G722 => self.g722(payload, to)?,
            Coding::Opus => return self.opus(payload, self.rate_hz as usize * 120 / 1_000, to),
        };
        self.concealer.good(&mut to[..samples]);
        Ok(samples)
    }

    /// Makes up so many samples, at most 20 ms.
    pub fn conceal(&mut self, samples: usize, to: &mut [i16; LONGEST]) -> usize {
        let samples = samples.min(self.rate_hz as usize / 50);
        if self.last == Some(Coding::Opus) {
            // In steps that Opus knows: 2.5 ms and its doubles.
            let step = self.rate_hz as usize / 400;
            let whole = [8, 4, 2, 1].into_iter().map(|steps| steps * step).find(|whole| *whole <= samples);
            if let Some(Ok(made)) = whole.map(|whole| self.opus(&[], whole, to)) {
                return made;
            }
            to[..samples].fill(0);
            return samples;
        }
        self.concealer.lost(&mut to[..samples]);
        samples
    }

    fn narrow(&mut self, coding: Coding, payload: &[u8], to: &mut [i16; LONGEST]) -> usize {
        let codec = if coding == Coding::Pcmu { Codec::Pcmu } else { Codec::Pcma };
        if self.rate_hz == 8_000 {
            return codec.decode(payload, &mut to[..PIECE]);
        }
        let mut narrow = [0; PIECE];
        let samples = codec.decode(payload, &mut narrow);
        self.band.up(&narrow[..samples], &mut to[..samples * 2]);
        samples * 2
    }

    fn g722(&mut self, payload: &[u8], to: &mut [i16; LONGEST]) -> Result<usize, Undecodable> {
        let payload = &payload[..payload.len().min(PIECE)];
        let decoder = self.g722.get_or_insert_default();
        let mut wide = [0; PIECE * 2];
        let samples = decoder.decode_into(payload, &mut wide).map_err(|_| Undecodable)?;
        if self.rate_hz == 16_000 {
            to[..samples].copy_from_slice(&wide[..samples]);
            return Ok(samples);
        }
        self.band.down(&wide[..samples], &mut to[..samples / 2]);
        Ok(samples / 2)
    }

    fn opus(&mut self, payload: &[u8], most: usize, to: &mut [i16; LONGEST]) -> Result<usize, Undecodable> {
        if self.opus.is_none() && !self.broken {
            self.opus = OpusDecoder::new(self.rate_hz as i32, 1).ok().map(Box::new);
            self.floats = vec![0.0; LONGEST];
        }
        let (Some(decoder), floats) = (&mut self.opus, &mut self.floats) else { return Err(Undecodable) };
        let decoded = catch_unwind(AssertUnwindSafe(|| decoder.decode(payload, most, floats)));
        let Ok(decoded) = decoded else {
            (self.opus, self.broken) = (None, true);
            return Err(Undecodable);
        };
        let samples = decoded.map_err(|_| Undecodable)?.min(LONGEST);
        for (sample, float) in to.iter_mut().zip(&self.floats[..samples]) {
            *sample = (float * 32_768.0).round() as i16;
        }
        Ok(samples)
    }
}

/// The encoder of one direction.
pub(super) enum Encoder {
    G711(Codec),
    G722(Box<G722Encoder>),
    /// None after a failure of the crate: nothing is sent then.
    Opus(Option<Box<OpusEncoder>>, Vec<f32>),
}

impl Encoder {
    /// An encoder of samples at this rate.
    pub fn new(target: &Target, rate_hz: u32) -> Self {
        match target.coding {
            Coding::Pcmu => Encoder::G711(Codec::Pcmu),
            Coding::Pcma => Encoder::G711(Codec::Pcma),
            Coding::G722 => Encoder::G722(Box::default()),
            Coding::Opus => {
                let mut encoder = OpusEncoder::new(rate_hz as i32, 1, Application::Voip).ok().map(Box::new);
                if let Some(encoder) = &mut encoder {
                    encoder.bitrate_bps = target.bitrate.clamp(6_000, Target::BITRATE) as i32;
                    encoder.complexity = COMPLEXITY;
                    encoder.use_inband_fec = target.fec;
                    encoder.packet_loss_perc = if target.fec { EXPECTED_LOSS } else { 0 };
                }
                Encoder::Opus(encoder, vec![0.0; LONGEST])
            }
        }
    }

    /// Encodes a frame, and says how many octets that is; `None`: the codec failed.
    pub fn encode(&mut self, frame: &[i16], payload: &mut [u8; PAYLOAD]) -> Option<usize> {
        match self {
            Encoder::G711(codec) => Some(codec.encode(frame, payload)),
            Encoder::G722(encoder) => encoder.encode_into(frame, payload).ok(),
            Encoder::Opus(encoder, floats) => {
                let floats = floats.get_mut(..frame.len())?;
                for (float, sample) in floats.iter_mut().zip(frame) {
                    *float = f32::from(*sample) / 32_768.0;
                }
                let inner = encoder.as_mut()?;
                let encoded = catch_unwind(AssertUnwindSafe(|| inner.encode(floats, frame.len(), payload)));
                match encoded {
                    Ok(octets) => octets.ok(),
                    Err(_) => {
                        *encoder = None;
                        None
                    }
                }
            }
        }
    }
}
