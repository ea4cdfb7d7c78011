//! The kinds of callers and callees of a load: their steps, and the assignment of calls to kinds.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::pace::Pace;
use super::party::asks_for_headers;
use super::users::Users;
use b2b_config::step::Step;

/// Callers with the same steps.
#[derive(Debug, Clone)]
pub struct CallerKind {
    /// The name in figures; empty if it is the only kind, without figures of its own.
    pub name: String,
    /// The weight of this kind among the calls.
    pub share: f64,
    /// Whether the weight is the number of its calls that are still to be made.
    pub counted: bool,
    /// The steps of each caller.
    pub steps: Arc<[Step]>,
    /// Its users, in turn; `None` for anonymous calls.
    pub users: Option<Users>,
}

/// The callers of a load.
#[derive(Debug, Clone)]
pub struct Callers {
    /// At least one.
    pub kinds: Vec<CallerKind>,
    /// The schedule of all of them together.
    pub pace: Pace,
}

impl Callers {
    /// The index of the next call's kind.
    pub fn choose(&mut self, chance: &mut impl Rng) -> usize {
        let mut left = chance.random::<f64>() * self.kinds.iter().map(|kind| kind.share).sum::<f64>();
        let found = self.kinds.iter().position(|kind| {
            left -= kind.share;
            left < 0.0
        });
        let found = found.unwrap_or_default();
        for kind in self.kinds.get_mut(found).into_iter().filter(|kind| kind.counted) {
            kind.share = (kind.share - 1.0).max(0.0);
        }
        found
    }

    /// Whether all counted calls have begun.
    pub fn have_begun(&self) -> bool {
        self.kinds.iter().all(|kind| kind.counted && kind.share == 0.0)
    }

    /// Whether steps check the header fields of an answer.
    pub fn ask_for_headers(&self) -> bool {
        self.kinds.iter().any(|kind| asks_for_headers(&kind.steps))
    }
}

/// Callees with the same steps.
#[derive(Debug, Clone)]
pub struct CalleeKind {
    /// The name in figures; empty if it is the only kind, without figures of its own.
    pub name: String,
    /// The numbers in To that select it; a trailing `*` matches anything. Empty: all that no other kind
    /// matches.
    pub called: Vec<String>,
    /// The steps of each callee.
    pub steps: Arc<[Step]>,
    /// How many calls of this kind somebody is asked for, through [`LoadConfig::asks`].
    ///
    /// [`LoadConfig::asks`]: super::config::LoadConfig::asks
    pub calls: u32,
}

/// The index of the kind for a call to this number: the one with the most specific pattern.
pub fn callee_of(kinds: &[CalleeKind], number: &str) -> Option<usize> {
    let fits = |pattern: &String| match pattern.strip_suffix('*') {
        Some(begin) if number.starts_with(begin) => Some(begin.len()),
        None if pattern == number => Some(usize::MAX),
        _ => None,
    };
    let how_well = |kind: &CalleeKind| match kind.called.is_empty() {
        true => Some(0),
        // a matching pattern goes before a kind without patterns
        false => kind.called.iter().filter_map(fits).max().map(|length| length.saturating_add(1)),
    };
    let known = kinds.iter().enumerate().filter_map(|(n, kind)| Some((how_well(kind)?, n)));
    // of two equally specific kinds the first
    known.max_by_key(|(well, n)| (*well, std::cmp::Reverse(*n))).map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn callees(called: &[&[&str]]) -> Vec<CalleeKind> {
        let kind = |called: &&[&str]| CalleeKind {
            name: String::new(),
            called: called.iter().map(|it| (*it).to_owned()).collect(),
            steps: Arc::from([]),
            calls: 0,
        };
        called.iter().map(kind).collect()
    }

    #[test]
    fn a_call_is_for_the_kind_that_says_most_of_its_number() {
        let kinds = callees(&[&["4*"], &[], &["41*", "7"], &["4100"]]);
        for (number, kind) in [("4200", 0), ("9", 1), ("7", 2), ("4199", 2), ("4100", 3), ("", 1)] {
            assert_eq!(callee_of(&kinds, number), Some(kind), "{number}");
        }
        assert_eq!(callee_of(&callees(&[&["4*"]]), "5"), None);
    }

    #[test]
    fn calls_are_of_kinds_by_their_shares() {
        let kind = |share, counted| CallerKind {
            name: String::new(),
            share,
            counted,
            steps: Arc::from([]),
            users: None,
        };
        let of = |shares: [f64; 3], counted| Callers {
            kinds: shares.map(|share| kind(share, counted)).into(),
            pace: Pace::new(vec![], None, None),
        };
        let mut callers = of([1.0, 0.0, 3.0], false);
        let mut chance = StdRng::seed_from_u64(1);
        let mut found = [0; 3];
        (0..4_000).for_each(|_| found[callers.choose(&mut chance)] += 1);
        assert!((900..1_100).contains(&found[0]) && found[1] == 0, "{found:?}");
        let mut callers = of([20.0, 1.0, 9.0], true);
        let mut found = [0; 3];
        (0..30).for_each(|_| found[callers.choose(&mut chance)] += 1);
        assert_eq!(found, [20, 1, 9]);
    }
}
