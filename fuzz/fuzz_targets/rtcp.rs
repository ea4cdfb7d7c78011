#![no_main]
//! Compound RTCP packets as a relay receives them: alone, and at an endpoint that sends reports of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use b2b::media::Now;
use b2b::media::relay::machine::{Command, Machine, Transmit};
use b2b::media::relay::{EndpointConfig, RelayId};
use b2b::media::remote::Remote;
use b2b::media::rtp::rtcp;
use b2b::media::transport::Channel;
use b2b::util::ntp::NtpTime;
use libfuzzer_sys::fuzz_target;

struct Reports(u32);

impl Transmit for Reports {
    fn transmit(&mut self, _: u32, _: Channel, _: SocketAddr, datagram: &[u8]) -> bool {
        assert!(rtcp::parse(datagram, 0).is_ok(), "our own reports read well");
        self.0 += 1;
        true
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = rtcp::parse(data, 0x0102_0304);
    let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
    let (mut machine, mut sent) = (Machine::new(start.at, 1), Reports(0));
    let id = RelayId { thread: 0, slot: 0, generation: 1 };
    let rtp: SocketAddr = ([127, 0, 0, 1], 4_000).into();
    machine.command(start, Command::Open { id, config: EndpointConfig::default() }, &mut sent);
    let remote = Remote::at(rtp);
    machine.command(start, Command::Describe { id, remote }, &mut sent);
    let mut buffer = [0; 2_048];
    for (n, part) in data.chunks(300).enumerate() {
        let span = Duration::from_secs(n as u64 * 3);
        let now = Now { at: start.at + span, wall: start.wall.plus(span) };
        buffer[..part.len()].copy_from_slice(part);
        machine.packet(now, 0, Channel::Rtcp, rtp, &mut buffer[..part.len()], &mut sent);
        machine.maintain(now, &mut sent);
    }
    machine.command(start, Command::Close { id }, &mut sent);
    assert!(sent.0 > 0, "the goodbye at least");
});
