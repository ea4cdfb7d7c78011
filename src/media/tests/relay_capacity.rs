//! As many calls as the server supports by default, with real sockets, in one process.

// As in test functions (clippy.toml): a failing helper fails the test.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use b2b_base::util::process;
use b2b_media::forward::PayloadMap;
use b2b_media::relay::{EndpointConfig, RelayConfig, RelayEvent, RelayHandle, RelayId, Way};
use b2b_media::remote::Remote;

const CALLS: usize = 10_000;
/// Descriptors that a table must hold for the threads below.
const TABLE: usize = 20_000;
/// A separate address: other tests use 127.0.0.1 with the same ports meanwhile.
const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 93, 7, 1));
/// Octets of the engine, without descriptions and signalling; the kernel's are not included.
const MOST_A_CALL: u64 = 6_000;

fn endpoint(relay: &RelayHandle, near: Option<RelayId>) -> RelayId {
    let config = EndpointConfig { rtp_timeout: Some(Duration::from_secs(60)), ..EndpointConfig::default() };
    let (id, local) = relay.open(false, near, config).wait().expect("a free port");
    let rtp = SocketAddr::new(IP, local.port());
    relay.describe(id, Remote::at(rtp));
    id
}

#[test]
fn ten_thousand_calls_are_held_at_once() {
    let most = process::descriptor_limit();
    assert!(most >= TABLE, "the hard limit of descriptors is {most}; raise it to {TABLE} (ulimit -Hn)");
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    let config = RelayConfig { threads: 2, ..RelayConfig::new(vec![IP], 16_384..=65_535, 1) };
    let (relay, _events) = RelayHandle::spawn::<RelayEvent>(config).expect("a relay");
    assert_eq!(relay.threads().1, 2, "each media thread has a descriptor table of its own");
    let mut payload_types = PayloadMap::EMPTY;
    payload_types.forward(0, 0);
    let way = Way::new(payload_types, 8_000);
    let before = process::resident_bytes();
    let calls: Vec<[RelayId; 2]> = (0..CALLS)
        .map(|_| {
            let a = endpoint(&relay, None);
            let b = endpoint(&relay, Some(a));
            assert!(relay.join(a, b, way, way));
            [a, b]
        })
        .collect();
    let last = calls.iter().rev().take(2);
    for [a, _] in last {
        relay.stats(*a).blocking_recv().expect("an open endpoint");
    }
    let a_call = process::resident_bytes().saturating_sub(before) / CALLS as u64;
    println!("{a_call} octets a call");
    assert_eq!(relay.open_endpoints(), CALLS * 2);
    assert!(a_call <= MOST_A_CALL, "{a_call} octets a call");
    for id in calls.into_iter().flatten() {
        relay.close(id);
    }
    assert_eq!(relay.open_endpoints(), 0);
    relay.shutdown();
}
