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
        (vec![binary(641)], 1007, "odd"),
        (vec![binary(65_538)], 1009, "too_long"),
        (vec![binary(1_000_000)], 1009, "too_long"),
        (vec![text(&" ".repeat(5_000))], 1009, "too_long"),
        (vec![text("no JSON")], 1007, "junk"),
        (vec![text(&"[".repeat(4_000))], 1007, "junk"),
        (vec![text("{\"type\":\"start\"}")], 1007, "junk"),
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
    // 300 marks after a minute of audio.
    let mut client = Client::open(&server, &format!("/legs/{leg}/audio")).await;
    client.say(&[1; 160_000]).await;
    for _ in 0..299 {
        if client.socket.feed(text("{\"type\":\"mark\",\"name\":\"m\"}")).await.is_err() {
            break;
        }
    }
    let _ = client.socket.flush().await;
    assert_eq!(client.reads_to_the_end().await.0, 1008);
    until("marks", || (ends(&server, "marks") == 1.0).then_some(()));
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

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_more_than_a_minute_waits_and_nothing_is_lost() {
    let server = server(ROUTES);
    let ann = Caller::calls(&server, "600").await;
    let mut client = Client::open(&server, &path(&server, "?rate=8000")).await;
    // Two minutes as fast as the socket accepts them, without reading meanwhile.
    let sound = vec![0i16; 8_000 * 120];
    for part in sound.chunks(8_000) {
        let octets: Vec<u8> = part.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        client.socket.feed(Message::Binary(octets.into())).await.expect("kept");
    }
    let sent = tokio::time::timeout(Duration::from_secs(3), client.socket.flush()).await;
    // Whether the buffers held all of it or not, the call is unaffected.
    let _ = sent;
    let wanted = client.heard.len() + 16_000;
    client.until("sound", |it| (it.heard.len() >= wanted).then_some(())).await;
    assert!(client.told.is_empty(), "nothing is lost: {:?}", client.told);
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
