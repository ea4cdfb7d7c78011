//! Recordings of calls: content and position of the audio, and the closing of the file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use b2b_test_support::client::hand::until;
use b2b_test_support::client::{best_share_of, connected, named, within};

use b2b_client::{
    AudioPipeline, ClientEvent, Codec, Fill, FrameSink, FrameSource, InFrame, OutFrame, RecordError, Sound,
};

/// Parses a stereo WAV strictly: left and right channel.
fn read(path: &Path, rate_hz: u32) -> (Vec<i16>, Vec<i16>) {
    let reader = hound::WavReader::open(path).expect("a WAV");
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, rate_hz, 16));
    let samples: Vec<i16> = reader.into_samples().map(|sample| sample.expect("a sample")).collect();
    samples.chunks_exact(2).map(|both| (both[0], both[1])).unzip()
}

#[tokio::test]
async fn each_side_has_a_channel_and_the_end_of_the_call_closes_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let (alice, bob) = (named("alice").build().expect("a client"), named("bob").build().expect("a client"));
    bob.start().await.expect("a client");
    let mut events = alice.events().await.expect("events");
    let (at_alice, at_bob) = connected(&alice, &bob).await;
    at_alice.play(Sound::tone(500.0, 60_000)).await.expect("playing");
    at_bob.play(Sound::tone(800.0, 60_000)).await.expect("playing");
    let refused = at_alice.record(dir.path()).await;
    assert!(matches!(refused, Err(RecordError::Disk(_))), "{refused:?}");
    let (first, path) = (dir.path().join("first.wav"), dir.path().join("call.wav"));
    let replaced = at_alice.record(&first).await.expect("recording");
    let recording = at_alice.record(&path).await.expect("recording");
    assert_eq!(within("the first one's end", replaced.finished()).await.expect("written").path, first);
    let grown = async {
        while std::fs::metadata(&path).expect("the file").len() < 16_000 * 4 * 3 / 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("a second and a half", grown).await;
    // The file is valid while it grows, too.
    assert!(read(&path, 16_000).0.len() > 16_000);
    within("hung up", at_bob.hangup()).await.expect("hung up");
    let recorded = within("closed", recording.finished()).await.expect("written");
    let (left, right) = read(&path, 16_000);
    assert_eq!((recorded.path.as_path(), recorded.missing), (path.as_path(), 0));
    assert_eq!(recorded.length, Duration::from_micros(left.len() as u64 * 1_000_000 / 16_000));
    for (side, hz) in [(&left, 500.0), (&right, 800.0)] {
        let share = best_share_of(side, hz, 16_000, 4_000);
        assert!(share > 0.95, "{hz} Hz: {share}");
    }
    let ended = |event: &ClientEvent| matches!(event, ClientEvent::RecordingEnded { path: of, outcome: Ok(_), .. } if *of == path);
    until(&mut events, "the recording's end", ended).await;
    assert!(matches!(at_alice.record(&path).await, Err(RecordError::Ended(_))));
}

/// Amplitude of a loud frame.
const CLICK: i16 = 20_000;

/// A source that clicks once when the flag is set.
struct Clicks(Arc<AtomicBool>);

impl FrameSource for Clicks {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        if !self.0.swap(false, Ordering::Relaxed) {
            return Fill::Silence;
        }
        frame.samples[..8].fill(CLICK);
        Fill::Audio
    }
}

/// A sink that sets the flag when it hears a click.
struct Claps(Arc<AtomicBool>);

impl FrameSink for Claps {
    fn frame(&mut self, frame: &InFrame<'_>) {
        if frame.samples.iter().any(|sample| *sample > CLICK / 2) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// The positions where clicks begin.
fn clicks(side: &[i16]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for (at, sample) in side.iter().enumerate() {
        if *sample > CLICK / 2 && found.last().is_none_or(|last| at > last + 800) {
            found.push(at);
        }
    }
    found
}

#[tokio::test]
async fn what_is_said_at_once_when_something_is_heard_stands_beside_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("call.wav");
    for ptime_ms in [10, 20, 40] {
        // Alice answers each click in the tick in which it arrives.
        let heard = Arc::new(AtomicBool::new(false));
        let alice = named("alice").codecs([Codec::Pcmu]).rate_hz(8_000).ptime_ms(ptime_ms);
        let alice = alice.pipeline({
            let heard = heard.clone();
            move |_| AudioPipeline::new().source(Clicks(heard.clone())).sink(Claps(heard.clone()))
        });
        let alice = alice.build().expect("a client");
        let click = Arc::new(AtomicBool::new(false));
        let bob = named("bob").codecs([Codec::Pcmu]).rate_hz(8_000).pipeline({
            let click = click.clone();
            move |_| AudioPipeline::new().source(Clicks(click.clone()))
        });
        let bob = bob.build().expect("a client");
        bob.start().await.expect("a client");
        let (at_alice, at_bob) = connected(&alice, &bob).await;
        let recording = at_alice.record(&path).await.expect("recording");
        for _ in 0..4 {
            // Silence with a length that is not a multiple of a frame.
            tokio::time::sleep(Duration::from_millis(333)).await;
            click.store(true, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        // On hold one direction sends nothing; the clock goes on.
        within("held", at_bob.hold()).await.expect("held");
        tokio::time::sleep(Duration::from_millis(300)).await;
        within("taken back", at_bob.resume()).await.expect("taken back");
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(333)).await;
            click.store(true, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        within("closed", recording.stop()).await.expect("written");
        let (left, right) = read(&path, 8_000);
        let (said, heard) = (clicks(&left), clicks(&right));
        println!("packets of {ptime_ms} ms: heard {heard:?}, said {said:?}");
        assert!(heard.len() >= 4 && said.len() == heard.len(), "heard {heard:?}, said {said:?}");
        let longest = 160.max(ptime_ms as usize * 8);
        for (heard, said) in heard.iter().zip(&said) {
            assert!(heard.abs_diff(*said) <= longest, "packets of {ptime_ms} ms: heard {heard}, said {said}");
        }
        within("hung up", at_alice.hangup()).await.expect("hung up");
    }
}

#[tokio::test]
async fn who_is_muted_is_not_recorded_either() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("call.wav");
    let (alice, bob) = (named("alice").build().expect("a client"), named("bob").build().expect("a client"));
    bob.start().await.expect("a client");
    let (at_alice, _at_bob) = connected(&alice, &bob).await;
    at_alice.play(Sound::tone(500.0, 60_000)).await.expect("playing");
    at_alice.mute(true).await.expect("muted");
    let recording = at_alice.record(&path).await.expect("recording");
    let mut audio = at_alice.audio().expect("sound");
    for _ in 0..25 {
        within("a frame", audio.incoming.next()).await.expect("a frame");
    }
    within("closed", recording.stop()).await.expect("written");
    let (left, _) = read(&path, 16_000);
    assert!(left.len() >= 16_000 / 4 && left.iter().all(|sample| *sample == 0));
}
