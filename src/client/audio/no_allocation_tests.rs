//! The media thread's side of a call neither allocates nor frees memory, whatever a program does with its
//! audio.

use super::line::{Media, sides};
use super::{AudioPipeline, Ear, Sound, Voice};
use b2b_base::frame::{FrameKind, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_base::util::ntp::NtpTime;

const RATE: u32 = 16_000;

/// Allocations of one tick, and bytes retained.
fn tick(voice: &mut Voice, ear: &mut Ear) -> (u64, i64) {
    let (heard, mut said) = ([500; 320], [0; 320]);
    let info = allocation_counter::measure(|| {
        ear.frame(&InFrame { samples: &heard, captured_at: None, kind: FrameKind::Audio });
        voice.fill(&mut OutFrame { samples: &mut said, captured_at: NtpTime(0) });
    });
    (info.count_total, info.count_current)
}

fn attached(media: Media) -> (Voice, Ear) {
    let quieter = |frame: &mut [i16], _: u32| frame.iter_mut().for_each(|sample| *sample /= 2);
    media.attached(AudioPipeline::new().sent(quieter).received(quieter), RATE)
}

#[test]
fn no_memory_is_taken_or_given_back_on_the_media_thread() {
    let (program, media) = sides();
    let (mut voice, mut ear) = attached(media);
    let (mut audio, mut joined) = (None, None);
    let (mut heard, mut said, mut marks, mut recorded) = (0, 0, 0, Vec::new());
    for n in 0..6_000 {
        match n % 600 {
            // Replaces the previous one.
            0 => audio = Some(program.open(RATE, 48_000).expect("room")),
            100 => audio = Some(program.open(RATE, RATE).expect("room")),
            200 => joined = Some(program.tape(RATE).expect("room")),
            300 => drop(program.play(Sound::tone(440.0, 500).prepare(RATE).expect("a tone"))),
            400 => joined = None,
            500 => audio = None,
            _ => {}
        }
        if let Some((audio, lines)) = &mut audio {
            said += audio.outgoing.try_write(&[1_000; 960]).expect("a call");
            audio.outgoing.mark();
            if n % 50 == 0 {
                audio.outgoing.flush();
            }
            // The program sleeps at times, and the rings overflow.
            while n % 300 > 120 && audio.incoming.try_next().is_some() {
                heard += 1;
            }
            lines.look();
            while lines.outgoing.passed().is_some() {
                marks += 1;
            }
        }
        if let Some(joined) = &mut joined {
            recorded.clear();
            joined.take(false, &mut recorded);
        }
        assert_eq!(tick(&mut voice, &mut ear), (0, 0), "tick {n}");
    }
    // All of them were effective.
    assert!(heard > 1_000 && said > 1_000_000 && marks > 1_000, "{heard} {said} {marks}");
    let control = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(control.count_total, 1, "the counter counts");
}
