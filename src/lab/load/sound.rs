//! What a leg says and hears: made and judged on the media thread, where frames are, and told to the
//! generator through atomics. Nothing waits, locks or allocates here.

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

/// Samples a second of every leg, whatever its codec: marks and tones are within a telephone's band.
pub const RATE_HZ: u32 = 8_000;
/// A tone is looked for in pieces of a fifth of a second: shorter than any prompt.
const PIECE: usize = RATE_HZ as usize / 5;
/// The mean square of a tone that is heard: 22 dB below that of one that is said.
const AUDIBLE: f64 = 1e6;
/// 16 dB below full scale, as a voice is.
const AMPLITUDE: f64 = 8_000.0;
/// Tones that are looked for at once: those that are wanted and those that are not.
const TONES: usize = 8;

/// Marks that one frame can tell of, and some more: no room is made for them on the media thread.
const EVENTS: usize = 64;

/// Whether a leg listens to marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listens {
    /// It does.
    Always,
    /// It does not, and says its own.
    Never,
    /// It does until it hears a caller, and goes on where that has chosen the call.
    WhereChosen,
}

/// A leg's sound, between the generator and the media thread.
#[derive(Debug)]
pub struct LegSound {
    /// The mark of this side. A callee's has the number of the call that it hears, 0 before it hears one.
    side: Side,
    call: AtomicU32,
    /// The side whose mark it is to hear: the other one, or its own where it is echoed.
    hears: Side,
    listens: Listens,
    hearing: Hearing,
    /// [`Said`]: 0 nothing, 1 the mark; with [`FILE`] a file, its place, and how often one was begun; else a tone in
    /// tenths of a hertz.
    said: AtomicU32,
    /// What files there are.
    files: Arc<[Sound]>,
    /// Tones in tenths of a hertz; with the highest bit, such as must not be there. 0: none.
    wanted: [AtomicU32; TONES],
    /// They are heard, since they are wanted.
    heard: AtomicBool,
    course: Course,
}

/// A tone that must not be there.
const NOT: u32 = 1 << 31;
const MARK: u32 = 1;
/// A file; behind it its place and a count, so that it begins anew where it is said again.
const FILE: u32 = 1 << 30;
const PLACES: u32 = 1 << 16;

fn tenths(hz: f64) -> u32 {
    (hz * 10.0).round() as u32
}

impl LegSound {
    /// The sound of a caller of this call, which is not 0; or of a callee, whose call is. `echoed`: the far end
    /// says what it hears.
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

    /// The mark that it says.
    pub fn mark(&self) -> Mark {
        Mark { call: self.call.load(Relaxed), side: self.side }
    }

    /// Whether what it hears of marks is told.
    pub fn is_listened_to(&self) -> bool {
        match self.listens {
            Listens::Always => true,
            Listens::Never => false,
            // who hears nobody goes on listening, and that is told
            Listens::WhereChosen => {
                let call = self.call.load(Relaxed);
                call == 0 || is_chosen(call)
            }
        }
    }

    /// What it has heard of marks so far.
    pub fn heard(&self) -> Heard {
        self.hearing.read()
    }

    /// How what it heard went so far.
    pub fn course(&self) -> Option<course::Told> {
        self.course.told()
    }

    /// Says this from the next frame on.
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

    /// Looks for this from now on. What has no room is not looked for.
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

    /// Where in the call something of marks is.
    fn course_of(&self, now: u64, event: &MarkEvent) {
        let frame = u64::from(RATE_HZ / 50);
        let before = |at: u64| u32::try_from(now.saturating_sub(at) / frame).unwrap_or(u32::MAX);
        match event {
            MarkEvent::Heard(word) if word.mark.side == self.hears => {
                self.course.mark(0, course::Mark::Heard)
            }
            // it hears nobody yet: whoever's it is
            MarkEvent::Foreign(word) if word.mark == NOBODY => {}
            MarkEvent::Heard(_) | MarkEvent::Foreign(_) => self.course.mark(0, course::Mark::Foreign),
            // before the first word and after the last one nothing has to be there
            MarkEvent::Silence(gap) | MarkEvent::Noise(gap) if self.hearing.is_heard() => {
                let frames = u32::try_from(gap.length.div_ceil(frame)).unwrap_or(u32::MAX);
                let first = before(gap.from);
                (first.saturating_sub(frames)..=first).for_each(|at| self.course.mark(at, course::Mark::Gap));
            }
            MarkEvent::Silence(_) | MarkEvent::Noise(_) => {}
        }
    }

    /// Whether it is heard; with no tones, the mark.
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

/// What a leg without sound has in their place.
pub struct Nothing;

impl FrameSource for Nothing {
    fn fill(&mut self, _: &mut OutFrame<'_>) -> Fill {
        Fill::Silence
    }
}

impl FrameSink for Nothing {
    fn frame(&mut self, _: &InFrame<'_>) {}
}

/// Says what the leg says.
pub struct Mouth {
    sound: Arc<LegSound>,
    phase: f64,
    mark: Option<MarkWriter>,
    /// What of [`LegSound`] the file stands for that is played, and how far.
    file: (u32, usize),
}

impl Mouth {
    /// A mouth for a leg.
    pub fn new(sound: Arc<LegSound>) -> Self {
        Mouth { sound, phase: 0.0, mark: None, file: (0, 0) }
    }

    /// Goes on with the mark where it was, or begins it at this time. Another one begins with a code word: the
    /// half of one would be a gap to who listens.
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
    /// Goes on with a file; silence behind its end.
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
            // after a pause it is another time
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

/// Judges what the leg hears.
pub struct Ear {
    sound: Arc<LegSound>,
    piece: Box<[i16; PIECE]>,
    filled: usize,
    /// None: it listens to no marks.
    reader: Option<Box<MarkReader>>,
    events: Vec<MarkEvent>,
}

impl Ear {
    /// An ear for a leg: a caller expects its own call's callee, a callee whoever it hears first.
    pub fn new(sound: Arc<LegSound>) -> Self {
        let expected = match sound.side {
            Side::Caller => Some(Mark { side: sound.hears, ..sound.mark() }),
            Side::Callee => None,
        };
        let reader = (sound.listens != Listens::Never).then(|| Box::new(MarkReader::new(expected, RATE_HZ)));
        Ear { sound, piece: Box::new([0; PIECE]), filled: 0, reader, events: Vec::with_capacity(EVENTS) }
    }

    /// Takes what the mark tells.
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

    /// Whether the tones are there that are wanted, and no other of them.
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

    /// What `from` says, heard by `to` for so many frames.
    fn talk(from: &Arc<LegSound>, to: &Arc<LegSound>, frames: u32) {
        let (mut mouth, mut ear) = (Mouth::new(from.clone()), Ear::new(to.clone()));
        // frames are heard as fast as they come here, so a mark's delay means nothing
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
        // a callee that hears nobody says so
        let lonely = sound(Side::Caller, 9);
        talk(&deaf, &lonely, 250);
        assert!(lonely.heard().unheard > 0 && lonely.heard().foreign.is_none());
        // and who hears their own voice has an echo
        let echoed = sound(Side::Caller, 10);
        echoed.say(Said::Mark);
        talk(&echoed, &echoed, 250);
        assert_eq!(echoed.heard().foreign, Some(Mark { call: 10, side: Side::Caller }));
        // which is what an echo is for
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
            // it knows whom it hears, so that others can hear that
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
