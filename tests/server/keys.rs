//! Which keys a party presses is told to whom it may be told; PINs are told to nobody.

use serde_json::Value;

use crate::server_support::control::Socket;
use crate::server_support::phone::{Dialog, Phone};
use crate::server_support::{Server, server, until};

const TOKENS: &str = "token = \"all\"\n\
    [[http.tokens]]\nname = \"reader\"\ntoken = \"look\"\nscopes = [\"read\"]\n\
    [[http.tokens]]\nname = \"clerk\"\ntoken = \"note\"\nscopes = [\"read\", \"record\"]\n\
    [log]\nsip_trace = \"trace.txt\"\n";
const ROOM: &str = "[[conference]]\nname = \"red\"\npin = \"4711\"\nannounced = false\n\
    [[route]]\ncalled = \"8000\"\napp = \"conference/red\"\n";

fn get(server: &Server, token: &str, path: &str) -> Value {
    server.ask_with("GET", path, &format!("Authorization: Bearer {token}\r\n"), "").json()
}

fn bytes(server: &Server, path: &str) -> String {
    let answer = server.ask_with("GET", path, "Authorization: Bearer all\r\n", "");
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn press(phone: &Phone, dialog: &Dialog, first: u32, keys: &str) {
    for (cseq, key) in (first..).zip(keys.chars()) {
        phone.press(dialog, cseq, key);
    }
}

/// What is noted of each key of a call.
fn noted(account: &Value) -> Vec<String> {
    let records = account["timeline"]["records"].as_array().expect("records");
    let keys = records.iter().filter(|record| record["fact"] == "digit");
    keys.map(|record| record["note"].as_str().expect("a note").to_owned()).collect()
}

#[tokio::test]
async fn a_pin_is_in_no_event_account_trace_or_capture_and_other_keys_need_a_scope() {
    let server = server(&format!("{TOKENS}{ROOM}"));
    let mut all = Socket::with(&server, "/events", Some("all")).await.expect("events");
    let mut reader = Socket::with(&server, "/events", Some("look")).await.expect("events");
    let ann = Phone::new("ann");
    let dialog = ann.call(server.sip, "8000");
    press(&ann, &dialog, 2, "4711#");
    until("Ann in the room", || {
        (get(&server, "all", "/rooms/red")["members"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    let digit = |event: &Value| event["type"] == "digit";
    for _ in 0..5 {
        let hidden = all.hear_of("a key", digit).await;
        assert!(hidden.get("digit").is_none(), "{hidden}");
        assert_eq!(reader.hear_of("a key", digit).await, hidden);
    }
    // Of a key that is no secret: what was on its way is hidden for a moment more.
    let mut cseq = 10;
    let shown = loop {
        ann.press(&dialog, cseq, '5');
        cseq += 1;
        let (told, read) = (all.hear_of("a key", digit).await, reader.hear_of("a key", digit).await);
        assert!(read.get("digit").is_none(), "{read}");
        if let Some(digit) = told.get("digit") {
            break digit.clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert_eq!(shown, "5");
    let calls = get(&server, "all", "/calls");
    let path = format!("/calls/{}", calls["calls"][0]["call"]);
    let whole = noted(&get(&server, "note", &path));
    assert!(whole.iter().take(5).all(|note| note.starts_with("hidden INFO")), "{whole:?}");
    assert_eq!(whole.last().map(String::as_str), Some("5 INFO 100 ms"));
    let bare = noted(&get(&server, "look", &path));
    assert_eq!((bare.len(), bare.iter().all(|note| note == "hidden")), (whole.len(), true), "{bare:?}");
    let pcap = bytes(&server, &format!("{path}/pcap"));
    ann.hang_up(&dialog);
    let trace = until("the trace", || {
        let trace = std::fs::read_to_string(server.folder.path().join("trace.txt")).ok()?;
        trace.contains("BYE sip:").then_some(trace)
    });
    for text in [pcap, trace] {
        assert!(text.contains("Signal=x\r\nDuration=100"), "{text}");
        assert!(!text.contains("Signal=4") && !text.contains("Signal=5"), "{text}");
    }
}

#[tokio::test]
async fn digits_that_a_command_collects_in_secret_are_for_who_asks_for_them() {
    let server = server(TOKENS);
    let mut all = Socket::with(&server, "/events", Some("all")).await.expect("events");
    let ann = Phone::new("ann");
    let order = serde_json::json!({ "command": "originate", "from": ann.uri() }).to_string();
    server.ask_with("POST", "/commands", "Authorization: Bearer all\r\n", &order);
    let dialog = ann.answer();
    let id = until("the call", || get(&server, "all", "/calls")["calls"][0]["call"].as_u64());
    let collect = |name: &str, secret: bool| {
        let body = serde_json::json!({ "id": name, "max": 2, "secret": secret }).to_string();
        let path = format!("/calls/{id}/collect");
        let answer = server.ask_with("POST", &path, "Authorization: Bearer all\r\n", &body);
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    for (name, secret, first) in [("open", false, 2), ("secret", true, 10)] {
        collect(name, secret);
        // It may not have begun: what is pressed before it is none of it.
        let mut cseq = first;
        let done = loop {
            ann.press(&dialog, cseq, '7');
            cseq += 1;
            let status = get(&server, "all", &format!("/commands/{name}"));
            if status["state"] != "running" {
                break status;
            }
        };
        assert_eq!(done["result"]["digits"], "77", "{done}");
        let end = all.end_of(name).await;
        assert_eq!(end["result"].get("digits").is_some(), !secret, "{end}");
        let seen = get(&server, "look", &format!("/commands/{name}"));
        assert!(seen["result"].get("digits").is_none() && seen["result"]["end"] == "full", "{seen}");
    }
    ann.hang_up(&dialog);
}

#[test]
fn an_alarm_tells_of_who_guesses_a_pin_on_many_lines() {
    let server = server(&format!("token = \"all\"\n{ROOM}"));
    let guess = |name: &'static str| {
        let phone = Phone::new(name);
        let dialog = phone.call(server.sip, "8000");
        (1..=3).for_each(|n| press(&phone, &dialog, n * 10, "1234#"));
        (phone, dialog)
    };
    let _lines: Vec<_> = ["ann", "bob", "cat", "dan"].into_iter().map(guess).collect();
    let alarm = until("an alarm", || {
        let alarms = get(&server, "all", "/alarms");
        alarms["alarms"].as_array()?.iter().find(|it| it["name"] == "wrong_pin").cloned()
    });
    assert_eq!((&alarm["subject"], &alarm["severity"]), (&"conference/red".into(), &"warning".into()));
}
