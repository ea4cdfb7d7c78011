//! Where the loads of a run write their reports: a folder for each, by its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Load;
use crate::orchestrator::passing;

/// What a load writes.
const FILES: [&str; 3] = ["load.json", "report.html", "junit.xml"];

/// The folder of all of them: that of the run's report, else one that goes with the run.
pub fn reports(report: Option<&Path>) -> PathBuf {
    report.map_or_else(|| passing("loads"), Path::to_path_buf)
}

/// Makes the folder of a report, and takes away what loads of an earlier run have left: nobody is to take it for what
/// this one measures.
///
/// # Errors
/// The folder cannot be made, or a file not be removed.
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

/// The folder of one.
pub fn of(report: &Path, load: &Load) -> PathBuf {
    report.join(&load.part.name)
}
