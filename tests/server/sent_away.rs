//! Programs that transfer a party by REFER, and header fields from programs in our messages.

use serde_json::{Value, json};

use crate::server::control::{all_quiet, command, done};
use crate::server::remote::{PATIENT, does, given, offered, program};
use crate::server_support::phone::{CallsOff, Dialog, Phone, field};
use crate::server_support::{Server, server, until};

/// A server that routes 200 to this phone.
fn leading_to(phone: &Phone) -> Server {
    server(&format!("[[route]]\ncalled = \"200\"\nto = [\"{}\"]\n", phone.uri()))
}

/// Ann calls Bob; returns the call, and Bob's dialog.
fn talk(server: &Server, ann: &Phone, bob: &Phone) -> (Value, Dialog) {
    let (from, call_id) = ann.ask_for(server.sip, "200");
    let dialog = bob.answer();
    let (answer, _) = ann.hear("SIP/2.0 200");
    ann.confirmed(&answer, (from, call_id), server.sip);
    until("they talk", || (server.get("/calls").json()["calls"][0]["state"] == "bridged").then_some(()));
    (server.get("/calls").json()["calls"][0]["call"].clone(), dialog)
}

#[test]
fn a_party_is_sent_away_by_refer_and_the_command_says_how_it_went() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = leading_to(&bob);
    let (call, dialog) = talk(&server, &ann, &bob);
    let order = json!({
        "command": "transfer", "call": call, "to": "tel:+4930123", "by": "refer", "headers": { "X-Ticket": "4711" },
    });
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| done(&server, &order));
        let refer = bob.answer_refer("202 Accepted");
        assert_eq!(field(&refer, "Refer-To"), "<tel:+4930123>");
        assert_eq!(field(&refer, "X-Ticket"), "4711");
        assert!(field(&refer, "Referred-By").starts_with("<sip:ann@"), "{refer}");
        bob.tell_of_refer(&dialog, 2, "100 Trying", "active;expires=60");
        bob.tell_of_refer(&dialog, 3, "200 OK", "terminated;reason=noresource");
        bob.let_go();
        ann.let_go();
        let result = asks.join().expect("it says how it went");
        assert_eq!(result, json!({ "by": "refer", "status": 200, "confirmed": true }));
    });
    all_quiet(&server);
}

#[test]
fn own_sends_no_party_of_a_bridge_away() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = leading_to(&bob);
    let (call, _) = talk(&server, &ann, &bob);
    // `own` requires a leg without a bridge.
    let order =
        json!({ "command": "transfer", "call": call, "to": "tel:+4930123", "by": "refer", "own": true });
    assert_eq!(command(&server, &order)["reason"], "wrong_state");
    assert!(!ann.has_heard("REFER") && !bob.has_heard("REFER"));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        scope.spawn(|| ann.agree(&over));
        scope.spawn(|| bob.agree(&over));
        done(&server, &json!({ "command": "hangup", "call": call }));
        all_quiet(&server);
    });
}

#[test]
fn who_takes_no_refer_is_called_for_from_here_by_the_fallback() {
    let (ann, bob, carol) = (Phone::new("ann"), Phone::new("bob"), Phone::new("carol"));
    let server = leading_to(&bob);
    let (call, dialog) = talk(&server, &ann, &bob);
    // Without a fallback it fails with the party's response, and both talk on.
    for (answer, told, status) in
        [("501 Not Implemented", None, 501), ("202 Accepted", Some("486 Busy Here"), 486)]
    {
        let order = json!({ "command": "transfer", "call": call, "to": "sip:dan@127.0.0.9", "by": "refer" });
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| command(&server, &order));
            bob.answer_refer(answer);
            if let Some(told) = told {
                bob.tell_of_refer(&dialog, 2, told, "terminated;reason=noresource");
            }
            let failed = asks.join().expect("it says how it went");
            assert_eq!(
                (&failed["reason"], &failed["status"]),
                (&json!("refused"), &json!(status)),
                "{failed}"
            );
        });
    }
    assert_eq!(server.get("/calls").json()["calls"][0]["state"], "bridged");
    let order = json!({
        "command": "transfer", "call": call, "to": "sip:dan@127.0.0.9", "by": "refer",
        "fallback": carol.uri(), "headers": { "X-Ticket": "4711" },
    });
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        let asks = scope.spawn(|| done(&server, &order));
        bob.answer_refer("405 Method Not Allowed");
        let (invite, peer) = carol.hear("INVITE");
        assert_eq!(field(&invite, "X-Ticket"), "4711");
        carol.answer_to(&invite, peer);
        ann.let_go();
        assert_eq!(asks.join().expect("transferred"), json!({ "by": "dial" }));
        scope.spawn(|| bob.agree(&over));
        scope.spawn(|| carol.agree(&over));
        done(&server, &json!({ "command": "hangup", "call": call }));
        all_quiet(&server);
    });
}

#[test]
fn header_fields_of_programs_are_in_our_invites() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = &server("");
    let over = std::sync::atomic::AtomicBool::new(false);
    let order = json!({
        "command": "originate", "from": bob.uri(),
        "headers": { "X-Customer": "4711; vip", "P-Asserted-Identity": "<sip:+4930@h>" },
    });
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        let asks = scope.spawn(|| done(server, &order));
        let (invite, peer) = bob.hear("INVITE");
        assert_eq!(field(&invite, "X-Customer"), "4711; vip");
        assert_eq!(field(&invite, "P-Asserted-Identity"), "<sip:+4930@h>");
        bob.answer_to(&invite, peer);
        let b = asks.join().expect("answered");
        let order =
            json!({ "command": "dial", "leg": b["leg"], "to": ann.uri(), "headers": { "X-Side": "two" } });
        let dials = scope.spawn(move || done(server, &order));
        let (invite, peer) = ann.hear("INVITE");
        assert_eq!(field(&invite, "X-Side"), "two");
        assert!(!invite.contains("X-Customer"), "that was another command's");
        ann.answer_to(&invite, peer);
        scope.spawn(|| bob.agree(&over));
        scope.spawn(|| ann.agree(&over));
        dials.join().expect("joined");
        done(server, &json!({ "command": "hangup", "leg": b["leg"] }));
        all_quiet(server);
    });
    for (wrong, why) in
        [(json!({ "Via": "SIP/2.0/UDP h" }), "Via"), (json!({ "X-A": "b\r\nRoute: <sip:h>" }), "X-A")]
    {
        let order = json!({ "command": "originate", "from": bob.uri(), "headers": wrong });
        let answer = server.post("/commands", &order);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(why), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_fields_of_a_program_are_in_the_200_of_the_caller_that_it_answers() {
    let (server, ann) = (given(PATIENT), Phone::new("ann"));
    let mut agent = program(&server).await;
    let (from, call_id) = ann.ask_for(server.sip, "200");
    let offer = offered(&mut agent).await;
    let order = json!({ "command": "answer", "leg": offer["leg"], "headers": { "X-Agent": "7" } });
    does(&mut agent, order).await;
    let (answer, _) = ann.hear("SIP/2.0 200");
    assert_eq!(field(&answer, "X-Agent"), "7");
    let dialog = ann.confirmed(&answer, (from, call_id), server.sip);
    ann.hang_up(&dialog);
}
