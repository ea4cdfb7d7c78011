//! What an endpoint may be joined with in place of another leg: a source of frames that its party
//! hears, and a sink for what the party says.
//!
//! - `params`: the initial configuration, and what offer and answer settle
//! - `playout`: received audio; `sender`: sent audio; `held`: a packet that waits for confirmation
//! - `digits`: digits that we send; `inband`: digits detected in the audio; `meter`: levels
//! - `collision`: our SSRC in packets from the far end
//! - `counters`: counters; `published`: counters for other threads
//! - `handle`: how a program controls the media thread
//! - `record`: a record of each received packet; `packet_log`: a CSV file of them
//!
//! Packets are sent every packet time and frames are played every 20 ms, for all of a thread in one
//! phase, so that a mixer between two endpoints forwards within a tick. Sequence numbers, source
//! address and silence are kept by the endpoint.

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
/// A thread that is late by up to this catches up: on a busy machine this costs delay, but no
/// packet. One that is later still (a stopped process) skips everything but the tick that is due,
/// instead of sending a burst.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Packets that arrived earlier than this before the first remote description are stale.
const STALE: Duration = Duration::from_millis(40);

/// Commands for a local source and sink during a call, besides what offer and answer settle.
#[derive(strum::IntoStaticStr)]
pub enum LocalAct {
    /// Joins the endpoint with this.
    Begin(Box<Local>),
    /// Sets the local identifier of the abs-capture-time header extension (RFC 8285) from the next
    /// description on.
    CaptureTime(Option<u8>),
    /// Attaches a source and a sink in place of the previous ones, which the media thread drops.
    Attach(Box<dyn FrameSource>, Box<dyn FrameSink>),
    /// Queues a digit (`0-9 * # A-D`). One that cannot be sent (because nothing is sent now, or too
    /// many wait) is counted and dropped.
    Digit {
        /// The digit.
        digit: char,
        /// Its length, ms.
        duration_ms: u32,
        /// As events (RFC 4733), or as tones in the audio.
        mode: DigitMode,
    },
    /// A digit of the far end by INFO: an event, unless it is the same press as one in its media.
    Info {
        /// The digit.
        digit: char,
        /// Its length, ms.
        duration_ms: u32,
    },
    /// Sends silence in place of the source's audio; digits are sent all the same.
    Mute(bool),
    /// Sets the gain of the source's audio and of what is played; `None` leaves it unchanged. Values beyond
    /// full scale saturate. Our digits keep their level, and the far end's are detected before the gain.
    Volume {
        /// Factor for what is sent.
        sent: Option<f32>,
        /// Factor for what is played.
        heard: Option<f32>,
    },
    /// Sets the place in a conference of endpoints of this rate and thread; `None` for no
    /// conference. The previous one is dropped.
    Participant(Option<Box<Participant>>),
    /// Sets the robustness of the Opus encoding.
    Adapt(Adapt),
}

impl fmt::Debug for LocalAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.into())
    }
}

/// A local source and sink; see the module documentation. About 30 KB at 8 kHz with G.711, all
/// allocated at the start; what other codecs need is allocated when they are negotiated.
pub struct Local {
    pub(crate) sender: Sender,
    pub(crate) playout: Playout,
    pub(crate) stats: StreamStats,
    pub(crate) held: Held,
    pub(crate) collisions: Collisions,
    pub(crate) impairer: Option<Impairer<SocketAddr>>,
    /// That of what is sent.
    pub(crate) outgoing: Option<Impairer<()>>,
    abs_capture_time_id: Option<u8>,
    /// When offer and answer last settled something.
    settled_at: Option<Instant>,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// Datagrams dropped by the kernel so far.
    pub(crate) overflowed: u64,
    /// Packets expected of earlier streams.
    pub(crate) expected_before: u64,
    /// Packets, and octets of payload, sent under earlier SSRCs.
    pub(crate) sent_before: (u64, u64),
    pub(crate) published: Arc<Published>,
}

impl Local {
    /// A local without source and sink. `epoch` is any time before the first packet; counters are
    /// written to `published` for other threads.
    pub fn new(config: &LocalConfig, epoch: Instant, published: Arc<Published>) -> Self {
        Local {
            sender: Sender::new(config.rate_hz()),
            playout: Playout::new(epoch, config),
            stats: StreamStats::new(epoch),
            held: Held::new(epoch),
            collisions: Collisions::default(),
            impairer: config.impairment.map(Impairer::new),
            outgoing: config.impairment_sent.map(Impairer::new),
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

    /// Executes a command.
    pub(crate) fn act(&mut self, act: LocalAct) {
        match act {
            LocalAct::Begin(_) | LocalAct::Info { .. } => {}
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

    /// Applies a remote description; `before` is the previous one.
    pub(crate) fn describe(&mut self, at: Instant, remote: &Remote, before: Option<&Remote>) {
        if !remote.sends || before.is_some_and(|before| !before.sends) {
            self.stats.pause();
        }
        self.playout.buffer.receive(remote.voice.codecs());
        self.settled_at = Some(at);
    }

    /// Starts playout and sending at this tick if they have not started, or continues in the negotiated format.
    /// `takes` is whether the far end accepts packets; `ns` converts times to those of the leg's stream.
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

    /// When it must be served next; `None` if nothing is scheduled.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.playout.deadline(), self.sender.deadline()].into_iter().flatten().min()
    }

    /// The earlier of playout and sending if due at `now`: the time of one tick. What is overdue
    /// for too long is skipped here.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Instant> {
        if let Some(limit) = now.checked_sub(TICK) {
            self.sender.skip_before(limit, now);
            self.playout.skip_before(limit, now);
        }
        self.deadline().filter(|due| *due <= now)
    }

    /// Whether a packet arrived before the far end was described.
    pub(crate) fn is_stale(&self, arrival: Instant) -> bool {
        self.packets == 0 && self.settled_at.is_none_or(|since| arrival + STALE < since)
    }

    /// Starts a received stream, of another SSRC or not; `expected` is the number of packets
    /// expected of the previous one.
    pub(crate) fn new_stream(&mut self, is_another: bool, expected: u32) {
        self.expected_before += u64::from(expected);
        self.stats.new_source();
        if is_another {
            self.playout.buffer.new_source();
        }
    }

    /// Processes an audio or comfort-noise packet, given its sequence number and arrival time.
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
        self.playout.payload(codec, header, arrival, payload, captured_at)
    }

    /// Processes a telephone-event packet, which replaces the audio until its end (RFC 4733).
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

    /// The levels of both directions.
    pub(crate) fn levels(&self) -> Levels {
        Levels { sent: self.sender.meter.level, heard: self.playout.heard.level }
    }
}

#[cfg(test)]
mod tests;
