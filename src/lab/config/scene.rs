//! A scene: the plan of a server and phones that follow steps, in place of a chain of calls.
//!
//! ```toml
//! [scene]
//! server = "callcentre.scene.b2bua.toml"
//! [[phone]]
//! name = "ann"
//! account = "1001"
//! steps = ["dial 8000", "say 600 Hz", "hears 900 Hz", "press 1", "hung up"]
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::files::{self, LoadError};
use super::plan::{self, LoadPart};
use b2b_config::lines::Lines;
use b2b_config::problem::ConfigProblem;
use b2b_phone::value;
use b2b_server_config::parties::Credentials;
use b2b_server_config::{self as config, Outside, ServerConfig};

/// A checked scene.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Its file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The server's configuration.
    pub server: ServerConfig,
    /// The server's configuration file.
    pub server_path: PathBuf,
    /// The time limit of the scene.
    pub limit: Duration,
    /// Prompts generated before the start.
    pub prompts: Vec<Prompt>,
    /// The phones, in the order of the file.
    pub phones: Vec<Phone>,
    /// The loads beside them.
    pub loads: Vec<LoadPart>,
    /// The limits that it is judged by.
    pub expect: Expect,
}

/// A prompt generated before the start: a tone.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// Its file name: `digits/1.wav`.
    pub name: String,
    pub path: PathBuf,
    pub hz: f64,
    pub ms: u32,
}

/// A phone.
#[derive(Debug, Clone, PartialEq)]
pub struct Phone {
    pub name: String,
    /// Its user on the server.
    pub account: String,
    pub password: String,
    /// The cue of another phone that starts it; `None`: it starts with the server.
    pub on: Option<String>,
    /// The delay after that.
    pub start_after: Duration,
    pub codecs: Option<String>,
    /// Its steps, in the format of `--steps`.
    pub steps: String,
    /// The first tone that it sends, Hz.
    pub says: Option<f64>,
}

/// `[expect]`: lower limits, except for `max_…`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub calls_completed: Option<u64>,
    pub positions_heard: Option<u64>,
    pub transfers: Option<u64>,
    pub recordings: Option<u64>,
    /// Maximum number of phones with a failed step; default 0.
    #[serde(default)]
    pub max_failed: u64,
    /// Maximum loss of each call, percent.
    pub max_loss_pct: Option<f64>,
    /// Minimum MOS of each call.
    pub min_mos: Option<f64>,
    /// States that `GET /calls` must have shown.
    #[serde(default)]
    pub states: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scene: Head,
    #[serde(rename = "phone", default)]
    phones: Vec<PhoneTable>,
    // read separately, as in every plan
    #[serde(rename = "load", default)]
    _loads: IgnoredAny,
    #[serde(default)]
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    server: Spanned<String>,
    limit_s: Option<Spanned<u64>>,
    prompts: Option<Prompts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompts {
    folder: String,
    files: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhoneTable {
    name: Spanned<String>,
    account: Spanned<String>,
    on: Option<Spanned<String>>,
    #[serde(default)]
    start_after_s: f64,
    codecs: Option<Spanned<String>>,
    repeat: Option<Spanned<u32>>,
    steps: Spanned<Vec<Spanned<String>>>,
}

/// Reads a scene; `None` if the plan is of another kind, or not TOML.
///
/// # Errors
/// An error in the scene or in the server's configuration, with its line.
pub fn load(path: &Path) -> Result<Option<Scene>, LoadError> {
    let text = files::read(path).map_err(|error| LoadError::Read { path: path.to_path_buf(), error })?;
    let is_scene = toml::de::DeTable::parse(&text).is_ok_and(|root| root.get_ref().contains_key("scene"));
    if !is_scene {
        return Ok(None);
    }
    let reader = Reader { text: &text, path };
    reader.scene().map(Some)
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Reader<'_> {
    fn error(&self, at: Range<usize>, problem: ConfigProblem) -> LoadError {
        let errors = Lines::of(self.text).error(at.start, problem).into();
        LoadError::Plan { path: self.path.to_path_buf(), errors }
    }

    fn bad(&self, key: &str, value: &Spanned<String>, reason: impl Into<String>) -> LoadError {
        let (key, value, at) = (key.to_owned(), format!("{:?}", value.get_ref()), value.span());
        self.error(at, ConfigProblem::BadValue { key, value, reason: reason.into() })
    }

    fn scene(&self) -> Result<Scene, LoadError> {
        let file: File = toml::from_str(self.text).map_err(|error| {
            let problem = ConfigProblem::Scene(error.message().replace('\n', " "));
            self.error(error.span().unwrap_or(0..0), problem)
        })?;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let prompts = self.prompts(folder, file.scene.prompts.as_ref())?;
        let server_path = folder.join(file.scene.server.get_ref());
        let server = self.server(&server_path, &prompts)?;
        if server.http.is_none() {
            let reason =
                "its [http] is off, and a scene looks at GET /calls; give it a listen = \"127.0.0.1:8080\"";
            return Err(self.bad("scene.server", &file.scene.server, reason));
        }
        let limit = file.scene.limit_s.map_or(120, |limit| *limit.get_ref());
        let mut phones: Vec<Phone> = Vec::new();
        for table in &file.phones {
            let phone = self.phone(table, &server)?;
            if phones.iter().any(|other| other.name == phone.name) {
                return Err(self.bad("phone.name", &table.name, "another phone has this name"));
            }
            phones.push(phone);
        }
        for table in &file.phones {
            if let Some(cue) = &table.on
                && !phones.iter().any(|phone| gives(phone, cue.get_ref()))
            {
                let reason =
                    format!("no phone gives this cue; one does with the step `cue {}`", cue.get_ref());
                return Err(self.bad("phone.on", cue, reason));
            }
        }
        let loads = self.loads(&phones)?;
        let missing = match phones.as_slice() {
            [] if loads.is_empty() => Some("a scene has phones, or loads, or both; add a [[phone]]"),
            [] => None,
            all if all.iter().all(|phone| phone.on.is_some()) => {
                Some("every phone waits for a cue of another one; let one begin without `on`")
            }
            _ => None,
        };
        if let Some(reason) = missing {
            let (key, reason) = ("phone".to_owned(), reason.to_owned());
            return Err(self.error(0..0, ConfigProblem::Missing { key, reason }));
        }
        let limit = Duration::from_secs(limit);
        let path = self.path.to_path_buf();
        let text = self.text.to_owned();
        Ok(Scene { path, text, server, server_path, limit, prompts, phones, loads, expect: file.expect })
    }

    /// Reads the loads, and checks that a phone gives each of their cues.
    fn loads(&self, phones: &[Phone]) -> Result<Vec<LoadPart>, LoadError> {
        let at = |errors| LoadError::Plan { path: self.path.to_path_buf(), errors };
        let mut loads = plan::loads(self.text).map_err(at)?;
        for load in &loads {
            if phones.iter().any(|phone| phone.name == load.name) {
                return Err(at(load.error("name", "a phone has this name; choose another one").into()));
            }
            if let Some((cue, _)) =
                load.on.as_ref().filter(|(cue, _)| !phones.iter().any(|it| gives(it, cue)))
            {
                let reason = format!("no phone gives this cue; one does with the step `cue {cue}`");
                return Err(at(load.error("on", reason).into()));
            }
        }
        files::resolve_all(self.path, loads.iter_mut().flat_map(|load| load.plan.settings.iter_mut()))?;
        Ok(loads)
    }

    fn prompts(&self, folder: &Path, prompts: Option<&Prompts>) -> Result<Vec<Prompt>, LoadError> {
        let Some(Prompts { folder: inner, files }) = prompts else { return Ok(Vec::new()) };
        let mut made = Vec::new();
        for (name, sound) in files {
            let words: Vec<&str> = sound.get_ref().split(':').collect();
            let tone = match *words.as_slice() {
                ["tone", hz, ms] => hz.parse().ok().zip(ms.parse().ok()),
                _ => None,
            };
            let good = |(hz, ms): &(f64, u32)| (100.0..=3_800.0).contains(hz) && (1..=60_000).contains(ms);
            let key = format!("scene.prompts.files.{name}");
            let Some((hz, ms)) = tone.filter(good) else {
                return Err(self.bad(
                    &key,
                    sound,
                    "write it like tone:440:500 (100 to 3800 Hz, 1 to 60000 ms)",
                ));
            };
            if !name.ends_with(".wav") || Path::new(name).is_absolute() || name.contains("..") {
                return Err(self.bad(&key, sound, "a prompt is a .wav below the folder"));
            }
            made.push(Prompt { name: name.clone(), path: folder.join(inner).join(name), hz, ms });
        }
        Ok(made)
    }

    /// Reads the server's configuration, as if the prompts existed already.
    fn server(&self, path: &Path, prompts: &[Prompt]) -> Result<ServerConfig, LoadError> {
        let text = files::read(path).map_err(|error| LoadError::Read { path: path.to_path_buf(), error })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config::parse(&text, &Beforehand { folder, prompts })
            .map_err(|errors| LoadError::Plan { path: path.to_path_buf(), errors })
    }

    fn phone(&self, table: &PhoneTable, server: &ServerConfig) -> Result<Phone, LoadError> {
        let name = table.name.get_ref().clone();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(self.bad("phone.name", &table.name, "a name has letters, digits and dashes"));
        }
        let account = table.account.get_ref().clone();
        let password = match server.user(&account).map(|user| &user.credentials) {
            Some(Credentials::Password(password)) => password.reveal().to_owned(),
            Some(_) => {
                return Err(self.bad(
                    "phone.account",
                    &table.account,
                    "its password is known by a hash only",
                ));
            }
            None => {
                let names: Vec<&str> = server.users.iter().map(|user| user.name.as_str()).collect();
                let reason = format!("the server has no such user; it has {}", names.join(", "));
                return Err(self.bad("phone.account", &table.account, reason));
            }
        };
        if let Some(codecs) = &table.codecs {
            value::codecs(codecs.get_ref()).map_err(|reason| self.bad("phone.codecs", codecs, reason))?;
        }
        let mut says = None;
        for step in table.steps.get_ref() {
            if step.get_ref().contains(';') {
                return Err(self.bad("phone.steps", step, "one step each, without a semicolon"));
            }
            let step = value::step(step.get_ref()).map_err(|reason| self.bad("phone.steps", step, reason))?;
            says = says.or(step.says());
        }
        let once: Vec<&str> = table.steps.get_ref().iter().map(|step| step.get_ref().as_str()).collect();
        let repeat = table.repeat.as_ref().map_or(1, |repeat| *repeat.get_ref()).clamp(1, 1_000);
        let steps = vec![once.join("; "); repeat as usize].join("; ");
        value::steps(&steps).map_err(|reason| {
            let (key, value) = ("phone.steps".to_owned(), format!("{name:?}"));
            self.error(table.steps.span(), ConfigProblem::BadValue { key, value, reason })
        })?;
        if !(0.0..=3_600.0).contains(&table.start_after_s) {
            return Err(self.bad("phone.start_after_s", &table.name, "it takes 0 to 3600 seconds"));
        }
        Ok(Phone {
            name,
            account,
            password,
            on: table.on.as_ref().map(|cue| cue.get_ref().clone()),
            start_after: Duration::from_secs_f64(table.start_after_s),
            codecs: table.codecs.as_ref().map(|codecs| codecs.get_ref().clone()),
            steps,
            says,
        })
    }
}

fn gives(phone: &Phone, cue: &str) -> bool {
    phone.steps.split("; ").any(|step| step.split_whitespace().eq(["cue", cue]))
}

/// The environment of the configuration, with prompts that are generated later.
struct Beforehand<'a> {
    folder: &'a Path,
    prompts: &'a [Prompt],
}

impl Outside for Beforehand<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn secret_file(&self, path: &Path) -> std::io::Result<String> {
        files::read(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file() || self.prompts.iter().any(|prompt| prompt.path == path)
    }

    fn sound(&self, path: &Path) -> Result<(), String> {
        match self.prompts.iter().any(|prompt| prompt.path == path) {
            true => Ok(()),
            false => config::playable(path),
        }
    }

    fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: &str = "[scene]\nserver = \"s.toml\"\n[scene.prompts]\nfolder = \"p\"\n\
                         files = { \"position.wav\" = \"tone:760:400\" }\n\
                         [[phone]]\nname = \"ann\"\naccount = \"1001\"\nsteps = [\n\"dial 8000\",\n\"say 600 Hz\",\n\
                         \"cue there\",\n]\n[[phone]]\nname = \"bob\"\naccount = \"1001\"\non = \"there\"\n\
                         steps = [\"answer\", \"hang up\"]\nrepeat = 2\n[expect]\ncalls_completed = 1\n\
                         [[load]]\nname = \"crowd\"\non = \"there\"\ntarget = \"sip:1001@127.0.0.1:0\"\n";

    fn load_text(text: &str) -> Result<Option<Scene>, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        let server = "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\n[[user]]\nname = \"1001\"\n\
                      password = \"x\"\n[[route]]\nto = \"user/$0\"\n";
        std::fs::write(folder.path().join("s.toml"), server).unwrap();
        std::fs::write(folder.path().join("a.plan.toml"), text).unwrap();
        load(&folder.path().join("a.plan.toml"))
    }

    #[test]
    fn a_scene_has_phones_with_steps_and_the_server_s_passwords() {
        let scene = load_text(SCENE).unwrap().expect("a scene");
        assert_eq!((scene.phones[0].password.as_str(), scene.phones[0].says), ("x", Some(600.0)));
        assert_eq!(scene.phones[1].steps, "answer; hang up; answer; hang up");
        assert_eq!((scene.prompts[0].hz, scene.prompts[0].ms), (760.0, 400));
        assert_eq!((scene.expect.calls_completed, scene.expect.max_failed), (Some(1), 0));
        assert_eq!((scene.loads[0].name.as_str(), scene.loads[0].line), ("crowd", 23));
        assert!(load_text("[topology]\n").unwrap().is_none(), "another kind of plan");
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (from, to, line, said) in [
            ("\"say 600 Hz\"", "\"sing\"", 11, "choose from dial"),
            ("name = \"bob\"", "nmae = \"bob\"", 15, "nmae"),
            ("account = \"1001\"", "account = \"1009\"", 8, "it has 1001"),
            ("on = \"there\"", "on = \"nowhere\"", 17, "`cue nowhere`"),
            ("name = \"bob\"", "name = \"ann\"", 15, "another phone"),
            ("tone:760:400", "760", 5, "tone:440:500"),
            ("\"answer\", ", "", 18, "needs a call"),
            ("calls_completed", "calls_complete", 21, "calls_complete"),
            ("name = \"crowd\"", "name = \"bob\"", 23, "a phone has this name"),
            ("\"crowd\"\non = \"there\"", "\"crowd\"\non = \"here\"", 24, "`cue here`"),
            ("target", "targe", 25, "`load.target`"),
        ] {
            let text = SCENE.replacen(from, to, 1);
            assert_ne!(text, SCENE);
            let error = load_text(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
            assert!(error.contains(&format!("a.plan.toml:{line}: ")), "{line}: {error}");
        }
    }
}
