//! One leg of the relay: the forwarding rule of what it receives, its outgoing stream, and the
//! state of its far end.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::inserted::Inserted;
use super::pace::Pace;
use super::refused::Refused;
use super::rivals::Rivals;
use super::tones::Tones;
use super::{
    Accounted, Drops, EndpointConfig, EndpointStats, Flow, Law, QualitySample, Recode, RelayId, Sources, Way,
};
use crate::codec::g711;
use crate::far_end::FarEnd;
use crate::forward::{
    COMFORT_NOISE, ExtensionMap, ForwardRule, ForwardState, Gate, Header, OutSpace, PayloadMap,
};
use crate::local::Local;
use crate::rtp::sequence::Receiving;
use crate::rtp::telephone_event::{Digit, EventUpdate};
use crate::stage::{Stage, Typed};
use crate::transcode::{Heard, Plan, TranscodeStats, Transcoder};
use crate::transport::lock::Belief;

/// Consecutive packets from one refused address before it is reported.
const REFUSED: u32 = 50;

/// An address that no packet comes from.
pub(super) const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// An endpoint takes about 1.5 KB, and 12 KB with codec state where it transcodes.
pub(super) struct Endpoint {
    pub id: RelayId,
    pub rule: ForwardRule,
    pub state: ForwardState,
    pub out: OutSpace,
    pub far: FarEnd,
    pub pace: Pace,
    pub recode: Option<Recode>,
    /// Payload type of comfort noise, if the other leg does not support it.
    pub noise: Option<u8>,
    /// How packets passed up are transcoded; the transcoder, created with the first such packet;
    /// and the counters of earlier transcoders.
    pub plan: Option<Box<Plan>>,
    /// The leg is on hold: its packets are not forwarded.
    pub held: bool,
    transcoder: Option<Box<Transcoder>>,
    pub transcoded: TranscodeStats,
    /// The endpoint that receives this endpoint's packets.
    pub peer: Option<u32>,
    pub drops: Drops,
    pub refused: Refused,
    /// Allocated when the endpoint opens, so that reports do not allocate.
    accounted: Option<Box<Accounted>>,
    pub timeouts: u32,
    /// When this endpoint's timer entry is due, ns; 0 for none.
    pub armed: u64,
    /// Telephone events being sent to the leg.
    pub inserted: Option<Box<Inserted>>,
    /// Application state: prompts, digit collection, streams and rooms.
    pub stage: Option<Box<Stage>>,
    /// The local source and sink joined to this endpoint.
    pub local: Option<Box<Local>>,
    /// The in-band DTMF detector on the leg's audio.
    pub tones: Option<Box<Tones>>,
    /// Digits received and not yet collected.
    pub typed: Typed,
    /// When the endpoint was opened, ns.
    pub since: u64,
    pub refused_payload_type: Option<u8>,
    /// Streams that are not believed.
    pub rivals: Rivals,
    /// SSRC of events beside the believed stream.
    pub events_ssrc: u32,
    pub started: bool,
    pub lost_before: u32,
    pub ssrc_changes: u32,
}

impl Endpoint {
    /// An endpoint opened at `now`, which is `since` in ns.
    pub fn new(id: RelayId, config: EndpointConfig, (now, since): (Instant, u64), rng: &mut StdRng) -> Self {
        let rule = ForwardRule {
            source: NOWHERE,
            ssrc: 0,
            destination: NOWHERE,
            out_ssrc: 0,
            sequence_offset: 0,
            timestamp_offset: 0,
            anchor: 0,
            clock_rate: 8_000,
            looks: 0,
            gate: Gate::Unjoined,
            payload_types: PayloadMap::EMPTY,
            extensions: ExtensionMap::EMPTY,
        };
        Endpoint {
            id,
            rule,
            state: ForwardState::default(),
            // RFC 3711 §3.3.1: the first sequence number is in the lower half.
            out: OutSpace::new(rng.random(), rng.random::<u16>() >> 1, rng.random()),
            far: FarEnd::new(config.sources, config.rtp_timeout, now, rng),
            pace: Pace::default(),
            recode: None,
            noise: None,
            plan: None,
            held: false,
            transcoder: None,
            transcoded: TranscodeStats::default(),
            peer: None,
            drops: Drops::default(),
            refused: Refused::default(),
            accounted: None,
            timeouts: 0,
            armed: 0,
            inserted: None,
            stage: None,
            local: None,
            tones: None,
            typed: Typed::default(),
            since,
            refused_payload_type: None,
            rivals: Rivals::default(),
            events_ssrc: 0,
            started: false,
            lost_before: 0,
            ssrc_changes: 0,
        }
    }

    /// Whether it is in a room.
    pub fn has_receiver(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.receiver.is_some())
    }

    /// Whether a stream outside the media threads receives this leg's audio.
    pub fn has_stream(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.has_stream())
    }

    /// Whether the leg's packets are inspected in addition to being forwarded.
    pub fn is_overheard(&self) -> bool {
        self.tones.is_some() || self.peer.is_some() && self.has_stream()
    }

    /// Whether the leg's audio is echoed back to it.
    pub fn has_echo(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.echo.is_some())
    }

    /// The rule for packets while the endpoint is not joined: events are passed up if any were
    /// negotiated, and audio if a room, a stream, an echo or a local sink needs it.
    pub fn idle_way(&self) -> Way {
        let mut payload_types = PayloadMap::EMPTY;
        let mut clock_rate = 8_000;
        let mut events = self.far.remote.iter().flat_map(|remote| remote.telephone_events.iter());
        if let Some((payload_type, rate)) = events.next() {
            payload_types.telephone_event(payload_type);
            clock_rate = rate;
        }
        events.for_each(|(payload_type, _)| payload_types.telephone_event(payload_type));
        let hears = self.has_receiver() || self.has_echo() || self.has_stream() || self.local.is_some();
        if let Some(remote) = self.far.remote.filter(|_| hears) {
            for (payload_type, codec) in remote.voice.says.into_iter().flatten() {
                payload_types.up(payload_type);
                clock_rate = codec.clock_rate();
            }
            if self.local.is_some() && remote.voice.codec(COMFORT_NOISE).is_none() {
                payload_types.up(COMFORT_NOISE);
            }
        }
        let mut way = Way::new(payload_types, clock_rate);
        if let Some(remote) = self.far.remote {
            way.clocks = remote.voice.clocks();
        }
        way
    }

    /// Applies a forwarding rule to received packets.
    pub fn set_way(&mut self, way: &Way) {
        self.rule.payload_types = way.payload_types;
        self.rule.clock_rate = self.clock_in(way);
        self.pace.clocks = way.clocks;
        self.set_looks();
        self.rule.extensions = way.extensions;
        self.recode = way.recode;
        self.noise = way.noise;
        self.held = way.held;
        if self.plan.as_deref() != way.transcode.as_ref() {
            self.plan = way.transcode.map(Box::new);
            if let Some(transcoder) = self.transcoder.take() {
                self.transcoded = self.transcoded.plus(&transcoder.stats);
            }
        }
    }

    /// Transcodes a packet that was passed up into the other leg's stream, and hands each resulting
    /// packet to `send`. Returns whether the packet was used.
    pub fn transcode(
        &mut self,
        at: u64,
        datagram: &[u8],
        space: &mut OutSpace,
        send: impl FnMut(&[u8]),
    ) -> bool {
        let (Some(plan), Some(header)) = (&self.plan, Header::read(datagram)) else { return false };
        let Some(payload) = datagram.get(header.payload..header.payload + header.payload_len) else {
            return false;
        };
        // Settle what the relay has forwarded so far.
        space.settle(&mut self.rule, &mut self.state);
        let transcoder = self.transcoder.get_or_insert_with(|| Box::new(Transcoder::new(plan)));
        match transcoder.packet(&header, payload, at, space, send) {
            Heard::Taken => return true,
            Heard::Late => self.drops.stream += 1,
            Heard::Undecodable => self.drops.undecodable += 1,
            // Events that are not forwarded were handled all the same, and so was comfort noise.
            Heard::Unknown => {
                let taken = self.is_event() || self.noise == Some(header.payload_type);
                self.drops.payload_type += u64::from(!taken);
            }
        }
        false
    }

    /// Marks a packet without audio, so that its sequence number does not count as a gap.
    pub fn pass_over(&mut self, sequence: u16) {
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.pass_over(sequence);
        }
    }

    /// The received stream as we report it; `None` before there is one.
    pub fn receiving(&self) -> Option<Receiving> {
        self.state.numbers.receiving(self.rule.ssrc, self.state.jitter_ticks())
    }

    /// Where its peer's packets are sent; `None` while we send our own audio to this leg.
    pub fn hears_at(&self) -> Option<SocketAddr> {
        let spoken_to = self.stage.as_ref().is_some_and(|stage| stage.has_encoder);
        self.far.rtp_at().filter(|_| !spoken_to)
    }

    /// Considers a packet whose source is not the rule's.
    pub fn believes_source(&mut self, source: SocketAddr, at: u64) -> Belief {
        let belief = self.far.lock.consider(source, at, self.state.last_at);
        match belief {
            Belief::Believed { before } => {
                self.rule.source = source;
                if before.is_some() {
                    self.count_afresh();
                }
            }
            Belief::Waits => self.drops.source += 1,
            Belief::Refused => {
                self.drops.source += 1;
                // Once a source is believed, packets from others are noise or an attack.
                let in_vain = self.far.lock.believed().is_none() && self.refused.source == Some(source);
                self.refused.in_vain = if in_vain { self.refused.in_vain.saturating_add(1) } else { 1 };
                self.refused.source = Some(source);
            }
        }
        belief
    }

    /// The refused address to report, if no other source sends. At most once.
    pub fn refused_to_tell(&mut self) -> Option<SocketAddr> {
        let due = self.refused.in_vain >= REFUSED && !self.refused.told && self.far.lock.believed().is_none();
        self.refused.told |= due;
        self.refused.source.filter(|_| due)
    }

    /// Updates the rule after the believed source changed without a packet.
    pub fn follow_lock(&mut self) {
        self.rule.source = self.far.lock.believed().unwrap_or(NOWHERE);
    }

    /// Whether a packet of another stream is an event beside the present stream.
    pub fn is_event_beside(&self, header: &Header) -> bool {
        self.state.numbers.highest() != 0 && self.rule.payload_types.is_event(header.payload_type)
    }

    /// Whether to believe a stream that the rule does not know, or a jump within a stream.
    pub fn believes_stream(&mut self, header: &Header, at: u64) -> bool {
        let ForwardState { last_at, packets, .. } = self.state;
        if self.state.numbers.highest() == 0 || self.rivals.take_over(header, at, last_at, packets) {
            return true;
        }
        // With a local sink the packet is held, not dropped.
        self.drops.stream += u64::from(self.local.is_none());
        false
    }

    /// Starts receiving a stream with this packet. Returns whether it is the very first stream, and
    /// the digit of a key that was still pressed in the previous one.
    pub fn begin_stream(&mut self, header: &Header, now: Instant, at: u64) -> (bool, Option<Digit>) {
        let mut digit = None;
        let expected = self.expected();
        if let Some(local) = &mut self.local {
            local.new_stream(self.rule.ssrc != header.ssrc, expected);
        }
        // A new source has another clock, which says nothing about earlier events.
        if self.state.numbers.highest() != 0 && self.rule.ssrc != header.ssrc {
            digit = self.far.digits.new_source(now);
        }
        if self.state.numbers.highest() != 0 {
            let missing = self.pace.missing_at_rest.as_mut().map(std::mem::take);
            self.lost_before = self.lost_before.saturating_add(missing.unwrap_or(self.state.numbers.lost()));
            self.ssrc_changes += u32::from(self.rule.ssrc != header.ssrc);
        }
        self.rule.ssrc = header.ssrc;
        let speech = !self.rule.payload_types.is_event(header.payload_type);
        self.measure_in(self.pace.clocks.get(header.payload_type).filter(|_| speech), header, at);
        self.set_looks();
        self.state.begin(header, at, self.rule.clock_rate);
        self.far.reports.new_stream();
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.restart();
        }
        if let Some(receiver) = self.stage.as_mut().and_then(|stage| stage.receiver.as_mut()) {
            receiver.new_stream();
        }
        if let Some(stream) = self.stage.as_mut().and_then(|stage| stage.stream()) {
            stream.new_stream();
        }
        (!std::mem::replace(&mut self.started, true), digit)
    }

    /// Lost packets. Gaps while the far end is not to send do not count.
    pub fn lost(&self) -> u64 {
        u64::from(self.lost_before) + u64::from(self.missing())
    }

    /// Lost packets of the current stream.
    fn missing(&self) -> u32 {
        let missing = self.state.numbers.lost();
        self.pace.missing_at_rest.map_or(missing, |at_rest| missing.min(at_rest))
    }

    /// Packets expected of the current stream.
    pub fn expected(&self) -> u32 {
        let not_for_us = self.state.numbers.lost() - self.missing();
        self.state.numbers.expected().saturating_sub(not_for_us)
    }

    /// Whether the last packet was a telephone event.
    pub fn is_event(&self) -> bool {
        self.rule.payload_types.is_event(self.state.payload_type)
    }

    /// Clock rate, Hz, of what it currently sends to the other leg.
    pub fn clock_rate_out(&self) -> u32 {
        match self.plan.as_deref().filter(|_| self.rule.gate != Gate::Open) {
            Some(plan) => plan.to.codec.clock_rate(),
            None => self.rule.clock_rate,
        }
    }

    /// Clock rate, Hz, of the audio that we send to it ourselves, while we do.
    pub fn spoken_clock_rate(&self) -> Option<u32> {
        if let Some(local) = &self.local {
            return Some(local.sender.ticks_hz());
        }
        self.stage.as_ref().filter(|stage| stage.has_encoder)?;
        Some(self.far.remote?.voice.gets?.codec.clock_rate())
    }

    /// Records the last payload type as refused.
    pub fn refuse_payload_type(&mut self) {
        self.refused_payload_type = Some(self.state.payload_type);
    }

    /// Whether the packet of an event that was processed last is not forwarded.
    pub fn keeps_back(&self) -> bool {
        !self.far.lock.admits_keys() || self.far.digits.keeps_back_last()
    }

    /// Processes a `telephone-event` packet, either `rewritten` or as it was received.
    pub fn event_packet(&mut self, datagram: &[u8], rewritten: bool, now: Instant) -> Option<Digit> {
        let mut header = Header::read(datagram)?;
        let payload = datagram.get(header.payload..header.payload + header.payload_len)?;
        if rewritten {
            // The numbers of the sender: ours may change midway.
            header.timestamp = header.timestamp.wrapping_sub(self.rule.timestamp_offset);
            header.sequence =
                header.sequence.wrapping_sub(self.rule.sequence_offset).wrapping_add(self.state.withheld());
        }
        let update = EventUpdate::read(&header, payload, self.event_rate())?;
        self.far.digits.packet(&update, now)
    }

    /// Clock rate, Hz, of an event, which may differ from that of the audio.
    pub fn event_rate(&self) -> u32 {
        let events = self.far.remote.as_ref().map(|remote| &remote.telephone_events);
        events.and_then(|events| events.rate(self.state.payload_type)).unwrap_or(self.rule.clock_rate)
    }

    /// Whether events are forwarded to the joined party, as far as that party supports them.
    pub fn passes_events(&self) -> bool {
        self.rule.gate == Gate::Open || self.plan.is_some() && self.rule.gate == Gate::Unanchored
    }

    /// Re-encodes the payload if its type is the one to recode. `packet` is rewritten already, so
    /// its payload type is the other leg's.
    pub fn recode(&self, packet: &mut [u8]) {
        let Some(recode) = self.recode.filter(|recode| recode.payload_type == self.state.payload_type) else {
            return;
        };
        let Some(header) = Header::read(packet) else { return };
        let Some(payload) = packet.get_mut(header.payload..header.payload + header.payload_len) else {
            return;
        };
        match recode.to {
            Law::A => {
                payload.iter_mut().for_each(|octet| *octet = g711::alaw_encode(g711::ulaw_decode(*octet)))
            }
            Law::Mu => {
                payload.iter_mut().for_each(|octet| *octet = g711::ulaw_encode(g711::alaw_decode(*octet)))
            }
        }
    }

    /// Starts counting silence from now on, if media is expected.
    pub fn expect(&mut self, at: u64) {
        // A party that holds us may be silent: many send no music even with `sendonly`. A party to
        // which nothing was ever sent does not hold us.
        let unheard = self.local.is_some() && self.out.packets == 0;
        let expects = self.far.remote.is_some_and(|remote| remote.sends && (remote.receives || unheard));
        self.far.silence.expect(at, expects);
    }

    /// Its counters as of its reports.
    pub fn accounted(&mut self) -> &mut Accounted {
        self.accounted.get_or_insert_default()
    }

    /// The quality samples taken at its reports.
    pub fn over_time(&self) -> &[QualitySample] {
        self.accounted.as_ref().map_or(&[], |it| it.over_time.samples())
    }

    /// Its counters. `out` is its outgoing stream including the current run, and `moment` converts
    /// ns to instants.
    pub fn stats(&self, out: &OutSpace, moment: impl Fn(u64) -> Instant) -> EndpointStats {
        let state = &self.state;
        let since = moment(self.since);
        let moment = |at: u64| (at != 0).then(|| moment(at));
        let jitter = u64::from(state.jitter_ticks()) * 1_000_000 / u64::from(self.pace.measured_in.max(1));
        EndpointStats {
            received: Flow {
                packets: state.packets,
                bytes: state.bytes,
                first: moment(state.first_at),
                last: moment(state.last_at),
            },
            sent: Flow {
                packets: out.packets,
                bytes: out.bytes,
                first: moment(out.first_at),
                last: moment(out.at),
            },
            dropped: self.drops,
            sources: Sources {
                signalled: self.far.lock.signalled(),
                locked: self.far.lock.believed(),
                changes: self.far.lock.changes(),
                refused: self.refused.source,
            },
            ssrc: (state.numbers.highest() != 0).then_some(self.rule.ssrc),
            ssrc_changes: self.ssrc_changes,
            lost: self.lost(),
            jitter: Duration::from_micros(jitter),
            payload_type: state.sound,
            payload_type_refused: self.refused_payload_type,
            replayed_since: moment(self.refused.replayed.since()),
            digits: self.far.digits.count,
            transcoded: match &self.transcoder {
                Some(transcoder) => self.transcoded.plus(&transcoder.stats),
                None => self.transcoded,
            },
            timeouts: self.timeouts,
            rtcp: self.far.reports.stats,
            ..EndpointStats::new(since)
        }
    }
}
