//! CPU time per RTP packet received and sent: a media thread with sources and sinks compared to a bare epoll
//! loop that only receives and sends, in the same run, under the same load on loopback. `--quick` shortens
//! the run.
//!
//! A unit is one packet received and one sent, 50 a second per session. Time is that of the serving thread
//! alone, from `/proc/self/task/<tid>/schedstat`.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use b2b::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b::media::codec::Codec;
use b2b::media::local::{LocalConfig, MediaConfig, MediaHandle, MediaParams};
use b2b::media::remote::{Remote, SendFormat, Voice};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const TICK: Duration = Duration::from_millis(20);

struct Tone(i16);

impl FrameSource for Tone {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        for sample in frame.samples.iter_mut() {
            self.0 = self.0.wrapping_add(911);
            *sample = self.0;
        }
        Fill::Audio
    }
}

struct Last(i16);

impl FrameSink for Last {
    fn frame(&mut self, frame: &InFrame<'_>) {
        self.0 = std::hint::black_box(frame.samples[159]);
    }
}

/// CPU time of the thread with this name, ns.
fn thread_cpu(name: &str) -> Option<u64> {
    for task in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").trim_end() == name {
            return read("schedstat").split_whitespace().next()?.parse().ok();
        }
    }
    None
}

/// Result of a load.
struct Measured {
    sent: u64,
    received: u64,
    cpu_ns: u64,
}

/// Sends one packet per tick from every socket for `span`, reads the packets sent back, and measures the
/// serving thread.
fn load(peers: &[UdpSocket], thread: &str, span: Duration) -> Measured {
    let mut packet = [0x55u8; 172];
    packet[..2].copy_from_slice(&[0x80, 0]);
    let mut buffer = [0; 2_000];
    let (mut sent, mut received, mut cpu) = (0u64, 0u64, 0u64);
    let start = Instant::now();
    let warm_up = 25;
    let ticks = warm_up + (span.as_millis() / TICK.as_millis()) as u32;
    for n in 0..ticks {
        if n == warm_up {
            (sent, received) = (0, 0);
            cpu = thread_cpu(thread).expect("the serving thread is there");
        }
        packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(n * 160).to_be_bytes());
        for peer in peers {
            sent += u64::from(peer.send(&packet).is_ok());
        }
        std::thread::sleep((start + TICK * (n + 1)).saturating_duration_since(Instant::now()));
        for peer in peers {
            while peer.recv(&mut buffer).is_ok() {
                received += 1;
            }
        }
    }
    let cpu_ns = thread_cpu(thread).expect("the serving thread is there") - cpu;
    Measured { sent, received, cpu_ns }
}

fn peers(count: usize) -> Vec<UdpSocket> {
    let bind = |_| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_nonblocking(true).expect("a flag");
        socket
    };
    (0..count).map(bind).collect()
}

/// Receives packets and sends them back, nothing else.
fn bare(count: usize, span: Duration) -> Measured {
    let (servers, peers) = (peers(count), peers(count));
    for (server, peer) in servers.iter().zip(&peers) {
        peer.connect(server.local_addr().expect("bound")).expect("loopback");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let serve = move || {
        let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
        for (n, server) in servers.iter().enumerate() {
            epoll.add(server, EpollEvent::new(EpollFlags::EPOLLIN, n as u64)).expect("epoll");
        }
        let mut events = [EpollEvent::empty(); 256];
        let mut buffer = [0; 2_000];
        while !stopped.load(Ordering::Relaxed) {
            let ready = epoll.wait(&mut events, EpollTimeout::from(100u16)).unwrap_or(0);
            for event in &events[..ready] {
                let server = &servers[event.data() as usize];
                if let Ok((len, from)) = server.recv_from(&mut buffer) {
                    let _ = server.send_to(&buffer[..len], from);
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("bare".into()).spawn(serve).expect("a thread");
    let measured = load(&peers, "bare", span);
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("no panic");
    measured
}

/// The media thread: decode, jitter buffer, playout, encode, send.
fn media(count: usize, span: Duration) -> Measured {
    let (handle, _events) =
        MediaHandle::spawn(MediaConfig::new(Ipv4Addr::LOCALHOST.into(), 1)).expect("a media thread");
    let peers = peers(count);
    for peer in &peers {
        let (id, local) = handle.open(&LocalConfig::default()).expect("an endpoint");
        peer.connect(local).expect("loopback");
        handle.attach(id, Box::new(Tone(0)), Box::new(Last(0))).expect("an open endpoint");
        handle.configure(id, params(peer.local_addr().expect("bound"))).expect("an open endpoint");
    }
    let measured = load(&peers, "media", span);
    handle.shutdown();
    measured
}

fn params(rtp: SocketAddr) -> MediaParams {
    let voice = Voice::new(Some(SendFormat::new(0, Codec::Pcmu, 20)), [(0, Codec::Pcmu)]);
    let remote = Remote { voice, ..Remote::at(rtp) };
    MediaParams { remote, abs_capture_time_id: Some(1), protection: None }
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (span, rounds) = if quick { (Duration::from_secs(1), 1) } else { (Duration::from_secs(5), 5) };
    println!(
        "one packet received and one sent, 160 octets of PCMU every 20 ms; medians of {rounds} interleaved runs"
    );
    for count in [1, 100] {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        let (mut sent, mut received) = (0, 0);
        for _ in 0..rounds {
            for (runs, measured) in [(&mut floor, bare(count, span)), (&mut ours, media(count, span))] {
                runs.push(measured.cpu_ns as f64 / measured.sent as f64 / 1_000.0);
                sent += measured.sent;
                received += measured.received;
            }
        }
        let median = |runs: &mut Vec<f64>| {
            runs.sort_by(f64::total_cmp);
            runs[runs.len() / 2]
        };
        let (floor, ours) = (median(&mut floor), median(&mut ours));
        println!(
            "{count:>4} endpoint(s): bare epoll {floor:6.2} us   media thread {ours:6.2} us   ratio {:.2}   \
             thread {:.3} % of a core per endpoint   sent {sent} received {received}",
            ours / floor,
            ours * 50.0 / 10_000.0,
        );
    }
}
