//! Calls to one number that are held: for figures of a server that is busy with them.

use std::net::SocketAddr;
use std::time::Duration;

use b2b::client::{Call, Codec, Sound};
use serde_json::json;

use crate::{DOMAIN, Failure};

/// Calls, says `UP`, waits for a line of standard input, and hangs up. Of the calls, `say` in a
/// hundred say a tone, the others silence, which is sent, too.
pub async fn run(server: SocketAddr, number: &str, calls: usize, say: usize) -> Result<(), Failure> {
    let codec = match std::env::var("APP_LOAD_CODEC").as_deref() {
        Ok("opus") => Codec::Opus,
        Ok("g722") => Codec::G722,
        _ => Codec::Pcmu,
    };
    let client = crate::caller(codec, server)?;
    client.start().await?;
    let mut held: Vec<Call> = Vec::new();
    for n in 0..calls {
        // `{}` stands for a room, of five each.
        let number = number.replace("{}", &format!("{:03}", n / 5));
        let call = client.call(format!("sip:{number}@{DOMAIN}")).await?;
        call.wait_for_answer().await?;
        if n * say / 100 != (n + 1) * say / 100 {
            call.play(Sound::tone(300.0 + n as f32, u32::MAX)).await?;
        }
        held.push(call);
    }
    println!("UP");
    let (told, asked) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        let _ = told.send(());
    });
    let _ = asked.await;
    let over = held.iter().filter(|call| call.state().is_over()).count();
    let (mut heard, mut lost) = (0, 0);
    for call in &held {
        if let Some(counted) = call.statistics().await {
            heard += counted.packets_rx;
            lost += counted.lost;
        }
    }
    for call in &held {
        let _ = call.hangup().await;
    }
    client.stop(Duration::from_secs(20)).await;
    println!("{}", json!({"calls": calls, "over_before": over, "packets": heard, "lost": lost}));
    Ok(())
}
