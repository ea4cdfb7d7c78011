//! Audio codecs: samples at any supported rate to RTP payloads and back.
//!
//! - `decoder`, `encoder`: the state of one direction; shared by sinks, sources and transcoding
//! - `g711`: µ-law and A-law (ITU-T G.711)
//! - `opus_packet`: the length of an Opus packet, without decoding it
//! - `rates`: conversion between sampling rates

mod decoder;
mod encoder;
pub mod g711;
pub mod opus_packet;
pub mod rates;
#[cfg(test)]
mod tests;

pub use b2b_base::codec::{Codec, LONGEST_MS, UnknownCodec};
pub use decoder::{Decoder, Undecodable};
pub use encoder::{Encoder, OpusTuning};
pub use g711::Law;

/// Maximum octets of a payload that we encode: 60 ms of G.711 or G.722. Opus stays below it.
pub const MAX_PAYLOAD: usize = 480;

/// The number of samples at this rate in a payload; `None` if it is invalid, or longer than [`LONGEST_MS`].
pub fn samples(codec: Codec, payload: &[u8], rate_hz: u32) -> Option<usize> {
    match codec {
        Codec::Opus => opus_packet::samples(payload, rate_hz),
        // An octet is 125 us of audio in all of them.
        _ => {
            let samples = payload.len() * rate_hz as usize / 8_000;
            (samples <= (rate_hz * LONGEST_MS / 1_000) as usize).then_some(samples)
        }
    }
}
