//! CPU time of an endpoint with a source and a sink, for each codec and rate: encoding, RTP, jitter buffer,
//! decoding, playout. Two endpoints on a lossless wire (or one that loses one packet in ten), in virtual
//! time, on one thread; a unit is one packet sent and one received.
//!
//! usage: cargo bench --bench session -- [--seconds 10] [--rounds 5]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b::media::Now;
use b2b::media::codec::Codec;
use b2b::media::local::{Local, LocalAct, LocalConfig, Published};
use b2b::media::relay::machine::{Command, Machine, Transmit};
use b2b::media::relay::{EndpointConfig, RelayId};
use b2b::media::remote::{Remote, SendFormat, Voice as Speech};
use b2b::media::transport::Channel;
use b2b::util::ntp::NtpTime;
use nix::time::{ClockId, clock_gettime};

const TICK: Duration = Duration::from_millis(20);

/// A voice-like signal, generated in advance.
struct Voice(Vec<i16>, usize);

impl Voice {
    fn new(rate_hz: u32) -> Self {
        let at = |n: usize| {
            let t = n as f64 / f64::from(rate_hz);
            let pitch = 120.0 + 30.0 * (t * 2.1).sin();
            let tone: f64 = (1..12)
                .map(|h| (t * std::f64::consts::TAU * pitch * f64::from(h)).sin() / f64::from(h))
                .sum();
            tone * 4_000.0 * (0.55 + 0.45 * (t * 9.0).sin())
        };
        Voice((0..rate_hz as usize * 2).map(|n| at(n) as i16).collect(), 0)
    }
}

impl FrameSource for Voice {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        let from = self.1 % (self.0.len() - frame.samples.len());
        frame.samples.copy_from_slice(&self.0[from..from + frame.samples.len()]);
        self.1 = from + frame.samples.len();
        Fill::Audio
    }
}

struct Last(i16);

impl FrameSink for Last {
    fn frame(&mut self, frame: &InFrame<'_>) {
        self.0 = std::hint::black_box(frame.samples[0]);
    }
}

/// Packets that one endpoint sends in a tick.
#[derive(Default)]
struct Wire {
    packet: Vec<u8>,
    count: u64,
}

impl Transmit for Wire {
    fn transmit(&mut self, _: u32, channel: Channel, _: SocketAddr, datagram: &[u8]) -> bool {
        if channel == Channel::Rtp {
            self.packet.clear();
            self.packet.extend_from_slice(datagram);
            self.count += 1;
        }
        true
    }
}

fn remote(codec: Codec) -> Remote {
    let number = codec.payload_type();
    let gets = SendFormat { fec: true, ..SendFormat::new(number, codec, 20) };
    let rtp = (Ipv4Addr::LOCALHOST, 4_000).into();
    Remote { voice: Speech::new(Some(gets), [(number, codec)]), ..Remote::at(rtp) }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

/// CPU time per packet sent and received, CPU time of `Describe`, and the octets of a described endpoint
/// alone in its machine.
fn run(codec: Codec, rate_hz: u32, lossy: bool, seconds: u64) -> (Duration, Duration, i64) {
    let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
    let config = LocalConfig { rate_hz, ..LocalConfig::default() };
    let id = RelayId { thread: 0, slot: 0, generation: 1 };
    let (mut configuring, mut octets) = (Duration::ZERO, 0);
    let mut machine = |seed: u64| {
        let voice = Box::new(Voice::new(rate_hz));
        let mut made = None;
        let taken = allocation_counter::measure(|| {
            let (mut machine, mut wire) = (Machine::new(start.at, seed), Wire::default());
            let local = Box::new(Local::new(&config, start.at, Arc::new(Published::default())));
            machine.command(start, Command::Open { id, config: EndpointConfig::default() }, &mut wire);
            for act in [LocalAct::Begin(local), LocalAct::Attach(voice, Box::new(Last(0)))] {
                machine.command(start, Command::Local { id, act }, &mut wire);
            }
            let before = cpu();
            machine.command(start, Command::Describe { id, remote: remote(codec) }, &mut wire);
            configuring = cpu() - before;
            made = Some(machine);
        });
        octets = taken.bytes_current;
        made.expect("a machine")
    };
    let mut machines = [machine(1), machine(2)];
    let mut wires = [Wire::default(), Wire::default()];
    let mut tick = |n: u64| {
        let span = TICK * n as u32;
        let now = Now { at: start.at + span, wall: start.wall.plus(span) };
        for (machine, wire) in machines.iter_mut().zip(&mut wires) {
            machine.maintain(now, wire);
            while machine.poll_event().is_some() {}
        }
        if lossy && n % 10 == 7 {
            return;
        }
        for (machine, wire) in machines.iter_mut().zip([1, 0]) {
            let mut packet = std::mem::take(&mut wires[wire].packet);
            let from = (Ipv4Addr::LOCALHOST, 4_000).into();
            machine.arrived(now, id.slot, from, &mut packet);
            wires[wire].packet = packet;
        }
    };
    (0..50).for_each(&mut tick);
    let before = cpu();
    (50..50 + seconds * 50).for_each(&mut tick);
    let spent = cpu() - before;
    assert!(wires.iter().all(|wire| wire.count >= seconds * 50));
    (spent / (2 * seconds as u32 * 50), configuring, octets)
}

fn main() {
    let (mut seconds, mut rounds) = (10, 5);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        match word.as_str() {
            "--seconds" => seconds = number(),
            "--rounds" => rounds = number(),
            _ => {} // `cargo bench` adds `--bench`
        }
    }
    println!("us of CPU for one packet of 20 ms sent and one received, medians of {rounds} runs");
    println!(
        "{:<8}{:>8}{:>10}{:>14}{:>14}{:>16}{:>8}",
        "codec", "Hz", "us", "10 % lost", "% of a core", "describe us", "KB"
    );
    for codec in Codec::ALL {
        for rate_hz in [8_000, 16_000, 24_000, 48_000] {
            let median = |lossy: bool| {
                let mut runs: Vec<_> = (0..rounds).map(|_| run(codec, rate_hz, lossy, seconds)).collect();
                runs.sort();
                let (spent, configuring, octets) = runs[runs.len() / 2];
                (spent.as_nanos() as f64 / 1_000.0, configuring.as_nanos() as f64 / 1_000.0, octets / 1_024)
            };
            let ((us, configuring, kb), (lossy, ..)) = (median(false), median(true));
            println!(
                "{:<8}{rate_hz:>8}{us:>10.2}{lossy:>14.2}{:>14.3}{configuring:>16.1}{kb:>8}",
                codec.name(),
                us * 50.0 / 10_000.0,
            );
        }
    }
}
