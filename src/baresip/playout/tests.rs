use super::*;

/// A sender of packets whose samples count up, so that each can be recognised.
struct Sender {
    intake: Intake,
    playout: Playout,
    now: Instant,
    timestamp: u32,
}

impl Sender {
    fn new(timestamp: u32) -> Self {
        let (intake, playout) = playout();
        Sender { intake, playout, now: Instant::now(), timestamp }
    }

    fn value(timestamp: u32) -> i16 {
        1_000 + (timestamp % 8_000) as i16
    }

    /// Sends a packet of this many samples.
    fn send(&mut self, samples: u32) {
        let range = (0..samples).map(|n| Self::value(self.timestamp.wrapping_add(n)));
        let packet: Vec<i16> = range.collect();
        self.intake.push(self.now, self.timestamp, &packet);
        self.timestamp = self.timestamp.wrapping_add(samples);
    }

    /// Skips samples, for a lost packet or a silent sender.
    fn skip(&mut self, samples: u32) {
        self.timestamp = self.timestamp.wrapping_add(samples);
    }

    /// Advances by 20 ms.
    fn tick(&mut self) -> (FrameKind, [i16; FRAME]) {
        self.now += Duration::from_millis(20);
        let mut frame = [0; FRAME];
        let kind = self.playout.frame(self.now, &mut frame);
        (kind, frame)
    }

    fn kinds(&mut self, ticks: usize) -> Vec<FrameKind> {
        (0..ticks).map(|_| self.tick().0).collect()
    }
}

fn is_at(frame: &[i16; FRAME], timestamp: u32) -> bool {
    (0..FRAME as u32).zip(frame).all(|(n, sample)| *sample == Sender::value(timestamp.wrapping_add(n)))
}

use FrameKind::{Audio, Concealed, Silence};

#[test]
fn packets_of_any_length_become_frames_of_20_ms_across_the_wrap() {
    for samples in [80, 160, 240, 320, 480, 120] {
        let start = u32::MAX - 1_000;
        let mut sender = Sender::new(start);
        for played in 0..100 {
            while ahead(sender.timestamp, start) < (played + 1) * FRAME as i32 {
                sender.send(samples);
            }
            let (kind, frame) = sender.tick();
            assert_eq!(kind, Audio, "{samples}");
            assert!(is_at(&frame, start.wrapping_add((played * FRAME as i32) as u32)), "{samples}");
        }
        assert_eq!((sender.playout.late, sender.playout.concealed), (0, 0), "{samples}");
    }
}

#[test]
fn the_first_packet_waits_long_enough_to_let_the_second_be_late() {
    let mut sender = Sender::new(0);
    sender.now += Duration::from_millis(15);
    sender.send(160);
    sender.now -= Duration::from_millis(15);
    assert_eq!(sender.kinds(1), [Silence], "it has waited for 5 ms only");
    assert_eq!(sender.kinds(1), [Audio]);
}

#[test]
fn a_lost_packet_is_made_up_in_its_place_and_the_next_is_in_time() {
    let mut sender = Sender::new(0);
    sender.send(160);
    assert!(is_at(&sender.tick().1, 0));
    sender.skip(160);
    let (kind, made_up) = sender.tick();
    assert_eq!(kind, Concealed);
    assert!(made_up[0] == 1_000 && made_up[159] < made_up[0], "it fades: {made_up:?}");
    sender.send(160);
    let (kind, frame) = sender.tick();
    assert!(kind == Audio && is_at(&frame, 320));
    assert_eq!((sender.playout.concealed, sender.playout.late), (1, 0));
}

#[test]
fn a_gap_that_is_seen_by_its_timestamps_is_made_up_too() {
    let mut sender = Sender::new(0);
    sender.send(160);
    sender.skip(160);
    sender.send(160);
    assert_eq!(sender.kinds(3), [Audio, Concealed, Audio]);
}

#[test]
fn a_stream_that_stops_fades_to_silence_and_comes_back_in_its_place() {
    let mut sender = Sender::new(0);
    sender.send(160);
    assert_eq!(sender.kinds(6), [Audio, Concealed, Concealed, Concealed, Silence, Silence]);
    sender.skip(5 * 160);
    sender.send(160);
    let (kind, frame) = sender.tick();
    assert!(kind == Audio && is_at(&frame, 6 * 160));
    // Also after a long time, with any timestamp.
    sender.kinds(40);
    sender.skip(99_999);
    sender.send(160);
    let at = sender.timestamp - 160;
    let (kind, frame) = sender.tick();
    assert!(kind == Audio && is_at(&frame, at));
}

#[test]
fn a_packet_behind_its_time_is_dropped_when_the_next_is_there_and_moves_the_timeline_when_not() {
    let mut sender = Sender::new(0);
    sender.send(160);
    assert_eq!(sender.kinds(2), [Audio, Concealed]);
    sender.send(160);
    sender.send(160);
    let (kind, frame) = sender.tick();
    assert!(kind == Audio && is_at(&frame, 320), "the late one is dropped");
    assert_eq!(sender.playout.late, 1);
    // From here on every packet arrives one frame later: it is played, not dropped.
    assert_eq!(sender.kinds(1), [Concealed]);
    for n in 3..8 {
        sender.send(160);
        let (kind, frame) = sender.tick();
        assert!(kind == Audio && is_at(&frame, n * 160));
    }
    assert_eq!(sender.playout.late, 1);
}

#[test]
fn another_timeline_is_followed_at_once() {
    let mut sender = Sender::new(0);
    sender.send(160);
    assert_eq!(sender.kinds(1), [Audio]);
    sender.timestamp = 3_000_000_000;
    sender.send(160);
    let (kind, frame) = sender.tick();
    assert!(kind == Audio && is_at(&frame, 3_000_000_000));
}

#[test]
fn a_burst_that_stays_costs_its_delay_back_after_a_second() {
    let mut sender = Sender::new(0);
    for _ in 0..6 {
        sender.send(160);
    }
    let mut skipped = 0;
    let mut before = None;
    for _ in 0..400 {
        let (kind, frame) = sender.tick();
        assert_eq!(kind, Audio);
        let first = i32::from(frame[0]);
        if let Some(before) = before.replace(first) {
            skipped += i32::from((first - before).rem_euclid(8_000) > FRAME as i32);
        }
        sender.send(160);
    }
    assert!((2..=4).contains(&skipped), "{skipped} frames left out");
    assert_eq!(sender.playout.late, 0);
}
