#![no_main]
//! A session under any datagrams and commands, in virtual time, with an impaired network and codecs that
//! change. The input is a list of steps: an octet that says what, one that says how, and what it needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use b2b::media::Now;
use b2b::media::codec::Codec;
use b2b::media::forward::Header;
use b2b::media::impair::ImpairConfig;
use b2b::media::remote::{EventTypes, Remote, SendFormat, Voice as Speech};
use b2b::media::session::{
    Adapt, DigitMode, MediaParams, Output, PacketRecord, Session, SessionConfig, SessionEvent, TICK,
};
use b2b::media::transport::Channel;
use b2b::ua::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b::util::ntp::NtpTime;
use libfuzzer_sys::fuzz_target;

const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

/// What is sent: RTP or RTCP, to somebody.
struct Wire;

impl Output for Wire {
    fn transmit(&mut self, _: Channel, to: SocketAddr, datagram: &[u8]) {
        assert!(!to.ip().is_unspecified());
        Header::read(datagram).expect("what leaves is RTP or RTCP");
    }

    fn event(&mut self, _: SessionEvent) {}

    fn received(&mut self, _: PacketRecord) {}
}

/// Gives everything that a source may give, in turn.
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

/// Counts frames, which are all as long as a tick.
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

fn params(how: u8) -> MediaParams {
    let codec = Codec::ALL[usize::from(how & 3)];
    let events = (101, codec.clock_rate());
    let ptime_ms = codec.ptime_ms(u32::from(how >> 3 & 3) * 20);
    let gets = SendFormat::new(codec.payload_type(), codec, ptime_ms);
    let remote = Remote {
        telephone_events: EventTypes::new([events]),
        takes_event: (how & 0x20 == 0).then_some(events),
        receives: how & 0x40 == 0,
        sends: how & 0x80 == 0,
        voice: Speech::new(Some(gets), Codec::ALL.map(|codec| (codec.payload_type(), codec))),
        ..Remote::at(address(how >> 2 & 1))
    };
    MediaParams { remote, abs_capture_time_id: Some(1), protection: None }
}

fuzz_target!(|data: &[u8]| {
    let [kind, steps @ ..] = data else { return };
    let rate_hz = RATES[usize::from(kind & 3)];
    let impairment = ImpairConfig { loss_pct: 2.0, jitter_ms: 30.0, reorder_pct: 2.0, dup_pct: 2.0, seed: 1 };
    let config = SessionConfig {
        jitter_ms: u32::from(kind >> 4) * 10,
        impairment: (kind & 4 != 0).then_some(impairment),
        detect_digits: kind & 8 != 0,
        rate_hz,
        ..SessionConfig::default()
    };
    let start = Instant::now();
    let (mut session, heard) = (Session::new(config, start, 1), Arc::new(AtomicUsize::new(0)));
    let (mut span, mut played) = (Duration::ZERO, 0);
    let mut rest = steps;
    let mut attached = false;
    while let [what, how, after @ ..] = rest {
        rest = after;
        let now = Now { at: start + span, wall: NtpTime(0xE000_0000_0000_0000).plus(span) };
        let tick = start + TICK * (span.as_nanos().div_ceil(TICK.as_nanos()) as u32);
        match what % 8 {
            0 => session.configure(now, tick, params(*how)),
            1 => {
                session.attach(tick, Box::new(Voice(*how)), Box::new(Ear(rate_hz, heard.clone())));
                attached = true;
            }
            2 => match how % 4 {
                0 => session.digit(char::from(b'0' + (how >> 4) % 10), u32::from(*what) * 4, DigitMode::Event),
                1 => session.digit('#', u32::from(*what), DigitMode::InBand),
                2 => session.adapt(Adapt { expected_loss_pct: *what, bitrate: u32::from(*how) * 300 }),
                _ => session.volume(Some(f32::from(*what) / 16.0), Some(f32::from(*how) / 16.0)),
            },
            3 | 4 => {
                span += Duration::from_millis(u64::from(*how));
                let now = Now { at: start + span, wall: NtpTime(0xE000_0000_0000_0000).plus(span) };
                session.release_impaired(now.at, &mut Wire);
                let mut ticks = 0;
                while let Some(tick) = session.next_due(now.at) {
                    ticks += 1;
                    assert!(ticks < 200, "no more than time has passed");
                    session.play(now, tick);
                    session.send(now, tick, &mut Wire);
                }
                session.maintain(now, &mut Wire);
                played += ticks;
            }
            _ => {
                let (packet, after) = rest.split_at(usize::from(*how).min(rest.len()));
                rest = after;
                let channel = if *what == 0xFF { Channel::Rtcp } else { Channel::Rtp };
                let mut packet = packet.to_vec();
                session.datagram(now, now.at, channel, address(what >> 6), &mut packet, &mut Wire);
            }
        }
    }
    let now = Now { at: start + span, wall: NtpTime(0xE000_0000_0000_0000).plus(span) };
    session.play_out(now);
    session.bye(now, &mut Wire);
    let stats = session.stats(now.at);
    assert!(stats.lost <= u64::from(u32::MAX) && stats.mos.is_none_or(|mos| (1.0..=5.0).contains(&mos)));
    assert!(heard.load(Ordering::Relaxed) <= played + 20 || !attached);
});
