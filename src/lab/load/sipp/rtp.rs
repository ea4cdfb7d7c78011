//! RTP of scenarios: audio or packets from a file, an echo, or only a port that receives. All on the generator's
//! thread; no allocation per packet.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pcap::TimedPacket;
use super::read_actions::PACKET;
use super::scenario::{Media, Stream};
use b2b_media::rtp::RtpHeader;

/// Packet time, and the polling interval of ports.
pub const PTIME: Duration = Duration::from_millis(20);
/// Maximum packets read at a time, so that every port is served.
const AT_A_TIME: usize = 256;
/// Attempts to get an even port (RFC 3550 §11).
const TRIES: usize = 16;

/// A port with RTP.
pub struct Rtp {
    socket: UdpSocket,
    playing: Option<Playing>,
    replaying: Option<Replaying>,
    echo: bool,
    /// The time of its next turn.
    next: Instant,
    /// Packets sent.
    pub sent: u64,
    /// Packets received.
    pub received: u64,
}

struct Playing {
    stream: Arc<Stream>,
    to: SocketAddr,
    /// Offset of the next octet of the file.
    at: usize,
    /// Number of completed repetitions.
    rounds: u32,
    paused: bool,
    header: RtpHeader,
}

/// The packets of a capture.
struct Replaying {
    packets: Arc<Vec<TimedPacket>>,
    to: SocketAddr,
    began: Instant,
    /// Packets sent.
    at: usize,
}

impl Rtp {
    /// Binds a port at this address.
    ///
    /// # Errors
    /// No port is free.
    pub fn bind(ip: IpAddr, echo: bool, now: Instant) -> io::Result<Self> {
        let mut socket = UdpSocket::bind((ip, 0))?;
        for _ in 0..TRIES {
            if socket.local_addr()?.port().is_multiple_of(2) {
                break;
            }
            socket = UdpSocket::bind((ip, 0))?;
        }
        socket.set_nonblocking(true)?;
        Ok(Rtp { socket, playing: None, replaying: None, echo, next: now, sent: 0, received: 0 })
    }

    /// Its port.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Performs a media action. `to`: where the far end receives RTP.
    pub fn perform(&mut self, media: &Media, to: Option<SocketAddr>, now: Instant) {
        match (media, &mut self.playing) {
            (Media::Play(stream), _) => {
                let Some(to) = to else { return };
                let header = RtpHeader {
                    marker: true,
                    payload_type: stream.payload_type,
                    sequence: rand::random(),
                    timestamp: rand::random(),
                    ssrc: rand::random(),
                    abs_capture_time: None,
                };
                let stream = stream.clone();
                self.playing = Some(Playing { stream, to, at: 0, rounds: 0, paused: false, header });
                self.next = now;
            }
            (Media::Packets(packets), _) => {
                let packets = packets.clone();
                self.replaying = to.map(|to| Replaying { packets, to, began: now, at: 0 });
            }
            (Media::Pause, Some(playing)) => playing.paused = true,
            (Media::Resume, Some(playing)) => {
                (playing.paused, playing.header.marker) = (false, true);
                playing.to = to.unwrap_or(playing.to);
            }
            (Media::Echo(echo), _) => self.echo = *echo,
            (Media::Pause | Media::Resume, None) => {}
        }
    }

    /// Sends due packets, and reads received ones.
    pub fn turn(&mut self, now: Instant) {
        self.replay(now);
        if now < self.next {
            return;
        }
        // after a stall of the machine it does not send everything due at once
        self.next = (self.next + PTIME).max(now);
        self.play();
        self.read();
    }

    fn play(&mut self) {
        let Some(playing) = self.playing.as_mut().filter(|it| !it.paused) else { return };
        let octets = &playing.stream.octets;
        if playing.at + PACKET > octets.len() {
            (playing.at, playing.rounds) = (0, playing.rounds.saturating_add(1));
            if playing.stream.times.is_some_and(|times| playing.rounds >= times) {
                self.playing = None;
                return;
            }
        }
        let mut packet = [0_u8; RtpHeader::MAX_LEN + PACKET];
        let mut head = [0_u8; RtpHeader::MAX_LEN];
        let length = playing.header.write(&mut head);
        packet[..length].copy_from_slice(&head[..length]);
        packet[length..length + PACKET].copy_from_slice(&octets[playing.at..playing.at + PACKET]);
        playing.at += PACKET;
        playing.header.marker = false;
        playing.header.sequence = playing.header.sequence.wrapping_add(1);
        playing.header.timestamp = playing.header.timestamp.wrapping_add(PACKET as u32);
        self.sent += u64::from(self.socket.send_to(&packet[..length + PACKET], playing.to).is_ok());
    }

    /// Sends the packets of a capture when they are due.
    fn replay(&mut self, now: Instant) {
        let Some(Replaying { packets, to, began, at }) = &mut self.replaying else { return };
        let elapsed = now.saturating_duration_since(*began);
        let rest = packets.iter().skip(*at);
        for packet in rest.take_while(|packet| packet.after <= elapsed).take(AT_A_TIME) {
            *at += 1;
            self.sent += u64::from(self.socket.send_to(&packet.octets, *to).is_ok());
        }
        if *at == packets.len() {
            self.replaying = None;
        }
    }

    fn read(&mut self) {
        let mut packet = [0_u8; 2_048];
        for _ in 0..AT_A_TIME {
            match self.socket.recv_from(&mut packet) {
                Ok((length, from)) => {
                    self.received += 1;
                    if self.echo {
                        self.sent += u64::from(self.socket.send_to(&packet[..length], from).is_ok());
                    }
                }
                // no socket is open at the destination
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }
}
