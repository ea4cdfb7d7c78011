//! `[ended_calls]`: how many ended calls are kept, where, and for how long.

use std::time::Duration;

use crate::outside::Outside;
use crate::texts::store;
use crate::{ConfigError, Store};
use b2b_config::section::Section;
use b2b_config::table::Table;
use b2b_config::table::Takes::Whole;
use b2b_config::{rows, text};

/// `[ended_calls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedCalls {
    pub store: Store,
    /// Maximum number of calls, the oldest are removed first; 0: none are kept.
    pub calls: u64,
    /// Maximum age; `None`: unlimited.
    pub age: Option<Duration>,
}

pub const ENDED_CALLS: Table = Table {
    name: "ended_calls",
    written: "[ended_calls]",
    about: "Ended calls, as `GET /calls/ended` and the page list them. For a permanent record of every call use `server.cdr`. After a restart call numbers go on behind the highest of the file, or, without a file, by the clock.",
    keys: rows! {
        store: text!("`memory` or `sqlite:` and a path", store) => "memory", at_restart(),
            "Where they are stored. `memory` loses them at a restart; the file must not be that of `server.store`. A server that stops adds the accounts of its latest calls to a file, 1,000 at most.";
        calls: Whole(0, 1_000_000) => 10000, at_restart(),
            "How many are kept; the oldest are removed first. 1,000 take 0.3 MB. 0: none are kept.";
        days: Whole(0, 36_500) => 0, at_restart(), "Calls that began earlier are removed. 0: no age limit.";
    },
};

/// Reads the table.
///
/// # Errors
/// The first invalid value.
pub fn ended_calls(section: &Section<'_>, outside: &dyn Outside) -> Result<EndedCalls, ConfigError> {
    let days: u64 = section.whole("days")?;
    let ended = EndedCalls {
        store: Store::new(section.parsed_or_default("store", store)?, outside),
        calls: section.whole("calls")?,
        age: (days > 0).then(|| Duration::from_secs(days * 86_400)),
    };
    section.finish();
    Ok(ended)
}
