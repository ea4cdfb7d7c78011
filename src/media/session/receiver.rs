//! The receiving half: packets of whom we believe, accepted one by one; sound goes to playout, digits come out.

use std::time::Instant;

use crate::codec::Codec;
use crate::far_end::Digits;
use crate::local::Verdict;
use crate::local::playout::Playout;
use crate::remote::Remote;
use crate::rtp::RtpPacket;
use crate::rtp::telephone_event::Digit;
use crate::rtp::validator::{Accepted, Validator, Verdict as Sequence};
use b2b_base::metrics::stream::StreamStats;
use b2b_base::util::ntp::NtpTime;

/// Comfort noise (RFC 3389), a static payload type.
const COMFORT_NOISE: u8 = 13;
/// Octets of the longest packet held in probation; a longer one is forgotten.
const MAX_HELD: usize = 1_500;

/// What a payload type means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    Audio(Codec),
    /// With its ticks a second.
    TelephoneEvent(u32),
    ComfortNoise,
}

impl Payload {
    pub fn of(payload_type: u8, remote: &Remote) -> Option<Payload> {
        if let Some(clock_rate) = remote.telephone_events.rate(payload_type) {
            return Some(Payload::TelephoneEvent(clock_rate));
        }
        match remote.voice.codec(payload_type) {
            Some(codec) => Some(Payload::Audio(codec)),
            None if payload_type == COMFORT_NOISE => Some(Payload::ComfortNoise),
            None => None,
        }
    }
}

#[derive(Debug)]
struct Held {
    arrival: Instant,
    len: usize,
    data: Box<[u8; MAX_HELD]>,
}

/// By what packets are taken.
pub(super) struct Terms<'a> {
    pub remote: &'a Remote,
    pub abs_capture_time_id: Option<u8>,
    pub digits: &'a mut Digits,
    pub playout: &'a mut Playout,
}

pub(super) struct Receiver {
    pub validator: Validator,
    pub stats: StreamStats,
    held: Held,
    pub packets: u64,
    pub octets: u64,
    pub duplicates: u64,
    pub reordered: u64,
}

impl Receiver {
    pub fn new(epoch: Instant) -> Self {
        Receiver {
            validator: Validator::default(),
            stats: StreamStats::new(epoch),
            held: Held { arrival: epoch, len: 0, data: Box::new([0; MAX_HELD]) },
            packets: 0,
            octets: 0,
            duplicates: 0,
            reordered: 0,
        }
    }

    /// Takes a packet whose source address is believed; digits go to `digit`.
    pub fn packet(
        &mut self,
        arrival: Instant,
        packet: &RtpPacket<'_>,
        datagram: &[u8],
        terms: &mut Terms<'_>,
        mut digit: impl FnMut(Digit),
    ) -> Verdict {
        match self.validator.check(packet.ssrc, packet.sequence) {
            Sequence::Hold => {
                self.hold(arrival, datagram);
                Verdict::Probation
            }
            Sequence::Implausible => Verdict::Implausible,
            Sequence::Duplicate => {
                self.duplicates += 1;
                Verdict::Duplicate
            }
            Sequence::NewSource(place) => {
                self.stats.new_source();
                terms.playout.buffer.new_source();
                if let Some(found) = terms.digits.new_source(arrival) {
                    digit(found);
                }
                self.take_held(place, terms, &mut digit);
                self.accepted(arrival, packet, place, terms, &mut digit)
            }
            Sequence::Accept(place) => self.accepted(arrival, packet, place, terms, &mut digit),
        }
    }

    fn hold(&mut self, arrival: Instant, datagram: &[u8]) {
        self.held.arrival = arrival;
        self.held.len = 0;
        if let Some(room) = self.held.data.get_mut(..datagram.len()) {
            room.copy_from_slice(datagram);
            self.held.len = datagram.len();
        }
    }

    /// The packet before the one that made its source valid.
    fn take_held(&mut self, next: Accepted, terms: &mut Terms<'_>, digit: &mut impl FnMut(Digit)) {
        let data = *self.held.data;
        if let Ok(packet) = RtpPacket::parse(&data[..self.held.len]) {
            let place = Accepted { sequence: next.sequence - 1, reordered: false };
            self.accepted(self.held.arrival, &packet, place, terms, digit);
        }
    }

    fn accepted(
        &mut self,
        arrival: Instant,
        packet: &RtpPacket<'_>,
        place: Accepted,
        terms: &mut Terms<'_>,
        digit: &mut impl FnMut(Digit),
    ) -> Verdict {
        self.packets += 1;
        self.octets += packet.payload.len() as u64;
        self.reordered += u64::from(place.reordered);
        match Payload::of(packet.payload_type, terms.remote) {
            Some(Payload::Audio(codec)) => {
                self.stats.clock(codec.clock_rate());
                self.stats.media(place.sequence, packet.timestamp, arrival);
                let captured_at = terms
                    .abs_capture_time_id
                    .and_then(|id| packet.extensions.abs_capture_time(id))
                    .map(NtpTime);
                terms.playout.payload(codec, packet.timestamp, arrival, packet.payload, captured_at)
            }
            Some(Payload::TelephoneEvent(clock_rate)) => {
                let duration = match packet.payload {
                    [_, _, d0, d1, ..] => u32::from(u16::from_be_bytes([*d0, *d1])),
                    _ => 0,
                };
                let until = packet.timestamp.wrapping_add(duration.saturating_sub(clock_rate / 50));
                self.stats.event(place.sequence, until, arrival);
                let digits = &mut *terms.digits;
                if let Some(found) = digits.packet(packet.timestamp, packet.payload, clock_rate, arrival) {
                    digit(found);
                }
                Verdict::Event
            }
            Some(Payload::ComfortNoise) | None => {
                self.stats.event(place.sequence, packet.timestamp, arrival);
                Verdict::ComfortNoise
            }
        }
    }
}
