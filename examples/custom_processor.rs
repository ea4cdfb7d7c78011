//! Speaks with a robot's voice: a custom processor in the sending direction, and one that observes the
//! receiving direction.
//!
//! `cargo run --example custom_processor -- sip:bob@127.0.0.1:5070`

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use b2b::client::{AudioPipeline, AudioProcessor, SipClient, Sound};

/// Multiplies by a sine. It runs on the media thread: it must not allocate, lock or block.
struct Robot {
    phase: f32,
}

impl AudioProcessor for Robot {
    fn process(&mut self, frame: &mut [i16], rate_hz: u32) {
        for sample in frame {
            *sample = (f32::from(*sample) * (std::f32::consts::TAU * self.phase).sin()) as i16;
            self.phase = (self.phase + 100.0 / rate_hz as f32).fract();
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = std::env::args().nth(1).unwrap_or_else(|| "sip:bob@127.0.0.1:5070".to_owned());
    let peak = Arc::new(AtomicU16::new(0));
    let meter = peak.clone();
    let client = SipClient::builder()
        .identity("sip:robot@127.0.0.1")
        // Called once per call. Closures are processors, too.
        .pipeline(move |_| {
            let meter = meter.clone();
            let watch = move |frame: &mut [i16], _: u32| {
                let loudest = frame.iter().map(|sample| sample.unsigned_abs()).max();
                meter.fetch_max(loudest.unwrap_or(0), Ordering::Relaxed);
            };
            AudioPipeline::new().sent(Robot { phase: 0.0 }).received(watch)
        })
        .build()?;
    let call = client.call(target).await?;
    call.wait_for_answer().await?;
    call.play(Sound::tone(440.0, 2_000)).await?.finished().await;
    call.hangup().await?;
    println!("the loudest sample heard: {}", peak.load(Ordering::Relaxed));
    Ok(())
}
