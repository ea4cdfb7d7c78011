//! The clock file of a recording: one line for each frame, with the time of its capture or of its delivery. It
//! serves to compare what was sent and heard if packets do not carry their capture time.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use b2b_base::util::file;
use b2b_base::util::ntp::NtpTime;

use crate::tap::Age;

/// Which time of a frame is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When its first sample was captured.
    Captured,
    /// When it was delivered.
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

/// A growing CSV file: `sample,unix_ns`.
#[derive(Debug)]
pub struct ClockFile {
    file: File,
    moment: Moment,
    lines: String,
}

impl ClockFile {
    /// Creates the file; an existing one is overwritten.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path, moment: Moment) -> io::Result<Self> {
        let file = file::begin(path)?;
        Ok(ClockFile { file, moment, lines: "sample,unix_ns\n".to_owned() })
    }

    /// Adds a frame that starts at the recording's sample number `sample`.
    pub fn frame(&mut self, sample: u64, age: &Age) {
        if let Some(time) = self.moment.of(age) {
            // Writing to a string cannot fail.
            let _ = writeln!(self.lines, "{sample},{}", time.unix_ns());
        }
    }

    /// Writes the lines added so far.
    ///
    /// # Errors
    /// The file cannot be written, for example because the disk is full.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }
}
