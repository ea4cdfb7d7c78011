//! Conversion for a device that does not support the format of a call: another sample rate, channel count or
//! sample type. None of it needs a device.

use b2b_media::codec::rates::Rates;

/// The sample type of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    I16,
    I32,
    F32,
    U16,
}

/// A format range that a device supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub channels: u16,
    /// The lowest and the highest rate.
    pub rates_hz: (u32, u32),
    pub kind: Kind,
}

/// The format that a device is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub channels: u16,
    pub rate_hz: u32,
    pub kind: Kind,
}

/// The supported format nearest to mono samples of 16 bits at this rate: with its rate, or the highest that
/// can be converted; then with few channels; then with samples in the order of [`Kind`]. `None` if there is
/// none, as for a device with 44,100 Hz only.
pub(super) fn choose(offers: &[Offer], rate_hz: u32) -> Option<Format> {
    let rates: Vec<u32> = std::iter::once(rate_hz).chain(Rates::ALL.into_iter().rev()).collect();
    let fits = |offer: &Offer| {
        let (lowest, highest) = offer.rates_hz;
        let place = rates.iter().position(|rate| (lowest..=highest).contains(rate))?;
        let Offer { channels, kind, .. } = *offer;
        Some((place, Format { channels, rate_hz: rates[place], kind }))
    };
    let good = offers.iter().filter(|offer| offer.channels > 0).filter_map(fits);
    good.min_by_key(|(place, format)| (*place, format.channels, format.kind as u8)).map(|(_, format)| format)
}

/// Converts frames of 20 ms between the rate of a call and that of a device.
pub(super) struct Between {
    rates: Option<Rates>,
    /// Buffer at the device's rate.
    frame: Vec<i16>,
}

impl Between {
    /// Converts from one rate to another; `device_hz` is the device's.
    pub fn new(from_hz: u32, to_hz: u32, device_hz: u32) -> Self {
        let rates = (from_hz != to_hz).then(|| Rates::new(from_hz, to_hz));
        Between { rates, frame: vec![0; device_hz as usize / 50] }
    }

    /// Reads a frame from the device through `take`, at the call's rate.
    pub fn taken<E>(
        &mut self,
        frame: &mut [i16],
        take: impl FnOnce(&mut [i16]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.rates {
            None => take(frame),
            Some(rates) => {
                take(&mut self.frame)?;
                rates.process(&self.frame, frame);
                Ok(())
            }
        }
    }

    /// A frame of the call, at the device's rate.
    pub fn given<'a>(&'a mut self, frame: &'a [i16]) -> &'a [i16] {
        match &mut self.rates {
            None => frame,
            Some(rates) => {
                let samples = rates.process(frame, &mut self.frame);
                &self.frame[..samples]
            }
        }
    }
}

/// Averages the channels of one instant to one sample.
pub(super) fn folded(channels: impl ExactSizeIterator<Item = i16>) -> i16 {
    let count = channels.len().max(1) as i32;
    (channels.map(i32::from).sum::<i32>() / count) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: Offer = Offer { channels: 2, rates_hz: (48_000, 48_000), kind: Kind::I32 };

    #[test]
    fn a_device_is_opened_with_what_is_nearest_to_a_call() {
        let all = Offer { channels: 1, rates_hz: (8_000, 192_000), kind: Kind::I16 };
        let float = Offer { kind: Kind::F32, ..STEREO };
        let format = |channels, rate_hz, kind| Some(Format { channels, rate_hz, kind });
        assert_eq!(choose(&[STEREO, float, all], 16_000), format(1, 16_000, Kind::I16));
        assert_eq!(choose(&[float, STEREO], 16_000), format(2, 48_000, Kind::I32));
        assert_eq!(choose(&[float], 8_000), format(2, 48_000, Kind::F32));
        // The call's rate has priority over a mono channel, and that over the sample type.
        let narrow = Offer { channels: 1, rates_hz: (48_000, 48_000), kind: Kind::U16 };
        let wide = Offer { channels: 6, rates_hz: (16_000, 16_000), kind: Kind::F32 };
        assert_eq!(choose(&[narrow, wide], 16_000), format(6, 16_000, Kind::F32));
        assert_eq!(choose(&[STEREO, narrow], 16_000), format(1, 48_000, Kind::U16));
        let cd = Offer { rates_hz: (44_100, 44_100), ..STEREO };
        assert_eq!(choose(&[cd, Offer { channels: 0, ..all }], 16_000), None);
        assert_eq!(choose(&[], 16_000), None);
    }

    #[test]
    fn frames_have_the_same_sound_at_the_rate_of_the_device_and_of_the_call() {
        // A constant signal, after the filter has settled.
        let mut up = Between::new(16_000, 48_000, 48_000);
        let mut down = Between::new(48_000, 16_000, 48_000);
        let mut heard = [0; 320];
        for _ in 0..5 {
            let given = up.given(&[1_000; 320]);
            assert_eq!(given.len(), 960);
            let done: Result<(), ()> = down.taken(&mut heard, |device| {
                device.copy_from_slice(given);
                Ok(())
            });
            done.expect("taken");
        }
        assert!(heard.iter().all(|sample| (990..1_010).contains(sample)), "{heard:?}");
        let mut same = Between::new(16_000, 16_000, 16_000);
        assert_eq!(same.given(&[5; 320]), [5; 320]);
        assert_eq!(same.taken(&mut heard, |_| Err("gone")), Err("gone"));
    }

    #[test]
    fn channels_become_their_mean() {
        assert_eq!(folded([10, 20].into_iter()), 15);
        assert_eq!(folded([i16::MAX; 8].into_iter()), i16::MAX);
        assert_eq!(folded([0; 0].into_iter()), 0);
    }
}
