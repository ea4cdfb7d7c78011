//! Shared parts of the tests of the client library's audio.

pub mod hand;
pub mod registrar;
pub mod server;

use std::process::{Child, Command};
use std::time::Duration;

use b2b_client::{Call, ClientBuilder, FrameKind, FrameSink, InFrame, SipClient};

/// Generous, because a loaded machine is slow; reached only on failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: nothing came"))
}

pub fn named(name: &str) -> ClientBuilder {
    SipClient::builder().identity(format!("sip:{name}@127.0.0.1"))
}

/// An answered call, at its caller and its callee.
pub async fn connected(alice: &SipClient, bob: &SipClient) -> (Call, Call) {
    let mut incoming = bob.incoming().await.expect("calls");
    let at_alice = alice.call(bob.uri().expect("started")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", at_alice.wait_for_answer()).await.expect("answered");
    (at_alice, at_bob)
}

/// Share of a sine of this frequency in a signal: 1 is all of it.
pub fn share_of(samples: &[i16], hz: f64, rate_hz: u32) -> f64 {
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (sin, cos) = (n as f64 * hz * std::f64::consts::TAU / f64::from(rate_hz)).sin_cos();
        let sample = f64::from(*sample);
        (re, im, all) = (re + sample * cos, im + sample * sin, all + sample * sample);
    }
    2.0 * (re * re + im * im) / (samples.len() as f64 * f64::max(all, 1.0))
}

/// A sink that stores the received audio.
pub struct Kept(pub rtrb::Producer<i16>);

impl FrameSink for Kept {
    fn frame(&mut self, frame: &InFrame<'_>) {
        if frame.kind == FrameKind::Audio {
            let _ = self.0.push_partial_slice(frame.samples);
        }
    }
}

/// The next 4,000 samples that consist of a sine of this frequency alone. On a loaded machine frames are late
/// and their replacement is not a sine; the search then continues after them.
pub async fn next_tone(kept: &mut rtrb::Consumer<i16>, hz: f64, rate_hz: u32) -> Vec<i16> {
    let pure = async {
        loop {
            while kept.slots() < 4_000 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let heard: Vec<i16> = kept.read_chunk(4_000).expect("there").into_iter().collect();
            if share_of(&heard, hz, rate_hz) > 0.98 {
                return heard;
            }
        }
    };
    within("a tone", pure).await
}

/// The greatest share of this sine in any `window` samples.
pub fn best_share_of(samples: &[i16], hz: f64, rate_hz: u32, window: usize) -> f64 {
    let starts = (0..=samples.len().saturating_sub(window)).step_by(window / 4);
    starts.map(|at| share_of(&samples[at..at + window], hz, rate_hz)).fold(0.0, f64::max)
}

/// A running example; it ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An example, which `cargo test` puts next to the tests.
pub fn example(name: &str) -> Command {
    let tests = std::env::current_exe().expect("the path of this test");
    let built = tests.parent().and_then(|deps| deps.parent()).expect("a folder of builds");
    Command::new(built.join("examples").join(name))
}
