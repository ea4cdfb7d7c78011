//! Music on hold: tracks one after the other, from the first one again after the last.

use std::sync::Arc;

use super::Sound;

/// What a class of music has, at one rate.
#[derive(Debug, Clone)]
pub struct Tracks {
    pub rate_hz: u32,
    /// None is empty, and there is one at least.
    tracks: Arc<[Sound]>,
    samples: u64,
}

impl Tracks {
    /// These; none if there is nothing to hear in them.
    pub fn new(rate_hz: u32, tracks: Vec<Sound>) -> Option<Self> {
        let tracks: Arc<[Sound]> = tracks.into_iter().filter(|track| !track.is_empty()).collect();
        let samples = tracks.iter().map(|track| track.len() as u64).sum();
        (samples > 0).then_some(Tracks { rate_hz, tracks, samples })
    }
}

/// Music that is played to one party.
#[derive(Debug)]
pub struct Music {
    tracks: Tracks,
    /// All hear the same moment, which is that of the machine's clock. The clocks of threads
    /// differ by as much as they were started after each other, which nobody hears.
    shared: bool,
    /// The next sample.
    position: u64,
}

impl Music {
    /// From its beginning, or `shared`: where all others are.
    pub fn new(tracks: Tracks, shared: bool) -> Self {
        Music { tracks, shared, position: 0 }
    }

    /// Samples a second.
    pub fn rate_hz(&self) -> u32 {
        self.tracks.rate_hz
    }

    /// The samples of the tick that was due at `due`.
    pub fn read(&mut self, due: u64, frame: &mut [i16]) {
        let samples = self.tracks.samples;
        if self.shared {
            let played = u128::from(due) * u128::from(self.tracks.rate_hz) / 1_000_000_000;
            self.position = (played % u128::from(samples)) as u64;
        }
        let mut filled = 0;
        while filled < frame.len() {
            filled += self.read_track(&mut frame[filled..]);
        }
    }

    /// As much as one track has.
    fn read_track(&mut self, frame: &mut [i16]) -> usize {
        let mut before = 0;
        for track in self.tracks.tracks.iter() {
            let at = (self.position - before) as usize;
            if let Some(rest) = track.get(at..).filter(|rest| !rest.is_empty()) {
                let count = rest.len().min(frame.len());
                frame[..count].copy_from_slice(&rest[..count]);
                self.position = (self.position + count as u64) % self.tracks.samples;
                return count;
            }
            before += track.len() as u64;
        }
        // Not reached: the position is always within the tracks.
        self.position = 0;
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracks() -> Tracks {
        let track = |range: std::ops::Range<i16>| range.collect::<Vec<_>>().into();
        Tracks::new(8_000, vec![track(0..100), track(0..0), track(100..350)]).unwrap()
    }

    #[test]
    fn tracks_go_round_without_a_gap() {
        let mut music = Music::new(tracks(), false);
        let mut heard = Vec::new();
        for _ in 0..20 {
            let mut frame = [0; 160];
            music.read(1, &mut frame);
            heard.extend(frame);
        }
        assert!(heard.iter().enumerate().all(|(n, sample)| usize::from(*sample as u16) == n % 350));
        assert!(Tracks::new(8_000, vec![Vec::new().into()]).is_none(), "nothing to hear");
    }

    #[test]
    fn with_one_clock_all_hear_the_same_moment_and_without_it_each_its_own() {
        let (mut early, mut late) = (Music::new(tracks(), true), Music::new(tracks(), true));
        let (mut one, mut other) = ([0; 160], [0; 160]);
        for n in 0..30 {
            early.read(n * 20_000_000, &mut one);
        }
        late.read(29 * 20_000_000, &mut other);
        assert_eq!(one, other);
        early.read(30 * 20_000_000, &mut other);
        assert_eq!((i32::from(one[159]) + 1) % 350, i32::from(other[0]), "and goes on");
        let mut own = Music::new(tracks(), false);
        own.read(29 * 20_000_000, &mut other);
        assert_eq!(other[0], 0);
    }
}
