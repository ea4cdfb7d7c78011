//! Load for the control interface and for voice agents, and a stopwatch: callers with bare SIP and RTP,
//! the agents that they are sent to, a program that commands, and subscribers to events.
//! `scripts/bench-agent.sh` starts it; what it has counted it prints as JSON when it ends.
//!
//! ```text
//! voice_load agents <server> <listen> <number> <calls> <seconds>    calls, and the agents at ws://<listen>/
//! voice_load calls <server> <number> <calls> <seconds>              calls alone
//! voice_load commands <http> <commands/s> <seconds>                 of every call in turn
//! voice_load subscribers <http> <count>                             one more never reads; until standard input ends
//! ```
//!
//! Nine agents in ten say back what they hear, frame by frame; the tenth says two seconds at once and
//! clears them in the middle, again and again. Frames and packets that come more than 20 ms after they
//! were due, by the fastest of their stream in the last seconds, are late. Those that should have come
//! and did not are missing.

mod agent;
mod command;
mod counts;
mod frame;
mod http;
mod party;
mod sip;
mod subscriber;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use counts::Counts;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// From the last call that is up to what counts.
const SETTLE: Duration = Duration::from_secs(2);

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["agents", server, listen, number, calls, seconds] => {
            let counts = Counts::new(calls.parse()?);
            agent::start(listen.parse()?, counts.clone())?;
            talk(server.parse()?, number, &counts, seconds.parse()?)
        }
        ["calls", server, number, calls, seconds] => {
            let counts = Counts::new(calls.parse()?);
            talk(server.parse()?, number, &counts, seconds.parse()?)
        }
        ["commands", http, rate, seconds] => command::run(http.parse()?, rate.parse()?, seconds.parse()?),
        ["subscribers", http, count] => subscriber::run(http.parse()?, count.parse()?),
        _ => Err("what to do? see the first lines of examples/voice_load/main.rs".into()),
    }
}

/// Says a word to who has started us.
fn say(word: &str) {
    println!("{word}");
    let _ = std::io::stdout().flush();
}

fn talk(server: SocketAddr, number: &str, counts: &Arc<Counts>, seconds: u64) -> Result<(), Failure> {
    let mut parties = party::Parties::call(server, number, counts.calls())?;
    let seen = counts.clone();
    let media = std::thread::spawn(move || {
        parties.talk(&seen);
        parties.hang_up()
    });
    std::thread::sleep(SETTLE);
    say("UP");
    let began = counts.measure(true);
    std::thread::sleep(Duration::from_secs(seconds));
    let took = began.elapsed();
    counts.measure(false);
    let gone = counts.gone.load(Ordering::Relaxed);
    say("MEASURED");
    counts.over.store(true, Ordering::Relaxed);
    media.join().map_err(|_| "the parties' thread panicked")??;
    println!("{}", told(counts, took, gone));
    Ok(())
}

fn told(counts: &Counts, took: Duration, gone: u64) -> Value {
    let due = counts.calls() as u64 * took.as_millis() as u64 / 20;
    json!({
        "calls": counts.calls(), "over_before": gone, "due": due,
        "frames": counts.frames.told(), "packets": counts.packets.told(),
        "lost_ms": counts.lost_ms.load(Ordering::Relaxed),
        "unheard": counts.unheard.load(Ordering::Relaxed), "clear_ms": counts::spread(counts.silences()),
    })
}
