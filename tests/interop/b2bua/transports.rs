//! TCP, IPv6, and legs with different transports.

use std::net::IpAddr;

use super::lab::{Lab, Place};
use crate::interop::support::wire::audio_address;

/// A call with audio both ways, between parties on these transports.
fn call(lab: &Lab, (ann, bob): (&Place, &Place), (from, to): (&str, &str)) {
    let callee = lab.sipp(bob, "callee").args(&["-t", to]).listens();
    let caller = lab.sipp(ann, "caller").args(&["-t", from, "-d", "2000"]).calls("bob");
    lab.told(ann, "200", |it| it.is_response(200, "INVITE"));
    let (to_ann, to_bob) = (lab.media_for(ann), lab.media_for(bob));
    for (address, place) in [(to_ann, ann), (to_bob, bob)] {
        assert_eq!(address.is_ipv6(), place.sip.is_ipv6(), "{}", place.name);
    }
    let speaking = [ann.ear.says(0x71, to_ann), bob.ear.says(0x72, to_bob)];
    ann.ear.hears(0x72, 10);
    bob.ear.hears(0x71, 10);
    drop(speaking);
    caller.wait_ok();
    callee.wait_ok();
    for (place, transport) in [(ann, from), (bob, to)] {
        let wanted = if transport.starts_with('t') { "SIP/2.0/TCP" } else { "SIP/2.0/UDP" };
        let vias = lab.messages(place);
        assert!(vias.iter().all(|it| it.fields("Via").all(|via| via.starts_with(wanted))), "{}", place.name);
        let told = lab.messages(place);
        let told = told.iter().filter(|it| it.to == place.sip);
        let sessions = told.filter_map(|it| audio_address(it.body()));
        assert!(
            sessions.clone().count() > 0 && sessions.clone().all(|it| it.is_ipv6() == place.sip.is_ipv6())
        );
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_calls_over_tcp_and_between_udp_and_tcp() {
    for (from, to) in [("t1", "t1"), ("t1", "u1"), ("u1", "t1")] {
        let (ann, bob) = (Place::new("ann", 71), Place::new("bob", 72));
        let transport = if to == "t1" { ";transport=tcp" } else { "" };
        let lab = Lab::new(&format!("[[route]]\ncalled = \"bob\"\nto = \"{}{transport}\"\n", bob.uri("bob")));
        call(&lab, (&ann, &bob), (from, to));
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_calls_over_ipv6() {
    let here: IpAddr = "::1".parse().expect("an address");
    let (ann, bob) = (Place::at("ann", here), Place::at("bob", here));
    let lab = Lab::listening("[::1]", "\"::1\"", &bob.route("bob"));
    call(&lab, (&ann, &bob), ("u1", "u1"));
}
