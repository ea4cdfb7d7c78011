//! The load role with scenarios of SIPp, without SIPp: against itself, with a server between, and against a
//! phone of the lab. Tests with SIPp are in tests/interop/load.rs.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::child::{B2b, b2b};

/// A scenario of `tests/sipp`, as flags.
fn scenario(name: &str) -> [String; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(name);
    ["--scenario".to_owned(), path.to_str().unwrap().to_owned()]
}

/// A load with these flags that writes a report into this folder, which is also the working directory of its
/// scenarios.
fn load(folder: &Path, flags: &[&str]) -> B2b {
    let report = folder.join("report");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.current_dir(folder).args(["--role", "load", "--sip-bind", "127.0.0.1:0", "--report"]).arg(report);
    B2b::start(command.args(flags).args(["--scenario-key", "sound=tone.ulaw"]))
}

/// Waits for the end of a load; returns the exit code and load.json.
fn end(mut load: B2b, folder: &Path) -> (i32, Value) {
    let code = load.wait().code().unwrap();
    let text = fs::read_to_string(folder.join("report/load.json"));
    let text = text.unwrap_or_else(|error| panic!("{error}: {}", load.stderr().join("\n")));
    (code, serde_json::from_str(&text).unwrap())
}

/// Runs calls by scenarios on both sides, with a server between them if `server` is set; returns both
/// reports.
fn calls([caller, callee]: [&str; 2], more: [&[&str]; 2], server: bool, calls: u32) -> [Value; 2] {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    folders.iter().for_each(|folder| fs::write(folder.path().join("tone.ulaw"), [0x55_u8; 1_600]).unwrap());
    let words = scenario(callee);
    let flags = [&[words[0].as_str(), &words[1]], more[1]].concat();
    let mut callees = load(folders[1].path(), &flags);
    let mut at = callees.ready();
    let between = server.then(|| {
        let config = format!(
            "[server]\nlisten = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\"]\ntrusted = [\"127.0.0.0/8\"]\n\
             store = \"memory\"\ndrain_s = 1\n[http]\nlisten = \"off\"\n\
             [[route]]\ncalled = \"1000\"\nto = \"sip:1000@{at}\"\nmode = \"transparent\"\n"
        );
        let path = folders[0].path().join("b2bua.toml");
        fs::write(&path, config).unwrap();
        let mut server = b2b(&["--role", "b2bua", "--config", path.to_str().unwrap()]);
        at = server.ready();
        server
    });
    let (target, words, count) = (format!("sip:1000@{at}"), scenario(caller), calls.to_string());
    let flags = ["--target", &target, &words[0], &words[1], "--calls", &count, "--rate", "50"];
    let callers = load(folders[0].path(), &[&flags[..], more[0]].concat());
    let (_, calling) = end(callers, folders[0].path());
    callees.signal(Signal::SIGTERM);
    let (_, called) = end(callees, folders[1].path());
    drop(between);
    [calling, called]
}

/// Asserts that all calls of a side were completed.
fn all_done(run: &Value, side: &str, calls: u32) {
    let side = &run[side];
    assert_eq!((&side["done"], &side["failed"]), (&calls.into(), &0.into()), "{run:#}");
}

const RTCP: [&str; 2] = ["--scenario-key", "rtcp=a=rtcp-mux"];

#[test]
fn scenarios_call_and_answer_each_other_with_a_server_between() {
    let pause = [&RTCP[..], &["--hold-s", "0.1"]].concat();
    let [calling, called] = calls(["load/caller.xml", "load/callee.xml"], [&pause, &RTCP], true, 50);
    all_done(&calling, "callers", 50);
    all_done(&called, "callees", 50);
    for figure in ["setup", "ringing", "ending"] {
        assert_eq!(calling[figure]["count"], 50, "{figure}: {calling:#}");
    }
    assert_eq!((&calling["callers"]["answered"], &called["callees"]["answered"]), (&50.into(), &50.into()));
}

/// Values for SIPp's `-key` in the scenarios of `tests/interop`.
const KEYS: [&str; 12] = [
    "rtcp=a=rtcp-mux",
    "more=",
    "hops=70",
    "mport=16000",
    "formats=0",
    "formats_then=8",
    "hold=a=sendonly",
    "hold_ip=127.0.0.1",
    "answer=a=sendrecv",
    "more_asked=\r\nContent-Type: application/dtmf-relay",
    "body=Signal=1",
    "reply_more=",
];

#[test]
fn a_scenario_may_name_its_calls_and_acknowledges_where_no_contact_has_come() {
    let folder = TempDir::new().unwrap();
    let request = |line: &str| {
        format!(
            "<send><![CDATA[\n{line} SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\n\
             From: <sip:ann@[local_ip]>;tag=[call_number]\nTo: <sip:[service]@[remote_ip]>[peer_tag_param]\n\
             Call-ID: campaign:///[call_id]\nCSeq: 1 {}\nMax-Forwards: 70\nContent-Length: 0\n\n]]></send>",
            line.split(' ').next().unwrap()
        )
    };
    let scenario = format!(
        "<scenario>{}<recv response=\"486\"/>{}</scenario>",
        request("INVITE sip:[service]@[remote_ip]:[remote_port]"),
        request("ACK [next_url]")
    );
    fs::write(folder.path().join("named.xml"), scenario).unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let at = far.local_addr().unwrap();
    let target = format!("sip:1000@{at}");
    let load = load(folder.path(), &["--scenario", "named.xml", "--calls", "1", "--target", &target]);
    let mut buffer = [0; 2_048];
    let mut comes = || {
        let (length, from) = far.recv_from(&mut buffer).expect("a request");
        (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
    };
    let (invite, from) = comes();
    assert!(invite.contains("\r\nCall-ID: campaign:///"), "{invite}");
    let fields =
        invite.split_once("\r\n").unwrap().1.replace("<sip:1000@127.0.0.1>", "<sip:1000@127.0.0.1>;tag=1");
    far.send_to(format!("SIP/2.0 486 Busy Here\r\n{fields}").as_bytes(), from).unwrap();
    let (ack, _) = comes();
    assert!(ack.starts_with(&format!("ACK sip:1000@{at} SIP/2.0\r\n")), "{ack}");
    let (code, report) = end(load, folder.path());
    all_done(&report, "callers", 1);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn each_pair_of_scenarios_goes_to_its_end_with_a_server_between() {
    let keys = KEYS.iter().chain(&["reply_body="]).flat_map(|key| ["--scenario-key", key]);
    let flags: Vec<&str> = keys.chain(["--hold-s", "0.3"]).collect();
    for pair in [
        ["load/caller_refused.xml", "load/callee_busy.xml"],
        ["load/caller_gives_up.xml", "load/callee_cancelled.xml"],
        ["uac_100rel.xml", "uas_100rel.xml"],
        ["caller_offers_late.xml", "callee_offers.xml"],
        ["caller_holds.xml", "callee_held.xml"],
        ["caller_held.xml", "callee_holds.xml"],
        ["caller_changes_codec.xml", "callee_moved.xml"],
        ["caller_asks_info.xml", "callee_asked.xml"],
        ["caller_gives_way.xml", "callee_crosses.xml"],
    ] {
        let [calling, called] = calls(pair, [&flags, &flags], true, 2);
        all_done(&calling, "callers", 2);
        all_done(&called, "callees", 2);
    }
}

#[test]
fn a_stream_of_a_file_is_sent_as_rtp_and_echoed() {
    // A quarter of the packets sent in this time is enough, because the machine may be busy.
    let flags = ["--hold-s", "2"];
    let [calling, called] = calls(["uac.xml", "uas.xml"], [&flags, &["--rtp-echo"]], false, 2);
    all_done(&calling, "callers", 2);
    let (sent, back) = (&calling["callers"]["packets"]["sent"], &calling["callers"]["packets"]["received"]);
    assert!(sent.as_u64().unwrap() >= 40 && back.as_u64().unwrap() >= 20, "{calling:#}");
    assert!(called["callees"]["packets"]["received"].as_u64().unwrap() >= 20, "{called:#}");
}

#[test]
fn a_run_that_is_ended_while_a_call_hangs_has_failed() {
    let folder = TempDir::new().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let waits = "<scenario><send><![CDATA[\nOPTIONS sip:[remote_ip] SIP/2.0\n\
                 Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nFrom: <sip:ann@[local_ip]>;tag=1\n\
                 To: <sip:[remote_ip]>\nCall-ID: [call_id]\nCSeq: 1 OPTIONS\nMax-Forwards: 70\n\
                 Content-Length: 0\n\n]]></send><recv response=\"200\" timeout=\"3600000\"/></scenario>";
    fs::write(folder.path().join("waits.xml"), waits).unwrap();
    let target = format!("sip:{}", silent.local_addr().unwrap());
    let mut load = load(
        folder.path(),
        &["--target", &target, "--scenario", "waits.xml", "--calls", "1", "--rate", "50"],
    );
    load.ready();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    silent.recv(&mut [0; 2_000]).expect("its request");
    // The first one lets calls end, the second one does not; two that wait to be taken at once are one (signal(7)).
    load.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(300));
    load.signal(Signal::SIGTERM);
    let (code, run) = end(load, folder.path());
    assert_eq!((code, &run["callers"]["failed"]), (1, &1.into()), "{run:#}");
    assert_eq!(run["callers"]["failures"][0]["why"], "still up when the run was ended", "{run:#}");
}

#[test]
fn a_scenario_calls_a_sink() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("tone.ulaw"), [0x55_u8; 1_600]).unwrap();
    let mut sink = b2b(&["--role", "sink", "--sip-bind", "127.0.0.1:0", "--output", "null"]);
    let (target, words) = (format!("sip:lab@{}", sink.ready()), scenario("uac.xml"));
    let flags = ["--target", &target, &words[0], &words[1], "--hold-s", "0.5"];
    let (_, run) = end(load(folder.path(), &flags), folder.path());
    all_done(&run, "callers", 1);
    assert!(sink.wait().success());
}

#[test]
fn an_answer_that_no_step_waits_for_fails_the_call_by_its_line() {
    let flags = [&RTCP[..], &["--hold-s", "0.1"]].concat();
    let [calling, _] = calls(["load/caller.xml", "load/callee_busy.xml"], [&flags, &[]], false, 2);
    let failure = &calling["callers"]["failures"][0];
    assert_eq!((&failure["calls"], &failure["why"]), (&2.into(), &"unexpected 486".into()), "{calling:#}");
    assert!(failure["step"].as_str().unwrap().starts_with("line "), "{calling:#}");
    assert_eq!(calling["verdict"]["result"], "failed");
}

/// The error for these flags before the load begins.
fn refused(flags: &[&str]) -> String {
    let mut load = b2b(&[&["--role", "load"], flags].concat());
    assert_eq!(load.wait().code(), Some(64));
    load.stderr().join("\n")
}

#[test]
fn a_plan_names_a_scenario_and_its_keys() {
    let folder = TempDir::new().unwrap();
    let written = scenario("load/callee.xml");
    fs::copy(PathBuf::from(&written[1]), folder.path().join("callee.xml")).unwrap();
    let plan = folder.path().join("plan.toml");
    let text = "[load]\nsip_bind = \"127.0.0.1:0\"\nscenario = \"callee.xml\"\n";
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap();
    assert!(refused(&["--plan", plan]).contains("--scenario-key rtcp=VALUE"));
    fs::write(plan, format!("{text}[load.scenario_keys]\nrtcp = \"a=rtcp-mux\"\n")).unwrap();
    let mut callees = b2b(&["--role", "load", "--plan", plan]);
    callees.ready();
    callees.signal(Signal::SIGTERM);
    callees.wait();
}

#[test]
fn what_does_not_go_with_a_scenario_is_refused_before_it_begins() {
    let [flag, path] = scenario("options.xml");
    let target = "sip:1000@127.0.0.1:9";
    for (flags, said) in [
        (&[flag.as_str(), &path][..], "add --target"),
        (&[&flag, &path, "--target", target, "--caller", "dial 1"], "replaces the steps"),
        (&[&flag, &path, "--target", "sip:1000@127.0.0.1:9;transport=tcp"], "scenarios use UDP"),
        (&["--scenario", "none.xml", "--target", target], "none.xml: "),
        (&["--target", target, "--rtp-echo"], "add --scenario FILE.xml"),
        (&[&flag, &path, "--target", target, "--scenario-key", "more"], "write NAME=VALUE"),
    ] {
        let told = refused(flags);
        assert!(told.contains(said), "{flags:?}: {told}");
    }
}
