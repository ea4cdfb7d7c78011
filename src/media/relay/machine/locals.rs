//! Endpoints joined with a local source and sink of frames: sending and playout, tick by tick.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{LESSONS, Machine, Transmit};
use crate::Now;
use crate::forward::{self, Header, Unknown, Verdict as Fate};
use crate::impair::MAX_PACKET;
use crate::local::sender::Sent;
use crate::local::{Local, LocalAct, PacketRecord, TICK, Verdict, held};
use crate::relay::endpoint::Endpoint;
use crate::relay::{RelayEvent, RelayId};
use crate::rtp::sequence::Sequence;
use crate::rtp::telephone_event::Digit;
use crate::transport::Channel;
use crate::transport::demux::{Protocol, classify};
use crate::transport::protection::UnprotectError;

/// How often counters are published.
const CHORES: Duration = Duration::from_millis(500);

/// State shared by all such endpoints of a machine.
pub(super) struct Locals {
    slots: Vec<u32>,
    /// The time of one tick; all others are multiples of 20 ms away.
    phase: Instant,
    chores: Instant,
    /// Records of received packets, to be read; `None` if they are not logged.
    records: Option<VecDeque<PacketRecord>>,
}

impl Locals {
    pub fn new(phase: Instant) -> Self {
        Locals { slots: Vec::new(), phase, chores: phase, records: None }
    }

    /// The first tick at or after `at`.
    fn tick_from(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.phase).as_nanos();
        let ticks = since.div_ceil(TICK.as_nanos());
        self.phase + Duration::from_nanos((ticks * TICK.as_nanos()) as u64)
    }
}

impl Machine {
    /// Keeps a record of each packet received by an endpoint with a local source and sink from now
    /// on; see [`Machine::poll_record`].
    pub fn keep_records(&mut self) {
        self.locals.records = Some(VecDeque::new());
    }

    /// The record of the next packet.
    pub fn poll_record(&mut self) -> Option<PacketRecord> {
        self.locals.records.as_mut()?.pop_front()
    }

    /// Endpoints with a local source and sink whose pending datagrams are to be read now; see
    /// [`Machine::arrived`].
    pub fn listeners(&self) -> impl Iterator<Item = u32> {
        let listens =
            |slot: &u32| self.local(*slot).is_some_and(|(endpoint, _)| endpoint.far.remote.is_some());
        self.locals.slots.iter().copied().filter(listens)
    }

    /// When the next endpoint is due; its datagrams are to be read before that.
    pub fn next_tick(&self) -> Option<Instant> {
        self.locals.slots.iter().filter_map(|slot| self.local(*slot)?.1.deadline()).min()
    }

    /// Whether an endpoint has a local source and sink.
    pub fn has_local(&self, id: RelayId) -> bool {
        self.local(id.slot).is_some_and(|(endpoint, _)| endpoint.id == id)
    }

    fn local(&self, slot: u32) -> Option<(&Endpoint, &Local)> {
        let endpoint = self.endpoints.get(slot as usize)?.as_deref()?;
        Some((endpoint, endpoint.local.as_deref()?))
    }

    /// Executes a command for a local source and sink.
    pub(super) fn act_locally(&mut self, now: Now, id: RelayId, act: LocalAct) {
        if self.get(id).is_none() {
            return;
        }
        if let LocalAct::Info { digit, duration_ms } = act {
            let counts = self.get(id).is_some_and(|endpoint| endpoint.far.digits.info(digit, now.at));
            let (passed_on, by_tone) = (false, false);
            let event = RelayEvent::Digit { id, digit, duration_ms, passed_on, by_tone };
            return self.events.extend(counts.then_some(event));
        }
        if let LocalAct::Begin(local) = act {
            if !self.has_local(id) {
                self.locals.slots.push(id.slot);
            }
            if let Some(endpoint) = self.get(id) {
                endpoint.local = Some(local);
            }
            return self.set_idle(id.slot);
        }
        let attaches = matches!(act, LocalAct::Attach(..));
        if let Some(local) = self.get(id).and_then(|endpoint| endpoint.local.as_deref_mut()) {
            local.act(act);
            if attaches {
                self.schedule_local(now.at, id.slot);
            }
        }
    }

    /// Updates sending and playout to what was negotiated.
    pub(super) fn schedule_local(&mut self, now: Instant, slot: u32) {
        let (tick, epoch) = (self.locals.tick_from(now), self.epoch);
        let Some(Endpoint { local: Some(local), far, out, .. }) = self.at(slot) else { return };
        let takes = far.rtp_at().is_some();
        if let Some(remote) = &far.remote {
            local.schedule((tick, |at| super::ns(epoch, at)), remote, takes, out);
        }
    }

    /// Processes a datagram, already unprotected, that an endpoint with a local source and sink
    /// received at `arrival`.
    pub fn arrived(&mut self, arrival: Now, slot: u32, source: SocketAddr, datagram: &mut [u8]) {
        let at = self.ns(arrival.at);
        let Some(Endpoint { local: Some(local), far, drops, state, .. }) = self.at(slot) else { return };
        let verdict = match classify(datagram) {
            Protocol::Rtcp => return self.rtcp(arrival, at, slot, source, datagram),
            Protocol::Other => {
                drops.other_protocol += 1;
                return;
            }
            // Packets of a source that is not believed must not use impairer slots or random draws
            // of the stream.
            Protocol::Rtp if far.lock.objection(source, at, state.last_at).is_some() => None,
            Protocol::Rtp => local.impairer.as_mut().map(|it| it.offer(arrival.at, source, datagram)),
        };
        match verdict {
            None => self.arrived_rtp(arrival, slot, source, datagram),
            Some(true) => {}
            Some(false) => self.record(arrival.at, datagram, Verdict::ImpairedLost),
        }
    }

    /// Sets how many datagrams the kernel has dropped so far at an endpoint's RTP socket.
    pub fn overflowed(&mut self, slot: u32, total: u32) {
        if let Some(Endpoint { local: Some(local), .. }) = self.at(slot) {
            local.overflowed = total.into();
        }
    }

    /// Counts a datagram that SRTP refused: it was not from the holder of the key, or a replay.
    #[cold]
    pub fn refused(&mut self, arrival: Instant, slot: u32, datagram: &[u8], why: UnprotectError) {
        let (is_replayed, is_rtp) = (why == UnprotectError::Replayed, classify(datagram) == Protocol::Rtp);
        let at = self.ns(arrival);
        let Some(endpoint) = self.at(slot) else { return };
        let id = endpoint.id;
        if is_replayed {
            endpoint.drops.replayed += 1;
            if let Some(local) = &mut endpoint.local {
                local.duplicates += 1;
            }
        } else {
            endpoint.drops.unauthenticated += 1;
        }
        if is_replayed && is_rtp && endpoint.refused.replayed.add(endpoint.state.packets, at) {
            self.events.push_back(RelayEvent::Replayed { id });
        }
        if is_rtp {
            let verdict = if is_replayed { Verdict::Duplicate } else { Verdict::Unauthenticated };
            self.record(arrival, datagram, verdict);
        }
    }

    fn record(&mut self, arrival: Instant, datagram: &[u8], verdict: Verdict) {
        if let Some(records) = &mut self.locals.records {
            records.push_back(PacketRecord::new(arrival, datagram, verdict));
        }
    }

    fn arrived_rtp(&mut self, arrival: Now, slot: u32, source: SocketAddr, datagram: &mut [u8]) {
        let verdict = self.judge(arrival, slot, source, datagram);
        self.record(arrival.at, datagram, verdict);
    }

    fn judge(&mut self, arrival: Now, slot: u32, source: SocketAddr, datagram: &mut [u8]) -> Verdict {
        let at = self.ns(arrival.at);
        let Some(endpoint) = self.at(slot) else { return Verdict::Unexpected };
        let Endpoint { local: Some(local), far, drops, rule, .. } = endpoint else {
            return Verdict::Unexpected;
        };
        if far.remote.is_none() {
            return Verdict::Unexpected;
        }
        let Some(header) = Header::read(datagram) else {
            drops.malformed += 1;
            return Verdict::Malformed;
        };
        if local.is_stale(arrival.at) {
            return Verdict::Unexpected;
        }
        // A payload type that was not negotiated proves nothing about the sender.
        if !rule.payload_types.goes_up(header.payload_type) {
            drops.payload_type += 1;
            endpoint.refused_payload_type = Some(header.payload_type);
            return Verdict::UnknownPayload;
        }
        for _ in 0..LESSONS {
            let Some(endpoint) = self.at(slot) else { return Verdict::Unexpected };
            let before = endpoint.state.numbers;
            match forward::apply(&mut endpoint.state, &endpoint.rule, source, at, datagram) {
                Fate::Up | Fate::Forward | Fate::ForwardAndUp => {
                    return self.hear_locally(arrival, slot, source, (&header, before), datagram);
                }
                Fate::Drop(_) | Fate::Malformed => return Verdict::UnknownPayload,
                Fate::Unknown(what) => {
                    if matches!(what, Unknown::Stream | Unknown::Jump) && self.confirm(at, slot, &header) {
                        continue;
                    }
                    if !self.learn(what, slot, arrival, source, &header) {
                        return self.not_yet(what, arrival, slot, source, datagram);
                    }
                }
            }
        }
        Verdict::Unexpected
    }

    /// Replays the held packet that this packet confirms as the start of a stream. Returns whether
    /// there was one.
    fn confirm(&mut self, at: u64, slot: u32, header: &Header) -> bool {
        let mut room = held::room();
        let Some(endpoint) = self.at(slot).filter(|it| !it.rivals.has(header, at)) else { return false };
        let Some(local) = &mut endpoint.local else { return false };
        let Some((arrival, source, first, datagram)) = local.held.take_before(header, &mut room) else {
            return false;
        };
        endpoint.rivals.expect(&first, at, endpoint.state.packets);
        // Its record is in the log already.
        self.judge(arrival, slot, source, datagram);
        true
    }

    /// Handles a packet that the rule does not cover and that does not suffice to change it.
    fn not_yet(
        &mut self,
        what: Unknown,
        arrival: Now,
        slot: u32,
        source: SocketAddr,
        datagram: &[u8],
    ) -> Verdict {
        let Some(Endpoint { local, drops, .. }) = self.at(slot) else { return Verdict::Unexpected };
        match (what, local) {
            (Unknown::Stream | Unknown::Jump, Some(local)) => {
                drops.stream += u64::from(local.held.hold(arrival, source, datagram));
                if what == Unknown::Stream { Verdict::Probation } else { Verdict::Implausible }
            }
            _ => Verdict::Injected,
        }
    }

    /// Processes a counted packet of the party; `before` is the sequence state without it.
    fn hear_locally(
        &mut self,
        arrival: Now,
        slot: u32,
        source: SocketAddr,
        (header, before): (&Header, Sequence),
        datagram: &[u8],
    ) -> Verdict {
        let at = self.ns(arrival.at);
        let Some(endpoint) = self.at(slot) else { return Verdict::Unexpected };
        let (is_event, clock_rate) = (endpoint.is_event(), endpoint.event_rate());
        let Endpoint { local: Some(local), far, state, out, drops, .. } = endpoint else {
            return Verdict::Unexpected;
        };
        let Some(remote) = &far.remote else { return Verdict::Unexpected };
        // The current stream goes on; a competing stream does not replace it.
        drops.stream += u64::from(local.held.forget());
        if state.numbers.received() == before.received() {
            local.duplicates += 1;
            return Verdict::Duplicate;
        }
        let sequence = state.numbers.extend(header.sequence).unwrap_or(state.numbers.highest());
        local.reordered += u64::from(sequence < before.highest());
        local.collisions.check(header.ssrc, out.ssrc, source.ip());
        local.packets += 1;
        local.octets += header.payload_len as u64;
        let (place, rests) = ((sequence.into(), arrival.at), !remote.sends);
        let verdict = match is_event {
            true => {
                local.event(place, clock_rate, header, datagram);
                Verdict::Event
            }
            false => local.sound(place, remote, header, datagram),
        };
        if rests {
            local.stats.pause();
        }
        if far.silence.heard(at) {
            self.arm(slot);
        }
        if is_event {
            self.event(arrival, slot, datagram, false, false);
        }
        verdict
    }

    /// Serves every tick that is due. In each tick all sinks are served before any source.
    pub(super) fn tick_locals(&mut self, now: Now, out: &mut impl Transmit) {
        if self.locals.slots.is_empty() {
            return;
        }
        let slots = std::mem::take(&mut self.locals.slots);
        for slot in &slots {
            if self.local(*slot).is_some_and(|(_, local)| local.impairer.is_some()) {
                self.release_impaired(now, *slot);
            }
        }
        while let Some(tick) = slots.iter().filter_map(|slot| self.due_locally(now.at, *slot)).min() {
            for slot in &slots {
                if let Some(Endpoint { local: Some(local), .. }) = self.at(*slot) {
                    local.playout.play(now, tick, local.sender.participant.as_deref_mut());
                }
            }
            for slot in &slots {
                self.send_locally(now, tick, *slot, out);
            }
        }
        let chores = now.at >= self.locals.chores;
        for slot in &slots {
            self.maintain_local(now, *slot, chores, out);
        }
        if chores {
            self.locals.chores = now.at + CHORES;
        }
        self.locals.slots = slots;
    }

    fn due_locally(&mut self, now: Instant, slot: u32) -> Option<Instant> {
        self.at(slot)?.local.as_mut()?.next_due(now)
    }

    /// Releases packets whose delay by the impairer is over.
    fn release_impaired(&mut self, now: Now, slot: u32) {
        let mut room = [0; MAX_PACKET];
        loop {
            let Some(Endpoint { local: Some(local), .. }) = self.at(slot) else { return };
            let Some(impairer) = &mut local.impairer else { return };
            let released = impairer.release(now.at, |arrival, source, data| {
                room[..data.len()].copy_from_slice(data);
                (arrival, source, data.len())
            });
            let Some((at, source, len)) = released else { return };
            self.arrived_rtp(Now { at, wall: now.wall_at(at) }, slot, source, &mut room[..len]);
        }
    }

    /// Sends the packets that are due at `tick`.
    fn send_locally(&mut self, now: Now, tick: Instant, slot: u32, out: &mut impl Transmit) {
        let epoch = self.epoch;
        let Some(Endpoint { id, local: Some(local), far, out: space, drops, .. }) = self.at(slot) else {
            return;
        };
        let Some(to) = far.rtp_at() else {
            // The far end accepts no packets any more, though no signalling said so.
            return local.sender.stop();
        };
        let (id, mut ended) = (*id, false);
        let Local { sender, outgoing, .. } = &mut **local;
        while let Some(deadline) = sender.deadline().filter(|deadline| *deadline <= tick) {
            let mut sent = true;
            let stream = (super::ns(epoch, deadline), &mut *space);
            let transmit = |packet: &[u8]| match &mut *outgoing {
                Some(impairer) => drop(impairer.offer(now.at, (), packet)),
                None => sent = out.transmit(slot, Channel::Rtp, to, packet),
            };
            ended |= sender.send(now, stream, transmit) == Some(Sent::SourceEnded);
            drops.send_failed += u64::from(!sent);
        }
        while let Some(impairer) = outgoing {
            let released =
                impairer.release(now.at, |_, (), packet| out.transmit(slot, Channel::Rtp, to, packet));
            let Some(sent) = released else { break };
            drops.send_failed += u64::from(!sent);
        }
        if ended {
            self.events.push_back(RelayEvent::SourceEnded { id });
        }
    }

    /// Handles what is due apart from audio.
    fn maintain_local(&mut self, now: Now, slot: u32, chores: bool, out: &mut impl Transmit) {
        let at = self.ns(now.at);
        let Machine { endpoints, events, rng, .. } = self;
        let Some(endpoint) = endpoints.get_mut(slot as usize).and_then(Option::as_deref_mut) else { return };
        let Endpoint { id, local: Some(local), far, .. } = endpoint else { return };
        while let Some(digit) = local.playout.take_digit() {
            // A gateway that also sends events has left the tone in the audio.
            if far.digits.has_heard() || !far.lock.admits_keys() {
                continue;
            }
            if let Some(Digit { digit, duration_ms }) = far.digits.tone(digit, now.at) {
                let (passed_on, by_tone) = (false, true);
                events.push_back(RelayEvent::Digit { id: *id, digit, duration_ms, passed_on, by_tone });
            }
        }
        local.published.store_levels(local.levels());
        let ssrc = local.collisions.take_new(rng);
        if chores {
            self.publish(slot);
        }
        if let Some(ssrc) = ssrc {
            // RFC 3550 §8.2: BYE under the old identifier, then a new one.
            self.report(now, at, slot, true, out);
            if let Some(Endpoint { local: Some(local), far, out, .. }) = self.at(slot) {
                out.ssrc = ssrc;
                local.sent_before = (out.packets, out.payload);
                far.reports.new_ssrc();
            }
        }
    }

    fn publish(&mut self, slot: u32) {
        if let Some((endpoint, local)) = self.local(slot)
            && let Some((stats, reception)) = endpoint.heard()
        {
            local.published.store_reception(&reception);
            local.published.store(&stats);
        }
    }

    /// Plays out the buffer of a closing endpoint and reports its counters.
    pub(super) fn close_local(&mut self, now: Now, id: RelayId) {
        let Some(Endpoint { local: Some(local), .. }) = self.get(id) else { return };
        local.playout.play_out(now, local.sender.participant.as_deref_mut());
        let Some(endpoint) = self.get(id) else { return };
        // The local source and sink stay until the endpoint is removed, as the last report covers
        // what they sent.
        let (heard, diagnostics) = (endpoint.heard(), endpoint.diagnostics());
        self.locals.slots.retain(|slot| *slot != id.slot);
        if diagnostics.overflowed > 0 {
            let count = diagnostics.overflowed;
            tracing::warn!(
                "{count} datagrams dropped at a full RTP socket: a flood, or an overloaded machine"
            );
        }
        if diagnostics.skipped_packets + diagnostics.skipped_ticks > 0 {
            let (packets, frames) = (diagnostics.skipped_packets, diagnostics.skipped_ticks);
            tracing::warn!(
                "the process did not get CPU time: {packets} packets not sent, {frames} frames not played"
            );
        }
        tracing::debug!(slot = id.slot, ?diagnostics, "source and sink closed");
        if let Some((stats, reception)) = heard {
            let (stats, reception) = (Box::new(stats), Box::new(reception));
            self.events.push_back(RelayEvent::Heard { id, stats, reception });
        }
    }
}
