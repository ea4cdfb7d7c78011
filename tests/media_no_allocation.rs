//! The media path takes no memory: thousands of ticks of a machine with loss,
//! jitter, reordering, duplicates and a packet log, while allocations are counted.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b::media::Now;
use b2b::media::codec::Codec;
use b2b::media::impair::ImpairConfig;
use b2b::media::io::udp::Received;
use b2b::media::session::{
    Channel, Direction, MediaParams, PacketRecord, SendFormat, Session, SessionConfig,
};
use b2b::media::worker::machine::{Command, Link, Machine};
use b2b::media::worker::{MediaEvent, Published, SessionId};
use b2b::util::ntp::NtpTime;

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
        mut take: impl FnMut(Instant, SocketAddr, &[u8]),
    ) -> Received {
        let here = self.address(channel);
        for n in 0..8 {
            let slot = self.wire.borrow_mut().slots[n].take_if(|datagram| datagram.to == here);
            if let Some(UnderWay { from, data, len, .. }) = slot {
                take(now.at, from, &data[..len]);
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

#[test]
fn no_allocation_in_thousands_of_ticks() {
    let epoch = Instant::now();
    let wall = NtpTime(0xE000_0000_0000_0000);
    let wire = Rc::new(RefCell::new(Wire::default()));
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let mut machine = Machine::new(epoch);
    let start = Now { at: epoch, wall };
    for (n, local, remote) in [(1, 4_000, 5_000), (2, 5_000, 4_000)] {
        let impairment = (n == 1).then_some(ImpairConfig {
            loss_pct: 5.0,
            jitter_ms: 80.0,
            reorder_pct: 2.0,
            dup_pct: 2.0,
            seed: n,
        });
        let config = SessionConfig { impairment, ..SessionConfig::default() };
        let id = SessionId(n);
        let session = Box::new(Session::new(config, epoch, n));
        let link = TestLink { wire: wire.clone(), local: address(local) };
        machine
            .command(start, Command::Open { id, session, link, published: Arc::new(Published::default()) });
        let (source, sink) = (Box::new(Noise(n as u32)), Box::new(Sum(0)));
        machine.command(start, Command::Attach { id, source, sink });
        let params = MediaParams {
            remote_rtp: address(remote),
            remote_rtcp: None,
            send: SendFormat { payload_type: 0, codec: Codec::Pcmu, ptime_ms: 20 },
            receive: vec![(0, Codec::Pcmu)],
            telephone_event_pt: Some(101),
            abs_capture_time_id: Some(1),
            direction: Direction::SEND_RECV,
            rtcp_mux: false,
        };
        machine.command(start, Command::Configure { id, params: Box::new(params) });
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
    let allocated = allocation_counter::measure(|| (0..20_000).for_each(|_| turn(&mut machine)));
    assert_eq!(allocated.count_total, 0);
    let control = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(control.count_total, 1, "the counter counts");
    assert_eq!(events, 2, "both have started");

    // The ticks did what they are for.
    assert!(now.at - epoch > Duration::from_secs(300));
    let stats: Vec<_> = machine.sessions().map(|(_, session)| session.stats(now.at)).collect();
    assert!(stats.iter().all(|stats| stats.packets_tx > 15_000 && stats.packets_rx > 14_000));
    assert!(stats[0].concealed > 100 && stats[0].duplicates > 100 && stats[0].reordered > 100);
    assert!(stats.iter().all(|stats| stats.rtt_ms.is_some()));
    assert_eq!(stats[1].concealed, 0, "{:?}", stats[1]);
}
