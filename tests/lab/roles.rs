//! Each lab role alone, as a program, on every engine of this build: the READY contract, metrics, exit codes,
//! and every way to stop it.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use crate::common::audio::{speech_like, write_wav};
use crate::common::child::{B2b, PATIENCE, role};
use b2b::ua::Engine;
use nix::sys::signal::Signal;

/// A directory with a WAV of this length with speech-like audio.
fn wav_of(seconds: f64) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("speech.wav");
    write_wav(&path, 44_100, &speech_like(44_100, seconds));
    let path = path.to_str().expect("UTF-8").to_string();
    (dir, path)
}

/// A minimal SIP peer: answers each request with `response`, a status line.
fn peer_that_answers(response: &'static str) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let target = format!("sip:peer@{}", socket.local_addr().expect("bound"));
    let thread = std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let method = request.split(' ').next().unwrap_or_default().to_string();
            seen.push(method.clone());
            if method == "ACK" {
                break;
            }
            let mut reply = format!("SIP/2.0 {response}\r\n");
            for line in request.lines().take_while(|line| !line.is_empty()) {
                let name = line.split(':').next().unwrap_or_default();
                match name {
                    "Via" | "From" | "Call-ID" | "CSeq" => reply += &format!("{line}\r\n"),
                    "To" => reply += &format!("{line};tag=peer\r\n"),
                    _ => {}
                }
            }
            reply += "Content-Length: 0\r\n\r\n";
            socket.send_to(reply.as_bytes(), from).expect("sent");
        }
        seen
    });
    (target, thread)
}

on_every_engine! {
    sink_says_ready_once_with_its_real_port_and_ends_well_on_sigterm,
    sink_binds_the_port_it_is_told_and_says_so_when_it_is_taken,
    sink_without_a_player_fails_with_66_before_ready,
    sink_whose_player_dies_at_once_fails_with_66,
    sink_with_output_auto_goes_on_without_a_player,
    sink_that_cannot_write_its_wav_fails_with_66_before_ready,
    source_without_a_readable_file_fails_with_66_and_names_it,
    source_whose_call_is_refused_exits_65_with_status_and_reason,
    source_told_to_stop_while_it_rings_sends_cancel_and_exits_0,
    mixer_refuses_a_sequence_with_letters_and_takes_number_punctuation,
    mixer_whose_target_refuses_ends_its_caller_and_exits_65,
    metrics_lines_are_monotonic_and_the_last_one_says_so,
    a_second_caller_hears_busy_while_the_sink_is_in_a_call,
    a_sink_for_two_calls_serves_two_and_ends,
    a_sink_whose_caller_is_killed_gives_up_after_the_rtp_timeout_with_65,
    a_wav_is_valid_after_sigkill,
    a_wav_that_can_grow_no_further_ends_the_sink_with_66_and_the_call_with_bye,
}

fn sink_says_ready_once_with_its_real_port_and_ends_well_on_sigterm(engine: Engine) {
    let mut sink = role(engine, "sink", &["--output", "null"]);
    let address = sink.ready();
    assert!(address.ip().is_loopback());
    assert_ne!(address.port(), 0);
    sink.signal(Signal::SIGTERM);
    sink.assert_exit(0);
    let ready: Vec<_> = sink.stdout().into_iter().filter(|line| line.starts_with("READY")).collect();
    assert_eq!(ready, [format!("READY role=sink sip={address} codec=pcmu ptime=20ms")]);
}

fn sink_binds_the_port_it_is_told_and_says_so_when_it_is_taken(engine: Engine) {
    let mut first = role(engine, "sink", &["--output", "null"]);
    let address = first.ready().to_string();
    let mut second = role(engine, "sink", &["--output", "null", "--sip-bind", &address]);
    second.assert_exit(65);
    let output = second.output();
    assert!(output.contains(&address) && output.contains("--sip-bind"), "{output}");
    assert!(!output.contains("READY"));
}

fn sink_without_a_player_fails_with_66_before_ready(engine: Engine) {
    let mut sink = role(engine, "sink", &["--output", "aplay", "--aplay-cmd", "/nonexistent/player -x"]);
    sink.assert_exit(66);
    assert!(sink.output().contains("/nonexistent/player"));
    assert!(!sink.output().contains("READY"));
}

fn sink_whose_player_dies_at_once_fails_with_66(engine: Engine) {
    let mut sink = role(engine, "sink", &["--aplay-cmd", "false"]);
    sink.assert_exit(66);
}

fn sink_with_output_auto_goes_on_without_a_player(engine: Engine) {
    let mut sink = role(engine, "sink", &["--output", "auto", "--aplay-cmd", "/nonexistent/player"]);
    sink.ready();
    sink.signal(Signal::SIGINT);
    sink.assert_exit(0);
    let said = sink.stderr().iter().filter(|line| line.contains("/nonexistent/player")).count();
    assert_eq!(said, 1, "{}", sink.output());
}

fn sink_that_cannot_write_its_wav_fails_with_66_before_ready(engine: Engine) {
    let (_dir, file) = wav_of(0.1);
    let mut sink = role(engine, "sink", &["--output", "null", "--wav", &format!("{file}/under-a-file.wav")]);
    sink.assert_exit(66);
    assert!(sink.output().contains("under-a-file.wav"), "{}", sink.output());
    assert!(!sink.output().contains("READY"));
}

fn source_without_a_readable_file_fails_with_66_and_names_it(engine: Engine) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("noise.mp3");
    std::fs::write(&file, b"this is no audio at all").expect("written");
    for path in [file.to_str().expect("UTF-8"), "/nonexistent/file.mp3"] {
        let mut source = role(engine, "source", &["--target", "sip:x@127.0.0.1:9", "--audio-file", path]);
        source.assert_exit(66);
        assert!(source.output().contains(path), "{}", source.output());
    }
}

fn source_whose_call_is_refused_exits_65_with_status_and_reason(engine: Engine) {
    let (_dir, wav) = wav_of(2.0);
    let (target, peer) = peer_that_answers("486 Busy Here");
    let mut source = role(engine, "source", &["--target", &target, "--audio-file", &wav]);
    source.assert_exit(65);
    assert!(source.output().contains("486") && source.output().contains("Busy Here"), "{}", source.output());
    assert_eq!(peer.join().expect("peer").last().map(String::as_str), Some("ACK"));
}

fn source_told_to_stop_while_it_rings_sends_cancel_and_exits_0(engine: Engine) {
    let (_dir, wav) = wav_of(2.0);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let target = format!("sip:peer@{}", socket.local_addr().expect("bound"));
    let mut source = role(engine, "source", &["--target", &target, "--audio-file", &wav]);
    let mut buffer = [0; 4_096];
    let reply = |request: &str, status: &str| {
        let mut reply = format!("SIP/2.0 {status}\r\n");
        for line in request.lines().take_while(|line| !line.is_empty()) {
            match line.split(':').next().unwrap_or_default() {
                "Via" | "From" | "Call-ID" | "CSeq" => reply += &format!("{line}\r\n"),
                "To" => reply += &format!("{line};tag=peer\r\n"),
                _ => {}
            }
        }
        reply + "Content-Length: 0\r\n\r\n"
    };
    let (length, from) = socket.recv_from(&mut buffer).expect("an INVITE");
    let invite = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(invite.starts_with("INVITE "), "{invite}");
    socket.send_to(reply(&invite, "180 Ringing").as_bytes(), from).expect("sent");
    source.wait_for_line("180");
    source.signal(Signal::SIGTERM);
    let mut methods = Vec::new();
    loop {
        let (length, from) = socket.recv_from(&mut buffer).expect("CANCEL, then ACK");
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let method = request.split(' ').next().unwrap_or_default().to_string();
        methods.push(method.clone());
        match method.as_str() {
            "CANCEL" => {
                socket.send_to(reply(&request, "200 OK").as_bytes(), from).expect("sent");
                socket.send_to(reply(&invite, "487 Request Terminated").as_bytes(), from).expect("sent");
            }
            "ACK" => break,
            _ => {}
        }
    }
    assert!(methods.contains(&"CANCEL".to_string()), "{methods:?}");
    source.assert_exit(0);
}

fn mixer_refuses_a_sequence_with_letters_and_takes_number_punctuation(engine: Engine) {
    let mut mixer = role(engine, "mixer", &["--target", "sip:x@127.0.0.1:9", "--dtmf-seq", "12x4"]);
    mixer.assert_exit(64);
    let mut mixer =
        role(engine, "mixer", &["--target", "sip:x@127.0.0.1:9", "--dtmf-seq", "+44 (20) 83.66-11"]);
    mixer.ready();
    mixer.signal(Signal::SIGTERM);
    mixer.assert_exit(0);
}

fn mixer_whose_target_refuses_ends_its_caller_and_exits_65(engine: Engine) {
    let (_dir, wav) = wav_of(3.0);
    let (target, _peer) = peer_that_answers("603 Decline");
    let mut mixer = role(engine, "mixer", &["--target", &target]);
    let address = mixer.ready();
    let caller = format!("sip:mixer@{address}");
    let mut source = role(engine, "source", &["--target", &caller, "--audio-file", &wav, "--loop"]);
    mixer.assert_exit(65);
    assert!(mixer.output().contains("603"), "{}", mixer.output());
    let status = source.wait();
    assert!(status.code().is_some(), "the source ends by itself: {status}");
}

fn metrics_lines_are_monotonic_and_the_last_one_says_so(engine: Engine) {
    let (_dir, wav) = wav_of(12.0);
    let mut sink = role(engine, "sink", &["--output", "null"]);
    let target = format!("sip:sink@{}", sink.ready());
    let mut source = role(engine, "source", &["--target", &target, "--audio-file", &wav]);
    source.assert_exit(0);
    sink.assert_exit(0);
    for (role, lines) in [("source", source.metrics()), ("sink", sink.metrics())] {
        assert!(lines.len() >= 3, "two periods and the last line: {lines:?}");
        for pair in lines.windows(2) {
            assert!(pair[0].packets_tx <= pair[1].packets_tx && pair[0].packets_rx <= pair[1].packets_rx);
            assert!(pair[0].bytes_tx <= pair[1].bytes_tx && pair[0].ts <= pair[1].ts);
        }
        let last = lines.last().expect("lines");
        assert!(last.last && lines.iter().filter(|line| line.last).count() == 1);
        assert!(lines.iter().all(|line| line.role == role && line.pid == lines[0].pid));
        assert!(last.packets_tx >= 590 && last.packets_rx >= 590, "{role}: {last:?}");
    }
}

fn a_second_caller_hears_busy_while_the_sink_is_in_a_call(engine: Engine) {
    let (_dir, wav) = wav_of(20.0);
    let mut sink = role(engine, "sink", &["--output", "null"]);
    let target = format!("sip:sink@{}", sink.ready());
    let mut first = role(engine, "source", &["--target", &target, "--audio-file", &wav]);
    sink.wait_for_line("the call is up");
    let mut second = role(engine, "source", &["--target", &target, "--audio-file", &wav]);
    second.assert_exit(65);
    assert!(second.output().contains("486"), "{}", second.output());
    first.signal(Signal::SIGINT);
    first.assert_exit(0);
    sink.assert_exit(0);
}

fn a_sink_for_two_calls_serves_two_and_ends(engine: Engine) {
    let (_dir, wav) = wav_of(2.0);
    let mut sink = role(engine, "sink", &["--output", "null", "--calls", "2"]);
    let target = format!("sip:sink@{}", sink.ready());
    for _ in 0..2 {
        role(engine, "source", &["--target", &target, "--audio-file", &wav]).assert_exit(0);
    }
    sink.assert_exit(0);
}

fn a_sink_whose_caller_is_killed_gives_up_after_the_rtp_timeout_with_65(engine: Engine) {
    let (_dir, wav) = wav_of(30.0);
    let mut sink = role(engine, "sink", &["--output", "null", "--rtp-timeout-s", "2"]);
    let target = format!("sip:sink@{}", sink.ready());
    let source = role(engine, "source", &["--target", &target, "--audio-file", &wav]);
    sink.wait_for_line("the call is up");
    std::thread::sleep(Duration::from_millis(500));
    source.signal(Signal::SIGKILL);
    sink.assert_exit(65);
}

fn a_wav_is_valid_after_sigkill(engine: Engine) {
    let (dir, wav) = wav_of(30.0);
    let out = dir.path().join("out.wav");
    let mut sink = role(engine, "sink", &["--output", "null", "--wav", out.to_str().expect("UTF-8")]);
    let target = format!("sip:sink@{}", sink.ready());
    let _source = role(engine, "source", &["--target", &target, "--audio-file", &wav]);
    sink.wait_for_line("the call is up");
    let start = std::time::Instant::now();
    while std::fs::metadata(&out).map_or(0, |meta| meta.len()) < 32_000 {
        assert!(start.elapsed() < PATIENCE, "the WAV grows\n{}", sink.output());
        std::thread::sleep(Duration::from_millis(50));
    }
    sink.signal(Signal::SIGKILL);
    sink.wait();
    let samples = crate::common::audio::read_wav(&out);
    assert!(samples.len() >= 14_000, "{} samples in the header", samples.len());
}

fn a_wav_that_can_grow_no_further_ends_the_sink_with_66_and_the_call_with_bye(engine: Engine) {
    let (dir, wav) = wav_of(30.0);
    let out = dir.path().join("out.wav");
    // A limit of 32 KiB on files simulates a full disk without a separate file system.
    let limited = r#"trap '' XFSZ; ulimit -f 64; exec "$0" "$@""#;
    let mut sink = B2b::start(
        Command::new("sh")
            .args(["-c", limited, env!("CARGO_BIN_EXE_b2b"), "--role", "sink", "--output", "null", "--wav"])
            .arg(&out)
            .args(["--engine", &engine.to_string()])
            // A coverage build writes its counters at exit; the limit would truncate them and invalidate the
            // others.
            .env("LLVM_PROFILE_FILE", "/dev/null"),
    );
    let target = format!("sip:sink@{}", sink.ready());
    let mut source = role(engine, "source", &["--target", &target, "--audio-file", &wav]);
    sink.assert_exit(66);
    assert!(sink.stderr().iter().any(|line| line.contains("out.wav")), "{}", sink.output());
    source.wait();
    assert!(source.output().contains("ended"), "{}", source.output());
    assert!(!crate::common::audio::read_wav(&out).is_empty(), "what was written is a valid WAV");
}
