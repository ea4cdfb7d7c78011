//! Source -> sink and source -> mixer -> sink as programs, on every engine of this build and with engines
//! mixed: the audio arrives as sent, in order and without gaps.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use crate::common::audio::{find, read_wav, speech_like, write_wav};
use crate::common::child::{B2b, b2b};
use b2b::ua::Engine;

const RATE: u32 = 8_000;

/// Flags that select this engine for every role.
fn on(engine: Engine) -> [&'static str; 2] {
    match engine {
        Engine::Native => ["--engine", "native"],
        Engine::Baresip => ["--engine", "baresip"],
    }
}

/// Runs a plan with these `[topology]` and `[expect]` lines in a new directory that contains `speech.wav`;
/// returns the directory and the ended process.
fn run_plan(seconds: f64, topology: &str, expect: &str, args: &[&str]) -> (tempfile::TempDir, B2b) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write_wav(&dir.path().join("speech.wav"), RATE, &speech_like(RATE, seconds));
    let wav = dir.path().join("out.wav");
    let bind = if topology.contains("sink.sip_bind") { "" } else { "sink.sip_bind = \"127.0.0.1:0\"\n" };
    let plan = format!(
        "[topology]\nsource.audio_file = \"speech.wav\"\n{bind}\
         sink.output = \"null\"\nsink.wav = {wav:?}\n{topology}\n[expect]\n{expect}\n"
    );
    let path = dir.path().join("test.plan.toml");
    std::fs::write(&path, plan).expect("written");
    let mut args = args.to_vec();
    args.splice(0..0, ["--role", "orchestrator", "--plan", path.to_str().expect("UTF-8")]);
    let mut it = b2b(&args);
    it.wait();
    (dir, it)
}

const DIRECT: &str = "source.sip_target = \"sip:sink@127.0.0.1:0\"";
const MIXED: &str = "source.sip_target = \"sip:mixer@127.0.0.1:0\"\n\
     mixer.sip_bind = \"127.0.0.1:0\"\nmixer.sip_target = \"sip:sink@127.0.0.1:0\"";

/// Searches the received audio for the sent audio, in quarters of a second and at their positions: nothing is
/// missing, duplicated or out of order. A quarter in which a busy machine made the jitter buffer conceal or
/// stretch may differ; one in ten is allowed.
fn assert_same_audio(dir: &Path, floor: f64) {
    let quarter = RATE as usize / 4;
    let sent = speech_like(RATE, 70.0);
    let got = read_wav(&dir.join("out.wav"));
    // An intact second, among the first three.
    let mut scores = Vec::new();
    let whole = [4, 8, 12].into_iter().find_map(|n| {
        let (score, at) = find(&sent[n * quarter..(n + 4) * quarter], &got, 0..(n + 8) * quarter);
        scores.push(score);
        (score > floor).then_some(at as i64 - (n * quarter) as i64)
    });
    let mut lag = whole.unwrap_or_else(|| panic!("no full second is found: {scores:?}"));
    let count = ((got.len() as i64 - lag) as usize / quarter).min(sent.len() / quarter).saturating_sub(2);
    let mut lost = Vec::new();
    for n in 4..count {
        let expected = ((n * quarter) as i64 + lag) as usize;
        let near = expected.saturating_sub(SLACK)..expected + SLACK + 1;
        let (score, at) = find(&sent[n * quarter..(n + 1) * quarter], &got, near);
        if score > floor {
            lag = at as i64 - (n * quarter) as i64;
        } else {
            lost.push((n, score));
        }
    }
    assert!(lost.len() * 10 <= count, "of {count} quarters of a second these are not found: {lost:?}");
}

/// Maximum movement of playout between two quarters, in samples.
const SLACK: usize = 800;

on_every_engine! {
    what_a_source_sends_is_what_the_sink_writes,
    a_call_over_tcp_carries_the_same_audio,
    an_a_law_call_with_30_ms_packets_over_ipv6_carries_the_same_audio,
    the_mixer_adds_digits_in_order_and_leaves_the_speech_in,
    a_violated_expectation_is_exit_1_with_expected_and_measured,
    the_report_is_made_from_what_the_roles_recorded,
    #[ignore = "takes a minute"]
    a_minute_through_the_mixer_has_no_gap_and_no_loss,
    a_limit_on_latency_is_judged_on_every_engine,
}

fn what_a_source_sends_is_what_the_sink_writes(engine: Engine) {
    let (dir, mut it) = run_plan(8.0, DIRECT, "min_duration_s = 7.9\nmax_loss_pct = 0", &on(engine));
    it.assert_exit(0);
    assert_same_audio(dir.path(), 0.99);
}

fn a_call_over_tcp_carries_the_same_audio(engine: Engine) {
    let over_tcp = DIRECT.replace("127.0.0.1:0", "127.0.0.1:0;transport=tcp");
    let (dir, mut it) = run_plan(5.0, &over_tcp, "max_loss_pct = 0", &on(engine));
    it.assert_exit(0);
    assert_same_audio(dir.path(), 0.99);
}

fn an_a_law_call_with_30_ms_packets_over_ipv6_carries_the_same_audio(engine: Engine) {
    let topology = "source.sip_target = \"sip:sink@[::1]:0\"\nsource.sip_bind = \"[::1]:0\"\n\
                    source.codec = \"pcma\"\nsource.ptime_ms = 30";
    let dir = tempfile::tempdir().expect("a temporary directory");
    write_wav(&dir.path().join("speech.wav"), RATE, &speech_like(RATE, 5.0));
    let wav = dir.path().join("out.wav");
    let plan = format!(
        "[topology]\nsource.audio_file = \"speech.wav\"\nsink.sip_bind = \"[::1]:0\"\n\
         sink.output = \"null\"\nsink.wav = {wav:?}\n{topology}\n"
    );
    let path = dir.path().join("v6.plan.toml");
    std::fs::write(&path, plan).expect("written");
    let engine = engine.to_string();
    let args = ["--role", "orchestrator", "--engine", &engine, "--plan", path.to_str().expect("UTF-8")];
    b2b(&args).assert_exit(0);
    assert_same_audio(dir.path(), 0.99);
}

fn the_mixer_adds_digits_in_order_and_leaves_the_speech_in(engine: Engine) {
    let topology = format!("{MIXED}\nmixer.dtmf_seq = \"+44 (20) 8*#A\"");
    let (dir, mut it) = run_plan(8.0, &topology, "max_loss_pct = 0", &on(engine));
    it.assert_exit(0);
    // The tones are mixed into the speech, which lowers its likeness.
    assert_same_audio(dir.path(), 0.3);
    let got = read_wav(&dir.path().join("out.wav"));
    let digits: String = b2b::media::dtmf::Detector::decode(&got).iter().map(|heard| heard.digit).collect();
    let sequence = "44208*#A";
    // A tone interrupted by a busy machine is detected twice, or not at all: require one whole round.
    assert!(digits.contains(sequence), "the sequence: {digits}");
    assert!(digits.len() > 2 * sequence.len(), "again and again: {digits}");
}

fn a_violated_expectation_is_exit_1_with_expected_and_measured(engine: Engine) {
    let (_dir, mut it) = run_plan(2.0, DIRECT, "min_duration_s = 30", &on(engine));
    it.assert_exit(1);
    let output = it.output();
    let line = output.lines().find(|line| line.contains("min_duration_s")).unwrap_or_default();
    assert!(line.contains("30") && (line.contains("2.") || line.contains("1.9")), "{output}");
}

// libbaresip has no impairment: it refuses --impair (below).
#[test]
fn loss_and_jitter_are_survived_without_a_hole_in_the_timeline() {
    let topology = format!("{DIRECT}\nsink.impair = \"loss=5,jitter=20,reorder=2,dup=1,seed=7\"");
    let (dir, mut it) = run_plan(12.0, &topology, "min_duration_s = 11.9", &on(Engine::Native));
    it.assert_exit(0);
    assert!(it.output().contains("loss=5"), "the summary says that the impairer was on\n{}", it.output());
    assert_same_audio(dir.path(), 0.5);
}

#[cfg(feature = "baresip")]
#[test]
fn an_impaired_plan_is_refused_on_baresip_with_64_before_the_sink_is_ready() {
    let topology = format!("{DIRECT}\nsink.impair = \"loss=5\"");
    let (_dir, mut it) = run_plan(2.0, &topology, "", &on(Engine::Baresip));
    it.assert_exit(64);
    let output = it.output();
    assert!(output.contains("--impair needs --engine native") && !output.contains("READY at"), "{output}");
}

fn the_report_is_made_from_what_the_roles_recorded(engine: Engine) {
    let report = tempfile::tempdir().expect("a temporary directory");
    let topology = format!("{MIXED}\nmixer.dtmf_seq = \"12\"");
    let engine = engine.to_string();
    let args = ["--engine", &engine, "--report", report.path().to_str().expect("UTF-8")];
    let (_dir, mut it) = run_plan(4.0, &topology, "max_loss_pct = 0", &args);
    it.assert_exit(0);
    let json = std::fs::read_to_string(report.path().join("report.json")).expect("report.json");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(json.to_string().contains("max_loss_pct"));
    let html = std::fs::read_to_string(report.path().join("report.html")).expect("report.html");
    for part in ["INVITE", "<svg", "data:image/png;base64,", "BYE"] {
        assert!(html.contains(part), "{part} is in the page");
    }
    let html = html.replace("http://www.w3.org/2000/svg", "");
    for elsewhere in ["<script", "<link", "url(", "@import", "src=\"http", "href=\"http"] {
        assert!(!html.contains(elsewhere), "the page loads something: {elsewhere}");
    }
}

fn a_limit_on_latency_is_judged_on_every_engine(engine: Engine) {
    // No chain is this fast.
    let (_dir, mut it) = run_plan(2.0, DIRECT, "max_latency_ms = 1\nmax_loss_pct = 0", &on(engine));
    it.assert_exit(1);
    assert!(it.output().contains("NOT MET max_latency_ms"), "{}", it.output());
    assert_eq!(it.output().contains("by the sound"), !engine.measures_latency(), "{}", it.output());
}

/// The report contains the latency measured by audio and the latency measured by stamps.
#[test]
fn the_latency_by_the_sound_is_that_of_the_stamps() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let report = dir.path().join("report");
    let (_dir, mut it) = run_plan(6.0, MIXED, "", &["--report", report.to_str().expect("UTF-8")]);
    it.assert_exit(0);
    let json = std::fs::read_to_string(report.join("report.json")).expect("a report");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["chain"]["latency_by"], "stamps");
    let stamps = json["chain"]["latency_ms_p50"].as_f64().expect("a latency by stamps");
    let sound = json["analysis"]["audio"]["latency_ms_p50"].as_f64().expect("a latency by the sound");
    assert!((stamps - sound).abs() < 20.0, "{stamps} ms by stamps, {sound} ms by the sound");
}

/// The intermediary removes the header extension from the offer, as a PBX does: no stamps pass.
#[test]
fn behind_a_pbx_the_latency_is_measured_by_the_sound() {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
    let pbx = pbx_before(free);
    let topology = format!("source.sip_target = \"sip:900@{pbx}\"\nsink.sip_bind = \"{free}\"");
    let (_dir, mut it) = run_plan(6.0, &topology, "max_latency_ms = 1\nmin_mos = 3", &[]);
    it.assert_exit(1);
    let output = it.output();
    assert!(output.contains("NOT MET max_latency_ms") && output.contains("ms (by the sound"), "{output}");
    assert!(output.contains("met min_mos") && !output.contains("listening only"), "{output}");
}

/// Forwards SIP messages to this address and back, without the header extension for capture times.
fn pbx_before(callee: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut message, mut caller) = (vec![0; 65_536], None);
        while let Ok((length, from)) = socket.recv_from(&mut message) {
            let text =
                String::from_utf8_lossy(&message[..length]).replace("abs-capture-time", "abs-capture-tide");
            let to = if from == callee { caller } else { Some(callee) };
            caller = if from == callee { caller } else { Some(from) };
            let _ = to.map(|to| socket.send_to(text.as_bytes(), to));
        }
    });
    address
}

/// Sends speech through a chain whose roles run on these engines.
#[cfg(feature = "baresip")]
fn mixed(source: Engine, mixer: Engine, sink: Engine) {
    let engines =
        format!("source.engine = \"{source}\"\nmixer.engine = \"{mixer}\"\nsink.engine = \"{sink}\"");
    let topology = format!("{MIXED}\n{engines}");
    let expect = "min_duration_s = 7.9\nmax_loss_pct = 0";
    let (dir, mut it) = run_plan(8.0, &topology, expect, &[]);
    it.assert_exit(0);
    let line = format!("engines   source {source}, mixer {mixer}, sink {sink}");
    assert!(it.output().contains(&line), "{}", it.output());
    assert_same_audio(dir.path(), 0.9);
}

#[cfg(feature = "baresip")]
#[test]
fn speech_goes_through_a_baresip_mixer_between_native_ends() {
    mixed(Engine::Native, Engine::Baresip, Engine::Native);
}

#[cfg(feature = "baresip")]
#[test]
fn speech_goes_through_a_native_mixer_between_baresip_ends() {
    mixed(Engine::Baresip, Engine::Native, Engine::Baresip);
}

/// The long test: run by `.ci/run`.
fn a_minute_through_the_mixer_has_no_gap_and_no_loss(engine: Engine) {
    let expect = "min_duration_s = 60\nmax_rtp_gap_ms = 20\nmax_loss_pct = 0\nmax_latency_ms = 250";
    let (dir, mut it) = run_plan(60.5, MIXED, expect, &on(engine));
    it.assert_exit(0);
    assert_same_audio(dir.path(), 0.9);
}

/// A peer that forwards with its own sequence numbers hides its losses: here the mixer, which loses packets
/// from its caller, while its callee gets every packet. The temporary recordings are deleted afterwards.
#[test]
fn what_cannot_be_heard_is_missed_whatever_the_sequence_numbers_say() {
    let (_dir, mut it) = run_plan(4.0, DIRECT, "min_intact_pct = 80", &[]);
    it.assert_exit(0);
    assert!(it.output().contains("met min_intact_pct: expected at least 80 %, measured"), "{}", it.output());
    let lossy = format!("{MIXED}\nmixer.impair = \"loss=40,seed=7\"");
    let (_dir, mut it) = run_plan(4.0, &lossy, "min_intact_pct = 95", &[]);
    it.assert_exit(1);
    assert!(it.output().contains("NOT MET min_intact_pct: expected at least 95 %"), "{}", it.output());
    let left = std::env::temp_dir().join(format!("b2b-{}.recordings", it.pid()));
    assert!(!left.exists(), "{left:?}");
}
