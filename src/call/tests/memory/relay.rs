//! The memory of a relayed call, and that its packets allocate none.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use allocation_counter::measure;
use b2b_base::util::ntp::NtpTime;
use b2b_call::negotiate::pair::{self, PairPolicy, Side};
use b2b_media::Now;
use b2b_media::relay::machine::{Command, Machine, Transmit};
use b2b_media::relay::{EndpointConfig, RelayId};
use b2b_media::transport::Channel;

/// Counts sent packets.
struct Wire(u64);

impl Transmit for Wire {
    fn transmit(&mut self, _: u32, _: Channel, _: SocketAddr, _: &[u8]) -> bool {
        self.0 += 1;
        true
    }
}

fn id(slot: u32) -> RelayId {
    RelayId { thread: 0, slot, generation: 1 }
}

fn party(slot: u32) -> SocketAddr {
    SocketAddr::from(([127, 0, (slot >> 8) as u8, slot as u8], 4_000))
}

/// A session description of typical length.
fn session(slot: u32) -> Vec<u8> {
    format!(
        "v=0\r\no=caller 3724394400 3724394405 IN IP4 {ip}\r\ns=A Caller's Session\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 9 0 8 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
         a=sendrecv\r\na=rtcp-mux\r\na=ssrc:1234567 cname:user@host.example\r\n",
        ip = party(slot).ip()
    )
    .into_bytes()
}

fn now() -> Now {
    Now { at: Instant::now(), wall: NtpTime::from_system(SystemTime::UNIX_EPOCH) }
}

/// The offer and answer of a call, and its two endpoints joined.
fn call(machine: &mut Machine, now: Now, n: u32) -> [Side; 2] {
    let (a, b) = (n * 2, n * 2 + 1);
    let side = |slot: u32| Side::new(SocketAddr::from(([192, 0, 2, 1], 10_000 + slot as u16 * 2)), 7);
    let (mut one, mut other) = (side(a), side(b));
    pair::offer(&mut one, &mut other, &session(a), &PairPolicy::default()).expect("an offer");
    pair::answer(&mut other, &mut one, &session(b)).expect("an answer");
    let join = pair::join(&one, &other).expect("a join");
    let mut wire = Wire(0);
    for (slot, side) in [(a, &one), (b, &other)] {
        let config =
            EndpointConfig { rtp_timeout: Some(Duration::from_secs(60)), ..EndpointConfig::default() };
        machine.command(now, Command::Open { id: id(slot), config }, &mut wire);
        let remote = side.remote().expect("it has answered");
        machine.command(now, Command::Describe { id: id(slot), remote }, &mut wire);
    }
    let (forward, backward) = (Box::new(join.forward.way), Box::new(join.backward.way));
    machine.command(now, Command::Join { a: id(a), b: id(b), forward, backward }, &mut wire);
    [one, other]
}

#[test]
fn a_relayed_call_is_small() {
    const CALLS: u32 = 2_000;
    let now = now();
    let mut machine = Machine::new(now.at, 1);
    let mut sides = Vec::with_capacity(CALLS as usize);
    let held = measure(|| sides.extend((0..CALLS).map(|n| call(&mut machine, now, n))));
    let per_call = held.bytes_current / i64::from(CALLS);
    println!("{per_call} octets a call");
    assert!((1_000..=6_000).contains(&per_call), "{per_call}");
    let freed = measure(|| {
        sides.clear();
        for slot in 0..CALLS * 2 {
            machine.command(now, Command::Close { id: id(slot) }, &mut Wire(0));
            machine.poll_event();
        }
    });
    let left = held.bytes_current + freed.bytes_current;
    assert!(left < i64::from(CALLS) * 100, "tables keep their size, calls leave nothing: {left}");
}

#[test]
fn packets_take_no_memory() {
    let start = now();
    let mut machine = Machine::new(start.at, 1);
    let _sides = call(&mut machine, start, 0);
    let mut wire = Wire(0);
    let mut packet = [0x55u8; 172];
    let mut put = |n: u32, machine: &mut Machine, wire: &mut Wire| {
        let span = Duration::from_millis(20) * n;
        let now = Now { at: start.at + span, wall: start.wall.plus(span) };
        for slot in 0..2 {
            packet[..2].copy_from_slice(&[0x80, 9]);
            packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(n * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&[0, 0, 0, slot as u8]);
            machine.packet(now, slot, Channel::Rtp, party(slot), &mut packet, wire);
        }
        machine.maintain(now, wire);
    };
    for n in 0..500 {
        put(n, &mut machine, &mut wire);
    }
    while machine.poll_event().is_some() {}
    let taken = measure(|| (500..5_000).for_each(|n| put(n, &mut machine, &mut wire)));
    assert!(wire.0 >= 10_000, "{} left, reports among them", wire.0);
    assert_eq!((taken.count_total, taken.bytes_total), (0, 0));
}
