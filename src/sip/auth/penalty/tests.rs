use super::*;

const CONFIG: PenaltyConfig = PenaltyConfig {
    free: 3,
    first_wait: Duration::from_secs(1),
    ban_after: 7,
    ban: Duration::from_secs(600),
    forget: Duration::from_secs(60),
    max_entries: 8,
};

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn failures_of_a_pair_are_free_then_slow_and_lead_to_a_long_wait() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    let mut now = t0;
    let mut seen = Vec::new();
    for _ in 0..7 {
        let standing = penalties.failed(now, ip(1), "1001").pair;
        if let Standing::Wait(rest) | Standing::Banned(rest) = standing {
            assert_eq!(
                penalties.pair(now + rest / 2, ip(1), "1001"),
                match standing {
                    Standing::Wait(_) => Standing::Wait(rest - rest / 2),
                    _ => Standing::Banned(rest - rest / 2),
                }
            );
            now += rest;
        }
        seen.push(standing);
    }
    let wait = |n| Standing::Wait(seconds(n));
    let clear = Standing::Clear;
    assert_eq!(seen, [clear, clear, clear, wait(1), wait(2), wait(4), Standing::Banned(seconds(600))]);
    assert_eq!(penalties.pair(now, ip(1), "1001"), Standing::Clear, "it ends");
}

#[test]
fn failures_are_forgotten_one_by_one() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    for minute in 0..1_000 {
        let failure = penalties.failed(t0 + seconds(60 * minute), ip(1), "1001");
        assert_eq!(failure.pair, Standing::Clear, "a typing error a minute harms nobody");
        assert_eq!(failure.source, Standing::Clear);
    }
}

#[test]
fn one_pair_that_fails_touches_neither_its_neighbours_nor_its_user_elsewhere() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    let all: Vec<_> = (0..100).map(|_| penalties.failed(t0, ip(1), "1001")).collect();
    assert!(matches!(penalties.pair(t0, ip(1), "1001"), Standing::Banned(_)));
    assert_eq!(penalties.pair(t0, ip(1), "1002"), Standing::Clear, "its neighbour behind the same NAT");
    assert_eq!(penalties.pair(t0, ip(2), "1001"), Standing::Clear, "the user elsewhere");
    assert_eq!(penalties.source(t0, ip(1)), Standing::Clear);
    assert_eq!(all.iter().filter(|it| it.first).count(), 1);
}

#[test]
fn a_success_forgives_its_own_user_at_its_own_source_and_nobody_else() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    for _ in 0..7 {
        for (source, user) in [(1, "1001"), (1, "1002"), (2, "1001")] {
            penalties.failed(t0, ip(source), user);
            // A user with a valid password cannot clear its failures between two guesses.
            penalties.succeeded(ip(source), "1003");
        }
    }
    penalties.succeeded(ip(1), "1001");
    assert_eq!(penalties.pair(t0, ip(1), "1001"), Standing::Clear);
    assert!(matches!(penalties.pair(t0, ip(1), "1002"), Standing::Banned(_)));
    assert!(matches!(penalties.pair(t0, ip(2), "1001"), Standing::Banned(_)));
}

#[test]
fn a_source_that_fails_for_many_names_is_banned() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    let stands: Vec<_> =
        (0..7).map(|name| penalties.failed(t0, ip(1), &format!("10{name}")).source).collect();
    assert!(stands[..6].iter().all(|it| *it == Standing::Clear), "{stands:?}");
    assert_eq!(stands[6], Standing::Banned(seconds(600)));
    assert_eq!(penalties.source(t0, ip(1)), stands[6]);
    assert_eq!(penalties.source(t0, ip(2)), Standing::Clear);
    assert_eq!(penalties.source(t0 + seconds(600), ip(1)), Standing::Clear, "a ban ends");
}

#[test]
fn who_is_guessed_from_many_sources_gets_in_from_a_new_one_and_each_guesser_has_one_attempt() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(PenaltyConfig { max_entries: 1_000, ..CONFIG }, t0);
    for source in 0..7 {
        assert_eq!(penalties.failed(t0, ip(source), "1001").pair, Standing::Clear);
    }
    for source in 7..200 {
        assert_eq!(penalties.pair(t0, ip(source), "1001"), Standing::Clear, "the first is looked at");
        assert_eq!(penalties.failed(t0, ip(source), "1001").pair, Standing::Banned(seconds(600)));
    }
    assert_eq!(penalties.pair(t0, ip(200), "1001"), Standing::Clear);
    assert_eq!(penalties.failed(t0, ip(200), "1002").pair, Standing::Clear, "others are patient as ever");
}

#[test]
fn an_ipv6_network_is_one_source_and_mapped_addresses_are_ipv4() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(PenaltyConfig { max_entries: 100, ..CONFIG }, t0);
    for host in 0..8 {
        let user = format!("{host}");
        penalties.failed(t0, format!("2001:db8::{host}").parse().unwrap(), &user);
        penalties.failed(t0, "::ffff:192.0.2.1".parse().unwrap(), &user);
    }
    assert!(matches!(penalties.source(t0, "2001:db8::ffff".parse().unwrap()), Standing::Banned(_)));
    assert!(matches!(penalties.source(t0, ip(1)), Standing::Banned(_)));
    assert_eq!(penalties.source(t0, "2001:db8:0:1::1".parse().unwrap()), Standing::Clear);
    assert_eq!(penalties.banned_sources(t0).count(), 2);
}

#[test]
fn the_tables_are_bounded_and_who_waits_goes_on_waiting() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    for name in 0..7 {
        penalties.failed(t0, ip(200), &format!("admin{name}"));
    }
    for last in 0..100 {
        let now = t0 + seconds(2 * u64::from(last));
        penalties.failed(now, ip(last), &format!("{last}{}", "x".repeat(10_000)));
    }
    assert!(penalties.held().iter().all(|held| *held <= 8), "{:?}", penalties.held());
    assert!(matches!(penalties.source(t0 + seconds(200), ip(200)), Standing::Banned(_)));
}

#[test]
fn the_configured_numbers_are_kept() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(PenaltyConfig::new(10, seconds(300)), t0);
    let standings: Vec<_> = (0..10).map(|_| penalties.failed(t0, ip(1), "1001").pair).collect();
    assert_eq!(standings.iter().filter(|it| **it == Standing::Clear).count(), 5);
    assert_eq!(standings.last(), Some(&Standing::Banned(seconds(300))));
    let one = PenaltyConfig::new(1, seconds(300));
    let failure = Penalties::new(one, t0).failed(t0, ip(1), "1001");
    assert_eq!(failure.pair, Standing::Banned(seconds(300)));
}
