//! Which sources an endpoint with a local source and sink believes and sends to.

use std::net::IpAddr;

use super::*;

const STRANGER: [u8; 4] = [127, 0, 0, 66];
const SIGNALLING: [u8; 4] = [127, 0, 0, 7];

fn far(host: [u8; 4]) -> SocketAddr {
    SocketAddr::from((host, 6_666))
}

/// A far end with signalling from this host.
fn signalled(signalling: Option<IpAddr>) -> MediaParams {
    let remote = Remote { signalling: [signalling, None], ..params(20).remote };
    MediaParams { remote, ..params(20) }
}

/// Destinations of its RTP.
fn destinations(bench: &Bench) -> Vec<SocketAddr> {
    let rtp = bench.out.sent.iter().filter(|sent| sent.channel == Channel::Rtp);
    rtp.map(|sent| sent.to).collect()
}

#[test]
fn a_stranger_is_neither_heard_nor_answered_whenever_they_come() {
    // A party that signals its address, and one behind a NAT.
    let public = (SocketAddr::from(([127, 0, 0, 1], 4_000)), None);
    let behind = (SocketAddr::from((SIGNALLING, 31_000)), Some(IpAddr::from(SIGNALLING)));
    for (source, signalling) in [public, behind] {
        let there = signalled(signalling);
        let mut bench = Bench::new(LocalConfig::default(), there.clone(), Script(Vec::new()));
        let mut n = 0u32;
        let mut window = |bench: &mut Bench, with_party: bool| {
            for _ in 0..25 {
                let ms = u64::from(n) * 20;
                bench.put(ms, far(STRANGER), &audio(7, n));
                bench.put(ms, far(STRANGER), &packet(101, n as u16, n * 160, 7, &[5, 0x8A, 3, 0x20]));
                if with_party {
                    bench.put(ms, source, &audio(9, n));
                }
                bench.wake(ms);
                n += 1;
            }
            bench.stats()
        };
        let early = window(&mut bench, false);
        assert_eq!((early.packets_rx, early.injected), (0, 50));
        let answered = window(&mut bench, true);
        assert_eq!((answered.packets_rx, answered.injected), (25, 100));
        // Hold, resume, and a re-INVITE to another port.
        let rtp = SocketAddr::new(there.remote.rtp.ip(), 4_100);
        let moved = MediaParams { remote: Remote { rtp, ..there.remote }, ..there.clone() };
        for (at, change, hears) in [
            (1_000, directed(false, false, there.clone()), false),
            (1_500, there.clone(), true),
            (2_000, moved, true),
        ] {
            bench.configure(at, change);
            window(&mut bench, hears);
        }
        let stats = bench.stats();
        assert_eq!((stats.packets_rx, stats.digits, stats.injected), (75, 0, 250), "{source}");
        let to = destinations(&bench);
        assert!(to.iter().all(|to| *to != far(STRANGER)));
        assert!(to.contains(&source), "{to:?}");
    }
}

#[test]
fn a_source_that_nobody_names_is_not_learned_and_the_host_of_the_signalling_is() {
    let mut bench = Bench::plain();
    bench.put(0, far(SIGNALLING), &audio(9, 0));
    assert_eq!(bench.stats().injected, 1);
    bench.configure(10, signalled(Some(SIGNALLING.into())));
    bench.put(20, far(SIGNALLING), &audio(9, 1));
    bench.put(40, far(SIGNALLING), &audio(9, 2));
    assert_eq!(bench.stats().packets_rx, 2);
}

#[test]
fn injection_is_counted_and_the_source_of_packets_is_where_ours_go() {
    let mut bench = Bench::plain();
    for n in 0..10 {
        bench.receive(u64::from(n) * 20, 4_444, &audio(9, n));
        bench.receive(u64::from(n) * 20, 6_666, &audio(7, n));
        bench.wake(u64::from(n) * 20);
    }
    let stats = bench.stats();
    assert_eq!((stats.packets_rx, stats.injected), (10, 10));
    assert_eq!(bench.out.sent.last().unwrap().to, address(4_444));
}

#[test]
fn what_a_far_end_counts_on_while_it_is_held_or_elsewhere_is_no_loss() {
    let mut bench = Bench::plain();
    let mut at = 0;
    let mut hear = |bench: &mut Bench, port: u16, from: u32| {
        for n in from..from + 50 {
            at += 20;
            bench.receive(at, port, &audio(7, n));
            bench.wake(at);
        }
        at
    };
    let now = hear(&mut bench, 4_000, 0);
    let held = directed(false, true, params(20));
    bench.configure(now, held);
    // A second of hold; then some packets arrive before the answer is read.
    for n in 100..103 {
        bench.receive(now + 1_000, 4_000, &audio(7, n));
    }
    bench.configure(now + 1_000, params(20));
    let now = hear(&mut bench, 4_000, 110) + 1_000;
    let whole = bench.reception();
    assert_eq!((bench.stats().lost, whole.expected), (0, 103));
    // From now on it has another address, and was elsewhere meanwhile.
    let remote = Remote { rtp: address(4_002), ..params(20).remote };
    let moved = MediaParams { remote, ..params(20) };
    bench.configure(now, moved);
    hear(&mut bench, 4_002, 300);
    assert_eq!(bench.stats().lost, 0);
    hear(&mut bench, 4_002, 355);
    assert_eq!(bench.stats().lost, 5, "without a reason it is");
}
