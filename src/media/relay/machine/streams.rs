//! Streams of this thread's parties: listeners and speakers outside the media threads.

use std::net::SocketAddr;
use std::time::Duration;

use super::{BEFORE, Endpoint, Header, Machine, Now, RelayId, Transmit};
use crate::remote::Voice;
use crate::stage::Streaming;
use crate::stream::Inside;

impl Machine {
    /// Begins a stream; if there is no such endpoint, the outside is told by the stream's end.
    pub(super) fn begin_stream(&mut self, at: u64, id: RelayId, line: Inside) {
        let epoch = self.epoch;
        let Some(endpoint) = self.get(id) else { return };
        let voice = endpoint.far.remote.map_or(Voice::NONE, |remote| remote.voice);
        let stage = endpoint.stage.get_or_insert_default();
        let stream = Streaming::new(line, epoch, &voice);
        if let Some(target) = voice.gets.as_ref().filter(|_| stream.speaks()) {
            stage.prepare(target, stream.rate_hz());
        }
        stage.begin_stream(stream);
        self.set_idle(id.slot);
        self.set_stage(at, id.slot);
    }

    /// Applies the rule for packets of an endpoint that is not joined.
    pub(super) fn set_idle(&mut self, slot: u32) {
        if let Some(endpoint) = self.at(slot).filter(|endpoint| endpoint.peer.is_none()) {
            let idle = endpoint.idle_way();
            endpoint.set_way(&idle);
        }
    }

    /// Passes the party's audio of one tick to its stream, which may end with it.
    pub(super) fn stream_tick(&mut self, due: u64, slot: u32) {
        let moment = self.epoch + Duration::from_nanos(due - BEFORE);
        let Some(Endpoint { stage: Some(stage), far, state, rule, .. }) = self.at(slot) else { return };
        if stage.has_stream() {
            stage.overhear(due, moment, || far.link(state.jitter_ticks(), rule.clock_rate));
            if !stage.has_stream() {
                self.set_idle(slot);
            }
        }
    }

    /// Processes a packet passed up, of a party with a stream; if the party is joined, the packet
    /// was overheard already.
    pub(super) fn up_to_stream(
        &mut self,
        now: Now,
        at: u64,
        slot: u32,
        datagram: &mut [u8],
        out: &mut impl Transmit,
    ) {
        let Some(header) = Header::read(datagram) else { return };
        let Some(endpoint) = self.at(slot) else { return };
        if endpoint.peer.is_none() && !endpoint.is_event() {
            endpoint.hear_stream(now, &header, datagram);
        }
        if endpoint.has_receiver() {
            self.hear(now, slot, datagram);
        } else if endpoint.has_echo() {
            self.echo(now, at, slot, datagram, out);
        } else if endpoint.plan.is_some() {
            self.transcode(now, at, slot, datagram, out);
        } else if endpoint.is_event() || endpoint.peer.is_some() {
            self.event(now, slot, datagram, false, false);
        }
    }

    /// Inspects a packet before it is forwarded, for tones and streams, if it is from the believed
    /// party.
    pub(super) fn overhear(&mut self, now: Now, slot: u32, source: SocketAddr, datagram: &[u8]) {
        let (Some(endpoint), Some(header)) = (self.at(slot), Header::read(datagram)) else { return };
        if endpoint.rule.source != source || endpoint.rule.ssrc != header.ssrc {
            return;
        }
        if endpoint.peer.is_some() && endpoint.has_stream() {
            endpoint.hear_stream(now, &header, datagram);
        }
        if endpoint.tones.is_some() {
            self.detect_tones(now, slot, &header, datagram);
        }
    }
}

impl Endpoint {
    /// Passes a packet to the stream if it is audio that the party may send.
    fn hear_stream(&mut self, now: Now, header: &Header, datagram: &[u8]) {
        let Endpoint { stage: Some(stage), far, .. } = self else { return };
        let (Some(stream), Some(remote)) = (stage.stream(), &far.remote) else { return };
        let payload = datagram.get(header.payload..header.payload + header.payload_len).unwrap_or_default();
        stream.packet(now.at, &remote.voice, header, payload);
    }
}
