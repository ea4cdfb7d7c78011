//! RTP header extensions: elements in the one-byte and the two-byte form
//! (RFC 8285 §4.2, §4.3), and abs-capture-time.

/// The `a=extmap` URI of the absolute capture time.
pub const ABS_CAPTURE_TIME_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// Octets of an extension that holds only an abs-capture-time in its 8-byte form.
pub const ABS_CAPTURE_TIME_LEN: usize = 16;

const ONE_BYTE: u16 = 0xBEDE;

/// Iterates over (identifier, data). Stops at the first element that is too long; an unknown
/// profile has no elements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    two_byte: bool,
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// The elements of an extension with this profile.
    pub fn new(profile: u16, data: &'a [u8]) -> Self {
        match profile {
            ONE_BYTE => Extensions { two_byte: false, rest: data },
            // The low four bits are application-specific (RFC 8285 §4.3).
            _ if profile >> 4 == 0x100 => Extensions { two_byte: true, rest: data },
            _ => Extensions::default(),
        }
    }

    /// The abs-capture-time with this identifier: UQ32.32 NTP time of the first sample. The longer
    /// form with a clock offset is accepted, but the offset is ignored.
    pub fn abs_capture_time(mut self, id: u8) -> Option<u64> {
        let (_, data) = self.find(|(found, _)| *found == id)?;
        data.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, after) = self.rest.split_first()?;
            if first == 0 {
                self.rest = after; // one byte of padding, in both forms
                continue;
            }
            let (id, len, data) = if self.two_byte {
                let (&len, data) = after.split_first()?;
                (first, usize::from(len), data)
            } else if first >> 4 == 15 {
                return None; // reserved: stop here (RFC 8285 §4.2)
            } else {
                (first >> 4, usize::from(first & 0x0F) + 1, after)
            };
            let Some((element, rest)) = data.split_at_checked(len) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            return Some((id, element));
        }
    }
}

/// A complete extension in the one-byte form: profile, length in words, one element of eight
/// octets, padding.
pub fn abs_capture_time(id: u8, time: u64) -> [u8; ABS_CAPTURE_TIME_LEN] {
    let mut extension = [0; ABS_CAPTURE_TIME_LEN];
    extension[..2].copy_from_slice(&ONE_BYTE.to_be_bytes());
    extension[3] = 3;
    extension[4] = (id << 4) | 7;
    extension[5..13].copy_from_slice(&time.to_be_bytes());
    extension
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_byte_elements_between_padding() {
        let data = [0x10, 0xAA, 0, 0x21, 1, 2, 0, 0];
        let elements: Vec<_> = Extensions::new(ONE_BYTE, &data).collect();
        assert_eq!(elements, [(1, &[0xAA][..]), (2, &[1, 2][..])]);
    }

    #[test]
    fn reads_two_byte_elements_and_empty_ones() {
        let data = [1, 0, 0, 200, 3, 7, 8, 9];
        let elements: Vec<_> = Extensions::new(0x1005, &data).collect();
        assert_eq!(elements, [(1, &[][..]), (200, &[7, 8, 9][..])]);
    }

    #[test]
    fn an_element_that_does_not_fit_ends_the_list() {
        assert_eq!(Extensions::new(ONE_BYTE, &[0x1F, 1, 2]).count(), 0);
        assert_eq!(Extensions::new(0x1000, &[1, 5, 0]).count(), 0);
        assert_eq!(Extensions::new(0x1000, &[1]).count(), 0);
        assert_eq!(Extensions::new(ONE_BYTE, &[0xF0, 1, 0x10, 2]).count(), 0, "id 15 is reserved");
        assert_eq!(Extensions::new(0xABCD, &[0x10, 1, 0, 0]).count(), 0, "unknown profile");
    }

    #[test]
    fn capture_time_is_read_in_both_its_lengths() {
        let time = 0x0102_0304_0506_0708;
        let short = abs_capture_time(5, time);
        assert_eq!(Extensions::new(ONE_BYTE, &short[4..]).abs_capture_time(5), Some(time));
        let mut long = vec![0x5F];
        long.extend_from_slice(&time.to_be_bytes());
        long.extend_from_slice(&[9; 8]);
        assert_eq!(Extensions::new(ONE_BYTE, &long).abs_capture_time(5), Some(time));
        assert_eq!(Extensions::new(ONE_BYTE, &[0x50, 1]).abs_capture_time(5), None, "too short");
    }
}
