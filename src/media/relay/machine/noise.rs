//! Comfort noise (RFC 3389) of a party whose other party knows none: that one hears soft noise of
//! ours until the next sound, the next word of an application, or the end of the join.

use super::{Header, Machine};

impl Machine {
    /// Takes a packet that went up, if it is comfort noise. Whether it is.
    #[cold]
    pub(super) fn comfort_noise(&mut self, at: u64, slot: u32, datagram: &[u8]) -> bool {
        let Some(endpoint) = self.at(slot) else { return false };
        if endpoint.noise.is_none() || endpoint.noise != Some(endpoint.state.payload_type) {
            return false;
        }
        let Some(header) = Header::read(datagram) else { return true };
        endpoint.pass_over(header.sequence);
        let level = datagram.get(header.payload..header.payload + header.payload_len).unwrap_or_default();
        let Some((endpoint, peer)) = self.pair(slot) else { return true };
        let target = peer.far.remote.and_then(|remote| remote.voice.gets);
        let hears = peer.far.rtp_at().is_some() && !endpoint.held;
        if hears && target.is_some_and(|target| target.codec.clock_rate() == 8_000) {
            let peer_slot = peer.id.slot;
            peer.stage.get_or_insert_default().hear_noise(level);
            self.set_stage(at, peer_slot);
        }
        true
    }

    /// A packet that was to be transcoded and was not. Whether there is a point in doing it again.
    #[cold]
    pub(super) fn unheard(&mut self, at: u64, slot: u32, datagram: &[u8], held: bool) -> bool {
        if self.comfort_noise(at, slot, datagram) || !held {
            return false;
        }
        if self.end_noise(at, slot) {
            return true;
        }
        if let Some(endpoint) = self.at(slot) {
            endpoint.drops.held += 1;
        }
        false
    }

    /// A packet of so many octets was stopped. Whether it was by noise in its place, and is to be
    /// looked at once more.
    #[cold]
    pub(super) fn hears_again(&mut self, at: u64, slot: u32, length: usize) -> bool {
        let again = self.end_noise(at, slot);
        if let Some(endpoint) = self.at(slot).filter(|_| again) {
            endpoint.drops.held -= 1;
            endpoint.state.uncount(length);
        }
        again
    }

    /// A packet of sound has come that nobody hears. Whether that was for noise in its place,
    /// which is over now.
    #[cold]
    pub(super) fn end_noise(&mut self, at: u64, slot: u32) -> bool {
        let Some((_, peer)) = self.pair(slot) else { return false };
        let peer_slot = peer.id.slot;
        if !peer.stage.as_mut().is_some_and(|stage| stage.end_noise()) {
            return false;
        }
        self.set_stage(at, peer_slot);
        self.pair(slot).is_some_and(|(_, peer)| peer.hears_at().is_some())
    }
}
