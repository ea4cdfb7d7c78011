//! The media path does not allocate: thousands of ticks of a machine with loss, jitter, reordering,
//! duplicates and a packet log, with each codec, while allocations are counted.

// As in test functions (clippy.toml): a failing helper fails the test.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_base::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_base::metrics::MediaStats;
use b2b_base::util::ntp::NtpTime;
use b2b_media::Now;
use b2b_media::codec::{Codec, Encoder, OpusTuning};
use b2b_media::conference::participants;
use b2b_media::impair::ImpairConfig;
use b2b_media::local::{Local, LocalAct, LocalConfig, PacketRecord, Published};
use b2b_media::relay::machine::{Command, Machine, Transmit};
use b2b_media::relay::{EndpointConfig, RelayEvent, RelayId};
use b2b_media::remote::{EventTypes, Remote, SendFormat, Voice};
use b2b_media::room::{Member, RoomAct};
use b2b_media::stage::{Act, Music, OpusMode, Program, Segment, Sound, Tracks};
use b2b_media::transport::Channel;
use b2b_media::transport::protection::{Keys, MasterKey, Protection, Suite};

/// Maximum octets of a datagram here.
const SIZE: usize = 256;

/// A datagram in flight to an endpoint.
#[derive(Clone, Copy)]
struct UnderWay {
    slot: u32,
    channel: Channel,
    from: SocketAddr,
    data: [u8; SIZE],
    len: usize,
}

/// The sockets of two endpoints that talk to each other, with their SRTP, and the packets in flight
/// between them: enough for 20 ms packets that arrive before the next one.
struct Wire {
    under_way: [Option<UnderWay>; 8],
    protection: [Option<Protection>; 2],
}

/// Where an endpoint receives.
fn address(slot: u32, channel: Channel) -> SocketAddr {
    let above = u16::from(channel == Channel::Rtcp);
    SocketAddr::from(([127, 0, 0, 1], 4_000 + 1_000 * slot as u16 + above))
}

impl Wire {
    /// Delivers what has arrived; RTP is read at ticks.
    fn deliver(&mut self, machine: &mut Machine, now: Now) {
        let ticks = machine.next_tick().is_some_and(|tick| tick <= now.at);
        for n in 0..self.under_way.len() {
            let arrives = |it: &mut UnderWay| ticks || it.channel == Channel::Rtcp;
            let Some(datagram) = self.under_way[n].take_if(arrives) else { continue };
            let UnderWay { slot, channel, from, mut data, len } = datagram;
            let (mut out, plain) = (Out::default(), data);
            let inbound = self.protection[slot as usize].as_mut().map(|it| &mut it.inbound);
            let len = match (inbound, channel) {
                (None, _) => Ok(len),
                (Some(inbound), Channel::Rtp) => inbound.rtp(&mut data[..len]),
                (Some(inbound), Channel::Rtcp) => inbound.rtcp(&mut data[..len]),
            };
            match (len, channel) {
                (Ok(len), Channel::Rtp) => machine.arrived(now, slot, from, &mut data[..len]),
                (Ok(len), Channel::Rtcp) => {
                    machine.packet(now, slot, channel, from, &mut data[..len], &mut out);
                }
                (Err(why), _) => machine.refused(now.at, slot, &plain, why),
            }
        }
    }
}

impl Transmit for Wire {
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        let (peer, from) = (1 - slot, address(slot, channel));
        assert_eq!(to, address(peer, channel));
        let (mut data, len) = ([0; SIZE], datagram.len());
        data[..len].copy_from_slice(datagram);
        let outbound = self.protection[slot as usize].as_mut().map(|it| &mut it.outbound);
        let len = match (outbound, channel) {
            (None, _) => len,
            (Some(outbound), Channel::Rtp) => outbound.rtp(&mut data, len).unwrap(),
            (Some(outbound), Channel::Rtcp) => outbound.rtcp(&mut data, len).unwrap(),
        };
        if let Some(free) = self.under_way.iter_mut().find(|place| place.is_none()) {
            *free = Some(UnderWay { slot: peer, channel, from, data, len });
        }
        true
    }
}

struct Noise(u32);

impl FrameSource for Noise {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        for sample in frame.samples.iter_mut() {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = (self.0 >> 20) as i16;
        }
        if self.0 & 0xF00 == 0 { Fill::Silence } else { Fill::Audio }
    }
}

struct Sum(i64);

impl FrameSink for Sum {
    fn frame(&mut self, frame: &InFrame<'_>) {
        self.0 += i64::from(frame.samples[0]);
    }
}

/// The result of some ticks of two endpoints that talk to each other.
struct Run {
    allocations: u64,
    stats: Vec<MediaStats>,
}

fn run(codec: Codec, rate_hz: u32, impaired: bool, ticks: usize) -> Run {
    run_with(codec, rate_hz, impaired, ticks, ([None, None], false))
}

/// With `joined`, both are in a conference with a third one that has left.
fn run_with(
    codec: Codec,
    rate_hz: u32,
    impaired: bool,
    ticks: usize,
    (keys, joined): ([Option<Keys>; 2], bool),
) -> Run {
    let epoch = Instant::now();
    let wall = NtpTime(0xE000_0000_0000_0000);
    let mut machine = Machine::new(epoch, 1);
    machine.keep_records();
    let protection = keys.clone().map(|keys| keys.map(Protection::new));
    let mut wire = Wire { under_way: [None; 8], protection };
    let start = Now { at: epoch, wall };
    let ids = [0, 1].map(|slot| RelayId { thread: 0, slot, generation: 1 });
    for (id, keys) in ids.into_iter().zip(keys) {
        let impairment = (impaired && id.slot == 0).then_some(ImpairConfig {
            loss_pct: 5.0,
            jitter_ms: 80.0,
            reorder_pct: 2.0,
            dup_pct: 2.0,
            seed: 1,
        });
        let config = LocalConfig { impairment, rate_hz, ..LocalConfig::default() };
        let local = Local::new(&config, epoch, Arc::new(Published::default()));
        let begin = [
            LocalAct::Begin(Box::new(local)),
            LocalAct::CaptureTime(Some(1)),
            LocalAct::Attach(Box::new(Noise(id.slot)), Box::new(Sum(0))),
        ];
        let number = codec.payload_type();
        let gets = SendFormat { fec: true, ..SendFormat::new(number, codec, 20) };
        let remote = Remote {
            rtcp_mux: false,
            telephone_events: EventTypes::new([(101, codec.clock_rate())]),
            voice: Voice::new(Some(gets), [(number, codec)]),
            ..Remote::at(address(1 - id.slot, Channel::Rtp))
        };
        machine.command(start, Command::Open { id, config: EndpointConfig::default() }, &mut wire);
        for act in begin {
            machine.command(start, Command::Local { id, act }, &mut wire);
        }
        machine.command(start, Command::Protect { id, keys: keys.map(Box::new) }, &mut wire);
        machine.command(start, Command::Describe { id, remote }, &mut wire);
    }

    for (id, participant) in ids.into_iter().zip(participants(3, rate_hz)).filter(|_| joined) {
        let act = LocalAct::Participant(Some(Box::new(participant)));
        machine.command(start, Command::Local { id, act }, &mut wire);
    }
    let (mut ring, mut records) = rtrb::RingBuffer::<PacketRecord>::new(64);
    let mut now = start;
    let (mut started, mut recorded) = (0, 0_u64);
    let mut turn = |machine: &mut Machine, wire: &mut Wire| {
        now.at = machine.next_wake(now.at).expect("endpoints have ticks").max(now.at);
        now.wall = wall.plus(now.at - epoch);
        wire.deliver(machine, now);
        machine.maintain(now, wire);
        while let Some(record) = machine.poll_record() {
            assert!(ring.push(record).is_ok());
        }
        while records.pop().is_ok() {
            recorded += 1;
        }
        while let Some(event) = machine.poll_event() {
            match event {
                RelayEvent::Started { .. } => started += 1,
                RelayEvent::Digit { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    };
    for _ in 0..100 {
        turn(&mut machine, &mut wire);
    }
    let allocated = allocation_counter::measure(|| (0..ticks).for_each(|_| turn(&mut machine, &mut wire)));
    let control = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(control.count_total, 1, "the counter counts");
    assert_eq!(started, 2, "both have started");

    // The ticks did real work.
    assert!(now.at - epoch > Duration::from_millis(15 * ticks as u64));
    let mut stats = Vec::new();
    for id in ids {
        machine.command(now, Command::Close { id }, &mut wire);
        while let Some(event) = machine.poll_event() {
            if let RelayEvent::Heard { stats: heard, .. } = event {
                stats.push(*heard);
            }
        }
    }
    assert_eq!(stats.len(), 2);
    let most = |count: u64| count > ticks as u64 * 7 / 10;
    assert!(stats.iter().all(|stats| most(stats.packets_tx) && most(stats.packets_rx)), "{stats:?}");
    let received: u64 = stats.iter().map(|stats| stats.packets_rx).sum();
    assert!(recorded >= received, "each packet is recorded");
    assert_eq!(stats[1].concealed, 0, "{:?}", stats[1]);
    if impaired {
        let some = |count: u64| count > ticks as u64 / 200;
        assert!(
            some(stats[0].lost) && some(stats[0].duplicates) && some(stats[0].reordered),
            "{:?}",
            stats[0]
        );
    }
    Run { allocations: allocated.count_total, stats }
}

#[test]
fn no_allocation_in_thousands_of_ticks() {
    let Run { allocations, stats } = run(Codec::Pcmu, 8_000, true, 20_000);
    assert_eq!(allocations, 0);
    assert!(stats[0].concealed > 100 && stats.iter().all(|stats| stats.rtt_ms.is_some()));
}

#[test]
fn no_allocation_in_thousands_of_ticks_with_srtp() {
    for suite in Suite::ALL {
        let key = |n: u8| MasterKey::generate(suite, |octets| octets.fill(n));
        let keys = |local, remote| Some(Keys { local: key(local), remote: key(remote) });
        let Run { allocations, stats } =
            run_with(Codec::Pcmu, 8_000, true, 3_000, ([keys(1, 2), keys(2, 1)], false));
        assert_eq!(allocations, 0, "{suite}");
        assert!(stats.iter().all(|stats| stats.unauthenticated == 0 && stats.rtt_ms.is_some()), "{suite}");
    }
}

#[test]
fn no_allocation_in_a_conference() {
    assert_eq!(run_with(Codec::Pcmu, 16_000, true, 3_000, ([None, None], true)).allocations, 0);
}

#[test]
fn no_allocation_where_rates_are_converted_and_payloads_wait() {
    for (codec, rate_hz) in [(Codec::Pcma, 48_000), (Codec::G722, 16_000), (Codec::G722, 24_000)] {
        let Run { allocations, stats } = run(codec, rate_hz, true, 1_500);
        assert_eq!(allocations, 0, "{codec} at {rate_hz} Hz");
        assert!(stats[0].concealed > 20, "{codec} at {rate_hz} Hz: {:?}", stats[0]);
    }
}

#[test]
fn opus_takes_memory_for_losses_only() {
    for rate_hz in [8_000, 16_000, 48_000] {
        assert_eq!(run(Codec::Opus, rate_hz, false, 1_500).allocations, 0, "{rate_hz} Hz");
        // Allocations of the crate, freed at once, to recover or conceal a packet.
        let Run { allocations, stats } = run(Codec::Opus, rate_hz, true, 1_500);
        let missing = stats[0].lost + stats[0].late;
        assert!(allocations <= 4 * missing, "{rate_hz} Hz: {allocations} for {missing} losses");
    }
}

/// Receives the relay's packets.
#[derive(Default)]
struct Out(u64);

impl Transmit for Out {
    fn transmit(&mut self, _: u32, _: Channel, _: SocketAddr, _: &[u8]) -> bool {
        self.0 += 1;
        true
    }
}

/// Four relay legs that use this codec; executes what `begin` returns for each, and each sends a
/// packet every 20 ms.
fn relay(codec: Codec, begin: impl Fn(RelayId) -> Command) -> u64 {
    let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
    let (mut relay, mut out) = (Machine::new(start.at, 1), Out::default());
    let payload_type = codec.payload_type();
    let target = SendFormat { payload_type, codec, ptime_ms: 20, fec: true, max_bitrate: None };
    let voice = Voice { gets: Some(target), says: [Some((payload_type, codec)), None, None, None] };
    let open = RoomAct::Open { rate_hz: 16_000 };
    relay.command(start, Command::Room { number: 1, act: Box::new(open) }, &mut out);
    let party = |slot: u32| SocketAddr::from(([127, 0, 0, 1], 4_000 + slot as u16));
    for slot in 0..4 {
        let id = RelayId { thread: 0, slot, generation: 1 };
        let remote = Remote { voice, ..Remote::at(party(slot)) };
        relay.command(start, Command::Open { id, config: EndpointConfig::default() }, &mut out);
        relay.command(start, Command::Describe { id, remote }, &mut out);
        relay.command(start, begin(id), &mut out);
    }
    let mut encoder = Encoder::new(codec, 8_000, OpusTuning { bitrate: 24_000, expected_loss_pct: 0 });
    let mut turn = |n: u32| {
        for slot in 0u32..4 {
            let mut packet = [0; 500];
            packet[..2].copy_from_slice(&[0x80, payload_type]);
            packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(n * codec.clock_rate() / 50).to_be_bytes());
            packet[8..12].copy_from_slice(&slot.to_be_bytes());
            // Speech and silence alternate, so that the active speakers change.
            let loud = if n / 50 % 4 == slot { 9_000 } else { 0 };
            let frame: [i16; 160] = std::array::from_fn(|k| if k % 16 < 8 { loud } else { -loud });
            let len = 12 + encoder.encode(&frame, &mut packet[12..]).expect("encoded");
            let now = Now { at: start.at + Duration::from_millis(20) * n, wall: start.wall };
            relay.packet(now, slot, Channel::Rtp, party(slot), &mut packet[..len], &mut out);
        }
        let end = start.at + Duration::from_millis(20) * (n + 1);
        let mut at = end - Duration::from_millis(20);
        while let Some(wake) = relay.next_wake(at).filter(|wake| *wake < end) {
            at = wake.max(at);
            relay.maintain(Now { at, wall: start.wall }, &mut out);
        }
        while relay.poll_event().is_some() {}
    };
    // Until every party has spoken and been played to.
    (1..500).for_each(&mut turn);
    let allocated = allocation_counter::measure(|| (500..2_500).for_each(&mut turn));
    assert!(out.0 > 4 * 2_400, "{} packets", out.0);
    allocated.count_total
}

#[test]
fn no_allocation_while_parties_are_played_to() {
    for codec in Codec::ALL {
        let rate_hz = codec.native_rate_hz();
        let played = |id| {
            let sound: Vec<i16> = (0..rate_hz).map(|n| (n % 100 * 100) as i16).collect();
            let tone = Segment::Tone { hz: [350, 440], samples: 5_000, dbm0: -16 };
            let program = Program::new(rate_hz, vec![Segment::Sound(sound.into()), tone], 0);
            let act = Act::Play { ticket: 1, program: Box::new(program), reply: None };
            Command::Stage { id, act: Box::new(act) }
        };
        assert_eq!(relay(codec, played), 0, "{codec}");
        let encoded = |id| {
            let sound: Vec<i16> = (0..rate_hz).map(|n| (n % 100 * 100) as i16).collect();
            let target = SendFormat { payload_type: 0, codec, ptime_ms: 20, fec: true, max_bitrate: None };
            let sound = Sound::from(sound);
            OpusMode::of(&target, rate_hz).into_iter().for_each(|mode| sound.encode(mode));
            let program = Program::new(rate_hz, vec![Segment::Sound(sound)], 0).in_whole_ticks();
            let act = Act::Play { ticket: 1, program: Box::new(program), reply: None };
            Command::Stage { id, act: Box::new(act) }
        };
        assert_eq!(relay(codec, encoded), 0, "{codec}");
        let music = |id| {
            let track: Vec<i16> = (0..rate_hz).map(|n| (n % 100 * 100) as i16).collect();
            let tracks = Tracks::new(rate_hz, vec![track.into()]).expect("something to hear");
            let act = Act::Music { ticket: 1, music: Box::new(Music::new(tracks, true)), reply: None };
            Command::Stage { id, act: Box::new(act) }
        };
        assert_eq!(relay(codec, music), 0, "{codec}");
    }
}

#[test]
fn no_allocation_in_a_room() {
    for codec in Codec::ALL {
        let enter = |id| {
            let act = RoomAct::Enter { id, party: id, member: Member::default() };
            Command::Room { number: 1, act: Box::new(act) }
        };
        assert_eq!(relay(codec, enter), 0, "{codec}");
    }
}
