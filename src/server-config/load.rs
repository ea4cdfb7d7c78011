//! Loads a configuration file and what it refers to: neighbouring files and the environment.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::outside::Outside;
use super::parse::parse;
use super::{ConfigErrors, Secret, ServerConfig, Sounds};

/// Maximum octets of a configuration: some 100,000 users.
const LARGEST: u64 = 32 << 20;
/// Maximum octets of a file with a secret in its first line.
const LARGEST_SECRET: u64 = 64 << 10;

/// Why a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is unreadable.
    #[error("cannot read the configuration {path}: {error}", path = path.display())]
    Read { path: PathBuf, error: std::io::Error },
    /// It is invalid; one line for each error.
    #[error("{}", errors.in_file(path))]
    Wrong { path: PathBuf, errors: ConfigErrors },
}

/// Loads a configuration to run. Relative paths in it are relative to the file's folder. Sounds are not checked: the
/// server does so while it runs, as one that cannot be played is no reason not to take calls.
///
/// # Errors
/// If the file cannot be read; else all errors in it.
pub fn load(path: &Path) -> Result<ServerConfig, LoadError> {
    load_with(path, &[])
}

/// The same for a program with applications of its own: routes and menus may name these
/// (`Own::names` of the server).
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, own_apps: &[String]) -> Result<ServerConfig, LoadError> {
    read_all(path, own_apps, Some(RefCell::default()))
}

/// As [`load`] with this text in place of the file's.
///
/// # Errors
/// As [`load`], but the file is not read.
pub fn load_text(path: &Path, text: &str) -> Result<ServerConfig, LoadError> {
    parse_all(path, text, &[], Some(RefCell::default()))
}

/// Loads a configuration with all that it refers to, and each sound that it names is checked.
///
/// # Errors
/// As [`load`].
pub fn load_checked(path: &Path) -> Result<ServerConfig, LoadError> {
    read_all(path, &[], None)
}

fn read_all(
    path: &Path,
    own_apps: &[String],
    unchecked: Option<RefCell<Vec<Sounds>>>,
) -> Result<ServerConfig, LoadError> {
    let text = read(path, LARGEST).map_err(|error| LoadError::Read { path: path.to_path_buf(), error })?;
    parse_all(path, &text, own_apps, unchecked)
}

fn parse_all(
    path: &Path,
    text: &str,
    own_apps: &[String],
    unchecked: Option<RefCell<Vec<Sounds>>>,
) -> Result<ServerConfig, LoadError> {
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let beside = Beside { folder, own_apps: own_apps.to_vec(), unchecked };
    let config =
        parse(text, &beside).map_err(|errors| LoadError::Wrong { path: path.to_path_buf(), errors })?;
    let unchecked = beside.unchecked.map(RefCell::into_inner).unwrap_or_default();
    Ok(ServerConfig { unchecked, text: Arc::new(Secret::new(text)), ..config })
}

/// Reads a file of at most `largest` octets, whatever kind of file the path names.
fn read(path: &Path, largest: u64) -> std::io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(largest + 1).read_to_string(&mut text)?;
    if read as u64 > largest {
        return Err(std::io::Error::other(format!("it is larger than {largest} octets")));
    }
    Ok(text)
}

/// The folder of a configuration, and this process's environment.
#[derive(Debug)]
struct Beside {
    folder: PathBuf,
    own_apps: Vec<String>,
    /// Sounds that are noted instead of checked.
    unchecked: Option<RefCell<Vec<Sounds>>>,
}

impl Beside {
    fn check_or_note(&self, sounds: Sounds) -> Result<(), String> {
        match &self.unchecked {
            Some(unchecked) => unchecked.borrow_mut().push(sounds),
            None => drop(sounds.check()?),
        }
        Ok(())
    }
}

impl Outside for Beside {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn secret_file(&self, path: &Path) -> std::io::Result<String> {
        read(path, LARGEST_SECRET)
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn sound(&self, path: &Path) -> Result<(), String> {
        self.check_or_note(Sounds::File(path.to_path_buf()))
    }

    fn sounds(&self, folder: &Path) -> Result<(), String> {
        self.check_or_note(Sounds::Folder(folder.to_path_buf()))
    }

    fn own_apps(&self) -> &[String] {
        &self.own_apps
    }

    fn resolve(&self, path: &str) -> PathBuf {
        plain(self.folder.join(path))
    }
}

/// The path without `..` where it exists: paths are shown to operators, who may be in another folder. Links
/// are followed as the system does.
fn plain(path: PathBuf) -> PathBuf {
    let parts: Vec<Component<'_>> = path.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else { return path };
    let (up, rest) = parts.split_at(last + 1);
    match up.iter().collect::<PathBuf>().canonicalize() {
        Ok(folder) => folder.join(rest.iter().collect::<PathBuf>()),
        Err(_) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, parties::Credentials};

    #[test]
    fn paths_and_secrets_are_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1001.pw"), "hunter2\nrest\n").unwrap();
        let file = folder.path().join("b2b.toml");
        std::fs::write(&file, "[[user]]\nname = \"1001\"\npassword_file = \"1001.pw\"\n").unwrap();
        let config = load(&file).unwrap();
        let Credentials::Password(password) = &config.users[0].credentials else { panic!() };
        assert_eq!(password.reveal(), "hunter2");
        assert_eq!(config.server.store, Store::Sqlite(folder.path().join("b2b.sqlite")));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn paths_are_shown_without_detours() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plans")).unwrap();
        let file = folder.path().join("plans/b2b.toml");
        std::fs::write(
            &file,
            "[server]\ncdr = \"../target/cdr.jsonl\"\nstore = \"sqlite:nowhere/../b.sqlite\"\n",
        )
        .unwrap();
        let server = load(&file).unwrap().server;
        let there = folder.path().canonicalize().unwrap();
        assert_eq!(server.cdr, Some(there.join("target/cdr.jsonl")));
        let kept = folder.path().join("plans/nowhere/../b.sqlite");
        assert_eq!(server.store, Store::Sqlite(kept), "what is not there stays as it is written");
    }

    #[test]
    fn errors_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("b2b.toml");
        std::fs::write(&file, "[server]\nlistn = []\n").unwrap();
        let error = load(&file).unwrap_err().to_string();
        assert!(error.ends_with("b2b.toml:2: there is no `server.listn`; did you mean `listen`?"), "{error}");
        let error = load(&folder.path().join("none.toml")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the configuration"), "{error}");
        let error = load(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("larger than"), "{error}");
    }
}
