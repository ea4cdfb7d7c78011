//! The handle by which a program controls the media thread of its sources and sinks.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{
    Adapt, DigitMode, Levels, Local, LocalAct, LocalConfig, MediaParams, ParamsError, Published, Reception,
};
use crate::conference;
use crate::relay::{EndpointConfig, OpenError, RelayConfig, RelayEvent, RelayHandle, RelayId, SpawnError};
use crate::rtp::telephone_event;
use crate::transport::lock::NamedSources;
use b2b_base::frame::{FrameSink, FrameSource};
use b2b_base::metrics::MediaStats;

/// Endpoints bound ahead, so that opening one does not wait while the thread is busy.
const AHEAD: usize = 4;
/// How long opening may take if none is bound ahead: a machine stalled for a second is not a lack of ports.
const PATIENCE: Duration = Duration::from_secs(2);

/// Configuration of a program's media thread.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Address of every RTP socket.
    pub bind_ip: IpAddr,
    /// RTP uses the even ports of this range, RTCP the odd ports above them.
    pub port_range: RangeInclusive<u16>,
    /// Seed of SSRCs, sequence numbers and timestamps: unpredictable in production (RFC 3550 §5.1),
    /// fixed in tests.
    pub seed: u64,
    /// Writes one CSV row per received RTP packet to this file.
    pub packet_log: Option<PathBuf>,
}

impl MediaConfig {
    /// The default port range, and no packet log.
    pub fn new(bind_ip: IpAddr, seed: u64) -> Self {
        MediaConfig { bind_ip, port_range: 16_384..=32_767, seed, packet_log: None }
    }
}

/// Why a command was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// The endpoint was never opened, or is closed.
    #[error("no such endpoint: it was never opened, or is closed")]
    NoSuchEndpoint,
    /// The digit is not one of `0-9 * # A-D`.
    #[error("{0:?} is not a DTMF digit; use 0-9 * # A-D")]
    NoDigit(char),
    /// The parameters are not supported.
    #[error(transparent)]
    Params(#[from] ParamsError),
}

/// A handle of a program's media thread; clones share the thread, which ends with the last of them.
/// Its endpoints have a local source and sink of frames.
#[derive(Clone)]
pub struct MediaHandle(Arc<Inner>);

struct Inner {
    relay: RelayHandle,
    ip: IpAddr,
    epoch: Instant,
    open: Mutex<HashMap<RelayId, Arc<Published>>>,
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, HashMap<RelayId, Arc<Published>>> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, id: RelayId, act: LocalAct) -> Result<(), CommandError> {
        self.known(id)?;
        self.relay.local(id, act);
        Ok(())
    }

    fn known(&self, id: RelayId) -> Result<(), CommandError> {
        self.open().contains_key(&id).then_some(()).ok_or(CommandError::NoSuchEndpoint)
    }
}

impl MediaHandle {
    /// Starts a media thread. Events are delivered until it has ended.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn(
        config: MediaConfig,
    ) -> Result<(MediaHandle, mpsc::UnboundedReceiver<RelayEvent>), SpawnError> {
        let MediaConfig { bind_ip: ip, port_range, seed, packet_log } = config;
        let usual = RelayConfig::new(vec![ip], port_range, seed);
        let relay = RelayConfig { threads: 1, ahead: AHEAD, has_locals: true, packet_log, ..usual };
        let (relay, events) = RelayHandle::spawn(relay)?;
        let (epoch, open) = (Instant::now(), Mutex::default());
        Ok((MediaHandle(Arc::new(Inner { relay, ip, epoch, open })), events))
    }

    /// Opens an endpoint, and returns its RTP address. RTCP is received one port above if the far
    /// end does not multiplex.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, config: &LocalConfig) -> Result<(RelayId, SocketAddr), OpenError> {
        let inner = &*self.0;
        let sources = NamedSources::default();
        let endpoint = EndpointConfig { rtp_timeout: config.rtp_timeout, sources };
        let (id, at) = inner.relay.open_here(inner.ip, &endpoint, PATIENCE)?;
        let published = Arc::new(Published::default());
        let local = Box::new(Local::new(config, inner.epoch, published.clone()));
        inner.open().insert(id, published);
        inner.relay.local(id, LocalAct::Begin(local));
        Ok((id, at))
    }

    /// Applies what offer and answer settled; sending starts with the next tick once a source is
    /// attached.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn configure(&self, id: RelayId, params: MediaParams) -> Result<(), CommandError> {
        params.validate()?;
        self.0.act(id, LocalAct::CaptureTime(params.abs_capture_time_id))?;
        self.0.relay.protect(id, params.protection);
        self.0.relay.describe(id, params.remote);
        Ok(())
    }

    /// Attaches a source and a sink, in place of the previous ones, which are dropped on the media
    /// thread, so that dropping them must be cheap.
    ///
    /// # Errors
    /// [`CommandError::NoSuchEndpoint`], as for the other methods.
    pub fn attach(
        &self,
        id: RelayId,
        source: Box<dyn FrameSource>,
        sink: Box<dyn FrameSink>,
    ) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Attach(source, sink))
    }

    /// Queues a digit (`0-9 * # A-D`) of this length; audio is suspended while it is sent. Less
    /// than 50 ms is sent as 50 ms.
    ///
    /// # Errors
    /// The digit is invalid, or there is no such endpoint.
    pub fn digit(
        &self,
        id: RelayId,
        digit: char,
        duration_ms: u32,
        mode: DigitMode,
    ) -> Result<(), CommandError> {
        if telephone_event::code(digit).is_none() {
            return Err(CommandError::NoDigit(digit));
        }
        self.0.act(id, LocalAct::Digit { digit, duration_ms, mode })
    }

    /// A digit of the far end by INFO: it becomes an event, unless it is the same press as one in its media.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn info(&self, id: RelayId, digit: char, duration_ms: u32) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Info { digit, duration_ms })
    }

    /// Sends silence in place of the source's audio, or stops doing so.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn mute(&self, id: RelayId, muted: bool) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Mute(muted))
    }

    /// Sets the gain of what is sent and of what is heard; `None` leaves it unchanged.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn volume(&self, id: RelayId, sent: Option<f32>, heard: Option<f32>) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Volume { sent, heard })
    }

    /// Joins these endpoints in one conference, in place of any that they are in. All must have this rate.
    ///
    /// # Errors
    /// One of them is not open.
    pub fn confer(&self, ids: &[RelayId], rate_hz: u32) -> Result<(), CommandError> {
        ids.iter().try_for_each(|id| self.0.known(*id))?;
        for (id, participant) in ids.iter().zip(conference::participants(ids.len(), rate_hz)) {
            self.0.act(*id, LocalAct::Participant(Some(Box::new(participant))))?;
        }
        Ok(())
    }

    /// Removes an endpoint from its conference.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn leave(&self, id: RelayId) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Participant(None))
    }

    /// Changes the robustness of the Opus encoding from the next packet on; it is kept across codec changes.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn adapt(&self, id: RelayId, adapt: Adapt) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Adapt(adapt))
    }

    /// Levels of both directions of an open endpoint over the last 100 ms.
    pub fn levels(&self, id: RelayId) -> Option<Levels> {
        self.0.open().get(&id).map(|published| published.levels())
    }

    /// Reception quality of an open endpoint, at most half a second old.
    pub fn reception(&self, id: RelayId) -> Option<Reception> {
        self.0.open().get(&id).map(|published| published.reception())
    }

    /// Counters of an open endpoint, at most half a second old.
    pub fn stats(&self, id: RelayId) -> Option<MediaStats> {
        self.0.open().get(&id).map(|published| published.load())
    }

    /// Closes an endpoint: sends RTCP BYE, closes its sockets and raises `Heard` and `Closed`.
    /// Never fails or waits; a second call does nothing.
    pub fn close(&self, id: RelayId) {
        if self.0.open().remove(&id).is_some() {
            self.0.relay.close(id);
        }
    }

    /// Closes every endpoint and waits for the thread and the packet log.
    pub fn shutdown(&self) {
        self.0.open().clear();
        self.0.relay.shutdown();
    }
}
