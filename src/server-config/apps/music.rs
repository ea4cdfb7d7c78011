//! `[[music]]`: music on hold.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::name;
use crate::ConfigError;
use crate::names::{Names, What};
use crate::outside::Outside;
use crate::texts::NAME;
use b2b_app::Prompts;
use b2b_config::section::Section;
use b2b_config::table::Takes::{Switch, Text};
use b2b_config::table::{Table, any};
use b2b_config::value::Read;
use b2b_config::{rows, text};

pub const MUSIC: Table = Table {
    name: "music",
    written: "[[music]]",
    about: "A class of music on hold, for queues and other applications. Changed keys take a restart; changed files do not.",
    keys: rows! {
        name: NAME, at_restart(), "Its name.";
        folder: Text("path", any), at_restart(),
            "Its audio files, played in the order of their names; relative to `[prompts]` folder.";
        file: Text("path", any), at_restart(), "A single file.";
        tone: text!("Hz, or `Hz+Hz`", tone), at_restart(),
            "A tone of one or two frequencies: one second of tone, then four seconds of silence.";
        shared: Switch => true, at_restart(),
            "Whether all listeners hear the same position; otherwise each hears the music from its beginning.";
    },
};

/// A class of music.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Music {
    pub name: String,
    pub source: MusicFrom,
    pub shared: bool,
}

/// The source of the music.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MusicFrom {
    Folder(PathBuf),
    File(PathBuf),
    Tone([u16; 2]),
}

impl fmt::Display for MusicFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MusicFrom::Folder(folder) => write!(f, "files of {}", folder.display()),
            MusicFrom::File(file) => file.display().fmt(f),
            MusicFrom::Tone([one, 0]) => write!(f, "{one} Hz"),
            MusicFrom::Tone([one, other]) => write!(f, "{one} and {other} Hz"),
        }
    }
}

impl MusicFrom {
    /// How long a tone sounds, and how long it pauses.
    pub const TONE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
}

pub(super) fn music(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &mut Names,
) -> Result<Music, ConfigError> {
    let name = name(section)?;
    names.add(What::Music, section, "name", &name)?;
    let path = |key: &'static str| -> Result<Option<PathBuf>, ConfigError> {
        Ok(section.text(key)?.map(|text| prompts.folder.join(text.text)))
    };
    let (folder, file, tone) = (path("folder")?, path("file")?, section.parsed("tone", tone)?);
    let given: Vec<&str> = ["folder", "file", "tone"].into_iter().filter(|key| section.has(key)).collect();
    if let [first, second, ..] = given.as_slice() {
        return Err(section.both(first, second, "a class has one of them; write two classes"));
    }
    let bad =
        |key, path: &Path, reason| section.bad(key, section.place(key), &path.display().to_string(), reason);
    let source = match (folder, file, tone) {
        (Some(folder), ..) => {
            let checked = outside.sounds(&folder);
            checked.map_err(|reason| bad("folder", &folder, reason))?;
            MusicFrom::Folder(folder)
        }
        (_, Some(file), _) => {
            outside.sound(&file).map_err(|reason| bad("file", &file, reason))?;
            MusicFrom::File(file)
        }
        (_, _, Some(tone)) => MusicFrom::Tone(tone),
        (None, None, None) => {
            let reason =
                "set the source of the music: folder = \"music\", file = \"song.mp3\" or tone = \"440\"";
            return Err(section.missing("folder", reason));
        }
    };
    let shared = section.switch("shared")?;
    section.finish();
    Ok(Music { name, source, shared })
}

fn tone(text: &str) -> Read<[u16; 2]> {
    let hz = |text: &str| text.trim().parse().ok().filter(|hz| (20..=3_400).contains(hz));
    let (first, second) = text.split_once('+').map_or((text, None), |(one, other)| (one, Some(other)));
    match (hz(first), second.map(hz)) {
        (Some(first), None) => Ok([first, 0]),
        (Some(first), Some(Some(second))) => Ok([first, second]),
        _ => Err("frequencies are 20 to 3400 Hz; write it like 440 or 350+440".to_string()),
    }
}
