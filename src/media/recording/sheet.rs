//! A recording without its file: takes packets of both directions and returns the samples to write.
//! Times are arguments, in ns since the recording's beginning; there is no clock and no I/O.

use super::line::Line;
use super::{Formats, Mono, Plan, Side};
use crate::mix::{Energy, SpeechDetector};
use crate::timeline;

/// How long to wait for reordered packets, ns; later ones are lost.
const ORDERED: u64 = 300_000_000;
/// Maximum lag of a packet behind its position at which it is still written, ns: that of a burst.
const PLACED: u64 = 500_000_000;

/// The state of one recording.
pub struct Sheet {
    rate_hz: u32,
    stereo: bool,
    mono: Mono,
    lines: [Line; 2],
    clock: Clock,
    longest: Option<i64>,
    silence: Silence,
}

/// The silence of the party, and the rest.
struct Silence {
    /// Maximum silence, samples; `None` for no limit.
    most: Option<i64>,
    /// Current length of the silence.
    samples: i64,
    /// Samples that were not silent.
    spoken: i64,
    /// Energy of the current 20 ms.
    energy: Energy,
    detector: SpeechDetector,
}

/// Maps times to positions; paused time takes none.
#[derive(Debug, Default)]
struct Clock {
    rate_hz: u32,
    /// Start and end of each pause; the last one may be open.
    pauses: Vec<(u64, Option<u64>)>,
}

impl Clock {
    /// The position of a time, and the number of pauses before it; `None` within a pause.
    fn place(&self, at: u64) -> Option<(i64, usize)> {
        let before = self.pauses.iter().take_while(|(from, _)| *from <= at);
        let (mut paused, mut count) = (0, 0);
        for (from, to) in before {
            let to = to.filter(|to| *to <= at)?;
            (paused, count) = (paused + (to - from), count + 1);
        }
        Some((self.samples(at - paused), count))
    }

    /// The position reached at a time; in a pause, that of the pause's start.
    fn reached(&self, at: u64) -> i64 {
        let paused: u64 = self
            .pauses
            .iter()
            .filter(|(from, _)| *from <= at)
            .map(|(from, to)| to.unwrap_or(at).min(at) - from)
            .sum();
        self.samples(at - paused)
    }

    fn samples(&self, ns: u64) -> i64 {
        (u128::from(ns) * u128::from(self.rate_hz) / 1_000_000_000) as i64
    }

    fn pause(&mut self, at: u64, paused: bool) {
        match (self.pauses.last_mut(), paused) {
            (Some((_, None)), true) => {}
            (Some((from, to @ None)), false) => *to = Some(at.max(*from)),
            (last, true) => {
                let after = last.and_then(|(_, to)| *to).unwrap_or(0);
                self.pauses.push((at.max(after), None));
            }
            (_, false) => {}
        }
    }
}

/// Whether a recording continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesOn {
    Yes,
    /// The maximum length, or the maximum silence of the party, is reached.
    No,
}

impl Sheet {
    /// An empty recording; `said` and `heard` are the formats of both directions.
    pub fn new(plan: &Plan, said: Formats, heard: Formats) -> Self {
        let rate_hz = plan.rate_hz;
        let clock = Clock { rate_hz, pauses: Vec::new() };
        let samples = |duration: std::time::Duration| clock.samples(duration.as_nanos() as u64);
        let most = plan.silence.map(samples);
        let (energy, detector) = (Energy::default(), SpeechDetector::default());
        let silence = Silence { most, samples: 0, spoken: 0, energy, detector };
        Sheet {
            rate_hz,
            stereo: plan.stereo,
            mono: plan.mono,
            lines: [Line::new(rate_hz, said), Line::new(rate_hz, heard)],
            longest: plan.longest.map(samples),
            silence,
            clock,
        }
    }

    /// Sets other formats.
    pub fn formats(&mut self, said: Formats, heard: Formats) {
        let [left, right] = &mut self.lines;
        (left.formats, right.formats) = (said, heard);
    }

    /// Switches to another party's packets.
    pub fn restart(&mut self) {
        self.lines.iter_mut().for_each(Line::restart);
    }

    /// Pauses the recording at this time, or resumes it.
    pub fn pause(&mut self, at: u64, paused: bool) {
        self.clock.pause(at, paused);
    }

    /// Adds a packet.
    pub fn packet(&mut self, at: u64, side: Side, packet: &[u8]) {
        match side {
            Side::Said if self.stereo || self.mono != Mono::Heard => self.lines[0].push(at, packet),
            Side::Heard if self.stereo || self.mono != Mono::Said => self.lines[1].push(at, packet),
            Side::Said | Side::Heard => {}
        }
    }

    /// Appends what is complete: left, right, left, … Every packet up to `now` must have been added.
    pub fn advance(&mut self, now: u64, samples: &mut Vec<i16>) -> GoesOn {
        let until = now.saturating_sub(ORDERED);
        self.play(until);
        self.write(self.clock.reached(until.saturating_sub(PLACED)), samples)
    }

    /// Appends everything up to the end time.
    pub fn finish(&mut self, end: u64, samples: &mut Vec<i16>) {
        self.play(end);
        self.write(self.clock.reached(end), samples);
    }

    /// How much of the output the party was not silent.
    pub fn spoken(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(self.silence.spoken as f64 / f64::from(self.rate_hz))
    }

    /// What is missing, human-readable.
    pub fn missing(&self) -> Option<String> {
        let words = ["what the party says", "what the party hears"];
        let mut lines = self.lines.iter().zip(words);
        let (_, which) = lines.find(|(line, _)| line.decoded == 0 && line.undecodable > 100)?;
        Some(format!(
            "{which} is in a format that cannot be decoded here; allow PCMU, PCMA, G722 or opus only"
        ))
    }

    fn play(&mut self, until: u64) {
        let clock = &self.clock;
        for line in &mut self.lines {
            line.play(until, &|at| clock.place(at));
        }
    }

    fn write(&mut self, until: i64, samples: &mut Vec<i16>) -> GoesOn {
        let until = self.longest.map_or(until, |longest| until.min(longest));
        let (begin, channels) = (samples.len(), 1 + usize::from(self.stereo));
        let lines = match (self.stereo, self.mono) {
            (true, _) | (false, Mono::Mixed) => &mut self.lines[..],
            (false, Mono::Said) => &mut self.lines[..1],
            (false, Mono::Heard) => &mut self.lines[1..],
        };
        timeline::take(lines.iter_mut().map(|line| &mut line.track), until, samples);
        if channels < lines.len() {
            mix(samples, begin);
        }
        let full = self.longest.is_some_and(|longest| lines[0].track.begin() >= longest);
        let party = samples[begin..].iter().step_by(channels);
        let silent = self.silence.is_too_long(party, self.rate_hz / 50);
        if full || silent { GoesOn::No } else { GoesOn::Yes }
    }
}

/// Turns the pairs of samples from `begin` on into their sums.
fn mix(samples: &mut Vec<i16>, begin: usize) {
    let pairs = (samples.len() - begin) / 2;
    for n in 0..pairs {
        samples[begin + n] = samples[begin + 2 * n].saturating_add(samples[begin + 2 * n + 1]);
    }
    samples.truncate(begin + pairs);
}

impl Silence {
    /// Adds samples; returns whether the silence has reached its limit. `look` samples are judged
    /// together.
    fn is_too_long<'a>(&mut self, mut samples: impl ExactSizeIterator<Item = &'a i16>, look: u32) -> bool {
        let mut is_too_long = false;
        while samples.len() > 0 {
            let missing = usize::try_from(u64::from(look) - self.energy.samples).unwrap_or(0);
            samples.by_ref().take(missing).for_each(|sample| self.energy.add(&[*sample]));
            if self.energy.samples == u64::from(look) {
                let level = std::mem::take(&mut self.energy).dbov();
                let silent = !level.is_some_and(|level| self.detector.hears(level as f32));
                self.samples = if silent { self.samples + i64::from(look) } else { 0 };
                self.spoken += if silent { 0 } else { i64::from(look) };
                is_too_long |= self.most.is_some_and(|most| self.samples >= most);
            }
        }
        is_too_long
    }
}

#[cfg(test)]
mod tests;
