//! The sound mark: what a reader reports of what a writer plays, with everything between them
//! except codecs. `src/media/tests/mark.rs` has the codecs.

// As in test functions (clippy.toml): a failing helper fails the test.
#![allow(clippy::unwrap_used)]

use b2b_dsp::mark::*;

const MARK: Mark = Mark { call: 4_711, side: Side::Caller };
const OTHER: Mark = Mark { call: 4_712, side: Side::Caller };

/// Pseudo-random numbers.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// Approximately normal, with deviation 1.
    fn normal(&mut self) -> f64 {
        (0..6).map(|_| self.next() as f64 / u64::MAX as f64 - 0.5).sum::<f64>() * 2.0_f64.sqrt()
    }
}

/// `ms` of a mark at a rate, starting at a clock value.
fn played(mark: Mark, rate_hz: u32, clock: u64, ms: u32) -> Vec<i16> {
    let mut samples = vec![0; (rate_hz / 1_000 * ms) as usize];
    let mut writer = MarkWriter::new(mark, rate_hz, clock);
    samples.chunks_mut(rate_hz as usize / 50).for_each(|frame| writer.write(frame));
    samples
}

/// Everything that a reader reports of samples in frames of 20 ms, the first heard at `at`.
fn told(expected: Option<Mark>, rate_hz: u32, at: u64, samples: &[i16]) -> Vec<MarkEvent> {
    let (mut reader, mut events) = (MarkReader::new(expected, rate_hz), Vec::new());
    let mut clock = at;
    for frame in samples.chunks(rate_hz as usize / 50) {
        reader.push(clock, frame, &mut events);
        clock += frame.len() as u64;
    }
    reader.finish(&mut events);
    events
}

fn heard(events: &[MarkEvent]) -> Vec<Heard> {
    let heard = events.iter().filter_map(|event| match event {
        MarkEvent::Heard(heard) => Some(*heard),
        _ => None,
    });
    heard.collect()
}

fn foreign(events: &[MarkEvent]) -> Vec<Heard> {
    let foreign = events.iter().filter_map(|event| match event {
        MarkEvent::Foreign(heard) => Some(*heard),
        _ => None,
    });
    foreign.collect()
}

fn gaps(events: &[MarkEvent]) -> Vec<(bool, Gap)> {
    let gaps = events.iter().filter_map(|event| match event {
        MarkEvent::Silence(gap) => Some((true, *gap)),
        MarkEvent::Noise(gap) => Some((false, *gap)),
        _ => None,
    });
    gaps.collect()
}

#[test]
fn a_mark_is_heard_at_every_rate_with_its_delay() {
    for rate_hz in [8_000, 16_000, 24_000, 48_000] {
        for (call, side, clock) in
            [(0, Side::Caller, 0), (u32::MAX, Side::Callee, 77_777), (9, Side::Callee, 6_300_001)]
        {
            let mark = Mark { call, side };
            let late = u64::from(rate_hz / 1_000 * 37);
            let events = told(Some(mark), rate_hz, clock + late, &played(mark, rate_hz, clock, 5_000));
            let heard = heard(&events);
            assert!(heard.len() >= 6, "{rate_hz} {call}: {events:?}");
            assert_eq!(heard.len(), events.len(), "{rate_hz} {call}: {events:?}");
            for heard in heard {
                let delay = heard.delay_ms(0);
                assert_eq!((heard.mark, heard.rate_hz), (mark, rate_hz));
                assert!((delay - 37.0).abs() < 0.5, "{rate_hz} {call}: {delay} {heard:?}");
            }
        }
    }
}

/// Prints the cost of a frame of 20 ms: the best of many runs, since the machine is shared.
#[test]
fn a_frame_costs_little() {
    for rate_hz in [8_000, 16_000, 48_000] {
        let samples = played(MARK, rate_hz, 0, 20_480);
        let mut frame = vec![0; rate_hz as usize / 50];
        let mut writer = MarkWriter::new(MARK, rate_hz, 0);
        let mut reader = MarkReader::new(Some(MARK), rate_hz);
        let (mut events, mut at, mut best) = (Vec::new(), 0, [u128::MAX; 2]);
        for _ in 0..50 {
            let begin = std::time::Instant::now();
            for _ in 0..1_024 {
                writer.write(std::hint::black_box(&mut frame));
            }
            let written = begin.elapsed();
            let begin = std::time::Instant::now();
            for frame in samples.chunks(frame.len()) {
                reader.push(at, frame, &mut events);
                at += frame.len() as u64;
            }
            best = [best[0].min(written.as_nanos()), best[1].min(begin.elapsed().as_nanos())];
        }
        println!("{rate_hz} Hz: {} ns to write 20 ms, {} ns to read them", best[0] / 1_024, best[1] / 1_024);
        assert!(heard(&events).len() >= 50 * 32 - 1);
    }
}

#[test]
fn a_stream_that_begins_anywhere_in_a_word_has_no_gap() {
    for clock in (0..5_120).step_by(37) {
        let events = told(Some(MARK), 8_000, clock, &played(MARK, 8_000, clock, 2_000));
        assert!(gaps(&events).is_empty() && heard(&events).len() >= 2, "{clock}: {events:?}");
        let other = told(Some(OTHER), 8_000, clock, &played(MARK, 8_000, clock, 2_000));
        assert!(gaps(&other).is_empty(), "{clock}: {other:?}");
    }
}

#[test]
fn silence_before_a_mark_that_begins_anywhere_in_a_word_is_no_gap_once_it_is_heard() {
    for silent_ms in [0, 20, 60, 100, 160, 300, 700, 1_600, 3_000] {
        for phase_ms in (0..640).step_by(20) {
            let mut samples = vec![0; silent_ms as usize * 8];
            samples.extend(played(MARK, 8_000, phase_ms * 8, 4_000));
            let events = told(Some(MARK), 8_000, 0, &samples);
            let first = events.iter().position(|event| matches!(event, MarkEvent::Heard(_))).unwrap();
            let after = &events[first..];
            assert!(gaps(after).is_empty(), "{silent_ms} ms, then {phase_ms} ms in a word: {events:?}");
        }
    }
}

#[test]
fn frames_have_any_length() {
    let samples = played(MARK, 8_000, 0, 3_000);
    let whole = told(Some(MARK), 8_000, 0, &samples);
    for length in [1, 7, 80, 240, 480, 4_001] {
        let mut again = vec![0; samples.len()];
        let mut writer = MarkWriter::new(MARK, 8_000, 0);
        again.chunks_mut(length).for_each(|frame| writer.write(frame));
        assert_eq!(again, samples);
        let (mut reader, mut events, mut at) = (MarkReader::new(Some(MARK), 8_000), Vec::new(), 0);
        for frame in samples.chunks(length) {
            reader.push(at, frame, &mut events);
            at += frame.len() as u64;
        }
        reader.finish(&mut events);
        assert_eq!(events, whole, "{length}");
    }
}

#[test]
fn nothing_is_taken_for_a_frame() {
    let samples = played(MARK, 8_000, 0, 5_000);
    let other = played(OTHER, 8_000, 0, 5_000);
    let (mut reader, mut events) = (MarkReader::new(Some(MARK), 8_000), Vec::with_capacity(100));
    let mut writer = MarkWriter::new(MARK, 8_000, 0);
    let mut frame = [0; 160];
    let taken = allocation_counter::measure(|| {
        for (n, piece) in samples.chunks(160).chain(other.chunks(160)).enumerate() {
            writer.write(&mut frame);
            reader.push(n as u64 * 160, piece, &mut events);
        }
    });
    assert_eq!(taken.count_total, 0);
    assert!(heard(&events).len() > 6 && foreign(&events).len() > 5, "{events:?}");
}

#[test]
fn without_an_expectation_a_mark_is_told_after_two_words() {
    let events = told(None, 8_000, 0, &played(MARK, 8_000, 0, 2_000));
    assert_eq!(heard(&events).iter().map(|heard| heard.position).collect::<Vec<_>>(), [5_120, 10_240]);
    assert!(heard(&told(None, 8_000, 0, &played(MARK, 8_000, 0, 1_000))).is_empty());
}

#[test]
fn a_swapped_mark_is_found_within_two_seconds() {
    for clock in (0..5_120).step_by(317) {
        // from the beginning
        let events = told(Some(MARK), 8_000, 0, &played(OTHER, 8_000, clock, 2_000));
        assert!(heard(&events).is_empty(), "{clock}: {events:?}");
        assert!(foreign(&events).iter().any(|heard| heard.mark == OTHER), "{clock}: {events:?}");
        // the other side of the same call: our own voice
        let events =
            told(Some(Mark { side: Side::Callee, ..MARK }), 8_000, 0, &played(MARK, 8_000, clock, 2_000));
        assert!(heard(&events).is_empty() && !foreign(&events).is_empty(), "{clock}: {events:?}");
        // in the middle, and back
        let mut samples = played(MARK, 8_000, 0, 8_000);
        samples[16_000 + clock as usize..][..16_000]
            .copy_from_slice(&played(OTHER, 8_000, 0, 8_000)[..16_000]);
        let events = told(Some(MARK), 8_000, 0, &samples);
        assert!(foreign(&events).iter().all(|heard| heard.mark == OTHER), "{clock}: {events:?}");
        assert!(!foreign(&events).is_empty(), "{clock}: {events:?}");
        let last = *heard(&events).last().unwrap();
        assert!(last.at > 50_000 && last.delay_ms(0).abs() < 0.5, "{clock}: {events:?}");
    }
}

#[test]
fn silence_and_noise_are_told_while_they_last() {
    let mut samples = played(MARK, 8_000, 0, 2_000);
    samples.resize(16_000 + 4 * 8_000, 0);
    let events = told(Some(MARK), 8_000, 0, &samples);
    let silent: Vec<_> = gaps(&events);
    assert!(silent.iter().all(|(silent, gap)| *silent && gap.from.abs_diff(16_000) <= 80), "{silent:?}");
    assert_eq!(silent.len(), 4, "{silent:?}");
    assert!(silent[3].1.length.abs_diff(32_000) < 80, "{silent:?}");
    let mut chance = Chance(1);
    let noise: Vec<i16> = (0..24_000).map(|_| (chance.normal() * 1_000.0) as i16).collect();
    let events = told(Some(MARK), 8_000, 0, &noise);
    let noise = gaps(&events);
    assert!(events.len() == noise.len() && noise.iter().all(|(silent, gap)| !silent && gap.from == 0));
    assert_eq!(noise.last().unwrap().1.length, 24_000, "{noise:?}");
}

#[test]
fn gaps_of_forty_milliseconds_are_found() {
    let mut found = 0;
    for from in (8_000..14_000).step_by(61) {
        for ms in [40, 60, 100, 200, 500] {
            let length = 8 * ms;
            let mut samples = played(MARK, 8_000, 0, 4_000);
            samples[from..from + length].fill(0);
            let events = told(Some(MARK), 8_000, 0, &samples);
            let gaps = gaps(&events);
            assert!(gaps.len() == 1 && gaps[0].0, "{ms} ms at {from}: {gaps:?}");
            let gap = gaps[0].1;
            assert!(gap.from.abs_diff(from as u64) <= 160, "{ms} ms at {from}: {gap:?}");
            assert!(gap.length.abs_diff(length as u64) <= 80, "{ms} ms at {from}: {gap:?}");
            assert!(heard(&events).len() >= 5, "{ms} ms at {from}: {events:?}");
            found += 1;
        }
    }
    assert!(found > 400);
}

#[test]
fn a_delay_and_old_sound_are_measured() {
    let samples = played(MARK, 8_000, 50_000, 6_000);
    for late_ms in [-5, 0, 80, 400, 3_000, 15_000] {
        let at = 50_000_u64.wrapping_add_signed(8 * late_ms);
        for heard in heard(&told(Some(MARK), 8_000, at, &samples)) {
            assert!((heard.delay_ms(0) - late_ms as f64).abs() < 0.5, "{late_ms}: {heard:?}");
            assert!((heard.delay_ms(8 * late_ms)).abs() < 0.5, "{late_ms}: {heard:?}");
        }
    }
    // the audio of three seconds before is repeated in the middle of the call
    let mut again = samples.clone();
    again[24_000..].copy_from_slice(&samples[..24_000]);
    let heard = heard(&told(Some(MARK), 8_000, 50_000, &again));
    let old = heard.iter().filter(|heard| (heard.delay_ms(0) - 3_000.0).abs() < 0.5).count();
    assert!(old >= 3 && heard.len() - old >= 4, "{heard:?}");
}

#[test]
fn a_delay_that_jumps_is_a_short_gap() {
    for jump_ms in [40, 80, 120] {
        for from in (8_000..14_000).step_by(173) {
            let mut samples = played(MARK, 8_000, 0, 4_000);
            let jump = 8 * jump_ms;
            samples.splice(from..from, vec![0; jump]);
            let events = told(Some(MARK), 8_000, 0, &samples);
            let last = *heard(&events).last().unwrap();
            assert!((last.delay_ms(0) - jump_ms as f64).abs() < 0.5, "{jump_ms} {from}: {last:?}");
            let gaps: u64 = gaps(&events).iter().map(|(_, gap)| gap.length).sum();
            assert!(gaps.abs_diff(jump as u64) <= 320, "{jump_ms} {from}: {events:?}");
        }
    }
}

#[test]
fn frames_left_out_and_repeated_are_no_gap() {
    for seed in 0..20 {
        let mut chance = Chance(seed);
        let samples = played(MARK, 8_000, 0, 10_000);
        let (mut line, mut late) = (Vec::new(), 0_i64);
        for (n, frame) in samples.chunks(160).enumerate() {
            match (n > 50 && n % 50 == 0).then(|| chance.below(2)) {
                Some(0) if late > 0 => late -= 1,
                Some(_) => {
                    line.extend_from_slice(frame);
                    line.extend_from_slice(frame);
                    late += 1;
                }
                None => line.extend_from_slice(frame),
            }
        }
        let events = told(Some(MARK), 8_000, 0, &line);
        assert!(gaps(&events).is_empty() && foreign(&events).is_empty(), "{seed}: {:?}", gaps(&events));
        let heard = heard(&events);
        assert!(heard.len() >= 13, "{seed}: {events:?}");
        let last = heard.last().unwrap().delay_ms(0);
        assert!(
            (last - 20.0 * late as f64).abs() < 2.0 || (last - 20.0 * late as f64).abs() > 18.0,
            "{seed}: {last} {late}"
        );
    }
}

#[test]
fn clocks_that_drift_and_levels_that_change_do_no_harm() {
    let samples = played(MARK, 48_000, 0, 60_000);
    for parts in [-60e-6, 60e-6] {
        let at = |n: usize| {
            let place = n as f64 * 6.0 * (1.0 + parts);
            let (before, share) = (place as usize, place.fract());
            let level = if (n / 24_000).is_multiple_of(2) { 1.0 } else { 0.1 };
            let of = |place: usize| f64::from(samples[place.min(samples.len() - 1)]);
            (level * (of(before) * (1.0 - share) + of(before + 1) * share)) as i16
        };
        let line: Vec<i16> = (0..8_000 * 60).map(at).collect();
        let events = told(Some(MARK), 8_000, 0, &line);
        let heard = heard(&events);
        assert_eq!(events.len(), heard.len(), "{parts}: {:?}", gaps(&events));
        assert!(heard.len() >= 92, "{parts}: {}", heard.len());
        for heard in heard {
            let expected = -1_000.0 * parts * heard.at as f64 / 8_000.0;
            assert!((heard.delay_ms(0) - expected).abs() < 0.5, "{parts}: {heard:?}");
        }
    }
}

/// Adds noise of a deviation, and loses some frames: they become silent or repeat the previous one.
fn spoilt(samples: &mut [i16], noise: f64, loss_pct: u64, chance: &mut Chance) {
    let mut before = [0; 160];
    for frame in samples.chunks_mut(160) {
        if chance.below(100) < loss_pct {
            if chance.below(2) == 0 { frame.fill(0) } else { frame.copy_from_slice(&before[..frame.len()]) }
        }
        before[..frame.len()].copy_from_slice(frame);
        for sample in frame {
            *sample = sample.saturating_add((noise * chance.normal()) as i16);
        }
    }
}

/// 10,000 code words and more, at a signal-to-noise ratio down to −3 dB and with loss up to 15 %.
#[test]
fn no_wrong_mark_is_believed() {
    let (mut words, mut right, mut chance) = (0, 0, Chance(7));
    for call in 0..320_u32 {
        let mark = Mark {
            call: chance.next() as u32,
            side: if call % 2 == 0 { Side::Caller } else { Side::Callee },
        };
        let mut samples = played(mark, 8_000, chance.below(100_000), 20_480);
        let (noise, loss) =
            ([0.0, 2_000.0, 4_000.0, 5_600.0][call as usize % 4], [0, 3, 15][call as usize % 3]);
        spoilt(&mut samples, noise, loss, &mut chance);
        words += 32;
        let events = told(if call % 5 == 0 { None } else { Some(mark) }, 8_000, 0, &samples);
        assert!(foreign(&events).is_empty(), "{call}: {events:?}");
        for heard in heard(&events) {
            assert_eq!(heard.mark, mark, "{call}");
            right += 1;
        }
        // a reader that expects another mark never hears it
        let other = Mark { call: mark.call ^ 1, side: mark.side };
        let events = told(Some(other), 8_000, 0, &samples);
        assert!(heard(&events).is_empty(), "{call}: {events:?}");
        assert!(foreign(&events).iter().all(|heard| heard.mark == mark), "{call}: {events:?}");
        println!("{noise} {loss}: {} of 32 foreign, {} gaps", foreign(&events).len(), gaps(&events).len());
    }
    println!("{right} of {words} words");
    assert!(words > 10_000 && right * 10 > words * 9, "{right} of {words}");
}

#[test]
fn a_clock_that_jumps_ahead_is_a_gap() {
    let samples = played(MARK, 8_000, 0, 6_000);
    let (mut reader, mut events) = (MarkReader::new(Some(MARK), 8_000), Vec::new());
    reader.push(100, &samples[..16_000], &mut events);
    reader.push(100 + 24_000, &samples[24_000..], &mut events);
    reader.finish(&mut events);
    let gaps = gaps(&events);
    assert!(gaps.last().unwrap().1.length.abs_diff(8_000) <= 80, "{events:?}");
    for heard in heard(&events) {
        assert!((heard.delay_ms(0) - 12.5).abs() < 1.0, "{heard:?}");
    }
    // reading slightly early or late is not a jump
    let (mut reader, mut events, mut chance) = (MarkReader::new(Some(MARK), 8_000), Vec::new(), Chance(3));
    for (n, frame) in samples.chunks(160).enumerate() {
        reader.push(1_000 + n as u64 * 160 + chance.below(32), frame, &mut events);
    }
    assert_eq!(heard(&events).len(), events.len(), "{events:?}");
    assert!(heard(&events).iter().all(|heard| (heard.delay_ms(1_000) - 2.0).abs() < 2.5), "{events:?}");
    // after a clock is set back, the samples are early
    reader.push(0, &played(MARK, 8_000, 0, 2_000), &mut events);
    assert!(heard(&events).last().unwrap().delay_ms(0).abs() < 0.5, "{events:?}");
}
