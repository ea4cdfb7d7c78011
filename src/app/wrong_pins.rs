//! Counts wrong PINs over all calls: repeated guessing is delayed longer each time, on any number of lines.
//! Clones share the counts; no clock.
//!
//! Two counts apply: that of the protected object (a mailbox, a room), and that of the caller. For owners who
//! call from their own phones only the caller's count applies, so others cannot lock them out by guessing.
//!
//! | wrong PINs so far | the next one is checked |
//! |---|---|
//! | up to 4 | at once |
//! | 5, 6, 7 … | 1, 2, 4 … 60 s after the previous one |
//! | more than 8 s of the delay are left | not at all: it counts as wrong |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Number of wrong PINs without a delay.
const FREE: u32 = 5;
const LONGEST: Duration = Duration::from_secs(60);
/// Maximum time that a caller waits for the check.
const PATIENCE: Duration = Duration::from_secs(8);
/// Counts are forgotten after this time without a wrong PIN.
const KEPT: Duration = Duration::from_secs(86_400);
/// Maximum number of counts.
const MOST: usize = 4_096;

/// The counts of wrong PINs; see the module documentation.
#[derive(Debug, Clone, Default)]
pub struct WrongPins(Arc<Mutex<HashMap<Whose, Count>>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    /// The protected object.
    Place(String),
    Caller(String),
}

#[derive(Debug, Clone, Copy)]
struct Count {
    wrong: u32,
    /// The earliest time of the next check.
    next: Instant,
}

/// A PIN that was entered.
#[derive(Debug)]
pub struct Attempt {
    pins: WrongPins,
    whose: Vec<Whose>,
    /// The delay of the check; `None`: it is not checked.
    wait: Option<Duration>,
}

impl WrongPins {
    /// A PIN was entered for this place. It counts as wrong until [`Attempt::right`] is called.
    pub fn attempt(&self, now: Instant, place: &str, caller: &str, owner: bool) -> Attempt {
        let caller = Whose::Caller(caller.to_owned());
        let mut whose = if owner { vec![] } else { vec![Whose::Place(place.to_owned())] };
        whose.push(caller);
        let mut counts = self.counts();
        if counts.len() + whose.len() > MOST {
            counts.retain(|_, it| now < it.next + KEPT);
            // Under a flood of guesses callers share one count; places never do.
            if counts.len() + whose.len() > MOST {
                whose.retain(|it| matches!(it, Whose::Place(_)));
                whose.push(Whose::Caller(String::new()));
            }
        }
        let known = |whose: &Whose| counts.get(whose).filter(|it| now < it.next + KEPT).copied();
        let wait = whose.iter().filter_map(known).map(|it| it.next.saturating_duration_since(now)).max();
        let wait = Some(wait.unwrap_or_default()).filter(|wait| *wait <= PATIENCE);
        if let Some(wait) = wait {
            for one in &whose {
                let wrong = known_of(&counts, one, now) + 1;
                counts.insert(one.clone(), Count { wrong, next: now + wait + pause(wrong) });
            }
        }
        drop(counts);
        Attempt { pins: self.clone(), whose, wait }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Whose, Count>> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known_of(counts: &HashMap<Whose, Count>, whose: &Whose, now: Instant) -> u32 {
    counts.get(whose).filter(|it| now < it.next + KEPT).map_or(0, |it| it.wrong)
}

/// The delay after this number of wrong PINs.
fn pause(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1 << more.min(6)).min(LONGEST),
    }
}

impl Attempt {
    /// How long to wait before the check; `None`: it counts as wrong without a check.
    pub fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// The PIN was right: the attempt does not count.
    pub fn right(self) {
        if self.wait.is_none() {
            return;
        }
        let mut counts = self.pins.counts();
        for one in &self.whose {
            if let Some(count) = counts.get_mut(one) {
                count.wrong = count.wrong.saturating_sub(1);
                // Removes the delay that this attempt has added.
                count.next = count.next.checked_sub(pause(count.wrong + 1)).unwrap_or(count.next);
            }
            if counts.get(one).is_some_and(|it| it.wrong == 0) {
                counts.remove(one);
            }
        }
    }

    /// The PIN was wrong; returns the higher of the counts of the place and the caller.
    pub fn wrong(self) -> u32 {
        let counts = self.pins.counts();
        self.whose.iter().filter_map(|one| counts.get(one)).map(|it| it.wrong).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guesses for this time, each attempt on a separate line; returns how many were checked.
    fn guess(pins: &WrongPins, start: Instant, seconds: u64, caller: impl Fn(u64) -> String) -> u32 {
        let mut seen = 0;
        for tenth in 0..seconds * 10 {
            let now = start + Duration::from_millis(tenth * 100);
            let attempt = pins.attempt(now, "voicemail/1001", &caller(tenth), false);
            seen += u32::from(attempt.wait().is_some());
            attempt.wrong();
        }
        seen
    }

    #[test]
    fn who_guesses_on_many_lines_gets_one_a_minute() {
        let start = Instant::now();
        for caller in [|_| "mallory".to_owned(), |n: u64| format!("+49{n}")] as [fn(u64) -> String; 2] {
            let pins = WrongPins::default();
            assert!(guess(&pins, start, 60, caller) <= 12);
            assert!(guess(&pins, start + Duration::from_secs(60), 3_600, caller) <= 62);
        }
    }

    #[test]
    fn owners_at_their_own_phones_are_not_kept_out_by_who_guesses() {
        let (pins, start) = (WrongPins::default(), Instant::now());
        guess(&pins, start, 600, |_| "mallory".to_owned());
        let now = start + Duration::from_secs(600);
        assert_eq!(pins.attempt(now, "voicemail/1001", "stranger", false).wait(), None, "unseen");
        for _ in 0..100 {
            let own = pins.attempt(now, "voicemail/1001", "1001", true);
            assert_eq!(own.wait(), Some(Duration::ZERO));
            own.right();
        }
    }

    #[test]
    fn one_caller_is_counted_over_all_places_and_a_day_forgets() {
        let (pins, start) = (WrongPins::default(), Instant::now());
        let seen =
            (0..100).filter(|n| pins.attempt(start, &n.to_string(), "mallory", false).wait().is_some());
        assert!(seen.count() <= 10);
        let later = start + KEPT + LONGEST;
        assert_eq!(pins.attempt(later, "1", "mallory", false).wait(), Some(Duration::ZERO));
    }

    #[test]
    fn right_ones_leave_nothing_and_wrong_ones_say_how_many_they_are() {
        let (pins, now) = (WrongPins::default(), Instant::now());
        (0..50).for_each(|_| pins.attempt(now, "room", "ann", false).right());
        assert!(pins.counts().is_empty());
        assert_eq!([1, 2, 3], [(); 3].map(|()| pins.attempt(now, "room", "ann", false).wrong()));
        pins.attempt(now, "room", "ann", false).right();
        assert_eq!(pins.attempt(now, "room", "bob", false).wrong(), 4);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let (pins, now) = (WrongPins::default(), Instant::now());
        for n in 0..2 * MOST {
            drop(pins.attempt(now, "room", &n.to_string(), true));
        }
        assert!(pins.counts().len() <= MOST + 1);
    }
}
