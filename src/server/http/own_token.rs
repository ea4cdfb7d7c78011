//! The token that b2b generates where none is configured. It is in a file that only its owner can read, and
//! stays the same over restarts: `docs/http.md`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nix::fcntl::OFlag;

use crate::config::Secret;
use b2b_base::util::file;

/// Maximum octets of the file that are read.
const LARGEST: u64 = 4_096;

/// The token in this file, or a new one that is written into it.
///
/// # Errors
/// If there is none and none can be written; in words, with the remedy.
pub fn of(path: &Path) -> Result<Secret, String> {
    let instead = "set http.token or http.token_file, or to try things on this machine http.token = \"off\"";
    let refused = |error: io::Error| {
        format!("the token of the HTTP interface cannot be written to {}: {error}; {instead}", path.display())
    };
    let token = match known(path).map_err(refused)? {
        Some(token) => token,
        None => make(path).map_err(refused)?,
    };
    if token.is_empty() {
        return Err(format!(
            "{} has an empty first line instead of the token of the HTTP interface; remove it, \
             and a new one is made, or {instead}",
            path.display()
        ));
    }
    Ok(Secret::new(token))
}

/// The first line of the file; `None` if there is no file.
fn known(path: &Path) -> io::Result<Option<String>> {
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
    let file: File = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok(Some(text.lines().next().unwrap_or_default().trim().to_owned()))
}

fn make(path: &Path) -> io::Result<String> {
    let token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = file::open(path, &options, OFlag::empty())?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.token");
        let made = of(&path).unwrap();
        assert!(made.reveal().len() >= 43, "256 bits");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(of(&path).unwrap(), made);
        std::fs::remove_file(&path).unwrap();
        assert_ne!(of(&path).unwrap(), made);
    }

    #[test]
    fn what_cannot_be_a_token_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        assert!(of(&empty).unwrap_err().contains("remove it"));
        let nowhere = folder.path().join("no/such/folder");
        assert!(of(&nowhere).unwrap_err().contains("http.token_file"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&empty, &link).unwrap();
        assert!(of(&link).is_err(), "somebody else's file");
    }
}
