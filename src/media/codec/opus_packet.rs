//! The length of an Opus packet by its first two octets (RFC 6716 §3).

use super::LONGEST_MS;

/// Frames in a packet; `None` if its frame count is missing or 0 (§3.2.5).
pub fn frames(packet: &[u8]) -> Option<usize> {
    match packet.first()? & 0x03 {
        0 => Some(1),
        1 | 2 => Some(2),
        _ => packet.get(1).map(|count| usize::from(count & 0x3F)).filter(|count| *count > 0),
    }
}

/// Samples of a packet at this rate; `None` if it is invalid, or longer than Opus allows (§3.4 R5).
pub fn samples(packet: &[u8], rate_hz: u32) -> Option<usize> {
    let config = packet.first()? >> 3;
    // In steps of 2.5 ms (§3.1, table 2).
    let steps = match config {
        0..=11 => [4, 8, 16, 24][usize::from(config & 3)],
        12..=15 => [4, 8][usize::from(config & 1)],
        _ => [1, 2, 4, 8][usize::from(config & 3)],
    };
    let steps = steps * frames(packet)?;
    (steps * 5 <= LONGEST_MS as usize * 2).then_some(steps * rate_hz as usize / 400)
}

/// Whether a packet is a single mono frame that contains the previous one: its LBRR flag, which can
/// be read here without a range decoder (§4.2.3).
pub fn has_redundancy(packet: &[u8]) -> bool {
    match packet {
        // SILK or hybrid, mono, code 0. The flag follows one VAD flag for each 20 ms.
        [toc, first, ..] if toc >> 3 < 16 && toc & 0x07 == 0 => {
            let voices = samples(packet, 400).unwrap_or(8).div_ceil(8);
            first >> (7 - voices.min(3)) & 1 == 1
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_table() {
        // SILK NB 10 to 60 ms, hybrid SWB 10 and 20 ms, CELT FB 2.5 to 20 ms; one frame each.
        let of = |config: u8| samples(&[config << 3, 0], 48_000);
        assert_eq!([0, 1, 2, 3].map(of), [480, 960, 1_920, 2_880].map(Some));
        assert_eq!([12, 13].map(of), [480, 960].map(Some));
        assert_eq!([28, 29, 30, 31].map(of), [120, 240, 480, 960].map(Some));
        assert_eq!(samples(&[1 << 3 | 1, 0, 0], 16_000), Some(640), "two frames");
        assert_eq!(samples(&[1 << 3 | 3, 6], 8_000), Some(960), "120 ms");
        assert_eq!(samples(&[1 << 3 | 3, 7], 8_000), None, "more than 120 ms");
        assert_eq!(samples(&[1 << 3 | 3, 0], 8_000), None, "no frame");
        assert_eq!(samples(&[1 << 3 | 3], 8_000), None);
        assert_eq!(samples(&[], 8_000), None);
    }

    #[test]
    fn redundancy_is_seen_behind_the_vad_flags() {
        let wideband = |ms_code: u8, first: u8| has_redundancy(&[(8 + ms_code) << 3, first, 0]);
        assert!(wideband(1, 0b0100_0000) && !wideband(1, 0b1011_1111), "20 ms");
        assert!(wideband(0, 0b0100_0000), "10 ms");
        assert!(wideband(2, 0b0010_0000) && !wideband(2, 0b1101_1111), "40 ms");
        assert!(!has_redundancy(&[9 << 3 | 4, 0xFF, 0]), "stereo");
        assert!(!has_redundancy(&[9 << 3 | 1, 0xFF, 0]), "two frames");
        assert!(!has_redundancy(&[31 << 3, 0xFF, 0]), "CELT");
        assert!(!has_redundancy(&[9 << 3]) && !has_redundancy(&[]));
    }
}
