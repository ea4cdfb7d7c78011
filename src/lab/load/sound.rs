//! The sent and received audio of a leg: generated and judged on the media thread, and exchanged with the
//! generator through atomics. It does not wait, lock or allocate.

pub mod gaps;

use std::f64::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, SystemTime};

use super::course::{self, Course};
use super::hearing::{Heard, Hearing, NOBODY, is_chosen};
use super::loudness::{Echo, Loudness, Meter};
use super::party::{Said, Wanted};
use b2b_base::frame::{Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_base::util::ntp::NtpTime;
use b2b_dsp::mark::{Mark, MarkEvent, MarkReader, MarkWriter, Side, WORD_MS};
use b2b_media::dtmf::goertzel;
use b2b_media::stage::Sound;

/// Sample rate of every leg, whatever its codec, Hz: marks and tones lie within the telephone band.
pub const RATE_HZ: u32 = 8_000;
/// Length of a block for tone detection, a fifth of a second: shorter than any prompt.
const PIECE: usize = RATE_HZ as usize / 5;
/// Minimum mean square of a detected tone: 15 dB below a sent one.
const AUDIBLE: f64 = 1e6;
/// Amplitude 12 dB below full scale, a level typical of speech.
const AMPLITUDE: f64 = 8_000.0;
/// Largest magnitude in the silence that ends a file or a synthesised text: -45 dBFS.
const QUIET: u16 = 184;
/// Maximum tones to detect at once, wanted and unwanted.
const TONES: usize = 8;

/// Capacity for mark events of one frame, with reserve: the media thread must not allocate.
const EVENTS: usize = 64;

/// Whether a leg evaluates marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listens {
    /// Always.
    Always,
    /// Never; it only sends its own.
    Never,
    /// Until it hears a caller, then only if that caller has selected the call.
    WhereChosen,
}

/// A leg's audio, shared by the generator and the media thread.
#[derive(Debug)]
pub struct LegSound {
    /// The mark of this side. A callee adopts the number of the call that it hears, 0 before.
    side: Side,
    call: AtomicU32,
    /// The side whose mark it expects: the other one, or its own if echoed.
    hears: Side,
    listens: Listens,
    hearing: Hearing,
    /// Encoded [`Said`]: 0 nothing, 1 the mark, 2 the echo; with [`FILE`] a file, its index and a start counter; else a
    /// tone in tenths of a hertz.
    said: AtomicU32,
    /// The files of the run.
    files: Arc<[Sound]>,
    /// Tones in tenths of a hertz; the highest bit marks an unwanted one. 0: none.
    wanted: [AtomicU32; TONES],
    /// Whether the tones are as wanted.
    heard: AtomicBool,
    /// What [`LegSound::is_heard`] means: 0 marks or tones, [`PLAYED`], [`SOUND`], above it silence, ms, and with
    /// [`SPEECH`] speech, ms.
    awaited: AtomicU32,
    loudness: Loudness,
    /// The code of the last file that was played to its end.
    played: AtomicU32,
    /// `None` if no step echoes.
    echo: Option<Echo>,
    course: Course,
}

const PLAYED: u32 = 1;
const SOUND: u32 = 2;
/// Flag of speech, with its length.
const SPEECH: u32 = 1 << 31;

/// Flag of an unwanted tone.
const NOT: u32 = 1 << 31;
const MARK: u32 = 1;
const ECHO: u32 = 2;
/// Flag of a file, with its index and a counter, so that playing it again restarts it.
const FILE: u32 = 1 << 30;
const PLACES: u32 = 1 << 16;

/// A length of at most an hour, ms.
fn millis(length: Duration) -> u32 {
    u32::try_from(length.as_millis()).unwrap_or(u32::MAX).min(3_600_000)
}

fn tenths(hz: f64) -> u32 {
    (hz * 10.0).round() as u32
}

impl LegSound {
    /// The audio of a caller, whose `call` is not 0, or of a callee, whose `call` is 0. `echoed`: the far end
    /// returns what it hears.
    pub fn new(side: Side, call: u32, echoed: bool, listens: Listens, files: Arc<[Sound]>) -> Self {
        LegSound {
            side,
            call: AtomicU32::new(call),
            hears: if echoed { side } else { side.other() },
            listens,
            hearing: Hearing::default(),
            said: AtomicU32::new(0),
            files,
            wanted: Default::default(),
            heard: AtomicBool::new(false),
            awaited: AtomicU32::new(0),
            loudness: Loudness::default(),
            played: AtomicU32::new(0),
            echo: None,
            course: Course::default(),
        }
    }

    /// The same, with an echo for [`Said::Echo`].
    pub fn with_echo(self) -> Self {
        LegSound { echo: Some(Echo::default()), ..self }
    }

    /// The mark that it sends.
    pub fn mark(&self) -> Mark {
        Mark { call: self.call.load(Relaxed), side: self.side }
    }

    /// Whether the marks it hears are evaluated.
    pub fn is_listened_to(&self) -> bool {
        match self.listens {
            Listens::Always => true,
            Listens::Never => false,
            // a callee that hears no caller keeps listening, and that is reported
            Listens::WhereChosen => {
                let call = self.call.load(Relaxed);
                call == 0 || is_chosen(call)
            }
        }
    }

    /// The marks heard so far.
    pub fn heard(&self) -> Heard {
        self.hearing.read()
    }

    /// How long there was sound since it was last told to listen for it, ms.
    pub fn sounded_ms(&self) -> u32 {
        self.loudness.sounded_ms()
    }

    /// See [`Loudness::takes_response`].
    pub fn takes_response(&self) -> Option<Duration> {
        self.loudness.takes_response()
    }

    /// The course of its received audio so far.
    pub fn course(&self) -> Option<course::Told> {
        self.course.told()
    }

    /// Sends this from the next frame on.
    pub fn say(&self, said: Said) {
        let code = match said {
            Said::Nothing => 0,
            Said::Mark => MARK,
            Said::Echo => ECHO,
            Said::Tone(hz) => tenths(hz),
            Said::File(place) => {
                let begun = (self.said.load(Relaxed) / PLACES).wrapping_add(1) % (FILE / PLACES);
                FILE | (begun * PLACES) | (place as u32 % PLACES)
            }
        };
        self.said.store(code, Relaxed);
    }

    /// Detects this from now on. Tones beyond the capacity are ignored.
    pub fn listen(&self, wanted: &Wanted) {
        let (these, not): (&[f64], &[f64]) = match wanted {
            Wanted::Tones { these, not } => (these, not),
            _ => (&[], &[]),
        };
        self.loudness.listen(self.loudness.now());
        let awaited = match wanted {
            Wanted::Mark | Wanted::Tones { .. } => 0,
            Wanted::Played => PLAYED,
            Wanted::Sound => SOUND,
            Wanted::Speech(length) => SPEECH | millis(*length),
            Wanted::Silence(length) => SOUND + 1 + millis(*length),
        };
        self.awaited.store(awaited, Relaxed);
        let codes = these.iter().map(|hz| tenths(*hz)).chain(not.iter().map(|hz| tenths(*hz) | NOT));
        for (slot, code) in self.wanted.iter().zip(codes.chain(std::iter::repeat(0))) {
            slot.store(code, Relaxed);
        }
        self.heard.store(false, Relaxed);
    }

    /// Notes the position of a mark event in the course of the call.
    fn course_of(&self, now: u64, event: &MarkEvent) {
        let frame = u64::from(RATE_HZ / 50);
        let before = |at: u64| u32::try_from(now.saturating_sub(at) / frame).unwrap_or(u32::MAX);
        match event {
            MarkEvent::Heard(word) if word.mark.side == self.hears => {
                self.course.mark(0, course::Mark::Heard)
            }
            // the far end hears no caller yet: it may belong to any call
            MarkEvent::Foreign(word) if word.mark == NOBODY => {}
            MarkEvent::Heard(_) | MarkEvent::Foreign(_) => self.course.mark(0, course::Mark::Foreign),
            // before the first word and after the last one no mark is expected
            MarkEvent::Silence(gap) | MarkEvent::Noise(gap) if self.hearing.is_heard() => {
                let frames = u32::try_from(gap.length.div_ceil(frame)).unwrap_or(u32::MAX);
                let first = before(gap.from);
                (first.saturating_sub(frames)..=first).for_each(|at| self.course.mark(at, course::Mark::Gap));
            }
            MarkEvent::Silence(_) | MarkEvent::Noise(_) => {}
        }
    }

    /// Whether the last [`Wanted`] is heard.
    pub fn is_heard(&self) -> bool {
        match (self.awaited.load(Relaxed), self.wanted[0].load(Relaxed)) {
            (0, 0) => self.hearing.is_heard(),
            (0, _) => self.heard.load(Relaxed),
            (PLAYED, _) => self.played.load(Relaxed) == self.said.load(Relaxed),
            (SOUND, _) => self.loudness.has_sound() || self.loudness.has_click(),
            (speech, _) if speech & SPEECH != 0 => {
                self.loudness.has_sound() && self.loudness.sounded_ms() >= speech & !SPEECH
            }
            (silence, _) => {
                self.loudness.silence(self.loudness.now()).as_millis() >= u128::from(silence - SOUND - 1)
            }
        }
    }
}

/// The clock of marks: samples since 1900, the same in all processes of a machine.
fn samples(time: NtpTime) -> u64 {
    ((u128::from(time.0) * u128::from(RATE_HZ)) >> 32) as u64
}

/// The clock of marks now.
pub(super) fn samples_now() -> u64 {
    samples(NtpTime::from_system(SystemTime::now()))
}

/// Source and sink of a leg without audio.
pub struct Nothing;

impl FrameSource for Nothing {
    fn fill(&mut self, _: &mut OutFrame<'_>) -> Fill {
        Fill::Silence
    }
}

impl FrameSink for Nothing {
    fn frame(&mut self, _: &InFrame<'_>) {}
}

/// The source of a leg's audio.
pub struct Mouth {
    sound: Arc<LegSound>,
    phase: f64,
    mark: Option<MarkWriter>,
    /// The code of the current file in [`LegSound`], and the position in it.
    file: (u32, usize),
    /// The position in the echo.
    echoed: u32,
    /// It plays a file or a tone.
    speaks: bool,
    /// Samples of the file up to its last sound.
    audible: usize,
}

impl Mouth {
    /// The source of a leg.
    pub fn new(sound: Arc<LegSound>) -> Self {
        Mouth { sound, phase: 0.0, mark: None, file: (0, 0), echoed: 0, speaks: false, audible: 0 }
    }

    /// Continues the mark, or starts it at this time. A new mark starts at a code word boundary: half a word
    /// would be a gap for the receiver.
    fn say_mark(&mut self, frame: &mut OutFrame<'_>) {
        let mark = self.sound.mark();
        let writer =
            self.mark.get_or_insert_with(|| MarkWriter::new(mark, RATE_HZ, samples(frame.captured_at)));
        let word = u64::from(WORD_MS * RATE_HZ / 1_000);
        let left = (word - writer.clock() % word) as usize;
        let at = if writer.mark() == mark { 0 } else { left.min(frame.samples.len()) };
        let (before, after) = frame.samples.split_at_mut(at);
        writer.write(before);
        if writer.mark() != mark && writer.clock().is_multiple_of(word) {
            *writer = MarkWriter::new(mark, RATE_HZ, writer.clock());
        }
        writer.write(after);
    }

    /// Fills a frame with what is said.
    fn says(&mut self, said: u32, frame: &mut OutFrame<'_>) -> Fill {
        if said != MARK {
            // after a pause the time differs
            self.mark = None;
        }
        match said {
            0 => return Fill::Silence,
            MARK => self.say_mark(frame),
            ECHO => {
                let echo = self.sound.echo.as_ref();
                if !echo.is_some_and(|echo| echo.read(&mut self.echoed, frame.samples)) {
                    return Fill::Silence;
                }
            }
            file if file & FILE != 0 => return self.play(file, frame),
            tenths => {
                let step = TAU * f64::from(tenths) / 10.0 / f64::from(RATE_HZ);
                for sample in frame.samples.iter_mut() {
                    *sample = (AMPLITUDE * self.phase.sin()) as i16;
                    self.phase = (self.phase + step) % TAU;
                }
            }
        }
        Fill::Audio
    }

    /// Continues a file; silence after its end.
    fn play(&mut self, said: u32, frame: &mut OutFrame<'_>) -> Fill {
        let file = self.sound.files.get((said % PLACES) as usize);
        if self.file.0 != said {
            self.file = (said, 0);
            let last = file.and_then(|file| file.iter().rposition(|sample| sample.unsigned_abs() > QUIET));
            self.audible = last.map_or(0, |last| last + 1);
        }
        let rest = file.and_then(|file| file.get(self.file.1..)).unwrap_or_default();
        let count = rest.len().min(frame.samples.len());
        if count == 0 {
            self.sound.played.store(said, Relaxed);
            return Fill::Silence;
        }
        let (played, silent) = frame.samples.split_at_mut(count);
        played.copy_from_slice(&rest[..count]);
        silent.fill(0);
        self.file.1 += count;
        Fill::Audio
    }
}

impl FrameSource for Mouth {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        let said = self.sound.said.load(Relaxed);
        let filled = self.says(said, frame);
        let is_over = said & FILE != 0 && self.file.1 >= self.audible;
        let speaks = filled == Fill::Audio && !matches!(said, MARK | ECHO) && !is_over;
        if std::mem::replace(&mut self.speaks, speaks) && !speaks {
            self.sound.loudness.has_said(self.sound.loudness.now());
        }
        filled
    }
}

/// The sink that judges a leg's received audio.
pub struct Ear {
    sound: Arc<LegSound>,
    piece: Box<[i16; PIECE]>,
    filled: usize,
    /// `None` if it evaluates no marks.
    reader: Option<Box<MarkReader>>,
    events: Vec<MarkEvent>,
    meter: Meter,
}

impl Ear {
    /// The sink of a leg: a caller expects the callee of its own call, a callee adopts the first caller that
    /// it hears.
    pub fn new(sound: Arc<LegSound>) -> Self {
        let expected = match sound.side {
            Side::Caller => Some(Mark { side: sound.hears, ..sound.mark() }),
            Side::Callee => None,
        };
        let reader = (sound.listens != Listens::Never).then(|| Box::new(MarkReader::new(expected, RATE_HZ)));
        let (piece, events) = (Box::new([0; PIECE]), Vec::with_capacity(EVENTS));
        Ear { sound, piece, filled: 0, reader, events, meter: Meter::default() }
    }

    /// Evaluates marks in received audio.
    fn hear_mark(&mut self, played: &[i16]) {
        let Some(reader) = self.reader.as_mut().filter(|_| self.sound.is_listened_to()) else { return };
        let now = samples_now();
        reader.push(now, played, &mut self.events);
        for event in self.events.drain(..) {
            if let MarkEvent::Heard(word) = &event
                && self.sound.side == Side::Callee
                && word.mark.side == Side::Caller
                && self.sound.call.load(Relaxed) == 0
            {
                self.sound.call.store(word.mark.call, Relaxed);
                reader.expect(Some(word.mark));
            }
            self.sound.hearing.take(self.sound.hears, &event);
            self.sound.course_of(now, &event);
        }
    }

    /// Whether all wanted tones are present, and no unwanted one.
    fn judge(&self, wanted: &[AtomicU32]) -> bool {
        wanted.iter().map(|slot| slot.load(Relaxed)).take_while(|code| *code != 0).all(|code| {
            let hz = f64::from(code & !NOT) / 10.0;
            (goertzel(&self.piece[..], hz, RATE_HZ) > AUDIBLE) == (code & NOT == 0)
        })
    }
}

impl FrameSink for Ear {
    fn frame(&mut self, frame: &InFrame<'_>) {
        self.sound.course.frame(frame.samples, frame.kind == FrameKind::Concealed);
        self.hear_mark(frame.samples);
        if let Some(echo) = &self.sound.echo {
            echo.write(frame.samples);
        }
        match self.sound.awaited.load(Relaxed) {
            0 => self.meter.reset(),
            _ => self.meter.frame(frame.samples, self.sound.loudness.now(), &self.sound.loudness),
        }
        if self.sound.wanted[0].load(Relaxed) == 0 {
            self.filled = 0;
            return;
        }
        for sample in frame.samples {
            self.piece[self.filled] = *sample;
            self.filled += 1;
            if self.filled == PIECE {
                self.filled = 0;
                if self.judge(&self.sound.wanted) {
                    self.sound.heard.store(true, Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
