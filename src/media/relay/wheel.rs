//! Schedules what is served every 20 ms over phases 1 ms apart, so that a thread reads its sockets
//! between two batches.

use crate::stage::TICK_NS;

const PHASES: usize = 20;
const STEP_NS: u64 = TICK_NS / PHASES as u64;
/// A batch that is further behind than this skips the missed ticks.
const BEHIND_NS: u64 = 200_000_000;

/// The schedule; see the module documentation. Members are identified by numbers.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    lots: [Lot; PHASES],
}

#[derive(Debug, Default)]
struct Lot {
    /// The next tick, ns; it determines the phase.
    due: u64,
    members: Vec<u32>,
}

impl Wheel {
    /// Adds a member to the phase with the fewest; it is served within 20 ms. Returns the phase.
    pub fn add(&mut self, at: u64, member: u32) -> u8 {
        let fewest = self.lots.iter().enumerate().min_by_key(|(_, lot)| lot.members.len());
        let phase = fewest.map_or(0, |(phase, _)| phase);
        let lot = &mut self.lots[phase];
        if lot.members.is_empty() {
            lot.due = next(at, phase);
        }
        lot.members.push(member);
        phase as u8
    }

    /// Removes a member from its phase.
    pub fn remove(&mut self, phase: u8, member: u32) {
        if let Some(lot) = self.lots.get_mut(usize::from(phase)) {
            lot.members.retain(|known| *known != member);
        }
    }

    /// When the next batch is due.
    pub fn next(&self) -> Option<u64> {
        self.lots.iter().filter(|lot| !lot.members.is_empty()).map(|lot| lot.due).min()
    }

    /// A batch that is due: its phase, its due time, and its members, to be given back.
    pub fn take(&mut self, at: u64) -> Option<(u8, u64, Vec<u32>)> {
        let late = |lot: &Lot| !lot.members.is_empty() && lot.due <= at;
        let due = self.lots.iter().enumerate().filter(|(_, lot)| late(lot));
        let phase = due.min_by_key(|(_, lot)| lot.due)?.0;
        let lot = &mut self.lots[phase];
        let since = lot.due;
        lot.due += TICK_NS;
        if at.saturating_sub(lot.due) > BEHIND_NS {
            lot.due = next(at, phase);
        }
        Some((phase as u8, since, std::mem::take(&mut lot.members)))
    }

    /// Gives back the members that stay.
    pub fn put(&mut self, phase: u8, members: Vec<u32>) {
        if let Some(lot) = self.lots.get_mut(usize::from(phase)) {
            lot.members = members;
        }
    }
}

/// The next time of a phase after `at`.
fn next(at: u64, phase: usize) -> u64 {
    let offset = phase as u64 * STEP_NS;
    (at + TICK_NS - offset) / TICK_NS * TICK_NS + offset
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn each_is_ticked_every_20_ms_and_they_are_spread() {
        let mut wheel = Wheel::default();
        let phases: Vec<u8> = (0..40).map(|member| wheel.add(7 * MS, member)).collect();
        assert!((0..20).all(|phase| phases.iter().filter(|known| **known == phase).count() == 2));
        let mut ticked = vec![Vec::new(); 40];
        let mut at = 7 * MS;
        while at < 107 * MS {
            at = wheel.next().unwrap();
            while let Some((phase, due, members)) = wheel.take(at) {
                assert_eq!(due, at);
                assert_eq!(due / MS % 20, u64::from(phase));
                members.iter().for_each(|member| ticked[*member as usize].push(due));
                wheel.put(phase, members);
            }
        }
        for due in ticked {
            assert!(due[0] > 7 * MS && due[0] <= 27 * MS, "soon");
            assert!(due.windows(2).all(|two| two[1] - two[0] == TICK_NS));
            assert!(due.len() >= 4);
        }
    }

    #[test]
    fn a_short_delay_is_made_up_for_and_a_long_one_is_not() {
        let ticks_after = |pause: u64| {
            let mut wheel = Wheel::default();
            wheel.add(0, 1);
            let at = wheel.next().unwrap() + pause;
            let mut count = 0;
            while let Some((phase, _, members)) = wheel.take(at) {
                count += 1;
                wheel.put(phase, members);
            }
            assert!(wheel.next().unwrap() > at);
            count
        };
        assert_eq!(ticks_after(0), 1);
        assert_eq!(ticks_after(100 * MS), 6);
        assert_eq!(ticks_after(3_600_000 * MS), 1);
    }

    #[test]
    fn who_is_taken_out_is_ticked_no_more() {
        let mut wheel = Wheel::default();
        let phase = wheel.add(0, 5);
        wheel.remove(phase, 5);
        assert_eq!(wheel.next(), None);
    }
}
