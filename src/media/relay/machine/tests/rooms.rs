//! Rooms of one thread in virtual time: what each party says and hears.

use super::staging::voice;
use super::*;
use crate::codec::{Codec, Decoder, Encoder, OpusTuning};
use crate::room::{Member, RoomAct};
use crate::stage::{Played, Program, Segment};

const ROOM: u64 = 9;

/// A party with its own tone, and what it has heard.
struct Party {
    slot: u32,
    hz: f64,
    codec: Codec,
    encoder: Encoder,
    decoder: Decoder,
    said: usize,
    heard: Vec<i16>,
}

struct Hall {
    lab: Lab,
    parties: Vec<Party>,
}

impl Hall {
    /// A room with one party for each codec.
    fn new(rate_hz: u32, codecs: &[Codec]) -> Self {
        let mut lab = Lab::new(codecs.len() as u32);
        lab.room(RoomAct::Open { rate_hz });
        let party = |(slot, codec): (usize, &Codec)| Party {
            slot: slot as u32,
            hz: 400.0 + 150.0 * slot as f64,
            codec: *codec,
            encoder: Encoder::new(*codec, 16_000, OpusTuning { bitrate: 24_000, expected_loss_pct: 0 }),
            decoder: Decoder::new(*codec, 16_000),
            said: 0,
            heard: Vec::new(),
        };
        let parties: Vec<Party> = codecs.iter().enumerate().map(party).collect();
        let mut hall = Hall { lab, parties };
        for party in &hall.parties {
            let there = Remote { voice: voice(party.codec, 20), ..remote(party.slot) };
            hall.lab.command(Command::Describe { id: id(party.slot), remote: there });
        }
        (0..codecs.len() as u32).for_each(|slot| hall.enter(slot, Member::default()));
        hall
    }

    fn enter(&mut self, slot: u32, member: Member) {
        self.lab.room(RoomAct::Enter { id: id(slot), party: id(slot), member });
    }

    /// These parties play their tones for this long; what each party hears is kept.
    fn talk(&mut self, frames: usize, who: &[u32]) {
        self.talk_and(frames, who, |_| {});
    }

    /// The same, and inspects everything sent.
    fn talk_and(&mut self, frames: usize, who: &[u32], mut look: impl FnMut(&Sent)) {
        for _ in 0..frames {
            for party in self.parties.iter_mut().filter(|party| who.contains(&party.slot)) {
                let mut samples = [0; 320];
                for (n, sample) in samples.iter_mut().enumerate() {
                    let t = (party.said * 320 + n) as f64 / 16_000.0;
                    *sample = (6_000.0 * (std::f64::consts::TAU * party.hz * t).sin()) as i16;
                }
                let mut payload = [0; 480];
                let len = party.encoder.encode(&samples, &mut payload).unwrap();
                let timestamp = party.said as u32 * party.codec.clock_rate() / 50;
                let data = packet(
                    party.codec.payload_type(),
                    party.said as u16,
                    timestamp,
                    70 + party.slot,
                    &payload[..len],
                );
                party.said += 1;
                let (slot, from) = (party.slot, super::party(party.slot));
                self.lab.put(slot, from, data);
            }
            self.lab.run(FRAME);
            let sent = self.lab.rtp();
            sent.iter().for_each(&mut look);
            for party in &mut self.parties {
                let own = super::party(party.slot);
                for packet in sent.iter().filter(|sent| sent.to == own) {
                    assert_eq!(packet.rtp().payload_type, party.codec.payload_type());
                    let mut samples = [0; 1_920];
                    let count = party.decoder.decode(packet.rtp().payload, &mut samples).unwrap();
                    party.heard.extend(&samples[..count]);
                }
            }
        }
    }

    /// The parties whose tones this one has recently heard, by level.
    fn hears(&self, slot: u32) -> Vec<u32> {
        let heard = &self.parties[slot as usize].heard;
        let last = &heard[heard.len().saturating_sub(16_000 / 5)..];
        let strength = |hz: f64| {
            let (mut re, mut im) = (0.0, 0.0);
            for (n, sample) in last.iter().enumerate() {
                let angle = std::f64::consts::TAU * hz * n as f64 / 16_000.0;
                re += f64::from(*sample) * angle.cos();
                im += f64::from(*sample) * angle.sin();
            }
            2.0 * (re * re + im * im).sqrt() / last.len() as f64
        };
        self.parties.iter().filter(|party| strength(party.hz) > 1_500.0).map(|party| party.slot).collect()
    }
}

impl Lab {
    fn room(&mut self, act: RoomAct) {
        self.command(Command::Room { number: ROOM, act: Box::new(act) });
    }
}

/// Speakers get other packets than listeners.
#[test]
fn who_takes_packets_of_10_ms_is_sent_no_gap_when_they_begin_to_speak_or_cease() {
    let mut hall = Hall::new(8_000, &[Codec::Pcma; 7]);
    let short = Remote { voice: voice(Codec::Pcma, 10), ..remote(0) };
    hall.lab.command(Command::Describe { id: id(0), remote: short });
    let mut sent = Vec::new();
    for n in 0..200 {
        let who: &[u32] = if n / 50 % 2 == 0 { &[1, 2, 3, 4, 5] } else { &[0, 1, 2] };
        hall.talk_and(1, who, |packet| sent.extend((packet.slot == 0).then(|| packet.rtp().timestamp)));
    }
    assert!(sent.len() > 390, "{}", sent.len());
    let steps: Vec<u32> = sent.windows(2).map(|two| two[1].wrapping_sub(two[0])).collect();
    assert!(steps[4..].iter().all(|step| *step == 80), "{steps:?}");
}

#[test]
fn a_room_of_every_codec_hears_all_the_others() {
    for rate_hz in [8_000, 16_000] {
        let mut hall = Hall::new(rate_hz, &[Codec::Pcmu, Codec::Opus, Codec::G722, Codec::Pcma]);
        hall.talk(40, &[0, 1, 2, 3]);
        for (slot, others) in [(0, [1, 2, 3]), (1, [0, 2, 3]), (2, [0, 1, 3]), (3, [0, 1, 2])] {
            assert_eq!(hall.hears(slot), others, "{slot} at {rate_hz}");
        }
        let speaking: Vec<u32> = hall
            .lab
            .events()
            .into_iter()
            .filter_map(|event| match event {
                RelayEvent::Speaking { room: ROOM, id, on: true } => Some(id.slot),
                _ => None,
            })
            .collect();
        assert_eq!(speaking.len(), 4, "{speaking:?}");
    }
}

#[test]
fn muted_deaf_gone_and_back() {
    let mut hall = Hall::new(16_000, &[Codec::Pcmu, Codec::Opus, Codec::G722]);
    hall.enter(0, Member { muted: true, ..Member::default() });
    hall.enter(1, Member { deaf: true, ..Member::default() });
    hall.talk(40, &[0, 1, 2]);
    assert_eq!([hall.hears(0), hall.hears(1), hall.hears(2)], [vec![1, 2], vec![], vec![1]]);
    let packets = hall.parties[1].heard.len();
    assert!(packets > 320 * 30, "silence is sent, too: {packets}");
    hall.enter(0, Member::default());
    hall.lab.room(RoomAct::Leave { id: id(2) });
    hall.lab.events();
    hall.talk(40, &[0, 1, 2]);
    assert_eq!([hall.hears(0), hall.hears(1)], [vec![1], vec![]]);
    assert!(hall.lab.stats(2).dropped.unjoined > 0, "what the one who left says goes nowhere");
    hall.enter(1, Member::default());
    hall.enter(2, Member::default());
    hall.talk(40, &[0, 1, 2]);
    assert_eq!([hall.hears(0), hall.hears(1), hall.hears(2)], [vec![1, 2], vec![0, 2], vec![0, 1]]);
}

#[test]
fn the_music_of_who_holds_the_room_is_for_nobody_and_a_mere_speaker_is_heard() {
    let mut hall = Hall::new(16_000, &[Codec::Pcmu, Codec::Opus, Codec::G722]);
    let describe = |hall: &mut Hall, slot: u32, receives: bool| {
        let codec = hall.parties[slot as usize].codec;
        let there = Remote { voice: voice(codec, 20), receives, ..remote(slot) };
        hall.lab.command(Command::Describe { id: id(slot), remote: there });
    };
    describe(&mut hall, 2, false);
    hall.talk(40, &[0, 1, 2]);
    assert_eq!([hall.hears(0), hall.hears(1)], [[1, 2], [0, 2]], "a microphone that never receives");
    describe(&mut hall, 1, false);
    hall.talk(40, &[0, 1, 2]);
    assert_eq!(hall.hears(0), [2], "who holds plays music");
    describe(&mut hall, 1, true);
    hall.talk(40, &[0, 1, 2]);
    assert_eq!([hall.hears(0), hall.hears(1)], [[1, 2], [0, 2]]);
}

#[test]
fn each_leg_has_one_stream_whether_it_speaks_or_listens() {
    let mut hall = Hall::new(8_000, &[Codec::Pcma; 6]);
    let mut sent = Vec::new();
    for n in 0..100u32 {
        // Two speak at a time, then the next two.
        let speaks = [n / 20 % 6, (n / 20 + 1) % 6];
        for slot in speaks {
            let payload = [if n % 2 == 0 { 0x2A } else { 0xAA }; 160];
            let data = packet(8, n as u16, n * 160, 70 + slot, &payload);
            hall.lab.put(slot, party(slot), data);
        }
        hall.lab.run(FRAME);
        sent.extend(hall.lab.rtp());
    }
    for slot in 0..6 {
        let own: Vec<&Sent> = sent.iter().filter(|sent| sent.to == party(slot)).collect();
        assert!(own.len() >= 98, "{}", own.len());
        for two in own.windows(2) {
            let (before, after) = (two[0].rtp(), two[1].rtp());
            assert_eq!(after.sequence, before.sequence.wrapping_add(1));
            assert_eq!(
                after.timestamp.wrapping_sub(before.timestamp),
                160,
                "no step where it begins to speak"
            );
            assert_eq!(after.ssrc, before.ssrc);
        }
    }
}

#[test]
fn an_announcement_is_heard_by_all_with_what_is_said_and_one_after_the_other() {
    let mut hall = Hall::new(8_000, &[Codec::Pcmu, Codec::Pcma]);
    let play = |hall: &mut Hall, hz: u16| {
        let program = Program::new(8_000, vec![Segment::tone(hz, 8_000)], 1);
        let (reply, asked) = super::staging::Asked::new();
        hall.lab.room(RoomAct::Play { program: Box::new(program), reply });
        asked
    };
    // The tones of absent parties.
    let (mut first, mut second) = (play(&mut hall, 400), play(&mut hall, 550));
    hall.talk(40, &[]);
    assert_eq!((first.get(), second.get()), (None::<Played>, None));
    assert_eq!([hall.hears(0), hall.hears(1)], [[0], [0]]);
    hall.talk(20, &[1]);
    assert_eq!(first.get(), Some(Played::Complete));
    hall.talk(20, &[1]);
    assert_eq!(hall.hears(0), [1]);
    let mut third = play(&mut hall, 400);
    hall.lab.room(RoomAct::Close);
    assert_eq!((second.get(), third.get()), (Some(Played::Stopped), Some(Played::Stopped)));
    hall.lab.rtp();
    hall.lab.run(FRAME * 5);
    assert!(hall.lab.rtp().is_empty(), "nobody is in a room any more");
    let mut late = play(&mut hall, 400);
    late.answers.try_iter().for_each(|answer| answer());
    assert!(late.answer.try_recv().is_err(), "nothing is played in a room that has ended");
}

#[test]
fn a_prompt_for_one_is_heard_by_nobody_else_and_the_bridge_ends_the_room() {
    let mut hall = Hall::new(8_000, &[Codec::Pcmu, Codec::Pcmu, Codec::Pcmu]);
    hall.talk(20, &[0, 1]);
    let mut asked = hall.lab.play(2, 1, &[20_000; 400]);
    hall.parties[2].heard.clear();
    hall.talk(18, &[0, 1]);
    let heard = &hall.parties[2].heard;
    assert!(heard[640..].iter().all(|sample| *sample > 19_000), "the prompt alone");
    hall.talk(22, &[0, 1]);
    assert_eq!(asked.get(), Some(Played::Complete));
    assert_eq!([hall.hears(0), hall.hears(1), hall.hears(2)], [vec![1], vec![0], vec![0, 1]]);
    hall.lab.join(0, 2);
    hall.lab.rtp();
    hall.lab.talk(0, 200, 3);
    let sent = hall.lab.rtp();
    assert_eq!(sent.iter().filter(|sent| sent.to == party(2)).count(), 3, "what it says goes to its peer");
    assert_eq!(sent.iter().filter(|sent| sent.to == party(1)).count(), 3, "who is left hears silence");
    // An endpoint that closes leaves the room.
    hall.lab.command(Command::Close { id: id(1) });
    hall.lab.rtp();
    hall.lab.run(FRAME * 5);
    assert!(hall.lab.rtp().is_empty());
}
