//! Hostile, slow or vanished clients: each is closed with a code and counted, and others are not affected.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::*;

/// Another call's stream, which must not be affected. It is read all the time.
pub struct Witness {
    ann: Caller,
    reads: tokio::task::JoinHandle<Client>,
    enough: tokio::sync::oneshot::Sender<()>,
}

impl Witness {
    pub async fn new(server: &Server) -> Witness {
        let ann = Caller::calls(server, "600").await;
        let mut client = Client::open(server, &path(server, "")).await;
        let (enough, mut told) = tokio::sync::oneshot::channel();
        let reads = tokio::spawn(async move {
            loop {
                tokio::select! {
                    more = client.turn() => assert!(more, "{:?} {:?}", client.told, client.closed),
                    _ = &mut told => return client,
                }
            }
        });
        Witness { ann, reads, enough }
    }

    pub async fn has_noticed_nothing(self) {
        self.enough.send(()).expect("it still reads");
        let mut client = self.reads.await.expect("it has noticed nothing");
        assert!(client.told.is_empty(), "{:?}", client.told);
        client.tell(json!({"type": "mark", "name": "here"})).await;
        client.is_told(json!({"type": "mark", "name": "here", "played": true})).await;
        self.ann.hangs_up().await;
    }
}

pub fn newest_leg(server: &Server) -> Value {
    let calls = server.get("/calls").json();
    let newest = calls["calls"].as_array().expect("calls").iter().max_by_key(|call| call["call"].as_u64());
    newest.expect("a call")["legs"][0]["leg"].clone()
}

pub fn ends(server: &Server, word: &str) -> f64 {
    server.metric(&format!("b2b_voice_ends_total{{end=\"{word}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_it_should_be_is_closed_with_a_code_and_counted() {
    let server = server(ROUTES);
    let witness = Witness::new(&server).await;
    let ann = Caller::calls(&server, "600").await;
    let leg = newest_leg(&server);
    let text = |text: &str| Message::Text(text.to_owned().into());
    let binary = |octets: usize| Message::Binary(vec![0; octets].into());
    let cases = [
        (vec![binary(3 * 1_024 * 1_024 + 2)], 1009, "too_long"),
        (vec![binary(30_000_000)], 1009, "too_long"),
        (vec![text("{\"type\":\"clear\"}"); 1_000], 1008, "flood"),
        (vec![binary(0); 20_000], 1008, "flood"),
        (vec![Message::Ping(Default::default()); 20_000], 1008, "flood"),
    ];
    for (messages, code, word) in cases {
        let before = ends(&server, word);
        let mut client = Client::open(&server, &format!("/legs/{leg}/audio")).await;
        for message in messages {
            // The connection may have been closed by now.
            if client.socket.feed(message).await.is_err() {
                break;
            }
        }
        let _ = client.socket.flush().await;
        let (closed, reason) = client.reads_to_the_end().await;
        assert_eq!(closed, code, "{word}: {reason}");
        assert!(!reason.is_empty());
        until(word, || (ends(&server, word) == before + 1.0).then_some(()));
    }
    witness.has_noticed_nothing().await;
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_is_given_up_and_who_is_killed_is_gone_at_once() {
    let server = server(ROUTES);
    let witness = Witness::new(&server).await;
    let ann = Caller::calls(&server, "600").await;
    let leg = newest_leg(&server);
    let killed = Client::open(&server, &format!("/legs/{leg}/audio")).await;
    drop(killed);
    until("left", || (ends(&server, "left") == 1.0).then_some(()));
    // The connection stays open, but the client does not answer.
    let deaf = Client::open(&server, &format!("/legs/{leg}/audio")).await;
    until("stalled", || (ends(&server, "stalled") == 1.0).then_some(()));
    drop(deaf);
    assert!(!ann.call.state().is_over(), "the call goes on");
    witness.has_noticed_nothing().await;
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

fn mistakes(server: &Server, kind: &str) -> f64 {
    server.metric(&format!("b2b_voice_mistakes_total{{kind=\"{kind}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_costs_its_message_and_is_counted_and_told_once() {
    let server = server(ROUTES);
    let mut ann = Caller::calls(&server, "600").await;
    let mut client = Client::open(&server, &path(&server, "?rate=8000")).await;
    let text = |text: &str| Message::text(text.to_owned());
    let mark = |name: &str| text(&json!({"type": "mark", "name": name}).to_string());
    let cases = [
        ("odd", Message::binary(vec![0; 801])),
        ("long_text", text(&" ".repeat(5_000))),
        ("long_text", mark(&"x".repeat(5_000))),
        ("junk", text("no JSON")),
        ("junk", text("")),
        ("junk", text(&"[".repeat(4_000))),
        ("junk", text("{\"type\":\"mark\",\"name\":\"a")),
        ("junk", text("{\"type\":\"mark\",\"name\":1}")),
        ("junk", text("{\"type\":\"start\"}")),
        ("junk", text("{\"event\":\"media\",\"streamSid\":\"MZ1\"}")),
        ("junk", mark(&"x".repeat(257))),
        ("junk", text("{\"type\":\"dtmf\",\"digits\":\"\"}")),
        ("junk", text("{\"type\":\"stop\",\"transfer\":\"\"}")),
        ("field", text("{\"type\":\"clear\",\"id\":4}")),
        ("field", text("{\"type\":\"dtmf\",\"digits\":\"1\",\"ms\":9}")),
    ];
    for (n, (kind, message)) in cases.iter().enumerate() {
        let before = mistakes(&server, kind);
        client.socket.send(message.clone()).await.expect("sent");
        let name = format!("behind {n}");
        client.socket.send(mark(&name)).await.expect("sent");
        client.is_told(json!({"type": "mark", "name": name, "played": true})).await;
        assert_eq!(mistakes(&server, kind), before + 1.0, "{message}");
    }
    let told: Vec<_> = client.told.iter().filter(|it| it["type"] == "error").collect();
    let kinds: Vec<_> = told.iter().map(|it| it["reason"].as_str().expect("a reason")).collect();
    assert_eq!(kinds, ["odd", "long_text", "junk", "field"], "{told:?}");
    assert!(told.iter().all(|it| it["error"].as_str().is_some_and(|error| !error.is_empty())));
    // Hundreds of marks may be pending, and the client is still heard.
    client.say(&[0; 80_000]).await;
    for _ in 0..280 {
        client.socket.feed(mark("many")).await.expect("sent");
    }
    client.tell(json!({"type": "clear"})).await;
    let many = json!({"type": "mark", "name": "many", "played": false});
    client
        .until("all marks", |it| (it.told.iter().filter(|it| **it == many).count() == 280).then_some(()))
        .await;
    let speech = speech_like(8_000, 2.0);
    client.say(&speech).await;
    client.beside(ann.hears(&speech[1_600..13_600])).await;
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_that_is_cut_anywhere_and_sent_in_large_messages_is_heard_whole() {
    let server = server(ROUTES);
    let mut ann = Caller::calls(&server, "600").await;
    let mut client = Client::open(&server, &path(&server, "?rate=8000")).await;
    let speech = speech_like(8_000, 6.0);
    for octets in [1, 333, 47_999, 200_001] {
        let all: Vec<u8> = speech.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        // One octet at a time for a while only: there are limits per second.
        let (first, rest) = all.split_at(if octets == 1 { 200 } else { 0 });
        for part in first.chunks(1).chain(rest.chunks(octets.max(160))) {
            client.socket.feed(Message::binary(part.to_vec())).await.expect("sent");
            // A mark between two halves of a sample changes nothing.
            if part.len() == 47_999 {
                client.socket.feed(Message::text("{\"type\":\"mark\",\"name\":\"m\"}")).await.expect("sent");
            }
        }
        client.socket.flush().await.expect("sent");
        client.beside(ann.hears(&speech[8_000..40_000])).await;
        client.tell(json!({"type": "clear"})).await;
        ann.forgets();
    }
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_more_than_a_minute_the_oldest_is_dropped_and_a_clear_behind_it_is_heeded() {
    let server = server(ROUTES);
    let mut ann = Caller::calls(&server, "600").await;
    let mut client = Client::open(&server, &path(&server, "?rate=8000")).await;
    for part in vec![9_000i16; 8_000 * 90].chunks(8_000) {
        let octets: Vec<u8> = part.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        client.socket.feed(Message::binary(octets)).await.expect("sent");
    }
    client.tell(json!({"type": "mark", "name": "never"})).await;
    let dropped = client
        .until("what is dropped", |it| it.told.iter().find(|it| it["type"] == "dropped")?["ms"].as_u64())
        .await;
    assert!((1..=30_000).contains(&dropped), "{dropped}");
    client.until("the error", |it| it.told.iter().any(|it| it["reason"] == "full").then_some(())).await;
    client.beside(ann.hears_sound(true)).await;
    let speech = speech_like(8_000, 2.0);
    client.tell(json!({"type": "clear"})).await;
    client.say(&speech).await;
    client.is_told(json!({"type": "mark", "name": "never", "played": false})).await;
    client.beside(ann.hears(&speech[1_600..13_600])).await;
    assert!(mistakes(&server, "full") >= 1.0);
    ann.hangs_up().await;
    client.reads_to_the_end().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_client_takes_the_place_of_the_first() {
    let server = server(ROUTES);
    let ann = Caller::calls(&server, "600").await;
    let mut first = Client::open(&server, &path(&server, "")).await;
    let mut second = Client::open(&server, &path(&server, "")).await;
    assert_eq!(first.reads_to_the_end().await, (1000, "replaced".to_owned()));
    second.until("sound", |it| (it.heard.len() > 3_200).then_some(())).await;
    ann.hangs_up().await;
    second.reads_to_the_end().await;
    nothing_is_left(&server).await;
}
