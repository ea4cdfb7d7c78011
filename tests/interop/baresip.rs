//! baresip calls the sink and is called by the source; what arrives is compared
//! with what was sent. `cargo test --release -- --ignored interop`; needs
//! `baresip` (Debian: baresip-core).

use std::fs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::interop::support::{
    Running, assert_arrived, bound, file, free_port, print_version, samples, signal, write_wav,
};
use nix::sys::signal::Signal;

/// Where Debian puts baresip's modules, with or without the architecture.
fn modules() -> PathBuf {
    let folders = ["/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules"];
    let found = folders.iter().map(PathBuf::from).find(|folder| folder.join("g711.so").exists());
    found.expect("baresip's modules; .ci/run installs them")
}

/// baresip, headless, with what it shall say in `folder/said.wav`; records what
/// it hears there.
fn baresip(folder: &Path, said: &[i16], arguments: &[&str]) -> (Running, u16) {
    print_version("baresip", "-h", "baresip v");
    let (port, rtp) = (free_port(), free_port());
    write_wav(&folder.join("said.wav"), said);
    let folder_text = folder.display();
    let config = format!(
        "sip_listen 127.0.0.1:{port}\n\
         net_interface 127.0.0.1\n\
         audio_source aufile,{folder_text}/said.wav\n\
         audio_player aubridge,x\n\
         audio_alert aubridge,xa\n\
         ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\n\
         rtp_ports {rtp}-{}\n\
         module_path {}\n\
         module g711.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\n\
         snd_path {folder_text}\n\
         module_app account.so\nmodule_app menu.so\n",
        rtp + 10,
        modules().display()
    );
    let account = format!(
        "<sip:baresip@127.0.0.1:{port}>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1,PCMA/8000/1\n"
    );
    fs::write(folder.join("config"), config).expect("config");
    fs::write(folder.join("accounts"), account).expect("accounts");
    fs::write(folder.join("contacts"), "").expect("contacts");
    let mut command = Command::new("baresip");
    command.env("HOME", folder).arg("-f").arg(folder).args(["-4", "-t", "40"]).args(arguments);
    (Running::start("baresip", &mut command), port)
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_calls_the_sink() {
    let folder = tempfile::tempdir().expect("dir");
    let wav = folder.path().join("heard.wav");
    let (sink, at) = Running::role("sink", &["--output", "null", "--wav", wav.to_str().expect("UTF-8")]);
    let said = signal(30);
    let dial = format!("/dial sip:sink@{at}");
    let (baresip, _) = baresip(folder.path(), &said, &["-e", &dial]);
    thread::sleep(Duration::from_secs(6));
    baresip.signal(Signal::SIGTERM);
    baresip.wait();
    let metrics = sink.wait_ok().metrics();
    assert!(metrics["packets_rx"].as_u64().is_some_and(|packets| packets > 150), "{metrics}");
    assert_eq!(metrics["rtp_loss"], 0);
    let heard = samples(&wav);
    assert!(heard.len() > 3 * 8_000, "only {} samples", heard.len());
    // The first half second may hold the jitter buffer's adaptation to baresip's clock.
    assert_arrived(&said[..heard.len().min(said.len()) - 8_000], &heard, 0.7);
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_the_source_calls_baresip() {
    let folder = tempfile::tempdir().expect("dir");
    let (baresip, port) = baresip(folder.path(), &signal(30), &[]);
    bound(port);
    let said = signal(5);
    let voice = folder.path().join("voice.wav");
    write_wav(&voice, &said);
    let target = format!("sip:baresip@127.0.0.1:{port}");
    let (source, _) =
        Running::role("source", &["--target", &target, "--audio-file", voice.to_str().expect("UTF-8")]);
    let metrics = source.wait_ok().metrics();
    assert!(metrics["packets_tx"].as_u64().is_some_and(|packets| packets >= 250), "{metrics}");
    assert!(metrics["packets_rx"].as_u64().is_some_and(|packets| packets > 150), "{metrics}");
    thread::sleep(Duration::from_millis(500));
    baresip.signal(Signal::SIGTERM);
    baresip.wait();
    let dump = fs::read_dir(folder.path())
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-dec.wav")))
        .expect("baresip's recording of what it heard");
    assert_arrived(&said, &samples(&dump), 0.7);
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_hangs_up_on_the_source() {
    let folder = tempfile::tempdir().expect("dir");
    let (baresip, port) = baresip(folder.path(), &signal(30), &[]);
    bound(port);
    let target = format!("sip:baresip@127.0.0.1:{port}");
    let sample = file("assets/sample.mp3");
    let (source, _) =
        Running::role("source", &["--target", &target, "--audio-file", sample.to_str().expect("UTF-8")]);
    thread::sleep(Duration::from_secs(3));
    baresip.signal(Signal::SIGTERM);
    baresip.wait();
    source.wait_ok();
}
