//! Prompts, music and digits of legs, in virtual time.

use tokio::sync::oneshot;

use super::*;
use crate::codec::{Codec, g711};
use crate::remote::{SendFormat, Voice};
use crate::sounds::SoundError;
use crate::stage::{Act, CollectEnd, Collected, DigitPlan, Music, Played, Program, Segment, Tracks};

const MS: Duration = Duration::from_millis(1);

pub(super) fn voice(codec: Codec, ptime_ms: u32) -> Voice {
    let target =
        SendFormat { payload_type: codec.payload_type(), codec, ptime_ms, fec: false, max_bitrate: None };
    Voice { gets: Some(target), says: [Some((codec.payload_type(), codec)), None, None, None] }
}

fn speaks(slot: u32) -> Remote {
    Remote { voice: voice(Codec::Pcmu, 20), ..remote(slot) }
}

/// A reply, and where its answer arrives.
pub(super) struct Asked<T: Send + 'static> {
    pub answers: crossbeam_channel::Receiver<crate::relay::Answer>,
    pub answer: oneshot::Receiver<Result<T, SoundError>>,
}

impl<T: Send + 'static> Asked<T> {
    pub fn new() -> (Reply<Result<T, SoundError>>, Asked<T>) {
        let (via, answers) = crossbeam_channel::unbounded();
        let (to, answer) = oneshot::channel();
        (Reply::new(to, via), Asked { answers, answer })
    }

    pub fn get(&mut self) -> Option<T> {
        self.answers.try_iter().for_each(|answer| answer());
        self.answer.try_recv().ok().map(Result::unwrap)
    }
}

/// Both legs speak PCMU.
fn lab() -> Lab {
    let mut lab = Lab::joined();
    for slot in 0..2 {
        lab.command(Command::Describe { id: id(slot), remote: speaks(slot) });
    }
    lab
}

impl Lab {
    fn act(&mut self, slot: u32, act: Act) {
        self.command(Command::Stage { id: id(slot), act: Box::new(act) });
    }

    /// Plays these samples, one for each ms, for this many ms.
    pub(super) fn play(&mut self, slot: u32, ticket: u64, ms: &[i16]) -> Asked<Played> {
        let samples: Vec<i16> = ms.iter().flat_map(|sample| [*sample; 8]).collect();
        let program = Box::new(Program::new(8_000, vec![Segment::Sound(samples.into())], 1));
        let (reply, asked) = Asked::new();
        self.act(slot, Act::Play { ticket, program, reply: Some(reply) });
        asked
    }

    fn collect(&mut self, slot: u32, prompt: Option<u64>, plan: DigitPlan) -> Asked<Collected> {
        let (reply, asked) = Asked::new();
        self.act(slot, Act::Collect { plan: Box::new(plan), prompt, reply });
        asked
    }

    /// A digit of this party: `count` packets before its end.
    fn press(&mut self, slot: u32, sequence: u16, code: u8, count: u16) {
        for n in 0..=count {
            let flags = if n == count { 0x8A } else { 0x0A };
            let [high, low] = ((n + 1) * 160).to_be_bytes();
            let timestamp = u32::from(sequence) * 160;
            let data = packet(101, sequence + n, timestamp, 70 + slot, &[code, flags, high, low]);
            self.put(slot, party(slot), data);
            self.run(FRAME);
        }
    }

    fn sent_to(&mut self, slot: u32) -> Vec<Sent> {
        self.rtp().into_iter().filter(|sent| sent.to == party(slot)).collect()
    }
}

/// Checks for one stream: no gap in the numbers, and timestamps that never go back.
fn is_one_stream(sent: &[Sent]) {
    for two in sent.windows(2) {
        let (before, after) = (two[0].rtp(), two[1].rtp());
        assert_eq!(after.ssrc, before.ssrc);
        assert_eq!(after.sequence, before.sequence.wrapping_add(1), "one sequence");
        assert!((after.timestamp.wrapping_sub(before.timestamp) as i32) > 0, "time goes on");
    }
}

#[test]
fn a_prompt_takes_the_place_of_the_bridge_and_gives_it_back() {
    let mut lab = lab();
    lab.talk(0, 100, 5);
    let mut asked = lab.play(1, 1, &[1_000; 100]);
    lab.talk(0, 105, 10);
    assert_eq!(asked.get(), Some(Played::Complete));
    let sent = lab.sent_to(1);
    is_one_stream(&sent);
    let prompt: Vec<&Sent> = sent
        .iter()
        .filter(|sent| sent.rtp().payload.iter().all(|octet| *octet == g711::ulaw_encode(1_000)))
        .collect();
    assert_eq!(prompt.len(), 5, "100 ms");
    let before = sent.iter().take_while(|sent| sent.rtp().payload == [0; 160]).count();
    let after = sent.iter().rev().take_while(|sent| sent.rtp().payload == [0; 160]).count();
    assert_eq!((before, before + 5 + after), (5, sent.len()), "nothing of A in the prompt");
    assert!((4..=5).contains(&after), "A is heard again at once: {after}");
    for (n, two) in sent.windows(2).enumerate() {
        let step = two[1].rtp().timestamp.wrapping_sub(two[0].rtp().timestamp);
        let changes = n + 1 == before || n + 1 == before + 5;
        assert!(if changes { (160..=320).contains(&step) } else { step == 160 }, "{n}: {step}");
        assert_eq!(two[1].data[1] & 0x80 != 0, changes, "a marker where somebody else begins");
    }
    // A heard B all the time.
    lab.play(1, 2, &[1_000; 200]);
    lab.talk(1, 10, 5);
    assert_eq!(lab.sent_to(0).len(), 5);
}

#[test]
fn packets_leave_every_20_ms_from_within_20_ms_on_and_the_last_is_the_end() {
    let mut lab = lab();
    let begun = lab.now.at;
    let mut asked = lab.play(0, 1, &[5; 190]);
    let mut times = Vec::new();
    for _ in 0..400 {
        lab.run(MS);
        times.extend(lab.sent_to(0).iter().map(|_| lab.now.at - begun));
        if asked.get() == Some(Played::Complete) {
            break;
        }
    }
    assert_eq!(times.len(), 10, "the last one is filled up");
    assert!(times[0] <= FRAME);
    assert!(times.windows(2).all(|two| two[1] - two[0] == FRAME), "{times:?}");
    assert_eq!(*times.last().unwrap(), lab.now.at - begun, "ready with the last packet");
    lab.run(FRAME * 5);
    assert!(lab.sent_to(0).is_empty());
    assert_eq!(lab.machine.next_wake(lab.now.at).map(|wake| wake > lab.now.at + FRAME), Some(true));
    assert_eq!(lab.machine.totals().ticks, (10, 0));
}

#[test]
fn a_later_prompt_stops_the_one_before_and_one_that_comes_too_late_is_not_heard() {
    let mut lab = lab();
    let mut first = lab.play(0, 5, &[1; 1_000]);
    lab.run(FRAME * 2);
    let mut second = lab.play(0, 7, &[2; 1_000]);
    assert_eq!(first.get(), Some(Played::Stopped));
    let mut late = lab.play(0, 6, &[3; 1_000]);
    assert_eq!(late.get(), Some(Played::Stopped));
    assert_eq!(second.get(), None);
    lab.act(0, Act::StopPrompt { ticket: 9 });
    assert_eq!(second.get(), Some(Played::Stopped));
    assert_eq!(
        lab.play(0, 8, &[4; 1_000]).get(),
        Some(Played::Stopped),
        "it was stopped while it was fetched"
    );
    lab.rtp();
    lab.run(FRAME * 3);
    assert!(lab.sent_to(0).is_empty());
    // A party that leaves ends all waits.
    let mut last = lab.play(0, 10, &[5; 1_000]);
    let mut digits = lab.collect(0, None, DigitPlan::new(1));
    lab.command(Command::Close { id: id(0) });
    assert_eq!(last.get(), Some(Played::Stopped));
    assert_eq!(digits.get().map(|it| it.end), Some(CollectEnd::Stopped));
    lab.run(FRAME * 3);
}

#[test]
fn a_party_on_hold_is_not_spoken_to_but_time_goes_on() {
    let mut lab = lab();
    let mut asked = lab.play(1, 1, &(0..1_000).collect::<Vec<i16>>());
    lab.run(FRAME * 10);
    assert_eq!(lab.sent_to(1).len(), 10);
    lab.command(Command::Describe { id: id(1), remote: Remote { receives: false, ..speaks(1) } });
    lab.run(FRAME * 10);
    assert!(lab.sent_to(1).is_empty(), "held");
    lab.command(Command::Describe { id: id(1), remote: speaks(1) });
    lab.run(FRAME);
    let first = lab.sent_to(1).remove(0);
    assert!(first.data[1] & 0x80 != 0, "a marker");
    let heard = g711::ulaw_decode(first.rtp().payload[0]);
    assert!((heard - 400).abs() < 16, "what would be heard by now: {heard}");
    lab.run(FRAME * 40);
    assert_eq!(asked.get(), Some(Played::Complete));
}

#[test]
fn a_new_description_changes_codec_and_packet_time_in_the_middle() {
    let mut lab = lab();
    lab.play(1, 1, &[1_000; 1_000]);
    lab.run(FRAME * 5);
    lab.command(Command::Describe {
        id: id(1),
        remote: Remote { voice: voice(Codec::Pcma, 40), ..remote(1) },
    });
    lab.run(FRAME * 8);
    lab.command(Command::Describe {
        id: id(1),
        remote: Remote { voice: voice(Codec::G722, 20), ..remote(1) },
    });
    lab.run(FRAME * 5);
    let sent = lab.sent_to(1);
    is_one_stream(&sent);
    let shapes: Vec<(u8, usize)> =
        sent.iter().map(|sent| (sent.rtp().payload_type, sent.rtp().payload.len())).collect();
    assert_eq!(shapes, [vec![(0, 160); 5], vec![(8, 320); 4], vec![(9, 160); 5]].concat());
}

#[test]
fn digits_are_collected_and_reported_and_the_first_one_ends_the_prompt() {
    let mut lab = lab();
    lab.talk(0, 100, 3);
    let mut digits = lab.collect(0, Some(1), DigitPlan::new(2));
    let mut prompt = lab.play(0, 1, &[9; 5_000]);
    lab.run(FRAME * 10);
    lab.rtp();
    lab.events();
    lab.press(0, 103, 5, 4);
    assert_eq!(prompt.get(), Some(Played::Stopped));
    let packets = lab.sent_to(0).len();
    assert!(packets <= 1, "{packets} after the key went down");
    assert_eq!(digits.get(), None);
    lab.press(0, 108, 7, 2);
    assert_eq!(digits.get(), Some(Collected { digits: "57".into(), end: CollectEnd::Full }));
    let reported: Vec<char> = lab
        .events()
        .into_iter()
        .filter_map(|event| match event {
            RelayEvent::Digit { digit, .. } => Some(digit),
            _ => None,
        })
        .collect();
    assert_eq!(reported, ['5', '7']);
}

#[test]
fn time_ends_a_collection_from_the_end_of_its_prompt_on() {
    let mut lab = lab();
    let plan = DigitPlan { barge_in: false, ..DigitPlan::new(4) };
    let mut digits = lab.collect(0, Some(1), plan);
    let mut prompt = lab.play(0, 1, &[9; 2_000]);
    lab.info(0, '3');
    lab.run(MS * 1_990);
    assert_eq!((prompt.get(), digits.get()), (None, None));
    lab.run(MS * 100);
    assert_eq!(prompt.get(), Some(Played::Complete), "the digit has not ended it");
    lab.run(MS * 2_880);
    assert_eq!(digits.get(), None);
    lab.run(MS * 120);
    assert_eq!(digits.get(), Some(Collected { digits: "3".into(), end: CollectEnd::BetweenDigits }));

    let mut digits = lab.collect(0, None, DigitPlan::new(4));
    lab.run(MS * 4_990);
    assert_eq!(digits.get(), None);
    lab.run(MS * 50);
    assert_eq!(digits.get(), Some(Collected { digits: String::new(), end: CollectEnd::NoInput }));
}

#[test]
fn digits_typed_ahead_count_where_they_are_to_and_else_do_not() {
    for type_ahead in [true, false] {
        let mut lab = lab();
        for digit in "12345".chars() {
            lab.info(0, digit);
        }
        let plan = DigitPlan { type_ahead, ..DigitPlan::new(3) };
        let mut digits = lab.collect(0, Some(1), plan.clone());
        let mut prompt = lab.play(0, 1, &[9; 500]);
        let mut second = lab.collect(0, None, plan);
        if type_ahead {
            assert_eq!(digits.get().map(|it| it.digits), Some("123".into()));
            assert_eq!(prompt.get(), Some(Played::Stopped), "not even begun");
            lab.info(0, '#');
            assert_eq!(second.get().map(|it| it.digits), Some("45".into()), "the rest for the next one");
        } else {
            assert_eq!(digits.get().map(|it| it.end), Some(CollectEnd::Stopped));
            assert_eq!((prompt.get(), second.get()), (None, None));
        }
    }
}

#[test]
fn a_prompt_that_cannot_be_fetched_fails_its_collection() {
    let mut lab = lab();
    let (reply, mut asked) = Asked::<Collected>::new();
    lab.act(0, Act::Collect { plan: Box::new(DigitPlan::new(1)), prompt: Some(4), reply });
    lab.act(0, Act::FailCollect { prompt: 3, error: SoundError("another".into()) });
    lab.act(0, Act::FailCollect { prompt: 4, error: SoundError("x.wav".into()) });
    asked.answers.try_iter().for_each(|answer| answer());
    assert_eq!(asked.answer.try_recv(), Ok(Err(SoundError("x.wav".into()))));
}

#[test]
fn music_goes_on_around_a_prompt_until_it_is_stopped() {
    let mut lab = lab();
    let tracks = Tracks::new(8_000, vec![vec![7; 800].into()]).unwrap();
    let music =
        |ticket| Act::Music { ticket, music: Box::new(Music::new(tracks.clone(), true)), reply: None };
    lab.act(1, music(1));
    lab.talk(0, 100, 5);
    let mut prompt = lab.play(1, 2, &[1_000; 100]);
    lab.talk(0, 105, 10);
    assert_eq!(prompt.get(), Some(Played::Complete));
    lab.act(1, Act::StopMusic { ticket: 4 });
    lab.act(1, music(3));
    lab.talk(0, 115, 5);
    let sent = lab.sent_to(1);
    is_one_stream(&sent);
    let what: String = sent
        .iter()
        .map(|sent| match sent.rtp().payload[0] {
            0 => 'a',
            octet if octet == g711::ulaw_encode(7) => 'm',
            octet if octet == g711::ulaw_encode(1_000) => 'p',
            octet => panic!("{octet}"),
        })
        .collect();
    let squeezed: String = {
        let mut chars: Vec<char> = what.chars().collect();
        chars.dedup();
        chars.into_iter().collect()
    };
    assert_eq!(squeezed, "mpma", "{what}");
    assert_eq!(what.matches('p').count(), 5);
    assert!(what.matches('m').count() >= 9, "{what}");
}

#[test]
fn ticks_that_come_late_are_counted_and_made_up_for() {
    let mut lab = lab();
    lab.play(0, 1, &[5; 1_000]);
    lab.run(FRAME * 5);
    lab.rtp();
    // The thread was away for 60 ms.
    lab.pass(MS * 60);
    lab.machine.maintain(lab.now, &mut lab.wire);
    let sent = lab.sent_to(0);
    assert!((2..=4).contains(&sent.len()), "{}", sent.len());
    is_one_stream(&sent);
    let (_, late) = lab.machine.totals().ticks;
    assert!((2..=3).contains(&late), "{late}");
}
