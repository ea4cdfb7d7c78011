//! A SIPp subscribes to a mailbox (RFC 3842): it is empty, then has a message, then the subscription ends.
//! `cargo test --test program interop::messages:: -- --ignored`; needs `sipp` (Debian: sip-tester).

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::interop::support::{LIMIT, Running, free_port, signal, sipp, write_wav};

/// One user with a mailbox; 127.0.0.2 may call without a password.
const SERVER: &str = "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\ntrusted = [\"127.0.0.2\"]\n\
    [http]\nlisten = \"off\"\n[voicemail]\nfolder = \"voicemail\"\n\
    [[user]]\nname = \"1001\"\npassword = \"asecretoften\"\n[[mailbox]]\nname = \"1001\"\npin = \"4711\"\n\
    [[route]]\ncalled = \"leave\"\napp = \"voicemail/1001\"\n";

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_sipp_is_told_of_a_message_that_is_left() {
    let folder = tempfile::tempdir().expect("dir");
    let path = folder.path().join("b2bua.toml");
    fs::write(&path, SERVER).expect("the configuration");
    let (server, at) =
        Running::role("b2bua", &["--config", path.to_str().expect("UTF-8"), "--sip-bind", "127.0.0.1:0"]);
    let password = ["-s", "1001", "-au", "1001", "-ap", "asecretoften", &at];
    let lamp = sipp(folder.path(), "watches_mailbox.xml", free_port(), &password);
    let told = || {
        let files = fs::read_dir(folder.path()).expect("a folder").flatten();
        let mut logs = files.filter(|it| it.file_name().to_string_lossy().ends_with("_messages.log"));
        logs.any(|it| fs::read_to_string(it.path()).is_ok_and(|it| it.contains("Messages-Waiting: no")))
    };
    let end = Instant::now() + LIMIT;
    while !told() {
        assert!(Instant::now() < end, "nobody was told of the mailbox");
        thread::sleep(Duration::from_millis(20));
    }
    let voice = folder.path().join("voice.wav");
    write_wav(&voice, &signal(3));
    let target = format!("sip:leave@{at}");
    let voice = voice.to_str().expect("UTF-8");
    // After the greeting and the beep two seconds of it remain.
    let (source, _) =
        Running::role("source", &["--sip-bind", "127.0.0.2:0", "--target", &target, "--audio-file", voice]);
    source.wait_ok();
    lamp.wait_ok();
    server.signal(Signal::SIGTERM);
    server.wait_ok();
}
