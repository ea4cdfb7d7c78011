//! Where the loads of a run write their reports: a folder for each, by its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Load;

/// What a load writes.
const FILES: [&str; 3] = ["load.json", "report.html", "junit.xml"];

/// Takes away what an earlier run has left: nobody is to take it for what this one measures.
///
/// # Errors
/// A file that cannot be removed.
pub fn clear(report: &Path, loads: &[Load]) -> io::Result<()> {
    for load in loads {
        for name in FILES {
            match fs::remove_file(of(report, load).join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The folder of one.
pub fn of(report: &Path, load: &Load) -> PathBuf {
    report.join(&load.part.name)
}
