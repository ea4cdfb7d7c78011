//! The work whose instructions `scripts/instructions.sh` counts: a call through the switch, one that is also written for
//! the next process, and an RTP packet through the relay machine, in virtual time, without sockets and threads.
//!
//! usage: cargo bench --bench instructions -- call|kept|packet COUNT

use std::hint::black_box;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use b2b::call::CallId;
use b2b::call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b::call::service::{CallService, DialRequest};
use b2b::call::switch::keep::{CallStore, WrittenCall};
use b2b::media::Now;
use b2b::media::forward::PayloadMap;
use b2b::media::relay::machine::{Command, Machine, Transmit};
use b2b::media::relay::{EndpointConfig, RelayId, Way};
use b2b::media::remote::Remote;
use b2b::media::transport::Channel;
use b2b::util::ntp::NtpTime;
use b2b_testkit::{Harness, SESSION};
use nix::time::{ClockId, clock_gettime};

/// Legs of the relay, joined in pairs.
const LEGS: u32 = 200;

struct ToBob;

impl ApplicationHandler for ToBob {
    fn name(&self) -> &str {
        "to-bob"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        Box::pin(async { HandlerAction::Dial(Box::new(DialRequest::to("sip:bob@192.0.2.12"))) })
    }
}

/// Sequential calls: INVITE, answer, BYE from the caller; includes the cost of the two parties.
fn call(count: u64) {
    calls(count, Harness::new(Instant::now(), vec![Arc::new(ToBob)]));
}

/// The same, kept for the process after this one.
fn kept(count: u64) {
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(ToBob)]);
    harness.keep_calls(Box::new(Octets::default()));
    calls(count, harness);
}

/// Has the octets of the latest call.
#[derive(Default)]
struct Octets(Vec<u8>);

impl CallStore for Octets {
    fn keep(&mut self, _: CallId, written: Option<WrittenCall<'_>>) -> bool {
        if written.as_ref().is_none_or(|it| !it.goes_on) {
            self.0.clear();
        }
        self.0.extend_from_slice(written.map_or(&[], |it| black_box(it.octets)));
        true
    }
}

fn calls(count: u64, mut harness: Harness) {
    let (ann, bob) = (harness.party("192.0.2.11:5060"), harness.party("192.0.2.12:5060"));
    for _ in 0..count {
        let usage = harness.call(ann, "bob", Some(SESSION));
        harness.answer_next(bob, SESSION);
        assert!(harness.is_up(ann, usage));
        harness.hang_up(ann, usage);
        for party in [ann, bob] {
            harness.take(party);
        }
        harness.records();
        harness.wire.clear();
    }
}

struct Wire(u64);

impl Transmit for Wire {
    fn transmit(&mut self, _: u32, _: Channel, _: SocketAddr, datagram: &[u8]) -> bool {
        self.0 += black_box(datagram.len() as u64);
        true
    }
}

fn leg(slot: u32) -> (RelayId, SocketAddr) {
    let host = [192, 0, 2, slot as u8];
    (RelayId { thread: 0, slot, generation: 1 }, SocketAddr::from((host, 4_000 + slot as u16 * 2)))
}

/// 20 ms PCMU packets both ways through joined legs, with the timers due meanwhile.
fn packet(count: u64) {
    let at = Instant::now();
    let wall = NtpTime::from_system(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let (mut now, mut wire, mut machine) = (Now { at, wall }, Wire(0), Machine::new(at, 7));
    let mut payload_types = PayloadMap::EMPTY;
    payload_types.forward(0, 0);
    for slot in 0..LEGS {
        let (id, party) = leg(slot);
        machine.command(now, Command::Open { id, config: EndpointConfig::default() }, &mut wire);
        machine.command(now, Command::Describe { id, remote: Remote::at(party) }, &mut wire);
    }
    for slot in (0..LEGS).step_by(2) {
        let way = || Box::new(Way::new(payload_types, 8_000));
        let (a, b) = (leg(slot).0, leg(slot + 1).0);
        machine.command(now, Command::Join { a, b, forward: way(), backward: way() }, &mut wire);
    }
    let mut datagram = [0; 172];
    for sent in 0..count {
        let (frame, slot) = (sent / u64::from(LEGS), (sent % u64::from(LEGS)) as u32);
        if slot == 0 {
            now.at += Duration::from_millis(20);
            machine.maintain(now, &mut wire);
            while let Some(event) = machine.poll_event() {
                black_box(event);
            }
        }
        datagram.fill(0xff);
        datagram[..2].copy_from_slice(&[0x80, 0]);
        datagram[2..4].copy_from_slice(&(frame as u16).to_be_bytes());
        datagram[4..8].copy_from_slice(&(frame as u32 * 160).to_be_bytes());
        datagram[8..12].copy_from_slice(&(slot + 1).to_be_bytes());
        machine.packet(now, slot, Channel::Rtp, leg(slot).1, &mut datagram, &mut wire);
    }
    assert!(wire.0 >= count * 172, "every packet was forwarded");
}

/// CPU time of this thread, which excludes other programs.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

fn main() -> ExitCode {
    // Cargo adds `--bench` to the arguments.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let count = words.get(1).and_then(|word| word.parse().ok());
    let work = match words.first().map(String::as_str) {
        Some("call") => call,
        Some("kept") => kept,
        Some("packet") => packet,
        _ => |_| {},
    };
    let Some(count @ 1..) = count else {
        eprintln!("usage: cargo bench --bench instructions -- call|kept|packet COUNT");
        return ExitCode::from(64);
    };
    let begun = cpu();
    work(count);
    println!("{:.0} ns of CPU time each", (cpu() - begun).as_secs_f64() * 1e9 / count as f64);
    ExitCode::SUCCESS
}
