//! A registration with its times: refresh and retry. No I/O: time is an argument, and it has
//! its own random generator.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::table::{Action, Event, State, next};

/// The delays between attempts after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The first wait after a failure is one to two times this.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Upper bound of the first wait after a refusal; it doubles up to `max`, since insistent
    /// clients get banned. `None` for no further attempt until [`Registration::now`].
    pub refused: Option<Duration>,
}

impl Pace {
    /// For a provider. Shorter than the half minute of RFC 5626 §4.5, which is meant for
    /// thousands of phones at once.
    pub const GATEWAY: Pace = Pace {
        base: Duration::from_secs(5),
        max: Duration::from_secs(900),
        refused: Some(Duration::from_secs(120)),
    };
}

/// Age after which a flow counts as working: when it is lost, a new one is made at once.
const LASTING: Duration = Duration::from_secs(120);

/// The shortest wait after a registration that was granted no usable time: the registrar counts it as a
/// success, so it would go on for ever.
const TOO_BRIEF: Duration = Duration::from_secs(60);

/// The state of a registration.
#[derive(Debug)]
pub struct Registration {
    state: State,
    pace: Pace,
    /// Number of failures since the last success.
    failures: u32,
    /// Number of attempts that may follow at once, at the other hosts.
    spare: u32,
    hosts: u32,
    due: Option<Instant>,
    lapses: Option<Instant>,
    /// Since when the current flow exists; `None` if it is lost.
    flow_since: Option<Instant>,
    /// Number of consecutive flows that were lost soon after they were made.
    flows_lost: u32,
    /// Whether the Contact in the outstanding REGISTER is outdated.
    outdated: bool,
    dice: StdRng,
}

/// The result of a REGISTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The registration is in force for this time.
    Accepted { granted: Duration },
    /// Send another REGISTER at once.
    Again,
    /// A temporary failure, possibly with a minimum delay.
    Failed { retry_after: Option<Duration> },
    /// Refused by the registrar.
    Refused,
    /// Accepted for so short a time that nothing is in force.
    TooBrief,
}

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Nothing,
    /// REGISTER. `next_host`: at the next host of the list, since this one failed.
    Register {
        next_host: bool,
    },
    /// REGISTER with an expiry of 0.
    Unregister,
}

impl Registration {
    /// A registration that has not started, with this number of alternative hosts.
    pub fn new(hosts: usize, pace: Pace, seed: [u8; 32]) -> Self {
        Registration {
            state: State::Off,
            pace,
            failures: 0,
            spare: u32::try_from(hosts).unwrap_or(u32::MAX).max(1) - 1,
            hosts: u32::try_from(hosts).unwrap_or(u32::MAX).max(1),
            due: None,
            lapses: None,
            flow_since: None,
            flows_lost: 0,
            outdated: false,
            dice: StdRng::from_seed(seed),
        }
    }

    /// The current state.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the next attempt or refresh is due, if any.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts the registration.
    pub fn start(&mut self, now: Instant) -> Order {
        self.step(now, Event::Start)
    }

    /// Ends the registration.
    pub fn stop(&mut self, now: Instant) -> Order {
        self.step(now, Event::Stop)
    }

    /// Registers at once, whatever the schedule: because the path to the registrar has
    /// changed, or on request. No effect while a response is outstanding.
    pub fn now(&mut self, now: Instant) -> Order {
        self.failures = 0;
        self.spare = self.hosts - 1;
        let order = self.step(now, Event::Due);
        if order != Order::Nothing {
            self.due = None;
        }
        order
    }

    /// Like [`Registration::now`], for a changed Contact: if a response is outstanding,
    /// another REGISTER follows it.
    pub fn renew(&mut self, now: Instant) -> Order {
        let order = self.now(now);
        self.outdated = matches!(self.state, State::Asking | State::Refreshing) && order == Order::Nothing;
        order
    }

    /// Handles the loss of the flow (RFC 5626 §4.5): registers again at once if the flow has
    /// lasted, or is the first that has not. Otherwise the waits grow, since a peer that
    /// drops flows at once would do so for ever.
    pub fn lost(&mut self, now: Instant) -> Order {
        let lasted = self.flow_since.take().is_some_and(|since| now.duration_since(since) >= LASTING);
        if lasted {
            self.flows_lost = 0;
        }
        self.flows_lost = self.flows_lost.saturating_add(1);
        if self.flows_lost == 1 {
            return self.now(now);
        }
        if self.state == State::Registered {
            self.due = Some(now + self.backed_off(self.pace.base, self.flows_lost - 1));
        }
        Order::Nothing
    }

    /// Handles the result of a REGISTER.
    pub fn answered(&mut self, now: Instant, answer: Answer) -> Order {
        match answer {
            Answer::Accepted { granted } => {
                let order = self.step(now, Event::Accepted);
                if self.state == State::Registered {
                    (self.failures, self.spare) = (0, self.hosts - 1);
                    self.lapses = Some(now + granted);
                    self.flow_since.get_or_insert(now);
                    self.due = Some(now + self.refresh_after(granted));
                    if std::mem::take(&mut self.outdated) {
                        self.due = Some(now);
                    }
                }
                order
            }
            Answer::Again => self.step(now, Event::Again),
            Answer::Failed { retry_after } => {
                let order = self.step(now, Event::Failed);
                self.retry(now, retry_after, false);
                order
            }
            Answer::TooBrief => {
                self.lapses = None;
                self.step(now, Event::Lapsed);
                let order = self.step(now, Event::Failed);
                self.spare = 0;
                self.retry(now, Some(TOO_BRIEF), false);
                order
            }
            Answer::Refused => {
                let order = self.step(now, Event::Refused);
                self.retry(now, None, true);
                order
            }
        }
    }

    /// When to call [`Registration::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.due, self.lapses].into_iter().flatten().min()
    }

    /// Handles the passing of time.
    pub fn timeout(&mut self, now: Instant) -> Order {
        if self.lapses.is_some_and(|at| at <= now) {
            self.lapses = None;
            let order = self.step(now, Event::Lapsed);
            if order != Order::Nothing {
                return order;
            }
        }
        match self.due.take_if(|at| *at <= now) {
            Some(_) => {
                let next_host = self.failures > 0;
                match self.step(now, Event::Due) {
                    Order::Register { .. } => Order::Register { next_host },
                    order => order,
                }
            }
            None => Order::Nothing,
        }
    }

    fn step(&mut self, now: Instant, event: Event) -> Order {
        let Ok((state, action)) = next(self.state, event) else { return Order::Nothing };
        self.state = state;
        if state == State::Gone {
            (self.due, self.lapses) = (None, None);
        }
        match action {
            Action::Nothing | Action::RetryLater => Order::Nothing,
            // `answered` then sets the actual time from the expiry granted.
            Action::RefreshLater => {
                self.due = Some(now);
                Order::Nothing
            }
            Action::Send => {
                self.due = None;
                Order::Register { next_host: false }
            }
            Action::SendEnd => {
                (self.due, self.lapses) = (None, None);
                Order::Unregister
            }
        }
    }

    /// Schedules a retry: at once if another host is left, otherwise after growing waits.
    fn retry(&mut self, now: Instant, asked: Option<Duration>, refused: bool) {
        if !matches!(self.state, State::Waiting | State::Holding) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if refused && self.pace.refused.is_none() {
            self.due = None;
            return;
        }
        if self.spare > 0 && !refused {
            self.spare -= 1;
            self.due = Some(now);
            return;
        }
        self.spare = self.hosts - 1;
        let rounds = self.failures.div_ceil(self.hosts);
        let wait = match self.pace.refused.filter(|_| refused) {
            Some(first) => self.backed_off(first, self.failures - 1),
            None => self.backed_off(self.pace.base, rounds),
        };
        self.due = Some(now + wait.max(asked.unwrap_or_default()));
    }

    /// The wait after this many doublings, randomised to between half and all of it (RFC 5626
    /// §4.5).
    fn backed_off(&mut self, first: Duration, times: u32) -> Duration {
        let longest = first.saturating_mul(2u32.saturating_pow(times)).min(self.pace.max);
        longest.mul_f64(self.dice.random_range(0.5..=1.0))
    }

    /// The time of the refresh, which leaves room for one or two failed attempts: at half of
    /// a short expiry, ten minutes before the end of a long one, and at random a little
    /// earlier.
    fn refresh_after(&mut self, granted: Duration) -> Duration {
        const ROOM: Duration = Duration::from_secs(600);
        let at = if granted > 2 * ROOM { granted - ROOM } else { granted / 2 };
        at.mul_f64(self.dice.random_range(0.9..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::seconds;

    const HOUR: Duration = Duration::from_secs(3_600);
    const FAILED: Answer = Answer::Failed { retry_after: None };

    fn begun(hosts: usize) -> (Registration, Instant) {
        let now = Instant::now();
        let mut registration = Registration::new(hosts, Pace::GATEWAY, [3; 32]);
        assert_eq!(registration.start(now), Order::Register { next_host: false });
        (registration, now)
    }

    fn wait(registration: &Registration, now: Instant) -> f64 {
        registration.next_timeout().unwrap().duration_since(now).as_secs_f64()
    }

    #[test]
    fn it_is_refreshed_well_before_it_lapses_whatever_was_granted() {
        for granted in [60, 120, 1_200, 1_201, 3_600, 86_400] {
            let (mut registration, now) = begun(1);
            let granted = Duration::from_secs(granted);
            registration.answered(now, Answer::Accepted { granted });
            let at = registration.next_timeout().unwrap();
            let room = (now + granted).duration_since(at);
            assert!(room >= granted.min(Duration::from_secs(1_200)) / 2, "{room:?} of {granted:?}");
            assert_eq!(registration.timeout(at - Duration::from_millis(1)), Order::Nothing);
            assert_eq!(registration.timeout(at), Order::Register { next_host: false });
            assert!(registration.state().is_in_force());
        }
    }

    #[test]
    fn a_contact_that_changes_while_an_answer_is_to_come_is_told_behind_it() {
        let (mut registration, now) = begun(1);
        assert_eq!(registration.renew(now), Order::Nothing);
        registration.answered(now, Answer::Accepted { granted: HOUR });
        assert_eq!(registration.timeout(now), Order::Register { next_host: false });
        // only once
        registration.answered(now, Answer::Accepted { granted: HOUR });
        assert_eq!(registration.timeout(now), Order::Nothing);
        assert_eq!(registration.renew(now), Order::Register { next_host: false });
    }

    #[test]
    fn after_failures_it_waits_longer_each_time_up_to_a_limit_and_a_success_forgets_them() {
        let (mut registration, mut now) = begun(1);
        for round in 1..12 {
            registration.answered(now, FAILED);
            let longest = (5.0 * 2f64.powi(round)).min(900.0);
            let wait = wait(&registration, now);
            assert!(wait >= longest / 2.0 && wait <= longest, "{wait} in round {round}");
            now = registration.next_timeout().unwrap();
            assert!(matches!(registration.timeout(now), Order::Register { .. }));
        }
        registration.answered(now, Answer::Accepted { granted: HOUR });
        now = registration.next_timeout().unwrap();
        registration.timeout(now);
        registration.answered(now, FAILED);
        assert!(wait(&registration, now) <= 10.0);
    }

    #[test]
    fn two_registrations_do_not_try_again_at_the_same_time() {
        let now = Instant::now();
        let waits: Vec<_> = (0..20)
            .map(|seed| {
                let mut registration = Registration::new(1, Pace::GATEWAY, [seed; 32]);
                registration.start(now);
                registration.answered(now, FAILED);
                registration.next_timeout().unwrap().duration_since(now)
            })
            .collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*most > *least + Duration::from_secs(2), "{waits:?}");
    }

    #[test]
    fn the_next_host_is_tried_at_once_and_only_a_whole_round_of_failures_costs_a_wait() {
        let (mut registration, now) = begun(3);
        registration.answered(now, Answer::Accepted { granted: HOUR });
        let now = registration.next_timeout().unwrap();
        registration.timeout(now);
        for _ in 0..2 {
            registration.answered(now, FAILED);
            assert_eq!(registration.timeout(now), Order::Register { next_host: true });
        }
        registration.answered(now, FAILED);
        assert_eq!(registration.timeout(now), Order::Nothing);
        assert!(wait(&registration, now) >= 5.0);
    }

    #[test]
    fn a_flow_that_goes_is_made_anew_at_once_and_one_that_goes_again_and_again_ever_later() {
        let (mut registration, mut now) = begun(1);
        let granted = Answer::Accepted { granted: HOUR };
        registration.answered(now, granted);
        assert_eq!(registration.lost(now), Order::Register { next_host: false });
        assert!(registration.state().is_in_force());
        for longest in [10.0_f64, 20.0, 40.0, 80.0] {
            registration.answered(now, granted);
            now += Duration::from_secs(1);
            assert_eq!(registration.lost(now), Order::Nothing);
            let wait = wait(&registration, now);
            assert!((longest / 2.0..=longest).contains(&wait), "{wait} of {longest}");
            now = registration.next_timeout().unwrap();
            assert_eq!(registration.timeout(now), Order::Register { next_host: false });
        }
        registration.answered(now, granted);
        now += LASTING / 2;
        assert_eq!(registration.now(now), Order::Register { next_host: false });
        // A refresh does not start another flow.
        registration.answered(now, granted);
        now += LASTING / 2;
        assert_eq!(registration.lost(now), Order::Register { next_host: false });
    }

    #[test]
    fn a_provider_may_ask_for_a_longer_wait_but_not_for_ever() {
        for (asked, waited) in [(120, 120.0), (1_000_000, 3_600.0)] {
            let (mut registration, now) = begun(1);
            let retry_after = Some(seconds::within(&seconds::RETRY_AFTER, asked));
            registration.answered(now, Answer::Failed { retry_after });
            assert_eq!(wait(&registration, now), waited);
        }
    }

    #[test]
    fn who_is_refused_does_not_insist() {
        let (mut registration, now) = begun(2);
        let mut now = now;
        // From one to two minutes on, doubling each time.
        for least in [60.0_f64, 120.0, 240.0, 450.0, 450.0] {
            assert_eq!(registration.answered(now, Answer::Refused), Order::Nothing);
            let wait = wait(&registration, now);
            assert!((least..=(2.0 * least).min(900.0)).contains(&wait), "{wait} after {least}");
            now = registration.next_timeout().unwrap();
            assert_ne!(registration.timeout(now), Order::Nothing);
        }
    }

    #[test]
    fn who_is_refused_and_does_not_wait_tries_again_only_when_asked() {
        let now = Instant::now();
        let pace = Pace { refused: None, ..Pace::GATEWAY };
        let mut registration = Registration::new(2, pace, [3; 32]);
        registration.start(now);
        assert_eq!(registration.now(now), Order::Nothing, "an answer is still to come");
        registration.answered(now, Answer::Refused);
        assert_eq!(registration.next_timeout(), None);
        assert_eq!(registration.now(now), Order::Register { next_host: false });
    }

    #[test]
    fn a_registration_in_force_can_be_renewed_at_once() {
        let (mut registration, now) = begun(1);
        registration.answered(now, Answer::Accepted { granted: HOUR });
        assert_eq!(registration.now(now), Order::Register { next_host: false });
        assert!(registration.state().is_in_force());
        registration.answered(now, FAILED);
        assert_eq!(registration.now(now), Order::Register { next_host: false }, "no need to wait");
    }

    #[test]
    fn what_was_granted_stays_in_force_until_it_lapses_while_refreshes_fail() {
        let (mut registration, now) = begun(1);
        registration.answered(now, Answer::Accepted { granted: Duration::from_secs(60) });
        let mut at = now;
        while at < now + Duration::from_secs(59) {
            at = registration.next_timeout().unwrap();
            if registration.timeout(at) != Order::Nothing && at < now + Duration::from_secs(60) {
                registration.answered(at, FAILED);
                assert!(registration.state().is_in_force());
            }
        }
        let lapsed = now + Duration::from_secs(60);
        registration.timeout(lapsed);
        assert!(!registration.state().is_in_force());
        assert!(registration.next_timeout().is_some(), "it goes on trying");
    }

    #[test]
    fn a_grant_that_is_too_brief_ends_what_was_in_force_and_costs_a_minute() {
        let (mut registration, mut now) = begun(1);
        registration.answered(now, Answer::Accepted { granted: HOUR });
        for _ in 0..20 {
            now = registration.next_timeout().unwrap();
            assert_ne!(registration.timeout(now), Order::Nothing);
            assert_eq!(registration.answered(now, Answer::TooBrief), Order::Nothing);
            assert!(!registration.state().is_in_force() && wait(&registration, now) >= 60.0);
        }
    }

    #[test]
    fn it_is_taken_back_when_it_is_not_wanted_any_more() {
        let (mut registration, now) = begun(1);
        registration.answered(now, Answer::Accepted { granted: HOUR });
        assert_eq!(registration.stop(now), Order::Unregister);
        assert_eq!(registration.next_timeout(), None);
        assert_eq!(registration.answered(now, Answer::Again), Order::Unregister, "with a password");
        assert_eq!(registration.answered(now, Answer::Accepted { granted: Duration::ZERO }), Order::Nothing);
        assert!(registration.state().is_over());
    }
}
