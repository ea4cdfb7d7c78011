//! The thread that drives a relay machine: its clock, its sockets and its sleep.
//!
//! Sockets are opened, used and closed on this thread only, since it has its own descriptor table.
//! So that opening an endpoint need not wait for a socket, some are always bound ahead and handed
//! to the handle.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::sync::mpsc;

use super::machine::{Command, Machine};
use super::opening::{OpenError, Wanted};
use super::shared::Shared;
use super::sockets::{Place, Sockets};
use super::unproven::{Allowances, Unproven};
use super::{EndpointSnapshot, Ports, RelayEvent, RelayId, RestoreError};
use crate::Now;
use crate::local::LocalAct;
use crate::local::packet_log::PacketLog;
use crate::ports::PortPool;
use crate::recording::Side;
use crate::remote::Remote;
use crate::transport::Channel;
use crate::transport::protection::{Protection, RTCP_OVERHEAD};
use b2b_base::util::ntp::NtpTime;
use b2b_base::util::panics;
use b2b_sys::descriptors;
use b2b_sys::relay::bind;
use b2b_sys::udp::Batch;
use b2b_sys::wake::is_readable;

/// An endpoint with more datagrams than this since the last read is flooded.
const FLOOD: u32 = 64;
const SOON: Duration = Duration::from_millis(4);
/// Ports tried before the range counts as exhausted for now.
const TRIES: usize = 256;
/// Sockets read before the clock and the commands are checked again.
const READY: usize = 256;
/// How soon to look again for resting ports or missing descriptors.
const AGAIN: Duration = Duration::from_millis(500);
/// Times of restored endpoints are preserved if they were at most this long before the thread's start.
const REMEMBERED: Duration = Duration::from_secs(86_400);
/// Maximum octets of a datagram; a longer one is truncated, and is not RTP anyway.
pub(super) const SIZE: usize = 2_048;
/// The token of the wake-up descriptor.
const WAKE: u64 = u64::MAX;

/// An endpoint that is bound and not yet used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub id: RelayId,
    pub local: SocketAddr,
}

/// The start parameters of the thread.
pub(super) struct Driver<E> {
    pub index: u16,
    pub seed: u64,
    pub shared: Arc<Shared>,
    pub commands: Receiver<Command>,
    /// Endpoints to open for which none was bound ahead.
    pub wanted: Receiver<Wanted>,
    pub events: mpsc::UnboundedSender<E>,
    pub addresses: Vec<Address>,
    /// Whether far ends without RTCP multiplexing get an RTCP socket.
    pub rtcp_sockets: bool,
    /// Shared by all threads.
    pub allowances: Arc<Allowances>,
    /// Whether endpoints may have local sources and sinks, which may hold a file or a device: a thread with its
    /// own descriptor table would close another descriptor of the same number when it drops them.
    pub has_locals: bool,
    /// Target number of endpoints bound ahead, per address.
    pub ahead: usize,
    /// Log of each packet received by an endpoint with a local source and sink.
    pub log: Option<PacketLog>,
    pub batch: Batch,
    /// Endpoints that are read at ticks.
    pub listeners: Vec<u32>,
    /// Receives at once whether the thread has its own descriptor table.
    pub own_table: Sender<bool>,
}

/// A local address to bind.
pub(super) struct Address {
    pub ip: IpAddr,
    /// The queue of bound endpoints, taken from when one is opened.
    pub ready: (Sender<Ready>, Receiver<Ready>),
    pub ports: PortPool,
}

fn now() -> Now {
    Now { at: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

impl<E: TryFrom<RelayEvent>> Driver<E> {
    /// Runs until stopped; then closes every endpoint.
    pub fn run(mut self) -> io::Result<()> {
        // If the system refuses, everything works except the higher descriptor limit.
        let own = !self.has_locals && descriptors::own_table(self.shared.wake.as_raw_fd()).is_ok();
        let _ = self.own_table.send(own);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&self.shared.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;

        // Restored endpoints may hold times from before the start.
        let start = Instant::now();
        let mut machine = Machine::new(start.checked_sub(REMEMBERED).unwrap_or(start), self.seed);
        let room = Box::new([0; SIZE + RTCP_OVERHEAD]);
        let mut sockets = Sockets {
            places: Vec::new(),
            free: Vec::new(),
            room,
            withheld: Vec::new(),
            generations: Vec::new(),
        };
        let mut ready = [EpollEvent::empty(); READY];
        let (mut buffer, mut copy) = ([0; SIZE], [0; SIZE]);
        let (mut again, mut look) = (None, None);
        if self.log.is_some() {
            machine.keep_records();
        }
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
                let Some(place) = sockets.get(slot) else { continue };
                let (socket, channel) = place.socket(channel);
                // This read also clears an ICMP error of an earlier packet.
                if let Ok((len, source)) = socket.recv_from(&mut buffer) {
                    match place.layers.receive(channel, source, &mut buffer[..len]) {
                        Ok(datagram) if !place.layers.records.is_empty() => {
                            let copy = &mut copy[..datagram.len()];
                            copy.copy_from_slice(datagram);
                            let before = machine.believed(slot);
                            machine.packet(now, slot, channel, source, datagram, &mut sockets);
                            // Only packets of the believed party, and no RTCP.
                            if let Some(place) = sockets.get(slot).filter(|_| machine.believed(slot) > before)
                            {
                                place.layers.record(Side::Said, copy);
                            }
                        }
                        Ok(datagram) => {
                            panics::on_purpose("media", datagram);
                            machine.packet(now, slot, channel, source, datagram, &mut sockets);
                        }
                        Err(why) => machine.refused(now.at, slot, &buffer[..len], why),
                    }
                }
            }
            if woken {
                self.shared.wake.reset();
                // This sees every command whose sender found the flag set.
                self.shared.woken.swap(false, Ordering::AcqRel);
                while let Ok(command) = self.commands.try_recv() {
                    self.obey(&epoll, &mut machine, &mut sockets, now, command);
                }
                if self.shared.stop.load(Ordering::Acquire) {
                    self.close_all(&mut machine, &mut sockets, now);
                    return Ok(());
                }
                while let Ok(Wanted { address, port, config, reply }) = self.wanted.try_recv() {
                    let bound = match port {
                        Some(port) => self.bind_at(&epoll, &mut sockets, address, port),
                        // The last free endpoints may be among those bound ahead.
                        None => self
                            .bind_one(&epoll, &mut sockets, now.at, address)
                            .or_else(|| self.addresses.get(address)?.ready.1.try_recv().ok()),
                    };
                    reply.give(bound.ok_or(OpenError::Ports).map(|Ready { id, local }| {
                        self.shared.open.fetch_add(1, Ordering::Relaxed);
                        machine.command(now, Command::Open { id, config }, &mut sockets);
                        (id, local)
                    }));
                }
            }
            if woken || again.is_some_and(|again| again <= now.at) {
                let enough = self.bind_ahead(&epoll, &mut sockets, now.at);
                self.shared.exhausted.store(!enough, Ordering::Release);
                again = (!enough).then(|| now.at + AGAIN);
            }
            if [look, machine.next_tick()].into_iter().flatten().any(|look| look <= now.at) {
                look = self.listen(&mut machine, &mut sockets, now).then(|| now.at + SOON);
            }
            if machine.next_wake(now.at).is_some_and(|wake| wake <= now.at) {
                machine.maintain(now, &mut sockets);
            }
            if let Some(log) = &mut self.log {
                while let Some(record) = machine.poll_record() {
                    log.push(&now, record);
                }
            }
            for (id, to) in sockets.withheld.drain(..) {
                self.tell(RelayEvent::Withheld { id, to });
            }
            while let Some(event) = machine.poll_event() {
                self.tell(event);
            }
            woken = false;
            let wake = [machine.next_wake(now.at), again, look].into_iter().flatten().min();
            found = match machine.next_tick() {
                Some(_) => wait_precisely(&epoll, &mut ready, wake),
                None => epoll.wait(&mut ready, timeout(now.at, wake)).unwrap_or(0),
            };
        }
    }

    /// Sends an event, if its receiver wants this kind.
    fn tell(&self, event: RelayEvent) {
        if let Ok(event) = E::try_from(event) {
            // No receiver is left when the program is ending.
            let _ = self.events.send(event);
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
            Command::Trace { id, tap } => {
                if let Some(place) = sockets.place(id) {
                    place.layers.tap = tap;
                }
                return;
            }
            Command::Record { id, tap } => {
                if let Some(place) = sockets.place(id) {
                    place.layers.records.retain(|tap| !tap.is_abandoned());
                    place.layers.records.push(*tap);
                }
                return;
            }
            Command::Bound { id, to } => {
                if let Some(place) = sockets.place(id) {
                    place.layers.unproven = to.map(|(party, host)| {
                        Box::new(Unproven::new(host, self.allowances.of(now.at, party, host)))
                    });
                }
                return;
            }
            Command::Totals { reply } => {
                let ports = self.ports(machine.open(), sockets, now.at);
                return reply.give((machine.totals(), ports));
            }
            Command::Protect { id, keys } => {
                machine.authenticates(id, keys.is_some());
                if let Some(place) = sockets.place(id) {
                    Protection::settle(&mut place.layers.protection, keys.map(|keys| *keys));
                }
                return;
            }
            Command::Snapshot { id, reply } => {
                if let (Some(mut snapshot), Some(place)) = (machine.snapshot(now, id), sockets.place(id)) {
                    snapshot.protect(place.layers.protection.as_deref());
                    reply.give(Box::new(snapshot));
                }
                return;
            }
            Command::Restore { id, snapshot, reply } => {
                return reply.give(self.restore(epoll, machine, sockets, now, (id, &snapshot)));
            }
            Command::Close { id } => {
                machine.command(now, Command::Close { id }, sockets);
                return self.close(sockets, now.at, id);
            }
            Command::Local { id, act } => {
                let begins = matches!(act, LocalAct::Begin(_));
                machine.command(now, Command::Local { id, act }, sockets);
                if begins && let Some(place) = sockets.place(id) {
                    // It is read at ticks, many packets at once with the kernel's timestamps. It
                    // was in the epoll set.
                    let _ = epoll.delete(&place.rtp);
                    b2b_sys::udp::time_arrivals(&place.rtp);
                }
                return;
            }
            Command::Open { .. }
            | Command::Join { .. }
            | Command::Part { .. }
            | Command::Stats { .. }
            | Command::Digit { .. }
            | Command::Stage { .. }
            | Command::Room { .. }
            | Command::Info { .. } => {}
        }
        machine.command(now, command, sockets);
    }

    /// Reads all datagrams of endpoints with a local source and sink. Returns whether one of them
    /// is flooded and must be read again soon, so that wanted packets find room in its socket.
    fn listen(&mut self, machine: &mut Machine, sockets: &mut Sockets, now: Now) -> bool {
        self.listeners.clear();
        self.listeners.extend(machine.listeners());
        let mut flooded = false;
        for &slot in &self.listeners {
            let Some(Place { rtp, layers, .. }) = sockets.get(slot) else { continue };
            let received = self.batch.receive(rtp, now, |at, source, datagram| {
                let (arrival, length) = (Now { at, wall: now.wall_at(at) }, datagram.len());
                match layers.receive(Channel::Rtp, source, datagram) {
                    Ok(datagram) => {
                        let before = machine.believed(slot);
                        machine.arrived(arrival, slot, source, datagram);
                        if !layers.records.is_empty() && machine.believed(slot) > before {
                            layers.record(Side::Said, datagram);
                        }
                    }
                    Err(why) => machine.refused(at, slot, &datagram[..length], why),
                }
            });
            flooded |= received.datagrams > FLOOD;
            if let Some(total) = received.overflowed {
                machine.overflowed(slot, total);
            }
        }
        flooded
    }

    /// Restores a newly opened endpoint from a snapshot.
    fn restore(
        &mut self,
        epoll: &Epoll,
        machine: &mut Machine,
        sockets: &mut Sockets,
        now: Now,
        (id, snapshot): (RelayId, &EndpointSnapshot),
    ) -> Result<(), RestoreError> {
        let protection = snapshot.protection()?;
        let place = sockets.place(id).ok_or(RestoreError::Gone)?;
        machine.restore(now, id, snapshot)?;
        machine.authenticates(id, protection.is_some());
        place.layers.protection = protection.map(Box::new);
        if let Some(remote) = snapshot.remote() {
            self.rtcp_socket(epoll, sockets, id, &remote);
        }
        Ok(())
    }

    /// Counts the ports by state; `used` is the number of endpoints.
    fn ports(&mut self, used: usize, sockets: &Sockets, now: Instant) -> Ports {
        let bound = sockets.places.len() - sockets.free.len();
        let mut ports = Ports { used, ready: bound.saturating_sub(used), free: 0, resting: 0 };
        for address in &mut self.addresses {
            let (free, resting) = address.ports.count(now);
            ports.free += free;
            ports.resting += resting;
        }
        ports
    }

    /// Binds endpoints ahead up to the target; returns whether it was reached.
    fn bind_ahead(&mut self, epoll: &Epoll, sockets: &mut Sockets, now: Instant) -> bool {
        let mut enough = true;
        for address in 0..self.addresses.len() {
            while self.addresses[address].ready.0.len() < self.ahead {
                let Some(ready) = self.bind_one(epoll, sockets, now, address) else {
                    enough = false;
                    break;
                };
                let _ = self.addresses[address].ready.0.send(ready);
            }
        }
        enough
    }

    /// Binds an endpoint at this address; `None` if no port or no descriptor is left.
    fn bind_one(
        &mut self,
        epoll: &Epoll,
        sockets: &mut Sockets,
        now: Instant,
        address: usize,
    ) -> Option<Ready> {
        for _ in 0..TRIES {
            let port = self.addresses.get_mut(address)?.ports.take(now)?;
            match self.bind_port(epoll, sockets, address, port) {
                Ok(ready) => return Some(ready),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Binds an endpoint at this port; `None` if another endpoint or another program has it.
    fn bind_at(&mut self, epoll: &Epoll, sockets: &mut Sockets, address: usize, port: u16) -> Option<Ready> {
        let Address { ready: (queue, ahead), ports, .. } = self.addresses.get_mut(address)?;
        if ports.claim(port) {
            return self.bind_port(epoll, sockets, address, port).ok();
        }
        // It may be bound ahead.
        let (wanted, others): (Vec<_>, Vec<_>) = ahead.try_iter().partition(|it| it.local.port() == port);
        for other in others {
            let _ = queue.send(other);
        }
        wanted.into_iter().next()
    }

    /// Binds an endpoint at this port, which it has taken; otherwise it is given back.
    fn bind_port(
        &mut self,
        epoll: &Epoll,
        sockets: &mut Sockets,
        address: usize,
        port: u16,
    ) -> io::Result<Ready> {
        let Some(Address { ip, ports, .. }) = self.addresses.get_mut(address) else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let local = SocketAddr::new(*ip, port);
        let rtp = bind(local).inspect_err(|_| ports.refused(port))?;
        let slot = sockets.free.pop().unwrap_or(sockets.places.len() as u32);
        if slot as usize == sockets.places.len() {
            sockets.places.push(None);
            sockets.generations.push(self.seed as u32);
        }
        let generation = &mut sockets.generations[slot as usize];
        *generation = generation.wrapping_add(1);
        let id = RelayId { thread: self.index, slot, generation: *generation };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token(slot, Channel::Rtp));
        if let Err(error) = epoll.add(&rtp, event) {
            ports.refused(port);
            sockets.free.push(slot);
            return Err(error.into());
        }
        sockets.places[slot as usize] = Some(Place::new(id, rtp, address, local));
        Ok(Ready { id, local })
    }

    /// Opens an RTCP socket on the port above for a far end that does not multiplex RTCP; one that
    /// does needs no second socket.
    fn rtcp_socket(&self, epoll: &Epoll, sockets: &mut Sockets, id: RelayId, remote: &Remote) {
        let rtcp_sockets = self.rtcp_sockets;
        let Some(place) = sockets.place(id) else { return };
        if remote.rtcp_mux || !rtcp_sockets {
            place.rtcp = None;
        } else if place.rtcp.is_none() {
            let address = SocketAddr::new(place.layers.local.ip(), place.layers.local.port() + 1);
            // If another program holds the port or no descriptor is left, the leg has no RTCP socket.
            let Ok(rtcp) = bind(address) else { return };
            let event = EpollEvent::new(EpollFlags::EPOLLIN, token(id.slot, Channel::Rtcp));
            place.rtcp = epoll.add(&rtcp, event).is_ok().then_some(rtcp);
        }
    }

    /// Closes an endpoint's sockets, which also removes them from the epoll set, and lets its port rest.
    fn close(&mut self, sockets: &mut Sockets, now: Instant, id: RelayId) {
        if sockets.place(id).is_none() {
            return;
        }
        if let Some(place) = sockets.places[id.slot as usize].take() {
            self.addresses[place.address].ports.give_back(now, place.layers.local.port());
            sockets.free.push(id.slot);
        }
    }

    fn close_all(&mut self, machine: &mut Machine, sockets: &mut Sockets, now: Now) {
        let all: Vec<RelayId> = sockets.places.iter().flatten().map(|place| place.id).collect();
        for id in all {
            machine.command(now, Command::Close { id }, sockets);
        }
        while let Some(event) = machine.poll_event() {
            self.tell(event);
        }
    }
}

fn token(slot: u32, channel: Channel) -> u64 {
    u64::from(slot) << 1 | u64::from(channel == Channel::Rtcp)
}

fn place(token: u64) -> (u32, Channel) {
    ((token >> 1) as u32, if token & 1 == 1 { Channel::Rtcp } else { Channel::Rtp })
}

/// Sleeps until `wake` as precisely as the system can, since sources and sinks have ticks to keep.
fn wait_precisely(epoll: &Epoll, ready: &mut [EpollEvent], wake: Option<Instant>) -> usize {
    let sleep = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
    match is_readable(&epoll.0, sleep) {
        true => epoll.wait(ready, EpollTimeout::ZERO).unwrap_or(0),
        false => 0,
    }
}

/// The time to sleep: a millisecond too long rather than a busy loop.
fn timeout(now: Instant, wake: Option<Instant>) -> EpollTimeout {
    let Some(wake) = wake else { return EpollTimeout::NONE };
    let sleep = wake.saturating_duration_since(now) + Duration::from_millis(1);
    EpollTimeout::try_from(sleep).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests;
