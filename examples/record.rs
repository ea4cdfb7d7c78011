//! Calls a party, plays a file or a tone, and records both sides until the far end hangs up or the sound is
//! over: a stereo WAV with the sent audio left, the received audio right.
//!
//! `cargo run --example record -- sip:bob@127.0.0.1:5070 call.wav`, optionally with a file to play

use b2b::client::{ClientEvent, SipClient, Sound};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().unwrap_or_else(|| "sip:bob@127.0.0.1:5070".to_owned());
    let path = arguments.next().unwrap_or_else(|| "call.wav".to_owned());
    let sound = arguments.next().map_or_else(|| Sound::tone(440.0, 2_000), Sound::file);

    let client = SipClient::new("sip:alice@127.0.0.1").await?;
    let call = client.call(target).await?;
    let mut events = call.events();
    call.wait_for_answer().await?;
    let recording = call.record(&path).await?;
    let playing = call.play(sound).await?;
    // A full disk ends the recording, but not the call.
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let ClientEvent::RecordingEnded { outcome: Err(error), .. } = event {
                eprintln!("{error}");
            }
        }
    });
    playing.finished().await;
    call.hangup().await?;
    let recorded = recording.finished().await?;
    println!("{:.1} s in {}", recorded.length.as_secs_f64(), recorded.path.display());
    Ok(())
}
