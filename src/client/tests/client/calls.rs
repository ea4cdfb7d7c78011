//! Clients of the library on loopback: calls that are answered, refused, cancelled and ended.

use std::time::Duration;

use b2b_client::{
    Call, CallError, CallState, ClientEvent, Codec, EndCause, IncomingCalls, PlayEnd, SipClient, Sound,
    StartError,
};
use b2b_test_support::client::hand::until;
use b2b_test_support::client::{PATIENCE, named, within};

async fn clients() -> (SipClient, SipClient, IncomingCalls) {
    let alice = headless("alice").await;
    let bob = headless("bob").await;
    let incoming = bob.incoming().await.expect("calls");
    (alice, bob, incoming)
}

async fn call(alice: &SipClient, bob: &SipClient) -> Call {
    alice.call(bob.uri().expect("started")).await.expect("a call")
}

#[tokio::test]
async fn two_clients_talk_and_the_caller_hangs_up() {
    let (alice, bob, mut incoming) = clients().await;
    let mut events = alice.events().await.expect("events");
    let at_alice = call(&alice, &bob).await;
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    assert_eq!(ringing.from(), "sip:alice@127.0.0.1");
    assert!(ringing.to().starts_with("sip:bob@127.0.0.1:"), "{}", ringing.to());
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", at_alice.wait_for_answer()).await.expect("answered");
    let agreed = at_alice.agreed().expect("settled");
    assert_eq!((agreed.codec, agreed.ptime_ms), (Codec::Opus, 20));

    let id = at_alice.id();
    let started = |event: &ClientEvent| *event == ClientEvent::MediaStarted { call: id };
    let seen = until(&mut events, "bob's sound", started).await;
    assert!(seen.contains(&ClientEvent::State { call: id, state: CallState::Answered }), "{seen:?}");

    within("hung up", at_alice.hangup()).await.expect("hung up");
    let stopped = |event: &ClientEvent| *event == ClientEvent::MediaStopped { call: id };
    until(&mut events, "the end of the media", stopped).await;
    within("the end", at_alice.wait_for_end()).await;
    assert_eq!(at_alice.state(), CallState::Ended(EndCause::LocalHangup));
    assert_eq!(within("the end", at_bob.wait_for_end()).await, EndCause::RemoteHangup);
    at_bob.hangup().await.expect("it is over already");
}

#[tokio::test]
async fn a_refused_call_says_with_which_status_and_what_to_do() {
    let (alice, bob, mut incoming) = clients().await;
    let refused = call(&alice, &bob).await;
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    assert!(matches!(ringing.reject(200).await, Err(CallError::Status(200))));
    let again = call(&alice, &bob).await;
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    within("refused", ringing.reject(486)).await.expect("refused");
    match within("an answer", again.wait_for_answer()).await {
        Err(CallError::Ended(cause @ EndCause::Failed { status: 486, .. })) => {
            assert!(cause.to_string().contains("try again later"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    // The first one was dropped without a decision.
    assert!(matches!(refused.wait_for_end().await, EndCause::Failed { status: 480, .. }));
}

#[tokio::test]
async fn a_client_that_takes_no_calls_refuses_them() {
    let (alice, bob, incoming) = clients().await;
    drop(incoming);
    let refused = call(&alice, &bob).await;
    assert!(matches!(within("an end", refused.wait_for_end()).await, EndCause::Failed { status: 480, .. }));
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_nothing_to_answer() {
    let (alice, bob, mut incoming) = clients().await;
    let given_up = call(&alice, &bob).await;
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    within("given up", given_up.hangup()).await.expect("given up");
    assert_eq!(given_up.state(), CallState::Ended(EndCause::Cancelled));
    within("the end here", async {
        while !ringing.state().is_over() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(matches!(ringing.answer().await, Err(CallError::Ended(EndCause::Cancelled))));
}

#[tokio::test]
async fn dropping_a_call_leaves_it_up_and_dropping_the_client_hangs_up() {
    let (alice, bob, mut incoming) = clients().await;
    drop(call(&alice, &bob).await);
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    assert_eq!(at_bob.state(), CallState::Answered);
    drop(alice);
    assert_eq!(within("the end", at_bob.wait_for_end()).await, EndCause::RemoteHangup);
}

#[tokio::test]
async fn a_client_that_is_stopped_ends_its_calls_and_its_streams() {
    let (alice, bob, mut incoming) = clients().await;
    let mut events = bob.events().await.expect("events");
    let at_alice = call(&alice, &bob).await;
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    within("stopped", bob.stop(PATIENCE)).await;
    assert_eq!(at_bob.state(), CallState::Ended(EndCause::LocalHangup));
    assert!(within("the end", incoming.next()).await.is_none());
    let mut last = None;
    while let Some(event) = within("the end", events.next()).await {
        last = Some(event);
    }
    assert_eq!(last, Some(ClientEvent::Stopped));
    assert!(matches!(bob.call("sip:a@127.0.0.1").await, Err(CallError::Start(StartError::Stopped))));
    assert_eq!(within("the end", at_alice.wait_for_end()).await, EndCause::RemoteHangup);
}

#[tokio::test]
async fn the_far_end_is_held_and_taken_back() {
    let (alice, bob, mut incoming) = clients().await;
    let at_alice = call(&alice, &bob).await;
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    assert!(matches!(at_alice.hold().await, Err(CallError::NotAnswered)), "it only rings");
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", at_alice.wait_for_answer()).await.expect("answered");
    let mut events = at_bob.events();
    within("held", at_alice.hold()).await.expect("held");
    within("taken back", at_alice.resume()).await.expect("taken back");
    for wanted in [true, false] {
        let told = |event: &ClientEvent| matches!(event, ClientEvent::Held { held, .. } if *held == wanted);
        let before = until(&mut events, "hold", told).await;
        let held = before.iter().filter(|event| matches!(event, ClientEvent::Held { .. })).count();
        assert_eq!(held, 1, "{before:?}");
    }
    within("hung up", at_alice.hangup()).await.expect("hung up");
    assert!(matches!(within("an end", at_alice.hold()).await, Err(CallError::NotAnswered)));
}

#[tokio::test]
async fn a_sound_is_finished_when_it_is_sent_and_ends_with_its_call() {
    let (alice, bob, mut incoming) = clients().await;
    let at_alice = call(&alice, &bob).await;
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", at_alice.wait_for_answer()).await.expect("answered");
    let short = at_alice.play(Sound::tone(440.0, 60)).await.expect("playing");
    assert_eq!(within("the tone's end", short.finished()).await, PlayEnd::Finished);
    let first = at_alice.play(Sound::silence(3_600_000)).await.expect("playing");
    let second = at_alice.play(Sound::tone(440.0, 3_600_000)).await.expect("playing");
    assert_eq!(within("replaced", first.finished()).await, PlayEnd::Replaced);
    within("hung up", at_alice.hangup()).await.expect("hung up");
    assert_eq!(within("the call's end", second.finished()).await, PlayEnd::CallEnded);
    assert!(at_alice.play(Sound::silence(1)).await.is_err());
}

#[tokio::test]
async fn targets_that_cannot_be_called_say_why() {
    let alice = headless("alice").await;
    for target in ["bob", "tel:1", "sip:bob@0.0.0.0", "sip:bob@[::1]:5060"] {
        let refused = alice.call(target).await;
        assert!(matches!(refused, Err(CallError::Target { .. })), "{target}: {refused:?}");
    }
    // Port 9 (discard) of loopback: nothing listens there, and an ICMP error is returned.
    let unreachable = alice.call("sip:bob@127.0.0.1:9").await.expect("a call");
    assert!(within("an answer", unreachable.wait_for_answer()).await.is_err());
}

/// A client with only the program's own audio, whatever the machine.
async fn headless(name: &str) -> SipClient {
    let client = named(name).build().expect("a client");
    client.start().await.expect("started");
    client
}

#[tokio::test]
async fn a_client_of_one_line_has_the_devices_of_the_machine() {
    let client = SipClient::new("sip:alice@127.0.0.1").await.expect("a client");
    // No device is opened, since no call is up.
    client.use_microphone(None).await.expect("devices");
    let refused = headless("bob").await.use_microphone(None).await;
    assert!(matches!(refused, Err(b2b_client::DeviceError::NoDevices)), "{refused:?}");
}
