//! The handling of relayed packets.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
/// Time 0 means none.
const START: u64 = 1_000 * MS;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn packet(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x55; 160]);
    packet
}

/// One direction with its far end, as the relay machine runs it.
struct Way {
    rule: ForwardRule,
    state: ForwardState,
    out: OutSpace,
}

impl Way {
    fn new() -> Self {
        let mut payload_types = PayloadMap::EMPTY;
        payload_types.forward(0, 0);
        payload_types.forward(101, 96);
        payload_types.telephone_event(101);
        let rule = ForwardRule {
            source: address(4_000),
            ssrc: 7,
            destination: address(6_000),
            out_ssrc: 0,
            sequence_offset: 0,
            timestamp_offset: 0,
            anchor: 0,
            clock_rate: 8_000,
            looks: 0,
            gate: Gate::Unanchored,
            payload_types,
            extensions: ExtensionMap::EMPTY,
        };
        Way { rule, state: ForwardState::default(), out: OutSpace::new(99, 65_530, u32::MAX - 100) }
    }

    /// Applies the rule; begins streams and anchors where the rule does not cover a packet.
    fn put(&mut self, at: u64, packet: &mut [u8]) -> Verdict {
        let (at, source) = (START + at, self.rule.source);
        loop {
            let header = Header::read(packet);
            match (apply(&mut self.state, &self.rule, source, at, packet), header) {
                (Verdict::Unknown(Unknown::Stream | Unknown::Jump), Some(header)) => {
                    self.out.settle(&mut self.rule, &mut self.state);
                    self.rule.ssrc = header.ssrc;
                    self.state.begin(&header, at, 8_000);
                }
                (Verdict::Unknown(Unknown::Anchor), Some(header)) => {
                    self.out.anchor(&mut self.rule, &mut self.state, &header, at);
                }
                (verdict, _) => return verdict,
            }
        }
    }

    /// Puts a packet that must be forwarded; returns its new header.
    fn forwarded(&mut self, at: u64, mut packet: Vec<u8>) -> Header {
        let verdict = self.put(at, &mut packet);
        assert!(matches!(verdict, Verdict::Forward | Verdict::ForwardAndUp), "{verdict:?}");
        Header::read(&packet).unwrap()
    }
}

#[test]
fn a_stream_moves_into_the_legs_own_space() {
    let mut way = Way::new();
    for n in 0..20u16 {
        let seen = way.forwarded(u64::from(n) * 20 * MS, packet(0, 100 + n, 5_000 + u32::from(n) * 160, 7));
        assert_eq!(seen.ssrc, 99);
        assert_eq!(seen.sequence, 65_531u16.wrapping_add(n), "across the wrap");
        assert_eq!(seen.timestamp, (u32::MAX - 100).wrapping_add(u32::from(n) * 160));
        assert_eq!(seen.marker, n == 0);
        assert_eq!((seen.payload_type, seen.payload_len), (0, 160));
    }
    assert_eq!((way.state.packets, way.state.numbers.lost(), way.state.jitter_ticks()), (20, 0, 0));
}

#[test]
fn losses_and_reordering_pass_through_and_are_counted() {
    let mut way = Way::new();
    let order = [10, 11, 13, 12, 16, 16, 15];
    let seen: Vec<u16> =
        order.iter().map(|n| way.forwarded(0, packet(0, *n, u32::from(*n) * 160, 7)).sequence).collect();
    let first = seen[0];
    let distance: Vec<u16> = seen.iter().map(|sequence| sequence.wrapping_sub(first)).collect();
    assert_eq!(distance, [0, 1, 3, 2, 6, 6, 5]);
    assert_eq!(
        (way.state.numbers.expected(), way.state.numbers.lost()),
        (7, 1),
        "14 is missing, 16 came twice"
    );
}

#[test]
fn payload_types_are_mapped_and_events_go_up_too() {
    let mut way = Way::new();
    assert_eq!(way.forwarded(0, packet(0, 1, 160, 7)).payload_type, 0);
    let mut event = packet(101, 2, 320, 7);
    event[1] |= 0x80;
    assert_eq!(way.put(20 * MS, &mut event), Verdict::ForwardAndUp);
    let seen = Header::read(&event).unwrap();
    assert_eq!((seen.payload_type, seen.marker), (96, true), "the event's own marker stays");
    // An event that the other leg does not support is still passed up, unchanged.
    way.rule.payload_types = PayloadMap::EMPTY;
    way.rule.payload_types.forward(0, 0);
    way.rule.payload_types.telephone_event(101);
    let mut event = packet(101, 3, 320, 7);
    let before = event.clone();
    assert_eq!(way.put(40 * MS, &mut event), Verdict::Up);
    assert_eq!(event, before);
}

#[test]
fn packets_that_are_left_out_leave_no_gap() {
    let mut way = Way::new();
    let first = way.forwarded(0, packet(0, 1, 160, 7)).sequence;
    for n in 2..=4 {
        assert_eq!(way.put(0, &mut packet(13, n, 320, 7)), Verdict::Drop(Reason::PayloadType));
    }
    assert_eq!(way.forwarded(0, packet(0, 5, 800, 7)).sequence, first.wrapping_add(1));
    assert_eq!(way.forwarded(0, packet(0, 7, 1_120, 7)).sequence, first.wrapping_add(3), "6 was lost");
    assert_eq!(way.state.numbers.lost(), 1);
}

#[test]
fn a_held_leg_gets_nothing_and_then_goes_on_in_its_space() {
    let mut way = Way::new();
    let before = way.forwarded(0, packet(0, 1, 160, 7));
    way.out.settle(&mut way.rule, &mut way.state);
    way.rule.gate = Gate::Held;
    for n in 2..=50u16 {
        let at = u64::from(n - 1) * 20 * MS;
        let verdict = way.put(at, &mut packet(0, n, u32::from(n) * 160, 7));
        assert_eq!(verdict, Verdict::Drop(Reason::Held));
    }
    way.rule.gate = Gate::Unanchored;
    let after = way.forwarded(50 * 20 * MS, packet(0, 51, 51 * 160, 7));
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(50 * 160), "time has gone on");
    assert!(after.marker);
    assert_eq!(way.state.numbers.lost(), 0);
    assert_eq!(way.out.packets + way.state.forwarded, 2);
}

#[test]
fn another_stream_and_another_feeder_go_on_in_the_same_space() {
    let mut way = Way::new();
    let before = way.forwarded(0, packet(0, 1, 160, 7));
    // The far end changes its SSRC.
    let after = way.forwarded(20 * MS, packet(0, 40_000, 1 << 30, 8));
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(160));
    assert!(after.marker);
    // A transfer: a second later another leg feeds this one, with its own numbers.
    way.out.settle(&mut way.rule, &mut way.state);
    let mut other = Way { out: way.out, ..Way::new() };
    let transferred = other.forwarded(1_020 * MS, packet(0, 3, 77, 5));
    assert_eq!(transferred.ssrc, before.ssrc);
    assert_eq!(transferred.sequence, before.sequence.wrapping_add(2));
    assert_eq!(transferred.timestamp, after.timestamp.wrapping_add(8_000));
    // A packet from before the transfer must not get a number already used.
    assert_eq!(other.put(1_020 * MS, &mut packet(0, 2, 0, 5)), Verdict::Drop(Reason::Stale));
}

#[test]
fn what_the_rule_does_not_cover_is_told_and_nothing_is_counted() {
    let mut way = Way::new();
    way.forwarded(0, packet(0, 1, 160, 7));
    let counted = way.state;
    let mut put = |source, mut packet: Vec<u8>| {
        let before = packet.clone();
        let verdict = apply(&mut way.state, &way.rule, source, 1, &mut packet);
        assert_eq!(packet, before, "untouched");
        verdict
    };
    assert_eq!(put(address(5_000), packet(0, 2, 320, 7)), Verdict::Unknown(Unknown::Source));
    assert_eq!(put(address(4_000), packet(0, 2, 320, 8)), Verdict::Unknown(Unknown::Stream));
    assert_eq!(put(address(4_000), packet(0, 20_000, 320, 7)), Verdict::Unknown(Unknown::Jump));
    assert_eq!(way.state, counted);
}

#[test]
fn jitter_is_that_of_rfc_3550() {
    // The trace of `rtp::stats`: transit of 0, 5, -5, 0, 15 ms relative to the first.
    let mut way = Way::new();
    for (n, ms) in [0u64, 20, 45, 60, 80, 115].into_iter().enumerate() {
        way.forwarded(ms * MS, packet(0, n as u16, n as u32 * 160, 7));
    }
    assert_eq!(way.state.jitter_ticks(), 11);
}

proptest! {
    #[test]
    fn hostile_packets_never_panic(
        packets in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..80), 0x80u8..=0xBF, 0u64..1 << 60), 1..40),
    ) {
        let mut way = Way::new();
        for (mut packet, first, at) in packets {
            if let Some(byte) = packet.first_mut() { *byte = first; }
            let len = packet.len();
            let verdict = way.put(at, &mut packet);
            prop_assert_eq!(packet.len(), len);
            if verdict == Verdict::Forward {
                prop_assert!(Header::read(&packet).is_some_and(|header| header.ssrc == 99));
            }
        }
    }
}
