//! The sent audio of a call, as samples from the program.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::gate::Gate;
use super::post::Used;
use b2b_base::frame::{Fill, OutFrame};
use b2b_media::codec::rates::Rates;
use b2b_media::ring::{LineReader, LineWriter, Marks, Progress, line};

/// A position in the sent audio, see [`Outgoing::mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MarkId(pub u64);

/// Why samples were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// [`Outgoing::flush`] was called during the write: the rest of it is not sent.
    #[error("flushed: the rest of this audio is not played; write the next audio")]
    Flushed,
    /// The call is over, or a newer writer has replaced this one.
    #[error("this audio is no longer sent; the call is over, or call.audio() was called again")]
    Over,
}

/// The state that both ends share.
#[derive(Debug)]
pub(crate) struct OutLine {
    pub(super) gate: Gate,
    /// Samples sent or dropped so far.
    progress: Arc<Progress>,
    speaks: AtomicBool,
    underruns: AtomicU64,
    marks: Mutex<Marks<MarkId>>,
}

impl OutLine {
    /// The next mark that was reached (`true`) or flushed (`false`).
    pub(crate) fn passed(&self) -> Option<(MarkId, bool)> {
        self.marks().pass(self.progress.played())
    }

    /// Wakes the task that waits for room; returns whether samples were sent.
    pub(super) fn look(&self) -> bool {
        self.gate.look(self.progress.played())
    }

    fn marks(&self) -> MutexGuard<'_, Marks<MarkId>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The media thread's end.
pub(super) struct Speech {
    samples: LineReader,
    line: Arc<OutLine>,
}

/// The audio that a call sends: samples enter a ring of one second and leave it with each packet. Clones
/// write to the same ring; one of them should write, the others may flush.
#[derive(Clone)]
pub struct Outgoing(Arc<Mouth>);

struct Mouth {
    ends: Mutex<Ends>,
    line: Arc<OutLine>,
    rate_hz: u32,
}

struct Ends {
    samples: LineWriter,
    flushes: u64,
    marks: u64,
    convert: Option<Convert>,
}

struct Convert {
    rates: Rates,
    /// Output buffer for one piece of [`PIECE_MS`].
    made: Box<[i16]>,
    /// Samples of a piece before conversion.
    piece: usize,
}

/// Length of one conversion step.
const PIECE_MS: u32 = 10;

/// Creates both ends of a line: samples are written at `rate_hz` and sent at `call_hz`.
pub(super) fn outgoing(call_hz: u32, rate_hz: u32) -> (Outgoing, Speech, Arc<OutLine>) {
    let (samples, played) = line(call_hz as usize);
    let line = Arc::new(OutLine {
        gate: Gate::default(),
        progress: samples.progress().clone(),
        speaks: AtomicBool::new(false),
        underruns: AtomicU64::new(0),
        marks: Mutex::default(),
    });
    let convert = (call_hz != rate_hz).then(|| Convert {
        rates: Rates::new(rate_hz, call_hz),
        // A piece of another length may yield one sample more than its share.
        made: vec![0; (call_hz * PIECE_MS / 1_000) as usize + 1].into(),
        piece: (rate_hz * PIECE_MS / 1_000) as usize,
    });
    let ends = Mutex::new(Ends { samples, flushes: 0, marks: 0, convert });
    let outgoing = Outgoing(Arc::new(Mouth { ends, line: line.clone(), rate_hz }));
    (outgoing, Speech { samples: played, line: line.clone() }, line)
}

impl Ends {
    /// Writes as many samples as fit.
    fn write(&mut self, mut samples: &[i16]) -> usize {
        let Some(Convert { rates, made, piece }) = &mut self.convert else {
            return self.samples.write(samples);
        };
        let before = samples.len();
        while !samples.is_empty() && self.samples.room() >= made.len() {
            let (next, rest) = samples.split_at(samples.len().min(*piece));
            let count = rates.process(next, made);
            self.samples.write(&made[..count]);
            samples = rest;
        }
        before - samples.len()
    }
}

impl Outgoing {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sample rate of written samples, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.0.rate_hz
    }

    /// Writes all of these mono samples after those written before, waiting for room as needed: it is never
    /// more than a second ahead of transmission.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&self, mut samples: &[i16]) -> Result<(), WriteError> {
        let flushes = self.ends().flushes;
        loop {
            let change = self.0.line.gate.change();
            {
                let mut ends = self.ends();
                if self.0.line.gate.is_closed() {
                    return Err(WriteError::Over);
                }
                if ends.flushes != flushes {
                    return Err(WriteError::Flushed);
                }
                samples = &samples[ends.write(samples)..];
            }
            if samples.is_empty() {
                return Ok(());
            }
            change.await;
        }
    }

    /// Writes as many of these samples as fit now, and returns how many.
    ///
    /// # Errors
    /// [`WriteError::Over`].
    pub fn try_write(&self, samples: &[i16]) -> Result<usize, WriteError> {
        let mut ends = self.ends();
        if self.0.line.gate.is_closed() { Err(WriteError::Over) } else { Ok(ends.write(samples)) }
    }

    /// Marks this position: [`crate::ClientEvent::MarkPlayed`] reports when all samples before it are sent,
    /// [`crate::ClientEvent::MarkFlushed`] when they are flushed.
    pub fn mark(&self) -> MarkId {
        let mut ends = self.ends();
        ends.marks += 1;
        let id = MarkId(ends.marks);
        self.0.line.marks().push(id, ends.samples.place());
        id
    }

    /// Drops written samples that are not sent yet, as for barge-in when the far end starts to speak. At most
    /// one more packet with such samples is sent. A waiting write ends with [`WriteError::Flushed`].
    pub fn flush(&self) {
        let mut ends = self.ends();
        ends.flushes += 1;
        ends.samples.clear(&mut self.0.line.marks());
        if let Some(Convert { rates, .. }) = &mut ends.convert {
            rates.forget();
        }
        drop(ends);
        self.0.line.gate.wake();
    }

    /// Declares whether the program has continuous audio to send: while it does, an empty ring counts as an
    /// underrun.
    pub fn speaks(&self, speaks: bool) {
        self.0.line.speaks.store(speaks, Ordering::Relaxed);
    }

    /// Packets without samples although the program speaks, see [`Outgoing::speaks`].
    pub fn underruns(&self) -> u64 {
        self.0.line.underruns.load(Ordering::Relaxed)
    }

    /// Written samples that are not sent yet, at the call's rate.
    pub fn waiting(&self) -> u64 {
        self.ends().samples.waiting()
    }
}

impl Drop for Mouth {
    fn drop(&mut self) {
        self.line.gate.leave();
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("rate_hz", &self.0.rate_hz)
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl Speech {
    /// Drops flushed samples; called before each packet.
    pub fn discard(&mut self) {
        self.samples.clear();
    }

    /// Fills a frame with written samples; `None` if there are none.
    pub fn fill(&mut self, frame: &mut OutFrame<'_>) -> Option<Fill> {
        let said = self.samples.read(frame.samples);
        frame.samples[said..].fill(0);
        if said > 0 {
            Some(Fill::Audio)
        } else if self.line.speaks.load(Ordering::Relaxed) {
            self.line.underruns.fetch_add(1, Ordering::Relaxed);
            Some(Fill::Underrun)
        } else {
            None
        }
    }
}

impl Used for Speech {
    fn end(&self) {
        self.line.gate.close();
    }

    /// Whether the program's end was dropped and all its samples are sent.
    fn is_abandoned(&self) -> bool {
        self.samples.is_abandoned() && self.samples.waiting() == 0
    }
}

impl Drop for Speech {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_base::util::ntp::NtpTime;

    fn said(speech: &mut Speech) -> Option<[i16; 160]> {
        let mut samples = [0; 160];
        let mut frame = OutFrame { samples: &mut samples, captured_at: NtpTime(0) };
        speech.discard();
        let fill = speech.fill(&mut frame);
        fill.map(|_| samples)
    }

    #[test]
    fn nothing_of_what_is_flushed_is_said_and_what_follows_is() {
        let (outgoing, mut speech, _) = outgoing(8_000, 8_000);
        assert_eq!(outgoing.try_write(&[1; 9_000]), Ok(8_000));
        assert_eq!(said(&mut speech), Some([1; 160]));
        outgoing.flush();
        assert_eq!(outgoing.waiting(), 0);
        assert_eq!(outgoing.try_write(&[2; 500]), Ok(160), "the room that was free");
        assert_eq!(said(&mut speech), Some([2; 160]));
        assert_eq!(said(&mut speech), None);
        // An empty flush is allowed.
        outgoing.flush();
        assert_eq!(outgoing.try_write(&[3; 8_000]), Ok(8_000));
        assert_eq!(said(&mut speech), Some([3; 160]));
    }

    #[test]
    fn marks_are_passed_with_the_samples_before_them_or_flushed() {
        let (outgoing, mut speech, line) = outgoing(8_000, 8_000);
        let none = outgoing.mark();
        assert_eq!(line.passed(), Some((none, true)));
        let marks = [1, 2, 3].map(|n| {
            outgoing.try_write(&[n; 160]).expect("a call");
            outgoing.mark()
        });
        assert_eq!(line.passed(), None);
        said(&mut speech);
        assert_eq!([line.passed(), line.passed()], [Some((marks[0], true)), None]);
        outgoing.flush();
        assert_eq!([line.passed(), line.passed()], [Some((marks[1], false)), Some((marks[2], false))]);
    }

    #[tokio::test]
    async fn a_write_waits_for_room_and_a_flush_ends_it() {
        let (outgoing, mut speech, line) = outgoing(8_000, 8_000);
        let write = |samples: usize| {
            let outgoing = outgoing.clone();
            tokio::spawn(async move { outgoing.write(&vec![1; samples]).await })
        };
        let patient = write(8_100);
        tokio::task::yield_now().await;
        assert!(!patient.is_finished());
        said(&mut speech);
        line.look();
        assert_eq!(patient.await.expect("no panic"), Ok(()));
        let interrupted = write(8_000);
        tokio::task::yield_now().await;
        outgoing.flush();
        assert_eq!(interrupted.await.expect("no panic"), Err(WriteError::Flushed));
        drop(speech);
        assert_eq!(outgoing.write(&[1]).await, Err(WriteError::Over));
    }

    #[test]
    fn what_is_written_at_another_rate_is_as_long_and_as_high() {
        for rate_hz in [8_000, 24_000, 48_000] {
            let (outgoing, mut speech, _) = outgoing(16_000, rate_hz);
            let mut tone = b2b_media::tone::Oscillator::new(1_000.0, rate_hz);
            let sound: Vec<i16> = (0..rate_hz / 4).map(|_| (tone.next_sample() * 10_000.0) as i16).collect();
            for piece in sound.chunks(77) {
                assert_eq!(outgoing.try_write(piece), Ok(piece.len()));
            }
            let heard: Vec<i16> = std::iter::from_fn(|| said(&mut speech)).flatten().collect();
            assert_eq!(heard.len(), 4_000, "{rate_hz} Hz");
            let share = b2b_media::dtmf::goertzel(&heard, 1_000.0, 16_000).sqrt() * 2f64.sqrt();
            assert!((9_000.0..10_500.0).contains(&share), "{rate_hz} Hz: {share}");
        }
    }

    #[test]
    fn an_empty_ring_is_silence_unless_the_program_speaks() {
        let (outgoing, mut speech, _) = outgoing(8_000, 8_000);
        assert_eq!((said(&mut speech), outgoing.underruns()), (None, 0));
        outgoing.speaks(true);
        assert_eq!((said(&mut speech), outgoing.underruns()), (Some([0; 160]), 1));
    }
}
