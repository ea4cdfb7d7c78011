//! Programs that are absent, die, are silent or send nonsense: their calls go to the fallback.

use serde_json::{Value, json};

use crate::server::control::{all_over, all_quiet};
use crate::server::remote::{PATIENT, does, fallen_back, given, offered, program};
use crate::server_support::control::Socket;
use crate::server_support::phone::{Dialog, Phone};
use crate::server_support::{Server, server, until};

/// Confirms the server's answer, and hangs up once the call is at the fallback.
fn talks_to_the_fallback(server: &Server, ann: &Phone, asked: (String, String)) {
    let answer = ann.hear("SIP/2.0 200").0;
    let dialog = ann.confirmed(&answer, asked, server.sip);
    ends_with_the_fallback(server, ann, &dialog);
}

fn ends_with_the_fallback(server: &Server, ann: &Phone, dialog: &Dialog) {
    fallen_back(server);
    ann.hang_up(dialog);
    all_quiet(server);
    assert_eq!(server.metric("b2b_held{what=\"remote_calls\"}"), 0.0);
}

fn counted(server: &Server, what: &str) {
    let series = format!("b2b_remote_calls_total{{result=\"{what}\"}}");
    until(&series, || (server.metric(&series) == 1.0).then_some(()));
}

#[test]
fn without_a_program_a_call_goes_to_the_fall_back_or_ends() {
    let ann = Phone::new("ann");
    let given = given(PATIENT);
    let asked = ann.ask_for(given.sip, "200");
    talks_to_the_fallback(&given, &ann, asked);
    counted(&given, "not_connected");
    let bob = Phone::new("bob");
    let without =
        server("[[remote]]\nname = \"agent\"\n[[route]]\ncalled = \".*\"\napp = \"remote/agent\"\n");
    bob.ask_for(without.sip, "200");
    bob.hear("SIP/2.0 480");
    all_quiet(&without);
}

#[tokio::test]
async fn a_program_that_dies_with_a_new_call_loses_it_to_the_fall_back() {
    let ann = Phone::new("ann");
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let asked = ann.ask_for(server.sip, "200");
    offered(&mut agent).await;
    drop(agent);
    talks_to_the_fallback(&server, &ann, asked);
    counted(&server, "disconnected");
}

/// A call that the program has answered.
async fn answered(server: &Server, ann: &Phone, agent: &mut Socket) -> (Value, Dialog) {
    let asked = ann.ask_for(server.sip, "200");
    let offer = offered(agent).await;
    does(agent, json!({ "command": "answer", "leg": offer["leg"] })).await;
    let answer = ann.hear("SIP/2.0 200").0;
    (offer["leg"].clone(), ann.confirmed(&answer, asked, server.sip))
}

#[tokio::test]
async fn a_program_that_dies_while_it_plays_and_collects_leaves_nothing_behind() {
    let ann = Phone::new("ann");
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let (leg, dialog) = answered(&server, &ann, &mut agent).await;
    let order = json!({ "command": "play_and_collect", "leg": leg, "sound": { "tone": 440, "ms": 600_000 }, "max": 4, "total_s": 600, "id": "p" });
    agent.say(&order).await;
    agent.hear_of("accepted", |it| it["id"] == "p").await;
    drop(agent);
    ends_with_the_fallback(&server, &ann, &dialog);
    let status = server.get("/commands/p").json();
    assert_eq!(status["state"], "failed", "{status}");
}

#[tokio::test]
async fn a_program_that_dies_while_it_calls_somebody_has_that_taken_back() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let (leg, dialog) = answered(&server, &ann, &mut agent).await;
    agent.say(&json!({ "command": "dial", "leg": leg, "to": bob.uri(), "ring_s": 3_600 })).await;
    let (invite, peer) = bob.hear("INVITE");
    bob.ring_to(&invite, peer);
    drop(agent);
    bob.hear("CANCEL");
    fallen_back(&server);
    ann.hang_up(&dialog);
    until("the end", || (server.get("/calls").json()["total"] == 0).then_some(()));
}

#[tokio::test]
async fn a_conversation_that_a_program_has_made_survives_it() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let (leg, dialog) = answered(&server, &ann, &mut agent).await;
    agent.say(&json!({ "command": "dial", "leg": leg, "to": bob.uri(), "id": "d" })).await;
    bob.answer();
    assert_eq!(agent.end_of("d").await["type"], "command_completed");
    drop(agent);
    counted(&server, "disconnected");
    until("nobody holds it", || (server.metric("b2b_held{what=\"remote_calls\"}") == 0.0).then_some(()));
    let calls = server.get("/calls").json();
    assert_eq!((&calls["total"], &calls["calls"][0]["state"]), (&json!(1), &json!("bridged")), "{calls}");
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&dialog);
    });
    all_over(&server);
}

#[tokio::test]
async fn a_program_that_says_nothing_about_a_call_loses_it_though_it_lives() {
    let ann = Phone::new("ann");
    let server = given("answer_s = 1\nstall_s = 3600\n");
    let mut agent = program(&server).await;
    let asked = ann.ask_for(server.sip, "200");
    let offer = offered(&mut agent).await;
    agent.say(&json!({ "ping": 2 })).await;
    let over = agent.hear_of("the end", |it| it["type"] == "over").await;
    assert_eq!((&over["reason"], &over["call"]), (&json!("no_answer"), &offer["call"]));
    talks_to_the_fallback(&server, &ann, asked);
    counted(&server, "no_answer");
}

#[tokio::test]
async fn a_program_that_gives_no_sign_of_life_loses_its_calls() {
    let ann = Phone::new("ann");
    let server = given("answer_s = 600\nstall_s = 1\n");
    let mut agent = program(&server).await;
    let asked = ann.ask_for(server.sip, "200");
    offered(&mut agent).await;
    let over = agent.hear_of("the end", |it| it["type"] == "over").await;
    assert_eq!(over["reason"], "stalled", "{over}");
    talks_to_the_fallback(&server, &ann, asked);
}

#[tokio::test]
async fn a_program_that_talks_nonsense_is_disconnected_after_so_much_of_it() {
    let ann = Phone::new("ann");
    let server = given(&format!("{PATIENT}mistakes = 3\n"));
    let mut agent = program(&server).await;
    let asked = ann.ask_for(server.sip, "200");
    let offer = offered(&mut agent).await;
    let refused = |it: &Value| it["type"] == "refused";
    for text in ["nonsense", "[1]"] {
        agent.say_text(text).await;
        assert_eq!(agent.hear_of("a refusal", refused).await["status"], 400, "{text}");
    }
    // A valid message in between.
    agent.say(&json!({ "ping": 2 })).await;
    agent.hear_of("a pong", |it| it["type"] == "pong").await;
    for order in [
        json!({ "command": "dance", "leg": offer["leg"] }),
        json!({ "decision": "dance", "leg": offer["leg"] }),
        // These do not concern its call, and a program commands that one only.
        json!({ "command": "originate", "from": "user/1001" }),
    ] {
        agent.say(&order).await;
        let status = agent.hear_of("a refusal", refused).await["status"].clone();
        assert!(status == 400 || status == 403, "{order}: {status}");
    }
    while agent.hear().await.is_some() {}
    talks_to_the_fallback(&server, &ann, asked);
    counted(&server, "disconnected");
}

#[tokio::test]
async fn who_may_be_a_program_is_a_matter_of_its_token_and_of_the_name() {
    let server = server(
        "[[http.tokens]]\nname = \"agent\"\ntoken = \"be\"\nscopes = [\"remote\"]\n\
         [[http.tokens]]\nname = \"reader\"\ntoken = \"look\"\nscopes = [\"read\"]\n[[remote]]\nname = \"agent\"\n",
    );
    assert!(Socket::with(&server, "/remote/agent", Some("be")).await.is_ok());
    for (path, token) in
        [("/remote/agent", "look"), ("/remote/agent", "wrong"), ("/remote/other", "be"), ("/control", "be")]
    {
        assert!(Socket::with(&server, path, Some(token)).await.is_err(), "{path} {token}");
    }
}
