//! Audio through the relay between legs without a common codec: a tone in, the tone out, for each pair; and
//! no decoding where they have a common codec.

// As in test functions (clippy.toml): a failure in a helper fails the test.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use b2b_base::util::ntp::NtpTime;
use b2b_call::negotiate::pair::{self, PairPolicy, Side};
use b2b_media::Now;
use b2b_media::forward::Header;
use b2b_media::relay::machine::{Command, Machine, Transmit};
use b2b_media::relay::{EndpointConfig, EndpointStats, RelayEvent, RelayId, Reply};
use b2b_media::transport::Channel;
use b2b_sdp::SessionDescription;

use b2b_test_support::codecs::{ALL, Codecs, Has, purity, rms};

const FRAME: Duration = Duration::from_millis(20);
const TONE_HZ: f64 = 440.0;
const LEVEL: f64 = 8_000.0;

/// The packets sent for each slot.
#[derive(Default)]
struct Wire {
    sent: [Vec<Vec<u8>>; 2],
    /// Packets are only counted if this is set.
    count: Option<u64>,
}

impl Transmit for Wire {
    fn transmit(&mut self, slot: u32, _: Channel, _: SocketAddr, datagram: &[u8]) -> bool {
        match &mut self.count {
            Some(count) => *count += 1,
            None if Header::read(datagram)
                .is_some_and(|header| !(64..=95).contains(&header.payload_type)) =>
            {
                self.sent[slot as usize].push(datagram.to_vec());
            }
            None => {}
        }
        true
    }
}

fn id(slot: u32) -> RelayId {
    RelayId { thread: 0, slot, generation: 1 }
}

fn party(slot: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), 4_000 + slot as u16 * 10)
}

fn session(slot: u32, has: Has, payload_type: u8, (event, clock): (u8, u32), ptime: u32) -> Vec<u8> {
    let port = party(slot).port();
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {payload_type} {event}\r\n{}\
         a=rtpmap:{event} telephone-event/{clock}\r\na=ptime:{ptime}\r\na=rtcp-mux\r\n",
        has.rtpmap(payload_type)
    )
    .into_bytes()
}

/// The clock rate of events towards B: the common one, unless A has asked for another.
fn event_clock(a: Has, b: Has) -> u32 {
    if a.clock() == 8_000 { 8_000 } else { b.clock() }
}

/// Two far ends and the relay between them.
struct Lab {
    machine: Machine,
    now: Now,
    wire: Wire,
    /// The payload types of audio and events that each far end sends.
    types: [(u8, u8); 2],
    sequence: [u16; 2],
    timestamp: [u32; 2],
    sides: [Side; 2],
}

impl Lab {
    /// A calls B, who answers with its codecs; each wants this packet time.
    fn new(a: Has, b: Has, ptime: u32) -> Self {
        let side = |slot: u32| Side::new(SocketAddr::from(([192, 0, 2, 1], 10_000 + slot as u16 * 2)), 7);
        let (mut one, mut other) = (side(0), side(1));
        let first = (a.payload_type(), 105);
        let offer = session(0, a, first.0, (first.1, a.clock()), 20);
        let offered = pair::offer(&mut one, &mut other, &offer, &PairPolicy::default()).expect("an offer");
        let offered = SessionDescription::parse(&offered).expect("ours parses").audio(0).expect("audio");
        let named = |name: &str, clock| offered.formats.iter().find(|format| format.is(name, clock)).cloned();
        let speech =
            named(b.name(), b.clock()).unwrap_or_else(|| panic!("{b:?} in {offered:?}")).payload_type;
        let clock = event_clock(a, b);
        let event = named("telephone-event", clock).expect("events in this clock").payload_type;
        let answer = session(1, b, speech, (event, clock), ptime);
        let answer = pair::answer(&mut other, &mut one, &answer).expect("an answer");
        let answer = SessionDescription::parse(&answer).expect("ours parses").audio(0).expect("audio");
        assert!(answer.formats.iter().any(|format| format.is(a.name(), a.clock())), "{answer:?}");
        assert!(answer.telephone_event(a.clock()).is_some(), "{answer:?}");

        Lab::start([one, other], [first, (speech, event)])
    }

    /// Joined as these two have negotiated.
    fn start(sides: [Side; 2], types: [(u8, u8); 2]) -> Self {
        let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
        let mut lab = Lab {
            machine: Machine::new(start.at, 3),
            now: start,
            wire: Wire::default(),
            types,
            sequence: [100, 60_000],
            timestamp: [5_000, u32::MAX - 10_000],
            sides,
        };
        let join = pair::join(&lab.sides[0], &lab.sides[1]).expect("a join");
        for slot in 0..2u32 {
            lab.command(Command::Open { id: id(slot), config: EndpointConfig::default() });
            let remote = lab.sides[slot as usize].remote().expect("described");
            lab.command(Command::Describe { id: id(slot), remote });
        }
        let (forward, backward) = (Box::new(join.forward.way), Box::new(join.backward.way));
        lab.command(Command::Join { a: id(0), b: id(1), forward, backward });
        lab
    }

    fn command(&mut self, command: Command) {
        self.machine.command(self.now, command, &mut self.wire);
    }

    fn put(&mut self, slot: u32, payload_type: u8, timestamp: u32, payload: &[u8], buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&[0x80, payload_type]);
        buffer.extend_from_slice(&self.sequence[slot as usize].to_be_bytes());
        buffer.extend_from_slice(&timestamp.to_be_bytes());
        buffer.extend_from_slice(&[0, 0, 0, slot as u8 + 1]);
        buffer.extend_from_slice(payload);
        self.sequence[slot as usize] = self.sequence[slot as usize].wrapping_add(1);
        self.machine.packet(self.now, slot, Channel::Rtp, party(slot), buffer, &mut self.wire);
    }

    fn audio(&mut self, slot: u32, clock: u32, payload: &[u8], buffer: &mut Vec<u8>) {
        let timestamp = self.timestamp[slot as usize];
        self.put(slot, self.types[slot as usize].0, timestamp, payload, buffer);
        self.timestamp[slot as usize] = timestamp.wrapping_add(clock / 50);
    }

    fn pass(&mut self) {
        self.now = Now { at: self.now.at + FRAME, wall: self.now.wall.plus(FRAME) };
        self.machine.maintain(self.now, &mut self.wire);
    }

    fn stats(&mut self, slot: u32) -> EndpointStats {
        let (to, mut stats) = tokio::sync::oneshot::channel();
        let (via, answers) = crossbeam_channel::unbounded();
        self.command(Command::Stats { id: id(slot), reply: Reply::new(to, via) });
        answers.try_recv().expect("an answer")();
        *stats.try_recv().expect("an open endpoint")
    }
}

/// Silence for a second, then the tone.
fn input(has: Has, frames: usize) -> Vec<i16> {
    let rate = has.rate();
    let at = |n: usize| match n < rate {
        true => 0.0,
        false => ((n - rate) as f64 * TONE_HZ * std::f64::consts::TAU / rate as f64).sin() * LEVEL,
    };
    (0..rate / 50 * frames).map(|n| at(n) as i16).collect()
}

/// Sends the tone from one end and checks what the other hears.
fn hears(lab: &mut Lab, slot: u32, from: Has, to: Has, ptime: u32) {
    let (mut encoder, mut decoder) = (Codecs::new(from), Codecs::new(to));
    let mut buffer = Vec::new();
    let frames = 150;
    for frame in input(from, frames).chunks(from.rate() / 50) {
        let payload = encoder.encode(frame);
        lab.audio(slot, from.clock(), &payload, &mut buffer);
        lab.pass();
    }
    let name = format!("{from:?} to {to:?}, {ptime} ms");
    let sent = std::mem::take(&mut lab.wire.sent[1 - slot as usize]);
    let headers: Vec<Header> = sent.iter().map(|packet| Header::read(packet).expect("RTP")).collect();
    assert_eq!(headers.len(), frames * 20 / ptime as usize, "{name}");
    assert!(headers[0].marker && headers[1..].iter().all(|header| !header.marker), "{name}");
    for two in headers.windows(2) {
        assert_eq!(two[1].sequence.wrapping_sub(two[0].sequence), 1, "{name}");
        assert_eq!(two[1].timestamp.wrapping_sub(two[0].timestamp), to.clock() / 1_000 * ptime, "{name}");
        assert_eq!(
            (two[1].ssrc, two[1].payload_type),
            (two[0].ssrc, lab.types[1 - slot as usize].0),
            "{name}"
        );
    }
    let heard: Vec<i16> = sent
        .iter()
        .zip(&headers)
        .flat_map(|(packet, header)| decoder.decode(&packet[header.payload..]))
        .collect();
    let rate = to.rate();
    // Only the tone, at its original level.
    let tone = &heard[rate * 3 / 2..rate * 5 / 2];
    let level = rms(tone) / (LEVEL / std::f64::consts::SQRT_2);
    assert!((0.85..1.15).contains(&level), "{name}: level {level}");
    assert!(purity(tone, rate, TONE_HZ) > 0.97, "{name}: {}", purity(tone, rate, TONE_HZ));
    // The start of the tone: the delay of codecs and filters, including those of the far ends.
    let begins = heard.iter().position(|sample| f64::from(*sample) > LEVEL / 2.0).expect("a tone");
    let delay_ms = (begins as f64 / rate as f64 - 1.0) * 1_000.0;
    assert!((-1.0..40.0).contains(&delay_ms), "{name}: {delay_ms} ms");
}

#[test]
fn a_tone_passes_between_every_two_codecs_both_ways() {
    for a in ALL {
        for b in ALL.into_iter().filter(|b| *b != a) {
            let mut lab = Lab::new(a, b, 20);
            hears(&mut lab, 0, a, b, 20);
            hears(&mut lab, 1, b, a, 20);
            let law = |has| has == Has::Pcmu || has == Has::Pcma;
            for slot in 0..2 {
                let stats = lab.stats(slot);
                // G.711 to G.711 is converted octet by octet.
                let expected = if law(a) && law(b) { 0 } else { 150 };
                assert_eq!((stats.transcoded.decoded, stats.transcoded.encoded), (expected, expected));
                assert_eq!(
                    (stats.dropped.total(), stats.received.packets, stats.sent.packets),
                    (0, 150, 150)
                );
            }
        }
    }
}

#[test]
fn packets_have_the_length_that_the_listener_asks_for() {
    for (a, b, ptime) in [(Has::G722, Has::Pcmu, 30), (Has::Pcma, Has::Opus, 60), (Has::Opus, Has::G722, 10)]
    {
        let mut lab = Lab::new(a, b, ptime);
        hears(&mut lab, 0, a, b, ptime);
    }
}

#[test]
fn nothing_is_decoded_between_legs_that_share_a_codec() {
    for has in ALL {
        let mut lab = Lab::new(has, has, 20);
        let (mut encoder, mut buffer) = (Codecs::new(has), Vec::new());
        for frame in input(has, 100).chunks(has.rate() / 50) {
            let payload = encoder.encode(frame);
            for slot in 0..2 {
                lab.audio(slot, has.clock(), &payload, &mut buffer);
                assert_eq!(lab.wire.sent[1 - slot as usize].pop().expect("sent")[12..], payload, "{has:?}");
            }
            lab.pass();
        }
        for slot in 0..2 {
            let stats = lab.stats(slot);
            assert_eq!((stats.transcoded.decoded, stats.transcoded.encoded), (0, 0), "{has:?}");
            assert_eq!(stats.sent.packets, 100);
        }
    }
}

/// An answer may include both the added codec and the shared one, and its party may send either.
#[test]
fn a_far_end_that_changes_to_an_added_codec_and_back_is_heard_in_one_stream() {
    let side = |slot: u32| Side::new(SocketAddr::from(([192, 0, 2, 1], 10_000 + slot as u16 * 2)), 7);
    let (mut a, mut b) = (side(0), side(1));
    let offer = session(0, Has::Pcmu, 0, (105, 8_000), 20);
    pair::offer(&mut a, &mut b, &offer, &PairPolicy::default()).expect("an offer");
    let answer = String::from_utf8(session(1, Has::Opus, 111, (105, 48_000), 20)).expect("text");
    let answer = answer.replace("RTP/AVP 111 105", "RTP/AVP 111 0 105").replace("event/48000", "event/8000");
    pair::answer(&mut b, &mut a, answer.as_bytes()).expect("an answer");
    let mut lab = Lab::start([a, b], [(0, 105), (111, 105)]);
    let (mut opus, mut buffer) = (Codecs::new(Has::Opus), Vec::new());
    for n in 0..30 {
        if (10..20).contains(&n) {
            let samples = vec![1_000; 960];
            let payload = opus.encode(&samples);
            lab.put(1, 111, n * 960, &payload, &mut buffer);
        } else {
            lab.put(1, 0, n * 160, &[0x55; 160], &mut buffer);
        }
        lab.pass();
    }
    let headers: Vec<Header> =
        lab.wire.sent[0].iter().map(|packet| Header::read(packet).expect("RTP")).collect();
    assert_eq!(headers.len(), 30);
    assert!(headers.iter().all(|header| (header.payload_type, header.ssrc) == (0, headers[0].ssrc)));
    for (n, two) in headers.windows(2).enumerate() {
        assert_eq!(two[1].sequence.wrapping_sub(two[0].sequence), 1, "after {n}");
        let step = two[1].timestamp.wrapping_sub(two[0].timestamp);
        assert!((160..=320).contains(&step), "{step} after {n}");
        assert_eq!(two[1].marker, [9, 19].contains(&n), "after {n}");
    }
    assert_eq!((lab.stats(1).transcoded.decoded, lab.stats(1).dropped.total()), (10, 0));
}

#[test]
fn digits_pass_beside_transcoded_audio_in_the_clocks_of_the_other_leg() {
    for (a, b) in [(Has::Pcmu, Has::Opus), (Has::Opus, Has::G722)] {
        let mut lab = Lab::new(a, b, 20);
        let (mut encoder, mut buffer) = (Codecs::new(a), Vec::new());
        let mut talk = |lab: &mut Lab, frames: usize| {
            for frame in input(a, frames).chunks(a.rate() / 50) {
                let payload = encoder.encode(frame);
                lab.audio(0, a.clock(), &payload, &mut buffer);
                lab.pass();
            }
        };
        talk(&mut lab, 10);
        let (began, mut scratch) = (lab.timestamp[0], Vec::new());
        for n in 1..=7u16 {
            let duration = (n.min(5) * (a.clock() / 50) as u16).to_be_bytes();
            let payload = [7, if n >= 5 { 0x8A } else { 0x0A }, duration[0], duration[1]];
            lab.put(0, lab.types[0].1, began, &payload, &mut scratch);
            lab.pass();
        }
        lab.timestamp[0] = began.wrapping_add(a.clock() / 50 * 7);
        talk(&mut lab, 10);
        let sent: Vec<(Header, Vec<u8>)> =
            lab.wire.sent[1].drain(..).map(|packet| (Header::read(&packet).expect("RTP"), packet)).collect();
        assert_eq!(sent.len(), 27);
        for two in sent.windows(2) {
            assert_eq!(two[1].0.sequence.wrapping_sub(two[0].0.sequence), 1);
            assert_eq!(two[1].0.ssrc, two[0].0.ssrc);
        }
        let events = &sent[10..17];
        let begins = sent[9].0.timestamp.wrapping_add(b.clock() / 50);
        for (n, (header, packet)) in events.iter().enumerate() {
            let duration = u32::from(u16::from_be_bytes([packet[14], packet[15]]));
            assert_eq!((header.payload_type, header.timestamp), (lab.types[1].1, begins));
            assert_eq!((packet[12], header.marker), (7, n == 0));
            assert_eq!(duration, (n as u32 + 1).min(5) * (event_clock(a, b) / 50));
        }
        assert_eq!(
            sent[17].0.timestamp,
            begins.wrapping_add(b.clock() / 50 * 7),
            "audio goes on in its place"
        );
        let digits: Vec<RelayEvent> = std::iter::from_fn(|| lab.machine.poll_event())
            .filter(|event| matches!(event, RelayEvent::Digit { .. }))
            .collect();
        let digit =
            RelayEvent::Digit { id: id(0), digit: '7', duration_ms: 100, passed_on: true, by_tone: false };
        assert_eq!(digits, [digit]);
    }
}

#[test]
fn transcoded_packets_take_no_memory() {
    for a in ALL {
        for b in ALL.into_iter().filter(|b| *b != a) {
            let mut lab = Lab::new(a, b, 20);
            let (mut encoder, mut buffer) = (Codecs::new(a), Vec::with_capacity(2_000));
            let payloads: Vec<Vec<u8>> =
                input(a, 150).chunks(a.rate() / 50).map(|frame| encoder.encode(frame)).collect();
            lab.wire.count = Some(0);
            let mut put = |lab: &mut Lab, n: usize| {
                // Every 37th packet is lost.
                if n % 37 == 5 {
                    lab.sequence[0] = lab.sequence[0].wrapping_add(1);
                    lab.timestamp[0] = lab.timestamp[0].wrapping_add(a.clock() / 50);
                } else {
                    lab.audio(0, a.clock(), &payloads[n % payloads.len()], &mut buffer);
                }
                lab.pass();
            };
            (0..100).for_each(|n| put(&mut lab, n));
            while lab.machine.poll_event().is_some() {}
            let taken = allocation_counter::measure(|| (100..400).for_each(|n| put(&mut lab, n)));
            assert_eq!((taken.count_total, taken.bytes_total), (0, 0), "{a:?} to {b:?}");
            assert!(lab.wire.count.expect("counted") >= 380, "{a:?} to {b:?}");
        }
    }
}
