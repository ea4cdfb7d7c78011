//! Streams of events as senders and networks make them, and the digits that they are.

use super::*;

/// Interval of packets, ms, and timestamp units in it.
const STEP: (u64, u16) = (20, 160);

/// How a sender numbers the packets of its presses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sender {
    /// As RFC 4733 says.
    Plain,
    /// All presses have one timestamp.
    OneTime,
    /// Two presses each have one timestamp.
    Pairs,
    /// Each packet has the time of its sending.
    PerPacket,
    /// Ends have a later timestamp.
    EndMoves(u32),
    /// Each end has a later timestamp.
    EndsMove,
}

/// A packet on its way: when it arrives, ms, and its content.
type Flight = (u64, EventUpdate);

fn stream(sender: Sender, keys: &str, press_ms: u64, pause_ms: u64) -> Vec<Flight> {
    let (mut flights, mut at, mut sequence) = (Vec::new(), 1_000u64, 65_500u16);
    let time = |at: u64| (at * 8) as u32;
    for (n, key) in keys.chars().enumerate() {
        let begun = match sender {
            Sender::OneTime => time(1_000),
            Sender::Pairs => time(1_000 + n as u64 / 2),
            _ => time(at),
        };
        let packets = press_ms / STEP.0;
        for packet in 0..packets + 2 {
            let ticks = (packet + 1).min(packets) * u64::from(STEP.1);
            let (segment, repeat) = (ticks.saturating_sub(1) / 65_535, (packet + 1).saturating_sub(packets));
            let is_end = packet + 1 >= packets;
            let moved = match sender {
                Sender::PerPacket => packet as u32 * 160,
                Sender::EndMoves(by) if repeat > 0 => by,
                Sender::EndsMove if is_end => 160 * (repeat as u32 + 1),
                _ => segment as u32 * 65_535,
            };
            sequence = sequence.wrapping_add(1);
            flights.push((
                at + packet * STEP.0,
                EventUpdate {
                    sequence,
                    timestamp: begun.wrapping_add(moved),
                    marker: packet == 0,
                    code: code(key).expect("a key"),
                    flags: if is_end { END } else { 0 },
                    duration: (ticks - segment * 65_535) as u16,
                    clock_rate: 8_000,
                },
            ));
        }
        at += press_ms + 2 * STEP.0 + pause_ms;
        // Audio is sent meanwhile.
        sequence = sequence.wrapping_add((pause_ms / STEP.0) as u16);
    }
    flights
}

/// The digits heard; flights in order of arrival.
fn heard(flights: impl IntoIterator<Item = Flight>) -> String {
    let (epoch, mut receiver, mut digits) = (Instant::now(), EventReceiver::default(), String::new());
    let mut now = 0;
    for (at, update) in flights {
        // Time is looked at between packets, too.
        while now + 10 <= at {
            now = if receiver.is_pressed() { now + 10 } else { at };
            digits.extend(receiver.expire(epoch + Duration::from_millis(now)).map(|it| it.digit));
        }
        digits.extend(receiver.packet(&update, epoch + Duration::from_millis(at)).map(|it| it.digit));
    }
    digits.extend(receiver.expire(epoch + Duration::from_millis(now + 1_000)).map(|it| it.digit));
    digits
}

#[test]
fn a_press_is_a_digit_however_its_packets_are_numbered() {
    use Sender::*;
    for sender in [Plain, OneTime, Pairs, PerPacket, EndMoves(160), EndMoves(480), EndMoves(800), EndsMove] {
        for keys in ["1", "1234", "1111", "1134", "5", "55", "*#A0"] {
            for (press_ms, pause_ms) in [(100, 100), (60, 80), (240, 60), (1_000, 40), (100, 5_000)] {
                let stream = stream(sender, keys, press_ms, pause_ms);
                assert_eq!(heard(stream), keys, "{sender:?}, {press_ms} ms and {pause_ms} ms");
            }
        }
    }
}

#[test]
fn each_packet_that_gets_through_is_of_one_press_whichever_are_lost() {
    for (keys, press_ms) in [("11", 100), ("1#", 100), ("11", 60), ("1#", 120)] {
        for pause_ms in [60, 100, 400] {
            let stream = stream(Sender::Plain, keys, press_ms, pause_ms);
            let each = stream.len() / 2;
            for kept in 0..1u32 << stream.len() {
                let came = |part: u32| (kept >> (part * each as u32)) & ((1 << each) - 1) != 0;
                let digits: String = keys
                    .chars()
                    .zip([came(0), came(1)])
                    .filter(|(_, came)| *came)
                    .map(|(key, _)| key)
                    .collect();
                let flights = (0..stream.len()).filter(|n| kept >> n & 1 == 1).map(|n| stream[n]);
                assert_eq!(heard(flights), digits, "{keys}, {press_ms}, {pause_ms}: {kept:b}");
            }
        }
    }
}

#[test]
fn a_press_of_twenty_seconds_is_one_digit_with_gaps_of_any_length() {
    let stream = stream(Sender::Plain, "7", 20_000, 0);
    assert!(stream.iter().any(|(_, update)| update.timestamp != stream[0].1.timestamp), "it has segments");
    for from in (0..stream.len()).step_by(7) {
        for lost in [1, 6, 50, 400, 450, 900] {
            let gap = from..from + lost;
            let flights = stream.iter().enumerate().filter(|(n, _)| !gap.contains(n)).map(|(_, it)| *it);
            assert_eq!(heard(flights), "7", "{gap:?}");
        }
    }
    let (epoch, mut receiver) = (Instant::now(), EventReceiver::default());
    let digits: Vec<Digit> = stream
        .iter()
        .filter_map(|(at, update)| receiver.packet(update, epoch + Duration::from_millis(*at)))
        .collect();
    assert_eq!(digits, [Digit { digit: '7', duration_ms: 20_000 }]);
}

#[test]
fn what_the_network_loses_doubles_and_overtakes_makes_no_digit() {
    let mut seed = 7u32;
    let mut chance = |of: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % of
    };
    for round in 0..300 {
        let keys = ["1111", "1234", "99#9"][round % 3];
        let sender = [Sender::Plain, Sender::PerPacket, Sender::EndMoves(480)][round / 3 % 3];
        let mut flights = Vec::new();
        for (at, update) in stream(sender, keys, 160, 100) {
            let lost = chance(10) == 0;
            let late = [0, 0, 0, 15, 30, 45][chance(6) as usize];
            flights.extend((!lost).then_some((at + late, update)));
            flights.extend((chance(20) == 0).then_some((at + late + 5, update)));
        }
        flights.sort_by_key(|(at, _)| *at);
        assert_eq!(heard(flights), keys, "{sender:?}, round {round}");
    }
}

#[test]
fn a_press_that_the_network_holds_up_in_the_middle_is_one() {
    for held_ms in [100, 150, 240, 900] {
        for held_from in 1..12 {
            let stream = stream(Sender::Plain, "12", 200, 2_000).into_iter().enumerate();
            // The rest of the press arrives late, and at once.
            let late = stream.map(|(n, (at, update))| match (held_from..12).contains(&n) {
                true => (at.max(1_000 + held_from as u64 * STEP.0 + held_ms), update),
                false => (at, update),
            });
            assert_eq!(heard(late), "12", "{held_ms} ms before packet {held_from}");
        }
    }
}

#[test]
fn an_end_alone_is_a_digit_and_late_packets_of_the_last_press_are_none() {
    let ends = |n: usize| stream(Sender::Plain, "4", 100, 100)[n];
    assert_eq!(heard([ends(5)]), "4");
    assert_eq!(heard([ends(4), ends(5), ends(6)]), "4");
    let mut mixed = stream(Sender::Plain, "45", 100, 60);
    let late = mixed.remove(6).1;
    mixed.insert(8, (mixed[7].0 + 5, late));
    assert_eq!(heard(mixed), "45");
}

#[test]
fn the_length_counts_in_the_clock_of_the_event() {
    let (now, mut receiver) = (Instant::now(), EventReceiver::default());
    let (_, update) = stream(Sender::Plain, "5", 100, 0)[4];
    let digit = receiver.packet(&EventUpdate { duration: 4_800, clock_rate: 48_000, ..update }, now);
    assert_eq!(digit, Some(Digit { digit: '5', duration_ms: 100 }));
    assert_eq!((code('5'), code('#'), code('d'), code('E')), (Some(5), Some(11), Some(15), None));
}

#[test]
fn other_events_and_short_payloads_are_no_digits() {
    let (_, update) = stream(Sender::Plain, "5", 100, 0)[4];
    let mut receiver = EventReceiver::default();
    assert_eq!(receiver.packet(&EventUpdate { code: 16, ..update }, Instant::now()), None, "flash");
    let header = crate::rtp::header::Header {
        marker: false,
        payload_type: 101,
        sequence: 1,
        timestamp: 1,
        ssrc: 1,
        payload: 12,
        payload_len: 3,
    };
    assert_eq!(EventUpdate::read(&header, &[1, END, 0], 8_000), None);
}
