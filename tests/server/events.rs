//! `GET /events` of the real binary: every event matches its schema, and a client may request a subset.

use serde_json::{Value, json};

use super::control::{called, done};
use super::openapi::{misfits, unsaid};
use crate::server_support::control::Socket;
use crate::server_support::phone::Phone;
use crate::server_support::{server, until};

/// All events up to this one.
async fn until_this(socket: &mut Socket, like: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        heard.push(socket.hear().await.expect("an event"));
        if heard.last().is_some_and(&like) {
            return heard;
        }
    }
}

#[tokio::test]
async fn events_are_as_their_schema_says_and_a_client_hears_the_types_and_planes_that_it_asks_for() {
    let ann = Phone::new("ann");
    let server = server("[recording]\nfolder = \"rec\"\n");
    let document = server.get("/openapi.json").json();
    let mut all = Socket::to(&server, "/events").await;
    let mut some = Socket::to(&server, "/events?type=playback,recording").await;
    let mut media = Socket::to(&server, "/control?plane=media,application").await;
    let (begun, _dialog) = called(&server, &ann);
    done(&server, &json!({ "command": "record", "call": begun["call"] }));
    let tone = json!({ "command": "play", "leg": begun["leg"], "sound": { "tone": 440, "ms": 200 } });
    done(&server, &tone);
    done(&server, &json!({ "command": "stop_recording", "call": begun["call"] }));
    done(&server, &json!({ "command": "hangup", "call": begun["call"] }));
    ann.let_go();

    let over = |it: &Value| it["type"] == "call_state" && it["to"] == "idle";
    let heard = until_this(&mut all, over).await;
    let schema = &document["components"]["schemas"]["Published"];
    for event in &heard {
        assert_eq!(misfits(&document, schema, event), Vec::<String>::new(), "{event}");
        let mut unsaid = unsaid(&document, schema, event, "");
        // The content of these depends on the command, and on the application.
        unsaid.retain(|path| !path.starts_with("/result/") && !path.starts_with("/data/"));
        assert_eq!(unsaid, Vec::<String>::new(), "{event}");
    }
    let complete = |it: &Value| it["type"] == "recording" && it["on"] == false;
    let heard = until_this(&mut some, complete).await;
    // A recording begins when its file is open, which may be at any point of the playback.
    let of = |kind: &str, on: bool| {
        let found = heard.iter().find(|it| it["type"] == kind && it["on"] == on);
        found.unwrap_or_else(|| panic!("no {kind} with on = {on}: {heard:?}"))
    };
    assert_eq!(heard.len(), 4, "{heard:?}");
    assert_eq!(of("playback", false)["complete"], true);
    assert_eq!(of("playback", true)["leg"], of("playback", false)["leg"]);
    let file = of("recording", false)["file"].as_str().expect("a file");
    assert_eq!(of("recording", true)["file"].as_str(), Some(file));
    assert!(of("recording", false)["seconds"].is_number());
    assert!(server.folder.path().join(file).exists(), "it is complete: {file}");
    let heard =
        until_this(&mut media, |it| it["type"] == "command_completed" && it["command"] == "hangup").await;
    assert!(heard.iter().any(|it| it["type"] == "recording"));
    assert!(heard.iter().all(|it| !matches!(it["type"].as_str(), Some("leg_state" | "call_state"))));
}

#[test]
fn an_unknown_type_or_plane_is_refused_with_those_there_are() {
    let server = server("");
    for (path, words) in [
        ("/events?type=digits", "`digits` is not one of call_state, illegal_event"),
        ("/events?plane=rtp", "`rtp` is not one of sip, media, application, system"),
        ("/control?type=", "`` is not one of call_state"),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}

#[test]
fn what_is_said_on_websockets_is_described() {
    let server = server("");
    let document = until("the document", || Some(server.get("/asyncapi.json").json()));
    assert_eq!(document["asyncapi"], "3.0.0");
    for (channel, message) in [("events", "event"), ("control", "command"), ("remote", "decision")] {
        let to = document["channels"][channel]["messages"][message]["$ref"].as_str().expect("a message");
        assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
    }
    assert!(document["components"]["schemas"]["Event"]["oneOf"].as_array().is_some_and(|it| it.len() > 40));
}
