//! Answers calls, one after another, and prints how each ends.
//!
//! `cargo run --example answer`, or with another address: `-- 127.0.0.1:5080`

use b2b::client::{CallError, SipClient};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bind = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5070".to_owned());
    let client = SipClient::builder().identity("sip:bob@127.0.0.1").bind(bind).build()?;
    let mut incoming = client.incoming().await?;
    println!("waiting at {}", client.uri().unwrap_or_default());
    while let Some(ringing) = incoming.next().await {
        let from = ringing.from().to_owned();
        match ringing.answer().await {
            Ok(call) => println!("{from}: {}", call.wait_for_end().await),
            // This caller hung up meanwhile; the next one is still answered.
            Err(CallError::Ended(cause)) => println!("{from}: {cause}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
