//! ITU-T G.711: µ-law and A-law.
//!
//! Samples are 16-bit. The standard uses 14-bit (µ-law) and 13-bit (A-law) values; they occupy the
//! upper bits. An input exactly on a decision value belongs to the interval above it, as in the
//! ITU's reference software (G.191). Decoding uses a table; encoding uses arithmetic, because a
//! table of 64 KiB would cost the media thread more cache than it saves.

use super::Codec;

const ULAW: [i16; 256] = ulaw_table();
const ALAW: [i16; 256] = alaw_table();

/// Half of the smallest µ-law step after the first chord, in 14-bit units: with it every chord
/// begins at a power of two.
const ULAW_BIAS: i32 = 33;
/// The largest 14-bit magnitude with the bias that still has 13 bits.
const ULAW_CLIP: i32 = 8_191;
/// Every second bit of an A-law byte is sent inverted (G.711 table 1, note).
const ALAW_TOGGLE: u8 = 0x55;

/// The two laws. One octet is one sample at 8 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// µ-law, PCMU.
    Mu,
    /// A-law, PCMA.
    A,
}

impl Law {
    /// The law of a codec, if it is G.711.
    pub const fn of(codec: Codec) -> Option<Law> {
        match codec {
            Codec::Pcmu => Some(Law::Mu),
            Codec::Pcma => Some(Law::A),
            Codec::G722 | Codec::Opus => None,
        }
    }

    /// Encodes as many samples as fit both slices, and returns their number.
    pub fn encode(self, samples: &[i16], payload: &mut [u8]) -> usize {
        let pairs = payload.iter_mut().zip(samples);
        match self {
            Law::Mu => pairs.for_each(|(byte, &sample)| *byte = ulaw_encode(sample)),
            Law::A => pairs.for_each(|(byte, &sample)| *byte = alaw_encode(sample)),
        }
        samples.len().min(payload.len())
    }

    /// Decodes as many octets as fit both slices, and returns their number.
    pub fn decode(self, payload: &[u8], samples: &mut [i16]) -> usize {
        let pairs = samples.iter_mut().zip(payload);
        match self {
            Law::Mu => pairs.for_each(|(sample, &byte)| *sample = ulaw_decode(byte)),
            Law::A => pairs.for_each(|(sample, &byte)| *sample = alaw_decode(byte)),
        }
        samples.len().min(payload.len())
    }
}

/// The sample of a µ-law byte.
#[inline]
pub fn ulaw_decode(byte: u8) -> i16 {
    ULAW[usize::from(byte)]
}

/// The sample of an A-law byte.
#[inline]
pub fn alaw_decode(byte: u8) -> i16 {
    ALAW[usize::from(byte)]
}

/// The µ-law byte of a sample.
#[inline]
pub fn ulaw_encode(sample: i16) -> u8 {
    let (sign, magnitude) = sign_and_magnitude(sample);
    let biased = ((i32::from(magnitude) >> 2) + ULAW_BIAS).min(ULAW_CLIP) as u32;
    let chord = biased.ilog2() - 5;
    let step = (biased >> (chord + 1)) & 0x0F;
    // All bits are inverted on the line (G.711 table 2, note).
    !(sign | (chord << 4) as u8 | step as u8)
}

/// The A-law byte of a sample.
#[inline]
pub fn alaw_encode(sample: i16) -> u8 {
    let (sign, magnitude) = sign_and_magnitude(sample);
    let value = u32::from(magnitude) >> 4;
    // The first two chords share one step size, so the first has no leading one.
    let code = if value < 32 {
        value as u8
    } else {
        // `value` has 6 to 11 bits; its upper five are 1 and the step.
        let chord = value.ilog2() - 3;
        (chord << 4) as u8 | ((value >> (chord - 1)) & 0x0F) as u8
    };
    (code | (sign ^ 0x80)) ^ ALAW_TOGGLE
}

/// The sign bit (set for negative samples) and the magnitude, counted so that
/// the negative axis mirrors the half-open intervals of the positive one.
#[inline]
fn sign_and_magnitude(sample: i16) -> (u8, u16) {
    if sample < 0 { (0x80, !sample as u16) } else { (0, sample as u16) }
}

const fn ulaw_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let code = !(byte as u8);
        let chord = (code >> 4) & 0x07;
        let step = (code & 0x0F) as i32;
        let magnitude = (((step * 2 + ULAW_BIAS) << chord) - ULAW_BIAS) * 4;
        table[byte] = if code & 0x80 != 0 { -magnitude } else { magnitude } as i16;
        byte += 1;
    }
    table
}

const fn alaw_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let code = byte as u8 ^ ALAW_TOGGLE;
        let chord = (code >> 4) & 0x07;
        let step = (code & 0x0F) as i32;
        let magnitude = if chord == 0 { step * 16 + 8 } else { (step * 16 + 8 + 256) << (chord - 1) };
        table[byte] = if code & 0x80 != 0 { magnitude } else { -magnitude } as i16;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decision values x1..x128 and the values y1..y128 of G.711 table 1a
    /// (A-law) in 16-bit units, from the chord description: chords of 32, 16,
    /// 16, … intervals whose width starts at 2 (of 4096) and doubles.
    fn alaw_reference() -> (Vec<f64>, Vec<f64>) {
        let (mut decisions, mut width, mut x) = (vec![0.0], 2.0, 0.0);
        for chord in 0..7 {
            for _ in 0..if chord == 0 { 32 } else { 16 } {
                x += width;
                decisions.push(x);
            }
            width *= 2.0;
        }
        let values = decisions.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0 * 8.0).collect();
        (decisions.iter().map(|x| x * 8.0).collect(), values)
    }

    /// The same for table 2a (µ-law): the first interval is 1 (of 8159) wide with value 0; 15
    /// intervals of 2 follow, then chords of 16 with doubling width.
    fn ulaw_reference() -> (Vec<f64>, Vec<f64>) {
        let (mut decisions, mut x) = (vec![0.0, 1.0], 1.0);
        for _ in 1..16 {
            x += 2.0;
            decisions.push(x);
        }
        let mut width = 4.0;
        for _ in 1..8 {
            for _ in 0..16 {
                x += width;
                decisions.push(x);
            }
            width *= 2.0;
        }
        let mut values: Vec<f64> = decisions.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0 * 4.0).collect();
        values[0] = 0.0;
        (decisions.iter().map(|x| x * 4.0).collect(), values)
    }

    /// The index of the interval that holds a sample, and whether it is negative.
    fn interval(decisions: &[f64], sample: i16) -> (usize, bool) {
        let (value, last) = (f64::from(sample), decisions.len() - 2);
        let inside = |n: usize| {
            let (low, high) = (decisions[n], decisions[n + 1]);
            if sample >= 0 { value >= low && value < high } else { value >= -high && value < -low }
        };
        ((0..=last).find(|&n| inside(n)).unwrap_or(last), sample < 0)
    }

    #[test]
    fn the_references_end_at_the_virtual_decision_value_of_the_standard() {
        let (alaw, alaw_values) = alaw_reference();
        assert_eq!((alaw.len(), alaw[128], alaw_values[127]), (129, 4096.0 * 8.0, 4032.0 * 8.0));
        let (ulaw, ulaw_values) = ulaw_reference();
        assert_eq!((ulaw.len(), ulaw[128], ulaw_values[127]), (129, 8159.0 * 4.0, 8031.0 * 4.0));
    }

    #[test]
    fn every_ulaw_byte_decodes_to_the_value_of_the_standard() {
        let (_, values) = ulaw_reference();
        for byte in 0..=255u8 {
            // G.711 table 2, column 6: the character signal of interval n is 255 - n,
            // and the sign bit is cleared for negative values.
            let n = usize::from(127 - (byte & 0x7F));
            let value = if byte & 0x80 != 0 { values[n] } else { -values[n] };
            assert_eq!(f64::from(ulaw_decode(byte)), value, "byte {byte:#04x}");
        }
    }

    #[test]
    fn every_alaw_byte_decodes_to_the_value_of_the_standard() {
        let (_, values) = alaw_reference();
        for byte in 0..=255u8 {
            // Table 1, column 6: interval n is n + 128 before the even bits are inverted.
            let signal = byte ^ 0x55;
            let n = usize::from(signal & 0x7F);
            let value = if signal & 0x80 != 0 { values[n] } else { -values[n] };
            assert_eq!(f64::from(alaw_decode(byte)), value, "byte {byte:#04x}");
        }
    }

    #[test]
    fn every_sample_encodes_to_its_ulaw_interval() {
        let (decisions, _) = ulaw_reference();
        for sample in i16::MIN..=i16::MAX {
            let (n, negative) = interval(&decisions, sample);
            let byte = (if negative { 0x7F } else { 0xFF }) - n as u8;
            assert_eq!(ulaw_encode(sample), byte, "sample {sample}");
        }
    }

    #[test]
    fn every_sample_encodes_to_its_alaw_interval() {
        let (decisions, _) = alaw_reference();
        for sample in i16::MIN..=i16::MAX {
            let (n, negative) = interval(&decisions, sample);
            let byte = (n as u8 | if negative { 0 } else { 0x80 }) ^ 0x55;
            assert_eq!(alaw_encode(sample), byte, "sample {sample}");
        }
    }

    #[test]
    fn stops_at_the_shorter_slice() {
        let mut payload = [0xAAu8; 4];
        assert_eq!(Law::Mu.encode(&[0, 0], &mut payload), 2);
        assert_eq!(payload, [0xFF, 0xFF, 0xAA, 0xAA]);
        let mut samples = [7i16; 3];
        assert_eq!(Law::A.decode(&[0xD5; 2], &mut samples), 2);
        assert_eq!(samples, [8, 8, 7]);
        assert_eq!(Law::A.decode(&[], &mut samples), 0);
    }

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=255u8 {
            assert_eq!(alaw_encode(alaw_decode(byte)), byte);
            // µ-law has two zeros; the negative one comes back as the positive one.
            let expected = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(ulaw_encode(ulaw_decode(byte)), expected);
        }
    }
}
