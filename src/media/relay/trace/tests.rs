use std::net::IpAddr;
use std::sync::Arc;

use super::*;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 20_000);

fn rtp(sequence: u16) -> Vec<u8> {
    // One CSRC and an extension of one word: 24 octets of header.
    let mut packet = vec![0x91, 8];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0; 12]);
    packet.extend_from_slice(&[0xBE, 0xDE, 0, 1, 0x10, 7, 0, 0]);
    packet.resize(24 + 160, 0xd5);
    packet
}

fn party(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn trace(snap: Snap, seconds: Option<u64>, limit: usize) -> (Arc<PacketTrace>, Instant) {
    let now = Instant::now();
    let until = seconds.map(|seconds| now + Duration::from_secs(seconds));
    (Arc::new(PacketTrace::new(now, until, snap, limit)), now)
}

#[test]
fn packets_come_out_as_they_went_in_around_the_end_of_the_ring() {
    let (trace, start) = trace(Snap::Whole, None, usize::MAX);
    let (mut tap, mut tapped) = tap(trace.clone());
    let ms = Duration::from_millis;
    for n in 0..2_000u16 {
        let remote = if n % 2 == 0 { "192.0.2.7:4000" } else { "[2001:db8::7]:4000" };
        let packet = &rtp(n)[..100 + usize::from(n % 85)];
        // Addresses in one network, and in another.
        let local = if n % 2 == 0 { LOCAL } else { party("[::1]:20000") };
        assert!(tap.take(start + ms(n.into()), (n % 3 == 0, false), local, party(remote), packet));
        if n % 50 == 0 {
            assert!(tapped.gather());
        }
    }
    drop(tap);
    assert!(!tapped.gather(), "nothing comes any more");
    let packets = trace.packets();
    let mut seen = 0u16;
    for packet in packets.iter() {
        let (local, remote) = match seen % 2 {
            0 => ("127.0.0.1:20000", "192.0.2.7:4000"),
            _ => ("[::1]:20000", "[2001:db8::7]:4000"),
        };
        let octets = &rtp(seen)[..100 + usize::from(seen % 85)];
        let expected = TracedPacket {
            at: start + ms(seen.into()),
            sent: seen.is_multiple_of(3),
            local: party(local),
            remote: party(remote),
            octets,
            original: octets.len(),
        };
        assert_eq!(packet, expected);
        seen += 1;
    }
    assert_eq!(seen, 2_000);
    assert_eq!((trace.stats().packets, trace.stats().left_out), (2_000, 0));
}

#[test]
fn which_key_is_pressed_is_kept_of_no_telephone_event() {
    let (trace, start) = trace(Snap::Whole, None, usize::MAX);
    let (mut tap, mut tapped) = tap(trace.clone());
    let packet = |payload_type: u8, length: usize| {
        let mut packet = rtp(1);
        packet[1] = payload_type;
        packet.truncate(24 + length);
        packet
    };
    // An event, with its marker; one under SRTP, with either tag; G.711, a short Opus packet, RTCP.
    for (secured, packet, kept) in [
        (false, packet(101, 4), 24),
        (false, packet(0x80 | 101, 4), 24),
        (true, packet(101, 14), 24),
        (true, packet(101, 8), 24),
        (false, packet(8, 4), 28),
        (false, packet(111, 3), 27),
        (false, packet(111, 14), 38),
        (false, vec![0x80, 201, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 16),
    ] {
        assert!(tap.take(start, (true, secured), LOCAL, party("192.0.2.7:4000"), &packet));
        tapped.gather();
        let packets = trace.packets();
        let last = packets.iter().last().map(|it| (it.octets.len(), it.original));
        assert_eq!(last, Some((kept, packet.len())), "{packet:?}");
    }
}

#[test]
fn of_rtp_only_the_header_is_kept_where_that_is_asked_for_and_rtcp_whole() {
    let (trace, start) = trace(Snap::Headers, None, usize::MAX);
    let (mut tap, mut tapped) = tap(trace.clone());
    let mut report = vec![0x80, 201, 0, 7];
    report.resize(32, 1);
    for packet in [&rtp(1)[..], &report, &[0xd5; 172], &[0x15; 172], &[], &[0x80]] {
        assert!(tap.take(start, (true, false), LOCAL, party("192.0.2.7:4000"), packet));
    }
    tapped.gather();
    let packets = trace.packets();
    let seen: Vec<_> = packets.iter().map(|packet| (packet.octets.len(), packet.original)).collect();
    assert_eq!(seen, [(24, 184), (32, 32), (48, 172), (48, 172), (0, 0), (1, 1)]);
}

#[test]
fn what_finds_no_room_is_counted_and_leaves_no_hole() {
    let (trace, start) = trace(Snap::Whole, None, 10 * (OWN + 184) + 100);
    let (mut tap, mut tapped) = tap(trace.clone());
    for n in 0..1_000 {
        assert!(tap.take(start, (true, false), LOCAL, party("192.0.2.7:4000"), &rtp(n)));
    }
    tapped.gather();
    // Short enough for the remaining room, but it came later.
    assert!(tap.take(start, (true, false), LOCAL, party("192.0.2.7:4000"), &rtp(7)[..30]));
    tapped.gather();
    let stats = trace.stats();
    assert_eq!((stats.packets, stats.left_out), (10, 991));
    assert!(stats.bytes <= 10 * (OWN + 184) as u64 + 100);
    let packets = trace.packets();
    assert!(packets.iter().zip(0..).all(|(packet, n)| packet.octets == rtp(n)), "the first ones");
}

#[test]
fn a_flood_of_sources_is_bounded() {
    let (trace, start) = trace(Snap::Whole, None, usize::MAX);
    let (mut tap, mut tapped) = tap(trace.clone());
    for port in 1..=1_000 {
        assert!(tap.take(start, (false, false), LOCAL, SocketAddr::from(([192, 0, 2, 7], port)), &[1; 20]));
        tapped.gather();
    }
    assert_eq!((trace.stats().packets, trace.stats().left_out), (128, 872));
}

#[test]
fn a_trace_ends_when_it_is_time_or_when_it_is_stopped_and_the_tap_learns_it() {
    let (trace, start) = trace(Snap::Whole, Some(5), usize::MAX);
    let at = |seconds| start + Duration::from_secs(seconds);
    let (mut one, mut gathered) = tap(trace.clone());
    let mut packet = |at| one.take(at, (true, false), LOCAL, party("192.0.2.7:4000"), &rtp(1));
    assert!(packet(at(4)) && gathered.gather() && trace.is_running(at(4)));
    assert!(packet(at(5)) && !gathered.gather() && !trace.is_running(at(5)));
    drop(gathered);
    assert!(!packet(at(6)));
    assert_eq!(trace.stats().packets, 1);

    let trace = Arc::new(PacketTrace::new(start, None, Snap::Whole, usize::MAX));
    let (_tap, mut gathered) = tap(trace.clone());
    assert!(gathered.gather() && trace.is_running(at(9_000)));
    trace.stop();
    assert!(!gathered.gather() && !trace.is_running(at(1)));
}

#[test]
fn a_copy_takes_no_memory_not_even_when_the_ring_is_full() {
    let (trace, start) = trace(Snap::Whole, None, usize::MAX);
    let (mut tap, _tapped) = tap(trace.clone());
    let packet = rtp(1);
    let mut copies = || {
        (0..1_000).filter(|_| tap.take(start, (true, false), LOCAL, party("192.0.2.7:4000"), &packet)).count()
    };
    let mut copied = 0;
    let taken = allocation_counter::measure(|| copied = copies());
    assert_eq!((copied, taken.count_total), (1_000, 0));
    assert!(trace.stats().left_out > 500, "most of them found no room");
}
