//! The phone: controlled by a script, and on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::common::audio;
use crate::common::child::{B2b, PATIENCE, b2b};
use nix::pty::{Winsize, openpty};
use serde_json::{Value, json};

const PHONE: [&str; 2] = ["--role", "phone"];

fn phone(args: &[&str]) -> B2b {
    b2b(&[&PHONE, args].concat())
}

/// A phone that answers, and its URI.
fn answering(args: &[&str]) -> (B2b, String) {
    let mut phone = phone(&[&["--identity", "sip:bob@127.0.0.1", "--answer", "1", "--json"], args].concat());
    let ready: Value = serde_json::from_str(&phone.wait_for_line("\"ready\"")).expect("JSON");
    (phone, ready["uri"].as_str().expect("a URI").to_owned())
}

/// The lines of an event, as JSON.
fn events(phone: &B2b, name: &str) -> Vec<Value> {
    let lines = phone.stdout();
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("every line is JSON"));
    lines.filter(|line| line["event"] == name).collect()
}

#[test]
fn a_script_calls_sends_digits_and_both_sides_say_how_it_went() {
    let (mut bob, uri) = answering(&[]);
    let identity = ["--identity", "sip:alice@127.0.0.1"];
    let mut alice =
        phone(&[&identity[..], &["--call", &uri, "--dtmf", "12#", "--hangup-after", "2", "--json"]].concat());
    alice.assert_exit(0);
    bob.assert_exit(0);
    let digits: Vec<_> = events(&bob, "digit").iter().map(|line| line["digit"].clone()).collect();
    assert_eq!(digits, ["1", "2", "#"]);
    for (phone, cause) in [(&alice, "we hung up"), (&bob, "the far end hung up")] {
        let [summary] = &events(phone, "summary")[..] else { panic!("{}", phone.output()) };
        assert_eq!((&summary["exit"], &summary["answered"]), (&Value::from(0), &Value::from(true)));
        assert_eq!(summary["cause"], cause);
        let quality = &summary["quality"];
        assert_eq!(quality["codec"], "opus");
        assert!(quality["received"].as_u64() > Some(20), "{quality}");
        assert!(summary["setup_ms"].as_f64() > Some(0.0));
    }
}

#[test]
fn a_summary_says_how_loud_the_far_end_was_though_its_end_is_silent() {
    let (mut bob, uri) = answering(&[]);
    let steps = format!("dial {uri}; say 600 Hz; wait 1; hang up");
    let mut alice = phone(&["--identity", "sip:alice@127.0.0.1", "--steps", &steps, "--json"]);
    alice.assert_exit(0);
    bob.assert_exit(0);
    for (phone, name) in [(&bob, "heard_dbfs"), (&alice, "sent_dbfs")] {
        let [summary] = &events(phone, "summary")[..] else { panic!("{}", phone.output()) };
        let level = summary["quality"][name].as_f64();
        assert!(level.is_some_and(|level| (-20.0..0.0).contains(&level)), "{name}: {summary}");
    }
}

#[test]
fn a_phone_on_hold_is_not_heard_until_it_resumes() {
    let heard =
        "answer; say 1500 Hz; hears 600 Hz; hears not 600 Hz; hears 600 Hz within 20 s; hung up within 30 s";
    let mut bob = phone(&["--identity", "sip:bob@127.0.0.1", "--steps", heard, "--json"]);
    let ready: Value = serde_json::from_str(&bob.wait_for_line("\"ready\"")).expect("JSON");
    let uri = ready["uri"].as_str().expect("a URI");
    let steps = format!("dial {uri}; say 600 Hz; hears 1500 Hz; hold; wait 8; resume; wait 3; hang up");
    let mut alice = phone(&["--identity", "sip:alice@127.0.0.1", "--steps", &steps, "--json"]);
    alice.assert_exit(0);
    bob.assert_exit(0);
}

#[test]
fn a_phone_of_steps_plays_files_falls_silent_and_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let [said, heard] = ["said.wav", "heard.wav"].map(|name| folder.path().join(name).display().to_string());
    let tone: Vec<i16> = (0..40_000).map(|n| (8_000.0 * (f64::from(n) * 0.345_575).sin()) as i16).collect();
    audio::write_wav(Path::new(&said), 8_000, &tone);
    let steps = format!(
        "answer; record {heard}; hears 600 Hz; say 1500 Hz; hears not 600 Hz; say nothing; hears 440 Hz; hung up"
    );
    let mut bob = phone(&["--identity", "sip:bob@127.0.0.1", "--steps", &steps, "--json"]);
    let ready: Value = serde_json::from_str(&bob.wait_for_line("\"ready\"")).expect("JSON");
    let uri = ready["uri"].as_str().expect("a URI");
    let steps = format!(
        "dial {uri}; say 600 Hz; hears 1500 Hz; say nothing; hears not 1500 Hz; play {said}; wait 5; hang up"
    );
    let mut alice = phone(&["--identity", "sip:alice@127.0.0.1", "--steps", &steps, "--json"]);
    alice.assert_exit(0);
    bob.assert_exit(0);
    let recorded = hound::WavReader::open(&heard).expect("a recording").into_samples::<i16>();
    let right: Vec<i16> = recorded.skip(1).step_by(2).map(|sample| sample.expect("a sample")).collect();
    assert!(right.iter().any(|sample| *sample > 3_000), "{} samples", right.len());
}

#[test]
fn steps_join_who_is_held_and_who_is_consulted() {
    let [(mut bob, held), (mut carol, asked)] = [answering(&[]), answering(&[])];
    let steps = format!("dial {held}; consult {asked}; cue asked; hand over within 10 s");
    let mut alice = phone(&["--identity", "sip:alice@127.0.0.1", "--steps", &steps, "--json"]);
    alice.assert_exit(0);
    bob.wait_for_line("\"transfer_requested\"");
    carol.wait_for_line("\"replaced\"");
    let summaries = events(&alice, "summary");
    assert_eq!(summaries.len(), 2, "{}", alice.output());
    assert!(summaries.iter().all(|it| it["exit"] == 0 && it["answered"] == true), "{}", alice.output());
}

#[test]
fn what_goes_wrong_has_its_exit_code_and_says_what_to_do() {
    let closed = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("an address");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let silent_uri = format!("sip:x@{}", silent.local_addr().expect("an address"));
    let closed_uri = format!("sip:x@{closed}");
    let identity = ["--identity", "sip:alice@127.0.0.1"];
    let cases = [
        (vec!["--call", &closed_uri], 65, "check the address"),
        (vec!["--call", &silent_uri, "--wait", "0.5"], 67, "raise --wait for more time"),
        (vec!["--answer", "1", "--wait", "0.5"], 67, "no inbound call within"),
        (vec!["--call", "sip:x@0.0.0.0"], 64, "wildcard"),
        (vec!["--call", &closed_uri, "--ptime"], 64, "--help"),
    ];
    for (args, code, text) in cases {
        let mut phone = phone(&[&identity[..], &args].concat());
        phone.assert_exit(code);
        assert!(phone.output().contains(text), "{args:?}: {}", phone.output());
    }
}

#[test]
fn where_the_registrar_does_not_take_it_the_last_line_is_a_summary_too() {
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let at = nobody.local_addr().expect("an address");
    let refuse = std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        let (length, from) = nobody.recv_from(&mut buffer).expect("a REGISTER");
        let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let kept = asked.lines().filter(|line| {
            ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|name| line.starts_with(&format!("{name}:")))
        });
        let fields: String = kept.map(|line| format!("{line}\r\n")).collect();
        let answer = format!("SIP/2.0 403 Forbidden\r\n{fields}Content-Length: 0\r\n\r\n");
        nobody.send_to(answer.as_bytes(), from).expect("sent");
    });
    let identity = format!("sip:1001@{at}");
    let mut phone = phone(&[
        "--identity",
        &identity,
        "--registrar",
        &format!("sip:{at}"),
        "--json",
        "--steps",
        "dial 1002",
    ]);
    refuse.join().expect("a REGISTER came");
    phone.wait();
    let last = events(&phone, "summary").pop().expect("a summary");
    assert_eq!(
        (&last["answered"], last["exit"].as_u64().is_some_and(|exit| exit > 0)),
        (&false.into(), true),
        "{last}"
    );
}

#[test]
fn each_step_is_a_test_case_of_the_junit_file_and_so_is_a_registration_that_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("junit.xml").to_str().expect("UTF-8").to_owned();
    let (mut bob, uri) = answering(&[]);
    let steps = format!("dial {uri}; hears 600 Hz within 0.5 s; press 1; hang up");
    let account = ["--identity", "sip:alice@127.0.0.1", "--junit", &file];
    let mut alice = phone(&[&account[..], &["--steps", &steps, "--json"]].concat());
    alice.assert_exit(1);
    let heard = events(&alice, "step").into_iter().find(|it| it["n"] == 2).expect("the second step");
    assert_eq!((&heard["wanted_hz"], &heard["heard_hz"]), (&json!([600.0]), &json!([])), "{heard}");
    bob.wait();
    let xml = std::fs::read_to_string(&file).expect("a file");
    for part in [
        "<testsuite name=\"b2b phone\" tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"2\"",
        &format!("<testcase name=\"1 dial {uri}\" classname=\"b2b.phone\" time=\""),
        "<testcase name=\"2 hears 600 Hz within 0.5 s\" classname=\"b2b.phone\" time=\"",
        "<failure message=\"",
        "<testcase name=\"4 hang up\" classname=\"b2b.phone\" time=\"0.000\">\n      <skipped message=\"an earlier step has failed\"/>",
    ] {
        assert!(xml.contains(part), "{part}\n{xml}");
    }
    // Nobody answers the REGISTER.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let registrar = format!("sip:{}", silent.local_addr().expect("an address"));
    let more = ["--registrar", &registrar, "--wait", "0.3", "--steps", "dial 1002"];
    phone(&[&account[..], &more].concat()).assert_exit(65);
    let xml = std::fs::read_to_string(&file).expect("a file");
    assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{xml}");
    assert!(xml.contains("<error message=\"not registered within 0.3 s: "), "{xml}");
}

/// The two channels of a stereo WAV.
fn channels(path: &Path) -> [Vec<i16>; 2] {
    let reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 16_000));
    let samples: Vec<i16> = reader.into_samples().map(|sample| sample.expect("a sample")).collect();
    [0, 1].map(|side| samples.iter().skip(side).step_by(2).copied().collect())
}

/// A quarter of the samples, which is enough to recognise a voice and takes a sixteenth of the time.
fn coarse(samples: &[i16]) -> Vec<i16> {
    samples.chunks(4).map(|four| (four.iter().map(|&s| i32::from(s)).sum::<i32>() / 4) as i16).collect()
}

#[test]
fn steps_begin_when_a_registrar_comes_up_that_was_not_there_and_end_with_65_without_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    std::fs::write(file("password"), "one\n").expect("a file");
    // A port without a listener: the socket is closed again.
    let at = UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let identity = format!("sip:1001@{at}");
    let password = file("password");
    let account = ["--identity", &identity, "--password-file", &password, "--json", "--steps", "wait 0.1"];
    let mut without = phone(&[&account[..], &["--wait", "1"]].concat());
    without.assert_exit(65);
    let [summary] = &events(&without, "summary")[..] else { panic!("{}", without.output()) };
    assert!(summary["exit"] == 65 && summary["cause"].to_string().contains("--wait"), "{summary}");

    let mut early = phone(&account);
    early.wait_for_line("\"failed\"");
    let config = format!(
        "[server]\nlisten = [\"udp:{at}\"]\nstore = \"memory\"\n[http]\nlisten = \"off\"\n\
         [[user]]\nname = \"1001\"\npassword = \"one\"\n[[route]]\nto = \"user/$0\"\n"
    );
    std::fs::write(file("b2b.toml"), config).expect("a file");
    let mut server = b2b(&["--role", "b2bua", "--config", &file("b2b.toml")]);
    server.ready();
    early.assert_exit(0);
    let states: Vec<_> = events(&early, "registration").iter().map(|it| it["state"].clone()).collect();
    assert!(states.contains(&"failed".into()) && states.contains(&"registered".into()), "{states:?}");
}

#[test]
fn phones_register_with_passwords_and_record_what_the_other_one_plays() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let config = "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\n[http]\nlisten = \"off\"\n\
                  [[user]]\nname = \"1001\"\npassword = \"one\"\n[[user]]\nname = \"1002\"\npassword = \"two\"\n\
                  [[route]]\nto = \"user/$0\"\n";
    for (name, text) in [("b2b.toml", config), ("one", "one\n"), ("two", "two\n"), ("wrong", "no\n")] {
        std::fs::write(file(name), text).expect("a file");
    }
    let mut server = b2b(&["--role", "b2bua", "--config", &file("b2b.toml")]);
    let at = server.ready();
    let account = |user: &str, password: &str| {
        [("--identity", format!("sip:{user}@{at}")), ("--password-file", file(password))]
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect::<Vec<_>>()
    };
    let start = |account: Vec<String>, args: &[&str]| {
        let account: Vec<&str> = account.iter().map(String::as_str).collect();
        phone(&[&account, args, &["--json"]].concat())
    };
    let mut refused = start(account("1001", "wrong"), &["--call", "1002"]);
    refused.assert_exit(65);
    assert!(refused.output().contains("password"), "{}", refused.output());

    let hers = audio::speech_like(16_000, 8.0);
    // Another voice of the same length that has nothing in common with the first one.
    let his: Vec<i16> = hers.iter().rev().copied().collect();
    for (name, voice) in [("hers.wav", &hers), ("his.wav", &his)] {
        audio::write_wav(Path::new(&file(name)), 16_000, voice);
    }
    let (his_wav, hers_wav, at_bob, at_alice) =
        (file("his.wav"), file("hers.wav"), file("bob.wav"), file("alice.wav"));
    let bob = ["--answer", "1", "--play", &his_wav, "--record", &at_bob, "--hangup-after", "30"];
    let mut bob = start(account("1002", "two"), &bob);
    bob.wait_for_line("\"registered\"");
    let alice = ["--call", "1002", "--play", &hers_wav, "--record", &at_alice, "--hangup-after", "10"];
    let mut alice = start(account("1001", "one"), &alice);
    alice.assert_exit(0);
    bob.assert_exit(0);
    // Sent audio is left, received audio right.
    for (recording, sent, heard) in [(at_alice, &hers, &his), (at_bob, &his, &hers)] {
        let [left, right] = channels(Path::new(&recording));
        for (side, voice) in [(left, sent), (right, heard)] {
            // A stalled machine spoils some of the fourteen half seconds.
            let (voice, side) = (coarse(&voice[8_000..120_000]), coarse(&side));
            let mut alike = voice.chunks(2_000).map(|needle| audio::find(needle, &side, 0..side.len()).0);
            assert!(alike.any(|likeness| likeness > 0.8), "in {recording}");
        }
    }
    assert_eq!(events(&alice, "recorded").len(), 1, "{}", alice.output());
}

/// A phone on a pseudo-terminal of 100 by 30.
struct Terminal {
    phone: std::process::Child,
    keys: File,
    shown: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn start(args: &[&str], folder: &Path) -> Terminal {
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a pseudo-terminal");
        let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let phone = Command::new(env!("CARGO_BIN_EXE_b2b"))
            .args(PHONE)
            .args(args)
            .current_dir(folder)
            .env("TERM", "xterm-256color")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("the b2b binary starts");
        let shown = Arc::new(Mutex::new(vt100::Parser::new(30, 100, 0)));
        let mut output = File::from(pty.master.try_clone().expect("a descriptor"));
        let screen = shown.clone();
        std::thread::spawn(move || {
            let mut octets = [0; 4_096];
            // Reading fails when the phone ends.
            while let Ok(count @ 1..) = output.read(&mut octets) {
                screen.lock().expect("not poisoned").process(&octets[..count]);
            }
        });
        Terminal { phone, keys: File::from(pty.master), shown }
    }

    fn screen(&self) -> String {
        self.shown.lock().expect("not poisoned").screen().contents()
    }

    /// Waits until the screen shows this.
    fn shows(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "waited for {text:?} on\n{screen}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("written");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.phone.kill();
        let _ = self.phone.wait();
    }
}

#[test]
fn on_a_terminal_somebody_dials_holds_mutes_presses_digits_hangs_up_and_quits() {
    let (mut bob, uri) = answering(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut alice = Terminal::start(&["--identity", "sip:alice@127.0.0.1"], folder.path());
    alice.shows("none; d dials");
    alice.type_in(&format!("d{uri}\r"));
    alice.shows("00:0");
    alice.type_in("5");
    bob.wait_for_line("\"digit\":\"5\"");
    alice.type_in("o");
    alice.shows("on hold");
    bob.wait_for_line("\"held\":true");
    alice.type_in("o");
    bob.wait_for_line("\"held\":false");
    alice.type_in("m");
    alice.shows("muted");
    alice.type_in("r");
    alice.shows("REC");
    alice.type_in("h");
    alice.shows("we hung up");
    bob.assert_exit(0);
    alice.shows("s recorded");
    alice.type_in("q");
    let status = alice.phone.wait().expect("waitable");
    assert_eq!(status.code(), Some(0));
    assert!(
        !alice.shown.lock().expect("not poisoned").screen().alternate_screen(),
        "the terminal is as it was"
    );
}

#[test]
fn on_a_terminal_a_call_rings_and_is_answered_or_refused() {
    let mut bob = Terminal::start(&["--identity", "sip:bob@127.0.0.1"], Path::new("."));
    let screen = bob.shows("calls for sip:bob@127.0.0.1:");
    let uri = screen
        .split_whitespace()
        .find(|word| word.starts_with("sip:bob@127.0.0.1:"))
        .expect("a URI")
        .to_owned();
    for (key, code) in [("h", 65), ("a", 0)] {
        let call = ["--identity", "sip:alice@127.0.0.1", "--call", &uri, "--hangup-after", "1"];
        let mut alice = phone(&call);
        bob.shows("RINGS");
        bob.type_in(key);
        alice.assert_exit(code);
        bob.shows("none; d dials");
    }
    // Ctrl-C is a key there, and ends the phone.
    bob.type_in("\u{3}");
    assert_eq!(bob.phone.wait().expect("waitable").code(), Some(0));
}

#[test]
fn on_a_terminal_two_calls_become_a_conference_and_one_is_sent_to_the_other_party() {
    let (mut bob, bob_uri) = answering(&["--hangup-after", "60"]);
    let (mut carol, carol_uri) = answering(&["--hangup-after", "60"]);
    let mut alice = Terminal::start(&["--identity", "sip:alice@127.0.0.1"], Path::new("."));
    alice.shows("none; d dials");
    for uri in [&bob_uri, &carol_uri] {
        alice.type_in(&format!("d{uri}\r"));
        alice.shows(&format!("{uri}  00:0"));
    }
    alice.type_in("c");
    alice.shows("a conference of 3 with you");
    alice.type_in("q");
    for phone in [&mut bob, &mut carol] {
        phone.assert_exit(0);
    }

    let (mut dora, dora_uri) = answering(&["--hangup-after", "1"]);
    let (mut bob, bob_uri) = answering(&[]);
    let mut alice = Terminal::start(&["--identity", "sip:alice@127.0.0.1"], Path::new("."));
    alice.shows("none; d dials");
    alice.type_in(&format!("d{bob_uri}\r"));
    alice.shows("00:0");
    alice.type_in(&format!("t{dora_uri}\r"));
    alice.shows(&format!("is transferred to {dora_uri}"));
    dora.assert_exit(0);
    bob.assert_exit(0);
    let [summary] = &events(&bob, "summary")[..] else { panic!("{}", bob.output()) };
    assert_eq!(summary["cause"], "the far end hung up", "{}", bob.output());
    assert_eq!(events(&bob, "replaced").len(), 1, "{}", bob.output());
}
