//! One leg's place in the relay: the fate of what it receives, its outgoing stream,
//! and what is known of its far end.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::inserted::Inserted;
use super::pace::Pace;
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
use crate::rtp::telephone_event::Digit;
use crate::stage::{Stage, Typed};
use crate::transcode::{Heard, Plan, TranscodeStats, Transcoder};
use crate::transport::lock::Belief;
use crate::transport::reports::Receiving;

/// A stream that has been silent for this long may be replaced by any other's first
/// packet, ns.
const STREAM_SILENCE: u64 = 60_000_000;
/// Packets of an address that may not be believed, and no others, before it is told.
const REFUSED: u32 = 50;

/// No packet comes from here.
pub(super) const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// An address that may not be believed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refused {
    /// The last one.
    pub source: Option<SocketAddr>,
    /// Packets from there since anybody was believed.
    in_vain: u32,
    pub told: bool,
}

/// See the module's text. About 1.5 KB, and 12 KB with what codecs need where it transcodes.
pub(super) struct Endpoint {
    pub id: RelayId,
    pub rule: ForwardRule,
    pub state: ForwardState,
    pub out: OutSpace,
    pub far: FarEnd,
    pub pace: Pace,
    pub recode: Option<Recode>,
    /// The payload type of comfort noise that its other party does not know.
    pub noise: Option<u8>,
    /// How packets that go up are transcoded, what does it once one has come, and what the
    /// ones before it have done.
    pub plan: Option<Box<Plan>>,
    /// Its party is on hold: what comes here goes nowhere.
    pub held: bool,
    transcoder: Option<Box<Transcoder>>,
    pub transcoded: TranscodeStats,
    /// The endpoint that gets what comes here.
    pub peer: Option<u32>,
    pub drops: Drops,
    pub refused: Refused,
    /// Made when it opens, so that reports take no memory.
    accounted: Option<Box<Accounted>>,
    pub timeouts: u32,
    /// When this endpoint's entry among the timers is due, ns; 0 for none.
    pub armed: u64,
    /// Digits of ours that its party is being sent.
    pub inserted: Option<Box<Inserted>>,
    /// What an application has to do with its party.
    pub stage: Option<Box<Stage>>,
    /// A source and a sink that it is joined with.
    pub local: Option<Box<Local>>,
    /// What hears digits in its party's audio.
    pub tones: Option<Box<Tones>>,
    /// What was pressed and nobody has taken.
    pub typed: Typed,
    /// When it was opened, ns.
    pub since: u64,
    pub refused_payload_type: Option<u8>,
    /// A stream that has to send one packet more.
    pub candidate: Option<(u32, u16)>,
    pub started: bool,
    pub lost_before: u32,
    pub ssrc_changes: u32,
}

impl Endpoint {
    /// One that was opened at this moment, which is `since` in ns.
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
            // A first number in the lower half: RFC 3711 §3.3.1.
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
            candidate: None,
            started: false,
            lost_before: 0,
            ssrc_changes: 0,
        }
    }

    /// Whether it is in a room.
    pub fn has_receiver(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.receiver.is_some())
    }

    /// Whether somebody outside of the media threads hears its party.
    pub fn has_stream(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.has_stream())
    }

    /// Whether its party's packets are looked at beside whatever becomes of them.
    pub fn is_overheard(&self) -> bool {
        self.tones.is_some() || self.peer.is_some() && self.has_stream()
    }

    /// Whether its party hears itself.
    pub fn has_echo(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.echo.is_some())
    }

    /// What becomes of packets while nobody is joined: events go up, if any were agreed, and
    /// sound if a room or the party itself is to hear it.
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

    /// Takes a way for what comes here.
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

    /// Takes a packet that goes up for the other leg's stream, and hands what becomes of it
    /// to `send`. Whether it was of use.
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
        // What a relay fed until now.
        space.settle(&mut self.rule, &mut self.state);
        let transcoder = self.transcoder.get_or_insert_with(|| Box::new(Transcoder::new(plan)));
        match transcoder.packet(&header, payload, at, space, send) {
            Heard::Taken => return true,
            Heard::Late => self.drops.stream += 1,
            Heard::Undecodable => self.drops.undecodable += 1,
            // Events that go no further have been taken all the same, and so is comfort noise.
            Heard::Unknown => {
                let taken = self.is_event() || self.noise == Some(header.payload_type);
                self.drops.payload_type += u64::from(!taken);
            }
        }
        false
    }

    /// This packet of its stream was no sound: nothing is missing where it was.
    pub fn pass_over(&mut self, sequence: u16) {
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.pass_over(sequence);
        }
    }

    /// Its party's stream, as we report on it; none: there is none yet.
    pub fn receiving(&self) -> Option<Receiving> {
        self.state.numbers.receiving(self.rule.ssrc, self.state.jitter_ticks())
    }

    /// Where packets of what it is joined to go: nowhere while we speak to it ourselves.
    pub fn hears_at(&self) -> Option<SocketAddr> {
        let spoken_to = self.stage.as_ref().is_some_and(|stage| stage.has_encoder);
        self.far.rtp_at().filter(|_| !spoken_to)
    }

    /// Looks at a packet from another source than the rule's.
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
                // Whoever is heard has found the way: what comes beside is noise, or an attack.
                let in_vain = self.far.lock.believed().is_none() && self.refused.source == Some(source);
                self.refused.in_vain = if in_vain { self.refused.in_vain.saturating_add(1) } else { 1 };
                self.refused.source = Some(source);
            }
        }
        belief
    }

    /// The address that is to be told as one that is refused: nobody else sends. Once.
    pub fn refused_to_tell(&mut self) -> Option<SocketAddr> {
        let due = self.refused.in_vain >= REFUSED && !self.refused.told && self.far.lock.believed().is_none();
        self.refused.told |= due;
        self.refused.source.filter(|_| due)
    }

    /// Who is believed may have changed without a packet.
    pub fn follow_lock(&mut self) {
        self.rule.source = self.far.lock.believed().unwrap_or(NOWHERE);
    }

    /// Whether a stream that the rule does not know, or a jump in it, is believed with
    /// this packet: at once after silence, else with its second packet in sequence.
    pub fn believes_stream(&mut self, header: &Header, at: u64) -> bool {
        let silent = at.saturating_sub(self.state.last_at) >= STREAM_SILENCE;
        if self.state.numbers.highest() == 0
            || silent
            || self.candidate == Some((header.ssrc, header.sequence))
        {
            self.candidate = None;
            return true;
        }
        self.candidate = Some((header.ssrc, header.sequence.wrapping_add(1)));
        // Where there is a sink it is held.
        self.drops.stream += u64::from(self.local.is_none());
        false
    }

    /// The next packet of a stream that the rule does not know is believed, if it is this one.
    pub fn expect_stream(&mut self, header: &Header) {
        self.candidate = Some((header.ssrc, header.sequence));
    }

    /// Begins to receive a stream with this packet. Whether it is the very first one, and the digit of a key that
    /// was down in the one before.
    pub fn begin_stream(&mut self, header: &Header, now: Instant, at: u64) -> (bool, Option<Digit>) {
        let mut digit = None;
        let expected = self.expected();
        if let Some(local) = &mut self.local {
            local.new_stream(self.rule.ssrc != header.ssrc, expected);
        }
        // Another source has another clock, which says nothing of events before.
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

    /// Packets that are missing. What is missing while the far end is not to send is not lost.
    pub fn lost(&self) -> u64 {
        u64::from(self.lost_before) + u64::from(self.missing())
    }

    /// The same of this stream.
    fn missing(&self) -> u32 {
        let missing = self.state.numbers.lost();
        self.pace.missing_at_rest.map_or(missing, |at_rest| missing.min(at_rest))
    }

    /// Packets of this stream that should have come.
    pub fn expected(&self) -> u32 {
        let not_for_us = self.state.numbers.lost() - self.missing();
        self.state.numbers.expected().saturating_sub(not_for_us)
    }

    /// Whether the last packet was of an event.
    pub fn is_event(&self) -> bool {
        self.rule.payload_types.is_event(self.state.payload_type)
    }

    /// Ticks a second of what it feeds to the other leg now.
    pub fn clock_rate_out(&self) -> u32 {
        match self.plan.as_deref().filter(|_| self.rule.gate != Gate::Open) {
            Some(plan) => plan.to.codec.clock_rate(),
            None => self.rule.clock_rate,
        }
    }

    /// Ticks a second of what we say to it ourselves, while we do.
    pub fn spoken_clock_rate(&self) -> Option<u32> {
        if let Some(local) = &self.local {
            return Some(local.sender.ticks_hz());
        }
        self.stage.as_ref().filter(|stage| stage.has_encoder)?;
        Some(self.far.remote?.voice.gets?.codec.clock_rate())
    }

    /// The last payload type was refused.
    pub fn refuse_payload_type(&mut self) {
        self.refused_payload_type = Some(self.state.payload_type);
    }

    /// Takes a `telephone-event` packet, `rewritten` or as it came.
    pub fn event_packet(&mut self, datagram: &[u8], rewritten: bool, now: Instant) -> Option<Digit> {
        let header = Header::read(datagram)?;
        let payload = datagram.get(header.payload..header.payload + header.payload_len)?;
        // An event's key is its timestamp, and must not change in its middle.
        let offset = if rewritten { self.rule.timestamp_offset } else { 0 };
        let clock_rate = self.event_rate();
        self.far.digits.packet(header.timestamp.wrapping_sub(offset), payload, clock_rate, now)
    }

    /// Ticks a second of an event: those of audio beside it may be others.
    pub fn event_rate(&self) -> u32 {
        let events = self.far.remote.as_ref().map(|remote| &remote.telephone_events);
        events.and_then(|events| events.rate(self.state.payload_type)).unwrap_or(self.rule.clock_rate)
    }

    /// Whether events go to the party that it is joined with, as far as that takes them.
    pub fn passes_events(&self) -> bool {
        self.rule.gate == Gate::Open || self.plan.is_some() && self.rule.gate == Gate::Unanchored
    }

    /// Writes the payload anew, if it is of that kind; `packet` is rewritten already, so
    /// its type is that of the other leg.
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

    /// Silence counts from now on, if anything is to be expected.
    pub fn expect(&mut self, at: u64) {
        // Who holds us may be silent: with `sendonly` too, many send no music. Who was never sent anything does not.
        let unheard = self.local.is_some() && self.out.packets == 0;
        let expects = self.far.remote.is_some_and(|remote| remote.sends && (remote.receives || unheard));
        self.far.silence.expect(at, expects);
    }

    /// What its counters were at its reports.
    pub fn accounted(&mut self) -> &mut Accounted {
        self.accounted.get_or_insert_default()
    }

    /// The samples of its reports.
    pub fn over_time(&self) -> &[QualitySample] {
        self.accounted.as_ref().map_or(&[], |it| it.over_time.samples())
    }

    /// Its counters; `out` is its outgoing stream with what runs now, `sent_at` the last
    /// moment of that, `moment` turns ns into moments.
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
