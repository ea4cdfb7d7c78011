//! What arrives at a session's sockets: told apart, judged, and counted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::receiver::{Payload, Terms};
use super::{Output, PacketRecord, Session, SessionEvent, Verdict};
use crate::Now;
use crate::rtp::RtpPacket;
use crate::transport::Channel;
use crate::transport::demux::{Protocol, classify};
use crate::transport::lock::Belief;

/// Packets that came earlier than this before the first `configure` are stale.
const STALE: Duration = Duration::from_millis(40);

impl Session {
    /// Takes a datagram that one of the sockets received at `arrival`; SRTP is decrypted
    /// where it is.
    pub fn datagram(
        &mut self,
        now: Now,
        arrival: Instant,
        channel: Channel,
        from: SocketAddr,
        datagram: &mut [u8],
        out: &mut impl Output,
    ) {
        // Takes neither room nor luck from the stream that is impaired.
        let injected = self.far.lock.objection(from, self.ns(arrival), self.heard_at).is_some();
        let protocol = match channel {
            Channel::Rtp => classify(datagram),
            Channel::Rtcp => Protocol::Rtcp,
        };
        let datagram = match self.unprotect(protocol, datagram) {
            Ok(datagram) => datagram,
            Err(verdict) if protocol == Protocol::Rtp => {
                return out.received(record(arrival, datagram, verdict));
            }
            Err(_) => return,
        };
        match protocol {
            Protocol::Other => self.malformed += 1,
            Protocol::Rtcp => self.rtcp(now, arrival, from, datagram),
            Protocol::Rtp => match self.impairer.as_mut().filter(|_| !injected) {
                None => self.rtp(arrival, from, datagram, out),
                Some(impairer) => {
                    if !impairer.offer(arrival, from, datagram) {
                        out.received(record(arrival, datagram, Verdict::ImpairedLost));
                    }
                }
            },
        }
    }

    /// Lets packets through whose delay by the impairer is over. To be called at
    /// each wake, after the datagrams and before `play`.
    pub fn release_impaired(&mut self, until: Instant, out: &mut impl Output) {
        let Some(mut impairer) = self.impairer.take() else { return };
        while impairer.release(until, |arrival, from, data| self.rtp(arrival, from, data, out)).is_some() {}
        self.impairer = Some(impairer);
    }

    fn rtcp(&mut self, now: Now, arrival: Instant, from: SocketAddr, datagram: &[u8]) {
        if self.far.remote.is_none() {
            return;
        }
        if self.far.lock.admits_rtcp(from) {
            // A bad report is counted in there; nothing else follows from it.
            let came = (now.wall_at(arrival), self.ns(arrival));
            if let Some(ssrc) = self.far.reports.received(came, datagram, self.sender.ssrc) {
                self.collisions.check(ssrc, self.sender.ssrc, from.ip());
            }
        } else {
            self.injected += 1;
        }
    }

    fn rtp(&mut self, arrival: Instant, from: SocketAddr, datagram: &[u8], out: &mut impl Output) {
        let verdict = self.judge(arrival, from, datagram, out);
        out.received(record(arrival, datagram, verdict));
    }

    fn judge(
        &mut self,
        arrival: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut impl Output,
    ) -> Verdict {
        let at = self.ns(arrival);
        let (Some(remote), Some(since)) = (&self.far.remote, self.settled_at) else {
            return Verdict::Unexpected;
        };
        let Ok(packet) = RtpPacket::parse(datagram) else {
            self.malformed += 1;
            return Verdict::Malformed;
        };
        if arrival + STALE < since && !self.started {
            return Verdict::Unexpected;
        }
        if Payload::of(packet.payload_type, remote).is_none() {
            self.unknown += 1;
            return Verdict::UnknownPayload;
        }
        let believed = self.far.lock.believed() == Some(from);
        if !believed {
            let Belief::Believed { before } = self.far.lock.consider(from, at, self.heard_at) else {
                self.injected += 1;
                return Verdict::Injected;
            };
            if before.is_some() && remote.sends {
                self.receiver.validator.afresh();
            }
        }
        self.heard_at = self.heard_at.max(at);
        self.collisions.check(packet.ssrc, self.sender.ssrc, from.ip());
        self.far.silence.heard(at);
        let mut terms = Terms {
            remote,
            abs_capture_time_id: self.abs_capture_time_id,
            digits: &mut self.far.digits,
            playout: &mut self.playout,
        };
        let verdict = self.receiver.packet(arrival, &packet, datagram, &mut terms, |digit| {
            out.event(SessionEvent::Digit(digit));
        });
        if self.receiver.packets > 0 && !self.started {
            self.started = true;
            out.event(SessionEvent::Started);
        }
        if !remote.sends {
            self.receiver.stats.pause();
        }
        verdict
    }
}

fn record(arrival: Instant, datagram: &[u8], verdict: Verdict) -> PacketRecord {
    let packet = RtpPacket::parse(datagram).ok();
    PacketRecord {
        arrival,
        sequence: packet.map_or(0, |packet| packet.sequence),
        timestamp: packet.map_or(0, |packet| packet.timestamp),
        ssrc: packet.map_or(0, |packet| packet.ssrc),
        payload_type: packet.map_or(0, |packet| packet.payload_type),
        size: datagram.len().min(usize::from(u16::MAX)) as u16,
        verdict,
    }
}
