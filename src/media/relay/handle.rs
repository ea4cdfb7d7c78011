//! The handle by which the rest of the program controls the relay threads.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, oneshot};

use super::answer::{Answer, Reply, between};
use super::machine::Command;
use super::opening::{self, OpenError, Opened, Opening, PATIENCE, Thread};
use super::shared::{Shared, Turns};
use super::thread::{Address, Driver};
use super::trace::{Gatherer, PacketTrace, tap};
use super::unproven::Allowances;
use super::{
    EndpointConfig, EndpointSnapshot, EndpointStats, Ports, RelayEvent, RelayId, RestoreError, Totals, Way,
};
use crate::local::LocalAct;
use crate::local::packet_log::PacketLog;
use crate::ports::PortPool;
use crate::recording;
use crate::remote::Remote;
use crate::room::RoomAct;
use crate::stage::Act;
use crate::transport::protection::Keys;
use b2b_base::util::vital::Vital;
use b2b_sys::udp::Batch;

/// Configuration of the relay threads.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Addresses to bind, each once; no wildcards. The first address of a family is the default for
    /// endpoints that name none.
    pub addresses: Vec<IpAddr>,
    /// RTP uses the even ports of this range, RTCP the odd ports above them.
    pub ports: RangeInclusive<u16>,
    /// Threads; at least 1 is started.
    pub threads: usize,
    /// Whether far ends without RTCP multiplexing get an RTCP socket: one more descriptor per leg.
    pub rtcp_sockets: bool,
    /// Endpoints bound ahead per thread and address, so that opening one does not wait.
    pub ahead: usize,
    /// Whether endpoints may be joined with a local source and sink of frames.
    pub has_locals: bool,
    /// Writes one CSV row for each RTP packet received by an endpoint with a local source and sink.
    pub packet_log: Option<PathBuf>,
    /// Seed of SSRCs, sequence numbers and timestamps: unpredictable in production (RFC 3550 §5.1),
    /// fixed in tests.
    pub seed: u64,
}

impl RelayConfig {
    /// The defaults, with one thread per core except one.
    pub fn new(addresses: Vec<IpAddr>, ports: RangeInclusive<u16>, seed: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = cores.saturating_sub(1).max(1);
        let (rtcp_sockets, has_locals, packet_log) = (true, false, None);
        RelayConfig { addresses, ports, threads, rtcp_sockets, ahead: 64, has_locals, packet_log, seed }
    }
}

/// Why a relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The system refused a thread or a descriptor.
    #[error("cannot start a media thread: {0}")]
    System(io::Error),
    /// The address cannot be bound.
    #[error("cannot bind a media socket to {ip}: {error}; choose an address of this machine")]
    Bind { ip: IpAddr, error: io::Error },
    /// The packet log cannot be written.
    #[error("cannot write the packet log {path}: {error}", path = path.display())]
    PacketLog { path: PathBuf, error: io::Error },
    /// The range has too few ports for the threads.
    #[error("the media port range has no even port for each of {0} threads; widen it")]
    Ports(usize),
}

/// Controls what one endpoint plays and collects, from any thread of the process.
#[derive(Clone)]
pub struct Stager {
    id: RelayId,
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

impl Stager {
    /// Sends the command.
    pub fn act(&self, act: Act) {
        let _ = self.commands.send(Command::Stage { id: self.id, act: Box::new(act) });
        self.shared.wake();
    }
}

/// Controls one room, from any thread of the process.
pub struct Roomer {
    number: u64,
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

impl Roomer {
    /// Sends the command.
    pub fn act(&self, act: RoomAct) {
        let _ = self.commands.send(Command::Room { number: self.number, act: Box::new(act) });
        self.shared.wake();
    }
}

/// The relay's handle. Commands return at once and are executed in order.
pub struct RelayHandle {
    threads: Vec<Thread>,
    /// The bound addresses.
    addresses: Vec<IpAddr>,
    own_tables: usize,
    turns: Arc<Turns>,
    answers: Sender<Answer>,
    traces: Gatherer,
    vital: Vital,
    joins: Mutex<Vec<JoinHandle<()>>>,
}

impl RelayHandle {
    /// Starts the threads. Events are converted to the caller's type; the channel is closed when
    /// the threads have ended.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn<E: TryFrom<RelayEvent> + Send + 'static>(
        config: RelayConfig,
    ) -> Result<(RelayHandle, mpsc::UnboundedReceiver<E>), SpawnError> {
        let (events, event_queue) = mpsc::unbounded_channel();
        Ok((RelayHandle::spawn_with(config, events)?, event_queue))
    }

    /// The same, with events sent to a channel that has other senders as well.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn_with<E: TryFrom<RelayEvent> + Send + 'static>(
        config: RelayConfig,
        events: mpsc::UnboundedSender<E>,
    ) -> Result<RelayHandle, SpawnError> {
        for &ip in &config.addresses {
            // Check here, and not in every call, that the address is local.
            b2b_sys::relay::bind(SocketAddr::new(ip, 0)).map_err(|error| SpawnError::Bind { ip, error })?;
        }
        let count = config.threads.max(1);
        let mut rng = StdRng::seed_from_u64(config.seed);
        let ranges = split(&config.ports, count).ok_or(SpawnError::Ports(count))?;
        let vital = Vital::default();
        let answers = between(vital.clone()).map_err(SpawnError::System)?;
        let traces = Gatherer::start().map_err(SpawnError::System)?;
        let (threads, joins, addresses) = (Vec::new(), Mutex::default(), config.addresses.clone());
        let turns = Arc::<Turns>::default();
        let mut handle = RelayHandle {
            threads,
            addresses,
            own_tables: 0,
            turns: turns.clone(),
            answers,
            traces,
            vital,
            joins,
        };
        let mut log = None;
        if let Some(path) = config.packet_log {
            let created = PacketLog::create(&path);
            let (created, thread) = created.map_err(|error| SpawnError::PacketLog { path, error })?;
            log = Some(created);
            handle.joins().push(thread);
        }
        let allowances = Arc::new(Allowances::default());
        let (told_table, tables) = crossbeam_channel::unbounded();
        for (index, range) in ranges.into_iter().enumerate() {
            let shared = Arc::new(Shared::new(turns.clone()).map_err(SpawnError::System)?);
            let (commands, command_queue) = crossbeam_channel::unbounded();
            let (wanted, wanted_queue) = crossbeam_channel::unbounded();
            let addresses: Vec<Address> = config
                .addresses
                .iter()
                .map(|&ip| {
                    let start = rng.random_range(0..usize::from(u16::MAX));
                    let ports = PortPool::new(range.clone(), start);
                    Address { ip, ready: crossbeam_channel::unbounded(), ports }
                })
                .collect();
            let ready = addresses.iter().map(|address| address.ready.1.clone()).collect();
            let driver = Driver {
                index: index as u16,
                seed: rng.random(),
                shared: shared.clone(),
                commands: command_queue,
                wanted: wanted_queue,
                events: events.clone(),
                addresses,
                rtcp_sockets: config.rtcp_sockets,
                allowances: allowances.clone(),
                has_locals: config.has_locals,
                ahead: config.ahead,
                log: log.take(),
                batch: Batch::default(),
                listeners: Vec::new(),
                own_table: told_table.clone(),
            };
            let (lost, vital, name) = (events.clone(), handle.vital.clone(), name(index, config.has_locals));
            let thread = std::thread::Builder::new().name(name.clone());
            let run = move || {
                let reason = match vital.run(&name, || driver.run()) {
                    Some(Ok(())) => return,
                    Some(Err(error)) => error.to_string(),
                    None => "its thread panicked".to_owned(),
                };
                if let Ok(event) = E::try_from(RelayEvent::Lost { reason }) {
                    let _ = lost.send(event);
                }
            };
            let join = thread.spawn(run);
            handle.threads.push(Thread {
                shared,
                commands,
                wanted,
                ready,
                ahead: config.ahead,
                ports: range,
            });
            handle.joins().push(join.map_err(SpawnError::System)?);
        }
        drop(told_table);
        handle.own_tables = tables.iter().take(count).filter(|own| *own).count();
        Ok(handle)
    }

    fn joins(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.joins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an endpoint and returns its address: on the thread of `near` if given, otherwise on the thread
    /// with the fewest endpoints. Completes at once if an endpoint is bound ahead, otherwise once one is bound.
    pub fn open(&self, ipv6: bool, near: Option<RelayId>, config: EndpointConfig) -> Opening {
        match self.addresses.iter().find(|ip| ip.is_ipv6() == ipv6) {
            Some(usual) => self.open_at(*usual, near, config),
            None => Opening::Done(Err(OpenError::Family)),
        }
    }

    /// The same at the given address.
    pub fn open_at(&self, ip: IpAddr, near: Option<RelayId>, config: EndpointConfig) -> Opening {
        let Some(address) = self.addresses.iter().position(|it| *it == ip) else {
            return Opening::Done(Err(OpenError::Family));
        };
        let near = near.and_then(|near| self.threads.get(usize::from(near.thread)));
        opening::open(&self.threads, near, (address, config), &self.answers)
    }

    /// Opens an endpoint at this address and port, to restore one that had them. It fails if another endpoint or
    /// another program has them now.
    pub fn reopen(&self, local: SocketAddr, config: EndpointConfig) -> Opening {
        let address = self.addresses.iter().position(|ip| *ip == local.ip());
        let thread = self.threads.iter().find(|thread| thread.ports.contains(&local.port()));
        match (address, thread) {
            (None, _) => Opening::Done(Err(OpenError::Family)),
            (_, None) => Opening::Done(Err(OpenError::Ports)),
            (Some(address), Some(thread)) => thread.ask(address, Some(local.port()), config, &self.answers),
        }
    }

    /// Opens an endpoint on the thread of `near`, for a caller that cannot proceed without: some
    /// endpoints bound ahead are reserved for this. Blocks if even those are taken.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_now(&self, ipv6: bool, near: RelayId, config: &EndpointConfig) -> Opened {
        let address = self.addresses.iter().position(|ip| ip.is_ipv6() == ipv6).ok_or(OpenError::Family)?;
        let thread = self.threads.get(usize::from(near.thread)).ok_or(OpenError::Stopped)?;
        thread.take_or_wait(address, config, PATIENCE)
    }

    /// Opens an endpoint at this address on the first thread. Blocks until it is there, or for at
    /// most `patience`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_here(&self, ip: IpAddr, config: &EndpointConfig, patience: Duration) -> Opened {
        let address = self.addresses.iter().position(|it| *it == ip).ok_or(OpenError::Family)?;
        self.threads.first().ok_or(OpenError::Stopped)?.take_or_wait(address, config, patience)
    }

    /// Sends a command to an endpoint's local source and sink.
    pub fn local(&self, id: RelayId, act: LocalAct) {
        self.command(id, Command::Local { id, act });
    }

    fn command(&self, id: RelayId, command: Command) {
        let Some(thread) = self.threads.get(usize::from(id.thread)) else { return };
        // Sending fails only if the thread has ended, and then everything is closed.
        let _ = thread.commands.send(command);
        thread.shared.wake();
    }

    /// Defers wake-ups for commands from any sender to the end of the turn. A wake-up costs more
    /// than the rest of a command, and one message from the far end causes several commands.
    pub fn begin_turn(&self) {
        self.turns.begin();
    }

    /// Ends the turn and wakes the threads that received commands.
    pub fn end_turn(&self) {
        self.turns.end(self.threads.iter().map(|thread| &*thread.shared));
    }

    /// Applies what offer and answer settled about a far end.
    pub fn describe(&self, id: RelayId, remote: Remote) {
        self.command(id, Command::Describe { id, remote });
    }

    /// Uses SRTP with these keys from now on, or plain RTP. The same keys again change nothing.
    pub fn protect(&self, id: RelayId, keys: Option<Keys>) {
        self.command(id, Command::Protect { id, keys: keys.map(Box::new) });
    }

    /// Limits what is sent to a host until something is received from it, or lifts the limit; see
    /// [`Command::Bound`].
    pub fn bound(&self, id: RelayId, to: Option<(String, IpAddr)>) {
        self.command(id, Command::Bound { id, to });
    }

    /// Joins two endpoints of one thread; returns `false` and does nothing if their threads differ.
    pub fn join(&self, a: RelayId, b: RelayId, forward: Way, backward: Way) -> bool {
        let near = a.thread == b.thread;
        if near {
            let (forward, backward) = (Box::new(forward), Box::new(backward));
            self.command(a, Command::Join { a, b, forward, backward });
        }
        near
    }

    /// Parts two joined endpoints.
    pub fn part(&self, a: RelayId, b: RelayId) {
        self.command(a, Command::Part { a, b });
    }

    /// Sends a digit to an endpoint's party, by its event code (RFC 4733 table 3).
    pub fn digit(&self, id: RelayId, code: u8, duration_ms: u32) {
        self.command(id, Command::Digit { id, code, duration_ms });
    }

    /// The [`Stager`] of an endpoint; `None` if no such thread exists.
    pub fn stager(&self, id: RelayId) -> Option<Stager> {
        let thread = self.threads.get(usize::from(id.thread))?;
        Some(Stager { id, commands: thread.commands.clone(), shared: thread.shared.clone() })
    }

    /// Sends a command to a room on a thread.
    pub fn room(&self, thread: u16, number: u64, act: RoomAct) {
        if let Some(roomer) = self.roomer(thread, number) {
            roomer.act(act);
        }
    }

    /// The `Roomer` of a room; `None` if no such thread exists.
    pub fn roomer(&self, thread: u16, number: u64) -> Option<Roomer> {
        let thread = self.threads.get(usize::from(thread))?;
        Some(Roomer { number, commands: thread.commands.clone(), shared: thread.shared.clone() })
    }

    /// A return path for an answer.
    pub fn reply<T: Send + 'static>(&self) -> (Reply<T>, oneshot::Receiver<T>) {
        let (to, answer) = oneshot::channel();
        (Reply::new(to, self.answers.clone()), answer)
    }

    /// Requests an endpoint's counters; the channel is dropped if there is no such endpoint.
    pub fn stats(&self, id: RelayId) -> oneshot::Receiver<Box<EndpointStats>> {
        let (reply, stats) = self.reply();
        self.command(id, Command::Stats { id, reply });
        stats
    }

    /// Counts a digit by INFO; the answer is whether it counts, see [`Command::Info`].
    pub fn info(&self, id: RelayId, digit: char) -> oneshot::Receiver<bool> {
        let (reply, counts) = self.reply();
        self.command(id, Command::Info { id, digit, reply });
        counts
    }

    /// Requests an endpoint's snapshot, with its SRTP state; the channel is dropped as for `stats`.
    pub fn snapshot(&self, id: RelayId) -> oneshot::Receiver<Box<EndpointSnapshot>> {
        let (reply, snapshot) = self.reply();
        self.command(id, Command::Snapshot { id, reply });
        snapshot
    }

    /// Restores a newly opened endpoint; join it once both are restored, and after a new snapshot.
    pub fn restore(
        &self,
        id: RelayId,
        snapshot: EndpointSnapshot,
    ) -> oneshot::Receiver<Result<(), RestoreError>> {
        let (reply, restored) = self.reply();
        self.command(id, Command::Restore { id, snapshot: Box::new(snapshot), reply });
        restored
    }

    /// Requests the totals and ports of each thread; threads that have ended do not answer.
    pub fn totals(&self) -> Vec<oneshot::Receiver<(Totals, Ports)>> {
        let ask = |thread: &Thread| {
            let (reply, totals) = self.reply();
            let _ = thread.commands.send(Command::Totals { reply });
            thread.shared.wake();
            totals
        };
        self.threads.iter().map(ask).collect()
    }

    /// Copies packets of an endpoint into this trace from now on, or into none.
    pub fn trace(&self, id: RelayId, trace: Option<Arc<PacketTrace>>) {
        let tap = trace.map(|trace| {
            let (tap, tapped) = tap(trace);
            self.traces.add(tapped);
            Box::new(tap)
        });
        self.command(id, Command::Trace { id, tap });
    }

    /// Also copies RTP packets of an endpoint into this tap, until its reader is gone.
    pub fn record(&self, id: RelayId, tap: recording::Tap) {
        self.command(id, Command::Record { id, tap: Box::new(tap) });
    }

    /// Closes an endpoint: sends RTCP BYE and closes its sockets; `Closed` follows. Call it once only.
    pub fn close(&self, id: RelayId) {
        if let Some(thread) = self.threads.get(usize::from(id.thread)) {
            thread.shared.open.fetch_sub(1, Ordering::Relaxed);
        }
        self.command(id, Command::Close { id });
    }

    /// Endpoints open now.
    pub fn open_endpoints(&self) -> usize {
        self.threads.iter().map(Thread::open).sum()
    }

    /// Number of running threads, and how many of them have their own descriptor table.
    pub fn threads(&self) -> (usize, usize) {
        (self.threads.len(), self.own_tables)
    }

    /// Receives the name of a thread that panicked: its endpoints are gone, and new ones need it.
    pub fn panicked(&self) -> Receiver<String> {
        self.vital.panicked()
    }

    /// Closes every endpoint and waits for the threads.
    pub fn shutdown(&self) {
        for thread in &self.threads {
            thread.shared.stop.store(true, Ordering::Release);
            thread.shared.wake.wake();
        }
        for join in self.joins().drain(..) {
            // Its panic was reported already.
            let _ = join.join();
        }
    }
}

impl Drop for RelayHandle {
    /// Closes the threads' wake-up descriptors here, in the descriptor table in which they were
    /// opened.
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The thread name shown by the system; a program with local sources and sinks has one thread.
fn name(index: usize, has_locals: bool) -> String {
    if has_locals { "media".to_owned() } else { format!("relay-{index}") }
}

/// Splits the range into `count` ranges of even ports with the odd ports above them.
fn split(ports: &RangeInclusive<u16>, count: usize) -> Option<Vec<RangeInclusive<u16>>> {
    let first = u32::from(ports.start().max(&1).next_multiple_of(2));
    let pairs = (u32::from(*ports.end()) + 1).saturating_sub(first) / 2;
    let share = pairs / u32::try_from(count).ok()?;
    let range = |n: u32| {
        let start = first + n * share * 2;
        let end = if n as usize + 1 == count { first + pairs * 2 } else { start + share * 2 };
        start as u16..=(end - 1) as u16
    };
    (share > 0).then(|| (0..count as u32).map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_ports_without_meeting() {
        let ranges = split(&(20_001..=20_020), 3).unwrap();
        assert_eq!(ranges, [20_002..=20_007, 20_008..=20_013, 20_014..=20_019]);
        assert_eq!(split(&(1..=65_535), 1).unwrap(), [2..=65_535]);
        assert_eq!(split(&(20_000..=20_003), 3), None);
    }
}
