//! Assignment of planted faults to calls, by a seed.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// A party of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Caller,
    Callee,
}

/// The fault of a call. A side is the party whose received audio is affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The callers of two calls hear each other's callees.
    Crossed { with: u64 },
    /// Each caller is connected to the other one's callee, both ways.
    Swapped { with: u64 },
    /// One party hears nothing.
    OneWay { deaf: Side },
    /// 80 ms of additional delay, both ways.
    Late,
    /// No ACK reaches the callee.
    NoAck,
    /// One party hears audio from that earlier call, which is over.
    Stale { of: u64, to: Side },
    /// The route loses packets.
    Loss,
}

/// Prefixes of dialled numbers, and their shares of ten calls.
pub const ROUTES: [(&str, u32); 4] = [("20", 3), ("30", 3), ("40", 3), ("70", 1)];
/// The route that loses packets.
pub const LOSSY: &str = "70";

/// The calls of a load and their faults.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Numbers dialled by the calls, in order: route and call number.
    pub dialled: Vec<String>,
    /// By call number, starting at 1.
    pub faults: BTreeMap<u64, Fault>,
    /// Calls whose audio is replayed in others.
    pub recorded: BTreeSet<u64>,
}

impl Plan {
    /// Plans `calls` calls. `apart`: a call is over before this many more have begun. `echo`: there is no
    /// callee.
    pub fn new(seed: u64, calls: u64, apart: u64, echo: bool) -> Plan {
        let mut chance = StdRng::seed_from_u64(seed);
        let dialled = (1..=calls).map(|n| format!("{}{n:05}", route(&mut chance))).collect();
        let mut plan = Plan { dialled, faults: BTreeMap::new(), recorded: BTreeSet::new() };
        for n in (1..=calls).filter(|n| plan.is_lossy(*n)).collect::<Vec<_>>() {
            plan.faults.insert(n, Fault::Loss);
        }
        let mut order: Vec<u64> = (1..=calls).collect();
        order.shuffle(&mut chance);
        let (few, hundredth) = ((calls / 500).max(1), (calls / 100).max(2));
        plan.pair(&order, |with| Fault::Crossed { with });
        if !echo {
            plan.pair(&order, |with| Fault::Swapped { with });
            plan.plant(&order, few, |_, _| Some(Fault::NoAck));
        }
        let side = |n: u64| if n.is_multiple_of(2) || echo { Side::Caller } else { Side::Callee };
        plan.plant(&order, few.max(2), |plan, n| {
            let of = (1..n.saturating_sub(apart)).find(|of| plan.is_free(*of))?;
            plan.recorded.insert(of);
            Some(Fault::Stale { of, to: side(plan.recorded.len() as u64) })
        });
        plan.plant(&order, hundredth, |_, n| Some(Fault::OneWay { deaf: side(n) }));
        plan.plant(&order, calls / 10, |_, _| Some(Fault::Late));
        plan
    }

    /// The same calls without faults.
    pub fn without_faults(mut self) -> Plan {
        self.faults.clear();
        self.recorded.clear();
        self
    }

    fn is_lossy(&self, n: u64) -> bool {
        self.dialled.get(n as usize - 1).is_some_and(|number| number.starts_with(LOSSY))
    }

    /// Whether there is such a call, and nothing is planned for it.
    fn is_free(&self, n: u64) -> bool {
        (1..=self.dialled.len() as u64).contains(&n)
            && !self.faults.contains_key(&n)
            && !self.recorded.contains(&n)
    }

    /// Plants a fault in up to `count` free calls that meet its conditions.
    fn plant(&mut self, order: &[u64], count: u64, mut fault: impl FnMut(&mut Plan, u64) -> Option<Fault>) {
        let mut planted = 0;
        for n in order {
            if planted < count
                && self.is_free(*n)
                && let Some(fault) = fault(self, *n)
            {
                self.faults.insert(*n, fault);
                planted += 1;
            }
        }
        assert_eq!(planted, count, "no room for all faults; more calls are needed");
    }

    /// Plants a fault in two consecutive calls.
    fn pair(&mut self, order: &[u64], fault: impl Fn(u64) -> Fault) {
        let two = order.iter().find(|n| self.is_free(**n) && self.is_free(**n + 1));
        let n = *two.expect("no room for all faults; more calls are needed");
        self.faults.insert(n, fault(n + 1));
        self.faults.insert(n + 1, fault(n));
    }
}

fn route(chance: &mut StdRng) -> &'static str {
    let mut at = chance.random_range(0..10);
    for (route, share) in ROUTES {
        if at < share {
            return route;
        }
        at -= share;
    }
    LOSSY
}
