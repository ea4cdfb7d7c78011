//! `[survive]`: calls that go on when this process has ended without a farewell.

use std::path::PathBuf;
use std::time::Duration;

use crate::ConfigError;
use crate::outside::Outside;
use crate::texts::{PATH, path};
use b2b_config::rows;
use b2b_config::section::Section;
use b2b_config::table::Table;
use b2b_config::table::Takes::Whole;

/// `[survive]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survive {
    /// The file in memory.
    pub file: PathBuf,
    /// Its size in octets.
    pub size: usize,
    /// How old a call may be that is taken up again.
    pub max_age: Duration,
}

pub const SURVIVE: Table = Table {
    name: "survive",
    written: "[survive]",
    about: "Calls that go on when the server has been killed or has crashed, and is started again. See `docs/high-availability.md` for what is covered.",
    keys: rows! {
        file: PATH, at_restart(),
            "A file in a folder that is memory, such as `/run/b2b/calls`: calls are written to it. It is made with mode 0600, has the keys of calls in it, and belongs to one server. Without it: all calls end with the process.";
        size_mb: Whole(1, 16_384) => 64, at_restart(),
            "Its size. A call may take 14 KB, twice: as many are covered.";
        max_age_s: Whole(1, 3_600) => 30, at_restart(),
            "Calls that were written before are not taken up again: their parties have gone.";
    },
};

/// Reads the table; `None`: calls end with the process.
///
/// # Errors
/// The first invalid value.
pub fn survive(section: &Section<'_>, outside: &dyn Outside) -> Result<Option<Survive>, ConfigError> {
    let file = section.parsed("file", path)?.map(|path| outside.resolve(&path));
    let megabytes: usize = section.whole("size_mb")?;
    let max_age = Duration::from_secs(section.whole("max_age_s")?);
    section.finish();
    Ok(file.map(|file| Survive { file, size: megabytes << 20, max_age }))
}
