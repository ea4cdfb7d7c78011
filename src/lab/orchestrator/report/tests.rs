//! The whole report, from generated recordings.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::orchestrator::record::*;

/// A run that ended well, recorded in `folder`.
fn run(folder: &Path) -> RunRecord {
    let role = |role: &str| RoleRecord {
        role: role.into(),
        pid: Some(4711),
        engine: "native".into(),
        command: format!("b2b --role {role}"),
        sip: Some("127.0.0.1:5060".into()),
        ready_ms: Some(30),
        end: RoleEnd { code: Some(0), text: "exit 0".into(), ..RoleEnd::default() },
        last_error: None,
        stalled: false,
        lines_dropped: 0,
        metrics: None,
        sip_trace: None,
    };
    RunRecord {
        schema: SCHEMA,
        verdict: Verdict {
            ok: true,
            exit_code: 0,
            headline: "All expectations were met.".into(),
            reasons: vec![],
            interrupted: false,
        },
        started: "2026-11-20T08:00:00.000Z".into(),
        ended: "2026-11-20T08:00:05.000Z".into(),
        duration_s: 5.0,
        plan: PlanRecord { path: "plans/sk.plan.toml".into(), text: "[topology]\n".into() },
        versions: Versions {
            b2b: "0.1.0".into(),
            os: "linux".into(),
            kernel: None,
            arch: "x86_64".into(),
            build: "debug".into(),
        },
        roles: vec![role("source"), role("sink")],
        loads: vec![load("answers", 0), load("crowd", 80)],
        chain: ChainFigures { loss_pct: Some(0.0), latency_ms_p95: Some(93.0), ..ChainFigures::default() },
        expectations: vec![],
        impairments: vec![],
        events: vec![],
        timeline: vec![],
        recordings: Some(folder.to_path_buf()),
    }
}

fn wav(path: &Path, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("create");
    samples.iter().for_each(|s| writer.write_sample(*s).expect("write"));
    writer.finalize().expect("finalize");
}

/// Four seconds of noise, and the same noise 50 ms later.
fn sounds() -> (Vec<i16>, Vec<i16>) {
    let mut random = StdRng::seed_from_u64(11);
    let sent: Vec<i16> = (0..32_000).map(|_| random.random_range(-6_000..6_000)).collect();
    let mut received = vec![0; 400];
    received.extend(&sent);
    (sent, received)
}

fn log(packets: impl Iterator<Item = u64>) -> String {
    let rows = packets.map(|n| format!("{},{n},{},7,0,172,played\n", n * 20_000_000, n * 160));
    format!("arrival_ns,seq,timestamp,ssrc,payload_type,size,verdict\n{}", rows.collect::<String>())
}

/// Writes the report; returns the JSON and the page.
fn written(folder: &Path, run: &RunRecord) -> (serde_json::Value, String) {
    let written = write(&folder.join("report"), run).expect("written");
    let json = serde_json::from_slice(&fs::read(written.json).expect("json")).expect("JSON");
    (json, fs::read_to_string(written.html).expect("html"))
}

fn load(name: &str, begun: u64) -> LoadRecord {
    let callers = Calls { begun, done: 79, failed: 1, mouth_to_ear_p95_ms: Some(97.2), mos: Some(4.41) };
    LoadRecord {
        name: name.into(),
        pid: Some(7),
        command: format!("b2b --role load --name {name}"),
        sip: None,
        ready_ms: None,
        end: RoleEnd { code: Some(1), text: "exit 1".into(), ..RoleEnd::default() },
        last_error: None,
        lines_dropped: 0,
        figures: Some(LoadFigures {
            result: "failed".into(),
            why: vec![],
            callers: (begun > 0).then_some(callers),
            callees: None,
            setup_p99_ms: Some(12.3),
            expectations: vec![],
        }),
        report: Some("report".into()),
    }
}

#[test]
fn each_load_has_a_row_with_the_way_to_its_own_report() {
    let dir = tempfile::tempdir().expect("dir");
    let (json, page) = written(dir.path(), &run(dir.path()));
    assert_eq!(json["loads"][1]["name"], "crowd");
    assert_eq!(json["loads"][1]["figures"]["callers"]["done"], 79);
    let row = page.split("<tr>").find(|row| row.contains("href=\"crowd/report.html\"")).expect("a row");
    for cell in ["<b>failed</b>", "callers", ">80<", ">79<", ">1<", "12 ms", "97 ms", "4.41", "exit 1"] {
        assert!(row.contains(cell), "{cell}: {row}");
    }
    assert!(page.contains("b2b --role load --name answers") && page.contains("answers/report.html"));
}

#[test]
fn a_good_run_is_told_from_its_recordings() {
    let dir = tempfile::tempdir().expect("dir");
    let (sent, received) = sounds();
    wav(&dir.path().join("source.sent.wav"), &sent);
    wav(&dir.path().join("sink.received.wav"), &received);
    fs::write(dir.path().join("sink.packets.csv"), log(0..200)).expect("log");
    let traced = |at: &str, word: &str| {
        format!(
            "--- 2026-11-20T08:00:00.{at}Z {word} udp 127.0.0.1:5001 -> 127.0.0.1:5002 25\nINVITE sip:sink SIP/2.0\r\n\n"
        )
    };
    fs::write(dir.path().join("source.sip"), traced("100", "sent")).expect("trace");
    fs::write(dir.path().join("sink.sip"), traced("101", "received")).expect("trace");

    let (json, page) = written(dir.path(), &run(dir.path()));
    assert_eq!(json["analysis"]["audio"]["intact_pct"], 100.0);
    assert!(json["analysis"]["audio"]["gain_db"].as_f64().is_some_and(|db| db.abs() < 0.01));
    assert_eq!(json["analysis"]["packets"][0]["lost"], 0);
    assert_eq!(json["analysis"]["sip_messages"], 1);
    assert_eq!(json["analysis"]["notes"].as_array().map(Vec::len), Some(0), "{}", json["analysis"]["notes"]);
    assert_eq!(json["verdict"]["ok"], true);
    assert!(page.contains("Passed") && page.contains("100.0 %"));
    assert_eq!(page.matches("data:image/png;base64,").count(), 2);
    assert!(page.contains("Received by the sink") && page.contains("INVITE"));
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let dir = tempfile::tempdir().expect("dir");
    let (sent, received) = sounds();
    wav(&dir.path().join("source.sent.wav"), &sent);
    wav(&dir.path().join("sink.received.wav"), &received);
    let (_, page) = written(dir.path(), &run(dir.path()));
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "<script", "<link", "url(", "@import"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn missing_recordings_become_notes() {
    let dir = tempfile::tempdir().expect("dir");
    let (json, page) = written(dir.path(), &run(dir.path()));
    let notes = json["analysis"]["notes"].to_string();
    for name in ["source.sent.wav", "sink.received.wav", "sink.packets.csv", "source.sip", "sink.sip"] {
        assert!(notes.contains(name) && page.contains(name), "{name}: {notes}");
    }
    let mut unrecorded = run(dir.path());
    unrecorded.recordings = None;
    assert!(written(dir.path(), &unrecorded).1.contains("was not recorded"));
}

#[test]
fn damaged_recordings_do_no_harm() {
    let dir = tempfile::tempdir().expect("dir");
    let (sent, received) = sounds();
    wav(&dir.path().join("source.sent.wav"), &sent);
    wav(&dir.path().join("sink.received.wav"), &received);
    let cut = fs::read(dir.path().join("sink.received.wav")).expect("read");
    fs::write(dir.path().join("sink.received.wav"), &cut[..cut.len() / 2]).expect("cut");
    fs::write(dir.path().join("source.sent.wav"), b"RIFF rubbish").expect("rubbish");
    fs::write(dir.path().join("sink.packets.csv"), b"\xff\xfe\n1,2\n").expect("rubbish");
    fs::write(dir.path().join("sink.sip"), b"--- \xff\n--- x\nyyy").expect("rubbish");
    let (json, _) = written(dir.path(), &run(dir.path()));
    let notes = json["analysis"]["notes"].to_string();
    assert!(notes.contains("source.sent.wav is not a WAV file"), "{notes}");
    assert!(notes.contains("ends before its header says so"), "{notes}");
    assert!(json["analysis"]["audio"]["received_s"].as_f64().is_some_and(|s| s > 1.9));
}

#[test]
fn a_hole_in_the_sound_is_told() {
    let dir = tempfile::tempdir().expect("dir");
    let (sent, mut received) = sounds();
    received[8_400..10_000].fill(0);
    wav(&dir.path().join("source.sent.wav"), &sent);
    wav(&dir.path().join("sink.received.wav"), &received);
    let (json, page) = written(dir.path(), &run(dir.path()));
    assert_eq!(json["analysis"]["audio"]["faults"][0]["kind"], "missing");
    assert_eq!(json["analysis"]["audio"]["faults"][0]["at_s"], 1.0);
    assert!(page.contains("missing at 1.0 s, for 0.2 s"));
}

#[test]
fn nothing_hostile_reaches_the_page() {
    let dir = tempfile::tempdir().expect("dir");
    let evil = "<script>alert(1)</script>\x1b[31m";
    let message = format!("{evil} sip:x SIP/2.0\r\nSubject: {evil}\r\n\r\n");
    let line =
        format!("--- 2026-11-20T08:00:00Z received udp 127.0.0.1:1 -> 127.0.0.1:2 {}\n", message.len());
    fs::write(dir.path().join("sink.sip"), line + &message + "\n").expect("trace");
    let mut run = run(dir.path());
    run.verdict.ok = false;
    run.verdict.headline = evil.into();
    run.verdict.reasons = vec![evil.into()];
    run.plan.text = evil.into();
    run.roles[0].last_error = Some(evil.into());
    run.roles[0].command = evil.into();
    run.events =
        vec![Event { at_s: 0.0, role: Some(evil.into()), kind: EventKind::Error, text: evil.into() }];
    run.impairments = vec![ImpairmentRecord { role: "sink".into(), value: evil.into() }];
    let (_, page) = written(dir.path(), &run);
    assert!(page.contains("&lt;script&gt;"));
    assert!(!page.contains("<script"));
    assert!(
        !page.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')),
        "a control character is left"
    );
}

#[test]
fn a_violated_expectation_is_shown_with_both_figures() {
    let dir = tempfile::tempdir().expect("dir");
    let mut run = run(dir.path());
    run.verdict.ok = false;
    run.expectations = vec![Expectation {
        name: "max_latency_ms".into(),
        bound: Bound::AtMost,
        expected: 120.0,
        measured: Some(133.25),
        unit: "ms".into(),
        pass: false,
        judged: true,
        unmeasured: None,
        note: None,
    }];
    let (json, page) = written(dir.path(), &run);
    let junit = fs::read_to_string(dir.path().join("report/junit.xml")).expect("junit.xml");
    assert!(
        junit.contains("<failure message=\"max_latency_ms: expected at most 120 ms, measured 133.25 ms\"/>"),
        "{junit}"
    );
    assert_eq!(json["expectations"][0]["measured"], 133.25);
    for text in ["Not passed", "at most 120 ms", "133.25 ms", "not met"] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("file");
    let error = write(&file, &run(dir.path())).expect_err("a file is in the way");
    assert!(error.to_string().contains("file"), "{error}");
}
