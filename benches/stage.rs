//! CPU time of playing and mixing for applications, on one relay machine, without sockets, in virtual time:
//! 20 ms of a prompt for one caller, by codec; and 20 ms of a room for one member, from its packet to the
//! packet it receives, compared to decoding its packet and encoding one alone.
//!
//! usage: cargo bench --bench stage -- [--seconds 5] [--rounds 5] [--json FILE]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use b2b::media::Now;
use b2b::media::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD, OpusTuning};
use b2b::media::relay::machine::{Command, Machine, Transmit};
use b2b::media::relay::{EndpointConfig, RelayId};
use b2b::media::remote::{Remote, SendFormat, Voice};
use b2b::media::room::{Member, RoomAct};
use b2b::media::stage::{Act, OpusMode, Program, Segment, Sound};
use b2b::media::transport::Channel;
use b2b::util::ntp::NtpTime;
use nix::time::{ClockId, clock_gettime};

const FRAME: Duration = Duration::from_millis(20);
/// Callers in the prompt runs.
const CALLERS: u32 = 1_000;
/// Active talkers in a room; the other members send silence, as phones do.
const TALKERS: u32 = 3;
const TUNING: OpusTuning = OpusTuning { bitrate: 24_000, expected_loss_pct: 0 };

struct Wire(u64);

impl Transmit for Wire {
    fn transmit(&mut self, _: u32, _: Channel, _: SocketAddr, _: &[u8]) -> bool {
        self.0 += 1;
        true
    }
}

/// A voice-like signal: a pulse train that rises and falls, at this rate.
fn voice(rate: u32) -> Vec<i16> {
    let at = |n: u32| {
        let t = f64::from(n) / f64::from(rate);
        let pitch = 120.0 + 30.0 * (t * 2.1).sin();
        let tone: f64 =
            (1..12).map(|h| (t * std::f64::consts::TAU * pitch * f64::from(h)).sin() / f64::from(h)).sum();
        tone * 4_000.0 * (0.55 + 0.45 * (t * 9.0).sin())
    };
    (0..rate).map(|n| at(n) as i16).collect()
}

/// One second of these samples as payloads.
fn payloads(codec: Codec, rate: u32, samples: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, rate, TUNING);
    let mut encode = |frame: &[i16]| {
        let mut payload = vec![0; MAX_PAYLOAD];
        let len = encoder.encode(frame, &mut payload).expect("encoded");
        payload.truncate(len);
        payload
    };
    samples.chunks_exact(rate as usize / 50).map(&mut encode).collect()
}

fn id(slot: u32) -> RelayId {
    RelayId { thread: 0, slot, generation: 1 }
}

fn party(slot: u32) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 4_000 + slot as u16).into()
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

/// A machine with a number of parties on one codec.
struct Hall {
    machine: Machine,
    wire: Wire,
    start: Now,
    now: Now,
}

impl Hall {
    fn new(codec: Codec, parties: u32) -> Self {
        let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
        let mut hall = Hall { machine: Machine::new(start.at, 1), wire: Wire(0), start, now: start };
        let payload_type = codec.payload_type();
        let target = SendFormat { payload_type, codec, ptime_ms: 20, fec: false, max_bitrate: None };
        let voice = Voice { gets: Some(target), says: [Some((payload_type, codec)), None, None, None] };
        for slot in 0..parties {
            hall.command(Command::Open { id: id(slot), config: EndpointConfig::default() });
            hall.command(Command::Describe {
                id: id(slot),
                remote: Remote { voice, ..Remote::at(party(slot)) },
            });
        }
        hall
    }

    fn command(&mut self, command: Command) {
        self.machine.command(self.now, command, &mut self.wire);
    }

    /// Runs all ticks of `span`.
    fn run(&mut self, span: Duration) {
        let end = self.now.at + span;
        while let Some(wake) = self.machine.next_wake(self.now.at).filter(|wake| *wake <= end) {
            self.pass(wake);
            self.machine.maintain(self.now, &mut self.wire);
        }
        self.pass(end);
        while self.machine.poll_event().is_some() {}
    }

    fn pass(&mut self, at: Instant) {
        self.now = Now { at, wall: self.start.wall.plus(at - self.start.at) };
    }
}

/// CPU time per caller for 20 ms of a prompt; with `before`, the prompt is encoded once for all callers.
fn prompts(codec: Codec, before: bool, seconds: u32) -> Duration {
    let rate = codec.native_rate_hz();
    let sound: Sound = voice(rate).into();
    let target = SendFormat { payload_type: 0, codec, ptime_ms: 20, fec: false, max_bitrate: None };
    if let Some(mode) = OpusMode::of(&target, rate).filter(|_| before) {
        sound.encode(mode);
    }
    let mut hall = Hall::new(codec, CALLERS);
    for slot in 0..CALLERS {
        let program = Box::new(Program::new(rate, vec![Segment::Sound(sound.clone())], 0));
        let act = Act::Play { ticket: 1, program, reply: None };
        hall.command(Command::Stage { id: id(slot), act: Box::new(act) });
    }
    hall.run(FRAME * 10);
    let (before, sent) = (cpu(), hall.wire.0);
    hall.run(Duration::from_secs(seconds.into()));
    let spent = cpu() - before;
    let packets = hall.wire.0 - sent;
    assert!(packets >= u64::from(CALLERS * seconds * 50), "{packets} left");
    spent / (CALLERS * seconds * 50)
}

/// CPU time per member for 20 ms of a room.
fn room(codec: Codec, rate: u32, members: u32, seconds: u32) -> Duration {
    let mut hall = Hall::new(codec, members);
    let act = |act| Command::Room { number: 1, act: Box::new(act) };
    hall.command(act(RoomAct::Open { rate_hz: rate }));
    for slot in 0..members {
        hall.command(act(RoomAct::Enter { id: id(slot), party: id(slot), member: Member::default() }));
    }
    let native = codec.native_rate_hz();
    let speech = payloads(codec, native, &voice(native));
    let quiet = payloads(codec, native, &vec![0; native as usize]);
    let mut packet = Vec::with_capacity(2_000);
    let mut tick = |hall: &mut Hall, n: usize| {
        for slot in 0..members {
            let payloads = if slot < TALKERS { &speech } else { &quiet };
            packet.clear();
            packet.extend_from_slice(&[0x80, codec.payload_type()]);
            packet.extend_from_slice(&(n as u16).to_be_bytes());
            packet.extend_from_slice(&(n as u32 * (codec.clock_rate() / 50)).to_be_bytes());
            packet.extend_from_slice(&slot.to_be_bytes());
            packet.extend_from_slice(&payloads[n % payloads.len()]);
            hall.machine.packet(hall.now, slot, Channel::Rtp, party(slot), &mut packet, &mut hall.wire);
        }
        hall.run(FRAME);
    };
    (0..50).for_each(|n| tick(&mut hall, n));
    let (before, sent) = (cpu(), hall.wire.0);
    (50..50 + seconds as usize * 50).for_each(|n| tick(&mut hall, n));
    let spent = cpu() - before;
    assert!(hall.wire.0 - sent >= u64::from(members * seconds * 50), "{} left", hall.wire.0 - sent);
    spent / (members * seconds * 50)
}

/// CPU time of decoding the audio of a room's members and of encoding the audio for them.
fn codecs(codec: Codec, rate: u32, members: u32, seconds: u32) -> Duration {
    let native = codec.native_rate_hz();
    let speech = payloads(codec, native, &voice(native));
    let quiet = payloads(codec, native, &vec![0; native as usize]);
    let heard = voice(rate);
    let mut all: Vec<(Decoder, Encoder)> =
        (0..members).map(|_| (Decoder::new(codec, rate), Encoder::new(codec, rate, TUNING))).collect();
    let frame = rate as usize / 50;
    let mut tick = |n: usize| {
        for (slot, (decoder, encoder)) in all.iter_mut().enumerate() {
            let payloads = if slot < TALKERS as usize { &speech } else { &quiet };
            let (mut samples, mut payload) = ([0; 1_920], [0; MAX_PAYLOAD]);
            black_box(decoder.decode(&payloads[n % 50], &mut samples)).expect("decoded");
            black_box(encoder.encode(&heard[n % 50 * frame..][..frame], &mut payload)).expect("encoded");
        }
    };
    (0..50).for_each(&mut tick);
    let before = cpu();
    (50..50 + seconds as usize * 50).for_each(&mut tick);
    (cpu() - before) / (members * seconds * 50)
}

fn median(rounds: usize, run: impl Fn() -> Duration) -> f64 {
    let mut runs: Vec<f64> = (0..rounds).map(|_| run().as_nanos() as f64 / 1_000.0).collect();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn main() {
    let (mut seconds, mut rounds, mut json) = (5, 5, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        match word.as_str() {
            "--seconds" => seconds = number(),
            "--rounds" => rounds = number() as usize,
            "--json" => json = words.next(),
            _ => {} // `cargo bench` adds `--bench`
        }
    }
    let mut rows = Vec::new();
    println!("us of CPU for 20 ms of a prompt, one caller of {CALLERS}; medians of {rounds} runs");
    let live = Codec::ALL.map(|codec| (codec, false));
    for (codec, before) in live.into_iter().chain([(Codec::Opus, true)]) {
        let us = median(rounds, || prompts(codec, before, seconds));
        let name = if before { "opus, encoded before" } else { codec.name() };
        println!("{name:<22}{us:>8.2}    {:>6.3} % of a core a caller", us / 200.0);
        rows.push(serde_json::json!({ "prompt": name, "cpu_us_per_tick": us }));
    }
    println!("us of CPU for 20 ms of a room, one member; {TALKERS} talk");
    println!("codec   rate  members    room  codecs alone  ratio");
    for (codec, rate) in
        [(Codec::Pcmu, 8_000), (Codec::Pcmu, 16_000), (Codec::G722, 16_000), (Codec::Opus, 16_000)]
    {
        for members in [5, 200] {
            // Interleaved, so that other load on the machine affects both alike.
            let room = median(rounds, || room(codec, rate, members, seconds));
            let alone = median(rounds, || codecs(codec, rate, members, seconds));
            let ratio = room / alone;
            println!("{:<6}{rate:>6}{members:>9}{room:>8.2}{alone:>14.2}{ratio:>7.2}", codec.name());
            rows.push(serde_json::json!({
                "room": codec.name(), "rate_hz": rate, "members": members,
                "cpu_us_per_tick": room, "codecs_alone_us": alone,
            }));
        }
    }
    if let Some(path) = json {
        std::fs::write(path, format!("{:#}\n", serde_json::json!(rows))).expect("a file that can be written");
    }
}
