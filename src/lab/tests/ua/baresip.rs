//! The baresip engine within a process: start, end, and restart. Only one can exist at a time, so these tests
//! take turns.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::agents::{Heard, answered, audio, config, ended, incoming, open, silence};
use b2b_lab::engine;
use b2b_test_support::peer::{OFFER, PATIENCE, Peer, header, reply, wait_until};
use b2b_ua::{
    Audio, EndCause, Engine, Fill, FrameSink, FrameSource, InFrame, OutFrame, Ua, UaError, UaEvent,
};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_baresip() -> Box<dyn Ua> {
    engine::open(Engine::Baresip, config("alice", "127.0.0.1:0")).expect("a UA")
}

/// The number of the engine's threads.
fn threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    names
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok())
        .filter(|name| ["baresip-reactor", "audio-clock", "Audio TX"].contains(&name.trim()))
        .count()
}

#[test]
fn it_opens_again_after_a_shutdown_and_after_a_drop() {
    let _turn = turn();
    for round in 0..6 {
        let (alice, bob) = (open_baresip(), open("bob", "127.0.0.1:0"));
        let second = engine::open(Engine::Baresip, config("carol", "127.0.0.1:0"));
        assert!(matches!(second, Err(UaError::Unsupported(_))), "one at a time");
        let (alice_heard, bob_heard) = (Heard::level(-8_000), Heard::level(4_000));
        alice.dial(&format!("sip:bob@{}", bob.local()), audio(4_000, &alice_heard)).expect("dialled");
        bob.answer(incoming(&*bob), audio(-8_000, &bob_heard)).expect("answered");
        answered(&*alice);
        answered(&*bob);
        alice_heard.wait_for(10);
        bob_heard.wait_for(10);
        // Both send BYE to the established call.
        if round % 2 == 0 {
            alice.shutdown(Duration::from_secs(5))
        } else {
            drop(alice)
        }
        assert_eq!(ended(&*bob), EndCause::RemoteHangup);
        assert_eq!(threads(), 0, "of the engine");
    }
}

/// Hang-ups of an outgoing call, before, while and after the far end answers.
#[test]
fn a_call_of_ours_can_be_hung_up_in_every_state() {
    let _turn = turn();
    let (alice, peer) = (open_baresip(), Peer::new());
    let target = format!("sip:peer@{}", peer.local);
    let dial = || alice.dial(&target, silence()).expect("dialled");

    // No response yet: no CANCEL may be sent (RFC 3261 §9.1).
    let call = dial();
    alice.hangup(call).expect("hung up");
    assert_eq!(ended(&*alice), EndCause::Cancelled);
    assert!(matches!(alice.hangup(call), Err(UaError::NoSuchCall)), "it is over");
    let unheard = header(&peer.expect("INVITE "), "Call-ID");

    // Ringing.
    let call = dial();
    let invite = loop {
        let invite = peer.expect("INVITE ");
        if header(&invite, "Call-ID") != unheard {
            break invite;
        }
    };
    let tagged = |request: &str, status: &str| {
        let to = format!("To: {}", header(request, "To"));
        reply(request, status).replace(&to, &format!("{to};tag=p"))
    };
    peer.send(alice.local(), &tagged(&invite, "180 Ringing"));
    let rings = |event: &UaEvent| matches!(event, UaEvent::Progress { status: 180, .. });
    assert!(alice.events().recv_timeout(PATIENCE).is_ok_and(|event| rings(&event)));
    alice.hangup(call).expect("hung up");
    alice.hangup(call).expect("it is no error to ask twice");
    let cancel = peer.expect("CANCEL ");
    peer.send(alice.local(), &reply(&cancel, "200 OK"));
    peer.send(alice.local(), &tagged(&invite, "487 Request Terminated"));
    assert_eq!(ended(&*alice), EndCause::Cancelled);
    alice.shutdown(Duration::from_secs(1));
}

#[test]
fn a_call_of_theirs_can_be_hung_up_or_refused_before_the_answer() {
    let _turn = turn();
    let (alice, peer) = (open_baresip(), Peer::new());
    peer.send(alice.local(), &peer.invite("unwanted", OFFER));
    alice.hangup(incoming(&*alice)).expect("hung up");
    peer.expect("SIP/2.0 480 Temporarily Unavailable\r\n");
    assert_eq!(ended(&*alice), EndCause::Rejected { status: 480 });

    // The library uses a reason as a printf format.
    peer.send(alice.local(), &peer.invite("refused", OFFER));
    alice.reject(incoming(&*alice), 486, "100 %s%s%s%s%s%s full\r\nX: y").expect("refused");
    assert!(peer.expect("SIP/2.0 486").starts_with("SIP/2.0 486 100 ssssss fullX: y\r\n"));
    assert_eq!(ended(&*alice), EndCause::Rejected { status: 486 });

    // A CANCEL before the decision: a later answer fails.
    peer.send(alice.local(), &peer.invite("given-up", OFFER));
    let call = incoming(&*alice);
    let cancel = peer.request("CANCEL", "given-up", "Max-Forwards: 70\r\n", "");
    peer.send(alice.local(), &cancel.replace("-CANCEL", "-INVITE"));
    peer.expect("SIP/2.0 487");
    assert_eq!(ended(&*alice), EndCause::Cancelled);
    assert!(matches!(alice.answer(call, silence()), Err(UaError::NoSuchCall)));
    alice.shutdown(Duration::from_secs(1));
}

/// The far end must not remain in a call that was not acknowledged.
#[test]
fn a_call_without_ack_gets_its_bye_at_the_latest_when_the_engine_ends() {
    let _turn = turn();
    let (alice, peer) = (open_baresip(), Peer::new());
    peer.send(alice.local(), &peer.invite("no-ack", OFFER));
    let call = incoming(&*alice);
    alice.answer(call, silence()).expect("answered");
    peer.expect("SIP/2.0 200");
    alice.hangup(call).expect("hung up");
    drop(alice);
    peer.expect("BYE ");
}

struct Panics;

impl FrameSource for Panics {
    fn fill(&mut self, _: &mut OutFrame<'_>) -> Fill {
        panic!("a source breaks");
    }
}

struct Deaf;

impl FrameSink for Deaf {
    fn frame(&mut self, _: &InFrame<'_>) {}
}

const IN_CHILD: &str = "B2B_TEST_PANICS";

#[test]
fn a_panic_of_a_source_ends_the_process_with_70() {
    let _turn = turn();
    if std::env::var_os(IN_CHILD).is_some() {
        let (alice, bob) = (open_baresip(), open("bob", "127.0.0.1:0"));
        let audio = Audio { source: Box::new(Panics), sink: Box::new(Deaf) };
        alice.dial(&format!("sip:bob@{}", bob.local()), audio).expect("dialled");
        bob.answer(incoming(&*bob), silence()).expect("answered");
        wait_until("the process ends", || false);
    }
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "baresip::a_panic_of_a_source_ends_the_process_with_70", "--nocapture"])
        .env(IN_CHILD, "1")
        .status()
        .expect("it starts");
    assert_eq!(status.code(), Some(70));
}
