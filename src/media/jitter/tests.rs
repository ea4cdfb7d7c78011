use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::line::SLOTS;
use super::*;

/// Samples per frame.
const FRAME: usize = 160;

const TICK: u64 = 20_000_000;

/// A sender, a network and a receiver in virtual time, all in ns.
struct Lab {
    epoch: Instant,
    buffer: JitterBuffer,
    timestamp: u32,
    sent: i64,
    /// Packets in flight: arrival and number, then timestamp and samples.
    wire: BTreeMap<(u64, u64), (u32, i64, usize)>,
    count: u64,
    next_tick: u64,
    played: Vec<i16>,
    kinds: Vec<Played>,
    late: u32,
    tone: fn(i64) -> i16,
}

fn sine(n: i64) -> i16 {
    (8_000.0 * (std::f64::consts::TAU * 200.0 * n as f64 / 8_000.0).sin()) as i16
}

fn capture(sample: i64) -> NtpTime {
    NtpTime(1 << 40).plus(Duration::from_nanos(sample as u64 * 125_000))
}

impl Lab {
    fn new(jitter_ms: u32) -> Self {
        let epoch = Instant::now();
        Lab {
            epoch,
            buffer: JitterBuffer::new(epoch, jitter_ms, 8_000),
            timestamp: 0,
            sent: 0,
            wire: BTreeMap::new(),
            count: 0,
            next_tick: 7_000_000,
            played: Vec::new(),
            kinds: Vec::new(),
            late: 0,
            tone: sine,
        }
    }

    /// Sends the next `samples` samples, or only lets the time pass.
    fn packet(&mut self, samples: usize, arrival: Option<u64>) {
        if let Some(arrival) = arrival {
            self.wire.insert((arrival, self.count), (self.timestamp, self.sent, samples));
        }
        self.count += 1;
        self.timestamp = self.timestamp.wrapping_add(samples as u32);
        self.sent += samples as i64;
    }

    fn run_until(&mut self, end: u64) {
        loop {
            let arrival = self.wire.first_key_value().map(|(&(arrival, _), _)| arrival);
            match arrival {
                Some(arrival) if arrival <= self.next_tick && arrival <= end => {
                    let ((arrival, count), (timestamp, first, samples)) = self.wire.pop_first().unwrap();
                    let samples: Vec<i16> = (first..first + samples as i64).map(self.tone).collect();
                    let (sequence, length) = (count as u16, samples.len() as i64 * 6);
                    let packet = Arrived { sequence, timestamp, clock_hz: 8_000, length, at: arrival };
                    let inserted = self.buffer.insert(&packet, &samples, Some(capture(first)));
                    self.late += u32::from(inserted == Inserted::Late);
                }
                _ if self.next_tick <= end => {
                    let mut frame = [0; FRAME];
                    let at = self.epoch + Duration::from_nanos(self.next_tick);
                    self.kinds.push(self.buffer.play(at, &mut frame));
                    self.played.extend_from_slice(&frame);
                    self.next_tick += TICK;
                }
                _ => return,
            }
        }
    }

    fn count_kind(&self, kind: FrameKind) -> usize {
        self.kinds.iter().filter(|played| played.kind == kind).count()
    }

    fn delay(&self) -> f64 {
        self.buffer.delay_ms().unwrap()
    }

    /// The first frame with audio.
    fn started(&self) -> usize {
        self.kinds.iter().position(|played| played.kind == FrameKind::Audio).unwrap()
    }

    /// What was played from the first sample of the stream on.
    fn heard(&self) -> &[i16] {
        let before = (self.buffer.start_at - 7 * MS) / 125_000;
        assert!(self.played[..before as usize].iter().all(|sample| *sample == 0));
        &self.played[before as usize..]
    }
}

#[test]
fn an_undisturbed_stream_comes_out_bit_for_bit_after_the_least_delay() {
    for (jitter_ms, ptime) in [(60, 10), (60, 20), (60, 30), (60, 60), (100, 20)] {
        let mut lab = Lab::new(jitter_ms);
        lab.timestamp = u32::MAX - 4_000;
        for n in 0..6_000 / ptime {
            lab.packet(ptime as usize * 8, Some(n * ptime * 1_000_000 + 3));
        }
        lab.run_until(6_000_000_000);
        let (first, audio) = (lab.started(), lab.heard());
        // The target delay and the margin of 1 ms; the first tick is at 7 ms.
        let before = lab.played.len() - audio.len();
        assert_eq!(before / 8 + 7, jitter_ms as usize + 1, "{ptime} ms");
        let wanted: Vec<i16> = (0..audio.len() as i64).map(sine).collect();
        assert_eq!(audio, wanted, "{ptime} ms");
        assert_eq!(lab.buffer.corrections(), 0);
        let into = (first * FRAME) as i64 - before as i64;
        for (n, played) in lab.kinds[first..].iter().enumerate() {
            assert_eq!(played.kind, FrameKind::Audio);
            let into_ms = (n as i64 * 160 + into) as f64 / 8.0;
            let error = played.captured_at.unwrap().millis_since(capture(0)) - into_ms;
            assert!(error.abs() < 0.001, "{error}");
        }
    }
}

#[test]
fn reordering_within_the_delay_is_undone() {
    let mut lab = Lab::new(60);
    let mut rng = StdRng::seed_from_u64(3);
    for n in 0..3_000u64 {
        let held = if rng.random_bool(0.1) { 25_000_000 } else { 0 };
        lab.packet(160, Some(n * TICK + held));
    }
    lab.run_until(3_000 * TICK);
    assert_eq!(lab.late, 0);
    assert_eq!(lab.heard()[..80_000], (0..80_000).map(sine).collect::<Vec<_>>());
}

#[test]
fn losses_are_concealed_and_the_rest_is_untouched() {
    let mut lab = Lab::new(60);
    let mut rng = StdRng::seed_from_u64(7);
    let (mut lost, mut came) = (0, Vec::new());
    for n in 0..10_000u64 {
        let gone = n > 5 && rng.random_bool(0.05);
        lost += usize::from(gone);
        came.push(!gone);
        lab.packet(160, (!gone).then_some(n * TICK));
    }
    lab.run_until(10_000 * TICK);
    let first = lab.started();
    let after = lab.kinds[first..].iter().filter(|played| played.kind != FrameKind::Audio).count();
    assert!(lost > 400 && after.abs_diff(lost) <= 4, "{after} concealed of {lost} lost");
    assert_eq!(lab.count_kind(FrameKind::Silence), first, "no loss was longer than 60 ms");
    assert_eq!(lab.buffer.corrections(), 0, "the timeline is the sender's");
    // After the cross-fade every received packet is unchanged.
    for (n, packet) in lab.heard().chunks_exact(160).enumerate().filter(|(n, _)| came[*n]) {
        let from = (n * 160) as i64;
        assert_eq!(packet[80..], (from + 80..from + 160).map(sine).collect::<Vec<_>>());
    }
}

#[test]
fn an_hour_of_clock_drift_is_corrected() {
    for ppm in [-200i64, 200] {
        let mut lab = Lab::new(60);
        let ptime = (TICK as i64 + TICK as i64 * ppm / 1_000_000) as u64;
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for n in 0..180_000u64 {
            lab.packet(160, Some(n * ptime));
            lab.run_until(n * ptime);
            if n > 50 {
                low = low.min(lab.delay());
                high = high.max(lab.delay());
            }
        }
        assert_eq!(lab.late, 0);
        let first = lab.started();
        assert!(lab.kinds[first..].iter().all(|played| played.kind == FrameKind::Audio));
        assert!(low > 58.0 && high < 85.0, "{ppm} ppm: {low} to {high} ms");
        // 720 ms of drift at 5 to 15 ms per correction, and no more than that.
        assert!((48..=160).contains(&lab.buffer.corrections()), "{}", lab.buffer.corrections());
        // Joins are where the tone repeats, so that there is no step beyond its own.
        let audio = &lab.heard()[FRAME..];
        let step = audio.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max();
        assert!(step < Some(1_700), "{step:?}; the tone steps by 1256");
    }
}

#[test]
fn delay_grows_with_jitter_and_comes_back() {
    let mut lab = Lab::new(60);
    let mut rng = StdRng::seed_from_u64(11);
    for n in 0..3_000u64 {
        lab.packet(160, Some(n * TICK + rng.random_range(0..120_000_000)));
    }
    lab.run_until(3_000 * TICK);
    assert!(lab.buffer.target_ms() >= 120.0 && lab.buffer.target_ms() <= 160.0, "{}", lab.buffer.target_ms());
    let (late, frames) = (lab.late, lab.kinds.len());
    for n in 3_000..4_000u64 {
        lab.packet(160, Some(n * TICK + rng.random_range(0..120_000_000)));
    }
    lab.run_until(4_000 * TICK);
    assert!(lab.late - late < 20, "{} of 1000 are late at the delay found", lab.late - late);
    assert_eq!(lab.kinds.len() - frames, 1_000, "a frame a tick");
    for n in 4_000..8_000u64 {
        lab.packet(160, Some(n * TICK));
    }
    lab.run_until(8_000 * TICK);
    assert_eq!(lab.buffer.target_ms(), 60.0);
    assert!(lab.delay() < 85.0, "{}", lab.delay());
}

#[test]
fn the_delay_wanted_is_bounded() {
    let mut lab = Lab::new(60);
    let mut rng = StdRng::seed_from_u64(5);
    for n in 0..2_000u64 {
        lab.packet(160, Some(n * TICK + rng.random_range(0..800_000_000)));
    }
    lab.run_until(2_000 * TICK);
    assert!(lab.buffer.target_ms() <= 560.0);
}

#[test]
fn packets_that_come_in_bursts_are_all_in_time_after_two_seconds() {
    for burst in [10, 25u64] {
        let mut lab = Lab::new(60);
        for n in 0..500u64 {
            // So many packets at once, when the last of them is due.
            lab.packet(160, Some((n / burst * burst + burst - 1) * TICK + n % burst * 100_000));
        }
        lab.run_until(500 * TICK);
        let made_up = |kinds: &[Played]| kinds.iter().filter(|it| it.kind != FrameKind::Audio).count();
        let (before, after) = (made_up(&lab.kinds[..130]), made_up(&lab.kinds[130..450]));
        assert!(before > 5 && after <= 2, "{burst}: {before} frames at first, {after} after that");
    }
}

#[test]
fn a_delay_that_a_stalling_network_needed_is_soon_one_to_talk_with() {
    let mut lab = Lab::new(60);
    for n in 0..500u64 {
        lab.packet(160, Some((n / 25 * 25 + 24) * TICK + n % 25 * 100_000));
    }
    lab.run_until(500 * TICK);
    assert!(lab.buffer.target_ms() > 480.0, "{}", lab.buffer.target_ms());
    for n in 500..2_500u64 {
        lab.packet(160, Some(n * TICK));
    }
    lab.run_until(2_500 * TICK);
    assert!(lab.buffer.target_ms() < 300.0, "{}", lab.buffer.target_ms());
}

#[test]
fn a_burst_after_a_stall_goes_on_in_the_old_place() {
    let mut lab = Lab::new(60);
    for n in 0..500u64 {
        let arrival = if (200..210).contains(&n) { 210 * TICK } else { n * TICK };
        lab.packet(160, Some(arrival));
    }
    lab.run_until(500 * TICK);
    assert!((4..=7).contains(&lab.late), "{}", lab.late);
    assert!(lab.count_kind(FrameKind::Concealed) >= 3);
    assert_eq!(lab.buffer.target_ms(), 60.0, "one stall is no jitter");
    let tail = &lab.heard()[40_000..70_000];
    assert_eq!(tail, (40_000..70_000).map(sine).collect::<Vec<_>>(), "the timeline did not move");
}

/// Packets of 10 ms; `comes` gives the arrival of a number, ms.
fn short(lab: &mut Lab, comes: impl Fn(u64) -> Option<u64>, until: u64) {
    for n in 0..until {
        lab.packet(80, comes(n).map(|ms| ms * 1_000_000));
    }
    lab.run_until((until + 100) * 10_000_000);
}

#[test]
fn what_two_stalls_have_delayed_is_in_time_again_after_the_silence() {
    let mut lab = Lab::new(60);
    // Some packets of the first stall are too late, the rest is lost. The second stall thus starts another
    // timeline, as late as its first packet, with more packets at once than there is room for.
    let comes = |n| match n {
        500..520 => Some(5_300),
        520..530 => None,
        530..600 => Some(6_000),
        n => Some(n * 10),
    };
    short(&mut lab, comes, 1_000);
    let silent = |kinds: &[Played]| kinds.iter().filter(|it| it.kind == FrameKind::Silence).count();
    let (stalled, after) = (lab.kinds[250..340].to_vec(), lab.kinds[340..490].to_vec());
    assert!(silent(&stalled) <= 45, "{} frames of the stalls are silent", silent(&stalled));
    assert_eq!(silent(&after), 0, "of a voice that is there");
    let delay = lab.buffer.delay_ms().expect("it plays");
    assert!(delay <= lab.buffer.target_ms() + 25.0, "{delay:.0} ms, {} wanted", lab.buffer.target_ms());
}

#[test]
fn a_delay_that_there_is_no_room_for_is_a_shorter_one() {
    let mut lab = Lab::new(700);
    short(&mut lab, |n| Some(n * 10), 500);
    let heard = lab.kinds[40..].iter().take(200).filter(|it| it.kind == FrameKind::Audio).count();
    assert!(heard > 190, "{heard} of 200 frames are heard");
}

#[test]
fn a_new_source_joins_without_a_hole() {
    let mut lab = Lab::new(60);
    for n in 0..100u64 {
        lab.packet(160, Some(n * TICK));
    }
    lab.run_until(100 * TICK - 1);
    lab.buffer.new_source();
    lab.timestamp = 0xDEAD_0000;
    for n in 100..200u64 {
        lab.packet(160, Some(n * TICK));
    }
    lab.run_until(200 * TICK);
    let first = lab.started();
    assert!(lab.kinds[first..].iter().all(|played| played.kind == FrameKind::Audio));
    assert_eq!(lab.heard()[..28_000], (0..28_000).map(sine).collect::<Vec<_>>());
}

/// Each packet's step by the timestamp, in samples of 160 that come in time.
fn steps(step: u32) -> Lab {
    let mut lab = Lab::new(60);
    for n in 0..250u64 {
        lab.packet(160, Some(n * TICK));
        lab.timestamp = lab.timestamp.wrapping_sub(160).wrapping_add(step);
    }
    lab.run_until(250 * TICK);
    lab
}

#[test]
fn timestamps_of_another_clock_are_not_heard() {
    for step in [0, 80, 20] {
        let lab = steps(step);
        let wanted: Vec<i16> = (0..lab.heard().len() as i64).map(sine).collect();
        assert_eq!((lab.heard(), lab.late), (&wanted[..], 0), "{step}");
    }
    // The first long step could be a pause.
    let lab = steps(320);
    let first = lab.started();
    let not_audio = lab.kinds[first..].iter().filter(|played| played.kind != FrameKind::Audio).count();
    assert!(not_audio <= 2 && lab.late == 0, "{not_audio} frames, {} late", lab.late);
}

#[test]
fn a_pause_between_words_keeps_its_length() {
    for pause in [3, 50, 1_500u64] {
        let mut lab = Lab::new(60);
        for n in 0..100u64 {
            lab.packet(160, Some(n * TICK));
        }
        lab.timestamp += pause as u32 * 160;
        lab.sent += pause as i64 * 160;
        for n in 100..200u64 {
            lab.packet(160, Some((n + pause) * TICK));
        }
        lab.run_until((200 + pause) * TICK);
        let resumed = (100 + pause as i64) * 160;
        let after = (resumed + 80..resumed + 8_000).map(sine).collect::<Vec<_>>();
        assert_eq!(lab.heard()[resumed as usize + 80..resumed as usize + 8_000], after, "{pause}");
        assert_eq!(lab.late, 0);
    }
}

#[test]
fn a_timestamp_jump_is_not_heard() {
    let mut lab = Lab::new(60);
    for n in 0..200u64 {
        if n == 100 {
            lab.timestamp = lab.timestamp.wrapping_add(1_000_000_000);
        }
        lab.packet(160, Some(n * TICK));
    }
    lab.run_until(200 * TICK);
    let first = lab.started();
    assert!(lab.kinds[first..].iter().all(|played| played.kind == FrameKind::Audio));
}

#[test]
fn a_sender_whose_clock_stood_still_is_taken_back() {
    let mut lab = Lab::new(60);
    for n in 0..100u64 {
        lab.packet(160, Some(n * TICK));
    }
    // Half a second without packets, and timestamps that ignore it.
    for n in 125..300u64 {
        lab.packet(160, Some(n * TICK));
    }
    lab.run_until(300 * TICK);
    assert!((4..=7).contains(&lab.late), "{}", lab.late);
    assert!(lab.kinds[lab.kinds.len() - 100..].iter().all(|played| played.kind == FrameKind::Audio));
    assert!((60.0..85.0).contains(&lab.delay()), "{}", lab.delay());
}

#[test]
fn ticks_left_out_are_time_gone_by() {
    let mut lab = Lab::new(60);
    for n in 0..200u64 {
        lab.packet(160, Some(n * TICK));
    }
    lab.run_until(100 * TICK);
    let before = lab.delay();
    lab.next_tick += 15 * TICK;
    lab.run_until(150 * TICK);
    assert_eq!(lab.delay(), before);
    let tail = lab.played.len() - 1_600;
    assert_eq!(lab.played[tail..][..160], lab_samples(&lab, tail, 15));
    assert_eq!(lab.buffer.corrections(), 0);
}

/// The samples expected at `index` of the output after `missed` ticks were skipped.
fn lab_samples(lab: &Lab, index: usize, missed: usize) -> Vec<i16> {
    let from = (index + missed * FRAME + lab.heard().len() - lab.played.len()) as i64;
    (from..from + 160).map(sine).collect()
}

#[test]
fn more_packets_than_slots_push_the_oldest_out() {
    let mut lab = Lab::new(60);
    // 100 packets of 8 ms at once, all within the ring.
    for _ in 0..100 {
        lab.packet(64, Some(1_000_000));
    }
    lab.run_until(900_000_000);
    assert_eq!(lab.buffer.line.used, 0, "all are played or pushed out");
    // 25 whole frames; such early packets also look like excess delay.
    let audio = lab.count_kind(FrameKind::Audio);
    assert!((20..=SLOTS * 64 / FRAME).contains(&audio), "{audio}");
}

#[test]
fn silence_while_nothing_was_received() {
    let mut lab = Lab::new(60);
    lab.run_until(100 * TICK);
    assert_eq!(lab.kinds.len(), 100);
    assert!(lab.kinds.iter().all(|played| played.kind == FrameKind::Silence && played.captured_at.is_none()));
}

/// A sender that pauses and continues with its old timestamps: from then on everything arrives
/// later, some of it in the middle of its frame.
#[test]
fn a_stream_that_has_become_later_is_whole_again_within_a_second() {
    for (least, later_ms) in [(40, 21), (40, 36), (40, 45), (60, 36), (60, 70), (60, 90)] {
        for ptime in [20, 40] {
            let mut lab = Lab::new(least);
            for n in 0..6_000 / ptime {
                let later = if n * ptime < 1_000 { 0 } else { later_ms };
                lab.packet(ptime as usize * 8, Some((n * ptime + later) * 1_000_000));
            }
            lab.run_until(6_000_000_000);
            let made_up = lab.kinds.iter().rposition(|played| played.kind != FrameKind::Audio).unwrap();
            assert!(made_up < 120, "{least} ms, {later_ms} ms later, {ptime} ms: still at frame {made_up}");
            let late = lab.delay();
            assert!(late < (later_ms as f64).max(f64::from(least)) + 60.0, "{late} ms of delay");
        }
    }
}
