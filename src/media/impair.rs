//! The lab's network impairer on received RTP, as a machine in virtual time:
//! seeded loss, uniform delay, reordering and duplicates.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use b2b_base::impairment::ImpairConfig;

/// Maximum octets of a packet that can be held back; longer ones are lost.
pub const MAX_PACKET: usize = 1_500;
/// Maximum packets held back, with their copies; further ones are lost.
const SLOTS: usize = 128;
/// Maximum time that a packet waits to be overtaken.
const REORDER_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Held<T> {
    release: Instant,
    /// Position in the schedule, to break ties.
    order: u64,
    len: usize,
    tag: T,
    /// Waits for the next packet to overtake it.
    overtaken: bool,
    /// Index of its octets in `storage`.
    slot: usize,
}

/// Impairs packets. The tag `T`, such as the packet's source, travels with each.
#[derive(Debug)]
pub struct Impairer<T> {
    config: ImpairConfig,
    rng: StdRng,
    held: Vec<Held<T>>,
    storage: Box<[[u8; MAX_PACKET]]>,
    free: Vec<usize>,
    order: u64,
}

impl<T: Copy> Impairer<T> {
    /// Allocates all memory.
    pub fn new(config: ImpairConfig) -> Self {
        Impairer {
            config,
            rng: StdRng::seed_from_u64(config.seed),
            held: Vec::with_capacity(SLOTS),
            storage: vec![[0; MAX_PACKET]; SLOTS].into_boxed_slice(),
            free: (0..SLOTS).collect(),
            order: 0,
        }
    }

    /// Takes a packet that arrived at `arrival`; returns `false` if it is lost. Packets come back
    /// from [`Impairer::release`].
    pub fn offer(&mut self, arrival: Instant, tag: T, data: &[u8]) -> bool {
        // Every packet draws the same random numbers whatever its fate, so that one setting does
        // not change which packets another one hits.
        let mut hit = |percent: f64| self.rng.random::<f64>() * 100.0 < percent;
        let lost = hit(self.config.loss_pct);
        let reorder = hit(self.config.reorder_pct);
        let doubled = hit(self.config.dup_pct);
        let delay = Duration::from_secs_f64(self.config.jitter_ms.max(0.0) / 1_000.0);
        let delay = delay.mul_f64(self.rng.random());
        if lost || data.len() > MAX_PACKET || self.free.is_empty() {
            return false;
        }
        let release = arrival + delay;
        if reorder {
            self.hold(release + REORDER_WAIT, true, tag, data);
        } else {
            self.hold(release, false, tag, data);
            // Packets that waited to be overtaken follow right behind this one.
            for held in self.held.iter_mut().filter(|held| held.overtaken) {
                held.overtaken = false;
                held.release = release;
                held.order = self.order;
                self.order += 1;
            }
        }
        if doubled {
            self.hold(release, false, tag, data);
        }
        true
    }

    fn hold(&mut self, release: Instant, overtaken: bool, tag: T, data: &[u8]) {
        let Some(slot) = self.free.pop() else { return };
        self.storage[slot][..data.len()].copy_from_slice(data);
        self.held.push(Held { release, order: self.order, len: data.len(), tag, overtaken, slot });
        self.order += 1;
    }

    /// Hands the next packet that is due to `take`, with its new arrival time; `None` if there is
    /// none.
    pub fn release<R>(&mut self, now: Instant, take: impl FnOnce(Instant, T, &[u8]) -> R) -> Option<R> {
        let due = self.held.iter().enumerate().filter(|(_, held)| held.release <= now);
        let (index, _) = due.min_by_key(|(_, held)| (held.release, held.order))?;
        let held = self.held.swap_remove(index);
        let result = take(held.release, held.tag, &self.storage[held.slot][..held.len]);
        self.free.push(held.slot);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: ImpairConfig =
        ImpairConfig { loss_pct: 0.0, jitter_ms: 0.0, reorder_pct: 0.0, dup_pct: 0.0, seed: 7 };

    struct Run {
        lost: u32,
        /// Number and delay in ms, in order of release.
        out: Vec<(u32, f64)>,
    }

    fn run(config: ImpairConfig, packets: u32) -> Run {
        let start = Instant::now();
        let at = |n: u32| start + Duration::from_millis(20) * n;
        let mut impairer = Impairer::new(config);
        let mut run = Run { lost: 0, out: Vec::new() };
        for n in 0..packets + 60 {
            if n < packets && !impairer.offer(at(n), n, &n.to_be_bytes()) {
                run.lost += 1;
            }
            while let Some(item) = impairer.release(at(n), |arrival, number, data| {
                assert_eq!(data, number.to_be_bytes());
                (number, arrival.duration_since(at(number)).as_secs_f64() * 1_000.0)
            }) {
                run.out.push(item);
            }
        }
        assert!(impairer.held.is_empty());
        assert_eq!(impairer.free.len(), SLOTS);
        run
    }

    #[test]
    fn does_nothing_when_off() {
        let run = run(OFF, 1_000);
        assert_eq!(run.lost, 0);
        assert!(run.out.iter().enumerate().all(|(n, &item)| item == (n as u32, 0.0)));
    }

    #[test]
    fn long_run_rates_are_what_was_asked_for() {
        const N: u32 = 100_000;
        let all = ImpairConfig { loss_pct: 5.0, jitter_ms: 20.0, reorder_pct: 2.0, dup_pct: 1.0, seed: 7 };
        let near = |value: f64, wanted: f64| assert!((value / wanted - 1.0).abs() < 0.06, "{value} {wanted}");
        near(f64::from(run(ImpairConfig { loss_pct: 5.0, ..OFF }, N).lost), f64::from(N) * 0.05);
        let doubled = run(ImpairConfig { dup_pct: 1.0, ..OFF }, N).out.len() as f64 - f64::from(N);
        near(doubled, f64::from(N) * 0.01);

        let delays = run(ImpairConfig { jitter_ms: 20.0, ..OFF }, N).out;
        near(delays.iter().map(|(_, delay)| delay).sum::<f64>() / f64::from(N), 10.0);
        assert!(delays.iter().all(|(_, delay)| (0.0..=20.0).contains(delay)));

        let reordered = run(ImpairConfig { reorder_pct: 2.0, ..OFF }, N).out;
        assert_eq!(reordered.len() as u32, N);
        let behind = reordered.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        near(behind as f64, f64::from(N) * 0.02 * 0.98);

        let mixed = run(all, N);
        near(f64::from(mixed.lost), f64::from(N) * 0.05);
        let again = run(all, N);
        assert_eq!(mixed.out, again.out, "the same seed does the same");
        assert_ne!(mixed.out, run(ImpairConfig { seed: 8, ..all }, N).out);
    }

    #[test]
    fn the_last_packet_does_not_wait_for_ever() {
        let run = run(ImpairConfig { reorder_pct: 100.0, ..OFF }, 3);
        assert_eq!(run.out.len(), 3);
        assert!(run.out.iter().all(|&(_, delay)| delay == 100.0));
    }

    #[test]
    fn a_flood_is_lost_and_not_held() {
        let now = Instant::now();
        let mut impairer = Impairer::new(ImpairConfig { jitter_ms: 1_000.0, ..OFF });
        let held = (0..1_000).filter(|_| impairer.offer(now, (), b"x")).count();
        assert_eq!(held, SLOTS);
        assert!(!impairer.offer(now, (), &[0; MAX_PACKET + 1]));
    }
}
