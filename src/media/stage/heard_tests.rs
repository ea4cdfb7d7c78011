//! What a party had heard when it interrupted, against what it really played at that time: a stream and a telephone with
//! its own jitter buffer, in virtual time, with jitter, losses and RTCP between them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Streaming;
use crate::codec::Codec;
use crate::forward::Header;
use crate::jitter::JitterBuffer;
use crate::remote::{SendFormat, Voice};
use crate::rtp::rtcp::MAX_LEN;
use crate::rtp::sequence::Receiving;
use crate::stream::{AudioStream, Interrupted, Link, StreamEvent, StreamSpec, Streams, Turn};
use crate::transport::reports::{Reports, Sending};
use b2b_base::util::ntp::NtpTime;

const MS: u64 = 1_000_000;
const TICK: u64 = 20 * MS;
const RATE: u64 = 8_000;
/// ns of a sample.
const SAMPLE: u64 = 1_000_000_000 / RATE;
/// Any wall clock time.
const WALL: u64 = 0xE000_0000 << 32;

/// One direction of the network.
struct Way {
    delay: u64,
    jitter: u64,
    loss: f64,
    /// Packets: when they arrive, their number, what they carry.
    packets: Vec<(u64, u16, Vec<u8>)>,
}

impl Way {
    fn new(rng: &mut StdRng, jitter: u64, loss: f64) -> Way {
        Way { delay: rng.random_range(2..150) * MS, jitter, loss, packets: Vec::new() }
    }

    fn takes(&self, rng: &mut StdRng) -> u64 {
        self.delay + if self.jitter > 0 { rng.random_range(0..self.jitter) } else { 0 }
    }

    fn send(&mut self, rng: &mut StdRng, at: u64, number: u16, payload: Vec<u8>) {
        if !rng.random_bool(self.loss) {
            let comes = at + self.takes(rng);
            self.packets.push((comes, number, payload));
        }
    }

    /// What has arrived by this time, the first first.
    fn come(&mut self, by: u64) -> Vec<(u64, u16, Vec<u8>)> {
        let (mut here, still): (Vec<_>, _) = self.packets.drain(..).partition(|packet| packet.0 <= by);
        self.packets = still;
        here.sort_by_key(|packet| packet.0);
        here
    }
}

/// What one side has received, as it reports it.
#[derive(Default)]
struct Came {
    highest: u16,
    count: u32,
    last: Option<(u64, u16)>,
    jitter: f64,
}

impl Came {
    /// Interarrival jitter as in RFC 3550 A.8.
    fn packet(&mut self, at: u64, number: u16) {
        if let Some((before, last)) = self.last.replace((at, number)) {
            let sent = (number.wrapping_sub(last) as i16) as f64 * TICK as f64;
            let more = ((at as f64 - before as f64) - sent).abs() / SAMPLE as f64;
            self.jitter += (more - self.jitter) / 16.0;
        }
        self.highest = self.highest.max(number);
        self.count += 1;
    }

    fn receiving(&self, ssrc: u32) -> Option<Receiving> {
        let (expected, highest) = (u32::from(self.highest), u32::from(self.highest));
        let jitter = self.jitter as u32;
        let received = self.count;
        (received > 0).then_some(Receiving { ssrc, expected, received, highest, jitter, buffer_ms: None })
    }
}

/// A stream, and a telephone that interrupts it.
struct World {
    rng: StdRng,
    epoch: Instant,
    voice: Voice,
    inside: Streaming,
    outside: AudioStream,
    _streams: Streams,
    down: Way,
    up: Way,
    /// What the telephone receives, and what the stream does.
    came: [Came; 2],
    reports: [Reports; 2],
    next_report: u64,
    telephone: JitterBuffer,
    numbers: [u16; 2],
    /// Packets to the telephone: when they were sent, and the position of their first sample.
    sent: VecDeque<(u64, u64)>,
    position: u64,
    written: u64,
    begin: u64,
    /// What the telephone plays, as the time at which it was sent, and since when.
    plays: Option<(u64, u64)>,
    speaks_from: u64,
    speaks_until: u64,
    /// The position that is heard when the party begins to speak.
    truth: Option<u64>,
}

struct Judged {
    interrupted: Interrupted,
    truth: u64,
    reports: u32,
}

impl World {
    fn new(seed: u64, jitter_ms: u64, loss: f64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let epoch = Instant::now();
        let voice = Voice::new(Some(SendFormat::new(0, Codec::Pcmu, 20)), [(0, Codec::Pcmu)]);
        let streams = Streams::start().expect("a thread");
        let (inside, outside) = streams.open(StreamSpec::new(RATE as u32)).expect("room");
        let mut telephone = JitterBuffer::new(epoch, rng.random_range(20..100), RATE as u32);
        telephone.receive([Codec::Pcmu].into_iter());
        let down = Way::new(&mut rng, jitter_ms * MS, loss);
        let up = Way::new(&mut rng, jitter_ms * MS, loss);
        let reports = [Reports::new(&mut rng), Reports::new(&mut rng)];
        World {
            inside: Streaming::new(inside, epoch, &voice),
            rng,
            epoch,
            voice,
            outside,
            _streams: streams,
            down,
            up,
            came: Default::default(),
            reports,
            next_report: 2_500 * MS,
            telephone,
            numbers: [1, 1],
            sent: VecDeque::new(),
            position: 0,
            written: 0,
            begin: 0,
            plays: None,
            speaks_from: 0,
            speaks_until: 0,
            truth: None,
        }
    }

    fn moment(&self, at: u64) -> Instant {
        self.epoch + Duration::from_nanos(at)
    }

    fn wall(at: u64) -> NtpTime {
        NtpTime(WALL + ((u128::from(at) << 32) / 1_000_000_000) as u64)
    }

    /// Runs until the party has interrupted so many times.
    fn run(&mut self, interruptions: usize) -> Vec<Judged> {
        let mut judged = Vec::new();
        let phase = self.rng.random_range(0..TICK);
        let mut pause_until = 0;
        self.speaks_from = 3_000 * MS + self.rng.random_range(0..2_000 * MS);
        self.speaks_until = self.speaks_from + 800 * MS;
        for at in (1..).map(|tick| tick * TICK) {
            if at > (interruptions as u64 + 2) * 6_000 * MS {
                break;
            }
            // A program that always has something to say, half a second ahead.
            if at >= pause_until {
                if self.outside.queued() == 0 && pause_until > 0 {
                    (self.begin, pause_until) = (self.written, 0);
                }
                while self.outside.queued() < 4_000 {
                    self.outside.write(&[2_000; 160]);
                    self.written += 160;
                }
            }
            self.stream_ticks(at);
            while let Some(event) = self.outside.poll_event() {
                let StreamEvent::Turn(Turn::Interrupted(interrupted)) = event else { continue };
                if let Some(truth) = self.truth.take() {
                    let truth = truth.saturating_sub(self.begin);
                    judged.push(Judged { interrupted, truth, reports: self.reports[0].stats.blocks });
                }
                self.outside.clear();
                pause_until = at + 700 * MS;
            }
            let mut samples = [0; 1_600];
            while self.outside.read(&mut samples) > 0 {}
            self.telephone_ticks(at + phase);
            self.report(at);
            if judged.len() == interruptions {
                break;
            }
        }
        judged
    }

    fn stream_ticks(&mut self, at: u64) {
        for (comes, number, payload) in self.up.come(at) {
            self.came[1].packet(comes, number);
            let [high, low] = number.to_be_bytes();
            let [a, b, c, d] = (u32::from(number) * 160).to_be_bytes();
            let packet = [&[0x80, 0, high, low, a, b, c, d, 0, 0, 0, 2], &payload[..]].concat();
            let header = Header::read(&packet).expect("RTP");
            self.inside.packet(self.moment(comes), &self.voice, &header, &payload);
        }
        let jitter_ms = (self.came[1].jitter * SAMPLE as f64 / MS as f64) as f32;
        let link = Link { clock_rate: RATE as u32, jitter_ms, packet_ms: 20.0 };
        self.inside.hear(at, self.epoch + Duration::from_nanos(at), || link);
        let mut frame = [0; 160];
        let queued = self.outside.queued() as u64;
        self.inside.speak(&mut frame);
        if self.inside.is_cut() {
            self.position = self.written;
        }
        let spoken = queued - self.outside.queued() as u64;
        let number = self.numbers[0];
        self.numbers[0] += 1;
        self.sent.push_front((at, self.position));
        self.sent.truncate(200);
        self.position += spoken;
        self.inside.sent(at, number);
        self.down.send(&mut self.rng, at, number, vec![0x90; 160]);
    }

    fn telephone_ticks(&mut self, at: u64) {
        for (comes, number, payload) in self.down.come(at) {
            self.came[0].packet(comes, number);
            // The time at which it was sent goes with it.
            let sent = Some(Self::wall(u64::from(number) * TICK));
            let (moment, timestamp) = (self.moment(comes), u32::from(number) * 160);
            self.telephone.payload(Codec::Pcmu, number, timestamp, moment, &payload, sent);
        }
        // What it plays until its next tick; a concealed frame is that of the time between.
        let mut frame = [0; 160];
        let played = self.telephone.play(self.moment(at), &mut frame);
        let sent = played
            .captured_at
            .map(|wall| ((u128::from(wall.0.wrapping_sub(WALL)) * 1_000_000_000) >> 32) as u64);
        let goes_on = self.plays.map(|(since, sent)| sent + (at - since));
        self.plays = sent.or(goes_on).map(|sent| (at, sent));
        if let Some((since, sent)) = self.plays
            && (since..since + TICK).contains(&self.speaks_from)
        {
            let hears = sent + (self.speaks_from - since);
            let packet = self.sent.iter().find(|packet| packet.0 <= hears);
            self.truth = packet.map(|(at, position)| position + ((hears - at) / SAMPLE).min(160));
        }
        // What it has recorded since its last tick.
        let mut payload = [0; 160];
        let mut said = [0; 160];
        for (n, sample) in said.iter_mut().enumerate() {
            let time = at - TICK + n as u64 * SAMPLE;
            let speaks = (self.speaks_from..self.speaks_until).contains(&time);
            let loud = if speaks { 3_000 } else { 8 };
            *sample = if n % 8 < 4 { loud } else { -loud };
        }
        crate::codec::Law::Mu.encode(&said, &mut payload);
        let number = self.numbers[1];
        self.numbers[1] += 1;
        self.up.send(&mut self.rng, at, number, payload.to_vec());
        if at > self.speaks_until + 2_500 * MS {
            self.speaks_from = at + self.rng.random_range(0..1_000 * MS);
            self.speaks_until = self.speaks_from + 800 * MS;
        }
    }

    /// Both sides report every five seconds; reports are late as packets are, and are not lost.
    fn report(&mut self, at: u64) {
        if at < self.next_report {
            return;
        }
        self.next_report = at + self.rng.random_range(2_500..7_500) * MS;
        let (there, back) = (self.down.takes(&mut self.rng), self.up.takes(&mut self.rng));
        let sending = |ssrc, number: u16| Sending { ssrc, timestamp: 0, packets: number.into(), octets: 0 };
        let mut buffer = [0; MAX_LEN];
        let [ours, theirs] = &mut self.reports;
        let receiving = self.came[1].receiving(2);
        let ours_sent = sending(1, self.numbers[0]);
        let length = ours.write((Self::wall(at), at), &ours_sent, receiving, false, &mut buffer);
        theirs.received((Self::wall(at + there), at + there), &buffer[..length], 2);
        let later = at + there + 700 * MS;
        let buffer_ms = self.telephone.delay_ms().map(|ms| ms as u16);
        let receiving = self.came[0].receiving(1).map(|receiving| Receiving { buffer_ms, ..receiving });
        let length = theirs.write(
            (Self::wall(later), later),
            &sending(2, self.numbers[1]),
            receiving,
            false,
            &mut buffer,
        );
        let wall = Self::wall(later + back);
        let received = ours.received((wall, later + back), &buffer[..length], 1).expect("a report");
        let jitter_ms = (self.came[1].jitter * SAMPLE as f64 / MS as f64) as f32;
        self.inside.reported(wall, &received, jitter_ms);
    }
}

/// What became of many interruptions: shares of those that were right, and in which more was said to be heard than was;
/// and the widths of the intervals after four reports, in ms, sorted.
struct Judgement {
    right: f64,
    early: f64,
    widths: Vec<u64>,
}

/// `network` is the jitter in ms and the loss of one world.
fn judge(worlds: u64, interruptions: usize, network: impl Fn(&mut StdRng) -> (u64, f64)) -> Judgement {
    let (mut right, mut all, mut widths, mut early) = (0, 0, Vec::new(), 0);
    for seed in 0..worlds {
        let (jitter_ms, loss) = network(&mut StdRng::seed_from_u64(seed));
        for Judged { interrupted, truth, reports } in World::new(seed, jitter_ms, loss).run(interruptions) {
            let [least, most] = interrupted.heard;
            right += i32::from((least..=most).contains(&truth));
            early += i32::from(truth < least);
            all += 1;
            if reports >= 4 {
                widths.push((most - least) * 1_000 / RATE);
            }
        }
    }
    let share = |part: i32| f64::from(part) / f64::from(all);
    assert!(
        f64::from(all) >= 0.99 * (worlds * interruptions as u64) as f64,
        "{all} interruptions were noticed"
    );
    widths.sort_unstable();
    let (right, early) = (share(right), share(early));
    let width = |of: usize| widths.get(widths.len() * of / 100).copied();
    eprintln!("{all}: {right} right, {early} early, widths {:?}", [50, 90, 95, 99].map(width));
    Judgement { right, early, widths }
}

#[test]
fn what_a_party_had_heard_when_it_interrupted_is_in_the_interval() {
    for (jitter_ms, loss, most) in [(0, 0.0, 40), (0, 0.05, 60), (80, 0.05, 140)] {
        let judged = judge(12, 20, |_| (jitter_ms, loss));
        assert!(judged.right >= 0.98 && judged.early <= 0.01, "{jitter_ms} ms of jitter: {}", judged.right);
        assert!(judged.widths[judged.widths.len() * 9 / 10] <= most, "{:?}", judged.widths);
    }
}

/// `B2B_WORLDS=250` makes 10,000 of them.
#[test]
#[ignore = "takes half a minute"]
fn interruptions_on_any_network_are_judged_rightly() {
    let worlds = std::env::var("B2B_WORLDS").map_or(50, |worlds| worlds.parse().expect("a number"));
    let judged = judge(worlds, 40, |rng| (rng.random_range(0..=80), rng.random_range(0.0..0.05)));
    assert!(judged.right >= 0.99 && judged.early <= 0.01);
}
