//! The decoders of one direction: which codec comes may change from packet to packet. They are
//! made with the first packet that needs them: most calls never do.

use crate::codec::{Codec, Decoder, Undecodable};
use crate::conceal::Concealer;

/// Samples that one packet may hold: 120 ms at 16 kHz, the longest of Opus.
pub(super) const LONGEST: usize = 1_920;
/// Octets of G.711 or G.722 that are taken at once: 20 ms.
pub(super) const PIECE: usize = 160;
/// Loss against which redundancy is sent where the far end makes use of it, percent.
pub(super) const EXPECTED_LOSS: u8 = 5;

/// Decoders by codec. The concealer is for those that have none of their own.
pub(super) struct Decoders {
    rate_hz: u32,
    decoders: [Option<Decoder>; Codec::ALL.len()],
    /// The one that was used last.
    last: usize,
    concealer: Concealer,
}

impl Decoders {
    pub fn new(rate_hz: u32) -> Self {
        Decoders { rate_hz, decoders: [const { None }; 4], last: 0, concealer: Concealer::new(rate_hz) }
    }

    /// Decodes up to [`PIECE`] octets of G.711 or G.722, or a whole packet of Opus, and
    /// says how many samples that is.
    pub fn decode(
        &mut self,
        codec: Codec,
        payload: &[u8],
        to: &mut [i16; LONGEST],
    ) -> Result<usize, Undecodable> {
        let place = Codec::ALL.iter().position(|known| *known == codec).ok_or(Undecodable)?;
        self.last = place;
        let decoder = self.decoders[place].get_or_insert_with(|| Decoder::new(codec, self.rate_hz));
        let samples = decoder.decode(payload, to)?;
        if !decoder.conceals() {
            self.concealer.good(&mut to[..samples]);
        }
        Ok(samples)
    }

    /// Makes up so many samples, at most 20 ms.
    pub fn conceal(&mut self, samples: usize, to: &mut [i16; LONGEST]) -> usize {
        let samples = samples.min(self.rate_hz as usize / 50);
        match self.decoders[self.last].as_mut().filter(|decoder| decoder.conceals()) {
            Some(decoder) => match decoder.conceal(samples, to) {
                0 => {
                    to[..samples].fill(0);
                    samples
                }
                made => made,
            },
            None => {
                self.concealer.lost(&mut to[..samples]);
                samples
            }
        }
    }
}
