//! Music on hold: tracks played one after the other, in a loop.

use std::sync::Arc;

use super::{Place, Sound};

/// The tracks of a music class at one sampling rate.
#[derive(Debug, Clone)]
pub struct Tracks {
    pub rate_hz: u32,
    /// At least one track; none is empty.
    tracks: Arc<[Sound]>,
    /// Each track is padded with silence to a multiple of this many samples.
    step: usize,
    samples: u64,
}

impl Tracks {
    /// These tracks; `None` if all are empty.
    pub fn new(rate_hz: u32, tracks: Vec<Sound>) -> Option<Self> {
        let tracks: Arc<[Sound]> = tracks.into_iter().filter(|track| !track.is_empty()).collect();
        let tracks = Tracks { rate_hz, tracks, step: 1, samples: 0 }.in_steps(1);
        (tracks.samples > 0).then_some(tracks)
    }

    /// Pads each track with silence to a whole tick, so that each begins with a packet and its
    /// pre-encoded packets fit.
    pub fn in_whole_ticks(self) -> Self {
        let step = (self.rate_hz / 50) as usize;
        self.in_steps(step)
    }

    fn in_steps(self, step: usize) -> Self {
        let samples = self.tracks.iter().map(|track| track.len().next_multiple_of(step) as u64).sum();
        Tracks { step, samples, ..self }
    }

    /// The track that contains this sample, and the offset in it, which may be in the padding.
    fn at(&self, position: u64) -> Option<(usize, usize)> {
        let mut at = usize::try_from(position).ok()?;
        for (n, track) in self.tracks.iter().enumerate() {
            let length = track.len().next_multiple_of(self.step);
            match at.checked_sub(length) {
                Some(behind) => at = behind,
                None => return Some((n, at)),
            }
        }
        None
    }
}

/// Music played to one party.
#[derive(Debug)]
pub struct Music {
    tracks: Tracks,
    /// All listeners hear the same position, given by the machine's clock. The clocks of threads
    /// differ by the difference of their start times, which is inaudible.
    shared: bool,
    /// Position of the next sample.
    position: u64,
    /// The track that contains all of the last frame, and the frame's offset in it.
    place: Option<(usize, usize)>,
}

impl Music {
    /// Music from its beginning, or, if `shared`, from the common position.
    pub fn new(tracks: Tracks, shared: bool) -> Self {
        Music { tracks, shared, position: 0, place: None }
    }

    /// Sampling rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.tracks.rate_hz
    }

    /// Reads the samples of the tick due at `due`.
    pub fn read(&mut self, due: u64, frame: &mut [i16]) {
        let Tracks { rate_hz, step, samples, .. } = self.tracks;
        if self.shared {
            let played = u128::from(due) * u128::from(rate_hz) / 1_000_000_000;
            self.position = (played % u128::from(samples)) as u64 / step as u64 * step as u64;
        }
        let mut filled = 0;
        self.place = None;
        while filled < frame.len() {
            // The position is always within the tracks.
            let Some((track, at)) = self.tracks.at(self.position) else { return frame[filled..].fill(0) };
            let sound = &self.tracks.tracks[track];
            let rest = sound.len().next_multiple_of(step) - at;
            let part = rest.min(frame.len() - filled);
            let to = &mut frame[filled..filled + part];
            let there = sound.get(at..).unwrap_or_default();
            let (heard, silence) = to.split_at_mut(there.len().min(part));
            heard.copy_from_slice(&there[..heard.len()]);
            silence.fill(0);
            if part == frame.len() {
                self.place = Some((track, at));
            }
            self.position = (self.position + part as u64) % samples;
            filled += part;
        }
    }

    /// The place of the last frame, if all of it is within one track.
    pub fn place(&self) -> Option<Place<'_>> {
        let (track, at) = self.place?;
        Some(Place { sound: self.tracks.tracks.get(track)?, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracks() -> Tracks {
        let track = |range: std::ops::Range<i16>| Sound::from(range.collect::<Vec<_>>());
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
        assert!(Tracks::new(8_000, vec![Sound::from(Vec::new())]).is_none(), "nothing to hear");
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

    #[test]
    fn in_whole_ticks_each_track_begins_with_one_and_says_where_it_is() {
        for shared in [false, true] {
            let mut music = Music::new(tracks().in_whole_ticks(), shared);
            let mut heard = Vec::new();
            for n in 0..7 {
                let mut frame = [9; 160];
                // A listener that joins later, and not on a tick boundary.
                music.read(n * 20_000_000 + 3_000_000, &mut frame);
                let place = music.place().expect("of one track");
                heard.push((place.sound.len(), place.at, frame[0], frame[159]));
            }
            let round = [(100, 0, 0, 0), (250, 0, 100, 259), (250, 160, 260, 0)];
            assert_eq!(heard, [&round[..], &round, &round[..1]].concat(), "{shared}");
        }
    }
}
