//! What a configuration refers to outside of its text: secrets, files, sounds, applications of a program's own.

use std::path::{Path, PathBuf};

use super::texts::path;
use super::{ConfigError, Secret};
use b2b_app::Prompts;
use b2b_config::section::Section;

/// What a configuration refers to outside its text.
pub trait Outside {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file that holds a secret; `path` is [`Outside::resolve`]d.
    ///
    /// # Errors
    /// The error of the operating system.
    fn secret_file(&self, path: &Path) -> std::io::Result<String>;

    /// Whether a file exists; `path` is [`Outside::resolve`]d.
    fn is_file(&self, path: &Path) -> bool;

    /// Checks that a sound file can be played; `path` is [`Outside::resolve`]d.
    ///
    /// # Errors
    /// The reason, and what to do about it.
    fn sound(&self, path: &Path) -> Result<(), String> {
        playable(path)
    }

    /// The same for a folder of sounds: that one of them can be played.
    ///
    /// # Errors
    /// The reason, and what to do about it.
    fn sounds(&self, folder: &Path) -> Result<(), String> {
        Prompts::check_folder(folder).map(drop)
    }

    /// Applications that exist without being configured, beside b2b's.
    fn own_apps(&self) -> &[String] {
        &[]
    }

    /// A path in the text, resolved relative to the file's folder.
    fn resolve(&self, path: &str) -> PathBuf;
}

/// What [`Outside::sound`] does with a file on this machine.
///
/// # Errors
/// The reason, and what to do about it.
pub fn playable(path: &Path) -> Result<(), String> {
    Prompts::check(path)
}

/// Nothing outside of a text; every file that it names is taken to be there.
pub(super) struct TextAlone;

impl Outside for TextAlone {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn secret_file(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }

    fn sound(&self, _: &Path) -> Result<(), String> {
        Ok(())
    }

    fn sounds(&self, _: &Path) -> Result<(), String> {
        Ok(())
    }

    fn resolve(&self, path: &str) -> PathBuf {
        path.into()
    }
}

/// A secret given in the file, in the environment (`"${NAME}"`) or in a file of its own. `keys` are the key
/// of the first two and that of the last.
pub(super) fn secret(
    section: &Section<'_>,
    keys: [&'static str; 2],
    outside: &dyn Outside,
) -> Result<Option<Secret>, ConfigError> {
    let [inline, file] = keys;
    let inline_text = section.text_of_secret(inline)?;
    let file_text = section.parsed(file, path)?;
    let (key, text) = match (inline_text, file_text) {
        (Some(_), Some(_)) => return Err(section.both(inline, file, "keep one")),
        (None, None) => return Ok(None),
        (Some(text), None) => match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => {
                let missing =
                    || section.bad_secret(inline, format!("the environment has no {name:?}; set it"));
                (inline, outside.variable(name).ok_or_else(missing)?)
            }
            None => (inline, text),
        },
        (None, Some(path)) => {
            let path = outside.resolve(&path);
            let text = outside.secret_file(&path).map_err(|error| {
                section.bad_secret(file, format!("cannot read {}: {error}", path.display()))
            })?;
            (file, text.lines().next().unwrap_or_default().to_string())
        }
    };
    if text.is_empty() {
        return Err(section.bad_secret(key, "it is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(section.bad_secret(key, "it has a control character; remove it"));
    }
    Ok(Some(Secret::new(text)))
}
