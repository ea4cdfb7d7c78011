//! The media machine: many sessions, one thread, the time as an argument.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::published::Published;
use super::{MediaEvent, SessionId};
use crate::Now;
use crate::conference::Participant;
use crate::session::{Adapt, DigitMode, MediaParams, Output, PacketRecord, Session, SessionEvent, TICK};
use crate::transport::Channel;
use b2b_base::frame::{FrameSink, FrameSource};
use b2b_sys::udp::Received;

/// How often counters are published and RTCP sockets are looked at.
const CHORES: Duration = Duration::from_millis(500);
/// A session that got more datagrams than this since the last look is flooded: the
/// sockets are looked at again soon, so that wanted packets find room in them.
const FLOOD: u32 = 64;
const SOON: Duration = Duration::from_millis(4);

/// A session's way to the network: two sockets, or a simulation of them.
pub trait Link {
    /// Buffers that the links of one machine share.
    type Batch: Default;

    /// Hands over what has arrived since the last call: moment, source, octets, which are
    /// the taker's to change.
    fn receive(
        &mut self,
        channel: Channel,
        now: Now,
        batch: &mut Self::Batch,
        take: impl FnMut(Instant, SocketAddr, &mut [u8]),
    ) -> Received;

    /// Sends a datagram; what cannot be sent is lost, like on any network.
    fn send(&mut self, channel: Channel, to: SocketAddr, datagram: &[u8]);
}

/// What can be asked of a machine.
pub enum Command<L> {
    /// A new session with its link.
    Open {
        /// As its events will name it.
        id: SessionId,
        /// With its source and sink.
        session: Box<Session>,
        /// Its sockets.
        link: L,
        /// Where the machine leaves its statistics for others to read.
        published: Arc<Published>,
    },
    /// See [`Session::configure`].
    Configure {
        /// Which session.
        id: SessionId,
        /// What offer and answer settled.
        params: Box<MediaParams>,
    },
    /// See [`Session::attach`].
    Attach {
        /// Which session.
        id: SessionId,
        /// Gives what is sent.
        source: Box<dyn FrameSource>,
        /// Takes what is played.
        sink: Box<dyn FrameSink>,
    },
    /// See [`Session::digit`].
    Digit {
        /// Which session.
        id: SessionId,
        /// `0-9 * # A-D`
        digit: char,
        /// How long it sounds, in ms.
        duration_ms: u32,
        /// As events (RFC 4733), or as tones in the audio.
        mode: DigitMode,
    },
    /// See [`Session::mute`].
    Mute {
        /// Which session.
        id: SessionId,
        /// Whether silence is sent instead of the source.
        muted: bool,
    },
    /// See [`Session::volume`].
    Volume {
        /// Which session.
        id: SessionId,
        /// Factor for what is sent; `None`: as before.
        sent: Option<f32>,
        /// Factor for what is played; `None`: as before.
        heard: Option<f32>,
    },
    /// See [`Session::participant`].
    Participant {
        /// Which session.
        id: SessionId,
        /// Its place in the conference; `None`: none any more.
        participant: Option<Box<Participant>>,
    },
    /// See [`Session::adapt`].
    Adapt {
        /// Which session.
        id: SessionId,
        /// How robust Opus is sent from now on.
        adapt: Adapt,
    },
}

struct Entry<L> {
    id: SessionId,
    session: Box<Session>,
    link: L,
    published: Arc<Published>,
}

/// Sessions of one thread and one phase: their ticks fall together, so that a
/// mixer between two of them forwards within a tick. In a tick every sink is
/// served before any source.
pub struct Machine<L: Link> {
    sessions: Vec<Entry<L>>,
    batch: L::Batch,
    /// A tick; all others are multiples of 20 ms away.
    phase: Instant,
    chores: Instant,
    /// When to look at the sockets before the next tick.
    look_again: Option<Instant>,
}

impl<L: Link> Machine<L> {
    /// An empty machine whose ticks fall on `phase` and every 20 ms from there.
    pub fn new(phase: Instant) -> Self {
        Machine { sessions: Vec::new(), batch: L::Batch::default(), phase, chores: phase, look_again: None }
    }

    /// Obeys a command; one for a session that is gone does nothing.
    pub fn command(&mut self, now: Now, command: Command<L>) {
        let tick = self.tick_from(now.at);
        match command {
            Command::Open { id, session, link, published } => {
                self.sessions.push(Entry { id, session, link, published });
            }
            Command::Configure { id, params } => {
                if let Some(entry) = self.find(id) {
                    entry.session.configure(now, tick, *params);
                }
            }
            Command::Attach { id, source, sink } => {
                if let Some(entry) = self.find(id) {
                    entry.session.attach(tick, source, sink);
                }
            }
            Command::Digit { id, digit, duration_ms, mode } => {
                if let Some(entry) = self.find(id) {
                    entry.session.digit(digit, duration_ms, mode);
                }
            }
            Command::Mute { id, muted } => {
                if let Some(entry) = self.find(id) {
                    entry.session.mute(muted);
                }
            }
            Command::Volume { id, sent, heard } => {
                if let Some(entry) = self.find(id) {
                    entry.session.volume(sent, heard);
                }
            }
            Command::Participant { id, participant } => {
                if let Some(entry) = self.find(id) {
                    entry.session.participant(participant);
                }
            }
            Command::Adapt { id, adapt } => {
                if let Some(entry) = self.find(id) {
                    entry.session.adapt(adapt);
                }
            }
        }
    }

    /// Closes a session: BYE goes out, its link, source and sink are dropped.
    pub fn release(&mut self, now: Now, id: SessionId, mut event: impl FnMut(MediaEvent)) {
        let Some(index) = self.sessions.iter().position(|entry| entry.id == id) else { return };
        let mut entry = self.sessions.remove(index);
        let mut no_log = |_: &Now, _: PacketRecord| {};
        let mut out = Out { id, link: &mut entry.link, event: &mut event, log: &mut no_log, now };
        entry.session.play_out(now);
        entry.session.bye(now, &mut out);
        let stats = entry.session.stats(now.at);
        let reception = entry.session.reception(now.at);
        let diagnostics = entry.session.diagnostics();
        if diagnostics.overflowed > 0 {
            let count = diagnostics.overflowed;
            tracing::warn!("{count} datagrams found the RTP socket full: a flood, or a machine too busy");
        }
        if diagnostics.skipped_packets + diagnostics.skipped_ticks > 0 {
            let (packets, frames) = (diagnostics.skipped_packets, diagnostics.skipped_ticks);
            tracing::warn!(
                "the process was kept from running: {packets} packets not sent, {frames} frames not played"
            );
        }
        tracing::debug!(id = id.0, ?diagnostics, "media session closed");
        drop(entry);
        event(MediaEvent::Closed { id, stats: Box::new(stats), reception: Box::new(reception) });
    }

    /// One turn: takes what has arrived, serves every tick that is due, and sees
    /// to reports and timeouts. `log` gets every received packet with its
    /// wall-clock reading.
    pub fn turn(
        &mut self,
        now: Now,
        mut event: impl FnMut(MediaEvent),
        mut log: impl FnMut(&Now, PacketRecord),
    ) {
        let chores = now.at >= self.chores;
        self.look_again = None;
        for Entry { id, session, link, .. } in &mut self.sessions {
            if !session.listens() {
                continue;
            }
            // Out borrows the link, which receiving needs itself: what a datagram
            // causes is never a transmission.
            let mut out = Inward { id: *id, event: &mut event, log: &mut log, now };
            let mut take = |channel| {
                link.receive(channel, now, &mut self.batch, |arrival, from, datagram| {
                    session.datagram(now, arrival, channel, from, datagram, &mut out);
                })
            };
            let received = take(Channel::Rtp);
            if received.datagrams > FLOOD {
                self.look_again = Some(now.at + SOON);
            }
            if chores {
                take(Channel::Rtcp);
            }
            if let Some(total) = received.overflowed {
                session.overflowed(u64::from(total));
            }
            session.release_impaired(now.at, &mut out);
        }
        while let Some(tick) = self.next_due(now.at) {
            for entry in &mut self.sessions {
                entry.session.play(now, tick);
            }
            for Entry { id, session, link, .. } in &mut self.sessions {
                session.send(now, tick, &mut Out { id: *id, link, event: &mut event, log: &mut log, now });
            }
        }
        for Entry { id, session, link, published } in &mut self.sessions {
            session.maintain(now, &mut Out { id: *id, link, event: &mut event, log: &mut log, now });
            published.store_levels(session.levels());
            if chores {
                published.store_reception(&session.reception(now.at));
                published.store(&session.stats(now.at));
            }
        }
        if chores {
            self.chores = now.at + CHORES;
        }
    }

    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        self.sessions.iter_mut().filter_map(|entry| entry.session.next_due(now)).min()
    }

    /// When [`Machine::turn`] must be called next; `None` while nothing is due.
    pub fn next_wake(&self) -> Option<Instant> {
        let sessions = self.sessions.iter().filter_map(|entry| entry.session.next_wake());
        sessions.chain(self.look_again).min()
    }

    /// Sessions open now.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|entry| (entry.id, entry.session.as_ref()))
    }

    fn find(&mut self, id: SessionId) -> Option<&mut Entry<L>> {
        self.sessions.iter_mut().find(|entry| entry.id == id)
    }

    /// The first tick at or after `at`.
    fn tick_from(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.phase).as_nanos();
        let ticks = since.div_ceil(TICK.as_nanos());
        self.phase + Duration::from_nanos((ticks * TICK.as_nanos()) as u64)
    }
}

/// Where a session's output goes during a turn.
struct Out<'a, L, E, P> {
    id: SessionId,
    link: &'a mut L,
    event: &'a mut E,
    log: &'a mut P,
    now: Now,
}

impl<L: Link, E: FnMut(MediaEvent), P: FnMut(&Now, PacketRecord)> Output for Out<'_, L, E, P> {
    fn transmit(&mut self, channel: Channel, to: SocketAddr, datagram: &[u8]) {
        self.link.send(channel, to, datagram);
    }

    fn event(&mut self, event: SessionEvent) {
        (self.event)(named(self.id, event));
    }

    fn received(&mut self, record: PacketRecord) {
        (self.log)(&self.now, record);
    }
}

/// The same while the link is busy receiving.
struct Inward<'a, E, P> {
    id: SessionId,
    event: &'a mut E,
    log: &'a mut P,
    now: Now,
}

impl<E: FnMut(MediaEvent), P: FnMut(&Now, PacketRecord)> Output for Inward<'_, E, P> {
    fn transmit(&mut self, _: Channel, _: SocketAddr, _: &[u8]) {
        debug_assert!(false, "a received datagram caused a transmission");
    }

    fn event(&mut self, event: SessionEvent) {
        (self.event)(named(self.id, event));
    }

    fn received(&mut self, record: PacketRecord) {
        (self.log)(&self.now, record);
    }
}

fn named(id: SessionId, event: SessionEvent) -> MediaEvent {
    match event {
        SessionEvent::Started => MediaEvent::Started { id },
        SessionEvent::Digit(digit) => {
            MediaEvent::Digit { id, digit: digit.digit, duration_ms: digit.duration_ms }
        }
        SessionEvent::RtpTimeout => MediaEvent::RtpTimeout { id },
        SessionEvent::SourceEnded => MediaEvent::SourceEnded { id },
    }
}

#[cfg(test)]
mod tests;
