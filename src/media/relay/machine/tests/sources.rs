//! Whose packets are believed, answered and forwarded, in every phase of a call.

use super::*;
use crate::transport::lock::{Answering, NamedSources};

fn from(host: [u8; 4]) -> SocketAddr {
    SocketAddr::from((host, 6_666))
}

const STRANGER: [u8; 4] = [127, 0, 0, 66];
const SIGNALLING: [u8; 4] = [127, 0, 0, 7];

/// A leg whose party is behind a NAT: it signals an unreachable address.
fn behind_nat(slot: u32) -> Remote {
    let told = SocketAddr::from(([127, 9, 9, 9], party(slot).port()));
    Remote { signalling: [Some(SIGNALLING.into()), None], rtp: told, ..remote(slot) }
}

/// Six consecutive packets of an attacker.
fn attack(lab: &mut Lab, slot: u32) {
    for n in 0..6 {
        lab.put(slot, from(STRANGER), packet(0, 900 + n, 160, 666, &[0x66; 160]));
        lab.run(FRAME);
    }
}

/// Whether anything was forwarded from the attacker or sent to it.
fn attacked(lab: &mut Lab) -> bool {
    lab.wire.0.iter().any(|sent| sent.to.ip() == from(STRANGER).ip() || sent.data.ends_with(&[0x66; 160]))
}

#[test]
fn packets_go_back_to_where_they_come_from() {
    let mut lab = Lab::joined();
    let behind_nat = SocketAddr::from(([127, 9, 9, 9], 1_234));
    let signalling = [Some(behind_nat.ip()), None];
    lab.command(Command::Describe { id: id(1), remote: Remote { signalling, ..remote(1) } });
    lab.put(1, behind_nat, packet(0, 1, 160, 71, &[1; 160]));
    lab.talk(0, 1, 2);
    assert_eq!(lab.rtp().last().unwrap().to, behind_nat);
    assert_eq!(lab.stats(1).sources.locked, Some(behind_nat));
}

#[test]
fn reports_go_to_the_port_after_the_one_that_is_believed_or_to_the_one_that_is_named() {
    let source = SocketAddr::from(([127, 9, 9, 9], 1_234));
    let named = SocketAddr::from(([127, 0, 0, 1], 4_999));
    for (rtcp, expected) in [(None, SocketAddr::new(source.ip(), 1_235)), (Some(named), named)] {
        let mut lab = Lab::joined();
        let there = Remote { rtcp, signalling: [Some(source.ip()), None], ..remote(1) };
        lab.command(Command::Describe { id: id(1), remote: there });
        lab.put(1, source, packet(0, 1, 160, 71, &[1; 160]));
        lab.talk(0, 1, 400);
        let to: Vec<_> = lab.rtcp().iter().filter(|sent| sent.slot == 1).map(|sent| sent.to).collect();
        assert!(!to.is_empty() && to.iter().all(|to| *to == expected), "{to:?}, not {expected}");
    }
}

#[test]
fn a_stranger_is_neither_heard_nor_answered_whenever_they_come() {
    for public in [true, false] {
        let mut lab = Lab::joined();
        let (there, source) = match public {
            true => (remote(0), party(0)),
            false => (behind_nat(0), SocketAddr::from((SIGNALLING, 31_000))),
        };
        let talk = |lab: &mut Lab, first: u16| {
            let before = lab.wire.0.len();
            for n in 0..10 {
                lab.put(0, source, packet(0, first + n, u32::from(n) * 160, 70, &[1; 160]));
                lab.put(1, party(1), packet(0, first + n, u32::from(n) * 160, 71, &[2; 160]));
                attack(lab, 0);
            }
            let sent = &lab.wire.0[before..];
            let heard = |slot, to| {
                sent.iter().filter(|it| it.slot == slot && it.to == to && it.data.len() == 172).count()
            };
            assert!(heard(1, party(1)) >= 9 && heard(0, source) >= 9, "{public} {first}");
        };
        // Described, and nothing received yet: early media, or the answer.
        lab.command(Command::Describe { id: id(0), remote: there });
        attack(&mut lab, 0);
        assert_eq!(lab.stats(0).sources.locked, None);
        talk(&mut lab, 100);
        // Hold and resume.
        lab.command(Command::Describe { id: id(0), remote: Remote { receives: false, ..there } });
        attack(&mut lab, 0);
        lab.command(Command::Describe { id: id(0), remote: there });
        talk(&mut lab, 200);
        // A re-INVITE to another port, and silence meanwhile.
        let moved = SocketAddr::new(there.rtp.ip(), there.rtp.port() + 100);
        lab.command(Command::Describe { id: id(0), remote: Remote { rtp: moved, ..there } });
        lab.run(Duration::from_secs(3));
        attack(&mut lab, 0);
        lab.command(Command::Describe { id: id(0), remote: there });
        talk(&mut lab, 300);
        // Transfer.
        lab.join(0, 2);
        attack(&mut lab, 0);
        lab.join(0, 1);
        talk(&mut lab, 400);
        assert!(!attacked(&mut lab), "{public}");
        assert_eq!(lab.stats(0).sources.refused, Some(from(STRANGER)));
        assert_eq!(lab.stats(1).dropped.total(), 0);
    }
}

#[test]
fn keys_and_reports_of_a_stranger_are_nobodys() {
    let mut lab = Lab::joined();
    let report = Report { ssrc: 9, sender: None, block: None, metrics: None, cname: b"x", bye: true };
    let mut buffer = [0; rtcp::MAX_LEN];
    let len = report.write(&mut buffer);
    for n in 0..50u16 {
        let event = [5, 0x8A, 3, 0x20];
        lab.put(0, from(STRANGER), packet(101, n, 160, 666, &event));
        lab.machine.packet(lab.now, 0, Channel::Rtcp, from(STRANGER), &mut buffer[..len], &mut lab.wire);
        lab.run(FRAME);
    }
    let stats = lab.stats(0);
    assert_eq!((stats.digits, stats.dropped.source, stats.rtcp.refused), (0, 50, 50));
    assert!(!stats.rtcp.bye);
    let events = lab.events();
    assert!(!events.iter().any(|event| matches!(event, RelayEvent::Digit { .. })), "{events:?}");
    // The party's own are accepted.
    lab.put(0, party(0), packet(101, 1, 160, 70, &[5, 0x8A, 3, 0x20]));
    assert_eq!(lab.stats(0).digits, 1);
}

#[test]
fn nobody_but_a_stranger_is_told_once() {
    let mut lab = Lab::joined();
    let told = |lab: &mut Lab| {
        let events = lab.events().into_iter();
        events.filter(|event| matches!(event, RelayEvent::SourceRefused { .. })).collect::<Vec<_>>()
    };
    (0..8).for_each(|_| attack(&mut lab, 0));
    assert_eq!(told(&mut lab), [], "48 packets");
    (0..8).for_each(|_| attack(&mut lab, 0));
    assert_eq!(told(&mut lab), [RelayEvent::SourceRefused { id: id(0), from: from(STRANGER) }]);
    // Nothing is reported for a party that is heard.
    lab.talk(1, 1, 5);
    (0..20).for_each(|_| attack(&mut lab, 1));
    assert_eq!(told(&mut lab), []);
}

#[test]
fn sixty_seconds_of_early_media_reach_a_caller_who_says_nothing() {
    let mut lab = Lab::joined();
    lab.command(Command::Describe { id: id(0), remote: remote(0) });
    lab.talk(1, 1, 3_000);
    assert_eq!(lab.rtp().iter().filter(|sent| sent.slot == 0 && sent.to == party(0)).count(), 3_000);
    assert_eq!(lab.stats(0).received.packets, 0);
}

#[test]
fn a_named_network_is_heard_and_answered_as_configured() {
    for answer in [Answering::Source, Answering::Signalled] {
        let mut lab = Lab::new(1);
        let sources = NamedSources { networks: vec!["127.0.0.66/32".parse().unwrap()], answer };
        let config = EndpointConfig { sources, ..EndpointConfig::default() };
        lab.command(Command::Open { id: id(1), config });
        lab.command(Command::Describe { id: id(1), remote: remote(1) });
        lab.join(0, 1);
        attack(&mut lab, 1);
        assert_eq!(lab.stats(1).received.packets, 6);
        lab.talk(0, 1, 5);
        let to = if answer == Answering::Source { from(STRANGER) } else { party(1) };
        assert_eq!(lab.rtp().last().unwrap().to, to);
    }
}

#[test]
fn a_phone_with_srtp_goes_on_from_another_address() {
    let mut lab = Lab::joined();
    lab.machine.authenticates(id(0), true);
    lab.talk(0, 1, 10);
    lab.run(Duration::from_millis(300));
    let roamed = from([127, 0, 0, 44]);
    for n in 0..5 {
        lab.put(0, roamed, packet(0, 30 + n, 8_000, 70, &[1; 160]));
    }
    lab.talk(1, 1, 1);
    assert_eq!(lab.rtp().last().unwrap().to, roamed);
    assert_eq!((lab.stats(0).received.packets, lab.stats(0).dropped.total()), (15, 0));
}

#[test]
fn a_change_of_address_leaves_no_gap_and_stragglers_are_not_answered() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 10);
    let elsewhere = SocketAddr::from(([127, 0, 0, 12], 4_444));
    lab.command(Command::Describe { id: id(0), remote: Remote { rtp: elsewhere, ..remote(0) } });
    lab.talk(0, 11, 10);
    assert_eq!(lab.stats(0).received.packets, 20, "still on their way");
    lab.talk(1, 1, 1);
    assert_eq!(lab.rtp().last().unwrap().to, elsewhere);
    for n in 0..5 {
        lab.put(0, elsewhere, packet(0, 21 + n, 3_400 + u32::from(n) * 160, 70, &[1; 160]));
    }
    assert_eq!(lab.stats(0).received.packets, 25);
    // Back at the first address: after a second the former source is not accepted any more.
    lab.command(Command::Describe { id: id(0), remote: remote(0) });
    lab.run(Duration::from_millis(1_100));
    lab.put(0, elsewhere, packet(0, 30, 5_000, 70, &[1; 160]));
    assert_eq!((lab.stats(0).received.packets, lab.stats(0).dropped.source), (25, 1));
}

/// The streams, by a number in their payload, that party 1 hears in these places of party 0's time,
/// 5 ms each: a packet of stream 1 every 20 ms from 0 on, one of stream 2 with 5 ms between.
fn heard(one: impl Fn(u16) -> bool, two: impl Fn(u16) -> bool) -> (Vec<u8>, EndpointStats) {
    let mut lab = Lab::joined();
    for n in 0..300u16 {
        for (stream, is_sent) in [(1, one(n)), (2, two(n))] {
            if is_sent {
                let stamp = u32::from(n) * 160;
                lab.put(0, party(0), packet(0, n, stamp, 70 + u32::from(stream), &[stream; 160]));
            }
            lab.run(FRAME / 4 * (2 * u32::from(stream) - 1));
        }
    }
    let sent = lab.rtp();
    let heard = sent.iter().map(|sent| sent.rtp().payload[0]).collect();
    let markers = sent.iter().filter(|sent| sent.rtp().marker).count();
    let stats = lab.stats(0);
    assert!(markers <= stats.ssrc_changes as usize + 1, "{markers} markers");
    (heard, stats)
}

#[test]
fn of_two_streams_at_once_the_present_one_is_heard() {
    let (sent, stats) = heard(|_| true, |n| (100..200).contains(&n));
    assert_eq!((sent, stats.dropped.stream), (vec![1; 300], 100));
    // A packet of it is missing, another one comes late, and there is a short silence.
    let (sent, _) = heard(|n| n != 150 && !(160..168).contains(&n), |n| n >= 100);
    assert_eq!(sent, vec![1; 291]);
}

#[test]
fn a_stream_beside_the_present_one_is_heard_after_its_end() {
    let (sent, stats) = heard(|n| n < 200, |n| n >= 100);
    let after = sent.iter().filter(|stream| **stream == 2).count();
    assert!((89..=91).contains(&after), "{after} of 100 packets");
    assert!(sent.is_sorted(), "{sent:?}");
    assert_eq!(stats.ssrc_changes, 1);
}

#[test]
fn a_stream_that_follows_another_one_at_once_is_heard() {
    // An announcement, and what was there before it.
    let (sent, stats) = heard(|n| !(100..200).contains(&n), |n| (100..200).contains(&n));
    let announced = sent.iter().filter(|stream| **stream == 2).count();
    assert_eq!((announced, sent.len(), stats.ssrc_changes), (99, 298, 2));
}
