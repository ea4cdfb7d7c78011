//! Cost of SRTP: a packet of 160 octets of G.711 protected and unprotected in place, with every suite,
//! compared to a floor in the same run: the same packet copied out and back.
//!
//! `cargo bench --bench srtp [-- --quick]`. CPU time, medians of interleaved rounds. Exits with 1 if a packet
//! allocates; times are printed only.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use b2b::media::transport::protection::{Inbound, MasterKey, Outbound, RTP_OVERHEAD, Suite};
use nix::time::{ClockId, clock_gettime};

const HEADER: usize = 12;
const LEN: usize = HEADER + 160;

/// Both ends of one direction, and the packet between them.
struct Way {
    outbound: Outbound,
    inbound: Inbound,
    sequence: u16,
    plain: [u8; LEN],
    buffer: [u8; LEN + RTP_OVERHEAD],
}

impl Way {
    fn new(suite: Suite) -> Self {
        let key = MasterKey::generate(suite, |octets| octets.fill(0x5A));
        let mut plain = [0xD5; LEN];
        plain[..HEADER].copy_from_slice(&[0x80, 8, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        let (outbound, inbound) = (Outbound::new(&key), Inbound::new(&key));
        Way { outbound, inbound, sequence: 0, plain, buffer: [0; LEN + RTP_OVERHEAD] }
    }

    fn next(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        self.plain[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.buffer[..LEN].copy_from_slice(black_box(&self.plain));
    }

    /// The floor: copied out and back without a key.
    fn copy(&mut self) {
        self.buffer[..LEN].copy_from_slice(black_box(&self.plain));
        black_box(&mut self.plain).copy_from_slice(black_box(&self.buffer[..LEN]));
    }

    fn protect(&mut self) -> usize {
        self.next();
        self.outbound.rtp(black_box(&mut self.buffer), LEN).expect("a fresh number")
    }

    fn there_and_back(&mut self) {
        let len = self.protect();
        let len = self.inbound.rtp(black_box(&mut self.buffer[..len])).expect("the same key");
        assert_eq!(len, LEN);
    }

    /// Cost of a forged packet.
    fn forged(&mut self) {
        self.buffer[..LEN].copy_from_slice(black_box(&self.plain));
        self.buffer[2..4].copy_from_slice(&self.sequence.wrapping_add(1).to_be_bytes());
        assert!(self.inbound.rtp(black_box(&mut self.buffer)).is_err());
    }
}

/// CPU time of this thread, which excludes other programs.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock of Linux").into()
}

/// Nanoseconds of CPU per call of `work`, over `calls`.
fn nanoseconds(calls: u32, mut work: impl FnMut()) -> f64 {
    let start = cpu_time();
    for _ in 0..calls {
        work();
    }
    (cpu_time() - start).as_nanos() as f64 / f64::from(calls)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, calls) = if quick { (5, 10_000) } else { (21, 50_000) };
    let mut ways = Suite::ALL.map(Way::new);
    // Their packets never arrive: a receiver of both series would lose track of the rollover counter.
    let mut alone = Suite::ALL.map(Way::new);
    let mut times = Suite::ALL.map(|_| <[Vec<f64>; 4]>::default());
    for _ in 0..rounds {
        for ((way, alone), times) in ways.iter_mut().zip(&mut alone).zip(&mut times) {
            times[0].push(nanoseconds(calls, || way.copy()));
            times[1].push(nanoseconds(calls, || _ = alone.protect()));
            times[2].push(nanoseconds(calls, || way.there_and_back()));
            times[3].push(nanoseconds(calls, || way.forged()));
        }
    }
    println!("RTP of {LEN} octets, {rounds} rounds of {calls}; ns of CPU for a packet");
    println!(
        "{:<26}{:>8}{:>10}{:>18}{:>10}{:>10}{:>13}",
        "", "copy", "protect", "and unprotect", "x copy", "forged", "allocations"
    );
    let mut allocated = 0;
    for ((suite, way), times) in Suite::ALL.iter().zip(&mut ways).zip(times) {
        let [copy, protect, both, forged] = times.map(|mut rounds| median(&mut rounds));
        let allocations = allocation_counter::measure(|| (0..1_000).for_each(|_| way.there_and_back()));
        allocated += allocations.count_total;
        println!(
            "{:<26}{copy:>8.0}{protect:>10.0}{both:>18.0}{:>10.0}{forged:>10.0}{:>13}",
            suite.name(),
            both / copy,
            allocations.count_total
        );
    }
    if allocated > 0 {
        println!("a packet allocates");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
