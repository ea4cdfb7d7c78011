//! RTP sent and counted by the test itself.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::interop::support::{LIMIT, free_port};

/// One packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub from: SocketAddr,
    pub marker: bool,
    pub payload_type: u8,
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Vec<u8>,
}

/// An RTP endpoint.
pub struct Ear {
    socket: UdpSocket,
    seq: Arc<AtomicU16>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    stop: Arc<AtomicBool>,
}

impl Ear {
    pub fn new(ip: IpAddr) -> Ear {
        let socket = UdpSocket::bind((ip, free_port())).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
        let (arrived, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let ear = Ear {
            socket: socket.try_clone().expect("socket"),
            seq: Arc::new(AtomicU16::new(1)),
            arrived: arrived.clone(),
            stop: stop.clone(),
        };
        thread::spawn(move || {
            let mut buffer = [0; 2_000];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                // RTP, not RTCP
                if length > 12 && buffer[0] >> 6 == 2 && !(192..224).contains(&buffer[1]) {
                    let [_, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] =
                        *buffer.first_chunk().expect("longer than a header");
                    arrived.lock().expect("whole").push(Arrived {
                        from,
                        marker: second & 0x80 != 0,
                        payload_type: second & 0x7f,
                        seq: u16::from_be_bytes([s0, s1]),
                        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
                        ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
                        payload: buffer[12..length].to_vec(),
                    });
                }
            }
        });
        ear
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().expect("address").port()
    }

    /// Sends this octet to `to` in PCMU, 50 packets a second, until the returned value is dropped.
    pub fn says(&self, octet: u8, to: SocketAddr) -> Saying {
        self.speaks((0, 160), move || vec![octet; 160], to)
    }

    /// Sends the payloads of `next` with a payload type and this many ticks per packet, 50 packets a second,
    /// until the returned value is dropped.
    pub fn speaks(
        &self,
        (payload_type, ticks): (u8, u32),
        mut next: impl FnMut() -> Vec<u8> + Send + 'static,
        to: SocketAddr,
    ) -> Saying {
        let stop = Arc::new(AtomicBool::new(false));
        let (socket, stopped) = (self.socket.try_clone().expect("socket"), stop.clone());
        let counter = self.seq.clone();
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let seq = counter.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&rtp(payload_type, false, seq, u32::from(seq) * ticks, &next()), to);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Saying(stop)
    }

    /// Sends a digit with this payload type, as phones do: the end three times (RFC 4733 §2.5.1). Eight
    /// packets.
    pub fn presses(&self, event: u8, payload_type: u8, to: SocketAddr) {
        let start = u32::from(self.seq.load(Ordering::Relaxed)) * 160;
        for step in 0..8_u16 {
            let end = step >= 5;
            let [high, low] = ((step.min(5) + 1) * 160).to_be_bytes();
            let payload = [event, 10 | u8::from(end) << 7, high, low];
            let seq = self.seq.fetch_add(1, Ordering::Relaxed);
            self.socket.send_to(&rtp(payload_type, step == 0, seq, start, &payload), to).expect("sends");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("whole").clone()
    }

    /// Waits until this many more packets of the octet have arrived.
    pub fn hears(&self, octet: u8, packets: usize) {
        self.hears_so_many(packets, |it| it.payload == [octet; 160]);
    }

    /// Waits until this many more matching packets have arrived.
    pub fn hears_so_many(&self, packets: usize, like: impl Fn(&Arrived) -> bool) {
        let count = || self.arrived().iter().filter(|it| like(it)).count();
        let (end, before) = (Instant::now() + LIMIT, count());
        while count() < before + packets {
            assert!(Instant::now() < end, "{} of {packets} packets", count() - before);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Requires that nothing more arrives for a while, except packets in transit.
    pub fn hears_nothing(&self) {
        thread::sleep(Duration::from_millis(150));
        let before = self.arrived().len();
        thread::sleep(Duration::from_millis(400));
        assert_eq!(self.arrived().len(), before, "packets to who is not to hear any");
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends until it is dropped.
pub struct Saying(Arc<AtomicBool>);

impl Drop for Saying {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn rtp(payload_type: u8, marker: bool, seq: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
    packet.extend(seq.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(7_u32.to_be_bytes());
    packet.extend(payload);
    packet
}
