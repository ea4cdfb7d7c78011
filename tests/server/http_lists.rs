//! The control interface of the real binary: paged lists, and shutdown.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server_support::phone::Phone;
use crate::server_support::{Server, configured, server, start, until};

/// A server that routes every number to Bob, who never answers.
fn ringing(bob: &Phone) -> Server {
    server(&format!("[[route]]\nname = \"to bob\"\ncalled = \".*\"\nto = \"{}\"\n", bob.uri()))
}

fn ids(page: &Value) -> Vec<u64> {
    page["calls"].as_array().into_iter().flatten().filter_map(|call| call["call"].as_u64()).collect()
}

#[test]
fn calls_come_in_pages_and_each_says_where_the_next_one_begins() {
    let (callers, bob) = (["ann", "cat", "dan"].map(Phone::new), Phone::new("bob"));
    let server = ringing(&bob);
    for caller in &callers {
        caller.ask_for(server.sip, "200");
    }
    let all = until("three calls", || Some(server.get("/calls").json()).filter(|all| all["total"] == 3));
    let (all, next) = (ids(&all), &all["next"]);
    assert_eq!((all.len(), next), (3, &Value::Null));
    let first = server.get("/calls?limit=2").json();
    assert_eq!((ids(&first), &first["next"]), (all[..2].to_vec(), &json!(all[1])));
    let second = server.get(&format!("/calls?limit=2&after={}", all[1])).json();
    assert_eq!(
        (ids(&second), &second["next"], &second["total"]),
        (all[2..].to_vec(), &Value::Null, &json!(3))
    );
}

#[tokio::test]
async fn events_are_taken_from_a_number_on_and_of_one_call() {
    let (ann, cat, bob) = (Phone::new("ann"), Phone::new("cat"), Phone::new("bob"));
    let server = ringing(&bob);
    let mut all = Events::of(&server, "").await;
    for caller in [&ann, &cat] {
        caller.ask_for(server.sip, "200");
    }
    // Up to the INVITE of the second call.
    let (mut heard, mut dialled) = (Vec::new(), 0);
    while dialled < 2 {
        let event = all.next().await;
        dialled += usize::from(event["type"] == "dialling");
        heard.push(event);
    }
    let (first, call) = (heard[0]["seq"].clone(), heard.last().expect("events")["call"].clone());
    assert_ne!(heard[0]["call"], call, "two calls");
    let mut some = Events::of(&server, &format!("?after={first}&call={call}")).await;
    let of_call = heard[1..].iter().filter(|event| event["call"] == call);
    for event in of_call {
        assert_eq!(some.next().await, *event);
    }
    let mut behind = Events::of(&server, &format!("?after={first}")).await;
    for event in &heard[1..] {
        assert_eq!(behind.next().await, *event);
    }
}

#[test]
fn users_who_are_not_registered_are_listed_by_name() {
    let users = ["1001", "1002", "1003"];
    let tables = users.map(|name| format!("[[user]]\nname = \"{name}\"\npassword = \"a long secret\"\n"));
    let server = server(&tables.concat());
    Phone::new("1002").register(server.sip, "a long secret");
    let names = |query: &str| {
        let page = server.get(&format!("/users{query}")).json();
        let names = page["users"].as_array().expect("users").iter().map(|it| it["name"].clone());
        (names.collect::<Vec<Value>>(), page["next"].clone())
    };
    assert_eq!(names("?registered=false"), (vec![json!("1001"), json!("1003")], Value::Null));
    assert_eq!(names("?registered=true"), (vec![json!("1002")], Value::Null));
    assert_eq!(names("?limit=2"), (vec![json!("1001"), json!("1002")], json!("1002")));
    assert_eq!(names("?limit=2&after=1002"), (vec![json!("1003")], Value::Null));
    assert_eq!(server.get("/users?after=nobody").status, 400);
}

#[test]
fn recordings_are_listed_and_given_to_who_may_hear_them_and_nothing_else_is() {
    let folder = configured(
        "[[http.tokens]]\nname = \"look\"\ntoken = \"look-token-1\"\nscopes = [\"read\"]\n\
         [[http.tokens]]\nname = \"hear\"\ntoken = \"hear-token-1\"\nscopes = [\"read\", \"record\"]\n\
         [recording]\nfolder = \"rec\"\n",
    );
    let write = |folder: &std::path::Path, day: &str, name: &str, text: &str| {
        let day = folder.join("rec").join(day);
        std::fs::create_dir_all(&day).expect("a folder");
        std::fs::write(day.join(name), text).expect("a file");
    };
    write(folder.path(), "2026-11-25", "a.wav", "0123456789");
    write(folder.path(), "2026-11-26", "b.wav", "x");
    std::fs::write(folder.path().join("secret.wav"), "secret").expect("a file");
    let server = start(folder);
    // A recording in progress. Leftovers get their final name at the start.
    write(server.folder.path(), "2026-11-26", ".c.wav.part", "y");
    let ask = |token: &str, path: &str, more: &str| {
        server.ask_with("GET", path, &format!("Authorization: Bearer {token}-token-1\r\n{more}"), "")
    };
    let all = ask("hear", "/recordings", "").json();
    let files: Vec<&Value> =
        all["recordings"].as_array().expect("a list").iter().map(|it| &it["file"]).collect();
    assert_eq!(files, [&json!("2026-11-26/b.wav"), &json!("2026-11-25/a.wav")]);
    assert_eq!(ask("hear", "/recordings?day=2026-11-25", "").json()["total"], 1);
    let whole = ask("hear", "/recordings/2026-11-25/a.wav", "");
    assert_eq!((whole.status, whole.text()), (200, "0123456789".to_owned()));
    assert_eq!(whole.field("content-type"), Some("audio/wav"));
    let part = ask("hear", "/recordings/2026-11-25/a.wav", "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text()), (206, "234".to_owned()));
    for path in ["/recordings", "/recordings/2026-11-25/a.wav"] {
        assert_eq!(ask("look", path, "").status, 403, "{path}");
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    for path in [
        "/recordings/../secret.wav",
        "/recordings/%2e%2e/secret.wav",
        "/recordings/2026-11-26/.c.wav.part",
        "/recordings/2026-11-26/%2e%2e%2f%2e%2e%2fsecret.wav",
        "/recordings/2026-11-26/none.wav",
    ] {
        assert_eq!(ask("hear", path, "").status, 404, "{path}");
    }
}

/// `GET /events`.
struct Events(tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>);

impl Events {
    async fn of(server: &Server, query: &str) -> Events {
        let stream = tokio::net::TcpStream::connect(server.http).await.expect("the control interface");
        let url = format!("ws://{}/events{query}", server.http);
        Events(tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket").0)
    }

    async fn next(&mut self) -> Value {
        use futures_util::StreamExt;
        use tokio_tungstenite::tungstenite::Message;
        loop {
            let message = tokio::time::timeout(crate::server_support::child::PATIENCE, self.0.next()).await;
            if let Message::Text(text) = message.expect("an event in time").expect("open").expect("sound") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }
}

#[test]
fn who_is_called_first_rings_for_as_long_as_the_request_says() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server("[limits]\nring_s = 600\n[[route]]\nto = \"sip:bob@127.0.0.1\"\n");
    let begun = server.post("/calls", &json!({ "from": ann.uri(), "to": bob.uri(), "ring_s": 1 }));
    assert_eq!(begun.status, 201, "{}", begun.text());
    let (invite, peer) = ann.hear("INVITE");
    ann.ring_to(&invite, peer);
    ann.hear("CANCEL");
}

#[test]
fn health_says_when_no_calls_are_taken_any_more() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let mut server = ringing(&bob);
    std::thread::scope(|scope| {
        scope.spawn(|| bob.answer());
        ann.call(server.sip, "200");
    });
    assert_eq!(server.get("/healthz").status, 200);
    server.process.signal(Signal::SIGTERM);
    server.process.wait_for_line("stopping: 1 calls may continue");
    assert_eq!(server.get("/healthz").status, 503);
}

#[test]
fn routes_are_listed_and_explained_without_passwords() {
    let server = server(
        "[[http.tokens]]\nname = \"look\"\ntoken = \"look-token-1\"\nscopes = [\"read\"]\n\
         [[http.tokens]]\nname = \"agent\"\ntoken = \"agent-token-1\"\nscopes = [\"agents\"]\n\
         [[user]]\nname = \"1001\"\npassword = \"x\"\n\
         [[route]]\nname = \"out\"\ncalled = '0(\\d+)'\nclass = \"internal\"\nto = \"sip:$1:hunter2@192.0.2.1\"\n\
         [[route]]\nname = \"rest\"\nreject = 403\n",
    );
    let get = |token: &str, path: &str| {
        server.ask_with("GET", path, &format!("Authorization: Bearer {token}\r\n"), "")
    };
    let routes = get("look-token-1", "/routes").json();
    let [out, rest] = [&routes["routes"][0], &routes["routes"][1]];
    assert_eq!((&out["name"], &out["matches"]), (&json!("out"), &json!("called 0(\\d+), class internal")));
    assert_eq!(out["leads_to"], "sip:$1:***@192.0.2.1");
    assert_eq!((&rest["matches"], &rest["leads_to"]), (&json!("anything"), &json!("answer 403")));
    let explained = |query: &str| {
        let answer = get("look-token-1", &format!("/routes/explain?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.json()["lines"]
            .as_array()
            .expect("lines")
            .iter()
            .fold(String::new(), |text, line| text + line.as_str().expect("text") + "\n")
    };
    let (known, other) = (explained("called=0123&from=1001"), explained("called=0123&source=203.0.113.9"));
    assert!(known.contains("MATCH") && known.contains("sip:123:***@192.0.2.1"), "{known}");
    assert!(other.contains("the caller has no class") && other.contains("answer  403"), "{other}");
    let nobody = explained("called=0123");
    assert!(nobody.contains("no caller is given; add from or source"), "{nobody}");
    assert!(!format!("{routes}{known}{other}").contains("hunter2"));
    for wrong in ["", "?called=", "?called=1&source=here", "?called=1&via=2"] {
        assert_eq!(get("look-token-1", &format!("/routes/explain{wrong}")).status, 400, "{wrong}");
    }
    for path in ["/routes", "/routes/explain?called=1"] {
        assert_eq!(get("agent-token-1", path).status, 403, "{path}");
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    // Every token may query its own scopes.
    assert_eq!(get("agent-token-1", "/token").json(), json!({ "scopes": ["agents"] }));
    assert_eq!(server.get("/token").status, 401);
}
