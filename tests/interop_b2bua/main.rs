//! SIPp on both sides of the b2bua.
//! `cargo test --release -- --ignored interop`; needs `sipp` (Debian: sip-tester).
#![cfg(feature = "server")]

#[path = "../interop_support/mod.rs"]
mod interop_support;

mod dialling;
mod group;
mod in_call;
mod lab;
mod registrar;
mod transfers;
mod transports;

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use interop_support::{Running, file, free_port, print_version, signal, write_ulaw};

/// A b2bua that trusts this machine, with these lines behind `[server]`, and its address.
fn b2bua(folder: &Path, trusted: &str, lines: &str) -> (Running, String) {
    let port = free_port();
    let config = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:{port}\", \"tcp:127.0.0.1:{port}\"]\ntrusted = [{trusted}]\n\
         domains = [\"b2b.example\"]\nstore = \"memory\"\ncdr = \"cdr.jsonl\"\ndrain_s = 2\n[http]\nlisten = \"off\"\n{lines}"
    );
    let path = folder.join("b2bua.toml");
    fs::write(&path, config).expect("a file");
    Running::role("b2bua", &["--config", path.to_str().expect("UTF-8")])
}

const TRUSTED: &str = "\"127.0.0.0/8\"";

/// SIPp with a scenario of ours; what it sends and receives goes into `<name>.msg`.
fn sipp(folder: &Path, name: &str, scenario: &str, port: u16, arguments: &[&str]) -> Running {
    print_version("sipp", "-v", "SIPp");
    write_ulaw(&folder.join("tone.ulaw"), &signal(30));
    let (media, messages) = (free_port().to_string(), format!("{name}.msg"));
    let mut command = Command::new("sipp");
    command.current_dir(folder).arg("-sf").arg(file("tests/sipp").join(scenario));
    command.args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", &port.to_string(), "-mp", &media]);
    command.args(["-m", "1", "-nostdin", "-timeout", "40", "-timeout_error"]);
    command.args(["-trace_msg", "-message_file", &messages]);
    Running::start(name, command.args(arguments))
}

fn messages(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(format!("{name}.msg"))).expect("messages")
}

fn to(name: &str, port: u16) -> String {
    format!("[[route]]\ncalled = \"{name}\"\nto = \"sip:{name}@127.0.0.1:{port}\"\n")
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_joins_two_sipps_and_shows_neither_the_other() {
    let folder = tempfile::tempdir().expect("dir");
    let (callee_port, caller_port) = (free_port(), free_port());
    let (b2bua, at) = b2bua(folder.path(), TRUSTED, &to("lab", callee_port));
    let callee = sipp(folder.path(), "callee", "uas.xml", callee_port, &["-rtp_echo"]);
    sipp(folder.path(), "caller", "uac.xml", caller_port, &[&at, "-d", "2000"]).wait_ok();
    callee.wait_ok();
    let (callee, caller) = (messages(folder.path(), "callee"), messages(folder.path(), "caller"));
    assert!(!callee.contains(&format!(":{caller_port}")), "the caller's address shows:\n{callee}");
    assert!(!caller.contains(&format!(":{callee_port}")), "the callee's address shows:\n{caller}");
    let call_id =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("Call-ID: ").map(str::to_owned));
    assert_ne!(call_id(&callee), call_id(&caller));
    b2bua.signal(Signal::SIGTERM);
    b2bua.wait_ok();
    let records = fs::read_to_string(folder.path().join("cdr.jsonl")).expect("records");
    assert_eq!(records.lines().filter(|line| line.contains("ANSWERED")).count(), 2, "{records}");
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_passes_a_refusal_on() {
    let folder = tempfile::tempdir().expect("dir");
    let port = free_port();
    let (_b2bua, at) = b2bua(folder.path(), TRUSTED, &to("lab", port));
    let callee = sipp(folder.path(), "callee", "uas_busy.xml", port, &[]);
    sipp(folder.path(), "caller", "uac_refused.xml", free_port(), &[&at, "-s", "lab"]).wait_ok();
    callee.wait_ok();
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_cancels_the_callee_of_a_caller_who_gives_up() {
    let folder = tempfile::tempdir().expect("dir");
    let port = free_port();
    let (_b2bua, at) = b2bua(folder.path(), TRUSTED, &to("lab", port));
    let callee = sipp(folder.path(), "callee", "uas_cancelled.xml", port, &[]);
    sipp(folder.path(), "caller", "uac_cancel.xml", free_port(), &[&at, "-s", "lab"]).wait_ok();
    callee.wait_ok();
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_rings_a_group_of_three_and_the_first_to_answer_wins() {
    let folder = tempfile::tempdir().expect("dir");
    let ports = [free_port(), free_port(), free_port()];
    let targets = ports.map(|port| format!("\"sip:m@127.0.0.1:{port}\"")).join(", ");
    let lines = format!("[[route]]\ncalled = \"lab\"\nto = [{targets}]\nstrategy = \"parallel\"\n");
    let (_b2bua, at) = b2bua(folder.path(), TRUSTED, &lines);
    let group = [
        sipp(folder.path(), "first", "uas_cancelled.xml", ports[0], &[]),
        sipp(folder.path(), "second", "uas_cancelled.xml", ports[1], &[]),
        sipp(folder.path(), "winner", "uas_early.xml", ports[2], &[]),
    ];
    sipp(folder.path(), "caller", "uac_plain.xml", free_port(), &[&at, "-s", "lab", "-d", "500"]).wait_ok();
    for member in group {
        member.wait_ok();
    }
    let heard = messages(folder.path(), "caller");
    let early = heard.matches("SIP/2.0 183").count();
    assert!(early >= 1, "the early media of the winner was not heard:\n{heard}");
    assert!(messages(folder.path(), "first").contains("Call completed elsewhere"));
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_carries_hold_and_resume_across() {
    let folder = tempfile::tempdir().expect("dir");
    let port = free_port();
    let lines = to("lab", port) + "mode = \"transparent\"\n";
    let (_b2bua, at) = b2bua(folder.path(), TRUSTED, &lines);
    let callee = sipp(folder.path(), "callee", "uas_hold.xml", port, &[]);
    sipp(folder.path(), "caller", "uac_hold.xml", free_port(), &[&at, "-d", "1000"]).wait_ok();
    callee.wait_ok();
    assert!(messages(folder.path(), "callee").contains("a=sendonly"));
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_transfers_blindly_and_tells_the_referrer() {
    let folder = tempfile::tempdir().expect("dir");
    let (port, target) = (free_port(), free_port());
    let lines = to("lab", port)
        + &format!("[[gateway]]\nname = \"g\"\nhosts = [\"127.0.0.1:{target}\"]\ntransport = \"udp\"\n")
        + "[[group]]\nname = \"target\"\nmembers = [\"gateway/g/target\"]\n";
    let (_b2bua, at) = b2bua(folder.path(), TRUSTED, &lines);
    let stays = sipp(folder.path(), "stays", "uas_refreshed.xml", port, &[]);
    let arrives = sipp(folder.path(), "arrives", "uas.xml", target, &[]);
    sipp(folder.path(), "referrer", "uac_refer.xml", free_port(), &[&at, "-s", "lab"]).wait_ok();
    stays.wait_ok();
    arrives.wait_ok();
    let told = messages(folder.path(), "referrer");
    assert!(told.contains("message/sipfrag") && told.contains("SIP/2.0 200 OK"), "{told}");
}

const USERS: &str = "[[user]]\nname = \"1001\"\npassword = \"secret-1001\"\n\
                     [[route]]\ncalled = '1\\d{3}'\nto = \"user/$0\"\n";

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_registers_a_phone_and_calls_it_for_who_has_a_password() {
    let folder = tempfile::tempdir().expect("dir");
    let (_b2bua, at) = b2bua(folder.path(), "", USERS);
    let phone = free_port();
    let password = ["-au", "1001", "-ap", "secret-1001"];
    sipp(folder.path(), "register", "register.xml", phone, &[&[at.as_str()], &password[..]].concat())
        .wait_ok();
    let callee = sipp(folder.path(), "callee", "uas.xml", phone, &[]);
    // By itself SIPp leaves the user out of the digest's uri.
    let uri = format!("1001@{at}");
    let arguments = [&[at.as_str(), "-s", "1001", "-auth_uri", &uri], &password[..]].concat();
    sipp(folder.path(), "caller", "uac_auth.xml", free_port(), &arguments).wait_ok();
    callee.wait_ok();
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_takes_no_call_without_a_password() {
    let folder = tempfile::tempdir().expect("dir");
    let (_b2bua, at) = b2bua(folder.path(), "", USERS);
    let password = ["-au", "1001", "-ap", "wrong"];
    let uri = format!("1001@{at}");
    let arguments = [&[at.as_str(), "-s", "1001", "-auth_uri", &uri], &password[..]].concat();
    let ended = sipp(folder.path(), "caller", "uac_auth.xml", free_port(), &arguments).wait();
    assert_ne!(ended.code, Some(0), "a wrong password was taken");
    let seen = messages(folder.path(), "caller");
    assert!(seen.contains("Proxy-Authorization:"), "no password was sent\n{seen}");
    let challenged = |rest: &str| rest.lines().take(12).any(|line| line.starts_with("CSeq: 2 INVITE"));
    assert!(seen.split("SIP/2.0 407").skip(1).any(challenged), "not challenged again\n{seen}");
    assert!(!seen.contains("SIP/2.0 200") && !seen.contains("SIP/2.0 18"), "{seen}");
}
