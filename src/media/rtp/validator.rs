//! Whether a packet belongs to the stream that we play: sequence numbers after
//! RFC 3550 A.1, loss after A.3, and the change to a new SSRC.
//!
//! A stream is accepted once two packets in sequence have come. The first of
//! them is not lost: the receiver holds it and takes it with the second. While
//! a stream is accepted another SSRC goes through the same probation, and takes
//! over if nothing of the old one came in between.

use crate::transport::reports::Receiving;

/// Packets in sequence before a source is valid.
const MIN_SEQUENTIAL: u32 = 2;
/// A larger step ahead is a restart of the source, unless two packets say so.
const MAX_DROPOUT: u16 = 3_000;
/// A packet this far behind is reordered, not a restart.
const MAX_MISORDER: u16 = 100;

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
    /// Extended; starts at one cycle, so that a packet from before the first
    /// one has a number too.
    base: u64,
    max: u64,
    received: u64,
    /// Bit n: `max - n` was received.
    window: u128,
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
                    self.past.expected += old.expected();
                    self.past.received += old.received;
                }
                let source = Source::new(ssrc, sequence);
                let accepted = Accepted { sequence: source.max, reordered: false };
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
        self.past.expected + self.current.as_ref().map_or(0, Source::expected)
    }

    /// Packets expected but not received so far (A.3), over all sources;
    /// duplicates do not hide losses.
    pub fn lost(&self) -> u64 {
        let received = self.past.received + self.current.as_ref().map_or(0, |source| source.received);
        self.expected().saturating_sub(received)
    }

    /// The accepted source as a report has it (§6.4.1), with its jitter in ticks.
    pub fn receiving(&self, jitter: u32) -> Option<Receiving> {
        let source = self.current.as_ref()?;
        let highest = (source.max - CYCLE) as u32;
        Some(Receiving {
            ssrc: source.ssrc,
            expected: source.expected() as u32,
            received: source.received as u32,
            highest,
            jitter,
        })
    }
}

const CYCLE: u64 = 1 << 16;

impl Source {
    /// A source whose second packet in sequence is `sequence`; the first, which
    /// was held, counts too.
    fn new(ssrc: u32, sequence: u16) -> Self {
        let mut max = CYCLE + u64::from(sequence);
        if sequence == 0 {
            max += CYCLE; // the held one was 65535 of the cycle before
        }
        Source { ssrc, base: max - 1, max, received: 2, window: 0b11, bad: None }
    }

    fn expected(&self) -> u64 {
        self.max - self.base + 1
    }

    /// `rested`: what is missing before this packet is not lost.
    fn update(&mut self, sequence: u16, rested: bool) -> Verdict {
        let ahead = sequence.wrapping_sub(self.max as u16);
        if ahead == 0 {
            return Verdict::Duplicate;
        }
        if ahead < MAX_DROPOUT {
            self.max += u64::from(ahead);
            self.base += if rested { u64::from(ahead) - 1 } else { 0 };
            self.window = self.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
        } else if ahead <= u16::MAX - MAX_MISORDER {
            // A large jump: believed when the next packet goes on from it.
            if self.bad != Some(sequence) {
                self.bad = Some(sequence.wrapping_add(1));
                return Verdict::Implausible;
            }
            // The jump is a gap of nobody knows how many: A.1 starts the counts
            // anew, here the count of what came before is kept without a gap.
            let (expected, received) = (self.expected(), self.received);
            let max = (self.max / CYCLE + 1) * CYCLE + u64::from(sequence);
            *self =
                Source { base: max - expected, max, received: received + 1, window: 1, bad: None, ..*self };
            return Verdict::Accept(Accepted { sequence: max, reordered: false });
        } else {
            let behind = (self.max as u16).wrapping_sub(sequence);
            let bit = 1u128 << behind;
            if self.window & bit != 0 {
                return Verdict::Duplicate;
            }
            self.window |= bit;
            self.received += 1;
            let number = self.max - u64::from(behind);
            self.base = self.base.min(number);
            return Verdict::Accept(Accepted { sequence: number, reordered: true });
        }
        self.bad = None;
        self.received += 1;
        Verdict::Accept(Accepted { sequence: self.max, reordered: false })
    }
}

#[cfg(test)]
mod tests;
