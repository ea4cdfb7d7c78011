//! Both ends of a stream without a media thread.

use super::*;

const FRAME: usize = 320;

fn pair() -> (Streams, Inside, AudioStream) {
    let streams = Streams::start().expect("a thread");
    let (inside, outside) = streams.open(StreamSpec::new(16_000)).expect("room");
    (streams, inside, outside)
}

/// The next frame that the party hears.
fn speak(inside: &mut Inside) -> Vec<i16> {
    let mut frame = [7; FRAME];
    inside.speak(&mut frame);
    frame.to_vec()
}

fn events(outside: &mut AudioStream) -> Vec<StreamEvent> {
    std::iter::from_fn(|| outside.poll_event()).collect()
}

/// Waits until no stream is left; the waking thread holds them a little longer.
fn none_left(streams: &Streams) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while streams.counters().open() > 0 {
        assert!(std::time::Instant::now() < until, "{:?}", streams.counters());
        std::thread::yield_now();
    }
}

fn mark(name: &str, played: bool) -> StreamEvent {
    StreamEvent::Mark { name: name.into(), played }
}

#[test]
fn a_mark_is_reported_with_the_frame_of_the_sample_before_it_and_no_earlier() {
    let (_streams, mut inside, mut outside) = pair();
    let line: Vec<i16> = (1..=1_000).collect();
    for (name, samples) in [("a", &line[..319]), ("b", &line[319..320]), ("c", &line[320..321])] {
        outside.write(samples);
        outside.mark(name);
    }
    outside.write(&line[321..]);
    outside.mark("end");
    assert!(events(&mut outside).is_empty(), "queued is not played");
    assert_eq!(speak(&mut inside), line[..320]);
    assert_eq!(events(&mut outside), [mark("a", true), mark("b", true)]);
    assert_eq!(speak(&mut inside), line[320..640]);
    assert_eq!(events(&mut outside), [mark("c", true)]);
    assert_eq!(speak(&mut inside), line[640..960]);
    assert!(events(&mut outside).is_empty(), "40 samples are left");
    assert_eq!(speak(&mut inside)[..41], [&line[960..], &[0]].concat());
    assert_eq!(events(&mut outside), [mark("end", true)]);
    outside.mark("at once");
    assert_eq!(events(&mut outside), [mark("at once", true)], "nothing is before it");
}

#[test]
fn clear_silences_the_next_frame_and_what_comes_after_it_is_heard() {
    let (_streams, mut inside, mut outside) = pair();
    outside.write(&[5; 400]);
    outside.mark("half");
    outside.write(&[6; 40_000]);
    outside.mark("late");
    assert_eq!(speak(&mut inside), [5; FRAME]);
    outside.clear();
    assert_eq!(events(&mut outside), [mark("half", false), mark("late", false)], "at once");
    outside.mark("behind");
    outside.write(&[9; FRAME]);
    outside.mark("new");
    assert_eq!(speak(&mut inside), [9; FRAME], "not one sample of what was before");
    assert!(inside.is_cut());
    assert_eq!(events(&mut outside), [mark("behind", true), mark("new", true)]);
    assert_eq!(outside.queued(), 0);
    outside.clear();
    assert_eq!(speak(&mut inside), [0; FRAME]);
    assert!(events(&mut outside).is_empty(), "nothing was cleared");
}

#[test]
fn what_is_paused_waits_whole_until_it_goes_on_or_is_cleared() {
    let (_streams, mut inside, mut outside) = pair();
    outside.write(&[5; 2 * FRAME]);
    outside.mark("end");
    assert_eq!(speak(&mut inside), [5; FRAME]);
    outside.pause(true);
    assert_eq!([speak(&mut inside), speak(&mut inside)], [[0; FRAME]; 2]);
    assert_eq!((outside.queued(), events(&mut outside)), (FRAME, Vec::new()));
    outside.pause(false);
    assert_eq!(speak(&mut inside), [5; FRAME]);
    assert_eq!(events(&mut outside), [mark("end", true)]);
    outside.pause(true);
    outside.write(&[6; FRAME]);
    outside.clear();
    outside.write(&[7; FRAME]);
    assert_eq!(speak(&mut inside), [0; FRAME]);
    outside.pause(false);
    assert_eq!(speak(&mut inside), [7; FRAME]);
}

#[test]
fn what_does_not_fit_waits_and_is_said_in_its_order() {
    let (_streams, mut inside, mut outside) = pair();
    let line: Vec<i16> = (0..160_000).map(|n| (n % 30_000) as i16).collect();
    line.chunks(7_777).for_each(|part| outside.write(part));
    outside.mark("end");
    assert_eq!(outside.queued(), line.len());
    let mut said = Vec::new();
    while said.len() < line.len() {
        said.extend(speak(&mut inside));
        assert!(events(&mut outside).iter().all(|event| *event == mark("end", true)));
    }
    assert!(said == line, "ten seconds without a hole");
}

#[test]
fn of_too_much_audio_the_oldest_is_dropped_and_marks_stay_at_their_audio() {
    let (_streams, mut inside, mut outside) = pair();
    // A second fits into the ring, and stays; of the rest the newer half does.
    let line: Vec<i16> = (0..48_000).map(|n| (n / 16) as i16).collect();
    for (name, samples) in [
        ("kept", &line[..16_000]),
        ("dropped", &line[16_000..20_000]),
        ("the last dropped", &line[20_000..32_000]),
        ("the first behind", &line[32_000..32_001]),
        ("end", &line[32_001..]),
    ] {
        outside.write(samples);
        outside.mark(name);
    }
    assert_eq!(outside.drop_oldest(48_000), 0);
    assert_eq!(outside.drop_oldest(32_000), 16_000);
    assert_eq!((outside.queued(), outside.drop_oldest(32_000)), (32_000, 0));
    assert!(events(&mut outside).is_empty(), "marks come in their order");
    let (mut said, mut told) = (Vec::new(), Vec::new());
    while said.len() < 32_000 {
        said.extend(speak(&mut inside));
        told.extend(events(&mut outside));
    }
    assert!(said == [&line[..16_000], &line[32_000..]].concat());
    let marks = [("kept", true), ("dropped", false), ("the last dropped", false), ("the first behind", true)];
    assert_eq!(told[..4], marks.map(|(name, played)| mark(name, played)));
    assert_eq!(told[4..], [mark("end", true)]);
    // What is in the ring is played in any case.
    outside.write(&[1; 1_000]);
    assert_eq!(outside.drop_oldest(0), 0);
}

#[test]
fn finish_plays_to_the_last_sample_and_one_silent_frame_behind_it() {
    let (_streams, mut inside, mut outside) = pair();
    outside.write(&[3; 20_100]);
    outside.mark("word");
    outside.finish();
    outside.write(&[4; 100]);
    let mut said = Vec::new();
    let mut frame = [0; FRAME];
    while inside.speak(&mut frame) == Spoken::More {
        said.extend(frame);
        outside.poll_event();
    }
    assert_eq!(frame, [0; FRAME], "silence at the end");
    assert_eq!(said.iter().filter(|sample| **sample == 3).count(), 20_100, "to the last sample");
    assert!(said.iter().all(|sample| *sample != 4), "after the end nothing is taken");
    inside.end(StreamEnd::Finished);
    assert_eq!(events(&mut outside).last(), Some(&StreamEvent::Ended(StreamEnd::Finished)));
    assert_eq!(outside.poll_event(), None, "once");
}

#[test]
fn a_word_that_comes_in_pieces_begins_whole_and_its_end_does_not_wait() {
    let (_streams, mut inside, mut outside) = pair();
    outside.write(&[1; 100]);
    assert_eq!(speak(&mut inside), [0; FRAME], "it waits for the rest");
    outside.write(&[1; 300]);
    assert_eq!(speak(&mut inside), [1; FRAME]);
    assert_eq!(speak(&mut inside)[..81], [vec![1; 80], vec![0]].concat(), "in the middle nothing waits");
    outside.write(&[2; 10]);
    assert_eq!(speak(&mut inside)[0], 0);
    assert_eq!(speak(&mut inside)[..11], [vec![2; 10], vec![0]].concat(), "nor for longer than a frame");
}

#[test]
fn a_party_that_nobody_takes_loses_frames_that_are_counted_and_told() {
    let (streams, mut inside, mut outside) = pair();
    for n in 0..60 {
        inside.hear(&[n; FRAME]);
    }
    let mut heard = vec![0; 100 * FRAME];
    assert_eq!(outside.read(&mut heard), 50 * FRAME, "a second");
    assert!(heard[..50 * FRAME].chunks(FRAME).enumerate().all(|(n, frame)| frame == [n as i16; FRAME]));
    assert_eq!(events(&mut outside), [StreamEvent::Lost { samples: 10 * FRAME as u64 }]);
    inside.hear(&[99; FRAME]);
    assert_eq!(outside.read(&mut [0; FRAME - 1]), 0, "whole frames only");
    assert_eq!(outside.read(&mut heard), FRAME);
    drop((inside, outside));
    none_left(&streams);
    assert_eq!(streams.counters().missed(), 3_200);
}

#[tokio::test]
async fn the_outside_is_woken_by_sound_digits_and_the_end() {
    let (streams, mut inside, mut outside) = pair();
    inside.hear(&[1; FRAME]);
    outside.changed().await;
    assert_eq!(outside.read(&mut [0; FRAME]), FRAME);
    inside.digit('5');
    outside.mark("never");
    outside.write(&[1; FRAME]);
    outside.mark("lost");
    outside.changed().await;
    assert_eq!(events(&mut outside), [StreamEvent::Digit('5'), mark("never", true)]);
    drop(inside);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        outside.changed().await;
        seen.extend(events(&mut outside));
    }
    assert_eq!(seen, [mark("lost", false), StreamEvent::Ended(StreamEnd::Closed)]);
    drop(outside);
    none_left(&streams);
    assert_eq!(streams.counters().opened(), 1);
}

#[tokio::test]
async fn who_reads_longer_frames_is_woken_once_for_each() {
    let streams = Streams::start().expect("a thread");
    let spec = StreamSpec { frame_ms: 60, ..StreamSpec::new(16_000) };
    let (mut inside, mut outside) = streams.open(spec).expect("room");
    let mut heard = [0; 3 * FRAME];
    for n in 0..9i16 {
        inside.hear(&[n; FRAME]);
        if n % 3 == 2 {
            outside.changed().await;
            assert_eq!(outside.read(&mut heard), 3 * FRAME);
            assert_eq!([heard[0], heard[3 * FRAME - 1]], [n - 2, n]);
        } else {
            assert_eq!(outside.read(&mut heard), 0, "whole frames only");
            let early = tokio::time::timeout(std::time::Duration::from_millis(20), outside.changed());
            assert!(early.await.is_err(), "nothing is to be read");
        }
    }
}

#[test]
fn who_drops_their_end_is_missed_by_the_other_one() {
    let (_streams, inside, outside) = pair();
    assert!(!inside.is_abandoned());
    drop(outside);
    assert!(inside.is_abandoned());
}

#[test]
fn a_stream_that_is_polled_says_when_there_is_news_and_wakes_nobody() {
    let (_streams, mut inside, mut outside) = pair();
    outside.poll_by_the_clock();
    assert!(!outside.has_news());
    inside.hear(&[1; FRAME]);
    // Longer than wake-ups are gathered.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::pin::pin!(outside.changed()).poll(&mut context).is_pending());
    assert!(outside.has_news() && !outside.has_news(), "once for what has come");
    assert_eq!(outside.read(&mut [0; FRAME]), FRAME);
    inside.digit('5');
    assert!(outside.has_news());
    assert_eq!(events(&mut outside), [StreamEvent::Digit('5')]);
    drop(inside);
    assert!(outside.has_news());
    assert_eq!(events(&mut outside), [StreamEvent::Ended(StreamEnd::Closed)]);
}
