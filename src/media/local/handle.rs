//! How a program speaks to the media thread that carries its sources and sinks.

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

/// Endpoints bound ahead: who opens one while its thread is busy need not wait.
const AHEAD: usize = 4;
/// How long an endpoint may take that was not: a machine that stands still for a second is no lack of ports.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the media thread of a program needs to start.
#[derive(Debug, Clone)]
pub struct MediaConfig {
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

impl MediaConfig {
    /// The usual port range, no packet log.
    pub fn new(bind_ip: IpAddr, seed: u64) -> Self {
        MediaConfig { bind_ip, port_range: 16_384..=32_767, seed, packet_log: None }
    }
}

/// Why a command was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// Never opened, or closed.
    #[error("no such endpoint: it was never opened, or is closed")]
    NoSuchEndpoint,
    /// Not one of `0-9 * # A-D`.
    #[error("{0:?} is not a DTMF digit; use 0-9 * # A-D")]
    NoDigit(char),
    /// The parameters cannot be served.
    #[error(transparent)]
    Params(#[from] ParamsError),
}

/// A handle of the media thread of a program; clones speak to the same one, which ends with the last of them.
/// Endpoints here have a source and a sink of frames.
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
        // A panic of another thread leaves nothing half done behind this lock.
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
    /// Starts a media thread. Events come until it has ended.
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

    /// Opens an endpoint, and says where RTP is received. RTCP is one port above, where the far end does not multiplex.
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

    /// Tells an endpoint what offer and answer settled; sending starts with the
    /// next tick once a source is attached.
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

    /// Gives an endpoint its audio, in place of what it had. Dropping the replaced
    /// source and sink happens on the media thread and must be cheap.
    ///
    /// # Errors
    /// [`CommandError::NoSuchEndpoint`], as of the others here.
    pub fn attach(
        &self,
        id: RelayId,
        source: Box<dyn FrameSource>,
        sink: Box<dyn FrameSink>,
    ) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Attach(source, sink))
    }

    /// Sends a digit (`0-9 * # A-D`) of that length behind those that wait; audio is suspended
    /// meanwhile. What is shorter than 50 ms is sent as 50 ms.
    ///
    /// # Errors
    /// It is no digit, or there is no such endpoint.
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

    /// Sends silence in place of what the source gives, or no longer.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn mute(&self, id: RelayId, muted: bool) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Mute(muted))
    }

    /// Multiplies what is sent, and what is heard; `None`: as before.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn volume(&self, id: RelayId, sent: Option<f32>, heard: Option<f32>) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Volume { sent, heard })
    }

    /// Makes these endpoints one conference, in place of any that they are in. All have this rate.
    ///
    /// # Errors
    /// One of them is not open; those before it have their participants.
    pub fn confer(&self, ids: &[RelayId], rate_hz: u32) -> Result<(), CommandError> {
        ids.iter().try_for_each(|id| self.0.known(*id))?;
        for (id, participant) in ids.iter().zip(conference::participants(ids.len(), rate_hz)) {
            self.0.act(*id, LocalAct::Participant(Some(Box::new(participant))))?;
        }
        Ok(())
    }

    /// Takes an endpoint out of its conference.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn leave(&self, id: RelayId) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Participant(None))
    }

    /// Changes how robust Opus is sent, from the next packet on; kept across changes of codec.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn adapt(&self, id: RelayId, adapt: Adapt) -> Result<(), CommandError> {
        self.0.act(id, LocalAct::Adapt(adapt))
    }

    /// How loud both directions of an open endpoint are: the last tenth of a second.
    pub fn levels(&self, id: RelayId) -> Option<Levels> {
        self.0.open().get(&id).map(|published| published.levels())
    }

    /// What is heard in an open endpoint, at most half a second old.
    pub fn reception(&self, id: RelayId) -> Option<Reception> {
        self.0.open().get(&id).map(|published| published.reception())
    }

    /// Counters of an open endpoint, at most half a second old.
    pub fn stats(&self, id: RelayId) -> Option<MediaStats> {
        self.0.open().get(&id).map(|published| published.load())
    }

    /// Closes an endpoint: RTCP BYE, sockets closed, `Heard` and `Closed` told. Never
    /// fails and never waits; a second call does nothing.
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
