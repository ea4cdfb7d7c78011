//! Direct media as a table: the parties send RTP to each other, and b2b leaves the media path. This follows
//! RFC 3725, but uses the session descriptions that b2b already has, so no party is asked for a new offer.
//! Pure.
//!
//! The last address offered to a party is either b2b's or the other party's. One re-INVITE at a time leads
//! both parties to the wanted state:
//!
//! | told (a, b) \ wanted | direct | relayed |
//! |---|---|---|
//! | b2b, b2b | tell b | – |
//! | b2b, other | tell a | take b back |
//! | other, b2b | tell b | take a back |
//! | other, other | – | take a back |
//!
//! Between two steps media flows in both directions: a party that was told already sends past b2b; the other
//! one sends to b2b, which relays.

/// One of the two parties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    A,
    B,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Both parties are in the wanted state.
    Nothing,
    /// Offer the other party's address to this one.
    Tell(Party),
    /// Offer b2b's address to this party.
    TakeBack(Party),
}

/// The next step. `told`: whether a and b were each offered the other party's address.
pub fn step(told: [bool; 2], wanted: bool) -> Step {
    match (told, wanted) {
        ([false, false], false) | ([true, true], true) => Step::Nothing,
        ([_, false], true) => Step::Tell(Party::B),
        ([false, true], true) => Step::Tell(Party::A),
        ([true, _], false) => Step::TakeBack(Party::A),
        ([false, true], false) => Step::TakeBack(Party::B),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_everywhere_to_whatever_is_wanted_in_at_most_two_steps() {
        for start in [[false, false], [false, true], [true, false], [true, true]] {
            for wanted in [false, true] {
                let mut told = start;
                let mut steps = 0;
                loop {
                    let (party, now) = match step(told, wanted) {
                        Step::Nothing => break,
                        Step::Tell(party) => (party, true),
                        Step::TakeBack(party) => (party, false),
                    };
                    let it = if party == Party::A { &mut told[0] } else { &mut told[1] };
                    assert_ne!(*it, now, "told what it knows: {start:?}, {wanted}");
                    (*it, steps) = (now, steps + 1);
                }
                assert_eq!(told, [wanted, wanted]);
                assert!(steps <= 2);
            }
        }
    }
}
