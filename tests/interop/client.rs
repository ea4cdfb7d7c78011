//! The client library and the scripted phone with third-party programs: Debian's baresip in each codec, both
//! ways, over UDP and TLS; hold and transfer verified on the wire; SIPp both ways.
//! `cargo test --test program interop::client:: -- --ignored` needs `baresip` (baresip-core),
//! `sipp` (sip-tester) and `tshark`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::interop::support::baresip::{Baresip, Setup};
use crate::interop::support::wire::{Capture, Sip};
use crate::interop::support::{LIMIT, Running, free_port, sipp};
use b2b::client::{CallState, ClientEvent, Codec, SipClient, Sound, Tls};
use b2b_test_support::tls::Authority;
use serde_json::Value;

/// The parties' audio: ours is theirs backwards, so that neither occurs in the other.
fn voices() -> (Vec<i16>, Vec<i16>) {
    let theirs = crate::common::audio::speech_like(8_000, 20.0);
    (theirs[..6 * 8_000].iter().rev().copied().collect(), theirs)
}

/// baresip with these codecs, parameters of its URI, lines of its configuration, and arguments.
fn baresip(folder: &Path, codecs: &str, uri: &str, config: &str, arguments: &[&str]) -> Baresip {
    Baresip::start(folder, &Setup { codecs, uri, config, ..Setup::saying(&voices().1) }, arguments)
}

/// Ends it; returns the audio it heard, at 8 kHz.
fn heard_by(baresip: Baresip) -> Vec<i16> {
    narrow(&baresip.end().0.expect("baresip records"), 0)
}

/// One channel of a WAV at 8 kHz.
fn narrow(path: &Path, channel: usize) -> Vec<i16> {
    let mut reader = hound::WavReader::open(path).expect("a WAV");
    let (channels, rate) = (usize::from(reader.spec().channels), reader.spec().sample_rate);
    let samples: Vec<i16> = reader.samples().map_while(Result::ok).skip(channel).step_by(channels).collect();
    let many = (rate / 8_000) as usize;
    samples
        .chunks(many)
        .map(|few| (few.iter().map(|&s| i32::from(s)).sum::<i32>() / few.len() as i32) as i16)
        .collect()
}

/// Requires one second of the sent audio in the received audio: only one, since baresip discards audio that
/// arrives while the machine stalls.
fn assert_like(said: &[i16], heard: &[i16], least: f64, what: &str) {
    let mut best = 0.0_f64;
    for second in said.chunks_exact(8_000).skip(1) {
        best = best.max(crate::common::audio::find(second, heard, 0..heard.len()).0);
        if best > least {
            return;
        }
    }
    panic!("{what}: {best} at best in {} samples", heard.len());
}

/// The scripted phone.
fn phone(arguments: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "phone", "--identity", "sip:tester@127.0.0.1", "--json"]).args(arguments);
    Running::start("phone", &mut command)
}

/// Waits for its end; returns its summary.
fn summary(phone: Running) -> Value {
    let ended = phone.wait_ok();
    let last = ended.output.last().expect("a summary");
    serde_json::from_str(last).expect("JSON")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_the_phone_calls_baresip_in_each_codec_and_both_hear_each_other() {
    // Opus keeps the sound, not the waveform.
    let codecs = [
        ("pcmu", "PCMU/8000/1", 0.9),
        ("pcma", "PCMA/8000/1", 0.9),
        ("g722", "G722/16000/1", 0.9),
        ("opus", "opus/48000/2", 0.7),
    ];
    for (ours, theirs, least) in codecs {
        let folder = tempfile::tempdir().expect("dir");
        let baresip = baresip(&folder.path().join("b"), theirs, "", "", &[]);
        let (said, said_there) = voices();
        let [voice, heard] = ["voice.wav", "heard.wav"].map(|name| folder.path().join(name));
        crate::common::audio::write_wav(&voice, 8_000, &said);
        let uri = baresip.uri();
        let call = ["--call", &uri, "--codecs", ours, "--play", path(&voice), "--record", path(&heard)];
        let summary = summary(phone(&[&call[..], &["--hangup-after", "7"]].concat()));
        assert_eq!(
            summary["quality"]["codec"].as_str().map(str::to_lowercase),
            Some(ours.to_owned()),
            "{summary}"
        );
        assert_eq!(summary["quality"]["lost"], 0, "{summary}");
        assert_like(&said_there, &narrow(&heard, 1), least, ours);
        assert_like(&said, &heard_by(baresip), least, ours);
    }
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_calls_the_phone_and_both_hear_each_other() {
    let folder = tempfile::tempdir().expect("dir");
    let (said, said_there) = voices();
    let [voice, heard] = ["voice.wav", "heard.wav"].map(|name| folder.path().join(name));
    crate::common::audio::write_wav(&voice, 8_000, &said);
    let answer = ["--answer", "1", "--play", path(&voice), "--record", path(&heard), "--hangup-after", "7"];
    let mut phone = phone(&answer);
    let ready: Value = serde_json::from_str(&phone.line("\"ready\"")).expect("JSON");
    let dial = format!("/dial {}", ready["uri"].as_str().expect("a URI"));
    let baresip = baresip(&folder.path().join("b"), "PCMA/8000/1", "", "", &["-e", &dial]);
    let summary = summary(phone);
    assert_eq!(summary["quality"]["codec"], "PCMA", "{summary}");
    assert_like(&said_there, &narrow(&heard, 1), 0.9, "heard here");
    assert_like(&said, &heard_by(baresip), 0.9, "heard there");
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("in time") });
}

/// The messages on the wire at this port, in order: requests by method, responses by status.
fn ladder(messages: &[Sip]) -> Vec<String> {
    messages.iter().map(|sip| sip.line().to_owned()).collect()
}

#[test]
#[ignore = "needs baresip and tshark; .ci/run installs them"]
fn interop_hold_resume_and_transfer_of_baresip_are_seen_on_the_wire() {
    let folder = tempfile::tempdir().expect("dir");
    let first = baresip(&folder.path().join("1"), "PCMA/8000/1", "", "", &[]);
    let second = baresip(&folder.path().join("2"), "PCMA/8000/1", "", "", &[]);
    let capture =
        Capture::start(folder.path(), &format!("udp port {} or udp port {}", first.port, second.port));
    on_a_runtime(async {
        let client = SipClient::builder().identity("sip:tester@127.0.0.1").codecs([Codec::Pcma]).build();
        let client = client.expect("a client");
        let call = client.call(first.uri()).await.expect("a call");
        call.wait_for_answer().await.expect("answered");
        call.play(Sound::tone(440.0, 20_000)).await.expect("played");
        tokio::time::sleep(Duration::from_secs(1)).await;
        call.hold().await.expect("held");
        call.resume().await.expect("resumed");
        call.transfer(second.uri()).await.expect("transferred");
        call.wait_for_end().await;
        // The two remaining parties talk.
        tokio::time::sleep(Duration::from_secs(3)).await;
        client.stop(Duration::from_secs(5)).await;
    });
    let wire = capture.end();
    let messages = wire.sip(first.port);
    let lines = ladder(&messages);
    let offers: Vec<&Sip> = messages.iter().filter(|sip| sip.is_request("INVITE")).collect();
    let direction = |sip: &Sip, name: &str| sip.body().contains(&format!("a={name}"));
    assert!(
        offers.len() >= 3 && direction(offers[1], "sendonly") && !direction(offers[2], "sendonly"),
        "{lines:#?}"
    );
    assert!(messages.iter().any(|sip| sip.is_request("REFER")), "{lines:#?}");
    assert!(messages.iter().any(|sip| sip.is_response(202, "REFER")), "{lines:#?}");
    let notified =
        |status: &str| messages.iter().any(|sip| sip.is_request("NOTIFY") && sip.body().contains(status));
    assert!(notified("SIP/2.0 200"), "{lines:#?}");
    assert!(wire.sip(second.port).iter().any(|sip| sip.is_request("INVITE")), "the transfer's call");
    let said = voices().1;
    assert_like(&said, &heard_by(second), 0.8, "the second hears the first");
    first.end();
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_sends_the_client_to_another_baresip() {
    let folder = tempfile::tempdir().expect("dir");
    let keys = "module stdio.so\n";
    let mut first = baresip(&folder.path().join("1"), "PCMA/8000/1", "", keys, &[]);
    let second = baresip(&folder.path().join("2"), "PCMA/8000/1", "", "", &[]);
    on_a_runtime(async {
        let client = SipClient::builder().identity("sip:tester@127.0.0.1").codecs([Codec::Pcma]).build();
        let client = client.expect("a client");
        let mut events = client.events().await.expect("events");
        let call = client.call(first.uri()).await.expect("a call");
        call.wait_for_answer().await.expect("answered");
        first.running.types(&format!("/transfer {}", second.uri()));
        let (mut next, mut heard) = (None, false);
        while next.is_none() || !heard {
            let event = tokio::time::timeout(LIMIT, events.next()).await.expect("in time");
            match event.expect("the client runs") {
                ClientEvent::Replaced { call: replaced, by } if replaced == call.id() => next = Some(by),
                ClientEvent::MediaStarted { call } => heard |= next == Some(call),
                ClientEvent::TransferRequested { target, attended, .. } => {
                    assert!(!attended && target.starts_with(&second.uri()), "{target}");
                }
                _ => {}
            }
        }
        let next = client.find(next.expect("it was waited for")).await.expect("the call that follows");
        tokio::time::timeout(LIMIT, call.wait_for_end()).await.expect("the first one ends");
        assert_eq!(next.state(), CallState::Answered);
        next.hangup().await.expect("hung up");
        client.stop(Duration::from_secs(5)).await;
    });
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_over_tls_with_a_private_authority_and_not_with_a_stranger() {
    let folder = tempfile::tempdir().expect("dir");
    let authority = Authority::new(folder.path(), "ours");
    let (certificate, key) = authority.issue("baresip", &["127.0.0.1"]);
    let both = folder.path().join("both.pem");
    let pem = [certificate, key].map(|path| fs::read_to_string(path).expect("PEM")).concat();
    fs::write(&both, pem).expect("written");
    let more = format!("sip_certificate {}\n", both.display());
    let baresip = baresip(&folder.path().join("b"), "PCMU/8000/1", ";transport=tls", &more, &[]);
    // baresip listens for TLS at the next port.
    let target = format!("sip:baresip@127.0.0.1:{};transport=tls", baresip.port + 1);
    let stranger = Authority::new(folder.path(), "stranger");
    on_a_runtime(async {
        for (trusted, good) in [(&stranger, false), (&authority, true)] {
            let client =
                SipClient::builder().identity("sip:tester@127.0.0.1").tls(Tls::ca_file(&trusted.pem));
            let client = client.build().expect("a client");
            let call = client.call(&*target).await.expect("a call");
            let answered = call.wait_for_answer().await;
            match good {
                true => {
                    answered.expect("answered");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let quality = call.quality().await.expect("measured");
                    assert!(quality.received > 20, "{quality:?}");
                    call.hangup().await.expect("hung up");
                }
                false => {
                    let error = answered.expect_err("a stranger's certificate").to_string();
                    assert!(error.contains("certificate"), "{error}");
                }
            }
        }
    });
    baresip.end();
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_sipp_calls_the_phone_holds_it_and_is_called_over_udp_and_tcp() {
    for (scenario, transport) in [("uac.xml", "u1"), ("uac.xml", "t1"), ("uac_hold.xml", "u1")] {
        let folder = tempfile::tempdir().expect("dir");
        let mut phone = phone(&["--answer", "1", "--hangup-after", "30"]);
        let ready: Value = serde_json::from_str(&phone.line("\"ready\"")).expect("JSON");
        let at = ready["sip"].as_str().expect("an address");
        sipp(folder.path(), scenario, free_port(), &[at, "-t", transport, "-d", "3000"]).wait_ok();
        let summary = summary(phone);
        let received = summary["quality"]["received"].as_u64().expect("a count");
        assert!(received > 100, "{scenario} {transport}: {summary}");
        assert_eq!(summary["cause"], "the far end hung up", "{scenario}");
    }
    for (transport, suffix) in [("u1", ""), ("t1", ";transport=tcp")] {
        let folder = tempfile::tempdir().expect("dir");
        let port = free_port();
        let callee = sipp(folder.path(), "uas.xml", port, &["-t", transport, "-rtp_echo"]);
        let target = format!("sip:sipp@127.0.0.1:{port}{suffix}");
        let summary = summary(phone(&["--call", &target, "--codecs", "pcmu", "--hangup-after", "3"]));
        assert_eq!(summary["exit"], 0, "{summary}");
        callee.wait_ok();
    }
}
