//! The decoders of one direction: the received codec may change from packet to packet. A decoder is
//! created with the first packet that needs it, which most calls never send.

use crate::codec::{self, Codec, Decoder, Undecodable};
use crate::conceal::Concealer;

/// Maximum samples of a packet: 120 ms at 16 kHz, the longest of Opus.
pub(super) const LONGEST: usize = 1_920;
/// Octets of G.711 or G.722 decoded at once: 20 ms.
pub(super) const PIECE: usize = 160;
/// Loss, percent, against which redundancy is sent if the far end uses it.
pub(super) const EXPECTED_LOSS: u8 = 5;

/// Decoders by codec. The concealer serves those without their own concealment.
pub(super) struct Decoders {
    rate_hz: u32,
    decoders: [Option<Decoder>; Codec::ALL.len()],
    /// The decoder used last.
    last: usize,
    concealer: Concealer,
}

impl Decoders {
    pub fn new(rate_hz: u32) -> Self {
        Decoders { rate_hz, decoders: [const { None }; 4], last: 0, concealer: Concealer::new(rate_hz) }
    }

    /// Decodes up to [`PIECE`] octets of G.711 or G.722, or a whole packet of Opus, and returns the
    /// number of samples.
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

    /// The number of samples of the packet before this one that its redundancy holds.
    pub fn carried(&self, codec: Codec, payload: &[u8]) -> usize {
        // Recovery needs earlier decoder state.
        let last = self.decoders[self.last].as_ref().filter(|decoder| decoder.codec() == codec);
        let samples = last.filter(|decoder| decoder.recovers(payload));
        samples.and_then(|_| codec::samples(codec, payload, self.rate_hz)).unwrap_or(0)
    }

    /// Recovers the packet before this one; returns the number of samples, 0 if that fails.
    pub fn recover(&mut self, codec: Codec, payload: &[u8], to: &mut [i16; LONGEST]) -> usize {
        let last = self.decoders[self.last].as_mut().filter(|decoder| decoder.codec() == codec);
        last.map_or(0, |decoder| decoder.recover(payload, to))
    }

    /// Conceals this many samples, at most 20 ms.
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
