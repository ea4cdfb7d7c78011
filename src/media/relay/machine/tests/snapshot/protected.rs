//! Endpoints with SRTP over several lives: what far ends accept, and which indices were used.

use std::collections::HashSet;

use super::*;
use crate::relay::protection::{Room, protect, unprotect};
use crate::transport::protection::{Inbound, Keys, MasterKey, Outbound, Protection, Suite};

/// A far end with SRTP, which receives from this endpoint.
struct FarEnd {
    inbound: Inbound,
    outbound: Outbound,
    highest: Option<u64>,
    used: HashSet<(bool, u32, u64)>,
    heard: u64,
}

fn key(suite: Suite, n: u8) -> MasterKey {
    MasterKey::generate(suite, |octets| octets.fill(n))
}

fn keys(suite: Suite, slot: u32) -> Keys {
    Keys { local: key(suite, 2 * slot as u8), remote: key(suite, 2 * slot as u8 + 1) }
}

impl FarEnd {
    fn new(suite: Suite, slot: u32) -> Self {
        let Keys { local, remote } = keys(suite, slot);
        let (inbound, outbound) = (Inbound::new(&local), Outbound::new(&remote));
        FarEnd { inbound, outbound, highest: None, used: HashSet::new(), heard: 0 }
    }

    /// A packet was sent to it, and arrives or is lost; its index was never used before.
    fn hear(&mut self, suite: Suite, mut wire: Vec<u8>, arrives: bool) {
        let is_rtcp = classify(&wire) == Protocol::Rtcp;
        let (ssrc, index) = if is_rtcp {
            let tag = if suite == Suite::AeadAes256Gcm { 0 } else { 10 };
            let word: [u8; 4] = wire[wire.len() - tag - 4..wire.len() - tag].try_into().unwrap();
            (
                u32::from_be_bytes(wire[4..8].try_into().unwrap()),
                u64::from(u32::from_be_bytes(word) & !(1 << 31)),
            )
        } else {
            let rtp = RtpPacket::parse(&wire).unwrap();
            let highest = self.highest.unwrap_or(rtp.sequence.into());
            let ahead = rtp.sequence.wrapping_sub(highest as u16) as i16;
            let index = highest.checked_add_signed(ahead.into()).unwrap();
            self.highest = Some(highest.max(index));
            (rtp.ssrc, index)
        };
        assert!(self.used.insert((is_rtcp, ssrc, index)), "index {index} twice, RTCP: {is_rtcp}");
        if arrives {
            let accepted = if is_rtcp { self.inbound.rtcp(&mut wire) } else { self.inbound.rtp(&mut wire) };
            assert!(accepted.is_ok(), "index {index}, RTCP: {is_rtcp}: {accepted:?}");
            self.heard += 1;
        }
    }
}

/// Two joined endpoints with their SRTP, as a driver has them.
struct Driven {
    suite: Suite,
    lab: Lab,
    protections: [Protection; 2],
    room: Box<Room>,
    /// Packets of each far end in a frame.
    packets: u64,
}

impl Driven {
    fn new(suite: Suite) -> Self {
        let mut lab = Lab::new(2);
        lab.join(0, 1);
        let protections = [0, 1].map(|slot| Protection::new(keys(suite, slot)));
        Driven { suite, lab, protections, room: Box::new([0; size_of::<Room>()]), packets: 1 }
    }

    fn written(&mut self) -> [Vec<u8>; 2] {
        [0, 1].map(|slot| {
            let mut snapshot = self.lab.snapshot(slot);
            snapshot.protect(Some(&self.protections[slot as usize]));
            serde_json::to_vec(&snapshot).unwrap()
        })
    }

    fn restored(&self, away: Duration, written: &[Vec<u8>; 2]) -> Self {
        let mut lab = self.lab.restored(away, written);
        lab.join(0, 1);
        let protection = |written: &Vec<u8>| {
            let snapshot: EndpointSnapshot = serde_json::from_slice(written).unwrap();
            snapshot.protection().unwrap().expect("SRTP")
        };
        let protections = [protection(&written[0]), protection(&written[1])];
        let room = Box::new([0; size_of::<Room>()]);
        Driven { suite: self.suite, lab, protections, room, packets: self.packets }
    }

    /// What this far end sends in a frame, as on the wire.
    fn said(&mut self, far: &mut FarEnd, speaker: &mut Speaker) -> Vec<u8> {
        speaker.sequence = speaker.sequence.wrapping_add(1);
        speaker.timestamp = speaker.timestamp.wrapping_add(160);
        let mut wire = packet(0, speaker.sequence, speaker.timestamp, 70 + speaker.slot, &[3; 160]);
        wire.resize(200, 0);
        let len = far.outbound.rtp(&mut wire, 172).unwrap();
        wire.truncate(len);
        wire
    }

    /// Passes it to the endpoint; returns whether it was accepted.
    fn comes(&mut self, slot: u32, mut wire: Vec<u8>) -> bool {
        let Ok(len) = unprotect(&mut self.protections[slot as usize], Channel::Rtp, &mut wire) else {
            return false;
        };
        wire.truncate(len);
        self.lab.put(slot, party(slot), wire);
        true
    }

    /// Both speak for this many frames; each receives what was sent to it, except losses.
    fn converse(
        &mut self,
        far: &mut [FarEnd; 2],
        speakers: &mut [Speaker; 2],
        frames: u64,
        dice: &mut Dice,
        lost: u64,
    ) {
        for _ in 0..frames {
            for slot in (0..self.packets).flat_map(|_| [0, 1]) {
                let said = self.said(&mut far[slot], &mut speakers[slot]);
                assert!(self.comes(slot as u32, said), "what the far end says");
            }
            self.lab.run(FRAME);
            for sent in std::mem::take(&mut self.lab.wire.0) {
                let protection = &mut self.protections[sent.slot as usize];
                let wire = protect(protection, sent.channel, &sent.data, &mut self.room).expect("protected");
                far[sent.slot as usize].hear(self.suite, wire.to_vec(), dice.roll(100) >= lost);
            }
        }
    }
}

/// Three lives, of which the first continues after its snapshot; `begins` is the first sequence
/// number to the parties.
fn lives(seed: u64, suite: Suite, begins: u16) {
    let mut dice = Dice(seed);
    let mut driven = Driven::new(suite);
    let mut far = [0, 1].map(|slot| FarEnd::new(suite, slot));
    // Their own streams are near a rollover, and not before the first packet is received.
    let near = |slot, dice: &mut Dice| Speaker { sequence: 65_000, ..Speaker::new(slot, dice) };
    let mut speakers = [near(0, &mut dice), near(1, &mut dice)];
    for slot in [0, 1] {
        driven.lab.machine.at(slot).unwrap().out.sequence = begins;
    }
    let frames = 50 + dice.roll(200);
    driven.converse(&mut far, &mut speakers, frames, &mut dice, 5);
    for _ in 0..2 {
        let written = driven.written();
        let (more, lost) = (dice.roll(500), [5, 100][dice.roll(2) as usize]);
        driven.converse(&mut far, &mut speakers, more, &mut dice, lost);
        driven = driven.restored(Duration::from_millis(200) + dice.ms(5_000), &written);
        let heard = [far[0].heard, far[1].heard];
        driven.converse(&mut far, &mut speakers, 250, &mut dice, 0);
        for slot in [0, 1] {
            let count = far[slot].heard - heard[slot];
            assert!((250..258).contains(&count), "every packet, and every report: {count}");
        }
    }
    let reports = far[0].used.iter().filter(|used| used.0).count();
    assert!(reports > 3, "reports of each life: {reports}");
}

#[test]
fn every_packet_is_accepted_over_three_lives_and_no_index_is_used_twice() {
    let mut dice = Dice(5);
    for seed in 0..12 {
        let suite = [Suite::AesCm128HmacSha1_80, Suite::AeadAes256Gcm][seed as usize / 6];
        // A rollover before the snapshot, after it, within the margin, after the margin; or none.
        let before = [40, 300, 600, u64::from(MARGIN), u64::from(MARGIN) + 600, 30_000][seed as usize % 6];
        lives(seed, suite, (65_536 - before - dice.roll(before.min(300))) as u16);
    }
}

/// Life after life. Each ends at any step, as long after its last snapshot as the server permits: 5 s, or 4,096 packets.
/// Some end before anything was sent, or has arrived.
fn deaths(seed: u64, suite: Suite, count: u64) {
    let mut dice = Dice(seed);
    let mut driven = Driven::new(suite);
    let mut far = [0, 1].map(|slot| FarEnd::new(suite, slot));
    let mut speakers = [0, 1].map(|slot| Speaker::new(slot, &mut dice));
    for slot in [0, 1] {
        driven.lab.machine.at(slot).unwrap().out.sequence = dice.roll(65_536) as u16;
    }
    driven.converse(&mut far, &mut speakers, 10, &mut dice, 0);
    let (mut written, mut in_vain) = (driven.written(), 0);
    for _ in 0..count {
        // A receiver follows three restarts of which it has heard nothing ([`MARGIN`]).
        let frames = match dice.roll(8) {
            0..3 if in_vain < 2 => 0,
            0..7 => 1 + dice.roll(12),
            _ => 1 + dice.roll(250),
        };
        let heard = [far[0].heard, far[1].heard];
        driven.packets = [1, 1, 1, 16][dice.roll(4) as usize];
        let (before, after) = if dice.roll(3) == 0 { (dice.roll(20), frames.min(230)) } else { (0, frames) };
        if before > 0 {
            driven.converse(&mut far, &mut speakers, before, &mut dice, 5);
            written = driven.written();
        }
        driven.converse(&mut far, &mut speakers, after, &mut dice, if in_vain < 2 { 5 } else { 0 });
        let is_heard = far[0].heard > heard[0] && far[1].heard > heard[1];
        in_vain = if is_heard { 0 } else { in_vain + 1 };
        driven = driven.restored(Duration::from_millis(100) + dice.ms(5_000), &written);
        // Before anything is sent.
        written = driven.written();
    }
}

#[test]
fn no_index_is_used_twice_over_hundreds_of_lives() {
    // More of them: 20 lives each.
    let worlds = std::env::var("B2B_WORLDS").map_or(20, |it| it.parse().expect("a number"));
    for seed in 0..worlds {
        let suite = [Suite::AesCm128HmacSha1_80, Suite::AeadAes256Gcm][seed as usize % 2];
        deaths(seed, suite, 20);
    }
}

#[test]
fn keys_that_were_agreed_on_and_not_used_yet_are_used_from_behind_what_may_have_been_sent() {
    let suite = Suite::AesCm128HmacSha1_80;
    // In the second case in the middle of a stream, which rolls over within the margin.
    for begins in [1, 60_000] {
        let mut dice = Dice(9);
        let mut driven = Driven::new(suite);
        let mut far = [0, 1].map(|slot| FarEnd::new(suite, slot));
        let mut speakers = [0, 1].map(|slot| Speaker { sequence: 1, ..Speaker::new(slot, &mut dice) });
        for slot in [0, 1] {
            driven.lab.machine.at(slot).unwrap().out.sequence = begins;
        }
        let written = driven.written();
        driven.converse(&mut far, &mut speakers, 400, &mut dice, 5);
        let mut driven = driven.restored(SECOND, &written);
        driven.converse(&mut far, &mut speakers, 400, &mut dice, 0);
    }
}

#[test]
fn what_was_accepted_before_the_snapshot_is_refused_after_it() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AeadAes256Gcm] {
        let mut dice = Dice(1);
        let mut driven = Driven::new(suite);
        let mut far = FarEnd::new(suite, 0);
        let mut speaker = Speaker { sequence: 65_500, ..Speaker::new(0, &mut dice) };
        let mut said: Vec<Vec<u8>> = (0..200).map(|_| driven.said(&mut far, &mut speaker)).collect();
        // One is in flight for longer.
        let late = said.remove(150);
        assert!(said.iter().all(|wire| driven.comes(0, wire.clone())));
        let written = driven.written();
        let mut driven = driven.restored(SECOND, &written);
        assert!(said.iter().all(|wire| !driven.comes(0, wire.clone())), "all of them, over a rollover");
        assert!(driven.comes(0, late.clone()) && !driven.comes(0, late), "once, now as before");
        let next = driven.said(&mut far, &mut speaker);
        assert!(driven.comes(0, next.clone()) && !driven.comes(0, next));
    }
}

#[test]
fn a_snapshot_that_is_too_old_for_its_margin_is_refused() {
    let mut driven = Driven::new(Suite::AesCm128HmacSha1_80);
    let written = driven.written();
    let restore = |driven: &mut Driven, written: &[u8], away: u64| {
        let snapshot: EndpointSnapshot = serde_json::from_slice(written).unwrap();
        let lab = &mut driven.lab;
        lab.command(Command::Open { id: id(7), config: snapshot.config() });
        let later = Now { wall: lab.now.wall.plus(Duration::from_millis(away)), ..lab.now };
        let restored = lab.machine.restore(later, id(7), &snapshot);
        lab.command(Command::Close { id: id(7) });
        restored
    };
    assert_eq!(restore(&mut driven, &written[0], 29_999), Ok(()));
    assert!(matches!(restore(&mut driven, &written[0], 30_001), Err(RestoreError::TooOld(_))));
    let plain = driven.lab.written(0);
    assert_eq!(restore(&mut driven, &plain, 3_600_000), Ok(()), "nothing depends on it");
}

#[test]
fn debug_output_shows_no_key_and_no_digit() {
    let mut driven = Driven::new(Suite::AesCm128HmacSha1_80);
    for digit in ['9', '9', '7', '9'] {
        driven.lab.machine.at(0).unwrap().typed.push(digit);
    }
    let mut snapshot = driven.lab.snapshot(0);
    let key = MasterKey::generate(Suite::AesCm128HmacSha1_80, |octets| octets.fill(0xAB));
    snapshot.protect(Some(&Protection::new(Keys { local: key.clone(), remote: key })));
    let printed = format!("{snapshot:?}").to_lowercase();
    assert!(["171", "abab", "9979"].iter().all(|secret| !printed.contains(secret)), "{printed}");
    let written = serde_json::to_string(&snapshot).unwrap();
    assert!(written.contains("171,171") && written.contains("9979"), "its octets have them");
}
