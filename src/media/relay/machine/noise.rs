//! Comfort noise (RFC 3389) for a party that does not support it: it hears soft generated noise
//! until the next sound, the next application command, or the end of the join.

use super::{Header, Machine};

impl Machine {
    /// Handles a packet that was passed up if it is comfort noise. Returns whether it is.
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

    /// Handles a packet that was not transcoded. Returns whether to try again.
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

    /// Handles a packet of `length` octets that was held back. Returns whether generated noise was
    /// the reason, so that it is to be processed again.
    #[cold]
    pub(super) fn hears_again(&mut self, at: u64, slot: u32, length: usize) -> bool {
        let again = self.end_noise(at, slot);
        if let Some(endpoint) = self.at(slot).filter(|_| again) {
            endpoint.drops.held -= 1;
            endpoint.state.uncount(length);
        }
        again
    }

    /// Ends generated noise when a sound packet arrives. Returns whether noise was playing and the
    /// peer can be sent to now.
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
