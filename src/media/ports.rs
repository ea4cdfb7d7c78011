//! The pool of RTP ports: even ports with the odd RTCP port above (RFC 3550 §11), and a quarantine,
//! so that packets of an ended call do not arrive in the next one. The quarantine is shorter if
//! ports are scarce: a new call matters more, and it does not believe packets of other sources
//! anyway.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long a port rests after its call.
pub const QUARANTINE: Duration = Duration::from_secs(30);
/// The same if no other port is free: packets in flight arrive within this time.
const SHORTEST: Duration = Duration::from_secs(1);

/// Even ports, each free, taken or in quarantine. The caller binds the port that it takes, and
/// takes another if the system refuses.
#[derive(Debug)]
pub struct PortPool {
    /// Free ports, and some that have been claimed since.
    free: VecDeque<u16>,
    /// Whether the port with twice this number is free.
    is_free: Vec<bool>,
    /// How many are.
    count: usize,
    resting: VecDeque<(Instant, u16)>,
}

impl PortPool {
    /// A pool of the even ports in `range` whose odd neighbour is in it too. The first port is
    /// `start` pairs into the range, and each further one a distinctive step away: programs that
    /// share a range rarely collide, and ports that another program holds, in a block or by the
    /// same rule, are met in proportion to their number, not try after try.
    pub fn new(range: RangeInclusive<u16>, start: usize) -> Self {
        let end = *range.end();
        let even: Vec<u16> =
            range.filter(|port| port.is_multiple_of(2) && *port != 0 && *port < end).collect();
        let count = even.len();
        let step = stride(count, start);
        let all = 1 << (u16::BITS - 1);
        let mut pool =
            PortPool { free: VecDeque::new(), is_free: vec![false; all], count: 0, resting: VecDeque::new() };
        (0..count).for_each(|n| pool.release(even[(start % count + n * step) % count]));
        pool
    }

    fn release(&mut self, port: u16) {
        self.free.push_back(port);
        self.is_free[usize::from(port / 2)] = true;
        self.count += 1;
    }

    /// Whether this port was free until now.
    fn claim_free(&mut self, port: u16) -> bool {
        let was_free = std::mem::take(&mut self.is_free[usize::from(port / 2)]);
        self.count -= usize::from(was_free);
        was_free
    }

    /// Takes the port that has been free for longest, or failing that in quarantine for longest;
    /// `None` if every port is taken or has been until a moment ago.
    pub fn take(&mut self, now: Instant) -> Option<u16> {
        self.rested(now);
        while let Some(port) = self.free.pop_front() {
            if self.claim_free(port) {
                return Some(port);
            }
        }
        self.rested_for(now, SHORTEST)
    }

    fn rested(&mut self, now: Instant) {
        while let Some(port) = self.rested_for(now, QUARANTINE) {
            self.release(port);
        }
    }

    /// The port in quarantine for longest, if for at least `least`.
    fn rested_for(&mut self, now: Instant, least: Duration) -> Option<u16> {
        let &(since, port) = self.resting.front()?;
        if now.saturating_duration_since(since) < least {
            return None;
        }
        self.resting.pop_front();
        Some(port)
    }

    /// The numbers of free ports and of ports in quarantine.
    pub fn count(&mut self, now: Instant) -> (usize, usize) {
        self.rested(now);
        (self.count, self.resting.len())
    }

    /// Takes this port; `false` if it is taken, or none of the pool.
    pub fn claim(&mut self, port: u16) -> bool {
        if port.is_multiple_of(2) && self.claim_free(port) {
            return true;
        }
        let all = self.resting.len();
        self.resting.retain(|(_, resting)| *resting != port);
        self.resting.len() < all
    }

    /// Gives back a port that carried a call.
    pub fn give_back(&mut self, now: Instant, port: u16) {
        self.resting.push_back((now, port));
    }

    /// Gives back a port that another program holds; it is tried last.
    pub fn refused(&mut self, port: u16) {
        self.release(port);
    }

    /// Number of free ports, without those whose quarantine has ended since the last call.
    pub fn free(&self) -> usize {
        self.count
    }
}

/// A step that visits each of `count` positions once and neighbours far apart: near the golden
/// section and coprime to `count`. Different starts get different steps.
fn stride(count: usize, start: usize) -> usize {
    let divides = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let own = start % (count / 64).max(1);
    (count * 618 / 1_000 + own..).find(|step| *step > 0 && divides(count, *step) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn who_begins_within_the_ports_of_another_soon_finds_free_ones() {
        let now = Instant::now();
        let first = |start: usize| {
            let mut pool = PortPool::new(16_384..=32_767, start);
            (0..64).map(|_| pool.take(now).unwrap()).collect::<Vec<_>>()
        };
        for start in [0, 1, 100, 5_000, 60_000] {
            let held = first(start);
            let second = usize::from(held[1] - 16_384) / 2;
            let met = first(second).iter().filter(|port| held.contains(port)).count();
            assert!((1..16).contains(&met), "{met} of 64, from {start}");
        }
    }

    #[test]
    fn gives_even_ports_with_room_for_rtcp() {
        let mut pool = PortPool::new(20_001..=20_006, 0);
        let now = Instant::now();
        assert_eq!(pool.take(now), Some(20_002));
        assert_eq!(pool.take(now), Some(20_004));
        assert_eq!(pool.take(now), None, "20006 has no neighbour in the range");
    }

    #[test]
    fn a_port_is_claimed_once_and_only_if_it_is_free() {
        let mut pool = PortPool::new(20_000..=20_005, 0);
        let now = Instant::now();
        assert!(pool.claim(20_002) && !pool.claim(20_002) && !pool.claim(20_001) && !pool.claim(20_008));
        pool.give_back(now, 20_002);
        assert!(pool.claim(20_002), "it rests");
        assert_eq!([pool.take(now), pool.take(now), pool.take(now)].iter().flatten().count(), 2);
        pool.give_back(now, 20_002);
        assert_eq!(pool.count(now + QUARANTINE), (1, 0));
        assert_eq!([pool.take(now), pool.take(now)], [Some(20_002), None], "it is given once");
    }

    #[test]
    fn a_port_rests_after_its_call_while_another_is_free() {
        let mut pool = PortPool::new(20_000..=20_003, 0);
        let start = Instant::now();
        let (port, other) = (pool.take(start).unwrap(), pool.take(start).unwrap());
        pool.give_back(start, port);
        assert_eq!(pool.count(start), (0, 1));
        pool.refused(other);
        let later = start + QUARANTINE - Duration::from_millis(1);
        assert_eq!(pool.take(later), Some(other));
        assert_eq!(pool.count(start + QUARANTINE), (1, 0));
        assert_eq!(pool.take(start + QUARANTINE), Some(port));
    }

    /// An endless series of short calls, of one user or of many, takes no port that a call needs.
    #[test]
    fn where_no_port_is_free_the_one_that_rests_for_longest_is_taken() {
        let mut pool = PortPool::new(20_000..=20_003, 0);
        let start = Instant::now();
        let (first, second) = (pool.take(start).unwrap(), pool.take(start).unwrap());
        pool.give_back(start, first);
        pool.give_back(start + SHORTEST / 2, second);
        assert_eq!(pool.take(start + SHORTEST / 2), None, "its last packets may be on their way");
        assert_eq!(pool.take(start + SHORTEST), Some(first));
        assert_eq!(pool.take(start + SHORTEST), None);
        assert_eq!(pool.take(start + SHORTEST * 2), Some(second));
    }

    #[test]
    fn a_refused_port_is_tried_last() {
        let mut pool = PortPool::new(20_000..=20_005, 1);
        let now = Instant::now();
        let first = pool.take(now).unwrap();
        assert_eq!(first, 20_002, "the start is an offset into the range");
        pool.refused(first);
        let others = [pool.take(now), pool.take(now)];
        assert_eq!(others.into_iter().collect::<HashSet<_>>(), [Some(20_000), Some(20_004)].into());
        assert_eq!(pool.take(now), Some(first));
    }

    #[test]
    fn every_pair_is_given_once_whatever_the_range() {
        let now = Instant::now();
        for count in 0..300u16 {
            let mut pool = PortPool::new(20_000..=20_000 + count, usize::from(count) * 7);
            let given: Vec<u16> = std::iter::from_fn(|| pool.take(now)).collect();
            let distinct: HashSet<u16> = given.iter().copied().collect();
            assert_eq!((given.len(), distinct.len()), (usize::from(count).div_ceil(2), given.len()));
        }
    }

    /// Other programs bind their ports in a row (a benchmark had 800 pairs); the search for a free
    /// one must be bounded.
    #[test]
    fn a_block_that_another_program_holds_does_not_hide_what_is_free() {
        let now = Instant::now();
        let held = 20_000..24_000;
        for start in (0..8_192).step_by(61) {
            let mut pool = PortPool::new(16_384..=32_767, start);
            let tries = std::iter::from_fn(|| pool.take(now)).position(|port| !held.contains(&port));
            assert!(tries.is_some_and(|tries| tries < 8), "{tries:?} in vain from {start}");
        }
    }
}
