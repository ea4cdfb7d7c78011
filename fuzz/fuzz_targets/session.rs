#![no_main]
//! An endpoint joined with a source and a sink of frames, under arbitrary datagrams and commands, in virtual
//! time, with an impaired network and codec changes. The input is a list of steps: an octet for the action,
//! one for its variant, and its arguments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use b2b::media::Now;
use b2b::media::codec::Codec;
use b2b::media::forward::Header;
use b2b::media::impair::ImpairConfig;
use b2b::media::local::{Adapt, DigitMode, Local, LocalAct, LocalConfig, Published, TICK};
use b2b::media::relay::machine::{Command, Machine, Transmit};
use b2b::media::relay::{EndpointConfig, RelayEvent, RelayId};
use b2b::media::remote::{EventTypes, Remote, SendFormat, Voice as Speech};
use b2b::media::transport::Channel;
use b2b::ua::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b::util::ntp::NtpTime;
use libfuzzer_sys::fuzz_target;

const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

const ID: RelayId = RelayId { thread: 0, slot: 0, generation: 1 };

/// Sink for sent RTP and RTCP, which counts RTP packets.
#[derive(Default)]
struct Wire(u64);

impl Transmit for Wire {
    fn transmit(&mut self, slot: u32, _: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        assert!(slot == ID.slot && !to.ip().is_unspecified());
        let header = Header::read(datagram).expect("what leaves is RTP or RTCP");
        self.0 += u64::from(!(64..=95).contains(&header.payload_type));
        true
    }
}

/// Returns every possible result of a source, in turn.
struct Voice(u8);

impl FrameSource for Voice {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        self.0 = self.0.wrapping_add(1);
        frame.samples.fill(i16::from(self.0) * 99);
        match self.0 % 16 {
            14 => Fill::Silence,
            15 => Fill::Underrun,
            _ => Fill::Audio,
        }
    }
}

/// Counts frames, each one tick long.
struct Ear(u32, Arc<AtomicUsize>);

impl FrameSink for Ear {
    fn frame(&mut self, frame: &InFrame<'_>) {
        assert_eq!(frame.samples.len(), self.0 as usize / 50);
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

fn address(port: u8) -> SocketAddr {
    ([127, 0, 0, 1], 4_000 + u16::from(port % 3)).into()
}

fn remote(how: u8) -> Remote {
    let codec = Codec::ALL[usize::from(how & 3)];
    let events = (101, codec.clock_rate());
    let ptime_ms = codec.ptime_ms(u32::from(how >> 3 & 3) * 20);
    let gets = SendFormat::new(codec.payload_type(), codec, ptime_ms);
    Remote {
        telephone_events: EventTypes::new([events]),
        takes_event: (how & 0x20 == 0).then_some(events),
        receives: how & 0x40 == 0,
        sends: how & 0x80 == 0,
        voice: Speech::new(Some(gets), Codec::ALL.map(|codec| (codec.payload_type(), codec))),
        ..Remote::at(address(how >> 2 & 1))
    }
}

fuzz_target!(|data: &[u8]| {
    let [kind, steps @ ..] = data else { return };
    let rate_hz = RATES[usize::from(kind & 3)];
    let impairment = ImpairConfig { loss_pct: 2.0, jitter_ms: 30.0, reorder_pct: 2.0, dup_pct: 2.0, seed: 1 };
    let config = LocalConfig {
        jitter_ms: u32::from(kind >> 4) * 10,
        impairment: (kind & 4 != 0).then_some(impairment),
        detect_digits: kind & 8 != 0,
        rate_hz,
        ..LocalConfig::default()
    };
    let start = Instant::now();
    let moment = |span: Duration| Now { at: start + span, wall: NtpTime(0xE000_0000_0000_0000).plus(span) };
    let (mut machine, mut wire) = (Machine::new(start, 1), Wire::default());
    let (heard, published) = (Arc::new(AtomicUsize::new(0)), Arc::new(Published::default()));
    machine.keep_records();
    let timeout = EndpointConfig { rtp_timeout: Some(Duration::from_secs(1)), ..EndpointConfig::default() };
    machine.command(moment(Duration::ZERO), Command::Open { id: ID, config: timeout }, &mut wire);
    let begin = LocalAct::Begin(Box::new(Local::new(&config, start, published.clone())));
    machine.command(moment(Duration::ZERO), Command::Local { id: ID, act: begin }, &mut wire);
    let mut span = Duration::ZERO;
    let mut rest = steps;
    while let [what, how, after @ ..] = rest {
        rest = after;
        let now = moment(span);
        let mut act = |act| machine.command(now, Command::Local { id: ID, act }, &mut wire);
        match what % 8 {
            0 => {
                act(LocalAct::CaptureTime(Some(1)));
                machine.command(now, Command::Describe { id: ID, remote: remote(*how) }, &mut wire);
            }
            1 => act(LocalAct::Attach(Box::new(Voice(*how)), Box::new(Ear(rate_hz, heard.clone())))),
            2 => act(match how % 4 {
                0 => {
                    let digit = char::from(b'0' + (how >> 4) % 10);
                    LocalAct::Digit { digit, duration_ms: u32::from(*what) * 4, mode: DigitMode::Event }
                }
                1 => LocalAct::Digit { digit: '#', duration_ms: u32::from(*what), mode: DigitMode::InBand },
                2 => LocalAct::Adapt(Adapt { expected_loss_pct: *what, bitrate: u32::from(*how) * 300 }),
                _ => LocalAct::Volume {
                    sent: Some(f32::from(*what) / 16.0),
                    heard: Some(f32::from(*how) / 16.0),
                },
            }),
            3 | 4 => {
                span += Duration::from_millis(u64::from(*how));
                let (now, before) = (moment(span), wire.0);
                machine.maintain(now, &mut wire);
                assert!(wire.0 - before <= u64::from(*how) / 10 + 2, "no more than time has passed");
                assert!(machine.next_wake(now.at).is_none_or(|wake| wake > now.at), "what was due is done");
            }
            _ => {
                let (packet, after) = rest.split_at(usize::from(*how).min(rest.len()));
                rest = after;
                let (mut packet, source) = (packet.to_vec(), address(what >> 6));
                match *what {
                    0xFF => machine.packet(now, ID.slot, Channel::Rtcp, source, &mut packet, &mut wire),
                    _ => machine.arrived(now, ID.slot, source, &mut packet),
                }
            }
        }
        while machine.poll_record().is_some() {}
        while machine.poll_event().is_some() {}
    }
    machine.command(moment(span), Command::Close { id: ID }, &mut wire);
    let Some(RelayEvent::Heard { stats, reception, .. }) = machine.poll_event() else {
        panic!("what it has come to is told")
    };
    assert!(stats.lost <= u64::from(u32::MAX) && stats.mos.is_none_or(|mos| (1.0..=5.0).contains(&mos)));
    assert!(reception.bursts <= stats.concealed, "{} bursts", reception.bursts);
    assert!(published.load().packets_rx <= stats.packets_rx);
    assert!(matches!(machine.poll_event(), Some(RelayEvent::Closed { .. })) && machine.open() == 0);
    // One frame per tick, and those still buffered.
    let ticks = span.as_nanos() / TICK.as_nanos() + 1;
    assert!(heard.load(Ordering::Relaxed) as u128 <= ticks + 20);
});
