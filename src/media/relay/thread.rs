//! The thread that drives a relay machine: its clock, its sockets, its sleep.
//!
//! Sockets are opened, used and closed on this thread only, since it has a descriptor
//! table of its own. So that nobody has to wait for a socket, some are always bound ahead
//! and told to the handle.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::sync::mpsc;

use super::machine::{Command, Machine, Transmit};
use super::{RelayEvent, RelayId, Remote};
use crate::media::Now;
use crate::media::io::descriptors;
use crate::media::io::relay::bind;
use crate::media::io::wake::Wake;
use crate::media::ports::PortPool;
use crate::media::session::Channel;
use crate::util::ntp::NtpTime;

/// Endpoints bound ahead, of each address.
pub(super) const AHEAD: usize = 64;
/// Ports tried before the range counts as taken for now.
const TRIES: usize = 64;
/// Sockets looked at between two looks at the clock and at commands.
const READY: usize = 256;
/// How soon ports that rest, or descriptors that were missing, are looked for again.
const AGAIN: Duration = Duration::from_millis(500);
/// Octets of a datagram; what is longer is cut, and no RTP of anybody is.
const SIZE: usize = 2_048;
/// The token of the wake-up descriptor.
const WAKE: u64 = u64::MAX;

/// An endpoint that is bound and waits to be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub id: RelayId,
    pub local: SocketAddr,
}

/// What the handle and one thread share.
pub(super) struct Shared {
    pub wake: Wake,
    /// A wake-up is under way already.
    pub woken: AtomicBool,
    pub stop: AtomicBool,
    /// The thread could bind no more when it last tried.
    pub exhausted: AtomicBool,
}

impl Shared {
    /// Ends the thread's sleep, once for many commands.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }
}

/// What the thread is started with.
pub(super) struct Driver<E> {
    pub index: u16,
    pub seed: u64,
    pub shared: Arc<Shared>,
    pub commands: Receiver<Command>,
    pub events: mpsc::UnboundedSender<E>,
    /// Per address: where bound endpoints are told, and which ports there are.
    pub addresses: Vec<(IpAddr, Sender<Ready>, PortPool)>,
    /// Whether far ends that do not multiplex get an RTCP socket.
    pub rtcp_sockets: bool,
    /// Told at once whether the thread has a descriptor table of its own.
    pub own_table: Sender<bool>,
}

/// One endpoint's sockets.
struct Place {
    id: RelayId,
    rtp: UdpSocket,
    rtcp: Option<UdpSocket>,
    address: usize,
    port: u16,
}

/// The table of sockets; its places are those of the machine's endpoints.
#[derive(Default)]
struct Sockets {
    places: Vec<Option<Place>>,
    free: Vec<u32>,
}

impl Sockets {
    fn get(&self, slot: u32, channel: Channel) -> Option<&UdpSocket> {
        let place = self.places.get(slot as usize)?.as_ref()?;
        match channel {
            Channel::Rtp => Some(&place.rtp),
            Channel::Rtcp => place.rtcp.as_ref(),
        }
    }

    fn place(&mut self, id: RelayId) -> Option<&mut Place> {
        self.places.get_mut(id.slot as usize)?.as_mut().filter(|place| place.id == id)
    }
}

impl Transmit for Sockets {
    #[inline]
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        // Without a socket of its own RTCP leaves from the RTP port.
        let socket = self.get(slot, channel).or_else(|| self.get(slot, Channel::Rtp));
        // A full buffer, an unreachable peer: the network lost it.
        socket.is_some_and(|socket| socket.send_to(datagram, to).is_ok())
    }
}

fn now() -> Now {
    Now { at: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

impl<E: From<RelayEvent>> Driver<E> {
    /// Runs until it is stopped; then every endpoint is closed.
    pub fn run(mut self) -> io::Result<()> {
        // Where it is refused, everything works but for the limit.
        let own = descriptors::own_table(self.shared.wake.as_raw_fd()).is_ok();
        let _ = self.own_table.send(own);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&self.shared.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;

        let mut machine = Machine::new(Instant::now(), self.seed);
        let mut sockets = Sockets::default();
        let mut generations: Vec<u32> = Vec::new();
        let mut ready = [EpollEvent::empty(); READY];
        let mut buffer = [0; SIZE];
        let mut again = None;
        let (mut found, mut woken) = (0, true);
        loop {
            let now = now();
            for event in &ready[..found] {
                let token = event.data();
                if token == WAKE {
                    woken = true;
                    continue;
                }
                let (slot, channel) = place(token);
                let Some(socket) = sockets.get(slot, channel) else { continue };
                // An error that ICMP reported for a packet sent before is read, and over.
                if let Ok((len, source)) = socket.recv_from(&mut buffer) {
                    machine.packet(now, slot, channel, source, &mut buffer[..len], &mut sockets);
                }
            }
            if woken {
                self.shared.wake.reset();
                // Sees every command whose sender found the flag set.
                self.shared.woken.swap(false, Ordering::AcqRel);
                while let Ok(command) = self.commands.try_recv() {
                    self.obey(&epoll, &mut machine, &mut sockets, now, command);
                }
                if self.shared.stop.load(Ordering::Acquire) {
                    self.close_all(&mut machine, &mut sockets, now);
                    return Ok(());
                }
            }
            if woken || again.is_some_and(|again| again <= now.at) {
                let enough = self.bind_ahead(&epoll, &mut sockets, &mut generations, now.at);
                self.shared.exhausted.store(!enough, Ordering::Release);
                again = (!enough).then(|| now.at + AGAIN);
            }
            if machine.next_wake(now.at).is_some_and(|wake| wake <= now.at) {
                machine.maintain(now, &mut sockets);
            }
            while let Some(event) = machine.poll_event() {
                // Nobody listens any more when the program is on its way out.
                let _ = self.events.send(event.into());
            }
            woken = false;
            let wake = [machine.next_wake(now.at), again].into_iter().flatten().min();
            found = epoll.wait(&mut ready, timeout(now.at, wake)).unwrap_or(0);
        }
    }

    fn obey(
        &mut self,
        epoll: &Epoll,
        machine: &mut Machine,
        sockets: &mut Sockets,
        now: Now,
        command: Command,
    ) {
        match command {
            Command::Describe { id, remote } => self.rtcp_socket(epoll, sockets, id, &remote),
            Command::Close { id } => {
                machine.command(now, Command::Close { id }, sockets);
                return self.close(sockets, now.at, id);
            }
            _ => {}
        }
        machine.command(now, command, sockets);
    }

    /// Binds endpoints until enough are there; whether they are.
    fn bind_ahead(
        &mut self,
        epoll: &Epoll,
        sockets: &mut Sockets,
        generations: &mut Vec<u32>,
        now: Instant,
    ) -> bool {
        let mut enough = true;
        for (address, (ip, told, ports)) in self.addresses.iter_mut().enumerate() {
            let mut tries = 0;
            while told.len() < AHEAD {
                tries += 1;
                let port = ports.take(now).filter(|_| tries <= TRIES);
                let Some(port) = port else {
                    enough = false;
                    break;
                };
                let rtp = match bind(SocketAddr::new(*ip, port)) {
                    Ok(rtp) => rtp,
                    Err(error) => {
                        ports.refused(port);
                        if error.kind() == io::ErrorKind::AddrInUse {
                            continue;
                        }
                        enough = false;
                        break;
                    }
                };
                let slot = sockets.free.pop().unwrap_or(sockets.places.len() as u32);
                if slot as usize == sockets.places.len() {
                    sockets.places.push(None);
                    generations.push(0);
                }
                let generation = &mut generations[slot as usize];
                *generation += 1;
                let id = RelayId { thread: self.index, slot, generation: *generation };
                if epoll.add(&rtp, EpollEvent::new(EpollFlags::EPOLLIN, token(slot, Channel::Rtp))).is_err() {
                    ports.refused(port);
                    sockets.free.push(slot);
                    enough = false;
                    break;
                }
                sockets.places[slot as usize] = Some(Place { id, rtp, rtcp: None, address, port });
                if told.send(Ready { id, local: SocketAddr::new(*ip, port) }).is_err() {
                    return true;
                }
                tries = 0;
            }
        }
        enough
    }

    /// A far end that does not multiplex sends RTCP to the port above; one that does
    /// needs no second socket.
    fn rtcp_socket(&self, epoll: &Epoll, sockets: &mut Sockets, id: RelayId, remote: &Remote) {
        let rtcp_sockets = self.rtcp_sockets;
        let Some(place) = sockets.place(id) else { return };
        if remote.rtcp_mux || !rtcp_sockets {
            place.rtcp = None;
        } else if place.rtcp.is_none() {
            let address = SocketAddr::new(self.addresses[place.address].0, place.port + 1);
            // Held by somebody else, or no descriptor left: the call does without.
            let Ok(rtcp) = bind(address) else { return };
            let event = EpollEvent::new(EpollFlags::EPOLLIN, token(id.slot, Channel::Rtcp));
            place.rtcp = epoll.add(&rtcp, event).is_ok().then_some(rtcp);
        }
    }

    /// Closes sockets, which also takes them off the epoll set, and lets the port rest.
    fn close(&mut self, sockets: &mut Sockets, now: Instant, id: RelayId) {
        if sockets.place(id).is_none() {
            return;
        }
        if let Some(place) = sockets.places[id.slot as usize].take() {
            self.addresses[place.address].2.give_back(now, place.port);
            sockets.free.push(id.slot);
        }
    }

    fn close_all(&mut self, machine: &mut Machine, sockets: &mut Sockets, now: Now) {
        let all: Vec<RelayId> = sockets.places.iter().flatten().map(|place| place.id).collect();
        for id in all {
            machine.command(now, Command::Close { id }, sockets);
        }
        while let Some(event) = machine.poll_event() {
            let _ = self.events.send(event.into());
        }
    }
}

fn token(slot: u32, channel: Channel) -> u64 {
    u64::from(slot) << 1 | u64::from(channel == Channel::Rtcp)
}

fn place(token: u64) -> (u32, Channel) {
    ((token >> 1) as u32, if token & 1 == 1 { Channel::Rtcp } else { Channel::Rtp })
}

/// How long to sleep: a millisecond too long rather than a busy loop.
fn timeout(now: Instant, wake: Option<Instant>) -> EpollTimeout {
    let Some(wake) = wake else { return EpollTimeout::NONE };
    let sleep = wake.saturating_duration_since(now) + Duration::from_millis(1);
    EpollTimeout::try_from(sleep).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
