//! One RTP stream pair as a machine: packets and frames in and out, with the
//! time as an argument; no socket, no clock, no thread.
//!
//! - `inbound`: what arrives, judged; `receiver`: RTP in; `control`: commands in mid-call
//! - `counters`: what was counted so far
//! - `protection`: SRTP between all that and the sockets
//!
//! What it is joined with is `local`.
//!
//! Who drives a session hands it datagrams with the time of their arrival, then,
//! at [`Session::next_wake`], calls [`Session::play`] and after that
//! [`Session::send`] and [`Session::maintain`]. What comes out goes to an
//! [`Output`].

mod control;
mod counters;
mod inbound;
mod protection;
mod receiver;

pub use crate::local::{
    Adapt, Diagnostics, DigitMode, Level, Levels, MediaParams, PacketRecord, ParamsError, Reception,
    SessionConfig, Verdict,
};

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Now;
use super::far_end::FarEnd;
use super::impair::Impairer;
use super::rtp::rtcp;
use super::rtp::telephone_event::Digit;
use super::transport::Channel;
use super::transport::demux::Protocol;
use super::transport::lock::NamedSources;
use super::transport::protection::{Protection, RTCP_OVERHEAD};
pub use crate::local::TICK;
use crate::local::collision::Collisions;
use crate::local::playout::Playout;
use crate::local::sender::{Format, Sender, Sent};
use b2b_base::frame::{FrameSink, FrameSource};
use receiver::Receiver;

/// What happens in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEvent {
    /// The first RTP packet was accepted.
    Started,
    /// By RFC 4733, or in band.
    Digit(Digit),
    /// See [`SessionConfig::rtp_timeout`].
    RtpTimeout,
    /// Everything before the source's end was sent.
    SourceEnded,
}

/// Where a session puts what comes out of it.
pub trait Output {
    /// A datagram to be sent from that socket.
    fn transmit(&mut self, channel: Channel, to: SocketAddr, datagram: &[u8]);
    /// An event.
    fn event(&mut self, event: SessionEvent);
    /// The fate of a received RTP packet.
    fn received(&mut self, record: PacketRecord);
}

/// See the module's text. About 30 KB at 8 kHz with G.711, all taken at its start; what
/// other codecs need is taken when they are agreed on.
pub struct Session {
    rng: StdRng,
    far: FarEnd,
    /// When offer and answer settled something for the last time.
    settled_at: Option<Instant>,
    abs_capture_time_id: Option<u8>,
    /// Any moment before the first packet.
    epoch: Instant,
    /// When the source that is believed was heard last, ns since `epoch`.
    heard_at: u64,
    /// With keys: nothing goes out plain, nothing plain is taken.
    protection: Option<Box<Protection>>,
    sender: Sender,
    receiver: Receiver,
    playout: Playout,
    collisions: Collisions,
    impairer: Option<Impairer<SocketAddr>>,
    started: bool,
    injected: u64,
    unauthenticated: u64,
    replayed: u64,
    /// Packets not sent, since they could not be protected.
    unprotected: u64,
    unknown: u64,
    malformed: u64,
    overflowed: u64,
}

impl Session {
    /// A session that nothing is known of yet. `epoch` is any moment before its
    /// first packet.
    pub fn new(config: SessionConfig, epoch: Instant, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rate_hz = config.rate_hz();
        Session {
            settled_at: None,
            abs_capture_time_id: None,
            epoch,
            heard_at: 0,
            protection: None,
            // A first number in the lower half: RFC 3711 §3.3.1.
            sender: Sender::new(rate_hz, rng.random(), rng.random::<u16>() >> 1, rng.random()),
            receiver: Receiver::new(epoch),
            playout: Playout::new(epoch, &config),
            far: FarEnd::new(NamedSources::default(), config.rtp_timeout, epoch, &mut rng),
            collisions: Collisions::default(),
            impairer: config.impairment.map(Impairer::new),
            started: false,
            injected: 0,
            unauthenticated: 0,
            replayed: 0,
            unprotected: 0,
            unknown: 0,
            malformed: 0,
            overflowed: 0,
            rng,
        }
    }

    /// What offer and answer settled. `tick` is the next tick of the worker.
    pub fn configure(&mut self, now: Now, tick: Instant, params: MediaParams) {
        let (at, remote) = (self.ns(now.at), params.remote);
        let before = self.far.describe(at, remote, &mut self.rng);
        let received = before.is_none_or(|before| before.sends);
        if !received || !remote.sends {
            self.receiver.stats.pause();
        }
        if !remote.sends {
            self.receiver.validator.rest();
        } else if !received || before.is_some_and(|before| before.rtp != remote.rtp) {
            self.receiver.validator.afresh();
        }
        self.far.lock.authenticates(params.protection.is_some());
        // Who holds us may be silent: with `sendonly` too, many send no music.
        let holds = !remote.receives && self.sender.packets > 0;
        self.far.silence.expect(at, remote.sends && !holds);
        self.playout.buffer.receive(remote.voice.codecs());
        Protection::settle(&mut self.protection, params.protection);
        self.abs_capture_time_id = params.abs_capture_time_id;
        self.settled_at = Some(now.at);
        self.schedule(tick);
    }

    /// New audio in place of what there was, which is dropped here.
    pub fn attach(&mut self, tick: Instant, source: Box<dyn FrameSource>, sink: Box<dyn FrameSink>) {
        self.sender.new_source(source);
        self.playout.sink = Some(sink);
        self.schedule(tick);
    }

    /// A moment as the source lock counts, 0 being none.
    fn ns(&self, at: Instant) -> u64 {
        1 + at.saturating_duration_since(self.epoch).as_nanos() as u64
    }

    /// The reverse.
    fn moment(&self, ns: u64) -> Instant {
        self.epoch + Duration::from_nanos(ns - 1)
    }

    fn schedule(&mut self, tick: Instant) {
        let Some(remote) = &self.far.remote else { return };
        self.playout.start(tick);
        match remote.voice.gets.filter(|_| self.far.rtp_at().is_some()) {
            Some(send) => {
                let (events, abs_capture_time_id) = (remote.takes_event, self.abs_capture_time_id);
                self.sender.start(tick, Format { send, events, abs_capture_time_id });
            }
            None => self.sender.stop(),
        }
    }

    /// Whether datagrams can be judged. Before, they are best left where they are.
    pub fn listens(&self) -> bool {
        self.far.remote.is_some()
    }

    /// When this session must be called next; `None` while it has nothing to do.
    pub fn next_wake(&self) -> Option<Instant> {
        let far = self.far.due(self.heard_at);
        let far = (far != 0).then(|| self.moment(far));
        [self.playout.deadline(), self.sender.deadline(), far].into_iter().flatten().min()
    }

    /// The earliest of playout and sending that is due at `now`: the moment of
    /// one tick. What is overdue for too long is given up here.
    pub fn next_due(&mut self, now: Instant) -> Option<Instant> {
        if let Some(limit) = now.checked_sub(TICK) {
            self.sender.skip_before(limit, now);
            self.playout.skip_before(limit, now);
        }
        [self.playout.deadline(), self.sender.deadline()]
            .into_iter()
            .flatten()
            .min()
            .filter(|due| *due <= now)
    }

    /// Plays the frame of the tick at `tick`, if it is this session's turn.
    pub fn play(&mut self, now: Now, tick: Instant) {
        self.playout.play(now, tick, self.sender.participant.as_deref_mut());
    }

    /// Sends the packets due at `tick`.
    pub fn send(&mut self, now: Now, tick: Instant, out: &mut impl Output) {
        let Some(to) = self.far.rtp_at() else {
            // Nobody takes packets any more, without a word of signalling.
            return self.sender.stop();
        };
        while self.sender.deadline().is_some_and(|deadline| deadline <= tick) {
            let transmit = |buffer: &mut [u8], len| match protection::protect(
                &mut self.protection,
                Protocol::Rtp,
                buffer,
                len,
            ) {
                Some(packet) => out.transmit(Channel::Rtp, to, packet),
                None => self.unprotected += 1,
            };
            if self.sender.send(now, transmit) == Some(Sent::SourceEnded) {
                out.event(SessionEvent::SourceEnded);
            }
        }
    }

    /// What is due beside audio: reports, the timeout, digits without an end.
    pub fn maintain(&mut self, now: Now, out: &mut impl Output) {
        let at = self.ns(now.at);
        self.far.lock.expire(at);
        if let Some(digit) = self.far.digits.expire(now.at) {
            out.event(SessionEvent::Digit(digit));
        }
        while let Some(digit) = self.playout.take_digit() {
            // A gateway that sends events too has left the sound in.
            let heard = Some(digit).filter(|_| !self.far.digits.has_heard());
            if let Some(digit) = self.far.digits.admit(heard, now.at) {
                out.event(SessionEvent::Digit(digit));
            }
        }
        if let Some(ssrc) = self.collisions.take_new(&mut self.rng) {
            // RFC 3550 §8.2: BYE under the old identifier, then a new one.
            self.report(now, true, out);
            self.sender.change_ssrc(ssrc);
            self.far.reports.new_ssrc();
        }
        if self.far.reports.due != 0 && self.far.reports.due <= at {
            self.report(now, false, out);
        }
        if self.far.silence.is_over(at, self.heard_at) {
            out.event(SessionEvent::RtpTimeout);
        }
    }

    /// Plays what the jitter buffer still holds, at once: the call is over, and
    /// what has arrived is to be heard.
    pub fn play_out(&mut self, now: Now) {
        self.playout.play_out(now, self.sender.participant.as_deref_mut());
    }

    /// The kernel has dropped this many datagrams of the RTP socket so far.
    pub fn overflowed(&mut self, total: u64) {
        self.overflowed = total;
    }

    /// The last report, with BYE (RFC 3550 §6.6).
    pub fn bye(&mut self, now: Now, out: &mut impl Output) {
        self.report(now, true, out);
    }

    fn report(&mut self, now: Now, bye: bool, out: &mut impl Output) {
        let mut buffer = [0; rtcp::MAX_LEN + RTCP_OVERHEAD];
        let (room, _) = buffer.split_first_chunk_mut().expect("longer than a report");
        let at = self.ns(now.at);
        self.far.reports.schedule(at, &mut self.rng);
        let receiving = self.receiver.validator.receiving(self.receiver.stats.jitter_ticks());
        let streams = (&self.sender.sending(now.at), receiving);
        let Some((channel, to, len)) = self.far.report(now, at, streams, bye, room) else { return };
        match protection::protect(&mut self.protection, Protocol::Rtcp, &mut buffer, len) {
            Some(report) => out.transmit(channel, to, report),
            None => self.unprotected += 1,
        }
    }
}

#[cfg(test)]
mod protection_tests;
#[cfg(test)]
mod sources_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trouble_tests;
#[cfg(test)]
mod wide_tests;
