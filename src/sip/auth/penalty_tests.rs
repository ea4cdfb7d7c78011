use super::*;

const CONFIG: PenaltyConfig = PenaltyConfig {
    free: 3,
    first_wait: Duration::from_secs(1),
    ban_after: 7,
    ban: Duration::from_secs(600),
    forget: Duration::from_secs(60),
    max_entries: 4,
};

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn failures_are_free_then_slow_and_lead_to_a_ban() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    let mut now = t0;
    let mut seen = Vec::new();
    for _ in 0..7 {
        let standing = penalties.failed(now, ip(1), "1001");
        if let Standing::Wait(rest) | Standing::Banned(rest) = standing {
            assert_eq!(
                penalties.source(now + rest / 2, ip(1)).max(Standing::Clear),
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
    assert_eq!(penalties.source(now, ip(1)), Standing::Clear, "a ban ends");
}

#[test]
fn failures_are_forgotten_one_by_one() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    for minute in 0..1_000 {
        let standing = penalties.failed(t0 + seconds(60 * minute), ip(1), "1001");
        assert_eq!(standing, Standing::Clear, "a typing error a minute harms nobody");
    }
}

#[test]
fn sources_and_users_are_counted_apart() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    for last in 0..4 {
        penalties.failed(t0, ip(last), "1001");
    }
    assert_eq!(penalties.source(t0, ip(0)), Standing::Clear);
    assert_eq!(penalties.user(t0, "1001", false), Standing::Wait(seconds(1)), "from four places");
    assert_eq!(penalties.user(t0, "1001", true), Standing::Clear, "but not for himself at home");
    assert_eq!(penalties.user(t0, "1002", false), Standing::Clear);
    penalties.forgive_user("1001");
    assert_eq!(penalties.user(t0, "1001", false), Standing::Clear);
}

#[test]
fn success_forgives_the_source() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    for _ in 0..3 {
        penalties.failed(t0, ip(1), "1001");
    }
    penalties.succeeded(ip(1));
    assert_eq!(penalties.failed(t0, ip(1), "1002"), Standing::Clear);
    assert_eq!(penalties.user(t0, "1001", false), Standing::Clear);
}

#[test]
fn an_ipv6_network_is_one_source_and_mapped_addresses_are_ipv4() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    for host in 0..8 {
        penalties.failed(t0, format!("2001:db8::{host}").parse().unwrap(), "1001");
        penalties.failed(t0, "::ffff:192.0.2.1".parse().unwrap(), "1002");
    }
    assert!(matches!(penalties.source(t0, "2001:db8::ffff".parse().unwrap()), Standing::Banned(_)));
    assert!(matches!(penalties.source(t0, ip(1)), Standing::Banned(_)));
    assert_eq!(penalties.source(t0, "2001:db8:0:1::1".parse().unwrap()), Standing::Clear);
    assert_eq!(penalties.banned_sources(t0).count(), 2);
}

#[test]
fn the_tables_are_bounded_and_who_is_banned_stays_banned() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(CONFIG, t0);
    for _ in 0..7 {
        penalties.failed(t0, ip(200), "admin");
    }
    for last in 0..100 {
        let now = t0 + seconds(2 * u64::from(last));
        penalties.failed(now, ip(last), &format!("{last}{}", "x".repeat(10_000)));
    }
    let (sources, users) = penalties.held();
    assert!(sources <= 4 && users <= 4, "{sources} {users}");
    assert!(matches!(penalties.source(t0 + seconds(200), ip(200)), Standing::Banned(_)));
    assert!(matches!(penalties.user(t0 + seconds(200), "admin", false), Standing::Banned(_)));
}

#[test]
fn the_configured_numbers_are_kept() {
    let t0 = Instant::now();
    let mut penalties = Penalties::new(PenaltyConfig::new(10, seconds(300)), t0);
    let standings: Vec<_> = (0..10).map(|_| penalties.failed(t0, ip(1), "1001")).collect();
    assert_eq!(standings.iter().filter(|it| **it == Standing::Clear).count(), 5);
    assert_eq!(standings.last(), Some(&Standing::Banned(seconds(300))));
    let one = PenaltyConfig::new(1, seconds(300));
    let standing = Penalties::new(one, t0).failed(t0, ip(1), "1001");
    assert_eq!(standing, Standing::Banned(seconds(300)));
}
