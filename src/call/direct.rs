//! Direct media as a table: the parties send to each other, and b2b leaves the path of
//! RTP (after RFC 3725; with the descriptions that b2b has, so that nobody is asked for an
//! offer). Pure.
//!
//! What a party was told last is either b2b's address or the other party's. One
//! re-INVITE at a time brings both to what is wanted:
//!
//! | told (a, b) \ wanted | direct | relayed |
//! |---|---|---|
//! | b2b, b2b | tell b | – |
//! | b2b, other | tell a | take b back |
//! | other, b2b | tell b | take a back |
//! | other, other | – | take a back |
//!
//! Between two steps both directions still flow: who was told already sends past b2b, who
//! was not sends to b2b, which relays.

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    A,
    B,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Everything is as it is wanted.
    Nothing,
    /// Offer the other one's address to this one.
    Tell(Party),
    /// Offer b2b's address to this one.
    TakeBack(Party),
}

/// The next step. `told`: whether a, and b, were told the other one's address.
pub fn step(told: (bool, bool), wanted: bool) -> Step {
    match (told, wanted) {
        ((false, false), false) | ((true, true), true) => Step::Nothing,
        ((_, false), true) => Step::Tell(Party::B),
        ((false, true), true) => Step::Tell(Party::A),
        ((true, _), false) => Step::TakeBack(Party::A),
        ((false, true), false) => Step::TakeBack(Party::B),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_everywhere_to_whatever_is_wanted_in_at_most_two_steps() {
        for start in [(false, false), (false, true), (true, false), (true, true)] {
            for wanted in [false, true] {
                let mut told = start;
                let mut steps = 0;
                loop {
                    let (party, now) = match step(told, wanted) {
                        Step::Nothing => break,
                        Step::Tell(party) => (party, true),
                        Step::TakeBack(party) => (party, false),
                    };
                    let it = if party == Party::A { &mut told.0 } else { &mut told.1 };
                    assert_ne!(*it, now, "told what it knows: {start:?}, {wanted}");
                    (*it, steps) = (now, steps + 1);
                }
                assert_eq!(told, (wanted, wanted));
                assert!(steps <= 2);
            }
        }
    }
}
