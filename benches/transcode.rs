//! CPU time per transcoded packet, for each pair of codecs: decoding, encoding and all other work of the
//! relay machine, without sockets. Virtual time, one thread.
//!
//! usage: cargo bench --bench transcode -- [--seconds 20] [--rounds 5] [--json FILE]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use audio_codec::Encoder as _;
use audio_codec::g722::G722Encoder;
use b2b::media::Now;
use b2b::media::codec::{Codec, g711};
use b2b::media::forward::PayloadMap;
use b2b::media::relay::machine::{Command, Machine, Transmit};
use b2b::media::relay::{EndpointConfig, RelayId, Way};
use b2b::media::remote::{Remote, SendFormat};
use b2b::media::transcode::Plan;
use b2b::media::transport::Channel;
use b2b::util::ntp::NtpTime;
use nix::time::{ClockId, clock_gettime};
use rusty_opus::{Application, OpusEncoder};

const FRAME: Duration = Duration::from_millis(20);

struct Wire(u64);

impl Transmit for Wire {
    fn transmit(&mut self, _: u32, _: Channel, _: SocketAddr, _: &[u8]) -> bool {
        self.0 += 1;
        true
    }
}

/// A voice-like signal: a pulse train that rises and falls, at this rate.
fn voice(rate: usize, seconds: usize) -> Vec<i16> {
    let at = |n: usize| {
        let t = n as f64 / rate as f64;
        let pitch = 120.0 + 30.0 * (t * 2.1).sin();
        let tone: f64 =
            (1..12).map(|h| (t * std::f64::consts::TAU * pitch * f64::from(h)).sin() / f64::from(h)).sum();
        tone * 4_000.0 * (0.55 + 0.45 * (t * 9.0).sin())
    };
    (0..rate * seconds).map(|n| at(n) as i16).collect()
}

/// One second of payloads of a codec, 20 ms each.
fn payloads(codec: Codec) -> Vec<Vec<u8>> {
    let law = |encode: fn(i16) -> u8| {
        voice(8_000, 1)
            .chunks(160)
            .map(|frame| frame.iter().map(|sample| encode(*sample)).collect())
            .collect()
    };
    match codec {
        Codec::Pcmu => law(g711::ulaw_encode),
        Codec::Pcma => law(g711::alaw_encode),
        Codec::G722 => {
            let mut encoder = G722Encoder::new();
            let mut encode = |frame: &[i16]| {
                let mut payload = vec![0; 160];
                encoder.encode_into(frame, &mut payload).expect("encoded");
                payload
            };
            voice(16_000, 1).chunks(320).map(&mut encode).collect()
        }
        Codec::Opus => {
            let mut encoder = OpusEncoder::new(48_000, 1, Application::Voip).expect("an encoder");
            encoder.bitrate_bps = 24_000;
            let mut encode = |frame: &[i16]| {
                let floats: Vec<f32> = frame.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
                let mut payload = vec![0; 1_000];
                let len = encoder.encode(&floats, 960, &mut payload).expect("encoded");
                payload.truncate(len);
                payload
            };
            voice(48_000, 1).chunks(960).map(&mut encode).collect()
        }
    }
}

fn id(slot: u32) -> RelayId {
    RelayId { thread: 0, slot, generation: 1 }
}

fn party(slot: u32) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 4_000 + slot as u16).into()
}

fn way(from: Codec, to: Codec) -> Way {
    let mut payload_types = PayloadMap::EMPTY;
    let mut way = Way::new(payload_types, from.clock_rate());
    if from == to {
        payload_types.forward(from.payload_type(), to.payload_type());
    } else {
        payload_types.up(from.payload_type());
        let to = SendFormat {
            payload_type: to.payload_type(),
            codec: to,
            ptime_ms: 20,
            fec: true,
            max_bitrate: None,
        };
        way.transcode = Some(Plan {
            from: [Some((from.payload_type(), from)), None, None, None],
            to,
            events: None,
            cuts_tones: false,
        });
    }
    way.payload_types = payload_types;
    way
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

/// CPU time per packet of one direction.
fn run(from: Codec, to: Codec, seconds: usize) -> Duration {
    let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
    let mut machine = Machine::new(start.at, 1);
    let mut wire = Wire(0);
    for slot in 0..2 {
        machine.command(start, Command::Open { id: id(slot), config: EndpointConfig::default() }, &mut wire);
        let rtp = party(slot);
        let remote = Remote::at(rtp);
        machine.command(start, Command::Describe { id: id(slot), remote }, &mut wire);
    }
    let (forward, backward) = (Box::new(way(from, to)), Box::new(way(to, from)));
    machine.command(start, Command::Join { a: id(0), b: id(1), forward, backward }, &mut wire);
    let payloads = payloads(from);
    let mut packet = Vec::with_capacity(2_000);
    let mut put = |n: usize| {
        let span = FRAME * n as u32;
        let now = Now { at: start.at + span, wall: start.wall.plus(span) };
        packet.clear();
        packet.extend_from_slice(&[0x80, from.payload_type()]);
        packet.extend_from_slice(&(n as u16).to_be_bytes());
        packet.extend_from_slice(&(n as u32 * (from.clock_rate() / 50)).to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 1]);
        packet.extend_from_slice(&payloads[n % payloads.len()]);
        machine.packet(now, 0, Channel::Rtp, party(0), &mut packet, &mut wire);
    };
    (0..50).for_each(&mut put);
    let before = cpu();
    (50..50 + seconds * 50).for_each(&mut put);
    let spent = cpu() - before;
    assert!(wire.0 >= seconds as u64 * 50, "{} left", wire.0);
    spent / (seconds as u32 * 50)
}

fn main() {
    let (mut seconds, mut rounds, mut json) = (20, 5, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        match word.as_str() {
            "--seconds" => seconds = number(),
            "--rounds" => rounds = number(),
            "--json" => json = words.next(),
            _ => {} // `cargo bench` adds `--bench`
        }
    }
    println!("us of CPU a packet of 20 ms (a call has 100 a second), medians of {rounds} runs");
    println!("from \\ to   {}", Codec::ALL.map(|to| format!("{:>8}", to.name())).join(""));
    let mut rows = Vec::new();
    for from in Codec::ALL {
        let mut line = format!("{:<10}", from.name());
        for to in Codec::ALL {
            let mut runs: Vec<f64> =
                (0..rounds).map(|_| run(from, to, seconds).as_nanos() as f64 / 1_000.0).collect();
            runs.sort_by(f64::total_cmp);
            let us = runs[runs.len() / 2];
            line += &format!("{us:>8.2}");
            rows.push(serde_json::json!({ "from": from.name(), "to": to.name(), "cpu_us_per_packet": us }));
        }
        println!("{line}");
    }
    if let Some(path) = json {
        std::fs::write(path, format!("{:#}\n", serde_json::json!(rows))).expect("a file that can be written");
    }
}
