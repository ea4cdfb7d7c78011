//! When the silence of a far end is a timeout, and when it is not.

use super::*;

#[test]
fn the_timeout_runs_while_rtp_is_expected_and_is_armed_again() {
    let config = LocalConfig { rtp_timeout: Some(Duration::from_secs(2)), ..LocalConfig::default() };
    let mut bench = Bench::new(config, params(20), Script(Vec::new()));
    (0..100).for_each(|n| bench.wake(n * 20));
    assert_eq!(bench.timeouts(), 0);
    bench.wake(2_000);
    bench.wake(9_000);
    assert_eq!(bench.timeouts(), 1, "once");
    bench.receive(9_000, 4_000, &audio(9, 0));
    bench.receive(9_000, 4_000, &audio(9, 1));
    bench.wake(10_990);
    assert_eq!(bench.timeouts(), 1);
    bench.wake(11_000);
    assert_eq!(bench.timeouts(), 2, "armed by a packet");
    bench.configure(11_000, directed(false, true, params(20)));
    bench.wake(60_000);
    assert_eq!(bench.timeouts(), 2, "not while held");
    bench.configure(60_000, params(20));
    bench.wake(61_999);
    assert_eq!(bench.timeouts(), 2);
    bench.wake(62_000);
    assert_eq!(bench.timeouts(), 3, "armed by configure");
}

#[test]
fn a_hold_without_music_is_no_timeout_but_an_announcement_that_stops_is() {
    let only_receiving = directed(true, false, params(20));
    let config = LocalConfig { rtp_timeout: Some(Duration::from_secs(20)), ..LocalConfig::default() };
    let mut bench = Bench::new(config.clone(), params(20), Script(Vec::new()));
    bench.wake(0);
    bench.configure(1_000, only_receiving.clone());
    (0..2).for_each(|n| bench.receive(2_000 + u64::from(n) * 20, 4_000, &audio(9, n)));
    bench.wake(60_000);
    assert_eq!(bench.timeouts(), 0);
    bench.configure(60_000, params(20));
    bench.wake(81_000);
    assert_eq!(bench.timeouts(), 1, "taken back, and silent");

    let mut bench = Bench::new(config, only_receiving, Script(Vec::new()));
    bench.wake(21_000);
    assert_eq!(bench.timeouts(), 1, "never held: one way from its start");
}
