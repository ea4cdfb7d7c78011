//! The sockets of a relay thread's endpoints, and the layers between them and the machine: SRTP,
//! traces, recordings, and the limit on what is sent to an unproven address.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use super::RelayId;
use super::machine::Transmit;
use super::protection::{Room, protect, unprotect};
use super::trace::Tap;
use super::unproven::Unproven;
use crate::recording::{self, Side};
use crate::transport::Channel;
use crate::transport::protection::{Protection, UnprotectError};

/// One endpoint's sockets.
pub(super) struct Place {
    pub id: RelayId,
    pub rtp: UdpSocket,
    pub rtcp: Option<UdpSocket>,
    pub address: usize,
    pub layers: Layers,
}

/// The layers between an endpoint's sockets and the machine.
pub(super) struct Layers {
    pub protection: Option<Box<Protection>>,
    /// Local RTP address.
    pub local: SocketAddr,
    /// Where packets are traced, if they are.
    pub tap: Option<Box<Tap>>,
    /// Where RTP packets are recorded.
    pub records: Vec<recording::Tap>,
    /// The limit on what is sent to a host until something is received from it.
    pub unproven: Option<Box<Unproven>>,
}

impl Place {
    /// A place without any layers.
    pub fn new(id: RelayId, rtp: UdpSocket, address: usize, local: SocketAddr) -> Self {
        let layers = Layers { protection: None, local, tap: None, records: Vec::new(), unproven: None };
        Place { id, rtp, rtcp: None, address, layers }
    }

    /// The socket of a channel, and the channel that this is: without its own socket RTCP is sent
    /// from the RTP port.
    #[inline]
    pub fn socket(&self, channel: Channel) -> (&UdpSocket, Channel) {
        match (channel, &self.rtcp) {
            (Channel::Rtcp, Some(rtcp)) => (rtcp, Channel::Rtcp),
            _ => (&self.rtp, Channel::Rtp),
        }
    }
}

impl Layers {
    /// Removes the protection of a received datagram.
    ///
    /// # Errors
    /// The datagram is not from the holder of the key, or is a replay.
    #[inline]
    pub fn receive<'a>(
        &mut self,
        channel: Channel,
        source: SocketAddr,
        datagram: &'a mut [u8],
    ) -> Result<&'a mut [u8], UnprotectError> {
        if self.tap.is_some() {
            self.trace(false, channel, source, datagram);
        }
        let length = match &mut self.protection {
            Some(protection) => unprotect(protection, channel, datagram)?,
            None => datagram.len(),
        };
        let datagram = datagram.get_mut(..length).ok_or(UnprotectError::Malformed)?;
        if self.unproven.is_some() {
            self.prove(source, datagram);
        }
        Ok(datagram)
    }

    /// Lifts the limit if this datagram proves the host.
    #[cold]
    fn prove(&mut self, source: SocketAddr, datagram: &[u8]) {
        self.unproven.take_if(|it| it.is_proved_by(source, datagram));
    }

    /// Copies a plain RTP packet of a recorded endpoint.
    #[cold]
    #[inline(never)]
    pub fn record(&mut self, side: Side, datagram: &[u8]) {
        let at = Instant::now();
        self.records.retain_mut(|tap| tap.take(at, side, datagram));
    }

    /// Copies a packet of a traced endpoint.
    #[cold]
    #[inline(never)]
    pub fn trace(&mut self, sent: bool, channel: Channel, remote: SocketAddr, datagram: &[u8]) {
        let port = self.local.port() + u16::from(channel == Channel::Rtcp);
        let local = SocketAddr::new(self.local.ip(), port);
        let way = (sent, self.protection.is_some());
        // The time of this packet: the loop's time may be that of 255 packets before it.
        let more =
            self.tap.as_mut().is_some_and(|tap| tap.take(Instant::now(), way, local, remote, datagram));
        if !more {
            self.tap = None;
        }
    }
}

/// The table of sockets; its slots are those of the machine's endpoints.
pub(super) struct Sockets {
    pub places: Vec<Option<Place>>,
    pub free: Vec<u32>,
    /// The latest of each slot. They begin anywhere, so that endpoints of two processes have different numbers.
    pub generations: Vec<u32>,
    /// Buffer for protected packets.
    pub room: Box<Room>,
    /// Endpoints to whose party nothing more may be sent, to be reported.
    pub withheld: Vec<(RelayId, SocketAddr)>,
}

impl Sockets {
    pub fn get(&mut self, slot: u32) -> Option<&mut Place> {
        self.places.get_mut(slot as usize)?.as_mut()
    }

    pub fn place(&mut self, id: RelayId) -> Option<&mut Place> {
        self.places.get_mut(id.slot as usize)?.as_mut().filter(|place| place.id == id)
    }
}

impl Transmit for Sockets {
    #[inline]
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        let Some(Some(place)) = self.places.get_mut(slot as usize) else { return false };
        if !place.layers.records.is_empty() && channel == Channel::Rtp {
            place.layers.record(Side::Heard, datagram);
        }
        let datagram = match &mut place.layers.protection {
            Some(protection) => protect(protection, channel, datagram, &mut self.room),
            None => Some(datagram),
        };
        let Some(datagram) = datagram else { return false };
        if let Some(unproven) = &mut place.layers.unproven
            && !unproven.admits(to, datagram.len())
        {
            if unproven.is_news() {
                self.withheld.push((place.id, to));
            }
            return false;
        }
        let (socket, channel) = place.socket(channel);
        // On a full buffer or an unreachable peer the packet counts as lost.
        let sent = socket.send_to(datagram, to).is_ok();
        if place.layers.tap.is_some() && sent {
            place.layers.trace(true, channel, to, datagram);
        }
        sent
    }
}
