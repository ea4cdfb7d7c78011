//! The control interface of the real binary: what is asked for by parts, and its end.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server_support::phone::Phone;
use crate::server_support::{Server, server, until};

/// A server at which every number is Bob, who never answers.
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
    // To the INVITE of the second call.
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
    server.process.wait_for_line("stopping: 1 calls may go on");
    assert_eq!(server.get("/healthz").status, 503);
}
