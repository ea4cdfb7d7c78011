//! Decodes payloads to samples. Memory is allocated when a decoder is created and not per packet
//! (for allocations of the Opus crate on loss see designs/0004-media.md).

use std::panic::{AssertUnwindSafe, catch_unwind};

use audio_codec::Decoder as _;
use audio_codec::g722::G722Decoder;
use rusty_opus::OpusDecoder;

use super::rates::Rates;
use super::{Codec, LONGEST_MS, Law, opus_packet};
use crate::mix::saturate;
use b2b_base::util::panics;

/// Octets of G.711 or G.722 converted at once: 20 ms.
const PIECE: usize = 160;

/// The codec could not decode the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecodable;

/// The decoder of one codec in one direction, with output at one sampling rate.
pub struct Decoder {
    codec: Codec,
    rate_hz: u32,
    engine: Engine,
    /// Set if the rate differs from the codec's own.
    rates: Option<Box<Rates>>,
}

enum Engine {
    G711(Law),
    G722(Box<G722Decoder>),
    Opus {
        /// `None` once the crate has panicked, as its state is no longer reliable.
        decoder: Option<Box<OpusDecoder>>,
        floats: Box<[f32]>,
    },
}

impl Decoder {
    /// A decoder in its initial state. The rate is 8,000, 16,000, 24,000 or 48,000 Hz.
    pub fn new(codec: Codec, rate_hz: u32) -> Self {
        let native = codec.native_rate_hz();
        let rates =
            (codec != Codec::Opus && native != rate_hz).then(|| Box::new(Rates::new(native, rate_hz)));
        let engine = match codec {
            Codec::Pcmu => Engine::G711(Law::Mu),
            Codec::Pcma => Engine::G711(Law::A),
            Codec::G722 => Engine::G722(Box::default()),
            Codec::Opus => Engine::Opus {
                decoder: OpusDecoder::new(rate_hz as i32, 1).ok().map(Box::new),
                floats: vec![0.0; (rate_hz * LONGEST_MS / 1_000) as usize].into_boxed_slice(),
            },
        };
        Decoder { codec, rate_hz, engine, rates }
    }

    /// The codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Decodes a payload and returns the number of samples. `to` needs room for [`samples`](super::samples);
    /// samples beyond it are dropped.
    pub fn decode(&mut self, payload: &[u8], to: &mut [i16]) -> Result<usize, Undecodable> {
        let (engine, rates) = (&mut self.engine, &mut self.rates);
        match engine {
            Engine::G711(law) => Ok(match rates {
                None => law.decode(payload, to),
                Some(rates) => in_pieces(payload, self.rate_hz, to, |piece, to| {
                    let mut narrow = [0; PIECE];
                    let samples = law.decode(piece, &mut narrow);
                    Ok(rates.process(&narrow[..samples], to))
                })?,
            }),
            Engine::G722(decoder) => in_pieces(payload, self.rate_hz, to, |piece, to| {
                let Some(rates) = rates else {
                    return decoder.decode_into(piece, to).map_err(|_| Undecodable);
                };
                let mut wide = [0; PIECE * 2];
                let samples = decoder.decode_into(piece, &mut wide).map_err(|_| Undecodable)?;
                Ok(rates.process(&wide[..samples], to))
            }),
            Engine::Opus { .. } if payload.is_empty() => Err(Undecodable),
            Engine::Opus { .. } => self.opus(to, |decoder, most, floats| {
                panics::on_purpose("codec", payload);
                decoder.decode(payload, most, floats)
            }),
        }
    }

    /// Whether the codec conceals losses itself; otherwise the caller must.
    pub fn conceals(&self) -> bool {
        self.codec == Codec::Opus
    }

    /// Conceals at most `samples` samples of a lost packet, and returns their number: a multiple of
    /// 2.5 ms, or 0 if the codec cannot conceal.
    pub fn conceal(&mut self, samples: usize, to: &mut [i16]) -> usize {
        let step = self.rate_hz as usize / 400;
        // Opus has lengths of 2.5 ms and its doubles.
        let whole = [8, 4, 2, 1].into_iter().map(|steps| steps * step).find(|whole| *whole <= samples);
        let Some(whole) = whole.filter(|_| self.conceals()) else { return 0 };
        self.opus(to, |decoder, _, floats| decoder.decode(&[], whole, floats)).unwrap_or(0)
    }

    /// Whether a payload contains the previous packet, in a form that the crate can read: one frame
    /// of at most 20 ms.
    pub fn recovers(&self, payload: &[u8]) -> bool {
        self.codec == Codec::Opus
            && opus_packet::has_redundancy(payload)
            && opus_packet::samples(payload, 50).is_some_and(|samples| samples <= 1)
    }

    /// Decodes the packet lost before this payload from its redundancy (RFC 6716 §2.1.7): as many
    /// samples as the payload itself has.
    pub fn recover(&mut self, payload: &[u8], to: &mut [i16]) -> usize {
        let Some(samples) = opus_packet::samples(payload, self.rate_hz) else { return 0 };
        self.opus(to, |decoder, _, floats| decoder.decode_fec(payload, samples, floats)).unwrap_or(0)
    }

    fn opus(
        &mut self,
        to: &mut [i16],
        run: impl FnOnce(&mut OpusDecoder, usize, &mut [f32]) -> Result<usize, rusty_opus::Error>,
    ) -> Result<usize, Undecodable> {
        let Engine::Opus { decoder: slot, floats } = &mut self.engine else { return Err(Undecodable) };
        let Some(decoder) = slot else { return Err(Undecodable) };
        let most = floats.len().min(to.len());
        let Ok(decoded) = catch_unwind(AssertUnwindSafe(|| run(decoder, most, &mut floats[..most]))) else {
            *slot = None;
            return Err(Undecodable);
        };
        let samples = decoded.map_err(|_| Undecodable)?.min(most);
        for (sample, float) in to.iter_mut().zip(&floats[..samples]) {
            *sample = saturate(float * 32_768.0);
        }
        Ok(samples)
    }
}

/// Decodes as much as `to` has room for, 20 ms at a time.
fn in_pieces(
    payload: &[u8],
    rate_hz: u32,
    to: &mut [i16],
    mut decode: impl FnMut(&[u8], &mut [i16]) -> Result<usize, Undecodable>,
) -> Result<usize, Undecodable> {
    let room = to.len() * 8_000 / rate_hz as usize;
    let mut made = 0;
    for piece in payload[..payload.len().min(room)].chunks(PIECE) {
        made += decode(piece, &mut to[made..])?;
    }
    Ok(made)
}
