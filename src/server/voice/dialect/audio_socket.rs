//! Asterisk's AudioSocket, in frames ([`crate::voice::wire`]). Source: docs.asterisk.org/Configuration/Channel-Drivers/
//! AudioSocket, read in 2026-11. b2b connects to the program, as Asterisk does with `AudioSocket(uuid,host:port)`.
//!
//! | kind | we send | it sends |
//! |---|---|---|
//! | 0x00 | the party is gone | hang up |
//! | 0x01 | first: a UUID, with the number of the call in its last octets | - |
//! | 0x03 | a key that the party has pressed | sends that digit to the party |
//! | 0x10, 0x12, 0x13 | audio at 8, 16, 24 kHz: 16 bits, little-endian | the same, of any length |
//! | 0xff | - | an error, which is logged |

use tokio_tungstenite::tungstenite::Message;

use super::{Dialect, Meaning};
use crate::voice::message::{Said, Start, Told};
use crate::voice::session::{Allowance, Mistake};
use crate::voice::wire::{HANG_UP, frame, read_frame};
use b2b_app::voice_agent::Encoding;

const UUID: u8 = 0x01;
const DIGIT: u8 = 0x03;
const ERROR: u8 = 0xFF;

/// See the module documentation.
pub struct AudioSocket {
    /// The kind of audio at our rate.
    audio: u8,
}

impl AudioSocket {
    /// A stream at this rate.
    pub fn new(rate_hz: u32) -> AudioSocket {
        let audio = match rate_hz {
            16_000 => 0x12,
            24_000 => 0x13,
            _ => 0x10,
        };
        AudioSocket { audio }
    }
}

/// A UUID of the version for own uses (RFC 9562 §5.8): nobody guesses its first half, and the second one has the call.
fn uuid(call: u64) -> [u8; 16] {
    let (first, second) = (rand::random::<u64>(), call & (u64::MAX >> 2) | 1 << 63);
    let first = first & !0xF000 | 0x8000;
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}

impl Dialect for AudioSocket {
    fn allowance(&self) -> Allowance {
        Allowance::of_text(Encoding::L16)
    }

    fn begin(&mut self, start: Start) -> Vec<Message> {
        vec![Message::Binary(frame(UUID, &uuid(start.call)).into())]
    }

    fn audio(&mut self, octets: Vec<u8>) -> Message {
        Message::Binary(frame(self.audio, &octets).into())
    }

    fn told(&mut self, told: &Told) -> Option<Message> {
        match told {
            Told::Dtmf { digit } => Some(Message::Binary(frame(DIGIT, &[*digit as u8]).into())),
            _ => None,
        }
    }

    fn binary<'a>(&mut self, octets: &'a [u8]) -> Result<Meaning<'a>, Mistake> {
        let junk = |what: String| Err(Mistake::Junk(what));
        match read_frame(octets) {
            Some((HANG_UP, _)) => Ok(Meaning::Goodbye),
            Some((kind, octets)) if kind == self.audio => Ok(Meaning::Audio(octets.into())),
            Some((DIGIT, octets)) => {
                let digits = octets.iter().map(|octet| char::from(*octet)).collect();
                Ok(Meaning::Request(Said::Dtmf { digits, ms: None }.into()))
            }
            Some((ERROR, octets)) => {
                junk(format!("it reports an error: {:02x?}", &octets[..octets.len().min(16)]))
            }
            Some((kind, _)) => junk(format!("no frame of this kind is expected: 0x{kind:02x}")),
            None => junk("half a frame".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_begins_with_a_uuid_that_has_the_call_and_audio_has_the_kind_of_its_rate() {
        let mut stream = AudioSocket::new(16_000);
        let Some(Message::Binary(first)) = stream.begin(Start { call: 838, ..Start::default() }).pop() else {
            panic!("no frame")
        };
        assert_eq!(first[..3], [UUID, 0, 16]);
        assert_eq!((first[9] >> 4, first[11] >> 6), (8, 2), "version and variant");
        assert_eq!(first[12..], [0, 0, 0, 0, 0, 3, 70]);
        let Message::Binary(audio) = stream.audio(vec![0; 640]) else { panic!("no frame") };
        assert_eq!(audio[..3], [0x12, 2, 128]);
        assert_eq!(AudioSocket::new(8_000).audio(vec![1, 2]), Message::Binary(vec![0x10, 0, 2, 1, 2].into()));
    }

    #[test]
    fn what_a_program_sends_is_audio_a_digit_or_the_end() {
        let mut stream = AudioSocket::new(8_000);
        assert_eq!(stream.binary(&frame(0x10, &[1, 2])), Ok(Meaning::Audio(vec![1, 2].into())));
        assert_eq!(stream.binary(&frame(HANG_UP, &[])), Ok(Meaning::Goodbye));
        let digit = Said::Dtmf { digits: "5".into(), ms: None };
        assert_eq!(stream.binary(&frame(DIGIT, b"5")), Ok(Meaning::Request(digit.into())));
        for frame in [frame(ERROR, &[1]), frame(0x12, &[1, 2]), vec![0x10]] {
            assert!(matches!(stream.binary(&frame), Err(Mistake::Junk(_))), "{frame:?}");
        }
    }
}
