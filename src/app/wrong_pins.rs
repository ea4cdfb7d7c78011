//! Counts wrong PINs over all calls: repeated guessing is delayed longer each time, on any number of lines.
//! Clones share the counts; no clock.
//!
//! A caller is a user by password; all callers of one trunk are one, whatever number they show. Counts are kept
//! of a caller at a protected object (a mailbox, a room), of a user at all of them, and of the object.
//!
//! | wrong PINs so far | the next one is checked |
//! |---|---|
//! | up to 4 | at once |
//! | 5, 6, 7 … | 1, 2, 4 … 60 s after the previous one |
//! | more than 8 s of the delay are left | not at all: it counts as wrong |
//!
//! The object's count delays nobody's first attempt, and nobody who has got in within 30 days: others cannot
//! keep them out by guessing. Whoever has opened all of it then (with a moderator's PIN, where there is one)
//! waits for 8 s at most, and so is always checked. These days outlive the server where there is a store for
//! them ([`WrongPins::kept`]). A trunk gets in for no other call: its numbers are forged at will.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::caller::Caller;

/// Number of wrong PINs without a delay.
const FREE: u32 = 5;
const LONGEST: Duration = Duration::from_secs(60);
/// Maximum time that a caller waits for the check.
const PATIENCE: Duration = Duration::from_secs(8);
/// Counts are forgotten after this time without a wrong PIN.
const KEPT: Duration = Duration::from_secs(86_400);
/// How long it counts that a user has got in.
const ACQUAINTED: Duration = Duration::from_secs(30 * 86_400);
/// Maximum number of counts, and of users who have got in.
const MOST: usize = 4_096;

/// The counts of wrong PINs; see the module documentation.
#[derive(Debug, Clone, Default)]
pub struct WrongPins {
    counts: Arc<Mutex<Counts>>,
    store: Option<Arc<dyn Acquaintances>>,
}

/// A user who has got in to a place; `all`: with the PIN that opens all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquaintance {
    pub place: String,
    pub user: String,
    pub all: bool,
}

/// Keeps who has got in over a restart.
pub trait Acquaintances: std::fmt::Debug + Send + Sync {
    /// Those of the last 30 days, and how long ago each got in.
    fn found(&self) -> Vec<(Acquaintance, Duration)>;

    /// A user gets in: at most once a day for the same place.
    fn keep(&self, acquaintance: Acquaintance);
}

#[derive(Debug, Default)]
struct Counts {
    wrong: HashMap<Whose, Count>,
    /// The users who have got in, by the place.
    got_in: HashMap<(String, String), GotIn>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    /// The protected object.
    Place(String),
    /// A caller there.
    Pair(String, Caller),
    /// A user everywhere.
    User(String),
}

#[derive(Debug, Clone, Copy)]
struct Count {
    wrong: u32,
    /// The earliest time of the next check.
    next: Instant,
}

#[derive(Debug, Clone, Copy)]
struct GotIn {
    /// How long it counts.
    until: Instant,
    /// With the PIN that opens all.
    all: bool,
}

/// A PIN that was entered.
#[derive(Debug)]
pub struct Attempt {
    pins: WrongPins,
    now: Instant,
    whose: Vec<Whose>,
    /// The user and the place, unless the user is its owner.
    user: Option<(String, String)>,
    /// The delay of the check; `None`: it is not checked.
    wait: Option<Duration>,
}

impl Counts {
    fn wrong_of(&self, whose: &Whose, now: Instant) -> Option<Count> {
        self.wrong.get(whose).filter(|it| now < it.next + KEPT).copied()
    }

    fn count(&mut self, whose: &Whose, now: Instant, at: Instant) {
        let wrong = self.wrong_of(whose, now).map_or(0, |it| it.wrong) + 1;
        if self.wrong.len() >= MOST && !self.wrong.contains_key(whose) {
            self.wrong.retain(|_, it| now < it.next + KEPT);
            // Under a flood the least count of all gives way, so nobody pays for another one.
            let least =
                self.wrong.iter().min_by_key(|(_, it)| (it.wrong, it.next)).map(|(whose, _)| whose.clone());
            if let Some(least) = least.filter(|_| self.wrong.len() >= MOST) {
                self.wrong.remove(&least);
            }
        }
        self.wrong.insert(whose.clone(), Count { wrong, next: at + pause(wrong) });
    }
}

impl WrongPins {
    /// No counts, and whoever is found in this store.
    pub fn kept(now: Instant, store: Arc<dyn Acquaintances>) -> WrongPins {
        let mut counts = Counts::default();
        for (Acquaintance { place, user, all }, ago) in store.found().into_iter().take(MOST) {
            let until = now + ACQUAINTED.saturating_sub(ago);
            counts.got_in.insert((place, user), GotIn { until, all });
        }
        WrongPins { counts: Arc::new(Mutex::new(counts)), store: Some(store) }
    }

    /// A PIN was entered for this place. It counts as wrong until [`Attempt::right`] is called. `owner`: the
    /// caller is at a phone of the place's own user.
    pub fn attempt(&self, now: Instant, place: &str, caller: &Caller, owner: bool) -> Attempt {
        let mut counts = self.counts();
        let pair = Whose::Pair(place.to_owned(), caller.clone());
        let user = match caller {
            Caller::User(name) => Some((place.to_owned(), name.clone())),
            Caller::Trunk(_) => None,
        };
        let got_in = user.as_ref().and_then(|key| counts.got_in.get(key)).copied();
        let got_in = got_in.filter(|it| now < it.until);
        let is_first = counts.wrong_of(&pair, now).is_none();
        let mut whose = vec![pair];
        whose.extend(user.as_ref().map(|(_, name)| Whose::User(name.clone())));
        let mut waits = whose.clone();
        if !owner && got_in.is_none() {
            let place = Whose::Place(place.to_owned());
            waits.extend((!is_first).then(|| place.clone()));
            whose.push(place);
        }
        let of = |whose: &Whose| counts.wrong_of(whose, now);
        let wait = waits.iter().filter_map(of).map(|it| it.next.saturating_duration_since(now)).max();
        let wait = wait.unwrap_or_default();
        let wait = match got_in.is_some_and(|it| it.all) {
            true => Some(wait.min(PATIENCE)),
            false => Some(wait).filter(|wait| *wait <= PATIENCE),
        };
        if let Some(wait) = wait {
            for one in &whose {
                counts.count(one, now, now + wait);
            }
        }
        drop(counts);
        Attempt { pins: self.clone(), now, whose, user: user.filter(|_| !owner), wait }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// The PIN was right: the attempt does not count. `all`: no other PIN opens more.
    pub fn right(self, all: bool) {
        if self.wait.is_none() {
            return;
        }
        let mut counts = self.pins.counts();
        for one in &self.whose {
            if let Some(count) = counts.wrong.get_mut(one) {
                count.wrong = count.wrong.saturating_sub(1);
                // Removes the delay that this attempt has added.
                count.next = count.next.checked_sub(pause(count.wrong + 1)).unwrap_or(count.next);
            }
            if counts.wrong.get(one).is_some_and(|it| it.wrong == 0) {
                counts.wrong.remove(one);
            }
        }
        let Some(user) = self.user else { return };
        if counts.got_in.len() >= MOST && !counts.got_in.contains_key(&user) {
            let oldest = counts.got_in.iter().min_by_key(|(_, it)| it.until).map(|(user, _)| user.clone());
            oldest.map(|oldest| counts.got_in.remove(&oldest));
        }
        let (before, until) = (counts.got_in.get(&user).copied(), self.now + ACQUAINTED);
        let all = all || before.is_some_and(|it| it.all);
        // The store is told once a day.
        if before.is_some_and(|it| it.all == all && until < it.until + KEPT) {
            return;
        }
        counts.got_in.insert(user.clone(), GotIn { until, all });
        drop(counts);
        if let Some(store) = &self.pins.store {
            store.keep(Acquaintance { place: user.0, user: user.1, all });
        }
    }

    /// The PIN was wrong; returns the highest of its counts.
    pub fn wrong(self) -> u32 {
        let counts = self.pins.counts();
        let wrong = self.whose.iter().filter_map(|one| counts.wrong.get(one)).map(|it| it.wrong);
        wrong.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "voicemail/1001";

    fn user(name: &str) -> Caller {
        Caller::User(name.to_owned())
    }

    fn trunk(_: u64) -> Caller {
        Caller::Trunk("carrier".to_owned())
    }

    /// Guesses for this time, each attempt on a separate line; returns how many were checked.
    fn guess(pins: &WrongPins, start: Instant, seconds: u64, caller: impl Fn(u64) -> Caller) -> u32 {
        let mut seen = 0;
        for tenth in 0..seconds * 10 {
            let now = start + Duration::from_millis(tenth * 100);
            let attempt = pins.attempt(now, PLACE, &caller(tenth), false);
            seen += u32::from(attempt.wait().is_some());
            attempt.wrong();
        }
        seen
    }

    #[test]
    fn who_guesses_on_many_lines_gets_one_a_minute_as_one_user_or_as_many() {
        let start = Instant::now();
        for (callers, most) in [(1, 12), (50, 62)] {
            let pins = WrongPins::default();
            let caller = move |n: u64| user(&format!("mallory-{}", n % callers));
            assert!(guess(&pins, start, 60, caller) <= most);
            let hour = guess(&pins, start + Duration::from_secs(60), 3_600, caller);
            assert!(hour <= 62, "{hour} by {callers} in an hour");
        }
        let pins = WrongPins::default();
        assert!(guess(&pins, start, 60, trunk) <= 12);
        assert!(guess(&pins, start + Duration::from_secs(60), 3_600, trunk) <= 62);
    }

    /// A day, an attempt a second, by one user, by 50, and by a trunk with 10,000 numbers, while the owner gets
    /// in.
    #[test]
    fn in_a_day_few_guesses_are_checked_and_the_owner_gets_in_all_the_while() {
        let start = Instant::now();
        type Guesser = fn(u64) -> Caller;
        let whose: [(&str, Guesser); 3] = [
            ("one user", |_| user("mallory")),
            ("50 users", |n| user(&format!("mallory-{}", n % 50))),
            ("a trunk", trunk),
        ];
        for (who, caller) in whose {
            let pins = WrongPins::default();
            pins.attempt(start, PLACE, &user("owner"), false).right(true);
            let mut checked = 0;
            for second in 0..86_400 {
                let now = start + Duration::from_secs(second);
                let attempt = pins.attempt(now, PLACE, &caller(second), false);
                checked += u32::from(attempt.wait().is_some());
                attempt.wrong();
                if second % 600 == 0 {
                    let own = pins.attempt(now, PLACE, &user("owner"), false);
                    assert_eq!(own.wait(), Some(Duration::ZERO), "{who}, second {second}");
                    own.right(true);
                }
            }
            eprintln!("{who}: {checked} wrong PINs are checked in a day");
            assert!((1_400..=1_520).contains(&checked), "{who}: {checked}");
        }
    }

    #[test]
    fn owners_at_their_own_phones_are_not_kept_out_by_who_guesses() {
        let (pins, start) = (WrongPins::default(), Instant::now());
        guess(&pins, start, 600, |_| user("mallory"));
        let now = start + Duration::from_secs(600);
        for _ in 0..100 {
            let own = pins.attempt(now, PLACE, &user("1001"), true);
            assert_eq!(own.wait(), Some(Duration::ZERO));
            own.right(true);
        }
    }

    #[test]
    fn guesses_keep_out_nobody_who_has_got_in_and_a_new_caller_has_one_attempt() {
        let (pins, start) = (WrongPins::default(), Instant::now());
        pins.attempt(start, PLACE, &user("member"), false).right(false);
        pins.attempt(start, PLACE, &user("moderator"), false).right(true);
        guess(&pins, start, 600, |_| user("mallory"));
        let now = start + Duration::from_secs(600);
        let wait = |name: &str| pins.attempt(now, PLACE, &user(name), false).wait();
        assert_eq!((wait("new"), wait("new")), (Some(Duration::ZERO), None));
        for _ in 0..4 {
            assert_eq!(wait("member"), Some(Duration::ZERO), "wrong ones of its own are free, too");
        }
        for _ in 0..20 {
            let _ = (wait("member"), wait("moderator"));
        }
        assert_eq!(wait("member"), None, "it has guessed itself");
        assert_eq!(wait("moderator"), Some(PATIENCE), "always checked");
        // A trunk is let in for no other call.
        pins.attempt(now, PLACE, &trunk(0), false).right(true);
        assert_eq!(pins.attempt(now, "other", &trunk(0), false).wait(), Some(Duration::ZERO));
        (0..20).for_each(|_| drop(pins.attempt(now, PLACE, &trunk(0), false)));
        assert_eq!(pins.attempt(now, PLACE, &trunk(0), false).wait(), None);
        // A number that a trunk shows is not the user of that name.
        let later = now + ACQUAINTED;
        assert_eq!(pins.attempt(later, PLACE, &user("carrier"), false).wait(), Some(Duration::ZERO));
    }

    /// A store in memory, with how long ago its users got in.
    #[derive(Debug, Default)]
    struct Store(Mutex<Vec<(Acquaintance, Duration)>>);

    impl Acquaintances for Store {
        fn found(&self) -> Vec<(Acquaintance, Duration)> {
            self.0.lock().unwrap().clone()
        }

        fn keep(&self, acquaintance: Acquaintance) {
            self.0.lock().unwrap().push((acquaintance, Duration::from_secs(20 * 86_400)));
        }
    }

    #[test]
    fn who_has_got_in_is_known_after_a_restart_until_its_days_are_over() {
        let (store, start) = (Arc::new(Store::default()), Instant::now());
        let pins = WrongPins::kept(start, store.clone());
        for hour in 0..20 {
            let now = start + Duration::from_secs(hour * 3_600);
            pins.attempt(now, PLACE, &user("member"), false).right(false);
            pins.attempt(now, PLACE, &trunk(0), false).right(true);
        }
        pins.attempt(start, PLACE, &user("member"), false).right(true);
        let member = |all| Acquaintance { place: PLACE.to_owned(), user: "member".to_owned(), all };
        let kept: Vec<_> = store.found().into_iter().map(|(it, _)| it).collect();
        assert_eq!(kept, [member(false), member(true)]);
        // The server starts again, 20 days later.
        let pins = WrongPins::kept(start, store);
        let days = |days: u64| start + Duration::from_secs(days * 86_400);
        for (day, wait) in [(9, Some(PATIENCE)), (11, None)] {
            guess(&pins, days(day), 600, |_| user("mallory"));
            let now = days(day) + Duration::from_secs(600);
            (0..20).for_each(|_| drop(pins.attempt(now, PLACE, &user("member"), false)));
            assert_eq!(pins.attempt(now, PLACE, &user("member"), false).wait(), wait, "day {day}");
        }
    }

    #[test]
    fn one_user_is_counted_over_all_places_and_a_day_forgets() {
        let (pins, start) = (WrongPins::default(), Instant::now());
        let seen = (0..100)
            .filter(|n| pins.attempt(start, &n.to_string(), &user("mallory"), false).wait().is_some());
        assert!(seen.count() <= 10);
        let later = start + KEPT + LONGEST;
        assert_eq!(pins.attempt(later, "1", &user("mallory"), false).wait(), Some(Duration::ZERO));
    }

    #[test]
    fn right_ones_leave_nothing_and_wrong_ones_say_how_many_they_are() {
        let (pins, now) = (WrongPins::default(), Instant::now());
        (0..50).for_each(|_| pins.attempt(now, "room", &user("ann"), false).right(true));
        assert!(pins.counts().wrong.is_empty());
        let ann = || pins.attempt(now, "room", &user("ann"), false).wrong();
        assert_eq!([1, 2, 3], [(); 3].map(|()| ann()));
        pins.attempt(now, "room", &user("ann"), false).right(true);
        assert_eq!(ann(), 4);
    }

    #[test]
    fn what_is_known_is_bounded_and_a_flood_costs_nobody_else() {
        let (pins, now) = (WrongPins::default(), Instant::now());
        (0..20).for_each(|_| drop(pins.attempt(now, "room", &user("mallory"), false)));
        for n in 0..MOST + 200 {
            drop(pins.attempt(now, &n.to_string(), &user(&n.to_string()), true));
        }
        assert!(pins.counts().wrong.len() <= MOST);
        assert_eq!(pins.attempt(now, "room", &user("mallory"), false).wait(), None, "high counts stay");
        let owner = pins.attempt(now, "voicemail/ann", &user("ann"), true);
        assert_eq!(owner.wait(), Some(Duration::ZERO));
        for n in 0..MOST + 200 {
            pins.attempt(now, "room", &user(&n.to_string()), false).right(true);
        }
        assert!(pins.counts().got_in.len() <= MOST);
    }
}
