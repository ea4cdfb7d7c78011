//! Keys pressed by a party are visible only to authorised clients; PINs to none.

use std::io::{Read, Write};
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

use crate::apps::voice_agents::Client;
use crate::server_support::control::Socket;
use crate::server_support::phone::{Dialog, Phone, rtp_of};
use crate::server_support::{Server, captured, server, until};

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

/// The notes about the keys of a call.
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
    // The first key that is not secret: keys in transit stay hidden for a moment longer.
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
    let messages = get(&server, "all", &format!("{path}/messages"));
    let texts =
        messages["messages"].as_array().expect("messages").iter().filter_map(|it| it["text"].as_str());
    let messages: String = texts.collect();
    for text in [pcap, trace, messages] {
        assert!(text.contains("Signal=x\r\nDuration=100"), "{text}");
        assert!(!text.contains("Signal=4") && !text.contains("Signal=5"), "{text}");
    }
}

/// A menu tree that asks for a card number, sends it to a web server, and goes on for a minute.
fn card(secret: bool, web: SocketAddr) -> String {
    format!(
        "[[route]]\ncalled = \"8001\"\napp = \"ivr/card\"\n[[ivr]]\nname = \"card\"\n\
         [[ivr.node]]\nname = \"ask\"\nkind = \"collect_input\"\nprompt = \"tone:440:100\"\nvariable = \"card\"\n\
         min = 4\nmax = 4\nsecret = {secret}\nnext = \"tell\"\n\
         [[ivr.node]]\nname = \"tell\"\nkind = \"http\"\nurl = \"http://{web}/\"\nnext = \"stay\"\nfailed = \"stay\"\n\
         [[ivr.node]]\nname = \"stay\"\nkind = \"play_prompt\"\nprompt = \"silence:60000\"\n"
    )
}

/// A web server for one request, which it returns.
fn web() -> (SocketAddr, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let at = listener.local_addr().expect("an address");
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a question");
        let (mut read, mut piece) = (Vec::new(), [0; 4_096]);
        while !read.ends_with(b"}") {
            let length = stream.read(&mut piece).expect("a question");
            read.extend_from_slice(&piece[..length]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").expect("answered");
        String::from_utf8_lossy(&read).into_owned()
    });
    (at, asked)
}

/// All traces of a call in which the caller has entered `4711` in a menu tree.
struct Left {
    /// Events, the account, the call's list and CDR, the log.
    words: Vec<(&'static str, String)>,
    trace: String,
    pcap: Vec<u8>,
    asked: String,
}

async fn pressed(secret: bool, by_event: bool) -> Left {
    let (at, asked) = web();
    // The log at its most detailed level.
    let tokens = TOKENS.replace("[log]\n", "[log]\nlevel = \"trace\"\n");
    let server = server(&format!("{tokens}{}", card(secret, at)));
    let mut events = Socket::with(&server, "/events", Some("all")).await.expect("events");
    let ann = Phone::new("ann").speaking("8 101", "a=rtpmap:101 telephone-event/8000\r\n");
    let call = ann.ask_for(server.sip, "8001");
    let answer = ann.hear("SIP/2.0 200").0;
    let dialog = ann.confirmed(&answer, call, server.sip);
    let path = format!("/calls/{}", get(&server, "all", "/calls")["calls"][0]["call"]);
    let body = "{\"media\":\"whole\"}";
    let begun = server.ask_with("POST", &format!("{path}/capture"), "Authorization: Bearer all\r\n", body);
    assert_eq!(begun.status, 202, "{}", begun.text());
    ann.listen(2);
    for (n, key) in (0u16..).zip("4711".chars()) {
        match by_event {
            true => ann.press_event(rtp_of(&answer), 10 + n * 10, 101, key as u8 - b'0'),
            false => ann.press(&dialog, 2 + u32::from(n), key),
        }
    }
    let asked = asked.join().expect("asked");
    let mut heard = String::new();
    let mut keys = 0;
    while keys < 4 {
        let event = events.hear().await.expect("an event");
        keys += usize::from(event["type"] == "digit");
        heard.push_str(&format!("{event}\n"));
    }
    let media = |pcap: &[u8]| {
        let frames = captured::read(pcap);
        frames.iter().filter(|it| !it.is_sip() && !it.is_rtcp() && it.from == ann.rtp()).count()
    };
    let pcap = until("the packets", || {
        let pcap = server.ask_with("GET", &format!("{path}/pcap"), "Authorization: Bearer all\r\n", "").body;
        (!by_event || media(&pcap) == 16).then_some(pcap)
    });
    let account = bytes(&server, &path);
    let calls = bytes(&server, "/calls");
    ann.hang_up(&dialog);
    let read = |name: &str, has: &str| {
        until(name, || {
            let text = std::fs::read_to_string(server.folder.path().join(name)).ok()?;
            text.contains(has).then_some(text)
        })
    };
    let (trace, record) = (read("trace.txt", "BYE sip:"), read("cdr.jsonl", "8001"));
    let log = server.process.stderr().join("\n");
    let words =
        vec![("events", heard), ("account", account), ("calls", calls), ("record", record), ("log", log)];
    Left { words, trace, pcap, asked }
}

/// Number of telephone-event packets of the caller.
fn keys_in(pcap: &[u8]) -> usize {
    let is_event = |it: &&captured::Frame| !it.is_sip() && it.kept.len() > 12 && it.kept[1] & 0x7F == 101;
    captured::read(pcap).iter().filter(is_event).count()
}

#[tokio::test]
async fn what_a_menu_asks_for_in_secret_is_left_nowhere_but_with_the_web_server_that_it_asks() {
    for by_event in [true, false] {
        let left = pressed(true, by_event).await;
        assert!(left.asked.contains("\"card\":\"4711\""), "{}", left.asked);
        for (what, text) in &left.words {
            assert!(!text.contains("4711"), "{what}: {text}");
            let key = text.lines().find(|line| line.contains("\"digit\":") || line.contains("Signal="));
            assert_eq!(key, None, "{what} has a key");
        }
        assert!(!left.trace.contains("Signal=4") && !left.trace.contains("Signal=7"), "{}", left.trace);
        assert!(!String::from_utf8_lossy(&left.pcap).contains("Signal=4"));
        assert_eq!(keys_in(&left.pcap), 0, "events in the capture, by_event = {by_event}");
    }
    // Digits that are not secret are found in all that, which shows that the test detects them.
    let left = pressed(false, false).await;
    let has = |name: &str| left.words.iter().any(|(what, text)| *what == name && text.contains("4711"));
    assert!(has("account") && has("record"), "{:?}", left.words);
    assert!(left.words[0].1.contains("\"digit\":\"4\""), "{}", left.words[0].1);
}

/// Whether the recording of a call is paused.
fn is_paused(server: &Server, path: &str) -> Option<bool> {
    get(server, "all", path)["now"]["recording"]["paused"].as_bool()
}

/// A recorded call of a phone with an agent.
struct Talk {
    server: Server,
    ann: Phone,
    dialog: Dialog,
    ada: Client,
    path: String,
}

impl Talk {
    async fn begin() -> Talk {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        // The log at its most detailed level.
        let tokens = TOKENS.replace("[log]\n", "[log]\nlevel = \"trace\"\n");
        let server = server(&format!(
            "{tokens}[recording]\nfolder = \"rec\"\n[[route]]\ncalled = \"700\"\napp = \"voice_agent/ada\"\n\
             [[voice_agent]]\nname = \"ada\"\nurl = \"ws://{}/\"\nfallback = \"echo\"\n",
            listener.local_addr().expect("an address")
        ));
        let comes = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            Client::begin(accept_async(stream).await.expect("a WebSocket")).await
        });
        let ann = Phone::new("ann");
        let dialog = ann.call(server.sip, "700");
        let ada = comes.await.expect("an agent");
        let path = format!("/calls/{}", get(&server, "all", "/calls")["calls"][0]["call"]);
        server.ask_with("POST", &format!("{path}/recording"), "Authorization: Bearer all\r\n", "");
        until("a recording", || (is_paused(&server, &path) == Some(false)).then_some(()));
        Talk { server, ann, dialog, ada, path }
    }

    /// The agent begins or ends a secret.
    async fn keeps_secret(&mut self, on: bool) {
        let secret = json!({ "type": "secret", "on": on });
        self.ada.told.clear();
        self.ada.tell(secret.clone()).await;
        self.ada.is_told(secret).await;
    }

    /// An operator pauses the recording, or continues it.
    fn operator_pauses(&self, paused: bool) {
        let (path, body) = (format!("{}/recording", self.path), json!({ "paused": paused }).to_string());
        let answer = self.server.ask_with("PATCH", &path, "Authorization: Bearer all\r\n", &body);
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    fn is_paused(&self) -> Option<bool> {
        is_paused(&self.server, &self.path)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_goes_on_once_no_operator_and_no_agent_pauses_it() {
    let mut talk = Talk::begin().await;
    for (operator_first, agent_last) in [(true, true), (true, false), (false, true), (false, false)] {
        if operator_first {
            talk.operator_pauses(true);
        }
        talk.keeps_secret(true).await;
        talk.operator_pauses(true);
        assert_eq!(talk.is_paused(), Some(true));
        if agent_last {
            talk.operator_pauses(false);
            assert_eq!(talk.is_paused(), Some(true), "the secret is still being told");
            talk.keeps_secret(false).await;
        } else {
            talk.keeps_secret(false).await;
            assert_eq!(talk.is_paused(), Some(true), "the operator has paused it");
            talk.operator_pauses(false);
        }
        assert_eq!(talk.is_paused(), Some(false));
    }
    talk.ann.hang_up(&talk.dialog);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_begins_in_the_middle_of_a_secret_pauses() {
    let mut talk = Talk::begin().await;
    let path = format!("{}/recording", talk.path);
    talk.server.ask_with("DELETE", &path, "Authorization: Bearer all\r\n", "");
    talk.keeps_secret(true).await;
    talk.server.ask_with("POST", &path, "Authorization: Bearer all\r\n", "");
    let paused = until("a recording", || talk.is_paused());
    assert!(paused);
    talk.keeps_secret(false).await;
    assert_eq!(talk.is_paused(), Some(false));
    talk.ann.hang_up(&talk.dialog);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_stay_secret_while_a_command_collects_some_that_are_not() {
    let mut talk = Talk::begin().await;
    let mut events = Socket::with(&talk.server, "/events", Some("all")).await.expect("events");
    talk.keeps_secret(true).await;
    let body = json!({ "id": "open", "max": 30, "secret": false }).to_string();
    let path = format!("{}/collect", talk.path);
    let answer = talk.server.ask_with("POST", &path, "Authorization: Bearer all\r\n", &body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    // Keys on their way when it begins are hidden for another second.
    for cseq in 10..25 {
        talk.ann.press(&talk.dialog, cseq, '5');
        let key = events.hear_of("a key", |event: &Value| event["type"] == "digit").await;
        assert!(key.get("digit").is_none(), "{key}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    talk.ann.hang_up(&talk.dialog);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_asks_for_in_secret_is_left_nowhere_but_with_the_agent() {
    let mut talk = Talk::begin().await;
    let mut events = Socket::with(&talk.server, "/events", Some("all")).await.expect("events");
    talk.keeps_secret(true).await;
    assert_eq!(talk.is_paused(), Some(true));
    press(&talk.ann, &talk.dialog, 2, "4711");
    for digit in ["4", "7", "1"] {
        talk.ada.is_told(json!({ "type": "dtmf", "digit": digit })).await;
    }
    talk.keeps_secret(false).await;
    assert_eq!(talk.is_paused(), Some(false));
    let Talk { server, ann, dialog, path, .. } = talk;
    // The first key that is not secret, which shows that the test detects them.
    let (mut heard, mut cseq) = (String::new(), 10);
    while !heard.contains("\"digit\":\"5\"") {
        ann.press(&dialog, cseq, '5');
        cseq += 1;
        // More than a party may press are dropped.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let event = events.hear_of("a key", |event: &Value| event["type"] == "digit").await;
        heard.push_str(&format!("{event}\n"));
    }
    assert_eq!(["4", "7", "1"].map(|key| heard.contains(&format!("\"digit\":\"{key}\""))), [false; 3]);
    let account = bytes(&server, &path);
    let hidden = noted(&get(&server, "note", &path));
    assert!(hidden.iter().take(4).all(|note| note.starts_with("hidden INFO")), "{hidden:?}");
    ann.hang_up(&dialog);
    let trace = until("the trace", || {
        let trace = std::fs::read_to_string(server.folder.path().join("trace.txt")).ok()?;
        trace.contains("BYE sip:").then_some(trace)
    });
    let log = server.process.stderr().join("\n");
    for (what, text) in [("account", account), ("trace", trace), ("log", log)] {
        assert!(!text.contains("Signal=4") && !text.contains("4711"), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_goes_in_the_middle_of_a_secret_takes_it_with_it() {
    let mut talk = Talk::begin().await;
    talk.keeps_secret(true).await;
    assert_eq!(talk.is_paused(), Some(true));
    let Talk { server, ann, dialog, ada, path } = talk;
    drop(ada);
    until("the recording again", || (is_paused(&server, &path) == Some(false)).then_some(()));
    ann.hang_up(&dialog);
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
        // The collection may not have begun: earlier digits do not count.
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
