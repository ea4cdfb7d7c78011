//! CPU time of a session that sends and receives, for each codec and rate: encoding, RTP,
//! jitter buffer, decoding, playout. Two sessions on a wire that loses nothing (or one packet
//! in ten), in virtual time, on one thread; a unit is one packet sent and one received.
//!
//! usage: cargo bench --bench session -- [--seconds 10] [--rounds 5]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use b2b::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b::media::Now;
use b2b::media::codec::Codec;
use b2b::media::remote::{Remote, SendFormat, Voice as Speech};
use b2b::media::session::{MediaParams, Output, PacketRecord, Session, SessionConfig, SessionEvent};
use b2b::media::transport::Channel;
use b2b::util::ntp::NtpTime;
use nix::time::{ClockId, clock_gettime};

const TICK: Duration = Duration::from_millis(20);

/// Something like a voice, made before it is needed.
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

/// What one session sends in a tick.
#[derive(Default)]
struct Wire {
    packet: Vec<u8>,
    count: u64,
}

impl Output for Wire {
    fn transmit(&mut self, channel: Channel, _: SocketAddr, datagram: &[u8]) {
        if channel == Channel::Rtp {
            self.packet.clear();
            self.packet.extend_from_slice(datagram);
            self.count += 1;
        }
    }

    fn event(&mut self, _: SessionEvent) {}

    fn received(&mut self, _: PacketRecord) {}
}

fn params(codec: Codec) -> MediaParams {
    let number = codec.payload_type();
    let gets = SendFormat { fec: true, ..SendFormat::new(number, codec, 20) };
    let rtp = (Ipv4Addr::LOCALHOST, 4_000).into();
    let remote = Remote { voice: Speech::new(Some(gets), [(number, codec)]), ..Remote::at(rtp) };
    MediaParams { remote, abs_capture_time_id: None, protection: None }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

/// CPU time per packet sent and received, what `configure` took, and the octets of a session
/// that is configured.
fn run(codec: Codec, rate_hz: u32, lossy: bool, seconds: u64) -> (Duration, Duration, i64) {
    let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
    let config = SessionConfig { rate_hz, ..SessionConfig::default() };
    let (mut configuring, mut octets) = (Duration::ZERO, 0);
    let mut session = |seed: u64| {
        let voice = Box::new(Voice::new(rate_hz));
        let mut made = None;
        let taken = allocation_counter::measure(|| {
            let mut session = Box::new(Session::new(config.clone(), start.at, seed));
            session.attach(start.at, voice, Box::new(Last(0)));
            let before = cpu();
            session.configure(start, start.at, params(codec));
            configuring = cpu() - before;
            made = Some(session);
        });
        octets = taken.bytes_current;
        made.expect("a session")
    };
    let mut sessions = [session(1), session(2)];
    let mut wires = [Wire::default(), Wire::default()];
    let mut tick = |n: u64| {
        let span = TICK * n as u32;
        let now = Now { at: start.at + span, wall: start.wall.plus(span) };
        for (session, wire) in sessions.iter_mut().zip(&mut wires) {
            while let Some(due) = session.next_due(now.at) {
                session.play(now, due);
                session.send(now, due, wire);
            }
            session.maintain(now, wire);
        }
        if lossy && n % 10 == 7 {
            return;
        }
        for (session, wire) in sessions.iter_mut().zip([1, 0]) {
            let mut packet = std::mem::take(&mut wires[wire].packet);
            let from = (Ipv4Addr::LOCALHOST, 4_000).into();
            session.datagram(now, now.at, Channel::Rtp, from, &mut packet, &mut Wire::default());
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
        "codec", "Hz", "us", "10 % lost", "% of a core", "configure us", "KB"
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
