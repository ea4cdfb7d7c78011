//! A commanding program: measures the time from a command to its completion.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::frame::{self, Frames};
use crate::{Failure, counts, http, say};

/// Maximum wait for the last results.
const LAST: Duration = Duration::from_secs(2);

/// Measurements of the listening thread, us.
#[derive(Default)]
struct Heard {
    accepted: Vec<u64>,
    completed: Vec<u64>,
    failed: u64,
    refused: u64,
    /// The first unexpected message.
    wrong: Option<String>,
}

/// Sends `rate` commands a second, to all calls in turn.
pub fn run(server: SocketAddr, rate: u32, seconds: u32) -> Result<(), Failure> {
    let calls = http::get(server, "/calls?limit=1000")?;
    let calls = calls["calls"].as_array().cloned().unwrap_or_default();
    let calls: Vec<u64> = calls.iter().filter_map(|call| call["call"].as_u64()).collect();
    if calls.is_empty() {
        return Err("there are no calls".into());
    }
    let (mut stream, rest) = http::connect(server, "/control?only=commands")?;
    let count = rate * seconds;
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let (mut reads, asked, began) = (stream.try_clone()?, sent.clone(), Instant::now());
    let listens = std::thread::spawn(move || {
        let (mut frames, mut heard) = (Frames::default(), Heard::default());
        let mut hear = |octets: &[u8]| {
            frames.take(octets, |frame, octets| {
                if frame.kind == frame::TEXT {
                    heard.hear(&octets[frame.payload.clone()], &asked, began);
                }
            });
        };
        hear(&rest);
        let mut buffer = vec![0; 64 * 1_024];
        while let Ok(count @ 1..) = reads.read(&mut buffer) {
            hear(&buffer[..count]);
        }
        heard
    });
    say("UP");
    let from = Instant::now();
    for n in 0..count {
        let due = Duration::from_secs(1) * n / rate;
        std::thread::sleep(due.saturating_sub(from.elapsed()));
        let command = command(n, calls[n as usize % calls.len()]).to_string();
        sent[n as usize].store(began.elapsed().as_nanos() as u64 + 1, Ordering::Release);
        stream.write_all(&frame::of_client(frame::TEXT, command.as_bytes()))?;
    }
    let took = from.elapsed();
    std::thread::sleep(LAST);
    stream.shutdown(Shutdown::Both)?;
    let heard = listens.join().map_err(|_| "the listening thread panicked")?;
    println!(
        "{}",
        json!({
            "commands": count, "per_s": (f64::from(count) / took.as_secs_f64()).round(),
            "completed": heard.completed.len(), "failed": heard.failed, "refused": heard.refused,
            "wrong": heard.wrong, "accepted_ms": counts::spread(heard.accepted),
            "completed_ms": counts::spread(heard.completed),
        })
    );
    Ok(())
}

/// One third reach the media thread and return, the others stay in the call thread.
fn command(n: u32, call: u64) -> Value {
    let id = format!("t{n}");
    match n % 3 {
        0 => {
            json!({ "command": "set_variable", "id": id, "call": call, "name": "step", "value": n.to_string() })
        }
        1 => json!({ "command": "hear_tones", "id": id, "call": call, "on": n.is_multiple_of(2) }),
        _ => json!({ "command": "stop_playing", "id": id, "call": call }),
    }
}

impl Heard {
    fn hear(&mut self, text: &[u8], sent: &[AtomicU64], began: Instant) {
        let now = began.elapsed().as_nanos() as u64;
        let Ok(told) = serde_json::from_slice::<Value>(text) else { return };
        let n = told["id"].as_str().and_then(|id| id.trim_start_matches('t').parse::<usize>().ok());
        let took = |n: usize| now.saturating_sub(sent[n].load(Ordering::Acquire)) / 1_000;
        match (told["type"].as_str(), n.filter(|n| *n < sent.len())) {
            (Some("accepted"), Some(n)) => self.accepted.push(took(n)),
            (Some("command_completed"), Some(n)) => self.completed.push(took(n)),
            (Some("command_failed"), Some(_)) => self.failed += 1,
            _ => self.refused += 1,
        }
        if self.failed + self.refused == 1 && self.wrong.is_none() {
            self.wrong = Some(told.to_string());
        }
    }
}
