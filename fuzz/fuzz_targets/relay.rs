#![no_main]
//! The relay machine under arbitrary packets, commands and rules, including transcoding. The input is a list
//! of steps: an octet for the action, one for its variant, and its arguments.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use b2b::media::Now;
use b2b::media::codec::Codec;
use b2b::media::forward::{ExtensionMap, Header, PayloadMap};
use b2b::media::relay::machine::{Command, Machine, Transmit};
use b2b::media::relay::{EndpointConfig, Law, Recode, RelayId, Way};
use b2b::media::remote::{EventTypes, Remote, SendFormat};
use b2b::media::transcode::{Events, Plan};
use b2b::media::transport::Channel;
use b2b::util::ntp::NtpTime;
use libfuzzer_sys::fuzz_target;

const SLOTS: u8 = 3;

/// The stream that each leg receives: always a single one.
#[derive(Default)]
struct Ears([Option<u32>; SLOTS as usize]);

impl Transmit for Ears {
    fn transmit(&mut self, slot: u32, _: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        assert!(!to.ip().is_unspecified() && to.port() != 0);
        let header = Header::read(datagram).expect("what leaves is RTP or RTCP");
        if !(64..=95).contains(&header.payload_type) {
            let before = self.0[slot as usize].replace(header.ssrc);
            assert!(before.is_none_or(|before| before == header.ssrc), "one SSRC for a leg's life");
        }
        true
    }
}

fn id(slot: u8) -> RelayId {
    RelayId { thread: 0, slot: u32::from(slot % SLOTS), generation: 1 }
}

fn party(slot: u8) -> SocketAddr {
    ([127, 0, 0, 1], 4_000 + u16::from(slot % 5)).into()
}

fn way(how: u8) -> Way {
    let mut payload_types = PayloadMap::EMPTY;
    let mut extensions = ExtensionMap::EMPTY;
    extensions.pass(1, 1 + how % 14);
    payload_types.telephone_event(101);
    let (from, to) = (Codec::ALL[usize::from(how >> 4 & 3)], Codec::ALL[usize::from(how >> 6)]);
    let mut way = Way::new(PayloadMap::EMPTY, from.clock_rate());
    match how & 3 {
        0 => payload_types = PayloadMap::all(),
        1 => {
            payload_types.forward(0, 8);
            way.recode = Some(Recode { payload_type: 0, to: Law::A });
        }
        _ => {
            payload_types.up(from.payload_type());
            let ptime_ms = to.ptime_ms(u32::from(how & 0x0F) * 10);
            let target =
                SendFormat { payload_type: to.payload_type(), codec: to, ptime_ms, fec: true, max_bitrate: Some(0) };
            let events = Events { from: [Some((101, 8_000)), Some((96, 48_000)), None, None], to: (110, to.clock_rate()) };
            way.transcode = Some(Plan {
                from: [Some((from.payload_type(), from)), Some((0, Codec::Pcmu)), None, None],
                to: target,
                events: Some(events),
                cuts_tones: how & 0x10 != 0,
            });
        }
    }
    Way { payload_types, extensions, ..way }
}

fuzz_target!(|data: &[u8]| {
    let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
    let (mut machine, mut ears) = (Machine::new(start.at, 1), Ears::default());
    let mut span = Duration::ZERO;
    let mut rest = data;
    for slot in 0..SLOTS {
        let config = EndpointConfig { rtp_timeout: Some(Duration::from_secs(1)), ..EndpointConfig::default() };
        machine.command(start, Command::Open { id: id(slot), config }, &mut ears);
    }
    while let [what, how, after @ ..] = rest {
        rest = after;
        let now = Now { at: start.at + span, wall: start.wall.plus(span) };
        match what % 8 {
            0 => {
                let remote = Remote {
                    rtcp_mux: how & 0x20 == 0,
                    receives: how & 0x10 == 0,
                    telephone_events: EventTypes::new([(101, 8_000)]),
                    takes_event: Some((96, 8_000)),
                    ..Remote::at(party(*how))
                };
                machine.command(now, Command::Describe { id: id(*what >> 3), remote }, &mut ears);
            }
            1 => {
                let (forward, backward) = (Box::new(way(*how)), Box::new(way(how.rotate_left(4))));
                let (a, b) = (id(*what >> 3), id(*what >> 5));
                machine.command(now, Command::Join { a, b, forward, backward }, &mut ears);
            }
            2 => machine.command(now, Command::Part { a: id(*what >> 3), b: id(*how) }, &mut ears),
            3 => {
                span += Duration::from_millis(u64::from(*how) * 5);
                machine.maintain(Now { at: start.at + span, wall: start.wall.plus(span) }, &mut ears);
            }
            _ => {
                let len = usize::from(*how).min(rest.len());
                let (packet, after) = rest.split_at(len);
                rest = after;
                let mut packet = packet.to_vec();
                let slot = *what >> 3;
                machine.packet(now, id(slot).slot, Channel::Rtp, party(slot), &mut packet, &mut ears);
            }
        }
        while machine.poll_event().is_some() {}
    }
    for slot in 0..SLOTS {
        machine.command(start, Command::Close { id: id(slot) }, &mut ears);
    }
    assert_eq!(machine.open(), 0);
});
