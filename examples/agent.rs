//! A call centre agent: answers a caller, puts it on hold with a tone, consults a colleague, and joins the
//! two. If the colleague does not answer, the caller stays with the agent. This agent is a robot; for a human
//! agent, use the preset `agent` of `SipClient::builder()` with the devices of a headset.
//!
//! `cargo run --example agent -- sip:colleague@127.0.0.1:5080`, optionally with the address to listen on
//! (default 127.0.0.1:5070): `127.0.0.1:5075`

use b2b::client::{Call, CallError, ClientEvent, SipClient, Sound, TransferPolicy};

/// How long the agent speaks with each of them, ms.
const TALK_MS: u32 = 500;
/// Longer than any caller waits.
const HOUR_MS: u32 = 3_600_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let colleague = arguments.next().ok_or("who is the colleague? name a SIP URI")?;
    let bind = arguments.next().unwrap_or_else(|| "127.0.0.1:5070".to_owned());
    let client = SipClient::builder()
        .identity("sip:agent@127.0.0.1")
        .bind(bind)
        // Callers may not transfer an agent.
        .transfers(TransferPolicy::Refuse)
        .build()?;
    let mut incoming = client.incoming().await?;
    println!("waiting at {}", client.uri().unwrap_or_default());
    while let Some(ringing) = incoming.next().await {
        let from = ringing.from().to_owned();
        println!("{from}: answered");
        let served = match ringing.answer().await {
            Ok(caller) => serve(&client, &caller, &colleague).await,
            Err(error) => Err(error),
        };
        match served {
            Ok(()) => println!("{from}: with {colleague} now"),
            Err(error) => println!("{from}: {error}"),
        }
    }
    Ok(())
}

/// Speaks with a caller, then with the colleague, and joins them.
async fn serve(client: &SipClient, caller: &Call, colleague: &str) -> Result<(), CallError> {
    caller.play(Sound::tone(660.0, TALK_MS)).await?.finished().await;
    caller.hold_with(Sound::tone(330.0, HOUR_MS)).await?;
    println!("{}: held", caller.remote());
    let asked = async {
        let consulted = client.call(colleague).await?;
        consulted.wait_for_answer().await?;
        consulted.play(Sound::tone(880.0, TALK_MS)).await?.finished().await;
        consulted.hold().await?;
        Ok(consulted)
    };
    let joined = match asked.await {
        Ok(consulted) => join(caller, &consulted).await,
        Err(error) => Err(error),
    };
    if joined.is_err() && !caller.state().is_over() {
        // A caller is never left on hold.
        caller.resume().await?;
        caller.play(Sound::tone(220.0, TALK_MS)).await?.finished().await;
        caller.hangup().await?;
    }
    joined
}

/// Transfers the caller to the consulted party, and prints the progress.
async fn join(caller: &Call, consulted: &Call) -> Result<(), CallError> {
    let mut events = caller.events();
    let told = async {
        while let Some(event) = events.next().await {
            if let ClientEvent::TransferProgress { status, .. } = event {
                println!("{}: {status}", caller.remote());
            }
        }
    };
    tokio::select! {
        biased;
        joined = caller.transfer_to(consulted) => joined,
        () = told => Err(CallError::NotAnswered),
    }
}
