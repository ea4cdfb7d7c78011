//! Which fault is planted into which call, by a seed.

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

/// What is wrong with a call. The side is the one whose ears it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Callers hear each other's callees.
    Crossed { with: u64 },
    /// Each talks to the other one's callee, both ways.
    Swapped { with: u64 },
    /// One of them hears nothing.
    OneWay { deaf: Side },
    /// 80 ms more, both ways.
    Late,
    /// No ACK reaches the callee.
    NoAck,
    /// One of them hears what was said in that call, which is over.
    Stale { of: u64, to: Side },
    /// The route loses packets.
    Loss,
}

/// Beginnings of the numbers that are dialled, and how many of ten calls go there.
pub const ROUTES: [(&str, u32); 4] = [("20", 3), ("30", 3), ("40", 3), ("70", 1)];
/// The one that loses packets.
pub const LOSSY: &str = "70";

/// How a load goes and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What each call dials, from the first on: its route, and the number of the call.
    pub dialled: Vec<String>,
    /// By number of the call, from 1 on.
    pub faults: BTreeMap<u64, Fault>,
    /// Calls whose sound is heard again.
    pub recorded: BTreeSet<u64>,
}

impl Plan {
    /// So many calls. `apart`: a call is over before so many more have begun. `echo`: there is no callee.
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

    /// The same calls, and nothing wrong with them.
    pub fn without_faults(mut self) -> Plan {
        self.faults.clear();
        self.recorded.clear();
        self
    }

    fn is_lossy(&self, n: u64) -> bool {
        self.dialled.get(n as usize - 1).is_some_and(|number| number.starts_with(LOSSY))
    }

    /// There is such a call, and nothing is planned for it.
    fn is_free(&self, n: u64) -> bool {
        (1..=self.dialled.len() as u64).contains(&n)
            && !self.faults.contains_key(&n)
            && !self.recorded.contains(&n)
    }

    /// A fault in so many calls that are free, where it finds what it needs.
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

    /// A fault in two calls that follow each other.
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
