//! Load for the server's applications: many callers in one process, by the client library.
//! `scripts/soak-apps.sh` and `scripts/bench-apps.sh` start it; what it has counted it prints as
//! JSON when it ends.
//!
//! ```text
//! app_load mix <server> <seconds> <calls/s>       callers, agents and a phone; what they do is chance
//! app_load agent <server> <name> <address>        one agent, until it is killed
//! app_load held <server> <number> <calls> [say]   so many calls at once until standard input has a line
//! ```

mod agents;
mod callers;
mod held;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use b2b::client::{Codec, SipClient, TransferPolicy};
use serde_json::json;

use agents::Agent;

/// What the server is called.
const DOMAIN: &str = "b2b.example";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    match words[..] {
        ["mix", server, seconds, rate] => {
            runtime.block_on(mix(server.parse()?, seconds.parse()?, rate.parse()?))
        }
        ["agent", server, name, address] => runtime.block_on(agents::alone(server.parse()?, name, address)),
        ["held", server, number, calls] => {
            runtime.block_on(held::run(server.parse()?, number, calls.parse()?, 0))
        }
        ["held", server, number, calls, say] => {
            runtime.block_on(held::run(server.parse()?, number, calls.parse()?, say.parse()?))
        }
        _ => Err("what to do? see the first lines of examples/app_load/main.rs".into()),
    }
}

/// A party that calls without an account.
fn caller(codec: Codec, server: SocketAddr) -> Result<SipClient, Failure> {
    // The server trusts this address: agents, who have another one, give a password.
    let builder = SipClient::builder().identity(format!("sip:caller@{DOMAIN}")).bind("127.0.0.2:0");
    let rate_hz = if matches!(codec, Codec::Pcmu | Codec::Pcma) { 8_000 } else { 16_000 };
    let builder = builder.codecs([codec]).rate_hz(rate_hz).max_calls(10_000).recovery(false);
    // What is slow is counted by its caller; a server that is gone is no silence.
    let builder = builder.outbound_proxy(format!("sip:{server};lr")).transfers(TransferPolicy::Refuse);
    Ok(builder.build()?)
}

/// Everybody at once.
async fn mix(server: SocketAddr, seconds: u64, rate: f64) -> Result<(), Failure> {
    let over = Arc::new(AtomicBool::new(false));
    let agents: Vec<Arc<Agent>> = ["2001", "2002", "2003", "2004"].into_iter().map(Agent::new).collect();
    let phone = Agent::new("1001");
    let mut clients = Vec::new();
    for agent in agents.iter().chain([&phone]) {
        let client = agents::registered(server, &agent.name, "127.0.0.1:0").await?;
        let codes = agent.name == "2003";
        let serving = tokio::spawn(agent.clone().serve(client.clone()));
        if agent.name == "2004" {
            tokio::spawn(agents::comes_and_goes(client.clone(), over.clone()));
        } else if codes {
            tokio::spawn(agents::pauses(client.clone(), agent.clone(), over.clone()));
        }
        clients.push((client, serving));
    }
    let kinds = callers::run(server, Duration::from_secs(seconds), rate).await?;
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    // Who is parked goes back to the phone: it stays until nobody can be.
    tokio::time::sleep(Duration::from_secs(20)).await;
    for (client, serving) in clients {
        client.stop(Duration::from_secs(5)).await;
        serving.await?;
    }
    let counted: serde_json::Map<_, _> =
        agents.iter().chain([&phone]).map(|agent| (agent.name.clone(), agent.counted())).collect();
    println!("{}", json!({"callers": kinds, "agents": counted}));
    Ok(())
}
