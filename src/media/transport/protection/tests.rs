//! How two directions under one key handle each other's packets.

use proptest::prelude::*;

use super::*;
use crate::rtp::RtpPacket;

fn master(suite: Suite, seed: u8) -> MasterKey {
    MasterKey::generate(suite, |octets| {
        octets.iter_mut().zip(seed..).for_each(|(octet, n)| *octet = n.wrapping_mul(37));
    })
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0x08];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160).map(|n| n as u8 ^ sequence as u8));
    packet
}

fn report(ssrc: u32, len: usize) -> Vec<u8> {
    let mut report = vec![0x80, 201, 0, 1];
    report.extend(ssrc.to_be_bytes());
    report.extend((0..len).map(|n| n as u8));
    report
}

fn protected(outbound: &mut Outbound, packet: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; packet.len() + RTP_OVERHEAD];
    buffer[..packet.len()].copy_from_slice(packet);
    let len = outbound.rtp(&mut buffer, packet.len()).expect("protected");
    buffer.truncate(len);
    buffer
}

fn protected_report(outbound: &mut Outbound, report: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; report.len() + RTCP_OVERHEAD];
    buffer[..report.len()].copy_from_slice(report);
    let len = outbound.rtcp(&mut buffer, report.len()).expect("protected");
    buffer.truncate(len);
    buffer
}

fn unprotected(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, UnprotectError> {
    let mut buffer = packet.to_vec();
    let outcome = inbound.rtp(&mut buffer);
    if outcome.is_err() {
        assert_eq!(buffer, packet, "a packet that fails is left alone");
    }
    outcome.map(|len| buffer[..len].to_vec())
}

fn pair(suite: Suite) -> (Outbound, Inbound) {
    let master = master(suite, 1);
    (Outbound::new(&master), Inbound::new(&master))
}

#[test]
fn what_is_protected_comes_back_and_is_not_readable_meanwhile() {
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        for sequence in 0..20 {
            let plain = packet(7, sequence);
            let wire = protected(&mut outbound, &plain);
            assert_eq!(wire.len(), plain.len() + suite.rtp_tag());
            assert_eq!(wire[..12], plain[..12], "the header stays");
            assert!(!wire.windows(8).any(|octets| plain[12..].windows(8).any(|clear| clear == octets)));
            assert_eq!(unprotected(&mut inbound, &wire), Ok(plain), "{suite}");
        }
        let plain = report(7, 44);
        let mut wire = protected_report(&mut outbound, &plain);
        assert_ne!(wire[8..52], plain[8..]);
        let len = inbound.rtcp(&mut wire).unwrap();
        assert_eq!(wire[..len], plain);
    }
}

#[test]
fn csrcs_and_extensions_stay_readable_and_are_signed() {
    let mut plain = packet(7, 1);
    plain[0] = 0x80 | 0x10 | 2;
    let between = [&[1; 8][..], &[0xBE, 0xDE, 0, 2], &[9; 8]].concat();
    plain.splice(12..12, between);
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        let wire = protected(&mut outbound, &plain);
        assert_eq!(wire[..32], plain[..32]);
        assert_ne!(wire[32..40], plain[32..40]);
        let mut changed = wire.clone();
        changed[30] ^= 1;
        assert_eq!(unprotected(&mut inbound, &changed), Err(UnprotectError::Forged));
        assert_eq!(unprotected(&mut inbound, &wire), Ok(plain.clone()));
    }
}

#[test]
fn every_changed_octet_is_noticed_and_the_right_packet_is_taken_afterwards() {
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        let plain = packet(7, 1);
        let wire = protected(&mut outbound, &plain);
        for at in 0..wire.len() {
            let mut changed = wire.clone();
            changed[at] ^= 0x04;
            assert!(unprotected(&mut inbound, &changed).is_err(), "{suite}: octet {at}");
        }
        for len in 0..wire.len() {
            assert!(unprotected(&mut inbound, &wire[..len]).is_err(), "{suite}: {len} octets");
        }
        assert!(unprotected(&mut inbound, &plain).is_err(), "plain RTP");
        assert_eq!(unprotected(&mut inbound, &wire), Ok(plain));

        let wire = protected_report(&mut outbound, &report(7, 20));
        for at in 0..wire.len() {
            let mut changed = wire.clone();
            changed[at] ^= 0x04;
            assert!(inbound.rtcp(&mut changed).is_err(), "{suite}: RTCP octet {at}");
            assert!(inbound.rtcp(&mut wire[..at].to_vec()).is_err());
        }
        assert!(inbound.rtcp(&mut wire.clone()).is_ok());
    }
}

#[test]
fn another_key_or_suite_is_not_believed() {
    for suite in Suite::ALL {
        for other in Suite::ALL {
            let mut outbound = Outbound::new(&master(suite, 1));
            let mut inbound = Inbound::new(&master(other, 2));
            let wire = protected(&mut outbound, &packet(7, 1));
            assert_eq!(unprotected(&mut inbound, &wire), Err(UnprotectError::Forged));
            let mut wire = protected_report(&mut outbound, &report(7, 40));
            assert!(inbound.rtcp(&mut wire).is_err());
        }
    }
}

#[test]
fn what_came_once_does_not_come_again() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm] {
        let (mut outbound, mut inbound) = pair(suite);
        let wires: Vec<_> = (0..200).map(|n| protected(&mut outbound, &packet(7, n))).collect();
        for wire in &wires {
            assert!(unprotected(&mut inbound, wire).is_ok());
            assert_eq!(unprotected(&mut inbound, wire), Err(UnprotectError::Replayed));
        }
        assert_eq!(unprotected(&mut inbound, &wires[0]), Err(UnprotectError::Replayed));
        let mut wire = protected_report(&mut outbound, &report(7, 40));
        let mut again = wire.clone();
        assert!(inbound.rtcp(&mut wire).is_ok());
        assert_eq!(inbound.rtcp(&mut again), Err(UnprotectError::Replayed));
    }
}

#[test]
fn a_sequence_number_is_not_protected_twice() {
    let (mut outbound, _) = pair(Suite::AesCm128HmacSha1_80);
    protected(&mut outbound, &packet(7, 1));
    let mut buffer = [packet(7, 1), vec![0; RTP_OVERHEAD]].concat();
    assert_eq!(outbound.rtp(&mut buffer, 172), Err(ProtectError::Repeated));
    assert_eq!(buffer[..172], packet(7, 1), "not encrypted, not to be sent");
    let mut tight = packet(7, 2);
    assert_eq!(outbound.rtp(&mut tight, 172), Err(ProtectError::NoRoom { needed: 182 }));
    assert_eq!(outbound.rtp(&mut [0x80; 100], 5), Err(ProtectError::Malformed));
    for ssrc in 8.. {
        let mut buffer = [packet(ssrc, 1), vec![0; RTP_OVERHEAD]].concat();
        if outbound.rtp(&mut buffer, 172) == Err(ProtectError::TooManyStreams) {
            assert!(ssrc >= 8 + 7);
            break;
        }
        assert!(ssrc < 100, "the table has an end");
    }
}

/// Two rollovers, each with swapped packets around it.
#[test]
fn rollovers_are_followed_through_loss_and_reordering() {
    for suite in [Suite::AesCm128HmacSha1_32, Suite::AeadAes256Gcm] {
        let (mut outbound, mut inbound) = pair(suite);
        for start in [65_500u32, 65_536 + 65_500] {
            let numbers = start..start + 72;
            let wires: Vec<_> =
                numbers.map(|n| (n, protected(&mut outbound, &packet(7, n as u16)))).collect();
            let mut order: Vec<_> = wires.iter().collect();
            // The last packet before and the first after the rollover are swapped; some are lost.
            order.swap(35, 36);
            order.swap(30, 40);
            order.retain(|(n, _)| n % 7 != 0);
            for (n, wire) in order {
                assert_eq!(unprotected(&mut inbound, wire), Ok(packet(7, *n as u16)), "{suite}: {n}");
            }
            assert_eq!(unprotected(&mut inbound, &wires[0].1), Err(UnprotectError::Replayed));
            // The packets in between, for both sides' counters.
            let between = start + 72..start + 65_536;
            for n in between.step_by(5_000) {
                let wire = protected(&mut outbound, &packet(7, n as u16));
                assert!(unprotected(&mut inbound, &wire).is_ok());
            }
        }
    }
}

/// The first packets are lost, and the numbers roll over meanwhile.
#[test]
fn a_stream_whose_first_packet_comes_after_its_rollover_is_heard() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AeadAes256Gcm] {
        let (mut outbound, mut inbound) = pair(suite);
        let wires: Vec<_> =
            (65_530..65_546u32).map(|n| protected(&mut outbound, &packet(7, n as u16))).collect();
        let mut forged = wires[8].clone();
        forged[20] ^= 1;
        assert_eq!(unprotected(&mut inbound, &forged), Err(UnprotectError::Forged));
        for (n, wire) in (65_538..65_546u32).zip(&wires[8..]) {
            assert_eq!(unprotected(&mut inbound, wire), Ok(packet(7, n as u16)), "{suite}: {n}");
        }
        assert_eq!(unprotected(&mut inbound, &wires[5]), Ok(packet(7, 65_535)), "late, of before");
    }
}

#[test]
fn streams_under_one_key_have_counters_of_their_own() {
    let (mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1_80);
    for (first, second) in [(65_534, 30_000), (65_535, 30_001), (0, 30_002), (1, 30_003)] {
        for (ssrc, sequence) in [(7, first), (8, second)] {
            let wire = protected(&mut outbound, &packet(ssrc, sequence));
            assert_eq!(unprotected(&mut inbound, &wire), Ok(packet(ssrc, sequence)));
        }
    }
    // A new stream of the far end is accepted whenever it starts, and however many there were.
    for ssrc in 100..120 {
        let mut other = Outbound::new(&master(Suite::AesCm128HmacSha1_80, 1));
        let wire = protected(&mut other, &packet(ssrc, 40_000));
        assert_eq!(unprotected(&mut inbound, &wire), Ok(packet(ssrc, 40_000)));
    }
}

#[test]
fn a_new_key_is_followed_whether_rollovers_go_on_or_begin_anew() {
    let suite = Suite::AesCm128HmacSha1_80;
    let (first, second, third) = (master(suite, 1), master(suite, 2), master(suite, 3));
    let keys = |remote: &MasterKey| Keys { local: first.clone(), remote: remote.clone() };
    let mut ours = Protection::new(keys(&first));
    let mut theirs = Outbound::new(&first);
    for sequence in [65_000, 65_535, 10] {
        let wire = protected(&mut theirs, &packet(7, sequence));
        assert!(unprotected(&mut ours.inbound, &wire).is_ok());
    }
    // With the same keys nothing is forgotten.
    ours.rekey(keys(&first));
    let wire = protected(&mut theirs, &packet(7, 11));
    assert!(unprotected(&mut ours.inbound, &wire).is_ok());
    assert_eq!(unprotected(&mut ours.inbound, &wire), Err(UnprotectError::Replayed));
    // The far end's key is new, and its counter restarts.
    ours.rekey(keys(&second));
    assert_eq!(
        unprotected(&mut ours.inbound, &protected(&mut theirs, &packet(7, 12))),
        Err(UnprotectError::Forged)
    );
    let wire = protected(&mut Outbound::new(&second), &packet(7, 12));
    assert!(unprotected(&mut ours.inbound, &wire).is_ok());
    // A key under which the counter continues: created by its holder earlier.
    let mut going_on = Outbound::new(&third);
    let mut ours = Protection::new(keys(&first));
    let mut theirs = Outbound::new(&first);
    for sequence in [65_535, 10] {
        let wire = protected(&mut theirs, &packet(7, sequence));
        assert!(unprotected(&mut ours.inbound, &wire).is_ok());
        protected(&mut going_on, &packet(7, sequence));
    }
    ours.rekey(keys(&third));
    let wire = protected(&mut going_on, &packet(7, 11));
    assert_eq!(unprotected(&mut ours.inbound, &wire), Ok(packet(7, 11)));
}

#[test]
fn keys_are_not_in_debug_output() {
    let key = MasterKey::new(Suite::AesCm128HmacSha1_80, &[0xAB; 30]).unwrap();
    let shown = format!("{:?}", Keys { local: key.clone(), remote: key });
    assert!(shown.contains("AesCm128HmacSha1_80"), "{shown}");
    assert!(!shown.to_lowercase().contains("ab, ") && !shown.contains("171"), "{shown}");
    assert!(MasterKey::new(Suite::AesCm128HmacSha1_80, &[0; 29]).is_none());
    assert_eq!("aead_aes_128_gcm".parse(), Ok(Suite::AeadAes128Gcm));
    assert!("F8_128_HMAC_SHA1_80".parse::<Suite>().is_err());
}

proptest! {
    /// Arbitrary octets never cause a panic and are never accepted.
    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..200), first in 0x80u8..0xC0) {
        for suite in Suite::ALL {
            let (_, mut inbound) = pair(suite);
            for mut datagram in [noise.clone(), [&[first], &noise[..]].concat()] {
                prop_assert!(inbound.rtp(&mut datagram).is_err());
                prop_assert!(inbound.rtcp(&mut datagram).is_err());
                let len = datagram.len();
                let (mut outbound, _) = pair(suite);
                datagram.resize(len + RTCP_OVERHEAD, 0);
                let _ = outbound.rtcp(&mut datagram.clone(), len);
                // What the parser accepts as RTP can be protected.
                let parsed = RtpPacket::parse(&datagram[..len]).is_ok();
                prop_assert!(outbound.rtp(&mut datagram, len).is_ok() || !parsed);
            }
        }
    }

    /// Loss, reordering and duplication of any kind, over rollovers: each packet that is
    /// not too old is accepted exactly once.
    #[test]
    fn packets_come_through_once_in_any_order(
        start in 0u32..200_000,
        shuffle in proptest::collection::vec((0u32..60, any::<bool>()), 1..120),
    ) {
        let (mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1_32);
        // Packets up to the start, so that both sides count the rollovers.
        for n in (0..start).step_by(20_000) {
            let wire = protected(&mut outbound, &packet(7, n as u16));
            prop_assert!(unprotected(&mut inbound, &wire).is_ok());
        }
        let mut arrivals: Vec<(u32, u32)> = Vec::new();
        for (n, (delay, twice)) in (start + 1..).zip(&shuffle) {
            arrivals.push((n + delay, n));
            if *twice {
                arrivals.push((n + delay / 2, n));
            }
        }
        arrivals.sort_unstable();
        let wires: Vec<_> = (start + 1..).take(shuffle.len())
            .map(|n| protected(&mut outbound, &packet(7, n as u16))).collect();
        let mut seen = Vec::new();
        for (_, n) in arrivals {
            let outcome = unprotected(&mut inbound, &wires[(n - start - 1) as usize]);
            if seen.contains(&n) {
                prop_assert_eq!(outcome, Err(UnprotectError::Replayed));
            } else {
                prop_assert_eq!(outcome, Ok(packet(7, n as u16)));
                seen.push(n);
            }
        }
    }
}

#[test]
fn packets_with_a_key_identifier_are_read_wherever_it_stands() {
    for suite in Suite::ALL {
        for octets in [1, 4, 128] {
            let sender = master(suite, 1);
            let mut outbound = Outbound::new(&sender);
            let mut inbound = Inbound::new(&sender.clone().with_mki(octets));
            let identifier = vec![1; usize::from(octets)];
            let (aead, tag) = (suite.rtp_tag() == 16, suite.rtp_tag());
            for sequence in 0..3 {
                let plain = packet(7, sequence);
                let mut wire = protected(&mut outbound, &plain);
                let at = wire.len() - if aead { 0 } else { tag };
                wire.splice(at..at, identifier.iter().copied());
                let mut forged = wire.clone();
                forged[20] ^= 1;
                assert_eq!(unprotected(&mut inbound, &forged), Err(UnprotectError::Forged), "{suite}");
                assert_eq!(unprotected(&mut inbound, &wire), Ok(plain), "{suite}");
            }
            let plain = report(7, 44);
            let mut wire = protected_report(&mut outbound, &plain);
            let at = wire.len() - if aead { 0 } else { suite.rtcp_tag() };
            wire.splice(at..at, identifier);
            let len = inbound.rtcp(&mut wire).unwrap();
            assert_eq!(wire[..len], plain, "{suite}");
            assert_eq!(unprotected(&mut inbound, &[0x80; 12]).unwrap_err(), UnprotectError::Malformed);
        }
    }
}
