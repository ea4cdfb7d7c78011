//! Digits by telephone events (RFC 4733): received events without an end, and digits that we send
//! to a leg as events or as tones.

use super::{Channel, Digit, Endpoint, Header, Machine, Now, RelayEvent, RelayId, Transmit};
use crate::rtp::telephone_event;

/// Length of an RTP header without extras, and an event.
const PACKET: usize = 12 + 4;

impl Machine {
    /// Ends the digits of pressed keys whose packets have stopped.
    pub(super) fn look_at_pressed(&mut self, now: Now) {
        if self.pressed.is_empty() {
            return;
        }
        let mut pressed = std::mem::take(&mut self.pressed);
        pressed.retain(|&slot| {
            let Some(endpoint) = self.at(slot) else { return false };
            let passed_on = endpoint.passes_events();
            let digit = endpoint.far.digits.expire(now.at);
            let pressed = endpoint.far.digits.is_pressed();
            self.digit(now, slot, digit, passed_on);
            pressed
        });
        self.pressed.append(&mut pressed);
    }

    /// Processes a packet of an event that the other party takes, and forwards it unless it is kept back.
    pub(super) fn pass_event(&mut self, now: Now, slot: u32, datagram: &[u8], out: &mut impl Transmit) {
        let Some(header) = Header::read(datagram) else { return };
        self.event(now, slot, datagram, true, true);
        let Some(endpoint) = self.at(slot) else { return };
        if endpoint.keeps_back() {
            endpoint.state.withhold(header.payload_len, datagram.len());
            return;
        }
        let (to, peer) = (endpoint.rule.destination, endpoint.peer);
        let sent = peer.is_some_and(|peer| out.transmit(peer, Channel::Rtp, to, datagram));
        endpoint.drops.send_failed += u64::from(!sent);
    }

    /// Processes an event that comes under an SSRC of its own beside the audio. It has no place in the other party's
    /// stream: that gets the digit as one of ours.
    #[cold]
    pub(super) fn event_beside(&mut self, now: Now, slot: u32, ssrc: u32, datagram: &[u8]) {
        let Some(endpoint) = self.at(slot) else { return };
        let is_another = std::mem::replace(&mut endpoint.events_ssrc, ssrc) != ssrc;
        let unfinished = if is_another { endpoint.far.digits.new_source(now.at) } else { None };
        self.digit_beside(now, slot, unfinished);
        let digit = self.hear_event(now, slot, datagram, false);
        self.digit_beside(now, slot, digit);
    }

    fn digit_beside(&mut self, now: Now, slot: u32, digit: Option<Digit>) {
        let Some(digit) = digit else { return };
        let kept_back = self.at(slot).is_none_or(|it| it.held || it.far.digits.keeps_back_last());
        let peer = self.pair(slot).map(|(_, peer)| peer).filter(|_| !kept_back);
        let takes = peer.filter(|peer| peer.far.remote.is_some_and(|it| it.takes_event.is_some()));
        let peer = takes.map(|peer| peer.id);
        if let (Some(peer), Some(code)) = (peer, telephone_event::code(digit.digit)) {
            self.insert_digit(self.ns(now.at), peer, code, digit.duration_ms);
        }
        self.digit(now, slot, Some(digit), peer.is_some());
    }

    /// Counts a digit by INFO, unless it has come as an event or a tone as well. Returns whether it counts.
    pub(super) fn info(&mut self, now: Now, id: RelayId, digit: char) -> bool {
        let counts = self.get(id).is_some_and(|endpoint| endpoint.far.digits.info(digit, now.at));
        if counts {
            self.typed(now, id.slot, digit);
        }
        counts
    }

    /// Detects digits in a packet of the believed party.
    #[cold]
    pub(super) fn detect_tones(&mut self, now: Now, slot: u32, header: &Header, datagram: &[u8]) {
        let Some(endpoint) = self.at(slot) else { return };
        let Endpoint { tones: Some(tones), far, .. } = endpoint else { return };
        let Some(remote) = &far.remote else { return };
        let payload = datagram.get(header.payload..header.payload + header.payload_len).unwrap_or_default();
        // A sender of events presses no tones meanwhile: a tone heard then is the same digit.
        if far.digits.is_pressed() || !far.lock.admits_keys() {
            return;
        }
        for digit in tones.packet(&remote.voice, header, payload).into_iter().flatten() {
            self.tone_digit(now, slot, digit);
        }
    }

    /// A digit in a party's audio; where the tone is cut out, the other party gets it as an event.
    fn tone_digit(&mut self, now: Now, slot: u32, digit: Digit) {
        let at = self.ns(now.at);
        let Some(endpoint) = self.at(slot) else { return };
        let Some(Digit { digit, duration_ms }) = endpoint.far.digits.tone(digit, now.at) else { return };
        let (id, cut) = (endpoint.id, endpoint.plan.as_ref().is_some_and(|plan| plan.cuts_tones));
        let peer = self.pair(slot).filter(|_| cut).map(|(_, peer)| peer.id);
        if let (Some(peer), Some(code)) = (peer, telephone_event::code(digit)) {
            self.insert_digit(at, peer, code, duration_ms);
        }
        self.typed(now, slot, digit);
        let passed_on = peer.is_some();
        self.events.push_back(RelayEvent::Digit { id, digit, duration_ms, passed_on, by_tone: true });
    }

    /// Sends a digit to this endpoint's party, by its event code.
    pub(super) fn insert_digit(&mut self, at: u64, id: RelayId, code: u8, duration_ms: u32) {
        let Some(endpoint) = self.get(id) else { return };
        if endpoint.far.rtp_at().is_some() && endpoint.far.remote.is_some_and(|it| it.takes_event.is_some()) {
            endpoint.inserted.get_or_insert_default().push(at, code, duration_ms);
            self.arm(id.slot);
        } else if let Some(digit) = telephone_event::digit(code) {
            self.sound_digit(at, id.slot, digit, duration_ms);
        }
    }

    /// Sends a digit as a tone if this party supports nothing else. Returns whether it does.
    fn sound_digit(&mut self, at: u64, slot: u32, digit: char, duration_ms: u32) -> bool {
        let Some(endpoint) = self.at(slot) else { return false };
        let takes = endpoint.far.remote.filter(|it| it.takes_tones && it.voice.gets.is_some());
        let Some(remote) = takes.filter(|_| endpoint.far.rtp_at().is_some()) else { return false };
        let rate_hz = remote.voice.rate_hz();
        endpoint.stage.get_or_insert_default().sound_digit(digit, duration_ms, rate_hz);
        self.set_stage(at, slot);
        true
    }

    /// Sends a tone as long as the event, once the event has ended, if the other party takes digits
    /// as tones. Returns whether it does.
    pub(super) fn event_as_tone(&mut self, at: u64, slot: u32, digit: char, duration_ms: u32) -> bool {
        let peer = self.at(slot).filter(|endpoint| !endpoint.held).and_then(|endpoint| endpoint.peer);
        peer.is_some_and(|peer| self.sound_digit(at, peer, digit, duration_ms))
    }

    /// Sends the next packet of a digit.
    pub(super) fn send_digit(&mut self, at: u64, slot: u32, out: &mut impl Transmit) {
        let Some(endpoint) = self.at(slot) else { return };
        let Some(mut inserted) = endpoint.inserted.take() else { return };
        let takes = endpoint.far.rtp_at().zip(endpoint.far.remote.and_then(|remote| remote.takes_event));
        // The leg was put on hold meanwhile: the remaining digits would come too late.
        let Some((to, (payload_type, rate))) = takes else { return };
        let Some((packet, timestamp)) = inserted.packet(at, rate) else { return };
        // The timeline is that of the audio; only an event's duration uses the event clock rate.
        let voice = self.at(slot).and_then(|endpoint| endpoint.far.remote?.voice.gets);
        let rate = voice.map_or(rate, |voice| voice.codec.clock_rate());
        let size = (PACKET as u64, 4);
        let (sequence, moment) = match self.pair(slot) {
            Some((endpoint, feeder)) if feeder.peer == Some(slot) => {
                endpoint.out.insert(Some((&feeder.rule, &mut feeder.state)), at, rate, size)
            }
            _ => match self.at(slot) {
                Some(endpoint) => endpoint.out.insert(None, at, rate, size),
                None => return,
            },
        };
        let Some(endpoint) = self.at(slot) else { return };
        let timestamp = timestamp.unwrap_or(moment);
        inserted.begun(timestamp);
        let mut datagram = [0; PACKET];
        endpoint.out.header(packet.first, payload_type, sequence, timestamp).write_fixed(&mut datagram);
        datagram[12..].copy_from_slice(&packet.payload);
        // Keep the box only if more packets follow.
        endpoint.inserted = Some(inserted).filter(|it| it.due != 0);
        out.transmit(slot, Channel::Rtp, to, &datagram);
    }
}
