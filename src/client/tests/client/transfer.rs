//! Transfers: between clients, and message by message against a hand-written peer.

use b2b_client::{CallError, CallState, ClientEvent, DtmfMode, EndCause, SipClient, TransferPolicy};
use b2b_test_support::client::hand::{Hand, builder, client, connected_to, started, until};
use b2b_test_support::client::within;

const REFER: &str = "Refer-To: <sip:carol@192.0.2.9>\r\n";

#[tokio::test]
async fn a_blind_transfer_connects_the_two_and_ends_our_call() {
    let (alice, _) = client("alice").await;
    let (bob, mut to_bob) = client("bob").await;
    let (carol, mut to_carol) = client("carol").await;
    let (at_alice, at_bob) = connected_to(&alice, &bob, &mut to_bob).await;
    let (mut alices, mut bobs) = (at_alice.events(), bob.events().await.expect("events"));
    let target = carol.uri().expect("started");
    let transfer = tokio::spawn({
        let (at_alice, target) = (at_alice.clone(), target.clone());
        async move { at_alice.transfer(target).await }
    });
    let ringing = within("bob's call", to_carol.next()).await.expect("it rings");
    assert_eq!(ringing.from(), "sip:bob@127.0.0.1");
    let at_carol = within("acknowledged", ringing.answer()).await.expect("answered");
    within("transferred", transfer).await.expect("no panic").expect("transferred");
    assert_eq!(within("the end", at_alice.wait_for_end()).await, EndCause::LocalHangup);

    let asked = ClientEvent::TransferRequested { call: at_bob.id(), target, attended: false };
    let seen = until(&mut bobs, "replaced", |event| matches!(event, ClientEvent::Replaced { .. })).await;
    assert!(seen.contains(&asked), "{seen:?}");
    let Some(ClientEvent::Replaced { call, by }) = seen.last() else { unreachable!("it was waited for") };
    assert_eq!(*call, at_bob.id());
    let next = bob.find(*by).await.expect("the call that follows");
    assert_eq!((next.state(), at_carol.state()), (CallState::Answered, CallState::Answered));
    assert_eq!(within("the end", at_bob.wait_for_end()).await, EndCause::RemoteHangup);

    let id = at_alice.id();
    let ended = ClientEvent::TransferEnded { call: id, status: Some(200) };
    until(&mut alices, "the outcome", |event| *event == ended).await;
    within("hung up", at_carol.hangup()).await.expect("hung up");
    assert_eq!(within("the end", next.wait_for_end()).await, EndCause::RemoteHangup);
}

#[tokio::test]
async fn an_attended_transfer_joins_the_far_ends_of_two_calls() {
    let (alice, _) = client("alice").await;
    let (bob, mut to_bob) = client("bob").await;
    let (carol, mut to_carol) = client("carol").await;
    let (with_bob, at_bob) = connected_to(&alice, &bob, &mut to_bob).await;
    let (with_carol, at_carol) = connected_to(&alice, &carol, &mut to_carol).await;
    let (mut bobs, mut carols) = (bob.events().await.expect("events"), carol.events().await.expect("events"));
    within("held", with_bob.hold()).await.expect("held");
    within("held", with_carol.hold()).await.expect("held");
    within("transferred", with_bob.transfer_to(&with_carol)).await.expect("transferred");
    assert_eq!(within("the end", with_bob.wait_for_end()).await, EndCause::LocalHangup);
    // Carol has ended the replaced call.
    assert_eq!(within("the end", with_carol.wait_for_end()).await, EndCause::RemoteHangup);
    assert_eq!(within("the end", at_carol.wait_for_end()).await, EndCause::LocalHangup);
    assert_eq!(within("the end", at_bob.wait_for_end()).await, EndCause::RemoteHangup);
    let mut followers = Vec::new();
    for (events, client, replaced) in [(&mut bobs, &bob, &at_bob), (&mut carols, &carol, &at_carol)] {
        let seen = until(events, "replaced", |event| matches!(event, ClientEvent::Replaced { .. })).await;
        let Some(ClientEvent::Replaced { call, by }) = seen.last() else { unreachable!("it was waited for") };
        assert_eq!(*call, replaced.id());
        followers.push(client.find(*by).await.expect("the call that follows"));
    }
    within("answered", followers[0].wait_for_answer()).await.expect("answered");
    within("answered", followers[1].wait_for_answer()).await.expect("answered");
    assert!(followers[1].remote().starts_with("sip:bob@"), "{}", followers[1].remote());
    within("hung up", followers[0].hangup()).await.expect("hung up");
    assert_eq!(within("the end", followers[1].wait_for_end()).await, EndCause::RemoteHangup);
}

/// A call by the client to the hand-written peer.
async fn with_hand(
    client: &SipClient,
    hand: &mut Hand,
) -> (b2b_client::Call, b2b_test_support::client::hand::Came) {
    let call = client.call(hand.uri()).await.expect("a call");
    let invite = hand.take_call();
    within("answered", call.wait_for_answer()).await.expect("answered");
    (call, invite)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refer_and_its_notifies_are_as_the_rfcs_want_them() {
    let (alice, _) = client("alice").await;
    let (mut hand, mut other) = (Hand::new(), Hand::new());
    let (call, invite) = with_hand(&alice, &mut hand).await;
    let (consulted, with_other) = with_hand(&alice, &mut other).await;
    let mut events = call.events();
    let transfer = tokio::spawn({
        let (call, consulted) = (call.clone(), consulted.clone());
        async move { call.transfer_to(&consulted).await }
    });
    let refer = hand.expect("REFER");
    assert_eq!(refer.field("Referred-By"), "<sip:alice@127.0.0.1>");
    // The dialog with the other peer, from that peer's view (RFC 3891 §3).
    let our_tag = with_other.field("From").split("tag=").nth(1).expect("a tag");
    let wanted = format!(
        "<sip:hand@{}?Replaces={}%3Bto-tag%3Dhand%3Bfrom-tag%3D{our_tag}>",
        other.local,
        with_other.field("Call-ID").replace('@', "%40"),
    );
    assert_eq!(refer.field("Refer-To"), wanted);
    hand.answer(&refer, "202 Accepted", "", "");
    let notify = |state: &str, status: &str| {
        let body = format!("SIP/2.0 {status}\r\n");
        format!(
            "Event: refer\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (cseq, state, status) in
        [("10", "active;expires=60", "180 Ringing"), ("11", "terminated;reason=noresource", "486 Busy Here")]
    {
        let text = hand.in_dialog("NOTIFY", cseq, &invite, &notify(state, status));
        hand.send(alice.local().expect("started"), &text);
        assert!(hand.expect("SIP/2.0 200").field("CSeq").ends_with("NOTIFY"));
    }
    let failed = within("the outcome", transfer).await.expect("no panic");
    assert!(matches!(failed, Err(CallError::Transfer { status: Some(486) })), "{failed:?}");
    let id = call.id();
    let ended = ClientEvent::TransferEnded { call: id, status: Some(486) };
    let seen = until(&mut events, "the outcome", |event| *event == ended).await;
    assert!(seen.contains(&ClientEvent::TransferProgress { call: id, status: 180 }), "{seen:?}");
    assert_eq!(call.state(), CallState::Answered, "the call goes on");

    // A blind transfer, refused at once.
    let transfer = tokio::spawn({
        let call = call.clone();
        async move { call.transfer("sip:carol@192.0.2.9;user=phone").await }
    });
    let refer = hand.expect("REFER");
    assert_eq!(refer.field("Refer-To"), "<sip:carol@192.0.2.9;user=phone>");
    hand.answer(&refer, "501 Not Implemented", "", "");
    let failed = within("the outcome", transfer).await.expect("no panic");
    assert!(matches!(&failed, Err(error @ CallError::Transfer { status: Some(501) })
        if error.to_string().contains("cannot do that")));
    let bad = call.transfer("carol").await;
    assert!(matches!(bad, Err(CallError::Target { .. })), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refer_and_info_that_are_challenged_go_again_with_credentials_once() {
    let (alice, _) = started(builder("alice").credentials("alice", "secret")).await;
    let mut hand = Hand::new();
    let (call, _) = with_hand(&alice, &mut hand).await;
    let wanted = "WWW-Authenticate: Digest realm=\"x\", nonce=\"n1\", qop=\"auth\"\r\n";
    call.send_digits("7", DtmfMode::Info).await.expect("queued");
    let info = hand.expect("INFO");
    assert_eq!(info.field("Authorization"), "");
    hand.answer(&info, "401 Unauthorized", wanted, "");
    let info = hand.expect("INFO");
    assert!(info.field("Authorization").contains("nonce=\"n1\""), "{}", info.text);
    assert!(info.body().starts_with("Signal=7"), "{}", info.text);
    hand.answer(&info, "200 OK", "", "");
    let transfer = tokio::spawn(async move { call.transfer("sip:carol@192.0.2.9").await });
    let refer = hand.expect("REFER");
    hand.answer(&refer, "401 Unauthorized", &wanted.replace("n1\"", "n2\", stale=true"), "");
    let refer = hand.expect("REFER");
    assert!(refer.field("Authorization").contains("nonce=\"n2\""), "{}", refer.text);
    assert_eq!(refer.field("Refer-To"), "<sip:carol@192.0.2.9>");
    hand.answer(&refer, "401 Unauthorized", &wanted.replace("n1", "n3"), "");
    let failed = within("the outcome", transfer).await.expect("no panic");
    assert!(matches!(failed, Err(CallError::Transfer { status: Some(401) })), "{failed:?}");
}

#[tokio::test]
async fn a_far_end_that_hangs_up_after_our_refer_leaves_us_not_knowing() {
    let (alice, _) = client("alice").await;
    let (bob, mut to_bob) = started(builder("bob").transfers(TransferPolicy::Ask)).await;
    let (at_alice, at_bob) = connected_to(&alice, &bob, &mut to_bob).await;
    let mut bobs = at_bob.events();
    let transfer = tokio::spawn(async move { at_alice.transfer("sip:carol@127.0.0.1:9").await });
    until(&mut bobs, "the wish", |event| matches!(event, ClientEvent::TransferRequested { .. })).await;
    within("hung up", at_bob.hangup()).await.expect("hung up");
    let failed = within("the outcome", transfer).await.expect("no panic");
    assert!(matches!(failed, Err(CallError::Transfer { .. })), "{failed:?}");
}

#[tokio::test]
async fn a_program_that_is_asked_may_refuse_and_a_policy_may_too() {
    let (alice, _) = client("alice").await;
    for policy in [TransferPolicy::Ask, TransferPolicy::Refuse] {
        let (bob, mut to_bob) = started(builder("bob").transfers(policy)).await;
        let (at_alice, at_bob) = connected_to(&alice, &bob, &mut to_bob).await;
        let mut bobs = at_bob.events();
        let transfer = tokio::spawn({
            let at_alice = at_alice.clone();
            async move { at_alice.transfer("sip:carol@127.0.0.1:9").await }
        });
        until(&mut bobs, "the wish", |event| matches!(event, ClientEvent::TransferRequested { .. })).await;
        if policy == TransferPolicy::Ask {
            assert!(matches!(at_bob.refuse_transfer(200).await, Err(CallError::Status(200))));
            at_bob.refuse_transfer(603).await.expect("refused");
        }
        let refused = within("the outcome", transfer).await.expect("no panic");
        assert!(matches!(refused, Err(CallError::Transfer { status: Some(603) })), "{refused:?}");
        assert!(at_bob.accept_transfer().await.is_err(), "it is decided");
        assert_eq!((at_alice.state(), at_bob.state()), (CallState::Answered, CallState::Answered));
    }
}

#[tokio::test]
async fn who_sends_us_hears_how_it_goes_and_whom_we_replace_is_named() {
    let (alice, _) = client("alice").await;
    let (mut hand, mut target) = (Hand::new(), Hand::new());
    let (call, invite) = with_hand(&alice, &mut hand).await;
    let refer = format!(
        "Refer-To: <sip:hand@{}?Replaces=abc%40x%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=moved>\r\n\
         Referred-By: <sip:hand@example.com>\r\n",
        target.local
    );
    let at = alice.local().expect("started");
    hand.send(at, &hand.in_dialog("REFER", "5", &invite, &refer));
    assert!(hand.expect("SIP/2.0 202").field("CSeq").ends_with("REFER"));
    let sent = target.expect("INVITE");
    assert_eq!(sent.field("Replaces"), "abc@x;to-tag=1;from-tag=2");
    assert_eq!((sent.field("Require"), sent.field("Subject")), ("replaces", "moved"));
    assert_eq!(sent.field("Referred-By"), "<sip:hand@example.com>");
    let heard = |hand: &mut Hand, status: &str| loop {
        let notify = hand.expect("NOTIFY");
        hand.answer(&notify, "200 OK", "", "");
        assert!(notify.field("Event").starts_with("refer"), "{}", notify.text);
        if notify.body().starts_with(&format!("SIP/2.0 {status}")) {
            return notify.field("Subscription-State").to_owned();
        }
    };
    assert!(heard(&mut hand, "100").starts_with("active"));
    target.answer(&sent, "180 Ringing", "", "");
    assert!(heard(&mut hand, "180").starts_with("active"));
    target.answer(&sent, "200 OK", "", &target.sdp("sendrecv"));
    target.expect("ACK");
    assert!(heard(&mut hand, "200").starts_with("terminated"));
    // The peer that transferred us does not hang up: we do, after a while.
    let bye = hand.expect("BYE");
    hand.answer(&bye, "200 OK", "", "");
    assert_eq!(within("the end", call.wait_for_end()).await, EndCause::LocalHangup);
}

#[tokio::test]
async fn a_target_that_refuses_is_told_and_the_call_goes_on() {
    let (alice, _) = client("alice").await;
    let (mut hand, mut target) = (Hand::new(), Hand::new());
    let (call, invite) = with_hand(&alice, &mut hand).await;
    let refer = format!("Refer-To: <sip:hand@{}>\r\n", target.local);
    let at = alice.local().expect("started");
    hand.send(at, &hand.in_dialog("REFER", "5", &invite, &refer));
    let sent = target.expect("INVITE");
    assert_eq!(sent.field("Replaces"), "");
    target.answer(&sent, "486 Busy Here", "", "");
    loop {
        let notify = hand.expect("NOTIFY");
        hand.answer(&notify, "200 OK", "", "");
        if notify.field("Subscription-State").starts_with("terminated") {
            assert_eq!(notify.body(), "SIP/2.0 486 Busy Here\r\n");
            break;
        }
    }
    // Only INVITE can be requested.
    let other = "Refer-To: <sip:carol@192.0.2.9;method=BYE>\r\n";
    hand.send(at, &hand.in_dialog("REFER", "6", &invite, other));
    assert!(hand.expect("SIP/2.0 501").field("CSeq").ends_with("REFER"));
    let nobody =
        hand.in_dialog("REFER", "7", &invite, REFER).replace(invite.field("Call-ID"), "no-such-call");
    hand.send(at, &nobody);
    assert!(hand.expect("SIP/2.0 481").field("CSeq").ends_with("REFER"));
    assert_eq!(call.state(), CallState::Answered);
}

#[tokio::test]
async fn an_invite_takes_the_place_of_the_call_that_it_names_and_of_no_other() {
    let (alice, mut incoming) = client("alice").await;
    let (mut hand, mut next) = (Hand::new(), Hand::new());
    let (call, invite) = with_hand(&alice, &mut hand).await;
    let (uri, at) = (alice.uri().expect("started"), alice.local().expect("started"));
    let (call_id, tag) = (invite.field("Call-ID"), invite.field("From").split("tag=").nth(1).expect("a tag"));
    let wrong = "Replaces: nowhere@x;to-tag=1;from-tag=2\r\n".to_owned();
    let early = format!("Replaces: {call_id};to-tag={tag};from-tag=hand;early-only\r\n");
    let right = format!("Replaces: {call_id};to-tag={tag};from-tag=hand\r\n");
    for (name, replaces, status) in [("a", &wrong, "481"), ("b", &early, "486"), ("c", &right, "200")] {
        next.send(at, &next.request("INVITE", &uri, name, replaces, &next.sdp("sendrecv")));
        let answer = loop {
            let came = next.expect("SIP/2.0 ");
            if !came.text.starts_with("SIP/2.0 1") {
                break came;
            }
        };
        assert!(answer.text.starts_with(&format!("SIP/2.0 {status}")), "{}", answer.text);
        next.send(at, &next.in_dialog("ACK", "1", &answer, ""));
    }
    let bye = hand.expect("BYE");
    hand.answer(&bye, "200 OK", "", "");
    assert_eq!(within("the end", call.wait_for_end()).await, EndCause::LocalHangup);
    // A call that rings here can be replaced by its caller only, not by us (RFC 3891 §3).
    next.send(at, &next.request("INVITE", &uri, "d", "", &next.sdp("sendrecv")));
    let ringing = next.expect("SIP/2.0 180");
    let theirs = ringing.field("To").split("tag=").nth(1).expect("a tag");
    let early = format!("Replaces: d;to-tag={theirs};from-tag=hand\r\n");
    next.send(at, &next.request("INVITE", &uri, "e", &early, &next.sdp("sendrecv")));
    assert_eq!(next.expect("SIP/2.0 481").field("Call-ID"), "e");
    assert!(within("the call that rings", incoming.next()).await.is_some());
}
