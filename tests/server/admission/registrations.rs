//! The registrar as driven by the server.

use std::sync::Arc;
use std::time::Duration;

use b2b::call::bus::Received;
use b2b::call::event::Event;
use b2b::server::registrar::{Aor, Binding, Change, Commit, LocationStore, MemoryStore, Outcome, Visitor};
use b2b::sip::endpoint::Termination;
use b2b::sip::net::Ban;
use b2b_testkit::SESSION;
use tokio::sync::watch;

use super::bench::Bench;

const USERS: &str = "[server]\ntrusted = [\"192.0.2.0/24\"]\ndomains = [\"192.0.2.1\"]\n\
    [[user]]\nname = \"1001\"\npassword = \"secret\"\nmax_calls = 1\n\
    [[route]]\nto = \"user/$0\"\n";

#[test]
fn a_registration_that_nobody_refreshes_ends_with_an_event_and_is_not_called() {
    let mut bench = Bench::new(USERS);
    let (ann, bob) = (bench.harness.party("192.0.2.11:5060"), bench.harness.party("192.0.2.12:5060"));
    let mut events = bench.parts.bus.subscribe();
    assert_eq!(bench.register(bob, "1001", "secret", 60), 200);
    let call = bench.harness.call(ann, "1001", Some(SESSION));
    bench.harness.answer_next(bob, SESSION);
    bench.harness.hang_up(ann, call);
    bench.harness.run(Duration::from_secs(61));
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv())
        .filter_map(|received| match received {
            Received::Event(published) => Some(published.event.clone()),
            _ => None,
        })
        .collect();
    assert!(
        matches!(&told[..], [Event::Registered { .. }, Event::Unregistered { expired: true, .. }]),
        "{told:?}"
    );
    let late = bench.harness.call(ann, "1001", Some(SESSION));
    let ended = bench.harness.ended(ann, late);
    assert!(matches!(ended, Some(Termination::Failed { response }) if response.status() == 480));
}

#[test]
fn a_trusted_address_registers_nobody_without_their_password() {
    let mut bench = Bench::new(USERS);
    let bob = bench.harness.party("192.0.2.12:5060");
    assert_eq!(bench.register(bob, "1001", "wrong", 60), 401);
    assert_eq!(bench.register(bob, "1001", "secret", 60), 200);
}

#[test]
fn while_guesses_wait_the_right_password_is_answered_like_a_wrong_one_and_its_owner_registers() {
    let mut bench = Bench::new(USERS);
    let [owner, guesser, elsewhere] =
        ["198.51.100.7:5060", "203.0.113.9:5060", "203.0.113.77:5060"].map(|at| bench.harness.party(at));
    assert_eq!(bench.register(owner, "1001", "secret", 600), 200);
    for guess in 0..40 {
        assert_eq!(bench.register(guesser, "1001", &format!("guess{guess}"), 600), 401);
    }
    let counted = bench.counted();
    assert!(counted.rejected <= 12 && counted.slowed >= 28, "{counted:?}");
    assert_eq!(bench.register(guesser, "1001", "secret", 600), 401, "nothing tells which one was right");
    assert_eq!(bench.register(owner, "1001", "secret", 600), 200);
    assert_eq!(bench.register(elsewhere, "1001", "secret", 600), 200);
}

#[test]
fn a_user_who_has_all_their_calls_is_busy_for_the_next_one() {
    let mut bench = Bench::new(USERS);
    let (ann, bob) = (bench.harness.party("192.0.2.11:5060"), bench.harness.party("192.0.2.12:5060"));
    // Two phones of one user ring for one call.
    let other = bench.harness.party("192.0.2.13:5060");
    assert_eq!(bench.register(bob, "1001", "secret", 600), 200);
    assert_eq!(bench.register(other, "1001", "secret", 600), 200);
    let first = bench.harness.call(ann, "1001", Some(SESSION));
    assert_eq!(bench.harness.incoming(other).len(), 1, "the other phone rings too");
    bench.harness.answer_next(bob, SESSION);
    let second = bench.harness.call(ann, "1001", Some(SESSION));
    let ended = bench.harness.ended(ann, second);
    assert!(
        matches!(&ended, Some(Termination::Failed { response }) if response.status() == 486),
        "{ended:?}"
    );
    assert_eq!(bench.counted().user_full, 2, "at each of the user's phones");
    bench.harness.hang_up(ann, first);
    let third = bench.harness.call(ann, "1001", Some(SESSION));
    bench.harness.answer_next(bob, SESSION);
    assert!(bench.harness.is_up(ann, third));
}

#[test]
fn wrong_passwords_are_not_looked_at_after_a_few_and_time_heals() {
    let text =
        USERS.replace("trusted = [\"192.0.2.0/24\"]", "") + "[limits]\nauth_failures = 4\nban_s = 600\n";
    let mut bench = Bench::new(&format!("{text}[[user]]\nname = \"1002\"\npassword = \"secret\"\n"));
    let eve = bench.harness.party("192.0.2.66:5060");
    for _ in 0..3 {
        assert_eq!(bench.register(eve, "1001", "guess", 60), 401);
    }
    // Half of the allowed failures cost nothing; now credentials are ignored for a while, right or wrong.
    assert_eq!(bench.register(eve, "1001", "secret", 60), 401);
    assert_eq!((bench.counted().slowed, bench.counted().rejected), (1, 3));
    bench.harness.run(Duration::from_secs(2));
    assert_eq!(bench.register(eve, "1001", "guess", 60), 401);
    bench.harness.run(Duration::from_secs(60));
    assert_eq!(bench.register(eve, "1001", "secret", 60), 401);
    assert_eq!(bench.counted().rejected, 4);
    // This applies neither to other addresses, nor to other users at this one.
    let (elsewhere, neighbour) =
        (bench.harness.party("192.0.2.67:5060"), bench.harness.party("192.0.2.66:5070"));
    assert_eq!(bench.register(elsewhere, "1001", "secret", 60), 200);
    assert_eq!(bench.register(neighbour, "1002", "secret", 60), 200);
    bench.harness.run(Duration::from_secs(600));
    assert_eq!(bench.register(eve, "1001", "secret", 60), 200);
}

#[test]
fn who_fails_for_many_names_is_met_with_silence() {
    let text =
        USERS.replace("trusted = [\"192.0.2.0/24\"]", "") + "[limits]\nauth_failures = 4\nban_s = 600\n";
    let mut bench = Bench::new(&text);
    let eve = bench.harness.party("192.0.2.66:5060");
    for name in 0..4 {
        assert_eq!(bench.register(eve, &format!("20{name}"), "guess", 60), 401);
    }
    assert_eq!(bench.counted().bans, 1);
    let answers = bench.sent_to("192.0.2.66:5060", "SIP/2.0 ").len();
    bench.harness.call(eve, "1001", Some(SESSION));
    bench.harness.run(Duration::from_secs(60));
    assert_eq!(bench.sent_to("192.0.2.66:5060", "SIP/2.0 ").len(), answers, "a banned source got an answer");
    assert!(bench.counted().banned >= 1);
    bench.harness.run(Duration::from_secs(600));
    assert_eq!(bench.register(eve, "1001", "secret", 60), 200);
}

#[test]
fn a_guesser_behind_the_nat_of_an_office_bans_nobody_there() {
    let text = USERS.replace("trusted = [\"192.0.2.0/24\"]", "") + "[limits]\nauth_failures = 4\n";
    let mut bench = Bench::new(&text);
    let (phone, eve) = (bench.harness.party("192.0.2.66:5060"), bench.harness.party("192.0.2.66:5070"));
    assert_eq!(bench.register(phone, "1001", "secret", 600), 200);
    for name in 0..8 {
        bench.register(eve, &format!("20{name}"), "guess", 60);
    }
    assert_eq!((bench.counted().bans, bench.counted().rejected), (1, 4));
    assert_eq!(bench.harness.bans(), [], "the sockets hear of no ban");
    assert_eq!(bench.register(phone, "1001", "secret", 600), 200, "from where it is registered");
    assert_eq!(bench.register(eve, "1002", "guess", 600), 401);
    assert_eq!(bench.counted().rejected, 4, "nothing more is looked at");
}

#[test]
fn the_sockets_hear_of_bans_but_not_of_who_may_call_without_a_password() {
    let text = |trusted: &str| {
        let users = USERS.replace("192.0.2.0/24", trusted);
        users + "[limits]\nauth_failures = 2\nban_s = 600\n"
    };
    let mut bench = Bench::new(&text("192.0.2.11"));
    let (trusted, eve) = (bench.harness.party("192.0.2.11:5060"), bench.harness.party("192.0.2.66:5060"));
    let banned = |bench: &mut Bench, party| {
        for name in ["1001", "1002"] {
            bench.register(party, name, "guess", 60);
            bench.harness.run(Duration::from_secs(2));
        }
        bench.harness.bans()
    };
    assert_eq!(banned(&mut bench, trusted), [], "whoever is trusted may call");
    let at = "192.0.2.66".parse().expect("an address");
    let bans = banned(&mut bench, eve);
    let [Ban { source, until: Some(until) }] = &*bans else { panic!("{bans:?}") };
    assert_eq!((*source, bench.counted().bans), (at, 2));
    assert!(*until > bench.harness.now() + Duration::from_secs(590));
    // A source that is trusted from now on may call.
    bench.reload(&text("192.0.2.0/24"));
    assert!(bench.harness.bans().contains(&Ban { source: at, until: None }));
}

#[test]
fn copies_of_one_wrong_password_are_one_failure() {
    let text = USERS.replace("trusted = [\"192.0.2.0/24\"]", "");
    let mut bench = Bench::new(&text);
    let bob = bench.harness.party("192.0.2.12:5060");
    assert_eq!(bench.register(bob, "1001", "wrong", 60), 401);
    let wire = &bench.harness.wire;
    let register = wire.iter().rev().find(|it| it.data.starts_with(b"REGISTER ")).expect("one").clone();
    let answers = bench.sent_to("192.0.2.12:5060", "SIP/2.0 401").len();
    bench.harness.resend(&register);
    assert_eq!(bench.sent_to("192.0.2.12:5060", "SIP/2.0 401").len(), answers + 1, "the same answer again");
    assert_eq!(bench.counted().rejected, 1);
}

/// A disk that refuses writes.
struct Full(MemoryStore);

impl LocationStore for Full {
    fn bindings(&self, aor: &Aor) -> &[Arc<Binding>] {
        self.0.bindings(aor)
    }

    fn apply(&mut self, aor: &Aor, changes: Vec<Change>) {
        self.0.apply(aor, changes);
    }

    fn latest(&self) -> Commit {
        Commit(7)
    }

    fn outcome(&self, _: Commit) -> Outcome {
        Outcome::Failed
    }

    fn progress(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    fn accepts(&self) -> bool {
        true
    }

    fn visit_behind(&self, after: &str, each: &mut Visitor<'_>) {
        self.0.visit_behind(after, each);
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

#[test]
fn a_phone_is_not_told_of_a_registration_that_a_restart_would_lose() {
    let mut bench = Bench::with_store(USERS, Box::new(Full(MemoryStore::new())));
    let bob = bench.harness.party("192.0.2.12:5060");
    assert_eq!(bench.register(bob, "1001", "secret", 60), 500);
}
