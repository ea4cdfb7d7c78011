//! The agents, all in one thread: they count the received frames, and echo them or interrupt themselves.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use b2b::media::codec::g711;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::Deserialize;
use serde_json::Value;

use crate::Failure;
use crate::counts::{Counts, Line};
use crate::frame::{self, Frames};
use crate::http;

/// Frames between two bursts, and from a burst to its `clear`.
const ROUND: u64 = 150;
const HEARD: u64 = 30;
/// One agent in this many interrupts itself.
const EVERY: usize = 10;
/// A burst, ms.
const LOUD_MS: usize = 2_000;
const READ_AHEAD: usize = 64 * 1_024;
/// Maximum time until a request arrives.
const PATIENCE: Duration = Duration::from_secs(5);

/// Accepts connections until the program ends.
pub fn start(listen: SocketAddr, counts: Arc<Counts>) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen)?;
    std::thread::spawn(move || {
        if let Err(error) = serve(&listener, &counts) {
            eprintln!("agents: {error}");
            std::process::exit(1);
        }
    });
    Ok(())
}

fn serve(listener: &TcpListener, counts: &Counts) -> Result<(), Failure> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let mut agents: Vec<Option<Agent>> = Vec::new();
    let (mut events, mut buffer) = (vec![EpollEvent::empty(); 256], vec![0; READ_AHEAD]);
    let (loud, mut accepted) = (Loud::default(), 0);
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => 0,
            ready => ready?,
        };
        for event in &events[..ready] {
            let Some(n) = (event.data() as usize).checked_sub(1) else {
                let (mut stream, _) = listener.accept()?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                let many = http::accept(&mut stream)?;
                stream.set_nonblocking(true)?;
                agents.push(None);
                epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, agents.len() as u64))?;
                if let Some(place) = agents.last_mut() {
                    *place = Some(Agent::new(stream, many, accepted));
                }
                accepted += 1;
                continue;
            };
            let Some(agent) = &mut agents[n] else { continue };
            if agent.turn(&mut buffer, &loud, counts).is_err() {
                if !counts.over.load(Ordering::Relaxed) {
                    counts.gone.fetch_add(1, Ordering::Relaxed);
                }
                agents[n] = None;
            }
        }
    }
}

/// A tone of two seconds: at 16 kHz, and as a message in Twilio's shape.
struct Loud {
    samples: Vec<u8>,
    media: String,
}

impl Default for Loud {
    fn default() -> Self {
        let tone = |rate: usize| {
            let samples = 0..LOUD_MS * rate / 1_000;
            samples.map(|n| ((n as f32 * 0.35).sin() * 9_000.0) as i16)
        };
        let octets: Vec<u8> = tone(8_000).map(g711::ulaw_encode).collect();
        Loud {
            samples: tone(16_000).flat_map(i16::to_le_bytes).collect(),
            media: media(&STANDARD.encode(octets)),
        }
    }
}

/// A message in Twilio's shape, with octets in base64.
fn media(payload: &str) -> String {
    format!("{{\"event\":\"media\",\"streamSid\":\"MZ\",\"media\":{{\"payload\":\"{payload}\"}}}}")
}

/// What Twilio's shape needs of a message.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    media: Option<Payload<'a>>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    payload: &'a str,
}

/// A frame as it came.
enum Came<'a> {
    /// With the encoded number of its stream, with which it begins, if there are several.
    Own {
        frame: &'a [u8],
        stream: Option<[u8; 4]>,
    },
    Twilio {
        payload: &'a str,
    },
}

impl Came<'_> {
    fn echo(&self, out: &mut Vec<u8>) {
        match self {
            Came::Own { frame, .. } => write(out, frame::BINARY, &[*frame]),
            Came::Twilio { payload } => write(out, frame::TEXT, &[media(payload).as_bytes()]),
        }
    }

    fn burst(&self, loud: &Loud, out: &mut Vec<u8>) {
        match self {
            Came::Own { stream, .. } => {
                write(out, frame::BINARY, &[stream.as_ref().map_or(&[][..], |it| it), &loud.samples]);
            }
            Came::Twilio { .. } => write(out, frame::TEXT, &[loud.media.as_bytes()]),
        }
    }

    fn clear(&self, out: &mut Vec<u8>) {
        let text = match self {
            Came::Own { stream: None, .. } => r#"{"type":"clear"}"#.to_owned(),
            Came::Own { stream: Some(number), .. } => {
                format!("{{\"type\":\"clear\",\"stream\":{}}}", u32::from_le_bytes(*number))
            }
            Came::Twilio { .. } => r#"{"event":"clear","streamSid":"MZ"}"#.to_owned(),
        };
        write(out, frame::TEXT, &[text.as_bytes()]);
    }
}

/// Adds a frame with these parts as its payload.
fn write(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    out.extend(frame::head(kind, parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

struct Agent {
    stream: TcpStream,
    frames: Frames,
    /// Messages name their streams.
    many: bool,
    /// Connections accepted before this one: the calls are made one after another.
    place: usize,
    /// Keyed by stream number; the only stream of a connection with one call has none, and is 0.
    talks: BTreeMap<u32, Talk>,
    /// Octets that the socket has not accepted.
    unsent: Vec<u8>,
}

/// The connection has ended.
struct Gone;

impl Agent {
    fn new(stream: TcpStream, many: bool, place: usize) -> Self {
        Agent { stream, frames: Frames::default(), many, place, talks: BTreeMap::new(), unsent: Vec::new() }
    }

    /// Handles input from the connection.
    fn turn(&mut self, buffer: &mut [u8], loud: &Loud, counts: &Counts) -> Result<(), Gone> {
        let count = match self.stream.read(buffer) {
            Ok(0) => return Err(Gone),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Gone),
        };
        let (mut out, came) = (std::mem::take(&mut self.unsent), Instant::now());
        let (talks, many, place, mut gone) = (&mut self.talks, self.many, self.place, false);
        self.frames.take(&buffer[..count], |frame, octets| {
            let payload = &octets[frame.payload.clone()];
            match frame.kind {
                frame::BINARY => {
                    let stream = payload.first_chunk().filter(|_| many).copied();
                    if let Some(talk) = talks.get_mut(&stream.map_or(0, u32::from_le_bytes)) {
                        talk.frame(&Came::Own { frame: payload, stream }, came, loud, counts, &mut out);
                    }
                }
                frame::TEXT if payload.starts_with(b"{\"event\"") => {
                    let event = serde_json::from_slice::<Event<'_>>(payload).ok();
                    if let Some(Payload { payload }) = event.and_then(|event| event.media) {
                        let talk = talks.entry(0).or_insert_with(|| Talk::of(place));
                        talk.frame(&Came::Twilio { payload }, came, loud, counts, &mut out);
                    }
                }
                frame::TEXT => {
                    if let Ok(told) = serde_json::from_slice::<Value>(payload) {
                        let number =
                            told["stream"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
                        let over = told["type"] == "stop" && many;
                        talks.entry(number).or_default().text(&told, counts);
                        if over {
                            talks.remove(&number);
                            if !counts.over.load(Ordering::Relaxed) {
                                counts.gone.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                }
                frame::PING => {
                    out.extend(frame::head(frame::PONG, payload.len()));
                    out.extend_from_slice(payload);
                }
                frame::CLOSE => gone = true,
                _ => {}
            }
        });
        if gone {
            let _ = self.stream.write(&frame::head(frame::CLOSE, 0));
            return Err(Gone);
        }
        if !out.is_empty() {
            match self.stream.write(&out) {
                Ok(count) => drop(out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Gone),
            }
        }
        self.unsent = out;
        Ok(())
    }
}

/// State of one stream.
#[derive(Default)]
struct Talk {
    call: Option<usize>,
    number: u64,
    line: Line,
    /// It has sent a burst.
    told: bool,
}

impl Talk {
    fn of(call: usize) -> Talk {
        Talk { call: Some(call), ..Talk::default() }
    }

    fn frame(&mut self, frame: &Came<'_>, came: Instant, loud: &Loud, counts: &Counts, out: &mut Vec<u8>) {
        counts.count(&counts.frames, self.line.late(self.number, came));
        self.number += 1;
        let Some(call) = self.call else { return };
        if !call.is_multiple_of(EVERY) {
            return frame.echo(out);
        }
        match (self.number + call as u64) % ROUND {
            0 => {
                frame.burst(loud, out);
                self.told = true;
            }
            HEARD if self.told => {
                counts.cleared[call].store(counts.at(Instant::now()), Ordering::Release);
                frame.clear(out);
            }
            _ => {}
        }
    }

    fn text(&mut self, told: &Value, counts: &Counts) {
        match told["type"].as_str() {
            Some("start") => {
                let caller = told["caller"].as_str().unwrap_or_default();
                self.call = caller.trim_start_matches("load").parse().ok();
            }
            Some("lost") => {
                counts.lost_ms.fetch_add(told["ms"].as_u64().unwrap_or(0), Ordering::Relaxed);
            }
            _ => {}
        }
    }
}
