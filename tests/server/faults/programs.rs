//! Remote programs: killed in every state of a call, unresponsive, faulty, reconfigured.

use futures_util::SinkExt;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{NEIGHBOUR, Neighbour, call_of, is_with, nothing_is_held};
use crate::server::remote::{PATIENT, does, offered, program};
use crate::server_support::control::Socket;
use crate::server_support::phone::{CallsOff, Dialog, Phone, rtp_of};
use crate::server_support::{Server, server, until};

/// Configuration for all that the calls need, and their routes.
fn lines(remote: &str) -> String {
    format!(
        "[recording]\nfolder = \"rec\"\n[[music]]\nname = \"default\"\ntone = \"440\"\n[[conference]]\nname = \"blue\"\n\
         announced = false\n{remote}{NEIGHBOUR}[[route]]\ncalled = \".*\"\napp = \"remote/agent\"\n"
    )
}

/// A server that passes every call except the neighbour's to `remote/agent`.
fn house(limits: &str) -> Server {
    server(&lines(&format!("[[remote]]\nname = \"agent\"\nfallback = \"echo\"\n{limits}")))
}

/// A call at a program, which has answered it.
async fn answered(server: &Server, ann: &Phone, agent: &mut Socket) -> (Value, Dialog) {
    let asked = ann.ask_for(server.sip, "200");
    let offer = offered(agent).await;
    does(agent, json!({ "command": "answer", "leg": offer["leg"] })).await;
    let answer = ann.hear("SIP/2.0 200").0;
    (offer, ann.confirmed(&answer, asked, server.sip))
}

fn back(server: &Server, why: &str) -> f64 {
    server.metric(&format!("b2b_remote_calls_total{{result=\"{why}\"}}"))
}

/// Number of complete recordings.
fn recordings(server: &Server) -> usize {
    let mut folders = vec![server.folder.path().join("rec")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found += usize::from(path.extension().is_some_and(|it| it == "wav")),
            }
        }
    }
    found
}

/// Starts a command that lasts.
async fn begins(agent: &mut Socket, mut order: Value, leg: &Value) {
    order["leg"] = leg.clone();
    order["id"] = json!(format!("w{leg}"));
    agent.say(&order).await;
    agent.hear_of("accepted", |it| it["type"] == "accepted" && it["id"] == order["id"]).await;
}

#[tokio::test]
async fn a_program_killed_before_its_first_word_is_heard_loses_the_call_to_the_fall_back() {
    let server = house(PATIENT);
    let neighbour = Neighbour::calls(&server).await;
    // It has sent nothing; it has sent a command without waiting for the result; it is calling another party.
    for (n, state) in ["offered", "first command", "ringing"].into_iter().enumerate() {
        let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
        let mut agent = program(&server).await;
        let asked = ann.ask_for(server.sip, "200");
        let offer = offered(&mut agent).await;
        match state {
            "offered" => drop(agent),
            "first command" => {
                agent.say(&json!({ "command": "answer", "leg": offer["leg"] })).await;
                drop(agent);
            }
            _ => {
                agent
                    .say(&json!({ "command": "dial", "leg": offer["leg"], "to": bob.uri(), "ring_s": 3_600 }))
                    .await;
                let (invite, peer) = bob.hear("INVITE");
                bob.ring_to(&invite, peer);
                ann.hear("SIP/2.0 180");
                drop(agent);
                bob.hear("CANCEL");
            }
        }
        let answer = ann.hear("SIP/2.0 200").0;
        let dialog = ann.confirmed(&answer, asked, server.sip);
        is_with(&server, &offer["call"], "echo");
        ann.hang_up(&dialog);
        until("it is counted", || (back(&server, "disconnected") == (n + 1) as f64).then_some(()));
    }
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}

#[tokio::test]
async fn a_program_killed_while_it_does_something_leaves_nothing_of_it_behind() {
    let server = house(PATIENT);
    let neighbour = Neighbour::calls(&server).await;
    let long = json!({ "tone": 440, "ms": 600_000 });
    let lasting = [
        json!({ "command": "play", "sound": long }),
        json!({ "command": "collect", "max": 4, "first_s": 600, "total_s": 600 }),
        json!({ "command": "play_and_collect", "sound": long, "max": 4, "first_s": 600, "total_s": 600 }),
        json!({ "command": "send_digits", "digits": "0123456789", "ms": 5_000 }),
    ];
    let quick = [
        json!({ "command": "record" }),
        json!({ "command": "music" }),
        json!({ "command": "echo", "on": true }),
        json!({ "command": "hear_tones", "on": true }),
    ];
    let count = lasting.len() + quick.len();
    for (order, lasts) in lasting.into_iter().map(|it| (it, true)).chain(quick.map(|it| (it, false))) {
        let ann = Phone::new("ann");
        let mut agent = program(&server).await;
        let (offer, dialog) = answered(&server, &ann, &mut agent).await;
        let (call, leg) = (&offer["call"], &offer["leg"]);
        if lasts {
            begins(&mut agent, order.clone(), leg).await;
        } else {
            let mut order = order.clone();
            order["leg"] = leg.clone();
            does(&mut agent, order).await;
        }
        let recorded = order["command"] == "record";
        if recorded {
            until("a recording", || (!call_of(&server, call)["recording"].is_null()).then_some(()));
        }
        drop(agent);
        is_with(&server, call, "echo");
        if lasts {
            let status = server.get(&format!("/commands/w{leg}?wait=60")).json();
            assert_eq!(
                (&status["state"], &status["reason"]),
                (&json!("failed"), &json!("cancelled")),
                "{status}"
            );
        }
        until("no recording", || call_of(&server, call)["recording"].is_null().then_some(()));
        if recorded {
            until("what was recorded", || (recordings(&server) == 1).then_some(()));
        }
        ann.hang_up(&dialog);
    }
    assert_eq!(back(&server, "disconnected"), count as f64);
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}

#[tokio::test]
async fn what_a_program_has_left_on_is_off_for_who_gets_the_call() {
    // The fallback is a program, too: all that reaches the phone then comes from it.
    let server = server(&lines(
        "[[remote]]\nname = \"agent\"\nfallback = \"remote/second\"\nanswer_s = 600\nstall_s = 3600\n\
         [[remote]]\nname = \"second\"\nanswer_s = 600\nstall_s = 3600\n",
    ));
    let mut second = Socket::to(&server, "/remote/second").await;
    second.say(&json!({ "ping": 1 })).await;
    second.hear_of("a pong", |it| it["type"] == "pong").await;
    for killed in [true, false] {
        let ann = Phone::new("ann");
        let mut agent = program(&server).await;
        let asked = ann.ask_for(server.sip, "200");
        let offer = offered(&mut agent).await;
        let (call, leg) = (&offer["call"], &offer["leg"]);
        does(&mut agent, json!({ "command": "answer", "leg": leg })).await;
        let answer = ann.hear("SIP/2.0 200").0;
        let (dialog, port) = (ann.confirmed(&answer, asked, server.sip), rtp_of(&answer));
        does(&mut agent, json!({ "command": "echo", "leg": leg, "on": true })).await;
        let said = [0x2a; 160];
        // Ann hears the echo.
        let mut n = 0;
        until("an echo", || {
            ann.sound(port, n, &said);
            n += 1;
            ann.heard(|packet| packet.ends_with(&said)).then_some(())
        });
        // And the prompt, which takes precedence over the echo.
        begins(&mut agent, json!({ "command": "play", "sound": { "tone": 440, "ms": 600_000 } }), leg).await;
        until("a tone", || ann.heard(|packet| !packet.ends_with(&said)).then_some(()));
        match killed {
            true => drop(agent),
            false => agent.say(&json!({ "decision": "handle", "leg": leg, "app": "remote/second" })).await,
        }
        assert_eq!(offered(&mut second).await["call"], *call);
        until("silence", || (!ann.heard(|_| true)).then_some(()));
        for _ in 0..20 {
            ann.sound(port, n, &said);
            n += 1;
        }
        does(&mut second, json!({ "command": "play", "leg": leg, "sound": { "tone": 440, "ms": 400 } }))
            .await;
        let heard = ann.listen(10);
        assert!(!heard.iter().any(|packet| packet.ends_with(&said)), "Ann hears no echo any more");
        ann.hang_up(&dialog);
    }
    drop(second);
    nothing_is_held(&server);
}

#[tokio::test]
async fn who_is_in_a_conversation_or_elsewhere_stays_there_when_the_program_is_killed() {
    let cat = Phone::new("cat");
    let host = cat.uri().replace("sip:cat@", "");
    let far = format!("[[gateway]]\nname = \"far\"\nhosts = [\"{host}\"]\ntransport = \"udp\"\n");
    let remote = format!("[[remote]]\nname = \"agent\"\nfallback = \"echo\"\n{PATIENT}{far}");
    let server = server(&lines(&remote));
    let neighbour = Neighbour::calls(&server).await;
    // In a conference: the program has decided, and is no longer involved.
    let ann = Phone::new("ann");
    let mut agent = program(&server).await;
    let (offer, dialog) = answered(&server, &ann, &mut agent).await;
    agent.say(&json!({ "decision": "handle", "leg": offer["leg"], "app": "conference/blue" })).await;
    agent.hear_of("the end", |it| it["type"] == "over" && it["reason"] == "decided").await;
    is_with(&server, &offer["call"], "conference/blue");
    until("Ann in the room", || {
        (server.get("/rooms/blue").json()["members"][0]["leg"] == offer["leg"]).then_some(())
    });
    drop(agent);
    until("no program", || (server.metric("b2b_remote_programs") == 0.0).then_some(()));
    assert_eq!(server.get("/rooms/blue").json()["members"][0]["leg"], offer["leg"]);
    ann.hang_up(&dialog);
    assert_eq!(back(&server, "disconnected"), 0.0);

    // It transfers the other party of a conversation, and is killed while the target rings: the transfer goes
    // on, and so does the recording.
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let mut agent = program(&server).await;
    let (offer, _in_ann) = answered(&server, &ann, &mut agent).await;
    let leg = &offer["leg"];
    agent.say(&json!({ "command": "dial", "leg": leg, "to": bob.uri(), "id": "d" })).await;
    bob.answer();
    assert_eq!(agent.end_of("d").await["type"], "command_completed");
    does(&mut agent, json!({ "command": "record", "leg": leg })).await;
    until("a recording", || (!call_of(&server, &offer["call"])["recording"].is_null()).then_some(()));
    agent.say(&json!({ "command": "transfer", "leg": leg, "to": "gateway/far/800", "id": "t" })).await;
    agent.hear_of("accepted", |it| it["type"] == "accepted" && it["id"] == "t").await;
    let status = server.get("/commands/t").json();
    assert_eq!(status["state"], "running", "{status}");
    let (invite, peer) = cat.hear("INVITE");
    cat.ring_to(&invite, peer);
    drop(agent);
    until("it is counted", || (back(&server, "disconnected") == 1.0).then_some(()));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (over, bob, ann) = (&over, &bob, &ann);
        let _at_the_end = CallsOff(over);
        scope.spawn(move || bob.agree(over));
        scope.spawn(move || ann.agree(over));
        let _in_cat = cat.answer_to(&invite, peer);
        until("Bob with Cat", || {
            let it = call_of(&server, &offer["call"]);
            let legs = it["legs"].as_array().map_or(0, Vec::len);
            (it["state"] == "bridged" && legs == 2 && it["legs"].to_string().contains("800")).then_some(())
        });
        let it = call_of(&server, &offer["call"]);
        assert!(!it["recording"].is_null(), "the conversation is recorded on: {it}");
        scope.spawn(|| cat.let_go());
        assert_eq!(server.ask("DELETE", &format!("/calls/{}", offer["call"])).status, 204);
        until("the end", || call_of(&server, &offer["call"]).is_null().then_some(()));
    });
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}

#[tokio::test]
async fn a_program_that_never_reads_is_disconnected_and_its_call_goes_on_without_it() {
    let server = house("answer_s = 600\nstall_s = 2\n");
    let neighbour = Neighbour::calls(&server).await;
    let ann = Phone::new("ann");
    let mut agent = program(&server).await;
    let asked = ann.ask_for(server.sip, "200");
    let offer = offered(&mut agent).await;
    // It is alive, and its requests cause long responses.
    let ping = Message::text(json!({ "ping": "x".repeat(60_000) }).to_string());
    let flood = tokio::spawn(async move { while agent.0.send(ping.clone()).await.is_ok() {} });
    let answer = ann.hear("SIP/2.0 200").0;
    let dialog = ann.confirmed(&answer, asked, server.sip);
    is_with(&server, &offer["call"], "echo");
    tokio::time::timeout(crate::server_support::child::PATIENCE, flood)
        .await
        .expect("disconnected")
        .expect("flooded");
    // Depends on which timeout comes first.
    assert_eq!(back(&server, "disconnected") + back(&server, "stalled"), 1.0);
    ann.hang_up(&dialog);
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}

#[tokio::test]
async fn each_kind_of_nonsense_is_refused_and_too_much_at_once_disconnects() {
    let server = house(&format!("{PATIENT}mistakes = 1000\n"));
    let neighbour = Neighbour::calls(&server).await;
    let ann = Phone::new("ann");
    let mut agent = program(&server).await;
    let (offer, dialog) = answered(&server, &ann, &mut agent).await;
    let leg = &offer["leg"];
    let refused = |it: &Value| it["type"] == "refused";
    let nested = "[".repeat(60_000);
    let numbers = format!("{{\"command\":\"play\",\"leg\":{leg},\"sound\":{{\"tone\":1e999,\"ms\":1}}}}");
    for text in [
        String::new(),
        "null".to_owned(),
        nested.clone(),
        format!("{{\"command\":{nested}"),
        numbers,
        json!({ "command": 7, "leg": leg }).to_string(),
        json!({ "command": "play", "leg": -1 }).to_string(),
        json!({ "command": "play", "leg": leg, "sound": "../../etc/passwd" }).to_string(),
        json!({ "command": "play", "leg": leg, "sound": "a.wav", "times": -1 }).to_string(),
        json!({ "decision": [], "leg": leg }).to_string(),
        json!({ "decision": "handle", "leg": leg, "app": {} }).to_string(),
        json!({ "decision": "reject", "leg": leg, "status": 99 }).to_string(),
        json!({ "decision": "reject", "leg": leg, "reason": "a\r\nb" }).to_string(),
        json!({ "decision": "handle" }).to_string(),
    ] {
        agent.say_text(&text).await;
        let answer = agent.hear_of("a refusal", refused).await;
        assert_eq!(answer["status"], 400, "{}: {answer}", &text[..text.len().min(80)]);
    }
    agent.0.send(Message::binary(vec![0; 1_000])).await.expect("sent");
    assert_eq!(agent.hear_of("a refusal", refused).await["status"], 400);
    // Valid commands for calls of others, or impossible ones.
    for (order, status) in [
        (json!({ "command": "play", "leg": 77, "sound": { "tone": 440, "ms": 10 } }), 404),
        (json!({ "command": "hangup", "call": neighbour.call }), 404),
        (json!({ "command": "room_lock", "room": "blue", "locked": true }), 403),
        (json!({ "command": "cancel", "of": "marker" }), 403),
        (json!({ "decision": "disconnect", "call": neighbour.call }), 404),
        (json!({ "decision": "bridge", "leg": leg, "with": neighbour.call }), 409),
        (json!({ "decision": "handle", "leg": leg, "app": "ivr/none" }), 409),
        (json!({ "decision": "dial", "leg": leg, "to": "user/none" }), 409),
    ] {
        agent.say(&order).await;
        assert_eq!(agent.hear_of("a refusal", refused).await["status"], status, "{order}");
    }
    // It still has its call.
    let sound = json!({ "tone": 440, "ms": 100 });
    does(&mut agent, json!({ "command": "play", "leg": leg, "sound": sound })).await;
    agent.say_text(&" ".repeat(70_000)).await;
    while agent.hear().await.is_some() {}
    is_with(&server, &offer["call"], "echo");
    assert_eq!(back(&server, "disconnected"), 1.0);
    ann.hang_up(&dialog);
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}

#[tokio::test]
async fn a_configuration_that_changes_or_takes_away_a_remote_touches_no_call_that_it_has() {
    let server = house(PATIENT);
    let neighbour = Neighbour::calls(&server).await;
    let (ann, bob, cat) = (Phone::new("ann"), Phone::new("bob"), Phone::new("cat"));
    let mut agent = program(&server).await;
    let (first, in_ann) = answered(&server, &ann, &mut agent).await;
    let path = server.folder.path().join("b2bua.toml");
    let old = std::fs::read_to_string(&path).expect("a file");
    // Another fallback: for calls from now on.
    let changed = old.replace("fallback = \"echo\"", "fallback = \"milliwatt\"");
    std::fs::write(&path, &changed).expect("a file");
    server.process.signal(Signal::SIGHUP);
    until("it is in force", || {
        (server.get("/remotes").json()["remotes"][0]["fallback"] == "milliwatt").then_some(())
    });
    let (second, in_bob) = answered(&server, &bob, &mut agent).await;
    // The application and its route are removed.
    let (before, rest) = changed.split_once("[[remote]]").expect("a remote");
    let rest = &rest[rest.find("[[route]]").expect("routes")..];
    let without = format!("{before}{rest}").replace("remote/agent", "echo");
    std::fs::write(&path, without).expect("a file");
    server.process.signal(Signal::SIGHUP);
    until("it is away", || (server.get("/remotes").json()["remotes"] == json!([])).then_some(()));
    assert!(Socket::with(&server, "/remote/agent", None).await.is_err(), "nobody can be one now");
    // Both calls are still the program's.
    let sound = json!({ "tone": 440, "ms": 100 });
    for offer in [&first, &second] {
        does(&mut agent, json!({ "command": "play", "leg": offer["leg"], "sound": sound })).await;
    }
    let in_cat = cat.call(server.sip, "200");
    drop(agent);
    // Each goes to the fallback in force when it came.
    is_with(&server, &first["call"], "echo");
    is_with(&server, &second["call"], "milliwatt");
    for (phone, dialog) in [(&ann, &in_ann), (&bob, &in_bob), (&cat, &in_cat)] {
        phone.hang_up(dialog);
    }
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}
