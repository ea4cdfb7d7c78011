//! The examples that process audio: each is built, runs, and behaves as documented.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use b2b::client::{Call, CallAudio, EndCause, Incoming, SipClient, Sound};
use b2b_test_support::client::{Running, best_share_of, example, named, share_of, within};

/// Starts an example that answers calls; returns its URI.
fn answers(name: &str) -> (Running, String) {
    let spawned = example(name).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn();
    let mut running = Running(spawned.expect("cargo test builds examples"));
    let mut line = String::new();
    // The pipe stays open, because the example prints more later.
    BufReader::new(running.0.stdout.as_mut().expect("piped")).read_line(&mut line).expect("its first line");
    (running, line.trim().strip_prefix("waiting at ").expect("its address").to_owned())
}

async fn calls(uri: String) -> (SipClient, Call) {
    let alice = named("alice").build().expect("a client");
    let call = alice.call(uri).await.expect("a call");
    within("answered", call.wait_for_answer()).await.expect("answered");
    (alice, call)
}

/// Waits for 200 ms of audio that satisfy the condition.
async fn hears(what: &str, incoming: &mut Incoming, pleases: impl Fn(&[i16]) -> bool) {
    let mut heard = Vec::new();
    let heard = async {
        while let Some(frame) = incoming.next().await {
            heard.extend_from_slice(&frame);
            if heard.len() == 3_200 && pleases(&heard) {
                return;
            }
            heard.drain(..heard.len().saturating_sub(2_880));
        }
        panic!("{what}: the call is over");
    };
    within(what, heard).await;
}

fn tone(hz: f64) -> impl Fn(&[i16]) -> bool {
    move |heard| share_of(heard, hz, 16_000) > 0.9 && heard.iter().any(|sample| *sample > 3_000)
}

fn silence(heard: &[i16]) -> bool {
    heard.iter().all(|sample| sample.unsigned_abs() < 500)
}

#[tokio::test]
async fn the_echo_bot_says_what_is_said() {
    let (_bot, uri) = answers("echo_bot");
    let (_alice, call) = calls(uri).await;
    let mut audio = call.audio().expect("sound");
    for hz in [500.0, 900.0] {
        call.play(Sound::tone(hz, 60_000)).await.expect("playing");
        hears("the echo", &mut audio.incoming, tone(f64::from(hz))).await;
    }
}

#[tokio::test]
async fn the_voice_agent_answers_what_was_said_and_stops_when_it_is_interrupted() {
    let (_agent, uri) = answers("voice_agent");
    let (_alice, call) = calls(uri).await;
    let CallAudio { mut incoming, .. } = call.audio().expect("sound");
    let said = call.play(Sound::tone(500.0, 3_000)).await.expect("playing");
    // The agent is silent while the caller speaks.
    hears("silence", &mut incoming, silence).await;
    within("said", said.finished()).await;
    hears("the answer", &mut incoming, tone(500.0)).await;
    // Nearly six seconds of the answer remain.
    let interruption = call.play(Sound::tone(900.0, 1_000)).await.expect("playing");
    hears("silence again", &mut incoming, silence).await;
    within("said", interruption.finished()).await;
    hears("the next answer", &mut incoming, tone(900.0)).await;
}

#[tokio::test]
async fn the_custom_processor_makes_a_robots_voice() {
    let bob = named("bob").build().expect("a client");
    let mut calls = bob.incoming().await.expect("calls");
    let robot = example("custom_processor").arg(bob.uri().expect("started")).stdout(Stdio::null()).spawn();
    let mut robot = Running(robot.expect("cargo test builds examples"));
    let ringing = within("a call", calls.next()).await.expect("a client");
    let call = within("acknowledged", ringing.answer()).await.expect("answered");
    let mut audio = call.audio().expect("sound");
    // 440 Hz multiplied by 100 Hz.
    let modulated = |heard: &[i16]| {
        let shares = [340.0, 440.0, 540.0].map(|hz| share_of(heard, hz, 16_000));
        shares[0] > 0.4 && shares[1] < 0.05 && shares[2] > 0.4
    };
    hears("the robot", &mut audio.incoming, modulated).await;
    assert_eq!(within("its end", call.wait_for_end()).await, EndCause::RemoteHangup);
    assert!(robot.0.wait().expect("its end").success());
}

#[tokio::test]
async fn the_recorder_leaves_both_sides_in_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("call.wav");
    let bob = named("bob").build().expect("a client");
    let mut calls = bob.incoming().await.expect("calls");
    let recorder =
        example("record").arg(bob.uri().expect("started")).arg(&path).stdout(Stdio::null()).spawn();
    let mut recorder = Running(recorder.expect("cargo test builds examples"));
    let ringing = within("a call", calls.next()).await.expect("a client");
    let call = within("acknowledged", ringing.answer()).await.expect("answered");
    call.play(Sound::tone(900.0, 60_000)).await.expect("playing");
    within("its end", call.wait_for_end()).await;
    assert!(recorder.0.wait().expect("its end").success());
    let reader = hound::WavReader::open(&path).expect("a WAV");
    let length = Duration::from_secs_f64(f64::from(reader.duration()) / 16_000.0);
    assert!(length >= Duration::from_millis(1_900), "{length:?}");
    let samples: Vec<i16> = reader.into_samples().map(|sample| sample.expect("a sample")).collect();
    let side =
        |side: usize| samples[16_000..48_000].iter().skip(side).step_by(2).copied().collect::<Vec<i16>>();
    assert!(best_share_of(&side(0), 440.0, 16_000, 4_000) > 0.95, "left");
    assert!(best_share_of(&side(1), 900.0, 16_000, 4_000) > 0.9, "right");
}

#[test]
fn no_example_of_the_client_is_longer_than_a_hundred_lines() {
    for name in ["call", "answer", "echo_bot", "voice_agent", "custom_processor", "record"] {
        let path = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(&path).expect("readable").lines().count();
        assert!(lines <= 100, "{path}: {lines} lines");
    }
}
