//! Endpoints written as JSON and restored in another machine, which counts from another epoch.

use super::*;
use crate::relay::{EndpointSnapshot, MARGIN, RestoreError};

mod hostile;
mod protected;

const SECOND: Duration = Duration::from_secs(1);

/// Splitmix64: determines the events in a world by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn ms(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.roll(most))
    }
}

impl Lab {
    fn snapshot(&mut self, slot: u32) -> EndpointSnapshot {
        self.machine.snapshot(self.now, id(slot)).expect("an open endpoint")
    }

    fn written(&mut self, slot: u32) -> Vec<u8> {
        serde_json::to_vec(&self.snapshot(slot)).unwrap()
    }

    /// Another machine, `away` later, in which these endpoints are restored.
    fn restored(&self, away: Duration, written: &[Vec<u8>]) -> Lab {
        let now = Now { at: self.now.at + away, wall: self.now.wall.plus(away) };
        // Another epoch: times from before are known in this one.
        let machine = Machine::new(now.at - SECOND * 600, 99);
        let mut lab = Lab { machine, now, wire: Wire::default() };
        for (slot, written) in (0..).zip(written) {
            let snapshot: EndpointSnapshot = serde_json::from_slice(written).unwrap();
            lab.command(Command::Open { id: id(slot), config: snapshot.config() });
            lab.machine.restore(lab.now, id(slot), &snapshot).unwrap();
        }
        lab
    }
}

/// A party that speaks, unless it pauses, and its stream.
#[derive(Clone, Copy)]
struct Speaker {
    slot: u32,
    sequence: u16,
    timestamp: u32,
}

impl Speaker {
    fn new(slot: u32, dice: &mut Dice) -> Self {
        Speaker { slot, sequence: dice.roll(65_536) as u16, timestamp: dice.roll(1 << 32) as u32 }
    }

    /// Advances by a frame; its packet arrives or is lost.
    fn frame(&mut self, lab: &mut Lab, comes: bool) {
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        if comes {
            let packet = packet(0, self.sequence, self.timestamp, 70 + self.slot, &[self.slot as u8; 160]);
            lab.put(self.slot, party(self.slot), packet);
        }
    }

    /// A digit of one packet.
    fn digit(&mut self, lab: &mut Lab) {
        self.sequence = self.sequence.wrapping_add(1);
        let packet = packet(101, self.sequence, self.timestamp, 70 + self.slot, &[5, 0x8A, 3, 32]);
        lab.put(self.slot, party(self.slot), packet);
    }
}

/// Both speak for this long, with losses, pauses, digits and a third-party sender.
fn converse(lab: &mut Lab, speakers: &mut [Speaker; 2], dice: &mut Dice, frames: u64) {
    for _ in 0..frames {
        for speaker in speakers.iter_mut() {
            match dice.roll(40) {
                0 => speaker.digit(lab),
                1 => {
                    let liar = SocketAddr::from(([127, 6, 6, 6], 666));
                    lab.put(speaker.slot, liar, packet(0, 1, 1, 70 + speaker.slot, &[9; 160]));
                }
                _ => {}
            }
            let lost = dice.roll(20) == 0;
            speaker.frame(lab, !lost);
        }
        lab.run(FRAME);
    }
}

/// RTP to this party, with the send times.
fn heard(sent: &[(Instant, Sent)], slot: u32) -> Vec<(Instant, u32, u16, u32)> {
    let of = sent.iter().filter(|(_, sent)| sent.slot == slot && classify(&sent.data) == Protocol::Rtp);
    of.map(|(at, sent)| (*at, sent.rtp().ssrc, sent.rtp().sequence, sent.rtp().timestamp)).collect()
}

/// The packets sent, each with its time.
fn timed(lab: &mut Lab, wire: &mut Vec<(Instant, Sent)>, mut step: impl FnMut(&mut Lab), times: u64) {
    for _ in 0..times {
        step(lab);
        let at = lab.now.at;
        wire.extend(std::mem::take(&mut lab.wire.0).into_iter().map(|sent| (at, sent)));
    }
}

fn a_life(seed: u64) {
    let mut dice = Dice(seed);
    let mut lab = Lab::joined();
    let mut speakers = [Speaker::new(0, &mut dice), Speaker::new(1, &mut dice)];
    let mut first = Vec::new();
    let frames = 1 + dice.roll(400);
    timed(&mut lab, &mut first, |lab| converse(lab, &mut speakers, &mut dice, 1), frames);
    let written = [0, 1].map(|slot| lab.written(slot));
    let before = [0, 1].map(|slot| lab.stats(slot));
    // It continues, then ends; for some time there is no process.
    let more = dice.roll(500);
    timed(&mut lab, &mut first, |lab| converse(lab, &mut speakers, &mut dice, 1), more);
    let away = Duration::from_millis(100) + dice.ms(5_000);
    for speaker in &mut speakers {
        let frames = away.as_millis() as u32 / 20;
        speaker.sequence = speaker.sequence.wrapping_add(frames as u16);
        speaker.timestamp = speaker.timestamp.wrapping_add(frames * 160);
    }
    lab.pass(Duration::ZERO);
    let mut lab = lab.restored(away, &written);
    for slot in [0, 1] {
        let (now, before) = (lab.stats(slot), &before[slot as usize]);
        assert_eq!(
            (now.received.packets, now.received.bytes),
            (before.received.packets, before.received.bytes)
        );
        assert_eq!((now.sent.packets, now.sent.bytes), (before.sent.packets, before.sent.bytes));
        assert_eq!((now.dropped, now.digits, now.rtcp), (before.dropped, before.digits, before.rtcp));
        assert_eq!((now.lost, now.jitter, now.ssrc), (before.lost, before.jitter, before.ssrc));
        assert_eq!((now.sources, now.payload_type), (before.sources, before.payload_type));
        for (one, other) in [(now.received.first, before.received.first), (now.sent.last, before.sent.last)] {
            let apart = |(one, other): (Instant, Instant)| one.max(other) - one.min(other);
            assert!(one.zip(other).map_or(one == other, |both| apart(both) < Duration::from_micros(1)));
        }
        assert!(now.since.max(before.since) - now.since.min(before.since) < Duration::from_micros(1));
    }
    lab.join(0, 1);
    let mut second = Vec::new();
    // A pause that ends with an event counts as an audio pause only with the next audio packet.
    timed(&mut lab, &mut second, |lab| speakers.iter_mut().for_each(|it| it.frame(lab, true)), 1);
    timed(&mut lab, &mut second, |lab| lab.run(FRAME), 1);
    timed(&mut lab, &mut second, |lab| converse(lab, &mut speakers, &mut dice, 1), 100);
    for slot in [0, 1] {
        let (one, other) = (heard(&first, slot), heard(&second, slot));
        assert!(other.len() > 50, "at once, and for good");
        for (before, after) in one.iter().chain(&other).zip(one.iter().chain(&other).skip(1)) {
            assert_eq!(after.1, before.1, "one SSRC");
            let ahead = after.2.wrapping_sub(before.2);
            assert!((1..=MARGIN + 1).contains(&ahead), "{ahead} ahead");
            let (ticks, passed) = (after.3.wrapping_sub(before.3) as i32, after.0 - before.0);
            let apart = (i64::from(ticks) - passed.as_millis() as i64 * 8).abs();
            assert!(ticks >= 0 && apart <= 480, "{ticks} ticks in {passed:?}");
        }
        if let Some(before) = one.last().filter(|_| frames > 50) {
            // What the party lost is what it missed, in frames; some of those before were lost on their way to us.
            let missed = (other[0].0 - before.0).as_millis() as u16 / 20;
            assert!(other[0].2.wrapping_sub(before.2) < missed + 60, "{missed} frames were missed");
        }
        let (now, before) = (lab.stats(slot), &before[slot as usize]);
        let came = |packets: u64| (90..130).contains(&packets);
        assert!(came(now.received.packets - before.received.packets));
        assert_eq!(now.sent.packets - before.sent.packets, other.len() as u64);
        assert!(now.lost >= before.lost && now.lost - before.lost < 25, "what nobody counted is no loss");
        assert!(now.dropped.source >= before.dropped.source && now.sources.changes == 0);
        assert!(now.jitter < Duration::from_millis(5), "{:?}", now.jitter);
    }
    let came = |lab: &mut Lab| [0, 1].map(|slot| lab.stats(slot).received.packets);
    let after = came(&mut lab).iter().sum::<u64>();
    (0..2).for_each(|slot| lab.command(Command::Close { id: id(slot) }));
    let of_before: u64 = before.iter().map(|before| before.received.packets).sum();
    assert_eq!(lab.machine.totals().received.0, after - of_before, "what came to this machine");
}

#[test]
fn a_listener_hears_one_stream_over_two_lives_whatever_happens() {
    (0..60).for_each(a_life);
}

#[test]
fn the_source_of_before_is_believed_and_a_liar_is_not() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 10);
    let written = [0, 1].map(|slot| lab.written(slot));
    let mut lab = lab.restored(SECOND, &written);
    lab.join(0, 1);
    // Silence is no reason to believe a source that was never named.
    let liar = SocketAddr::from(([127, 6, 6, 6], 666));
    for n in 0..5 {
        lab.put(0, liar, packet(0, 60 + n, 9_600, 70, &[6; 160]));
    }
    assert!(lab.rtp().is_empty());
    lab.talk(0, 65, 3);
    assert_eq!(lab.rtp().len(), 3, "from its first packet on");
    lab.talk(1, 1, 1);
    assert_eq!(lab.rtp()[0].to, party(0));
    let stats = lab.stats(0);
    assert_eq!((stats.dropped.source, stats.sources.refused), (5, Some(liar)));
    assert_eq!((stats.sources.locked, stats.sources.changes), (Some(party(0)), 0));
    lab.run(SECOND);
    lab.put(0, party(0), packet(0, 7, 7, 99, &[5; 160]));
    assert_eq!(lab.stats(0).ssrc_changes, 1);
    let begun = RelayEvent::Started { id: id(1), from: party(1) };
    assert_eq!(lab.events(), [begun], "that the other one began was told before");
}

#[test]
fn a_former_source_is_heard_for_what_is_left_of_its_second() {
    for (away, heard) in [(300, true), (1_500, false)] {
        let mut lab = Lab::joined();
        lab.talk(0, 1, 10);
        let moved = Remote { rtp: SocketAddr::from(([127, 0, 0, 9], 9)), ..remote(0) };
        lab.command(Command::Describe { id: id(0), remote: moved });
        let written = [0, 1].map(|slot| lab.written(slot));
        let mut lab = lab.restored(Duration::from_millis(away), &written);
        lab.join(0, 1);
        lab.run(Duration::from_millis(100));
        lab.talk(0, 90, 1);
        assert_eq!(lab.rtp().len(), usize::from(heard), "after {away} ms");
    }
}

#[test]
fn a_digit_is_told_once_whichever_life_it_ends_in() {
    let event = |n: u16, end: u8, duration: u8| packet(101, n, 1_600, 70, &[5, end | 10, 0, duration]);
    for ended in [true, false] {
        let mut lab = Lab::joined();
        lab.talk(0, 1, 10);
        lab.put(0, party(0), event(11, if ended { 0x80 } else { 0 }, 160));
        assert_eq!(lab.events().iter().any(|it| matches!(it, RelayEvent::Digit { .. })), ended);
        let written = [0, 1].map(|slot| lab.written(slot));
        let mut lab = lab.restored(FRAME, &written);
        lab.join(0, 1);
        if ended {
            lab.put(0, party(0), event(12, 0x80, 160));
        }
        lab.run(SECOND);
        let digits = lab.events().iter().filter(|it| matches!(it, RelayEvent::Digit { .. })).count();
        assert_eq!((digits, lab.stats(0).digits), (usize::from(!ended), 1));
    }
}

#[test]
fn reports_go_on_under_the_same_name_and_silence_counts_anew() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 400);
    let cname = |sent: &[Sent]| {
        let report = sent.iter().rfind(|sent| sent.slot == 1).expect("a report").data.clone();
        report
            .windows(24)
            .rfind(|it| it.iter().all(u8::is_ascii_hexdigit))
            .map(<[u8]>::to_vec)
            .expect("a CNAME")
    };
    let before = cname(&lab.rtcp());
    let written = [0, 1].map(|slot| lab.written(slot));
    let mut lab = lab.restored(SECOND * 8, &written);
    lab.run(SECOND * 3);
    assert_eq!(lab.events(), [], "silence of before");
    lab.join(0, 1);
    lab.talk(0, 951, 450);
    let reports = lab.rtcp();
    assert_eq!(cname(&reports), before);
    let report = rtcp::parse(&reports.iter().rfind(|sent| sent.slot == 0).unwrap().data, 70).unwrap();
    assert_eq!(report.block.expect("it sends").cumulative_lost, 0);
    let silent = lab.events();
    assert_eq!(silent, [], "both have ten seconds, though both were silent for eight");
    lab.run(SECOND * 2);
    assert_eq!(lab.events(), [RelayEvent::Timeout { id: id(1) }]);
}

#[test]
fn who_was_sent_nothing_hears_the_stream_later_than_it_may_have_begun() {
    let mut lab = Lab::joined();
    let written = [0, 1].map(|slot| lab.written(slot));
    lab.talk(0, 1, 50);
    let first = lab.rtp();
    let mut lab = lab.restored(SECOND, &written);
    lab.join(0, 1);
    lab.talk(0, 101, 1);
    let (last, next) = (first.last().unwrap().rtp(), lab.rtp());
    let next = next[0].rtp();
    assert_eq!(next.ssrc, last.ssrc);
    assert!((1..200).contains(&next.sequence.wrapping_sub(last.sequence)));
    assert!((160..16_000).contains(&next.timestamp.wrapping_sub(last.timestamp)));
    assert_eq!(lab.stats(1).sent.first, Some(lab.now.at - FRAME));
}

#[test]
fn an_endpoint_that_is_in_use_or_gone_is_left_alone() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 10);
    let snapshot = lab.snapshot(0);
    assert_eq!(lab.machine.restore(lab.now, id(1), &snapshot), Err(RestoreError::Used));
    let gone = RelayId { generation: 9, ..id(1) };
    assert_eq!(lab.machine.restore(lab.now, gone, &snapshot), Err(RestoreError::Gone));
    assert_eq!(lab.machine.snapshot(lab.now, gone), None);
    lab.talk(0, 11, 10);
    assert_eq!((lab.rtp().len(), lab.stats(1).sent.packets), (20, 20));
}
