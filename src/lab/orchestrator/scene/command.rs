//! Command lines of a scene, and the password files of its phones.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::SceneConfig;
use crate::config::scene::Phone;
use crate::orchestrator::command::quoted;
use crate::orchestrator::loads::{Start, folder};
use b2b_base::util::exit::{Exit, Failure};

/// A private folder with one password file per account; removed on drop.
#[derive(Debug)]
pub struct Passwords(TempDir);

impl Passwords {
    /// Writes the files.
    ///
    /// # Errors
    /// The folder for temporary files is not writable.
    pub fn write(phones: &[Phone]) -> Result<Self, Failure> {
        let failure = |error: std::io::Error| {
            let message =
                format!("cannot write passwords into a temporary folder: {error}; is TMPDIR right?");
            Failure::new(Exit::Usage, message)
        };
        // only its owner can enter it
        let passwords = Passwords(tempfile::Builder::new().prefix("b2b-scene-").tempdir().map_err(failure)?);
        for phone in phones {
            fs::write(passwords.of(phone), format!("{}\n", phone.password)).map_err(failure)?;
        }
        Ok(passwords)
    }

    /// The file for this phone.
    pub fn of(&self, phone: &Phone) -> PathBuf {
        self.0.path().join(format!("{}.password", phone.name))
    }
}

fn common(config: &SceneConfig, role: &str) -> Vec<String> {
    let level = config.run.level.as_str().to_ascii_lowercase();
    ["--role", role, "--log-format", "text", "--log-level", &level, "--color", "never"]
        .map(str::to_owned)
        .into()
}

/// The server's arguments.
pub fn server(config: &SceneConfig) -> Vec<String> {
    let mut words = common(config, "b2bua");
    words.extend(["--config".to_owned(), config.scene.server_path.to_string_lossy().into_owned()]);
    words
}

/// A phone's arguments; `server`: the server's SIP address.
pub fn phone(config: &SceneConfig, phone: &Phone, password: &Path, server: SocketAddr) -> Vec<String> {
    let mut words = common(config, "phone");
    let mut add = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    add("identity", format!("sip:{}@{server}", phone.account));
    add("password-file", password.to_string_lossy().into_owned());
    add("sip-bind", SocketAddr::new(server.ip(), 0).to_string());
    if let Some(codecs) = &phone.codecs {
        add("codecs", codecs.clone());
    }
    add("steps", phone.steps.clone());
    words.push("--json".to_owned());
    words
}

/// All command lines, with comments for values known only at run time.
pub fn dry_run(program: &Path, config: &SceneConfig) -> Vec<String> {
    let mut lines: Vec<String> = config
        .scene
        .prompts
        .iter()
        .map(|prompt| format!("# {}: a tone of {} Hz, {} ms", prompt.path.display(), prompt.hz, prompt.ms))
        .collect();
    let reports = folder::reports(config.run.report.as_deref());
    let of = |start: Start, server: Option<SocketAddr>| {
        let loads = config.run.loads.iter().filter(move |load| load.start() == start);
        let reports = reports.clone();
        loads.flat_map(move |load| {
            let words =
                load.arguments((config.run.format, config.run.level), &folder::of(&reports, load), server);
            [format!("# {}", load.when()), quoted(program, &words)]
        })
    };
    lines.extend(of(Start::Before, None));
    let mut words = server(config);
    let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
    for load in config.run.loads.iter().filter(|load| load.start() == Start::Before) {
        let name = &load.part.name;
        lines.push(format!("# port 0 of the route becomes the port of the READY line of the load {name}"));
        words.extend(load.route(unknown));
    }
    lines.push(quoted(program, &words));
    let at = config.scene.server.server.listen.first().map(|listener| listener.bind);
    let at = at.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 5060)));
    if at.port() == 0 {
        lines.push("# port 0 of the URIs becomes the port of the b2bua's READY line".to_owned());
    }
    lines.extend(of(Start::WithServer, Some(at)));
    for it in &config.scene.phones {
        let when = match &it.on {
            Some(cue) => format!("when a phone gives the cue {cue}"),
            None => "when the b2bua is READY".to_owned(),
        };
        lines.push(format!(
            "# {}, {when}; the file has the password of the server's user {}",
            it.name, it.account
        ));
        let file = PathBuf::from(format!("{}.password", it.name));
        lines.push(quoted(program, &phone(config, it, &file, at)));
    }
    lines.extend(of(Start::WithCalls, Some(at)));
    lines
}
