//! Compares received with sent audio, piece by piece: is each piece present, intact and in place?
//!
//! The mixer adds tones and changes the level, so a piece is judged by how much of the sent signal it
//! contains relative to the rest of the recording, and not by other audio in it. The playout point may move
//! during a call: only pieces that match in a single place locate it, and the others follow them (a tone or a
//! vowel matches in many places).

use super::align::{Alignment, Correlator, energy, overlap};

/// Length of a piece: 100 ms at 8 kHz.
pub const PIECE: usize = 800;
/// Maximum offset of a piece from the one before: 40 ms at 8 kHz. Jitter buffers move the playout point by
/// whole packets.
const REACH: i64 = 320;
/// Normalised correlation above which a piece counts as found.
const FOUND: f64 = 0.5;
/// A piece matches in a single place if no place further away than `BESIDE` (1 ms) matches this well in
/// comparison.
const RIVAL: f32 = 0.8;
const BESIDE: i64 = 8;
/// Mean square of -50 dBFS: below it a piece is too quiet to be judged.
const QUIET: f64 = 1e-5;
/// Ratio of received energy to the usual energy of the piece above which other audio masks it and it cannot
/// be judged: 12 dB.
const DROWNED: f64 = 16.0;
/// The same ratio below which there is no audio: a hole, which no other place can fill.
const SOUNDING: f64 = 0.25;
/// Share of the usual gain below which a piece counts as damaged, and as missing.
const DAMAGED: f64 = 0.6;
const MISSING: f64 = 0.2;

/// The state of a piece of sent audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was said here, or louder audio masks it.
    Quiet,
    /// It was received.
    Intact,
    /// Part of it was received.
    Damaged,
    /// It was not received.
    Missing,
}

/// One piece of sent audio, [`PIECE`] samples long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Its first sample in the sent audio.
    pub at: usize,
    /// The lag at which it was found: see [`super::align`].
    pub lag: i64,
    /// Its gain, as a factor.
    pub gain: f64,
    /// The judgement.
    pub state: State,
}

/// Consecutive pieces with the same fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// Offset from the start of the sent audio, seconds.
    pub at_s: f64,
    /// Its length, seconds.
    pub length_s: f64,
    /// [`State::Damaged`] or [`State::Missing`].
    pub state: State,
}

/// Follows `sent` through `received`, starting from the overall alignment.
pub fn compare(sent: &[i16], received: &[i16], alignment: &Alignment) -> Vec<Piece> {
    let mut anchors = anchors(sent, received, alignment.lag);
    drop_loners(&mut anchors);
    let mut pieces = Vec::with_capacity(anchors.len());
    let mut before = alignment.lag;
    for (index, anchor) in anchors.iter().enumerate() {
        let at = index * PIECE;
        let loudness = energy(&sent[at..at + PIECE]);
        before = anchor.unwrap_or(before);
        let next = anchors[index..].iter().flatten().next().copied().unwrap_or(before);
        let gain = |lag: i64| {
            let (there, arrived) = overlap(sent, received, at, at + PIECE, lag);
            product(there, arrived) / loudness
        };
        pieces.push(if loudness < QUIET * PIECE as f64 {
            Piece { at, lag: before, gain: 0.0, state: State::Quiet }
        } else {
            let lag = if gain(next) > gain(before) { next } else { before };
            Piece { at, lag, gain: gain(lag), state: State::Intact }
        });
    }
    judge(&mut pieces, sent, received);
    pieces
}

/// The lag of every piece that matches in a single place.
fn anchors(sent: &[i16], received: &[i16], mut lag: i64) -> Vec<Option<i64>> {
    let mut correlator = Correlator::new(2 * PIECE + 2 * REACH as usize);
    sent.chunks_exact(PIECE)
        .enumerate()
        .map(|(index, piece)| {
            let at = index * PIECE;
            if energy(piece) < QUIET * PIECE as f64 {
                return None;
            }
            let start = at as i64 + lag - REACH;
            let low = start.clamp(0, received.len() as i64);
            let high = (start + PIECE as i64 + 2 * REACH).clamp(low, received.len() as i64);
            let values = correlator.correlate(piece, &received[low as usize..high as usize]);
            // Lag 0 within the search is a lag of `low - at` within the recordings.
            let value = |lag: i64| Correlator::at(values, lag - (low - at as i64));
            let reach = lag - REACH..=lag + REACH;
            let best = reach.clone().max_by(|a, b| value(*a).total_cmp(&value(*b)))?;
            let alone = reach.clone().all(|l| (l - best).abs() <= BESIDE || value(l) < RIVAL * value(best));
            let (there, arrived) = overlap(sent, received, at, at + PIECE, best);
            let similarity = f64::from(value(best)) / (energy(there) * energy(arrived)).sqrt();
            if !alone || similarity < FOUND {
                return None;
            }
            lag = best;
            Some(best)
        })
        .collect()
}

/// Drops anchors that contradict both neighbours when these agree: another sound was matched.
fn drop_loners(anchors: &mut [Option<i64>]) {
    let found: Vec<(usize, i64)> =
        anchors.iter().enumerate().filter_map(|(index, lag)| Some((index, (*lag)?))).collect();
    let near = |a: i64, b: i64| (a - b).abs() <= BESIDE;
    for three in found.windows(3) {
        let [(_, before), (index, lag), (_, after)] = three else { continue };
        if near(*before, *after) && !near(*lag, *before) {
            anchors[*index] = None;
        }
    }
}

/// Correlation of two equally long signals, samples as fractions of full scale.
fn product(a: &[i16], b: &[i16]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / 32_768f64.powi(2)
}

/// Judges each piece against the usual gain: the upper quartile of all, which is representative even when
/// many pieces are missing.
fn judge(pieces: &mut [Piece], sent: &[i16], received: &[i16]) {
    let mut gains: Vec<f64> = pieces.iter().filter(|p| p.state != State::Quiet).map(|p| p.gain).collect();
    gains.sort_by(f64::total_cmp);
    let Some(usual) = gains.get(gains.len() * 3 / 4).copied() else { return };
    for piece in pieces.iter_mut().filter(|p| p.state != State::Quiet) {
        let (there, arrived) = overlap(sent, received, piece.at, piece.at + PIECE, piece.lag);
        piece.state = match piece.gain / usual {
            _ if usual <= 0.0 => State::Missing,
            _ if energy(arrived) > DROWNED * usual * usual * energy(there) => State::Quiet,
            ratio if ratio >= DAMAGED => State::Intact,
            // While the playout point moves, a piece lies between two places.
            _ if energy(arrived) > SOUNDING * usual * usual * energy(there)
                && best_gain(piece, sent, received) >= DAMAGED * usual =>
            {
                State::Intact
            }
            ratio if ratio < MISSING => State::Missing,
            _ => State::Damaged,
        };
    }
}

/// The gain of a piece at its best match nearby.
fn best_gain(piece: &Piece, sent: &[i16], received: &[i16]) -> f64 {
    let end = piece.at + PIECE;
    let gains = (piece.lag - REACH..=piece.lag + REACH).map(|lag| {
        let (there, arrived) = overlap(sent, received, piece.at, end, lag);
        product(there, arrived) / energy(&sent[piece.at..end])
    });
    gains.fold(0.0, f64::max)
}

/// The faults among the pieces; adjacent pieces of the same kind are joined.
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

/// Share of the non-silent sent audio received intact, 0 to 1; `None` if nothing was said.
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
    fn a_playout_point_that_moves_within_a_piece_damages_nothing() {
        let sent = noise(9, 40_000);
        let mut received = sent[..16_200].to_vec();
        received.extend(&sent[16_270..]);
        let pieces = compared(&sent, &received);
        assert!(pieces.iter().all(|p| p.state == State::Intact), "{:?}", faults(&pieces, 8_000));
    }

    #[test]
    fn a_hole_in_a_tone_is_missing_and_moves_nothing() {
        let tone: Vec<i16> = (0..16_000).map(|i| ((f64::from(i) * 0.26).sin() * 9_000.0) as i16).collect();
        let mut sent = noise(5, 8_000);
        sent.extend(&tone);
        sent.extend(noise(8, 8_000));
        let mut received = sent.clone();
        received[12_100..14_500].fill(0);
        let pieces = compared(&sent, &received);
        assert!(pieces.iter().all(|p| p.lag == 0), "{pieces:?}");
        let missing: f64 = faults(&pieces, 8_000).iter().map(|f| f.length_s).sum();
        assert!((0.25..0.45).contains(&missing), "{missing}");
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
