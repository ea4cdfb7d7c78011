//! The media worker: one plain thread that carries the RTP of many sessions.
//!
//! - `handle`: how the rest of the program speaks to it
//! - `machine`: sessions, ticks and commands, without I/O; `thread`: its driver
//! - `published`: counters for other threads; `packet_log`: the CSV of packets
//!
//! Commands go in over a bounded channel (closing a session never waits for
//! room in it), events come out as values, of which only digits that nobody reads
//! are ever dropped, counters are snapshots. The channel of events is disconnected
//! when the thread has ended.

mod handle;
pub mod machine;
mod packet_log;
mod published;
mod thread;

pub use handle::{CommandError, MediaHandle, OpenError};
pub use published::Published;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crossbeam_channel::Receiver;

use crate::session::Reception;
use b2b_base::metrics::MediaStats;

/// A session, unique within its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What a worker needs to start.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Address of every RTP socket.
    pub bind_ip: IpAddr,
    /// RTP takes even ports of this range, RTCP the odd ones behind them.
    pub port_range: RangeInclusive<u16>,
    /// Seed of SSRCs, sequence numbers and timestamps: unpredictable in use
    /// (RFC 3550 §5.1), fixed in tests.
    pub seed: u64,
    /// Write one CSV row per received RTP packet here.
    pub packet_log: Option<PathBuf>,
}

impl WorkerConfig {
    /// The usual port range, no packet log.
    pub fn new(bind_ip: IpAddr, seed: u64) -> Self {
        WorkerConfig { bind_ip, port_range: 16_384..=32_767, seed, packet_log: None }
    }
}

/// What happens in sessions.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaEvent {
    /// The first RTP packet of the far end was accepted.
    Started {
        /// Which session.
        id: SessionId,
    },
    /// A digit by RFC 4733, once per event; or in band, where that was asked for.
    Digit {
        /// Which session.
        id: SessionId,
        /// `0-9 * # A-D`
        digit: char,
        /// How long it has sounded when it was recognised as a digit, in ms.
        duration_ms: u32,
    },
    /// No RTP for the configured time although it is expected. Once; armed
    /// again by the next packet and by `configure`.
    RtpTimeout {
        /// Which session.
        id: SessionId,
    },
    /// The source said `Fill::End`, and everything before it has been sent.
    SourceEnded {
        /// Which session.
        id: SessionId,
    },
    /// The last event of a session: it is closed, its ports are free, and its
    /// source and sink are dropped.
    Closed {
        /// Which session.
        id: SessionId,
        /// Counters and quality of the whole session.
        stats: Box<MediaStats>,
        /// What arrived, packet by packet in its own counters.
        reception: Box<Reception>,
    },
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The packet log.
    #[error("cannot write the packet log {path}: {error}", path = path.display())]
    PacketLog {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system refused a thread or a descriptor.
    #[error("cannot start the media thread: {0}")]
    System(std::io::Error),
}

/// Starts workers.
pub struct MediaWorker;

impl MediaWorker {
    /// Starts a media thread. It ends when the last handle is dropped or by
    /// [`MediaHandle::shutdown`].
    pub fn spawn(config: WorkerConfig) -> Result<(MediaHandle, Receiver<MediaEvent>), SpawnError> {
        handle::spawn(config)
    }
}

#[cfg(test)]
mod tests;
