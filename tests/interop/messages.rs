//! A baresip of Debian shows what lies in its mailbox, by its module `mwi`: nothing, a message
//! once somebody has left one. It has no lamps of users (RFC 4235).
//! `cargo test --release --test interop messages:: -- --ignored`; needs `baresip` (Debian:
//! baresip-core).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::interop_support::{Running, free_port, print_version, signal, write_wav};
use nix::sys::signal::Signal;

/// One user with a mailbox; 127.0.0.2 may call without a password.
const SERVER: &str = "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\ntrusted = [\"127.0.0.2\"]\n\
    [http]\nlisten = \"off\"\n[voicemail]\nfolder = \"voicemail\"\n\
    [[user]]\nname = \"1001\"\npassword = \"asecretoften\"\n[[mailbox]]\nname = \"1001\"\npin = \"4711\"\n\
    [[route]]\ncalled = \"leave\"\napp = \"voicemail/1001\"\n";

fn phone(folder: &Path, server: &str) -> Running {
    let folders = ["/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules"];
    let modules = folders.into_iter().find(|folder| Path::new(folder).join("mwi.so").exists());
    let (port, rtp) = (free_port(), free_port());
    let config = format!(
        "sip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\nrtp_ports {rtp}-{}\nmodule_path {}\n\
         module stdio.so\nmodule g711.so\nmodule ausine.so\nmodule aubridge.so\naudio_source ausine,440\n\
         audio_player aubridge,x\naudio_alert aubridge,xa\nmodule_app account.so\nmodule_app menu.so\n\
         module_app mwi.so\n",
        rtp + 10,
        modules.expect("baresip's module mwi; .ci/run installs it")
    );
    fs::write(folder.join("config"), config).expect("config");
    let account = format!("<sip:1001@{server}>;auth_pass=asecretoften;regint=60;mwi=yes\n");
    fs::write(folder.join("accounts"), account).expect("accounts");
    fs::write(folder.join("contacts"), "").expect("contacts");
    let mut command = Command::new("baresip");
    command.current_dir(folder).env("HOME", folder).args(["-f", ".", "-t", "90"]);
    Running::interactive("baresip", &mut command)
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_shows_a_message_that_is_left() {
    print_version("baresip", "-h", "baresip v");
    let folder = tempfile::tempdir().expect("dir");
    let path = folder.path().join("b2bua.toml");
    fs::write(&path, SERVER).expect("the configuration");
    let (server, at) =
        Running::role("b2bua", &["--config", path.to_str().expect("UTF-8"), "--sip-bind", "127.0.0.1:0"]);
    // baresip 1.0 sends SUBSCRIBE without an end, and does not wait for an answer, in one of six
    // starts or so.
    let told = |_| {
        let mut phone = phone(folder.path(), &at);
        // One, or those of its forerunners, too.
        phone.line(" binding");
        phone.line_within("Messages-Waiting: no", Duration::from_secs(5)).map(|_| phone)
    };
    let mut phone = (0..10).find_map(told).expect("one of ten phones is told of its mailbox");
    phone.line("Voice-Message: 0/0");
    let voice = folder.path().join("voice.wav");
    write_wav(&voice, &signal(3));
    let target = format!("sip:leave@{at}");
    let voice = voice.to_str().expect("UTF-8");
    // Behind the greeting and the beep two seconds of it are left.
    let (source, _) =
        Running::role("source", &["--sip-bind", "127.0.0.2:0", "--target", &target, "--audio-file", voice]);
    source.wait_ok();
    phone.line("Messages-Waiting: yes");
    phone.line("Voice-Message: 1/0");
    phone.types("/quit");
    phone.wait_ok();
    server.signal(Signal::SIGTERM);
    server.wait_ok();
}
