//! Endpoints joined with a local source and sink of frames, in virtual time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Command, Machine, RelayEvent, Sent, Transmit, id, packet};
use crate::Now;
use crate::codec::Codec;
use crate::local::{
    Diagnostics, Levels, Local, LocalAct, LocalConfig, MediaParams, PacketRecord, Published, Reception,
    Verdict,
};
use crate::relay::EndpointConfig;
use crate::relay::protection::{Room, protect};
use crate::relay::sockets::Layers;
use crate::relay::thread::SIZE;
use crate::remote::{EventTypes, Remote, SendFormat, Voice};
use crate::rtp::packet::RtpPacket;
use crate::rtp::rtcp;
use crate::transport::Channel;
use crate::transport::protection::{Protection, RTCP_OVERHEAD};
use b2b_base::frame::{Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_base::metrics::MediaStats;
use b2b_base::util::ntp::NtpTime;

mod hearing;
mod lab;
mod protection;
mod sending;
mod sequence;
mod sources;
mod timeouts;
mod trouble;
mod wide;

const WALL: NtpTime = NtpTime(0xE000_0000_0000_0000);

/// What was sent, the events, and the verdict on each received packet.
struct Collected {
    sent: Vec<Sent>,
    events: Vec<RelayEvent>,
    verdicts: Vec<Verdict>,
    layers: Layers,
    room: Box<Room>,
}

impl Collected {
    fn new() -> Self {
        let local = address(2_000);
        let layers = Layers { protection: None, local, tap: None, records: Vec::new(), unproven: None };
        let room = Box::new([0; SIZE + RTCP_OVERHEAD]);
        Collected { sent: Vec::new(), events: Vec::new(), verdicts: Vec::new(), layers, room }
    }
}

impl Transmit for Collected {
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        let data = match &mut self.layers.protection {
            Some(protection) => protect(protection, channel, datagram, &mut self.room),
            None => Some(datagram),
        };
        let Some(data) = data else { return false };
        self.sent.push(Sent { slot, channel, to, data: data.to_vec() });
        true
    }
}

/// Follows its script, then speaks endlessly.
struct Script(Vec<Fill>);

impl FrameSource for Script {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        let fill = if self.0.is_empty() { Fill::Audio } else { self.0.remove(0) };
        if fill == Fill::Audio {
            frame.samples.fill(1_000);
        }
        fill
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<FrameKind>>>);

impl FrameSink for Heard {
    fn frame(&mut self, frame: &InFrame<'_>) {
        self.0.lock().unwrap().push(frame.kind);
    }
}

/// A machine with one endpoint, driven as by a thread, SRTP included.
struct Bench {
    epoch: Instant,
    machine: Machine,
    out: Collected,
    heard: Heard,
    /// The last time used here, ms.
    ms: u64,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn params(ptime_ms: u32) -> MediaParams {
    let gets = SendFormat::new(0, Codec::Pcmu, ptime_ms);
    let remote = Remote {
        rtcp_mux: false,
        telephone_events: EventTypes::new([(101, 8_000)]),
        takes_event: Some((97, 8_000)),
        voice: Voice::new(Some(gets), [(0, Codec::Pcmu), (8, Codec::Pcma)]),
        ..Remote::at(address(4_000))
    };
    MediaParams { remote, abs_capture_time_id: Some(1), protection: None }
}

/// The same for a far end with these directions.
fn directed(sends: bool, receives: bool, params: MediaParams) -> MediaParams {
    MediaParams { remote: Remote { sends, receives, ..params.remote }, ..params }
}

/// The nth packet of a far end.
fn audio(ssrc: u32, n: u32) -> Vec<u8> {
    packet(0, (n as u16).wrapping_add(65_000), n.wrapping_mul(160), ssrc, &[0x80; 160])
}

impl Bench {
    fn new(config: LocalConfig, params: MediaParams, source: Script) -> Self {
        let mut bench = Bench::opened(config, Instant::now(), 42);
        bench.attach(Box::new(source));
        bench.configure(0, params);
        bench
    }

    /// An endpoint that is not described yet.
    fn opened(config: LocalConfig, epoch: Instant, seed: u64) -> Self {
        let mut machine = Machine::new(epoch, seed);
        machine.keep_records();
        let (out, heard) = (Collected::new(), Heard::default());
        let mut bench = Bench { epoch, machine, out, heard, ms: 0 };
        let EndpointConfig { sources, .. } = EndpointConfig::default();
        let endpoint = EndpointConfig { rtp_timeout: config.rtp_timeout, sources };
        bench.command(Command::Open { id: id(0), config: endpoint });
        let local = Local::new(&config, epoch, Arc::new(Published::default()));
        bench.act(LocalAct::Begin(Box::new(local)));
        bench
    }

    /// The far end of another bench: its own SSRC, the same clock.
    fn facing(&self, params: MediaParams) -> Self {
        let mut bench = Bench::opened(LocalConfig::default(), self.epoch, 43);
        bench.attach(Box::new(Script(Vec::new())));
        bench.configure(0, params);
        bench
    }

    fn plain() -> Self {
        Bench::new(LocalConfig::default(), params(20), Script(Vec::new()))
    }

    fn now(&self, ms: u64) -> Now {
        let since = Duration::from_millis(ms);
        Now { at: self.epoch + since, wall: WALL.plus(since) }
    }

    fn command(&mut self, command: Command) {
        self.machine.command(self.now(self.ms), command, &mut self.out);
        self.collect();
    }

    fn act(&mut self, act: LocalAct) {
        self.command(Command::Local { id: id(0), act });
    }

    fn attach(&mut self, source: Box<dyn FrameSource>) {
        self.attach_both(source, Box::new(self.heard.clone()));
    }

    fn attach_both(&mut self, source: Box<dyn FrameSource>, sink: Box<dyn FrameSink>) {
        self.act(LocalAct::Attach(source, sink));
    }

    /// Applies what offer and answer settle.
    fn configure(&mut self, ms: u64, params: MediaParams) {
        self.ms = ms;
        self.act(LocalAct::CaptureTime(params.abs_capture_time_id));
        self.machine.authenticates(id(0), params.protection.is_some());
        Protection::settle(&mut self.out.layers.protection, params.protection);
        self.command(Command::Describe { id: id(0), remote: params.remote });
    }

    /// What a thread does when it wakes.
    fn wake(&mut self, ms: u64) {
        self.ms = ms;
        self.machine.maintain(self.now(ms), &mut self.out);
        self.collect();
    }

    fn receive(&mut self, ms: u64, port: u16, packet: &[u8]) {
        self.put(ms, address(port), packet);
    }

    fn put(&mut self, ms: u64, source: SocketAddr, packet: &[u8]) {
        self.datagram(ms, ms, Channel::Rtp, source, packet);
    }

    /// A datagram that arrived at `arrival`, and is read at `ms`.
    fn datagram(&mut self, ms: u64, arrival: u64, channel: Channel, source: SocketAddr, octets: &[u8]) {
        self.ms = ms;
        let (now, arrival) = (self.now(ms), self.now(arrival));
        let mut datagram = octets.to_vec();
        match self.out.layers.receive(channel, source, &mut datagram) {
            Ok(datagram) if channel == Channel::Rtp => self.machine.arrived(arrival, 0, source, datagram),
            Ok(datagram) => self.machine.packet(now, 0, channel, source, datagram, &mut self.out),
            Err(why) => self.machine.refused(arrival.at, 0, &datagram, why),
        }
        self.collect();
    }

    fn collect(&mut self) {
        self.out.events.extend(std::iter::from_fn(|| self.machine.poll_event()));
        let records = std::iter::from_fn(|| self.machine.poll_record());
        self.out.verdicts.extend(records.map(|PacketRecord { verdict, .. }| verdict));
    }

    /// Closes the endpoint, with the last report.
    fn bye(&mut self, ms: u64) {
        self.ms = ms;
        self.command(Command::Close { id: id(0) });
    }

    fn stats(&self) -> MediaStats {
        self.figures().0
    }

    fn reception(&self) -> Reception {
        self.figures().1
    }

    fn figures(&self) -> (MediaStats, Reception) {
        self.machine.endpoints[0].as_ref().and_then(|it| it.heard()).unwrap()
    }

    fn diagnostics(&self) -> Diagnostics {
        self.machine.endpoints[0].as_ref().unwrap().diagnostics()
    }

    /// The levels of both directions.
    fn levels(&self) -> Levels {
        self.machine.endpoints[0].as_ref().and_then(|it| it.local.as_ref()).unwrap().levels()
    }

    /// Whether a datagram is read at all.
    fn listens(&self) -> bool {
        self.machine.listeners().next().is_some()
    }

    fn rtp(&self) -> Vec<Vec<u8>> {
        let rtp = self.out.sent.iter().filter(|sent| sent.channel == Channel::Rtp);
        rtp.map(|sent| sent.data.clone()).collect()
    }

    fn timeouts(&self) -> usize {
        self.out.events.iter().filter(|event| **event == RelayEvent::Timeout { id: id(0) }).count()
    }

    /// The digits received, and their durations.
    fn digits(&self) -> Vec<(char, u32)> {
        let digit = |event: &RelayEvent| match event {
            RelayEvent::Digit { digit, duration_ms, passed_on: false, .. } => Some((*digit, *duration_ms)),
            _ => None,
        };
        self.out.events.iter().filter_map(digit).collect()
    }

    fn has_started(&self) -> bool {
        self.out.events.iter().any(|event| matches!(event, RelayEvent::Started { .. }))
    }
}

/// The first packet of a far end from its signalled port was believed.
fn started() -> RelayEvent {
    RelayEvent::Started { id: id(0), from: address(4_000) }
}
