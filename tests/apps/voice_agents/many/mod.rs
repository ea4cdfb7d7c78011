//! Agents that take several calls on one connection.
//!
//! - `streams`: separation of calls; `places`: the connection that a call takes
//! - `trouble`: what ends a stream, and what ends a connection

mod places;
mod streams;
mod trouble;

use std::collections::BTreeMap;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::*;

const SUBPROTOCOL: &str = "b2b-voice-calls.1";

/// The listener of a program, and a server that routes 700 there. 8 kHz, the rate of the phones.
struct House {
    listener: TcpListener,
    server: Server,
}

fn house(agent: &str) -> House {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    house_at(socket, agent)
}

fn house_at(socket: TcpSocket, agent: &str) -> House {
    let listener = socket.listen(16).expect("a port");
    let url = format!("ws://{}/agent", listener.local_addr().expect("an address"));
    let server = server(&format!(
        "[[route]]\ncalled = \"700\"\napp = \"voice_agent/ada\"\n{ROUTES}[[voice_agent]]\nname = \"ada\"\n\
         url = \"{url}\"\nrate_hz = 8000\nfallback = \"milliwatt\"\n{agent}"
    ));
    House { listener, server }
}

impl House {
    /// Accepts the next connection as a program that supports the extension.
    async fn accepts(&self) -> Program {
        let (stream, _) = within("a connection", self.listener.accept()).await.expect("a connection");
        #[allow(clippy::result_large_err, reason = "the type is the crate's")]
        let confirms = |request: &Request, mut response: Response| {
            assert_eq!(request.headers()["sec-websocket-protocol"], SUBPROTOCOL);
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
            Ok(response)
        };
        let socket = accept_hdr_async(stream, confirms).await.expect("a WebSocket");
        Program { socket, streams: BTreeMap::new(), errors: Vec::new(), closed: None }
    }

    /// A caller, and the connection that the server opens for it, with its stream as the first.
    async fn first(&self) -> (Caller, Program) {
        let meets = async {
            let mut program = self.accepts().await;
            program.has(1).await;
            program
        };
        tokio::join!(Caller::calls(&self.server, "700"), meets)
    }

    /// Another caller, whose stream has this number.
    async fn joins(&self, program: &mut Program, stream: u32) -> Caller {
        let caller = program.beside(Caller::calls(&self.server, "700")).await;
        program.has(stream).await;
        caller
    }

    fn connections(&self) -> f64 {
        self.server.metric("b2b_voice_connections")
    }

    /// Number of calls in this application.
    fn calls_at(&self, application: &str) -> usize {
        let calls = self.server.get("/calls").json();
        let all = calls["calls"].as_array().expect("calls").iter();
        all.filter(|call| call["application"] == application).count()
    }

    /// The server has not opened another connection.
    fn has_been_asked_no_more(&self) {
        assert!(self.listener.accept().now_or_never().is_none(), "another connection");
    }
}

/// Messages received for one call.
#[derive(Default)]
struct Stream {
    start: Value,
    heard: Vec<i16>,
    told: Vec<Value>,
}

/// A connection with calls. It must be read all the time.
struct Program {
    socket: WebSocketStream<TcpStream>,
    streams: BTreeMap<u32, Stream>,
    /// Messages about no stream.
    errors: Vec<Value>,
    closed: Option<(u16, String)>,
}

/// An audio message of a stream.
fn sound(stream: u32, samples: &[i16]) -> Message {
    let octets = samples.iter().flat_map(|sample| sample.to_le_bytes());
    Message::binary(stream.to_le_bytes().into_iter().chain(octets).collect::<Vec<u8>>())
}

fn named(stream: u32, mut what: Value) -> Message {
    what["stream"] = stream.into();
    Message::text(what.to_string())
}

impl Program {
    /// Reads a message; false at the end.
    async fn turn(&mut self) -> bool {
        match self.socket.next().await {
            Some(Ok(Message::Binary(octets))) => {
                let (number, sound) = octets.split_first_chunk::<4>().expect("the number of a stream");
                let stream = self.streams.get_mut(&u32::from_le_bytes(*number)).expect("one that has begun");
                assert!(stream.told.iter().all(|it| it["type"] != "stop"), "nothing comes behind its stop");
                assert_eq!(Some(sound.len() as u64), stream.start["format"]["frame_octets"].as_u64());
                let pairs = sound.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                stream.heard.extend(pairs);
            }
            Some(Ok(Message::Text(text))) => {
                let mut told: Value = serde_json::from_str(&text).expect("JSON");
                let Some(number) = told.as_object_mut().expect("an object").remove("stream") else {
                    self.errors.push(told);
                    return true;
                };
                let number = number.as_u64().expect("the number of a stream");
                let stream = self.streams.entry(number as u32).or_default();
                match told["type"] == "start" {
                    true => {
                        assert_eq!(stream.start, Value::Null, "a number is used once");
                        stream.start = told;
                    }
                    // Turns have tests of their own (`heard`).
                    false if ["utterance", "speech"].iter().any(|it| told["type"] == *it) => {}
                    false => stream.told.push(told),
                }
            }
            Some(Ok(Message::Close(frame))) => {
                self.closed = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                return false;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return false,
        }
        true
    }

    async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = look(self) {
                    return found;
                }
                assert!(self.turn().await, "it is over: {:?}", self.closed);
            }
        };
        within(what, search).await
    }

    /// Runs the work, and reads meanwhile.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                more = self.turn() => assert!(more, "it is over: {:?}", self.closed),
            }
        }
    }

    /// Reads until the server closes the connection.
    async fn reads_to_the_end(&mut self) -> (u16, String) {
        within("the end", async { while self.turn().await {} }).await;
        self.closed.clone().expect("a closing frame")
    }

    /// Waits for the start of this stream.
    async fn has(&mut self, stream: u32) {
        let begun = |it: &Stream| it.start != Value::Null;
        self.until("start", |it| it.streams.get(&stream).is_some_and(begun).then_some(())).await;
    }

    async fn sends(&mut self, message: Message) {
        self.socket.send(message).await.expect("sent");
    }

    async fn tells(&mut self, stream: u32, what: Value) {
        self.sends(named(stream, what)).await;
    }

    async fn says(&mut self, stream: u32, samples: &[i16]) {
        for part in samples.chunks(480) {
            self.socket.feed(sound(stream, part)).await.expect("sent");
        }
        self.socket.flush().await.expect("sent");
    }

    fn told(&self, stream: u32) -> &[Value] {
        self.streams.get(&stream).map_or(&[], |it| &it.told)
    }

    /// Waits for this message of the stream.
    async fn is_told(&mut self, stream: u32, what: Value) {
        self.until(&format!("{stream}: {what}"), |it| it.told(stream).contains(&what).then_some(())).await;
    }

    /// Waits for the end of a stream; returns the reason.
    async fn is_over(&mut self, stream: u32) -> String {
        let reason = |it: &mut Self| {
            let stop = it.told(stream).iter().find(|it| it["type"] == "stop")?;
            Some(stop["reason"].as_str().expect("a reason").to_owned())
        };
        self.until(&format!("the end of {stream}"), reason).await
    }

    /// Waits until a stream has carried this audio, or any 0.3 s of it.
    async fn hears(&mut self, stream: u32, voice: &[i16]) {
        let mut from = 0;
        let look = |it: &mut Self| {
            let heard = &it.streams[&stream].heard;
            (heard.len() > from + PART + 4_000).then_some(())?;
            let end = heard.len() - PART;
            let found = has_any_part(heard, from..end, voice);
            from = end;
            found.then_some(())
        };
        self.until("what was said", look).await;
    }

    /// The call is unaffected: audio sent to it is played, and it has no other messages.
    async fn is_well(&mut self, stream: u32) {
        let before = self.told(stream).len();
        self.says(stream, &[100; 160]).await;
        self.tells(stream, json!({"type": "mark", "name": "well"})).await;
        let heard = self.streams[&stream].heard.len();
        self.until("it is well", |it| {
            (it.told(stream).len() > before && it.streams[&stream].heard.len() > heard).then_some(())
        })
        .await;
        assert_eq!(self.told(stream)[before..], [json!({"type": "mark", "name": "well", "played": true})]);
    }
}
