//! The sent and received audio of a leg: generated and judged on the media thread, and exchanged with the
//! generator through atomics. It does not wait, lock or allocate.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::SystemTime;

use super::course::{self, Course};
use super::hearing::{Heard, Hearing, NOBODY, is_chosen};
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
    /// Encoded [`Said`]: 0 nothing, 1 the mark; with [`FILE`] a file, its index and a start counter; else a
    /// tone in tenths of a hertz.
    said: AtomicU32,
    /// The files of the run.
    files: Arc<[Sound]>,
    /// Tones in tenths of a hertz; the highest bit marks an unwanted one. 0: none.
    wanted: [AtomicU32; TONES],
    /// Whether the tones are as wanted.
    heard: AtomicBool,
    course: Course,
}

/// Flag of an unwanted tone.
const NOT: u32 = 1 << 31;
const MARK: u32 = 1;
/// Flag of a file, with its index and a counter, so that playing it again restarts it.
const FILE: u32 = 1 << 30;
const PLACES: u32 = 1 << 16;

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
            course: Course::default(),
        }
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

    /// The course of its received audio so far.
    pub fn course(&self) -> Option<course::Told> {
        self.course.told()
    }

    /// Sends this from the next frame on.
    pub fn say(&self, said: Said) {
        let code = match said {
            Said::Nothing => 0,
            Said::Mark => MARK,
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
            Wanted::Mark => (&[], &[]),
            Wanted::Tones { these, not } => (these, not),
        };
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

    /// Whether the wanted tones are heard; without tones, the mark.
    pub fn is_heard(&self) -> bool {
        match self.wanted[0].load(Relaxed) {
            0 => self.hearing.is_heard(),
            _ => self.heard.load(Relaxed),
        }
    }
}

/// The clock of marks: samples since 1900, the same in all processes of a machine.
fn samples(time: NtpTime) -> u64 {
    ((u128::from(time.0) * u128::from(RATE_HZ)) >> 32) as u64
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
}

impl Mouth {
    /// The source of a leg.
    pub fn new(sound: Arc<LegSound>) -> Self {
        Mouth { sound, phase: 0.0, mark: None, file: (0, 0) }
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
}

impl Mouth {
    /// Continues a file; silence after its end.
    fn play(&mut self, said: u32, frame: &mut OutFrame<'_>) -> Fill {
        if self.file.0 != said {
            self.file = (said, 0);
        }
        let file = self.sound.files.get((said % PLACES) as usize);
        let rest = file.and_then(|file| file.get(self.file.1..)).unwrap_or_default();
        let count = rest.len().min(frame.samples.len());
        if count == 0 {
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
        if said != MARK {
            // after a pause the time differs
            self.mark = None;
        }
        match said {
            0 => return Fill::Silence,
            MARK => self.say_mark(frame),
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
}

/// The sink that judges a leg's received audio.
pub struct Ear {
    sound: Arc<LegSound>,
    piece: Box<[i16; PIECE]>,
    filled: usize,
    /// `None` if it evaluates no marks.
    reader: Option<Box<MarkReader>>,
    events: Vec<MarkEvent>,
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
        Ear { sound, piece: Box::new([0; PIECE]), filled: 0, reader, events: Vec::with_capacity(EVENTS) }
    }

    /// Evaluates marks in received audio.
    fn hear_mark(&mut self, played: &[i16]) {
        let Some(reader) = self.reader.as_mut().filter(|_| self.sound.is_listened_to()) else { return };
        let now = samples(NtpTime::from_system(SystemTime::now()));
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
mod tests {
    use std::time::Duration;

    use super::*;

    /// Passes the audio of `from` to `to`, for this many frames.
    fn talk(from: &Arc<LegSound>, to: &Arc<LegSound>, frames: u32) {
        let (mut mouth, mut ear) = (Mouth::new(from.clone()), Ear::new(to.clone()));
        // frames are processed faster than real time here, so a mark's delay has no meaning
        let began = NtpTime::from_system(SystemTime::now());
        for n in 0..frames {
            let mut samples = [0; 160];
            let captured_at = began.plus(Duration::from_millis(20) * n);
            mouth.fill(&mut OutFrame { samples: &mut samples, captured_at });
            ear.frame(&InFrame { samples: &samples, captured_at: None, kind: FrameKind::Audio });
        }
    }

    fn heard(said: Said, wanted: &Wanted) -> bool {
        let (from, to) = (
            Arc::new(LegSound::new(Side::Caller, 1, false, Listens::Always, Arc::default())),
            Arc::new(LegSound::new(Side::Callee, 0, false, Listens::Always, Arc::default())),
        );
        from.say(said);
        to.listen(wanted);
        talk(&from, &to, 50);
        to.is_heard()
    }

    #[test]
    fn a_tone_is_heard_where_it_is_said_and_where_no_other_one_is() {
        let wanted = |these: &[f64], not: &[f64]| Wanted::Tones { these: these.to_vec(), not: not.to_vec() };
        assert!(heard(Said::Tone(440.0), &wanted(&[440.0], &[600.0])));
        assert!(!heard(Said::Tone(600.0), &wanted(&[440.0], &[])));
        assert!(!heard(Said::Tone(440.0), &wanted(&[440.0], &[440.0])));
        assert!(heard(Said::Nothing, &wanted(&[], &[440.0])));
    }

    #[test]
    fn a_callee_says_which_call_it_hears_and_the_caller_knows_whether_it_is_its_own() {
        let sound = |side, call| Arc::new(LegSound::new(side, call, false, Listens::Always, Arc::default()));
        let (caller, other) = (sound(Side::Caller, 7), sound(Side::Caller, 8));
        let (callee, deaf) = (sound(Side::Callee, 0), sound(Side::Callee, 0));
        [&caller, &other, &callee, &deaf].into_iter().for_each(|it| it.say(Said::Mark));
        talk(&caller, &callee, 150);
        assert!(callee.heard().words > 0 && callee.mark().call == 7);
        talk(&callee, &caller, 150);
        assert!(caller.heard().words > 0 && caller.heard().foreign.is_none());
        // another caller that hears this callee is crossed with the first one
        talk(&callee, &other, 250);
        let foreign = Some(Mark { call: 7, side: Side::Callee });
        assert_eq!((other.heard().words, other.heard().foreign), (0, foreign));
        // a callee that hears no caller reports it
        let lonely = sound(Side::Caller, 9);
        talk(&deaf, &lonely, 250);
        assert!(lonely.heard().unheard > 0 && lonely.heard().foreign.is_none());
        // a caller that hears its own voice has an echo
        let echoed = sound(Side::Caller, 10);
        echoed.say(Said::Mark);
        talk(&echoed, &echoed, 250);
        assert_eq!(echoed.heard().foreign, Some(Mark { call: 10, side: Side::Caller }));
        // which is expected with an echo
        let echoed = Arc::new(LegSound::new(Side::Caller, 11, true, Listens::Always, Arc::default()));
        echoed.say(Said::Mark);
        talk(&echoed, &echoed, 150);
        assert!(echoed.heard().words > 0 && echoed.heard().foreign.is_none());
    }

    #[test]
    fn a_call_that_is_not_chosen_says_its_marks_and_is_not_listened_to() {
        let callee = || Arc::new(LegSound::new(Side::Callee, 0, false, Listens::WhereChosen, Arc::default()));
        for (mark, chosen) in [(7, true), (8, false)] {
            let listens = if chosen { Listens::Always } else { Listens::Never };
            let caller = Arc::new(LegSound::new(Side::Caller, mark, false, listens, Arc::default()));
            let callee = callee();
            [&caller, &callee].into_iter().for_each(|it| it.say(Said::Mark));
            talk(&caller, &callee, 250);
            // it adopts the number that it hears, so that its caller can verify it
            assert_eq!(callee.mark().call, mark);
            assert_eq!((callee.is_listened_to(), callee.heard().words > 1), (chosen, chosen));
            talk(&callee, &caller, 150);
            assert_eq!((caller.is_listened_to(), caller.heard().words > 0), (chosen, chosen));
        }
    }

    #[test]
    fn a_file_is_played_once_and_again_when_it_is_said_again() {
        let files: Arc<[Sound]> = vec![vec![1_000; 10].into(), (1..=200).collect::<Vec<i16>>().into()].into();
        let sound = Arc::new(LegSound::new(Side::Caller, 7, false, Listens::Always, files));
        let mut mouth = Mouth::new(sound.clone());
        let mut frame = || {
            let mut samples = [7; 160];
            let captured_at = NtpTime::from_system(SystemTime::now());
            let fill = mouth.fill(&mut OutFrame { samples: &mut samples, captured_at });
            (fill, samples[0], samples[159])
        };
        for _ in 0..2 {
            sound.say(Said::File(1));
            assert_eq!(frame(), (Fill::Audio, 1, 160));
            assert_eq!(frame(), (Fill::Audio, 161, 0));
            assert_eq!(frame().0, Fill::Silence);
        }
        sound.say(Said::File(9));
        assert_eq!(frame().0, Fill::Silence);
    }
}
