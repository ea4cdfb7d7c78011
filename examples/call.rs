//! A call in under ten lines: dials, plays a tone, hangs up.
//!
//! `cargo run --example call` dials 127.0.0.1:5070, where for example `cargo run --example answer` answers;
//! for another target: `-- sip:bob@127.0.0.1:5080`

use b2b::client::{SipClient, Sound};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = SipClient::new("sip:alice@127.0.0.1").await?;
    let call = client.call(std::env::args().nth(1).unwrap_or("sip:bob@127.0.0.1:5070".into())).await?;
    call.wait_for_answer().await?;
    call.play(Sound::tone(440.0, 2_000)).await?.finished().await;
    Ok(call.hangup().await?)
}
