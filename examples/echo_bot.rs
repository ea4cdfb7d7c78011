//! Echoes the caller's audio, frame by frame.
//!
//! `cargo run --example echo_bot`, or with another address: `-- 127.0.0.1:5080`

use b2b::client::{Call, SipClient};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bind = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5070".to_owned());
    let client = SipClient::builder().identity("sip:echo@127.0.0.1").bind(bind).build()?;
    let mut incoming = client.incoming().await?;
    println!("waiting at {}", client.uri().unwrap_or_default());
    while let Some(ringing) = incoming.next().await {
        tokio::spawn(async move {
            let from = ringing.from().to_owned();
            let end = match ringing.answer().await {
                Ok(call) => echo(call).await,
                Err(error) => Err(error.into()),
            };
            println!("{from}: {}", end.map_or_else(|error| error.to_string(), |()| "gone".to_owned()));
        });
    }
    Ok(())
}

async fn echo(call: Call) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut audio = call.audio()?;
    while let Some(frame) = audio.incoming.next().await {
        // The call may end in between: then there is no next frame.
        let _ = audio.outgoing.write(&frame).await;
    }
    Ok(())
}
