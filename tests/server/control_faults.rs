//! Failing commands: repeated ids, calls that end, expired deadlines, servers that stop, wrong tokens,
//! invalid bodies, clients that do not read.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server::control::{all_over, called, command, done};
use crate::server_support::control::Socket;
use crate::server_support::phone::Phone;
use crate::server_support::{Server, server, until};

#[test]
fn the_same_id_is_the_same_command_and_another_command_is_refused() {
    let ann = Phone::new("ann");
    let server = server("");
    let order = json!({ "command": "originate", "from": ann.uri(), "id": "once" });
    assert_eq!(server.post("/commands", &order).status, 202);
    let (invite, peer) = ann.hear("INVITE");
    assert_eq!(server.post("/commands", &order).status, 202, "it is under way");
    ann.answer_to(&invite, peer);
    let begun = done(&server, &order);
    assert_eq!(done(&server, &order), begun, "and is answered the same when it is over");
    let calls = server.get("/calls").json();
    assert_eq!(calls["total"], 1, "{calls}");
    let other =
        server.post("/commands", &json!({ "command": "hangup", "call": begun["call"], "id": "once" }));
    assert_eq!(other.status, 409, "{}", other.text());
    assert_eq!(server.metric("b2b_legs_dialled_total"), 1.0);
}

#[tokio::test]
async fn a_command_whose_call_ends_fails_once() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server("");
    let (begun, dialog) = called(&server, &ann);
    let leg = &begun["leg"];
    let mut socket = Socket::to(&server, "/control?only=commands").await;
    let sound = json!({ "tone": 440, "ms": 60_000 });
    let orders = [
        json!({ "command": "play", "leg": leg, "sound": sound, "id": "play" }),
        json!({ "command": "collect", "leg": leg, "max": 4, "first_s": 600, "total_s": 600, "id": "collect" }),
        json!({ "command": "dial", "leg": leg, "to": bob.uri(), "id": "dial" }),
    ];
    for order in &orders {
        socket.say(order).await;
    }
    until("three commands", || (server.metric("b2b_held{what=\"commands\"}") == 3.0).then_some(()));
    ann.hang_up(&dialog);
    let mut ends: Vec<Value> = Vec::new();
    while ends.len() < 3 {
        let heard = socket.hear().await.expect("open");
        if heard["type"] != "accepted" {
            ends.push(heard);
        }
    }
    for end in &ends {
        assert_eq!((&end["type"], &end["reason"]), (&json!("command_failed"), &json!("gone")), "{end}");
    }
    // No more events about them: the next one belongs to the next command.
    socket.say(&json!({ "command": "lookup", "target": "user/none", "id": "next" })).await;
    socket.hear_of("accepted", |it| it["type"] == "accepted").await;
    let next = socket.hear().await.expect("open");
    assert_eq!(
        (&next["id"], &next["reason"], &next["status"]),
        (&json!("next"), &json!("unknown"), &json!(404))
    );
    let gone = command(&server, &json!({ "command": "answer", "leg": leg }));
    assert_eq!(gone["reason"], "gone");
    all_over(&server);
}

#[test]
fn a_command_is_given_up_when_its_time_is_over() {
    let ann = Phone::new("ann");
    let server = server("");
    let order =
        json!({ "command": "originate", "from": ann.uri(), "ring_s": 3_600, "deadline_s": 1, "id": "late" });
    assert_eq!(server.post("/commands", &order).status, 202);
    let (invite, peer) = ann.hear("INVITE");
    ann.ring_to(&invite, peer);
    ann.hear("CANCEL");
    let status = server.get("/commands/late?wait=60").json();
    assert_eq!((&status["state"], &status["reason"]), (&json!("failed"), &json!("deadline")), "{status}");
}

#[tokio::test]
async fn a_server_that_stops_says_of_every_command_that_it_is_over() {
    let ann = Phone::new("ann");
    let mut server = server("");
    let (begun, _dialog) = called(&server, &ann);
    let mut socket = Socket::to(&server, "/control?only=commands").await;
    let sound = json!({ "tone": 440, "ms": 600_000 });
    socket.say(&json!({ "command": "play", "leg": begun["leg"], "sound": sound, "id": "long" })).await;
    socket.hear_of("accepted", |it| it["type"] == "accepted").await;
    server.process.signal(Signal::SIGTERM);
    let end = socket.end_of("long").await;
    assert_eq!(end["type"], "command_failed", "{end}");
    ann.let_go();
    server.process.assert_exit(0);
}

#[test]
fn what_is_no_command_is_refused_with_what_to_do() {
    let server = server("");
    let json_type = "Content-Type: application/json\r\n";
    for (path, body, status) in [
        ("/commands", "", 400),
        ("/commands", "[]", 400),
        ("/commands", "{\"command\"", 400),
        ("/commands", "{\"command\":\"dance\"}", 400),
        ("/commands", "{\"command\":\"answer\"}", 400),
        ("/commands", "{\"command\":\"answer\",\"call\":1,\"id\":\"a b\"}", 400),
        ("/commands", "{\"command\":\"play\",\"call\":1,\"sound\":\"/etc/passwd\"}", 400),
        ("/commands?wait=x", "{}", 400),
        ("/commands?wait=-1", "{}", 400),
        ("/calls/x/play", "{}", 400),
        ("/calls/1/dance", "{}", 400),
        ("/calls/1/answer", "{\"call\":2}", 400),
        ("/rooms/blue/dance", "{}", 400),
    ] {
        let answer = server.ask_with("POST", path, json_type, body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        let problem = answer.json();
        assert!(problem["error"].is_string() && problem["fix"].is_string(), "{path} {body}: {problem}");
    }
    let long = format!("{{\"command\":\"answer\",\"call\":1,\"id\":\"{}\"}}", "x".repeat(100_000));
    assert_eq!(server.ask_with("POST", "/commands", json_type, &long).status, 413);
    assert_eq!(server.get("/commands/none").status, 404);
    assert_eq!(server.ask("DELETE", "/commands/none").status, 404);
    let gone = server.post("/calls/77/play?wait=30", &json!({ "sound": { "tone": 440, "ms": 10 } }));
    assert_eq!((gone.status, &gone.json()["reason"]), (409, &json!("gone")));
    assert_eq!(server.get("/healthz").status, 200);
}

#[tokio::test]
async fn a_web_socket_refuses_what_is_no_command_and_goes_on() {
    use futures_util::SinkExt;
    use tokio_tungstenite::tungstenite::Message;
    let server = server("");
    let mut socket = Socket::to(&server, "/control").await;
    for text in ["", "[]", "{\"command\":\"dance\",\"id\":\"x\"}"] {
        socket.say_text(text).await;
        let refused = socket.hear_of("a refusal", |it| it["type"] == "refused").await;
        assert_eq!(refused["status"], 400, "{text}: {refused}");
    }
    socket.0.send(Message::Binary(vec![0; 100].into())).await.expect("sent");
    assert_eq!(socket.hear_of("a refusal", |it| it["type"] == "refused").await["status"], 400);
    socket.say(&json!({ "ping": "still there?" })).await;
    assert_eq!(socket.hear_of("a pong", |it| it["type"] == "pong").await["ping"], "still there?");
    socket.say(&json!({ "command": "lookup", "target": "user/none", "id": "l1" })).await;
    assert_eq!(socket.end_of("l1").await["type"], "command_failed");
    socket.say_text(&"x".repeat(200_000)).await;
    assert_eq!(socket.hear().await, None, "closed");
    assert_eq!(server.get("/healthz").status, 200);
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say_and_403_names_the_one_that_is_needed() {
    let server = server(
        "[[http.tokens]]\nname = \"reader\"\ntoken = \"look\"\nscopes = [\"read\"]\n\
         [[http.tokens]]\nname = \"caller\"\ntoken = \"call\"\nscopes = [\"calls\", \"read\"]\n",
    );
    let ask = |token: &str, method: &str, path: &str, body: &str| {
        let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        server.ask_with(method, path, &fields, body)
    };
    assert_eq!(server.get("/calls").status, 401);
    assert_eq!(ask("wrong", "GET", "/calls", "").status, 401);
    assert_eq!(ask("look", "GET", "/calls", "").status, 200);
    for (token, method, path, body, scope) in [
        ("look", "DELETE", "/calls/1", "", "calls"),
        ("look", "POST", "/commands", "{\"command\":\"hangup\",\"call\":1}", "calls"),
        ("look", "POST", "/calls/1/hangup", "", "calls"),
        ("look", "POST", "/calls/1/hold", "", "calls"),
        ("look", "POST", "/calls/1/resume", "", "calls"),
        ("look", "POST", "/commands", "{\"command\":\"unbridge\",\"leg\":1}", "calls"),
        ("call", "POST", "/commands", "{\"command\":\"record\",\"leg\":1,\"what\":\"said\"}", "record"),
        ("call", "POST", "/commands", "{\"command\":\"record\",\"call\":1}", "record"),
        ("call", "POST", "/calls/1/recording", "", "record"),
        ("call", "PUT", "/agents/ann/state", "{\"state\":\"paused\"}", "agents"),
        ("call", "POST", "/rooms/blue/lock", "{\"locked\":true}", "rooms"),
    ] {
        let refused = ask(token, method, path, body);
        assert_eq!(refused.status, 403, "{token} {method} {path}: {}", refused.text());
        assert!(refused.text().contains(scope), "{}", refused.text());
    }
    assert_eq!(
        ask("call", "POST", "/commands?wait=30", "{\"command\":\"hangup\",\"call\":1}").status,
        409,
        "gone"
    );
    assert!(Socket::with(&server, "/control", None).await.is_err());
    let mut reader = Socket::with(&server, "/control?only=commands", Some("look")).await.expect("may read");
    reader.say(&json!({ "command": "hangup", "call": 1, "id": "h" })).await;
    let refused = reader.hear().await.expect("open");
    assert_eq!(
        (&refused["type"], &refused["status"], &refused["id"]),
        (&json!("refused"), &json!(403), &json!("h"))
    );
}

#[test]
fn the_calls_that_a_token_asks_for_have_a_rate_of_their_own() {
    let server = server(
        "[[http.tokens]]\nname = \"busy\"\ntoken = \"busy\"\nscopes = [\"calls\", \"read\"]\n\
         [[http.tokens]]\nname = \"calm\"\ntoken = \"calm\"\nscopes = [\"calls\", \"read\"]\n\
         [limits]\nuser_calls_per_s = 1\n",
    );
    let ask = |token: &str, method: &str, path: &str, body: &Value| {
        let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        server.ask_with(method, path, &fields, &body.to_string())
    };
    let begin = |token: &str, n: usize| {
        // Nobody is there.
        let id = format!("{token}-{n}");
        let order =
            json!({ "command": "originate", "from": "sip:ann@127.0.0.1:9", "id": id, "deadline_s": 5 });
        let answer = ask(token, "POST", "/commands", &order);
        // A refusal may be there before the response.
        assert!(matches!(answer.status, 202 | 409), "{}", answer.text());
    };
    let is_refused = |token: &str, n: usize| {
        let answer = ask(token, "GET", &format!("/commands/{token}-{n}?wait=60"), &Value::Null).json();
        assert_eq!(answer["state"], "failed", "{answer}");
        answer["status"] == 480
    };
    let begun = Instant::now();
    (0..30).for_each(|n| begin("busy", n));
    begin("calm", 0);
    let refused = (0..30).filter(|n| is_refused("busy", *n)).count();
    let most = begun.elapsed().as_secs() as usize + 2;
    assert!(refused + most >= 30, "{refused} of 30 are refused");
    assert!(!is_refused("calm", 0), "another token has its own");
}

/// Subscribers, one of which never reads.
const MANY: usize = 100;

#[tokio::test]
async fn a_client_that_never_reads_holds_nobody_up() {
    let server = server("");
    let _deaf = Socket::to(&server, "/control").await;
    let mut others = Vec::new();
    for _ in 0..MANY {
        others.push(Socket::to(&server, "/events").await);
    }
    let rounds = 300;
    let mut talks = Socket::to(&server, "/control?only=commands").await;
    for n in 0..rounds {
        // Long texts, so that unread data fills all buffers in between.
        let target = format!("user/{}", "x".repeat(5_000));
        talks.say(&json!({ "command": "lookup", "target": target, "id": format!("n{n}") })).await;
        talks.end_of(&format!("n{n}")).await;
    }
    let last = format!("n{}", rounds - 1);
    for other in &mut others {
        other.end_of(&last).await;
    }
    assert_eq!(held(&server), 0.0);
}

#[tokio::test]
async fn who_does_not_read_is_heard_all_the_same() {
    let server = server("");
    let mut deaf = Socket::to(&server, "/control").await;
    let mut talks = Socket::to(&server, "/control?only=commands").await;
    // More than the kernel buffers at both ends of a connection.
    for n in 0..1_200 {
        let target = format!("user/{}", "x".repeat(8_000));
        talks.say(&json!({ "command": "lookup", "target": target, "id": format!("n{n}") })).await;
        talks.end_of(&format!("n{n}")).await;
    }
    deaf.say(&json!({ "command": "lookup", "target": "user/none", "id": "heard" })).await;
    until("the end of its command", || {
        (server.get("/commands/heard").json()["reason"] == "unknown").then_some(())
    });
}

fn held(server: &Server) -> f64 {
    server.metric("b2b_held{what=\"commands\"}")
}

#[test]
fn a_command_is_taken_back_with_the_scope_that_it_needs_itself() {
    let token = |name: &str, scopes: &str| {
        format!("[[http.tokens]]\nname = \"{name}\"\ntoken = \"{name}\"\nscopes = [{scopes}]\n")
    };
    let server = server(&format!(
        "{}{}[[conference]]\nname = \"blue\"\n[[route]]\ncalled = \"8000\"\napp = \"conference/blue\"\n",
        token("caller", "\"calls\", \"read\""),
        token("host", "\"rooms\", \"read\""),
    ));
    let ask = |token: &str, method: &str, path: &str, body: &str| {
        server.ask_with(method, path, &format!("Authorization: Bearer {token}\r\n"), body)
    };
    let ann = Phone::new("ann");
    let dialog = ann.call(server.sip, "8000");
    until("Ann in the room", || {
        let room = ask("host", "GET", "/rooms/blue", "").json();
        (room["members"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    // A conference that has just begun has no members to play to yet.
    let long = (0..).find_map(|n| {
        let order = format!("{{\"id\": \"long{n}\", \"sound\": {{\"tone\": 440, \"ms\": 60000}}}}");
        ask("host", "POST", "/rooms/blue/play", &order);
        std::thread::sleep(std::time::Duration::from_millis(100));
        let path = format!("/commands/long{n}");
        (ask("host", "GET", &path, "").json()["state"] == "running").then_some(path)
    });
    let long = long.expect("it plays");
    let refused = ask("caller", "DELETE", &long, "");
    assert_eq!((refused.status, refused.text().contains("rooms")), (403, true), "{}", refused.text());
    let order = json!({ "command": "cancel", "of": long.trim_start_matches("/commands/") });
    let by_command = ask("caller", "POST", "/commands", &order.to_string());
    assert_eq!(by_command.status, 403, "{}", by_command.text());
    assert_eq!(ask("host", "DELETE", &long, "").status, 204);
    ann.hang_up(&dialog);
}
