//! Failures in queues.

use super::*;

fn ended(call: &IncomingCall) -> bool {
    matches!(call.state(), b2b::client::CallState::Ended(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_rejects_and_who_does_not_answer_cost_the_caller_only_time() {
    let sounds = Sounds::new(&NAMES);
    let server = office(&sounds, &format!("{SPOKEN}ring_s = 3\nmisses = 1\n"));
    let (_one, mut first) = registered(&server, "1001").await;
    let (_two, mut second) = registered(&server, "1002").await;
    is(&server, "1002", "available");
    let ann = caller("ann");
    let (call, _) = calls(&ann, &server, "sales", &sounds).await;
    rings(&mut first).await.reject(486).await.expect("rejected");
    // The second agent's phone rings without an answer.
    let unanswered = rings(&mut second).await;
    is(&server, "1002", "paused");
    until("the end of the ringing", || ended(&unanswered).then_some(()));
    let at_agent = within("acknowledged", rings(&mut first).await.answer()).await.expect("answered");
    talk(&call, &at_agent).await;
    within("hung up", call.hangup()).await.expect("hung up");
    is_empty(&server).await;
    let queue = server.get("/queues/sales").json();
    assert_eq!(
        (queue["counters"]["rejected"].as_u64(), queue["counters"]["missed"].as_u64()),
        (Some(1), Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_at_each_step_leaves_nothing() {
    let sounds = Sounds::new(&NAMES);
    let server = office(&sounds, SPOKEN);
    let ann = caller("ann");
    // The caller hangs up during the welcome, while waiting, and while a phone rings.
    let (call, mut ear) = calls(&ann, &server, "sales", &sounds).await;
    ear.frames.recv().await.expect("the call is up");
    within("hung up", call.hangup()).await.expect("hung up");
    let (call, mut ear) = calls(&ann, &server, "sales", &sounds).await;
    ear.hears("position").await;
    within("hung up", call.hangup()).await.expect("hung up");
    is_empty(&server).await;
    let (_phone, mut incoming) = registered(&server, "1001").await;
    let (call, _) = calls(&ann, &server, "sales", &sounds).await;
    let ringing = rings(&mut incoming).await;
    within("hung up", call.hangup()).await.expect("hung up");
    until("the end of the ringing", || ended(&ringing).then_some(()));
    is(&server, "1001", "available");
    is_empty(&server).await;
    let queue = server.get("/queues/sales").json();
    assert_eq!((queue["counters"]["abandoned"].as_u64(), queue["waiting"].as_u64()), (Some(3), Some(0)));
    assert!(server.metric("b2b_held{what=\"media_endpoints\"}") < 0.1);
    let records = records(&server, 3);
    assert!(
        records.iter().take(3).all(|it| variable(it, "queue_result") == Some("abandoned")),
        "{records:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digit_and_a_wait_that_is_too_long_lead_out_and_a_full_queue_refuses() {
    let sounds = Sounds::new(&NAMES);
    let bob = crate::apps::ivr::phone_at("bob", "127.0.0.2:0");
    bob.start().await.expect("a client");
    let mut at_bob = bob.incoming().await.expect("calls");
    let to = bob.uri().expect("started");
    let ways = format!("{SPOKEN}length = 1\npatience_s = 6\ntimeout_to = {to:?}\nleave = {{ 9 = {to:?} }}\n");
    let server = office(&sounds, &ways);
    let (ann, cat) = (caller("ann"), caller("cat"));
    let (call, mut ear) = calls(&ann, &server, "sales", &sounds).await;
    let refused = cat.call(format!("sip:sales@{}", server.sip)).await.expect("a call");
    assert!(within("a refusal", refused.wait_for_answer()).await.is_err(), "there is no room");
    ear.hears("welcome").await;
    call.send_digits("9", None).await.expect("a digit");
    let there = within("acknowledged", rings(&mut at_bob).await.answer()).await.expect("answered");
    talk(&call, &there).await;
    within("hung up", there.hangup()).await.expect("hung up");
    is_empty(&server).await;

    let (call, _) = calls(&ann, &server, "sales", &sounds).await;
    let there = within("acknowledged", rings(&mut at_bob).await.answer()).await.expect("answered");
    talk(&call, &there).await;
    within("hung up", call.hangup()).await.expect("hung up");
    is_empty(&server).await;
    let counters = server.get("/queues/sales").json()["counters"].clone();
    let told = ["full", "left_by_digit", "timed_out"].map(|name| counters[name].as_u64());
    assert_eq!(told, [Some(1); 3], "{counters}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_that_are_gone_are_not_heard_and_the_caller_is_served() {
    let sounds = Sounds::new(&NAMES);
    let server = office(&sounds, SPOKEN);
    for name in ["welcome", "position"] {
        std::fs::remove_file(sounds.path(name)).expect("a file");
    }
    let ann = caller("ann");
    let (call, mut ear) = calls(&ann, &server, "sales", &sounds).await;
    tone(&mut ear.frames, MUSIC).await;
    let (_phone, mut incoming) = registered(&server, "1001").await;
    let at_agent = within("acknowledged", rings(&mut incoming).await.answer()).await.expect("answered");
    talk(&call, &at_agent).await;
    within("hung up", call.hangup()).await.expect("hung up");
    is_empty(&server).await;
}
