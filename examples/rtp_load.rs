//! RTP for `scripts/hold-b2bua.sh`: one socket that is the far end of every call of a server.
//!
//! `cargo run --release --example rtp_load -- 127.77.0.1 127.78.0.1:7000 1000`
//!
//! Every socket that the server has at the first address gets a packet a second from the second address, which the
//! session descriptions of all calls name. The packets that come back tell which two sockets belong to a call. Commands
//! on standard input: `full` gives that many calls 50 packets a second both ways; `report` prints, as JSON, the packets
//! sent, received, and missing between the received ones since the last report, and the streams without any. The end of
//! the input ends the program.

use std::collections::HashMap;
use std::io::{BufRead, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use b2b::media::Now;
use b2b::sys::udp::{Batch, bind};
use b2b::util::ntp::NtpTime;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, setsockopt, sockopt,
};

/// An RTP packet of 20 ms PCMU.
const PACKET: usize = 172;
const BATCH: usize = 64;
/// Interval of the loop; a stream has a packet each 20th or each 1,000th time.
const TICK: Duration = Duration::from_millis(1);
const FULL: usize = 20;
const SLOW: usize = 1_000;
/// Ticks between two looks for new sockets of the server.
const LOOK: usize = 500;
/// Receive buffer, octets: a pause of this program must not count as the server's loss.
const KERNEL_BUFFER: usize = 64 << 20;

/// A stream to a socket of the server.
struct Stream {
    to: SocketAddr,
    /// The number of the next packet.
    next: u32,
    /// The next number that should come back.
    expected: u32,
    /// The socket that the packet came back from: that of the call's other party.
    other: Option<usize>,
    is_full: bool,
    /// Since the last report.
    is_heard: bool,
}

/// Packets of full, or of slow, streams.
#[derive(Default, Clone, Copy)]
struct Count {
    sent: u64,
    received: u64,
    /// Gaps in the numbers; a late packet fills one. Packets in flight count neither as received nor as missing.
    missing: i64,
    /// From a socket of another call.
    misled: u64,
}

struct Load {
    socket: UdpSocket,
    server: Ipv4Addr,
    streams: Vec<Stream>,
    by_port: HashMap<u16, usize>,
    /// Full ones first.
    counts: [Count; 2],
    /// Datagrams that the kernel dropped at our socket.
    unread: u32,
    unread_before: u32,
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [server, own, full] = &words[..] else { bail!("usage: rtp_load SERVER-IP OWN-IP:PORT FULL-CALLS") };
    let socket = bind(own.parse().context("OWN-IP:PORT")?)?;
    setsockopt(&socket, sockopt::RcvBufForce, &KERNEL_BUFFER)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &KERNEL_BUFFER))?;
    let mut load = Load {
        socket,
        server: server.parse().context("SERVER-IP")?,
        streams: Vec::new(),
        by_port: HashMap::new(),
        counts: [Count::default(); 2],
        unread: 0,
        unread_before: 0,
    };
    println!("ready");
    load.run(full.parse().context("FULL-CALLS")?, &lines())
}

/// The lines of standard input; the channel closes with it.
fn lines() -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|it| tell.send(it))
    });
    told
}

impl Load {
    fn run(&mut self, full: usize, told: &Receiver<String>) -> anyhow::Result<()> {
        use std::sync::mpsc::TryRecvError::Disconnected;
        let (began, mut batch) = (Instant::now(), Batch::default());
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let mut packets = vec![[0_u8; PACKET]; BATCH];
        let mut is_complete = false;
        for tick in 0_usize.. {
            let due = began + TICK * u32::try_from(tick)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            match told.try_recv().as_deref() {
                Ok("full") => {
                    self.choose(full);
                    is_complete = true;
                }
                Ok("report") => self.report(),
                Err(Disconnected) => return Ok(()),
                _ => {}
            }
            // All calls are up then; the table of 20,000 sockets takes long to read.
            if tick % LOOK == 0 && !is_complete {
                self.look()?;
            }
            self.send(tick, &mut headers, &mut packets);
            self.receive(&mut batch);
        }
        Ok(())
    }

    /// Finds new sockets of the server in the kernel's table.
    fn look(&mut self) -> anyhow::Result<()> {
        let address = format!("{:08X}", u32::from_ne_bytes(self.server.octets()));
        for line in std::fs::read_to_string("/proc/net/udp")?.lines() {
            let Some((ip, port)) = line.split_ascii_whitespace().nth(1).and_then(|it| it.split_once(':'))
            else {
                continue;
            };
            let Ok(port) = u16::from_str_radix(port, 16) else { continue };
            // The SIP sockets are below.
            if ip == address && port >= 10_000 && !self.by_port.contains_key(&port) {
                self.by_port.insert(port, self.streams.len());
                let to = SocketAddr::new(IpAddr::V4(self.server), port);
                self.streams.push(Stream {
                    to,
                    next: 0,
                    expected: 0,
                    other: None,
                    is_full: false,
                    is_heard: false,
                });
            }
        }
        Ok(())
    }

    /// Gives this many calls 50 packets a second.
    fn choose(&mut self, full: usize) {
        let calls: Vec<(usize, usize)> = (0..self.streams.len())
            .filter_map(|n| self.streams[n].other.map(|other| (n, other)))
            .filter(|(n, other)| n < other && self.streams[*other].other == Some(*n))
            .take(full)
            .collect();
        for n in calls.iter().flat_map(|(a, b)| [*a, *b]) {
            self.streams[n].is_full = true;
        }
        println!("{} calls", calls.len());
    }

    fn send(
        &mut self,
        tick: usize,
        headers: &mut MultiHeaders<SockaddrStorage>,
        packets: &mut [[u8; PACKET]],
    ) {
        let is_due = |(n, it): (usize, &Stream)| {
            let every = if it.is_full { FULL } else { SLOW };
            (n % every == tick % every).then_some(n)
        };
        let due: Vec<usize> = self.streams.iter().enumerate().filter_map(is_due).collect();
        for due in due.chunks(BATCH) {
            let (mut slices, mut addresses) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
            for (packet, &n) in packets.iter_mut().zip(due) {
                let it = &mut self.streams[n];
                write(packet, n as u32, it.next);
                it.next += 1;
                // The server keeps sockets ready that have no call yet.
                self.counts[usize::from(!it.is_full)].sent += u64::from(it.other.is_some());
                slices.push([IoSlice::new(packet)]);
                addresses.push(Some(SockaddrStorage::from(it.to)));
            }
            let none: [ControlMessage<'_>; 0] = [];
            // A packet that the kernel refuses counts as lost.
            let _ = sendmmsg(self.socket.as_raw_fd(), headers, &slices, addresses, none, MsgFlags::empty());
        }
    }

    fn receive(&mut self, batch: &mut Batch) {
        let now = Now { at: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) };
        let Load { socket, streams, by_port, counts, .. } = self;
        let received = batch.receive(socket, now, |_, from, data| {
            let word = |at: usize| data.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
            let Some((n, number)) = word(12).zip(word(16)).filter(|_| data.len() == PACKET) else {
                return; // RTCP
            };
            let Some(it) = streams.get_mut(n as usize) else { return };
            let other = by_port.get(&from.port()).copied();
            // The first one tells of the call.
            if it.other.is_some() {
                let count = &mut counts[usize::from(!it.is_full)];
                count.received += 1;
                count.missing += match i64::from(number) - i64::from(it.expected) {
                    late @ ..0 => late.signum(),
                    gap => gap,
                };
                count.misled += u64::from(it.other != other);
            }
            (it.other, it.expected, it.is_heard) = (other, it.expected.max(number + 1), true);
        });
        self.unread = received.overflowed.unwrap_or(self.unread);
    }

    fn report(&mut self) {
        let side = |it: Count| {
            let Count { sent, received, missing, misled } = it;
            serde_json::json!({ "sent": sent, "received": received, "missing": missing, "misled": misled })
        };
        let streams = self.streams.iter().filter(|it| it.other.is_some()).count();
        let silent = self.streams.iter().filter(|it| it.other.is_some() && !it.is_heard).count();
        self.streams.iter_mut().for_each(|it| it.is_heard = false);
        let unread = self.unread.wrapping_sub(self.unread_before);
        println!(
            "{}",
            serde_json::json!({
                "streams": streams, "full": side(self.counts[0]), "slow": side(self.counts[1]), "unread": unread,
                "silent": silent,
            })
        );
        (self.counts, self.unread_before) = ([Count::default(); 2], self.unread);
    }
}

/// Writes an RTP packet with the stream and its number in the payload, which a relay does not change.
fn write(packet: &mut [u8; PACKET], stream: u32, number: u32) {
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&number.wrapping_mul(160).to_be_bytes());
    packet[8..12].copy_from_slice(&(stream + 1).to_be_bytes());
    packet[12..16].copy_from_slice(&stream.to_be_bytes());
    packet[16..20].copy_from_slice(&number.to_be_bytes());
}
