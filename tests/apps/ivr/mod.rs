//! Menu trees on the real server: a phone of the client library calls, recognises prompts by correlation, and
//! sends digits by RFC 4733 and by INFO.
//!
//! - `groups`: groups that a menu calls
//! - `operator`: the operator's view: the documented tree, a new configuration
//! - `trouble`: callers that hang up, missing prompts, unresponsive URLs

mod groups;
mod operator;
mod trouble;

use std::path::{Path, PathBuf};
use std::time::Duration;

use b2b::client::{Call, Codec, DtmfMode, SipClient, Sound};
use b2b::media::dtmf::goertzel;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::common::audio::{find, speech_like, write_wav};
use crate::server_support::{Server, server};

/// Generous, because a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: nothing came"))
}

/// Prompts with distinct audio, by name.
pub struct Sounds {
    folder: tempfile::TempDir,
    names: Vec<&'static str>,
    all: Vec<i16>,
}

/// Samples of a prompt: 0.8 s.
const LENGTH: usize = 6_400;

/// The parts of a prompt, any of which identifies it. A stalled machine spoils one or two of them, and the
/// beginning may be missed before the jitter buffer has started.
const PARTS: [std::ops::Range<usize>; 3] = [600..2_600, 2_200..4_200, 3_800..5_800];

/// Minimum correlation of a part with its own playout; with any other prompt it is 0.95 at most.
const ALIKE: f64 = 0.97;

impl Sounds {
    pub fn new(names: &[&'static str]) -> Self {
        let sounds = Sounds {
            folder: tempfile::tempdir().expect("a folder"),
            names: names.to_vec(),
            all: speech_like(8_000, names.len() as f64 * 0.8 + 0.1),
        };
        std::fs::create_dir(sounds.folder.path().join("digits")).expect("a folder");
        for name in names {
            write_wav(&sounds.path(name), 8_000, sounds.of(name));
        }
        sounds
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.wav"))
    }

    fn of(&self, name: &str) -> &[i16] {
        let place = self.names.iter().position(|it| *it == name).expect("a prompt");
        &self.all[place * LENGTH..][..LENGTH]
    }

    /// The `[prompts]` table for the configuration.
    pub fn table(&self) -> String {
        format!("[prompts]\nfolder = {:?}\n", self.folder.path())
    }
}

/// The audio that a caller hears.
pub struct Ear<'a> {
    sounds: &'a Sounds,
    /// Collected by a separate task, so that none is lost while a search runs.
    pub frames: mpsc::UnboundedReceiver<Vec<i16>>,
    heard: Vec<i16>,
    /// Everything before this position has been searched.
    from: usize,
}

impl Ear<'_> {
    /// Listens until it has heard this prompt; returns the time of its beginning, s.
    pub async fn hears(&mut self, name: &str) -> f64 {
        self.hears_any(&[name]).await.1
    }

    /// Listens for these prompts; returns the first one heard.
    async fn hears_one_of<'a>(&mut self, names: &[&'a str]) -> &'a str {
        self.hears_any(names).await.0
    }

    async fn hears_any<'a>(&mut self, names: &[&'a str]) -> (&'a str, f64) {
        let search = async {
            loop {
                let end = self.heard.len().saturating_sub(PARTS[0].len());
                if end > self.from {
                    for (name, part) in names.iter().flat_map(|name| PARTS.map(|part| (name, part))) {
                        let (likeness, at) =
                            find(&self.sounds.of(name)[part.clone()], &self.heard, self.from..end);
                        if likeness > ALIKE {
                            // The rest of the prompt counts as heard, too.
                            self.from = at + LENGTH - part.start;
                            return (*name, (at as f64 - part.start as f64) / 8_000.0);
                        }
                    }
                    self.from = end;
                }
                let wanted = self.heard.len() + 1_600;
                while self.heard.len() < wanted {
                    let frame = self.frames.recv().await.expect("the call is up");
                    self.heard.extend_from_slice(&frame);
                }
            }
        };
        within(&names.join(" or "), search).await
    }
}

fn phone(name: &str) -> SipClient {
    phone_at(name, "127.0.0.1:0")
}

/// A client at `address`. A phone that the server shall call needs an address other than the server's, whose
/// URIs name its users.
pub fn phone_at(name: &str, address: &str) -> SipClient {
    let builder = SipClient::builder().identity(format!("sip:{name}@127.0.0.1")).bind(address).jitter_ms(400);
    builder.rate_hz(8_000).codecs([Codec::Pcma]).build().expect("a client")
}

/// Calls a number at the server, and waits for the answer.
pub async fn calls<'a>(
    client: &SipClient,
    server: &Server,
    number: &str,
    sounds: &'a Sounds,
) -> (Call, Ear<'a>) {
    let call = client.call(format!("sip:{number}@{}", server.sip)).await.expect("a call");
    let frames = frames(&call);
    within("an answer", call.wait_for_answer()).await.expect("answered");
    (call, Ear { sounds, frames, heard: Vec::new(), from: 0 })
}

/// The audio of a call from now on.
pub fn frames(call: &Call) -> mpsc::UnboundedReceiver<Vec<i16>> {
    let (keep, frames) = mpsc::unbounded_channel();
    let mut audio = call.audio().expect("sound");
    tokio::spawn(async move {
        while let Some(frame) = audio.incoming.next().await {
            if keep.send(frame.to_vec()).is_err() {
                return;
            }
        }
    });
    frames
}

/// The server's only call.
pub fn only_call(server: &Server) -> Value {
    let calls = server.get("/calls").json();
    assert_eq!(calls["total"], 1, "{calls}");
    calls["calls"][0].clone()
}

/// Waits until the server has no calls.
pub async fn is_empty(server: &Server) {
    let empty = async {
        while server.get("/calls").json()["total"] != 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the end of all calls", empty).await;
}

pub fn records(server: &Server, wanted: usize) -> Vec<Value> {
    let path = server.folder.path().join("cdr.jsonl");
    let lines = |path: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    crate::server_support::until("the records", || Some(lines(&path)).filter(|it| it.len() >= wanted))
}

const MENU: &str = r#"
[[route]]
called = "main"
app = "ivr/main"

[[ivr]]
name = "main"
[[ivr.node]]
name = "hello"
kind = "play_prompt"
prompt = ["hello.wav"]
next = "menu"
[[ivr.node]]
name = "menu"
kind = "menu"
prompt = "menu.wav"
choices = { 1 = "pin", 2 = "bob", "*" = "menu" }
first_s = 20
invalid_prompt = "wrong.wav"
[[ivr.node]]
name = "pin"
kind = "collect_input"
prompt = "pin.wav"
variable = "pin"
min = 3
max = 6
next = "said"
[[ivr.node]]
name = "said"
kind = "play_prompt"
prompt = ["said.wav", "digits:${pin}"]
"#;

fn main_menu(sounds: &Sounds, bob: &str) -> Server {
    let bob = format!("[[ivr.node]]\nname = \"bob\"\nkind = \"transfer\"\nto = {bob:?}\nfailed = \"said\"\n");
    server(&format!("{}{MENU}{bob}", sounds.table()))
}

const NAMES: [&str; 15] = [
    "hello", "menu", "wrong", "pin", "said", "digits/0", "digits/1", "digits/2", "digits/3", "digits/4",
    "digits/5", "digits/6", "digits/7", "digits/8", "digits/9",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_hears_the_prompts_and_presses_digits_by_rfc_4733_and_by_info() {
    for mode in [DtmfMode::Rfc4733, DtmfMode::Info] {
        let sounds = Sounds::new(&NAMES);
        let server = main_menu(&sounds, "sip:nobody@127.0.0.1:9");
        let ann = phone("ann");
        let (call, mut ear) = calls(&ann, &server, "main", &sounds).await;
        let hello = ear.hears("hello").await;
        let menu = ear.hears("menu").await;
        assert!(
            (0.7..1.5).contains(&(menu - hello)),
            "one behind the other between them: {hello} and {menu}"
        );
        let seen = only_call(&server);
        assert_eq!(
            (seen["state"].as_str(), seen["application"].as_str()),
            (Some("in_ivr"), Some("ivr/main"))
        );
        call.send_digits("9", mode).await.expect("a digit");
        ear.hears("wrong").await;
        ear.hears("menu").await;
        call.send_digits("1", mode).await.expect("a digit");
        ear.hears("pin").await;
        call.send_digits("274#", mode).await.expect("digits");
        for word in ["said", "digits/2", "digits/7", "digits/4"] {
            ear.hears(word).await;
        }
        within("the end", call.wait_for_end()).await;
        is_empty(&server).await;
        let record = records(&server, 1).remove(0);
        assert_eq!(
            (record["variables"]["pin"].as_str(), record["variables"]["ivr"].as_str()),
            (Some("274"), Some("main"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_digit_ends_the_prompt() {
    let sounds = Sounds::new(&NAMES);
    // A menu as long as forty prompts.
    let long: Vec<i16> = sounds.of("menu").repeat(40);
    write_wav(&sounds.path("menu"), 8_000, &long);
    let server = main_menu(&sounds, "sip:nobody@127.0.0.1:9");
    let ann = phone("ann");
    let (call, mut ear) = calls(&ann, &server, "main", &sounds).await;
    let menu = ear.hears("menu").await;
    call.send_digits("1", None).await.expect("a digit");
    let pin = ear.hears("pin").await;
    assert!(pin - menu < 25.0, "the prompt of 32 s went on: {menu} and {pin}");
    within("hung up", call.hangup()).await.expect("hung up");
    is_empty(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_joins_the_caller_with_who_answers() {
    let sounds = Sounds::new(&NAMES);
    let bob = phone_at("bob", "127.0.0.2:0");
    bob.start().await.expect("a client");
    let server = main_menu(&sounds, &bob.uri().expect("started"));
    let mut incoming = bob.incoming().await.expect("calls");
    let ann = phone("ann");
    let (call, mut ear) = calls(&ann, &server, "main", &sounds).await;
    ear.hears("menu").await;
    call.send_digits("2", None).await.expect("a digit");
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    assert!(ringing.from().starts_with("sip:ann@"), "the callee sees the caller: {}", ringing.from());
    // Meanwhile ringback is heard: 425 Hz.
    tone(&mut ear.frames, 425.0).await;
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    at_bob.play(Sound::tone(900.0, 30_000)).await.expect("playing");
    call.play(Sound::tone(600.0, 30_000)).await.expect("playing");
    tone(&mut ear.frames, 900.0).await;
    tone(&mut frames(&at_bob), 600.0).await;
    let seen = only_call(&server);
    assert_eq!((seen["state"].as_str(), seen["application"].is_null()), (Some("bridged"), true));
    within("hung up", at_bob.hangup()).await.expect("hung up");
    within("the end", call.wait_for_end()).await;
    is_empty(&server).await;
    assert_eq!(records(&server, 2).len(), 2, "one for each leg");
}

/// Listens until the tone lasts a fifth of a second.
pub async fn tone(frames: &mut mpsc::UnboundedReceiver<Vec<i16>>, hz: f64) {
    let search = async {
        let mut heard: Vec<i16> = Vec::new();
        loop {
            heard.extend_from_slice(&frames.recv().await.expect("the call is up"));
            if heard.len() >= 1_600 {
                let all = heard.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / 1_600.0;
                if all > 1e4 && goertzel(&heard, hz, 8_000) > all / 2.0 {
                    return;
                }
                heard.clear();
            }
        }
    };
    within("a tone", search).await;
}
