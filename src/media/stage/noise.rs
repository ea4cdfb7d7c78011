//! Comfort noise (RFC 3389): played while the other party sends only the level of its background
//! noise.

/// Highest level generated, dB below overload: the payload is untrusted, and background noise is soft.
const LOUDEST: u8 = 40;

/// White noise of a given level. The spectral information is ignored, as RFC 3389 §3.2 allows.
#[derive(Debug)]
pub(super) struct Noise {
    /// The largest sample value.
    amplitude: i32,
    state: u32,
}

impl Noise {
    /// Noise at the level of a CN payload; at a very soft level without one.
    pub fn new(payload: &[u8]) -> Self {
        let mut noise = Noise { amplitude: 0, state: 0x9E37_79B9 };
        noise.set(payload);
        noise
    }

    /// Sets the level: the first octet, -dBov (RFC 3389 §3.1).
    pub fn set(&mut self, payload: &[u8]) {
        let level = payload.first().map_or(70, |level| level & 0x7F).max(LOUDEST);
        // The RMS of uniform noise is its peak divided by the square root of 3.
        let rms = 32_768.0 * 10_f64.powf(-f64::from(level) / 20.0);
        self.amplitude = (rms * 3_f64.sqrt()) as i32;
    }

    /// Fills the next samples.
    pub fn read(&mut self, frame: &mut [i16]) {
        for sample in frame {
            // xorshift32 (Marsaglia)
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            let even = i32::from((self.state >> 16) as u16 as i16);
            *sample = (even * self.amplitude / 32_768) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Energy;

    #[test]
    fn noise_is_as_loud_as_the_payload_says_and_never_loud() {
        for (payload, level) in [(&[60][..], 60.0), (&[60, 7, 8], 60.0), (&[0], 40.0), (&[], 70.0)] {
            let mut frame = [0; 8_000];
            Noise::new(payload).read(&mut frame);
            let dbov = 20.0 * (Energy::of(&frame).rms() / 32_768.0).log10();
            assert!((dbov + level).abs() < 1.5, "{payload:?}: {dbov} dBov");
        }
        let mut frame = [1; 160];
        Noise::new(&[127]).read(&mut frame);
        assert!(frame.iter().all(|sample| *sample == 0));
    }
}
