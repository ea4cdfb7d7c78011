//! Streams of parties in virtual time: audio to and from the outside.

use super::staging::voice;
use super::*;
use crate::codec::{Codec, g711};
use crate::room::{Member, RoomAct};
use crate::stage::Act;
use crate::stream::{AudioStream, StreamEnd, StreamEvent, StreamSpec, Streams};

const MS: Duration = Duration::from_millis(1);

/// Both legs use PCMU, unjoined.
fn lab() -> Lab {
    let mut lab = Lab::new(3);
    for slot in 0..3 {
        let there = Remote { voice: voice(Codec::Pcmu, 20), ..remote(slot) };
        lab.command(Command::Describe { id: id(slot), remote: there });
    }
    lab
}

fn stream(lab: &mut Lab, slot: u32, spec: StreamSpec) -> AudioStream {
    let streams = Streams::start().expect("a thread");
    let (inside, outside) = streams.open(spec).expect("room");
    lab.command(Command::Stage { id: id(slot), act: Box::new(Act::Stream(Box::new(inside))) });
    outside
}

/// All but turns.
fn events(stream: &mut AudioStream) -> Vec<StreamEvent> {
    let all = std::iter::from_fn(|| stream.poll_event());
    all.filter(|event| !matches!(event, StreamEvent::Turn(_) | StreamEvent::Levels(_))).collect()
}

/// What was sent to a party since the last call, as decoded G.711.
fn heard(lab: &mut Lab, slot: u32) -> Vec<i16> {
    let sent = lab.rtp().into_iter().filter(|sent| sent.to == party(slot)).collect::<Vec<_>>();
    let payloads = sent.iter().flat_map(|sent| sent.rtp().payload.to_vec());
    payloads.map(g711::ulaw_decode).collect()
}

/// A party sends this level for this many frames.
fn say(lab: &mut Lab, slot: u32, from: u16, frames: u16, level: i16) {
    for n in from..from + frames {
        let data = packet(0, n, u32::from(n) * 160, 70 + slot, &[g711::ulaw_encode(level); 160]);
        lab.put(slot, party(slot), data);
        lab.run(FRAME);
    }
}

fn all(stream: &mut AudioStream) -> Vec<i16> {
    let mut samples = vec![0; 100_000];
    let count = stream.read(&mut samples);
    samples.truncate(count);
    samples
}

#[test]
fn what_a_party_says_is_heard_outside_at_every_rate_from_its_first_packet_on() {
    for rate_hz in StreamSpec::RATES {
        let mut lab = lab();
        let mut stream = stream(&mut lab, 0, StreamSpec::new(rate_hz));
        say(&mut lab, 0, 100, 25, 4_000);
        lab.run(FRAME * 10);
        let heard = all(&mut stream);
        assert_eq!(heard.len(), 35 * stream.spec().frame(), "every tick, silence too");
        let loud = heard.iter().filter(|sample| (3_900..4_100).contains(*sample)).count();
        assert!(loud > 23 * stream.spec().frame(), "{loud} of {}", heard.len());
    }
}

#[test]
fn what_is_written_is_said_every_20_ms_with_silence_before_and_behind() {
    for rate_hz in StreamSpec::RATES {
        let mut lab = lab();
        let mut stream = stream(&mut lab, 0, StreamSpec::new(rate_hz));
        lab.run(FRAME * 5);
        assert_eq!(heard(&mut lab, 0), [0; 800], "a stream that goes on");
        stream.write(&vec![6_000; rate_hz as usize / 5]);
        stream.mark("said");
        lab.run(FRAME * 10);
        assert_eq!(events(&mut stream), [StreamEvent::Mark { name: "said".into(), played: true }]);
        lab.run(FRAME * 5);
        let said = heard(&mut lab, 0);
        assert_eq!(said.len(), 15 * 160);
        let loud = said.iter().filter(|sample| **sample > 5_500).count();
        assert!((1_590..=1_610).contains(&loud), "{rate_hz} Hz: {loud} of 1600");
    }
}

#[test]
fn after_clear_the_next_packet_is_silent_whatever_its_length() {
    for ptime in [20, 40, 60] {
        let mut lab = lab();
        let there = Remote { voice: voice(Codec::Pcmu, ptime), ..remote(0) };
        lab.command(Command::Describe { id: id(0), remote: there });
        let mut stream = stream(&mut lab, 0, StreamSpec::new(8_000));
        stream.write(&[6_000; 8_000]);
        lab.run(FRAME * 10);
        assert!(heard(&mut lab, 0).iter().any(|sample| *sample > 5_000));
        stream.clear();
        lab.run(FRAME * 6);
        assert!(heard(&mut lab, 0).iter().all(|sample| *sample == 0), "{ptime} ms");
    }
}

#[test]
fn finish_says_the_last_word_whole_and_then_nothing_is_sent() {
    let mut lab = lab();
    let mut stream = stream(&mut lab, 0, StreamSpec::new(24_000));
    stream.write(&[6_000; 24_000 / 10 + 77]);
    stream.mark("word");
    stream.finish();
    lab.run(FRAME * 20);
    let said = heard(&mut lab, 0);
    let loud = said.iter().filter(|sample| **sample > 3_000).count();
    assert!((820..=830).contains(&loud), "{loud} of 825: not clipped");
    assert_eq!(said.last(), Some(&0));
    let ends =
        [StreamEvent::Mark { name: "word".into(), played: true }, StreamEvent::Ended(StreamEnd::Finished)];
    assert_eq!(events(&mut stream), ends);
    assert!(!lab.machine.endpoints[0].as_ref().unwrap().has_stream());
    lab.run(FRAME * 5);
    assert!(heard(&mut lab, 0).is_empty());
}

#[test]
fn a_stream_ends_with_its_reader_its_party_and_its_successor() {
    let mut lab = lab();
    let dropped = stream(&mut lab, 0, StreamSpec::new(16_000));
    drop(dropped);
    lab.run(FRAME * 2);
    heard(&mut lab, 0);
    lab.run(FRAME * 5);
    assert!(heard(&mut lab, 0).is_empty(), "nobody speaks any more");

    let mut first = stream(&mut lab, 0, StreamSpec::new(16_000));
    let mut second = stream(&mut lab, 0, StreamSpec::new(16_000));
    assert_eq!(events(&mut first), [StreamEvent::Ended(StreamEnd::Replaced)]);
    second.write(&[1; 100]);
    second.mark("m");
    lab.command(Command::Close { id: id(0) });
    let cut = StreamEvent::Mark { name: "m".into(), played: false };
    assert_eq!(events(&mut second), [cut, StreamEvent::Ended(StreamEnd::Closed)]);
    let mut nowhere = stream(&mut lab, 0, StreamSpec::new(16_000));
    assert_eq!(events(&mut nowhere), [StreamEvent::Ended(StreamEnd::Closed)]);
}

#[test]
fn a_join_ends_who_speaks_and_not_who_listens() {
    let mut lab = lab();
    let mut speaks = stream(&mut lab, 0, StreamSpec::new(8_000));
    let mut listens = stream(&mut lab, 1, StreamSpec { speaks: false, ..StreamSpec::new(8_000) });
    lab.run(FRAME * 2);
    lab.rtp();
    lab.join(0, 1);
    assert_eq!(events(&mut speaks), [StreamEvent::Ended(StreamEnd::Joined)]);
    say(&mut lab, 0, 100, 10, 4_000);
    assert_eq!(heard(&mut lab, 1).len(), 1_600, "A is heard by B");
    all(&mut listens);
    say(&mut lab, 1, 200, 20, 5_000);
    assert_eq!(heard(&mut lab, 0).len(), 3_200, "B is heard by A");
    let loud = all(&mut listens).into_iter().filter(|sample| *sample > 4_500).count();
    assert!(loud > 2_400, "and outside: {loud}");
    listens.write(&[1; 1_000]);
    assert_eq!(listens.queued(), 0, "who listens does not speak");
    listens.finish();
    lab.run(FRAME * 2);
    assert_eq!(events(&mut listens), [StreamEvent::Ended(StreamEnd::Finished)]);
}

#[test]
fn a_stream_takes_the_place_of_the_bridge_until_the_party_is_joined_with_another_one() {
    let mut lab = lab();
    lab.join(0, 1);
    say(&mut lab, 0, 100, 3, 4_000);
    let mut stream = stream(&mut lab, 1, StreamSpec::new(8_000));
    lab.rtp();
    say(&mut lab, 0, 103, 10, 4_000);
    assert!(heard(&mut lab, 1).iter().all(|sample| *sample == 0), "nothing of A");
    lab.join(0, 1);
    assert!(events(&mut stream).is_empty(), "the same two again");
    lab.join(1, 2);
    assert_eq!(events(&mut stream), [StreamEvent::Ended(StreamEnd::Joined)]);
    lab.command(Command::Room { number: 5, act: Box::new(RoomAct::Open { rate_hz: 8_000 }) });
    let mut roomy = self::stream(&mut lab, 2, StreamSpec::new(8_000));
    let enter = RoomAct::Enter { id: id(2), party: id(2), member: Member::default() };
    lab.command(Command::Room { number: 5, act: Box::new(enter) });
    assert_eq!(events(&mut roomy), [StreamEvent::Ended(StreamEnd::Joined)]);
}

#[test]
fn a_prompt_comes_first_and_the_stream_waits_for_its_end() {
    let mut lab = lab();
    let mut stream = stream(&mut lab, 0, StreamSpec::new(8_000));
    lab.run(FRAME * 2);
    lab.rtp();
    stream.write(&[6_000; 1_600]);
    stream.mark("m");
    lab.play(0, 1, &[2_000; 100]);
    lab.run(FRAME * 5);
    assert!(events(&mut stream).is_empty(), "it waits");
    lab.run(FRAME * 12);
    let said = heard(&mut lab, 0);
    let of = |low: i16, high: i16| said.iter().filter(|sample| (low..high).contains(*sample)).count();
    assert_eq!((of(1_900, 2_100), of(5_500, 6_500)), (800, 1_600));
    assert_eq!(events(&mut stream).len(), 1);
}

#[test]
fn digits_of_the_party_are_told_once_and_are_no_sound() {
    let mut lab = lab();
    let mut stream = stream(&mut lab, 0, StreamSpec::new(8_000));
    say(&mut lab, 0, 100, 5, 4_000);
    for (n, flags) in [0x0A, 0x0A, 0x8A, 0x8A, 0x8A].into_iter().enumerate() {
        let [high, low] = ((n.min(2) as u16 + 1) * 160).to_be_bytes();
        let data = packet(101, 105 + n as u16, 16_800, 70, &[5, flags, high, low]);
        lab.put(0, party(0), data);
        lab.run(FRAME);
    }
    lab.info(0, '#');
    assert_eq!(events(&mut stream), [StreamEvent::Digit('5'), StreamEvent::Digit('#')]);
}

#[test]
fn a_party_on_hold_or_not_described_is_not_spoken_to_and_the_line_goes_on() {
    let mut lab = lab();
    let mut stream = stream(&mut lab, 0, StreamSpec::new(8_000));
    let held = Remote { receives: false, voice: voice(Codec::Pcmu, 20), ..remote(0) };
    lab.command(Command::Describe { id: id(0), remote: held });
    lab.rtp();
    stream.write(&[6_000; 800]);
    stream.mark("m");
    lab.run(FRAME * 10);
    assert!(heard(&mut lab, 0).is_empty());
    assert_eq!(events(&mut stream).len(), 1, "time goes on");
    lab.run(MS);
}
