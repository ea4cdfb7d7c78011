//! The folders of the loads' reports, one per load, by its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Load;
use crate::orchestrator::passing;

/// The files that a load writes.
const FILES: [&str; 3] = ["load.json", "report.html", "junit.xml"];

/// The parent of these folders: the folder of the run's report, else a temporary one.
pub fn reports(report: Option<&Path>) -> PathBuf {
    report.map_or_else(|| passing("loads"), Path::to_path_buf)
}

/// Creates the folder of a report, and removes the loads' files of an earlier run, which could be taken for
/// results of this one.
///
/// # Errors
/// The folder cannot be created, or a file cannot be removed.
pub fn prepare(report: &Path, loads: &[Load]) -> io::Result<()> {
    fs::create_dir_all(report)?;
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

/// The folder of one load.
pub fn of(report: &Path, load: &Load) -> PathBuf {
    report.join(&load.part.name)
}
