//! Calls commanded by programs: where their targets lead, their state, the codec and quality of their legs,
//! and why they ended.

use serde_json::{Value, json};

use crate::server::control::{all_quiet, called, command, done};
use crate::server::remote::{PATIENT, given, offered, program};
use crate::server_support::phone::{CallsOff, Phone, field, rtp_of};
use crate::server_support::{Server, server, until};

/// Waits for this many CDRs.
fn records(server: &Server, count: usize) -> Vec<Value> {
    until("the records", || {
        let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).ok()?;
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() >= count).then_some(lines)
    })
}

fn state(server: &Server) -> Value {
    server.get("/calls").json()["calls"][0]["state"].clone()
}

#[test]
fn a_party_is_sent_to_another_port_of_this_machine_and_our_own_uris_are_looked_up() {
    let (ann, bob, carol) = (Phone::new("ann"), Phone::new("bob"), Phone::new("carol"));
    let server = server(
        "[[user]]\nname = \"1001\"\npassword = \"x-y-z-1\"\n[[user]]\nname = \"carol\"\npassword = \"x-y-z-2\"\n",
    );
    let ((a, _), (b, _)) = (called(&server, &ann), called(&server, &bob));
    done(&server, &json!({ "command": "bridge", "leg": a["leg"], "with": b["leg"] }));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        scope.spawn(|| ann.agree(&over));
        let (server, order) = (&server, json!({ "command": "transfer", "leg": b["leg"], "to": carol.uri() }));
        let asks = scope.spawn(move || done(server, &order));
        let (invite, peer) = carol.hear("INVITE");
        assert!(invite.starts_with(&format!("INVITE {}", carol.uri())), "{invite}");
        carol.answer_to(&invite, peer);
        bob.let_go();
        asks.join().expect("transferred");
        scope.spawn(|| carol.agree(&over));
        done(server, &json!({ "command": "hangup", "leg": a["leg"] }));
        all_quiet(server);
    });

    let looked_up = |target: String| command(&server, &json!({ "command": "lookup", "target": target }));
    let port = server.sip.port();
    for own in [
        format!("sip:1001@127.0.0.1:{port}"),
        "sip:1001@b2b.example".into(),
        format!("sip:1001@B2B.example:{port}"),
    ] {
        let failed = looked_up(own.clone());
        assert_eq!((&failed["state"], &failed["status"]), (&json!("failed"), &json!(480)), "{own}: {failed}");
    }
    let nobody = looked_up(format!("sip:4711@{}", server.sip));
    assert_eq!(nobody["status"], 404, "{nobody}");
    for other in
        ["sip:1001@127.0.0.1:1", "sip:1001@b2b.example:1", "sip:1001@127.0.0.2", "sips:1001@127.0.0.1"]
    {
        let found = looked_up(other.to_owned());
        assert_eq!(found["result"]["contacts"][0]["uri"], other, "{found}");
        assert_eq!(found["result"]["contacts"][0]["user"], Value::Null, "{found}");
    }
}

#[test]
fn a_phone_is_sent_nowhere_by_its_own_wish_but_where_it_may_call() {
    // A trusted address may refer to its own host, but to no other.
    let elsewhere = std::net::Ipv4Addr::new(127, 0, 0, 3);
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let carol = Phone::at("carol", [elsewhere; 3]);
    let server = server(&format!("[[route]]\ncalled = \"200\"\nto = [\"{}\"]\n", bob.uri()));
    let (from, call_id) = ann.ask_for(server.sip, "200");
    bob.answer();
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, (from, call_id), server.sip);
    let call = server.get("/calls").json()["calls"][0]["call"].clone();
    ann.refer(&dialog, 5, &carol.uri());
    let words = || server.get(&format!("/calls/{call}?format=text")).text();
    until("the end of the transfer", || words().contains("transfer ended").then_some(()));
    assert!(!carol.has_heard("INVITE"), "at our cost: {}", words());
    done(&server, &json!({ "command": "hangup", "call": call }));
}

#[tokio::test]
async fn a_leg_that_only_a_program_serves_has_its_codec_its_quality_and_a_state_that_says_so() {
    let ann = Phone::new("ann");
    let server = server("");
    let order = json!({ "command": "originate", "from": ann.uri(), "id": "o" });
    assert_eq!(server.post("/commands", &order).status, 202);
    let (invite, peer) = ann.hear("INVITE");
    assert_eq!(state(&server), "outgoing_call");
    let _dialog = ann.answer_to(&invite, peer);
    let call = done(&server, &order)["call"].clone();
    assert_eq!(state(&server), "commanded");
    let account = || server.get(&format!("/calls/{call}")).json();
    assert_eq!(account()["legs"][0]["codec"], "PCMA");
    let rtp = rtp_of(&invite);
    let mut n = 0;
    let media = until("a rated leg", || {
        for _ in 0..20 {
            ann.sound(rtp, n, &[0x31; 160]);
            n += 1;
        }
        Some(account()["legs"][0]["media"].clone()).filter(|media| media["mos"].is_number())
    });
    assert!(media["mos"].as_f64() > Some(1.0) && media["packets_received"].as_u64() > Some(0), "{media}");
    std::thread::scope(|scope| {
        scope.spawn(|| ann.let_go());
        done(&server, &json!({ "command": "hangup", "call": call }));
    });
    let [record] = records(&server, 1).try_into().expect("one leg");
    assert_eq!(record["codec"], "PCMA", "{record}");
    assert!(record["mos"].is_number(), "{record}");
    all_quiet(&server);
}

#[tokio::test]
async fn a_call_is_commanded_as_long_as_a_program_has_it() {
    let ann = Phone::new("ann");
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let (from, call_id) = ann.ask_for(server.sip, "200");
    let leg = offered(&mut agent).await["leg"].clone();
    until("its state", || (state(&server) == "commanded").then_some(()));
    agent.say(&json!({ "command": "answer", "leg": leg, "id": "a" })).await;
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, (from, call_id), server.sip);
    agent.end_of("a").await;
    assert_eq!(state(&server), "commanded");
    let bob = Phone::new("bob");
    agent.say(&json!({ "decision": "dial", "leg": leg, "to": bob.uri() })).await;
    let (invite, peer) = bob.hear("INVITE");
    bob.ring_to(&invite, peer);
    until("another state", || (state(&server) == "incoming_call").then_some(()));
    ann.hang_up(&dialog);
    bob.hear("CANCEL");
    bob.refuse_to("487 Request Terminated", &invite, peer);
    all_quiet(&server);
}

#[test]
fn both_parties_and_both_records_hear_the_same_reason_when_a_call_ends_for_want_of_media() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server("[media]\nrtp_timeout_s = 3\n");
    let ((a, _), (b, _)) = (called(&server, &ann), called(&server, &bob));
    // A silent leg is ended: the first one takes the other one with it.
    done(&server, &json!({ "command": "bridge", "leg": a["leg"], "with": b["leg"] }));
    for phone in [&ann, &bob] {
        let (bye, peer) = phone.hear("BYE");
        assert!(field(&bye, "Reason").starts_with("Q.850;cause=102"), "{bye}");
        phone.agree_to(&bye, peer);
    }
    for record in records(&server, 2) {
        assert_eq!(record["hangup_cause_q850"], 102, "{record}");
    }
    all_quiet(&server);
}
