//! The load: packets of many streams in batches, each checked on arrival.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

use b2b::media::Now;
use b2b::sys::udp::{Batch, bind};
use b2b::util::ntp::NtpTime;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, setsockopt, sockopt,
};

/// Sockets of the far ends, half of them for callers.
const SOCKETS: usize = 16;
const PERIOD: Duration = Duration::from_millis(20);
/// Send slots of a period; each serves one socket.
const SLOTS: usize = 80;
/// Packets per batch.
const BATCH: usize = 64;
/// Periods before measuring begins.
const WARM_UP: u32 = 25;
const PACKET: usize = 172;
/// Octets of the kernel's receive buffer at a far end: holds seconds of packets, so that a pause of the load
/// does not appear as loss.
const KERNEL_BUFFER: usize = 16 << 20;
/// Delays are counted in steps of 5 us up to 50 ms.
const STEP_NS: u64 = 5_000;
const STEPS: usize = 10_000;

/// Result of a run.
pub struct Measured {
    pub sent: u64,
    pub received: u64,
    /// Packets out of sequence in their stream.
    pub wrong: u64,
    /// Packets that arrived but that the load did not read in time: not lost by the forwarder.
    pub unread: u64,
    /// Packets that the kernel dropped at the forwarder's sockets because the forwarder did not read them in
    /// time.
    pub dropped: u64,
    pub cpu_ns: u64,
    pub wall_ns: u64,
    delays: Vec<u64>,
}

impl Measured {
    /// A percentile of the delays, us.
    pub fn delay_us(&self, percent: f64) -> f64 {
        let all: u64 = self.delays.iter().sum();
        let wanted = (all as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        for (step, count) in self.delays.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (step as u64 * STEP_NS) as f64 / 1_000.0;
            }
        }
        f64::NAN
    }
}

/// The far ends of all calls. Stream `2n` is the caller of call `n`, `2n + 1` the callee.
pub struct Load {
    calls: usize,
    sockets: Vec<UdpSocket>,
    batch: Batch,
    /// Packets that the kernel has dropped at each socket.
    overflowed: [u32; SOCKETS],
}

fn now() -> Now {
    Now { at: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

impl Load {
    pub fn new(calls: usize) -> Self {
        let free = |port: &u16| bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).ok();
        let mut ports = (30_000u16..32_000).step_by(2);
        let sockets = std::iter::from_fn(|| ports.find_map(|port| free(&port)));
        let sockets: Vec<UdpSocket> = sockets.take(SOCKETS).collect();
        // Only root may exceed the system's limit; otherwise the kernel grants what it allows.
        for socket in &sockets {
            let _ = setsockopt(socket, sockopt::RcvBufForce, &KERNEL_BUFFER)
                .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &KERNEL_BUFFER));
        }
        Load { calls, sockets, batch: Batch::default(), overflowed: [0; SOCKETS] }
    }

    pub fn calls(&self) -> usize {
        self.calls
    }

    fn socket(stream: usize) -> usize {
        // The ends of a call use different sockets, callers and callees separately.
        stream / 2 % (SOCKETS / 2) * 2 + stream % 2
    }

    /// The address at which a stream's party sends and receives.
    pub fn party(&self, stream: usize) -> SocketAddr {
        self.sockets[Load::socket(stream)].local_addr().expect("bound")
    }

    /// Sends for `seconds` through a forwarder whose thread has this name.
    pub fn run(&mut self, servers: &[SocketAddr], thread: &str, seconds: u32) -> Measured {
        let tid = thread_id(thread).expect("the serving thread is there");
        crate::pin(Some(tid), 0);
        let streams = self.calls * 2;
        let mut slots: Vec<Vec<usize>> = vec![Vec::new(); SLOTS];
        let mut used = [0; SOCKETS];
        for stream in 0..streams {
            let socket = Load::socket(stream);
            // A socket has every sixteenth slot.
            let turn = used[socket] % (SLOTS / SOCKETS);
            slots[turn * SOCKETS + socket].push(stream);
            used[socket] += 1;
        }
        let targets: Vec<SockaddrStorage> = servers.iter().map(|server| (*server).into()).collect();
        let mut run = Run {
            measured: Measured {
                sent: 0,
                received: 0,
                wrong: 0,
                unread: 0,
                dropped: 0,
                cpu_ns: 0,
                wall_ns: 0,
                delays: vec![0; STEPS],
            },
            expected: vec![0; streams],
            epoch: Instant::now(),
            counts_from: WARM_UP,
        };
        let dropped = dropped_at(servers);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let periods = WARM_UP + seconds * 50;
        let (mut cpu, mut started) = (0, run.epoch);
        let mut packets = vec![[0u8; PACKET]; BATCH];
        for period in 0..periods {
            if period == WARM_UP {
                (cpu, started) = (cpu_ns(tid), Instant::now());
            }
            for (slot, streams) in slots.iter().enumerate() {
                let due = run.epoch + PERIOD * period + PERIOD * slot as u32 / SLOTS as u32;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                for streams in streams.chunks(BATCH) {
                    let sent_at = run.epoch.elapsed().as_nanos() as u64;
                    let mut slices = Vec::with_capacity(BATCH);
                    let mut addresses = Vec::with_capacity(BATCH);
                    for (packet, &stream) in packets.iter_mut().zip(streams) {
                        write(packet, stream as u32, period, sent_at);
                        slices.push([IoSlice::new(packet)]);
                        addresses.push(Some(targets[stream]));
                    }
                    let socket = self.sockets[Load::socket(streams[0])].as_raw_fd();
                    let none: [ControlMessage<'_>; 0] = [];
                    let flags = MsgFlags::empty();
                    let sent = sendmmsg(socket, &mut headers, &slices, addresses, none, flags);
                    let sent = sent.map_or(0, |sent| sent.count());
                    run.measured.sent += if period >= WARM_UP { sent as u64 } else { 0 };
                }
                self.receive(&mut run);
            }
        }
        run.measured.cpu_ns = cpu_ns(tid) - cpu;
        run.measured.wall_ns = started.elapsed().as_nanos() as u64;
        std::thread::sleep(Duration::from_millis(200));
        self.receive(&mut run);
        run.measured.dropped = dropped_at(servers).saturating_sub(dropped);
        run.measured
    }

    fn receive(&mut self, run: &mut Run) {
        let now = now();
        for (index, socket) in self.sockets.iter().enumerate() {
            let received = self.batch.receive(socket, now, |arrival, _, data| run.take(index, arrival, data));
            if let Some(overflowed) = received.overflowed {
                let before = std::mem::replace(&mut self.overflowed[index], overflowed);
                run.measured.unread += u64::from(overflowed - before);
            }
        }
    }
}

/// A run in progress.
struct Run {
    measured: Measured,
    /// The next number expected, per stream.
    expected: Vec<u32>,
    epoch: Instant,
    counts_from: u32,
}

impl Run {
    fn take(&mut self, socket: usize, arrival: Instant, data: &[u8]) {
        let word =
            |at: usize| data.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
        let Some((stream, number)) = word(12).zip(word(16)).filter(|_| data.len() == PACKET) else {
            return; // RTCP
        };
        let Some(expected) = self.expected.get_mut(stream as usize) else { return };
        // It must arrive at the other end of its call, in order.
        let right = *expected == number && Load::socket(stream as usize ^ 1) == socket;
        *expected = number + 1;
        if number < self.counts_from {
            return;
        }
        self.measured.received += 1;
        self.measured.wrong += u64::from(!right);
        let sent_at = u64::from(word(20).unwrap_or(0)) << 32 | u64::from(word(24).unwrap_or(0));
        let delay = (arrival.saturating_duration_since(self.epoch).as_nanos() as u64).saturating_sub(sent_at);
        self.measured.delays[((delay / STEP_NS) as usize).min(STEPS - 1)] += 1;
    }
}

/// Writes RTP with stream, number and time in the payload, which no relay modifies.
fn write(packet: &mut [u8; PACKET], stream: u32, number: u32, sent_at: u64) {
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&(number.wrapping_mul(160)).to_be_bytes());
    packet[8..12].copy_from_slice(&(stream + 1).to_be_bytes());
    packet[12..16].copy_from_slice(&stream.to_be_bytes());
    packet[16..20].copy_from_slice(&number.to_be_bytes());
    packet[20..28].copy_from_slice(&sent_at.to_be_bytes());
}

/// Packets that the kernel has dropped at these sockets: the last column of its table.
fn dropped_at(servers: &[SocketAddr]) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let row = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let port = u16::from_str_radix(words.nth(1)?.rsplit_once(':')?.1, 16).ok()?;
        Some((port, words.next_back()?.parse::<u64>().ok()?))
    };
    let ports: std::collections::HashSet<u16> = servers.iter().map(SocketAddr::port).collect();
    table.lines().filter_map(row).filter(|(port, _)| ports.contains(port)).map(|(_, drops)| drops).sum()
}

fn thread_id(name: &str) -> Option<u32> {
    for task in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        if std::fs::read_to_string(task.path().join("comm")).unwrap_or_default().trim_end() == name {
            return task.file_name().to_string_lossy().parse().ok();
        }
    }
    None
}

fn cpu_ns(tid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
