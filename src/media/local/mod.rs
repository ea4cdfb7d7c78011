//! What an endpoint may be joined with: a source of frames that its party hears, and a sink for what the party says.
//!
//! - `params`: how that begins, and what offer and answer settle
//! - `playout`: what is heard; `sender`: what is sent; `held`: a packet that waits for the one behind it
//! - `digits`: digits that we send; `inband`: digits heard in the sound; `meter`: levels
//! - `collision`: our SSRC from the far end
//! - `counters`: what is counted of it; `published`: the same for other threads
//! - `handle`: how a program speaks to the media thread that carries some
//! - `record`: what is kept of every received packet; `packet_log`: a CSV of that
//!
//! Its packets leave each packet time and its frames are played each 20 ms, all of a thread in one phase, so that a mixer
//! between two of them forwards within a tick. What it has of sequence numbers, source and silence is the endpoint's.

pub(crate) mod collision;
mod counters;
mod digits;
mod handle;
pub(crate) mod held;
mod inband;
pub(crate) mod meter;
pub(crate) mod packet_log;
mod params;
pub(crate) mod playout;
mod published;
mod record;
pub(crate) mod sender;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conference::Participant;
use crate::forward::{Header, OutSpace};
use crate::impair::Impairer;
use crate::remote::Remote;
use crate::rtp::RtpPacket;
use b2b_base::frame::{FrameSink, FrameSource};
use b2b_base::metrics::stream::StreamStats;
use b2b_base::util::ntp::NtpTime;
use collision::Collisions;
pub use counters::{Diagnostics, Reception};
pub use handle::{CommandError, MediaConfig, MediaHandle};
use held::Held;
pub use meter::{Level, Levels};
pub use params::{Adapt, DigitMode, LocalConfig, MediaParams, ParamsError};
use playout::Playout;
pub use published::Published;
pub use record::{PacketRecord, Verdict};
use sender::{Format, Sender};

/// Playout is one frame of 20 ms per tick.
pub const TICK: Duration = Duration::from_millis(20);
/// A thread that came this late catches up: a busy machine then costs delay, and no
/// packet. One that came later (a stopped process) gives up all but the tick that is
/// due, instead of bursting.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Packets that came earlier than this before offer and answer settled something are stale.
const STALE: Duration = Duration::from_millis(40);

/// What is asked of a source and a sink in mid-call, beside what offer and answer settle.
pub enum LocalAct {
    /// The endpoint is joined with this.
    Begin(Box<Local>),
    /// The local identifier of the abs-capture-time header extension (RFC 8285) from the next description on.
    CaptureTime(Option<u8>),
    /// New audio in place of what there was, which is dropped by the media thread.
    Attach(Box<dyn FrameSource>, Box<dyn FrameSink>),
    /// Sends a digit (`0-9 * # A-D`) behind those that wait. One that cannot be sent (nothing is sent now, too many wait)
    /// is counted and lost.
    Digit {
        /// Which one.
        digit: char,
        /// How long it sounds, ms.
        duration_ms: u32,
        /// As events (RFC 4733), or as tones in the audio.
        mode: DigitMode,
    },
    /// Sends silence instead of what the source gives; digits are sent all the same.
    Mute(bool),
    /// Multiplies what the source gives, and what is played; `None`: as before. Beyond full scale it stays at the rail.
    /// Digits of ours keep their level, and those of the far end's are looked for at theirs.
    Volume {
        /// Factor for what is sent.
        sent: Option<f32>,
        /// Factor for what is played.
        heard: Option<f32>,
    },
    /// A place in a conference of endpoints of this rate and thread; `None`: none any more. The one before is dropped.
    Participant(Option<Box<Participant>>),
    /// How robust Opus is sent from now on.
    Adapt(Adapt),
}

impl fmt::Debug for LocalAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LocalAct::Begin(_) => "Begin",
            LocalAct::CaptureTime(_) => "CaptureTime",
            LocalAct::Attach(..) => "Attach",
            LocalAct::Digit { .. } => "Digit",
            LocalAct::Mute(_) => "Mute",
            LocalAct::Volume { .. } => "Volume",
            LocalAct::Participant(_) => "Participant",
            LocalAct::Adapt(_) => "Adapt",
        })
    }
}

/// See the module's text. About 30 KB at 8 kHz with G.711, all taken at its start; what
/// other codecs need is taken when they are agreed on.
pub struct Local {
    pub(crate) sender: Sender,
    pub(crate) playout: Playout,
    pub(crate) stats: StreamStats,
    pub(crate) held: Held,
    pub(crate) collisions: Collisions,
    pub(crate) impairer: Option<Impairer<SocketAddr>>,
    abs_capture_time_id: Option<u8>,
    /// When offer and answer settled something for the last time.
    settled_at: Option<Instant>,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// Datagrams that the kernel has dropped so far.
    pub(crate) overflowed: u64,
    /// What should have come of streams before this one.
    pub(crate) expected_before: u64,
    /// Packets, and octets of payload, that were sent under SSRCs before this one.
    pub(crate) sent_before: (u64, u64),
    pub(crate) published: Arc<Published>,
}

impl Local {
    /// One that has no source and no sink yet. `epoch` is any moment before the first packet; counters are left in
    /// `published` for others to read.
    pub fn new(config: &LocalConfig, epoch: Instant, published: Arc<Published>) -> Self {
        Local {
            sender: Sender::new(config.rate_hz()),
            playout: Playout::new(epoch, config),
            stats: StreamStats::new(epoch),
            held: Held::new(epoch),
            collisions: Collisions::default(),
            impairer: config.impairment.map(Impairer::new),
            abs_capture_time_id: None,
            settled_at: None,
            packets: 0,
            octets: 0,
            duplicates: 0,
            reordered: 0,
            overflowed: 0,
            expected_before: 0,
            sent_before: (0, 0),
            published,
        }
    }

    /// Obeys.
    pub(crate) fn act(&mut self, act: LocalAct) {
        match act {
            LocalAct::Begin(_) => {}
            LocalAct::CaptureTime(id) => self.abs_capture_time_id = id,
            LocalAct::Attach(source, sink) => {
                self.sender.new_source(source);
                self.playout.sink = Some(sink);
            }
            LocalAct::Digit { digit, duration_ms, mode } if self.sender.sends() => {
                self.sender.digits.push(digit, duration_ms, mode);
            }
            LocalAct::Digit { .. } => self.sender.digits.refused += 1,
            LocalAct::Mute(muted) => self.sender.muted = muted,
            LocalAct::Volume { sent, heard } => {
                self.sender.gain = sent.unwrap_or(self.sender.gain);
                self.playout.gain = heard.unwrap_or(self.playout.gain);
            }
            LocalAct::Participant(participant) => self.sender.participant = participant,
            LocalAct::Adapt(adapt) => self.sender.adapt(adapt),
        }
    }

    /// What offer and answer settled, and before.
    pub(crate) fn describe(&mut self, at: Instant, remote: &Remote, before: Option<&Remote>) {
        if !remote.sends || before.is_some_and(|before| !before.sends) {
            self.stats.pause();
        }
        self.playout.buffer.receive(remote.voice.codecs());
        self.settled_at = Some(at);
    }

    /// Begins at this tick what has not begun, or goes on in the format that is agreed on; `to`: whether anybody takes
    /// packets. `ns` turns moments into those of the leg's stream.
    pub(crate) fn schedule(
        &mut self,
        (tick, ns): (Instant, impl Fn(Instant) -> u64),
        remote: &Remote,
        takes: bool,
        space: &OutSpace,
    ) {
        self.playout.start(tick);
        match remote.voice.gets.filter(|_| takes) {
            Some(send) => {
                let (events, abs_capture_time_id) = (remote.takes_event, self.abs_capture_time_id);
                self.sender.start((tick, ns), Format { send, events, abs_capture_time_id }, space);
            }
            None => self.sender.stop(),
        }
    }

    /// When it must be served next; `None` while it has nothing to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.playout.deadline(), self.sender.deadline()].into_iter().flatten().min()
    }

    /// The earliest of playout and sending that is due at `now`: the moment of
    /// one tick. What is overdue for too long is given up here.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Instant> {
        if let Some(limit) = now.checked_sub(TICK) {
            self.sender.skip_before(limit, now);
            self.playout.skip_before(limit, now);
        }
        self.deadline().filter(|due| *due <= now)
    }

    /// Whether a packet came before anybody said what to expect.
    pub(crate) fn is_stale(&self, arrival: Instant) -> bool {
        self.packets == 0 && self.settled_at.is_none_or(|since| arrival + STALE < since)
    }

    /// The far end begins a stream, of another SSRC or not; of the one before so many packets should have come.
    pub(crate) fn new_stream(&mut self, is_another: bool, expected: u32) {
        self.expected_before += u64::from(expected);
        self.stats.new_source();
        if is_another {
            self.playout.buffer.new_source();
        }
    }

    /// Takes a packet of sound, or comfort noise: its place in the sequence, and when it came.
    pub(crate) fn sound(
        &mut self,
        (sequence, arrival): (u64, Instant),
        remote: &Remote,
        header: &Header,
        datagram: &[u8],
    ) -> Verdict {
        let Some(codec) = remote.voice.codec(header.payload_type) else {
            self.stats.event(sequence, header.timestamp, arrival);
            return Verdict::ComfortNoise;
        };
        self.stats.clock(codec.clock_rate());
        self.stats.media(sequence, header.timestamp, arrival);
        let capture_time = |id| RtpPacket::parse(datagram).ok()?.extensions.abs_capture_time(id);
        let captured_at = self.abs_capture_time_id.and_then(capture_time).map(NtpTime);
        let payload = datagram.get(header.payload..header.payload + header.payload_len).unwrap_or_default();
        self.playout.payload(codec, header.timestamp, arrival, payload, captured_at)
    }

    /// Takes a packet of a telephone event: it stands for the sound until its end (RFC 4733).
    pub(crate) fn event(
        &mut self,
        (sequence, arrival): (u64, Instant),
        clock_rate: u32,
        header: &Header,
        datagram: &[u8],
    ) {
        let payload = datagram.get(header.payload..header.payload + header.payload_len).unwrap_or_default();
        let duration = match payload {
            [_, _, d0, d1, ..] => u32::from(u16::from_be_bytes([*d0, *d1])),
            _ => 0,
        };
        let until = header.timestamp.wrapping_add(duration.saturating_sub(clock_rate / 50));
        self.stats.event(sequence, until, arrival);
    }

    /// How loud both directions are.
    pub(crate) fn levels(&self) -> Levels {
        Levels { sent: self.sender.meter.level, heard: self.playout.heard.level }
    }
}

#[cfg(test)]
mod tests;
