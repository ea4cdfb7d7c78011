//! The thread that drives a media machine: its clock, its sockets, its sleep.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};

use super::machine::{Command, Link, Machine};
use super::packet_log::PacketLog;
use super::{MediaEvent, SessionId};
use crate::Now;
use crate::ports::PortPool;
use crate::transport::Channel;
use b2b_base::util::ntp::NtpTime;
use b2b_sys::udp::{Batch, Received};
use b2b_sys::wake::Wake;

/// What the handles and the thread share.
pub(super) struct Shared {
    pub wake: Wake,
    pub stop: AtomicBool,
    pub ports: Mutex<PortPool>,
}

/// A session's sockets, and the port they give back when they close.
pub(super) struct UdpLink {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub port: u16,
    pub shared: Arc<Shared>,
}

impl Link for UdpLink {
    type Batch = Batch;

    fn receive(
        &mut self,
        channel: Channel,
        now: Now,
        batch: &mut Batch,
        take: impl FnMut(Instant, SocketAddr, &mut [u8]),
    ) -> Received {
        batch.receive(self.socket(channel), now, take)
    }

    fn send(&mut self, channel: Channel, to: SocketAddr, datagram: &[u8]) {
        // A full buffer, an unreachable peer: the network lost it.
        let _ = self.socket(channel).send_to(datagram, to);
    }
}

impl UdpLink {
    fn socket(&self, channel: Channel) -> &UdpSocket {
        match channel {
            Channel::Rtp => &self.rtp,
            Channel::Rtcp => &self.rtcp,
        }
    }
}

impl Drop for UdpLink {
    fn drop(&mut self) {
        let mut ports = self.shared.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.give_back(Instant::now(), self.port);
    }
}

/// The thread's ends of the channels.
pub(super) struct Driver {
    pub shared: Arc<Shared>,
    pub commands: Receiver<Command<UdpLink>>,
    pub releases: Receiver<SessionId>,
    pub events: Sender<MediaEvent>,
    pub log: Option<PacketLog>,
}

fn now() -> Now {
    Now { at: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

impl Driver {
    pub fn run(mut self) {
        let mut machine = Machine::new(Instant::now());
        // Whoever wants something wakes the thread; a tick does not look for it.
        let mut woken = true;
        loop {
            let now = now();
            if woken {
                let stop = self.shared.stop.load(Ordering::Acquire);
                self.obey(&mut machine, now, stop);
                if stop {
                    return;
                }
            }
            let events = &self.events;
            let log = &mut self.log;
            machine.turn(
                now,
                |event| report(events, event),
                |now, record| {
                    if let Some(log) = log {
                        log.push(now, record);
                    }
                },
            );
            let sleep = machine.next_wake().map(|at| at.saturating_duration_since(Instant::now()));
            woken = sleep == Some(Duration::ZERO) || self.shared.wake.wait(sleep);
        }
    }

    /// Takes every command; then the releases that were there before them, since
    /// a session's commands come before its release.
    fn obey(&mut self, machine: &mut Machine<UdpLink>, now: Now, stop: bool) {
        let releases = self.releases.len();
        for command in self.commands.try_iter() {
            machine.command(now, command);
        }
        let all = || machine.sessions().map(|(id, _)| id).collect();
        let gone: Vec<SessionId> =
            if stop { all() } else { self.releases.try_iter().take(releases).collect() };
        for id in gone {
            machine.release(now, id, |event| report(&self.events, event));
        }
    }
}

/// Digits wait for a reader up to here; other events are few and never dropped.
const DIGITS_WAITING: usize = 1_024;

fn report(events: &Sender<MediaEvent>, event: MediaEvent) {
    if matches!(event, MediaEvent::Digit { .. }) && events.len() >= DIGITS_WAITING {
        return;
    }
    // Nobody listens any more when the program is on its way out.
    let _ = events.send(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_nobody_reads_are_bounded_and_the_end_is_still_told() {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let id = SessionId(1);
        for _ in 0..100_000 {
            report(&sender, MediaEvent::Digit { id, digit: '1', duration_ms: 40 });
        }
        report(&sender, MediaEvent::RtpTimeout { id });
        assert_eq!(receiver.len(), DIGITS_WAITING + 1);
        assert_eq!(receiver.iter().nth(DIGITS_WAITING), Some(MediaEvent::RtpTimeout { id }));
    }
}
