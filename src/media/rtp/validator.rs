//! Whether a packet belongs to the stream that we play: sequence numbers after
//! RFC 3550 A.1, loss after A.3, and the change to a new SSRC.
//!
//! A stream is accepted once two packets in sequence have come. The first of
//! them is not lost: the receiver holds it and takes it with the second. While
//! a stream is accepted another SSRC goes through the same probation, and takes
//! over if nothing of the old one came in between.

use super::sequence::Sequence;
use crate::transport::reports::Receiving;

/// Packets in sequence before a source is valid.
const MIN_SEQUENTIAL: u32 = 2;

/// What the validator says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Of a source in probation: hold it, in place of one held before.
    Hold,
    /// Of the accepted source.
    Accept(Accepted),
    /// The source is accepted with this packet, instead of the one before: the
    /// packet held comes first.
    NewSource(Accepted),
    /// Received before.
    Duplicate,
    /// Too far from the sequence to be believed yet.
    Implausible,
}

/// An accepted packet's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Sequence number with the cycles before it.
    pub sequence: u64,
    /// A higher sequence number came before it.
    pub reordered: bool,
}

/// The state of RFC 3550's `struct source`, with a window against duplicates.
#[derive(Debug, Clone, Default)]
pub struct Validator {
    current: Option<Source>,
    candidate: Option<Candidate>,
    /// Expected and received of sources before the current one.
    past: Counts,
    /// Whether packets are to come, and loss counts.
    pace: Pace,
}

/// Whether what is missing is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pace {
    #[default]
    Expected,
    /// Not before the next packet: the source has rested, or was elsewhere.
    Afresh,
    /// Nothing is to come.
    Rests,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    expected: u64,
    received: u64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    ssrc: u32,
    max_sequence: u16,
    left: u32,
}

#[derive(Debug, Clone)]
struct Source {
    ssrc: u32,
    numbers: Sequence,
    /// What the next number must be for a jump to be believed.
    bad: Option<u16>,
}

impl Validator {
    /// Judges a packet by its SSRC and sequence number.
    pub fn check(&mut self, ssrc: u32, sequence: u16) -> Verdict {
        match &mut self.current {
            Some(source) if source.ssrc == ssrc => {
                self.candidate = None;
                let verdict = source.update(sequence, self.pace != Pace::Expected);
                if matches!(verdict, Verdict::Accept(_)) && self.pace == Pace::Afresh {
                    self.pace = Pace::Expected;
                }
                verdict
            }
            _ => self.probation(ssrc, sequence),
        }
    }

    fn probation(&mut self, ssrc: u32, sequence: u16) -> Verdict {
        match &mut self.candidate {
            Some(candidate)
                if candidate.ssrc == ssrc && sequence == candidate.max_sequence.wrapping_add(1) =>
            {
                candidate.max_sequence = sequence;
                candidate.left -= 1;
                if candidate.left > 0 {
                    return Verdict::Hold;
                }
                if let Some(old) = &self.current {
                    self.past.expected += u64::from(old.numbers.expected());
                    self.past.received += u64::from(old.numbers.received());
                }
                let source = Source::new(ssrc, sequence);
                let accepted = Accepted { sequence: source.numbers.highest().into(), reordered: false };
                self.current = Some(source);
                self.candidate = None;
                Verdict::NewSource(accepted)
            }
            // The same packet again says nothing.
            Some(candidate) if candidate.ssrc == ssrc && sequence == candidate.max_sequence => {
                Verdict::Duplicate
            }
            _ => {
                self.candidate = Some(Candidate { ssrc, max_sequence: sequence, left: MIN_SEQUENTIAL - 1 });
                Verdict::Hold
            }
        }
    }

    /// Nothing is to come from now on (hold): whatever is missing is not lost.
    pub fn rest(&mut self) {
        self.pace = Pace::Rests;
    }

    /// Packets are to come: what is missing before the next one is not lost.
    pub fn afresh(&mut self) {
        self.pace = Pace::Afresh;
    }

    /// The accepted SSRC.
    pub fn ssrc(&self) -> Option<u32> {
        self.current.as_ref().map(|source| source.ssrc)
    }

    /// Packets expected so far, over all sources.
    pub fn expected(&self) -> u64 {
        self.past.expected + self.current.as_ref().map_or(0, |source| source.numbers.expected().into())
    }

    /// Packets expected but not received so far (A.3), over all sources;
    /// duplicates do not hide losses.
    pub fn lost(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |source| source.numbers.received().into());
        self.expected().saturating_sub(self.past.received + current)
    }

    /// The accepted source as a report has it (§6.4.1), with its jitter in ticks.
    pub fn receiving(&self, jitter: u32) -> Option<Receiving> {
        let source = self.current.as_ref()?;
        source.numbers.receiving(source.ssrc, jitter)
    }
}

impl Source {
    /// A source whose second packet in sequence is `sequence`; the first, which
    /// was held, counts too.
    fn new(ssrc: u32, sequence: u16) -> Self {
        let mut numbers = Sequence::default();
        numbers.begin(sequence.wrapping_sub(1));
        let held = numbers.highest() + 1;
        numbers.count(held);
        numbers.count(held + 1);
        Source { ssrc, numbers, bad: None }
    }

    /// `rested`: what is missing before this packet is not lost.
    fn update(&mut self, sequence: u16, rested: bool) -> Verdict {
        let before = self.numbers.highest();
        let extended = match self.numbers.extend(sequence) {
            Some(extended) => {
                if rested {
                    self.numbers.resume(sequence);
                }
                extended
            }
            // A large jump: believed when the next packet goes on from it.
            None if self.bad == Some(sequence) => self.numbers.jump(sequence),
            None => {
                self.bad = Some(sequence.wrapping_add(1));
                return Verdict::Implausible;
            }
        };
        if !self.numbers.count(extended) {
            return Verdict::Duplicate;
        }
        let reordered = extended < before;
        if !reordered {
            self.bad = None;
        }
        Verdict::Accept(Accepted { sequence: extended.into(), reordered })
    }
}

#[cfg(test)]
mod tests;
