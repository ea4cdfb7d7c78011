//! Debian's baresip (package baresip-core), headless: it answers automatically, plays a file, and records
//! what it hears.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Ended, Running, bound, free_port, print_version, write_wav};

/// A running baresip.
pub struct Baresip {
    pub running: Running,
    folder: PathBuf,
    pub port: u16,
}

/// Its configuration.
pub struct Setup<'a> {
    /// Audio that it plays, at 8 kHz.
    pub said: &'a [i16],
    /// In the format of `audio_codecs`.
    pub codecs: &'a str,
    /// Parameters of its URI.
    pub uri: &'a str,
    /// Parameters of its account.
    pub account: &'a str,
    /// More lines of its configuration.
    pub config: &'a str,
}

impl<'a> Setup<'a> {
    /// G.711 over UDP.
    pub fn saying(said: &'a [i16]) -> Self {
        Setup { said, codecs: "PCMU/8000/1,PCMA/8000/1", uri: "", account: "", config: "" }
    }
}

/// The folder of its modules on Debian, with or without the architecture.
fn modules() -> PathBuf {
    let folders = ["/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules"];
    let found = folders.iter().map(PathBuf::from).find(|folder| folder.join("g711.so").exists());
    found.expect("baresip's modules; .ci/run installs them")
}

impl Baresip {
    /// Starts it in this folder, and waits until it listens.
    pub fn start(folder: &Path, setup: &Setup<'_>, arguments: &[&str]) -> Baresip {
        print_version("baresip", "-h", "baresip v");
        fs::create_dir_all(folder).expect("folder");
        let (port, rtp) = (free_port(), free_port());
        write_wav(&folder.join("said.wav"), setup.said);
        let Setup { codecs, uri, account, config, .. } = setup;
        let text = folder.display();
        let config = format!(
            "sip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\n\
             audio_source aufile,{text}/said.wav\naudio_player aubridge,x\naudio_alert aubridge,xa\n\
             ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\n\
             rtp_ports {rtp}-{}\nmodule_path {}\n\
             module g711.so\nmodule g722.so\nmodule opus.so\nmodule aufile.so\nmodule aubridge.so\n\
             module sndfile.so\nsnd_path {text}\nmodule_app account.so\nmodule_app menu.so\n{config}",
            rtp + 10,
            modules().display()
        );
        let account = format!(
            "<sip:baresip@127.0.0.1:{port}{uri}>;regint=0;answermode=auto{account};audio_codecs={codecs}\n"
        );
        for (name, text) in [("config", &config), ("accounts", &account), ("contacts", &String::new())] {
            fs::write(folder.join(name), text).expect(name);
        }
        let mut command = Command::new("baresip");
        command.env("HOME", folder).arg("-f").arg(folder).args(["-4", "-v", "-t", "60"]).args(arguments);
        let running = Running::interactive("baresip", &mut command);
        bound(port);
        Baresip { running, folder: folder.to_owned(), port }
    }

    pub fn uri(&self) -> String {
        format!("sip:baresip@127.0.0.1:{}", self.port)
    }

    /// Ends it; returns its recording, if it heard anything, and its output.
    pub fn end(self) -> (Option<PathBuf>, Ended) {
        self.running.signal(Signal::SIGTERM);
        let ended = self.running.wait();
        let mut files = fs::read_dir(&self.folder).expect("folder").map(|entry| entry.expect("entry").path());
        (files.find(|path| path.to_string_lossy().ends_with("-dec.wav")), ended)
    }
}
