//! A leg's received audio over time: its level and events, in steps of the call. The media thread writes it,
//! in constant memory whatever the length of the call.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

/// Maximum steps; when exceeded, pairs of steps are merged.
const STEPS: usize = 240;
/// Frames of 20 ms in a step, initially.
const FRAMES: u32 = 10;
const FRAME_S: f64 = 0.02;

/// Events in a step, stored above its level, which is in the lowest octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Mark {
    /// A code word of the expected mark.
    Heard = 1 << 8,
    /// A code word of another mark.
    Foreign = 1 << 9,
    /// A gap between words.
    Gap = 1 << 10,
    /// Concealed frames.
    Concealed = 1 << 11,
}

/// The state written by the media thread.
#[derive(Debug)]
pub struct Course {
    steps: [AtomicU32; STEPS],
    /// Frames so far.
    frames: AtomicU32,
    /// Frames per step.
    length: AtomicU32,
}

impl Default for Course {
    fn default() -> Self {
        Course {
            steps: std::array::from_fn(|_| AtomicU32::new(0)),
            frames: AtomicU32::new(0),
            length: AtomicU32::new(FRAMES),
        }
    }
}

/// A step of the course.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// Peak amplitude, 0 to 1.
    pub peak: f64,
    /// A code word of the expected mark.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub heard: bool,
    /// A code word of another mark.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// A gap between words.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gap: bool,
    /// Concealed frames.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub concealed: bool,
}

/// The course of a leg's audio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Length of a step, s.
    pub step_s: f64,
    /// The steps from the start of its audio.
    pub steps: Vec<Step>,
}

fn merged(a: u32, b: u32) -> u32 {
    (a & 0xff).max(b & 0xff) | ((a | b) & !0xff)
}

impl Course {
    /// Adds a played frame. Only one thread may call this.
    pub fn frame(&self, samples: &[i16], concealed: bool) {
        let frame = self.frames.load(Relaxed);
        while frame / self.length.load(Relaxed) >= STEPS as u32 {
            self.fold();
        }
        let peak = samples.iter().map(|sample| u32::from(sample.unsigned_abs())).max().unwrap_or(0) >> 7;
        let mark = if concealed { Mark::Concealed as u32 } else { 0 };
        self.add(frame, peak.min(0xff) | mark);
        self.frames.store(frame.wrapping_add(1), Relaxed);
    }

    /// Notes an event in the frame this many before the last one.
    pub fn mark(&self, before: u32, mark: Mark) {
        self.add(self.frames.load(Relaxed).saturating_sub(before + 1), mark as u32);
    }

    fn add(&self, frame: u32, what: u32) {
        if let Some(step) = self.steps.get((frame / self.length.load(Relaxed)) as usize) {
            step.store(merged(step.load(Relaxed), what), Relaxed);
        }
    }

    /// Merges pairs of steps.
    fn fold(&self) {
        for at in 0..STEPS {
            let of = |at: usize| self.steps.get(at).map_or(0, |step| step.load(Relaxed));
            let both = merged(of(2 * at), of(2 * at + 1));
            self.steps[at].store(both, Relaxed);
        }
        self.length.store(self.length.load(Relaxed) * 2, Relaxed);
    }

    /// The course so far; `None` if nothing was played.
    pub fn told(&self) -> Option<Told> {
        let (frames, length) = (self.frames.load(Relaxed), self.length.load(Relaxed));
        let count = (frames.div_ceil(length) as usize).min(STEPS);
        let steps = self.steps.iter().take(count).map(|step| {
            let step = step.load(Relaxed);
            let has = |mark: Mark| step & mark as u32 != 0;
            Step {
                peak: (f64::from(step & 0xff) / 255.0 * 1e3).round() / 1e3,
                heard: has(Mark::Heard),
                foreign: has(Mark::Foreign),
                gap: has(Mark::Gap),
                concealed: has(Mark::Concealed),
            }
        });
        (count > 0).then(|| Told { step_s: f64::from(length) * FRAME_S, steps: steps.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_any_length_is_told_in_as_many_steps() {
        let course = Course::default();
        assert_eq!(course.told(), None);
        for n in 0..30_u32 {
            course.frame(&[if n < 10 { 0 } else { -16_384 }; 160], n == 25);
        }
        course.mark(12, Mark::Gap);
        let told = course.told().unwrap();
        let peaks: Vec<f64> = told.steps.iter().map(|step| step.peak).collect();
        assert_eq!((told.step_s, peaks.as_slice()), (0.2, &[0.0, 0.502, 0.502][..]));
        let gaps: Vec<bool> = told.steps.iter().map(|step| step.gap).collect();
        assert_eq!((gaps.as_slice(), told.steps[2].concealed), (&[false, true, false][..], true));
        (0..50 * 600).for_each(|_| course.frame(&[1_000; 160], false));
        let told = course.told().unwrap();
        assert!(told.steps.len() <= STEPS && told.steps[0].gap, "{}", told.steps.len());
        assert!((told.step_s * told.steps.len() as f64 - 600.6).abs() <= told.step_s, "{}", told.step_s);
    }
}
