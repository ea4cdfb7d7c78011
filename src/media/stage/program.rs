//! A program of parts that are played one after the other, once or repeatedly.

use super::{Place, Sound};
use crate::mix::saturate;
use crate::tone::Oscillator;

/// Level of a full-scale sine, dBm0 (ITU-T G.711 §4), apart from A-law's slightly lower one.
const FULL_DBM0: f64 = 3.17;

/// The amplitude of a sine of this level.
fn amplitude(dbm0: i8) -> f64 {
    32_768.0 * 10_f64.powf((f64::from(dbm0) - FULL_DBM0) / 20.0)
}

/// Length of the raised-cosine edges of a tone, which avoid clicks, ms.
const EDGE_MS: usize = 5;

/// A part of a program, in samples of the program's rate.
#[derive(Debug, Clone)]
pub enum Segment {
    Sound(Sound),
    /// One or two simultaneous tones; 0 Hz for none.
    Tone {
        hz: [u16; 2],
        samples: usize,
        /// The level of each tone.
        dbm0: i8,
    },
    Silence(usize),
}

impl Segment {
    /// A tone of -16 dBm0.
    pub fn tone(hz: u16, samples: usize) -> Segment {
        Segment::Tone { hz: [hz, 0], samples, dbm0: -16 }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        match self {
            Segment::Sound(sound) => sound.len(),
            Segment::Tone { samples, .. } | Segment::Silence(samples) => *samples,
        }
    }

    /// Whether it has no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A program; see the module documentation.
#[derive(Debug)]
pub struct Program {
    rate_hz: u32,
    segments: Box<[Segment]>,
    /// Remaining repetitions, including the current one; `None` to repeat until stopped.
    times: Option<u32>,
    segment: usize,
    sample: usize,
    /// Each sound is padded with silence to the end of the tick.
    whole_ticks: bool,
    /// The segment of the sound that contains all of the last frame, and the frame's offset in it.
    place: Option<(usize, usize)>,
    tones: [Option<Oscillator>; 2],
    amplitude: f64,
}

impl Program {
    /// These segments, in samples of `rate_hz`, played `times` times; 0 to repeat until stopped.
    pub fn new(rate_hz: u32, segments: Vec<Segment>, times: u32) -> Self {
        let nothing = segments.iter().all(Segment::is_empty);
        let times = match times {
            _ if nothing => Some(0),
            0 => None,
            times => Some(times),
        };
        let mut program = Program {
            rate_hz,
            segments: segments.into(),
            times,
            segment: 0,
            sample: 0,
            whole_ticks: false,
            place: None,
            tones: [None, None],
            amplitude: 0.0,
        };
        program.begin_segment();
        program
    }

    /// Pads each sound with silence to a whole tick, so that what follows begins with a packet and
    /// pre-encoded packets fit.
    pub fn in_whole_ticks(self) -> Self {
        Program { whole_ticks: true, ..self }
    }

    /// Sampling rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Whether all samples were read.
    pub fn is_over(&self) -> bool {
        self.times == Some(0)
    }

    /// Reads the next samples and returns their number; the rest of `frame` is silence.
    pub fn read(&mut self, frame: &mut [i16]) -> usize {
        let mut filled = 0;
        self.place = None;
        while filled < frame.len() && !self.is_over() {
            let Some(segment) = self.segments.get(self.segment) else { break };
            let length = segment.len();
            let count = (length - self.sample).min(frame.len() - filled);
            let is_sound = matches!(segment, Segment::Sound(_));
            if filled == 0 && is_sound && (count == frame.len() || self.whole_ticks) {
                self.place = Some((self.segment, self.sample));
            }
            let part = &mut frame[filled..filled + count];
            match segment {
                Segment::Sound(sound) => part.copy_from_slice(&sound[self.sample..self.sample + count]),
                Segment::Silence(_) => part.fill(0),
                Segment::Tone { .. } => {
                    let amplitude = self.amplitude;
                    let edge = EDGE_MS * self.rate_hz as usize / 1_000;
                    for (n, sample) in part.iter_mut().enumerate() {
                        let from_edge = (self.sample + n).min(length - 1 - self.sample - n) as f64 + 0.5;
                        let part = (from_edge / edge as f64).min(1.0);
                        let envelope = 0.5 - 0.5 * (std::f64::consts::PI * part).cos();
                        let sum: f32 = self.tones.iter_mut().flatten().map(Oscillator::next_sample).sum();
                        *sample = saturate((amplitude * envelope) as f32 * sum);
                    }
                }
            }
            filled += count;
            self.sample += count;
            if self.sample == length {
                self.next_segment();
                if is_sound && self.whole_ticks {
                    break;
                }
            }
        }
        frame[filled..].fill(0);
        filled
    }

    /// The place of the last frame, if all of it is within one sound.
    pub fn place(&self) -> Option<Place<'_>> {
        let (segment, at) = self.place?;
        match self.segments.get(segment) {
            Some(Segment::Sound(sound)) => Some(Place { sound, at }),
            _ => None,
        }
    }

    fn next_segment(&mut self) {
        loop {
            self.segment += 1;
            if self.segment == self.segments.len() {
                self.segment = 0;
                self.times = self.times.map(|times| times - 1);
            }
            if self.is_over() || !self.segments[self.segment].is_empty() {
                break;
            }
        }
        self.begin_segment();
    }

    fn begin_segment(&mut self) {
        self.sample = 0;
        while !self.is_over() && self.segments[self.segment].is_empty() {
            self.segment += 1;
        }
        if let Some(&Segment::Tone { hz, dbm0, .. }) = self.segments.get(self.segment) {
            let rate = self.rate_hz;
            self.amplitude = amplitude(dbm0);
            self.tones = hz.map(|hz| (hz > 0).then(|| Oscillator::new(f64::from(hz), rate)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::SQRT_2;

    use super::*;
    use crate::mix::Energy;

    /// RMS of one tone of -16 dBm0.
    const TONE_RMS: f64 = 32_768.0 * 0.110 / SQRT_2;

    fn sound(samples: &[i16]) -> Segment {
        Segment::Sound(Sound::from(samples))
    }

    fn all(program: &mut Program, frame: usize) -> Vec<i16> {
        let mut heard = Vec::new();
        for _ in 0..1_000 {
            let mut samples = vec![7; frame];
            let count = program.read(&mut samples);
            assert!(samples[count..].iter().all(|sample| *sample == 0), "silence behind it");
            heard.extend(&samples[..count]);
            if program.is_over() {
                return heard;
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn parts_follow_each_other_without_a_gap_as_often_as_was_said() {
        for frame in [1, 2, 3, 5, 100] {
            let parts = vec![sound(&[]), sound(&[1, 2, 3]), sound(&[]), Segment::Silence(2), sound(&[4])];
            let mut program = Program::new(8_000, parts, 2);
            assert_eq!(all(&mut program, frame), [1, 2, 3, 0, 0, 4, 1, 2, 3, 0, 0, 4]);
            assert_eq!(program.read(&mut [0; 4]), 0);
        }
    }

    #[test]
    fn in_whole_ticks_a_sound_begins_with_a_tick_and_says_where_it_is() {
        let parts = vec![sound(&[1, 2, 3]), sound(&[4, 5]), Segment::Silence(1), sound(&[6, 7])];
        let mut program = Program::new(8_000, parts, 1).in_whole_ticks();
        let mut heard = Vec::new();
        while !program.is_over() {
            let mut frame = [9; 2];
            program.read(&mut frame);
            heard.push((frame, program.place().map(|place| (place.sound[0], place.at))));
        }
        let expected = [
            ([1, 2], Some((1, 0))),
            ([3, 0], Some((1, 2))),
            ([4, 5], Some((4, 0))),
            // After silence it may begin anywhere.
            ([0, 6], None),
            ([7, 0], Some((6, 1))),
        ];
        assert_eq!(heard, expected);
    }

    #[test]
    fn nothing_ends_at_once_even_if_it_is_to_go_on_for_ever() {
        for parts in [vec![], vec![sound(&[]), Segment::Silence(0)]] {
            let mut program = Program::new(8_000, parts, 0);
            assert!(program.is_over());
            assert_eq!(program.read(&mut [1; 4]), 0);
        }
        let mut forever = Program::new(8_000, vec![sound(&[1, 2])], 0);
        let mut frame = [0; 5];
        for _ in 0..1_000 {
            assert_eq!(forever.read(&mut frame), 5);
        }
        assert_eq!(frame, [2, 1, 2, 1, 2]);
    }

    #[test]
    fn a_tone_has_its_level_and_soft_edges_at_either_rate() {
        for rate_hz in [8_000, 16_000] {
            let tone = Segment::tone(1_000, rate_hz as usize);
            let samples = all(&mut Program::new(rate_hz, vec![tone], 1), rate_hz as usize / 50);
            let rms = Energy::of(&samples[400..samples.len() - 400]).rms();
            assert!((rms / TONE_RMS - 1.0).abs() < 0.01, "{rms}");
            // A full-scale sine has 3.17 dBm0.
            let dbm0 = 20.0 * (rms / (32_768.0 / SQRT_2)).log10() + 3.17;
            assert!((dbm0 + 16.0).abs() < 0.1, "{dbm0}");
            assert!(samples[0].abs() < 10 && samples[samples.len() - 1].abs() < 600);
        }
        let loud = Segment::Tone { hz: [1_004, 0], samples: 8_000, dbm0: 0 };
        let rms = Energy::of(&all(&mut Program::new(8_000, vec![loud], 1), 160)[400..7_600]).rms();
        let dbm0 = 20.0 * (rms / (32_768.0 / SQRT_2)).log10() + 3.17;
        assert!(dbm0.abs() < 0.1, "a digital milliwatt: {dbm0}");
        let two = Segment::Tone { hz: [350, 440], samples: 8_000, dbm0: -16 };
        let rms = Energy::of(&all(&mut Program::new(8_000, vec![two], 1), 160)).rms();
        assert!((rms / TONE_RMS - SQRT_2).abs() < 0.03, "each at its level: {rms}");
    }
}
