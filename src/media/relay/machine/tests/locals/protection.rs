//! Endpoints with SRTP: what two of them hear of each other, and what third parties can do.

use super::*;
use crate::transport::protection::{Keys, MasterKey, Suite};

fn key(seed: u8) -> MasterKey {
    MasterKey::generate(Suite::AesCm128HmacSha1_80, |octets| octets.fill(seed))
}

fn with_keys(local: u8, remote: u8) -> MediaParams {
    MediaParams { protection: Some(Keys { local: key(local), remote: key(remote) }), ..params(20) }
}

/// Two endpoints, connected with a delay of 10 ms.
struct Talk {
    near: Bench,
    far: Bench,
    wire: Vec<(bool, Channel, Vec<u8>)>,
    ms: u64,
}

impl Talk {
    fn new(near: MediaParams, far: MediaParams) -> Self {
        let near = Bench::new(LocalConfig::default(), near, Script(Vec::new()));
        let far = near.facing(far);
        Talk { near, far, wire: Vec::new(), ms: 0 }
    }

    /// Runs for this long; `meddle` may change packets to the far endpoint.
    fn run(&mut self, ms: u64, mut meddle: impl FnMut(u64, &mut Vec<u8>)) {
        let end = self.ms + ms;
        while self.ms < end {
            self.ms += 10;
            for (to_far, channel, mut octets) in std::mem::take(&mut self.wire) {
                let bench = if to_far { &mut self.far } else { &mut self.near };
                if to_far {
                    meddle(self.ms, &mut octets);
                }
                bench.datagram(self.ms, self.ms, channel, address(4_000), &octets);
            }
            for (bench, to_far) in [(&mut self.near, true), (&mut self.far, false)] {
                bench.wake(self.ms);
                let sent = std::mem::take(&mut bench.out.sent);
                self.wire.extend(sent.into_iter().map(|sent| (to_far, sent.channel, sent.data)));
            }
        }
    }

    fn stats(&self) -> (b2b_base::metrics::MediaStats, b2b_base::metrics::MediaStats) {
        let at = |bench: &Bench| bench.stats();
        (at(&self.near), at(&self.far))
    }
}

fn audio_frames(bench: &Bench) -> usize {
    bench.heard.0.lock().unwrap().iter().filter(|kind| **kind == FrameKind::Audio).count()
}

#[test]
fn two_parties_talk_over_srtp_and_the_wire_does_not_show_what() {
    let mut talk = Talk::new(with_keys(1, 2), with_keys(2, 1));
    let mut level = 0;
    talk.run(20_000, |_, octets| {
        let end = octets.len().saturating_sub(100);
        level += usize::from(octets[end..].windows(6).any(|some| some == [some[0]; 6]));
    });
    assert_eq!(level, 0, "a level signal is not level on the wire");
    let (near, far) = talk.stats();
    assert_eq!((near.unauthenticated, far.unauthenticated), (0, 0));
    assert_eq!((near.lost, far.lost), (0, 0));
    assert!(audio_frames(&talk.near) > 900 && audio_frames(&talk.far) > 900);
    assert!(near.rtt_ms.is_some() && far.rtt_ms.is_some(), "reports are read too");
    let diagnostics = talk.near.diagnostics();
    assert_eq!((diagnostics.unprotected, diagnostics.malformed), (0, 0));
}

#[test]
fn packets_changed_on_their_way_are_dropped_and_counted() {
    let mut talk = Talk::new(with_keys(1, 2), with_keys(2, 1));
    let mut changed = 0;
    talk.run(10_000, |ms, octets| {
        if ms % 100 == 10 {
            let at = ms as usize / 100 % octets.len();
            // With a changed number it might pass for an earlier packet.
            octets[at.max(4)] ^= 0x10;
            changed += 1;
        }
    });
    let (near, far) = talk.stats();
    assert!(changed > 40, "{changed}");
    assert_eq!((near.unauthenticated, far.unauthenticated), (0, changed));
    assert!(far.lost.abs_diff(changed) <= 4, "{} of {changed}", far.lost);
    assert!(talk.far.out.verdicts.contains(&Verdict::Unauthenticated));
}

#[test]
fn plain_rtp_and_another_key_are_refused_and_nothing_follows_from_them() {
    let plain = Talk::new(params(20), with_keys(2, 1));
    let wrong = Talk::new(with_keys(9, 2), with_keys(2, 1));
    for mut talk in [plain, wrong] {
        talk.run(2_000, |_, _| {});
        let (near, far) = talk.stats();
        assert!(far.unauthenticated > 90, "{far:?}");
        assert_eq!((far.packets_rx, far.injected, audio_frames(&talk.far)), (0, 0, 0));
        assert!(!talk.far.has_started());
        // Without a key nothing of SRTP is taken for audio, reports or sources.
        assert_eq!(near.unauthenticated + near.packets_rx > 0, near.packets_tx > 0);
    }
}

#[test]
fn a_stranger_who_floods_gets_neither_the_source_nor_the_audio() {
    let mut talk = Talk::new(with_keys(1, 2), with_keys(2, 1));
    // Before the first packet of the far end, and from another address.
    for n in 0..200 {
        talk.far.receive(0, 6_666, &[&[0x80, 0, 0, n, 0, 0, 0, n, 0, 0, 0, 1][..], &[0xFF; 170]].concat());
    }
    talk.run(1_000, |_, _| {});
    let to: Vec<_> = talk.wire.iter().filter(|(to_far, ..)| !to_far).collect();
    assert!(!to.is_empty());
    let mut bench = talk.far;
    bench.wake(talk.ms + 20);
    assert!(bench.out.sent.iter().all(|sent| sent.to.port() / 2 == 2_000), "{:?}", bench.out.sent);
    let stats = bench.stats();
    assert_eq!((stats.unauthenticated, stats.injected, stats.lost), (200, 0, 0));
}

#[test]
fn what_was_recorded_cannot_be_played_again() {
    let mut talk = Talk::new(with_keys(1, 2), with_keys(2, 1));
    let mut recorded = Vec::new();
    talk.run(2_000, |_, octets| recorded.push(octets.clone()));
    let (_, before) = talk.stats();
    for octets in &recorded {
        talk.far.receive(talk.ms, 4_000, octets);
    }
    let (_, after) = talk.stats();
    assert_eq!(after.packets_rx, before.packets_rx);
    assert_eq!(after.duplicates, before.duplicates + recorded.len() as u64);
}

#[test]
fn the_same_keys_again_go_on_and_others_are_followed() {
    let mut talk = Talk::new(with_keys(1, 2), with_keys(2, 1));
    talk.run(1_000, |_, _| {});
    for (near, far) in [((1, 2), (2, 1)), ((3, 2), (2, 3)), ((3, 4), (4, 3))] {
        // As after a re-INVITE: the sequence continues, and packets in flight still arrive.
        talk.near.configure(talk.ms, with_keys(near.0, near.1));
        talk.far.configure(talk.ms, with_keys(far.0, far.1));
        talk.run(1_000, |_, _| {});
    }
    let (near, far) = talk.stats();
    assert!(near.unauthenticated <= 2 && far.unauthenticated <= 2, "{near:?} {far:?}");
    assert!(near.lost <= 2 && far.lost <= 2);
    // Back to plain RTP.
    talk.near.configure(talk.ms, params(20));
    talk.near.wake(talk.ms + 20);
    let sent = &talk.near.rtp()[0];
    assert_eq!(RtpPacket::parse(sent).unwrap().payload, [sent[sent.len() - 1]; 160]);
}

#[test]
fn the_first_sequence_number_leaves_room_for_a_receiver_that_comes_late() {
    for seed in 0..50 {
        let mut bench = Bench::opened(LocalConfig::default(), Instant::now(), seed);
        bench.attach(Box::new(Script(Vec::new())));
        bench.configure(0, with_keys(1, 2));
        bench.wake(0);
        let sent = &bench.rtp()[0];
        let sequence = u16::from_be_bytes([sent[2], sent[3]]);
        assert!(sequence < 0x8000, "{sequence} (RFC 3711 §3.3.1)");
    }
}
