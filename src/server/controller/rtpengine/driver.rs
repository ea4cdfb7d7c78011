//! The thread that drives the machine: its socket, its clock, and the requesters that wait for results.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use super::relay::{Output, Relay, Wanted, WrittenHeld};
use super::words::Interfaces;
use super::{Opened, Shared};
use b2b_base::util::vital::Vital;
use b2b_call::controller::{EndpointId, EndpointStats, LocalDescription, MediaError, MediaEvent};

/// Maximum time for the last deletions when we stop.
const PARTING: Duration = Duration::from_secs(1);

pub(super) type Opening = oneshot::Sender<Result<(EndpointId, LocalDescription), MediaError>>;
pub(super) type Counting = oneshot::Sender<Result<Box<EndpointStats>, MediaError>>;
pub(super) type Writing = oneshot::Sender<Option<WrittenHeld>>;

/// A command for the thread.
pub(super) enum Command {
    Open { id: EndpointId, ipv6: bool, timeout: Option<Duration>, reply: Opening },
    Want(EndpointId, Wanted),
    Look(EndpointId, Counting),
    Release(EndpointId),
    Write(EndpointId, Writing),
    Restore(EndpointId, Box<WrittenHeld>),
}

/// Starts the thread. It ends once all senders of commands are gone.
pub(super) fn start(
    server: SocketAddr,
    interfaces: Interfaces,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<MediaEvent>,
    vital: Vital,
) -> io::Result<(mpsc::UnboundedSender<Command>, JoinHandle<()>)> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = {
        let _inside = runtime.enter();
        UdpSocket::from_std(socket)?
    };
    let (sender, commands) = mpsc::unbounded_channel();
    let prefix = format!("b2b-{:016x}", rand::random::<u64>());
    let run = move || {
        let relay = Relay::new(Instant::now(), prefix, interfaces);
        let driver = Driver {
            socket,
            relay,
            commands,
            shared,
            events,
            opening: HashMap::new(),
            counting: HashMap::new(),
            writing: Vec::new(),
        };
        vital.run("rtpengine", || runtime.block_on(driver.run()));
    };
    let thread = std::thread::Builder::new().name("rtpengine".into()).spawn(run)?;
    Ok((sender, thread))
}

struct Driver {
    socket: UdpSocket,
    relay: Relay,
    commands: mpsc::UnboundedReceiver<Command>,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<MediaEvent>,
    opening: HashMap<EndpointId, Opening>,
    counting: HashMap<EndpointId, Vec<Counting>>,
    /// Those to be written, once rtpengine has been told what it is being told.
    writing: Vec<(EndpointId, Writing)>,
}

impl Driver {
    async fn run(mut self) {
        let mut datagram = vec![0; 65_536];
        let mut ends: Option<Instant> = None;
        loop {
            self.outputs().await;
            self.shared.alive.store(self.relay.is_alive(), Ordering::Relaxed);
            if ends.is_some_and(|ends| self.relay.len() == 0 || Instant::now() >= ends) {
                return;
            }
            let due = self.relay.next_timeout();
            tokio::select! {
                command = self.commands.recv(), if ends.is_none() => match command {
                    Some(command) => self.obey(command),
                    None if self.shared.lasts.load(Ordering::Relaxed) => return,
                    None => {
                        ends = Some(Instant::now() + PARTING);
                        let left = std::mem::take(&mut self.shared.state().endpoints);
                        left.into_keys().for_each(|id| self.relay.release(Instant::now(), id));
                    }
                },
                // The error says that nothing listens there, which the timeouts will show as well.
                read = self.socket.recv(&mut datagram) => match read {
                    Ok(length) => self.relay.input(Instant::now(), &datagram[..length]),
                    Err(error) => {
                        tracing::debug!("rtpengine: {error}");
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                },
                () = tokio::time::sleep_until(due.into()) => self.relay.timeout(Instant::now()),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Open { id, ipv6, timeout, reply } => {
                self.opening.insert(id, reply);
                self.relay.open(now, id, ipv6, timeout);
            }
            Command::Want(id, wanted) => self.relay.want(now, id, wanted),
            Command::Look(id, reply) => {
                self.counting.entry(id).or_default().push(reply);
                self.relay.look(now, id);
            }
            Command::Release(id) => self.relay.release(now, id),
            Command::Write(id, reply) => self.writing.push((id, reply)),
            Command::Restore(id, written) => self.relay.restore(now, id, *written),
        }
    }

    async fn outputs(&mut self) {
        while let Some(output) = self.relay.poll() {
            match output {
                // A datagram that cannot be sent is retransmitted later.
                Output::Transmit(datagram) => drop(self.socket.send(&datagram).await),
                Output::Opened(id, result) => self.opened(id, result),
                Output::Counted(id, result) => {
                    for reply in self.counting.remove(&id).unwrap_or_default() {
                        let _ = reply.send(result.clone());
                    }
                }
                Output::Event(event) => drop(self.events.send(event)),
            }
        }
        for (id, reply) in self.writing.extract_if(.., |(id, _)| !self.relay.is_told(*id)) {
            // Whoever asked may be gone.
            let _ = reply.send(self.relay.written(Instant::now(), id));
        }
    }

    fn opened(&mut self, id: EndpointId, result: Result<Opened, MediaError>) {
        let Some(reply) = self.opening.remove(&id) else { return };
        let rtp = result.as_ref().ok().map(|places| places.party);
        if let Ok(places) = &result {
            self.shared.opened(id, *places);
        }
        let answer = result.map(|places| (id, LocalDescription { rtp: places.party }));
        // The requester is gone, so nothing would ever release it.
        if reply.send(answer).is_err() && rtp.is_some() {
            self.shared.state().endpoints.remove(&id);
            self.relay.release(Instant::now(), id);
        }
    }
}
