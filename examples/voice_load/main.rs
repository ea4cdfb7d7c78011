//! Load generator and stopwatch for the control interface and for voice agents: callers with bare SIP and
//! RTP, the agents to which their calls are routed, a commanding program, and subscribers to events.
//! `scripts/bench-agent.sh` starts it; it prints its counters as JSON when it ends.
//!
//! ```text
//! voice_load agents <server> <listen> <number> <calls> <seconds>    calls, and the agents at ws://<listen>/
//! voice_load calls <server> <number> <calls> <seconds>              calls alone
//! voice_load commands <http> <commands/s> <seconds>                 of every call in turn
//! voice_load subscribers <http> <count>                             one more never reads; until standard input ends
//! ```
//!
//! Agents answer in the protocol in which they are called: ours, or Twilio's. Nine in ten echo the audio, frame by frame; the tenth repeatedly sends two seconds at once and
//! clears them halfway. Frames and packets that arrive more than 20 ms after their due time, relative to the
//! fastest of their stream in the last seconds, are late. Those that were due and did not arrive are missing.

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

/// Time from the last established call to the start of counting.
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

/// Prints a word for the parent process.
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
