//! Files that other users must not read: calls, voices, secrets.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, umask};

/// The permissions of files that a process creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// Read and write for the owner only.
    pub const OWNER: FileMode = FileMode(0o600);

    /// Parses octal digits: `"0640"`. The owner must have read and write permission.
    pub fn parse(text: &str) -> Option<FileMode> {
        let digits = text.len() == 3 || text.len() == 4 && text.starts_with('0');
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits)?;
        let usable = mode & 0o600 == 0o600 && mode & 0o111 == 0;
        usable.then_some(FileMode(mode))
    }

    /// The umask for this mode; read permission for a file implies search permission for its
    /// directory.
    fn mask(self) -> u32 {
        !(self.0 | (self.0 & 0o444) >> 2) & 0o077
    }

    /// Sets this mode for every file that the process creates from now on, by whatever code:
    /// a database, a recording. Call it before any thread is started.
    pub fn is_for_all(self) {
        umask(Mode::from_bits_truncate(self.mask()));
    }
}

/// Opens a file for writing, and creates it if necessary. Symbolic links are not followed,
/// because anyone with write access to the directory could redirect the output.
///
/// # Errors
/// The system refuses, or the path is a link.
pub fn open(path: &Path, options: &OpenOptions, flags: OFlag) -> io::Result<File> {
    let flags = if is_standard(path) { flags } else { flags | OFlag::O_NOFOLLOW };
    options.clone().create(true).custom_flags(flags.bits()).open(path).map_err(no_link)
}

/// Like [`open`], and truncates the file.
///
/// # Errors
/// As for [`open`].
pub fn begin(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().write(true).truncate(true), OFlag::empty())
}

/// Checks a path that other code will open.
///
/// # Errors
/// The path is a link.
pub fn is_no_link(path: &Path) -> io::Result<()> {
    match path.is_symlink() {
        true => Err(io::Error::new(io::ErrorKind::InvalidInput, LINK)),
        false => Ok(()),
    }
}

const LINK: &str = "it is a link, which is not followed; name the file itself";

/// Standard output and standard error are always links.
fn is_standard(path: &Path) -> bool {
    path == Path::new("/dev/stdout") || path == Path::new("/dev/stderr")
}

fn no_link(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) if code == Errno::ELOOP as i32 => io::Error::new(error.kind(), LINK),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_digits_with_which_we_can_write() {
        for (text, mask) in
            [("0600", Some(0o077)), ("640", Some(0o027)), ("0660", Some(0o007)), ("0644", Some(0o022))]
        {
            assert_eq!(FileMode::parse(text).map(FileMode::mask), mask, "{text}");
        }
        for bad in ["", "0400", "0700", "rw", "+600", "0o600", "01600", "0800", "60"] {
            assert_eq!(FileMode::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn links_are_not_followed_but_those_of_the_system_to_standard_output() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        begin(&file).unwrap();
        std::fs::write(&file, "theirs").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let error = begin(&link).unwrap_err();
        assert!(error.to_string().contains("it is a link"), "{error}");
        assert!(is_no_link(&link).is_err() && is_no_link(&file).is_ok());
        assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
        std::fs::remove_file(&file).unwrap();
        assert!(begin(&link).is_err(), "nor one that leads nowhere");
        assert!(begin(Path::new("/dev/stderr")).is_ok());
    }
}
