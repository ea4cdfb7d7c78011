//! The coder of a client's stream in either direction. The threads of talks may allocate.

use std::time::{Duration, Instant};

use super::session::Mistake;
use b2b_app::voice_agent::Encoding;
use b2b_call::controller::{Codec, Decoder, Encoder, MAX_PAYLOAD, OpusTuning};

/// How long an octet of audio waits for the other one of its sample.
pub const LEFT_OVER: Duration = Duration::from_secs(1);
/// Samples of the longest packet of Opus, 120 ms (RFC 6716 §3.2.5), at the highest rate of a stream.
const LONGEST: usize = 2_880;

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
            return decode(decoder, octets, samples).err();
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

fn decode(decoder: &mut Decoder, octets: &[u8], samples: &mut Vec<i16>) -> Result<(), Mistake> {
    let begin = samples.len();
    let room = match decoder.codec() {
        Codec::Opus => LONGEST,
        _ => octets.len(),
    };
    samples.resize(begin + room, 0);
    let made = decoder.decode(octets, &mut samples[begin..]).unwrap_or(0);
    samples.truncate(begin + made);
    match made {
        0 => Err(Mistake::Junk("no packet of Opus: each binary message is one".to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_coded_is_decoded_at_each_rate_and_what_is_no_packet_is_told() {
        for rate_hz in [8_000, 16_000, 24_000] {
            let frame = rate_hz as usize / 50;
            let tone = |k: usize| {
                ((k as f64 * 440.0 / f64::from(rate_hz) * std::f64::consts::TAU).sin() * 8e3) as i16
            };
            let line: Vec<i16> = (0..50 * frame).map(tone).collect();
            let (mut coder, mut decoder) =
                (Coder::new(Encoding::Opus, rate_hz), Decoder::new(Codec::Opus, rate_hz));
            let mut heard = Vec::new();
            for samples in line.chunks(frame) {
                let packet = coder.encode(samples).expect("a packet");
                assert!(packet.len() < frame, "{} octets", packet.len());
                decode(&mut decoder, &packet, &mut heard).expect("samples");
            }
            assert_eq!(heard.len(), line.len());
            let power = |samples: &[i16]| samples.iter().map(|it| f64::from(*it).powi(2)).sum::<f64>();
            let ratio = power(&heard[line.len() / 2..]) / power(&line[line.len() / 2..]);
            assert!((0.5..2.0).contains(&ratio), "{ratio} at {rate_hz} Hz");
            let mistake = decode(&mut decoder, &[], &mut heard).unwrap_err();
            assert_eq!((mistake.word(), heard.len()), ("junk", line.len()));
        }
    }
}
