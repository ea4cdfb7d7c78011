//! Turns in virtual time: frames of 20 ms at 8 kHz, one packet each.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::path::Lag;
use super::turns::{Interrupted, Turn, Turns};
use b2b_base::frame::FrameKind;

const TICK: u64 = 20_000_000;

/// A stream whose party is 60 ms away; both jitter buffers have 40 ms.
struct Lab {
    turns: Turns,
    tick: u64,
    position: u64,
    sound: Sound,
    /// What the program sends is digital silence.
    streams_silence: bool,
    rng: StdRng,
}

/// What comes from a party that does not speak.
#[derive(Clone, Copy)]
enum Sound {
    /// A square wave.
    Of(i16),
    Constant(i16),
    /// One sample in so many.
    Rare {
        every: usize,
        level: i16,
    },
    /// No packets come; lost ones.
    Nothing,
    Concealed,
}

impl Sound {
    fn frame(self, phase: usize) -> (FrameKind, Vec<i16>) {
        let square = |level: i16| (0..160).map(|n| if n % 8 < 4 { level } else { -level }).collect();
        match self {
            Sound::Of(level) => (FrameKind::Audio, square(level)),
            Sound::Constant(level) => (FrameKind::Audio, vec![level; 160]),
            Sound::Rare { every, level } => {
                let sample = |n: usize| if (n + phase).is_multiple_of(every) { level } else { 0 };
                (FrameKind::Audio, (0..160).map(sample).collect())
            }
            Sound::Nothing => (FrameKind::Silence, vec![0; 160]),
            Sound::Concealed => (FrameKind::Concealed, vec![0; 160]),
        }
    }
}

impl Lab {
    fn new() -> Lab {
        Lab {
            turns: Turns::new(8_000),
            tick: 0,
            position: 0,
            sound: Sound::Of(20),
            streams_silence: false,
            rng: StdRng::seed_from_u64(1),
        }
    }

    /// So many ticks in which the program sends, and the party speaks.
    fn ticks(&mut self, count: u64, sends: bool, speaks: bool) -> Vec<Turn> {
        let mut all = Vec::new();
        let sound = if speaks { Sound::Of(3_000) } else { self.sound };
        let lag = Lag { least: Duration::from_millis(154), most: Duration::from_millis(181) };
        for _ in 0..count {
            self.tick += 1;
            let (kind, frame) = sound.frame(self.rng.random_range(0..160));
            self.turns.hears(self.tick * TICK, &frame, kind, || lag);
            self.position += if sends { 160 } else { 0 };
            self.turns.sends(self.tick * TICK, self.position, self.tick as u16, self.streams_silence);
            all.extend(std::iter::from_fn(|| self.turns.poll()));
        }
        all
    }
}

#[test]
fn an_answer_is_timed_from_the_end_of_what_the_party_said() {
    let mut lab = Lab::new();
    assert_eq!(lab.ticks(100, false, false), []);
    assert_eq!(lab.ticks(50, false, true), [Turn::Speaks]);
    assert_eq!(lab.ticks(40, false, false), [Turn::Hushes { ms: 1_000 }]);
    let begun = Turn::Utters { utterance: 1, response_ms: Some(800) };
    assert_eq!(lab.ticks(60, true, false), [begun]);
    assert_eq!(lab.ticks(80, false, false), [Turn::Uttered { utterance: 1, sent: 9_600 }]);
    assert_eq!(
        lab.ticks(9, true, false),
        [Turn::Utters { utterance: 2, response_ms: None }],
        "nothing was said"
    );
    let quick = [Turn::Speaks, Turn::Uttered { utterance: 2, sent: 1_440 }];
    lab.ticks(20, false, false);
    assert_eq!(lab.ticks(30, false, true), quick);
    lab.ticks(10, false, false);
    let begun = Turn::Utters { utterance: 3, response_ms: Some(200) };
    assert_eq!(lab.ticks(30, true, false), [begun, Turn::Hushes { ms: 600 }], "sooner than its end is known");
    assert_eq!(lab.ticks(60, false, false), [Turn::Uttered { utterance: 3, sent: 4_800 }]);
    assert_eq!(
        lab.ticks(9, true, false),
        [Turn::Utters { utterance: 4, response_ms: None }],
        "it was answered"
    );
}

#[test]
fn a_program_that_streams_silence_answers_when_it_speaks() {
    let mut lab = Lab { streams_silence: true, ..Lab::new() };
    assert_eq!(lab.ticks(100, true, false), []);
    lab.ticks(50, true, true);
    assert_eq!(lab.ticks(40, true, false), [Turn::Hushes { ms: 1_000 }]);
    lab.streams_silence = false;
    assert_eq!(lab.ticks(30, true, false), [Turn::Utters { utterance: 1, response_ms: Some(800) }]);
    lab.streams_silence = true;
    assert_eq!(lab.ticks(60, true, false), [Turn::Uttered { utterance: 1, sent: 4_800 }]);
}

#[test]
fn who_interrupts_has_heard_what_was_sent_a_round_trip_before() {
    let mut lab = Lab::new();
    lab.ticks(100, true, false);
    let told = lab.ticks(3, true, true);
    let [
        Turn::Speaks,
        Turn::Interrupted(Interrupted { utterance: 1, sent, arrived: None, heard: [least, most] }),
    ] = told[..]
    else {
        panic!("{told:?}")
    };
    // It begins 20 ms after the last packet; a packet, two buffers and the round trip are 160 ms.
    let heard = 92 * 160;
    assert!((least..=most).contains(&heard) && most - least < 8 * 45, "{least} {heard} {most}");
    assert_eq!(sent, 100 * 160);
    lab.turns.cut(30_000);
    assert_eq!(lab.turns.poll(), Some(Turn::Cut { utterance: 1, sent: 103 * 160 }));
    lab.position = 30_000;
    assert_eq!(lab.ticks(100, false, false), [Turn::Hushes { ms: 60 }]);
    let [Turn::Utters { utterance: 2, response_ms: Some(2_000) }] = lab.ticks(20, true, false)[..] else {
        panic!()
    };
}

#[test]
fn a_click_is_no_speech_and_who_has_heard_all_interrupts_nothing() {
    let mut lab = Lab::new();
    lab.ticks(50, true, false);
    assert_eq!(lab.ticks(1, true, true), []);
    assert_eq!(lab.ticks(20, false, false), []);
    assert_eq!(lab.ticks(3, false, true), [Turn::Speaks, Turn::Uttered { utterance: 1, sent: 51 * 160 }]);
}

#[test]
fn what_has_arrived_is_what_the_last_report_names() {
    let mut lab = Lab::new();
    lab.ticks(100, true, false);
    lab.turns.arrives(90);
    let told = lab.ticks(3, true, true);
    assert!(
        told.iter().any(|turn| matches!(turn, Turn::Interrupted(it) if it.arrived == Some(90 * 160))),
        "{told:?}"
    );
}

fn silent(turns: Vec<Turn>) -> Vec<Turn> {
    turns.into_iter().filter(|turn| matches!(turn, Turn::Silent { .. })).collect()
}

#[test]
fn digital_silence_is_told_after_five_seconds_of_being_spoken_to() {
    // That of A-law; the first frame is a filter that rings.
    let mut lab = Lab { sound: Sound::Of(9), ..Lab::new() };
    lab.ticks(1, false, false);
    lab.sound = Sound::Constant(8);
    assert_eq!(silent(lab.ticks(500, false, false)), [], "nobody speaks to it");
    assert_eq!(silent(lab.ticks(249, true, false)), []);
    assert_eq!(silent(lab.ticks(300, true, false)), [Turn::Silent { heard_before: false }], "once");
    lab.sound = Sound::Of(9);
    assert_eq!(silent(lab.ticks(3, true, false)), [], "that is a sound");
    lab.sound = Sound::Constant(0);
    assert_eq!(silent(lab.ticks(260, true, false)), [Turn::Silent { heard_before: true }]);
}

/// Parties who are heard, however quietly, or who need not be: on hold, with discontinuous transmission, listening only
/// before anybody speaks to them.
#[test]
fn no_party_that_is_heard_is_told_to_be_silent_in_ten_thousand_calls() {
    let mut false_ones = 0;
    for seed in 0..10_000 {
        let rng = StdRng::seed_from_u64(seed);
        let mut lab = Lab { rng, ..Lab::new() };
        // The smallest step of µ-law, once in so many samples: the quietest line that there is.
        let every = lab.rng.random_range(2..140);
        lab.sound = match seed % 4 {
            0 => Sound::Rare { every, level: 8 },
            1 => Sound::Of(lab.rng.random_range(5..60)),
            2 => Sound::Nothing,
            _ => Sound::Concealed,
        };
        false_ones += silent(lab.ticks(300, true, false)).len();
    }
    assert_eq!(false_ones, 0);
}
