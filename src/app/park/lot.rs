//! The occupied slots of a lot.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::caller::Caller;
use b2b_call::{CallId, LegId};

/// A parked caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub call: CallId,
    pub leg: LegId,
    /// The parking party, if it is known.
    pub by: Option<String>,
    /// Whom the slot counts for.
    pub who: Caller,
}

/// The reason why a caller cannot be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSlot {
    /// Every slot is occupied, or the requested one is, or who parks has its share of them.
    Taken,
    /// The number is not a slot of this lot.
    Unknown,
}

/// The occupied slots.
#[derive(Debug, Default)]
pub struct Lot(BTreeMap<u32, Parked>);

impl Lot {
    /// Parks a caller in `wanted`, or in the first free slot; returns the slot number.
    ///
    /// # Errors
    /// No slot is available.
    pub fn park(
        &mut self,
        slots: &RangeInclusive<u32>,
        wanted: Option<u32>,
        parked: Parked,
    ) -> Result<u32, NoSlot> {
        let most = slots.end().saturating_sub(*slots.start()) as usize + 1;
        let own = self.0.values().filter(|it| it.who == parked.who).count();
        if !parked.who.may_have(most, self.0.len(), own) {
            return Err(NoSlot::Taken);
        }
        let slot = match wanted {
            Some(slot) if !slots.contains(&slot) => return Err(NoSlot::Unknown),
            Some(slot) if self.0.contains_key(&slot) => return Err(NoSlot::Taken),
            Some(slot) => slot,
            None => slots.clone().find(|slot| !self.0.contains_key(slot)).ok_or(NoSlot::Taken)?,
        };
        self.0.insert(slot, parked);
        Ok(slot)
    }

    /// Removes the caller from a slot.
    pub fn take(&mut self, slot: u32) -> Option<Parked> {
        self.0.remove(&slot)
    }

    /// Frees the slot if this leg still occupies it; returns whether it did.
    pub fn leave(&mut self, slot: u32, leg: LegId) -> bool {
        let has = self.0.get(&slot).is_some_and(|parked| parked.leg == leg);
        if has {
            self.0.remove(&slot);
        }
        has
    }

    /// The parked callers by slot.
    pub fn taken(&self) -> impl Iterator<Item = (u32, &Parked)> {
        self.0.iter().map(|(slot, parked)| (*slot, parked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(n: u64) -> Parked {
        Parked { call: CallId(n), leg: LegId(n), by: None, who: Caller::User("1001".to_owned()) }
    }

    #[test]
    fn who_parks_many_callers_leaves_slots_to_others() {
        let (mut lot, slots) = (Lot::default(), 701..=708);
        assert_eq!((1..=8).filter(|n| lot.park(&slots, None, parked(*n)).is_ok()).count(), 7);
        assert_eq!(lot.park(&slots, Some(708), parked(9)), Err(NoSlot::Taken), "nor one that it names");
        let other = Parked { who: Caller::User("1002".to_owned()), ..parked(9) };
        assert_eq!(lot.park(&slots, None, other), Ok(708));
    }

    #[test]
    fn a_slot_holds_one_and_the_first_free_one_is_taken() {
        let (mut lot, slots) = (Lot::default(), 701..=703);
        assert_eq!(lot.park(&slots, None, parked(1)), Ok(701));
        assert_eq!(lot.park(&slots, Some(702), parked(2)), Ok(702));
        assert_eq!(lot.park(&slots, Some(702), parked(3)), Err(NoSlot::Taken));
        assert_eq!(lot.park(&slots, Some(704), parked(3)), Err(NoSlot::Unknown));
        assert_eq!(lot.park(&slots, None, parked(3)), Ok(703));
        assert_eq!(lot.park(&slots, None, parked(4)), Err(NoSlot::Taken));
        assert_eq!(lot.take(702), Some(parked(2)));
        assert_eq!(lot.take(702), None);
        assert!(!lot.leave(701, LegId(9)) && lot.leave(701, LegId(1)) && !lot.leave(701, LegId(1)));
        assert_eq!(lot.park(&slots, None, parked(4)), Ok(701));
    }
}
