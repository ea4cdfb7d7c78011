//! Commands of programs, over HTTP and WebSocket, for calls on the real binary.

use serde_json::{Value, json};

use crate::server_support::control::Socket;
use crate::server_support::phone::{CallsOff, Dialog, Phone};
use crate::server_support::{Server, server, until};

/// Runs a command; returns its final status.
pub fn command(server: &Server, order: &Value) -> Value {
    let answer = server.post("/commands?wait=60", order);
    assert!(matches!(answer.status, 200 | 409), "{order}: {} {}", answer.status, answer.text());
    answer.json()
}

/// The same, for a command that succeeds; returns its result.
pub fn done(server: &Server, order: &Value) -> Value {
    let status = command(server, order);
    assert_eq!(status["state"], "completed", "{order}: {status}");
    status["result"].clone()
}

/// Calls this phone alone, which answers; returns its leg.
pub fn called(server: &Server, phone: &Phone) -> (Value, Dialog) {
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| done(server, &json!({ "command": "originate", "from": phone.uri() })));
        let dialog = phone.answer();
        (asks.join().expect("answered"), dialog)
    })
}

/// Waits until nothing is held, except SIP state of dialogs for retransmissions.
pub fn all_quiet(server: &Server) {
    for what in ["calls", "legs", "commands", "map_entries", "accounts", "media_endpoints"] {
        none_held(server, what);
    }
}

/// Waits until nothing at all is held, which takes 32 s (timers L and M of RFC 6026).
pub fn all_over(server: &Server) {
    all_quiet(server);
    for what in
        ["sip_usages", "sip_client_transactions", "sip_server_transactions", "sip_timers", "sip_map_entries"]
    {
        none_held(server, what);
    }
}

fn none_held(server: &Server, what: &str) {
    let series = format!("b2b_held{{what=\"{what}\"}}");
    until(&series, || (server.metric(&series) == 0.0).then_some(()));
}

#[test]
fn a_call_is_begun_played_to_asked_recorded_and_ended_by_commands() {
    let ann = Phone::new("ann");
    let server = server("[recording]\nfolder = \"rec\"\n[[music]]\nname = \"default\"\ntone = \"440\"\n");
    let (begun, dialog) = called(&server, &ann);
    let (call, leg) = (begun["call"].clone(), begun["leg"].clone());
    let calls = server.get("/calls").json();
    assert_eq!((&calls["calls"][0]["call"], &calls["calls"][0]["legs"][0]["leg"]), (&call, &leg));

    done(&server, &json!({ "command": "record", "call": call }));
    let played =
        done(&server, &json!({ "command": "play", "call": call, "sound": { "tone": 440, "ms": 200 } }));
    assert_eq!(played, json!({ "complete": true }));
    assert!(ann.listen(10).iter().all(|packet| packet.len() == 172), "20 ms of G.711 each");

    let collected = std::thread::scope(|scope| {
        let order = json!({
            "command": "play_and_collect", "leg": leg, "sound": { "tone": 700, "ms": 60_000 }, "max": 3,
            "type_ahead": true, "first_s": 60, "total_s": 60,
        });
        let server = &server;
        let asks = scope.spawn(move || done(server, &order));
        until("the command at work", || (server.metric("b2b_held{what=\"commands\"}") == 1.0).then_some(()));
        for (cseq, key) in (10..).zip(['4', '7', '#']) {
            ann.press(&dialog, cseq, key);
        }
        asks.join().expect("collected")
    });
    assert_eq!(collected, json!({ "digits": "47", "end": "terminator" }));

    done(&server, &json!({ "command": "set_variable", "call": call, "name": "customer", "value": "4711" }));
    done(&server, &json!({ "command": "music", "leg": leg }));
    ann.listen(5);
    done(&server, &json!({ "command": "stop_music", "leg": leg }));
    done(&server, &json!({ "command": "send_digits", "leg": leg, "digits": "1#" }));
    let recorded = done(&server, &json!({ "command": "stop_recording", "call": call }));
    let file = recorded["file"].as_str().expect("a file");
    assert!(std::fs::metadata(server.folder.path().join(file)).is_ok(), "{file}");
    assert!(recorded["seconds"].as_f64() > Some(0.1), "{recorded}");
    let calls = server.get("/calls").json();
    let it = &calls["calls"][0];
    assert_eq!(it["variables"]["customer"], "4711");
    assert!(it["talking_s"].as_f64() > Some(0.1), "since who was called has answered: {it}");

    std::thread::scope(|scope| {
        scope.spawn(|| ann.let_go());
        done(&server, &json!({ "command": "hangup", "call": call }));
    });
    all_over(&server);
    assert!(server.metric("b2b_commands_total{result=\"completed\"}") >= 9.0);
    let words = server.get(&format!("/calls/{call}?format=text")).text();
    assert!(words.contains("play_and_collect"), "{words}");
}

#[test]
fn two_called_parties_are_joined_and_one_is_given_to_a_room_and_back() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server("[[conference]]\nname = \"blue\"\nannounced = false\n");
    let ((a, _in_a), (b, _in_b)) = (called(&server, &ann), called(&server, &bob));
    let joined = done(&server, &json!({ "command": "bridge", "leg": a["leg"], "with": b["leg"] }));
    let calls = server.get("/calls").json();
    assert_eq!((&calls["total"], &calls["calls"][0]["bridge"]["bridge"]), (&json!(1), &joined["bridge"]));
    // The conference takes Ann from the bridge; Bob is hung up.
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let _at_the_end = CallsOff(over);
        let (ann, bob) = (&ann, &bob);
        scope.spawn(move || ann.agree(over));
        scope.spawn(move || bob.let_go());
        done(&server, &json!({ "command": "handle", "leg": a["leg"], "app": "conference/blue" }));
        let members = || server.get("/rooms/blue").json()["members"].clone();
        until("Ann in the room", || (members()[0]["leg"] == a["leg"]).then_some(()));
        let room = |order: Value| done(&server, &order);
        room(json!({ "command": "room_mute", "room": "blue", "leg": a["leg"], "muted": true }));
        room(json!({ "command": "room_volume", "room": "blue", "leg": a["leg"], "db": -6 }));
        let locked = server.post("/rooms/blue/lock?wait=30", &json!({ "locked": true }));
        assert_eq!(locked.status, 200, "{}", locked.text());
        assert_eq!((&members()[0]["muted"], &members()[0]["volume_db"]), (&json!(true), &json!(-6)));
        assert_eq!(server.get("/rooms/blue").json()["locked"], true);
        done(&server, &json!({ "command": "handle", "leg": a["leg"], "app": "echo" }));
        until("an empty room", || (members() == json!([])).then_some(()));
        let calls = server.get("/calls").json();
        assert_eq!(calls["calls"][0]["application"], "echo", "{calls}");
        let failed = command(&server, &json!({ "command": "handle", "leg": a["leg"], "app": "ivr/none" }));
        assert_eq!(
            (&failed["state"], &failed["reason"]),
            (&json!("failed"), &json!("wrong_state")),
            "{failed}"
        );
        assert_eq!(server.get("/calls").json()["calls"][0]["application"], "echo", "nothing has changed");
        done(&server, &json!({ "command": "hangup", "leg": a["leg"] }));
        until("the end", || (server.get("/calls").json()["total"] == 0).then_some(()));
    });
    all_quiet(&server);
}

#[test]
fn who_is_kept_stays_up_when_the_other_party_hangs_up_and_is_commanded() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server("");
    let ((a, _in_a), (b, in_b)) = (called(&server, &ann), called(&server, &bob));
    let order = json!({ "command": "bridge", "leg": a["leg"], "with": b["leg"], "keep": true });
    done(&server, &order);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let _at_the_end = CallsOff(over);
        let ann = &ann;
        scope.spawn(move || ann.agree(over));
        bob.hang_up(&in_b);
        let left = until("Ann alone", || {
            let call = server.get("/calls").json()["calls"][0].clone();
            (call["legs"].as_array().map(Vec::len) == Some(1)).then_some(call)
        });
        assert_eq!((&left["legs"][0]["leg"], &left["state"]), (&a["leg"], &json!("commanded")), "{left}");
        done(&server, &json!({ "command": "play", "leg": a["leg"], "sound": { "tone": 440, "ms": 100 } }));
        done(&server, &json!({ "command": "hangup", "leg": a["leg"] }));
        until("the end", || (server.get("/calls").json()["total"] == 0).then_some(()));
    });
    all_quiet(&server);
}

#[test]
fn a_caller_of_another_application_is_dialled_for_and_the_dialling_taken_back() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server("[[route]]\ncalled = \".*\"\napp = \"echo\"\n");
    let dialog = ann.call(server.sip, "200");
    let call = server.get("/calls").json()["calls"][0]["call"].clone();
    let alone = command(&server, &json!({ "command": "transfer", "call": call, "to": bob.uri() }));
    assert!(alone["error"].as_str().is_some_and(|error| error.contains("use `dial`")), "{alone}");
    let order = json!({ "command": "dial", "call": call, "to": bob.uri(), "ring_s": 3_600, "id": "d1" });
    assert_eq!(server.post("/commands", &order).status, 202);
    let (invite, peer) = bob.hear("INVITE");
    bob.ring_to(&invite, peer);
    assert_eq!(server.ask("DELETE", "/commands/d1").status, 204);
    bob.hear("CANCEL");
    let status = server.get("/commands/d1?wait=60").json();
    assert_eq!(
        (&status["state"], &status["reason"], &status["call"]),
        (&json!("failed"), &json!("cancelled"), &call)
    );
    assert_eq!(server.get("/calls").json()["total"], 1, "Ann is still there");
    ann.hang_up(&dialog);
    until("the end", || (server.get("/calls").json()["total"] == 0).then_some(()));
}

#[tokio::test]
async fn commands_and_their_ends_share_a_web_socket_and_go_on_from_a_number() {
    let ann = Phone::new("ann");
    let server = server("");
    let mut socket = Socket::to(&server, "/control").await;
    socket.say(&json!({ "command": "originate", "from": ann.uri(), "id": "o1" })).await;
    assert_eq!(socket.hear_of("accepted", |it| it["type"] == "accepted").await["id"], "o1");
    let ann = &ann;
    std::thread::scope(|scope| drop(scope.spawn(move || ann.answer()).join()));
    let begun = socket.end_of("o1").await;
    assert_eq!(begun["type"], "command_completed", "{begun}");
    let (call, leg) = (begun["result"]["call"].clone(), begun["result"]["leg"].clone());
    assert_eq!(begun["call"], call, "events of a call have its commands");
    socket
        .say(&json!({ "command": "play", "leg": leg, "sound": { "tone": 440, "ms": 60_000 }, "id": "p1" }))
        .await;
    socket.hear_of("accepted", |it| it["type"] == "accepted" && it["id"] == "p1").await;
    // Another connection stops it, and the first one breaks before it receives the event.
    ann.listen(3);
    drop(socket);
    let mut other = Socket::to(&server, "/control?only=commands").await;
    other.say(&json!({ "command": "stop_playing", "leg": leg, "id": "s1" })).await;
    other.end_of("s1").await;
    let after = begun["seq"].as_u64().expect("a number");
    let mut resumed = Socket::to(&server, &format!("/control?after={after}&call={call}")).await;
    let stopped = resumed.end_of("p1").await;
    assert_eq!((&stopped["result"], &stopped["command"]), (&json!({ "complete": false }), &json!("play")));
    // Exactly after the number: no event is missing, and none is repeated.
    let last = stopped["seq"].as_u64().expect("a number");
    for from in [after, last - 1] {
        let mut exact = Socket::to(&server, &format!("/events?after={from}")).await;
        assert_eq!(exact.hear().await.expect("an event")["seq"], from + 1);
    }
    other.say(&json!({ "command": "hangup", "call": call, "id": "h1" })).await;
    ann.let_go();
    assert_eq!(other.end_of("h1").await["type"], "command_completed");
}

#[test]
fn the_document_of_the_interface_is_served() {
    let server = server("");
    let answer = server.get("/openapi.json");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    let document = answer.json();
    assert!(document["paths"]["/commands"]["post"].is_object());
    assert!(document["components"]["schemas"]["Command"]["oneOf"].is_array(), "{document}");
}

#[test]
fn of_several_targets_who_answers_first_has_the_call() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server("");
    let ask = |order: Value| {
        let answer = server.post("/commands", &order);
        assert_eq!(answer.status, 400, "{order}: {}", answer.text());
    };
    ask(json!({ "command": "originate", "from": [] }));
    ask(json!({ "command": "originate", "from": ann.uri(), "to": [] }));
    ask(json!({ "command": "originate", "from": [ann.uri()], "order": "any" }));
    let order = json!({ "command": "originate", "from": [ann.uri(), bob.uri()] });
    let (begun, dialog) = std::thread::scope(|scope| {
        let asks = scope.spawn(|| done(&server, &order));
        // Bob's phone rings, and Ann's answers.
        let (invite, peer) = bob.hear("INVITE ");
        bob.ring_to(&invite, peer);
        let dialog = ann.answer();
        (asks.join().expect("answered"), dialog)
    });
    let (cancel, _) = bob.hear("CANCEL ");
    assert!(cancel.contains("Call completed elsewhere"), "{cancel}");
    let legs = server.get("/calls").json()["calls"][0]["legs"].clone();
    let answered: Vec<_> =
        legs.as_array().expect("legs").iter().filter(|it| it["state"] == "answered").collect();
    assert!(matches!(answered[..], [leg] if leg["leg"] == begun["leg"]), "{legs}");
    drop(dialog);
}

/// The first target refuses; only then the second one is called, and answers. Returns once both parties talk.
fn in_turn(server: &Server, first: &Phone, second: &Phone) {
    let (invite, peer) = first.hear("INVITE ");
    assert!(!second.has_heard("INVITE "), "one after the other");
    first.refuse_to("486 Busy Here", &invite, peer);
    first.hear("ACK");
    second.answer();
    until("the bridge", || (server.get("/calls").json()["calls"][0]["state"] == "bridged").then_some(()));
}

#[test]
fn lists_of_targets_are_called_in_turn_by_the_command_dial_and_by_post_calls() {
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(Phone::new);
    let server = server("");
    let to = json!([bob.uri(), cat.uri()]);
    let over = |dialog: &Dialog| {
        std::thread::scope(|scope| {
            scope.spawn(|| cat.let_go());
            ann.hang_up(dialog);
        });
        until("the end", || (server.get("/calls").json()["total"] == 0).then_some(()));
    };
    let (begun, dialog) = called(&server, &ann);
    let order = json!({ "command": "dial", "leg": begun["leg"], "to": to, "order": "serial", "id": "d1" });
    assert_eq!(server.post("/commands", &order).status, 202);
    in_turn(&server, &bob, &cat);
    assert_eq!(server.get("/commands/d1?wait=60").json()["state"], "completed");
    over(&dialog);

    let order = json!({ "from": [ann.uri()], "to": to, "order": "serial" });
    assert_eq!(server.post("/calls", &order).status, 201);
    let dialog = ann.answer();
    in_turn(&server, &bob, &cat);
    over(&dialog);
}

#[test]
fn a_hangup_with_a_cause_says_it_to_the_party_and_in_the_records() {
    let ann = Phone::new("ann");
    let server = server("");
    for wrong in [json!({ "cause": 0 }), json!({ "cause": 128 }), json!({ "text": "later" })] {
        let mut order = json!({ "command": "hangup", "call": 1 });
        order.as_object_mut().expect("an object").extend(wrong.as_object().expect("one").clone());
        assert_eq!(server.post("/commands", &order).status, 400, "{order}");
    }
    let (begun, _dialog) = called(&server, &ann);
    let order = json!({ "command": "hangup", "leg": begun["leg"], "cause": 21, "text": "not now" });
    let bye = std::thread::scope(|scope| {
        scope.spawn(|| done(&server, &order));
        let (bye, peer) = ann.hear("BYE ");
        ann.agree_to(&bye, peer);
        bye
    });
    assert!(bye.contains("Reason: Q.850;cause=21;text=\"not now\""), "{bye}");
    let record = until("a record", || {
        let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
        serde_json::from_str::<Value>(text.lines().next()?).ok()
    });
    assert_eq!(record["hangup_cause_q850"], 21, "{record}");
}

#[test]
fn a_call_that_nothing_has_room_for_is_told_so() {
    let ann = Phone::new("ann");
    let server = server("[limits]\ncalls = 1\n");
    let (_begun, _dialog) = called(&server, &ann);
    let refused = command(&server, &json!({ "command": "originate", "from": ann.uri() }));
    assert_eq!((&refused["state"], &refused["reason"]), (&json!("failed"), &json!("full")), "{refused}");
    let refused = server.post("/calls", &json!({ "from": ann.uri(), "to": ann.uri() }));
    assert_eq!(refused.status, 503, "{}", refused.text());
}
