//! Compares what arrived with what was sent, piece by piece: is it there, whole
//! and in its place?
//!
//! The mixer adds tones and changes the level, so a piece is judged by how much
//! of the sent signal is in it, compared with the rest of the recording, and
//! not by what else is there.

use super::align::{Alignment, Correlator, energy, overlap};

/// Length of a piece: 100 ms at 8 kHz.
pub const PIECE: usize = 800;
/// How far a piece may lie from the one before it: 40 ms at 8 kHz. Jitter
/// buffers move the playout point by whole packets.
const REACH: usize = 320;
/// A piece moves only when the new place fits this much better than the old one:
/// a tone fits in many places.
const BETTER: f32 = 1.1;
/// Mean square of -50 dBFS: below it a piece is too quiet to be judged.
const QUIET: f64 = 1e-5;
/// Part of the usual gain below which a piece counts as damaged, and as missing.
const DAMAGED: f64 = 0.6;
const MISSING: f64 = 0.2;

/// What became of a piece of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was said here.
    Quiet,
    /// It arrived.
    Intact,
    /// Part of it arrived.
    Damaged,
    /// It did not arrive.
    Missing,
}

/// One piece of what was sent, [`PIECE`] samples long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Its first sample in what was sent.
    pub at: usize,
    /// Where it was found: see [`super::align`].
    pub lag: i64,
    /// How loud it arrived, as a factor.
    pub gain: f64,
    /// The judgement.
    pub state: State,
}

/// A stretch of pieces with the same fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// From the start of what was sent, seconds.
    pub at_s: f64,
    /// Its length, seconds.
    pub length_s: f64,
    /// [`State::Damaged`] or [`State::Missing`].
    pub state: State,
}

/// Follows `sent` through `received`, starting from the overall alignment.
pub fn compare(sent: &[i16], received: &[i16], alignment: &Alignment) -> Vec<Piece> {
    let mut correlator = Correlator::new(2 * PIECE + 2 * REACH);
    let mut lag = alignment.lag;
    let mut pieces: Vec<Piece> = (0..sent.len() / PIECE)
        .map(|index| {
            let at = index * PIECE;
            let piece = &sent[at..at + PIECE];
            let loudness = energy(piece);
            if loudness < QUIET * PIECE as f64 {
                return Piece { at, lag, gain: 0.0, state: State::Quiet };
            }
            let (product, found) = place(&mut correlator, piece, at, received, lag);
            // A weak match says nothing about the place.
            if f64::from(product) > 0.5 * alignment.gain * loudness {
                lag = found;
            }
            let (a, b) = overlap(sent, received, at, at + PIECE, lag);
            let product: f64 =
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / 32_768f64.powi(2);
            Piece { at, lag, gain: product / loudness, state: State::Intact }
        })
        .collect();
    judge(&mut pieces);
    pieces
}

/// The best place for a piece near `lag`, and the correlation there.
fn place(correlator: &mut Correlator, piece: &[i16], at: usize, received: &[i16], lag: i64) -> (f32, i64) {
    let start = at as i64 + lag - REACH as i64;
    let low = start.clamp(0, received.len() as i64) as usize;
    let high = (start + (PIECE + 2 * REACH) as i64).clamp(low as i64, received.len() as i64) as usize;
    let values = correlator.correlate(piece, &received[low..high]);
    // Lag 0 within the search is a lag of `low - at` within the recordings.
    let base = low as i64 - at as i64;
    let stay = Correlator::at(values, lag - base);
    let best = (0..=2 * REACH as i64)
        .map(|step| start + step - low as i64)
        .max_by(|a, b| Correlator::at(values, *a).total_cmp(&Correlator::at(values, *b)))
        .unwrap_or(0);
    let value = Correlator::at(values, best);
    if value > stay.max(0.0) * BETTER { (value, best + base) } else { (stay, lag) }
}

/// Judges each piece against the usual gain: the median of those that are loud.
fn judge(pieces: &mut [Piece]) {
    let mut gains: Vec<f64> = pieces.iter().filter(|p| p.state != State::Quiet).map(|p| p.gain).collect();
    gains.sort_by(f64::total_cmp);
    // The upper quartile stands for the rest even when a third is missing.
    let Some(usual) = gains.get(gains.len() * 3 / 4).copied() else { return };
    for piece in pieces.iter_mut().filter(|p| p.state != State::Quiet) {
        piece.state = match piece.gain / usual {
            _ if usual <= 0.0 => State::Missing,
            ratio if ratio < MISSING => State::Missing,
            ratio if ratio < DAMAGED => State::Damaged,
            _ => State::Intact,
        };
    }
}

/// The faults among the pieces, neighbours of the same kind joined.
pub fn faults(pieces: &[Piece], rate: u32) -> Vec<Fault> {
    let length_s = PIECE as f64 / f64::from(rate);
    let mut faults: Vec<Fault> = Vec::new();
    let mut open = false;
    for piece in pieces {
        let faulty = matches!(piece.state, State::Damaged | State::Missing);
        match faults.last_mut() {
            Some(last) if faulty && open && last.state == piece.state => last.length_s += length_s,
            _ if faulty => {
                let at_s = piece.at as f64 / f64::from(rate);
                faults.push(Fault { at_s, length_s, state: piece.state });
            }
            _ => {}
        }
        open = faulty;
    }
    faults
}

/// Share of what was said that arrived intact, 0 to 1; none when nothing was said.
pub fn intact_share(pieces: &[Piece]) -> Option<f64> {
    let said = pieces.iter().filter(|p| p.state != State::Quiet).count();
    let intact = pieces.iter().filter(|p| p.state == State::Intact).count();
    (said > 0).then(|| intact as f64 / said as f64)
}

#[cfg(test)]
mod tests {
    use super::super::align::align;
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn noise(seed: u64, length: usize) -> Vec<i16> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..length).map(|_| random.random_range(-8_000..8_000)).collect()
    }

    fn compared(sent: &[i16], received: &[i16]) -> Vec<Piece> {
        compare(sent, received, &align(sent, received).expect("sent is in received"))
    }

    #[test]
    fn a_clean_copy_is_intact_throughout() {
        let sent = noise(1, 40_000);
        let pieces = compared(&sent, &sent);
        assert_eq!(pieces.len(), 50);
        assert!(pieces.iter().all(|p| p.state == State::Intact && p.lag == 0));
        assert_eq!(intact_share(&pieces), Some(1.0));
        assert!(faults(&pieces, 8_000).is_empty());
    }

    #[test]
    fn a_hole_is_missing_where_it_is_and_nowhere_else() {
        let sent = noise(2, 40_000);
        let mut received = sent.clone();
        received[16_000..19_200].fill(0);
        let faults = faults(&compared(&sent, &received), 8_000);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].state, State::Missing);
        assert!((faults[0].at_s - 2.0).abs() < 1e-9 && (faults[0].length_s - 0.4).abs() < 1e-9);
    }

    #[test]
    fn a_half_lost_piece_is_damaged() {
        let sent = noise(3, 40_000);
        let mut received = sent.clone();
        received[8_000..8_400].fill(0);
        let faults = faults(&compared(&sent, &received), 8_000);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].state, State::Damaged);
    }

    #[test]
    fn a_playout_point_that_moves_is_followed() {
        let sent = noise(4, 40_000);
        let mut received = sent[..16_000].to_vec();
        received.extend([0; 160]);
        received.extend(&sent[16_000..]);
        let pieces = compared(&sent, &received);
        assert_eq!(pieces.first().map(|p| p.lag), Some(pieces[0].lag));
        let moved = pieces.last().expect("pieces").lag - pieces[0].lag;
        assert_eq!(moved, 160);
        assert!(pieces.iter().all(|p| p.state == State::Intact), "{pieces:?}");
    }

    #[test]
    fn a_tone_stays_in_its_place() {
        let tone: Vec<i16> = (0..40_000).map(|i| ((f64::from(i) * 0.3456).sin() * 9_000.0) as i16).collect();
        let mut sent = noise(5, 8_000);
        sent.extend(&tone);
        let pieces = compared(&sent, &sent);
        assert!(pieces.iter().all(|p| p.lag == 0));
    }

    #[test]
    fn tones_on_top_leave_it_intact() {
        let sent = noise(6, 40_000);
        let received: Vec<i16> = sent
            .iter()
            .enumerate()
            .map(|(i, s)| s / 2 + ((i as f64 * 0.55).sin() * 4_000.0) as i16)
            .collect();
        assert_eq!(intact_share(&compared(&sent, &received)), Some(1.0));
    }

    #[test]
    fn silence_is_not_judged() {
        let mut sent = noise(7, 8_000);
        sent.extend([0; 8_000]);
        let pieces = compared(&sent, &sent);
        assert_eq!(pieces.iter().filter(|p| p.state == State::Quiet).count(), 10);
        assert_eq!(intact_share(&pieces), Some(1.0));
    }
}
