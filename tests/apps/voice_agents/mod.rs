//! Voice agents on the real server: phones of the client library, WebSockets of agents, and the audio at
//! either end recognised by correlation.
//!
//! - `trouble`: hostile, slow or vanished clients; `hostile`: clients that break the protocol itself
//! - `outward`: agents that the server calls; `agents_gone`: faulty ones
//! - `dialects`: agents that speak the protocols of others; `asterisk`: more of Asterisk's
//! - `early`: agents that hear early media
//! - `heard`: who speaks when, and what was heard
//! - `opus`: agents with compressed audio
//! - `warm`: agents that consult somebody about their caller
//! - `many`: several calls on one connection; `examples`: those of the manual

mod agents_gone;
mod asterisk;
mod dialects;
mod early;
mod examples;
mod heard;
mod hostile;
mod many;
mod opus;
mod outward;
mod trouble;
mod warm;

use std::time::Duration;

use b2b::client::{Call, ClientEvent, SipClient, Sound};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::apps::ivr::{frames, is_empty, only_call, phone_at, within};
use crate::common::audio::{find, speech_like, write_wav};
use crate::server_support::{Server, server, until};

/// An application that answers and waits.
const ROUTES: &str = "[[route]]\ncalled = \"600\"\napp = \"echo\"\n";

/// A WebSocket with the audio of a party, and all that it has received.
pub struct Client<S = TcpStream> {
    socket: WebSocketStream<S>,
    pub start: Value,
    pub heard: Vec<i16>,
    pub told: Vec<Value>,
    /// The closing frame.
    pub closed: Option<(u16, String)>,
}

impl Client {
    async fn open(server: &Server, path: &str) -> Client {
        let stream = TcpStream::connect(server.http).await.expect("the server");
        let url = format!("ws://{}{path}", server.http);
        let (socket, _) = client_async(url, stream).await.expect("a WebSocket");
        Client::begin(socket).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// The first message describes the stream.
    pub async fn begin(mut socket: WebSocketStream<S>) -> Self {
        let first = within("start", socket.next()).await.expect("a message").expect("whole");
        let start: Value = serde_json::from_str(first.to_text().expect("text")).expect("JSON");
        assert_eq!(start["type"], "start", "nothing comes before it");
        Client { socket, start, heard: Vec::new(), told: Vec::new(), closed: None }
    }

    /// Reads a message; false at the end.
    async fn turn(&mut self) -> bool {
        match self.socket.next().await {
            Some(Ok(Message::Binary(octets))) => {
                assert_eq!(
                    octets.len(),
                    self.start["format"]["frame_octets"].as_u64().expect("octets") as usize
                );
                let pairs = octets.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                self.heard.extend(pairs);
            }
            Some(Ok(Message::Text(text))) => self.told.push(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Close(frame))) => {
                self.closed = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                return false;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return false,
        }
        true
    }

    pub async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = look(self) {
                    return found;
                }
                assert!(self.turn().await, "it is over: {:?} {:?}", self.told, self.closed);
            }
        };
        within(what, search).await
    }

    /// Runs the work, and reads meanwhile: the server gives up a client that does not read.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                more = self.turn() => assert!(more, "it is over: {:?} {:?}", self.told, self.closed),
            }
        }
    }

    /// Reads until the server closes the connection.
    pub async fn reads_to_the_end(&mut self) -> (u16, String) {
        within("the end", async { while self.turn().await {} }).await;
        self.closed.clone().expect("a closing frame")
    }

    pub async fn tell(&mut self, what: Value) {
        self.socket.send(Message::Text(what.to_string().into())).await.expect("sent");
    }

    pub async fn say(&mut self, samples: &[i16]) {
        for part in samples.chunks(480) {
            let octets: Vec<u8> = part.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            self.socket.send(Message::Binary(octets.into())).await.expect("sent");
        }
    }

    /// Waits for this message.
    pub async fn is_told(&mut self, what: Value) {
        self.until(&what.to_string(), |it| it.told.contains(&what).then_some(())).await;
    }

    /// Waits until it has heard this voice, given at 8 kHz, or any 0.3 s of it.
    async fn hears(&mut self, voice: &[i16]) {
        let every = self.start["format"]["rate_hz"].as_u64().expect("a rate") as usize / 8_000;
        let mut from = 0;
        let look = |it: &mut Self| {
            let heard: Vec<i16> = it.heard.iter().step_by(every).copied().collect();
            (heard.len() > from + PART + 4_000).then_some(())?;
            let end = heard.len() - PART;
            let found = has_any_part(&heard, from..end, voice);
            from = end;
            found.then_some(())
        };
        self.until("what was said", look).await;
    }
}

/// Samples of the part that identifies a voice: 0.3 s.
const PART: usize = 2_400;

/// Whether any part of the voice is found there: a stalled machine spoils some of them.
fn has_any_part(heard: &[i16], offsets: std::ops::Range<usize>, voice: &[i16]) -> bool {
    voice.chunks_exact(PART.min(voice.len())).any(|part| find(part, heard, offsets.clone()).0 > 0.9)
}

/// A caller in a call.
pub struct Caller {
    _client: SipClient,
    pub call: Call,
    frames: mpsc::UnboundedReceiver<Vec<i16>>,
    heard: Vec<i16>,
}

impl Caller {
    pub async fn calls(server: &Server, number: &str) -> Caller {
        let client = phone_at("ann", "127.0.0.1:0");
        let call = client.call(format!("sip:{number}@{}", server.sip)).await.expect("a call");
        let frames = frames(&call);
        within("an answer", call.wait_for_answer()).await.expect("answered");
        Caller { _client: client, call, frames, heard: Vec::new() }
    }

    /// Plays these samples repeatedly.
    pub async fn says(&self, samples: &[i16]) -> tempfile::TempDir {
        self.plays(samples, |sound| sound.repeat()).await
    }

    /// Plays these samples once.
    pub async fn says_once(&self, samples: &[i16]) -> tempfile::TempDir {
        self.plays(samples, |sound| sound).await
    }

    async fn plays(&self, samples: &[i16], how: impl Fn(Sound) -> Sound) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("said.wav");
        write_wav(&path, 8_000, samples);
        self.call.play(how(Sound::file(path))).await.expect("said");
        folder
    }

    /// Discards the audio heard so far.
    pub fn forgets(&mut self) {
        while self.frames.try_recv().is_ok() {}
        self.heard.clear();
    }

    /// Waits until the caller has heard this, or any 0.3 s of it.
    pub async fn hears(&mut self, voice: &[i16]) {
        let search = async {
            let mut from = 0;
            loop {
                while self.heard.len() < from + PART + 4_000 {
                    self.heard.extend(self.frames.recv().await.expect("the call is up"));
                }
                let end = self.heard.len() - PART;
                if has_any_part(&self.heard, from..end, voice) {
                    return;
                }
                from = end;
            }
        };
        within("what was said", search).await;
    }

    /// Waits for 200 ms of silence, or of sound.
    pub async fn hears_sound(&mut self, sound: bool) {
        let mut like = 0;
        let search = async {
            while like < 10 {
                let frame = self.frames.recv().await.expect("the call is up");
                let loud = frame.iter().any(|sample| sample.unsigned_abs() > 300);
                like = if loud == sound { like + 1 } else { 0 };
            }
        };
        within(if sound { "sound" } else { "silence" }, search).await;
    }

    pub async fn hangs_up(self) {
        within("hung up", self.call.hangup()).await.expect("hung up");
    }
}

/// The server holds no resources for calls or streams.
pub async fn nothing_is_left(server: &Server) {
    is_empty(server).await;
    for what in ["media_endpoints", "media_streams", "voice_sockets"] {
        until(what, || (server.metric(&format!("b2b_held{{what=\"{what}\"}}")) == 0.0).then_some(()));
    }
}

fn path(server: &Server, query: &str) -> String {
    format!("/calls/{}/audio{query}", only_call(server)["call"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_on_either_side_is_heard_on_the_other_at_every_rate() {
    let server = server(ROUTES);
    let speech = speech_like(8_000, 6.0);
    for rate in [8_000, 16_000, 24_000] {
        let mut ann = Caller::calls(&server, "600").await;
        let _said = ann.says(&speech[..24_000]).await;
        let leg = only_call(&server)["legs"][0]["leg"].clone();
        let mut client = Client::open(&server, &format!("/legs/{leg}/audio?rate={rate}")).await;
        assert_eq!(client.start["leg"], leg);
        assert_eq!(client.start["called"], "600");
        assert_eq!(
            client.start["format"],
            json!({"encoding": "L16", "byte_order": "little", "channels": 1, "rate_hz": rate, "frame_ms": 20,
                   "frame_octets": rate / 25})
        );
        client.hears(&speech[8_000..10_400]).await;
        // The same audio at another rate.
        client.say(&speech_like(rate, 6.0)[rate as usize * 3..]).await;
        client.beside(ann.hears(&speech[28_000..47_200])).await;
        client.tell(json!({"type": "stop"})).await;
        client.reads_to_the_end().await;
        ann.hangs_up().await;
        nothing_is_left(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_comes_back_when_it_is_heard_and_clear_ends_what_is_said() {
    let server = server(ROUTES);
    let mut ann = Caller::calls(&server, "600").await;
    let mut client = Client::open(&server, &path(&server, "?rate=8000")).await;
    let began = std::time::Instant::now();
    client.say(&[9_000; 8_000]).await;
    client.tell(json!({"type": "mark", "name": "one second"})).await;
    client.is_told(json!({"type": "mark", "name": "one second", "played": true})).await;
    // Audio behind schedule catches up, by 200 ms at most.
    assert!(began.elapsed() > Duration::from_millis(700), "{:?}: before it can be heard", began.elapsed());
    client.say(&[9_000; 320_000]).await;
    client.tell(json!({"type": "mark", "name": "never"})).await;
    client.beside(ann.hears_sound(true)).await;
    client.tell(json!({"type": "clear"})).await;
    client.is_told(json!({"type": "mark", "name": "never", "played": false})).await;
    client.beside(ann.hears_sound(false)).await;
    let speech = speech_like(8_000, 2.0);
    client.say(&speech).await;
    client.beside(ann.hears(&speech[1_600..13_600])).await;
    ann.hangs_up().await;
    assert_eq!(client.reads_to_the_end().await, (1000, "closed".to_owned()));
    assert_eq!(client.told.last(), Some(&json!({"type": "stop", "reason": "closed"})));
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_lets_the_last_word_be_heard_and_the_call_goes_on() {
    let server = server(ROUTES);
    let mut ann = Caller::calls(&server, "600").await;
    let mut client = Client::open(&server, &path(&server, "")).await;
    let wide = speech_like(16_000, 3.0);
    client.say(&wide).await;
    client.tell(json!({"type": "stop"})).await;
    client.say(&[20_000; 1_600]).await;
    assert_eq!(client.reads_to_the_end().await, (1000, "stopped".to_owned()));
    assert_eq!(client.told.last(), Some(&json!({"type": "stop", "reason": "finished"})));
    let speech = speech_like(8_000, 3.0);
    ann.hears(&speech[22_000..23_960]).await;
    // Ann is back with her application, and hears the echo.
    let _said = ann.says(&[8_000; 8_000]).await;
    ann.hears_sound(true).await;
    ann.hangs_up().await;
    nothing_is_left(&server).await;
    assert_eq!(server.metric("b2b_voice_ends_total{end=\"stopped\"}"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_pass_both_ways() {
    let server = server(ROUTES);
    let ann = Caller::calls(&server, "600").await;
    let mut client = Client::open(&server, &path(&server, "")).await;
    ann.call.send_digits("5", None).await.expect("pressed");
    client.is_told(json!({"type": "dtmf", "digit": "5"})).await;
    let mut events = ann.call.events();
    client.tell(json!({"type": "dtmf", "digits": "4#", "ms": 120})).await;
    let mut seen = String::new();
    let pressed = async {
        while seen.len() < 2 {
            if let Some(ClientEvent::Digit { digit, .. }) = events.next().await {
                seen.push(digit);
            }
        }
    };
    client.beside(within("digits", pressed)).await;
    assert_eq!(seen, "4#");
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_listens_leaves_the_party_what_it_hears() {
    let server = server("[[route]]\ncalled = \"601\"\napp = \"milliwatt\"\n");
    let mut ann = Caller::calls(&server, "601").await;
    let speech = speech_like(8_000, 3.0);
    let _said = ann.says(&speech).await;
    let mut client = Client::open(&server, &path(&server, "?rate=8000&listen=true")).await;
    assert_eq!(client.start["speaks"], false);
    client.hears(&speech[8_000..10_400]).await;
    client.beside(ann.hears_sound(true)).await;
    client.tell(json!({"type": "stop"})).await;
    client.reads_to_the_end().await;
    ann.hears_sound(true).await;
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_gets_no_keys_that_an_application_asks_for_in_secret() {
    let node = "kind = \"collect_input\"\nmax = 1\nfirst_s = 60";
    let server = server(&format!(
        "[[route]]\ncalled = \"602\"\napp = \"ivr/pin\"\n[[ivr]]\nname = \"pin\"\n\
         [[ivr.node]]\nname = \"pin\"\n{node}\nvariable = \"pin\"\nsecret = true\nnext = \"open\"\n\
         [[ivr.node]]\nname = \"open\"\n{node}\nvariable = \"open\"\nnext = \"pin\"\n"
    ));
    let ann = Caller::calls(&server, "602").await;
    let mut client = Client::open(&server, &path(&server, "?listen=true")).await;
    for digit in ["5", "7"] {
        ann.call.send_digits(digit, None).await.expect("pressed");
    }
    client.is_told(json!({"type": "dtmf", "digit": "7"})).await;
    assert!(!client.told.iter().any(|it| it["digit"] == "5"), "{:?}", client.told);
    ann.hangs_up().await;
    client.reads_to_the_end().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_stream_is_refused_before_there_is_a_websocket() {
    let server = server(ROUTES);
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{upgrade}\r\n", server.http);
        crate::server_support::exchange(server.http, request.as_bytes()).status
    };
    assert_eq!(ask("/legs/77/audio"), 404);
    assert_eq!(ask("/calls/77/audio"), 404);
    assert_eq!(ask("/legs/x/audio"), 400);
    assert_eq!(ask("/legs/77/audio?rate=11025"), 400);
    assert_eq!(ask("/legs/77/audio?speed=2"), 400);
    assert_eq!(server.get("/legs/77/audio").status, 426);
    nothing_is_left(&server).await;
}
