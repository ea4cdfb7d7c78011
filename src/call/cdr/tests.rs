use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::call_fsm::CallDirection;
use crate::event::Quality;
use crate::leg_fsm::TerminationCause;
use crate::verdict::Audio;
use crate::{CallId, LegId};
use b2b_base::util::redact::Redaction;

const LONG: Duration = Duration::from_secs(60);

fn cdr(leg: u64) -> Cdr {
    Cdr {
        call: CallId(7),
        linked: CallId(5),
        leg: LegId(leg),
        direction: CallDirection::Outbound,
        sip_call_id: "01ab@b2b".into(),
        caller: "sip:+442079460000@example.com".into(),
        caller_name: Some("Alice \"A\"".into()),
        callee: "+442083661177".into(),
        gateway: Some("carrier".into()),
        remote: "192.0.2.1:5060".parse().ok(),
        variables: Vec::new(),
        codec: Some("PCMA".into()),
        start: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        rang: Some(Duration::from_millis(250)),
        answered: Some(Duration::from_millis(3_500)),
        ended: Duration::from_millis(65_250),
        ending: Ending::new(&TerminationCause::RemoteHangup, true, CallDirection::Outbound, None),
        audio: Some(Audio::BothWays),
        quality: Some(Quality {
            packets_received: 3_000,
            packets_sent: 2_990,
            packets_lost: 3,
            jitter_ms: 1.5,
            round_trip_ms: None,
            mos: Some(4.4),
        }),
        voice_agent: None,
        route: Some("out".into()),
        diverted_by: None,
        verstat: None,
        resumed: 0,
    }
}

fn parsed(cdr: &Cdr, redaction: Redaction) -> Value {
    let line = cdr.line(redaction);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "one line");
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn a_record_has_the_usual_names() {
    assert_eq!(
        parsed(&cdr(9), Redaction::Off),
        json!({
            "start": "2027-01-15T08:00:00.000000Z", "answer": "2027-01-15T08:00:03.500000Z",
            "end": "2027-01-15T08:01:05.250000Z", "duration": 65, "billsec": 61, "duration_ms": 65250,
            "billmsec": 61750, "ring_ms": 250, "disposition": "ANSWERED", "hangup_cause": "NORMAL_CLEARING",
            "hangup_cause_q850": 16, "hangup_by": "remote", "sip_status": 200, "direction": "outbound",
            "caller": "sip:+442079460000@example.com", "caller_name": "Alice \"A\"",
            "callee": "+442083661177", "gateway": "carrier", "route": "out", "remote": "192.0.2.1:5060", "codec": "PCMA",
            "audio": "both_ways", "packets_received": 3000, "packets_sent": 2990,
            "packets_lost": 3, "jitter_ms": 1.5, "round_trip_ms": null, "mos": 4.4,
            "call_id": 7, "linked_id": 5, "leg_id": 9, "sip_call_id": "01ab@b2b",
        })
    );
}

#[test]
fn an_unanswered_leg_costs_nothing() {
    let value = parsed(&Cdr { answered: None, ..cdr(1) }, Redaction::Off);
    assert_eq!(
        (&value["answer"], &value["billsec"], &value["duration"]),
        (&json!(null), &json!(0), &json!(65))
    );
}

#[test]
fn numbers_are_redacted_where_that_is_asked_for() {
    let value = parsed(&cdr(1), Redaction::Numbers);
    assert_eq!(
        (value["caller"].as_str(), value["callee"].as_str()),
        (Some("sip:+442…00@example.com"), Some("+442…77"))
    );
}

#[test]
fn every_ending_has_a_disposition_and_a_cause() {
    use Disposition::*;
    use TerminationCause as T;
    let failed = |status| T::Failed { status, reason: String::new() };
    let protocol = T::Protocol { message: String::new() };
    let (inbound, outbound) = (CallDirection::Inbound, CallDirection::Outbound);
    for (cause, answered, direction, expected) in [
        (T::LocalHangup, true, inbound, (Answered, 16, Some(200), HangupBy::Local)),
        (T::RemoteHangup, true, inbound, (Answered, 16, Some(200), HangupBy::Remote)),
        (T::ByeUnanswered, true, inbound, (Answered, 16, Some(200), HangupBy::Local)),
        (T::MediaTimeout, true, inbound, (Answered, 102, Some(200), HangupBy::Local)),
        (T::ProcessLost, true, inbound, (Answered, 41, Some(200), HangupBy::Local)),
        (T::ProcessLost, false, inbound, (Failed, 41, None, HangupBy::Local)),
        (T::SessionExpired, true, inbound, (Answered, 102, Some(200), HangupBy::Local)),
        (protocol.clone(), true, inbound, (Answered, 111, Some(200), HangupBy::Local)),
        (failed(481), true, inbound, (Answered, 41, Some(200), HangupBy::Remote)),
        (T::Cancelled, false, inbound, (Cancelled, 16, Some(487), HangupBy::Remote)),
        (T::Cancelled, false, outbound, (Cancelled, 16, Some(487), HangupBy::Local)),
        (T::LocalHangup, false, outbound, (Cancelled, 16, None, HangupBy::Local)),
        (T::Rejected { status: 486 }, false, inbound, (Busy, 17, Some(486), HangupBy::Local)),
        (T::Rejected { status: 403 }, false, inbound, (Failed, 21, Some(403), HangupBy::Local)),
        (failed(600), false, outbound, (Busy, 17, Some(600), HangupBy::Remote)),
        (failed(408), false, outbound, (NoAnswer, 102, Some(408), HangupBy::Remote)),
        (failed(480), false, outbound, (NoAnswer, 18, Some(480), HangupBy::Remote)),
        (failed(603), false, outbound, (Failed, 21, Some(603), HangupBy::Remote)),
        (failed(503), false, outbound, (Failed, 41, Some(503), HangupBy::Remote)),
        (T::MediaTimeout, false, outbound, (Failed, 102, None, HangupBy::Local)),
        (protocol, false, outbound, (Failed, 111, None, HangupBy::Local)),
    ] {
        let ending = Ending::new(&cause, answered, direction, None);
        let got = (ending.disposition, ending.q850, ending.sip_status, ending.by);
        assert_eq!(got, expected, "{cause:?}, answered: {answered}, {direction:?}");
        // The far end's cause takes precedence over the derived one.
        assert_eq!(Ending::new(&cause, answered, direction, Some(34)).q850, 34);
    }
}

fn config(path: &Path) -> WriterConfig {
    WriterConfig { path: path.into(), queue: 1_000, redaction: Redaction::Off, durable: false }
}

fn legs(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text}");
    text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["leg_id"].as_u64()).collect()
}

fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < LONG, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn records_are_in_the_file_in_order_as_soon_as_their_tickets_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cdr.jsonl");
    for (before, durable) in [(0, false), (50, true)] {
        let mut writer = CdrWriter::start(WriterConfig { durable, ..config(&path) }).unwrap();
        let tickets: Vec<_> = (0..50).map(|leg| writer.submit(cdr(leg)).unwrap()).collect();
        wait_for("the 20th", || writer.is_written(tickets[19]));
        let have = legs(&path).len();
        assert!(have >= before + 20, "{have}");
        let counters = writer.finish(LONG).unwrap();
        assert_eq!(counters, CdrCounters { submitted: 50, written: 50, lost: 0, failures: 0 });
    }
    // The second run appends.
    assert_eq!(legs(&path), (0..50).chain(0..50).collect::<Vec<_>>());
}

#[test]
fn a_renamed_file_is_left_on_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("cdr.jsonl"), dir.path().join("cdr.jsonl.1"));
    let mut writer = CdrWriter::start(config(&path)).unwrap();
    let first = writer.submit(cdr(1)).unwrap();
    wait_for("the first", || writer.is_written(first));
    std::fs::rename(&path, &old).unwrap();
    let second = writer.submit(cdr(2)).unwrap();
    wait_for("the second", || writer.is_written(second));
    writer.reopen();
    writer.submit(cdr(3)).unwrap();
    writer.finish(LONG).unwrap();
    assert_eq!((legs(&old), legs(&path)), (vec![1, 2], vec![3]));
}

#[test]
fn a_full_disk_makes_records_wait_and_then_lose_with_a_count() {
    let dir = tempfile::tempdir().unwrap();
    // Every write to /dev/full fails with ENOSPC. A folder may be a symbolic link, a file may not.
    let (link, good) = (dir.path().join("records"), dir.path().join("good"));
    std::fs::create_dir(&good).unwrap();
    symlink("/dev", &link).unwrap();
    let path = link.join("full");
    let mut writer = CdrWriter::start(WriterConfig { queue: 5, ..config(&path) }).unwrap();
    assert!(writer.submit(cdr(0)).is_some());
    wait_for("the first failure", || writer.counters().failures > 0);
    let accepted = (1..100).filter(|leg| writer.submit(cdr(*leg)).is_some()).count();
    assert_eq!((accepted, writer.counters().lost, writer.counters().written), (5, 94, 0));
    // Space becomes available.
    std::fs::remove_file(&link).unwrap();
    symlink(&good, &link).unwrap();
    writer.reopen();
    let counters = writer.finish(LONG).unwrap();
    assert_eq!((counters.written, counters.lost, counters.submitted), (6, 94, 100));
    assert_eq!(legs(&good.join("full")), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_disk_that_stays_full_does_not_hold_up_the_end() {
    let mut writer = CdrWriter::start(config(Path::new("/dev/full"))).unwrap();
    (0..3).for_each(|leg| assert!(writer.submit(cdr(leg)).is_some()));
    let error = writer.finish(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, CdrError::Unfinished { left: 3, .. }), "{error}");
}

#[test]
fn a_line_that_a_crash_left_torn_does_not_spoil_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cdr.jsonl");
    std::fs::write(&path, b"{\"leg_id\":1}\n{\"leg_i").unwrap();
    let mut writer = CdrWriter::start(config(&path)).unwrap();
    writer.submit(cdr(2)).unwrap();
    writer.finish(LONG).unwrap();
    assert_eq!(legs(&path), [1, 2]);
    assert!(std::fs::read_to_string(&path).unwrap().contains("{\"leg_i\n{"));
}

#[test]
fn a_place_that_cannot_be_written_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [dir.path().to_path_buf(), dir.path().join("none/cdr.jsonl"), pipe] {
        assert!(matches!(CdrWriter::start(config(&path)), Err(CdrError::Open { .. })), "{path:?}");
    }
}

/// The child process of the test below: writes without end, and prints how many records are written.
#[test]
#[ignore = "run as a child by what_is_written_survives_sigkill"]
fn child_writes_until_killed() {
    let Some(path) = std::env::var_os("B2B_TEST_CDR") else { return };
    let mut writer = CdrWriter::start(config(Path::new(&path))).unwrap();
    for leg in 0.. {
        let Some(ticket) = writer.submit(cdr(leg)) else { continue };
        if leg % 50 == 0 {
            wait_for("the write", || writer.is_written(ticket));
            println!("\nwritten {leg}");
        }
    }
}

#[test]
fn what_is_written_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cdr.jsonl");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "cdr::tests::child_writes_until_killed"])
        .env("B2B_TEST_CDR", &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told: Option<u64> =
        lines.filter_map(|line| line.ok()?.strip_prefix("written ")?.parse().ok()).find(|leg| *leg >= 200);
    child.kill().unwrap();
    child.wait().unwrap();
    let told = told.expect("the child writes");
    let have = legs(&path);
    assert!(have.len() as u64 > told, "{told} was written, {} are there", have.len());
    assert!(have.iter().enumerate().all(|(at, leg)| at as u64 == *leg), "none is missing between");
}
