//! The coder of a client's stream in either direction. The threads of talks may allocate.

use std::time::{Duration, Instant};

use super::session::Mistake;
use b2b_app::voice_agent::Encoding;
use b2b_call::controller::{Decoder, Encoder, MAX_PAYLOAD, OpusTuning};

/// How long an octet of audio waits for the other one of its sample.
pub const LEFT_OVER: Duration = Duration::from_secs(1);

/// Codes frames of the party's audio; `None`: L16.
pub struct Coder(Option<Box<Encoder>>);

impl Coder {
    /// A coder for samples at this rate.
    pub fn new(encoding: Encoding, rate_hz: u32) -> Coder {
        let tuning = OpusTuning { bitrate: OpusTuning::bitrate(rate_hz), expected_loss_pct: 0 };
        Coder(encoding.codec().map(|codec| Box::new(Encoder::new(codec, rate_hz, tuning))))
    }

    /// The octets of a frame; `None`: the codec has failed.
    pub fn encode(&mut self, samples: &[i16]) -> Option<Vec<u8>> {
        let Some(encoder) = &mut self.0 else {
            let mut octets = vec![0; samples.len() * 2];
            let (pairs, _) = octets.as_chunks_mut::<2>();
            pairs.iter_mut().zip(samples).for_each(|(pair, it)| *pair = it.to_le_bytes());
            return Some(octets);
        };
        let mut payload = vec![0; MAX_PAYLOAD];
        let count = encoder.encode(samples, &mut payload)?;
        payload.truncate(count);
        Some(payload)
    }
}

/// Reads the audio in a client's messages.
pub struct SoundReader {
    /// `None`: L16.
    decoder: Option<Box<Decoder>>,
    /// The first octet of a sample, and when it came.
    left_over: Option<(u8, Instant)>,
}

impl SoundReader {
    /// A reader of audio at this rate.
    pub fn new(encoding: Encoding, rate_hz: u32) -> SoundReader {
        let decoder = encoding.codec().map(|codec| Box::new(Decoder::new(codec, rate_hz)));
        SoundReader { decoder, left_over: None }
    }

    /// Appends the samples of a message; returns what is wrong with it, if anything.
    pub fn read(&mut self, at: Instant, octets: &[u8], samples: &mut Vec<i16>) -> Option<Mistake> {
        if let Some(decoder) = &mut self.decoder {
            decode(decoder, octets, samples);
            return None;
        }
        let first = self.left_over.take();
        let first = first.filter(|(_, came)| at.saturating_duration_since(*came) < LEFT_OVER);
        let odd = !octets.len().is_multiple_of(2);
        let (first, octets) = match (first, octets.split_first()) {
            (Some((low, _)), Some((high, rest))) => (Some(i16::from_le_bytes([low, *high])), rest),
            _ => (None, octets),
        };
        let (pairs, rest) = octets.as_chunks::<2>();
        samples.extend(first.into_iter().chain(pairs.iter().map(|pair| i16::from_le_bytes(*pair))));
        self.left_over = rest.first().map(|octet| (*octet, at));
        odd.then_some(Mistake::Odd)
    }

    /// Forgets half a sample.
    pub fn forget(&mut self) {
        self.left_over = None;
    }
}

fn decode(decoder: &mut Decoder, octets: &[u8], samples: &mut Vec<i16>) {
    let begin = samples.len();
    samples.resize(begin + octets.len(), 0);
    let made = decoder.decode(octets, &mut samples[begin..]).unwrap_or(0);
    samples.truncate(begin + made);
}
