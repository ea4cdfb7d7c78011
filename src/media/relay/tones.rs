//! In-band digits: decodes a party's audio and detects DTMF, in addition to however its packets are
//! handled.

use crate::codec::{Codec, Decoder, LONGEST_MS};
use crate::dtmf::LineDetector;
use crate::forward::Header;
use crate::remote::Voice;
use crate::rtp::telephone_event::Digit;

/// Samples of the longest packet at 8 kHz.
const LONGEST: usize = 8 * LONGEST_MS as usize;
/// Maximum digits that end within one packet.
const MOST: usize = 4;
/// Consecutive lost packets that are filled in, so that a loss within a digit does not split it in two.
const MADE_UP: u16 = 2;

/// The DTMF detector of one party.
pub(super) struct Tones {
    decoders: [Option<Decoder>; Codec::ALL.len()],
    detector: LineDetector,
    expected: Option<(u32, u16)>,
    samples: Box<[i16; LONGEST]>,
    /// Samples in the last packet.
    length: usize,
}

impl Tones {
    pub fn new() -> Self {
        Tones {
            decoders: [const { None }; Codec::ALL.len()],
            detector: LineDetector::default(),
            expected: None,
            samples: Box::new([0; LONGEST]),
            length: 0,
        }
    }

    /// Processes a packet; returns the digits that end with it.
    pub fn packet(&mut self, voice: &Voice, header: &Header, payload: &[u8]) -> [Option<Digit>; MOST] {
        let mut found = [None; MOST];
        let ahead = match self.expected {
            Some((ssrc, expected)) if ssrc == header.ssrc => header.sequence.wrapping_sub(expected),
            _ => 0,
        };
        // A late packet was filled in already.
        if ahead > u16::MAX / 2 {
            return found;
        }
        self.expected = Some((header.ssrc, header.sequence.wrapping_add(1)));
        for _ in 0..if ahead > MADE_UP { 0 } else { ahead } {
            push(&mut self.detector, &self.samples[..self.length], &mut found);
        }
        let said = voice.says.iter().flatten().find(|said| said.0 == header.payload_type);
        let Some(place) = said.and_then(|said| Codec::ALL.iter().position(|known| *known == said.1)) else {
            return found;
        };
        let decoder = self.decoders[place].get_or_insert_with(|| Decoder::new(Codec::ALL[place], 8_000));
        for part in Codec::ALL[place].parts(payload) {
            if let Ok(length) = decoder.decode(part, &mut self.samples[..]) {
                self.length = length;
                push(&mut self.detector, &self.samples[..length], &mut found);
            }
        }
        found
    }
}

fn push(detector: &mut LineDetector, samples: &[i16], found: &mut [Option<Digit>; MOST]) {
    detector.push(samples, |heard| {
        if let Some(free) = found.iter_mut().find(|place| place.is_none()) {
            *free = Some(Digit { digit: heard.digit, duration_ms: (heard.length / 8) as u32 });
        }
    });
}
