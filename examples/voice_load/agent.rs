//! Agents, all of them in one thread: what they hear is counted, and said back or interrupted.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde_json::Value;

use crate::Failure;
use crate::counts::{Counts, Line};
use crate::frame::{self, Frames};
use crate::http;

/// Frames between two that are said at once, and from there to `clear`.
const ROUND: u64 = 150;
const HEARD: u64 = 30;
/// Every so many agents one interrupts itself.
const EVERY: usize = 10;
/// Of what is said at once, at 16 kHz.
const LOUD: usize = 32_000;
const READ_AHEAD: usize = 64 * 1_024;
/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Accepts, until the program ends.
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
    let loud = loud();
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
                http::accept(&mut stream)?;
                stream.set_nonblocking(true)?;
                agents.push(None);
                epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, agents.len() as u64))?;
                if let Some(place) = agents.last_mut() {
                    *place = Some(Agent::new(stream));
                }
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

/// A tone of two seconds, as one message.
fn loud() -> Vec<u8> {
    let tone = (0..LOUD).map(|n| ((n as f32 * 0.35).sin() * 9_000.0) as i16);
    [frame::head(frame::BINARY, LOUD * 2), tone.flat_map(i16::to_le_bytes).collect()].concat()
}

struct Agent {
    stream: TcpStream,
    frames: Frames,
    talk: Talk,
    /// What the socket has not taken.
    unsent: Vec<u8>,
}

/// It has gone.
struct Gone;

impl Agent {
    fn new(stream: TcpStream) -> Self {
        Agent { stream, frames: Frames::default(), talk: Talk::default(), unsent: Vec::new() }
    }

    /// Something has come.
    fn turn(&mut self, buffer: &mut [u8], loud: &[u8], counts: &Counts) -> Result<(), Gone> {
        let count = match self.stream.read(buffer) {
            Ok(0) => return Err(Gone),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Gone),
        };
        let (mut out, came) = (std::mem::take(&mut self.unsent), Instant::now());
        let (talk, mut gone) = (&mut self.talk, false);
        self.frames.take(&buffer[..count], |frame, octets| {
            let payload = &octets[frame.payload.clone()];
            match frame.kind {
                frame::BINARY => talk.frame(payload, came, loud, counts, &mut out),
                frame::TEXT => talk.text(payload, counts),
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

/// What one hears and says.
#[derive(Default)]
struct Talk {
    call: Option<usize>,
    number: u64,
    line: Line,
    /// It has said something at once.
    told: bool,
}

impl Talk {
    fn frame(&mut self, frame: &[u8], came: Instant, loud: &[u8], counts: &Counts, out: &mut Vec<u8>) {
        counts.count(&counts.frames, self.line.late(self.number, came));
        self.number += 1;
        let Some(call) = self.call else { return };
        if !call.is_multiple_of(EVERY) {
            out.extend(frame::head(frame::BINARY, frame.len()));
            return out.extend_from_slice(frame);
        }
        match (self.number + call as u64) % ROUND {
            0 => {
                out.extend_from_slice(loud);
                self.told = true;
            }
            HEARD if self.told => {
                counts.cleared[call].store(counts.at(Instant::now()), Ordering::Release);
                let clear = b"{\"type\":\"clear\"}";
                out.extend(frame::head(frame::TEXT, clear.len()));
                out.extend_from_slice(clear);
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &[u8], counts: &Counts) {
        let Ok(told) = serde_json::from_slice::<Value>(text) else { return };
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
