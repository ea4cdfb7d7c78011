//! Many rounds of busy calls by one client leave nothing behind: no thread, descriptor, call or memory. It is
//! a separate test binary, since it counts the resources of its process.
//!
//! Five rounds with `cargo test`; `scripts/soak-client.sh MINUTES` runs longer and also judges memory.

// As in test functions (clippy.toml): a helper that fails must fail the test.
#![allow(clippy::unwrap_used)]

use std::io;
use std::time::{Duration, Instant};

use b2b_base::util::process::resident_bytes;
use b2b_client::{
    Audio, Call, Devices, IncomingCalls, Loudspeaker, Microphone, SipClient, Sound, SoundSystem,
};
use b2b_test_support::client::hand::{builder, connected_to, started};
use b2b_test_support::client::{PATIENCE, within};

/// Answered calls per round.
const CALLS: usize = 10;
/// Rounds if no time is set.
const ROUNDS: usize = 5;
/// Transactions are kept for 32 s (RFC 3261 §17): memory grows until the first ones are over, and is not
/// judged before.
const WARM: Duration = Duration::from_secs(90);
/// Memory that each call may leave behind, octets: a leaked frame or message is larger.
const LEFT: f64 = 256.0;

struct Fake;

impl Microphone for Fake {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(20));
        frame.fill(1_000);
        Ok(())
    }
}

impl Loudspeaker for Fake {
    fn write(&mut self, _: &[i16]) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    }
}

impl SoundSystem for Fake {
    fn microphone(&self, _: Option<&str>, _: u32) -> io::Result<Box<dyn Microphone>> {
        Ok(Box::new(Fake))
    }

    fn loudspeaker(&self, _: Option<&str>, _: u32) -> io::Result<Box<dyn Loudspeaker>> {
        Ok(Box::new(Fake))
    }
}

/// Threads and descriptors of this process.
fn held() -> (usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).expect("/proc").count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// The names of those, to find a leak.
fn names() -> Vec<String> {
    let list = |path: &str| std::fs::read_dir(path).expect("/proc").flatten().map(|entry| entry.path());
    let threads = list("/proc/self/task").flat_map(|task| std::fs::read_to_string(task.join("comm")));
    let open = list("/proc/self/fd").flat_map(std::fs::read_link).map(|link| link.display().to_string());
    threads.map(|name| name.trim().to_owned()).chain(open).collect()
}

/// A call with every operation, ended by either side.
async fn round(host: &SipClient, guest: &SipClient, incoming: &mut IncomingCalls) -> Vec<Call> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        calls.push(connected_to(host, guest, incoming).await);
    }
    let conference = host.conference(calls.iter().map(|(here, _)| here)).await.expect("a conference");
    let recording = calls[0].0.record(folder.path().join("call.wav")).await.expect("recording");
    for (here, there) in &calls {
        there.play(Sound::tone(440.0, 100)).await.expect("playing");
        let mut audio = here.audio().expect("sound");
        within("a frame", audio.incoming.next()).await.expect("a frame");
        audio.outgoing.try_write(&[100; 320]).expect("a call");
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/audio/tone.mp3");
    calls[1].0.play(Sound::file(file).repeat()).await.expect("playing");
    within("held", calls[2].0.hold_with(Sound::tone(500.0, 3_600_000))).await.expect("held");
    calls[3].0.send_digits("12#", None).await.expect("sent");
    host.use_microphone(Some("another")).await.expect("devices");
    within("back", calls[2].0.resume()).await.expect("back");
    conference.remove(&calls[4].0).await.expect("removed");
    within("recorded", recording.stop()).await.expect("recorded");
    // An unanswered call.
    let cancelled = host.call(guest.uri().expect("started")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("it rings");
    within("cancelled", cancelled.hangup()).await.expect("cancelled");
    within("the end", cancelled.wait_for_end()).await;
    drop(ringing);
    for (n, (here, there)) in calls.iter().enumerate() {
        let side = if n % 2 == 0 { here } else { there };
        within("hung up", side.hangup()).await.expect("hung up");
    }
    for (here, there) in &calls {
        within("the end", here.wait_for_end()).await;
        within("the end", there.wait_for_end()).await;
    }
    calls.into_iter().map(|(here, _)| here).collect()
}

/// Waits until no more resources are held than this.
async fn settles(wanted: (usize, usize), round: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = held();
        if now.0 <= wanted.0 && now.1 <= wanted.1 {
            return;
        }
        let late = Instant::now() >= until;
        assert!(!late, "round {round}: {now:?} threads and descriptors, and not {wanted:?}: {:?}", names());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn calls_leave_no_thread_no_descriptor_and_no_memory_behind() {
    let minutes: Option<u64> = std::env::var("SOAK_MINUTES").ok().map(|text| text.parse().expect("minutes"));
    let host = builder("host").audio(Audio::Devices(Devices::new(Fake))).build().expect("a client");
    let (guest, mut incoming) = started(builder("guest")).await;
    host.start().await.expect("started");
    // The media threads bind ports ahead, and tell nobody when they are done.
    let mut idle = (0, 0);
    while idle != held() {
        idle = held();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let begun = Instant::now();
    let mut memory = Vec::new();
    let (mut rounds, mut warm) = (0, 0);
    while match minutes {
        Some(minutes) => begun.elapsed() < Duration::from_secs(60 * minutes),
        None => rounds < ROUNDS,
    } {
        let over = round(&host, &guest, &mut incoming).await;
        rounds += 1;
        settles(idle, rounds).await;
        for call in over {
            assert!(host.find(call.id()).await.is_none(), "round {rounds}: a call that is over is kept");
        }
        memory.push(resident_bytes() as f64);
        if begun.elapsed() < WARM {
            warm = memory.len();
        }
    }
    if minutes.is_some() {
        assert!(memory.len() > 2 * warm, "{rounds} rounds are too few: memory takes 4 minutes at least");
        let least = |part: &[f64]| part.iter().copied().fold(f64::INFINITY, f64::min);
        let measured = &memory[warm..];
        let half = measured.len() / 2;
        let left = (least(&measured[half..]) - least(&measured[..half])) / (half * CALLS) as f64;
        println!("{rounds} rounds, {:.0} calls, {left:.0} octets a call left", rounds as f64 * 11.0);
        assert!(left < LEFT, "{left:.0} octets a call are left: {memory:?}");
    }
}
