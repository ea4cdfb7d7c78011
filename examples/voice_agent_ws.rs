//! A voice agent that needs no other service: it listens to a caller, and repeats each utterance once
//! the caller is silent. The caller interrupts it by speaking (barge-in).
//!
//! ```sh
//! cargo run --example voice_agent_ws -- 127.0.0.1:9000
//! ```
//!
//! and in b2b's configuration
//!
//! ```toml
//! [[voice_agent]]
//! name = "echo"
//! url = "ws://127.0.0.1:9000/"
//!
//! [[route]]
//! called = "600"
//! app = "voice_agent/echo"
//! ```
//!
//! With `calls_per_connection = 50` in `[[voice_agent]]` up to 50 calls share one connection.
//! `docs/voice-agents.md` has the protocol.

use std::collections::BTreeMap;
use std::error::Error;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// Speech threshold: the mean square of a frame, -40 dBov.
const SPEECH: f64 = 32_768.0 * 32_768.0 / 20_000.0;
/// Number of 20 ms frames: of silence that end the caller's utterance, and (below) of speech that interrupt
/// the agent.
const SILENCE: u32 = 30;
const INTERRUPTION: u32 = 3;
/// Subprotocol for several calls per connection: each message names its stream.
const MANY: &str = "b2b-voice-calls.1";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("READY {}", listener.local_addr()?);
    serve(listener).await
}

/// Accepts connections forever.
pub async fn serve(listener: TcpListener) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = talk(stream).await {
                eprintln!("a call: {error}");
            }
        });
    }
}

/// State of the agent for one call.
#[derive(Default)]
struct Agent {
    /// Audio of the current utterance of the caller.
    said: Vec<u8>,
    loud: u32,
    quiet: u32,
    /// The agent is speaking, and its audio has not been played to the end.
    speaks: bool,
}

/// The message to send next.
enum Answer {
    Nothing,
    /// Stop playback at once.
    Clear,
    Say(Vec<u8>),
}

impl Agent {
    /// Takes 20 ms: samples of 16 bits, little-endian.
    fn hear(&mut self, frame: &[u8]) -> Answer {
        let samples = frame.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])));
        let square = samples.map(|sample| sample * sample).sum::<f64>() / (frame.len() / 2).max(1) as f64;
        if square > SPEECH {
            (self.loud, self.quiet) = (self.loud + 1, 0);
        } else {
            (self.loud, self.quiet) = (0, self.quiet + 1);
        }
        if self.loud > 0 || !self.said.is_empty() {
            self.said.extend_from_slice(frame);
        }
        if self.speaks && self.loud >= INTERRUPTION {
            self.speaks = false;
            return Answer::Clear;
        }
        if self.quiet < SILENCE || self.said.is_empty() {
            return Answer::Nothing;
        }
        let said = std::mem::take(&mut self.said);
        if self.speaks { Answer::Nothing } else { Answer::Say(said) }
    }
}

/// An audio message of a stream; without a stream number on a connection with one call.
fn sound(stream: Option<u32>, samples: &[u8]) -> Message {
    let number = stream.map(u32::to_le_bytes);
    Message::binary([number.as_ref().map_or(&[][..], |it| it), samples].concat())
}

fn text(stream: Option<u32>, mut what: Value) -> Message {
    if let Some(stream) = stream {
        what["stream"] = stream.into();
    }
    Message::text(what.to_string())
}

async fn talk(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let mut many = false;
    #[allow(clippy::result_large_err, reason = "the type is the crate's")]
    let confirms = |request: &Request, mut response: Response| {
        many = request.headers().get("sec-websocket-protocol").is_some_and(|asked| asked == MANY);
        if many {
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(MANY));
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, confirms).await?;
    // One agent for each call.
    let mut agents: BTreeMap<Option<u32>, Agent> = BTreeMap::new();
    while let Some(message) = socket.next().await {
        match message? {
            Message::Binary(octets) => {
                let (stream, frame) = match octets.split_first_chunk() {
                    Some((number, frame)) if many => (Some(u32::from_le_bytes(*number)), frame),
                    _ => (None, &octets[..]),
                };
                let Some(agent) = agents.get_mut(&stream) else { continue };
                match agent.hear(frame) {
                    Answer::Nothing => {}
                    Answer::Clear => socket.send(text(stream, json!({"type": "clear"}))).await?,
                    Answer::Say(said) => {
                        agent.speaks = true;
                        for part in said.chunks(32_000) {
                            socket.send(sound(stream, part)).await?;
                        }
                        // Returned when the last sample has been played, or cleared.
                        socket.send(text(stream, json!({"type": "mark", "name": "said"}))).await?;
                    }
                }
            }
            Message::Text(told) => {
                let told: Value = serde_json::from_str(&told)?;
                println!("{told}");
                let stream = told["stream"].as_u64().and_then(|number| u32::try_from(number).ok());
                match told["type"].as_str() {
                    Some("start") => drop(agents.insert(stream, Agent::default())),
                    Some("stop") => drop(agents.remove(&stream)),
                    Some("mark") if told["played"] == true => {
                        if let Some(agent) = agents.get_mut(&stream) {
                            agent.speaks = false;
                        }
                    }
                    Some("dtmf") if told["digit"] == "#" => {
                        socket.send(text(stream, json!({"type": "stop"}))).await?;
                    }
                    _ => {}
                }
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}
