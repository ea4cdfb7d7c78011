//! The clock of a recording: when each of its frames was captured or handed over, a line each. What was sent and what
//! was heard are compared by it where packets do not say when they were captured.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use b2b_base::util::file;
use b2b_base::util::ntp::NtpTime;

use crate::tap::Age;

/// Which moment of a frame a clock tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When its first sample was captured.
    Captured,
    /// When it was handed over.
    Heard,
}

impl Moment {
    fn of(self, age: &Age) -> Option<NtpTime> {
        match self {
            Moment::Captured => age.captured_at,
            Moment::Heard => Some(NtpTime::from_system(age.heard_at)),
        }
    }
}

/// A CSV file that grows: `sample,unix_ns`.
#[derive(Debug)]
pub struct ClockFile {
    file: File,
    moment: Moment,
    lines: String,
}

impl ClockFile {
    /// Creates the file; one in its place is lost.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create(path: &Path, moment: Moment) -> io::Result<Self> {
        let file = file::begin(path)?;
        Ok(ClockFile { file, moment, lines: "sample,unix_ns\n".to_owned() })
    }

    /// Tells of a frame whose first sample is the recording's `sample`th.
    pub fn frame(&mut self, sample: u64, age: &Age) {
        if let Some(time) = self.moment.of(age) {
            // Writing to a string cannot fail.
            let _ = writeln!(self.lines, "{sample},{}", time.unix_ns());
        }
    }

    /// Writes what it was told.
    ///
    /// # Errors
    /// It cannot be written; a full disk for one.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }
}
