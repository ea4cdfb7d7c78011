//! A media thread on loopback sockets. Nothing here depends on timing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::*;
use crate::codec::Codec;
use crate::relay::{OpenError, RelayEvent, RelayId, SpawnError};
use crate::remote::{EventTypes, SendFormat, Voice};
use b2b_base::frame::{Fill, FrameKind, InFrame, OutFrame};
use b2b_base::metrics::MediaStats;

const LONG: Duration = Duration::from_secs(20);

struct Frames(u64);

impl FrameSource for Frames {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        if self.0 == 0 {
            return Fill::End;
        }
        self.0 -= 1;
        frame.samples.fill(5_000);
        Fill::Audio
    }
}

#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl FrameSink for Count {
    fn frame(&mut self, frame: &InFrame<'_>) {
        if frame.kind == FrameKind::Audio && frame.samples[80] > 4_000 && frame.captured_at.is_some() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn media(seed: u64) -> (MediaHandle, UnboundedReceiver<RelayEvent>) {
    MediaHandle::spawn(MediaConfig::new(Ipv4Addr::LOCALHOST.into(), seed)).unwrap()
}

fn params(rtp: SocketAddr) -> MediaParams {
    speaking(rtp, 8, Codec::Pcma, (101, 8_000))
}

fn speaking(rtp: SocketAddr, payload_type: u8, codec: Codec, event: (u8, u32)) -> MediaParams {
    let gets = SendFormat::new(payload_type, codec, 20);
    let remote = Remote {
        telephone_events: EventTypes::new([event]),
        takes_event: Some(event),
        voice: Voice::new(Some(gets), [(payload_type, codec)]),
        ..Remote::at(rtp)
    };
    MediaParams { remote, abs_capture_time_id: Some(3), protection: None }
}

/// The next event; `None` once the thread has ended.
fn next(events: &mut UnboundedReceiver<RelayEvent>) -> Option<RelayEvent> {
    let end = Instant::now() + LONG;
    loop {
        match events.try_recv() {
            Ok(event) => return Some(event),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => assert!(Instant::now() < end, "the event never came"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn until(events: &mut UnboundedReceiver<RelayEvent>, wanted: impl Fn(&RelayEvent) -> bool) -> RelayEvent {
    loop {
        let event = next(events).expect("the thread runs");
        if wanted(&event) {
            return event;
        }
    }
}

fn started(id: RelayId) -> impl Fn(&RelayEvent) -> bool {
    move |event| matches!(event, RelayEvent::Started { id: it, .. } if *it == id)
}

fn closed(id: RelayId) -> impl Fn(&RelayEvent) -> bool {
    move |event| matches!(event, RelayEvent::Closed { id: it, .. } if *it == id)
}

#[test]
fn two_endpoints_exchange_audio_over_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("packets.csv");
    let config =
        MediaConfig { packet_log: Some(log.clone()), ..MediaConfig::new(Ipv4Addr::LOCALHOST.into(), 11) };
    let (handle, mut events) = MediaHandle::spawn(config).unwrap();
    let (a, a_rtp) = handle.open(&LocalConfig::default()).unwrap();
    let (b, b_rtp) = handle.open(&LocalConfig::default()).unwrap();
    assert!(a_rtp.port().is_multiple_of(2) && a_rtp != b_rtp);
    let heard = Count::default();
    handle.attach(a, Box::new(Frames(25)), Box::new(Count::default())).unwrap();
    handle.attach(b, Box::new(Frames(0)), Box::new(heard.clone())).unwrap();
    handle.configure(b, params(a_rtp)).unwrap();
    handle.configure(a, params(b_rtp)).unwrap();
    until(&mut events, |event| *event == RelayEvent::Started { id: b, from: a_rtp });
    until(&mut events, |event| *event == RelayEvent::SourceEnded { id: a });
    let end = Instant::now() + LONG;
    while heard.0.load(Ordering::Relaxed) < 25 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(heard.0.load(Ordering::Relaxed) >= 20, "{:?}", handle.stats(b));
    handle.close(a);
    handle.close(a);
    let RelayEvent::Heard { stats, .. } =
        until(&mut events, |event| matches!(event, RelayEvent::Heard { id, .. } if *id == a))
    else {
        unreachable!()
    };
    assert!(closed(a)(&next(&mut events).unwrap()), "right behind it");
    assert!(stats.packets_tx >= 25 && stats.packets_rx >= 20);
    assert_eq!(handle.stats(a), None);
    assert!(handle.configure(a, params(b_rtp)).is_err());
    handle.shutdown();
    until(&mut events, closed(b));
    let rows = std::fs::read_to_string(log).unwrap();
    assert!(rows.lines().filter(|row| row.ends_with(",played")).count() >= 40, "{rows}");
    assert!(matches!(handle.open(&LocalConfig::default()), Err(OpenError::Stopped)));
}

/// Polls until a level is as expected.
fn until_level(handle: &MediaHandle, id: RelayId, wanted: impl Fn(&Levels) -> bool) {
    let end = Instant::now() + LONG;
    while !handle.levels(id).is_some_and(|levels| wanted(&levels)) {
        assert!(Instant::now() < end, "{:?}", handle.levels(id));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_wide_endpoint_is_muted_measured_and_sends_digits_by_command() {
    let (handle, mut events) = media(15);
    let config = LocalConfig { rate_hz: 48_000, ..LocalConfig::default() };
    let (a, a_rtp) = handle.open(&config).unwrap();
    let (b, b_rtp) = handle.open(&config).unwrap();
    let wide = |rtp: SocketAddr| speaking(rtp, 111, Codec::Opus, (110, 48_000));
    for (id, remote) in [(a, b_rtp), (b, a_rtp)] {
        handle.attach(id, Box::new(Frames(u64::MAX)), Box::new(Count::default())).unwrap();
        handle.configure(id, wide(remote)).unwrap();
    }
    until(&mut events, started(b));
    until_level(&handle, a, |levels| levels.sent.rms > 4_000 && levels.sent.peak >= 5_000);
    handle.digit(a, '#', 80, DigitMode::Event).unwrap();
    let (digit, duration_ms, passed_on, by_tone) = ('#', 80, false, false);
    let digit = RelayEvent::Digit { id: b, digit, duration_ms, passed_on, by_tone };
    until(&mut events, |event| *event == digit);
    handle.mute(a, true).unwrap();
    until_level(&handle, a, |levels| levels.sent.peak == 0);
    until_level(&handle, b, |levels| levels.heard.rms < 100);
    assert_eq!(handle.digit(a, 'x', 80, DigitMode::Event), Err(CommandError::NoDigit('x')));
    handle.adapt(a, Adapt { expected_loss_pct: 20, bitrate: 16_000 }).unwrap();
    handle.close(a);
    assert_eq!(handle.mute(a, false), Err(CommandError::NoSuchEndpoint));
    assert_eq!(handle.levels(a), None);
    handle.shutdown();
}

#[test]
fn a_peer_that_is_gone_does_not_stop_an_endpoint() {
    let (handle, mut events) = media(12);
    let (id, local) = handle.open(&LocalConfig::default()).unwrap();
    // Nothing listens there: every packet is answered by ICMP.
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let remote = peer.local_addr().unwrap();
    drop(peer);
    handle.attach(id, Box::new(Frames(5)), Box::new(Count::default())).unwrap();
    handle.configure(id, params(remote)).unwrap();
    until(&mut events, |event| *event == RelayEvent::SourceEnded { id });
    // Now a socket listens, at the same address.
    let peer = UdpSocket::bind(remote).unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    let mut buffer = [0; 2_000];
    let (_, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(from, local);
    let packets: [&[u8]; 2] =
        [&[0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[0x80, 8, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0]];
    for packet in packets {
        peer.send_to(packet, local).unwrap();
    }
    until(&mut events, |event| *event == RelayEvent::Started { id, from: remote });
}

#[test]
fn a_media_thread_ends_with_its_last_handle() {
    let (handle, mut events) = media(13);
    let other = handle.clone();
    let (id, _) = handle.open(&LocalConfig::default()).unwrap();
    drop(handle);
    assert_eq!(other.stats(id), Some(MediaStats::default()));
    drop(other);
    until(&mut events, closed(id));
    while let Some(event) = next(&mut events) {
        // Endpoints bound ahead and never used are closed with the thread, without an event.
        assert!(!matches!(event, RelayEvent::Closed { .. }), "{event:?}");
    }
}

#[test]
fn what_cannot_be_served_is_refused() {
    let (handle, _events) = media(14);
    let (id, local) = handle.open(&LocalConfig::default()).unwrap();
    let mut bad = params(local);
    bad.remote.voice.gets = Some(SendFormat::new(8, Codec::Pcma, 25));
    assert!(matches!(handle.configure(id, bad), Err(CommandError::Params(_))));
    let gone = RelayId { slot: 99, ..id };
    assert_eq!(handle.configure(gone, params(local)), Err(CommandError::NoSuchEndpoint));
    handle.close(gone);

    // The range has no even port.
    let config = MediaConfig { port_range: 1..=1, ..MediaConfig::new(Ipv4Addr::LOCALHOST.into(), 1) };
    assert!(matches!(MediaHandle::spawn(config), Err(SpawnError::Ports(1))));

    let elsewhere: IpAddr = Ipv4Addr::new(203, 0, 113, 1).into();
    let refused = MediaHandle::spawn(MediaConfig::new(elsewhere, 1));
    assert!(matches!(refused, Err(SpawnError::Bind { ip, .. }) if ip == elsewhere));

    let path = tempfile::tempdir().unwrap().path().join("no/such/folder.csv");
    let here = MediaConfig::new(Ipv4Addr::LOCALHOST.into(), 1);
    let config = MediaConfig { packet_log: Some(path), ..here };
    assert!(matches!(MediaHandle::spawn(config), Err(SpawnError::PacketLog { .. })));
}
