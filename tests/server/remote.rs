//! Calls passed to a program, over a WebSocket of the real binary.

use serde_json::{Value, json};

use crate::server::control::all_quiet;
use crate::server_support::control::Socket;
use crate::server_support::phone::Phone;
use crate::server_support::{Server, server, until};

/// A server that passes every call to `remote/agent`, whose fallback is `echo`.
pub fn given(limits: &str) -> Server {
    server(&format!(
        "[[remote]]\nname = \"agent\"\nfallback = \"echo\"\n{limits}\
         [[route]]\ncalled = \".*\"\napp = \"remote/agent\"\n",
    ))
}

/// Limits that no load can exceed.
pub const PATIENT: &str = "answer_s = 600\nstall_s = 3600\n";

/// A connected program.
pub async fn program(server: &Server) -> Socket {
    let mut socket = Socket::to(server, "/remote/agent").await;
    socket.say(&json!({ "ping": 1 })).await;
    socket.hear_of("a pong", |it| it["type"] == "pong").await;
    socket
}

pub async fn offered(socket: &mut Socket) -> Value {
    socket.hear_of("an offer", |it| it["type"] == "offer").await
}

/// Runs a command; returns its final event.
pub async fn does(socket: &mut Socket, order: Value) -> Value {
    socket.say(&order).await;
    let accepted =
        socket.hear_of("a word", |it| matches!(it["type"].as_str(), Some("accepted" | "refused"))).await;
    assert_eq!(accepted["type"], "accepted", "{order}: {accepted}");
    let end = socket.end_of(accepted["id"].as_str().expect("an id")).await;
    assert_eq!(end["type"], "command_completed", "{order}: {end}");
    end["result"].clone()
}

/// The application of the only call.
pub fn application(server: &Server) -> Value {
    server.get("/calls").json()["calls"][0]["application"].clone()
}

/// Waits until the call is at the fallback.
pub fn fallen_back(server: &Server) {
    until("the fall-back", || (application(server) == "echo").then_some(()));
}

#[tokio::test]
async fn a_program_gets_a_call_with_all_that_is_known_commands_it_and_decides() {
    let ann = Phone::new("ann");
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let (from, call_id) = ann.ask_for(server.sip, "200");
    let offer = offered(&mut agent).await;
    assert_eq!(
        (&offer["called"], &offer["caller"], &offer["answered"]),
        (&json!("200"), &json!("ann"), &json!(false))
    );
    assert!(offer["headers"].to_string().contains(&call_id), "{offer}");
    assert_eq!(server.get("/remotes").json()["remotes"][0]["calls"], 1);
    assert_eq!(server.metric("b2b_held{what=\"remote_calls\"}"), 1.0);
    let leg = &offer["leg"];
    assert_eq!(does(&mut agent, json!({ "command": "answer", "leg": leg })).await, json!({}));
    let answer = ann.hear("SIP/2.0 200").0;
    let dialog = ann.confirmed(&answer, (from, call_id), server.sip);
    let sound = json!({ "tone": 440, "ms": 100 });
    let played = does(&mut agent, json!({ "command": "play", "call": offer["call"], "sound": sound })).await;
    assert_eq!(played, json!({ "complete": true }));
    agent.say(&json!({ "command": "collect", "leg": leg, "max": 1, "first_s": 600, "total_s": 600, "type_ahead": true, "id": "c" })).await;
    ann.press(&dialog, 10, '7');
    assert_eq!(agent.end_of("c").await["result"]["digits"], "7");
    agent.say(&json!({ "decision": "handle", "leg": leg, "app": "echo", "id": "d" })).await;
    let accepted = agent.hear_of("a word", |it| it["id"] == "d").await;
    assert_eq!((&accepted["type"], &accepted["decision"]), (&json!("accepted"), &json!("handle")));
    let over = agent.hear_of("the end", |it| it["type"] == "over").await;
    assert_eq!((&over["reason"], &over["leg"]), (&json!("decided"), leg));
    fallen_back(&server);
    agent.say(&json!({ "command": "play", "leg": leg, "sound": sound, "id": "late" })).await;
    let refused = agent.hear_of("a refusal", |it| it["id"] == "late").await;
    assert_eq!((&refused["type"], &refused["status"]), (&json!("refused"), &json!(404)), "it has it no more");
    ann.hang_up(&dialog);
    all_quiet(&server);
    assert_eq!(server.metric("b2b_held{what=\"remote_calls\"}"), 0.0);
    assert_eq!(server.metric("b2b_remote_calls_total{result=\"decided\"}"), 1.0);
}

#[tokio::test]
async fn decisions_refuse_and_dial() {
    let (ann, bob, cat) = (Phone::new("ann"), Phone::new("bob"), Phone::new("cat"));
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    ann.ask_for(server.sip, "200");
    let offer = offered(&mut agent).await;
    agent.say(&json!({ "decision": "reject", "call": offer["call"], "status": 606 })).await;
    ann.hear("SIP/2.0 606");
    let cats = cat.ask_for(server.sip, "200");
    let offer = offered(&mut agent).await;
    agent.say(&json!({ "decision": "handle", "leg": offer["leg"], "app": "ivr/none", "id": "no" })).await;
    let refused = agent.hear_of("a refusal", |it| it["id"] == "no").await;
    assert_eq!(refused["status"], 409, "{refused}");
    agent.say(&json!({ "decision": "dial", "leg": offer["leg"], "to": [bob.uri()] })).await;
    bob.answer();
    let answer = cat.hear("SIP/2.0 200").0;
    let dialog = cat.confirmed(&answer, cats, server.sip);
    until("the bridge", || (server.get("/calls").json()["calls"][0]["state"] == "bridged").then_some(()));
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        cat.hang_up(&dialog);
    });
    all_quiet(&server);
}

#[tokio::test]
async fn the_offer_of_an_originated_call_has_no_header_fields() {
    let ann = Phone::new("ann");
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let order = json!({ "command": "originate", "from": ann.uri(), "app": "remote/agent", "number": "200" });
    assert_eq!(server.post("/commands", &order).status, 202);
    let dialog = ann.answer();
    let offer = offered(&mut agent).await;
    assert_eq!((&offer["called"], &offer["answered"]), (&json!("200"), &json!(true)), "{offer}");
    assert_eq!(offer["headers"], json!([]), "no message has brought it: {offer}");
    ann.hang_up(&dialog);
    agent.hear_of("the end", |it| it["type"] == "over").await;
    all_quiet(&server);
}

#[tokio::test]
async fn two_programs_of_one_name_take_turns() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = given(PATIENT);
    let (mut first, mut second) = (program(&server).await, program(&server).await);
    ann.ask_for(server.sip, "200");
    let of_ann = offered(&mut first).await;
    bob.ask_for(server.sip, "200");
    let of_bob = offered(&mut second).await;
    assert_eq!((&of_ann["caller"], &of_bob["caller"]), (&json!("ann"), &json!("bob")));
    // A program cannot command calls of another one.
    second.say(&json!({ "command": "answer", "leg": of_ann["leg"], "id": "x" })).await;
    assert_eq!(second.hear_of("a refusal", |it| it["id"] == "x").await["status"], 404);
    // A disconnected program gets no more offers.
    drop(first);
    until("one program", || (server.get("/remotes").json()["remotes"][0]["programs"] == 1).then_some(()));
    second.say(&json!({ "decision": "reject", "leg": of_bob["leg"] })).await;
    bob.hear("SIP/2.0 486");
    let cat = Phone::new("cat");
    cat.ask_for(server.sip, "200");
    assert_eq!(offered(&mut second).await["caller"], "cat");
}

#[tokio::test]
async fn a_caller_who_hangs_up_ends_the_programs_part() {
    let ann = Phone::new("ann");
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let asked = ann.ask_for(server.sip, "200");
    let offer = offered(&mut agent).await;
    does(&mut agent, json!({ "command": "answer", "leg": offer["leg"] })).await;
    let answer = ann.hear("SIP/2.0 200").0;
    let dialog = ann.confirmed(&answer, asked, server.sip);
    agent.say(&json!({ "command": "play", "leg": offer["leg"], "sound": { "tone": 440, "ms": 600_000 }, "id": "p" })).await;
    agent.hear_of("accepted", |it| it["type"] == "accepted" && it["id"] == "p").await;
    ann.hang_up(&dialog);
    let (mut over, mut failed) = (false, false);
    while !(over && failed) {
        let heard = agent.hear().await.expect("open");
        over |= heard["type"] == "over" && heard["reason"] == "ended";
        failed |= heard["type"] == "command_failed" && heard["id"] == "p";
    }
    all_quiet(&server);
}

#[tokio::test]
async fn a_program_without_the_scope_of_calls_reaches_what_may_transfer_names() {
    let (ann, stranger) = (Phone::new("ann"), Phone::new("stranger"));
    let server = server(&format!(
        "[[http.tokens]]\nname = \"agent\"\ntoken = \"agent\"\nscopes = [\"remote\"]\n\
         [[remote]]\nname = \"agent\"\nfallback = \"echo\"\nmay_transfer = ['sip:bob@.*']\n{PATIENT}\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 0\n\
         [[route]]\ncalled = \"200\"\napp = \"remote/agent\"\n\
         [[route]]\ncalled = \".*\"\nto = \"gateway/carrier\"\n",
        stranger.uri().split_once('@').expect("a host").1
    ));
    let mut agent = Socket::with(&server, "/remote/agent", Some("agent")).await.expect("a program");
    agent.say(&json!({ "ping": 1 })).await;
    agent.hear_of("a pong", |it| it["type"] == "pong").await;
    let (from, call_id) = ann.ask_for(server.sip, "200");
    let leg = offered(&mut agent).await["leg"].clone();
    does(&mut agent, json!({ "command": "answer", "leg": leg })).await;
    let dialog = ann.confirmed(&ann.hear("SIP/2.0 200").0, (from, call_id), server.sip);
    for target in
        [stranger.uri().as_str(), "gateway/carrier/+900", "tel:+900", "+900", "sip:+900@127.0.0.66", "routes"]
    {
        for asked in [
            json!({ "command": "dial", "to": target }),
            json!({ "command": "dial", "to": ["user/1001", target] }),
            json!({ "command": "transfer", "to": target }),
            json!({ "command": "transfer", "to": "tel:+900", "by": "refer", "own": true, "fallback": target }),
            json!({ "decision": "dial", "to": target }),
            json!({ "decision": "transfer_to", "to": target }),
            json!({ "decision": "handle", "app": target }),
        ] {
            let mut asked = asked;
            (asked["leg"], asked["id"]) = (leg.clone(), json!("x"));
            agent.say(&asked).await;
            let refused = agent.hear_of("a word", |it| it["id"] == "x").await;
            assert_eq!((&refused["type"], &refused["status"]), (&json!("refused"), &json!(403)), "{asked}");
            assert!(refused["fix"].to_string().contains("may_transfer"), "{refused}");
        }
    }
    let bob = Phone::new("bob");
    for lie in [";maddr=127.0.0.66", ";transport=tcp", "?Route=%3Csip:127.0.0.66;lr%3E"] {
        let asked = json!({ "decision": "transfer_to", "to": bob.uri() + lie, "leg": leg, "id": "l" });
        agent.say(&asked).await;
        assert_eq!(agent.hear_of("a word", |it| it["id"] == "l").await["status"], 403, "{lie}");
    }
    agent.say(&json!({ "decision": "transfer_to", "to": bob.uri(), "leg": leg, "id": "b" })).await;
    assert_eq!(agent.hear_of("a word", |it| it["id"] == "b").await["type"], "accepted");
    bob.answer();
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&dialog);
    });
    assert!(!stranger.has_heard("INVITE"), "somebody was called");
}
