//! Streams of this thread's parties: somebody outside of the media threads hears them, and speaks
//! to them.

use std::net::SocketAddr;
use std::time::Duration;

use super::{BEFORE, Endpoint, Header, Machine, Now, RelayId, Transmit};
use crate::remote::Voice;
use crate::stage::Streaming;
use crate::stream::Inside;

impl Machine {
    /// Begins a stream; who is outside is told by its end that there is no such endpoint.
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

    /// What becomes of packets while nobody is joined.
    pub(super) fn set_idle(&mut self, slot: u32) {
        if let Some(endpoint) = self.at(slot).filter(|endpoint| endpoint.peer.is_none()) {
            let idle = endpoint.idle_way();
            endpoint.set_way(&idle);
        }
    }

    /// What the party says in a tick goes to its stream, which may be over then.
    pub(super) fn stream_tick(&mut self, due: u64, slot: u32) {
        let moment = self.epoch + Duration::from_nanos(due - BEFORE);
        let Some(Endpoint { stage: Some(stage), .. }) = self.at(slot) else { return };
        if stage.has_stream() {
            stage.overhear(moment);
            if !stage.has_stream() {
                self.set_idle(slot);
            }
        }
    }

    /// A packet that goes up, of a party with a stream that is joined with nobody; or of one that
    /// is, and was overheard.
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

    /// A packet that has come, before anything becomes of it: for tones and streams, if it is of
    /// the party that is believed.
    pub(super) fn overhear(&mut self, now: Now, slot: u32, source: SocketAddr, datagram: &[u8]) {
        let (Some(endpoint), Some(header)) = (self.at(slot), Header::read(datagram)) else { return };
        if endpoint.rule.source != source || endpoint.rule.ssrc != header.ssrc {
            return;
        }
        if endpoint.peer.is_some() && endpoint.has_stream() {
            endpoint.hear_stream(now, &header, datagram);
        }
        if endpoint.tones.is_some() {
            self.hear_tones(now, slot, &header, datagram);
        }
    }
}

impl Endpoint {
    /// What is no sound that the party may send is none of a stream's.
    fn hear_stream(&mut self, now: Now, header: &Header, datagram: &[u8]) {
        let Endpoint { stage: Some(stage), far, .. } = self else { return };
        let (Some(stream), Some(remote)) = (stage.stream(), &far.remote) else { return };
        let payload = datagram.get(header.payload..header.payload + header.payload_len).unwrap_or_default();
        stream.packet(now.at, &remote.voice, header, payload);
    }
}
