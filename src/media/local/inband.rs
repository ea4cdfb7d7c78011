//! Detects digits in the played audio.

use crate::codec::rates::Rates;
use crate::dtmf::LineDetector;
use crate::rtp::telephone_event::Digit;

/// Maximum detected digits that wait to be reported; a tick has fewer.
const WAITING: usize = 8;
/// Samples of a frame at 8 kHz.
const FRAME: usize = 160;

pub(crate) struct InBand {
    rates: Option<Rates>,
    detector: LineDetector,
    found: [Option<Digit>; WAITING],
}

impl InBand {
    pub fn new(rate_hz: u32) -> Self {
        let rates = (rate_hz != 8_000).then(|| Rates::new(rate_hz, 8_000));
        InBand { rates, detector: LineDetector::default(), found: [None; WAITING] }
    }

    /// Analyses a frame.
    pub fn frame(&mut self, samples: &[i16]) {
        let mut narrow = [0; FRAME];
        let samples = match &mut self.rates {
            Some(rates) => {
                let made = rates.process(samples, &mut narrow);
                &narrow[..made]
            }
            None => samples,
        };
        let found = &mut self.found;
        self.detector.push(samples, |heard| {
            if let Some(free) = found.iter_mut().find(|place| place.is_none()) {
                *free = Some(Digit { digit: heard.digit, duration_ms: (heard.length / 8) as u32 });
            }
        });
    }

    /// The next detected digit.
    pub fn take(&mut self) -> Option<Digit> {
        let first = self.found[0].take();
        self.found.rotate_left(1);
        first
    }
}
