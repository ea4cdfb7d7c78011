//! The callers: RTP for all of them, every 20 ms, spread over the interval.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use b2b::media::Now;
use b2b::media::codec::g711;
use b2b::sys::udp::{Batch, bind};
use b2b::util::ntp::NtpTime;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, setsockopt, sockopt,
};

use crate::Failure;
use crate::counts::{Counts, FRAME, Line};
use crate::sip::{Caller, Dialog};

/// Sockets shared by all parties.
const SOCKETS: usize = 16;
/// Octets of the kernel's receive buffer of each socket, so that a pause of this program does not appear as
/// loss.
const KERNEL_BUFFER: usize = 16 << 20;
/// Send phases within 20 ms.
const PHASES: usize = 20;
/// Phases between two reads of a socket: the kernel timestamps arrivals.
const LOOKS: usize = 4;
/// Samples in 20 ms.
const SAMPLES: usize = 160;
const HEADER: usize = 12;
/// Amplitude below which a sample is silence.
const SILENT: i16 = 300;
/// Samples at the start of a packet in which filters still ring from the previous audio, 2.5 ms.
const FILTERED: usize = 20;

/// All callers.
pub struct Parties {
    caller: Caller,
    sockets: Vec<UdpSocket>,
    dialogs: Vec<Dialog>,
}

/// Receive state of one caller.
#[derive(Default)]
struct Hears {
    first: Option<u32>,
    line: Line,
    loud: bool,
}

impl Parties {
    /// Makes `calls` calls, one after another.
    pub fn call(server: SocketAddr, number: &str, calls: usize) -> Result<Parties, Failure> {
        let free = |port: &u16| bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).ok();
        let first = 16_000 + (std::process::id() % 1_000) as u16 * 8;
        let mut ports = (first..first + 2_000).step_by(2);
        let sockets = std::iter::from_fn(|| ports.find_map(|port| free(&port)));
        let sockets: Vec<UdpSocket> = sockets.take(SOCKETS).collect();
        if sockets.len() < SOCKETS {
            return Err("no free ports".into());
        }
        for socket in &sockets {
            // Only root may exceed the system's limit; otherwise the kernel grants what it allows.
            let _ = setsockopt(socket, sockopt::RcvBufForce, &KERNEL_BUFFER)
                .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &KERNEL_BUFFER));
        }
        let caller = Caller::new(server, number)?;
        let mut dialogs = Vec::new();
        for n in 0..calls {
            dialogs.push(caller.call(n, sockets[n % SOCKETS].local_addr()?)?);
        }
        Ok(Parties { caller, sockets, dialogs })
    }

    /// Every caller sends a tone packet every 20 ms, and received packets are examined, until the run is
    /// over.
    pub fn talk(&mut self, counts: &Counts) {
        let tone = |n: usize| (f64::from(n as u32) * 0.35).sin() * 6_000.0;
        let payload: Vec<u8> = (0..SAMPLES).map(|n| g711::ulaw_encode(tone(n) as i16)).collect();
        let targets: Vec<SockaddrStorage> = self.dialogs.iter().map(|dialog| dialog.rtp.into()).collect();
        let of: HashMap<SocketAddr, usize> =
            self.dialogs.iter().enumerate().map(|(n, dialog)| (dialog.rtp, n)).collect();
        let mut heard: Vec<Hears> = self.dialogs.iter().map(|_| Hears::default()).collect();
        // Callers by phase and socket.
        let mut lots = vec![vec![Vec::new(); SOCKETS]; PHASES];
        for n in 0..self.dialogs.len() {
            lots[n / SOCKETS % PHASES][n % SOCKETS].push(n);
        }
        let most = lots.iter().flatten().map(Vec::len).max().unwrap_or(0).max(1);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(most, None);
        let mut packets: Vec<Vec<u8>> =
            (0..most).map(|_| [vec![0; HEADER], payload.clone()].concat()).collect();
        let (mut batch, began) = (Batch::default(), Instant::now());
        for turn in 0u32.. {
            if counts.over.load(Ordering::Relaxed) {
                return;
            }
            let due = began + FRAME / PHASES as u32 * turn;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (number, phase) = (turn / PHASES as u32, turn as usize % PHASES);
            for (socket, lot) in self.sockets.iter().zip(&lots[phase]).filter(|(_, lot)| !lot.is_empty()) {
                for (packet, n) in packets.iter_mut().zip(lot) {
                    packet[0] = 0x80;
                    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                    packet[4..8].copy_from_slice(&(number.wrapping_mul(SAMPLES as u32)).to_be_bytes());
                    packet[8..12].copy_from_slice(&(*n as u32 + 1).to_be_bytes());
                }
                let slices: Vec<_> =
                    packets[..lot.len()].iter().map(|packet| [IoSlice::new(packet)]).collect();
                let addresses: Vec<_> = lot.iter().map(|n| Some(targets[*n])).collect();
                let none: [ControlMessage<'_>; 0] = [];
                let _ =
                    sendmmsg(socket.as_raw_fd(), &mut headers, &slices, addresses, none, MsgFlags::empty());
            }
            let now = Now { at: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) };
            for socket in self.sockets.iter().skip(phase % LOOKS).step_by(LOOKS) {
                batch.receive(socket, now, |came, from, packet| {
                    if let Some(n) = of.get(&from) {
                        hear(counts, *n, &mut heard[*n], came, packet);
                    }
                });
            }
        }
    }

    /// Ends all calls.
    pub fn hang_up(&self) -> Result<(), Failure> {
        self.dialogs.iter().try_for_each(|dialog| self.caller.hang_up(dialog))
    }
}

fn hear(counts: &Counts, n: usize, hears: &mut Hears, came: Instant, packet: &[u8]) {
    if packet.len() != HEADER + SAMPLES || packet[1] & 0x7F != 0 {
        return;
    }
    let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
    let first = *hears.first.get_or_insert(timestamp);
    let number = timestamp.wrapping_sub(first) / SAMPLES as u32;
    counts.count(&counts.packets, hears.line.late(u64::from(number), came));
    let is_loud = |octets: &[u8]| octets.iter().any(|octet| g711::ulaw_decode(*octet).abs() >= SILENT);
    let loud = is_loud(&packet[HEADER + FILTERED..]);
    let cleared = counts.cleared[n].load(Ordering::Acquire);
    if cleared != 0 && !loud {
        counts.cleared[n].store(0, Ordering::Release);
        counts.silent(came, cleared, hears.loud);
    }
    hears.loud = loud;
}
