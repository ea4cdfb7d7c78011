//! How the rest of the program speaks to a media worker.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::machine::Command;
use super::packet_log::PacketLog;
use super::published::Published;
use super::thread::{Driver, Shared, UdpLink};
use super::{MediaEvent, SessionId, SpawnError, WorkerConfig};
use crate::conference;
use crate::ports::PortPool;
use crate::rtp::telephone_event;
use crate::session::{Adapt, DigitMode, Levels, MediaParams, ParamsError, Reception, Session, SessionConfig};
use b2b_base::frame::{FrameSink, FrameSource};
use b2b_base::metrics::MediaStats;
use b2b_sys::udp::bind_pair;
use b2b_sys::wake::Wake;

/// Commands that wait for the thread; a tick takes them all.
const COMMANDS: usize = 256;
/// How long a command waits for room. Each one wakes the thread.
const PATIENCE: Duration = Duration::from_secs(1);
/// Ports tried before the range counts as taken.
const TRIES: usize = 256;

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Every port pair of the range is taken, resting or held by other programs.
    #[error("no free RTP port pair; widen the port range or end calls")]
    Ports,
    /// The address cannot be bound at all.
    #[error("cannot bind an RTP socket to {addr}: {error}")]
    Bind {
        /// The address, with the RTP port.
        addr: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The worker does not take commands fast enough.
    #[error("the media worker is overloaded; try again later")]
    Busy,
    /// The worker is gone.
    #[error("the media worker has stopped")]
    Stopped,
}

/// Why a command was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// Never opened, or closed.
    #[error("no such media session")]
    NoSuchSession,
    /// Not one of `0-9 * # A-D`.
    #[error("{0:?} is no DTMF digit; use 0-9 * # A-D")]
    NoDigit(char),
    /// The parameters cannot be served.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The worker does not take commands fast enough.
    #[error("the media worker is overloaded; try again later")]
    Busy,
    /// The worker is gone.
    #[error("the media worker has stopped")]
    Stopped,
}

/// A handle of a media worker; clones speak to the same one. The worker ends
/// with the last of them.
#[derive(Clone)]
pub struct MediaHandle(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    bind_ip: IpAddr,
    epoch: Instant,
    commands: Sender<Command<UdpLink>>,
    /// Apart from the commands, so that a close never finds them full.
    releases: Sender<SessionId>,
    registry: Mutex<Registry>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Registry {
    rng: StdRng,
    next_id: u64,
    open: HashMap<SessionId, Arc<Published>>,
}

/// A panic of another thread leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MediaHandle {
    /// Opens a session: binds its sockets, in the caller's thread, and says
    /// where RTP is received. RTCP is one port above.
    pub fn open(&self, config: SessionConfig) -> Result<(SessionId, SocketAddr), OpenError> {
        let inner = &*self.0;
        let link = inner.bind()?;
        let local = SocketAddr::new(inner.bind_ip, link.port);
        let published = Arc::new(Published::default());
        let (id, seed) = {
            let mut registry = lock(&inner.registry);
            registry.next_id += 1;
            (SessionId(registry.next_id), registry.rng.random())
        };
        let session = Box::new(Session::new(config, inner.epoch, seed));
        let command = Command::Open { id, session, link, published: published.clone() };
        match inner.command(command) {
            Ok(()) => {
                lock(&inner.registry).open.insert(id, published);
                Ok((id, local))
            }
            Err(CommandError::Busy) => Err(OpenError::Busy),
            Err(_) => Err(OpenError::Stopped),
        }
    }

    /// Tells a session what offer and answer settled; sending starts with the
    /// next tick once a source is attached.
    pub fn configure(&self, id: SessionId, params: MediaParams) -> Result<(), CommandError> {
        params.validate()?;
        self.0.known(id)?;
        self.0.command(Command::Configure { id, params: Box::new(params) })
    }

    /// Gives a session its audio, in place of what it had. Dropping the replaced
    /// source and sink happens on the media thread and must be cheap.
    pub fn attach(
        &self,
        id: SessionId,
        source: Box<dyn FrameSource>,
        sink: Box<dyn FrameSink>,
    ) -> Result<(), CommandError> {
        self.0.known(id)?;
        self.0.command(Command::Attach { id, source, sink })
    }

    /// Sends a digit (`0-9 * # A-D`) of that length behind those that wait; audio is suspended
    /// meanwhile. What is shorter than 50 ms is sent as 50 ms.
    pub fn digit(
        &self,
        id: SessionId,
        digit: char,
        duration_ms: u32,
        mode: DigitMode,
    ) -> Result<(), CommandError> {
        if telephone_event::code(digit).is_none() {
            return Err(CommandError::NoDigit(digit));
        }
        self.0.known(id)?;
        self.0.command(Command::Digit { id, digit, duration_ms, mode })
    }

    /// Sends silence in place of what the source gives, or no longer.
    pub fn mute(&self, id: SessionId, muted: bool) -> Result<(), CommandError> {
        self.0.known(id)?;
        self.0.command(Command::Mute { id, muted })
    }

    /// Multiplies what is sent, and what is heard; `None`: as before.
    pub fn volume(&self, id: SessionId, sent: Option<f32>, heard: Option<f32>) -> Result<(), CommandError> {
        self.0.known(id)?;
        self.0.command(Command::Volume { id, sent, heard })
    }

    /// Makes these sessions one conference, in place of any that they are in. All have this rate.
    ///
    /// # Errors
    /// One of them is not open; those before it have their participants.
    pub fn confer(&self, ids: &[SessionId], rate_hz: u32) -> Result<(), CommandError> {
        ids.iter().try_for_each(|id| self.0.known(*id))?;
        for (id, participant) in ids.iter().zip(conference::participants(ids.len(), rate_hz)) {
            self.0.command(Command::Participant { id: *id, participant: Some(Box::new(participant)) })?;
        }
        Ok(())
    }

    /// Takes a session out of its conference.
    pub fn leave(&self, id: SessionId) -> Result<(), CommandError> {
        self.0.known(id)?;
        self.0.command(Command::Participant { id, participant: None })
    }

    /// Changes how robust Opus is sent, from the next packet on; kept across changes of codec.
    pub fn adapt(&self, id: SessionId, adapt: Adapt) -> Result<(), CommandError> {
        self.0.known(id)?;
        self.0.command(Command::Adapt { id, adapt })
    }

    /// How loud both directions of an open session are: the last tenth of a second.
    pub fn levels(&self, id: SessionId) -> Option<Levels> {
        lock(&self.0.registry).open.get(&id).map(|published| published.levels())
    }

    /// What is heard in an open session, at most half a second old.
    pub fn reception(&self, id: SessionId) -> Option<Reception> {
        lock(&self.0.registry).open.get(&id).map(|published| published.reception())
    }

    /// Closes a session: RTCP BYE, sockets closed, `Closed` reported. Never
    /// fails and never waits; a second call does nothing.
    pub fn close(&self, id: SessionId) {
        if lock(&self.0.registry).open.remove(&id).is_some() {
            // Only a stopped worker refuses, and that has closed everything.
            let _ = self.0.releases.send(id);
            self.0.shared.wake.wake();
        }
    }

    /// Counters of an open session, at most half a second old.
    pub fn stats(&self, id: SessionId) -> Option<MediaStats> {
        lock(&self.0.registry).open.get(&id).map(|published| published.load())
    }

    /// Closes every session and waits for the thread and the packet log.
    pub fn shutdown(&self) {
        self.0.stop();
        lock(&self.0.registry).open.clear();
        for thread in lock(&self.0.threads).drain(..) {
            // A panicked media thread has printed its message already.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn bind(&self) -> Result<UdpLink, OpenError> {
        for _ in 0..TRIES {
            let port = lock(&self.shared.ports).take(Instant::now()).ok_or(OpenError::Ports)?;
            match bind_pair(self.bind_ip, port) {
                Ok((rtp, rtcp)) => return Ok(UdpLink { rtp, rtcp, port, shared: self.shared.clone() }),
                Err(error) => {
                    lock(&self.shared.ports).refused(port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        let addr = SocketAddr::new(self.bind_ip, port);
                        return Err(OpenError::Bind { addr, error });
                    }
                }
            }
        }
        Err(OpenError::Ports)
    }

    fn known(&self, id: SessionId) -> Result<(), CommandError> {
        let open = lock(&self.registry).open.contains_key(&id);
        open.then_some(()).ok_or(CommandError::NoSuchSession)
    }

    fn command(&self, command: Command<UdpLink>) -> Result<(), CommandError> {
        if self.shared.stop.load(Ordering::Acquire) {
            return Err(CommandError::Stopped);
        }
        match self.commands.send_timeout(command, PATIENCE) {
            Ok(()) => {
                self.shared.wake.wake();
                Ok(())
            }
            Err(SendTimeoutError::Timeout(_)) => Err(CommandError::Busy),
            Err(SendTimeoutError::Disconnected(_)) => Err(CommandError::Stopped),
        }
    }

    fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.wake();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn spawn(config: WorkerConfig) -> Result<(MediaHandle, Receiver<MediaEvent>), SpawnError> {
    let mut rng = StdRng::seed_from_u64(config.seed);
    let shared = Arc::new(Shared {
        wake: Wake::new().map_err(SpawnError::System)?,
        stop: AtomicBool::new(false),
        ports: Mutex::new(PortPool::new(config.port_range, rng.random_range(0..usize::from(u16::MAX)))),
    });
    let mut threads = Vec::new();
    let log = match config.packet_log {
        Some(path) => {
            let (log, thread) = PacketLog::create(&path)
                .map_err(|error| SpawnError::PacketLog { path: path.clone(), error })?;
            threads.push(thread);
            Some(log)
        }
        None => None,
    };
    let (commands, command_queue) = crossbeam_channel::bounded(COMMANDS);
    let (releases, release_queue) = crossbeam_channel::unbounded();
    let (event_queue, events) = crossbeam_channel::unbounded();
    let driver = Driver {
        shared: shared.clone(),
        commands: command_queue,
        releases: release_queue,
        events: event_queue,
        log,
    };
    let epoch = Instant::now();
    let thread = std::thread::Builder::new().name("media".into()).spawn(move || driver.run());
    threads.insert(0, thread.map_err(SpawnError::System)?);
    let inner = Inner {
        shared,
        bind_ip: config.bind_ip,
        epoch,
        commands,
        releases,
        registry: Mutex::new(Registry { rng, next_id: 0, open: HashMap::new() }),
        threads: Mutex::new(threads),
    };
    Ok((MediaHandle(Arc::new(inner)), events))
}
