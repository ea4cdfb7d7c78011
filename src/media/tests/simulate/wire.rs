//! Checks what the machine sends, while it sends it.

use std::net::SocketAddr;

use b2b_base::util::ntp::NtpTime;
use b2b_media::relay::machine::Transmit;
use b2b_media::transport::Channel;
use rand::rngs::StdRng;

use crate::party::{Joint, Party};

/// The transmitter; see the module documentation.
pub struct Wire<'a> {
    pub parties: &'a mut [Party],
    pub rng: &'a mut StdRng,
    pub at: u64,
    pub wall: NtpTime,
    /// The payload being received from one party.
    pub payload: &'a [u8],
    /// Packets sent, and the recipient of the last one.
    pub sent: u64,
    pub to: Option<u32>,
}

impl Transmit for Wire<'_> {
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        let party = &mut self.parties[slot as usize];
        assert!(party.at == to || party.before == Some(to), "sent to {to}, where {slot} has never been");
        if datagram.get(1).is_some_and(|second| (64..=95).contains(&(second & 0x7F))) {
            party.hears_rtcp(self.rng, self.at, self.wall, datagram);
            return true;
        }
        assert_eq!(channel, Channel::Rtp);
        assert!(!party.held, "{slot} is on hold and sent sound");
        party.hears_rtp(self.rng, self.at, datagram);
        if let Joint::Relayed(_) | Joint::Echo = party.joint {
            assert!(datagram.ends_with(self.payload), "another payload than came");
        }
        (self.sent, self.to) = (self.sent + 1, Some(slot));
        true
    }
}
