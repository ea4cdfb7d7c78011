//! The timeline of a recorded call: samples at their positions, and silence in between.

use std::collections::VecDeque;

/// Length of the cross-fade at overlaps, ms.
const FADE_MS: u32 = 2;
/// Audio for which a track keeps memory, ms: more than waits in it. A longer pause of the taker, when the machine is
/// busy, must not enlarge every track for good.
const KEPT_MS: u32 = 900;

/// One direction of a call. Positions are in samples.
#[derive(Debug)]
pub struct Track {
    /// Position of the first sample of `samples`.
    begin: i64,
    samples: VecDeque<i16>,
    fade: usize,
    /// Samples for which memory is kept.
    kept: usize,
}

impl Track {
    /// An empty track.
    pub fn new(rate_hz: u32) -> Self {
        let samples = |ms: u32| (rate_hz * ms / 1_000) as usize;
        Track { begin: 0, samples: VecDeque::new(), fade: samples(FADE_MS), kept: samples(KEPT_MS) }
    }

    /// The first position that has not been taken off.
    pub fn begin(&self) -> i64 {
        self.begin
    }

    /// The position after the last sample.
    pub fn end(&self) -> i64 {
        self.begin + self.samples.len() as i64
    }

    /// Puts samples at a position, with a short cross-fade over samples that are there already.
    /// Samples before the beginning are lost.
    pub fn put(&mut self, at: i64, samples: &[i16]) {
        let late = usize::try_from(self.begin - at).unwrap_or(0);
        let Some(samples) = samples.get(late..).filter(|samples| !samples.is_empty()) else { return };
        let at = usize::try_from(at - self.begin).unwrap_or(0);
        self.samples.reserve_exact(self.kept.saturating_sub(self.samples.len()));
        if self.samples.len() < at {
            self.samples.resize(at, 0);
        }
        let overlap = self.samples.len().saturating_sub(at).min(samples.len());
        let span = overlap.min(self.fade).max(1) as i32;
        for (n, sample) in samples[..overlap].iter().enumerate() {
            let there = &mut self.samples[at + n];
            let rise = (n as i32 + 1).min(span);
            *there = ((i32::from(*sample) * rise + i32::from(*there) * (span - rise)) / span) as i16;
        }
        // Earlier samples beyond the new ones are outdated.
        self.samples.truncate(at + overlap);
        self.samples.extend(&samples[overlap..]);
    }
}

/// Removes the samples before `until` from all tracks, and appends them to `samples`, interleaved.
pub fn take<'a>(tracks: impl ExactSizeIterator<Item = &'a mut Track>, until: i64, samples: &mut Vec<i16>) {
    let (from, channels) = (samples.len(), tracks.len());
    for (channel, track) in tracks.enumerate() {
        let count = usize::try_from(until - track.begin).unwrap_or(0);
        samples.resize(from + count * channels, 0);
        let (first, second) = track.samples.as_slices();
        let mut frames = samples[from..].chunks_exact_mut(channels);
        for part in [first, second] {
            // Silence stands where the track has ended.
            part.iter().zip(&mut frames).for_each(|(sample, frame)| frame[channel] = *sample);
        }
        track.samples.drain(..count.min(track.samples.len()));
        track.begin += count as i64;
        track.samples.shrink_to(track.kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(tracks: &mut [Track], until: i64) -> Vec<i16> {
        let mut samples = Vec::new();
        take(tracks.iter_mut(), until, &mut samples);
        samples
    }

    #[test]
    fn silence_stands_where_nothing_was_put_and_what_comes_late_is_lost() {
        let mut tracks = [Track::new(8_000), Track::new(8_000)];
        tracks[0].put(2, &[1, 2, 3]);
        assert_eq!(taken(&mut tracks, 3), [0, 0, 0, 0, 1, 0]);
        tracks[1].put(0, &[7; 3]);
        tracks[1].put(1, &[5, 6, 7, 8]);
        assert!(taken(&mut tracks, 3).is_empty());
        assert_eq!(taken(&mut tracks, 6), [2, 7, 3, 8, 0, 0]);
        assert_eq!((tracks[0].begin(), tracks[0].end(), tracks[1].end()), (6, 6, 6));
    }

    #[test]
    fn what_overlaps_is_faded_over_and_what_stood_behind_it_is_gone() {
        let mut tracks = [Track::new(8_000)];
        tracks[0].put(0, &[0; 200]);
        tracks[0].put(100, &[1_600; 50]);
        assert_eq!(tracks[0].end(), 150);
        let samples = taken(&mut tracks, 150);
        assert_eq!((samples[99], samples[100], samples[107], samples[115]), (0, 100, 800, 1_600));
    }
}
