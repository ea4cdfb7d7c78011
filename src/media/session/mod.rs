//! One RTP stream pair as a machine: packets and frames in and out, with the
//! time as an argument; no socket, no clock, no thread.
//!
//! - `params`: what offer and answer settled, as values
//! - `inbound`: what arrives, judged; `receiver`: RTP in, `sender`: RTP out
//! - `record`: what is kept of every received packet; `counters`: of all of them
//! - `digits`: digits that we send; `inband`: digits heard in the sound; `meter`: levels;
//!   `control`: commands in mid-call
//! - `protection`: SRTP between all that and the sockets
//! - `collision`: our SSRC from the far end
//!
//! Who drives a session hands it datagrams with the time of their arrival, then,
//! at [`Session::next_wake`], calls [`Session::play`] and after that
//! [`Session::send`] and [`Session::maintain`]. What comes out goes to an
//! [`Output`].

mod collision;
mod control;
mod counters;
mod digits;
mod inband;
mod inbound;
mod meter;
mod params;
mod protection;
mod receiver;
mod record;
mod sender;

pub use counters::{Diagnostics, Reception};
pub use meter::{Level, Levels};
pub use params::{Adapt, DigitMode, MediaParams, ParamsError, SessionConfig};
pub use record::{PacketRecord, Verdict};

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Now;
use super::far_end::FarEnd;
use super::impair::Impairer;
use super::mix::apply_gain;
use super::rtp::rtcp;
use super::rtp::telephone_event::Digit;
use super::transport::Channel;
use super::transport::demux::Protocol;
use super::transport::lock::NamedSources;
use super::transport::protection::{Protection, RTCP_OVERHEAD};
use b2b_base::frame::{FrameKind, FrameSink, FrameSource, InFrame};
use collision::Collisions;
use inband::InBand;
use meter::Meter;
use receiver::Receiver;
use sender::{Format, Sender, Sent};

/// Playout is one frame of 20 ms per tick.
pub const TICK: Duration = Duration::from_millis(20);
/// A thread that came this late catches up: a busy machine then costs delay, and no
/// packet. One that came later (a stopped process) gives up all but the tick that is
/// due, instead of bursting.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Frames played out at most when a session closes.
const LAST_FRAMES: u32 = 20;
/// A capture time further away than this is a clock that is not ours.
const BELIEVABLE_DELAY_MS: f64 = 10_000.0;

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
    source: Option<Box<dyn FrameSource>>,
    sink: Option<Box<dyn FrameSink>>,
    sender: Sender,
    receiver: Receiver,
    collisions: Collisions,
    impairer: Option<Impairer<SocketAddr>>,
    in_band: Option<Box<InBand>>,
    /// The frame that is played.
    frame: Box<[i16]>,
    heard: Meter,
    heard_gain: f32,
    next_play: Option<Instant>,
    started: bool,
    /// PromptEncoder to ear, smoothed, ms.
    delay_ms: Option<f64>,
    injected: u64,
    unauthenticated: u64,
    replayed: u64,
    /// Packets not sent, since they could not be protected.
    unprotected: u64,
    unknown: u64,
    malformed: u64,
    concealed: u64,
    /// Times that concealment began.
    bursts: u64,
    concealing: bool,
    skipped_ticks: u64,
    overflowed: u64,
}

impl Session {
    /// A session that nothing is known of yet. `epoch` is any moment before its
    /// first packet.
    pub fn new(config: SessionConfig, epoch: Instant, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rate_hz = config.rate_hz();
        let receiver = Receiver::new(epoch, &config);
        Session {
            settled_at: None,
            abs_capture_time_id: None,
            epoch,
            heard_at: 0,
            protection: None,
            source: None,
            sink: None,
            // A first number in the lower half: RFC 3711 §3.3.1.
            sender: Sender::new(rate_hz, rng.random(), rng.random::<u16>() >> 1, rng.random()),
            frame: vec![0; receiver.buffer.frame()].into_boxed_slice(),
            receiver,
            far: FarEnd::new(NamedSources::default(), config.rtp_timeout, epoch, &mut rng),
            collisions: Collisions::default(),
            impairer: config.impairment.map(Impairer::new),
            in_band: config.detect_digits.then(|| Box::new(InBand::new(rate_hz))),
            heard: Meter::default(),
            heard_gain: 1.0,
            next_play: None,
            started: false,
            delay_ms: None,
            injected: 0,
            unauthenticated: 0,
            replayed: 0,
            unprotected: 0,
            unknown: 0,
            malformed: 0,
            concealed: 0,
            bursts: 0,
            concealing: false,
            skipped_ticks: 0,
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
        self.receiver.buffer.receive(remote.voice.codecs());
        self.protect_with(params.protection.as_ref());
        self.abs_capture_time_id = params.abs_capture_time_id;
        self.settled_at = Some(now.at);
        self.schedule(tick);
    }

    /// New audio in place of what there was, which is dropped here.
    pub fn attach(&mut self, tick: Instant, source: Box<dyn FrameSource>, sink: Box<dyn FrameSink>) {
        self.sender.new_source();
        self.source = Some(source);
        self.sink = Some(sink);
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
        // Without a sink too: what arrives is judged and played to nobody.
        self.next_play.get_or_insert(tick);
        let speaks = self.source.is_some() && self.far.rtp_at().is_some();
        match remote.voice.gets.filter(|_| speaks) {
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
        [self.next_play, self.sender.deadline(), far].into_iter().flatten().min()
    }

    /// The earliest of playout and sending that is due at `now`: the moment of
    /// one tick. What is overdue for too long is given up here.
    pub fn next_due(&mut self, now: Instant) -> Option<Instant> {
        if let Some(limit) = now.checked_sub(TICK) {
            let too_late = |due: Option<Instant>| due.is_some_and(|due| due + CATCH_UP < now);
            if too_late(self.sender.deadline()) {
                self.sender.skip_before(limit);
            }
            let stood_still = too_late(self.next_play);
            while let Some(tick) = self.next_play.filter(|tick| stood_still && *tick < limit) {
                self.next_play = Some(tick + TICK);
                self.skipped_ticks += 1;
            }
        }
        [self.next_play, self.sender.deadline()].into_iter().flatten().min().filter(|due| *due <= now)
    }

    /// Plays the frame of the tick at `tick`, if it is this session's turn.
    pub fn play(&mut self, now: Now, tick: Instant) {
        if self.next_play.is_none_or(|next| next > tick) {
            return;
        }
        self.next_play = Some(tick + TICK);
        let played = self.receiver.buffer.play(tick, &mut self.frame);
        if let Some(in_band) = &mut self.in_band {
            in_band.frame(&self.frame);
        }
        let concealed = played.kind == FrameKind::Concealed;
        self.concealed += u64::from(concealed);
        self.bursts += u64::from(concealed && !self.concealing);
        self.concealing = concealed;
        if self.heard_gain != 1.0 {
            apply_gain(&mut self.frame, self.heard_gain);
        }
        if let Some(participant) = &mut self.sender.participant {
            participant.heard(&mut self.frame);
        }
        self.heard.add(&self.frame, TICK.as_millis() as u32);
        if let Some(captured_at) = played.captured_at.filter(|_| played.kind == FrameKind::Audio) {
            let delay = now.wall_at(tick).millis_since(captured_at);
            if (0.0..BELIEVABLE_DELAY_MS).contains(&delay) {
                self.delay_ms = Some(self.delay_ms.map_or(delay, |mean| mean + (delay - mean) / 64.0));
            }
        }
        let Some(sink) = &mut self.sink else { return };
        sink.frame(&InFrame { samples: &self.frame, captured_at: played.captured_at, kind: played.kind });
    }

    /// Sends the packets due at `tick`.
    pub fn send(&mut self, now: Now, tick: Instant, out: &mut impl Output) {
        let (Some(source), Some(to)) = (&mut self.source, self.far.rtp_at()) else {
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
            if self.sender.send(now, source.as_mut(), transmit) == Some(Sent::SourceEnded) {
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
        while let Some(digit) = self.in_band.as_mut().and_then(|in_band| in_band.take()) {
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
        // The last frame may end in the middle, which is not a loss.
        let concealed = self.concealed;
        for _ in 0..LAST_FRAMES {
            let Some(tick) = self.next_play.filter(|_| self.receiver.buffer.holds_any()) else { break };
            self.play(now, tick);
        }
        self.concealed = concealed;
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
