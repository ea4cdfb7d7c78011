//! A voice agent: receives the caller's audio as PCM at 16 kHz, passes each utterance to a function, and
//! speaks its answer. When the caller begins to speak, it stops at once (barge-in).
//!
//! `cargo run --example voice_agent`, or with another address: `-- 127.0.0.1:5080`

use b2b::client::{Call, CallAudio, SipClient};

/// Sample rate of the agent's audio, both ways.
const RATE: u32 = 16_000;
/// Amplitude above which audio counts as speech. A real agent has a better detector.
const SPEECH: u16 = 1_000;
/// Number of 20 ms frames without speech that end an utterance.
const PAUSE: usize = 15;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The agent's answer to an utterance: the place for recognition, a model and synthesis. This one repeats it
/// twice.
async fn answer(heard: Vec<i16>) -> Vec<i16> {
    heard.repeat(2)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let bind = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5070".to_owned());
    let client = SipClient::builder().identity("sip:agent@127.0.0.1").bind(bind).build()?;
    let mut incoming = client.incoming().await?;
    println!("waiting at {}", client.uri().unwrap_or_default());
    while let Some(ringing) = incoming.next().await {
        tokio::spawn(async move {
            let from = ringing.from().to_owned();
            let talked = match ringing.answer().await {
                Ok(call) => talk(call).await,
                Err(error) => Err(error.into()),
            };
            println!("{from}: {}", talked.map_or_else(|error| error.to_string(), |()| "gone".to_owned()));
        });
    }
    Ok(())
}

async fn talk(call: Call) -> Result<(), Error> {
    let CallAudio { mut incoming, outgoing, .. } = call.audio_at(RATE)?;
    let (mut heard, mut quiet) = (Vec::new(), 0);
    while let Some(frame) = incoming.next().await {
        let speaks = frame.iter().any(|sample| sample.unsigned_abs() > SPEECH);
        quiet = if speaks { 0 } else { quiet + 1 };
        if speaks && outgoing.waiting() > 0 {
            outgoing.flush();
            println!("interrupted");
        }
        if speaks || !heard.is_empty() {
            heard.extend_from_slice(&frame);
        }
        if quiet == PAUSE && !heard.is_empty() {
            let (heard, outgoing) = (std::mem::take(&mut heard), outgoing.clone());
            tokio::spawn(async move {
                println!("heard {} ms", heard.len() as u32 * 1_000 / RATE);
                // This fails if the caller interrupts, or once the call is over.
                let _ = outgoing.write(&answer(heard).await).await;
            });
        }
    }
    Ok(())
}
