//! The marks that a leg has heard, passed from the media thread to the generator through atomics, since the
//! media thread must not wait.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};
use std::time::Duration;

use super::sound::{RATE_HZ, samples_now};
use b2b_dsp::mark::{Mark, MarkEvent, Side};

/// Delays kept per call, the latest ones: 41 s.
const DELAYS: usize = 64;
/// Gaps kept per call with their times, the latest ones.
const GAPS: usize = 64;
/// No gap is shorter, 25 ms in samples.
const SHORTEST_GAP: u64 = RATE_HZ as u64 / 40;
/// Minimum quality of a word for a delay measurement.
const SURE: f32 = 0.75;
/// The mark of a callee that hears no caller.
pub const NOBODY: Mark = Mark { call: 0, side: Side::Callee };
/// The code for no foreign mark.
const NONE: u64 = u64::MAX;

/// The marks that legs with a mark expect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hears {
    /// The mark of the far end, which is a load too: the other side of the same call.
    #[default]
    Mark,
    /// Their own mark: the far end is an echo.
    Echo,
    /// No marks: the far end plays prompts, or mixes.
    None,
}

/// Which legs evaluate marks, and which marks they expect.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ears {
    /// The expected marks.
    pub hears: Hears,
    /// The share of evaluated calls; callers select them, and indicate it in their mark. `None`: all.
    pub sample: Option<f64>,
}

impl std::str::FromStr for Ears {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ears = Ears::default();
        for word in text.split_whitespace() {
            match (word, word.strip_prefix("sample=")) {
                (_, Some(share)) => ears.sample = Some(sample(share)?),
                ("mark", _) => ears.hears = Hears::Mark,
                ("echo", _) => ears.hears = Hears::Echo,
                ("none", _) => ears.hears = Hears::None,
                _ => {
                    return Err("no such way to hear; choose mark, echo or none, and in which part of the calls, like \
                                sample=10%"
                        .to_owned());
                }
            }
        }
        Ok(ears)
    }
}

/// `10%`
fn sample(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
        Some(percent) => Ok(percent / 100.0),
        None => Err("not a part of the calls; write 0 to 100 percent, like sample=10%".to_owned()),
    }
}

/// Whether the caller with this mark number has selected the call for evaluation.
pub fn is_chosen(mark: u32) -> bool {
    mark & 1 == 1
}

/// The next mark number, for a call that is selected or not; never 0, which means that no caller is heard.
pub fn next_mark(before: u32, chosen: bool) -> u32 {
    let counted = (before & !1).checked_add(2).unwrap_or(2);
    counted | u32::from(chosen)
}

/// Minimum duration of a call to be judged. Before a caller hears its own number, a code word (0.64 s) has to
/// begin, the callee has to hear two of them, and to send the number in the one that begins next: five in
/// all, plus twice the path delay, and the time a system needs to open its audio. One more may be broken by a
/// gap: gaps have figures of their own, and a gap of 50 ms must not make a call count as deaf.
pub const JUDGED: Duration = Duration::from_millis(4_300);

/// The state written by the media thread.
#[derive(Debug)]
pub(super) struct Hearing {
    words: AtomicU32,
    unheard: AtomicU32,
    /// The last foreign mark: its call, shifted, and its side.
    foreign: AtomicU64,
    foreign_words: AtomicU32,
    /// The longest gap so far, ms.
    longest_gap: AtomicU32,
    gaps: AtomicU32,
    /// Start and length of the latest ones: an ongoing one is reported repeatedly.
    gap_starts: [AtomicU64; GAPS],
    gap_lengths: [AtomicU32; GAPS],
    delays: [AtomicI32; DELAYS],
    measured: AtomicU32,
}

impl Default for Hearing {
    fn default() -> Self {
        Hearing {
            words: AtomicU32::new(0),
            unheard: AtomicU32::new(0),
            foreign: AtomicU64::new(NONE),
            foreign_words: AtomicU32::new(0),
            longest_gap: AtomicU32::new(0),
            gaps: AtomicU32::new(0),
            gap_starts: std::array::from_fn(|_| AtomicU64::new(0)),
            gap_lengths: std::array::from_fn(|_| AtomicU32::new(0)),
            delays: std::array::from_fn(|_| AtomicI32::new(0)),
            measured: AtomicU32::new(0),
        }
    }
}

/// The values read by the generator.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Code words of the far end's mark, 0.64 s each.
    pub words: u32,
    /// Code words of a callee that does not hear its caller.
    pub unheard: u32,
    /// The last other mark.
    pub foreign: Option<Mark>,
    /// Code words of all other marks.
    pub foreign_words: u32,
    /// Number of gaps between heard words.
    pub gaps: u32,
    /// The longest of these gaps, ms.
    pub longest_gap_ms: u32,
    /// The latest of them.
    pub latest_gaps: Vec<HeardGap>,
    /// Mouth-to-ear latency, median of the last words, ms.
    pub delay_ms: Option<f64>,
}

/// A gap between heard words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeardGap {
    /// Its start, in samples on the clock of marks.
    pub from: u64,
    /// Its length, ms.
    pub ms: u32,
}

impl HeardGap {
    /// The time since its start.
    pub fn ago(&self) -> Duration {
        let samples = samples_now().saturating_sub(self.from);
        Duration::from_secs_f64(samples as f64 / f64::from(RATE_HZ))
    }
}

impl Hearing {
    /// Processes an event of the reader of a leg that expects this side's mark.
    pub(super) fn take(&self, hears: Side, event: &MarkEvent) {
        match event {
            MarkEvent::Heard(word) if word.mark.side != hears => self.foreign(word.mark),
            MarkEvent::Heard(word) => {
                self.words.fetch_add(1, Relaxed);
                if word.quality >= SURE {
                    let at = self.measured.fetch_add(1, Relaxed) as usize % DELAYS;
                    self.delays[at].store((word.delay_ms(0) * 100.0) as i32, Relaxed);
                }
            }
            MarkEvent::Foreign(word) if word.mark == NOBODY => {
                self.unheard.fetch_add(1, Relaxed);
            }
            MarkEvent::Foreign(word) => self.foreign(word.mark),
            // before the first word and after the last one no mark is expected
            MarkEvent::Silence(gap) | MarkEvent::Noise(gap) if self.words.load(Relaxed) > 0 => {
                let ms = (gap.length * 1_000 / u64::from(RATE_HZ)) as u32;
                self.gap(gap.from, ms);
                self.longest_gap.fetch_max(ms, Relaxed);
            }
            MarkEvent::Silence(_) | MarkEvent::Noise(_) => {}
        }
    }

    /// A gap: one with the start of the last one is that, which goes on. The clock is read each time, so starts of one gap
    /// differ by a millisecond.
    fn gap(&self, from: u64, ms: u32) {
        let known = self.gaps.load(Relaxed);
        let start = |n: u32| &self.gap_starts[n as usize % GAPS];
        let goes_on = known > 0 && start(known - 1).load(Relaxed).abs_diff(from) < SHORTEST_GAP;
        let at = if goes_on { known - 1 } else { known };
        start(at).store(from, Relaxed);
        self.gap_lengths[at as usize % GAPS].store(ms, Relaxed);
        self.gaps.store(at.wrapping_add(1), Relaxed);
    }

    fn foreign(&self, mark: Mark) {
        self.foreign.store(u64::from(mark.call) << 1 | u64::from(mark.side == Side::Callee), Relaxed);
        self.foreign_words.fetch_add(1, Relaxed);
    }

    /// Whether the expected mark was heard.
    pub(super) fn is_heard(&self) -> bool {
        self.words.load(Relaxed) > 0
    }

    /// The marks heard so far.
    pub(super) fn read(&self) -> Heard {
        let foreign = Some(self.foreign.load(Relaxed)).filter(|code| *code != NONE).map(|code| Mark {
            call: (code >> 1) as u32,
            side: if code & 1 == 1 { Side::Callee } else { Side::Caller },
        });
        let measured = (self.measured.load(Relaxed) as usize).min(DELAYS);
        let mut delays: Vec<i32> = self.delays[..measured].iter().map(|delay| delay.load(Relaxed)).collect();
        delays.sort_unstable();
        let gaps = self.gaps.load(Relaxed);
        let latest = (gaps as usize - GAPS.min(gaps as usize)..gaps as usize).map(|n| HeardGap {
            from: self.gap_starts[n % GAPS].load(Relaxed),
            ms: self.gap_lengths[n % GAPS].load(Relaxed),
        });
        Heard {
            words: self.words.load(Relaxed),
            unheard: self.unheard.load(Relaxed),
            foreign,
            foreign_words: self.foreign_words.load(Relaxed),
            gaps,
            longest_gap_ms: self.longest_gap.load(Relaxed),
            latest_gaps: latest.collect(),
            delay_ms: delays.get(delays.len() / 2).map(|delay| f64::from(*delay) / 100.0),
        }
    }
}

impl Heard {
    /// The fault in the marks heard by a leg with the mark `own`, if any. `is_under_way`: whether the call of
    /// a number is active.
    pub fn fault(&self, own: Mark, is_under_way: impl Fn(u32) -> bool) -> Option<&'static str> {
        match self.foreign {
            Some(mark) if mark == own => Some("it heard itself"),
            Some(mark) if is_under_way(mark.call) => Some("it heard another call"),
            Some(_) => Some("it heard a call that was over, or is of another load"),
            None if self.words > 0 => None,
            None if self.unheard > 0 => Some("the far end did not hear it"),
            None => Some("it heard nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use b2b_dsp::mark::Gap;

    use super::*;

    #[test]
    fn ears_are_a_word_and_a_share_of_calls() {
        let ears = |text: &str| text.parse::<Ears>();
        assert_eq!(ears("echo"), Ok(Ears { hears: Hears::Echo, sample: None }));
        assert_eq!(ears("sample=10%"), Ok(Ears { hears: Hears::Mark, sample: Some(0.1) }));
        assert_eq!(ears("echo sample=2.5%"), Ok(Ears { hears: Hears::Echo, sample: Some(0.025) }));
        for (text, said) in
            [("all", "choose mark"), ("sample=10", "like sample=10%"), ("sample=101%", "0 to 100")]
        {
            assert!(ears(text).is_err_and(|error| error.contains(said)), "{text}");
        }
    }

    #[test]
    fn a_gap_that_goes_on_is_one_and_the_latest_ones_are_kept() {
        let hearing = Hearing::default();
        let word = b2b_dsp::mark::Heard {
            mark: Mark { call: 7, side: Side::Callee },
            position: 0,
            at: 0,
            quality: 1.0,
            rate_hz: RATE_HZ,
        };
        let gap = |from, ms: u64| MarkEvent::Silence(Gap { from, length: ms * u64::from(RATE_HZ) / 1_000 });
        // Before the first word no mark is expected.
        hearing.take(Side::Callee, &gap(1, 500));
        hearing.take(Side::Callee, &MarkEvent::Heard(word));
        for (from, ms) in [(1_000, 60), (2_000, 1_000), (2_008, 1_400), (30_000, 100)] {
            hearing.take(Side::Callee, &gap(from, ms));
        }
        let heard = hearing.read();
        let kept: Vec<_> = heard.latest_gaps.iter().map(|gap| (gap.from, gap.ms)).collect();
        assert_eq!((heard.gaps, kept), (3, vec![(1_000, 60), (2_008, 1_400), (30_000, 100)]));
        (0..100).for_each(|n| hearing.take(Side::Callee, &gap(100_000 + n * 2_000, 200)));
        let latest = hearing.read().latest_gaps;
        assert_eq!((latest.len(), latest[0].from, latest[63].from), (GAPS, 172_000, 298_000));
    }

    #[test]
    fn marks_say_whether_their_call_is_chosen_and_none_comes_twice() {
        let mut mark = u32::MAX - 4;
        let mut seen = std::collections::HashSet::new();
        for n in 0..100 {
            mark = next_mark(mark, n % 10 == 0);
            assert!(mark > 1 && seen.insert(mark) && is_chosen(mark) == (n % 10 == 0), "{mark}");
        }
    }

    #[test]
    fn what_is_heard_says_what_is_wrong() {
        let own = Mark { call: 7, side: Side::Caller };
        let right = Heard {
            words: 5,
            unheard: 0,
            foreign: None,
            foreign_words: 0,
            gaps: 0,
            longest_gap_ms: 0,
            latest_gaps: Vec::new(),
            delay_ms: Some(90.0),
        };
        let fault = |heard: &Heard| heard.fault(own, |call| call == 8);
        assert_eq!(fault(&right), None);
        let foreign = |call, side| Heard { foreign: Some(Mark { call, side }), ..right.clone() };
        assert_eq!(fault(&foreign(7, Side::Caller)), Some("it heard itself"));
        assert_eq!(fault(&foreign(8, Side::Callee)), Some("it heard another call"));
        assert!(fault(&foreign(6, Side::Callee)).is_some_and(|fault| fault.contains("was over")));
        assert_eq!(
            fault(&Heard { words: 0, unheard: 3, ..right.clone() }),
            Some("the far end did not hear it")
        );
        assert_eq!(fault(&Heard { words: 0, ..right }), Some("it heard nothing"));
    }
}
