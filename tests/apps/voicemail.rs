//! Voicemail: the recorded message is the one that is played.

mod trouble;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use b2b::client::{CallState, Codec, EndCause, SipClient, Sound};

use crate::apps::parties::{Party, RATE_HZ, client, server, within};
use crate::common::child::PATIENCE;
use crate::server_support;

pub const CONFIG: &str = "[[mailbox]]\nname = \"1001\"\npin = \"4711\"\nmax_message_s = 60\n\
    [[route]]\nname = \"leave\"\ncalled = \"leave\"\napp = \"voicemail/1001\"\n\
    [[route]]\nname = \"hear\"\ncalled = \"hear\"\napp = \"voicemail\"\n";
/// The beep, and the prompt that unknown callers hear first.
pub const BEEP: f64 = 1_000.0;
pub const ASKED: f64 = 550.0;

fn messages(folder: &Path, age: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder.join("voicemail/1001").join(age)).into_iter().flatten().flatten();
    found.map(|entry| entry.path()).collect()
}

/// Waits until there are this many messages of this age.
async fn has(folder: &Path, age: &str, count: usize) -> Vec<PathBuf> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = messages(folder, age);
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < until, "{count} {age} messages wanted: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Two seconds of unmistakable audio: a tone that rises from 300 Hz by 600 Hz a second.
fn speech() -> Vec<i16> {
    let sample = |n: usize| {
        let t = n as f64 / f64::from(RATE_HZ);
        (9_000.0 * (std::f64::consts::TAU * (300.0 * t + 300.0 * t * t)).sin()) as i16
    };
    (0..2 * RATE_HZ as usize).map(sample).collect()
}

fn wav(path: &Path, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec).expect("a WAV");
    samples.iter().for_each(|sample| file.write_sample(*sample).expect("written"));
    file.finalize().expect("written");
}

/// Highest similarity, 0 to 1, of the middle fifth of a second of `wanted` to any part of `heard`.
fn likeness(wanted: &[i16], heard: &[i16]) -> f64 {
    let wanted = &wanted[wanted.len() / 2..][..RATE_HZ as usize / 5];
    let energy = |of: &[i16]| of.iter().map(|it| f64::from(*it).powi(2)).sum::<f64>();
    let (mine, mut theirs) = (energy(wanted), energy(&heard[..wanted.len()]));
    let mut best = 0.0_f64;
    for (n, place) in heard.windows(wanted.len()).enumerate() {
        // A much softer part is not a match.
        if theirs > mine / 4.0 {
            let both: i64 = wanted.iter().zip(place).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
            best = best.max((both as f64).abs() / (mine * theirs).sqrt());
        }
        let next = heard.get(n + wanted.len()).copied().unwrap_or(0);
        theirs += f64::from(next).powi(2) - f64::from(place[0]).powi(2);
    }
    best
}

/// Calls, and waits for this tone of the server.
pub async fn until_tone(name: &str, number: &str, at: std::net::SocketAddr, hz: f64) -> Party {
    let client = client(name, Codec::Pcma);
    let call = client.call(format!("sip:{number}@{at}")).await.expect("a call");
    within("an answer", call.wait_for_answer()).await.expect("answered");
    let party = Party { _client: client, call };
    party.hears_a_bit_of(hz).await;
    party
}

impl Party {
    /// Waits for 60 ms of a tone.
    async fn hears_a_bit_of(&self, hz: f64) {
        self.hears_after("", hz).await;
    }

    /// Presses keys, and waits for 60 ms of a tone, which may begin while they are pressed.
    async fn hears_after(&self, keys: &str, hz: f64) {
        let mut audio = self.call.audio().expect("sound");
        if !keys.is_empty() {
            self.presses(keys).await;
        }
        let (until, mut heard) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            let Some(frame) = within("sound", audio.incoming.next()).await else {
                panic!("no {hz} Hz after {keys:?}: the call is over, {:?}", self.call.state());
            };
            heard.extend_from_slice(frame.samples());
            if heard.len() >= 480 {
                if b2b::media::dtmf::goertzel(&heard, hz, RATE_HZ) > 1e6 {
                    return;
                }
                heard.drain(..heard.len() - 240);
            }
            assert!(Instant::now() < until, "no {hz} Hz");
        }
    }

    /// All audio that the party hears until the call is over.
    async fn hears_all(&self) -> Vec<i16> {
        let mut audio = self.call.audio().expect("sound");
        let mut heard = Vec::new();
        let all = async {
            while let Some(frame) = audio.incoming.next().await {
                heard.extend_from_slice(frame.samples());
            }
        };
        within("the end of the sound", all).await;
        heard
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_that_is_left_is_the_one_that_is_heard_and_outlives_a_restart() {
    left_and_heard(CONFIG, 16_000, 0.9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_gsm_is_a_tenth_of_the_size_and_heard_as_any() {
    left_and_heard(&format!("[voicemail]\nformat = \"wav49\"\n{CONFIG}"), 1_625, 0.8).await;
}

/// Leaves a message that takes so many octets a second; what is played later is at least as like it as `least`.
async fn left_and_heard(config: &str, octets: u64, least: f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let said = speech();
    wav(&folder.path().join("said.wav"), &said);
    let (running, at) = server(folder.path(), config);
    let ann = until_tone("ann", "leave", at, BEEP).await;
    // Ann's message must begin after the beep.
    tokio::time::sleep(Duration::from_millis(500)).await;
    ann.call.play(Sound::file(folder.path().join("said.wav"))).await.expect("it is said");
    let until = Instant::now() + PATIENCE;
    let coming = folder.path().join("voicemail/1001/tmp");
    let written = || {
        let parts = std::fs::read_dir(&coming).into_iter().flatten().flatten();
        parts.filter_map(|it| it.metadata().ok()).map(|it| it.len()).max().unwrap_or(0)
    };
    while written() < octets * 7 / 2 {
        assert!(Instant::now() < until, "{} octets", written());
        assert!(messages(folder.path(), "new").is_empty(), "it is not complete");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ann.hangs_up().await;
    has(folder.path(), "new", 1).await;
    assert_eq!(written(), 0);
    drop(running);
    let (_server, at) = server(folder.path(), config);
    let bob = until_tone("bob", "hear", at, ASKED).await;
    bob.presses("1001#4711#").await;
    let heard = bob.hears_all().await;
    let like = likeness(&said, &heard);
    assert!(like > least, "{like} in {} samples", heard.len());
    assert_eq!(bob.call.wait_for_end().await, EndCause::RemoteHangup);
    has(folder.path(), "old", 1).await;
    // It is deleted when Bob asks for it.
    let bob = until_tone("bob", "hear", at, ASKED).await;
    bob.presses("1001#4711#").await;
    let until = Instant::now() + PATIENCE;
    while !messages(folder.path(), "old").is_empty() {
        assert!(Instant::now() < until && bob.call.state() == CallState::Answered, "it is there");
        bob.presses("3").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_busy_or_not_there_is_left_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    // At an address of its own: a URI at the server's would name one of its users.
    let desk = SipClient::builder().identity("sip:desk@127.0.0.1").bind("127.0.0.2:0");
    let desk = desk.build().expect("a client");
    let mut calls = desk.incoming().await.expect("calls");
    let at = format!("sip:desk@{}", desk.local().expect("an address"));
    let routes = format!(
        "[[user]]\nname = \"1001\"\npassword = \"a secret of ten\"\n\
         [[route]]\nname = \"desk\"\ncalled = \"desk\"\nto = {at:?}\nunanswered = \"voicemail/1001\"\n\
         [[route]]\nname = \"users\"\ncalled = \"1.*\"\nto = \"user/$0\"\nunanswered = \"voicemail/$0\"\n"
    );
    let (_server, at) = server(folder.path(), &format!("{CONFIG}{routes}"));
    let busy = tokio::spawn(async move {
        let call = within("a call", calls.next()).await.expect("a call");
        call.reject(486).await.expect("refused");
    });
    for (name, number) in [("ann", "desk"), ("cat", "1001")] {
        let caller = until_tone(name, number, at, BEEP).await;
        caller.says(700.0).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        caller.presses("#").await;
        assert_eq!(within("the end", caller.call.wait_for_end()).await, EndCause::RemoteHangup);
    }
    within("refused", busy).await.expect("refused");
    has(folder.path(), "new", 2).await;
}

#[tokio::test]
async fn three_wrong_pins_are_the_end_of_the_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, at) = server(folder.path(), CONFIG);
    let bob = until_tone("bob", "hear", at, ASKED).await;
    let until = Instant::now() + PATIENCE;
    while bob.call.state() == CallState::Answered {
        assert!(Instant::now() < until, "three wrong ones are enough");
        // Digits that Bob presses before the prompt count, too.
        let _ = bob.call.send_digits("1001#47#", None).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(bob.call.wait_for_end().await, EndCause::RemoteHangup);
}

#[tokio::test]
async fn who_hangs_up_in_the_greeting_or_at_the_beep_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, at) = server(folder.path(), CONFIG);
    for hz in [440.0, BEEP] {
        until_tone("ann", "leave", at, hz).await.hangs_up().await;
    }
    // A kept message is played after both.
    let cat = until_tone("cat", "leave", at, BEEP).await;
    cat.says(700.0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cat.presses("#").await;
    assert_eq!(within("the end", cat.call.wait_for_end()).await, EndCause::RemoteHangup);
    has(folder.path(), "new", 1).await;
    has(folder.path(), "tmp", 0).await;
}

#[tokio::test]
async fn where_nothing_can_be_written_the_caller_is_told_and_the_record_says_why() {
    let folder = server_support::configured(CONFIG);
    std::fs::create_dir(folder.path().join("voicemail")).expect("a folder");
    // A file in place of the mailbox's folder: not even root can write there.
    std::fs::write(folder.path().join("voicemail/1001"), "").expect("a file");
    let server = server_support::start(folder);
    // Falling tones follow the beep.
    let ann = until_tone("ann", "leave", server.sip, BEEP).await;
    ann.hears_a_bit_of(330.0).await;
    assert_eq!(within("the end", ann.call.wait_for_end()).await, EndCause::RemoteHangup);
    let (records, until) = (server.folder.path().join("cdr.jsonl"), Instant::now() + PATIENCE);
    loop {
        let text = std::fs::read_to_string(&records).unwrap_or_default();
        if text.contains("voicemail_error") {
            return;
        }
        assert!(Instant::now() < until, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
