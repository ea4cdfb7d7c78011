//! The media path takes no memory: thousands of ticks of a machine with loss,
//! jitter, reordering, duplicates and a packet log, with each codec, while allocations are
//! counted.

// As in test functions (clippy.toml): what a helper cannot get fails the test.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_base::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_base::metrics::MediaStats;
use b2b_base::util::ntp::NtpTime;
use b2b_media::Now;
use b2b_media::codec::{Codec, Encoder, OpusTuning};
use b2b_media::conference::participants;
use b2b_media::impair::ImpairConfig;
use b2b_media::relay::machine::{self as relay, Transmit};
use b2b_media::relay::{EndpointConfig, RelayId};
use b2b_media::remote::{EventTypes, Remote, SendFormat, Voice};
use b2b_media::room::{Member, RoomAct};
use b2b_media::session::{MediaParams, PacketRecord, Session, SessionConfig};
use b2b_media::stage::{Act, Music, OpusMode, Program, Segment, Sound, Tracks};
use b2b_media::transport::Channel;
use b2b_media::transport::protection::{Keys, MasterKey, Suite};
use b2b_media::worker::machine::{Command, Link, Machine};
use b2b_media::worker::{MediaEvent, Published, SessionId};
use b2b_sys::udp::Received;

/// A datagram under way.
#[derive(Clone, Copy)]
struct UnderWay {
    to: SocketAddr,
    from: SocketAddr,
    data: [u8; 256],
    len: usize,
}

/// Enough for 20 ms packets that arrive before the next one.
#[derive(Default)]
struct Wire {
    slots: [Option<UnderWay>; 8],
}

struct TestLink {
    wire: Rc<RefCell<Wire>>,
    local: SocketAddr,
}

impl TestLink {
    fn address(&self, channel: Channel) -> SocketAddr {
        let above = u16::from(channel == Channel::Rtcp);
        SocketAddr::new(self.local.ip(), self.local.port() + above)
    }
}

impl Link for TestLink {
    type Batch = ();

    fn receive(
        &mut self,
        channel: Channel,
        now: Now,
        _: &mut (),
        mut take: impl FnMut(Instant, SocketAddr, &mut [u8]),
    ) -> Received {
        let here = self.address(channel);
        for n in 0..8 {
            let slot = self.wire.borrow_mut().slots[n].take_if(|datagram| datagram.to == here);
            if let Some(UnderWay { from, mut data, len, .. }) = slot {
                take(now.at, from, &mut data[..len]);
            }
        }
        Received::default()
    }

    fn send(&mut self, channel: Channel, to: SocketAddr, datagram: &[u8]) {
        let from = self.address(channel);
        let mut wire = self.wire.borrow_mut();
        if let Some(free) = wire.slots.iter_mut().find(|slot| slot.is_none()) {
            let mut data = [0; 256];
            data[..datagram.len()].copy_from_slice(datagram);
            *free = Some(UnderWay { to, from, data, len: datagram.len() });
        }
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

/// What came of some ticks of two sessions that talk to each other.
struct Run {
    allocations: u64,
    stats: Vec<MediaStats>,
}

fn run(codec: Codec, rate_hz: u32, impaired: bool, ticks: usize) -> Run {
    run_with(codec, rate_hz, impaired, ticks, ([None, None], false))
}

/// `joined`: both are in a conference, with a third one that has left.
fn run_with(
    codec: Codec,
    rate_hz: u32,
    impaired: bool,
    ticks: usize,
    (keys, joined): ([Option<Keys>; 2], bool),
) -> Run {
    let epoch = Instant::now();
    let wall = NtpTime(0xE000_0000_0000_0000);
    let wire = Rc::new(RefCell::new(Wire::default()));
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let mut machine = Machine::new(epoch);
    let start = Now { at: epoch, wall };
    for ((n, local, remote), protection) in [(1, 4_000, 5_000), (2, 5_000, 4_000)].into_iter().zip(keys) {
        let impairment = (impaired && n == 1).then_some(ImpairConfig {
            loss_pct: 5.0,
            jitter_ms: 80.0,
            reorder_pct: 2.0,
            dup_pct: 2.0,
            seed: n,
        });
        let config = SessionConfig { impairment, rate_hz, ..SessionConfig::default() };
        let id = SessionId(n);
        let session = Box::new(Session::new(config, epoch, n));
        let link = TestLink { wire: wire.clone(), local: address(local) };
        machine
            .command(start, Command::Open { id, session, link, published: Arc::new(Published::default()) });
        let (source, sink) = (Box::new(Noise(n as u32)), Box::new(Sum(0)));
        machine.command(start, Command::Attach { id, source, sink });
        let number = codec.payload_type();
        let gets = SendFormat { fec: true, ..SendFormat::new(number, codec, 20) };
        let remote = Remote {
            rtcp_mux: false,
            telephone_events: EventTypes::new([(101, codec.clock_rate())]),
            voice: Voice::new(Some(gets), [(number, codec)]),
            ..Remote::at(address(remote))
        };
        let params = MediaParams { remote, abs_capture_time_id: Some(1), protection };
        machine.command(start, Command::Configure { id, params: Box::new(params) });
    }

    for (n, participant) in (1..3).zip(participants(3, rate_hz)).filter(|_| joined) {
        machine.command(
            start,
            Command::Participant { id: SessionId(n), participant: Some(Box::new(participant)) },
        );
    }
    let (mut ring, mut records) = rtrb::RingBuffer::<PacketRecord>::new(64);
    let mut now = start;
    let mut events = 0;
    let mut turn = |machine: &mut Machine<TestLink>| {
        now.at = machine.next_wake().expect("sessions have ticks").max(now.at);
        now.wall = wall.plus(now.at - epoch);
        machine.turn(
            now,
            |event| events += u64::from(!matches!(event, MediaEvent::Digit { .. })),
            |_, record| assert!(ring.push(record).is_ok()),
        );
        while records.pop().is_ok() {}
    };
    for _ in 0..100 {
        turn(&mut machine);
    }
    let allocated = allocation_counter::measure(|| (0..ticks).for_each(|_| turn(&mut machine)));
    let control = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(control.count_total, 1, "the counter counts");
    assert_eq!(events, 2, "both have started");

    // The ticks did what they are for.
    assert!(now.at - epoch > Duration::from_millis(15 * ticks as u64));
    let stats: Vec<_> = machine.sessions().map(|(_, session)| session.stats(now.at)).collect();
    let most = |count: u64| count > ticks as u64 * 7 / 10;
    assert!(stats.iter().all(|stats| most(stats.packets_tx) && most(stats.packets_rx)), "{stats:?}");
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
        // What the crate takes, and gives back at once, to recover a packet or to make one up.
        let Run { allocations, stats } = run(Codec::Opus, rate_hz, true, 1_500);
        let missing = stats[0].lost + stats[0].late;
        assert!(allocations <= 4 * missing, "{rate_hz} Hz: {allocations} for {missing} losses");
    }
}

/// Where the relay's packets go to.
#[derive(Default)]
struct Out(u64);

impl Transmit for Out {
    fn transmit(&mut self, _: u32, _: Channel, _: SocketAddr, _: &[u8]) -> bool {
        self.0 += 1;
        true
    }
}

/// Four legs of a relay that speak this; what `begin` tells them runs, and each sends a packet
/// every 20 ms.
fn relay(codec: Codec, begin: impl Fn(RelayId) -> relay::Command) -> u64 {
    let start = Now { at: Instant::now(), wall: NtpTime(0xE000_0000_0000_0000) };
    let (mut relay, mut out) = (relay::Machine::new(start.at, 1), Out::default());
    let payload_type = codec.payload_type();
    let target = SendFormat { payload_type, codec, ptime_ms: 20, fec: true, max_bitrate: None };
    let voice = Voice { gets: Some(target), says: [Some((payload_type, codec)), None, None, None] };
    let open = RoomAct::Open { rate_hz: 16_000 };
    relay.command(start, relay::Command::Room { number: 1, act: Box::new(open) }, &mut out);
    let party = |slot: u32| SocketAddr::from(([127, 0, 0, 1], 4_000 + slot as u16));
    for slot in 0..4 {
        let id = RelayId { thread: 0, slot, generation: 1 };
        let remote = Remote { voice, ..Remote::at(party(slot)) };
        relay.command(start, relay::Command::Open { id, config: EndpointConfig::default() }, &mut out);
        relay.command(start, relay::Command::Describe { id, remote }, &mut out);
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
            // Speech and silence by turns: who has the floor changes.
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
    // Until everybody has spoken and been spoken to.
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
            relay::Command::Stage { id, act: Box::new(act) }
        };
        assert_eq!(relay(codec, played), 0, "{codec}");
        let encoded = |id| {
            let sound: Vec<i16> = (0..rate_hz).map(|n| (n % 100 * 100) as i16).collect();
            let target = SendFormat { payload_type: 0, codec, ptime_ms: 20, fec: true, max_bitrate: None };
            let sound = Sound::from(sound);
            OpusMode::of(&target, rate_hz).into_iter().for_each(|mode| sound.encode(mode));
            let program = Program::new(rate_hz, vec![Segment::Sound(sound)], 0).in_whole_ticks();
            let act = Act::Play { ticket: 1, program: Box::new(program), reply: None };
            relay::Command::Stage { id, act: Box::new(act) }
        };
        assert_eq!(relay(codec, encoded), 0, "{codec}");
        let music = |id| {
            let track: Vec<i16> = (0..rate_hz).map(|n| (n % 100 * 100) as i16).collect();
            let tracks = Tracks::new(rate_hz, vec![track.into()]).expect("something to hear");
            let act = Act::Music { ticket: 1, music: Box::new(Music::new(tracks, true)), reply: None };
            relay::Command::Stage { id, act: Box::new(act) }
        };
        assert_eq!(relay(codec, music), 0, "{codec}");
    }
}

#[test]
fn no_allocation_in_a_room() {
    for codec in Codec::ALL {
        let enter = |id| {
            let act = RoomAct::Enter { id, party: id, member: Member::default() };
            relay::Command::Room { number: 1, act: Box::new(act) }
        };
        assert_eq!(relay(codec, enter), 0, "{codec}");
    }
}
