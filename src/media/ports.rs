//! The pool of RTP ports: even ports with their odd RTCP neighbour (RFC 3550
//! §11), and a quarantine, so that packets of a call that has ended do not
//! arrive in the next one.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long a port rests after its call.
pub const QUARANTINE: Duration = Duration::from_secs(30);

/// Even ports, each free, taken or in quarantine. The caller binds what it
/// takes, and takes another when the system refuses.
#[derive(Debug)]
pub struct PortPool {
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
}

impl PortPool {
    /// A pool of the even ports in `range` whose odd neighbour is in it too. The
    /// first one given is `start` pairs into the range, so that programs that
    /// share a range rarely meet.
    pub fn new(range: RangeInclusive<u16>, start: usize) -> Self {
        let end = *range.end();
        let mut free: VecDeque<u16> =
            range.filter(|port| port.is_multiple_of(2) && *port != 0 && *port < end).collect();
        if !free.is_empty() {
            let start = start % free.len();
            free.rotate_left(start);
        }
        PortPool { free, resting: VecDeque::new() }
    }

    /// Takes the even port that has been free for longest; `None` when every
    /// port is taken or resting.
    pub fn take(&mut self, now: Instant) -> Option<u16> {
        while let Some(&(since, port)) = self.resting.front() {
            if now.saturating_duration_since(since) < QUARANTINE {
                break;
            }
            self.resting.pop_front();
            self.free.push_back(port);
        }
        self.free.pop_front()
    }

    /// Gives back a port that carried a call.
    pub fn give_back(&mut self, now: Instant, port: u16) {
        self.resting.push_back((now, port));
    }

    /// Gives back a port that another program holds; it is tried last.
    pub fn refused(&mut self, port: u16) {
        self.free.push_back(port);
    }

    /// How many ports are neither taken nor resting for sure.
    pub fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_even_ports_with_room_for_rtcp() {
        let mut pool = PortPool::new(20_001..=20_006, 0);
        let now = Instant::now();
        assert_eq!(pool.take(now), Some(20_002));
        assert_eq!(pool.take(now), Some(20_004));
        assert_eq!(pool.take(now), None, "20006 has no neighbour in the range");
    }

    #[test]
    fn a_port_rests_after_its_call() {
        let mut pool = PortPool::new(20_000..=20_001, 5);
        let start = Instant::now();
        let port = pool.take(start).unwrap();
        pool.give_back(start, port);
        assert_eq!(pool.take(start + QUARANTINE - Duration::from_millis(1)), None);
        assert_eq!(pool.take(start + QUARANTINE), Some(port));
    }

    #[test]
    fn a_refused_port_is_tried_last() {
        let mut pool = PortPool::new(20_000..=20_005, 1);
        let now = Instant::now();
        let first = pool.take(now).unwrap();
        assert_eq!(first, 20_002, "the start is an offset into the range");
        pool.refused(first);
        assert_eq!([pool.take(now), pool.take(now)], [Some(20_004), Some(20_000)]);
        assert_eq!(pool.take(now), Some(first));
    }
}
