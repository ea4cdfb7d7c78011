//! SIPp calls the roles, and the roles call SIPp, with RTP in both directions.
//! `cargo test -- --ignored interop`; needs `sipp` (Debian: sip-tester).

use std::path::Path;

use crate::interop::support::{Running, file, free_port, sipp};

/// SIPp as a caller that talks for three seconds.
fn caller(folder: &Path, scenario: &str, to: &str, transport: &str) -> Running {
    sipp(folder, scenario, free_port(), &[to, "-t", transport, "-d", "3000"])
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_sipp_calls_the_sink_over_udp_and_tcp() {
    for transport in ["u1", "t1"] {
        let folder = tempfile::tempdir().expect("dir");
        let (sink, at) = Running::role("sink", &["--output", "null"]);
        caller(folder.path(), "uac.xml", &at, transport).wait_ok();
        let metrics = sink.wait_ok().metrics();
        let packets = metrics["packets_rx"].as_u64().expect("a count");
        assert!((120..200).contains(&packets), "{transport}: {packets} packets in 3 s");
        assert_eq!(metrics["rtp_loss"], 0, "{transport}");
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_sipp_holds_the_sink_and_takes_it_back() {
    let folder = tempfile::tempdir().expect("dir");
    let (sink, at) = Running::role("sink", &["--output", "null"]);
    caller(folder.path(), "uac_hold.xml", &at, "u1").wait_ok();
    assert!(sink.wait_ok().metrics()["packets_rx"].as_u64().is_some_and(|packets| packets > 150));
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_the_source_calls_sipp_over_udp_and_tcp() {
    for (transport, suffix) in [("u1", ""), ("t1", ";transport=tcp")] {
        let folder = tempfile::tempdir().expect("dir");
        let port = free_port();
        let callee = sipp(folder.path(), "uas.xml", port, &["-t", transport, "-rtp_echo"]);
        let target = format!("sip:sipp@127.0.0.1:{port}{suffix}");
        let sample = file("assets/sample.mp3");
        let sample = sample.to_str().expect("UTF-8");
        let (source, _) =
            Running::role("source", &["--target", &target, "--audio-file", sample, "--duration-s", "3"]);
        let metrics = source.wait_ok().metrics();
        callee.wait_ok();
        assert!(metrics["packets_tx"].as_u64().is_some_and(|packets| packets >= 150), "{metrics}");
        let echoed = metrics["packets_rx"].as_u64().expect("a count");
        assert!(echoed >= 120, "{transport}: only {echoed} packets came back");
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_a_busy_sipp_ends_the_source_with_exit_65() {
    let folder = tempfile::tempdir().expect("dir");
    let port = free_port();
    let callee = sipp(folder.path(), "uas_busy.xml", port, &[]);
    let target = format!("sip:sipp@127.0.0.1:{port}");
    let sample = file("assets/sample.mp3");
    let (source, _) =
        Running::role("source", &["--target", &target, "--audio-file", sample.to_str().expect("UTF-8")]);
    let ended = source.wait();
    callee.wait_ok();
    assert_eq!(ended.code, Some(65), "{}", ended.log);
    assert!(ended.log.contains("486") && ended.log.contains("Busy Here"), "{}", ended.log);
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_the_mixer_joins_two_sipps() {
    let folders = [tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir")];
    let port = free_port();
    let callee = sipp(folders[0].path(), "uas.xml", port, &["-rtp_echo"]);
    let target = format!("sip:sipp@127.0.0.1:{port}");
    let (mixer, at) = Running::role("mixer", &["--target", &target, "--dtmf-seq", "42"]);
    caller(folders[1].path(), "uac.xml", &at, "u1").wait_ok();
    callee.wait_ok();
    let metrics = mixer.wait_ok().metrics();
    let (sent, received) = (metrics["packets_tx"].as_u64(), metrics["packets_rx"].as_u64());
    assert!(sent.is_some_and(|n| n > 100) && received.is_some_and(|n| n > 120), "{metrics}");
}
