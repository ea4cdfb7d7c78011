//! Audio latency from the capture and playout times of samples, for chains whose packets carry no time
//! stamps.

use super::RATE_HZ;
use super::compare::{Piece, State};

/// Maximum frame length, in samples.
const LONGEST_FRAME: usize = RATE_HZ as usize / 10;
/// Minimum share of intact audio; with less, another sound may have been matched.
const LEAST_INTACT: f64 = 0.5;

/// The capture or playout times of a recording's frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock {
    /// First sample and time of each frame, nanoseconds since 1970; in order.
    frames: Vec<(usize, i64)>,
}

impl Clock {
    /// Parses `sample,unix_ns` lines; invalid ones are skipped.
    pub fn parse(text: &str) -> Clock {
        let row = |line: &str| {
            let (sample, ns) = line.split_once(',')?;
            Some((sample.parse().ok()?, ns.trim().parse().ok()?))
        };
        let mut frames: Vec<(usize, i64)> = text.lines().filter_map(row).collect();
        frames.sort_unstable();
        Clock { frames }
    }

    /// The time of this sample, if its frame has one.
    pub fn at(&self, sample: usize) -> Option<i64> {
        let after = self.frames.partition_point(|(first, _)| *first <= sample);
        let (first, ns) = self.frames.get(after.checked_sub(1)?)?;
        let behind = sample - first;
        let ns_of = |samples: usize| samples as i64 * (1_000_000_000 / i64::from(RATE_HZ));
        (behind < LONGEST_FRAME).then(|| ns + ns_of(behind))
    }
}

/// Mouth-to-ear latency, p50 and p95 in ms, of the received pieces; `None` if too few were received.
pub fn latency(sent: &Clock, received: &Clock, pieces: &[Piece], intact: Option<f64>) -> Option<(f64, f64)> {
    intact.filter(|share| *share >= LEAST_INTACT)?;
    let of = |piece: &Piece| {
        let heard = usize::try_from(piece.at as i64 + piece.lag).ok()?;
        Some((received.at(heard)? - sent.at(piece.at)?) as f64 / 1e6)
    };
    let mut all: Vec<f64> =
        pieces.iter().filter(|piece| piece.state == State::Intact).filter_map(of).collect();
    all.sort_by(f64::total_cmp);
    let percentile = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
    // A negative latency means that something else was matched.
    let (p50, p95) = percentile(50).copied().zip(percentile(95).copied())?;
    (p50 > 0.0).then_some((p50, p95))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of 20 ms starting at this time.
    fn clock(ms: i64, frames: usize) -> Clock {
        let frame = |n: usize| (n * 160, (ms + 20 * n as i64) * 1_000_000);
        Clock { frames: (0..frames).map(frame).collect() }
    }

    fn piece(at: usize, lag: i64, state: State) -> Piece {
        Piece { at, lag, gain: 1.0, state }
    }

    #[test]
    fn a_sample_is_as_late_in_its_frame_as_in_the_sound() {
        let clock = Clock::parse("sample,unix_ns\n0,1000000\nnonsense\n160,21000000\n");
        assert_eq!(
            (clock.at(0), clock.at(80), clock.at(160)),
            (Some(1_000_000), Some(11_000_000), Some(21_000_000))
        );
        assert_eq!((clock.at(2_000), Clock::default().at(0)), (None, None), "of no frame that has a time");
    }

    #[test]
    fn latency_is_from_capture_to_where_the_same_sound_was_heard() {
        // The received recording begins 300 ms after the sent one, and the audio is 50 ms earlier in it: 250
        // ms; from the second on 270.
        let (sent, received) = (clock(1_000, 100), clock(1_300, 100));
        let mut pieces = vec![piece(800, -400, State::Intact); 10];
        let of = |pieces: &[Piece], intact| latency(&sent, &received, pieces, intact);
        assert_eq!(of(&pieces, Some(1.0)), Some((250.0, 250.0)));
        pieces[9].lag = -240;
        pieces.push(piece(1_600, 8_000, State::Missing));
        assert_eq!(of(&pieces, Some(0.9)), Some((250.0, 270.0)));
        assert_eq!(of(&pieces, Some(0.4)), None, "too little of it arrived");
        assert_eq!(of(&[piece(8_000, -4_000, State::Intact)], Some(1.0)), None, "heard before it was said");
        assert_eq!(latency(&Clock::default(), &received, &pieces, Some(1.0)), None);
    }
}
