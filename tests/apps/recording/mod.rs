//! Recordings of calls between two phones, on the real server.
//!
//! - `app`: calls to applications
//! - `disk`: full disks, killed servers, old files
//! - `moved`: recordings across a transfer

mod app;
mod disk;
mod moved;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use b2b::media::codec::g711::alaw_encode;
use b2b::media::dtmf::goertzel;
use b2b::media::file::Decoder;

use crate::server_support::captured::Lab;
use crate::server_support::phone::{CallsOff, Phone};
use crate::server_support::until;

const FOLDER: &str = "[recording]\nfolder = \"rec\"\n";
const ANN: f64 = 440.0;
const BOB: f64 = 700.0;
const CARD: f64 = 1_200.0;

/// A phone that sends tones, and the number of packets so far.
struct Voice<'a> {
    phone: &'a Phone,
    to: SocketAddr,
    hz: f64,
    said: u16,
}

impl<'a> Voice<'a> {
    fn new(phone: &'a Phone, to: SocketAddr, hz: f64) -> Self {
        Voice { phone, to, hz, said: 0 }
    }

    /// Sends 20 ms of its tone, or of silence.
    fn say(&mut self, tone: bool) {
        let payload = std::array::from_fn(|n| {
            let t = (f64::from(self.said) * 160.0 + n as f64) / 8_000.0;
            let sample = 8_000.0 * (std::f64::consts::TAU * self.hz * t).sin();
            alaw_encode(if tone { sample as i16 } else { 0 })
        });
        self.phone.sound(self.to, self.said, &payload);
        self.said += 1;
    }
}

/// All phones send bursts of 200 ms, 200 ms apart, for this many packets, simultaneously.
fn talk(voices: &mut [Voice<'_>], packets: u32) {
    let start = Instant::now();
    for n in 0..packets {
        voices.iter_mut().for_each(|voice| voice.say(n % 20 < 10));
        let next = start + Duration::from_millis(20) * (n + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Left and right channels of a file.
fn channels(path: &Path) -> [Vec<i16>; 2] {
    let mut reader = hound::WavReader::open(path).expect("a WAV");
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 8_000));
    let all: Vec<i16> = reader.samples::<i16>().map(|sample| sample.expect("a sample")).collect();
    [0, 1].map(|n| all.iter().skip(n).step_by(2).copied().collect())
}

/// Number of 20 ms intervals with the tone.
fn with_tone(samples: &[i16], hz: f64) -> usize {
    let loud = |stretch: &&[i16]| goertzel(stretch, hz, 8_000) > 1e6;
    samples.chunks_exact(160).filter(loud).count()
}

/// Positions of burst starts, in samples.
fn bursts(samples: &[i16]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut quiet = 800;
    for (n, sample) in samples.iter().enumerate() {
        if sample.unsigned_abs() < 1_000 {
            quiet += 1;
        } else {
            if quiet >= 800 {
                found.push(n);
            }
            quiet = 0;
        }
    }
    found
}

/// All recordings, complete or in progress.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false if path.to_string_lossy().contains(".wav") => files.push(path),
            false => {}
        }
    }
    files
}

fn recording(lab: &Lab) -> Value {
    lab.server.get(&lab.path).json()["now"]["recording"].clone()
}

fn runs(lab: &Lab) {
    until("the recording", || recording(lab)["file"].as_str().map(drop));
}

fn ask(lab: &Lab, method: &str, body: &str) -> crate::server_support::Answer {
    let path = format!("{}/recording", lab.path);
    lab.server.ask_with(method, &path, "Content-Type: application/json\r\n", body)
}

/// The CDRs of the call's legs.
fn records(lab: &Lab, count: usize) -> Vec<Value> {
    let text = until("the records", || {
        let text = std::fs::read_to_string(lab.server.folder.path().join("cdr.jsonl")).unwrap_or_default();
        (text.lines().count() >= count).then_some(text)
    });
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_route_records_its_calls_in_stereo_aligned_across_hold() {
    let lab = Lab::with(FOLDER, "record = true\n");
    runs(&lab);
    let mut voices = [Voice::new(&lab.ann, lab.for_ann, ANN), Voice::new(&lab.bob, lab.for_bob, BOB)];
    talk(&mut voices, 75);
    // Ann holds Bob for a while; both are silent.
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        scope.spawn(|| lab.bob.agree(&over));
        lab.ann.change(&lab.dialog, 2, "sendonly");
        std::thread::sleep(Duration::from_secs(1));
        lab.ann.change(&lab.dialog, 3, "sendrecv");
    });
    talk(&mut voices, 75);
    let shown = recording(&lab);
    let path = PathBuf::from(shown["file"].as_str().expect("a file"));
    assert_eq!((&shown["paused"], path.exists()), (&json!(false), false), "it is not complete");
    lab.end();
    until("the file", || path.exists().then_some(()));
    let [left, right] = channels(&path);
    assert_eq!(left.len(), right.len());
    assert!(with_tone(&left, ANN) > 60 && with_tone(&left, BOB) == 0, "{}", with_tone(&left, ANN));
    assert!(with_tone(&right, BOB) > 60 && with_tone(&right, ANN) == 0, "{}", with_tone(&right, BOB));
    let (said, heard) = (bursts(&left), bursts(&right));
    assert_eq!((said.len(), heard.len()), (8, 8), "{said:?} {heard:?}");
    for (said, heard) in said.iter().zip(&heard) {
        assert!(said.abs_diff(*heard) <= 160, "20 ms at most: {said} {heard}");
    }
    assert!(said[4] - said[3] > 8_000, "hold is a second of silence: {said:?}");
    let all = records(&lab, 2);
    for record in &all {
        assert_eq!(record["variables"]["recording"], json!(path.to_string_lossy()), "{record}");
    }
    let words = lab.server.get(&format!("{}?format=text", lab.path)).text();
    assert!(words.contains("recording begins") && words.contains("recording ends"), "{words}");
}

#[test]
fn a_recording_in_opus_is_listed_served_as_ogg_and_has_both_voices() {
    let lab = Lab::with("[recording]\nfolder = \"rec\"\nformat = \"opus\"\n", "record = true\n");
    runs(&lab);
    let mut voices = [Voice::new(&lab.ann, lab.for_ann, ANN), Voice::new(&lab.bob, lab.for_bob, BOB)];
    talk(&mut voices, 75);
    lab.end();
    let listed = until("the recording", || {
        let listed = lab.server.get("/recordings").json();
        (listed["total"] == 1).then(|| listed["recordings"][0].clone())
    });
    let file = listed["file"].as_str().expect("a name");
    assert!(file.ends_with(".opus"), "{file}");
    let served = lab.server.get(&format!("/recordings/{file}"));
    assert_eq!(served.field("content-type"), Some("audio/ogg"));
    assert!(served.body.starts_with(b"OggS") && served.body.len() > 2_000, "{}", served.body.len());
    // The decoder mixes both channels.
    let path = lab.server.folder.path().join("rec").join(file);
    let mut decoder = Decoder::open(&path).expect("it plays");
    let mut samples = Vec::new();
    while decoder.advance().expect("it plays") {
        samples.extend(decoder.samples().iter().map(|sample| (sample * 32_768.0) as i16));
    }
    let narrow: Vec<i16> = samples.iter().step_by(6).copied().collect();
    assert!((10_000..20_000).contains(&narrow.len()), "{}", narrow.len());
    assert!(with_tone(&narrow, ANN) > 20 && with_tone(&narrow, BOB) > 20, "{}", with_tone(&narrow, ANN));
}

#[test]
fn on_demand_over_http_with_a_pause_that_leaves_the_card_number_out() {
    let lab = Lab::with(FOLDER, "");
    assert_eq!(recording(&lab), Value::Null);
    assert_eq!(ask(&lab, "DELETE", "").status, 409, "it is not recorded");
    assert_eq!(ask(&lab, "PATCH", "{\"paused\": true}").status, 409);
    assert_eq!(ask(&lab, "POST", "").status, 202);
    runs(&lab);
    assert_eq!(ask(&lab, "POST", "").status, 409, "it is recorded already");
    let mut voices = [Voice::new(&lab.ann, lab.for_ann, ANN), Voice::new(&lab.bob, lab.for_bob, BOB)];
    talk(&mut voices, 40);
    assert_eq!(ask(&lab, "PATCH", "{\"paused\": true}").status, 204);
    assert_eq!(recording(&lab)["paused"], true);
    voices[0].hz = CARD;
    talk(&mut voices[..1], 100);
    voices[0].hz = ANN;
    assert_eq!(ask(&lab, "PATCH", "{\"paused\": false}").status, 204);
    talk(&mut voices, 40);
    let over = ask(&lab, "DELETE", "");
    assert_eq!(over.status, 200);
    let over = over.json();
    assert_eq!(over["error"], Value::Null);
    let path = PathBuf::from(over["file"].as_str().expect("a file"));
    let [left, right] = channels(&path);
    assert_eq!(with_tone(&left, CARD), 0, "nothing of the card is in it");
    assert!(with_tone(&left, ANN) > 30 && with_tone(&right, BOB) > 30);
    let seconds = over["seconds"].as_f64().expect("a number");
    assert!((seconds - left.len() as f64 / 8_000.0).abs() < 0.01);
    // No gap: bursts before and after the pause are as close as they would be without it.
    let said = bursts(&left);
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(recording(&lab), Value::Null);
    // A second recording makes another file.
    assert_eq!(ask(&lab, "POST", "").status, 202);
    runs(&lab);
    lab.end();
    until("a second file", || (files(&lab.server.folder.path().join("rec")).len() == 2).then_some(()));
    let all = records(&lab, 2);
    let named = all[0]["variables"]["recording"].as_str().expect("files").to_owned();
    assert_eq!(named.split(' ').count(), 2, "{named}");
}

#[test]
fn a_party_begins_and_ends_a_recording_by_a_code() {
    let lab = Lab::with(FOLDER, "");
    let press = |from: u32, code: &str| {
        for (cseq, key) in (from..).zip(code.chars()) {
            lab.ann.press(&lab.dialog, cseq, key);
        }
    };
    press(2, "7*1");
    runs(&lab);
    press(5, "*2");
    until("the pause", || (recording(&lab)["paused"] == true).then_some(()));
    press(7, "*2");
    until("its end", || (recording(&lab)["paused"] == false).then_some(()));
    press(9, "*1");
    until("the end", || recording(&lab).is_null().then_some(()));
    until("the file", || {
        let files = files(&lab.server.folder.path().join("rec"));
        files.first().filter(|path| path.extension().is_some_and(|end| end == "wav")).map(drop)
    });
}
