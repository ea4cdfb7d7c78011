//! Decodes packets of files: symphonia's codecs, and those that it does not have.

use oxideav_gsm::{DecoderState, UnpackedFrame};
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ADPCM_G722, CODEC_ID_OPUS};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::common::FourCc;
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::Packet;

use crate::codec::{Codec, Decoder, LONGEST_MS};

/// GSM full rate (GSM 06.10): in WAV files blocks of 65 octets with two frames, elsewhere frames of 33.
pub(super) const CODEC_ID_GSM: AudioCodecId = AudioCodecId::new(FourCc::new(*b"gsm "));

/// What decodes the packets of one track.
pub(super) enum PacketDecoder {
    Symphonia(Box<dyn AudioDecoder>),
    Call(Box<Call>),
    /// At this rate, Hz.
    Gsm(Box<DecoderState>, u32),
}

/// A codec of calls, with one channel.
pub(super) struct Call {
    decoder: Decoder,
    rate_hz: u32,
    /// Samples that its encoder put before the audio (RFC 7845 §4.2).
    skip: usize,
    /// What the samples are multiplied by (RFC 7845 §5.1).
    gain: f32,
}

/// The samples of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub rate_hz: u32,
    pub channels: usize,
}

impl PacketDecoder {
    /// The decoder of a track.
    ///
    /// # Errors
    /// No decoder has its codec.
    pub fn new(parameters: &AudioCodecParameters) -> Result<Self> {
        let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count());
        Ok(match parameters.codec {
            CODEC_ID_OPUS if channels > 2 => {
                return Err(Error::Unsupported("Opus of more than two channels"));
            }
            CODEC_ID_OPUS => {
                let head = parameters.extra_data.as_deref().unwrap_or_default();
                let field = |at: usize| head.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
                // In 1/256 dB.
                let gain = f32::from(field(16).unwrap_or(0) as i16) / 256.0;
                Self::call(Codec::Opus, 48_000, field(10).unwrap_or(0), 10f32.powf(gain / 20.0))
            }
            CODEC_ID_ADPCM_G722 => Self::call(Codec::G722, 16_000, 0, 1.0),
            CODEC_ID_GSM => Self::Gsm(Box::default(), parameters.sample_rate.unwrap_or(8_000)),
            _ => Self::Symphonia(
                symphonia::default::get_codecs()
                    .make_audio_decoder(parameters, &AudioDecoderOptions::default())?,
            ),
        })
    }

    fn call(codec: Codec, rate_hz: u32, skip: u16, gain: f32) -> Self {
        Self::Call(Box::new(Call { decoder: Decoder::new(codec, rate_hz), rate_hz, skip: skip.into(), gain }))
    }

    /// Decodes a packet to interleaved samples, full scale ±1, in place of those in `to`.
    ///
    /// # Errors
    /// The packet is corrupt.
    pub fn decode(&mut self, packet: &Packet, to: &mut Vec<f32>) -> Result<Format> {
        let (samples, skip, gain, rate_hz) = match self {
            Self::Symphonia(decoder) => {
                let decoded = decoder.decode(packet)?;
                decoded.copy_to_vec_interleaved(to);
                let spec = decoded.spec();
                return Ok(Format { rate_hz: spec.rate(), channels: spec.channels().count() });
            }
            Self::Call(call) => {
                let mut samples = vec![0; (call.rate_hz * LONGEST_MS / 1_000) as usize];
                let decoded = call.decoder.decode(&packet.data, &mut samples);
                samples.truncate(decoded.map_err(|_| Error::DecodeError("not decodable"))?);
                let skip = call.skip.min(samples.len());
                call.skip -= skip;
                (samples, skip, call.gain, call.rate_hz)
            }
            Self::Gsm(state, rate_hz) => (gsm(state, packet)?, 0, 1.0, *rate_hz),
        };
        let end = samples.len().saturating_sub(packet.trim_end.get() as usize).max(skip);
        to.clear();
        to.extend(samples[skip..end].iter().map(|sample| f32::from(*sample) * gain / 32_768.0));
        Ok(Format { rate_hz, channels: 1 })
    }
}

fn gsm(state: &mut DecoderState, packet: &Packet) -> Result<Vec<i16>> {
    let unreadable = |_| Error::DecodeError("no frame of GSM");
    let is_wav = packet.data.len() as u64 * 320 == packet.dur.get() * 65;
    let mut samples = Vec::with_capacity(packet.dur.get() as usize);
    for block in packet.data.chunks_exact(if is_wav { 65 } else { 33 }) {
        if is_wav {
            let (first, second) = UnpackedFrame::pair_from_msgsm_block(block).map_err(unreadable)?;
            samples.extend(state.decode_frame(&first));
            samples.extend(state.decode_frame(&second));
        } else {
            samples
                .extend(state.decode_frame(&UnpackedFrame::from_gsm_byte_frame(block).map_err(unreadable)?));
        }
    }
    Ok(samples)
}
