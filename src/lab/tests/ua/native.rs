//! Two UAs of the native engine calling each other over loopback.

use std::time::Duration;

use crate::agents::{Heard, answered, audio, config, ended, event, incoming, open, silence};
use b2b_lab::engine;
use b2b_test_support::peer::wait_until;
use b2b_ua::{CallId, Codec, EndCause, Engine, UaError, UaEvent};

/// Two UAs exchange audio, and the caller hangs up.
fn call_each_other(bind: &str, transport: &str) {
    let (alice, bob) = (open("alice", bind), open("bob", bind));
    assert_ne!(bob.local().port(), 0);
    let (alice_heard, bob_heard) = (Heard::level(-8000), Heard::level(4000));
    let target = format!("sip:bob@{}{transport}", bob.local());
    let dialled = alice.dial(&target, audio(4000, &alice_heard)).expect("dialled");
    let call = match event(&*bob) {
        UaEvent::Incoming { call, from, to, sip_call_id } => {
            assert!(from.starts_with("sip:alice@"), "{from}");
            assert!(to.starts_with("sip:bob@"), "{to}");
            assert!(!sip_call_id.is_empty());
            call
        }
        other => panic!("no call came, but {other:?}"),
    };
    bob.answer(call, audio(-8000, &bob_heard)).expect("answered");
    for ua in [&alice, &bob] {
        match event(&**ua) {
            UaEvent::Answered { codec, ptime_ms, remote_rtp, .. } => {
                assert_eq!((codec, ptime_ms), (Codec::Pcmu, 20));
                assert_eq!(remote_rtp.ip(), ua.local().ip());
            }
            other => panic!("no answer came, but {other:?}"),
        }
    }
    alice_heard.wait_for(25);
    bob_heard.wait_for(25);
    wait_until("the counters follow", || {
        alice.stats().outgoing.in_call && alice.stats().outgoing.packets_rx >= 25
    });
    alice.hangup(dialled).expect("hung up");
    assert_eq!(ended(&*alice), EndCause::LocalHangup);
    assert_eq!(ended(&*bob), EndCause::RemoteHangup);
    let stats = bob.stats().incoming;
    assert!(!stats.in_call && stats.packets_rx >= 25 && stats.packets_tx >= 25, "{stats:?}");
    assert!(matches!(alice.hangup(dialled), Err(UaError::NoSuchCall)), "it is over");
    alice.shutdown(Duration::from_secs(5));
    bob.shutdown(Duration::from_secs(5));
}

#[test]
fn two_uas_hear_each_other_over_udp() {
    call_each_other("127.0.0.1:0", "");
}

#[test]
fn two_uas_hear_each_other_over_tcp() {
    call_each_other("127.0.0.1:0", ";transport=tcp");
}

#[test]
fn two_uas_hear_each_other_over_ipv6() {
    call_each_other("[::1]:0", "");
    call_each_other("[::1]:0", ";transport=tcp");
}

#[test]
fn the_callee_may_hang_up_too() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    alice.dial(&format!("sip:bob@{}", bob.local()), silence()).expect("dialled");
    let call = incoming(&*bob);
    bob.answer(call, silence()).expect("answered");
    answered(&*bob);
    bob.hangup(call).expect("hung up");
    assert_eq!(ended(&*bob), EndCause::LocalHangup);
    answered(&*alice);
    assert_eq!(ended(&*alice), EndCause::RemoteHangup);
}

#[test]
fn a_refusal_tells_the_caller_status_and_reason() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    alice.dial(&format!("sip:bob@{}", bob.local()), silence()).expect("dialled");
    bob.reject(incoming(&*bob), 486, "Busy Here").expect("refused");
    let failed = EndCause::Failed { status: 486, reason: "Busy Here".into() };
    assert_eq!(ended(&*alice), failed);
    assert_eq!(ended(&*bob), EndCause::Rejected { status: 486 });
    assert!(matches!(bob.answer(CallId(99), silence()), Err(UaError::NoSuchCall)));
}

#[test]
fn a_call_given_up_while_it_rings_is_cancelled_on_both_sides() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    let call = alice.dial(&format!("sip:bob@{}", bob.local()), silence()).expect("dialled");
    let at_bob = incoming(&*bob);
    alice.hangup(call).expect("given up");
    assert_eq!(ended(&*alice), EndCause::Cancelled);
    assert_eq!(ended(&*bob), EndCause::Cancelled);
    assert!(bob.answer(at_bob, silence()).is_err());
}

#[test]
fn shutdown_hangs_up_and_closes_the_events() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    alice.dial(&format!("sip:bob@{}", bob.local()), silence()).expect("dialled");
    bob.answer(incoming(&*bob), silence()).expect("answered");
    answered(&*bob);
    answered(&*alice);
    let events = alice.events().clone();
    alice.shutdown(Duration::from_secs(10));
    assert!(events.iter().any(|event| matches!(event, UaEvent::Ended { cause: EndCause::LocalHangup, .. })));
    assert_eq!(ended(&*bob), EndCause::RemoteHangup);
}

#[test]
fn a_host_name_is_resolved_to_an_address_that_we_can_reach() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    alice.dial(&format!("sip:bob@localhost:{}", bob.local().port()), silence()).expect("dialled");
    bob.reject(incoming(&*bob), 603, "Decline").expect("refused");
    assert_eq!(ended(&*alice), EndCause::Failed { status: 603, reason: "Decline".into() });
}

#[test]
fn a_call_to_where_nobody_listens_fails_at_once_over_tcp() {
    let alice = open("alice", "127.0.0.1:0");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("address");
    alice.dial(&format!("sip:bob@{free};transport=tcp"), silence()).expect("dialled");
    match ended(&*alice) {
        EndCause::Failed { status, .. } => assert_eq!(status, 503),
        other => panic!("{other:?}"),
    }
}

#[test]
fn targets_that_cannot_be_called_say_so() {
    let alice = open("alice", "127.0.0.1:0");
    for target in
        ["", "bob", "tel:+44", "sip:", "sip:bob@[::1]:5060", "sip:bob@0.0.0.0", "sip:b\r\nX: y@127.0.0.1"]
    {
        match alice.dial(target, silence()) {
            Err(UaError::Target { uri, .. }) => assert_eq!(uri, target),
            other => panic!("{target:?}: {other:?}"),
        }
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let alice = open("alice", "127.0.0.1:0");
    match engine::open(Engine::Native, config("bob", &alice.local().to_string())) {
        Err(UaError::Bind { addr, .. }) => assert_eq!(addr, alice.local()),
        other => panic!("{:?}", other.err()),
    };
}
